//! User namespaces that carry the mapping of an id-mapped mount.

use super::Context;
use crate::error::{Context as _, Error, Result};
use crate::plan::mounts::{IdMapping, Maps};
use crate::sys::userns::user_namespace;
use rustix::fd::OwnedFd;

/// The user namespace whose mapping a mount takes.
pub(super) fn idmap_file(maps: &Maps, context: &Context<'_>) -> Result<OwnedFd> {
    match maps {
        Maps::Given(uids, gids) => user_namespace(&map_lines(uids), &map_lines(gids)),
        Maps::JoinedUserNamespace => context
            .joined_user_namespace
            .ok_or_else(|| Error::new("no user namespace to take it from"))?
            .try_clone_to_owned()
            .call(|| "dup".into()),
    }
}

/// Lines of `uid_map` (`user_namespaces(7)`).
fn map_lines(mappings: &[IdMapping]) -> String {
    mappings.iter().map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size)).collect()
}
