//! The place of one worker: bundles, a state root, cgroups and units with a prefix of its own, and the
//! search for whatever a runtime leaves behind.
//!
//! The worker is a subreaper: what outlives its runtime becomes its child, so no process is left behind
//! unseen. Files lie on a tmpfs in a mount namespace of the worker, and are gone with it.

use super::Options;
use super::harness::{Bundle, Hierarchy, Value, json, runtime};
use super::rootless::rootless;
use super::run::{self, Ended};
use super::sys;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::fs;
use std::io::{IoSliceMut, Result};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Where the workers' tmpfs is.
pub const BASE: &str = "/run/pinnace-crash";
/// What workers share is below, by the pid of their main process.
pub const SHARED: &str = "/run/pinnace-crash-shared";
const CGROUPS: &str = "/sys/fs/cgroup";
/// Who calls the runtime, if it is an ordinary user.
pub const USER: u32 = 1000;
/// Whether that one does.
pub static ROOTLESS: AtomicBool = AtomicBool::new(false);
/// What systemd has handed to the user.
const SESSION: &str = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service";
/// The kernel collects keyrings, and systemd units, a while after their end.
const LATE: Duration = Duration::from_secs(10);

/// What a container is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As `spec` prints it.
    Default,
    /// User namespace, filter, hooks of all kinds, limits, binds, a cgroup level that is not there yet.
    Rich,
}

/// What its program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Sleeps until it is killed.
    Sleeper,
    /// The same, on a terminal.
    Terminal,
    /// Says `hi`, ends with 7.
    Short,
}

/// A configuration that lacks only the id.
pub struct Template {
    /// Keeps the root file system.
    _bundle: Bundle,
    text: String,
}

impl Template {
    /// Writes `config.json` for a container into a directory, which then is its bundle.
    pub fn write(&self, id: &str, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("config.json"), self.text.replace("ID-OF-IT", id))
    }
}

/// Receives terminals, and keeps them: without them their processes get SIGHUP.
struct Console {
    listener: UnixListener,
    terminals: Vec<OwnedFd>,
}

impl Console {
    fn accept(&mut self) {
        while let Ok((peer, _)) = self.listener.accept() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut data = [0; 4096];
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            // A runtime that was killed may have sent nothing.
            if recvmsg(&peer, &mut [IoSliceMut::new(&mut data)], &mut control, flags).is_ok() {
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(fds) = message {
                        self.terminals.extend(fds);
                    }
                }
            }
        }
    }
}

/// See the module.
pub struct World {
    /// Begins the name of everything.
    pub name: String,
    pub dir: PathBuf,
    /// An ordinary user calls the runtime.
    pub is_rootless: bool,
    /// That user has cgroups; and the one in which we were before.
    has_session: bool,
    origin: PathBuf,
    systemd: bool,
    program: PathBuf,
    /// The cgroups, one a hierarchy, below which the containers' are.
    levels: Vec<PathBuf>,
    console: Console,
    count: u32,
}

impl World {
    /// Makes this process the worker of a world that is empty.
    pub fn new(name: &str, options: &Options) -> Result<Self> {
        let (is_rootless, has_session) =
            (options.rootless, options.rootless && options.driver.is_some());
        ROOTLESS.store(is_rootless, Ordering::Relaxed);
        sys::be_subreaper()?;
        let dir = Path::new(BASE).join(name);
        for part in ["root", "data", "pids"] {
            fs::create_dir_all(dir.join(part))?;
        }
        fs::set_permissions(dir.join("data"), fs::Permissions::from_mode(0o777))?;
        fs::set_permissions(dir.join("root"), fs::Permissions::from_mode(0o700))?;
        let listener = UnixListener::bind(dir.join("console"))?;
        listener.set_nonblocking(true)?;
        let mut program = runtime().path.clone();
        if is_rootless {
            // Where the user reaches it.
            program = dir.join(&runtime().name);
            fs::copy(&runtime().path, &program)?;
            for part in ["root", "data", "pids", "console"] {
                chown(dir.join(part), Some(USER), Some(USER))?;
            }
        }
        let systemd = super::harness::by_systemd();
        let console = Console { listener, terminals: Vec::new() };
        let mut world = Self {
            name: name.to_owned(),
            dir,
            is_rootless,
            has_session,
            origin: PathBuf::new(),
            systemd,
            program,
            levels: Vec::new(),
            console,
            count: 0,
        };
        if has_session {
            world.enter_session()?;
        } else if !systemd && !is_rootless {
            world.levels = hierarchies().iter().map(|path| path.join(name)).collect();
        }
        world.make_levels()?;
        Ok(world)
    }

