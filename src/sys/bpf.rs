//! bpf(2), as far as device programs of cgroup v2 need it: load, attach,
//! replace, list. Source: bpf(2) and the kernel's `Documentation/bpf/` and
//! `include/uapi/linux/bpf.h`.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::{Errno, Result};
use std::ffi::c_long;

const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
const PROG_DETACH: u32 = 9;
const PROG_GET_FD_BY_ID: u32 = 13;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const PROG_QUERY: u32 = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 1 << 1;
const F_REPLACE: u32 = 1 << 2;

/// Most programs of one kind on one cgroup (`BPF_CGROUP_MAX_PROGS`).
const MOST_PROGRAMS: usize = 64;

/// One instruction, `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// Class, operation and source of the operand.
    pub code: u8,
    /// Destination in the low four bits, source in the high four (on little
    /// endian; [`Insn::new`] knows).
    pub registers: u8,
    /// Jump distance or offset into memory.
    pub offset: i16,
    /// Constant.
    pub constant: i32,
}

impl Insn {
    /// Puts one together.
    pub fn new(code: u8, to: u8, from: u8, offset: i16, constant: i32) -> Self {
        let registers =
            if cfg!(target_endian = "little") { to | (from << 4) } else { (to << 4) | from };
        Self { code, registers, offset, constant }
    }
}

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_count: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kernel_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct IdAttr {
    id: u32,
    next_id: u32,
    open_flags: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoAttr {
    fd: u32,
    info_len: u32,
    info: u64,
}

/// The beginning of `struct bpf_prog_info`: all that is asked for.
#[repr(C)]
#[derive(Default)]
struct ProgInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_len: u32,
    xlated_len: u32,
    jited_insns: u64,
    xlated_insns: u64,
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; 16],
}

fn bpf<T>(command: u32, attr: &mut T) -> Result<c_long> {
    // SAFETY: `attr` is a live and exclusively borrowed repr(C) struct without
    // implicit padding and its size is passed along, so the kernel reads and
    // writes nothing beyond it. Addresses inside it are those of buffers that
    // the callers below keep borrowed over this call.
    let got = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if got < 0 {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(errno));
    }
    Ok(got)
}

fn bpf_fd<T>(command: u32, attr: &mut T) -> Result<OwnedFd> {
    let fd = i32::try_from(bpf(command, attr)?).map_err(|_| Errno::BADF)?;
    // SAFETY: both commands that come here return a new fd that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn raw(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}

fn address<T>(buffer: &[T]) -> u64 {
    buffer.as_ptr().addr() as u64
}

/// Loads a program of the kind that decides about devices. `name` can be read
/// back with [`name_of`]; at most 15 bytes of it count.
pub fn load_device_program(code: &[Insn], name: &str) -> Result<OwnedFd> {
    let mut prog_name = [0; 16];
    for (to, from) in prog_name[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let license = b"Apache-2.0\0";
    let mut attr = LoadAttr {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_count: u32::try_from(code.len()).map_err(|_| Errno::TOOBIG)?,
        insns: address(code),
        license: address(license),
        prog_name,
        ..LoadAttr::default()
    };
    bpf_fd(PROG_LOAD, &mut attr)
}

/// Attaches a device program to a cgroup beside those that are there, or in
/// the place of `old`: at no time is the cgroup without one (Linux 5.6).
pub fn attach(cgroup: BorrowedFd<'_>, program: &OwnedFd, old: Option<&OwnedFd>) -> Result<()> {
    let mut attr = AttachAttr {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: if old.is_some() { F_ALLOW_MULTI | F_REPLACE } else { F_ALLOW_MULTI },
        replace_bpf_fd: old.map_or(0, raw),
        padding: 0,
    };
    bpf(PROG_ATTACH, &mut attr).map(drop)
}

/// Takes a device program off a cgroup; the others stay.
pub fn detach(cgroup: BorrowedFd<'_>, program: &OwnedFd) -> Result<()> {
    let mut attr = AttachAttr {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        ..AttachAttr::default()
    };
    bpf(PROG_DETACH, &mut attr).map(drop)
}

/// The device programs that are attached to this very cgroup.
pub fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut attr = QueryAttr {
        target_fd: raw(cgroup),
        attach_type: ATTACH_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr().addr() as u64,
        prog_cnt: MOST_PROGRAMS as u32,
        ..QueryAttr::default()
    };
    bpf(PROG_QUERY, &mut attr)?;
    let mut programs = Vec::new();
    for &id in ids.iter().take(attr.prog_cnt as usize) {
        match bpf_fd(PROG_GET_FD_BY_ID, &mut IdAttr { id, ..IdAttr::default() }) {
            Ok(fd) => programs.push(fd),
            Err(Errno::NOENT) => {} // went between the two calls
            Err(errno) => return Err(errno),
        }
    }
    Ok(programs)
}

/// The name that a program was loaded with.
pub fn name_of(program: &OwnedFd) -> Result<String> {
    let mut info = [ProgInfo::default()];
    let mut attr = InfoAttr {
        fd: raw(program),
        info_len: size_of::<ProgInfo>() as u32,
        info: info.as_mut_ptr().addr() as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    let name = info[0].name.iter().take_while(|&&byte| byte != 0).map(|&byte| char::from(byte));
    Ok(name.collect())
}
