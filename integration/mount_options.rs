//! Every option of the table in config.md, one test each, as the kernel shows
//! it in /proc/self/mountinfo inside the container.

use crate::harness::{Bundle, Call, Container, Output, Value, deviates, directory, json, runtime};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What one line of mountinfo says of a mount.
#[derive(Debug)]
struct Mount {
    /// Per-mount options and super-block options.
    options: Vec<String>,
    /// shared:N, master:N, unbindable.
    tags: String,
}

impl Mount {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }

    /// `want` is words; a leading ! means absence.
    #[track_caller]
    fn shows(&self, want: &str) {
        for word in want.split_whitespace() {
            match word.strip_prefix('!') {
                Some(word) => assert!(!self.has(word), "{word} is there: {self:?}"),
                None => assert!(self.has(word), "{word} is missing: {self:?}"),
            }
        }
    }
}

#[track_caller]
fn mount_at(output: &Output, target: &str) -> Mount {
    let line = output.ok().lines().rfind(|line| line.split(' ').nth(4) == Some(target));
    let line = line.unwrap_or_else(|| panic!("nothing mounted on {target}: {output:?}"));
    let (left, right) = line.split_once(" - ").unwrap();
    let fields: Vec<_> = left.split(' ').collect();
    let of_super = right.split(' ').nth(2).unwrap();
    // ro and rw of the super block say nothing of the mount.
    let of_super = of_super.split(',').filter(|o| !["ro", "rw"].contains(o));
    Mount {
        options: fields[5].split(',').chain(of_super).map(str::to_owned).collect(),
        tags: fields[6..].join(" "),
    }
}

fn table() -> Bundle {
    Bundle::new(["cat", "/proc/self/mountinfo"])
}

/// A tree of two tmpfs on the host, `.` and `./sub`, to bind from; each with a
/// file `f` of its own.
struct Tree {
    dir: TempDir,
}

impl Tree {
    fn new(flags: MountFlags) -> Self {
        let tree = Self { dir: directory() };
        for dir in [tree.path(), tree.path().join("sub")] {
            fs::create_dir_all(&dir).unwrap();
            mount("tmpfs", &dir, "tmpfs", MountFlags::empty(), None).unwrap();
            fs::create_dir(dir.join("sub")).unwrap();
            // By a program of its own: a process that another test makes meanwhile would hold our
            // descriptor until it executes, and a mount with a writer does not become read-only.
            let write = Call::new("/bin/sh").args(["-c", "printf f >\"$0\""]).args([dir.join("f")]);
            write.run().ok();
        }
        for dir in [tree.path(), tree.path().join("sub")] {
            rustix::mount::mount_remount(&dir, MountFlags::BIND | flags, "").unwrap();
        }
        tree
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("t")
    }

    fn propagation(&self, flags: MountPropagationFlags) {
        mount_change(self.path(), flags | MountPropagationFlags::REC).unwrap();
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        unmount(self.path(), UnmountFlags::DETACH).unwrap();
    }
}

/// A fresh tmpfs with these options.
fn fresh(options: &[&str]) -> Output {
    table().mount("tmpfs", "tmpfs", "/m", options).run()
}

/// `row option: options => what mountinfo shows, runtimes that deviate`
macro_rules! fresh_mounts {
    ($($name:ident: $options:expr => $want:literal $(, not $who:expr)?;)*) => { $(
        #[test]
        fn $name() {
            let out = fresh(&$options);
            $( deviates!($who, concat!(stringify!($name), ": mount option")); )?
            mount_at(&out, "/m").shows($want);
        }
    )* };
}