    /// A user may move processes only below what was handed to them.
    fn enter_session(&mut self) -> Result<()> {
        let line = fs::read_to_string("/proc/self/cgroup")?;
        self.origin = Path::new(CGROUPS).join(line.trim().trim_start_matches("0::/"));
        let caller = Path::new(SESSION).join(format!("{}-caller", self.name));
        fs::create_dir(&caller)?;
        fs::write(caller.join("cgroup.procs"), "0")?;
        if !self.systemd {
            let level = Path::new(SESSION).join(&self.name);
            fs::create_dir(&level)?;
            for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                chown(level.join(file), Some(USER), Some(USER))?;
            }
            self.levels = vec![level];
        }
        Ok(())
    }

    /// Makes a directory the caller's.
    pub fn hand_over(&self, path: &Path) -> Result<()> {
        if self.is_rootless { chown(path, Some(USER), Some(USER)) } else { Ok(()) }
    }

    /// The slice of the scopes, and where systemd keeps their units.
    fn units(&self) -> (PathBuf, &'static str) {
        if self.has_session {
            (Path::new(SESSION).join("user.slice"), "/run/user/1000/systemd/transient")
        } else {
            (Path::new(CGROUPS).join("system.slice"), "/run/systemd/transient")
        }
    }

    fn make_levels(&self) -> Result<()> {
        for level in &self.levels {
            fs::create_dir_all(level)?;
            // On v1 nothing can enter a cgroup without processors.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let above = level.parent().unwrap().join(file);
                if Hierarchy::of_host() == Hierarchy::V1 && above.exists() {
                    fs::write(level.join(file), fs::read(above)?)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the runtime under test is ours.
    pub fn is_pinnace(&self) -> bool {
        super::harness::is_pinnace()
    }

    /// Whether containers get a cgroup of their own here, which `pause` and `update` need.
    pub fn has_cgroups(&self) -> bool {
        !self.is_rootless || self.has_session
    }

    /// An id that was not there before.
    pub fn new_id(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.name, self.count)
    }

    /// The configuration of such a container.
    pub fn template(&self, kind: Kind, program: Program) -> Template {
        let mut bundle = match program {
            Program::Short => Bundle::sh("echo hi; exit 7"),
            _ => Bundle::sleeper(),
        };
        if kind == Kind::Rich {
            bundle = self.rich(bundle);
        }
        if self.is_rootless {
            bundle = rootless(bundle);
            if self.has_session && kind == Kind::Rich {
                bundle = bundle.edit(|config| {
                    let mut resources = json!({});
                    limit(&mut resources);
                    config["linux"]["resources"] = resources;
                });
            }
        }
        if self.has_cgroups() {
            let level =
                if kind == Kind::Rich && self.is_pinnace() { "/ID-OF-IT.level" } else { "" };
            let (slice, name) = (if self.has_session { "user" } else { "system" }, &self.name);
            let path = if self.systemd {
                format!("{slice}.slice:{name}:ID-OF-IT")
            } else {
                let above = if self.has_session { &SESSION[CGROUPS.len()..] } else { "" };
                format!("{above}/{name}{level}/ID-OF-IT")
            };
            bundle = bundle.set("/linux/cgroupsPath", json!(path));
        }
        let root = bundle.path().join("rootfs");
        bundle = bundle
            .set("/root/path", json!(root))
            .set("/process/terminal", json!(program == Program::Terminal));
        if self.is_rootless {
            chown_all(&bundle.path(), USER);
        }
        let text = bundle.config().to_string();
        Template { _bundle: bundle, text }
    }

    fn rich(&self, bundle: Bundle) -> Bundle {
        let host = |kind| {
            let script = format!("echo {kind} >> {}/data/hooks", self.dir.display());
            json!([{"path": "/bin/busybox", "args": ["busybox", "sh", "-c", script]}])
        };
        let inside = json!([{"path": "/bin/busybox", "args": ["busybox", "true"]}]);
        let data = self.dir.join("data");
        fs::create_dir_all(bundle.rootfs("data")).unwrap();
        fs::create_dir_all(bundle.rootfs("ro")).unwrap();
        bundle
            .user_namespace()
            .namespace("cgroup", None)
            .edit(|config| limit(&mut config["linux"]["resources"]))
            .set(
                "/linux/seccomp",
                json!({
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                    "syscalls": [{"names": ["swapon", "reboot", "kexec_load", "keyctl"],
                        "action": "SCMP_ACT_ERRNO"}]
                }),
            )
            .bind(&data, "/data", &["rbind", "rw"])
            .bind(&data, "/ro", &["bind", "ro", "nosuid"])
            .mount("tmpfs", "tmpfs", "/tmp", &["size=1m"])
            .set("/hooks/prestart", host("prestart"))
            .set("/hooks/createRuntime", host("createRuntime"))
            .set("/hooks/createContainer", inside.clone())
            .set("/hooks/startContainer", inside)
            .set("/hooks/poststart", host("poststart"))
            .set("/hooks/poststop", host("poststop"))
    }

    /// The bundle that is written anew for each container.
    pub fn bundle(&self) -> PathBuf {
        self.dir.join("bundle")
    }

    /// Where the pid file and nothing else is.
    pub fn pid_file(&self) -> PathBuf {
        self.dir.join("pids/pid")
    }

    /// Who receives terminals.
    pub fn console_socket(&self) -> PathBuf {
        self.dir.join("console")
    }

    /// A call of the runtime.
    pub fn command<S: AsRef<std::ffi::OsStr>>(
        &self,
        words: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.dir.join("root"));
        if self.systemd {
            command.arg("--systemd-cgroup");
        }
        if self.is_rootless {
            command.uid(USER).gid(USER);
        }
        if self.has_session {
            command.env("XDG_RUNTIME_DIR", "/run/user/1000");
            command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus");
        }
        for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "TMPDIR"] {
            command.env_remove(name);
        }
        command.args(words);
        command
    }

    /// Calls the runtime, to the end.
    pub fn call<S: AsRef<std::ffi::OsStr>>(
        &self,
        words: impl IntoIterator<Item = S>,
    ) -> Result<Ended> {
        run::start(self.command(words), &self.dir.join("call"), None)?.wait()
    }

    /// What `state` says of a container, and how it said it; `None` if it says nothing.
    pub fn state(&self, id: &str) -> Result<(Option<Value>, Ended)> {
        let ended = self.call(["state", id])?;
        let value = if ended.is_good() { serde_json::from_str(&ended.out).ok() } else { None };
        Ok((value, ended))
    }

    /// Takes over the terminals that were sent.
    pub fn accept_terminals(&mut self) {
        self.console.accept();
    }

    /// Gives the terminals up.
    pub fn close_terminals(&mut self) {
        self.console.accept();
        self.console.terminals.clear();
    }

    /// The processes in the cgroups of a container.
    pub fn pids_in(&self, id: &str) -> Vec<i32> {
        let mut found: Vec<i32> = Vec::new();
        for dir in self.cgroups().iter().filter(|dir| dir.ends_with(id) || named(dir, id)) {
            let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The content of a file of the container's cgroup, in whatever hierarchy has it.
    pub fn cgroup_file(&self, id: &str, names: &[&str]) -> Option<String> {
        let dirs = self.cgroups().into_iter().filter(|dir| dir.ends_with(id) || named(dir, id));
        let files = dirs.flat_map(|dir| names.iter().map(move |name| dir.join(name)));
        files.filter_map(|file| fs::read_to_string(file).ok()).next().map(|text| text.trim().into())
    }

    /// All cgroups of this world, parents first, without the levels that were there before.
    fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = self.levels.clone();
        if self.systemd {
            let (slice, _) = self.units();
            let scopes = names(&slice).into_iter().filter(|name| name.starts_with(&self.name));
            found.extend(scopes.map(|name| slice.join(name)));
            todo.extend(found.iter().cloned());
        }
        while let Some(dir) = todo.pop() {
            let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
            for entry in entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())) {
                found.push(entry.path());
                todo.push(entry.path());
            }
        }
        found
    }

    fn mounts(&self) -> Vec<String> {
        let dir = format!("{}/", self.dir.display());
        let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
        text.lines().filter(|line| line.contains(&dir)).map(str::to_owned).collect()
    }

    /// Whatever is there and should not be once all containers are deleted.
    pub fn leftovers(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for pid in run::reap_all(super::at::limit() / 2)? {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push(format!("process {pid} {}", command.trim()));
        }
        let root = self.dir.join("root");
        for name in names(&root) {
            found.push(format!("state {name}: {:?}", names(&root.join(&name))));
        }
        let mut late = self.late();
        if self.systemd {
            let end = Instant::now() + LATE;
            while !late.is_empty() && Instant::now() < end {
                // No event tells of the end of a unit without a bus.
                std::thread::sleep(Duration::from_millis(5));
                late = self.late();
            }
        }
        found.extend(late);
        found.extend(self.mounts().into_iter().map(|line| format!("mount {line}")));
        let pids = names(&self.dir.join("pids"));
        found.extend(
            pids.into_iter().filter(|name| name != "pid").map(|name| format!("temporary {name}")),
        );
        Ok(found)
    }

    /// What systemd removes itself, a moment later: cgroups and units.
    fn late(&self) -> Vec<String> {
        let cgroups = self.cgroups().into_iter().map(|dir| format!("cgroup {}", dir.display()));
        let units = names(Path::new(self.units().1)).into_iter();
        let units = units.filter(|name| self.systemd && name.starts_with(&self.name));
        cgroups.chain(units.map(|name| format!("unit {name}"))).collect()
    }

    /// Session keyrings of containers of this world; a while after the last one's end.
    pub fn keyrings(&self) -> Vec<String> {
        let end = Instant::now() + LATE;
        loop {
            let text = fs::read_to_string("/proc/keys").unwrap_or_default();
            let mark = format!("_ses.{}-", self.name);
            let found: Vec<_> =
                text.lines().filter(|line| line.contains(&mark)).map(str::to_owned).collect();
            if found.is_empty() || Instant::now() > end {
                return found;
            }
            // The kernel's garbage collector sends no event.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Best effort, so that one failed point does not spoil the next.
    pub fn clean(&mut self) -> Result<()> {
        self.close_terminals();
        for pid in run::reap_all(Duration::ZERO)? {
            sys::kill(pid, libc::SIGKILL);
        }
        remove_cgroups(&self.cgroups());
        run::reap_all(Duration::from_secs(2))?;
        remove_cgroups(&self.cgroups());
        for line in self.mounts().iter().rev() {
            let target = line.split(' ').nth(4).unwrap_or_default();
            rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH).ok();
        }
        for dir in ["root", "pids"] {
            for name in names(&self.dir.join(dir)) {
                let path = self.dir.join(dir).join(name);
                if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
            }
        }
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.clean().ok();
        if self.has_session {
            fs::write(self.origin.join("cgroup.procs"), "0").ok();
            fs::remove_dir(Path::new(SESSION).join(format!("{}-caller", self.name))).ok();
        }
        for level in &self.levels {
            fs::remove_dir(level).ok();
        }
        fs::remove_dir_all(&self.dir).ok();
    }
}

