//! The private machine that the engines run in, and what they share there: the
//! runtime under test, an image made from busybox, an unprivileged user.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};

use anyhow::{Context, Result, bail, ensure};

use crate::call::{Call, Lacks, find};

/// The unprivileged user, known only inside.
pub const USER: &str = "61234";
/// Where a login has that user's cgroups.
pub const USERS: &str = "user-61234.slice";
/// Where containers are whose user names no other place.
pub const MACHINES: &str = "machine.slice";
/// The image's name, in every engine's store.
pub const IMAGE: &str = "localhost/busybox:latest";
/// All files of ours: a tmpfs that ends with the program.
const HOME: &str = "/run/engines";
/// Set inside; its value is the name of our cgroups.
const INSIDE: &str = "PINNACE_ENGINES";

/// What is the machine's own.
const NAMESPACES: &[&str] =
    &["--net", "--ipc", "--pid", "--mount", "--mount-proc", "--propagation", "private"];
/// The same under hack/systemd, which has made the others. systemd must see what it is to hold:
/// it takes a process by the number that it has among systemd's own.
const NAMESPACES_OF_SYSTEMD: &[&str] = &["--net"];

/// Run by the first process inside, a shell that stays to reap orphans as an
/// init would. Mounts are shared as on a usual host, but with nobody outside.
const SETUP: &str = r#"
set -e
mount --make-rshared /
if [ "$HIDE_UNIFIED" ] && mountpoint -q /sys/fs/cgroup/unified; then
    umount /sys/fs/cgroup/unified
    mount -t tmpfs none /sys/fs/cgroup/unified  # or the directories that crun makes there would stay
fi
if [ "$DRIVER" != systemd ]; then mount -t tmpfs -o mode=755 run /run; fi  # hack/systemd has one, with its sockets
mkdir -p /run/engines/etc /run/engines/work /run/lock /run/user/61234 /run/engines/user
ip link set lo up
mount -t overlay -o lowerdir=/etc,upperdir=/run/engines/etc,workdir=/run/engines/work etc /etc
rm -rf /etc/containers /etc/docker
mkdir /etc/containers
for directory in /var/lib/docker /var/lib/containerd; do  # nobody asks for them, and they are the machine's
    if [ -d $directory ]; then mount -t tmpfs none $directory; fi
done
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
echo engines:x:61234:61234::/run/engines/user:/bin/sh >>/etc/passwd
touch /etc/hosts /etc/resolv.conf
echo engines:x:61234: >>/etc/group
echo engines:2000000000:65536 | tee /etc/subuid >/etc/subgid
chown 61234:61234 /run/user/61234 /run/engines/user
chmod 700 /run/user/61234
cd /run/engines
if [ -e /dev/net/tun ]; then mknod -m 666 tun c 10 200; mount --bind tun /dev/net/tun; fi
set +e
"$@"
exit $?
"#;

/// The machine inside.
#[derive(Clone)]
pub struct Machine {
    /// The runtime under test, where an unprivileged user can reach it too.
    pub runtime: PathBuf,
    /// A name that nobody else uses: of our cgroups and namespaces.
    pub unique: String,
    /// The image as a Docker archive.
    pub archive: PathBuf,
    /// Whether systemd makes the cgroups of all containers: `DRIVER=systemd`, under hack/systemd.
    pub systemd: bool,
}

impl Machine {
    /// Outside: runs this program again inside, cleans up and exits as it did.
    /// Inside: the machine.
    pub fn enter() -> Result<Self> {
        match std::env::var(INSIDE) {
            Ok(unique) => Self::inside(unique),
            Err(_) => outside(),
        }
    }

    fn inside(unique: String) -> Result<Self> {
        let original = runtime_outside()?;
        let name = original.file_name().context("RUNTIME has no file name")?;
        let runtime = Path::new(HOME).join("bin").join(name);
        fs::create_dir_all(Path::new(HOME).join("bin"))?;
        fs::copy(&original, &runtime).with_context(|| format!("copy {}", original.display()))?;
        let archive = image()?;
        Ok(Self { runtime, unique, archive, systemd: by_systemd()? })
    }

    /// A new directory of ours.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = Path::new(HOME).join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// The runtime under test, by its path.
    pub fn runtime(&self) -> String {
        self.runtime.display().to_string()
    }

