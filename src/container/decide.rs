//! What `create` decides before it makes anything, and what `pinnace plan` shows: the pure plan,
//! the filter, and with them what must be located on the host.

use super::kill::{STOP_SIGNAL, parse_signal};
use super::seccomp;
use crate::cgroup::{Cgroup, Write};
use crate::error::Error;
use crate::plan::{self, Findings, Options, Plan};
use crate::security::lsm;
use crate::security::seccomp::Filter;
use crate::spec::{Resources, Spec};

/// Who makes cgroups, and with whose rights.
#[derive(Debug, Clone, Copy, Default)]
pub struct Driver {
    /// Whether we lack root's privileges over the host.
    pub rootless: bool,
    /// Whether systemd makes them.
    pub systemd: bool,
}

/// A configuration turned into what will be done, on this host.
#[derive(Debug)]
pub struct Decided {
    /// The plan.
    pub plan: Plan,
    /// The system-call filter.
    pub filter: Option<Filter>,
    /// The container's place in the cgroups; `None` only with an error.
    pub cgroup: Option<Cgroup>,
    /// What is written there.
    pub writes: Vec<Write>,
}

impl Decided {
    /// Every check and every default. Locates the cgroup on this host; what is returned is good
    /// only if no error is added to `findings`.
    pub fn new(spec: &Spec, options: &Options, driver: Driver, findings: &mut Findings) -> Self {
        let path = spec.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref());
        let cgroup = if driver.systemd {
            let none = Resources::default();
            let resources = spec.linux.as_ref().and_then(|linux| linux.resources.as_ref());
            let resources = resources.unwrap_or(&none);
            Cgroup::locate_unit(path, &options.id, driver.rootless, resources, &spec.annotations)
        } else {
            Cgroup::locate(path, &options.id, driver.rootless)
        };
        let cgroup = findings.keep(cgroup);
        Self::on(cgroup, spec, options, findings)
    }

    /// As [`Decided::new`], for a cgroup that has been located. Of the host only the security
    /// modules are looked at.
    pub fn on(
        cgroup: Option<Cgroup>,
        spec: &Spec,
        options: &Options,
        findings: &mut Findings,
    ) -> Self {
        let plan = plan::create(spec, options, findings);
        if let Some(process) = &plan.process {
            let (apparmor, selinux) = (&process.apparmor_profile, &process.selinux_label);
            findings.keep(lsm::check(apparmor.as_deref(), selinux.as_deref()));
        }
        if let Some(name) = spec.annotations.get(STOP_SIGNAL).filter(|name| !name.is_empty())
            && parse_signal(name).is_err()
        {
            let without = "`kill` without a signal will fail";
            findings.warn(
                Error::new(format!("unknown signal {name:?}: {without}"))
                    .at(format_args!("annotations.{STOP_SIGNAL}")),
            );
        }
        let filter = spec.seccomp().and_then(|profile| seccomp::compile(profile, findings));
        let writes = cgroup.as_ref().map(|cgroup| cgroup.writes(&plan.resources, findings));
        Self { plan, filter, cgroup, writes: writes.unwrap_or_default() }
    }
}