fresh_mounts! {
    r017_async: ["sync", "async"] => "!sync", not "crun";
    r018_atime: ["noatime", "atime"] => "!noatime", not "crun";
    r020_defaults: ["defaults"] => "rw !nosuid !nodev !noexec", not "runc";
    r020_defaults_first: ["defaults", "nosuid"] => "rw nosuid", not "runc";
    r021_dev: ["nodev", "dev"] => "!nodev", not "crun";
    r022_diratime: ["nodiratime", "diratime"] => "!nodiratime", not "crun";
    r023_dirsync: ["dirsync"] => "dirsync";
    r024_exec: ["noexec", "exec"] => "!noexec", not "crun";
    r026_lazytime: ["lazytime"] => "lazytime", not "runc";
    r028_mand: ["mand"] => "mand";
    r029_noatime: ["noatime"] => "noatime";
    r030_nodev: ["nodev"] => "nodev";
    r031_nodiratime: ["nodiratime"] => "nodiratime";
    r032_noexec: ["noexec"] => "noexec";
    r034_nolazytime: ["lazytime", "nolazytime"] => "!lazytime", not ["runc", "crun"];
    r035_nomand: ["mand", "nomand"] => "!mand", not "crun";
    r036_norelatime: ["relatime", "norelatime"] => "relatime !noatime";
    r036_norelatime_leaves_others: ["noatime", "norelatime"] => "noatime", not ["runc", "crun"];
    r037_nostrictatime: ["strictatime", "nostrictatime"] => "relatime", not "crun";
    r038_nosuid: ["nosuid"] => "nosuid";
    r039_nosymfollow: ["nosymfollow"] => "nosymfollow", not ["runc", "crun"];
    r045_relatime: ["noatime", "relatime"] => "relatime !noatime", not ["runc", "crun"];
    r056_ro: ["ro"] => "ro !rw";
    r067_rw: ["ro", "rw"] => "rw !ro", not "crun";
    r071_strictatime: ["strictatime"] => "!relatime !noatime";
    r072_suid: ["nosuid", "suid"] => "!nosuid", not "crun";
    r073_symfollow: ["nosymfollow", "symfollow"] => "!nosymfollow", not ["runc", "crun"];
    r074_sync: ["sync"] => "sync";
    r041_ratime_fresh: ["noatime", "ratime"] => "!noatime", not ["runc", "crun"];
    r050_rnoexec_fresh: ["rnoexec"] => "noexec", not "runc";
    r053_rnosuid_fresh: ["rnosuid"] => "nosuid", not "runc";
    r054_rnodev_fresh: ["rnodev"] => "nodev", not "runc";
    r059_rro_fresh: ["rro"] => "ro", not "runc";
    the_last_of_contraries_counts: ["nosuid", "suid", "nosuid", "ro"] => "ro nosuid";
    r018_r029_r031_access_times_of_directories_are_another_matter: ["nodiratime", "noatime", "atime"] => "nodiratime !noatime", not "crun";
    r056_r067_the_last_of_three_counts: ["rw", "ro", "rw"] => "rw !ro", not "crun";
    r056_r067_the_last_of_four_counts: ["ro", "rw", "rro", "nosuid", "ro"] => "ro !rw nosuid", not ["runc", "crun"];
}

/// The same options on a bind: `host flags, options => shown`.
macro_rules! bind_mounts {
    ($($name:ident: $host:expr, $options:expr => $want:literal $(, not $who:expr)?;)*) => { $(
        #[test]
        fn $name() {
            let tree = Tree::new($host);
            let options = [&["bind"][..], &$options].concat();
            let out = table().bind(&tree.path(), "/m", &options).run();
            $( deviates!($who, concat!(stringify!($name), ": mount option")); )?
            mount_at(&out, "/m").shows($want);
        }
    )* };
}

