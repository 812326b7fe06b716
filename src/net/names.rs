//! `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname` of a container: files that are bound
//! over those of the image. They are written in place, as a rename would leave the mount on the
//! old file. Members of a network know each other by name without a name server: the end of
//! each `hosts` lists them, and is written anew when one comes or goes.

use super::lease::{Lease, Network};
use crate::error::{Context, Error, Result};
use crate::plan::network::Names;
use crate::sys::file;
use rustix::fs::{Mode, OFlags, ftruncate, open};
use rustix::io::Errno;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

/// The three, as they are named in the directory and below /etc.
pub const FILES: [&str; 3] = ["hosts", "resolv.conf", "hostname"];

/// What stands in `hosts` before the members.
const MARK: &str = "# members of the network, by pinnace: ";

/// Fills in the three files of a container.
///
/// # Errors
/// A file that cannot be written; no name server that the container could reach.
pub(super) fn write(files: &Path, names: &Names, lease: &Lease) -> Result<()> {
    let resolv = match names.dns.is_empty() {
        true => hosts_servers(&names.search)?,
        false => resolv_conf(&names.dns, &names.search, &[]),
    };
    let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    for (name, address) in &names.hosts {
        line(&mut hosts, format_args!("{address} {name}"));
    }
    let own = names.hostname.as_deref().filter(|name| *name != lease.id);
    for (address, name) in
        lease.addresses.iter().flat_map(|address| own.map(|name| (address, name)))
    {
        line(&mut hosts, format_args!("{address} {name}"));
    }
    hosts.push_str(MARK);
    hosts.push('\n');
    let hostname = format!("{}\n", names.hostname.as_deref().unwrap_or(&lease.id));
    for (name, text) in FILES.iter().zip([hosts, resolv, hostname]) {
        in_place(&files.join(name), &text)?;
    }
    Ok(())
}

/// Writes the members of a network into the `hosts` of each.
///
/// # Errors
/// That of `own` cannot be written, or one that is there cannot be read.
pub(super) fn members(network: &Network, leases: &[Lease], own: Option<&Lease>) -> Result<()> {
    let mut list = format!("{MARK}{}\n", network.name);
    for lease in leases {
        for address in &lease.addresses {
            line(&mut list, format_args!("{address} {}", lease.id));
        }
    }
    for lease in leases {
        let Some(files) = &lease.files else { continue };
        let path = files.join(FILES[0]);
        let text = match file::read_short(&path) {
            // Of a container that is going, or of a bundle that is gone; or one that its
            // container, which may write to it, has made too large: that hurts nobody else.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::FBIG) => continue,
            text => text.call(|| format!("read {}", path.display()))?,
        };
        let text = String::from_utf8_lossy(&text);
        let Some((head, old)) = text.split_once(MARK) else { continue };
        let new = format!("{head}{list}");
        if format!("{MARK}{old}") == list {
            continue;
        }
        match in_place(&path, &new) {
            // Its container may have filled the disk: that, too, hurts nobody else.
            Err(_) if own.is_none_or(|own| own.file_name() != lease.file_name()) => {}
            written => written?,
        }
    }
    Ok(())
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // A String takes all that is written to it.
    let _cannot_fail = writeln!(text, "{line}").is_err();
}

fn in_place(path: &Path, text: &str) -> Result<()> {
    let call = || format!("write {}", path.display());
    // Whoever may write to the bundle may have put a link there: it is not followed.
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = open(path, flags, Mode::empty()).call(call)?;
    let mut left = text.as_bytes();
    while !left.is_empty() {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(&file, left)).call(call)?;
        left = &left[count..];
    }
    // The rest goes last: at no time is a file empty that is being read, or that cannot grow.
    ftruncate(&file, text.len() as u64).call(call)
}

/// The host's name servers, as far as a container can reach them.
fn hosts_servers(search: &[String]) -> Result<String> {
    for path in ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"] {
        let text = match file::read_short(path) {
            Err(Errno::NOENT) => continue,
            text => text.call(|| format!("read {path}"))?,
        };
        if let Some(text) = reachable(&String::from_utf8_lossy(&text), search) {
            return Ok(text);
        }
    }
    Err(Error::new("the host names no server that a container can reach (/etc/resolv.conf)")
        .hint("--dns ADDRESS names one"))
}

/// What is left of a `resolv.conf` without servers on the host's loopback or of one link alone.
fn reachable(text: &str, search: &[String]) -> Option<String> {
    let mut servers: Vec<IpAddr> = Vec::new();
    let (mut domains, mut options) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()))
            }
            Some("search" | "domain") => domains = words.map(str::to_owned).collect(),
            Some("options") => options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    servers.retain(|server| match server {
        IpAddr::V4(server) => !server.is_loopback(),
        IpAddr::V6(server) => !server.is_loopback() && !server.is_unicast_link_local(),
    });
    let domains = if search.is_empty() { domains.as_slice() } else { search };
    (!servers.is_empty()).then(|| resolv_conf(&servers, domains, &options))
}

fn resolv_conf(servers: &[IpAddr], search: &[String], options: &[String]) -> String {
    let mut text = String::new();
    servers.iter().for_each(|server| line(&mut text, format_args!("nameserver {server}")));
    for (word, list) in [("search", search), ("options", options)] {
        if !list.is_empty() {
            line(&mut text, format_args!("{word} {}", list.join(" ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_a_container_cannot_reach_are_left_out() {
        let text = "# x\nsearch a b\nnameserver 127.0.0.53\nnameserver fe80::1\n\
                    nameserver 192.0.2.1\noptions edns0\n";
        let wanted = "nameserver 192.0.2.1\nsearch a b\noptions edns0\n";
        assert_eq!(reachable(text, &[]).unwrap(), wanted);
        let own = reachable(text, &["c".into()]).unwrap();
        assert_eq!(own, "nameserver 192.0.2.1\nsearch c\noptions edns0\n");
        assert_eq!(reachable("nameserver 127.0.0.1\nnameserver ::1\n", &[]), None);
    }
}
