//! `plan`: what is wrong with a bundle, and what would be made of it, without
//! making anything. One set of tables, for people as aligned text and for
//! programs as JSON.

use super::{Bundle, Decided, Runtime, look};
use crate::cgroup::Cgroup;
use crate::error::{Error, Result, printable};
use crate::plan::findings::{Finding, Severity};
use crate::plan::mounts::{self, Kind};
use crate::plan::overlay::{Overlay, Upper, Wish};
use crate::plan::rootfs::{Device, DeviceKind, Rootfs};
use crate::plan::{self, Findings, Hook, IdMaps, Options, Plan, Process, capabilities, scheduling};
use crate::security::seccomp::{self, Filter};
use crate::spec::{self, IdMapping, Spec};
use crate::sys::mountinfo;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// What would be done for a bundle.
#[derive(Debug)]
pub struct Preview {
    /// For whom it is.
    caller: Option<Table>,
    findings: Vec<Finding>,
    /// Empty if there is an error: then nothing would be done.
    tables: Vec<Table>,
}

/// One subject: a row a thing. Without columns each row is a name and a value.
#[derive(Debug)]
struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<Value>>,
}

impl Preview {
    /// Reads the bundle at `path`, decides everything as `create` would for this caller, and
    /// looks whether the host has what it takes.
    ///
    /// # Errors
    /// A bundle that cannot be read; whatever else is wrong is a finding.
    pub fn open(
        path: &Path,
        config: Option<&Path>,
        overlay: Option<Wish>,
        runtime: &Runtime,
    ) -> Result<Self> {
        let bundle = Bundle::open(path, config)?;
        let uid = rustix::process::geteuid();
        let unprivileged = !uid.is_root();
        let options = Options { unprivileged, overlay, ..Self::options(&bundle.path) };
        let mut findings = Findings::default();
        let driver = runtime.driver()?;
        let decided = Decided::new(&bundle.spec, &options, driver, &mut findings);
        look::document(&bundle, &decided, driver, &mut findings);
        look::host(runtime, &decided.plan, driver, &mut findings);
        look_below_root(&decided.plan.rootfs, &mut findings);
        let rows =
            [["uid".into(), uid.as_raw().into()], ["rootless".into(), driver.rootless.into()]];
        let rows = rows.map(|row| row.to_vec()).to_vec();
        let caller = Some(Table { name: "caller", columns: &[], rows });
        Ok(Self { caller, ..Self::of(&bundle.spec, &decided, &findings) })
    }

    /// As [`Preview::open`], for a configuration at hand and a cgroup that is known.
    pub fn on(cgroup: Cgroup, spec: &Spec, bundle: &Path) -> Self {
        let mut findings = Findings::default();
        let decided = Decided::on(Some(cgroup), spec, &Self::options(bundle), &mut findings);
        Self::of(spec, &decided, &findings)
    }

    fn options(bundle: &Path) -> Options {
        Options { id: "ID".into(), bundle: bundle.to_owned(), ..Options::default() }
    }

    fn of(spec: &Spec, decided: &Decided, findings: &Findings) -> Self {
        let tables = if findings.errors().is_empty() { tables(spec, decided) } else { Vec::new() };
        Self { caller: None, findings: findings.list(), tables }
    }

    /// Whether nothing would be done.
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The document for programs: `caller`, `findings`, and `plan` unless it is refused.
    pub fn to_json(&self) -> Value {
        let plan: Map<String, Value> =
            self.tables.iter().map(|table| (table.name.into(), table.to_json())).collect();
        let findings = findings_table(&self.findings).to_json();
        let mut document = Map::new();
        if let Some(caller) = &self.caller {
            document.insert("caller".into(), caller.to_json());
        }
        document.insert("findings".into(), findings);
        let plan = if self.is_refused() { Value::Null } else { plan.into() };
        document.insert("plan".into(), plan);
        document.into()
    }
}

