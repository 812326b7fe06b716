//! The child's side before pivot_root: attach, mount, populate /dev.

use super::host::Host;
use super::root::{Links, Node, Root};
use super::source::{Source, Tree};
use super::sources::{Sources, clone_root, root_change};
use super::target::{change_attached, links, propagate, target};
use super::{Context, Ground, bind, cgroup, devices, filesystem, host, mount, overlay};
use crate::error::{At, Context as _, Error, Result};
use crate::plan::Rootfs;
use crate::plan::mounts::{Bind, Kind, Mount};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{Mode, OFlags, open, readlinkat, symlinkat};
use rustix::io::Errno;
use rustix::process::umask;
use std::ffi::CStr;
use std::path::Path;

/// Builds the tree in the child's mount namespace. Leaves the umask at 0 and
/// may change the working directory: the caller sets both later.
pub fn build(
    plan: &Rootfs,
    mut sources: Sources,
    context: &Context<'_>,
    ground: Ground,
) -> Result<Root> {
    // Modes are those of the configuration.
    umask(Mode::empty());
    if ground != Ground::Shared {
        // First, or our mounts reach the host.
        host::make_slave()?;
    }
    let host = match (sources.host.take(), context.proc) {
        (Some(namespace), Some(proc)) => Some(Host::new(namespace, proc)?),
        _ => None,
    };
    let locks = sources.locks.take();
    if let Some(locks) = &locks {
        locks.take_early(&mut sources)?;
    }
    let mut root = attach_root(plan, &mut sources, context, ground)?;
    root.scarce = sources.nofile.is_raised();
    for (index, mount) in plan.mounts.iter().enumerate() {
        if let Some(host) = &host {
            take_in_turn(plan, index, &mut sources, host)?;
        }
        if let (Some(locks), Some(source)) = (&locks, sources.mounts.get_mut(index)) {
            locks.take_for(mount, source).at(|| mount.field())?;
        }
        make(plan, mount, index, &mut sources, &mut root, context)
            .map_err(|error| mark_hidden(error, plan, mount, ground))
            .at(|| mount.field())?;
    }
    devices::create(plan, &sources, &mut root)?;
    sources.nofile.restore()?;
    Ok(root)
}

fn attach_root(
    plan: &Rootfs,
    sources: &mut Sources,
    context: &Context<'_>,
    ground: Ground,
) -> Result<Root> {
    if !plan.is_mounted() {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(&plan.path, flags, Mode::empty())
            .call(|| format!("open {}", plan.path.display()))
            .at(|| "root.path")?;
        return Ok(Root::new(fd));
    }
    let Tree { fd, unchanged } = match sources.rootfs.take() {
        Some(tree) => tree,
        None => match &plan.overlay {
            Some(overlay) => overlay::own_root(plan, overlay, context)?,
            None => clone_root(plan)?,
        },
    };
    // The path only says where hooks will see the tree: it is reached by `fd`.
    let path = match ground {
        Ground::Minimal => Path::new("/"),
        Ground::Shared | Ground::Copy => &plan.path,
    };
    mount::attach_at(fd.as_fd(), path)
        .call(|| format!("move_mount to {}", path.display()))
        .at(|| "root.path")?;
    if unchanged {
        mount::change(fd.as_fd(), &root_change(plan)).at(|| "root.path")?;
    }
    Ok(Root::new(fd))
}

/// All sources of bind mounts from `index` to the next mount that is made of something else
/// than the host's, if they have not been taken yet.
fn take_in_turn(plan: &Rootfs, index: usize, sources: &mut Sources, host: &Host) -> Result<()> {
    if !matches!(sources.mounts.get(index), Some(Source::Host)) {
        return Ok(());
    }
    host.visit(|| {
        for (at, mount) in plan.mounts.iter().enumerate().skip(index) {
            match (&mount.kind, &sources.mounts[at]) {
                (Kind::Bind(bind), Source::Host) => {
                    let source = bind::open(plan, mount, bind, sources.idmap(mount));
                    sources.mounts[at] = source.at(|| mount.field())?;
                }
                (Kind::Bind(_), Source::Tree(..) | Source::Symlink(_) | Source::Path) => {}
                _ => break,
            }
        }
        Ok(())
    })
}

