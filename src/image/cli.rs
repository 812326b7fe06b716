//! The command line of `pinnace-image`.

use super::verbs;
use super::{store, tell};
use crate::arguments::{self, Arguments, Help, Stop, Words, arguments};
use crate::error::{Error, Result};
use crate::nearest::nearest;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

arguments! {
    /// What all commands understand.
    pub struct Common {
        /// Directory of the layers [default: /var/lib/pinnace, or $XDG_DATA_HOME/pinnace]
        store: Option<PathBuf> = "--store DIR",
    }
}

impl Common {
    /// The store.
    ///
    /// # Errors
    /// As [`store::Store::open`].
    pub fn open(&self) -> Result<store::Store> {
        let path = match &self.store {
            Some(path) => {
                std::path::absolute(path).map_err(|error| Error::io("--store", &error))?
            }
            None => store::usual()?,
        };
        store::Store::open(&path)
    }
}

arguments! {
    /// Arguments of `unpack`.
    pub struct Unpack {
        ..common: Common,
        /// The platform, as linux/arm64 [default: this machine's]
        platform: Option<String> = "--platform OS/ARCHITECTURE",
        /// Run as this user instead of the image's: a name, or UID:GID
        user: Option<String> = "-u, --user USER",
        /// Copy the layers into BUNDLE/rootfs, for runtimes that mount none
        copy: bool = "--copy",
        /// The container has a terminal
        terminal: bool = "-t, --terminal",
        /// Devices of the image become empty files
        no_devices: bool = "--no-devices",
        /// For a user without root's privileges
        rootless: bool = "--rootless",
        /// Write this file instead of the bundle's config.json
        config: Option<PathBuf> = "-f, --config FILE",
        /// Image layout; its image by tag or digest: DIR, DIR:TAG, DIR@sha256:...
        layout: PathBuf = "LAYOUT",
        /// Directory of the bundle, which is made; what to run instead of the image's Cmd
        rest: Vec<String> = "BUNDLE [COMMAND]...",
    }
}

arguments! {
    /// Arguments of `verify`.
    pub struct Verify {
        ..common: Common,
        /// The platform, as linux/arm64 [default: this machine's]
        platform: Option<String> = "--platform OS/ARCHITECTURE",
        /// Image layout; its image by tag or digest: DIR, DIR:TAG, DIR@sha256:...
        layout: PathBuf = "LAYOUT",
    }
}

arguments! {
    /// Arguments of `ls`.
    pub struct List {
        ..common: Common,
        /// Format of the output
        format: String = "-f, --format FORMAT" in ["table", "json"],
    }
}

arguments! {
    /// Arguments of `rm`.
    pub struct Remove {
        ..common: Common,
        /// Also an image of which there are bundles, which cannot run any more then; not a running one
        force: bool = "--force",
        /// Names, or the beginning of digests, as `ls` shows them
        images: Vec<String> = "IMAGE...",
    }
}

arguments! {
    /// Arguments of `prune`.
    pub struct Prune {
        ..common: Common,
    }
}

/// A command.
struct Entry {
    name: &'static str,
    about: &'static str,
    /// A whole command line.
    example: &'static str,
    help: fn(&Entry) -> Help,
    run: fn(&Entry, &mut Words) -> Result<i32>,
}

fn help_of<A: Arguments>(entry: &Entry) -> Help {
    let name = format!("pinnace-image {}", entry.name);
    Help::new(name, entry.about, &A::default().list(), entry.example)
}

/// The help of the program, then of each of its commands: what manual pages and completions are
/// made of.
pub fn helps() -> Vec<Help> {
    [help()].into_iter().chain(COMMANDS.iter().map(|entry| (entry.help)(entry))).collect()
}

