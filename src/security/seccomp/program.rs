//! What a program answers, without a kernel.

use super::arch::is_little_endian;
use super::bpf::{ARCH, ARGS, NR, op};
use super::resolve::{ACTION_MASK, KILL_THREAD, USER_NOTIF};
use crate::sys::seccomp::Instruction;

/// A filter ready for [`crate::sys::seccomp::load`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The code.
    pub instructions: Vec<Instruction>,
}

impl Program {
    /// The `SECCOMP_RET_*` for a call. `arch` is its `AUDIT_ARCH_*`. Code that
    /// the kernel would refuse kills.
    pub fn verdict(&self, nr: u32, arch: u32, args: [u64; 6]) -> u32 {
        self.run(|offset| load(nr, arch, args, offset)).unwrap_or(KILL_THREAD)
    }

    /// Whether any call may ask the listener.
    pub fn notifies(&self) -> bool {
        let asks = |instruction: &Instruction| {
            instruction.code == op::RETURN && instruction.k & ACTION_MASK == USER_NOTIF
        };
        self.instructions.iter().any(asks)
    }

    /// The answer if it is the same for all arguments of the call.
    pub fn certain(&self, nr: u32, arch: u32) -> Option<u32> {
        self.run(|offset| if offset < ARGS { load(nr, arch, [0; 6], offset) } else { None })
    }

    /// Runs until the program returns, a load fails, or the code is not a filter's.
    fn run(&self, load: impl Fn(u32) -> Option<u32>) -> Option<u32> {
        let mut accumulator = 0_u32;
        let mut rest = self.instructions.as_slice();
        while let [Instruction { code, jt, jf, k }, next @ ..] = rest {
            let (k, mut skip) = (*k, 0);
            let mut branch = |holds| skip = usize::from(if holds { *jt } else { *jf });
            match *code {
                op::RETURN => return Some(k),
                op::LOAD => accumulator = load(k)?,
                op::AND => accumulator &= k,
                op::JUMP => skip = usize::try_from(k).ok()?,
                op::EQUAL => branch(accumulator == k),
                op::GREATER => branch(accumulator > k),
                op::AT_LEAST => branch(accumulator >= k),
                op::ANY_BIT => branch(accumulator & k != 0),
                _ => return None,
            }
            rest = next.get(skip..)?;
        }
        None
    }
}

/// A word of `struct seccomp_data`; the instruction pointer is 0.
fn load(nr: u32, arch: u32, args: [u64; 6], offset: u32) -> Option<u32> {
    match offset {
        NR => return Some(nr),
        ARCH => return Some(arch),
        _ if !offset.is_multiple_of(4) => return None,
        _ if offset < ARGS => return Some(0),
        _ => {}
    }
    let word = offset - ARGS;
    let arg = args.get(usize::try_from(word / 8).ok()?)?;
    let upper = (word % 8 == 4) == is_little_endian(arch);
    u32::try_from(if upper { arg >> 32 } else { arg & u64::from(u32::MAX) }).ok()
}