bind_mounts! {
    r019_bind: MountFlags::empty(), [] => "rw !nosuid";
    r020_defaults_on_a_bind: MountFlags::empty(), ["defaults"] => "rw", not "runc";
    r056_ro_on_a_bind: MountFlags::empty(), ["ro"] => "ro";
    r030_nodev_on_a_bind: MountFlags::empty(), ["nodev"] => "nodev";
    r032_noexec_on_a_bind: MountFlags::empty(), ["noexec"] => "noexec";
    r038_nosuid_on_a_bind: MountFlags::empty(), ["nosuid"] => "nosuid";
    r029_noatime_on_a_bind: MountFlags::empty(), ["noatime"] => "noatime";
    r031_nodiratime_on_a_bind: MountFlags::empty(), ["nodiratime"] => "nodiratime";
    r071_strictatime_on_a_bind: MountFlags::empty(), ["strictatime"] => "!relatime !noatime", not "crun";
    r039_nosymfollow_on_a_bind: MountFlags::empty(), ["nosymfollow"] => "nosymfollow", not ["runc", "crun"];
    r067_rw_on_a_bind: MountFlags::RDONLY, ["rw"] => "rw", not ["runc", "crun"];
    r021_dev_on_a_bind: MountFlags::NODEV, ["dev"] => "!nodev", not ["runc", "crun"];
    r024_exec_on_a_bind: MountFlags::NOEXEC, ["exec"] => "!noexec", not ["runc", "crun"];
    r072_suid_on_a_bind: MountFlags::NOSUID, ["suid"] => "!nosuid", not ["runc", "crun"];
    r036_norelatime_on_a_bind: MountFlags::NOATIME, ["norelatime"] => "relatime !noatime", not ["runc", "crun"];
    r018_atime_on_a_bind: MountFlags::NOATIME, ["atime"] => "!noatime", not ["runc", "crun"];
    a_plain_bind_keeps_the_sources_flags: MountFlags::NOSUID.union(MountFlags::NODEV), [] => "nosuid nodev", not "crun";
    propagation_keeps_the_sources_flags: ALL_FLAGS, ["rprivate"] => "ro nosuid nodev noexec", not "crun";
    defaults_keep_the_sources_flags: ALL_FLAGS, ["rslave", "defaults"] => "ro nosuid nodev noexec", not ["runc", "crun"];
    ro_clears_the_sources_other_flags: ALL_FLAGS, ["ro"] => "ro !nosuid !nodev !noexec";
    rw_clears_the_sources_flags: ALL_FLAGS, ["rprivate", "rw"] => "rw !nosuid !nodev !noexec", not "runc";
    nosuid_clears_the_sources_other_flags: ALL_FLAGS, ["nosuid"] => "rw nosuid !nodev !noexec";
    exec_clears_the_sources_flags: ALL_FLAGS, ["exec"] => "rw !nosuid !nodev !noexec", not "runc";
    noatime_clears_the_sources_other_flags: ALL_FLAGS, ["noatime"] => "noatime rw !nosuid !nodev !noexec";
    relatime_clears_the_sources_flags: ALL_FLAGS, ["relatime"] => "relatime rw !nosuid !nodev !noexec";
    access_times_are_kept: ALL_FLAGS.union(MountFlags::NOATIME), ["nodev"] => "noatime nodev rw !nosuid !noexec", not "crun";
    nosymfollow_is_cleared: MountFlags::NOSYMFOLLOW, ["ro"] => "ro !nosymfollow";
    nosymfollow_is_kept: MountFlags::NOSYMFOLLOW, ["private"] => "nosymfollow", not "crun";
    the_last_of_contraries_counts_on_a_bind: ALL_FLAGS, ["suid", "nosuid", "ro", "rw", "exec", "noexec", "dev"] => "rw nosuid noexec !nodev", not ["runc", "crun"];
    a_recursive_option_keeps_the_sources_other_flags: ALL_FLAGS, ["rnoatime"] => "noatime ro nosuid nodev noexec", not ["runc", "crun"];
    a_recursive_option_is_named_too: ALL_FLAGS, ["rnosuid", "rw"] => "rw nosuid !nodev !noexec", not "runc";
}

const ALL_FLAGS: MountFlags =
    MountFlags::RDONLY.union(MountFlags::NOSUID).union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Recursive options on a tree: `host flags, option => shown on both mounts`.
macro_rules! recursive_options {
    ($($name:ident: $host:expr, $option:literal => $want:literal $(, not $who:expr)?;)*) => { $(
        #[test]
        fn $name() {
            let tree = Tree::new($host);
            let out = table().bind(&tree.path(), "/m", &["rbind", $option]).run();
            $( deviates!($who, concat!(stringify!($name), ": recursive mount option")); )?
            mount_at(&out, "/m").shows($want);
            mount_at(&out, "/m/sub").shows($want);
        }
    )* };
}