    /// Where engines' containers have their cgroups: a slice, or a path.
    pub fn parent(&self) -> String {
        if self.systemd { self.unique.clone() } else { format!("/{}", self.unique) }
    }

    /// All cgroups of engines, the deepest first.
    pub fn cgroups(&self) -> Result<Vec<PathBuf>> {
        let mut all = [cgroups(&self.unique)?, cgroups(USERS)?].concat();
        // podman asks for nothing else when it plays a manifest.
        if self.systemd {
            all.extend(cgroups(MACHINES)?);
        }
        Ok(all)
    }

    /// A container's cgroup is a scope of systemd's, which systemd knows, where systemd makes them,
    /// and a plain one where it does not. `systemctl` asks the systemd that it must be.
    pub fn is_in_a_scope(&self, id: &str, systemctl: Call) -> Result<()> {
        let named = |directory: &PathBuf| {
            let name = directory.file_name()?.to_string_lossy().into_owned();
            (name.contains(id) && !name.contains("conmon")).then_some(name)
        };
        let name = self.cgroups()?.iter().find_map(named);
        let name = name.with_context(|| format!("no cgroup of {id}"))?;
        ensure!(name.ends_with(".scope") == self.systemd, "the cgroup is {name}");
        if self.systemd {
            systemctl.args(&["is-active", &name]).ok()?;
        }
        Ok(())
    }

