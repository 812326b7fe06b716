//! What the controllers have counted, as the `data` of runc's `events`
//! (`types/events.go` there): its names, its units (nanoseconds), its habit of
//! leaving out what is 0. On v2 the numbers are laid into the shape of v1, as
//! runc does it; `psi` is there where the kernel has it.
//!
//! The document is text from the beginning: all that it holds are numbers and
//! words of the kernel, which need no escapes.

use super::Cgroup;
use super::node::{Node, keyed};
use crate::error::{Context, Error, Result};
use rustix::io::Errno;
use std::cell::OnceCell;
use std::fmt::{Display, Write as _};

/// How Go prints the greatest `uint64`: no limit.
const UNLIMITED: u64 = u64::MAX;

/// A JSON object that is being written.
#[derive(Debug)]
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".into())
    }

    /// Any JSON text as a field.
    fn field(&mut self, name: &str, value: impl Display) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        // Writing to a string cannot fail.
        write!(self.0, "{comma}\"{name}\":{value}").unwrap_or_default();
    }

    /// `omitempty`.
    fn some(&mut self, name: &str, value: u64) {
        if value != 0 {
            self.field(name, value);
        }
    }

    /// `omitempty` of a list.
    fn list(&mut self, name: &str, items: &[String]) {
        if !items.is_empty() {
            self.field(name, format_args!("[{}]", items.join(",")));
        }
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// The files of one controller: empty where there is none. The first failure that says
/// nothing of the file is kept for the end.
struct Files<'a>(Option<&'a Node>, &'a OnceCell<Error>);

impl Files<'_> {
    fn text(&self, name: &str) -> String {
        let Some(node) = self.0 else { return String::new() };
        node.read(name).unwrap_or_else(|error| {
            if matches!(
                error.errno(),
                Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR | Errno::IO)
            ) {
                self.1.get_or_init(|| error);
            }
            String::new()
        })
    }

    fn number(&self, name: &str) -> u64 {
        number(&self.text(name))
    }

    fn unified(&self) -> bool {
        self.0.is_some_and(Node::unified)
    }
}

/// 0 for nothing, the greatest for `max`.
fn number(text: &str) -> u64 {
    match text.trim() {
        "max" => UNLIMITED,
        text => text.parse().unwrap_or(0),
    }
}

fn value(text: &str, key: &str) -> u64 {
    keyed(text, key).map_or(0, number)
}

/// The whole document.
pub(super) fn stats(cgroup: &Cgroup) -> Result<String> {
    // A cgroup that is gone is an error; a file that is not there is a 0.
    cgroup.main_node()?.dir()?;
    let failed = OnceCell::new();
    let files = |name: &str| Files(cgroup.nodes().iter().find(|node| node.has(name)), &failed);
    let mut all = Object::new();
    all.field("cpu", cpu(&files("cpu"), &files("cpuacct")));
    all.field("cpuset", cpuset(&files("cpuset")));
    all.field("memory", memory(&files("memory")));
    all.field("pids", pids(&files("pids")));
    all.field("blkio", block_io(&files("blkio")));
    all.field("hugetlb", hugetlb(&files("hugetlb"))?);
    all.field("intel_rdt", "{}");
    all.field("network_interfaces", "null");
    failed.into_inner().map_or_else(|| Ok(all.end()), Err)
}

