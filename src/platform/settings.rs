//! Server settings (GUCs), all but `auth.token`, which `identity` owns. None of them is ever stored in the database.

use std::ffi::CString;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

/// Path of the keyring file.
pub static ROOT_KEY_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
/// Logins whose `request.jwt.claims` is believed, separated by commas.
pub static TRUSTED_PROXIES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
pub static SESSION_IDENTITY: GucSetting<bool> = GucSetting::<bool>::new(false);
pub static ALLOW_DROP: GucSetting<bool> = GucSetting::<bool>::new(false);
/// 0 is the number of processors.
pub static MAX_CONCURRENT_HASHES: GucSetting<i32> = GucSetting::<i32>::new(0);
/// Milliseconds.
pub static HASH_QUEUE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);

pub fn define() {
    GucRegistry::define_string_guc(
        c"auth.root_key_file",
        c"File that holds the root keys of extension auth.",
        c"Readable by the server's user only, outside the data directory, the same on standbys. First key is current.",
        &ROOT_KEY_FILE,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_string_guc(
        c"auth.trusted_proxies",
        c"Logins whose request.jwt.claims is believed without a signature.",
        c"Comma-separated; empty by default. Whoever may log in as one of them can be anybody.",
        &TRUSTED_PROXIES,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_bool_guc(
        c"auth.session_identity",
        c"Whether auth.authenticate_session is allowed.",
        c"Never behind a pooler in transaction mode: the next client would inherit the identity.",
        &SESSION_IDENTITY,
        GucContext::Suset,
        GucFlags::empty(),
    );
    GucRegistry::define_bool_guc(
        c"auth.allow_drop",
        c"Whether extension auth, with every user in it, may be dropped.",
        c"",
        &ALLOW_DROP,
        GucContext::Suset,
        GucFlags::empty(),
    );
    GucRegistry::define_int_guc(
        c"auth.max_concurrent_hashes",
        c"How many passwords may be hashed at the same time on this server.",
        c"0 is the number of processors. Each hash takes a processor and argon2_memory_kib of memory.",
        &MAX_CONCURRENT_HASHES,
        0,
        1024,
        GucContext::Sighup,
        GucFlags::empty(),
    );
    GucRegistry::define_int_guc(
        c"auth.hash_queue_timeout",
        c"How long a password waits to be hashed before it is refused.",
        c"0 refuses at once where no place is free.",
        &HASH_QUEUE_TIMEOUT,
        0,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
}
