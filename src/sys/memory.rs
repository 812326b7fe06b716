//! memcpy(3) of the static programs for x86-64: `hack/build` lets the linker take it (`--wrap=memcpy`)
//! in place of the C library's.
//!
//! musl copies by `rep movs` whatever the length is. The processor needs longer to begin with
//! that than most copies take: half of the time of a layer of zstd. Here the lengths up to
//! 128 bytes are copied by vectors from both ends, which may overlap. There is no loop: the
//! compiler would make a call of memcpy(3) of it.

#![cfg(target_arch = "x86_64")]

use core::arch::asm;
use core::arch::x86_64::__m128i;

/// memcpy(3): copies `count` bytes, returns `to`.
///
/// # Safety
/// So many bytes can be read at `from` and written at `to`, and these do not overlap.
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "the caller's promise is for all")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller's promise is for `count` bytes, and each branch stays within its lengths.
    unsafe {
        match count {
            0 => {}
            1 => to.write(from.read()),
            2..4 => ends::<u16>(to, from, count),
            4..8 => ends::<u32>(to, from, count),
            8..16 => ends::<u64>(to, from, count),
            16..=32 => ends::<__m128i>(to, from, count),
            33..=64 => ends::<[__m128i; 2]>(to, from, count),
            65..=128 => ends::<[__m128i; 4]>(to, from, count),
            _ => asm!(
                "rep movsb",
                inout("rcx") count => _, inout("rsi") from => _, inout("rdi") to => _,
                options(nostack, preserves_flags)
            ),
        }
    }
    to
}

/// Copies the first and the last `T`. Both are read before one is written: they may overlap.
///
/// # Safety
/// As above; `count` is from one to two sizes of `T`.
#[inline(always)]
unsafe fn ends<T>(to: *mut u8, from: *const u8, count: usize) {
    let back = count - size_of::<T>();
    // SAFETY: it begins within the `count` bytes, or at their start.
    let last = unsafe { from.add(back) };
    // SAFETY: the first `T` of at least one.
    let head = unsafe { from.cast::<T>().read_unaligned() };
    // SAFETY: it ends where the `count` bytes end.
    let tail = unsafe { last.cast::<T>().read_unaligned() };
    // SAFETY: as `from`, which has as many bytes.
    let last = unsafe { to.add(back) };
    // SAFETY: as above.
    unsafe { to.cast::<T>().write_unaligned(head) };
    // SAFETY: as above.
    unsafe { last.cast::<T>().write_unaligned(tail) };
}

#[cfg(test)]
mod tests {
    use super::__wrap_memcpy;

    #[test]
    fn all_lengths_are_copied_and_nothing_else() {
        let from: Vec<u8> = (0..400).map(|n| (n % 251 + 1) as u8).collect();
        for count in 0..300 {
            for (source, place) in [(0, 0), (1, 3), (7, 16), (33, 5)] {
                let mut to = vec![0; 400];
                // SAFETY: both are of 400 bytes, 33 + 299 at most are used, and they are two.
                unsafe { __wrap_memcpy(to[place..].as_mut_ptr(), from[source..].as_ptr(), count) };
                let mut wanted = vec![0; 400];
                wanted[place..place + count].copy_from_slice(&from[source..source + count]);
                assert_eq!(to, wanted, "{count} bytes from {source} to {place}");
            }
        }
    }
}
