//! The program's allocator: memory is cut from one end of a block, and freed
//! pieces wait in lists of their size for the next one. A process that lives
//! three milliseconds asks for little and soon ends; musl's malloc asks the
//! kernel several times and clears its own tables first.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first block is part of the program's image: untouched pages cost nothing.
const FIRST: usize = 256 * 1024;
/// Later blocks come from mmap(2).
const BLOCK: usize = 1024 * 1024;
/// Sizes are powers of two, from 16 bytes on.
const SMALLEST: u32 = 4;
/// Larger pieces, 128 KiB and more, have a mapping of their own.
const CLASSES: usize = 13;
/// What every piece can be aligned to.
const ALIGN: usize = 64;

/// For `#[global_allocator]`.
#[derive(Debug)]
pub struct Bump {
    /// The program has one thread, but the compiler cannot know: whoever finds
    /// this set waits. It is never set across a fork, as nobody forks in here.
    busy: AtomicBool,
    state: UnsafeCell<State>,
    first: UnsafeCell<Block>,
}

#[derive(Debug)]
struct State {
    /// Where the next piece is cut, and how much is left there.
    next: *mut u8,
    left: usize,
    started: bool,
    /// Freed pieces, linked through their first word.
    free: [*mut Free; CLASSES],
}

#[derive(Debug)]
struct Free {
    next: *mut Free,
}

#[repr(C, align(64))]
#[derive(Debug)]
struct Block([u8; FIRST]);

// SAFETY: `state` and `first` are only touched by the one who has set `busy`.
unsafe impl Sync for Bump {}

impl Bump {
    /// An allocator that has given out nothing.
    #[allow(clippy::new_without_default, reason = "only ever a constant")]
    pub const fn new() -> Self {
        Self {
            busy: AtomicBool::new(false),
            state: UnsafeCell::new(State {
                next: null_mut(),
                left: 0,
                started: false,
                free: [null_mut(); CLASSES],
            }),
            first: UnsafeCell::new(Block([0; FIRST])),
        }
    }

    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        while self.busy.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: `busy` was ours to set, so no other reference is alive.
        let state = unsafe { &mut *self.state.get() };
        if !state.started {
            state.started = true;
            state.next = self.first.get().cast();
            state.left = FIRST;
        }
        let result = work(state);
        self.busy.store(false, Ordering::Release);
        result
    }
}

/// The class of a layout; `None` for one that gets its own mapping.
fn class(layout: Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(1 << SMALLEST);
    let class = (size.next_power_of_two().trailing_zeros() - SMALLEST) as usize;
    (class < CLASSES && layout.align() <= ALIGN).then_some(class)
}

fn size_of_class(class: usize) -> usize {
    1 << (class + SMALLEST as usize)
}

impl State {
    fn take(&mut self, class: usize) -> *mut u8 {
        if let Some(free) = NonNull::new(self.free[class]) {
            // SAFETY: pieces in the list were given back by their owner, are
            // aligned, and begin with a valid `Free`.
            self.free[class] = unsafe { free.as_ref() }.next;
            return free.as_ptr().cast();
        }
        let size = size_of_class(class);
        // Only as far as its own size asks for: small pieces stay together.
        let skip = self.next.align_offset(size.min(ALIGN));
        if skip + size > self.left {
            let block = map(BLOCK);
            if block.is_null() {
                return block;
            }
            self.next = block;
            self.left = BLOCK;
            return self.take(class);
        }
        // SAFETY: `skip + size` bytes are left in the block.
        let piece = unsafe { self.next.add(skip) };
        // SAFETY: as above.
        self.next = unsafe { piece.add(size) };
        self.left -= skip + size;
        piece
    }

    fn give_back(&mut self, piece: *mut u8, class: usize) {
        let free = piece.cast::<Free>();
        // SAFETY: the piece is at least 16 bytes, aligned to them, and its owner
        // has given it up.
        unsafe { free.write(Free { next: self.free[class] }) };
        self.free[class] = free;
    }

