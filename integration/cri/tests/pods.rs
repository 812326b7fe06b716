//! Pods: what they have of their own, what their containers share, and how they end.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_cri::v1::{
    ContainerState, IdMapping, NamespaceMode, NamespaceOption, PortMapping, UserNamespace,
};
use pinnace_cri::call::{Call, Lacks, at_once, until};
use pinnace_cri::leftovers::process;
use pinnace_cri::node::{NETWORK, can_filter};
use pinnace_cri::pod::{Container, of_container, of_pod, usual};

use crate::{Cri, grants_everything, plain};

/// Answers each caller with a word.
const SERVER: &str = "while :; do echo answer | nc -l -p 8080; done &";

/// What a server says, once it listens.
fn answer(address: &str) -> Result<String> {
    let mut said = String::new();
    until(&format!("{address} answers"), || {
        said.clear();
        let Ok(mut connection) = TcpStream::connect(address) else { return Ok(false) };
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(connection.read_to_string(&mut said).is_ok() && !said.is_empty())
    })?;
    Ok(said)
}

/// A namespace of a container's first process, by its number.
fn namespace(container: &Container, name: &str) -> Result<String> {
    container.exec(&format!("readlink /proc/1/ns/{name}"))
}

pub fn a_pod_has_an_address_that_others_reach(cri: &Cri) -> Result<()> {
    let pod = cri.pod("address", plain)?;
    let address = pod.address()?;
    ensure!(address.starts_with(&format!("{NETWORK}.")), "the address is {address:?}");
    let server = pod.service("server", SERVER, plain)?;
    let seen = server.exec("hostname; ip -4 -o address show eth0; ip route")?;
    ensure!(seen.starts_with("address\n"), "host name: {seen}");
    ensure!(seen.contains(&format!(" {address}/24 ")), "{address}: {seen}");
    ensure!(seen.contains(&format!("default via {NETWORK}.1 ")), "{seen}");
    let said = answer(&format!("{address}:8080"))?;
    ensure!(said == "answer\n", "the host reads {said:?}");
    let other = cri.pod("caller", plain)?;
    // Between two callers nobody listens for a moment.
    let ask = |host: &str| format!("until nc {host} 8080 </dev/null; do sleep 0.05; done");
    let said = other.prints("caller", &ask(&address), plain)?;
    ensure!(said == "answer\n", "another pod reads {said:?}");
    let said = pod.prints("beside", &ask("127.0.0.1"), plain)?;
    ensure!(said == "answer\n", "the same pod reads {said:?}");
    other.remove()?;
    pod.remove()
}

pub fn a_port_of_the_host_leads_to_a_pod(cri: &Cri) -> Result<()> {
    if !can_filter() {
        return Err(Lacks("the machine cannot filter packets").into());
    }
    let port = PortMapping { container_port: 8080, host_port: 18080, ..PortMapping::default() };
    let pod = cri.pod("port", |config| config.port_mappings = vec![port])?;
    pod.service("server", SERVER, plain)?;
    // Not by way of lo, for which the kernel would have to route what is local.
    let said = answer(&format!("{NETWORK}.1:18080"))?;
    ensure!(said == "answer\n", "{said:?}");
    pod.remove()
}

pub fn containers_of_a_pod_share_what_it_says(cri: &Cri) -> Result<()> {
    let pod = cri.pod("shared", plain)?;
    let one = pod.service("one", "echo here >/dev/shm/file", plain)?;
    let two = pod.service("two", "", plain)?;
    for name in ["net", "ipc", "uts"] {
        let [here, there] = [namespace(&one, name)?, namespace(&two, name)?];
        ensure!(here == there, "{name}: {here} and {there}");
        let host = fs::read_link(format!("/proc/self/ns/{name}"))?;
        ensure!(here != host.display().to_string(), "{name}: {here} is the host's");
    }
    for name in ["pid", "mnt"] {
        let [here, there] = [namespace(&one, name)?, namespace(&two, name)?];
        ensure!(here != there, "{name}: both have {here}");
    }
    let seen = two.exec("cat /dev/shm/file; readlink /proc/1/exe; cat /proc/1/cmdline")?;
    ensure!(seen.starts_with("here\n/bin/busybox\nsh"), "{seen:?}");
    pod.remove()
}

