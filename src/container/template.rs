//! Whether init copies the host's mounts or an empty template of them (see
//! [`crate::rootfs::template`]). No failure here is one of the container.

use super::Runtime;
use super::create::Settings;
use crate::log::Log;
use crate::plan::options::SHARED;
use crate::plan::rootfs::CgroupView;
use crate::plan::{Kind, Plan, mounts};
use crate::rootfs::{self, template};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The template, if the container can be made from it.
///
/// To make one takes a copy of the host's mounts: it pays from the next container
/// on, so the first under a state root does without.
pub(super) fn choose(
    runtime: &Runtime,
    settings: &Settings,
    plan: &Plan,
    context: &rootfs::Context<'_>,
) -> Option<OwnedFd> {
    if runtime.rootless || settings.no_pivot || needs_host_view(plan, context) {
        return None;
    }
    let root = runtime.store.root();
    template::find(root).or_else(|| {
        if !others(root) {
            return None;
        }
        template::make(root).unwrap_or_else(|error| {
            runtime.log.debug(|| format!("copying the host's mounts: {error}"));
            None
        })
    })
}

/// What is done in the container's mount namespace by the host's paths.
fn needs_host_view(plan: &Plan, context: &rootfs::Context<'_>) -> bool {
    let namespaces = &plan.namespaces;
    let hooks = &plan.hooks;
    // On v1, what the kernel refuses to mount is bound from the host instead.
    let binds_cgroups = context.cgroup_namespace
        && matches!(context.cgroup, Some(CgroupView::V1(_)))
        && plan.rootfs.mounts.iter().any(|mount| matches!(mount.kind, mounts::Kind::Cgroup));
    !namespaces.creates(Kind::Mount)
        || namespaces.has(Kind::User)
        || plan.rootfs.propagation.is_some_and(|propagation| propagation.flag == SHARED)
        || !hooks.prestart.is_empty()
        || !hooks.create_runtime.is_empty()
        || !hooks.create_container.is_empty()
        || binds_cgroups
}

/// Whether there are containers beside the one that is being made. Two links of a
/// directory are its own, one is that of each directory in it; a file system that
/// does not count them has one, and then there are none for us.
fn others(root: &Path) -> bool {
    rustix::fs::stat(root).is_ok_and(|stat| stat.st_nlink > 3)
}

/// To be called when a container's directory is gone: the template goes with the last.
pub(super) fn release(root: &Path, log: &Log) {
    if let Err(error) = template::remove_if_last(root) {
        log.warning(&format!("the template of mount namespaces stays: {error}"));
    }
}