/// root.readonly is about one mount: what the host has mounted below comes with its own flags.
fn look_below_root(rootfs: &Rootfs, findings: &mut Findings) {
    if !rootfs.readonly {
        return;
    }
    let (Ok(root), Ok(table)) = (std::fs::canonicalize(&rootfs.path), mountinfo::read()) else {
        return;
    };
    let points = mountinfo::rows(&table).map(|row| row.point());
    for point in points.filter(|point| *point != root && point.starts_with(&root)).take(MOST_POINTS)
    {
        let point = point.display();
        findings.advise(
            Error::new(format!("{point} is another mount, and stays as it is")).at("root.readonly"),
        );
    }
}

/// All mounts of the host are below a root of `/`.
const MOST_POINTS: usize = 5;

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.caller.iter().try_for_each(|table| table.fmt(f))?;
        findings_table(&self.findings).fmt(f)?;
        self.tables.iter().try_for_each(|table| table.fmt(f))?;
        if self.is_refused() { f.write_str("nothing would be done\n") } else { Ok(()) }
    }
}

impl Table {
    fn to_json(&self) -> Value {
        if self.columns.is_empty() {
            let pair =
                |row: &Vec<Value>| Some((row.first()?.as_str()?.into(), row.get(1)?.clone()));
            return Value::Object(self.rows.iter().filter_map(pair).collect());
        }
        let row = |row: &Vec<Value>| match self.columns {
            [_] => row.first().cloned().unwrap_or_default(),
            columns => {
                let cells = columns.iter().zip(row);
                Value::Object(cells.map(|(name, cell)| ((*name).into(), cell.clone())).collect())
            }
        };
        self.rows.iter().map(row).collect()
    }
}

/// A heading, and the rows below it in columns.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        let head: Vec<String> = self.columns.iter().map(ToString::to_string).collect();
        let mut lines: Vec<Vec<String>> =
            if self.columns.len() > 2 { vec![head] } else { Vec::new() };
        lines.extend(self.rows.iter().map(|row| row.iter().map(text).collect()));
        let count = lines.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).min(PADDED)
        };
        let widths: Vec<usize> = (0..count).map(width).collect();
        writeln!(f, "{}", self.name)?;
        for line in &lines {
            let mut padded = String::new();
            for (cell, width) in line.iter().zip(&widths) {
                padded.extend(["  ", cell]);
                let missing = width.saturating_sub(cell.chars().count());
                padded.extend(std::iter::repeat_n(' ', missing));
            }
            writeln!(f, "{}", padded.trim_end())?;
        }
        Ok(())
    }
}

/// A cell of text has at most so many characters; the JSON form has them all.
const CELL: usize = 2000;
/// A column is at most so wide; what is longer sticks out.
const PADDED: usize = 80;

/// A cell for people.
fn text(cell: &Value) -> String {
    let mut shown = String::new();
    show(cell, &mut shown);
    match shown.char_indices().nth(CELL) {
        Some((at, _)) => {
            shown.truncate(at);
            shown + "... (--json shows it all)"
        }
        None => shown,
    }
}

/// Appends a cell, or as much of it as will be seen.
fn show(cell: &Value, shown: &mut String) {
    match cell {
        Value::Null => shown.push('-'),
        Value::String(text) if text.is_empty() => shown.push_str("\"\""),
        Value::String(text) => match printable(start(text)) {
            Cow::Borrowed(text) => shown.push_str(text),
            Cow::Owned(_) => shown.push_str(&format!("{:?}", start(text))),
        },
        Value::Array(list) if list.is_empty() => shown.push('-'),
        Value::Array(list) => {
            for (at, cell) in list.iter().enumerate() {
                // A character has at most four bytes.
                if shown.len() > 4 * CELL {
                    break;
                }
                shown.push_str(if at == 0 { "" } else { " " });
                match cell.as_str() {
                    Some(text) if text.contains(' ') => {
                        shown.push_str(&format!("{:?}", start(text)));
                    }
                    _ => show(cell, shown),
                }
            }
        }
        other => shown.push_str(&other.to_string()),
    }
}