/// `cpu.stat`, `cpuacct.*` (cgroup-v2.rst "CPU Interface Files", cpuacct.rst).
fn cpu(cpu: &Files<'_>, account: &Files<'_>) -> String {
    let text = cpu.text("cpu.stat");
    let mut usage = Object::new();
    let scale = if cpu.unified() { 1000 } else { 1 };
    if cpu.unified() {
        usage.some("total", value(&text, "usage_usec").saturating_mul(scale));
        usage.field("kernel", value(&text, "system_usec").saturating_mul(scale));
        usage.field("user", value(&text, "user_usec").saturating_mul(scale));
    } else {
        usage.some("total", account.number("cpuacct.usage"));
        usage.list("percpu", &words(&account.text("cpuacct.usage_percpu")));
        usage.list("percpu_kernel", &words(&account.text("cpuacct.usage_percpu_sys")));
        usage.list("percpu_user", &words(&account.text("cpuacct.usage_percpu_user")));
        // In ticks of 1/100 s, on every architecture.
        let ticks = account.text("cpuacct.stat");
        usage.field("kernel", value(&ticks, "system").saturating_mul(10_000_000));
        usage.field("user", value(&ticks, "user").saturating_mul(10_000_000));
    }
    let mut throttling = Object::new();
    throttling.some("periods", value(&text, "nr_periods"));
    throttling.some("throttledPeriods", value(&text, "nr_throttled"));
    let time = if cpu.unified() { "throttled_usec" } else { "throttled_time" };
    throttling.some("throttledTime", value(&text, time).saturating_mul(scale));
    let mut all = Object::new();
    all.field("usage", usage.end());
    all.field("throttling", throttling.end());
    pressure(&mut all, &cpu.text("cpu.pressure"));
    all.end()
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(String::from).collect()
}

/// v1 only, as in runc.
fn cpuset(files: &Files<'_>) -> String {
    let v1 = if files.unified() { &Files(None, files.1) } else { files };
    let mut all = Object::new();
    all.list("cpus", &ranges(&v1.text("cpuset.cpus")));
    all.field("cpu_exclusive", v1.number("cpuset.cpu_exclusive"));
    all.list("mems", &ranges(&v1.text("cpuset.mems")));
    for name in [
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
        "sched_load_balance",
    ] {
        all.field(name, v1.number(&format!("cpuset.{name}")));
    }
    let level = v1.text("cpuset.sched_relax_domain_level");
    all.field("sched_relax_domain_level", level.trim().parse::<i64>().unwrap_or(0));
    all.end()
}

/// `0-2,5` as single numbers.
fn ranges(text: &str) -> Vec<String> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let ends = (first.parse::<u16>(), last.parse::<u16>());
        if let (Ok(first), Ok(last)) = ends { first..last.saturating_add(1) } else { 0..0 }
    };
    text.trim().split(',').flat_map(range).map(|n| n.to_string()).collect()
}

/// Use, limit, high-water mark, failures.
struct Counter {
    limit: u64,
    usage: u64,
    max: u64,
    failures: u64,
}

impl Counter {
    fn v1(files: &Files<'_>, name: &str) -> Self {
        let get = |file: &str| files.number(&format!("{name}.{file}"));
        Self {
            limit: get("limit_in_bytes"),
            usage: get("usage_in_bytes"),
            max: get("max_usage_in_bytes"),
            failures: get("failcnt"),
        }
    }

    fn v2(files: &Files<'_>, name: &str) -> Self {
        let get = |file: &str| files.number(&format!("{name}.{file}"));
        Self { limit: get("max"), usage: get("current"), max: get("peak"), failures: 0 }
    }

    fn json(&self) -> String {
        let mut all = Object::new();
        all.field("limit", self.limit);
        all.some("usage", self.usage);
        all.some("max", self.max);
        all.field("failcnt", self.failures);
        all.end()
    }
}

/// `memory.*` (cgroup-v2.rst "Memory Interface Files", memory.rst).
fn memory(files: &Files<'_>) -> String {
    let text = files.text("memory.stat");
    let none = Counter { limit: 0, usage: 0, max: 0, failures: 0 };
    let [usage, swap, kernel, tcp] = if files.unified() {
        let usage = Counter::v2(files, "memory");
        let mut swap = Counter::v2(files, "memory.swap");
        // v1 counts memory and swap together, and so do its readers.
        swap.usage = swap.usage.saturating_add(usage.usage);
        swap.limit = swap.limit.saturating_add(usage.limit);
        [usage, Counter { max: 0, ..swap }, Counter { ..none }, none]
    } else {
        ["memory", "memory.memsw", "memory.kmem", "memory.kmem.tcp"]
            .map(|name| Counter::v1(files, name))
    };
    let mut raw = Object::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        raw.field(name, number(value));
    }
    let mut all = Object::new();
    all.some("cache", value(&text, if files.unified() { "file" } else { "cache" }));
    all.field("usage", usage.json());
    all.field("swap", swap.json());
    all.field("kernel", kernel.json());
    all.field("kernelTCP", tcp.json());
    if !text.is_empty() {
        all.field("raw", raw.end());
    }
    pressure(&mut all, &files.text("memory.pressure"));
    all.end()
}

