//! What was there before, and is not the container's: a number that is another process's by now,
//! and the root file system after a create that failed.

use crate::harness::{Bundle, Call, by_systemd, deviates, directory_in, json, needs, runtime};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// In a pid namespace of the test's own: another process gets the number of the container's init,
/// which is gone. `$B` is the bundle, `$I` the id, `$@` the runtime with its options.
const REUSE: &str = r#"
"$@" create --bundle "$B" "$I" </dev/null >/dev/null 2>"$B/error" || { cat "$B/error" >&2; exit 1; }
pid=$("$@" state "$I" | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
"$@" start "$I" || exit 1
# Each child that this shell waits for is a chance to reap init, whose parent it is by now.
while kill -0 $pid 2>/dev/null; do /bin/true; done
echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid || exit 99
sleep 1000 >/dev/null 2>&1 &
[ $! = $pid ] || { echo "it is $!, not $pid" >&2; exit 98; }
"$@" state "$I" | grep -o '"status": *"[a-z]*"' | tr -d ' '
for verb in "kill $I KILL" "kill $I 0" "exec $I true" "pause $I" "start $I"; do
    "$@" $verb >/dev/null 2>&1; echo "${verb%% *} $?" | sed 's/ [1-9][0-9]*$/ fails/'
done
"$@" list --quiet
"$@" delete "$I"; echo "delete $?"
kill -0 $pid && echo "it lives"
kill -9 $pid
"#;

#[test]
fn r271_whoever_has_the_containers_pid_now_is_left_alone() {
    needs!(!by_systemd(), "the cgroupfs driver");
    // What a record that is gone with this boot holds is another mark than that of one on a disk.
    for parent in ["/dev/shm", "/var/tmp"] {
        let root = directory_in(parent.as_ref());
        let c = Bundle::new(["true"]).container();
        let out = Call::new("/usr/bin/unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", REUSE, "sh"])
            .args([runtime().path.as_os_str()])
            .args(["--root", root.path().to_str().unwrap()])
            .env("B", c.bundle.path().to_str().unwrap())
            .env("I", &c.id)
            .run();
        needs!(out.code != 99, "ns_last_pid (CONFIG_CHECKPOINT_RESTORE)");
        assert_ne!(out.code, 98, "{out:?}");
        let wanted = format!(
            "\"status\":\"stopped\"\nkill fails\nkill fails\nexec fails\npause fails\n\
             start fails\n{}\ndelete 0\nit lives\n",
            c.id
        );
        deviates!("crun", "R380: a stopped container is paused, and it may be started");
        assert_eq!(out.stdout, wanted, "{out:?}");
    }
}

/// All that a directory holds: kind, mode, owner, size and device of each.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, u32, u32, u64, u64)> {
    let (mut all, mut todo) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let at = path.symlink_metadata().unwrap();
            let size = if at.is_dir() { 0 } else { at.size() };
            if at.is_dir() {
                todo.push(path.clone());
            }
            let path = path.strip_prefix(root).unwrap().to_owned();
            all.insert(path, (at.mode(), at.uid(), at.gid(), size, at.rdev()));
        }
    }
    all
}

/// runtime.md, Errors: "as if the operation were never attempted". Of the image nothing has
/// changed, but that directories for mounts may have come.
#[test]
fn r262_r309_a_failed_create_leaves_the_root_file_system_as_it_was() {
    for (at, value) in [
        ("/linux/sysctl", json!({"net.ipv4.no_such_key": "1"})),
        ("/process/args", json!(["/no/such/program"])),
        ("/hooks", json!({"createContainer": [{"path": "/bin/false"}]})),
        ("/hooks", json!({"createRuntime": [{"path": "/bin/false"}]})),
        ("/linux/maskedPaths", json!(["/proc/1/nothing", "relative"])),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_OTHER", "priority": 1})),
    ] {
        deviates!("crun", "R262: leaves cgroups after a failed create");
        let bundle = Bundle::sleeper()
            .file("etc/passwd", "root:x:0:0::/:/bin/sh\n")
            .mount("tmpfs", "tmpfs", "/new/mount", &[])
            .bind("/etc/hostname".as_ref(), "/etc/hosts.new", &["bind"])
            .set(at, value);
        let c = bundle.container();
        let before = tree(&c.bundle.rootfs(""));
        let out = c.create();
        if ["/linux/maskedPaths", "/process/ioPriority"].contains(&at) {
            deviates!("runc", "R099, R251: not checked");
        }
        out.fails();
        let mut after = tree(&c.bundle.rootfs(""));
        after.retain(|path, seen| before.get(path) != Some(&*seen));
        let mount_points = ["new", "new/mount", "etc/hosts.new"].map(Path::new);
        after.retain(|path, _| !mount_points.contains(&path.as_path()));
        assert!(after.is_empty(), "{at}: {after:?}");
        for path in before.keys() {
            assert!(c.bundle.rootfs("").join(path).symlink_metadata().is_ok(), "{at}: {path:?}");
        }
    }
}
