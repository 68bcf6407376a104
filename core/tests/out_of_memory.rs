//! An allocation that fails inside PostgreSQL must be an error: an abort of one backend restarts the whole cluster.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use auth_core::hash::{Cost, HashError, hash_password, verify_password};

/// The system's allocator, with a limit on one allocation.
struct Limited;

static LIMIT_BYTES: AtomicUsize = AtomicUsize::new(usize::MAX);

// SAFETY: every call goes to `System` unchanged or answers null, which the trait allows.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LIMIT_BYTES.load(Ordering::SeqCst) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;

#[test]
fn missing_memory_is_an_error() {
    let cost = Cost { memory_kib: 8192, iterations: 1, parallelism: 1 };
    let stored = hash_password(b"password", cost, &[7; 16]).expect("memory is there");
    LIMIT_BYTES.store(1 << 20, Ordering::SeqCst);
    let hashed = hash_password(b"password", cost, &[7; 16]);
    let verified = verify_password(b"password", &stored);
    LIMIT_BYTES.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(hashed, Err(HashError::OutOfMemory));
    assert_eq!(verified, Err(HashError::OutOfMemory));
    assert_eq!(verify_password(b"password", &stored), Ok(true));
}
