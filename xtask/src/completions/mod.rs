//! What completes command lines in a shell, of the tables that `--help` prints.
//!
//! The tables are read once, into what may stand at each place; then each shell says it in its
//! own words. Prose of the help is never offered.

mod bash;
mod fish;
mod zsh;

use crate::Made;
use clap::ValueEnum;
use pinnace::arguments::{Help, Line};
use pinnace::container::signal_names;

/// A shell that is known.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Shell {
    /// The GNU shell, with the package bash-completion
    Bash,
    /// The Z shell
    Zsh,
    /// The friendly interactive shell
    Fish,
}

/// A program's commands.
struct Program {
    name: &'static str,
    commands: Vec<Command>,
}

/// The program itself, whose name is empty, or a command.
struct Command {
    name: String,
    below: Vec<(&'static str, &'static str)>,
    options: Vec<Opt>,
    places: Places,
}

/// An option.
struct Opt {
    short: Option<char>,
    long: Option<&'static str>,
    help: String,
    /// A flag has none.
    value: Option<What>,
}

/// What stands behind the options.
#[derive(Debug, Default, PartialEq)]
struct Places {
    /// Place by place.
    first: Vec<What>,
    /// At each further one, any of these.
    further: Vec<What>,
    /// From this place on, all words are those of another program.
    rest: Option<usize>,
}

/// What may stand at a place.
#[derive(Debug, Clone, PartialEq)]
enum What {
    Directory,
    File,
    Container,
    Network,
    Image,
    Signal,
    Words(Vec<&'static str>),
    /// Nothing that could be told.
    Anything,
}

/// The files of a shell, one for each program, where distributions have them.
pub fn files(shell: Shell) -> Vec<Made> {
    let programs = [
        Program::new("pinnace", &pinnace::cli::helps()),
        Program::new("pinnace-image", &pinnace::image::cli::helps()),
    ];
    let file = |program: &Program| {
        let name = program.name;
        match shell {
            Shell::Bash => {
                (format!("share/bash-completion/completions/{name}"), bash::text(program))
            }
            Shell::Zsh => (format!("share/zsh/site-functions/_{name}"), zsh::text(program)),
            Shell::Fish => {
                (format!("share/fish/vendor_completions.d/{name}.fish"), fish::text(program))
            }
        }
    };
    programs.iter().map(file).collect()
}

impl Program {
    fn new(name: &'static str, helps: &[Help]) -> Self {
        Self { name, commands: helps.iter().map(Command::new).collect() }
    }

    /// As a part of the name of a function.
    fn identifier(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Where the file is from.
    fn head(&self, shell: &str) -> String {
        format!(
            "# {} in {shell}: made by `cargo xtask completions {shell}`; do not edit.\n",
            self.name
        )
    }
}

impl Command {
    fn new(help: &Help) -> Self {
        let name = help.name.split_once(' ').map_or("", |(_, name)| name).to_owned();
        let option = |line: &Line| Opt {
            short: line.short(),
            long: line.long(),
            help: line.help.trim().to_owned(),
            value: (!line.is_flag()).then(|| What::of(line)),
        };
        let mut options: Vec<_> =
            help.lines.iter().filter(|line| !line.is_position()).map(option).collect();
        let print = "Print this help".to_owned();
        options.push(Opt { short: Some('h'), long: Some("help"), help: print, value: None });
        let mut places = Places::new(help.lines.iter().filter(|line| line.is_position()));
        if matches!(name.as_str(), "create" | "run") {
            // The name of a new container is nobody's yet.
            places.first = vec![What::Anything];
        }
        Self { name, below: help.commands.clone(), options, places }
    }
}

impl Places {
    fn new<'a>(lines: impl Iterator<Item = &'a Line>) -> Self {
        let mut places = Self::default();
        for line in lines {
            let what = What::of(line);
            if line.takes_rest() {
                if !line.usage.starts_with('[') {
                    places.first.push(what);
                }
                places.rest = Some(places.first.len());
            } else if line.repeats() {
                places.first.push(what.clone());
                places.further.push(what);
            } else if places.further.is_empty() {
                places.first.push(what);
            } else {
                places.further.push(what);
            }
        }
        places
    }
}

impl What {
    /// By the choices, or by the word that stands for the value in the help.
    fn of(line: &Line) -> Self {
        if !line.choices.is_empty() {
            return Self::Words(line.choices.to_vec());
        }
        let word = match line.is_position() {
            true => line.usage.split(' ').next().unwrap_or_default().trim_matches(['[', ']', '.']),
            false => line.usage.rsplit(' ').next().unwrap_or_default(),
        };
        match word {
            "DIR" | "LAYOUT" | "BUNDLE" => Self::Directory,
            "FILE" | "SOCKET" => Self::File,
            "CONTAINER" => Self::Container,
            "NETWORK" => Self::Network,
            "IMAGE" => Self::Image,
            "SIGNAL" => Self::Signal,
            // check|insert|none
            _ if word.contains('|') && word.chars().all(|c| c == '|' || c.is_ascii_lowercase()) => {
                Self::Words(word.split('|').collect())
            }
            _ => Self::Anything,
        }
    }
}

/// The names of signals, as shells know them.
fn signals() -> String {
    signal_names().map(|name| format!("SIG{name}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(usage: &'static str) -> Line {
        Line { usage, help: "", choices: &[] }
    }

    #[test]
    fn the_word_in_the_help_says_what_is_offered() {
        for (usage, what) in [
            ("-b, --bundle DIR", What::Directory),
            ("--pid-file FILE", What::File),
            ("CONTAINER [COMMAND]...", What::Container),
            ("[CONTAINER...]", What::Container),
            ("[SIGNAL]", What::Signal),
            ("--firewall check|insert", What::Words(vec!["check", "insert"])),
            ("-u, --user UID[:GID]", What::Anything),
            ("--cgroup [CONTROLLER:]PATH", What::Anything),
        ] {
            assert_eq!(What::of(&line(usage)), what, "{usage}");
        }
        let format = Line { choices: &["text", "json"], ..line("--format FORMAT") };
        assert_eq!(What::of(&format), What::Words(vec!["text", "json"]));
    }

    #[test]
    fn places_are_counted_as_the_parser_does() {
        use What::{Container, Directory, Signal};
        for (usages, first, further, rest) in [
            (&["CONTAINER"][..], vec![Container], vec![], None),
            (&["CONTAINER...", "[SIGNAL]"], vec![Container], vec![Container, Signal], None),
            (&["CONTAINER [COMMAND]..."], vec![Container], vec![], Some(1)),
            (&["LAYOUT", "BUNDLE [COMMAND]..."], vec![Directory, Directory], vec![], Some(2)),
        ] {
            let lines: Vec<_> = usages.iter().map(|usage| line(usage)).collect();
            assert_eq!(Places::new(lines.iter()), Places { first, further, rest }, "{usages:?}");
        }
    }
}
