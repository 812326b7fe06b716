//! The driver of these tests: a bundle, a host on which everything is shared,
//! and a child in new namespaces that takes the four steps.

use anyhow::{Context as _, Result, bail, ensure};
use pinnace::plan::mounts::Mount;
use pinnace::plan::rootfs::CgroupView;
use pinnace::rootfs::{self, Context, Ground, View};
use pinnace::spec::{self, Spec};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A bundle in a directory of its own, with a decoy beside it.
pub struct Bundle {
    pub dir: PathBuf,
    pub config: Value,
    pub options: Options,
}

#[derive(Default, Clone)]
pub struct Options {
    pub userns: bool,
    pub hostnet: bool,
    pub no_pivot: bool,
    pub cgroup: Option<CgroupView>,
    pub cgroup_namespace: bool,
    /// Drop privileges of the parent before `open`.
    pub rootless: bool,
    pub console: bool,
    /// The host's mounts propagate as they do.
    pub plain_host: bool,
    /// The decoy is a mount of its own, and one of the container's under it is
    /// expected to reach the host.
    pub volume: bool,
    /// `mount_setattr` fails with ENOSYS, as before Linux 5.12.
    pub old_kernel: bool,
    /// Runs in the container's mount namespace before `enter`, as a
    /// `createContainer` hook does.
    pub hook: Option<fn(&Path)>,
}

/// Whether containers begin in a minimal mount namespace, where that may be.
pub static MINIMAL: AtomicBool = AtomicBool::new(false);

impl Bundle {
    pub fn new(name: &str) -> Self {
        let way = if MINIMAL.load(Ordering::Relaxed) { "minimal" } else { "copy" };
        let dir = format!("rootfs-test-{}/{way}/{name}", std::process::id());
        let dir = std::env::temp_dir().join(dir);
        for sub in ["rootfs/bin", "rootfs/etc", "rootfs/proc", "rootfs/sys", "rootfs/dev", "decoy"]
        {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        for sub in ["", "rootfs", "rootfs/bin"] {
            fs::set_permissions(dir.join(sub), PermissionsExt::from_mode(0o755)).unwrap();
        }
        fs::copy("/bin/busybox", dir.join("rootfs/bin/busybox")).unwrap();
        fs::write(dir.join("decoy/file"), "decoy").unwrap();
        let config = json!({
            "ociVersion": "1.3.0",
            "root": { "path": "rootfs" },
            "mounts": default_mounts(),
            "linux": { "namespaces": [{"type": "mount"}, {"type": "pid"}] },
        });
        Self { dir, config, options: Options::default() }
    }

    pub fn root(&self, path: &str) -> PathBuf {
        self.dir.join("rootfs").join(path)
    }

    pub fn mount(&mut self, destination: &str, kind: &str, source: &str, options: &[&str]) {
        let mount =
            json!({"destination": destination, "type": kind, "source": source, "options": options});
        self.config["mounts"].as_array_mut().unwrap().push(mount);
    }

    /// Runs `check` in the container. The error is that of the step that failed.
    pub fn run(&self, check: impl Fn() -> Result<()>) -> Result<()> {
        let mut config = self.config.clone();
        if self.options.userns {
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            config["linux"]["uidMappings"] =
                json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
            config["linux"]["gidMappings"] = config["linux"]["uidMappings"].clone();
        }
        let spec: Spec = spec::parse_str("config.json", &config.to_string())?;
        let (mut reader, writer) = pipe();
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            drop(reader);
            let message = match self.parent(&spec, &check) {
                Ok(()) => String::new(),
                Err(error) => format!("{error:#}"),
            };
            let mut writer = writer;
            writer.write_all(message.as_bytes()).unwrap();
            unsafe { libc::_exit(0) };
        }
        drop(writer);
        let mut message = String::new();
        reader.read_to_string(&mut message)?;
        wait(pid)?;
        if message.is_empty() { Ok(()) } else { bail!("{message}") }
    }

