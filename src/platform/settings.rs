//! Server settings (GUCs), all but `auth.token`, which `identity` owns. None of them is ever stored in the database.

use std::ffi::CString;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

/// Path of the keyring file.
pub static ROOT_KEY_FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
/// Logins whose `request.jwt.claims` is believed, separated by commas.
pub static TRUSTED_PROXIES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));
pub static SESSION_IDENTITY: GucSetting<bool> = GucSetting::<bool>::new(false);
pub static ALLOW_DROP: GucSetting<bool> = GucSetting::<bool>::new(false);

/// Counters of the guard, for the whole server.
pub static GUARD_SLOTS: GucSetting<i32> = GucSetting::<i32>::new(65_536);
/// Whether clients connect directly, so that a connection's address is its client's.
pub static DIRECT_CLIENTS: GucSetting<bool> = GucSetting::<bool>::new(false);

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
}
