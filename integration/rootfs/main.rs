//! The container's tree, made for real: open, build, enter and finish run in new
//! namespaces on a small root file system, and what came of it is read from
//! mountinfo. Needs root. Its harness is libtest-mimic: a process with one thread may fork and
//! go on in the child.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::too_many_lines,
    clippy::let_underscore_must_use
)]

mod sandbox;
mod versus;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use pinnace::plan::rootfs::CgroupView;
use sandbox::{Bundle, MINIMAL, find_minimal, is, mountinfo};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

fn default_container() -> Result<()> {
    let mut bundle = Bundle::new("default");
    bundle.config["linux"]["maskedPaths"] = json!([
        "/proc/acpi",
        "/proc/keys",
        "/proc/scsi",
        "/proc/timer_list",
        "/sys/firmware",
        "/nothing"
    ]);
    bundle.config["linux"]["readonlyPaths"] =
        json!(["/proc/bus", "/proc/sys", "/proc/uptime", "/no"]);
    bundle.config["root"]["readonly"] = json!(true);
    bundle.options.console = true;
    bundle.run(|| {
        let line = mountinfo("/dev")?;
        is("/dev", &line.options, "rw,nosuid")?;
        ensure!(line.superblock.contains("size=65536k,mode=755"), "{line:?}");
        is("/dev/pts", &mountinfo("/dev/pts")?.superblock, "rw,gid=5,mode=620,ptmxmode=666")?;
        is("/dev/shm", &mountinfo("/dev/shm")?.source, "shm")?;
        let line = mountinfo("/sys")?;
        is("/sys", &line.options, "ro,nosuid,nodev,noexec,relatime")?;
        is("root", mountinfo("/")?.options.split(',').next().unwrap(), "ro")?;
        is("/proc", &mountinfo("/proc")?.options, "rw,relatime")?;
        for path in ["/proc/bus", "/proc/sys", "/proc/uptime"] {
            is(path, &mountinfo(path)?.options, "ro,relatime")?;
        }
        ensure!(fs::write("/proc/sys/kernel/hostname", "x").is_err());
        for path in ["/proc/keys", "/proc/timer_list"].into_iter().filter(|p| Path::new(p).exists())
        {
            ensure!(fs::metadata(path)?.rdev() == rustix::fs::makedev(1, 3), "{path}");
        }
        for path in ["/proc/acpi", "/proc/scsi", "/sys/firmware"]
            .into_iter()
            .filter(|p| Path::new(p).exists())
        {
            let line = mountinfo(path)?;
            is(path, &line.kind, "tmpfs")?;
            ensure!(
                line.options.starts_with("ro") && line.superblock.starts_with("ro"),
                "{line:?}"
            );
            ensure!(fs::read_dir(path)?.count() == 0);
        }
        for (name, major, minor) in [
            ("null", 1, 3),
            ("zero", 1, 5),
            ("full", 1, 7),
            ("random", 1, 8),
            ("urandom", 1, 9),
            ("tty", 5, 0),
        ] {
            let stat = fs::metadata(format!("/dev/{name}"))?;
            ensure!(
                stat.file_type().is_char_device()
                    && stat.rdev() == rustix::fs::makedev(major, minor)
            );
            ensure!(stat.mode() & 0o7777 == 0o666, "{name}: {:o}", stat.mode());
        }
        is("ptmx", fs::read_link("/dev/ptmx")?.to_str().unwrap(), "pts/ptmx")?;
        is("fd", fs::read_link("/dev/fd")?.to_str().unwrap(), "/proc/self/fd")?;
        is("console", &mountinfo("/dev/console")?.kind, "devpts")?;
        ensure!(
            fs::read_to_string("/proc/self/mountinfo")?.lines().count() < 40,
            "the host's mounts are gone"
        );
        is("getcwd", std::env::current_dir()?.to_str().unwrap(), "/")
    })?;
    bundle.decoy_untouched()
}

