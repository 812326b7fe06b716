//! A root that is an overlay: a detached mount, as any other root is, so nothing of it is ever
//! seen on the host, and it goes with the container's mount namespace.
//!
//! The parent makes it, with the host's privileges and in its user namespace: whiteouts and
//! opaque directories of layers are then those that root has unpacked (`trusted.overlay.*`). A
//! caller without privileges leaves it to the child, whose user namespace owns it; there the
//! attributes are `user.overlay.*`.
//!
//! Since Linux 6.15 an overlay is made of mounts that are not attached anywhere. Before that they
//! must be in the mount namespace of who makes it: that is the child's own, or a copy of the
//! parent's that is given up at once.

use super::host::in_a_copy;
use super::idmap::idmap_file;
use super::minimal::FIRST_USER_NAMESPACE;
use super::root::NO_ROOT;
use super::source::Tree;
use super::{Context, mount};
use crate::error::{At as _, Context as _, Error, Result};
use crate::plan::Rootfs;
use crate::plan::mounts::FileSystem;
use crate::plan::overlay::{Lower, NOT_OWN, Origin, Overlay, Upper};
use crate::sys::mount::{Change, NODEV, NOEXEC, NOSUID, NOSYMFOLLOW, mount_setattr, place};
use crate::sys::userfault::page_size;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, Gid, Mode, OFlags, StatVfsMountFlags, Uid, fchmod, fchown, fstat, fstatvfs,
    mkdirat, open, openat, renameat, stat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, UnmountFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_string,
    fsmount, fsopen, unmount,
};
use rustix::process::{chdir, fchdir};
use std::ffi::CStr;
use std::path::Path;

/// Files that even the smallest tmpfs has room for: images have as many mount points and links.
const LEAST_FILES: u64 = 1024;

/// What a distribution may have set otherwise for the module, and what is meant here.
///
/// `metacopy` and `redirect_dir` would believe attributes of files that come from an image. An
/// `index` would tie what is kept to the very inodes of the lower directories, so that no copy of
/// them would do; what it protects from, a second container, the holder's file does. `xino` gives
/// each file one number for as long as it is mounted, so that tar(1) and du(1) know it again.
const OPTIONS: [(&str, &str); 4] =
    [("metacopy", "off"), ("redirect_dir", "nofollow"), ("index", "off"), ("xino", "auto")];

/// The root, made by the parent. `None`: only the child may make it.
pub(super) fn open_root(
    plan: &Rootfs,
    overlay: &Overlay,
    context: &Context<'_>,
) -> Result<Option<Tree>> {
    let new = match new_file_system() {
        // Nothing else that is refused is left to the child: there it would mean another thing.
        Err(error) if error.errno() == Some(Errno::PERM) => return Ok(None),
        new => new?,
    };
    let making = Making::begin(plan, overlay, context)?;
    let made = making.make(&new, None);
    match context.proc {
        Some(proc) if wants_attached(&made) => {
            in_a_copy(proc, || making.make(&new_file_system()?, Some(&plan.path)))
        }
        _ => made,
    }
    .map(Some)
}

/// The root, made by the child in its own mount namespace, which is a copy of the host's.
pub(super) fn own_root(plan: &Rootfs, overlay: &Overlay, context: &Context<'_>) -> Result<Tree> {
    let making = Making::begin(plan, overlay, context)?;
    let made = making.make(&new_file_system()?, None);
    if wants_attached(&made) {
        return making.make(&new_file_system()?, Some(&plan.path));
    }
    made
}

/// Of a mount that is not attached the kernel says EINVAL before Linux 6.15, as of much else.
fn wants_attached(made: &Result<Tree>) -> bool {
    matches!(made, Err(error) if error.errno() == Some(Errno::INVAL))
}

fn new_file_system() -> Result<OwnedFd> {
    fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .call(|| "fsopen overlay".into())
        .map_err(|error| mount::explain_missing(error, "overlay"))
}

/// Everything that an overlay is made of.
struct Making<'a> {
    plan: &'a Rootfs,
    overlay: &'a Overlay,
    /// Whether the user namespace that we are in is another than the host's.
    in_userns: bool,
    idmap: Option<OwnedFd>,
}

/// The lower directories are found, the upper one is made.
struct Parts {
    /// The lowest first.
    lowers: Vec<OwnedFd>,
    upper: OwnedFd,
    work: OwnedFd,
    /// What upper and work are on, unless they are kept.
    tmpfs: Option<OwnedFd>,
    /// What the mounts of all these forbid.
    attributes: u64,
}

