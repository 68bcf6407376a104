//! Doctor: what an operator got wrong around us, looked up in the catalogs: policies that believe what users set themselves,
//! tables without policies, logins and settings that let somebody pass by.
//!
//! It only reads, and names what to do; `docs/doctor.md` lists what it finds. All but four looks are SQL.

use pgrx::extension_sql_file;
use pgrx::prelude::*;

use crate::events::RINGS;
use crate::keys;
use crate::platform::error::Answer;
use crate::platform::{backend, settings};

extension_sql_file!("doctor.sql", name = "doctor", requires = ["cleanup"]);

/// The setting is hidden from all but superusers, so only this much of it is told.
#[pg_extern(sql = false, stable)]
fn trusts_proxies() -> bool {
    settings::TRUSTED_PROXIES
        .get()
        .is_some_and(|list| list.to_bytes().split(|byte| *byte == b',').any(|login| !login.trim_ascii().is_empty()))
}

/// What is wrong with the keyring file, and what to do; null where it is as it should be.
#[pg_extern(sql = false, stable)]
fn keyring_fault() -> Option<String> {
    keys::fault().map(|error| error.words())
}

/// As `auth.guard_status()` tells it, but without reading the counters back into memory and without a transaction id.
#[pg_extern(sql = false, stable)]
fn dropped_events() -> Answer<i64> {
    let rings = RINGS.require()?;
    let [_, dropped, _] = rings.find(backend::database()).map_or([0; 3], |place| rings.ring(place).counts());
    Ok(dropped as i64)
}
