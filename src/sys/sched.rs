//! `sched_setattr(2)` and `ioprio_set(2)`.

use super::process::last_errno;
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

/// Sets the scheduling attributes of this process.
///
/// # Errors
/// `EPERM` without `CAP_SYS_NICE`, `EINVAL`, `EBUSY` when deadlines are sold out.
pub fn set_attributes(attributes: SchedAttr) -> Result<(), Errno> {
    let attributes = SchedAttr { size: size_of::<SchedAttr>() as u32, ..attributes };
    // SAFETY: the structure outlives the call and carries its size.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Sets the I/O priority of this process group.
///
/// # Errors
/// `EPERM` for the real-time class, `EINVAL`.
pub fn set_io_priority(priority: u16) -> Result<(), Errno> {
    const IOPRIO_WHO_PGRP: c_long = 2;
    // SAFETY: takes integers only; 0 is the caller's own group.
    match unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PGRP, 0, c_long::from(priority)) }
    {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}
