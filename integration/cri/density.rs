//! What a node pays for each pod, by runtime: `density RESULTS PODS ROUNDS`, as root.
//!
//! One containerd has the runtime under test and runc, which take turns. A
//! result is a line, `CASE <tab> RUNTIME <tab> VALUE`, as hack/bench has them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use k8s_cri::v1::NamespaceMode;
use pinnace_cri::call::at_once;
use pinnace_cri::leftovers::process;
use pinnace_cri::machine::{Machine, cgroup_file};
use pinnace_cri::node::{HANDLER, Node};
use pinnace_cri::pod::{Container, Pod, of_pod, remove_pod};

/// Pods that are started or removed at the same time.
const AT_ONCE: usize = 10;
/// Pods of a round that come and go one by one.
const SINGLE: usize = 5;
const USAGE: [&str; 2] = ["memory.usage_in_bytes", "memory.current"];

/// Where results go, and what is measured.
struct Bench<'a> {
    results: File,
    node: &'a Node,
    pods: usize,
}

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("density: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [results, pods, rounds] = &words[..] else {
        anyhow::bail!("give RESULTS PODS ROUNDS");
    };
    let (pods, rounds) = (pods.parse()?, rounds.parse::<usize>()?);
    let machine = Machine::enter()?;
    let node = Node::start(&machine, "density")?;
    account(&node)?;
    let mut bench = Bench {
        results: File::options().append(true).open(results).with_context(|| results.clone())?,
        node: &node,
        pods,
    };
    let mut lanes = [HANDLER, "runc"];
    for lane in lanes {
        up(&node, lane, "first", NamespaceMode::Pod)?.0.remove()?;
    }
    for _ in 0..rounds {
        for lane in lanes {
            bench.one_by_one(lane)?;
            bench.many(lane)?;
        }
        lanes.reverse();
    }
    Ok(())
}

/// Puts the daemon, and all that it will start, below the cgroup of the pods: its CPU time is theirs, too.
fn account(node: &Node) -> Result<()> {
    let top = Path::new("/sys/fs/cgroup");
    let v1 = top.join("cpuacct");
    let root = if v1.is_dir() { &v1 } else { top };
    let own = root.join(&node.unique).join("daemon");
    fs::create_dir_all(&own)?;
    Ok(fs::write(own.join("cgroup.procs"), node.pid().to_string())?)
}

/// The CPU time of the daemon, the shims, the runtimes and the containers, in ms.
fn cpu_time(node: &Node) -> Result<f64> {
    let v1 = Path::new("/sys/fs/cgroup/cpuacct").join(&node.unique).join("cpuacct.usage");
    if let Ok(text) = fs::read_to_string(v1) {
        return Ok(text.trim().parse::<f64>()? / 1e6);
    }
    let text = fs::read_to_string(Path::new("/sys/fs/cgroup").join(&node.unique).join("cpu.stat"))?;
    let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).context("usage")?;
    Ok(usage.parse::<f64>()? / 1e3)
}

/// A pod with one container that does nothing.
fn up<'a>(
    node: &'a Node,
    lane: &str,
    name: &str,
    network: NamespaceMode,
) -> Result<(Pod<'a>, Container<'a>)> {
    let pod = node.pod_by(lane, name, |config| {
        let security = of_pod(config);
        security.namespace_options.get_or_insert_default().network = network.into();
        if network == NamespaceMode::Node {
            // That of the node, which is not the pod's to set.
            config.hostname.clear();
        }
    })?;
    let container = pod.run("container", "exec sleep 100000", |_| ())?;
    Ok((pod, container))
}

impl Bench<'_> {
    fn record(&mut self, case: &str, lane: &str, value: f64) -> Result<()> {
        Ok(writeln!(self.results, "{case}\t{lane}\t{value:.3}")?)
    }

    /// What `work` takes, by the clock and in CPU time, each divided by `share`.
    fn timed<T>(
        &mut self,
        case: &str,
        lane: &str,
        share: usize,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let (before, begun) = (cpu_time(self.node)?, Instant::now());
        let done = work()?;
        let (time, cpu) = (begun.elapsed(), cpu_time(self.node)? - before);
        self.record(&format!("{case}, ms"), lane, time.as_secs_f64() * 1e3 / share as f64)?;
        self.record(&format!("{case}, ms of CPU time"), lane, cpu / share as f64)?;
        Ok(done)
    }

    fn one_by_one(&mut self, lane: &str) -> Result<()> {
        let node = self.node;
        for _ in 0..SINGLE {
            let (pod, container) =
                self.timed("one pod up", lane, 1, || up(node, lane, "one", NamespaceMode::Pod))?;
            self.timed("an exec probe", lane, 20, || {
                for _ in 0..20 {
                    ensure!(container.exec_sync(&["true"], 60)?.exit_code == 0, "a probe fails");
                }
                Ok(())
            })?;
            self.timed("one pod down", lane, 1, || pod.remove())?;
            let case = "one of the host's network up";
            let (pod, _) =
                self.timed(case, lane, 1, || up(node, lane, "host", NamespaceMode::Node))?;
            pod.remove()?;
        }
        Ok(())
    }

    fn many(&mut self, lane: &str) -> Result<()> {
        let (node, count) = (self.node, self.pods);
        let pods = self.timed(&format!("{count} pods up"), lane, 1, || {
            all(count, |n| up(node, lane, &format!("many{n}"), NamespaceMode::Pod))
        })?;
        for (pod, container) in &pods {
            let shim = process("containerd-shim-runc-v2", &["-id", &pod.id])?;
            for (field, case) in [("Rss:", "shim, KiB of RSS"), ("Pss:", "shim, KiB of PSS")] {
                self.record(case, lane, rollup(shim, field)?)?;
            }
            let mut charged = 0.0;
            for id in [&pod.id, &container.id] {
                charged += cgroup_file(&node.unique, id, &USAGE)?.parse::<f64>()?;
            }
            self.record("the pod's cgroups, KiB", lane, charged / 1024.0)?;
        }
        self.timed(&format!("{count} probes"), lane, 1, || {
            all(count, |n| {
                ensure!(pods[n].1.exec_sync(&["true"], 60)?.exit_code == 0, "a probe fails");
                Ok(())
            })
        })?;
        let ids: Vec<_> = pods.iter().map(|(pod, _)| pod.id.clone()).collect();
        self.timed(&format!("{count} pods down"), lane, 1, || {
            all(count, |n| remove_pod(&node.client, &ids[n]))
        })?;
        Ok(())
    }
}

/// Does `work` for 0..count, several at once. What each has made, in no order.
fn all<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let made = std::sync::Mutex::new(Vec::new());
    at_once(AT_ONCE, |worker| {
        for n in (worker..count).step_by(AT_ONCE) {
            let one = work(n)?;
            made.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(one);
        }
        Ok(())
    })?;
    Ok(made.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// A line of a process's /proc/PID/smaps_rollup, in KiB.
fn rollup(pid: u32, field: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)).context("no such line")?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}
