//! What a container may use, what it does use, and what happens when that is too much.

use anyhow::{Context, Result, ensure};
use k8s_cri::v1::{
    ContainerConfig, ContainerStatsRequest, LinuxContainerResources,
    UpdateContainerResourcesRequest,
};
use pinnace_cri::call::until;
use pinnace_cri::machine::{cgroup_file, needs_controllers};
use pinnace_cri::pod::Container;

use crate::{Cri, plain};

const MEMORY: [&str; 2] = ["memory.limit_in_bytes", "memory.max"];
const SHARES: [&str; 2] = ["cpu.shares", "cpu.weight"];
const QUOTA: [&str; 2] = ["cpu.cfs_quota_us", "cpu.max"];
const CPUS: [&str; 2] = ["cpuset.cpus", "cpuset.cpus"];
/// Two conversions of 512 shares to v2's weight are in use: runc's first one and that of 2025.
const WEIGHTS: [&str; 3] = ["512", "20", "59"];

fn limits() -> LinuxContainerResources {
    LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        cpu_shares: 512,
        memory_limit_in_bytes: 64 << 20,
        oom_score_adj: 700,
        cpuset_cpus: "0".to_owned(),
        ..LinuxContainerResources::default()
    }
}

fn with(resources: LinuxContainerResources) -> impl FnOnce(&mut ContainerConfig) {
    |config| config.linux.get_or_insert_default().resources = Some(resources)
}

fn file(container: &Container, names: [&str; 2]) -> Result<String> {
    cgroup_file(&container.node.unique, &container.id, &names)
}

pub fn limits_are_those_of_the_cgroup(cri: &Cri) -> Result<()> {
    needs_controllers()?;
    let pod = cri.pod("limits", plain)?;
    let container = pod.service("container", "", with(limits()))?;
    let memory = file(&container, MEMORY)?;
    ensure!(memory == (64 << 20).to_string(), "memory limit is {memory}");
    let quota = file(&container, QUOTA)?;
    ensure!(["50000", "50000 100000"].contains(&&*quota), "cpu limit is {quota}");
    let shares = file(&container, SHARES)?;
    ensure!(WEIGHTS.contains(&&*shares), "cpu shares are {shares}");
    let cpus = file(&container, CPUS)?;
    ensure!(cpus == "0", "cpus are {cpus}");
    let seen =
        container.exec("cat /proc/1/oom_score_adj; grep Cpus_allowed_list /proc/1/status")?;
    ensure!(seen == "700\nCpus_allowed_list:\t0", "{seen}");
    pod.remove()
}

pub fn update_changes_what_is_named_alone(cri: &Cri) -> Result<()> {
    needs_controllers()?;
    let pod = cri.pod("update", plain)?;
    let container = pod.service("container", "", with(limits()))?;
    let update = |resources| {
        cri.client.update_container_resources(UpdateContainerResourcesRequest {
            container_id: container.id.clone(),
            linux: Some(resources),
            ..UpdateContainerResourcesRequest::default()
        })
    };
    update(LinuxContainerResources {
        memory_limit_in_bytes: 128 << 20,
        ..LinuxContainerResources::default()
    })?;
    let memory = file(&container, MEMORY)?;
    ensure!(memory == (128 << 20).to_string(), "memory limit is {memory}");
    let shares = file(&container, SHARES)?;
    ensure!(WEIGHTS.contains(&&*shares), "cpu shares were changed, too: {shares}");
    let cpus = file(&container, CPUS)?;
    ensure!(cpus == "0", "cpus were changed, too: {cpus}");
    let more = LinuxContainerResources { cpu_quota: 70_000, cpu_shares: 256, ..limits() };
    update(LinuxContainerResources { cpuset_cpus: String::new(), ..more })?;
    let quota = file(&container, QUOTA)?;
    ensure!(["70000", "70000 100000"].contains(&&*quota), "cpu limit is {quota}");
    let memory = file(&container, MEMORY)?;
    ensure!(memory == (64 << 20).to_string(), "memory limit is {memory}");
    // Below what is used: refused, and all is as it was.
    let none = LinuxContainerResources { memory_limit_in_bytes: 4096, ..limits() };
    let left = if update(none).is_err() { (64 << 20).to_string() } else { "4096".to_owned() };
    let memory = file(&container, MEMORY)?;
    ensure!(memory == left, "memory limit is {memory}");
    ensure!(container.exec("echo here")? == "here", "it has not outlived the update");
    pod.remove()
}

pub fn out_of_memory_is_told(cri: &Cri) -> Result<()> {
    needs_controllers()?;
    let pod = cri.pod("memory", plain)?;
    let little = LinuxContainerResources { memory_limit_in_bytes: 16 << 20, ..Default::default() };
    let hog = "exec dd if=/dev/zero of=/dev/null bs=64M count=1";
    let container = pod.run("container", hog, with(little))?;
    let status = container.ended()?;
    ensure!(status.exit_code == 137, "{status:?}");
    // containerd learns of it beside the end.
    until("the reason is OOMKilled", || Ok(container.status()?.reason == "OOMKilled"))?;
    pod.remove()
}

pub fn stats_are_those_of_the_container(cri: &Cri) -> Result<()> {
    needs_controllers()?;
    let pod = cri.pod("stats", plain)?;
    let script = "head -c 20000000 /dev/zero >/dev/shm/file; sha256sum /dev/shm/file";
    let container = pod.service("container", script, with(limits()))?;
    let container_id = container.id.clone();
    let reply = cri.client.container_stats(ContainerStatsRequest { container_id })?;
    let stats = reply.stats.context("no stats")?;
    let memory = stats.memory.and_then(|memory| memory.usage_bytes).context("no memory")?.value;
    ensure!((20_000_000..64 << 20).contains(&memory), "{memory} bytes of memory");
    let time = stats.cpu.and_then(|cpu| cpu.usage_core_nano_seconds).context("no CPU time")?.value;
    ensure!((1_000_000..60_000_000_000).contains(&time), "{time} ns of CPU time");
    pod.remove()
}