pub fn one_process_namespace_holds_a_pod(cri: &Cri) -> Result<()> {
    let one = NamespaceOption { pid: NamespaceMode::Pod.into(), ..usual() };
    let pod = cri.pod("processes", |config| of_pod(config).namespace_options = Some(one))?;
    let first = pod.service("first", "sleep 4711 &", plain)?;
    let second = pod.service("second", "", plain)?;
    let seen = second.exec("cat /proc/1/cmdline | tr '\\0' ' '; echo; ps")?;
    ensure!(seen.starts_with("/catatonit -P"), "pid 1: {seen}");
    ensure!(seen.contains("sleep 4711"), "{seen}");
    // Its end takes what it has started along, which pid 1 of the pod outlives.
    first.stop(0)?;
    ensure!(first.ended()?.exit_code == 137, "{:?}", first.status()?);
    until("nothing of the first is left", || Ok(!second.exec("ps")?.contains("sleep 4711")))?;
    ensure!(second.status()?.state() == ContainerState::ContainerRunning, "ended, too");
    pod.remove()
}

pub fn a_debugging_container_sees_its_target(cri: &Cri) -> Result<()> {
    let pod = cri.pod("debugged", plain)?;
    let target = pod.service("target", "sleep 4712 &", plain)?;
    let option = NamespaceOption {
        pid: NamespaceMode::Target.into(),
        target_id: target.id.clone(),
        ..usual()
    };
    let seen =
        pod.prints("debug", "ps", |config| of_container(config).namespace_options = Some(option))?;
    ensure!(seen.contains("sleep 4712") && seen.contains("ps"), "{seen}");
    ensure!(target.status()?.state() == ContainerState::ContainerRunning, "the target has ended");
    pod.remove()
}

pub fn kernel_settings_are_the_pods_own(cri: &Cri) -> Result<()> {
    let settings = [("kernel.shm_rmid_forced", "1"), ("net.ipv4.ip_unprivileged_port_start", "81")];
    let path = |name: &str| format!("/proc/sys/{}", name.replace('.', "/"));
    let before = settings.map(|(name, _)| fs::read_to_string(path(name)).unwrap_or_default());
    let pod = cri.pod("settings", |config| {
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        config.linux.get_or_insert_default().sysctls = settings.into();
    })?;
    let files = settings.map(|(name, _)| path(name)).join(" ");
    let seen = pod.prints("reader", &format!("cat {files}"), plain)?;
    ensure!(seen == "1\n81\n", "{seen:?}");
    let after = settings.map(|(name, _)| fs::read_to_string(path(name)).unwrap_or_default());
    ensure!(before == after, "the host had {before:?}, and has {after:?}");
    pod.remove()
}

pub fn a_privileged_pod_has_the_hosts_network(cri: &Cri) -> Result<()> {
    if !grants_everything()? {
        cri.not_by(&["runc"], "Debian 12's runc cannot do without CAP_SYS_RESOURCE")?;
    }
    let node = i32::from(NamespaceMode::Node);
    let option =
        NamespaceOption { network: node, pid: node, ipc: node, ..NamespaceOption::default() };
    let pod = cri.pod("privileged", |config| {
        // That of the node, which is not the pod's to set.
        config.hostname.clear();
        let security = of_pod(config);
        security.namespace_options = Some(option);
        security.privileged = true;
    })?;
    ensure!(pod.address()?.is_empty(), "a network of its own: {}", pod.address()?);
    let container =
        pod.service("container", "", |config| of_container(config).privileged = true)?;
    for name in ["net", "ipc", "pid"] {
        let here = container.exec(&format!("readlink /proc/self/ns/{name}"))?;
        let host = fs::read_link(format!("/proc/self/ns/{name}"))?;
        ensure!(here == host.display().to_string(), "{name}: {here}, and the host's {host:?}");
    }
    let status = container.exec("grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status")?;
    let own = fs::read_to_string("/proc/self/status")?;
    let all = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).context("CapBnd")?;
    ensure!(status.contains(&format!("CapEff:\t{all}")), "not {all}: {status}");
    ensure!(status.contains("Seccomp:\t0") && status.contains("NoNewPrivs:\t0"), "{status}");
    let seen = container.exec(
        "mount -t tmpfs none /home && echo mounted; test -c /dev/kmsg && echo kmsg; \
         mknod /tmp/null c 1 3 && echo x >/tmp/null && echo made; \
         test -w /proc/sys/kernel/hostname && echo writable",
    )?;
    ensure!(seen == "mounted\nkmsg\nmade\nwritable", "{seen}");
    pod.remove()
}

