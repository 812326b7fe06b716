//! containerd's CRI plugin with the runtime under test, called as the kubelet calls it.
//!
//! `RUNTIME=pinnace|runc|/path cargo test --package pinnace-cri --test cri [NAME...]`,
//! as root; see integration/engines/main.rs for what is common to all engines.

mod containers;
mod limits;
mod pods;
mod security;
mod streams;

use std::fs;
use std::ops::Deref;
use std::process::ExitCode;

use anyhow::{Context, Result};
use pinnace_cri::call::Lacks;
use pinnace_cri::machine::Machine;
use pinnace_cri::node::{NEEDS, Node};
use pinnace_cri::suite::{self, Engine, Test};

/// A node, and what it was made with.
pub struct Cri {
    node: Node,
    machine: Machine,
}

impl Deref for Cri {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Engine for Cri {
    const NAME: &'static str = "cri";
    const NEEDS: &'static [&'static str] = NEEDS;
    const TESTS: &'static [Test<Self>] = &[
        ("a_pod_has_an_address_that_others_reach", pods::a_pod_has_an_address_that_others_reach),
        ("a_port_of_the_host_leads_to_a_pod", pods::a_port_of_the_host_leads_to_a_pod),
        ("containers_of_a_pod_share_what_it_says", pods::containers_of_a_pod_share_what_it_says),
        ("one_process_namespace_holds_a_pod", pods::one_process_namespace_holds_a_pod),
        ("a_debugging_container_sees_its_target", pods::a_debugging_container_sees_its_target),
        ("kernel_settings_are_the_pods_own", pods::kernel_settings_are_the_pods_own),
        ("a_privileged_pod_has_the_hosts_network", pods::a_privileged_pod_has_the_hosts_network),
        ("a_pod_has_users_of_its_own", pods::a_pod_has_users_of_its_own),
        ("a_pod_whose_shims_die_leaves_nothing", pods::a_pod_whose_shims_die_leaves_nothing),
        ("pods_outlive_a_daemon_that_dies", pods::pods_outlive_a_daemon_that_dies),
        ("twenty_pods_at_once", pods::twenty_pods_at_once),
        ("a_container_ends_with_its_exit_code", containers::a_container_ends_with_its_exit_code),
        ("stop_sends_term_before_kill", containers::stop_sends_term_before_kill),
        ("what_was_only_created_is_removed", containers::what_was_only_created_is_removed),
        ("what_cannot_start_leaves_nothing", containers::what_cannot_start_leaves_nothing),
        (
            "the_log_has_each_line_with_its_stream",
            containers::the_log_has_each_line_with_its_stream,
        ),
        ("a_log_that_was_moved_is_opened_again", containers::a_log_that_was_moved_is_opened_again),
        ("volumes_are_as_they_are_asked_for", containers::volumes_are_as_they_are_asked_for),
        ("limits_are_those_of_the_cgroup", limits::limits_are_those_of_the_cgroup),
        ("update_changes_what_is_named_alone", limits::update_changes_what_is_named_alone),
        ("out_of_memory_is_told", limits::out_of_memory_is_told),
        ("stats_are_those_of_the_container", limits::stats_are_those_of_the_container),
        ("a_read_only_root_has_writable_volumes", security::a_read_only_root_has_writable_volumes),
        ("capabilities_are_added_and_dropped", security::capabilities_are_added_and_dropped),
        ("the_default_seccomp_profile_holds", security::the_default_seccomp_profile_holds),
        ("a_profile_of_the_nodes_holds", security::a_profile_of_the_nodes_holds),
        ("users_and_groups_are_those_asked_for", security::users_and_groups_are_those_asked_for),
        ("paths_are_masked_and_read_only", security::paths_are_masked_and_read_only),
        ("exec_sync_has_streams_and_code", streams::exec_sync_has_streams_and_code),
        ("exec_sync_ends_in_time", streams::exec_sync_ends_in_time),
        ("exec_streams_both_ways", streams::exec_streams_both_ways),
        ("exec_has_a_terminal_of_the_size_asked", streams::exec_has_a_terminal_of_the_size_asked),
        ("attach_streams_both_ways", streams::attach_streams_both_ways),
        ("a_forwarded_port_reaches_the_pod", streams::a_forwarded_port_reaches_the_pod),
    ];

    fn start(machine: &Machine) -> Result<Self> {
        Ok(Self { node: Node::start(machine, "cri")?, machine: machine.clone() })
    }

    fn reset(&self) {
        self.node.reset();
    }
}

impl Cri {
    /// Skips what a runtime of the machine is known not to do.
    fn not_by(&self, runtimes: &[&str], why: &'static str) -> Result<()> {
        if runtimes.contains(&&*self.machine.runtime_name()) {
            return Err(Lacks(why).into());
        }
        Ok(())
    }

    /// Skips on a containerd of this version.
    fn not_of(&self, version: &str, why: &'static str) -> Result<()> {
        if self.version.trim_start_matches('v').starts_with(version) {
            return Err(Lacks(why).into());
        }
        Ok(())
    }
}

/// For what is as it is by default.
fn plain<T>(_: &mut T) {}

/// Whether the machine has every capability to give.
fn grants_everything() -> Result<bool> {
    const SYS_RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status")?;
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t"));
    Ok(u64::from_str_radix(bounding.context("CapBnd")?, 16)? & SYS_RESOURCE != 0)
}

fn main() -> ExitCode {
    suite::run(&[suite::test::<Cri>])
}