fn bind_attributes() -> Result<()> {
    let mut bundle = Bundle::new("bind");
    fs::write(bundle.dir.join("one"), "1")?;
    fs::create_dir_all(bundle.dir.join("tree/sub"))?;
    bundle.mount("/a/ro", "bind", "decoy", &["bind", "rw", "ro", "nosuid", "noexec"]);
    bundle.mount("/a/rw", "none", "decoy", &["rbind", "ro", "rw"]);
    bundle.mount("/a/file", "", "one", &["bind", "ro", "noatime"]);
    bundle.mount("/a/rec", "bind", "/sys", &["rbind", "rro", "rnoatime", "nodiratime"]);
    bundle.mount("/a/shared", "bind", "decoy", &["rbind", "shared"]);
    bundle.mount("/a/unbindable", "bind", "decoy", &["bind", "unbindable", "strictatime"]);
    bundle.mount("/a/part", "bind", "/sys", &["rbind", "rro", "rw"]);
    bundle.mount("/a/rw", "none", "", &["bind", "remount", "ro"]);
    bundle.run(|| {
        is("ro", &mountinfo("/a/ro")?.options, "ro,nosuid,noexec,relatime")?;
        is("remounted", &mountinfo("/a/rw")?.options, "ro,relatime")?;
        is("file", &mountinfo("/a/file")?.options, "ro,noatime")?;
        is("file", &fs::read_to_string("/a/file")?, "1")?;
        has("rec", &mountinfo("/a/rec")?.options, &["ro", "noatime", "nodiratime"])?;
        has("rec below", &mountinfo("/a/rec/fs/cgroup")?.options, &["ro", "noatime"])?;
        ensure!(mountinfo("/a/shared")?.tags.contains("shared:"));
        is("unbindable", &mountinfo("/a/unbindable")?.tags, "unbindable")?;
        is("unbindable", &mountinfo("/a/unbindable")?.options, "rw")?;
        has("part", &mountinfo("/a/part")?.options, &["rw", "relatime"])?;
        has("part below", &mountinfo("/a/part/fs/cgroup")?.options, &["ro", "relatime"])
    })?;
    bundle.decoy_untouched()
}

/// The host may have given its /sys further options.
fn has(what: &str, seen: &str, wanted: &[&str]) -> Result<()> {
    let all = wanted.iter().all(|option| seen.split(',').any(|other| other == *option));
    ensure!(all, "{what}: {seen:?} lacks one of {wanted:?}");
    Ok(())
}

fn file_systems() -> Result<()> {
    let mut bundle = Bundle::new("fs");
    fs::create_dir_all(bundle.root("copy/dir"))?;
    fs::write(bundle.root("copy/dir/file"), "text")?;
    symlink("dir/file", bundle.root("copy/link"))?;
    fs::set_permissions(bundle.root("copy/dir/file"), PermissionsExt::from_mode(0o4751))?;
    fs::set_permissions(bundle.root("copy"), PermissionsExt::from_mode(0o1770))?;
    for dir in ["upper", "work"] {
        fs::create_dir_all(bundle.dir.join(dir))?;
    }
    bundle.mount("/copy", "tmpfs", "tmpfs", &["tmpcopyup", "ro", "size=1m"]);
    bundle.mount(
        "/new",
        "tmpfs",
        "named",
        &["defaults", "sync", "noatime", "size=1m,nr_inodes=100"],
    );
    bundle.mount("/new", "tmpfs", "named", &["remount", "size=2m", "nosuid"]);
    bundle.mount("/silent", "tmpfs", "s", &["silent", "nosuid"]);
    let mut lowers = Vec::new();
    for index in 0..8 {
        let dir = bundle.dir.join(format!("a-rather-long-name-of-a-lower-directory-{index}"));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(format!("{index}")), "")?;
        lowers.push(dir.display().to_string());
    }
    ensure!(lowers.join(":").len() > 255);
    bundle.mount("/over", "overlay", "overlay", &[&format!("lowerdir={}", lowers.join(":")), "ro"]);
    bundle.run(|| {
        let line = mountinfo("/copy")?;
        is("/copy", &line.options, "ro,relatime")?;
        ensure!(
            line.superblock.starts_with("rw") && line.superblock.contains("mode=1770"),
            "{line:?}"
        );
        is("copied", &fs::read_to_string("/copy/link")?, "text")?;
        ensure!(fs::metadata("/copy/dir/file")?.mode() & 0o7777 == 0o4751);
        let line = mountinfo("/new")?;
        is("/new", &line.options, "rw,nosuid,noatime")?;
        is("/new", &line.source, "named")?;
        ensure!(
            line.superblock.starts_with("rw,sync") && line.superblock.contains("size=2048k"),
            "{line:?}"
        );
        ensure!(line.superblock.contains("nr_inodes=100"), "{line:?}");
        is("/silent", &mountinfo("/silent")?.options, "rw,nosuid,relatime")?;
        is("/over", &mountinfo("/over")?.kind, "overlay")?;
        is("/over", &mountinfo("/over")?.options, "ro,relatime")?;
        ensure!(Path::new("/over/7").exists());
        Ok(())
    })?;
    let mut bundle = Bundle::new("fs-bad");
    bundle.mount("/x", "tmpfs", "x", &["nonsense=1"]);
    bundle.fails_with(
        "mounts[6]: fsconfig nonsense=1: invalid argument (tmpfs: Unknown parameter 'nonsense')",
    )?;
    let mut bundle = Bundle::new("fs-unknown");
    bundle.mount("/x", "no-such-fs", "x", &[]);
    bundle.fails_with("mounts[6]: fsopen no-such-fs")
}