fn pids(files: &Files<'_>) -> String {
    let mut all = Object::new();
    all.some("current", files.number("pids.current"));
    let limit = files.number("pids.max");
    all.some("limit", if limit == UNLIMITED { 0 } else { limit });
    all.end()
}

/// `io.stat`, or `blkio.*` by bfq or else by the throttling layer.
fn block_io(files: &Files<'_>) -> String {
    let mut all = Object::new();
    if files.unified() {
        let text = files.text("io.stat");
        let pick = |read, write| v2_entries(&text, [(read, "Read"), (write, "Write")]);
        all.list("ioServiceBytesRecursive", &pick("rbytes", "wbytes"));
        all.list("ioServicedRecursive", &pick("rios", "wios"));
        pressure(&mut all, &files.text("io.pressure"));
        return all.end();
    }
    let has_bfq = !files.text("blkio.bfq.io_serviced_recursive").is_empty();
    for (name, file, throttles) in [
        ("ioServiceBytesRecursive", "io_service_bytes_recursive", true),
        ("ioServicedRecursive", "io_serviced_recursive", true),
        ("ioQueueRecursive", "io_queued_recursive", false),
        ("ioServiceTimeRecursive", "io_service_time_recursive", false),
        ("ioWaitTimeRecursive", "io_wait_time_recursive", false),
        ("ioMergedRecursive", "io_merged_recursive", false),
        ("ioTimeRecursive", "time_recursive", false),
        ("sectorsRecursive", "sectors_recursive", false),
    ] {
        if has_bfq || throttles {
            let by = if has_bfq { "bfq" } else { "throttle" };
            all.list(name, &v1_entries(&files.text(&format!("blkio.{by}.{file}"))));
        }
    }
    all.end()
}

/// `8:0 rbytes=1 wbytes=2 ...`
fn v2_entries(text: &str, wanted: [(&str, &str); 2]) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let device = words.next().unwrap_or_default();
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let op = wanted.iter().find(|(name, _)| *name == key);
            found.extend(op.and_then(|(_, op)| entry(device, op, value)));
        }
    }
    found
}

/// `8:0 Read 1`, or `8:0 1`; the totals over all devices are left out.
fn v1_entries(text: &str) -> Vec<String> {
    let read = |line: &str| {
        let mut words = line.split(' ');
        match (words.next()?, words.next()?, words.next()) {
            (device, op, Some(value)) => entry(device, op, value),
            (device, value, None) => entry(device, "", value),
        }
    };
    text.lines().filter_map(read).collect()
}

fn entry(device: &str, op: &str, value: &str) -> Option<String> {
    let (major, minor) = device.split_once(':')?;
    let mut all = Object::new();
    all.some("major", major.parse().ok()?);
    all.some("minor", minor.parse().ok()?);
    if !op.is_empty() {
        all.field("op", format_args!("\"{op}\""));
    }
    all.some("value", number(value));
    Some(all.end())
}