impl<'a> Making<'a> {
    fn begin(plan: &'a Rootfs, overlay: &'a Overlay, context: &Context<'_>) -> Result<Self> {
        let path = "self/ns/user";
        let own = match context.proc {
            Some(proc) => statat(proc, path, AtFlags::empty()),
            None => stat(format!("/proc/{path}")),
        };
        let in_userns = own.call(|| format!("stat /proc/{path}"))?.st_ino != FIRST_USER_NAMESPACE;
        let idmap = match &overlay.idmap {
            // There the layers belong to the caller, as what is written does.
            Some(maps) if !in_userns => Some(idmap_file(maps, context).at(|| "id mapping")?),
            _ => None,
        };
        Ok(Self { plan, overlay, in_userns, idmap })
    }

    /// Makes it of `new`. `meanwhile` is where mounts are attached that it is made of, where the
    /// kernel wants that.
    fn make(&self, new: &OwnedFd, meanwhile: Option<&Path>) -> Result<Tree> {
        let parts = self.parts()?;
        if let Some(path) = meanwhile {
            self.attach(&parts, path)?;
        }
        let context = new.as_fd();
        let made = match self.name_directories(context, &parts) {
            Ok(true) => self.finish(context, parts.attributes),
            Ok(false) => self.by_mount(&parts, meanwhile),
            Err(error) => Err(error),
        };
        if meanwhile.is_some() {
            parts.detach()?;
        }
        made.map(|fd| Tree { fd, unchanged: false }).at(|| "overlay")
    }

