//! Authentication inside Postgres.
//!
//! The map: floors from the ground up. A module uses only those listed above it; `tests/tidy.rs` checks that.
//! `ARCHITECTURE.md` tells the story.

use pgrx::prelude::*;

pgrx::pg_module_magic!();

// platform
mod platform;

// ledger
mod schema;
mod gate;
mod config;
mod events;
mod keys;
mod hooks;
mod email_rules;
mod users;
mod credential;
mod tokens;
mod outbox;
mod audit;
mod guard;
mod flow;
mod factors;
mod sessions;
mod identity;
mod addresses;
mod presence;
mod mail;

// door
mod door;
mod enrollment;
mod sign_up;

// ways in
mod password;
mod otp;
mod sms;
mod exchange;
mod recovery;
mod anonymous;
mod refresh;
mod mfa;
mod totp;
mod passkey;

// self service and tests
mod account;
mod email_change;
mod profile;
mod admin;
mod invitation;
mod cleanup;
mod doctor;
mod testing;

// last: writes what all of them leave behind
mod worker;

static SHARED: [&dyn platform::shared::AnyArea; 5] =
    [&gate::GATE, &identity::STAMPS, &events::RINGS, &guard::COUNTERS, &guard::STATE];

/// What a second step takes, in the order in which it is tried.
static VERIFIERS: [&factors::Verifier; 4] =
    [&totp::VERIFIER, &sms::factor::VERIFIER, &passkey::factor::VERIFIER, &factors::recovery::VERIFIER];

/// The kinds of factors that asking for one does something about.
static ASKERS: [(&str, factors::Asker); 2] =
    [(factors::PHONE, sms::factor::ask), (factors::WEBAUTHN, passkey::factor::ask)];

/// Postgres calls this when it loads the library: in the postmaster if it is preloaded, and only then is it of use.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    // SAFETY: reads statics that are set before any library is loaded.
    let (is_preload, is_upgrade) =
        unsafe { (pg_sys::process_shared_preload_libraries_in_progress, pg_sys::IsBinaryUpgrade) };
    if !is_preload {
        // pg_upgrade loads libraries that it only looks at.
        if is_upgrade {
            return;
        }
        platform::error::Error::NotPreloaded.raise();
    }
    identity::define_settings();
    factors::register(&VERIFIERS, &ASKERS);
    platform::silence::install();
    schema::install_drop_guard();
    platform::shared::install(&SHARED);
    worker::follow_databases();
    worker::register_launcher();
}