    /// The piece that was cut last can grow where it is.
    fn grow_last(&mut self, piece: *mut u8, old: usize, new: usize) -> bool {
        let more = size_of_class(new) - size_of_class(old);
        let last = piece.wrapping_add(size_of_class(old)) == self.next;
        let aligned = piece.align_offset(size_of_class(new).min(ALIGN)) == 0;
        if !last || !aligned || more > self.left {
            return false;
        }
        // SAFETY: `more` bytes are left in the block.
        self.next = unsafe { self.next.add(more) };
        self.left -= more;
        true
    }
}

/// New pages, or null.
fn map(size: usize) -> *mut u8 {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new private mapping at a place of the kernel's choice.
    let pages = unsafe { libc::mmap(null_mut(), size, access, flags, -1, 0) };
    if pages == libc::MAP_FAILED { null_mut() } else { pages.cast() }
}

// SAFETY: a piece is given to one owner at a time (the lists hold only what was
// given back), is as large and as aligned as its layout says, and stays valid
// until it is given back. Nothing in here unwinds or allocates.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class(layout) {
            Some(class) => self.locked(|state| state.take(class)),
            // Pages are aligned to more than anyone here asks for.
            None if layout.align() > 4096 => null_mut(),
            None => map(layout.size()),
        }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        match class(layout) {
            Some(class) => self.locked(|state| state.give_back(piece, class)),
            None => {
                // SAFETY: this layout has had a mapping of its own, of that size.
                unsafe { libc::munmap(piece.cast(), layout.size()) };
            }
        }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees a size that makes a valid layout.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if let (Some(old), Some(new)) = (class(layout), class(wanted)) {
            let stays =
                old == new || (new > old && self.locked(|state| state.grow_last(piece, old, new)));
            if stays {
                return piece;
            }
        }
        // SAFETY: the new layout is not empty, as the caller guarantees.
        let new = unsafe { self.alloc(wanted) };
        if !new.is_null() {
            // SAFETY: both hold so much, and they are different pieces.
            unsafe { new.copy_from_nonoverlapping(piece, layout.size().min(size)) };
            // SAFETY: the piece came from here with this layout.
            unsafe { self.dealloc(piece, layout) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static TESTED: Bump = Bump::new();

    #[test]
    fn pieces_do_not_overlap_and_come_back() {
        let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut seed = 1_u32;
        for round in 0..20_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let size = 1 << (seed >> 8 & 15) | (seed >> 16 & 7) as usize;
            let layout = Layout::from_size_align(size, 1 << (seed & 7)).unwrap();
            let mark = round as u8;
            // SAFETY: no layout is empty.
            let piece = unsafe { TESTED.alloc(layout) };
            assert!(!piece.is_null() && piece.align_offset(layout.align()) == 0, "{layout:?}");
            // SAFETY: as large as asked for.
            unsafe { piece.write_bytes(mark, size) };
            held.push((piece, layout, mark));
            if held.len() > 50 || seed & 1 == 0 {
                let (piece, layout, mark) = held.swap_remove((seed >> 4) as usize % held.len());
                // SAFETY: it holds so many bytes, all written.
                let bytes = unsafe { std::slice::from_raw_parts(piece, layout.size()) };
                assert!(bytes.iter().all(|byte| *byte == mark), "{layout:?}");
                let size = layout.size() * 2 + 1;
                // SAFETY: it came from there with this layout.
                let piece = unsafe { TESTED.realloc(piece, layout, size) };
                // SAFETY: as much as before has been kept.
                let bytes = unsafe { std::slice::from_raw_parts(piece, layout.size()) };
                assert!(bytes.iter().all(|byte| *byte == mark), "{layout:?}");
                let layout = Layout::from_size_align(size, layout.align()).unwrap();
                // SAFETY: it came from there with this layout.
                unsafe { TESTED.dealloc(piece, layout) };
            }
        }
    }
}
