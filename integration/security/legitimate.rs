//! What the checks against hostile images must let pass, and at no great price: a check that
//! refuses an honest configuration is a fault, too.

use crate::harness::{Bundle, Call, Terminal, is_pinnace, json, runtime};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a slow server of FUSE takes for an answer.
const SLOW: Duration = Duration::from_secs(20);

/// The root directory, as `struct fuse_attr` says it: a directory of user 1000.
fn attributes() -> Vec<u8> {
    let numbers = [1u64, 0, 0, 0, 0, 0].map(u64::to_ne_bytes).concat();
    let rest = [0u32, 0, 0, 0o40_755, 2, 1000, 1000, 0, 4096, 0].map(u32::to_ne_bytes).concat();
    [numbers, rest].concat()
}

/// Answers for an empty file system until it is unmounted.
fn serve(mut device: File, delay: Duration) {
    const GETATTR: u32 = 3;
    const INIT: u32 = 26;
    const SILENT: [u32; 3] = [2, 36, 42]; // FORGET, INTERRUPT, BATCH_FORGET
    let mut request = vec![0; 200_000];
    while let Ok(length) = device.read(&mut request) {
        let number = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        let (code, unique) = (number(4), request[8..16].to_vec());
        let (error, body) = match code {
            _ if length < 40 || SILENT.contains(&code) => continue,
            // Version 7.31, and zeros for what is wished.
            INIT => (0, [&[7u8, 0, 0, 0, 31, 0, 0, 0][..], &[0; 56]].concat()),
            GETATTR => {
                std::thread::sleep(delay);
                (0, [vec![0; 16], attributes()].concat())
            }
            _ => (-libc::ENOSYS, Vec::new()),
        };
        let size = u32::try_from(16 + body.len()).unwrap();
        let answer = [&size.to_ne_bytes()[..], &error.to_ne_bytes(), &unique, &body].concat();
        device.write_all(&answer).ok();
    }
}

/// Mounts a FUSE on `dir`, for this thread only. `false` where there is none.
fn mount_fuse(dir: &Path, options: &str, delay: Duration) -> bool {
    // SAFETY: changes no memory; the rest of the process stays where it is.
    #[allow(unsafe_code)]
    let left = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    assert_eq!(left, 0);
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    let Ok(device) = File::options().read(true).write(true).open("/dev/fuse") else {
        eprintln!("skipped: no FUSE here");
        return false;
    };
    let data = format!("fd={},rootmode=40000,{options}\0", device.as_raw_fd());
    let data = std::ffi::CStr::from_bytes_with_nul(data.as_bytes()).unwrap();
    mount("decoy", dir, "fuse", MountFlags::NOSUID | MountFlags::NODEV, data).unwrap();
    std::thread::spawn(move || serve(device, delay));
    true
}

/// A container with that file system on /data.
fn run_with_fuse(script: &str, user: u32, options: &'static str, delay: Duration) {
    let bundle = Bundle::sh(script).set("/process/user", json!({"uid": user, "gid": user}));
    let dir = bundle.dir().join("fuse");
    fs::create_dir(&dir).unwrap();
    fs::create_dir(bundle.rootfs("data")).unwrap();
    let c = bundle.bind(&dir, "/data", &["rbind"]).container();
    let run = move || {
        if !mount_fuse(&dir, options, delay) {
            return;
        }
        let begun = Instant::now();
        let out = c.run();
        unmount(&dir, UnmountFlags::DETACH).unwrap();
        assert_eq!(out.ok(), "ran\n");
        assert!(begun.elapsed() < SLOW, "{:?}: waited for the server", begun.elapsed());
    };
    std::thread::spawn(run).join().unwrap();
}

/// Only its user may ask such a file system for anything; root is not that user.
#[test]
fn a_fuse_of_one_user_may_be_bound_for_that_user() {
    let owner = "user_id=1000,group_id=1000";
    run_with_fuse("stat -c %u /data >&2; test -d /data && echo ran", 1000, owner, Duration::ZERO);
}

