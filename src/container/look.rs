//! What `create` would fail at on this host, as the caller that we are, and what a
//! configuration says in vain: for `plan`, which makes nothing.

use super::{Bundle, Decided, Driver, Runtime};
use crate::create::{idmap, limits};
use crate::error::{Error, Result};
use crate::nearest::nearest;
use crate::net::devices;
use crate::plan::{Findings, Kind, Plan, Process};
use crate::resctrl::{self, Groups};
use crate::security::capabilities::{SYS_ADMIN, grantable, own};
use crate::security::seccomp;
use crate::spec::{self, known};
use crate::{hooks, namespaces, rootfs};

/// Looks at the host for everything that the plan needs of it.
pub(super) fn host(runtime: &Runtime, plan: &Plan, driver: Driver, findings: &mut Findings) {
    findings.keep(runtime.store.look());
    rootfs::look(&plan.rootfs, findings);
    hooks::look(&plan.hooks, findings);
    namespaces::look(&plan.namespaces, findings);
    for device in &plan.net_devices {
        findings.keep(devices::find(std::slice::from_ref(device)));
    }
    if let Some(rdt) = &plan.intel_rdt {
        let root = resctrl::mount_point();
        findings.keep(root.and_then(|root| Groups::locate(rdt, &plan.id, &root)));
    }
    if let Some(maps) = &plan.id_maps {
        idmap::look(maps, findings);
    }
    if !plan.namespaces.has(Kind::User) {
        findings.keep(mounts_and_namespaces(plan));
    }
    if let Some(process) = &plan.process {
        privileges(plan, process, driver, findings);
    }
}

/// Without a user namespace the capability must be the caller's own.
fn mounts_and_namespaces(plan: &Plan) -> Result<()> {
    let needs = plan.rootfs.is_mounted() || !plan.namespaces.create.is_empty();
    // Of an ordinary user it is told that a user namespace is needed.
    if !needs || own()? & SYS_ADMIN != 0 || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::new("the caller lacks CAP_SYS_ADMIN, which mounts and namespaces need")
        .at("linux.namespaces")
        .hint("a user namespace brings it: `pinnace spec --rootless` writes such a configuration"))
}

/// The kernel is asked about this process, which ends soon: a limit can only be raised here,
/// and nothing but we ourselves gets another score.
fn privileges(plan: &Plan, process: &Process, driver: Driver, findings: &mut Findings) {
    let this = rustix::process::getpid();
    findings.keep(limits::raise_rlimits(this, process));
    findings.keep(limits::set_oom_score(this, process, driver.rootless));
    // A user namespace has them all.
    if !plan.namespaces.has(Kind::User)
        && let Some((_, warnings)) = findings.keep(grantable(process.capabilities))
    {
        warnings.into_iter().for_each(|warning| findings.warn(warning));
    }
}

/// What has no effect, or hardly the one that was meant. The spec wants most of it ignored, so
/// that `create` is silent.
pub(super) fn document(
    bundle: &Bundle,
    decided: &Decided,
    driver: Driver,
    findings: &mut Findings,
) {
    for unknown in known::unknown(&String::from_utf8_lossy(&bundle.text), "") {
        findings.tell(unknown.told());
    }
    let path = decided.plan.cgroups_path.as_deref().unwrap_or_default();
    if !driver.systemd && !path.contains('/') && path.split(':').count() == 3 {
        let rule = "has the form of --systemd-cgroup, slice:prefix:name; without that option it \
            is the name of a cgroup";
        findings.tell(Error::new(format!("{path:?} {rule}")).at("linux.cgroupsPath"));
    }
    if let Some(process) = &bundle.spec.process
        && let [program] = process.args.as_slice()
        && program.contains(' ')
    {
        let rule = "has a blank: each word is an entry of its own";
        findings.tell(Error::new(format!("{program:?} {rule}")).at("process.args[0]"));
    }
    if let (Some(profile), Some(filter)) = (bundle.spec.seccomp(), &decided.filter) {
        unknown_calls(profile, &filter.skipped, findings);
    }
}

/// So many calls that nobody knows are told; the table of the filter has them all.
const MAX_UNKNOWN: usize = 100;

/// Profiles list calls of many kernels, so that `create` passes over what it does not know.
fn unknown_calls(profile: &spec::Seccomp, skipped: &[String], findings: &mut Findings) {
    let names = profile
        .syscalls
        .iter()
        .enumerate()
        .flat_map(|(i, rule)| rule.names.iter().enumerate().map(move |(j, name)| (i, j, name)));
    // In the order of the profile, each as often as it stands there.
    let mut skipped = skipped.iter().peekable();
    let unknown = |&(.., name): &(usize, usize, &str)| skipped.next_if(|s| *s == name).is_some();
    for (i, j, name) in names.filter(unknown).take(MAX_UNKNOWN) {
        let error = Error::new(format!("no system call {name:?} is known: passed over"));
        let error = error.guess(nearest(name, seccomp::calls()));
        findings.tell(error.at(format_args!("linux.seccomp.syscalls[{i}].names[{j}]")));
    }
}
