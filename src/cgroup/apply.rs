//! Carries out [`Write`]s.

use super::devices::{self, Exception, Policy};
use super::node::{Node, open_file, write_file};
use super::write::{File, IfAbsent, Write};
use super::{Cgroup, DENIED, controllers};
use crate::error::{At, Context, Error, Result};
use crate::sys::bpf::{self, Insn};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::{Errno, retry_on_intr};

/// Name of our device programs, by which an update finds the one to replace.
const PROGRAM: &str = "pinnace_devices";

pub(super) fn apply(cgroup: &Cgroup, writes: &[Write]) -> Result<()> {
    writes.iter().try_for_each(|write| step(cgroup, write))
}

pub(super) fn step(cgroup: &Cgroup, write: &Write) -> Result<()> {
    match write {
        Write::File(file) => one(cgroup, file),
        Write::AnyOrder(files) => any_order(cgroup, files),
        Write::FirstOf(files) => first_of(cgroup, files),
        Write::AtMost { controller, name, limit, field } => {
            let node = node_for(cgroup, controller, field)?;
            let text = node.read(name)?;
            match text.trim().parse::<u64>() {
                Ok(used) if used <= *limit => Ok(()),
                _ => Err(Error::new(format!("{limit} is below the present use, {}", text.trim()))
                    .at(field)),
            }
        }
        Write::Period { period } => {
            let field = "linux.resources.cpu.period";
            let text = node_for(cgroup, "cpu", field)?.read("cpu.max")?;
            let quota = text.split(' ').next().unwrap_or("max");
            one(cgroup, &File::new("cpu", "cpu.max", format!("{quota} {period}"), field))
        }
        Write::DeviceList { policy, update } => device_list(cgroup, policy, *update),
        Write::DeviceProgram { code, update } => device_program(cgroup, code, *update),
    }
}

pub(super) fn node_for<'a>(cgroup: &'a Cgroup, controller: &str, field: &str) -> Result<&'a Node> {
    let mut nodes = cgroup.nodes().iter();
    let found =
        if controller.is_empty() { nodes.next() } else { nodes.find(|node| node.has(controller)) };
    found.ok_or_else(|| {
        Error::new("the container could not get a cgroup for this limit").at(field).hint(DENIED)
    })
}

fn one(cgroup: &Cgroup, file: &File) -> Result<()> {
    let node = node_for(cgroup, file.controller, &file.field)?;
    explain(node, file, try_one(node, file)?)?;
    if file.name == KERNEL_MEMORY { is_in_force(node, file) } else { Ok(()) }
}

/// Linux 6.6 takes a limit of kernel memory and has none of it (cgroup-v1/memory.rst, 2.7).
const KERNEL_MEMORY: &str = "memory.kmem.limit_in_bytes";

fn is_in_force(node: &Node, file: &File) -> Result<()> {
    let Ok(wanted) = file.text.parse::<u64>() else { return Ok(()) };
    // The kernel rounds to pages, downwards.
    match node.read(&file.name)?.trim().parse::<u64>() {
        Ok(limit) if limit <= wanted => Ok(()),
        _ => Err(Error::new(format!("this kernel takes the limit of {wanted} and ignores it"))
            .at(&file.field)
            .hint("leave it out: kernel memory counts as memory.limit")),
    }
}

/// The outer error is about the directory, the inner one the kernel's answer.
fn try_one(node: &Node, file: &File) -> Result<rustix::io::Result<()>> {
    let dir = node.dir()?;
    let mut done = write_file(dir, &*file.name, &file.text);
    if done == Err(Errno::NOENT) && node.unified() {
        // Beside v1 the controllers are enabled when one is wanted; systemd leaves out those that
        // it does not know, as hugetlb and rdma.
        controllers::enable(node)?;
        done = write_file(dir, &*file.name, &file.text);
    }
    // 524 is the kernel's ENOTSUPP, which kmem.limit_in_bytes answers.
    let lacks = [Errno::NOENT, Errno::OPNOTSUPP, Errno::from_raw_os_error(524)];
    if file.if_absent == IfAbsent::Ignore && done.is_err_and(|errno| lacks.contains(&errno)) {
        done = Ok(());
    }
    Ok(done)
}