pub fn a_pod_has_users_of_its_own(cri: &Cri) -> Result<()> {
    cri.not_of("1.6", "containerd 1.6 has no user namespaces for pods")?;
    let ids = vec![IdMapping { host_id: 200_000, container_id: 0, length: 65_536 }];
    let mode = NamespaceMode::Pod.into();
    let users = UserNamespace { mode, uids: ids.clone(), gids: ids };
    let option = NamespaceOption { userns_options: Some(users), ..usual() };
    let pod = cri.pod("users", |config| of_pod(config).namespace_options = Some(option))?;
    let container = pod.service("container", "touch /made", plain)?;
    let seen = container.exec("id -u; cat /proc/self/uid_map; stat -c %u /made /etc/passwd")?;
    let words: Vec<_> = seen.split_whitespace().collect();
    ensure!(words == ["0", "0", "200000", "65536", "0", "0"], "{seen}");
    let shim = process("sleep", &["1000"])?;
    let status = fs::read_to_string(format!("/proc/{shim}/status"))?;
    ensure!(status.contains("Uid:\t200000\t"), "{status}");
    pod.remove()
}

/// containerd cleans up by `delete --force`, with a pod that still runs.
pub fn a_pod_whose_shims_die_leaves_nothing(cri: &Cri) -> Result<()> {
    let pod = cri.pod("orphans", plain)?;
    let container = pod.service("container", "sleep 4713 &", plain)?;
    let shim = process("containerd-shim-runc-v2", &["-id", &pod.id])?;
    Call::new(["kill", "-KILL", &shim.to_string()]).ok()?;
    until("the end is known", || {
        Ok(container.status()?.state() != ContainerState::ContainerRunning)
    })?;
    let ids = [container.id.clone(), pod.id.clone()];
    pod.remove()?;
    if cri.version.trim_start_matches('v').starts_with("2.1") {
        // containerd forgets them, with any runtime; this is what docs/engines has for that.
        for id in &ids {
            let state = ["--root", "/run/containerd/runc/k8s.io"];
            Call::new([cri.machine.runtime()])
                .args(&state)
                .args(&["delete", "--force", id])
                .ok()?;
        }
    }
    until("its processes have ended", || Ok(process("sleep", &["4713"]).is_err()))?;
    let again = cri.pod("orphans", plain)?;
    again.prints("container", "true", plain)?;
    again.remove()
}

pub fn pods_outlive_a_daemon_that_dies(cri: &Cri) -> Result<()> {
    let pod = cri.pod("outlives", plain)?;
    let stays = pod.service("stays", "trap 'exit 5' TERM", plain)?;
    let ends = pod.service("ends", "trap 'exit 6' TERM; sleep 4714 &", plain)?;
    cri.dies(|| {
        let sleeps = process("sleep", &["4714"])?;
        let status = fs::read_to_string(format!("/proc/{sleeps}/status"))?;
        let parent =
            status.lines().find_map(|line| line.strip_prefix("PPid:\t")).context("PPid")?;
        Call::new(["kill", "-TERM", parent]).ok()?;
        until("it has ended", || Ok(process("sleep", &["4714"]).is_err()))
    })?;
    let code = ends.ended()?.exit_code;
    // Newer containerds do not ask the shim, with any runtime: 255 stands for unknown.
    let known = cri.version.trim_start_matches('v').starts_with("1.6");
    ensure!(code == if known { 6 } else { 255 }, "exit code {code} of one that ended meanwhile");
    ensure!(stays.exec("echo here")? == "here", "no exec in what has stayed");
    stays.stop(20)?;
    let code = stays.ended()?.exit_code;
    ensure!(code == 5, "exit code {code} of one that has stayed");
    pod.remove()
}

pub fn twenty_pods_at_once(cri: &Cri) -> Result<()> {
    at_once(20, |n| {
        let pod = cri.pod(&format!("many{n}"), plain)?;
        let address = pod.address()?;
        let container = pod.run("one", &format!("ip -4 -o address show eth0; exit {n}"), plain)?;
        let status = container.ended()?;
        ensure!(status.exit_code == n as i32, "pod {n}: {}", status.exit_code);
        let seen = container.output("stdout")?;
        ensure!(seen.contains(&format!(" {address}/24 ")), "pod {n}, {address}: {seen}");
        pod.remove()
    })
}