    fn parts(&self) -> Result<Parts> {
        self.check_place()?;
        let lowers: Vec<OwnedFd> =
            self.overlay.lowers.iter().map(|lower| self.lower(lower)).collect::<Result<_>>()?;
        let mut attributes = 0;
        for fd in &lowers {
            attributes |= forbidden(fd.as_fd())?;
        }
        let top =
            lowers.last().ok_or_else(|| Error::new("overlay: there is no lower directory"))?;
        let (upper, work, tmpfs) = match &self.overlay.upper {
            Upper::Tmpfs(size) => {
                let tmpfs = self.tmpfs(*size)?;
                let (upper, work) = self.directories(tmpfs.as_fd(), top.as_fd())?;
                (upper, work, Some(tmpfs))
            }
            Upper::Dir(path) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let dir = open(path, flags, Mode::empty());
                let dir = dir.call(|| format!("open {}", path.display())).at(|| "--overlay-dir")?;
                let made = self.directories(dir.as_fd(), top.as_fd());
                let (upper, work) = made.at(|| format!("--overlay-dir {}", path.display()))?;
                attributes |= forbidden(upper.as_fd())?;
                (upper, work, None)
            }
        };
        Ok(Parts { lowers, upper, work, tmpfs, attributes })
    }

    /// An image's layers are shown to no bundle that has a root of its own: the annotation may
    /// be the image's, too.
    fn check_place(&self) -> Result<()> {
        if !self.overlay.has_own_place() {
            return Ok(());
        }
        own_place(&self.plan.path)
    }

    fn lower(&self, lower: &Lower) -> Result<OwnedFd> {
        let fd = open_lower(lower)?;
        let Some(idmap) = self.idmap.as_ref().filter(|_| lower.origin == Origin::Layers) else {
            return Ok(fd);
        };
        let call = |what: &str| format!("{what} {}", lower.path.display());
        let at = || lower.origin.field();
        let tree = mount::clone_fd(fd.as_fd(), false).call(|| call("open_tree")).at(at)?;
        let change = Change { idmap: Some(idmap.as_fd()), ..Change::default() };
        mount_setattr(tree.as_fd(), &change)
            .call(|| call(&mount::describe(&change)))
            .at(at)
            .hint(|| "its file system must allow id-mapped mounts")?;
        Ok(tree)
    }

    /// Nobody ever walks into it, so its own mode and flags are the strictest.
    fn tmpfs(&self, size: Option<u64>) -> Result<OwnedFd> {
        let option = |name: &str, value: String| (name.to_owned(), Some(value));
        let mut data = vec![option("mode", "0700".into())];
        if let Some(size) = size {
            // An empty file takes no page, but memory of the kernel. So many, one for each page,
            // tmpfs has without a size.
            let files = (size / 4096).max(LEAST_FILES);
            data.extend([option("size", size.to_string()), option("nr_inodes", files.to_string())]);
        }
        let fs = FileSystem { kind: "tmpfs".into(), data, ..FileSystem::default() };
        mount::new(&fs, NOSUID | NODEV, self.plan.mount_label.as_deref())
    }

    /// `upper` and `work` in a directory.
    fn directories(&self, dir: BorrowedFd<'_>, top: BorrowedFd<'_>) -> Result<(OwnedFd, OwnedFd)> {
        let upper = match self.overlay.upper {
            Upper::Tmpfs(_) => self.new_upper(dir, c"upper", top)?,
            Upper::Dir(_) => self.kept_upper(dir, top)?,
        };
        mkdirat(dir, "work", Mode::RWXU).call(|| "mkdir work".into())?;
        Ok((upper, open_directory(dir, c"work").call(|| "open work".into())?))
    }

    /// That of an earlier container, or a new one, which gets its name when it is complete.
    fn kept_upper(&self, dir: BorrowedFd<'_>, top: BorrowedFd<'_>) -> Result<OwnedFd> {
        // What a container that was killed has left there.
        empty(dir, c"work", DEPTH).at(|| "work")?;
        match open_directory(dir, c"upper") {
            Err(Errno::NOENT) => {}
            upper => return upper.call(|| "open upper".into()),
        }
        let upper = self.new_upper(dir, c"upper.new", top)?;
        renameat(dir, c"upper.new", dir, c"upper").call(|| "rename upper".into())?;
        Ok(upper)
    }

    /// The root of the container has the mode and owner of the topmost lower directory.
    fn new_upper(&self, dir: BorrowedFd<'_>, name: &CStr, top: BorrowedFd<'_>) -> Result<OwnedFd> {
        match mkdirat(dir, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::os("mkdir upper", errno)),
        }
        let upper = open_directory(dir, name).call(|| "open upper".into())?;
        let like = fstat(top).call(|| "fstat of the topmost lower directory".into())?;
        let (uid, gid) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
        match fchown(&upper, Some(uid), Some(gid)) {
            // An id that the user namespace does not map is nobody's there.
            Err(Errno::PERM | Errno::INVAL) if self.in_userns => {}
            done => done.call(|| format!("fchown {}:{}", like.st_uid, like.st_gid))?,
        }
        let mode = Mode::from_raw_mode(like.st_mode & 0o7777);
        fchmod(&upper, mode).call(|| format!("fchmod {:04o}", mode.as_raw_mode()))?;
        Ok(upper)
    }

    /// Tells the kernel which directories it is made of, the topmost first. `false`: it knows no
    /// `lowerdir+` (Linux 6.8), and mount(2) is left.
    fn name_directories(&self, context: BorrowedFd<'_>, parts: &Parts) -> Result<bool> {
        // Since Linux 6.13 it takes descriptors.
        let mut by_fd = true;
        for (at, (fd, lower)) in parts.lowers.iter().zip(&self.overlay.lowers).rev().enumerate() {
            match name(context, "lowerdir+", fd, &mut by_fd) {
                Err(Errno::INVAL) if at == 0 => return Ok(false),
                named => named.call(|| format!("fsconfig lowerdir+ {}", lower.path.display())),
            }
            .map_err(|error| mount::explain(context, error))?;
        }
        for (key, fd) in [("upperdir", &parts.upper), ("workdir", &parts.work)] {
            name(context, key, fd, &mut by_fd)
                .call(|| format!("fsconfig {key}"))
                .map_err(|error| mount::explain(context, error))?;
        }
        Ok(true)
    }

    fn options(&self) -> FileSystem {
        let value = |(key, value): (&str, &str)| (key.to_owned(), Some(value.to_owned()));
        let mut data: Vec<_> = OPTIONS.into_iter().map(value).collect();
        if self.in_userns {
            data.push(("userxattr".into(), None));
        }
        let source = Some(self.source());
        FileSystem { kind: "overlay".into(), source, data, ..FileSystem::default() }
    }

    /// Of an ID-mapped layer the kernel shows no path, and `pinnace-image` must see which layers are
    /// in use: by the name of the topmost one, of which it knows the others.
    fn source(&self) -> String {
        let top = self.overlay.lowers.last();
        let top = top.filter(|top| self.idmap.is_some() && top.origin == Origin::Layers);
        let name = top.and_then(|top| top.path.file_name());
        name.map_or_else(|| "overlay".into(), |name| name.to_string_lossy().into_owned())
    }

    fn finish(&self, context: BorrowedFd<'_>, attributes: u64) -> Result<OwnedFd> {
        let label = self.plan.mount_label.as_deref();
        mount::configure(context, &self.options(), 0, label)
            .and_then(|()| fsconfig_create(context).call(|| "mount".into()))
            .map_err(|error| self.explain(mount::explain(context, error)))?;
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, mount::attr_flags(attributes))
            .call(|| "fsmount".into())
            .map_err(|error| mount::explain(context, error))
    }

    /// Before Linux 6.8. All options of mount(2) together fit into a page.
    fn by_mount(&self, parts: &Parts, meanwhile: Option<&Path>) -> Result<OwnedFd> {
        // It is mounted for a moment: not in the host's own mount namespace.
        let Some(place) = meanwhile else { return Err(Error::os("lowerdir+", Errno::INVAL)) };
        let fs = with_directories(self.options(), parts, page_size())?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = open(place, flags, Mode::empty()).call(|| "open the root".into())?;
        let label = self.plan.mount_label.as_deref();
        mount::new_classic(&fs, parts.attributes, label, place.as_fd())
            .map_err(|error| self.explain(error))
    }

    /// In a mount namespace of ours, one upon the other.
    fn attach(&self, parts: &Parts, path: &Path) -> Result<()> {
        let mapped = |lower: &Lower| self.idmap.is_some() && lower.origin == Origin::Layers;
        let lowers = parts.lowers.iter().zip(&self.overlay.lowers);
        let trees = lowers.filter(|(_, lower)| mapped(lower)).map(|(fd, _)| fd);
        for fd in trees.chain(&parts.tmpfs) {
            mount::attach_at(fd.as_fd(), path)
                .call(|| format!("move_mount to {}", path.display()))?;
        }
        Ok(())
    }

    fn explain(&self, error: Error) -> Error {
        error.hint_on(Errno::LOOP, "one of the directories lies in another").hint_on(
            Errno::INVAL,
            match self.in_userns {
                // It hides what lies there (mount_namespaces(7), "locked").
                true => "is something mounted below one of the directories? dmesg(1) may tell more",
                false => "dmesg(1) may tell why",
            },
        )
    }
}