/// Whether a scope is that of a container.
fn named(dir: &Path, id: &str) -> bool {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".scope").is_some_and(|name| name.ends_with(&format!("-{id}")))
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn chown_all(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for name in names(path) {
            chown_all(&path.join(name), user);
        }
    }
}

/// The roots of all cgroup hierarchies: a plain directory on the tmpfs around them is none.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(CGROUPS);
    if Hierarchy::of_host() == Hierarchy::V2 {
        return vec![root.to_owned()];
    }
    let dirs = names(root).into_iter().map(|name| root.join(name));
    dirs.filter(|dir| dir.join("cgroup.procs").exists()).collect()
}

/// The limits of controllers that are there.
fn limit(resources: &mut Value) {
    let host = Hierarchy::of_host();
    if host.has("memory") {
        resources["memory"] = json!({"limit": 256 << 20});
    }
    if host.has("pids") {
        resources["pids"] = json!({"limit": 100});
    }
    if host.has("cpu") {
        resources["cpu"] = json!({"shares": 512, "quota": 90000, "period": 100_000});
    }
    if !host.has("memory") && host.has("hugetlb") {
        resources["hugepageLimits"] = json!([{"pageSize": "2MB", "limit": 8 << 20}]);
    }
}

/// Kills what is in cgroups, and removes them as far as they are empty.
fn remove_cgroups(dirs: &[PathBuf]) {
    for dir in dirs.iter().rev() {
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in text.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid > 1) {
            sys::kill(pid, libc::SIGKILL);
        }
        for (file, text) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
            if dir.join(file).exists() {
                fs::write(dir.join(file), text).ok();
            }
        }
        fs::remove_dir(dir).ok();
    }
}