const COMMANDS: [Entry; 5] = [
    Entry {
        name: "unpack",
        about: "Make a bundle of an image; its layers are unpacked once, into the store",
        example: "pinnace-image unpack nginx:latest web",
        help: help_of::<Unpack>,
        run: |entry, words| {
            read::<Unpack>(entry, words)?.map_or(Ok(0), |given: Unpack| {
                let platform = platform(given.platform.as_deref())?;
                let mut rest = given.rest.into_iter();
                let bundle = PathBuf::from(rest.next().unwrap_or_default());
                let store = given.common.open()?;
                let command: Vec<_> = rest.collect();
                verbs::unpack(
                    &store,
                    given.layout.as_os_str(),
                    &bundle,
                    &verbs::Wanted {
                        platform,
                        user: given.user,
                        copy: given.copy,
                        terminal: given.terminal,
                        devices: !given.no_devices,
                        rootless: given.rootless,
                        config: given.config,
                        command,
                    },
                )
            })
        },
    },
    Entry {
        name: "verify",
        about: "Check an image whole, and what the store has of it",
        example: "pinnace-image verify nginx:latest",
        help: help_of::<Verify>,
        run: |entry, words| {
            read::<Verify>(entry, words)?.map_or(Ok(0), |given: Verify| {
                let platform = platform(given.platform.as_deref())?;
                verbs::verify(&given.common.open()?, given.layout.as_os_str(), &platform)
            })
        },
    },
    Entry {
        name: "ls",
        about: "List the images whose layers are in the store",
        example: "pinnace-image ls",
        help: help_of::<List>,
        run: |entry, words| {
            read::<List>(entry, words)?.map_or(Ok(0), |given: List| {
                print(&verbs::list_text(&given.common.open()?, given.format == "json")?)
            })
        },
    },
    Entry {
        name: "rm",
        about: "Remove images from the store, and layers that no other image has",
        example: "pinnace-image rm nginx:latest",
        help: help_of::<Remove>,
        run: |entry, words| {
            read::<Remove>(entry, words)?.map_or(Ok(0), |given: Remove| {
                print(&verbs::remove_images(&given.common.open()?, &given.images, given.force)?)
            })
        },
    },
    Entry {
        name: "prune",
        about: "Remove images of which there is no bundle any more, and what crashes have left",
        example: "pinnace-image prune",
        help: help_of::<Prune>,
        run: |entry, words| {
            read::<Prune>(entry, words)?
                .map_or(Ok(0), |given: Prune| print(&verbs::prune(&given.common.open()?)?))
        },
    },
];

fn platform(text: Option<&str>) -> Result<super::documents::Platform> {
    use super::documents::Platform;
    text.map_or_else(|| Ok(Platform::own()), Platform::parse)
}

/// Runs the program; returns its exit status.
pub fn main(args: Vec<OsString>) -> i32 {
    let mut words = args.into_iter();
    words.next();
    choose(words).unwrap_or_else(|error| {
        tell::error(&error);
        1
    })
}

fn choose(mut words: Words) -> Result<i32> {
    let Some(mut word) = words.next() else { return print(&help().to_string()).map(|_| 1) };
    match word.to_str() {
        Some("-h" | "--help" | "-help") => return print(&help().to_string()),
        Some("-v" | "-V" | "--version" | "version") => {
            return print(&format!("pinnace-image version {}\n", env!("CARGO_PKG_VERSION")));
        }
        Some("help") => match words.next() {
            None => return print(&help().to_string()),
            Some(name) => (word, words) = (name, vec!["--help".into()].into_iter()),
        },
        _ => {}
    }
    let Some(entry) = COMMANDS.iter().find(|entry| word == entry.name) else {
        let word = word.to_string_lossy();
        let error = Error::new(format!("unknown command {word:?}"));
        let names = COMMANDS.iter().map(|entry| entry.name);
        return Err(error
            .guess(nearest(&word, names))
            .also("`pinnace-image --help` lists what there is"));
    };
    (entry.run)(entry, &mut words)
}

/// The arguments; none where the help was asked for, and printed.
fn read<A: Arguments>(entry: &Entry, words: &mut Words) -> Result<Option<A>> {
    let mut given = A::default();
    let mut list = given.list();
    let wrong = |error: Error| {
        error.hint(format!("`pinnace-image {} --help` lists what there is", entry.name))
    };
    match arguments::parse(&mut list, words).map_err(wrong)? {
        Stop::End => arguments::finish(list).map_err(wrong)?,
        Stop::Word(word) | Stop::Unknown(word) => return Err(wrong(arguments::unknown(&word))),
        Stop::Help => {
            print(&(entry.help)(entry).to_string())?;
            return Ok(None);
        }
    }
    Ok(Some(given))
}

arguments! {
    /// What stands in the place of a command.
    pub struct Alone {
        /// Print the version
        version: bool = "-v, --version",
    }
}

fn help() -> Help {
    let about = "Images for pinnace: layers by overlay, and bundles";
    let help = Help::new("pinnace-image".to_owned(), about, &Alone::default().list(), "");
    Help { commands: COMMANDS.iter().map(|entry| (entry.name, entry.about)).collect(), ..help }
}

/// Success means that all of it was taken.
fn print(text: &str) -> Result<i32> {
    let mut stdout = std::io::stdout();
    let done = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    done.map(|()| 0).map_err(|error| Error::io("write to standard output", &error))
}
