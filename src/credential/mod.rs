//! The password of an account: what is accepted, how it is hashed, how a new one replaces another.
//!
//! Promises: every function that sets a password asks the same policy; nothing is locked while hashing, so a hash is set
//! only where the one that was verified still is. Threats: a way in that forgets the policy; two changes at once.

mod hashing;
mod person;

use uuid::Uuid;
use zeroize::Zeroizing;

use auth_core::password::{self, Refused, Weakness};

use crate::config::{self, Config};
use crate::platform::backend::to_pg;
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};
use crate::platform::silence;

pub use hashing::{hash, verify};
pub use person::Person;

/// A password that this person may set: normalised, and within the policy.
pub fn acceptable(password: &str, person: &Person, config: &Config) -> Result<Zeroizing<String>> {
    silence::check_literal(password)?;
    let password = password::normalise(password);
    impersonal(&password, person, config)?;
    Ok(password)
}

/// The same again for one that was acceptable before anybody knew whose it is to be.
pub fn impersonal(password: &str, person: &Person, config: &Config) -> Result<()> {
    let policy = &config.password_policy;
    let known = person.known_at(config::site_host(&config.site_url));
    password::check(policy, password, &known).map_err(|refused| match refused {
        Refused::TooLong => Error::PasswordTooLong(format!(
            "at most {} characters and {} bytes",
            policy.max_length,
            password::HARD_CAP_BYTES
        )),
        Refused::Weak(reasons) => {
            let words: Vec<&str> = reasons.iter().map(Weakness::word).collect();
            let asked: Vec<String> = reasons.iter().map(|reason| asked(reason, policy.min_length)).collect();
            Error::WeakPassword(format!("{}: {}", words.join(", "), asked.join(", ")))
        }
    })
}

fn asked(weakness: &Weakness, min_length: u32) -> String {
    match weakness {
        Weakness::Length => format!("at least {min_length} characters"),
        Weakness::Common => "not one of the most common passwords".into(),
        Weakness::UserInfo => "without names, the address or the site's name".into(),
    }
}

/// Sets a new password in place of `old`; whether that was still there. The account need not change it at its next sign-in.
pub fn replace(user_id: Uuid, old: Option<&str>, new: &str) -> Result<bool> {
    static REPLACE: Query = Query::write(
        "with account as (
            update auth.users set encrypted_password = $3
            where id = $1 and encrypted_password is not distinct from $2 and deleted_at is null
            returning id
        )
        insert into auth.password_state (user_id)
        select id from account
        on conflict (user_id) do update set changed_at = excluded.changed_at, must_change = false
        returning 1",
        &[Type::UUIDOID, Type::TEXTOID, Type::TEXTOID],
    );
    Ok(REPLACE.first(&[to_pg(user_id).into(), old.into(), new.into()], |_| Ok(()))?.is_some())
}

/// Sets a new password, whatever was there: for whoever has proved to own the address.
pub fn set(user_id: Uuid, new: &str) -> Result<()> {
    static SET: Query = Query::write(
        "with account as (
            update auth.users set encrypted_password = $2 where id = $1 and deleted_at is null returning id
        )
        insert into auth.password_state (user_id)
        select id from account
        on conflict (user_id) do update set changed_at = excluded.changed_at, must_change = false
        returning 1",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    SET.first(&[to_pg(user_id).into(), new.into()], |_| Ok(()))?.ok_or(Error::UserNotFound)
}

/// Whether the account has to set a new password before its next session.
pub fn must_change(user_id: Uuid) -> Result<bool> {
    static MUST: Query =
        Query::write("select 1 from auth.password_state where user_id = $1 and must_change", &[Type::UUIDOID]);
    Ok(MUST.first(&[to_pg(user_id).into()], |_| Ok(()))?.is_some())
}

/// Says whether the next sign-in has to set a new password.
pub fn demand_change(user_id: Uuid, must_change: bool) -> Result<()> {
    static DEMAND: Query = Query::write(
        "insert into auth.password_state (user_id, must_change) values ($1, $2)
        on conflict (user_id) do update set must_change = excluded.must_change",
        &[Type::UUIDOID, Type::BOOLOID],
    );
    DEMAND.execute(&[to_pg(user_id).into(), must_change.into()]).map(drop)
}

/// Replaces a hash by one of the same password; whether it has: not where somebody has changed it meanwhile.
pub fn rehash(user_id: Uuid, old: &str, new: &str) -> Result<bool> {
    static REHASH: Query = Query::write(
        "update auth.users set encrypted_password = $3 where id = $1 and encrypted_password = $2",
        &[Type::UUIDOID, Type::TEXTOID, Type::TEXTOID],
    );
    Ok(REHASH.execute(&[to_pg(user_id).into(), old.into(), new.into()])? == 1)
}