/// The part of a text that a cell has room for, and a little more.
fn start(text: &str) -> &str {
    text.char_indices().nth(CELL + 1).map_or(text, |(at, _)| &text[..at])
}

fn strings<T: AsRef<str>>(list: impl IntoIterator<Item = T>) -> Value {
    list.into_iter().map(|text| Value::from(text.as_ref())).collect()
}

fn octal(mode: u32) -> Value {
    format!("{mode:04o}").into()
}

fn findings_table(findings: &[Finding]) -> Table {
    let row = |finding: &Finding| {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Advice => "advice",
        };
        [severity, &finding.field, finding.section, &finding.rule].map(Value::from).to_vec()
    };
    let columns = &["severity", "field", "section", "rule"];
    Table { name: "findings", columns, rows: findings.iter().map(row).collect() }
}

/// In the order in which things are made.
fn tables(spec: &Spec, decided: &Decided) -> Vec<Table> {
    let plan = &decided.plan;
    let rootfs = &plan.rootfs;
    let list = |name, list: &[String]| {
        let rows = list.iter().map(|text| vec![text.as_str().into()]).collect();
        Table { name, columns: &["path"], rows }
    };
    let dirs = decided.cgroup.as_ref().map(Cgroup::mounts).unwrap_or_default();
    let dirs: Vec<String> = dirs.iter().map(|dir| dir.source.display().to_string()).collect();
    let writes: Vec<String> = decided.writes.iter().map(ToString::to_string).collect();
    let sysctl =
        |(name, value): &(String, String)| vec![name.as_str().into(), value.as_str().into()];
    let mut all = vec![container(plan)];
    all.extend(rootfs.overlay.as_ref().map(overlay));
    all.extend([
        namespaces(plan),
        id_maps(plan.id_maps.as_ref()),
        list("cgroup", &dirs),
        list("cgroupWrites", &writes),
        schemata(plan),
        list("timeOffsets", &plan.time_offsets),
        net_devices(plan),
        mounts(&rootfs.mounts),
        devices(&rootfs.devices),
        Table {
            name: "sysctl",
            columns: &["name", "value"],
            rows: plan.sysctl.iter().map(sysctl).collect(),
        },
        list("maskedPaths", &rootfs.masked_paths),
        list("readonlyPaths", &rootfs.readonly_paths),
    ]);
    if let Some(process) = &plan.process {
        all.extend([self::process(process), capability_sets(process), rlimits(process)]);
    }
    if let (Some(profile), Some(filter)) = (spec.seccomp(), &decided.filter) {
        all.push(self::filter(profile, filter));
    }
    all.push(hooks(&plan.hooks));
    all
}

fn pairs<const N: usize>(name: &'static str, rows: [(&str, Value); N]) -> Table {
    let given = rows.into_iter().filter(|(_, value)| !value.is_null());
    let rows = given.map(|(name, value)| vec![name.into(), value]).collect();
    Table { name, columns: &[], rows }
}

fn container(plan: &Plan) -> Table {
    let rootfs = &plan.rootfs;
    let propagation = rootfs.propagation.and_then(mounts::propagation_name);
    pairs(
        "container",
        [
            ("root", rootfs.path.display().to_string().into()),
            ("readonly", rootfs.readonly.into()),
            ("propagation", propagation.into()),
            ("mountLabel", rootfs.mount_label.clone().into()),
            ("hostname", plan.hostname.clone().into()),
            ("domainname", plan.domainname.clone().into()),
            ("personality", plan.personality.into()),
            ("memoryPolicy", plan.memory_policy.as_ref().map(|p| p.shown.as_str()).into()),
        ],
    )
}