fn make(
    plan: &Rootfs,
    mount: &Mount,
    index: usize,
    sources: &mut Sources,
    root: &mut Root,
    context: &Context<'_>,
) -> Result<()> {
    let source = sources.mounts.get_mut(index).map(std::mem::take).unwrap_or_default();
    let idmap = sources.idmap(mount);
    match &mount.kind {
        Kind::Bind(bind) => {
            let source = match source {
                Source::Inside(path) => {
                    bind::open_inside(plan, mount, bind, idmap, (&*root, context.proc), &path)?
                }
                // A caller without privileges took none, or the host's mount namespace may not
                // be visited: this one is a copy of it.
                Source::Path | Source::Host => bind::open(plan, mount, bind, idmap)?,
                taken => taken,
            };
            bind_mount(plan, mount, bind, source, idmap, root, context)
        }
        Kind::FileSystem(fs) => {
            let instead = match source {
                Source::Fallback(tree) => Some(tree),
                _ => None,
            };
            let target = filesystem::target(mount, fs, root)?;
            let made = filesystem::make(plan, mount, fs, idmap, instead, &target, root)?;
            root.hold(mount, target.found, made, context.proc)
        }
        Kind::Cgroup => {
            let taken = match source {
                Source::Fallback(tree) => vec![tree],
                Source::Sent(trees) => trees,
                _ => Vec::new(),
            };
            let target = target(mount, root, || Ok(Node::Dir))?;
            let made = cgroup::make(plan, mount, taken, target.fd.as_fd(), context)?;
            root.hold(mount, target, made, context.proc)
        }
        Kind::Remount { bind, file_system } => {
            let target = root
                .open(&mount.destination, links(mount))
                .call(|| format!("remount {}: open", mount.destination))?;
            if !bind {
                mount::reconfigure(target.as_fd(), file_system, mount.attributes.one)?;
            }
            change_attached(mount, target.as_fd()).map_err(|error| match error.errno() {
                Some(Errno::PERM) if plan.user_namespace => {
                    error.hint("what the host, or an entry before it, has set cannot be cleared in a user namespace")
                }
                _ => error,
            })
        }
    }
}

/// A user namespace gets a procfs where a whole one is seen. In a minimal mount namespace that can
/// be the host's own one alone, at /proc; but it may have others.
fn mark_hidden(error: Error, plan: &Rootfs, mount: &Mount, ground: Ground) -> Error {
    let is_proc = matches!(&mount.kind, Kind::FileSystem(fs) if fs.kind == "proc");
    let is_minimal = plan.user_namespace && ground == Ground::Minimal;
    match is_proc && is_minimal && error.errno() == Some(Errno::PERM) {
        true => error.kind(crate::error::Kind::NotShown),
        false => error,
    }
}

fn bind_mount(
    plan: &Rootfs,
    mount: &Mount,
    bind: &Bind,
    source: Source,
    idmap: Option<BorrowedFd<'_>>,
    root: &mut Root,
    context: &Context<'_>,
) -> Result<()> {
    let (tree, flags) = match source {
        Source::Symlink(link) => return copy_symlink(&link, mount, root),
        Source::Tree(tree, flags) => (tree, flags),
        _ => return Err(bind::refused(bind)),
    };
    let fd = tree.fd.as_fd();
    let node = || {
        let is_directory = mount::is_directory(fd)
            .call(|| format!("fstat {}", bind.source.display()))
            .map_err(mount::explain_access)?;
        Ok(if is_directory { Node::Dir } else { Node::File })
    };
    let target = target(mount, root, node)?;
    mount::attach_as(fd, target.fd.as_fd(), || {
        format!("bind {} on {}", bind.source.display(), mount.destination)
    })?;
    if plan.user_namespace {
        // Where a mount namespace of another owner is copied, nothing stays shared.
        propagate(mount, fd)?;
    }
    if tree.unchanged {
        bind::change_attributes(plan, mount, bind, idmap, flags, |changes| {
            changes.iter().try_for_each(|change| mount::change(fd, change))
        })?;
    }
    root.hold(mount, target, tree.fd, context.proc)
}

/// `copy-symlink`: the same link, at the destination.
fn copy_symlink(link: &CStr, mount: &Mount, root: &Root) -> Result<()> {
    let (parent, name) = mount.destination.rsplit_once('/').unwrap_or(("", ""));
    let parent = if parent.is_empty() { "/" } else { parent };
    let dir = root.ensure(parent, Links::Follow, || Ok(Node::Dir))?.fd;
    match symlinkat(link, &dir, name) {
        Err(Errno::EXIST) => {}
        result => return result.call(|| format!("symlinkat {}", mount.destination)),
    }
    match readlinkat(&dir, name, Vec::new()) {
        Ok(existing) if existing.as_c_str() == link => Ok(()),
        _ => Err(Error::os(format!("symlinkat {}", mount.destination), Errno::EXIST)
            .hint("the destination exists and is another thing than the link to copy")),
    }
}