fn symlinks_in_the_image() -> Result<()> {
    let mut bundle = Bundle::new("links");
    let decoy = bundle.dir.join("decoy");
    symlink(&decoy, bundle.root("abs"))?;
    symlink("../../../../../../..", bundle.root("up"))?;
    symlink("/run", bundle.root("var-run"))?;
    bundle.mount("/abs/new/dir", "tmpfs", "t", &[]);
    bundle.mount("/up/there/file", "bind", "decoy/file", &["bind"]);
    bundle.mount("/var-run/x", "tmpfs", "t", &["mode=700"]);
    let inside = format!("{}/new/dir", decoy.display());
    bundle.run(|| {
        is("abs", &mountinfo(&inside)?.kind, "tmpfs")?;
        is("up", &fs::read_to_string("/there/file")?, "decoy")?;
        is("run", &mountinfo("/run/x")?.kind, "tmpfs")
    })?;
    bundle.decoy_untouched()?;

    for (name, target) in [("proc", "tmp"), ("sys", "/etc"), ("proc", "x/../etc")] {
        let bundle = Bundle::new("links-kernel");
        let path = bundle.root(name);
        if path.is_symlink() {
            fs::remove_file(&path)?
        } else {
            fs::remove_dir(&path)?
        }
        symlink(target, &path)?;
        bundle.fails_with("must be mounted on ordinary directory")?;
        fs::remove_file(&path)?;
        fs::create_dir(&path)?;
    }
    Ok(())
}

/// CVE-2026-41579: /dev of the image is a link out of it.
fn dev_is_a_symlink() -> Result<()> {
    for (name, relative) in [("dev-abs", false), ("dev-rel", true)] {
        let mut bundle = Bundle::new(name);
        bundle.config["mounts"] = json!([]);
        fs::write(bundle.dir.join("decoy/ptmx"), "p")?;
        fs::remove_dir(bundle.root("dev"))?;
        let decoy = bundle.dir.join("decoy");
        let target = if relative { PathBuf::from("../decoy") } else { decoy };
        symlink(target, bundle.root("dev"))?;
        bundle.run(|| Ok(()))?;
        is("decoy/ptmx", &fs::read_to_string(bundle.dir.join("decoy/ptmx"))?, "p")?;
        fs::remove_file(bundle.dir.join("decoy/ptmx"))?;
        bundle.decoy_untouched()?;
    }
    Ok(())
}

/// CVE-2025-31133
fn dev_null_replaced() -> Result<()> {
    let mut bundle = Bundle::new("null");
    bundle.config["linux"]["maskedPaths"] = json!(["/proc/keys"]);
    bundle.options.hook = Some(|dir| {
        fs::remove_file(dir.join("rootfs/dev/null")).unwrap();
        symlink("/proc/sys/kernel/core_pattern", dir.join("rootfs/dev/null")).unwrap();
    });
    bundle.fails_with("linux.maskedPaths[0]: /proc/keys: the container's /dev/null is not")
}

/// CVE-2025-52565
fn console_replaced() -> Result<()> {
    let mut bundle = Bundle::new("console");
    bundle.options.console = true;
    bundle.options.hook = Some(|dir| {
        symlink("/proc/sysrq-trigger", dir.join("rootfs/dev/console")).unwrap();
    });
    bundle.fails_with("/dev/console: the mount point is a Symlink")
}

