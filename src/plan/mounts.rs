//! `mounts` of `config.json` as the list of mounts to make. Source:
//! runtime-spec 1.3 config.md, "Mounts".

use super::Findings;
use super::options::{Effect, Gathered, OPTIONS, Propagation, Reach, Super, find, names};
use super::paths::{clean, is_under};
use crate::error::Error;
use crate::nearest::nearest;
use crate::spec;
pub use crate::spec::IdMapping;
use crate::sys::mount::{ATIME_FIELD, RDONLY};
use std::path::{Path, PathBuf};

/// One mount, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its place in `mounts`, for messages.
    pub index: usize,
    /// Clean absolute path inside the container.
    pub destination: String,
    /// What is mounted.
    pub kind: Kind,
    /// Attributes of the mount.
    pub attributes: Gathered,
    /// Propagation types, applied in this order.
    pub propagation: Vec<Propagation>,
    /// Id mapping.
    pub idmap: Option<IdMap>,
    /// Mount over the symbolic link itself if the destination is one.
    pub destination_nofollow: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory or file of the host.
    Bind(Bind),
    /// A new instance of a file system.
    FileSystem(FileSystem),
    /// `type: cgroup`: the container's view of its cgroup, v1 or v2.
    Cgroup,
    /// A change of what is mounted there already.
    Remount {
        /// Change the mount only, not the file system.
        bind: bool,
        /// Flags and data of the file system.
        file_system: FileSystem,
    },
}

/// A bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Absolute path on the host.
    pub source: PathBuf,
    /// `rbind`
    pub recursive: bool,
    /// Whether an option names an attribute of the mount: then it has no others. Else it
    /// keeps those of its source.
    pub exact: bool,
    /// Do not follow the source if it is a symbolic link.
    pub nofollow: bool,
    /// Copy the source if it is a symbolic link.
    pub copy_symlink: bool,
}

/// A new instance of a file system, or the change of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSystem {
    /// Its type.
    pub kind: String,
    /// The device, or what mountinfo shows in its place.
    pub source: Option<String>,
    /// Flags of the superblock with the value they get; the last one counts.
    pub flags: Vec<(Super, bool)>,
    /// Data for the file system: `key` or `key=value`.
    pub data: Vec<(String, Option<String>)>,
    /// Becomes read-only only when everything in it is in place.
    pub late_readonly: bool,
    /// `tmpcopyup`
    pub copy_up: bool,
}

/// An id mapping of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// Where the mapping comes from.
    pub maps: Maps,
    /// `idmap` or `ridmap`.
    pub reach: Reach,
}

/// Where the mapping of an id-mapped mount comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maps {
    /// Given in the configuration: uids, gids.
    Given(Vec<IdMapping>, Vec<IdMapping>),
    /// The mapping of the user namespace that the container joins.
    JoinedUserNamespace,
}

/// The user namespace of the container, as far as mounts need to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserNamespace<'a> {
    /// The one of the caller.
    Host,
    /// A new one with these mappings: uids, gids.
    New(&'a [IdMapping], &'a [IdMapping]),
    /// An existing one, given by its path.
    Joined,
}

impl<'a> UserNamespace<'a> {
    /// What the configuration says.
    pub fn of(linux: &'a spec::Linux) -> Self {
        let Some(namespace) = linux.namespaces.iter().find(|n| n.kind == "user") else {
            return Self::Host;
        };
        if namespace.path.as_deref().is_some_and(|path| !path.is_empty()) {
            return Self::Joined;
        }
        Self::New(&linux.uid_mappings, &linux.gid_mappings)
    }
}

