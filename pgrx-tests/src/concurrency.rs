//! Racing on purpose, and waiting without guessing how long.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use uuid::Uuid;

/// Runs `act` in `n` threads that one barrier lets go at the same moment; the answers come in order of the index.
pub fn storm<T: Send>(n: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    storm_with(n, |_| (), |index, ()| act(index))
}

/// As `storm`, with something that each thread makes ready before the barrier: mostly its connection, so that the
/// race is about the statement and not about connecting.
pub fn storm_with<P, T: Send>(
    n: usize,
    prepare: impl Fn(usize) -> P + Sync,
    act: impl Fn(usize, P) -> T + Sync,
) -> Vec<T> {
    let barrier = Barrier::new(n);
    let (barrier, prepare, act) = (&barrier, &prepare, &act);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n)
            .map(|index| {
                scope.spawn(move || {
                    // A thread that fails to prepare must still reach the barrier, or the others wait for ever.
                    let prepared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| prepare(index)));
                    barrier.wait();
                    prepared.map(|prepared| act(index, prepared))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread.join().and_then(|answer| answer).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

/// Polls until the condition holds. The limit is there so that what never comes is named, and is longer than anything may take on
/// a busy machine.
#[track_caller]
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_at_most(Duration::from_secs(120), what, condition);
}

/// As `wait_until`, and panics at this limit.
#[track_caller]
pub fn wait_at_most(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A string that stands nowhere else in the world, to be searched for where a secret must not be.
pub fn canary() -> String {
    format!("canary{}", Uuid::new_v4().simple())
}