/// Removes what runs have left whose main process, which the names tell, is no more.
pub fn remove_stale() {
    remove_where(|pid| !Path::new(&format!("/proc/{pid}")).exists());
}

/// Removes what the run of that main process has left; whether nothing is any more.
pub fn remove_of(main: u32) -> bool {
    remove_where(|pid| pid == main)
}

/// Removes the cgroups of runs; whether there were none.
fn remove_where(is_wanted: impl Fn(u32) -> bool) -> bool {
    let mut roots = hierarchies();
    roots.push(Path::new(CGROUPS).join("system.slice"));
    roots.extend(["", "user.slice"].map(|name| Path::new(SESSION).join(name)));
    let wanted = |pid: &str| pid.parse().is_ok_and(&is_wanted);
    for name in names(Path::new(SHARED)).into_iter().filter(|name| wanted(name)) {
        fs::remove_dir_all(Path::new(SHARED).join(name)).ok();
    }
    let mut none = true;
    for root in roots {
        for name in names(&root) {
            let pid = name.strip_prefix("crash-").and_then(|rest| rest.split('-').next());
            let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
            if !is_wanted(pid) {
                continue;
            }
            none = false;
            let mut dirs = vec![root.join(name)];
            let mut next = 0;
            while next < dirs.len() {
                let inner: Vec<_> = names(&dirs[next]).iter().map(|n| dirs[next].join(n)).collect();
                dirs.extend(inner.into_iter().filter(|path| path.is_dir()));
                next += 1;
            }
            for _ in 0..3 {
                remove_cgroups(&dirs);
            }
        }
    }
    none
}
