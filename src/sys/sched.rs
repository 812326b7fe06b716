//! `sched_setattr(2)`, `sched_setaffinity(2)`, `ioprio_set(2)` and
//! `set_mempolicy(2)`.

use super::errno::last_errno;
use rustix::io::Errno;
use std::ffi::c_long;

/// `struct sched_attr` of linux/sched/types.h, version 1.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    pub util_min: u32,
    pub util_max: u32,
}

/// Sets the scheduling attributes of a process; 0 is this one.
///
/// # Errors
/// `EPERM` without `CAP_SYS_NICE`, `EINVAL`, `EBUSY` when deadlines are sold out.
pub fn set_attributes(pid: i32, attributes: SchedAttr) -> Result<(), Errno> {
    let attributes = SchedAttr { size: size_of::<SchedAttr>() as u32, ..attributes };
    // SAFETY: the structure outlives the call and carries its size.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attributes, 0) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Sets the CPUs that this process may run on. The kernel leaves out those that
/// are not there or not in its cpuset.
///
/// # Errors
/// `EINVAL` if none is left.
pub fn set_affinity(cpus: &[u64]) -> Result<(), Errno> {
    // SAFETY: the mask outlives the call and its size in bytes is passed.
    match unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(cpus), cpus.as_ptr()) }
    {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Sets the policy by which this process and its children get memory; `mode`
/// holds its flags too.
///
/// # Errors
/// `EINVAL` for nodes that are not there, not in the cpuset, or do not go with
/// the mode; `ENOSYS` for a kernel without NUMA.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    // One more than there are bits: get_nodes() of the kernel takes one away.
    let bits = if nodes.is_empty() { 0 } else { size_of_val(nodes) * 8 + 1 };
    let mask = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: the mask, if there is one, outlives the call and holds that many bits.
    match unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Sets the I/O priority of a process; 0 is this one.
///
/// # Errors
/// `EPERM` for the real-time class, `EINVAL`.
pub fn set_io_priority(pid: i32, priority: u16) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: c_long = 1;
    // SAFETY: takes integers only.
    match unsafe {
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, c_long::from(priority))
    } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}