/// The files below /proc that lxcfs emulates: the only ones that may be mounted
/// over, as in runc. Anything else could fake a file that a privileged process
/// writes to (CVE-2019-16884, CVE-2025-52881).
const PROC_FILES: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// File systems that are made from nothing: neither their source nor any of their
/// data is the path of something on the host, as the layers of an overlay are.
const FROM_NOTHING: &[&str] = &[
    "bpf",
    "debugfs",
    "devpts",
    "hugetlbfs",
    "mqueue",
    "proc",
    "ramfs",
    "securityfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

impl Mount {
    /// Whether it can be made only where the host's files are seen.
    pub fn needs_host_paths(&self) -> bool {
        match &self.kind {
            Kind::FileSystem(fs) => !FROM_NOTHING.contains(&fs.kind.as_str()),
            // The sources of bind mounts are taken before.
            Kind::Bind(_) | Kind::Cgroup | Kind::Remount { .. } => false,
        }
    }

    /// Whether no symbolic link may be on the way to the destination: a label or
    /// a sysctl written through a fake /proc would go anywhere (CVE-2019-19921).
    pub fn refuses_symlinks(&self) -> bool {
        let kernel_view =
            matches!(&self.kind, Kind::FileSystem(fs) if fs.kind == "proc" || fs.kind == "sysfs");
        kernel_view || is_under(&self.destination, "/proc")
    }

    /// Whether the destination may lie on a procfs.
    pub fn may_cover_proc(&self) -> bool {
        matches!(self.kind, Kind::Remount { .. }) || is_under(&self.destination, "/proc")
    }

    /// The options in force, by name: what the list of options comes down to.
    pub fn options(&self) -> Vec<&'static str> {
        OPTIONS.iter().filter(|(_, effect)| self.has(*effect)).map(|(name, _)| *name).collect()
    }

    fn has(&self, effect: Effect) -> bool {
        let of =
            |reach| if reach == Reach::All { self.attributes.all } else { self.attributes.one };
        let fs = match &self.kind {
            Kind::FileSystem(fs) | Kind::Remount { file_system: fs, .. } => Some(fs),
            _ => None,
        };
        let bind = match &self.kind {
            Kind::Bind(bind) => Some(bind),
            _ => None,
        };
        match effect {
            Effect::Set(bit, reach) => of(reach).set & bit != 0,
            Effect::Clear(bit, reach) => of(reach).clear & !of(reach).set & bit != 0,
            Effect::Atime(mode, reach) => {
                of(reach).clear & ATIME_FIELD != 0 && of(reach).set & ATIME_FIELD == mode
            }
            Effect::Nothing | Effect::NotAtime(..) => false,
            Effect::Super(flag, on) => fs.is_some_and(|fs| fs.flags.contains(&(flag, on))),
            Effect::Bind(reach) => bind.is_some_and(|bind| bind.recursive == (reach == Reach::All)),
            Effect::Remount => matches!(self.kind, Kind::Remount { .. }),
            Effect::Propagate(propagation) => self.propagation.contains(&propagation),
            Effect::IdMap(reach) => self.idmap.as_ref().is_some_and(|idmap| idmap.reach == reach),
            Effect::TmpCopyUp => fs.is_some_and(|fs| fs.copy_up),
            Effect::CopySymlink => bind.is_some_and(|bind| bind.copy_symlink),
            Effect::SourceNoFollow => bind.is_some_and(|bind| bind.nofollow && !bind.copy_symlink),
            Effect::DestinationNoFollow => self.destination_nofollow,
        }
    }

    /// The field of the configuration, for messages.
    pub fn field(&self) -> String {
        format!("mounts[{}]", self.index)
    }
}

/// The option that sets a propagation type.
pub fn propagation_name(propagation: Propagation) -> Option<&'static str> {
    let wanted = Effect::Propagate(propagation);
    OPTIONS.iter().find(|(_, effect)| *effect == wanted).map(|(name, _)| *name)
}

/// What the list of options of one mount says.
#[derive(Default)]
struct Options {
    attributes: Gathered,
    /// Whether an attribute of the mount itself is named.
    exact: bool,
    propagation: Vec<Propagation>,
    flags: Vec<(Super, bool)>,
    data: Vec<(String, Option<String>)>,
    bind: Option<Reach>,
    idmap: Option<Reach>,
    remount: bool,
    copy_up: Option<usize>,
    copy_symlink: bool,
    source_nofollow: bool,
    destination_nofollow: bool,
    /// Places of the options that only a file system can take.
    unknown: Vec<usize>,
    super_flags: Vec<usize>,
}

