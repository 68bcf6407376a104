//! Addresses: what becomes of an account when somebody proves to own its address, and when the address changes.
//!
//! Promises: only the address that a token was sent to is confirmed by it; what was set before anybody had proved the address
//! (a password, passkeys, sessions, other tokens) does not survive that proof, unless the sign-up itself is what is confirmed; a
//! second factor does, because who can read somebody's mail is not yet that person. Threats: an account made in advance with
//! somebody else's address; a change that was begun before the account had its owner; a mailbox in the wrong hands.

use auth_core::email::Email;
use auth_core::phone::Phone;
use pgrx::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{self, Entry};
use crate::platform::backend::to_pg;
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};
use crate::sessions::{self, Which};
use crate::tokens::{self, Found, Purpose};
use crate::users;

/// What a proof of the address is for.
#[derive(Clone, Copy, PartialEq)]
pub enum Proof {
    /// The sign-up that set the password.
    OfSignUp,
    /// Something that owes nothing to whoever made the account.
    OfOwnership,
}

/// The address was proved. Refused where the account has another one by now.
pub fn confirm(user_id: Uuid, address_key: &str, proof: Proof) -> Result<()> {
    static CONFIRM: Query = Query::write(
        "with old as (
            select u.id, u.email_confirmed_at is null as is_first
            from auth.users as u
            where u.id = $1 and u.email_key = $2 and u.deleted_at is null
            for update
        ), account as (
            update auth.users as u
            set email_confirmed_at = coalesce(u.email_confirmed_at, clock_timestamp()),
                encrypted_password = case when old.is_first and $3 then null else u.encrypted_password end
            from old
            where u.id = old.id and old.is_first
        ), identity as (
            update auth.identities as i
            set identity_data = i.identity_data || '{\"email_verified\": true}'
            from old
            where i.user_id = old.id and i.provider = 'email' and old.is_first
        ), password as (
            delete from auth.password_state as p using old where p.user_id = old.id and old.is_first and $3
        ), passkeys as (
            delete from auth.passkeys as p using old where p.user_id = old.id and old.is_first and $3
        )
        select old.is_first from old",
        &[Type::UUIDOID, Type::TEXTOID, Type::BOOLOID],
    );
    // Before the statement that takes away: what was set in a transaction that it waited for would not be there for it.
    users::hold(user_id)?;
    let is_ownership = proof == Proof::OfOwnership;
    let is_first = CONFIRM
        .first(&[to_pg(user_id).into(), address_key.into(), is_ownership.into()], |row| row.required::<bool>(1))?
        .ok_or(Error::OtpExpired)?;
    if is_first && is_ownership {
        sessions::end(user_id, Which::All)?;
        tokens::remove_all(user_id)?;
    }
    Ok(())
}

/// The number was proved. Where nothing of the account had been proved before, what was set until then does not survive it.
/// Refused where the account has another number by now.
pub fn confirm_phone(user_id: Uuid, phone: &Phone) -> Result<()> {
    static CONFIRM: Query = Query::write(include_str!("confirm_phone.sql"), &[Type::UUIDOID, Type::TEXTOID]);
    users::hold(user_id)?;
    let is_first = CONFIRM
        .first(&[to_pg(user_id).into(), phone.digits().into()], |row| row.required::<bool>(1))?
        .ok_or(Error::OtpExpired)?;
    if is_first {
        sessions::end(user_id, Which::All)?;
        tokens::remove_all(user_id)?;
    }
    Ok(())
}

/// Gives the account another address, which somebody has proved.
pub fn change(user_id: Uuid, new: &Email) -> Result<()> {
    let old = give(user_id, new, true)?.ok_or(Error::OtpExpired)?;
    tokens::remove_all(user_id)?;
    let data: Value = json!({"old_email": old.0, "new_email": new.address()});
    audit::record(&Entry::done("email_changed", user_id).with(data))
}

/// Gives the account another number, or its first, which somebody has proved.
pub fn change_phone(user_id: Uuid, new: &Phone) -> Result<()> {
    static GIVE: Query = Query::write(include_str!("give_phone.sql"), &[Type::UUIDOID, Type::TEXTOID]);
    let arguments = [to_pg(user_id).into(), new.digits().into()];
    let old: Option<String> =
        PgTryBuilder::new(std::panic::AssertUnwindSafe(|| GIVE.first(&arguments, |row| row.optional(1))))
            .catch_when(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION, |_| Err(Error::PhoneExists))
            .execute()?
            .ok_or(Error::OtpExpired)?;
    tokens::remove_all(user_id)?;
    let data = json!({"old_phone": old, "new_phone": new.digits()});
    audit::record(&Entry::done("phone_changed", user_id).with(data))
}

/// The address that an account had before, if any.
pub struct Old(pub Option<String>);

/// Gives an account its address, in place of the one that it had or as its first; none where there is no such account. A
/// guest is none any more.
pub fn give(user_id: Uuid, new: &Email, is_confirmed: bool) -> Result<Option<Old>> {
    static GIVE: Query = Query::write(include_str!("give.sql"), &[Type::UUIDOID, Type::TEXTOID, Type::BOOLOID]);
    users::check_address(new)?;
    let arguments = [to_pg(user_id).into(), new.address().into(), is_confirmed.into()];
    PgTryBuilder::new(std::panic::AssertUnwindSafe(|| GIVE.first(&arguments, |row| row.optional(1).map(Old))))
        .catch_when(PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION, |_| Err(Error::EmailExists))
        .execute()
}

/// One of the mails of a change was confirmed; whether the account has its new address now. Where the old address is proved
/// and `secure_email_change` was on, both have to be confirmed, in either order.
pub fn confirm_change(user_id: Uuid, found: &Found) -> Result<bool> {
    let new = found.data.get("new_email").and_then(Value::as_str).ok_or(Error::OtpExpired)?;
    if found.data.get("needs_both") == Some(&json!(true)) {
        let other = match found.purpose {
            Purpose::EmailChange => Purpose::EmailChangeCurrent,
            _ => Purpose::EmailChange,
        };
        // One after the other: two at once would each see no other half.
        users::hold(user_id)?;
        let half = tokens::find_by_purpose(user_id, Purpose::EmailChangeHalf)?;
        let is_second = half.is_some_and(|half| half.data == json!({"new_email": new, "confirmed": other.name()}));
        if !is_second {
            let data = json!({"new_email": new, "confirmed": found.purpose.name()});
            tokens::note(user_id, Purpose::EmailChangeHalf, &found.address_key, data, found.expires_at)?;
            return Ok(false);
        }
    }
    change(user_id, &Email::parse(new).map_err(|_| Error::OtpExpired)?)?;
    Ok(true)
}
