//! The allocator of this library: large blocks come from the kernel and go back to it at once.
//!
//! glibc keeps the block of a second hash for the life of the process, 19 MiB or twice that in each idle connection. Huge
//! pages pay for the page faults that giving it back costs: without them a hash would take half as long again.

use std::alloc::{GlobalAlloc, Layout, System};

/// From here on a block is a mapping of its own. Nothing else in a backend is as large but an argument of a caller's.
const LARGE: usize = 1 << 20;
const HUGE_PAGE: usize = 2 << 20;

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn is_large(layout: &Layout) -> bool {
    // A mapping begins at a huge page, which is more than any type asks for.
    layout.size() >= LARGE && layout.align() <= HUGE_PAGE
}

// SAFETY: a block of a given layout is always given back to whom it came from, because the layout alone decides that; a
// mapping is zeroed, of at least the size and aligned to more than was asked; what is missing is null, never a panic.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(&layout) {
            return map(layout.size());
        }
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_large(&layout) {
            return map(layout.size());
        }
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract; a mapping is as long as `map` made it.
        unsafe {
            if is_large(&layout) {
                libc::munmap(place.cast(), whole_pages(layout.size()));
            } else {
                System.dealloc(place, layout);
            }
        }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract, which says that the new size makes a layout.
        unsafe {
            let new = Layout::from_size_align_unchecked(size, layout.align());
            if !is_large(&layout) && !is_large(&new) {
                return System.realloc(place, layout, size);
            }
            let moved = self.alloc(new);
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(place, moved, layout.size().min(size));
                self.dealloc(place, layout);
            }
            moved
        }
    }
}

fn whole_pages(size: usize) -> usize {
    size.next_multiple_of(HUGE_PAGE)
}

/// Zeroed memory that begins and ends at a huge page, or null.
fn map(size: usize) -> *mut u8 {
    let Some(length) = size.checked_next_multiple_of(HUGE_PAGE) else { return std::ptr::null_mut() };
    let Some(longer) = length.checked_add(HUGE_PAGE) else { return std::ptr::null_mut() };
    // SAFETY: a new anonymous mapping; what is cut off at both ends was never handed out.
    unsafe {
        let begin = libc::mmap(
            std::ptr::null_mut(),
            longer,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if begin == libc::MAP_FAILED {
            return std::ptr::null_mut();
        }
        let before = begin.align_offset(HUGE_PAGE);
        let place = begin.cast::<u8>().add(before);
        if before > 0 {
            libc::munmap(begin, before);
        }
        libc::munmap(place.add(length).cast(), HUGE_PAGE - before);
        #[cfg(target_os = "linux")]
        libc::madvise(place.cast(), length, libc::MADV_HUGEPAGE);
        place
    }
}
