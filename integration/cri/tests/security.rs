//! What a container may do.

use std::fs;

use anyhow::{Context, Result, ensure};
use k8s_cri::v1::security_profile::ProfileType;
use k8s_cri::v1::{Capability, ContainerConfig, Int64Value, Mount, SecurityProfile};
use pinnace_cri::pod::{Container, of_container};

use crate::{Cri, plain};

/// A line of a container's /proc/self/status.
fn status(container: &Container, field: &str) -> Result<String> {
    container.exec(&format!("sed -n 's/^{field}:\t//p' /proc/self/status"))
}

/// What a command of a container says when it fails, as it must.
fn refused(container: &Container, words: &[&str]) -> Result<String> {
    let reply = container.exec_sync(words, 60)?;
    ensure!(reply.exit_code != 0, "{words:?} has succeeded");
    Ok(String::from_utf8_lossy(&reply.stderr).into_owned())
}

pub fn a_read_only_root_has_writable_volumes(cri: &Cri) -> Result<()> {
    let volume = cri.directory.join("volume");
    fs::create_dir_all(&volume)?;
    let mount = Mount {
        container_path: "/volume".to_owned(),
        host_path: volume.display().to_string(),
        ..Mount::default()
    };
    let pod = cri.pod("fixed", plain)?;
    let container = pod.service("container", "", |config| {
        of_container(config).readonly_rootfs = true;
        config.mounts = vec![mount];
    })?;
    let why = refused(&container, &["touch", "/x"])?;
    ensure!(why.contains("Read-only file system"), "{why}");
    container.exec("touch /volume/x /dev/shm/x")?;
    ensure!(volume.join("x").exists(), "nothing is in the volume");
    pod.remove()
}

pub fn capabilities_are_added_and_dropped(cri: &Cri) -> Result<()> {
    let pod = cri.pod("capabilities", plain)?;
    let with = |add: &[&str], drop: &[&str]| {
        let [add, drop] =
            [add, drop].map(|names| names.iter().map(|&name| name.to_owned()).collect());
        let capabilities =
            Capability { add_capabilities: add, drop_capabilities: drop, ..Capability::default() };
        |config: &mut ContainerConfig| of_container(config).capabilities = Some(capabilities)
    };
    let number = |container: &Container, field: &str| -> Result<u64> {
        Ok(u64::from_str_radix(&status(container, field)?, 16)?)
    };
    const CHOWN: u64 = 1;
    const NET_ADMIN: u64 = 1 << 12;
    let usual = pod.service("usual", "", plain)?;
    let has = number(&usual, "CapEff")?;
    ensure!(has & CHOWN != 0 && has & NET_ADMIN == 0, "{has:x}");
    let changed = pod.service("changed", "", with(&["NET_ADMIN"], &["CHOWN"]))?;
    for field in ["CapEff", "CapPrm", "CapBnd"] {
        let changed = number(&changed, field)?;
        ensure!(changed == has & !CHOWN | NET_ADMIN, "{field}: {changed:x} of {has:x}");
    }
    changed.exec("ip link set dev lo mtu 1400")?;
    let why = refused(&usual, &["ip", "link", "set", "dev", "lo", "mtu", "1400"])?;
    ensure!(why.contains("Operation not permitted"), "{why}");
    let why = refused(&changed, &["chown", "1", "/etc/passwd"])?;
    ensure!(why.contains("Operation not permitted"), "{why}");
    let none = pod.service("none", "", with(&[], &["ALL"]))?;
    let [effective, bounding] = [number(&none, "CapEff")?, number(&none, "CapBnd")?];
    ensure!((effective, bounding) == (0, 0), "{effective:x}, {bounding:x}");
    pod.remove()
}

/// Unconfined is what a container without a profile is, too.
pub fn the_default_seccomp_profile_holds(cri: &Cri) -> Result<()> {
    let pod = cri.pod("seccomp", plain)?;
    let with = |kind: ProfileType| {
        let profile = SecurityProfile { profile_type: kind.into(), ..SecurityProfile::default() };
        move |config: &mut ContainerConfig| of_container(config).seccomp = Some(profile)
    };
    let confined = pod.service("confined", "", with(ProfileType::RuntimeDefault))?;
    ensure!(status(&confined, "Seccomp")? == "2", "no filter");
    let why = refused(&confined, &["unshare", "-U", "true"])?;
    ensure!(why.contains("Operation not permitted"), "{why}");
    let unconfined = pod.service("unconfined", "", with(ProfileType::Unconfined))?;
    ensure!(status(&unconfined, "Seccomp")? == "0", "a filter");
    unconfined.exec("unshare -U true")?;
    pod.remove()
}

pub fn a_profile_of_the_nodes_holds(cri: &Cri) -> Result<()> {
    let file = cri.directory.join("no-directories.json");
    let denied = serde_json::json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95});
    let profile = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied]});
    fs::write(&file, profile.to_string())?;
    let profile = SecurityProfile {
        profile_type: ProfileType::Localhost.into(),
        localhost_ref: file.display().to_string(),
    };
    let pod = cri.pod("profile", plain)?;
    let container =
        pod.service("container", "", |config| of_container(config).seccomp = Some(profile))?;
    let why = refused(&container, &["mkdir", "/x"])?;
    ensure!(why.contains("not supported"), "{why}");
    container.exec("touch /x")?;
    pod.remove()
}

pub fn users_and_groups_are_those_asked_for(cri: &Cri) -> Result<()> {
    let pod = cri.pod("ids", plain)?;
    let container = pod.service("container", "", |config| {
        let security = of_container(config);
        security.run_as_user = Some(Int64Value { value: 1000 });
        security.run_as_group = Some(Int64Value { value: 2000 });
        security.supplemental_groups = vec![3000, 4000];
        security.no_new_privs = true;
    })?;
    let seen = container.exec("id -u; id -g; id -G")?;
    let mut lines = seen.lines();
    ensure!((lines.next(), lines.next()) == (Some("1000"), Some("2000")), "{seen}");
    let groups: Vec<_> = lines.next().context("no groups")?.split(' ').collect();
    ensure!(["2000", "3000", "4000"].iter().all(|one| groups.contains(one)), "{seen}");
    ensure!(status(&container, "NoNewPrivs")? == "1", "it may gain privileges");
    ensure!(status(&container, "CapEff")? == "0000000000000000", "a user has capabilities");
    let why = refused(&container, &["touch", "/etc/x"])?;
    ensure!(why.contains("Permission denied"), "{why}");
    let named = pod.service("named", "", |config| {
        of_container(config).run_as_username = "nobody".to_owned();
    })?;
    ensure!(named.exec("id -u")? == "65534", "{}", named.exec("id")?);
    pod.remove()
}

pub fn paths_are_masked_and_read_only(cri: &Cri) -> Result<()> {
    let pod = cri.pod("masked", plain)?;
    let container = pod.service("container", "", |config| {
        let security = of_container(config);
        security.masked_paths = ["/proc/keys", "/etc/private", "/home"].map(str::to_owned).into();
        security.readonly_paths = ["/proc/sys", "/etc"].map(str::to_owned).into();
    })?;
    let seen = container.exec("cat /proc/keys /etc/private; ls /home")?;
    ensure!(seen.is_empty(), "{seen}");
    for file in ["/home/x", "/etc/x", "/proc/sys/kernel/domainname"] {
        let why = refused(&container, &["sh", "-c", &format!("echo x >{file}")])?;
        ensure!(why.contains("Read-only file system"), "{file}: {why}");
    }
    pod.remove()
}