recursive_options! {
    r041_ratime: MountFlags::NOATIME, "ratime" => "!noatime", not ["runc", "crun"];
    r043_rdev: MountFlags::NODEV, "rdev" => "!nodev";
    r044_rdiratime: MountFlags::NODIRATIME, "rdiratime" => "!nodiratime", not "crun";
    r047_rexec: MountFlags::NOEXEC, "rexec" => "!noexec";
    r048_rnoatime: MountFlags::empty(), "rnoatime" => "noatime", not "crun";
    r049_rnodiratime: MountFlags::empty(), "rnodiratime" => "nodiratime", not "crun";
    r050_rnoexec: MountFlags::empty(), "rnoexec" => "noexec";
    r051_rnorelatime: MountFlags::NOATIME, "rnorelatime" => "relatime !noatime", not ["runc", "crun"];
    r052_rnostrictatime: MountFlags::STRICTATIME, "rnostrictatime" => "relatime", not ["runc", "crun"];
    r053_rnosuid: MountFlags::empty(), "rnosuid" => "nosuid";
    r054_rnodev: MountFlags::empty(), "rnodev" => "nodev";
    r055_rnosymfollow: MountFlags::empty(), "rnosymfollow" => "nosymfollow", not "crun";
    r058_rrelatime: MountFlags::NOATIME, "rrelatime" => "relatime", not "crun";
    r059_rro: MountFlags::empty(), "rro" => "ro";
    r060_rrw: MountFlags::RDONLY, "rrw" => "rw";
    r063_rstrictatime: MountFlags::empty(), "rstrictatime" => "!relatime !noatime", not "crun";
    r064_rsuid: MountFlags::NOSUID, "rsuid" => "!nosuid";
    r065_rsymfollow: MountFlags::NOSYMFOLLOW, "rsymfollow" => "!nosymfollow", not "crun";
}

#[test]
fn r019_r042_bind_takes_one_mount_and_rbind_all() {
    let tree = Tree::new(MountFlags::empty());
    let script = "ls /m/sub /r/sub";
    let out = Bundle::sh(script)
        .bind(&tree.path(), "/m", &["bind"])
        .bind(&tree.path(), "/r", &["rbind"])
        .run();
    assert_eq!(out.ok(), "/m/sub:\n\n/r/sub:\nf\nsub\n");
}

/// mount(2) has a flag for each: whoever says "rbind" loses no mount below by "bind".
#[test]
fn r019_r042_rbind_counts_wherever_bind_stands() {
    for options in [
        &["rbind", "bind"][..],
        &["bind", "rbind"],
        &["rbind", "rprivate", "ro", "bind"],
        &["bind", "rprivate", "ro", "rbind"],
        &["rbind", "bind", "rbind", "bind"],
        &["rbind"],
    ] {
        for kind in ["bind", "none", ""] {
            let tree = Tree::new(MountFlags::empty());
            let out = Bundle::sh("ls /m/sub")
                .mount(kind, tree.path().to_str().unwrap(), "/m", options)
                .run();
            assert_eq!(out.ok(), "f\nsub\n", "{options:?} {kind:?}");
        }
    }
}

#[test]
fn r056_r059_ro_and_rro_in_either_order() {
    for (options, top, below) in [
        (&["rbind", "ro", "rro"][..], "ro", "ro"),
        (&["rbind", "rro", "ro"], "ro", "ro"),
        (&["rbind", "rro", "rprivate", "bind"], "ro", "ro"),
        (&["bind", "ro", "rbind"], "ro", "rw"),
        (&["rbind", "rro", "rrw"], "rw", "rw"),
    ] {
        let tree = Tree::new(MountFlags::empty());
        let out = table().bind(&tree.path(), "/m", options).run();
        deviates!("runc", "R059: newer than runc 1.1.5");
        if options.contains(&"rrw") {
            deviates!("crun", "R060: undoes no rro");
        }
        mount_at(&out, "/m").shows(top);
        mount_at(&out, "/m/sub").shows(below);
    }
    let tree = Tree::new(MountFlags::empty());
    let out = table().bind(&tree.path(), "/m", &["rbind", "rro", "rw"]).run();
    deviates!(["runc", "crun"], "R059: the recursive one is made last, wherever it stands");
    mount_at(&out, "/m").shows("rw");
    mount_at(&out, "/m/sub").shows("ro");
}

#[test]
fn r040_r057_r062_r070_propagation_types_are_made_in_their_order() {
    for (options, top, below) in [
        (&["private", "rprivate"][..], "", ""),
        (&["rprivate", "private"], "", ""),
        (&["rslave", "private"], "", "master"),
        (&["rprivate", "shared"], "shared", ""),
        (&["rshared", "private"], "", "shared master"),
        (&["rshared", "slave"], "master", "shared master"),
        (&["rshared", "rslave"], "master", "master"),
    ] {
        let tree = Tree::new(MountFlags::empty());
        tree.propagation(MountPropagationFlags::SHARED);
        let options = [&["rbind"][..], options].concat();
        let out = table()
            .bind(&tree.path(), "/m", &options)
            .set("/linux/rootfsPropagation", json!("rslave"))
            .run();
        deviates!("crun", "R040: the last one alone counts");
        assert_eq!(tag(&mount_at(&out, "/m")), top, "{options:?}: {out:?}");
        assert_eq!(tag(&mount_at(&out, "/m/sub")), below, "{options:?}: {out:?}");
    }
}