impl Options {
    fn read(list: &[String]) -> Self {
        let mut options = Self::default();
        for (place, option) in list.iter().enumerate() {
            match find(option) {
                Some(effect) => options.apply(effect, place),
                None if option.is_empty() => {}
                None => {
                    options.unknown.push(place);
                    options.data.extend(split_data(option));
                }
            }
        }
        options
    }

    fn apply(&mut self, effect: Effect, place: usize) {
        use Effect::{Atime, Clear, NotAtime, Set};
        if let Set(_, reach) | Clear(_, reach) | Atime(_, reach) | NotAtime(_, reach) = effect {
            self.exact |= reach == Reach::One;
        }
        match effect {
            Effect::Nothing => {}
            Set(bit, reach) => self.attributes.put(bit, 0, reach),
            Clear(bit, reach) => self.attributes.put(0, bit, reach),
            Atime(mode, reach) => self.attributes.atime(mode, reach),
            NotAtime(mode, reach) => self.attributes.not_atime(mode, reach),
            Effect::Super(flag, on) => {
                self.flags.retain(|(known, _)| *known != flag);
                self.flags.push((flag, on));
                self.super_flags.push(place);
            }
            // mount(2) has a flag for each of the two: "bind" takes nothing from "rbind".
            Effect::Bind(reach) if self.bind != Some(Reach::All) => self.bind = Some(reach),
            Effect::Bind(_) => {}
            Effect::Remount => self.remount = true,
            Effect::Propagate(propagation) => self.propagation.push(propagation),
            Effect::IdMap(reach) => self.idmap = Some(reach),
            Effect::TmpCopyUp => self.copy_up = Some(place),
            Effect::CopySymlink => self.copy_symlink = true,
            Effect::SourceNoFollow => self.source_nofollow = true,
            Effect::DestinationNoFollow => self.destination_nofollow = true,
        }
    }
}

/// One string of options as the file system reads it: `mount(2)` takes a list
/// with commas, so an entry may hold several. A comma that is quoted (SELinux
/// contexts) or escaped (overlay) does not separate.
fn split_data(option: &str) -> Vec<(String, Option<String>)> {
    let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for letter in option.chars() {
        match letter {
            ',' if !quoted && !escaped => parts.push(String::new()),
            _ => {
                quoted ^= letter == '"';
                if let Some(part) = parts.last_mut() {
                    part.push(letter);
                }
            }
        }
        escaped = letter == '\\' && !escaped;
    }
    let pair = |part: &String| match part.split_once('=') {
        Some((key, value)) if key.ends_with("context") => {
            (key.to_owned(), Some(value.trim_matches('"').to_owned()))
        }
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (part.clone(), None),
    };
    parts.iter().filter(|part| !part.is_empty()).map(pair).collect()
}

/// Plans `mounts[index]`; `None` if it is wrong.
pub fn plan(
    index: usize,
    mount: &spec::Mount,
    bundle: &Path,
    userns: UserNamespace<'_>,
    findings: &mut Findings,
) -> Option<Mount> {
    let field = format!("mounts[{index}]");
    check_text(&field, mount, findings);
    let options = Options::read(&mount.options);
    let destination = destination(&field, &mount.destination, findings);
    findings.keep(check_separate(&field, mount, &options))?;
    let place = destination.as_deref().unwrap_or("/");
    let kind = if options.remount {
        let bind = options.bind.is_some();
        Some(Kind::Remount { bind, file_system: file_system("", mount, &options, place) })
    } else if let Some(reach) = options.bind {
        bind(&field, mount, &options, reach, bundle, findings).map(Kind::Bind)
    } else {
        findings.keep(new_file_system(&field, mount, &options, place))
    };
    super::idmap::check(&format!("{field}.uidMappings"), &mount.uid_mappings, findings);
    super::idmap::check(&format!("{field}.gidMappings"), &mount.gid_mappings, findings);
    let idmap = findings.keep(idmap(&field, mount, &options, userns));
    if options.idmap.is_none() && !mount.uid_mappings.is_empty() {
        let rule = "a mapping without the option \"idmap\" or \"ridmap\": taken for idmap";
        findings.warn(Error::new(rule).at(format_args!("{field}.uidMappings")));
    }
    let (destination, kind) = (destination?, kind?);
    let fits = findings.keep(check_copy_up(&field, &kind, &options));
    findings.keep(check_proc(&field, &destination, &kind)).and(fits)?;
    Some(Mount {
        index,
        destination,
        kind,
        attributes: options.attributes,
        propagation: options.propagation,
        idmap: idmap?,
        destination_nofollow: options.destination_nofollow,
    })
}

