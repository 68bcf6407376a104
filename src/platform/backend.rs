//! Facts about this backend: the clock, the transaction, who is connected; and the operating system's randomness.

use pgrx::prelude::*;
use ring::rand::{SecureRandom, SystemRandom};

use super::error::{Error, Result};
use super::settings;

/// Seconds between 1970-01-01 and 2000-01-01, where Postgres counts from.
const POSTGRES_EPOCH_SECONDS: i64 = 946_684_800;

/// The operating system's generator. A thread generator that was touched in the postmaster would give every backend the
/// same bytes after the fork.
pub fn random_source() -> SystemRandom {
    SystemRandom::new()
}

pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    random_source()
        .fill(&mut bytes)
        .map_err(|_| Error::Internal("no random bytes from the operating system".into()))?;
    Ok(bytes)
}

/// Seconds since 1970 now, also inside an open transaction (never `now()`, which a client can hold still).
pub fn clock_seconds() -> i64 {
    unix_seconds(clock())
}

/// Microseconds since 2000-01-01, as Postgres counts.
pub fn clock() -> i64 {
    // SAFETY: reads the clock; cannot raise.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// The time at which the client's current statement began; the same in parallel workers.
pub fn statement_time() -> i64 {
    // SAFETY: reads a static of the backend; cannot raise.
    unsafe { pg_sys::GetCurrentStatementStartTimestamp() }
}

pub fn unix_seconds(postgres_time: i64) -> i64 {
    postgres_time.div_euclid(1_000_000) + POSTGRES_EPOCH_SECONDS
}

/// As text that any session's DateStyle reads back to the same microsecond.
pub fn iso8601(postgres_time: i64) -> String {
    TimestampWithTimeZone::try_from(postgres_time).map(|time| time.to_iso_string()).unwrap_or_default()
}

pub fn uuid_v4() -> Result<uuid::Uuid> {
    Ok(uuid::Builder::from_random_bytes(random()?).into_uuid())
}

/// A UUID that sorts by time (RFC 9562 section 5.7).
pub fn uuid_v7() -> Result<uuid::Uuid> {
    let milliseconds = (clock() / 1000 + POSTGRES_EPOCH_SECONDS * 1000) as u64;
    Ok(uuid::Builder::from_unix_timestamp_millis(milliseconds, &random()?).into_uuid())
}

pub fn to_pg(id: uuid::Uuid) -> pgrx::Uuid {
    pgrx::Uuid::from_bytes(id.into_bytes())
}

pub fn from_pg(id: pgrx::Uuid) -> uuid::Uuid {
    uuid::Uuid::from_bytes(*id.as_bytes())
}

pub fn database() -> pg_sys::Oid {
    // SAFETY: a static that is set once for the backend.
    unsafe { pg_sys::MyDatabaseId }
}

/// Whether this is a background worker, and no client's backend.
pub fn is_worker() -> bool {
    // SAFETY: reads a pointer of the process.
    unsafe { !pg_sys::MyBgworkerEntry.is_null() }
}

/// Before any work of a function that writes: on a standby and in a read-only transaction it fails before it has hashed.
pub fn must_write() -> Result<()> {
    // SAFETY: both read statics of the backend.
    if unsafe { pg_sys::RecoveryInProgress() || pg_sys::XactReadOnly } {
        return Err(Error::ReadOnlyReplica);
    }
    keep_commit_durable();
    Ok(())
}

/// A client's synchronous_commit = off would lose an acknowledged sign-up at kill -9. A SET clause of the function ends before
/// the commit, so it is set for the transaction, here; and again when it commits, because the client may set it back.
fn keep_commit_durable() {
    thread_local! {
        static WANTED_BY: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
        static IS_FOLLOWED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    #[pg_guard]
    unsafe extern "C-unwind" fn on_transaction(event: pg_sys::XactEvent::Type, _argument: *mut std::ffi::c_void) {
        if event == pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT && WANTED_BY.get() == transaction() {
            set_if_off();
        }
    }
    fn set_if_off() {
        // SAFETY: reads an int of the backend.
        if unsafe { pg_sys::synchronous_commit } == pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as i32 {
            set_local(c"synchronous_commit", c"on");
        }
    }
    set_if_off();
    WANTED_BY.set(transaction());
    if !IS_FOLLOWED.replace(true) {
        // SAFETY: the callback keeps to what one may do before a commit, where an ERROR still aborts.
        unsafe { pg_sys::RegisterXactCallback(Some(on_transaction), std::ptr::null_mut()) };
    }
}

/// Whether every statement of this transaction sees what its first one saw (REPEATABLE READ and SERIALIZABLE).
pub fn snapshot_is_fixed() -> bool {
    // SAFETY: reads an int of the backend.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Local id of the current transaction; never the same for two transactions of a backend in a row.
#[inline]
pub fn transaction() -> u32 {
    // SAFETY: MyProc is set in every backend that runs SQL.
    unsafe { transaction_of(pg_sys::MyProc) }
}

/// That of another process.
///
/// # Safety
/// The process is a live entry of shared memory.
pub unsafe fn transaction_of(process: *mut pg_sys::PGPROC) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
        return (*process).lxid;
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        return (*process).vxid.lxid;
    }
}

/// Where the connection comes from; none over a unix socket.
pub fn peer_address() -> Option<std::net::IpAddr> {
    thread_local! {
        static PEER: std::cell::OnceCell<Option<std::net::IpAddr>> = const { std::cell::OnceCell::new() };
    }
    PEER.with(|peer| {
        *peer.get_or_init(|| {
            // SAFETY: the function takes no arguments and answers null without a connection over TCP.
            let address = unsafe { pgrx::direct_function_call::<pgrx::Inet>(pg_sys::inet_client_addr, &[]) }?;
            address.0.parse::<std::net::IpAddr>().ok().map(|address| address.to_canonical())
        })
    })
}

/// SET LOCAL, with the privileges of the calling user.
pub fn set_local(name: &std::ffi::CStr, value: &std::ffi::CStr) {
    set(name, value, pg_sys::GucAction::GUC_ACTION_LOCAL);
}

pub fn set(name: &std::ffi::CStr, value: &std::ffi::CStr, action: pg_sys::GucAction::Type) {
    // SAFETY: both are C strings; an ERROR unwinds through pgrx's guard.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            if pg_sys::superuser() { pg_sys::GucContext::PGC_SUSET } else { pg_sys::GucContext::PGC_USERSET },
            pg_sys::GucSource::PGC_S_SESSION,
            action,
            true,
            0,
            false,
        );
    }
}