    fn parent(&self, spec: &Spec, check: &dyn Fn() -> Result<()>) -> Result<()> {
        let mut findings = pinnace::plan::Findings::default();
        let plan = pinnace::plan::rootfs::plan(spec, &self.dir, &mut findings);
        let (plan, _) = findings.finish(plan)?;
        // As on a host with systemd: everything is shared, so that a mount which
        // is not cut off shows here.
        ensure!(unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0);
        let shared = rustix::mount::MountPropagationFlags::SHARED
            | rustix::mount::MountPropagationFlags::REC;
        if !self.options.plain_host {
            rustix::mount::mount_change("/", shared)?;
        }
        if self.options.volume {
            let volume = self.dir.join("decoy");
            let flags = rustix::mount::MountFlags::empty();
            rustix::mount::mount("t", &volume, "tmpfs", flags, c"")?;
            rustix::mount::mount_change(&volume, shared)?;
            fs::create_dir(volume.join("sub"))?;
        }
        if self.options.rootless {
            // What a rootless user has done: root in a user namespace whose
            // mounts are the host's.
            enter_user_namespace()?;
        }
        if self.options.old_kernel {
            refuse_mount_setattr()?;
        }
        let context = Context {
            cgroup: self.options.cgroup.as_ref(),
            cgroup_namespace: self.options.cgroup_namespace,
            ..Context::default()
        };
        let mut sources = rootfs::open(&plan, &context)?;
        for (sent, trees) in sources.sent().zip(rootfs::cgroup_trees(&plan, &context)?) {
            *sent = trees;
        }
        let mut view = if plan.mount_namespace { View::Copy } else { View::Host };
        let needs_host = plan.mounts.iter().any(Mount::needs_host_paths);
        if self.may_be_minimal() && plan.mount_namespace && !needs_host && sources.are_complete() {
            view = find_minimal().map_or(View::Copy, View::Minimal);
        }
        let is_minimal = matches!(view, View::Minimal(_));
        let (mut reader, mut writer) = pipe();
        let (mut go_reader, mut go_writer) = pipe();
        let mut flags = libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
        if !is_minimal {
            flags |= libc::CLONE_NEWNS;
        }
        if !self.options.hostnet {
            flags |= libc::CLONE_NEWNET;
        }
        if self.options.userns {
            flags |= libc::CLONE_NEWUSER;
        }
        if self.options.cgroup_namespace {
            flags |= libc::CLONE_NEWCGROUP;
        }
        let args: [u64; 8] = [flags as u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
        let pid = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) };
        ensure!(pid >= 0, "clone3: {}", std::io::Error::last_os_error());
        if pid == 0 {
            go_reader.read_exact(&mut [0]).unwrap();
            let child = || -> Result<()> {
                if self.options.userns {
                    ensure!(unsafe { libc::setuid(0) } == 0 && unsafe { libc::setgid(0) } == 0);
                }
                let ground = view.enter(&mut sources)?;
                let is_there = !is_minimal || ground == Ground::Minimal;
                ensure!(is_there, "the minimal mount namespace may not be entered");
                let root = rootfs::build(&plan, sources, &context, ground)?;
                if let Some(hook) = self.options.hook {
                    hook(&self.dir);
                }
                rootfs::enter(&plan, &root, self.options.no_pivot)?;
                let console = if self.options.console { Some(open_console()?) } else { None };
                rootfs::finish(&plan, &root, console.as_ref().map(|(_, slave)| slave.as_fd()))?;
                check()
            };
            if let Err(error) = child() {
                writer.write_all(format!("{error:#}").as_bytes()).unwrap();
            }
            unsafe { libc::_exit(0) };
        }
        if self.options.userns {
            for map in ["uid_map", "gid_map"] {
                fs::write(format!("/proc/{pid}/{map}"), "0 100000 65536")?;
            }
        }
        drop(writer);
        go_writer.write_all(b"g")?;
        let mut message = String::new();
        reader.read_to_string(&mut message)?;
        wait(i32::try_from(pid)?)?;
        ensure!(message.is_empty(), "{message}");
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        let ours = table.lines().filter(|l| l.contains(self.dir.to_str().unwrap()));
        let ours: Vec<&str> = ours.map(|l| l.split(' ').nth(4).unwrap()).collect();
        let mut wanted = Vec::new();
        if self.options.volume {
            wanted = vec![self.dir.join("decoy"), self.dir.join("decoy/sub")];
        }
        ensure!(
            ours == wanted.iter().map(|p| p.to_str().unwrap()).collect::<Vec<_>>(),
            "on the host: {ours:?}"
        );
        Ok(())
    }

    fn may_be_minimal(&self) -> bool {
        let Options { userns, no_pivot, rootless, hook, .. } = &self.options;
        MINIMAL.load(Ordering::Relaxed) && !(*userns || *no_pivot || *rootless || hook.is_some())
    }

    pub fn fails_with(&self, text: &str) -> Result<()> {
        match self.run(|| Ok(())) {
            Err(error) if error.to_string().contains(text) => Ok(()),
            Err(error) => bail!("another error than {text:?}: {error}"),
            Ok(()) => bail!("no error, but {text:?} was expected"),
        }
    }

    /// Nothing of the decoy has changed, and nothing is mounted in it.
    pub fn decoy_untouched(&self) -> Result<()> {
        let mut names: Vec<_> =
            fs::read_dir(self.dir.join("decoy"))?.map(|e| e.unwrap().file_name()).collect();
        names.sort();
        ensure!(names == ["file"], "the decoy holds {names:?}");
        ensure!(fs::read_to_string(self.dir.join("decoy/file"))? == "decoy");
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        ensure!(!table.contains(self.dir.to_str().unwrap()), "a mount reached the host: {table}");
        Ok(())
    }
}

