//! Who we are in a new user namespace, until the last steps make this process the
//! user of the configuration.

use crate::error::{Context, Error, Result};
use crate::plan::IdMaps;
use crate::sys::process::forbid_tracing;
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

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

/// Why the kernel takes none of these groups. Each is tried alone, to learn which it is: what
/// calls this is about to end.
pub fn explain_groups(groups: &[Gid], errno: Errno) -> Error {
    let field = "process.user.additionalGids";
    let refused = |gid: &Gid| set_thread_groups(&[*gid]) == Err(Errno::INVAL);
    let error = match groups.iter().position(refused) {
        Some(at) => Error::os(format!("setgroups([{}])", groups[at].as_raw()), errno)
            .at(format_args!("{field}[{at}]")),
        None => Error::os(format!("setgroups of {} groups", groups.len()), errno).at(field),
    };
    match errno {
        Errno::INVAL => error.hint("the user namespace does not map this gid (linux.gidMappings)"),
        Errno::PERM if may(CapabilitySet::SETGID) => error.hint(
            "setgroups is switched off in this user namespace, as its gids were mapped without \
             privilege (user_namespaces(7)): map them by newgidmap, or name no groups",
        ),
        Errno::PERM => error.hint("needs CAP_SETGID"),
        _ => error,
    }
}

/// Why the kernel lets nobody have this id; `name` is uid or gid.
pub fn explain_id(name: &str, id: u32, errno: Errno) -> Error {
    let error =
        Error::os(format!("setres{name}({id})"), errno).at(format_args!("process.user.{name}"));
    let (needed, needs) = match name {
        "uid" => (CapabilitySet::SETUID, "needs CAP_SETUID"),
        _ => (CapabilitySet::SETGID, "needs CAP_SETGID"),
    };
    match errno {
        Errno::INVAL => error
            .hint(format!("the user namespace does not map this {name} (linux.{name}Mappings)")),
        Errno::PERM if !may(needed) => error.hint(needs),
        _ => error,
    }
}

/// Whether a capability is effective; yes if that cannot be told.
fn may(needed: CapabilitySet) -> bool {
    capabilities(None).map_or(true, |sets| sets.effective.contains(needed))
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
