//! Shared memory: areas that are valid when zeroed, requested by whoever needs one and mapped before the first fork.

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pgrx::prelude::*;

use super::error::{Error, Result};

/// What lives in shared memory. Zero bytes must be a valid value: the area starts as such.
///
/// # Safety
/// Only atomics and plain bytes guarded by a lock; no pointer into one process, no `Drop`.
pub unsafe trait Zeroed: 'static {
    /// What zero bytes do not say, once for the server: a condition variable's lock, a latch.
    fn start(&'static self) {}
}

pub struct Area<T: Zeroed> {
    name: &'static CStr,
    place: AtomicPtr<T>,
}

/// As many values as the server's settings say, for which the size is known only when the server starts.
pub struct Array<T: Zeroed> {
    name: &'static CStr,
    length: fn() -> usize,
    place: AtomicPtr<T>,
}

impl<T: Zeroed> Array<T> {
    pub const fn new(name: &'static CStr, length: fn() -> usize) -> Array<T> {
        Array { name, length, place: AtomicPtr::new(std::ptr::null_mut()) }
    }

    pub fn require(&self) -> Result<&'static [T]> {
        let place = self.place.load(Ordering::Relaxed);
        if place.is_null() {
            return Err(Error::NotPreloaded);
        }
        // SAFETY: the mapped array has this many values, which do not change while the server runs, and lives as long as it.
        Ok(unsafe { std::slice::from_raw_parts(place, (self.length)()) })
    }
}

impl<T: Zeroed> AnyArea for Array<T>
where
    Array<T>: Sync,
{
    fn size(&self) -> usize {
        std::mem::size_of::<T>() * (self.length)()
    }

    fn map(&self) {
        let mut found = false;
        // SAFETY: as for `Area`.
        let place = unsafe { pg_sys::ShmemInitStruct(self.name.as_ptr(), self.size(), &mut found) };
        self.place.store(place.cast::<T>(), Ordering::Relaxed);
    }
}

pub trait AnyArea: Sync {
    fn size(&self) -> usize;
    fn map(&self);
}

impl<T: Zeroed> Area<T> {
    pub const fn new(name: &'static CStr) -> Area<T> {
        Area { name, place: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// None where the library was not preloaded.
    #[inline]
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: the pointer is null or that of the mapped area, which lives as long as the server.
        unsafe { self.place.load(Ordering::Relaxed).as_ref() }
    }

    pub fn require(&self) -> Result<&'static T> {
        self.get().ok_or(Error::NotPreloaded)
    }
}

impl<T: Zeroed> AnyArea for Area<T>
where
    Area<T>: Sync,
{
    fn size(&self) -> usize {
        std::mem::size_of::<T>()
    }

    fn map(&self) {
        let mut found = false;
        // SAFETY: called from the startup hook under AddinShmemInitLock; new shared memory is mapped zero-filled, and a
        // restart after a crash maps it anew.
        unsafe {
            let place = pg_sys::ShmemInitStruct(self.name.as_ptr(), self.size(), &mut found).cast::<T>();
            self.place.store(place, Ordering::Relaxed);
            if !found {
                (*place).start();
            }
        }
    }
}

/// Name of our lock tranche and wait events.
pub const TRANCHE: &CStr = c"auth";

static mut AREAS: &[&dyn AnyArea] = &[];
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;
#[cfg(not(feature = "pg14"))]
static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;

/// From `_PG_init` while the postmaster preloads, once.
pub fn install(areas: &'static [&'static dyn AnyArea]) {
    // SAFETY: the postmaster has one thread; the hooks are chained.
    unsafe {
        AREAS = areas;
        #[cfg(feature = "pg14")]
        request();
        #[cfg(not(feature = "pg14"))]
        {
            PREVIOUS_REQUEST = pg_sys::shmem_request_hook;
            pg_sys::shmem_request_hook = Some(on_request);
        }
        PREVIOUS_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(on_startup);
    }
}

unsafe fn request() {
    // SAFETY: in the request hook (from 15 on) or _PG_init (14), where both calls are allowed.
    unsafe {
        #[allow(static_mut_refs)]
        let size: usize = AREAS.iter().map(|area| area.size() + 64).sum();
        pg_sys::RequestAddinShmemSpace(size);
        pg_sys::RequestNamedLWLockTranche(TRANCHE.as_ptr(), LOCKS);
    }
}

#[cfg(not(feature = "pg14"))]
#[pg_guard]
unsafe extern "C-unwind" fn on_request() {
    // SAFETY: the previous hook is called as Postgres would.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST {
            previous();
        }
        request();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_startup() {
    // SAFETY: the previous hook is called as Postgres would; ShmemInitStruct wants AddinShmemInitLock held.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            previous();
        }
        let lock = addin_shmem_init_lock();
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        #[allow(static_mut_refs)]
        AREAS.iter().for_each(|area| area.map());
        pg_sys::LWLockRelease(lock);
    }
}

unsafe fn addin_shmem_init_lock() -> *mut pg_sys::LWLock {
    // SAFETY: `AddinShmemInitLock` is a macro for the twenty-first lock of the main array, in every version we build for.
    unsafe { &raw mut (*pg_sys::MainLWLockArray.add(21)).lock }
}

/// Our lightweight locks. Each is held for a few instructions, never across anything that can raise, and never two at once.
#[derive(Clone, Copy)]
pub enum Lock {
    Events,
    Guard,
    Gate,
}
const LOCKS: i32 = 3;

pub fn with_lock<T>(lock: Lock, work: impl FnOnce() -> T) -> T {
    // SAFETY: the tranche was requested at start; released on the same path, and by Postgres's own abort otherwise.
    unsafe {
        let lock = &raw mut (*pg_sys::GetNamedLWLockTranche(TRANCHE.as_ptr()).add(lock as usize)).lock;
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        let result = work();
        pg_sys::LWLockRelease(lock);
        result
    }
}