/// A Kubernetes volume of a file system that is mounted with noexec.
#[test]
fn a_program_on_a_noexec_volume_runs_where_options_do_not_say_noexec() {
    let tree = Tree::new(MountFlags::empty());
    fs::copy("/bin/busybox", tree.path().join("busybox")).unwrap();
    let flags = MountFlags::BIND | MountFlags::NOEXEC;
    rustix::mount::mount_remount(tree.path(), flags, "").unwrap();
    let run = |options: &[&str]| {
        Bundle::sh("/m/busybox echo ran").bind(&tree.path(), "/m", options).run()
    };
    assert_eq!(run(&["rbind", "rprivate", "ro"]).ok(), "ran\n");
    assert_eq!(run(&["rbind", "rprivate", "rw", "noexec"]).code, 126);
    deviates!("crun", "a plain bind: cleared by crun 1.8.1");
    assert_eq!(run(&["rbind", "rprivate"]).code, 126);
    deviates!("runc", "rw: newer than runc 1.1.5");
    assert_eq!(run(&["rbind", "rprivate", "rw"]).ok(), "ran\n");
}

/// As with MS_REMOUNT: it is about one mount.
#[test]
fn options_of_a_bind_leave_the_flags_of_mounts_below() {
    let tree = Tree::new(ALL_FLAGS);
    let out = table().bind(&tree.path(), "/m", &["rbind", "rw"]).run();
    mount_at(&out, "/m/sub").shows("ro nosuid nodev noexec");
    deviates!("runc", "rw: newer than runc 1.1.5");
    mount_at(&out, "/m").shows("rw !nosuid !nodev !noexec");
}

/// There the kernel keeps from the peers what the host has set, which must not make it fail.
#[test]
fn with_a_user_namespace_a_bind_keeps_the_flags_that_no_option_names() {
    for options in [&["rbind", "rprivate", "nosuid"][..], &["bind", "noexec"], &["rbind", "ro"]] {
        let tree = Tree::new(ALL_FLAGS);
        let out = table().user_namespace().bind(&tree.path(), "/m", options).run();
        deviates!("runc", "newer than runc 1.1.5");
        deviates!("crun", "its binds are made outside of the user namespace: cleared");
        mount_at(&out, "/m").shows("ro nosuid nodev noexec");
    }
}

/// Who has CAP_SYS_ADMIN in the container's user namespace changes its mounts, but not what the
/// host has set or laid upon them (mount_namespaces(7), "Restrictions on mount namespaces").
#[test]
fn what_the_host_has_set_a_user_namespace_cannot_clear() {
    const SCRIPT: &str = "mount -o remount,bind none /m && echo cleared; \
        mount -o remount,bind none /m/sub 2>/dev/null && echo cleared; \
        umount /m/sub && echo bared; cat /proc/self/mountinfo";
    for (flag, word) in [
        (MountFlags::RDONLY, "ro"),
        (MountFlags::NOSUID, "nosuid"),
        (MountFlags::NODEV, "nodev"),
        (MountFlags::NOEXEC, "noexec"),
    ] {
        for bind in ["bind", "rbind"] {
            let tree = Tree::new(flag);
            let bundle = Bundle::sh(SCRIPT).user_namespace().capability("CAP_SYS_ADMIN");
            let source = if bind == "bind" { tree.path().join("sub") } else { tree.path() };
            let out = bundle.bind(&source, "/m", &[bind, "rprivate"]).run();
            deviates!("crun", "its binds are made outside of the user namespace: cleared");
            mount_at(&out, "/m").shows(word);
            assert!(!out.ok().contains("cleared"), "{word}, {bind}: {out:?}");
            assert!(!out.ok().contains("bared"), "{word}, {bind}: {out:?}");
        }
    }
}