/// CVE-2025-52881, CVE-2019-16884
fn over_proc() -> Result<()> {
    let mut bundle = Bundle::new("over-proc");
    symlink("/proc/self/attr", bundle.root("foo"))?;
    bundle.mount("/foo", "bind", "decoy", &["bind"]);
    bundle.fails_with("inside /proc")?;
    let mut bundle = Bundle::new("over-proc-bind");
    bundle.mount("/proc", "bind", "decoy", &["bind"]);
    bundle.fails_with("is not of type proc")?;
    let mut bundle = Bundle::new("over-proc-part");
    bundle.mount("/proc", "bind", "/proc/self", &["bind"]);
    bundle.fails_with("is not of type proc")?;
    let mut bundle = Bundle::new("over-proc-lxcfs");
    bundle.mount("/proc/uptime", "bind", "decoy/file", &["bind"]);
    bundle.run(|| is("uptime", &fs::read_to_string("/proc/uptime")?, "decoy"))
}

fn devices() -> Result<()> {
    let mut bundle = Bundle::new("devices");
    bundle.config["linux"]["devices"] = json!([
        {"type": "c", "path": "/dev/fuse", "major": 10, "minor": 229, "fileMode": 384, "uid": 7, "gid": 8},
        {"type": "p", "path": "/var/fifo", "fileMode": 438},
        {"type": "b", "path": "/dev/block", "major": 7, "minor": 0},
        {"type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 420},
    ]);
    bundle.run(|| {
        let fuse = fs::metadata("/dev/fuse")?;
        ensure!(fuse.mode() & 0o7777 == 0o600 && fuse.uid() == 7 && fuse.gid() == 8);
        ensure!(fuse.rdev() == rustix::fs::makedev(10, 229));
        ensure!(fs::metadata("/var/fifo")?.file_type().is_fifo());
        ensure!(fs::metadata("/dev/block")?.file_type().is_block_device());
        ensure!(fs::metadata("/dev/null")?.mode() & 0o7777 == 0o644);
        Ok(())
    })?;
    // A matching node in the image is accepted (a second run), another is not.
    bundle.run(|| Ok(()))?;
    fs::remove_file(bundle.root("var/fifo"))?;
    fs::write(bundle.root("var/fifo"), "")?;
    bundle.fails_with("linux.devices[1]: /var/fifo: mknodat: file exists")
}

fn host_dev_is_left_alone() -> Result<()> {
    let mut bundle = Bundle::new("host-dev");
    fs::create_dir(bundle.dir.join("mydev"))?;
    bundle.config["mounts"] = json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "bind", "source": "mydev", "options": ["rbind"]},
    ]);
    bundle.run(|| Ok(()))?;
    ensure!(fs::read_dir(bundle.dir.join("mydev"))?.count() == 0);
    Ok(())
}

fn user_namespace() -> Result<()> {
    let mut bundle = Bundle::new("userns");
    bundle.options.userns = true;
    for sub in ["", "rootfs", "rootfs/dev", "rootfs/proc", "rootfs/sys"] {
        std::os::unix::fs::chown(bundle.dir.join(sub), Some(100_000), Some(100_000))?;
    }
    bundle.mount("/data", "bind", "decoy", &["rbind", "ro"]);
    bundle.config["linux"]["maskedPaths"] = json!(["/proc/keys", "/sys/firmware"]);
    bundle.config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    let check = || {
        ensure!(fs::metadata("/dev/null")?.rdev() == rustix::fs::makedev(1, 3));
        fs::write("/dev/null", "x")?;
        is("/data", &mountinfo("/data")?.options, "ro,relatime")?;
        is("/proc/sys", &mountinfo("/proc/sys")?.options, "ro,relatime")?;
        is("/proc", &mountinfo("/proc")?.kind, "proc")
    };
    bundle.run(check)?;
    bundle.run(check).context("again, with what the first left")?;
    // A host network: sysfs is refused, /sys is bound, read-only throughout.
    bundle.options.hostnet = true;
    bundle.run(|| {
        is("/sys", &mountinfo("/sys")?.options, "ro,nosuid,nodev,noexec,relatime")?;
        is("/sys/fs/cgroup", mountinfo("/sys/fs/cgroup")?.options.split(',').next().unwrap(), "ro")
    })?;
    bundle.options.hostnet = false;
    bundle.config["mounts"][2]["options"].as_array_mut().unwrap().push(json!("gid=70000"));
    bundle.fails_with("mounts[2]: uid= and gid= must be mapped in the user namespace")?;
    bundle.decoy_untouched()
}