impl Parts {
    /// Takes the tmpfs off again: the overlay has its own hold on it.
    fn detach(&self) -> Result<()> {
        let Some(tmpfs) = &self.tmpfs else { return Ok(()) };
        // "." is the root of the tmpfs itself.
        fchdir(tmpfs).call(|| "fchdir".into())?;
        unmount(".", UnmountFlags::DETACH).call(|| "umount the tmpfs of an overlay".into())?;
        chdir("/").call(|| "chdir /".into())
    }
}

/// The options with the directories. A path of procfs is as short as any, and no letter of it has
/// to be escaped.
fn with_directories(mut fs: FileSystem, parts: &Parts, page: usize) -> Result<FileSystem> {
    let path = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let lowers: Vec<_> = parts.lowers.iter().rev().map(path).collect();
    for (key, value) in [
        ("lowerdir", lowers.join(":")),
        ("upperdir", path(&parts.upper)),
        ("workdir", path(&parts.work)),
    ] {
        fs.data.push((key.into(), Some(value)));
    }
    let length = |(key, value): &(String, Option<String>)| {
        key.len() + value.as_ref().map_or(0, |value| 1 + value.len()) + 1
    };
    let bytes: usize = fs.data.iter().map(length).sum();
    if bytes < page {
        return Ok(fs);
    }
    let count = lowers.len();
    let message = format!("{count} lower directories take {bytes} bytes of {page} for mount(2)");
    Err(Error::new(message).hint("this kernel takes so many no other way: Linux 6.8 does"))
}

/// Names one directory, by its descriptor, or from the first that is refused on by its path in
/// procfs.
fn name(
    context: BorrowedFd<'_>,
    key: &str,
    fd: &OwnedFd,
    by_fd: &mut bool,
) -> rustix::io::Result<()> {
    if *by_fd {
        match fsconfig_set_fd(context, key, fd) {
            Err(Errno::INVAL) => *by_fd = false,
            named => return named,
        }
    }
    fsconfig_set_string(context, key, format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Attributes of the mount that a directory is on, as far as they forbid something: what is
/// forbidden there is not to be had by way of an overlay.
fn forbidden(dir: BorrowedFd<'_>) -> Result<u64> {
    let flags = fstatvfs(dir).call(|| "fstatfs of a directory for an overlay".into())?.f_flag;
    // ST_NOSYMFOLLOW: statfs(2).
    let nosymfollow = StatVfsMountFlags::from_bits_retain(0x2000);
    let all = [
        (StatVfsMountFlags::NOSUID, NOSUID),
        (StatVfsMountFlags::NODEV, NODEV),
        (StatVfsMountFlags::NOEXEC, NOEXEC),
        (nosymfollow, NOSYMFOLLOW),
    ];
    Ok(all.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, bit)| bit).sum())
}