/// No call of the kernel takes a NUL character.
fn check_text(field: &str, mount: &spec::Mount, findings: &mut Findings) {
    let named = [
        ("destination", Some(&mount.destination)),
        ("type", mount.kind.as_ref()),
        ("source", mount.source.as_ref()),
    ];
    let options = mount.options.iter().map(|option| ("options", Some(option)));
    for (name, _) in named
        .into_iter()
        .chain(options)
        .filter(|(_, text)| text.is_some_and(|text| text.contains('\0')))
    {
        findings.refuse(format_args!("{field}.{name}"), "contains a NUL character");
    }
}

fn destination(field: &str, path: &str, findings: &mut Findings) -> Option<String> {
    if path.is_empty() {
        findings.refuse(format_args!("{field}.destination"), "must not be empty");
        return None;
    }
    if !path.starts_with('/') {
        findings.warn(
            Error::new(format!("{path:?} is relative, taken from /"))
                .at(format_args!("{field}.destination")),
        );
    }
    Some(clean(path))
}

fn bind(
    field: &str,
    mount: &spec::Mount,
    options: &Options,
    reach: Reach,
    bundle: &Path,
    findings: &mut Findings,
) -> Option<Bind> {
    let option = |place: usize| mount.options.get(place).map_or("", String::as_str);
    // A value is for the file system: mount(2) ignores it with MS_BIND. A word may be an
    // attribute that was spelt wrong, whose lack nobody would notice.
    let (for_the_file_system, misspelt): (Vec<usize>, Vec<usize>) =
        options.unknown.iter().partition(|&&place| option(place).contains('='));
    for place in misspelt {
        let message = format!(
            "{:?} is unknown, and a bind mount passes nothing on to a file system",
            option(place)
        );
        findings.error(
            Error::new(message)
                .at(format_args!("{field}.options[{place}]"))
                .guess(nearest(option(place), names())),
        );
    }
    for &place in for_the_file_system.iter().chain(&options.super_flags) {
        findings.warn(
            Error::new(format!(
                "{:?} belongs to the file system: no effect on a bind mount",
                option(place)
            ))
            .at(format_args!("{field}.options[{place}]")),
        );
    }
    let source = mount.source.as_deref().filter(|source| !source.is_empty());
    let missing = || Error::new("required for a bind mount").at(format_args!("{field}.source"));
    Some(Bind {
        // `join` takes an absolute source as it is.
        source: bundle.join(findings.keep(source.ok_or_else(missing))?),
        recursive: reach == Reach::All,
        exact: options.exact,
        nofollow: options.source_nofollow || options.copy_symlink,
        copy_symlink: options.copy_symlink,
    })
}

fn new_file_system(
    field: &str,
    mount: &spec::Mount,
    options: &Options,
    destination: &str,
) -> Result<Kind, Error> {
    match mount.kind.as_deref() {
        None | Some("") => Err(Error::new("required unless options hold \"bind\" or \"rbind\"")
            .at(format_args!("{field}.type"))),
        Some(kind @ ("bind" | "none")) => Err(Error::new(format!(
            "a mount of type {kind:?} needs the option \"bind\" or \"rbind\""
        ))
        .at(format_args!("{field}.options"))),
        Some("cgroup") => Ok(Kind::Cgroup),
        Some(kind) => Ok(Kind::FileSystem(file_system(kind, mount, options, destination))),
    }
}

fn file_system(
    kind: &str,
    mount: &spec::Mount,
    options: &Options,
    destination: &str,
) -> FileSystem {
    let readonly = options.attributes.flat() & RDONLY != 0;
    FileSystem {
        kind: kind.to_owned(),
        source: mount.source.clone().filter(|source| !source.is_empty()),
        flags: options.flags.clone(),
        data: options.data.clone(),
        // Devices, mount points and copies must be written first.
        late_readonly: readonly && (kind == "tmpfs" || destination == "/dev"),
        copy_up: options.copy_up.is_some(),
    }
}