/// The same of the mount that the root filesystem lies on, and with hooks that want the host's
/// mounts.
#[test]
fn what_the_host_has_set_on_the_root_a_user_namespace_cannot_clear() {
    let script = "mount -o remount,bind none / && echo cleared; cat /proc/self/mountinfo";
    let host = "set -e; runtime=$1 state=$2 bundle=$3 id=$4; \
        mount --bind \"$bundle/rootfs\" \"$bundle/rootfs\"; \
        mount -o remount,bind,nosuid,nodev \"$bundle/rootfs\"; \
        exec \"$runtime\" --root \"$state\" run --bundle \"$bundle\" \"$id\"";
    for hook in [false, true] {
        let mut bundle = Bundle::sh(script).user_namespace().capability("CAP_SYS_ADMIN");
        if hook {
            bundle = bundle.set("/hooks", json!({"createContainer": [{"path": "/bin/true"}]}));
        }
        let c = bundle.container();
        let out = Call::new("/usr/bin/unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-c", host, "sh"])
            .args([runtime().path.as_os_str(), c.root().as_os_str()])
            .args([c.bundle.path().as_os_str()])
            .args([&c.id])
            .run();
        mount_at(&out, "/").shows("nosuid nodev");
        assert!(!out.ok().contains("cleared"), "{out:?}");
    }
}

/// The runtime itself in a user namespace, where the host's flags are locked.
#[test]
fn flags_that_are_locked_stay_and_do_no_harm() {
    for options in ["rbind,rprivate,nosuid", "bind,ro", "bind,noexec", "rbind,rprivate"] {
        let tree = Tree::new(ALL_FLAGS);
        let options: Vec<&str> = options.split(',').collect();
        // Of mounts that lie on one another "bind" cannot take one there.
        let source = tree.path().join("sub");
        let c = table().bind(&source, "/m", &options).edit(within_a_user_namespace);
        let out = in_a_user_namespace(&c.container());
        deviates!("runc", "newer than runc 1.1.5");
        mount_at(&out, "/m").shows("ro nosuid nodev noexec");
    }
    let tree = Tree::new(ALL_FLAGS);
    let c = table()
        .bind(&tree.path().join("sub"), "/m", &["bind", "exec"])
        .edit(within_a_user_namespace);
    let out = in_a_user_namespace(&c.container());
    deviates!(["runc", "crun"], "newer than these");
    out.fails_with(&["an attribute that a user namespace cannot clear"]);
}

/// What nobody can have there: limits, and the id of a tty group.
fn within_a_user_namespace(config: &mut Value) {
    config["linux"].as_object_mut().unwrap().remove("resources");
    let pts = config["mounts"].as_array_mut().unwrap();
    let pts = pts.iter_mut().find(|mount| mount["destination"] == "/dev/pts").unwrap();
    pts["options"].as_array_mut().unwrap().retain(|option| option != "gid=5");
}

/// `run` by root of a user namespace who is nobody else, in a copy of the host's mounts.
///
/// No driver is named: systemd knows nobody who is root there alone.
fn in_a_user_namespace(c: &Container) -> Output {
    Call::new("/usr/bin/unshare")
        .args(["--user", "--map-root-user", "--mount", "--"])
        .args([runtime().path.as_os_str()])
        .args([
            "--root",
            c.root().to_str().unwrap(),
            "run",
            "--bundle",
            c.bundle.path().to_str().unwrap(),
            &c.id,
        ])
        // Who is called root there has the rights of root (as runc takes it).
        .env("USER", "somebody")
        .run()
}

#[test]
fn r056_ro_with_rbind_is_for_the_top_only() {
    let tree = Tree::new(MountFlags::empty());
    let out = table().bind(&tree.path(), "/m", &["rbind", "ro"]).run();
    mount_at(&out, "/m").shows("ro");
    mount_at(&out, "/m/sub").shows("rw");
}

#[test]
fn r056_ro_is_felt() {
    let tree = Tree::new(MountFlags::empty());
    let out = Bundle::sh("touch /m/x || touch /m/f; test -r /m/f && echo readable")
        .bind(&tree.path(), "/m", &["bind", "ro"])
        .run();
    assert_eq!(out.stdout, "readable\n");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
    assert!(!tree.path().join("x").exists());
}

