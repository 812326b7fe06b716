//! The template of mount namespaces: init copies it instead of the host's mounts.
//! The container must not be another for it, and nothing of it may stay.

use crate::harness::{Bundle, Container, is_pinnace};
use std::fs;
use std::path::PathBuf;

fn template(c: &Container) -> PathBuf {
    c.root().join("@template")
}

/// A container that stays, so that the next one is made from the template.
fn neighbour(c: &Container) -> Container {
    let mut other = Bundle::sleeper().container();
    other.id = format!("{}-neighbour", c.id);
    let (bundle, id) = (other.bundle.path(), other.id.clone());
    c.detached(["create", "--bundle", bundle.to_str().unwrap(), &id]).ok();
    other
}

fn end(c: &Container, other: &Container) {
    c.call(["delete", "--force", &other.id]).run().ok();
}

fn is_mounted(c: &Container) -> bool {
    let path = template(c);
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().any(|line| line.split(' ').nth(4) == path.to_str())
}

/// Without what is a number of the kernel's: mount ids, peer groups, devices.
fn without_ids(mountinfo: &str) -> Vec<String> {
    let word = |word: &str| word.split(':').next().unwrap().to_owned();
    let line = |line: &str| {
        let (fields, rest) = line.split_once(" - ").unwrap();
        let fields: Vec<_> = fields.split(' ').skip(3).collect();
        let tags: Vec<_> = fields[3..].iter().map(|tag| word(tag)).collect();
        format!("{} {} - {rest}", fields[..3].join(" "), tags.join(" "))
    };
    mountinfo.lines().map(line).collect()
}

/// Two runs of one bundle, the second beside a neighbour, see the same mounts.
fn same_with_and_without(bundle: Bundle) {
    let c = bundle.container();
    let plain = c.run();
    assert!(!template(&c).exists(), "made for one container");
    let other = neighbour(&c);
    let copied = c.run();
    assert!(is_mounted(&c), "not made for a second container");
    assert_eq!(without_ids(plain.ok()), without_ids(copied.ok()));
    end(&c, &other);
    assert!(!template(&c).exists(), "stays after the last container");
}

const MOUNTS: [&str; 2] = ["cat", "/proc/self/mountinfo"];

#[test]
fn the_container_is_the_same() {
    if is_pinnace() {
        same_with_and_without(Bundle::new(MOUNTS));
    }
}

#[test]
fn the_container_is_the_same_with_all_that_is_bound() {
    if !is_pinnace() {
        return;
    }
    for propagation in ["slave", "rprivate", "unbindable"] {
        let bundle = Bundle::new(MOUNTS).namespace("cgroup", None);
        let source = bundle.dir().join("source");
        fs::create_dir(&source).unwrap();
        let bundle = bundle
            .bind(&source, "/plain", &["bind", "ro"])
            .bind(&source, "/shared", &["rbind", "rshared"])
            .bind(&source, "/slave", &["rbind", "rslave"])
            .set("/linux/rootfsPropagation", propagation.into())
            .set("/root/readonly", true.into());
        same_with_and_without(bundle);
    }
}

#[test]
fn hooks_see_the_host_as_ever() {
    if !is_pinnace() {
        return;
    }
    let bundle = Bundle::new(["true"]);
    let seen = bundle.dir().join("seen");
    let hook = bundle.script("hook", &format!("cat /proc/self/mountinfo > {}", seen.display()));
    let c = bundle.set("/hooks/createContainer/-/path", hook.to_str().unwrap().into()).container();
    let other = neighbour(&c);
    c.run().ok();
    let rootfs = c.bundle.path().join("rootfs");
    assert!(fs::read_to_string(seen).unwrap().contains(&format!(" {} ", rootfs.display())));
    end(&c, &other);
}

#[test]
fn a_stale_file_is_replaced() {
    if !is_pinnace() {
        return;
    }
    let c = Bundle::new(MOUNTS).container();
    let other = neighbour(&c);
    fs::write(template(&c), "of another boot").unwrap();
    c.run().ok();
    assert!(is_mounted(&c));
    end(&c, &other);
    assert!(!template(&c).exists());
}

#[test]
fn a_broken_template_does_no_harm() {
    if !is_pinnace() {
        return;
    }
    let c = Bundle::new(MOUNTS).container();
    let plain = without_ids(c.run().ok());
    let other = neighbour(&c);
    // Another kind of namespace, then a mount namespace that is a container's.
    let pid = c.call(["state", &other.id]).run();
    let state: crate::harness::Value = serde_json::from_str(pid.ok()).unwrap();
    for file in ["/proc/self/ns/uts".to_owned(), format!("/proc/{}/ns/mnt", state["pid"])] {
        fs::write(template(&c), "").unwrap();
        rustix::mount::mount_bind(&file, template(&c)).unwrap();
        assert_eq!(without_ids(c.run().ok()), plain, "{file}");
        rustix::mount::unmount(template(&c), rustix::mount::UnmountFlags::DETACH).unwrap();
        fs::remove_file(template(&c)).unwrap();
    }
    // What can be neither entered nor replaced.
    fs::create_dir(template(&c)).unwrap();
    assert_eq!(without_ids(c.run().ok()), plain);
    fs::remove_dir(template(&c)).unwrap();
    end(&c, &other);
}

#[test]
fn many_at_once_share_one_template() {
    if !is_pinnace() {
        return;
    }
    let c = Bundle::new(["true"]).container();
    let other = neighbour(&c);
    c.bundle.write_config();
    let bundle = c.bundle.path();
    let runs: Vec<_> = (0..8)
        .map(|i| {
            let id = format!("{}-{i}", c.id);
            c.call(["run", "--bundle", bundle.to_str().unwrap(), &id]).spawn()
        })
        .collect();
    for run in runs {
        run.wait().ok();
    }
    end(&c, &other);
    assert!(!template(&c).exists());
}
