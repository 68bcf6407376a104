//! One-time tokens: the links and codes that are out, and the sign-ups that wait for one.
//!
//! Promises: a token is good for one purpose, one account and the address that it was sent to, until it ends, is spent or is
//! followed by a newer one of its kind; nobody who reads the tables can use one. Rows are only added and deleted, never
//! updated: a request in somebody's open transaction holds up no other. Threats: a guess, a second use, a use for another
//! purpose, an address that changed meanwhile.

mod find;
mod issue;

use auth_core::one_time::{self, LinkError};
use pgrx::extension_sql_file;
use uuid::Uuid;
use zeroize::Zeroizing;

pub use find::{Found, find_by_code, find_by_link, find_by_purpose, find_sign_up, latest_by_address, latest_data};
pub use issue::{Issued, Pending, Request, issue, issue_sign_up, note};

use crate::keys::{self, Root};
use crate::platform::backend::{self, to_pg};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};

extension_sql_file!("tokens.sql", name = "tokens", requires = ["users"]);

/// What a token may be spent on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Confirms the address of a new account.
    Confirmation,
    /// Accepts an invitation.
    Invite,
    /// Signs in.
    MagicLink,
    /// Sets a new password.
    Recovery,
    /// Confirms a change at the new address.
    EmailChange,
    /// Confirms a change at the old address.
    EmailChangeCurrent,
    /// One of the two halves of a change is confirmed; no secret belongs to it.
    EmailChangeHalf,
    /// Confirms a change of number, at the new one.
    PhoneChange,
    /// Proves, in a session, that its user is there.
    Reauthentication,
    /// Makes an account.
    SignUp,
}

impl Purpose {
    const ALL: [Purpose; 10] = [
        Purpose::Confirmation,
        Purpose::Invite,
        Purpose::MagicLink,
        Purpose::Recovery,
        Purpose::EmailChange,
        Purpose::EmailChangeCurrent,
        Purpose::EmailChangeHalf,
        Purpose::PhoneChange,
        Purpose::Reauthentication,
        Purpose::SignUp,
    ];

    /// As it stands in the table.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Confirmation => "confirmation",
            Purpose::Invite => "invite",
            Purpose::MagicLink => "magiclink",
            Purpose::Recovery => "recovery",
            Purpose::EmailChange => "email_change",
            Purpose::EmailChangeCurrent => "email_change_current",
            Purpose::EmailChangeHalf => "email_change_half",
            Purpose::PhoneChange => "phone_change",
            Purpose::Reauthentication => "reauthentication",
            Purpose::SignUp => "sign_up",
        }
    }

    /// As clients of the HTTP API name it.
    pub fn verify_type(self) -> &'static str {
        match self {
            Purpose::Confirmation | Purpose::SignUp => "signup",
            Purpose::EmailChange | Purpose::EmailChangeCurrent | Purpose::EmailChangeHalf => "email_change",
            other => other.name(),
        }
    }

    fn from_name(name: &str) -> Result<Purpose> {
        Purpose::ALL
            .into_iter()
            .find(|purpose| purpose.name() == name)
            .ok_or_else(|| Error::Internal("a one-time token has no known purpose".into()))
    }
}

/// Of text that is no link there is no digest.
fn digest(root: &Root, link: &str) -> Result<Option<Vec<u8>>> {
    match one_time::link_digest(root.keyring(), link) {
        Ok(digest) => Ok(Some(digest.to_vec())),
        Err(LinkError::Malformed) => Ok(None),
        Err(LinkError::UnknownKey(id)) => match keys::unknown_root_key(id)? {
            Some(error) => Err(error),
            None => Ok(None),
        },
    }
}

/// The digest that the database holds of a long secret; none where it is not well formed.
pub fn link_digest(link: &str) -> Result<Option<Vec<u8>>> {
    digest(&keys::root()?, link)
}

/// A long secret and its digest, for other tables.
pub fn new_link() -> Result<(Zeroizing<String>, Vec<u8>)> {
    let root = keys::root()?;
    let link = one_time::link(root.current(), &backend::random()?);
    let digest = digest(&root, &link)?.ok_or_else(|| Error::Internal("a new link has no digest".into()))?;
    Ok((link, digest))
}

/// Removes a token, with the older ones of its kind; refused where somebody has done so meanwhile.
pub fn remove(token: &Found) -> Result<()> {
    static REMOVE: Query = Query::write(
        "with own as (
            delete from auth.one_time_tokens where id = $1 returning user_id, purpose
        ), older as (
            delete from auth.one_time_tokens where id in (
                select t.id
                from auth.one_time_tokens as t
                join own on own.user_id = t.user_id and own.purpose = t.purpose
                where t.id <> $1
                for update of t skip locked)
        )
        select from own",
        &[Type::UUIDOID],
    );
    static REMOVE_SIGN_UP: Query = Query::write(
        "with own as (
            delete from auth.pending_sign_ups where id = $1 returning instance_id, aud, email_key
        ), older as (
            delete from auth.pending_sign_ups where id in (
                select p.id
                from auth.pending_sign_ups as p
                join own on own.instance_id = p.instance_id and own.aud = p.aud and own.email_key = p.email_key
                where p.id <> $1
                for update of p skip locked)
        )
        select from own",
        &[Type::UUIDOID],
    );
    let query = if token.purpose == Purpose::SignUp { &REMOVE_SIGN_UP } else { &REMOVE };
    query.first(&[to_pg(token.id).into()], |_| Ok(()))?.ok_or(Error::OtpExpired)
}

/// Removes what would change the address or the number of an account: whoever signs others out does not know what they have begun.
pub fn remove_changes(user_id: Uuid) -> Result<()> {
    static REMOVE: Query = Query::write(
        "delete from auth.one_time_tokens
        where user_id = $1 and purpose in ('email_change', 'email_change_current', 'email_change_half', 'phone_change')",
        &[Type::UUIDOID],
    );
    REMOVE.execute(&[to_pg(user_id).into()]).map(drop)
}

/// Removes every token that is out for an account, the codes at the end of redirects, and the second steps that wait.
pub fn remove_all(user_id: Uuid) -> Result<()> {
    static REMOVE: Query = Query::write(
        "with codes as (
            delete from auth.flow_state where user_id = $1
        ), challenges as (
            delete from auth.mfa_challenges where user_id = $1
        )
        delete from auth.one_time_tokens where user_id = $1",
        &[Type::UUIDOID],
    );
    REMOVE.execute(&[to_pg(user_id).into()]).map(drop)
}