fn rootless() -> Result<()> {
    let mut bundle = Bundle::new("rootless");
    bundle.options.rootless = true;
    bundle.options.userns = true;
    bundle.mount("/data", "bind", "decoy", &["rbind", "ro"]);
    for sub in ["", "rootfs", "rootfs/dev", "rootfs/proc", "rootfs/sys"] {
        std::os::unix::fs::chown(bundle.dir.join(sub), Some(200_000), Some(200_000))?;
    }
    bundle.run(|| {
        ensure!(fs::metadata("/dev/null")?.rdev() == rustix::fs::makedev(1, 3));
        is("/data", &mountinfo("/data")?.options, "ro,relatime")
    })?;
    // A sysfs is refused in the host's network: /sys of the child's own view.
    bundle.options.hostnet = true;
    bundle.run(|| {
        is("/sys", &mountinfo("/sys")?.options, "ro,nosuid,nodev,noexec,relatime")?;
        is("below", mountinfo("/sys/fs/cgroup")?.options.split(',').next().unwrap(), "ro")
    })?;
    // What the host keeps from a user namespace stays: a clear error.
    bundle.config["mounts"][6]["options"] = json!(["rbind", "idmap"]);
    bundle.fails_with("mounts[6]: ")?;
    bundle.decoy_untouched()
}

fn idmapped() -> Result<()> {
    let mut bundle = Bundle::new("idmap");
    bundle.mount("/mapped", "bind", "decoy", &["bind", "idmap"]);
    bundle.mount("/mapped2", "bind", "decoy", &["rbind", "ridmap", "ro"]);
    bundle.mount("/tmpfs", "tmpfs", "t", &["idmap"]);
    for index in 6..9 {
        for ids in ["uidMappings", "gidMappings"] {
            bundle.config["mounts"][index][ids] =
                json!([{"containerID": 0, "hostID": 5000, "size": 100}]);
        }
    }
    bundle.run(|| {
        ensure!(mountinfo("/mapped")?.options.contains("idmapped"));
        ensure!(fs::metadata("/mapped/file")?.uid() == 5000);
        is("/mapped2", &mountinfo("/mapped2")?.options, "ro,relatime,idmapped")?;
        ensure!(mountinfo("/tmpfs")?.options.contains("idmapped"));
        Ok(())
    })?;
    // With the container's own mapping: root's file on the host is root's inside.
    let mut bundle = Bundle::new("idmap-userns");
    bundle.options.userns = true;
    for sub in ["", "rootfs", "rootfs/dev", "rootfs/proc", "rootfs/sys"] {
        std::os::unix::fs::chown(bundle.dir.join(sub), Some(100_000), Some(100_000))?;
    }
    bundle.mount("/mapped", "bind", "decoy", &["bind", "idmap"]);
    bundle.run(|| {
        ensure!(fs::metadata("/mapped/file")?.uid() == 0);
        Ok(())
    })
}

fn propagation() -> Result<()> {
    for (value, wanted) in [
        (None, "master:"),
        (Some("slave"), "master:"),
        (Some("rslave"), "master:"),
        (Some("shared"), "shared:"),
        (Some("rshared"), "shared:"),
        (Some("private"), ""),
        (Some("unbindable"), "unbindable"),
    ] {
        let mut bundle = Bundle::new("propagation");
        bundle.config["linux"]["rootfsPropagation"] = json!(value);
        bundle.mount("/inherits", "bind", "decoy", &["rbind"]);
        bundle.mount("/private", "bind", "decoy", &["rbind", "rprivate"]);
        bundle.mount("/slave", "bind", "decoy", &["rbind", "rslave"]);
        bundle.mount("/shared", "bind", "decoy", &["rbind", "rshared"]);
        bundle.run(|| {
            let tags = mountinfo("/")?.tags;
            ensure!(
                tags.starts_with(wanted) && tags.is_empty() == wanted.is_empty(),
                "{value:?}: {tags:?}"
            );
            // rshared reaches every mount, as in runc, but makes no peer of the host.
            let tags = mountinfo("/private")?.tags;
            ensure!(tags.is_empty() || value == Some("rshared") && !tags.contains("master:"));
            ensure!(mountinfo("/slave")?.tags.contains("master:"));
            let inherited = mountinfo("/inherits")?.tags;
            let (is_shared, is_slave) =
                (inherited.contains("shared:"), inherited.contains("master:"));
            let sharing = value.is_some_and(|value| value.ends_with("shared"));
            let private = matches!(value, Some("private" | "unbindable"));
            ensure!(
                (is_shared, is_slave) == (sharing, !sharing && !private),
                "{value:?}: {inherited}"
            );
            ensure!(mountinfo("/shared")?.tags.starts_with("shared:"));
            Ok(())
        })?;
        bundle.decoy_untouched()?;
    }
    // A volume that is shared with the host, as `docker run -v /a:/b:rshared`.
    let mut bundle = Bundle::new("volume");
    bundle.options.volume = true;
    bundle.config["linux"]["rootfsPropagation"] = json!("rshared");
    bundle.mount("/vol", "bind", "decoy", &["rbind", "rshared"]);
    bundle.run(|| {
        Ok(rustix::mount::mount("t", "/vol/sub", "tmpfs", rustix::mount::MountFlags::empty(), c"")?)
    })
}

