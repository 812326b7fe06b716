//! Labels that the kernel applies at the next execve(2): `AppArmor` profiles
//! and `SELinux` contexts, written through a procfs that no container can have
//! tampered with (CVE-2019-16884, CVE-2025-52881).

use crate::error::{At, Context, Error, Result};
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// Whether `AppArmor` is in force on this host.
pub fn apparmor_enabled() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|answer| answer.trim() == "Y")
}

/// Whether `SELinux` is in force on this host.
pub fn selinux_enabled() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// False if it surely is not: the kernel's list may be out of reach, and stacks,
/// namespaces and children of profiles are left to the kernel at the exec.
fn is_loaded(profile: &str) -> bool {
    let Ok(list) = std::fs::read_to_string("/sys/kernel/security/apparmor/profiles") else {
        return true;
    };
    let plain = !profile.contains("//") && !profile.starts_with(':') && profile != "unconfined";
    let is_it = |line: &str| line.rsplit_once(" (").is_some_and(|(name, _)| name == profile);
    !plain || list.lines().any(is_it)
}

/// Refuses labels that would have no effect here.
///
/// # Errors
/// If a label is given and its security module is off.
pub fn check(apparmor: Option<&str>, selinux: Option<&str>) -> Result<()> {
    if apparmor.is_some() && !apparmor_enabled() {
        return Err(
            Error::new("AppArmor is not enabled on this host").at("process.apparmorProfile")
        );
    }
    if let Some(profile) = apparmor.filter(|profile| !is_loaded(profile)) {
        return Err(Error::new(format!("no profile {profile:?} is loaded"))
            .at("process.apparmorProfile")
            .hint("apparmor_parser loads one"));
    }
    if selinux.is_some() && !selinux_enabled() {
        return Err(Error::new("SELinux is not enabled on this host").at("process.selinuxLabel"));
    }
    Ok(())
}

/// Sets the `AppArmor` profile of the next execve(2); `proc` is a real procfs.
///
/// # Errors
/// `ENOENT` if the profile is not loaded, `EACCES` if we may not change to it.
pub fn set_apparmor(proc: BorrowedFd<'_>, profile: &str) -> Result<()> {
    let attribute = open_first(proc, &["thread-self/attr/apparmor/exec", "thread-self/attr/exec"])
        .call(|| "open /proc/thread-self/attr/apparmor/exec".into())?;
    rustix::io::write(&attribute, format!("exec {profile}").as_bytes())
        .call(|| format!("write \"exec {profile}\" to /proc/thread-self/attr/exec"))
        .at(|| "process.apparmorProfile")
        .hint(|| "is the profile loaded?")?;
    Ok(())
}

/// Sets the `SELinux` label of the next execve(2).
///
/// # Errors
/// `EINVAL` for a label that the policy does not know.
pub fn set_selinux(proc: BorrowedFd<'_>, label: &str) -> Result<()> {
    let attribute = open_first(proc, &["thread-self/attr/exec"])
        .call(|| "open /proc/thread-self/attr/exec".into())?;
    rustix::io::write(&attribute, label.as_bytes())
        .call(|| format!("write {label:?} to /proc/thread-self/attr/exec"))
        .at(|| "process.selinuxLabel")?;
    Ok(())
}

fn open_first(proc: BorrowedFd<'_>, names: &[&str]) -> rustix::io::Result<OwnedFd> {
    let mut last = Errno::NOENT;
    for name in names {
        match openat(proc, *name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => return Ok(fd),
            Err(errno) => last = errno,
        }
    }
    Err(last)
}

/// A handle on the host's procfs, checked to be one.
///
/// # Errors
/// If `/proc` is not a procfs.
pub fn open_proc() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = open("/proc", flags, Mode::empty()).call(|| "open /proc".into())?;
    let kind = rustix::fs::fstatfs(&proc).call(|| "statfs /proc".into())?.f_type;
    if kind as u64 != rustix::fs::PROC_SUPER_MAGIC as u64 {
        return Err(Error::new("/proc is not a procfs").hint("mount -t proc proc /proc"));
    }
    Ok(proc)
}