/// By page size, such as `2MB`: the sizes are the names of files.
fn hugetlb(files: &Files<'_>) -> Result<String> {
    let mut all = Object::new();
    let Some(node) = files.0 else { return Ok(all.end()) };
    let call = || format!("list {}", node.path());
    for entry in std::fs::read_dir(node.path()).call(call)? {
        let entry = entry.call(call)?;
        // A directory is a cgroup of the container's, by whatever name.
        if !entry.file_type().call(call)?.is_file() {
            continue;
        }
        let last = if node.unified() { ".current" } else { ".usage_in_bytes" };
        let name = entry.file_name().into_string().unwrap_or_default();
        let size = name.strip_prefix("hugetlb.").and_then(|rest| rest.strip_suffix(last));
        let Some(size) = size.filter(|size| !size.contains('.')) else { continue };
        let counter = if node.unified() {
            let events = files.text(&format!("hugetlb.{size}.events"));
            let counter = Counter::v2(files, &format!("hugetlb.{size}"));
            Counter { max: 0, failures: value(&events, "max"), ..counter }
        } else {
            Counter::v1(files, &format!("hugetlb.{size}"))
        };
        let mut one = Object::new();
        one.some("usage", counter.usage);
        one.some("max", counter.max);
        one.field("failcnt", counter.failures);
        all.field(size, one.end());
    }
    Ok(all.end())
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` (psi.rst).
fn pressure(into: &mut Object, text: &str) {
    if text.is_empty() {
        return;
    }
    let mut all = Object::new();
    for kind in ["some", "full"] {
        let mut one = Object::new();
        for pair in keyed(text, kind).unwrap_or_default().split(' ') {
            // As Go prints a float: without zeros at the end.
            let Some((name, value)) = pair.split_once('=') else { continue };
            let value = match value.split_once('.') {
                Some((whole, part)) => {
                    let part = part.trim_end_matches('0');
                    if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
                }
                None => value.to_owned(),
            };
            one.field(name, value);
        }
        let empty = one.0.len() == 1;
        all.field(kind, if empty { NO_PRESSURE.to_owned() } else { one.end() });
    }
    into.field("psi", all.end());
}

/// Kernels before 5.13 have no `full` line for the CPU.
const NO_PRESSURE: &str = r#"{"avg10":0,"avg60":0,"avg300":0,"total":0}"#;

/// Reads whatever the kernel's files may say; for hack/fuzz.
#[cfg(fuzzing)]
pub fn fuzz(text: &str) {
    let mut all = Object::new();
    all.field("number", number(text));
    all.list("words", &words(text));
    all.list("ranges", &ranges(text.get(..64).unwrap_or(text)));
    all.list("v1", &v1_entries(text));
    all.list("v2", &v2_entries(text, [("rbytes", "Read"), ("wbytes", "Write")]));
    pressure(&mut all, text);
    all.end();
    let rules = super::rules(&[], &mut crate::plan::Findings::default());
    if let Ok(policy) = super::policy(&rules) {
        super::devices::transition(text, &policy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_numbers() {
        assert_eq!(ranges("0-2,5\n"), ["0", "1", "2", "5"]);
        assert!(ranges("\n").is_empty());
        assert_eq!((number("max\n"), number("7\n"), number("")), (UNLIMITED, 7, 0));
    }

    #[test]
    fn block_devices_of_both_versions() {
        let v2 = "8:0 rbytes=1 wbytes=0 rios=3 wios=4 dbytes=0 dios=0\n";
        let bytes = v2_entries(v2, [("rbytes", "Read"), ("wbytes", "Write")]);
        assert_eq!(bytes, [r#"{"major":8,"op":"Read","value":1}"#, r#"{"major":8,"op":"Write"}"#]);
        let v1 = "8:16 Read 5\n8:16 Total 5\nTotal 5\n";
        assert_eq!(
            v1_entries(v1),
            [
                r#"{"major":8,"minor":16,"op":"Read","value":5}"#,
                r#"{"major":8,"minor":16,"op":"Total","value":5}"#
            ]
        );
    }

    #[test]
    fn pressure_is_in_numbers_of_go() {
        let mut all = Object::new();
        pressure(&mut all, "some avg10=1.50 avg60=0.00 avg300=0.07 total=12\n");
        assert_eq!(
            all.end(),
            r#"{"psi":{"some":{"avg10":1.5,"avg60":0,"avg300":0.07,"total":12},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}}"#
        );
    }
}