/// The lowest directory first, as they lie upon each other.
fn overlay(overlay: &Overlay) -> Table {
    let row = |layer: &str, path: Value| vec![layer.into(), path];
    let path = |path: &Path| Value::from(path.display().to_string());
    let lowers = overlay.lowers.iter().map(|lower| row("lower", path(&lower.path)));
    let upper = match &overlay.upper {
        Upper::Dir(dir) => row("upper", path(&dir.join("upper"))),
        Upper::Tmpfs(None) => row("tmpfs", Value::Null),
        Upper::Tmpfs(Some(size)) => row("tmpfs", format!("size={size}").into()),
    };
    Table { name: "overlay", columns: &["layer", "path"], rows: lowers.chain([upper]).collect() }
}

fn namespaces(plan: &Plan) -> Table {
    let new = plan.namespaces.create.iter().map(|kind| vec![kind.name().into(), "new".into()]);
    let joined = plan.namespaces.join.iter().map(|(kind, path)| {
        let path = path.display().to_string();
        vec![kind.name().into(), "joined".into(), path.into()]
    });
    Table {
        name: "namespaces",
        columns: &["type", "how", "path"],
        rows: new.chain(joined).collect(),
    }
}

fn schemata(plan: &Plan) -> Table {
    let lines = plan.intel_rdt.iter().flat_map(|rdt| &rdt.schemata);
    let rows = lines.map(|(field, line)| vec![field.as_str().into(), line.as_str().into()]);
    Table { name: "intelRdt", columns: &["field", "line"], rows: rows.collect() }
}

fn net_devices(plan: &Plan) -> Table {
    let row = |device: &plan::net_devices::NetDevice| {
        vec![device.host.as_str().into(), device.inside().into()]
    };
    let rows = plan.net_devices.iter().map(row).collect();
    Table { name: "netDevices", columns: &["host", "inside"], rows }
}

fn id_maps(maps: Option<&IdMaps>) -> Table {
    let rows = |kind: &'static str, lines: &[IdMapping]| -> Vec<Vec<Value>> {
        let row = |line: &IdMapping| {
            vec![kind.into(), line.container_id.into(), line.host_id.into(), line.size.into()]
        };
        lines.iter().map(row).collect()
    };
    let both = maps.map(|maps| [rows("uid", &maps.uids), rows("gid", &maps.gids)].concat());
    let columns = &["type", "containerID", "hostID", "size"];
    Table { name: "idMaps", columns, rows: both.unwrap_or_default() }
}

fn mounts(list: &[mounts::Mount]) -> Table {
    let row = |mount: &mounts::Mount| {
        let (kind, source, data) = match &mount.kind {
            Kind::Bind(bind) => ("bind", Some(bind.source.display().to_string()), None),
            Kind::FileSystem(fs) => (fs.kind.as_str(), fs.source.clone(), Some(&fs.data)),
            Kind::Cgroup => ("cgroup", None, None),
            Kind::Remount { file_system, .. } => ("remount", None, Some(&file_system.data)),
        };
        let pair = |(key, value): &(String, Option<String>)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        };
        vec![
            mount.destination.as_str().into(),
            kind.into(),
            source.into(),
            strings(mount.options()),
            strings(data.into_iter().flatten().map(pair)),
        ]
    };
    let columns = &["destination", "type", "source", "options", "data"];
    Table { name: "mounts", columns, rows: list.iter().map(row).collect() }
}

fn devices(list: &[Device]) -> Table {
    let row = |device: &Device| {
        let (kind, numbers) = match device.kind {
            DeviceKind::Char(major, minor) => ("c", Some((major, minor))),
            DeviceKind::Block(major, minor) => ("b", Some((major, minor))),
            DeviceKind::Fifo => ("p", None),
        };
        vec![
            device.path.as_str().into(),
            kind.into(),
            numbers.map(|(major, _)| major).into(),
            numbers.map(|(_, minor)| minor).into(),
            octal(device.mode),
            device.uid.into(),
            device.gid.into(),
        ]
    };
    let columns = &["path", "type", "major", "minor", "mode", "uid", "gid"];
    Table { name: "devices", columns, rows: list.iter().map(row).collect() }
}