fn without_pivot() -> Result<()> {
    let mut bundle = Bundle::new("no-pivot");
    bundle.options.no_pivot = true;
    bundle.run(|| {
        ensure!(Path::new("/bin/busybox").exists() && !Path::new("/decoy").exists());
        is("/proc", &mountinfo("/proc")?.kind, "proc")
    })?;
    let mut bundle = Bundle::new("no-mount-ns");
    bundle.config["linux"]["namespaces"] = json!([]);
    bundle.config["mounts"] = json!([]);
    bundle.run(|| {
        ensure!(Path::new("/dev/null").exists() && Path::new("/bin/busybox").exists());
        Ok(())
    })?;
    bundle.decoy_untouched()
}

fn cgroup_v1() -> Result<()> {
    use pinnace::plan::rootfs::Hierarchy;
    let Ok(_) = fs::metadata("/sys/fs/cgroup/memory") else { return Ok(()) };
    let mut bundle = Bundle::new("cgroup");
    let hierarchy = |name: &str, options: &str| Hierarchy {
        name: name.into(),
        options: options.into(),
        dir: format!("/sys/fs/cgroup/{}", name.split(',').next().unwrap()).into(),
    };
    bundle.options.cgroup = Some(CgroupView::V1(vec![
        hierarchy("memory", "memory"),
        hierarchy("cpu,cpux", "cpu"),
        hierarchy("systemd", "name=systemd"),
        hierarchy("unified", ""),
    ]));
    bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]);
    for namespace in [true, false] {
        bundle.options.cgroup_namespace = namespace;
        bundle
            .run(|| {
                is(
                    "top",
                    &mountinfo("/sys/fs/cgroup")?.options,
                    "ro,nosuid,nodev,noexec,relatime",
                )?;
                let line = mountinfo("/sys/fs/cgroup/memory")?;
                is("memory", &line.options, "ro,nosuid,nodev,noexec,relatime")?;
                ensure!(line.kind == "cgroup" && line.superblock.contains("memory"), "{line:?}");
                ensure!(line.root == "/", "{line:?}");
                is("unified", &mountinfo("/sys/fs/cgroup/unified")?.kind, "cgroup2")?;
                is("link", fs::read_link("/sys/fs/cgroup/cpux")?.to_str().unwrap(), "cpu,cpux")
            })
            .with_context(|| format!("cgroup namespace: {namespace}"))?;
    }
    bundle.options.cgroup = None;
    bundle.run(|| is("hidden", &mountinfo("/sys/fs/cgroup")?.kind, "tmpfs"))?;
    bundle.options.cgroup = Some(CgroupView::V2("/sys/fs/cgroup/unified".into()));
    bundle.run(|| is("v2", &mountinfo("/sys/fs/cgroup")?.kind, "cgroup2"))
}

