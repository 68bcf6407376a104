//! Server settings (GUCs), all but `auth.token`, which `identity` owns. None of them is ever stored in the database.

use std::ffi::CString;

use pgrx::PostgresGucEnum;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

/// What becomes of a password that is written into the statement.
#[derive(Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum LiteralPasswords {
    #[name = c"allow"]
    Allow,
    #[name = c"warn"]
    Warn,
    #[name = c"reject"]
    Reject,
}

/// What `log` writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, PostgresGucEnum)]
pub enum LogLevel {
    #[name = c"off"]
    Off,
    #[name = c"info"]
    Info,
    #[name = c"debug"]
    Debug,
}

/// Path of the keyring file.
pub static ROOT_KEY_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
/// Logins whose `request.jwt.claims` is believed, separated by commas.
pub static TRUSTED_PROXIES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
pub static SESSION_IDENTITY: GucSetting<bool> = GucSetting::<bool>::new(false);
pub static ALLOW_DROP: GucSetting<bool> = GucSetting::<bool>::new(false);
/// Names of the app's own functions that take a secret, separated by commas.
pub static SECRET_FUNCTIONS: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
pub static LITERAL_PASSWORDS: GucSetting<LiteralPasswords> =
    GucSetting::<LiteralPasswords>::new(LiteralPasswords::Allow);
pub static LOG_LEVEL: GucSetting<LogLevel> = GucSetting::<LogLevel>::new(LogLevel::Off);

/// Counters of the guard, for the whole server.
pub static GUARD_SLOTS: GucSetting<i32> = GucSetting::<i32>::new(65_536);
/// Whether clients connect directly, so that a connection's address is its client's.
pub static DIRECT_CLIENTS: GucSetting<bool> = GucSetting::<bool>::new(false);
/// 0 is the number of processors.
pub static MAX_CONCURRENT_HASHES: GucSetting<i32> = GucSetting::<i32>::new(0);
/// Milliseconds.
pub static HASH_QUEUE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);

pub fn define() {
    GucRegistry::define_int_guc(
        c"auth.guard_slots",
        c"How many counters of attempts the server keeps in shared memory.",
        c"64 bytes each, for all databases together; at least twice as many as subjects that are tried at a time.",
        &GUARD_SLOTS,
        1_024,
        16_777_216,
        GucContext::Postmaster,
        GucFlags::empty(),
    );
    GucRegistry::define_bool_guc(
        c"auth.direct_clients",
        c"Whether the address of a connection is that of the client, for limits by network.",
        c"Off behind a pooler or an application server, where everybody would share one address.",
        &DIRECT_CLIENTS,
        GucContext::Sighup,
        GucFlags::empty(),
    );
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
    GucRegistry::define_string_guc(
        c"auth.secret_functions",
        c"The app's own functions that take a password or a token.",
        c"Comma-separated; statements that call one are kept out of the log as those of extension auth are.",
        &SECRET_FUNCTIONS,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_enum_guc(
        c"auth.literal_passwords",
        c"What becomes of a password that is written into the statement instead of bound as a parameter.",
        c"",
        &LITERAL_PASSWORDS,
        GucContext::Suset,
        GucFlags::empty(),
    );
    GucRegistry::define_enum_guc(
        c"auth.log_level",
        c"What extension auth writes into the server's log about its own decisions.",
        c"Never a password, a token or a key.",
        &LOG_LEVEL,
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