/// Opens a lower directory.
pub(super) fn open_lower(lower: &Lower) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(&lower.path, flags, Mode::empty())
        .call(|| format!("open {}", lower.path.display()))
        .at(|| lower.origin.field())
        .map_err(|error| match (error.errno(), lower.origin) {
            (Some(Errno::NOENT), Origin::Root) => error.hint(NO_ROOT),
            (Some(Errno::NOENT), Origin::Layers) => error.hint("unpack the image again"),
            (Some(Errno::MFILE), _) => error.hint("more layers than open files (ulimit -n)"),
            _ => error,
        })
}

/// Whether the root is a place for layers and nothing else.
///
/// # Errors
/// If it is not: an engine has made it.
pub(super) fn own_place(path: &Path) -> Result<()> {
    let field = Origin::Layers.field();
    let shown = path.display();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(path, flags, Mode::empty());
    let root = root.call(|| format!("open {shown}")).at(|| "root.path")?;
    let found = place(root.as_fd(), "", AtFlags::EMPTY_PATH);
    if found.call(|| format!("statx {shown}")).at(|| "root.path")?.is_root {
        let message = format!("{shown} is a mount, as of an engine");
        return Err(Error::new(message).at(&field).hint(NOT_OWN));
    }
    match names(root.as_fd(), 1).call(|| format!("read {shown}")).at(|| "root.path")?.as_slice() {
        [] => Ok(()),
        [name, ..] => {
            let name = name.to_string_lossy();
            let message = format!("{shown} is not empty, it has {name:?}");
            Err(Error::new(message).at(&field).hint(NOT_OWN))
        }
    }
}

/// The names in a directory, the first `most` of them.
fn names(dir: BorrowedFd<'_>, most: usize) -> rustix::io::Result<Vec<std::ffi::CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
            if names.len() == most {
                break;
            }
        }
    }
    Ok(names)
}

fn open_directory(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

/// The kernel leaves directories in `work` that are no deeper than three.
const DEPTH: usize = 16;

/// Removes `name` and what is below it. No link is followed; nobody else is at work there.
fn empty(dir: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<()> {
    let show = || name.to_string_lossy();
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(Error::os(format!("unlink {}", show()), errno)),
    }
    if depth == 0 {
        return Err(Error::new(format!("{} is too deep for what the kernel leaves", show()))
            .hint("remove it by hand"));
    }
    let below = open_directory(dir, name).call(|| format!("open {}", show()))?;
    for name in names(below.as_fd(), usize::MAX).call(|| format!("read {}", show()))? {
        empty(below.as_fd(), &name, depth - 1)?;
    }
    unlinkat(dir, name, AtFlags::REMOVEDIR).call(|| format!("rmdir {}", show()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // what a test cannot do, it fails at
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_left_in_work_goes_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (work, decoy) = (dir.path().join("work"), dir.path().join("decoy"));
        fs::create_dir_all(work.join("work/a/b")).unwrap();
        fs::create_dir_all(decoy.join("x")).unwrap();
        fs::write(work.join("work/#1"), "x").unwrap();
        symlink(&decoy, work.join("work/link")).unwrap();
        let fd = fs::File::open(dir.path()).unwrap();
        empty(fd.as_fd(), c"work", DEPTH).unwrap();
        assert!(!work.exists() && decoy.join("x").exists());
        empty(fd.as_fd(), c"work", DEPTH).unwrap();
        symlink(&decoy, &work).unwrap();
        empty(fd.as_fd(), c"work", DEPTH).unwrap();
        assert!(!work.is_symlink() && decoy.join("x").exists());
        fs::create_dir_all(work.join("a/".repeat(20))).unwrap();
        assert!(empty(fd.as_fd(), c"work", DEPTH).is_err());
    }

    #[test]
    fn all_directories_fit_into_a_page_or_their_number_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let open = || OwnedFd::from(fs::File::open(dir.path()).unwrap());
        let parts = |count: usize| Parts {
            lowers: (0..count).map(|_| open()).collect(),
            upper: open(),
            work: open(),
            tmpfs: None,
            attributes: 0,
        };
        let some = with_directories(FileSystem::default(), &parts(200), 4096).unwrap();
        let (key, value) = &some.data[0];
        assert_eq!((key.as_str(), value.as_ref().unwrap().split(':').count()), ("lowerdir", 200));
        let error = with_directories(FileSystem::default(), &parts(260), 4096).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("260 lower directories") && error.contains("Linux 6.8"), "{error}");
    }
}
