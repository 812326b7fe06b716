//! The same bundle under another runtime.

use crate::sandbox::Bundle;
use anyhow::{Result, ensure};
use serde_json::json;
use std::fs;
use std::process::Command;

/// The table as far as two containers of one bundle can agree on it.
fn comparable(table: &str) -> Vec<String> {
    let strip = |line: &str| {
        let fields: Vec<&str> = line.split(' ').skip(3).collect();
        fields.join(" ")
    };
    // The size of the cover of a masked directory differs by version.
    let cover = |line: &String| line.contains("/proc/acpi") || line.contains("/sys/firmware");
    let mut lines: Vec<String> = table.lines().map(strip).filter(|line| !cover(line)).collect();
    lines.sort();
    lines
}

/// The mounts are those that runc makes of the same bundle.
pub fn same_as_runc() -> Result<()> {
    let mut bundle = Bundle::new("runc");
    let Ok(spec) = Command::new("runc").arg("spec").current_dir(&bundle.dir).status() else {
        println!("no runc to compare with");
        return Ok(());
    };
    ensure!(spec.success());
    let path = bundle.dir.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/busybox", "cat", "/proc/self/mountinfo"]);
    config["process"]["rlimits"] = json!([]);
    config["linux"]["resources"] = json!({});
    bundle.config["mounts"] = json!([]);
    for mount in config["mounts"].as_array().unwrap().iter().filter(|m| m["type"] != "cgroup") {
        bundle.config["mounts"].as_array_mut().unwrap().push(mount.clone());
    }
    for (index, options) in [
        &["rbind", "rprivate"][..],
        &["bind", "ro"],
        &["rbind", "rro", "nosuid"],
        &["bind", "noatime"],
        &["bind", "strictatime", "nodiratime"],
        &["bind", "ro", "rw"],
        &["rbind", "nodev", "noexec", "rslave"],
    ]
    .into_iter()
    .enumerate()
    {
        bundle.mount(&format!("/b{index}"), "bind", "decoy", options);
    }
    bundle.mount("/t1", "tmpfs", "x", &["ro", "size=1m"]);
    bundle.mount("/t2", "tmpfs", "x", &["sync", "noatime", "lazytime", "size=1m"]);
    bundle.mount("/s2", "sysfs", "x", &["ro", "nosymfollow"]);
    bundle.mount("/p2", "proc", "p", &["ro"]);
    config["mounts"] = bundle.config["mounts"].clone();
    for field in ["maskedPaths", "readonlyPaths"] {
        bundle.config["linux"][field] = config["linux"][field].clone();
    }
    bundle.config["root"] = config["root"].clone();
    fs::write(&path, config.to_string())?;
    let id = format!("rootfs-test-{}", std::process::id());
    let runc = Command::new("runc").args(["run", &id]).current_dir(&bundle.dir).output()?;
    ensure!(runc.status.success(), "{}", String::from_utf8_lossy(&runc.stderr));
    let wanted = comparable(&String::from_utf8(runc.stdout)?);
    // A mount point that exists lends its mode to a tmpfs: runc has just made it.
    fs::remove_dir(bundle.root("t1"))?;
    fs::remove_dir(bundle.root("t2"))?;
    bundle.options.plain_host = true;
    bundle.run(|| {
        let seen = comparable(&fs::read_to_string("/proc/self/mountinfo")?);
        for (seen, wanted) in seen.iter().zip(&wanted) {
            ensure!(seen == wanted, "ours:\n{seen}\nrunc:\n{wanted}");
        }
        ensure!(seen.len() == wanted.len());
        Ok(())
    })
}
