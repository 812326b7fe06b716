//! A user namespace that exists only as a file descriptor: the carrier of an
//! id mapping for `MOUNT_ATTR_IDMAP`, see `mount_setattr(2)`.

use super::process::{CloneArgs, Namespaces, clone3};
use crate::error::{Context, Result};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::write;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

/// Makes a user namespace with these maps (lines of `uid_map` and `gid_map`,
/// see `user_namespaces(7)`). A helper process holds it while it is opened.
pub fn user_namespace(uid_map: &str, gid_map: &str) -> Result<OwnedFd> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).call(|| "pipe2".into())?;
    let namespaces = Namespaces(libc::CLONE_NEWUSER as u32);
    let holder = clone3(CloneArgs { namespaces, ..CloneArgs::default() });
    let Some(holder) = holder.call(|| "clone3(CLONE_NEWUSER)".into())? else {
        hold(reader.as_raw_fd(), writer.as_raw_fd());
    };
    let namespace = fill(holder.pid, uid_map, gid_map);
    // The holder reads this pipe: it ends here, or when we are killed.
    drop(writer);
    waitpid(Some(holder.pid), WaitOptions::empty()).call(|| "waitpid".into())?;
    namespace
}

fn fill(pid: Pid, uid_map: &str, gid_map: &str) -> Result<OwnedFd> {
    let pid = pid.as_raw_nonzero();
    for (file, map) in [("uid_map", uid_map), ("gid_map", gid_map)] {
        let path = format!("/proc/{pid}/{file}");
        let fd = open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("open {path}"))?;
        // One write takes the whole map, or none of it.
        write(&fd, map.as_bytes()).call(|| format!("write {:?} to {file}", map.trim_end()))?;
    }
    let path = format!("/proc/{pid}/ns/user");
    open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call(|| format!("open {path}"))
}

/// The whole life of the holder: wait until the other end is closed.
fn hold(reader: i32, writer: i32) -> ! {
    let mut byte = 0u8;
    // SAFETY: the child's own copy of the fd, used nowhere else in the child.
    unsafe { libc::close(writer) };
    // SAFETY: `byte` is one writable byte.
    unsafe { libc::read(reader, (&raw mut byte).cast(), 1) };
    // SAFETY: ends the child without running the parent's exit handlers.
    unsafe { libc::_exit(0) }
}