    /// The last part of the runtime's path; podman looks its features up by it.
    pub fn runtime_name(&self) -> String {
        self.runtime.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Waits for the end of its standard input, which is that of the program, and
/// removes the cgroups then: a program that is killed cannot. What is frozen
/// dies when it is thawed, and who is dying keeps a cgroup. podman takes a plain
/// directory for a controller's that is not mounted, and leaves a file there.
const GUARD: &str = r#"
cat
for turn in $(seq 400); do
    left=$(find /sys/fs/cgroup -depth -type d "(" -name "$0" -o -path "*/$0/*" ")" 2>/dev/null)
    [ "$left" ] || exit 0
    for directory in $left; do
        if [ -e "$directory/freezer.state" ]; then echo THAWED >"$directory/freezer.state"; fi
        rm -f "$directory/tasks"  # no cgroup's file can be removed
        rmdir "$directory"
    done 2>/dev/null
    sleep 0.05
done
"#;

fn outside() -> Result<Machine> {
    ensure!(rustix::process::geteuid().is_root(), "these tests need root: sudo make engines");
    let systemd = by_systemd()?;
    let pid = std::process::id();
    // A dash in a slice's name would make more slices of it.
    let unique =
        if systemd { format!("engines{pid}.slice") } else { format!("pinnace-engines-{pid}") };
    let mut guard = Command::new("sh")
        .args(["-c", GUARD, &unique])
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let mut namespaces = Command::new("setpriv");
    namespaces
        .args(["--pdeathsig", "KILL", "unshare", "--kill-child", "--fork"])
        .args(if systemd { NAMESPACES_OF_SYSTEMD } else { NAMESPACES })
        .args(["sh", "-c", SETUP, "sh"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, &unique)
        .env("RUNTIME", runtime_outside()?)
        // No ambient settings of the caller's own engines.
        .env_remove("CONTAINERS_CONF")
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("NOTIFY_SOCKET");
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"DOCKER_") {
            namespaces.env_remove(name);
        }
    }
    // crun refuses a mix of cgroup v1 and v2 in which v2 owns a controller.
    if runtime_outside()?.ends_with("crun") {
        namespaces.env("HIDE_UNIFIED", "1");
    }
    let status = namespaces.status().context("setpriv (of util-linux)")?;
    for directory in cgroups(&unique)? {
        fs::remove_dir(&directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    drop(guard.stdin.take());
    guard.wait()?;
    exit(status.code().unwrap_or(1));
}

/// DRIVER, as in the other tests.
fn by_systemd() -> Result<bool> {
    match std::env::var("DRIVER").as_deref() {
        Err(_) | Ok("cgroupfs") => Ok(false),
        Ok("systemd") => Ok(true),
        Ok(other) => bail!("DRIVER={other}: cgroupfs or systemd"),
    }
}

/// RUNTIME as a path; `bin/pinnace` of this checkout when it is not set.
fn runtime_outside() -> Result<PathBuf> {
    let wanted = std::env::var("RUNTIME").unwrap_or_else(|_| "pinnace".into());
    let path = match wanted.as_str() {
        "pinnace" => Path::new(crate::TOP).join("bin/pinnace"),
        path if path.contains('/') => PathBuf::from(path),
        name => find(name).with_context(|| format!("RUNTIME={name}: not in PATH"))?,
    };
    path.canonicalize().with_context(|| format!("{}: build it first", path.display()))
}

/// All cgroup directories named `name` and those below, the deepest first.
pub fn cgroups(name: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![(PathBuf::from("/sys/fs/cgroup"), false)];
    while let Some((directory, ours)) = open.pop() {
        let ours = ours || directory.ends_with(name);
        if ours && is_cgroup(&directory) {
            found.push(directory.clone());
        }
        // One that goes away while we look is as good as gone.
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push((entry.path(), ours));
            }
        }
    }
    found.reverse();
    Ok(found)
}

/// Not so where the v2 half is hidden: crun makes plain directories in its place.
fn is_cgroup(directory: &Path) -> bool {
    const TYPES: [i64; 2] = [0x27_e0eb, 0x6367_7270];
    rustix::fs::statfs(directory).is_ok_and(|fs| TYPES.contains(&fs.f_type))
}

/// Whether containers can have a limit of this controller. On v1 each is mounted.
pub fn has(controller: &str) -> bool {
    let of_v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    of_v2.map_or(true, |list| list.split_whitespace().any(|word| word == controller))
}

/// Ends a test of limits as skipped where the kernel gives the controllers to v1 and cgroup v2 alone is mounted.
pub fn needs_controllers() -> Result<()> {
    if ["cpu", "cpuset", "memory", "pids"].into_iter().all(has) {
        return Ok(());
    }
    Err(Lacks("the machine's cgroups have no controllers").into())
}

/// One of a container's cgroup files, of v1 (`memory`, `memory.limit_in_bytes`) or of v2 (`memory.max`).
pub fn cgroup_file(unique: &str, id: &str, names: &[&str]) -> Result<String> {
    let directories = cgroups(unique)?;
    // Name by name: of a v1 container, the v2 half has cgroup files too.
    for name in names {
        for directory in &directories {
            let last = directory.file_name().unwrap_or_default().to_string_lossy();
            if last.contains(id)
                && let Ok(text) = fs::read_to_string(directory.join(name))
            {
                return Ok(text.trim_end().to_owned());
            }
        }
    }
    bail!("no cgroup of {id} has any of {names:?}")
}

/// The image of all tests: busybox, and a file that only root reads.
fn image() -> Result<PathBuf> {
    let rootfs = Path::new(HOME).join("image/rootfs");
    fs::create_dir_all(&rootfs)?;
    let script = Path::new(crate::TOP).join("hack/rootfs").display().to_string();
    Call::new([script, rootfs.display().to_string()]).ok()?;
    fs::write(rootfs.join("etc/private"), "only root reads this\n")?;
    archive(&Path::new(HOME).join("image"), IMAGE, &["sh"])
}

/// Makes a Docker archive of one layer, the rootfs of `directory`: what every engine can load without a network.
pub fn archive(directory: &Path, name: &str, command: &[&str]) -> Result<PathBuf> {
    let [rootfs, layer, archive] =
        ["rootfs", "layer.tar", "image.tar"].map(|name| directory.join(name).display().to_string());
    let tar = ["tar", "--numeric-owner", "--owner=0", "--group=0"];
    Call::new(tar).args(&["-C", &rootfs, "-cf", &layer, "."]).ok()?;
    let sum = Call::new(["sha256sum", &layer]).ok()?;
    let sum = sum.split(' ').next().unwrap_or_default();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = serde_json::json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": command, "Env": ["PATH=/bin:/usr/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
        "history": [{"created_by": "pinnace's tests"}],
    });
    let manifest = serde_json::json!([
        {"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}
    ]);
    fs::write(directory.join("config.json"), config.to_string())?;
    fs::write(directory.join("manifest.json"), manifest.to_string())?;
    Call::new(["tar", "-C", &directory.display().to_string(), "-cf", &archive])
        .args(&["manifest.json", "config.json", "layer.tar"])
        .ok()?;
    Ok(archive.into())
}