fn explain(node: &Node, file: &File, done: rustix::io::Result<()>) -> Result<()> {
    let Err(errno) = done else {
        return Ok(());
    };
    let call = format!("write {:?} to {}/{}", file.text, node.path(), file.name);
    let error = Error::os(call, errno).at(&file.field);
    let controller = file.name.split('.').next().unwrap_or_default();
    Err(match errno {
        Errno::NOENT | Errno::ACCESS | Errno::PERM if node.unified() && controller != "cgroup" => {
            match node.read("cgroup.controllers") {
                Ok(list) if !list.split_ascii_whitespace().any(|word| word == controller) => {
                    error.hint(format!("controller {controller:?} is not available in this cgroup"))
                }
                _ => error.hint("this kernel has no such file"),
            }
        }
        Errno::NOENT => error.hint("this kernel has no such file"),
        Errno::BUSY if file.name.starts_with("memory.") => {
            error.hint("the limit is below the present use")
        }
        Errno::OPNOTSUPP if file.name.contains(".bfq.") => {
            error.hint("weights of a device need bfq in its /sys/block/NAME/queue/scheduler")
        }
        _ => match value_hint(&file.name) {
            Some(hint) => error.hint(hint),
            None => error,
        },
    })
}

/// What the kernel may dislike about a value that it refuses without a word.
fn value_hint(file: &str) -> Option<&'static str> {
    match file {
        "cpuset.cpus" => {
            Some("the cgroup above may have fewer CPUs; /sys/devices/system/cpu/online lists all")
        }
        "cpuset.mems" => {
            Some("the cgroup above may have fewer nodes; /sys/devices/system/node/online lists all")
        }
        "cpu.cfs_quota_us" | "cpu.cfs_period_us" | "cpu.max" => Some(
            "a quota is 1000 or more, a period 1000 to 1000000; no more than the cgroup above has",
        ),
        "cpu.rt_runtime_us" | "cpu.rt_period_us" => {
            Some("no more than the cgroup above has: real-time groups begin with nothing")
        }
        _ => None,
    }
}

fn any_order(cgroup: &Cgroup, files: &[File]) -> Result<()> {
    let mut left: Vec<&File> = files.iter().collect();
    while let Some(&first) = left.first() {
        let mut refused = Vec::new();
        for &file in &left {
            let node = node_for(cgroup, file.controller, &file.field)?;
            match try_one(node, file)? {
                Err(Errno::INVAL) => refused.push(file),
                done => explain(node, file, done)?,
            }
        }
        if refused.len() == left.len() {
            return one(cgroup, first); // for its error
        }
        left = refused;
    }
    Ok(())
}

fn first_of(cgroup: &Cgroup, files: &[File]) -> Result<()> {
    let mut refused = (Errno::NOENT, None);
    for file in files {
        let node = node_for(cgroup, file.controller, &file.field)?;
        match try_one(node, file)? {
            // What is said by a file that is there is told, and not that another is missing.
            Err(errno @ (Errno::NOENT | Errno::OPNOTSUPP)) => {
                if refused.0 == Errno::NOENT {
                    refused = (errno, Some((node, file)));
                }
            }
            done => return explain(node, file, done),
        }
    }
    match refused {
        (errno, Some((node, file))) => explain(node, file, Err(errno)),
        _ => Ok(()),
    }
}

/// Without privilege device rules cannot be changed, and are not needed: the caller cannot open
/// other devices in any case.
fn ignored_when_rootless(cgroup: &Cgroup, errno: Errno) -> bool {
    cgroup.rules().rootless && matches!(errno, Errno::PERM | Errno::ACCESS | Errno::ROFS)
}