/// Works with names and operators of pg_catalog only, whatever path the caller has set.
pub fn with_safe_path<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: after an ERROR the abort of the (sub)transaction leaves the level.
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        set(c"search_path", c"pg_catalog, pg_temp", pg_sys::GucAction::GUC_ACTION_SAVE);
        let result = work();
        pg_sys::AtEOXact_GUC(true, level);
        result
    }
}

/// Name of the login that opened the connection; SET ROLE does not change it.
pub fn session_user() -> String {
    // SAFETY: the id is that of an existing role while the session lives; the name is copied at once.
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::GetSessionUserId(), false);
        std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// Whether the login that opened the connection is a superuser; SET ROLE and definer functions do not change that.
pub fn is_superuser() -> bool {
    // SAFETY: reads the catalog cache; the id is that of an existing role while the session lives.
    unsafe { pg_sys::superuser_arg(pg_sys::GetSessionUserId()) }
}

/// Whether the role that the caller has set, outside of any definer function, has the privileges of another.
pub fn caller_is_member_of(role: &std::ffi::CStr) -> bool {
    // SAFETY: both read the catalog caches; a role that is missing is nobody's.
    unsafe {
        let oid = pg_sys::get_role_oid(role.as_ptr(), true);
        oid != pg_sys::Oid::INVALID && pg_sys::has_privs_of_role(pg_sys::GetOuterUserId(), oid)
    }
}

/// Whether the caller is the sidecar, which asks for others. A superuser is a member of everything, and is not it.
pub fn is_sidecar() -> bool {
    // SAFETY: both read the catalog caches; the id is that of an existing role.
    let is_superuser = unsafe { pg_sys::superuser_arg(pg_sys::GetOuterUserId()) };
    !is_superuser && caller_is_member_of(c"auth_sidecar")
}

/// Whether `request.jwt.claims` of this connection is believed.
pub fn is_trusted_proxy() -> bool {
    let Some(list) = settings::TRUSTED_PROXIES.get() else { return false };
    if list.is_empty() {
        return false;
    }
    let session_user = session_user();
    list.to_string_lossy().split(',').any(|name| name.trim() == session_user)
}
