//! Who we are in a new user namespace, until the last chapter makes us the
//! user of the configuration.

use crate::error::{Context, Result};
use crate::plan::IdMaps;
use crate::sys::process::forbid_tracing;
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Becomes root of the namespace, or its first user if it has no root.
///
/// # Errors
/// `EINVAL` if the id is not mapped.
pub fn become_first(maps: &IdMaps, keep_groups: bool) -> Result<()> {
    let first = |map: &[crate::spec::IdMapping]| {
        let has_root = map.iter().any(|line| line.container_id == 0);
        if has_root { 0 } else { map.first().map_or(0, |line| line.container_id) }
    };
    drop_groups(keep_groups)?;
    set_gid(first(&maps.gids)).call(|| "setresgid in the new user namespace".into())?;
    set_uid(first(&maps.uids)).call(|| "setresuid in the new user namespace".into())
}

/// As [`become_first`], in a user namespace that was joined: its maps are not
/// ours to know, but root of it is what all the rest needs.
///
/// # Errors
/// Those of setresuid(2), but for a namespace without root.
pub fn become_root(keep_groups: bool) -> Result<()> {
    drop_groups(keep_groups)?;
    for result in [set_gid(0), set_uid(0)] {
        match result {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => {
                return Err(errno).call(|| "setresuid 0 in the joined user namespace".into());
            }
        }
    }
    Ok(())
}

/// The caller's groups mean nothing inside, unless it says so. Where setgroups(2) is switched off
/// (`user_namespaces(7)`) they stay, and the container cannot use them to be
/// more than the caller.
fn drop_groups(keep: bool) -> Result<()> {
    if keep {
        return Ok(());
    }
    match set_thread_groups(&[]) {
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Err(errno).call(|| "setgroups in the new user namespace".into()),
    }
}

/// Sets all three user ids. Tracing stays forbidden: the kernel may allow it
/// when they change.
///
/// # Errors
/// Those of setresuid(2).
pub fn set_uid(uid: u32) -> rustix::io::Result<()> {
    let uid = Uid::from_raw(uid);
    set_thread_res_uid(uid, uid, uid)?;
    forbid_tracing()
}

/// Sets all three group ids, as [`set_uid`].
///
/// # Errors
/// Those of setresgid(2).
pub fn set_gid(gid: u32) -> rustix::io::Result<()> {
    let gid = Gid::from_raw(gid);
    set_thread_res_gid(gid, gid, gid)?;
    forbid_tracing()
}