fn device_list(cgroup: &Cgroup, policy: &Policy, update: bool) -> Result<()> {
    let node = match node_for(cgroup, "devices", "linux.resources.devices") {
        Ok(node) => node,
        Err(_) if cgroup.rules().rootless => return Ok(()),
        Err(error) => return Err(error),
    };
    let dir = node.dir()?;
    let lines = if update || node.made == 0 {
        devices::transition(&node.read("devices.list")?, policy)
    } else {
        devices::fresh(policy)
    };
    let mut open = [None, None];
    for (allow, exception) in lines {
        let name = if allow { "devices.allow" } else { "devices.deny" };
        let slot = &mut open[usize::from(allow)];
        if slot.is_none() {
            match open_file(dir, name, OFlags::WRONLY) {
                Ok(fd) => *slot = Some(fd),
                Err(errno) if ignored_when_rootless(cgroup, errno) => return Ok(()),
                Err(errno) => return Err(Error::os(format!("open {}/{name}", node.path()), errno)),
            }
        }
        let Some(fd) = slot else { continue };
        let text = exception.devices.to_string();
        let done = retry_on_intr(|| rustix::io::write(fd.as_fd(), text.as_bytes()));
        device_line(cgroup, node, (name, &text), &exception, done.map(drop))?;
    }
    Ok(())
}

fn device_line(
    cgroup: &Cgroup,
    node: &Node,
    (name, text): (&str, &str),
    exception: &Exception,
    done: rustix::io::Result<()>,
) -> Result<()> {
    match (done, exception.index) {
        (Ok(()), _) => Ok(()),
        // The cgroup above denies a device of our default list. Nobody asked for it: no error.
        (Err(Errno::PERM), None) if name == "devices.allow" => Ok(()),
        (Err(errno), _) if ignored_when_rootless(cgroup, errno) => Ok(()),
        (Err(errno), index) => {
            let field = index.map_or_else(String::new, |i| format!("[{i}]"));
            let error = Error::os(format!("write {text:?} to {}/{name}", node.path()), errno)
                .at(format!("linux.resources.devices{field}"));
            Err(error
                .hint_on(Errno::INVAL, "the default can't change while there are cgroups below")
                .hint_on(Errno::PERM, "the cgroup above does not allow this device"))
        }
    }
}

fn device_program(cgroup: &Cgroup, program: &[Insn], update: bool) -> Result<()> {
    let Some(node) = cgroup.nodes().iter().find(|node| node.unified()) else {
        return if cgroup.rules().rootless {
            Ok(())
        } else {
            Err(Error::new("the container has no cgroup")
                .hint(DENIED)
                .at("linux.resources.devices"))
        };
    };
    match attach_program(node.dir()?, program, update || node.made == 0) {
        Err(errno) if ignored_when_rootless(cgroup, errno) => Ok(()),
        done => done
            .call(|| format!("bpf: attach a device program to {}", node.path()))
            .at(|| "linux.resources.devices")
            .hint(|| "needs CAP_BPF or CAP_SYS_ADMIN"),
    }
}

/// Programs of others (systemd's, say) stay: the kernel asks all of them.
fn attach_program(dir: BorrowedFd<'_>, program: &[Insn], used: bool) -> rustix::io::Result<()> {
    let new = bpf::load_device_program(program, PROGRAM)?;
    let old = if used { attached_program(dir)? } else { None };
    bpf::attach(dir, &new, old.as_ref())
}

fn attached_program(dir: BorrowedFd<'_>) -> rustix::io::Result<Option<OwnedFd>> {
    for program in bpf::attached(dir)? {
        if bpf::name_of(&program)? == PROGRAM {
            return Ok(Some(program));
        }
    }
    Ok(None)
}

/// Takes the container's device program off a cgroup that stays: whoever has made that may
/// use other devices.
pub(super) fn detach_program(cgroup: &Cgroup, node: &Node) -> Result<()> {
    let Some(dir) = node.open()? else { return Ok(()) };
    let detached = attached_program(dir.as_fd())
        .and_then(|program| program.map_or(Ok(()), |program| bpf::detach(dir.as_fd(), &program)));
    match detached {
        Err(errno) if ignored_when_rootless(cgroup, errno) => Ok(()),
        done => done.call(|| format!("detach the device program of {}", node.path())),
    }
}