/// Whoever serves it may be slow, or dead: no command waits for that.
#[test]
fn a_fuse_that_does_not_answer_does_not_keep_create() {
    run_with_fuse("echo ran", 0, "user_id=0,group_id=0,allow_other", SLOW);
}

/// The terminal is laid over what the configuration has put there.
#[test]
fn a_mount_on_dev_console_does_not_forbid_a_terminal() {
    let bundle = Bundle::sh("stat -c %t /dev/console > /tmp/console")
        .set("/process/terminal", json!(true))
        .bind(Path::new("/dev/null"), "/dev/console", &["bind"]);
    let c = bundle.container();
    let (root, path) = (c.root(), c.bundle.path());
    let args = ["--root", root.to_str().unwrap(), "run", "-b", path.to_str().unwrap(), &c.id];
    let terminal = Terminal::new(24, 80);
    assert_eq!(terminal.call(&runtime().path, &args).spawn().wait().code, 0);
    assert_eq!(fs::read_to_string(c.bundle.rootfs("tmp/console")).unwrap(), "88\n");
}

/// As most images have /var/run: each mount below it may lie anywhere, which costs a call for
/// each mount and not for each pair of them.
#[test]
fn many_mounts_through_a_link_of_the_image_cost_few_calls() {
    const MOUNTS: usize = 120;
    if !is_pinnace() || !fs::exists("/usr/bin/strace").unwrap() {
        eprintln!("skipped: counts pinnace's calls with strace");
        return;
    }
    let mut bundle = Bundle::sh("ls /real | wc -l");
    fs::create_dir(bundle.rootfs("real")).unwrap();
    symlink("/real", bundle.rootfs("link")).unwrap();
    let dir = bundle.dir().to_owned();
    for number in 0..MOUNTS {
        bundle = bundle.bind(&dir, &format!("/link/{number}"), &["bind"]);
    }
    let (c, trace) = (bundle.container(), dir.join("trace"));
    let out = Call::new("/usr/bin/strace")
        .args(["-qq", "-f", "-e", "trace=readlink,readlinkat", "-o"])
        .args([trace.as_os_str(), runtime().path.as_os_str()])
        .args(["--root", c.root().to_str().unwrap(), "run", "-b"])
        .args([c.bundle.path().as_os_str(), c.id.as_ref()])
        .run();
    assert_eq!(out.ok(), format!("{MOUNTS}\n"));
    let calls = fs::read_to_string(&trace).unwrap().lines().count();
    assert!(calls < 5 * MOUNTS, "{calls} calls");
}

/// Hooks of engines and devices mount what they have to say over what the configuration mounts.
#[test]
fn a_hook_may_mount_over_a_destination() {
    for kind in ["createContainer", "createRuntime"] {
        let bundle = Bundle::sh("cat /etc/resolv.conf; ls /dev/shm").file("etc/resolv.conf", "");
        let (old, new) = (bundle.dir().join("old"), bundle.dir().join("new"));
        fs::write(&old, "old\n").unwrap();
        fs::write(&new, "new\n").unwrap();
        let root = bundle.rootfs("");
        let inside = match kind {
            "createContainer" => String::new(),
            // In the runtime's own namespaces: it enters those of the container.
            _ => "pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); nsenter -t $pid -m ".into(),
        };
        let script = format!(
            "cd /; {inside}sh -c 'cd {0}; mount --bind {1} etc/resolv.conf; mount -t tmpfs none dev/shm; \
             echo > dev/shm/there'",
            root.display(),
            new.display()
        );
        let env = json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": env});
        let bundle =
            bundle.bind(&old, "/etc/resolv.conf", &["bind"]).set(&format!("/hooks/{kind}/-"), hook);
        assert_eq!(bundle.run().ok(), "new\nthere\n", "{kind}");
    }
}