#[test]
fn r032_noexec_is_felt() {
    let tree = Tree::new(MountFlags::empty());
    fs::copy("/bin/busybox", tree.path().join("busybox")).unwrap();
    let out = Bundle::sh("/m/busybox echo ran").bind(&tree.path(), "/m", &["bind", "noexec"]).run();
    assert_eq!(out.code, 126, "{out:?}");
}

/// What the kernel writes in the optional fields.
macro_rules! propagation {
    ($($name:ident: $host:expr, $option:literal => $top:literal $sub:literal $(, not $who:expr)?;)*) => { $(
        #[test]
        fn $name() {
            $( deviates!($who, concat!(stringify!($name), ": propagation")); )?
            let tree = Tree::new(MountFlags::empty());
            tree.propagation($host);
            let out = table()
                .bind(&tree.path(), "/m", &["rbind", $option])
                // A slave or shared mount inside needs a root that lets it be.
                .set("/linux/rootfsPropagation", json!("rslave"))
                .run();
            assert_eq!(tag(&mount_at(&out, "/m")), $top, "{out:?}");
            assert_eq!(tag(&mount_at(&out, "/m/sub")), $sub, "{out:?}");
        }
    )* };
}

fn tag(mount: &Mount) -> String {
    mount.tags.chars().filter(|c| !c.is_ascii_digit()).collect::<String>().replace(':', "")
}

propagation! {
    r040_private: MountPropagationFlags::SHARED, "private" => "" "master", not "crun";
    r057_rprivate: MountPropagationFlags::SHARED, "rprivate" => "" "";
    r068_shared: MountPropagationFlags::PRIVATE, "shared" => "shared" "", not "crun";
    r061_rshared: MountPropagationFlags::PRIVATE, "rshared" => "shared" "shared", not "crun";
    r070_slave: MountPropagationFlags::SHARED, "slave" => "master" "master";
    r062_rslave: MountPropagationFlags::SHARED, "rslave" => "master" "master";
    r076_unbindable: MountPropagationFlags::PRIVATE, "unbindable" => "unbindable" "", not "crun";
    r066_runbindable: MountPropagationFlags::PRIVATE, "runbindable" => "unbindable" "unbindable";
}

/// The last of several counts (mount(8)), on a new file system, too.
#[test]
fn r040_r057_the_last_propagation_counts() {
    let out = table()
        .mount("tmpfs", "tmpfs", "/a", &["shared", "private"])
        .mount("tmpfs", "tmpfs", "/b", &["rshared", "rprivate"])
        .mount("tmpfs", "tmpfs", "/c", &["unbindable", "private"])
        .mount("tmpfs", "tmpfs", "/d", &["private", "shared"])
        .mount("tmpfs", "tmpfs", "/e", &["slave", "private", "unbindable"])
        .run();
    deviates!("crun", "R040: EINVAL");
    let of = |point: &str| {
        let line = out.ok().lines().find(|line| line.split(' ').nth(4) == Some(point)).unwrap();
        let options = line.split(" - ").next().unwrap();
        options.split(' ').skip(6).map(|word| word.split(':').next().unwrap()).collect::<String>()
    };
    let seen = ["/a", "/b", "/c", "/d", "/e"].map(of);
    assert_eq!(seen, ["", "", "", "shared", "unbindable"]);
}

#[test]
fn r046_remount() {
    let out = table()
        .mount("tmpfs", "tmpfs", "/m", &["nosuid"])
        .mount("tmpfs", "tmpfs", "/m", &["remount", "ro", "nosuid"])
        .run();
    deviates!("crun", "R046: a second mount is made");
    mount_at(&out, "/m").shows("ro");
    assert_eq!(out.ok().lines().filter(|l| l.contains(" /m ")).count(), 1, "{out:?}");
}

#[test]
fn r075_tmpcopyup() {
    let out = Bundle::sh("cat /data/f; echo more >> /data/f; cat /proc/self/mountinfo")
        .file("data/f", "from the image\n")
        .mount("tmpfs", "tmpfs", "/data", &["tmpcopyup"])
        .container();
    let run = out.run();
    assert!(run.ok().starts_with("from the image\n"), "{run:?}");
    mount_at(&run, "/data").shows("rw");
    let kept = fs::read_to_string(out.bundle.rootfs("data/f")).unwrap();
    assert_eq!(kept, "from the image\n", "the image itself must not change");
}