/// Options are separate strings. A file system reads several in one, but none that is ours.
fn check_separate(field: &str, mount: &spec::Mount, options: &Options) -> Result<(), Error> {
    for &place in &options.unknown {
        let Some(option) = mount.options.get(place).filter(|option| option.contains(',')) else {
            continue;
        };
        let is_ours = |part: &str| {
            let of_both =
                |effect| matches!(effect, Effect::Super(..)) || matches!(part.trim(), "ro" | "rw");
            find(part.trim()).is_some_and(|effect| options.bind.is_some() || !of_both(effect))
        };
        if option.split(',').any(is_ours) {
            let separate: Vec<&str> = option.split(',').map(str::trim).collect();
            return Err(Error::new(format!("{option:?} is several options"))
                .at(format_args!("{field}.options[{place}]"))
                .hint(format!("each is a string of its own: {separate:?}")));
        }
    }
    Ok(())
}

fn idmap(
    field: &str,
    mount: &spec::Mount,
    options: &Options,
    userns: UserNamespace<'_>,
) -> Result<Option<IdMap>, Error> {
    let (uids, gids) = (&mount.uid_mappings, &mount.gid_mappings);
    if uids.is_empty() != gids.is_empty() {
        let missing = if uids.is_empty() { "uidMappings" } else { "gidMappings" };
        return Err(Error::new("uidMappings and gidMappings must be given both or neither")
            .at(format_args!("{field}.{missing}")));
    }
    // A mapping without the option is a mapping still (R011).
    let reach = match options.idmap {
        Some(reach) => reach,
        None if uids.is_empty() => return Ok(None),
        None => Reach::One,
    };
    let maps = match userns {
        _ if !uids.is_empty() => Maps::Given(uids.clone(), gids.clone()),
        UserNamespace::New(uids, gids) => Maps::Given(uids.to_vec(), gids.to_vec()),
        UserNamespace::Joined => Maps::JoinedUserNamespace,
        UserNamespace::Host => {
            return Err(Error::new(
                "\"idmap\" without uidMappings and gidMappings needs a user namespace",
            )
            .at(format_args!("{field}.options")));
        }
    };
    if options.remount {
        return Err(Error::new("\"idmap\" cannot be remounted").at(format_args!("{field}.options")));
    }
    Ok(Some(IdMap { maps, reach }))
}

fn check_copy_up(field: &str, kind: &Kind, options: &Options) -> Result<(), Error> {
    match (options.copy_up, kind) {
        (Some(place), Kind::FileSystem(fs)) if fs.kind != "tmpfs" => {
            Err(Error::new(format!("\"tmpcopyup\" is for tmpfs, not for {}", fs.kind))
                .at(format_args!("{field}.options[{place}]")))
        }
        (Some(place), Kind::Bind(_) | Kind::Cgroup | Kind::Remount { .. }) => {
            Err(Error::new("\"tmpcopyup\" is for a new tmpfs")
                .at(format_args!("{field}.options[{place}]")))
        }
        _ => Ok(()),
    }
}

/// Only a real procfs on /proc, and only what lxcfs emulates below it. That the
/// source of a bind mount is a procfs is seen when it is opened.
fn check_proc(field: &str, destination: &str, kind: &Kind) -> Result<(), Error> {
    if !is_under(destination, "/proc") || matches!(kind, Kind::Remount { .. }) {
        return Ok(());
    }
    let fits = match kind {
        _ if destination != "/proc" => PROC_FILES.contains(&destination),
        Kind::FileSystem(fs) => fs.kind == "proc",
        Kind::Bind(_) => true,
        Kind::Cgroup | Kind::Remount { .. } => false,
    };
    if fits {
        return Ok(());
    }
    let rule = match destination {
        "/proc" => "\"/proc\" takes only a mount of type proc".into(),
        _ => format!("{destination:?} cannot be mounted because it is inside /proc"),
    };
    Err(Error::new(rule).at(format_args!("{field}.destination")))
}
