//! Switches of the network namespace that this thread is in, below /proc/sys/net: procfs shows
//! those of who opens it.

use crate::error::{Error, Result};
use crate::sys::file;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

/// Sets a switch; true if it had another value.
///
/// # Errors
/// One that is there and cannot be set. For one that is not there, `Ok(false)`: the kernel
/// lacks what it is for.
pub(super) fn set(name: &str, value: &str) -> Result<bool> {
    let path = format!("/proc/sys/net/{name}");
    match read(name)? {
        None => return Ok(false),
        Some(old) if old == value => return Ok(false),
        Some(_) => {}
    }
    let write = || {
        let file = open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(file, value.as_bytes()).map(drop)
    };
    write().map(|()| true).map_err(|errno| {
        Error::os(format!("write {value} to {path}"), errno)
            .hint_on(Errno::ROFS, "/proc/sys is read-only here")
    })
}

/// The value of a switch, if there is one of that name.
///
/// # Errors
/// Those of read(2).
pub(super) fn read(name: &str) -> Result<Option<String>> {
    let path = format!("/proc/sys/net/{name}");
    match file::read_short(&path) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).trim().to_owned())),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::os(format!("read {path}"), errno)),
    }
}

/// Whether devices of this namespace can have IPv6 addresses.
///
/// # Errors
/// Those of read(2).
pub(super) fn has_ipv6() -> Result<bool> {
    Ok(read("ipv6/conf/default/disable_ipv6")?.is_some_and(|off| off == "0"))
}

/// Whether packets that bridges pass on go through the firewall.
///
/// # Errors
/// Those of read(2).
pub(super) fn filters_bridges() -> Result<bool> {
    Ok(read("bridge/bridge-nf-call-iptables")?.is_some_and(|value| value == "1"))
}

/// Keeps new devices from believing routers (CVE-2020-10749): a neighbour may claim to be one.
///
/// # Errors
/// As [`set`].
pub(super) fn ignore_routers(device: &str) -> Result<()> {
    set(&format!("ipv6/conf/{device}/accept_ra"), "0").map(drop)
}

/// Lets the host forward packets; returns what was switched on.
///
/// # Errors
/// As [`set`].
pub(super) fn forward(ipv6: bool) -> Result<Vec<&'static str>> {
    let mut switched = Vec::new();
    if set("ipv4/ip_forward", "1")? {
        switched.push("net.ipv4.ip_forward");
    }
    let all = "ipv6/conf/all/forwarding";
    if ipv6 && read(all)?.is_some_and(|value| value == "0") {
        // A host that forwards would not believe its router any more: 2 is "nevertheless".
        let devices = "/proc/sys/net/ipv6/conf";
        let list = std::fs::read_dir(devices)
            .map_err(|error| Error::io(format!("list {devices}"), &error))?;
        for device in list.flatten() {
            let name = format!("ipv6/conf/{}/accept_ra", device.file_name().to_string_lossy());
            if read(&name)?.is_some_and(|value| value == "1") {
                set(&name, "2")?;
            }
        }
        set(all, "1")?;
        switched.push("net.ipv6.conf.all.forwarding");
    }
    Ok(switched)
}
