//! An older kernel than this one: calls that it lacks fail as they would there.

use super::Call;
use std::os::unix::process::CommandExt;

/// A system call with a certain argument, and the error that it fails with.
#[derive(Debug, Clone, Copy)]
pub struct Lacks {
    pub call: libc::c_long,
    /// Which argument decides, and which bits of it.
    pub argument: u32,
    pub mask: u32,
    /// What it must be, after the mask.
    pub value: u32,
    pub errno: i32,
}

impl Call {
    /// Runs the program, and what it starts, under a kernel without these calls.
    #[must_use]
    pub fn without(mut self, calls: &[Lacks]) -> Self {
        let mut program: Vec<_> = calls.iter().flat_map(rule).collect();
        program.push(instruction(0x06, 0, 0, libc::SECCOMP_RET_ALLOW));
        let install = move || install(&program);
        // SAFETY: between fork and exec only prctl(2) is called, with memory that
        // was allocated before.
        #[expect(unsafe_code, reason = "pre_exec is unsafe")]
        unsafe {
            self.command.pre_exec(install)
        };
        self
    }
}

/// seccomp(2), "struct seccomp_data": the number at 0, the arguments from 16 on.
fn rule(lacks: &Lacks) -> [libc::sock_filter; 6] {
    let number = u32::try_from(lacks.call).unwrap();
    let errno = u32::try_from(lacks.errno).unwrap();
    [
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 0, 4, number),
        instruction(0x20, 0, 0, 16 + 8 * lacks.argument),
        instruction(0x54, 0, 0, lacks.mask),
        instruction(0x15, 0, 1, lacks.value),
        instruction(0x06, 0, 0, libc::SECCOMP_RET_ERRNO | errno),
    ]
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

fn install(program: &[libc::sock_filter]) -> std::io::Result<()> {
    let filter =
        libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads the filter, which lives until the call returns.
    #[expect(unsafe_code, reason = "rustix has no prctl for it")]
    let result =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
