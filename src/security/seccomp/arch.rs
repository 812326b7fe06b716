//! The architectures of the spec, as libseccomp names them.

use super::table::{Place, Row};

/// An ABI with system calls of its own, and how seccomp sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Arch {
    /// The name in `config.json`.
    pub name: &'static str,
    /// `AUDIT_ARCH_*` of linux/audit.h: what `seccomp_data.arch` holds.
    pub token: u32,
    /// Number of the first system call.
    pub base: u32,
    /// Column of the table of names.
    pub(super) abi: usize,
    /// Arguments are compared in 64 bits, else in their lower 32.
    pub(super) wide: bool,
    /// The numbers of socketcall(2) and ipc(2) where the ABI has them.
    pub(super) mux: Option<(u32, u32)>,
}

/// ARM's private calls start here (arch/arm/include/uapi/asm/unistd.h).
pub(super) const ARM_PRIVATE: u32 = 0x000f_0000;
/// `__X32_SYSCALL_BIT` of arch/x86/include/uapi/asm/unistd.h.
pub(super) const X32_BIT: u32 = 0x4000_0000;
/// `__AUDIT_ARCH_LE` of linux/audit.h.
const LITTLE_ENDIAN: u32 = 0x4000_0000;
pub(super) const X86_64: u32 = 0xc000_003e;

const fn arch(name: &'static str, token: u32, abi: usize) -> Arch {
    Arch { name, token, base: 0, abi, wide: false, mux: None }
}
const fn wide(arch: Arch) -> Arch {
    Arch { wide: true, ..arch }
}
const fn base(base: u32, arch: Arch) -> Arch {
    Arch { base, ..arch }
}
const fn muxed(arch: Arch) -> Arch {
    Arch { mux: Some((arch.base + 102, arch.base + 117)), ..arch }
}

/// All 23 (config-linux.md, "Seccomp", `architectures`).
pub static ARCHS: [Arch; 23] = [
    muxed(arch("SCMP_ARCH_X86", 0x4000_0003, 0)),
    wide(arch("SCMP_ARCH_X86_64", X86_64, 1)),
    base(X32_BIT, arch("SCMP_ARCH_X32", X86_64, 2)),
    arch("SCMP_ARCH_ARM", 0x4000_0028, 3),
    wide(arch("SCMP_ARCH_AARCH64", 0xc000_00b7, 4)),
    muxed(base(4000, arch("SCMP_ARCH_MIPS", 0x0000_0008, 7))),
    wide(base(5000, arch("SCMP_ARCH_MIPS64", 0x8000_0008, 8))),
    base(6000, arch("SCMP_ARCH_MIPS64N32", 0xa000_0008, 9)),
    muxed(base(4000, arch("SCMP_ARCH_MIPSEL", 0x4000_0008, 7))),
    wide(base(5000, arch("SCMP_ARCH_MIPSEL64", 0xc000_0008, 8))),
    base(6000, arch("SCMP_ARCH_MIPSEL64N32", 0xe000_0008, 9)),
    muxed(arch("SCMP_ARCH_PPC", 0x0000_0014, 12)),
    muxed(wide(arch("SCMP_ARCH_PPC64", 0x8000_0015, 13))),
    muxed(wide(arch("SCMP_ARCH_PPC64LE", 0xc000_0015, 13))),
    muxed(arch("SCMP_ARCH_S390", 0x0000_0016, 15)),
    muxed(wide(arch("SCMP_ARCH_S390X", 0x8000_0016, 16))),
    arch("SCMP_ARCH_PARISC", 0x0000_000f, 10),
    wide(arch("SCMP_ARCH_PARISC64", 0x8000_000f, 11)),
    wide(arch("SCMP_ARCH_RISCV64", 0xc000_00f3, 14)),
    wide(arch("SCMP_ARCH_LOONGARCH64", 0xc000_0102, 5)),
    muxed(arch("SCMP_ARCH_M68K", 0x0000_0004, 6)),
    muxed(arch("SCMP_ARCH_SH", 0x4000_002a, 17)),
    muxed(arch("SCMP_ARCH_SHEB", 0x0000_002a, 17)),
];

impl Arch {
    /// By its name in `config.json`.
    pub fn find(name: &str) -> Option<&'static Self> {
        ARCHS.iter().find(|arch| arch.name == name)
    }

    /// The one that this program is built for.
    pub fn native() -> &'static Self {
        // In the order of ARCHS.
        let little = cfg!(target_endian = "little");
        let at = match std::env::consts::ARCH {
            "x86" => 0,
            "x86_64" if cfg!(target_pointer_width = "32") => 2,
            "arm" => 3,
            "aarch64" => 4,
            "mips" => 5 + 3 * usize::from(little),
            "mips64" => 6 + 3 * usize::from(little),
            "powerpc" => 11,
            "powerpc64" => 12 + usize::from(little),
            "s390x" => 15,
            "riscv64" => 18,
            "loongarch64" => 19,
            "m68k" => 20,
            _ => 1,
        };
        &ARCHS[at]
    }

    /// The number of a system call, if the ABI has it.
    pub fn number(&self, call: &str) -> Option<u32> {
        Row::find(call)?.place(self.abi).map(|place| self.at(place))
    }

    pub(super) fn at(&self, place: Place) -> u32 {
        match place {
            Place::Common(number) => self.base + u32::from(number),
            Place::Private(number) => ARM_PRIVATE + u32::from(number),
        }
    }

    pub(super) fn is_s390(&self) -> bool {
        matches!(self.name, "SCMP_ARCH_S390" | "SCMP_ARCH_S390X")
    }
}

/// Whether words of `seccomp_data` lie low half first on the `AUDIT_ARCH_*`.
pub(super) fn is_little_endian(token: u32) -> bool {
    token & LITTLE_ENDIAN != 0
}

/// Every system call known by name, on whatever architecture.
pub fn calls() -> impl Iterator<Item = &'static str> {
    Row::all().map(Row::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_kernel() {
        for (arch, call, number) in [
            ("SCMP_ARCH_X86_64", "write", 1),
            ("SCMP_ARCH_X86", "write", 4),
            ("SCMP_ARCH_X32", "rt_sigaction", X32_BIT + 512),
            ("SCMP_ARCH_MIPS", "syscall", 4000),
            ("SCMP_ARCH_MIPSEL64N32", "sysmips", 6199),
            ("SCMP_ARCH_ARM", "set_tls", 0xf_0005),
            ("SCMP_ARCH_LOONGARCH64", "clone3", 435),
        ] {
            assert_eq!(Arch::find(arch).unwrap().number(call), Some(number), "{arch} {call}");
        }
        assert_eq!(Arch::native().number("no_such_call"), None);
        let write = i64::from(Arch::native().number("write").unwrap());
        assert_eq!(write, libc::SYS_write);
    }
}