/// Ids as the files of an id-mapped mount of `tree` show them.
fn idmapped(bundle: Bundle, tree: &Path, option: &str, mapping: Option<u32>) -> Output {
    let mut entry = json!({"type": "none", "source": tree, "destination": "/m",
        "options": ["rbind", option]});
    if let Some(host) = mapping {
        let map = json!([{"containerID": 0, "hostID": host, "size": 65536}]);
        entry["uidMappings"] = map.clone();
        entry["gidMappings"] = map;
    }
    bundle.set("/mounts/-", entry).run()
}

fn ids() -> Bundle {
    Bundle::sh("stat -c %u:%g /m/f /m/sub/f")
}

#[test]
fn r077_idmap_with_a_mapping_of_its_own() {
    deviates!("crun", "R077: idmap on a tree fails in crun 1.8.1");
    let tree = Tree::new(MountFlags::empty());
    let out = idmapped(ids(), &tree.path(), "idmap", Some(1000));
    deviates!("runc", "R077: newer than runc 1.1.5");
    assert_eq!(out.ok(), "1000:1000\n0:0\n", "only the top mount");
}

#[test]
fn r078_ridmap_with_a_mapping_of_its_own() {
    let tree = Tree::new(MountFlags::empty());
    let out = idmapped(ids(), &tree.path(), "ridmap", Some(1000));
    deviates!(["runc", "crun"], "R078: newer than these");
    assert_eq!(out.ok(), "1000:1000\n1000:1000\n");
}

#[test]
fn r077_idmap_with_the_containers_mapping() {
    let tree = Tree::new(MountFlags::empty());
    deviates!(["runc", "crun"], "R077: newer than these");
    let plain = idmapped(ids().user_namespace(), &tree.path(), "rw", None);
    assert_eq!(plain.ok(), "65534:65534\n65534:65534\n");
    let out = idmapped(ids().user_namespace(), &tree.path(), "ridmap", None);
    assert_eq!(out.ok(), "0:0\n0:0\n");
}

#[test]
fn r077_r293_idmap_without_any_mapping() {
    let tree = Tree::new(MountFlags::empty());
    let out = idmapped(ids(), &tree.path(), "idmap", None);
    deviates!("runc", "R077: newer than runc 1.1.5");
    out.fails();
}

#[test]
fn r011_a_mapping_without_the_option_is_applied() {
    let tree = Tree::new(MountFlags::empty());
    let out = idmapped(ids(), &tree.path(), "rw", Some(1000));
    deviates!(["runc", "crun"], "R011: newer than these");
    assert_eq!(out.ok(), "1000:1000\n0:0\n", "as idmap: the mount itself");
}

/// Each list is for the ids of its kind, and of the document of features "enabled" is true.
#[test]
fn r010_r287_users_and_groups_are_mapped_each_by_its_list() {
    let features = Call::new(&runtime().path).args(["features"]).run();
    deviates!(["runc", "crun"], "R287: newer than these");
    let features: Value = serde_json::from_str(features.ok()).unwrap();
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    let tree = Tree::new(MountFlags::empty());
    std::os::unix::fs::chown(tree.path().join("f"), Some(3), Some(4)).unwrap();
    let map = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 10}]);
    for (destination, option) in [("/one", "idmap"), ("/all", "ridmap")] {
        let entry = json!({"type": "none", "source": tree.path(), "destination": destination,
            "options": ["rbind", option], "uidMappings": map(1000), "gidMappings": map(2000)});
        let script = format!("cd {destination}; stat -c %u:%g f sub/f .");
        let out = Bundle::sh(&script).set("/mounts/-", entry).run();
        let below = if option == "idmap" { "0:0" } else { "1000:2000" };
        assert_eq!(out.ok(), format!("1003:2004\n{below}\n1000:2000\n"), "{option}");
    }
}

#[test]
fn r010_r294_only_one_of_both_mappings() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let out = Bundle::sh("true")
        .set(
            "/mounts/-",
            json!({"type": "none", "source": "/tmp", "destination": "/m",
            "options": ["bind", "idmap"], "uidMappings": map}),
        )
        .run();
    deviates!(["runc", "crun"], "R010: newer than these");
    out.fails_with(&["gidMappings"]);
}