fn crun_options() -> Result<()> {
    let mut bundle = Bundle::new("crun");
    symlink("some/where", bundle.dir.join("link"))?;
    bundle.mount("/dir/copied", "bind", "link", &["bind", "copy-symlink"]);
    bundle.mount("/dir/nofollow", "bind", "link", &["bind", "src-nofollow", "dest-nofollow"]);
    symlink("/etc", bundle.root("covered"))?;
    bundle.mount("/covered", "bind", "link", &["bind", "src-nofollow", "dest-nofollow"]);
    bundle.run(|| {
        is("copied", fs::read_link("/dir/copied")?.to_str().unwrap(), "some/where")?;
        is("nofollow", fs::read_link("/dir/nofollow")?.to_str().unwrap(), "some/where")?;
        is("covered", fs::read_link("/covered")?.to_str().unwrap(), "some/where")
    })
}

fn over_the_root() -> Result<()> {
    let mut bundle = Bundle::new("slash");
    fs::create_dir_all(bundle.dir.join("other/bin"))?;
    fs::copy("/bin/busybox", bundle.dir.join("other/bin/busybox"))?;
    bundle.config["mounts"].as_array_mut().unwrap().insert(
        0,
        json!({"destination": "/", "type": "bind", "source": "other", "options": ["rbind"]}),
    );
    bundle.run(|| {
        ensure!(!Path::new("/etc").exists() && Path::new("/bin/busybox").exists());
        is("/proc", &mountinfo("/proc")?.kind, "proc")
    })
}

/// The fallback for Linux before 5.12: mount(2) where mount_setattr(2) is not.
fn before_mount_setattr() -> Result<()> {
    let mut bundle = Bundle::new("old");
    fs::write(bundle.dir.join("one"), "1")?;
    bundle.options.old_kernel = true;
    bundle.config["root"]["readonly"] = json!(true);
    bundle.config["linux"]["readonlyPaths"] = json!(["/proc/sys", "/proc/uptime"]);
    bundle.mount("/data", "bind", "decoy", &["rbind", "ro", "nosuid", "rprivate"]);
    bundle.mount("/file", "bind", "one", &["bind", "ro"]);
    bundle.run(|| {
        is("/data", &mountinfo("/data")?.options, "ro,nosuid,relatime")?;
        is("/file", &mountinfo("/file")?.options, "ro,relatime")?;
        is("/proc/sys", &mountinfo("/proc/sys")?.options, "ro,relatime")?;
        is("/", mountinfo("/")?.options.split(',').next().unwrap(), "ro")
    })?;
    bundle.decoy_untouched()
}

/// In the mount namespaces that a container may begin in. libtest-mimic runs the tests of one
/// thread in the first.
fn main() -> ExitCode {
    const TESTS: &[(&str, fn() -> Result<()>)] = &[
        ("default_container", default_container),
        ("bind_attributes", bind_attributes),
        ("file_systems", file_systems),
        ("symlinks_in_the_image", symlinks_in_the_image),
        ("dev_is_a_symlink", dev_is_a_symlink),
        ("dev_null_replaced", dev_null_replaced),
        ("console_replaced", console_replaced),
        ("over_proc", over_proc),
        ("devices", devices),
        ("host_dev_is_left_alone", host_dev_is_left_alone),
        ("user_namespace", user_namespace),
        ("rootless", rootless),
        ("idmapped", idmapped),
        ("propagation", propagation),
        ("without_pivot", without_pivot),
        ("cgroup_v1", cgroup_v1),
        ("crun_options", crun_options),
        ("over_the_root", over_the_root),
        ("before_mount_setattr", before_mount_setattr),
        ("same_as_runc", versus::same_as_runc),
    ];
    let ways = TESTS.iter().flat_map(|test| [(test, false), (test, true)]);
    let trials = ways.map(|(&(name, test), minimal)| {
        let way = if minimal { " in a minimal namespace" } else { "" };
        Trial::ignorable_test(format!("{name}{way}"), move || in_its_way(test, minimal))
    });
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(fs::remove_dir_all(
        std::env::temp_dir().join(format!("rootfs-test-{}", std::process::id())),
    ));
    conclusion.exit_code()
}

fn in_its_way(test: fn() -> Result<()>, minimal: bool) -> Result<Completion, Failed> {
    if unsafe { libc::geteuid() } != 0 {
        return Ok(Completion::ignored_with("needs root"));
    }
    if minimal && find_minimal().is_none() {
        return Ok(Completion::ignored_with("this kernel has none for us"));
    }
    MINIMAL.store(minimal, Ordering::Relaxed);
    test().map(|()| Completion::Completed).map_err(|error| format!("{error:#}").into())
}