/// What a container begins in without a copy of the host's mounts, if there is one.
pub fn find_minimal() -> Option<rootfs::Minimal> {
    rootfs::Minimal::find(fs::File::open("/proc").ok()?.as_fd())
}

pub fn default_mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
    ])
}

fn pipe() -> (fs::File, fs::File) {
    let mut fds = [0; 2];
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    unsafe { (fs::File::from_raw_fd(fds[0]), fs::File::from_raw_fd(fds[1])) }
}

fn wait(pid: i32) -> Result<()> {
    let mut status = 0;
    ensure!(unsafe { libc::waitpid(pid, &raw mut status, 0) } == pid);
    ensure!(status == 0, "a child ended with status {status:#x}");
    Ok(())
}

/// The parent becomes root of a user namespace with its own mounts' view.
fn enter_user_namespace() -> Result<()> {
    let (mut reader, mut writer) = pipe();
    let (mut done_reader, mut done_writer) = pipe();
    let me = std::process::id();
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        reader.read_exact(&mut [0]).unwrap();
        for map in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{me}/{map}"), "0 0 1\n1 100001 300000").unwrap();
        }
        done_writer.write_all(b"d").unwrap();
        unsafe { libc::_exit(0) };
    }
    ensure!(unsafe { libc::unshare(libc::CLONE_NEWUSER) } == 0);
    writer.write_all(b"g")?;
    done_reader.read_exact(&mut [0])?;
    wait(pid)
}

/// A seccomp filter under which `mount_setattr` does not exist.
fn refuse_mount_setattr() -> Result<()> {
    let rule = |code: u16, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let number = u32::try_from(libc::SYS_mount_setattr)?;
    let program = [
        rule(0x20, 0, 0, 0), // load the number of the call
        rule(0x15, 0, 1, number),
        rule(0x06, 0, 0, 0x0005_0000 | libc::ENOSYS as u32),
        rule(0x06, 0, 0, 0x7fff_0000),
    ];
    let filter =
        libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    let result =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    ensure!(result == 0, "seccomp: {}", std::io::Error::last_os_error());
    Ok(())
}

/// A terminal of the container's own devpts.
fn open_console() -> Result<(OwnedFd, OwnedFd)> {
    let master = fs::OpenOptions::new().read(true).write(true).open("/dev/ptmx")?;
    let master = OwnedFd::from(master);
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, rustix::pty::OpenptFlags::RDWR)?;
    Ok((master, slave))
}

#[derive(Debug)]
pub struct Line {
    pub options: String,
    pub tags: String,
    pub kind: String,
    pub source: String,
    pub superblock: String,
    pub root: String,
}

/// The uppermost mount at `point`.
pub fn mountinfo(point: &str) -> Result<Line> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let find = |line: &str| -> Option<Line> {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        (left[4] == point).then(|| Line {
            root: left[3].into(),
            options: left[5].into(),
            tags: left[6..].join(" "),
            kind: right[0].into(),
            source: right[1].into(),
            superblock: right[2].into(),
        })
    };
    table.lines().filter_map(find).next_back().with_context(|| format!("no {point} in {table}"))
}

pub fn is(what: &str, seen: &str, wanted: &str) -> Result<()> {
    ensure!(seen == wanted, "{what}: {seen:?}, not {wanted:?}");
    Ok(())
}