fn process(process: &Process) -> Table {
    let texts =
        |list: &[std::ffi::CString]| strings(list.iter().map(|text| text.to_string_lossy()));
    let policy = process.scheduling.cpu.map(|cpu| scheduling::policy_name(cpu.policy));
    pairs(
        "process",
        [
            ("args", texts(&process.args)),
            ("cwd", process.cwd.as_str().into()),
            ("env", texts(&process.env)),
            ("uid", process.uid.into()),
            ("gid", process.gid.into()),
            ("additionalGids", process.groups.clone().into()),
            ("umask", process.umask.map_or(Value::Null, octal)),
            ("terminal", process.terminal.is_some().into()),
            ("noNewPrivileges", process.no_new_privileges.into()),
            ("oomScoreAdj", process.oom_score_adj.into()),
            ("apparmorProfile", process.apparmor_profile.clone().into()),
            ("selinuxLabel", process.selinux_label.clone().into()),
            ("scheduler", policy.into()),
        ],
    )
}

fn capability_sets(process: &Process) -> Table {
    let sets = &process.capabilities;
    let names = |mask: u64| strings(capabilities::names(mask));
    pairs(
        "capabilities",
        [
            ("bounding", names(sets.bounding)),
            ("effective", names(sets.effective)),
            ("permitted", names(sets.permitted)),
            ("inheritable", names(sets.inheritable)),
            ("ambient", names(sets.ambient)),
        ],
    )
}

fn rlimits(process: &Process) -> Table {
    let number = |value: Option<u64>| value.map_or("unlimited".into(), Value::from);
    let row = |limit: &plan::rlimits::Rlimit| {
        vec![limit.name.into(), number(limit.soft), number(limit.hard)]
    };
    let rows = process.rlimits.iter().map(row).collect();
    Table { name: "rlimits", columns: &["type", "soft", "hard"], rows }
}

/// The size of the filter, and what each architecture adds to it.
fn filter(profile: &spec::Seccomp, filter: &Filter) -> Table {
    let mut table = pairs(
        "seccomp",
        [
            ("instructions", filter.program.instructions.len().into()),
            ("flags", profile.flags.as_ref().map(strings).into()),
            ("listenerPath", filter.listener.as_ref().map(|l| l.path.as_str()).into()),
            ("unknownCalls", strings(&filter.skipped)),
        ],
    );
    let size = |architectures: &[String]| {
        let profile = spec::Seccomp { architectures: architectures.to_vec(), ..profile.clone() };
        let filter = seccomp::compile(&profile, &mut Findings::default());
        filter.map_or(0, |filter| filter.program.instructions.len())
    };
    let native = size(&[]);
    let native_name = seccomp::Arch::native().name;
    table.rows.push(vec![native_name.into(), native.into()]);
    let mut seen = BTreeSet::from([native_name]);
    for name in profile.architectures.iter().filter(|name| seen.insert(name)) {
        let more = size(std::slice::from_ref(name)).saturating_sub(native);
        table.rows.push(vec![name.as_str().into(), more.into()]);
    }
    table
}

fn hooks(hooks: &plan::Hooks) -> Table {
    let mut rows = Vec::new();
    for (when, list) in hooks.all() {
        let row = |hook: &Hook| {
            let seconds = hook.timeout.map(|timeout| timeout.as_secs());
            let path = hook.path.display().to_string();
            vec![when.into(), path.into(), strings(&hook.args), seconds.into()]
        };
        rows.extend(list.iter().map(row));
    }
    Table { name: "hooks", columns: &["when", "path", "args", "timeout"], rows }
}
