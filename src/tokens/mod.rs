//! One-time tokens: the links and codes that are out, and the sign-ups that wait for one.
//!
//! Promises: a token is good for one purpose, one account and the address that it was sent to, until it ends, is spent or is
//! followed by a newer one of its kind; nobody who reads the tables can use one. Rows are only added and deleted, never
//! updated: a request in somebody's open transaction holds up no other. Threats: a guess, a second use, a use for another
//! purpose, an address that changed meanwhile.

use auth_core::one_time::{self, Bound, LinkError};
use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::Value;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::keys::{self, Root};
use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Row, Type};

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
    /// Proves, in a session, that its user is there.
    Reauthentication,
    /// Makes an account.
    SignUp,
}

impl Purpose {
    const ALL: [Purpose; 9] = [
        Purpose::Confirmation,
        Purpose::Invite,
        Purpose::MagicLink,
        Purpose::Recovery,
        Purpose::EmailChange,
        Purpose::EmailChangeCurrent,
        Purpose::EmailChangeHalf,
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

/// What is asked for.
pub struct Request<'a> {
    pub purpose: Purpose,
    /// Key of the address that it is sent to.
    pub address_key: &'a str,
    pub has_link: bool,
    /// Given by the app's tests; none: a random one.
    pub code: Option<&'a str>,
    pub code_length: u32,
    /// In seconds.
    pub code_ttl: i64,
    pub link_ttl: i64,
    pub redirect_to: Option<&'a str>,
    pub code_challenge: Option<&'a str>,
    /// What else the purpose needs when it is spent.
    pub data: Value,
}

/// What is sent; nowhere but in the mail.
pub struct Issued {
    pub link: Option<Zeroizing<String>>,
    pub code: Zeroizing<String>,
    /// RFC 3339.
    pub code_expires_at: String,
    /// Microseconds since 2000-01-01.
    pub expires_at: i64,
}

/// The sign-up that a token completes.
pub struct Pending<'a> {
    pub email: &'a str,
    pub encrypted_password: Option<&'a str>,
}

/// A token that is good now; whoever uses it spends it.
pub struct Found {
    pub id: Uuid,
    pub purpose: Purpose,
    /// None for a sign-up: there is no account yet.
    pub user_id: Option<Uuid>,
    /// Key of the address that it was sent to.
    pub address_key: String,
    pub redirect_to: Option<String>,
    pub code_challenge: Option<String>,
    pub data: Value,
    /// Microseconds since 2000-01-01.
    pub expires_at: i64,
    /// Of a sign-up: its address and hash.
    pub email: Option<String>,
    pub encrypted_password: Option<String>,
    code_hash: Option<Vec<u8>>,
}

/// A new token for an account. The ones before it stay where they are, void: whoever removed them here would, in a transaction
/// that stays open, hold up those who use one.
pub fn issue(user_id: Uuid, request: &Request<'_>) -> Result<Issued> {
    static INSERT: Query = Query::write(
        "insert into auth.one_time_tokens
            (id, user_id, purpose, relates_to, link_hash, code_hash, code_expires_at, expires_at, redirect_to,
            code_challenge, data, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, clock_timestamp())",
        &[
            Type::UUIDOID,
            Type::UUIDOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::BYTEAOID,
            Type::BYTEAOID,
            Type::TIMESTAMPTZOID,
            Type::TIMESTAMPTZOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::JSONBOID,
        ],
    );
    let (id, issued, link_hash, code_hash) = secrets(request)?;
    INSERT.execute(&[
        to_pg(id).into(),
        to_pg(user_id).into(),
        request.purpose.name().into(),
        request.address_key.into(),
        link_hash.into(),
        code_hash.into(),
        time(backend::clock() + request.code_ttl * 1_000_000)?.into(),
        time(issued.expires_at)?.into(),
        request.redirect_to.into(),
        request.code_challenge.into(),
        JsonB(request.data.clone()).into(),
    ])?;
    Ok(issued)
}

/// Remembers something about an account until a time, without a secret.
pub fn note(user_id: Uuid, purpose: Purpose, address_key: &str, data: Value, expires_at: i64) -> Result<()> {
    static INSERT: Query = Query::write(
        "insert into auth.one_time_tokens (id, user_id, purpose, relates_to, expires_at, data, created_at)
        values ($1, $2, $3, $4, $5, $6, clock_timestamp())",
        &[Type::UUIDOID, Type::UUIDOID, Type::TEXTOID, Type::TEXTOID, Type::TIMESTAMPTZOID, Type::JSONBOID],
    );
    INSERT
        .execute(&[
            to_pg(backend::uuid_v7()?).into(),
            to_pg(user_id).into(),
            purpose.name().into(),
            address_key.into(),
            time(expires_at)?.into(),
            JsonB(data).into(),
        ])
        .map(drop)
}

/// A new token for a sign-up that waits for it; `request.data` is the user's metadata.
pub fn issue_sign_up(pending: &Pending<'_>, request: &Request<'_>) -> Result<Issued> {
    static INSERT: Query = Query::write(
        "insert into auth.pending_sign_ups
            (id, email, password, data, link_hash, code_hash, code_expires_at, expires_at, redirect_to, code_challenge,
            created_at)
        values ($1, $2, $3, $10, $4, $5, $6, $7, $8, $9, clock_timestamp())",
        &[
            Type::UUIDOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::BYTEAOID,
            Type::BYTEAOID,
            Type::TIMESTAMPTZOID,
            Type::TIMESTAMPTZOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::JSONBOID,
        ],
    );
    let (id, issued, link_hash, code_hash) = secrets(request)?;
    INSERT.execute(&[
        to_pg(id).into(),
        pending.email.into(),
        pending.encrypted_password.into(),
        link_hash.into(),
        code_hash.into(),
        time(backend::clock() + request.code_ttl * 1_000_000)?.into(),
        time(issued.expires_at)?.into(),
        request.redirect_to.into(),
        request.code_challenge.into(),
        JsonB(request.data.clone()).into(),
    ])?;
    Ok(issued)
}

/// What is written down of a new token: its id, and the digests of link and code.
type Secrets = (Uuid, Issued, Option<Vec<u8>>, Vec<u8>);

fn secrets(request: &Request<'_>) -> Result<Secrets> {
    let root = keys::root()?;
    let id = backend::uuid_v7()?;
    let link = match request.has_link {
        true => Some(one_time::link(root.current(), &backend::random()?)),
        false => None,
    };
    let link_hash = link.as_ref().map(|link| digest(&root, link)).transpose()?.flatten();
    let code = match request.code {
        Some(code) => Zeroizing::new(code.to_string()),
        None => one_time::digits(request.code_length, &backend::random()?)
            .ok_or_else(|| Error::Internal("too few random digits".into()))?,
    };
    let bound = Bound { row: id.into_bytes(), purpose: request.purpose.name(), address: request.address_key };
    let code_hash = one_time::code_digest(root.current(), &bound, &code);
    let now = backend::clock();
    let issued = Issued {
        link,
        code,
        code_expires_at: backend::iso8601(now + request.code_ttl * 1_000_000),
        // The code ends with the row.
        expires_at: now + request.link_ttl.max(request.code_ttl) * 1_000_000,
    };
    Ok((id, issued, link_hash, code_hash))
}

fn time(microseconds: i64) -> Result<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(microseconds).map_err(|_| Error::Internal("a time is out of range".into()))
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

/// The token of a link, if it is good now.
pub fn find_by_link(link: &str) -> Result<Option<Found>> {
    static FIND: Query = Query::write(
        "select t.id, t.purpose, t.user_id, t.relates_to, t.redirect_to, t.code_challenge, t.data, t.expires_at,
            null::text, null::text, t.code_hash
        from auth.one_time_tokens as t
        where t.link_hash = $1 and t.expires_at > clock_timestamp()
            and not exists (
                select from auth.one_time_tokens as n
                where n.user_id = t.user_id and n.purpose = t.purpose and n.created_at > t.created_at)
        union all
        select p.id, 'sign_up', null, p.email_key, p.redirect_to, p.code_challenge, p.data, p.expires_at,
            p.email, p.password, p.code_hash
        from auth.pending_sign_ups as p
        where p.link_hash = $1 and p.expires_at > clock_timestamp()
            and not exists (
                select from auth.pending_sign_ups as n
                where n.instance_id = p.instance_id and n.aud = p.aud and n.email_key = p.email_key
                    and n.created_at > p.created_at)",
        &[Type::BYTEAOID],
    );
    let Some(digest) = link_digest(link)? else { return Ok(None) };
    FIND.first(&[digest.into()], read)
}

/// The token among those of these purposes whose code this is, if it is good now.
pub fn find_by_code(
    user_id: Option<Uuid>,
    address_key: &str,
    purposes: &[Purpose],
    code: &str,
) -> Result<Option<Found>> {
    static FIND: Query = Query::write(
        "select t.id, t.purpose, t.user_id, t.relates_to, t.redirect_to, t.code_challenge, t.data, t.expires_at,
            null::text, null::text, t.code_hash
        from auth.one_time_tokens as t
        where t.relates_to = $2 and (t.user_id = $1 or t.purpose = 'email_change') and t.code_expires_at > clock_timestamp()
            and not exists (
                select from auth.one_time_tokens as n
                where n.user_id = t.user_id and n.purpose = t.purpose and n.created_at > t.created_at)
        union all
        select p.id, 'sign_up', null, p.email_key, p.redirect_to, p.code_challenge, p.data, p.expires_at,
            p.email, p.password, p.code_hash
        from auth.pending_sign_ups as p
        where p.instance_id = '00000000-0000-0000-0000-000000000000' and p.aud = 'authenticated'
            and p.email_key = $2 and p.code_expires_at > clock_timestamp()
            and not exists (
                select from auth.pending_sign_ups as n
                where n.instance_id = p.instance_id and n.aud = p.aud and n.email_key = p.email_key
                    and n.created_at > p.created_at)",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    let root = keys::root()?;
    let mut found = None;
    FIND.each(&[user_id.map(to_pg).into(), address_key.into()], |row| {
        let token = read(row)?;
        let bound = Bound { row: token.id.into_bytes(), purpose: token.purpose.name(), address: &token.address_key };
        let is_right = purposes.contains(&token.purpose)
            && token.code_hash.as_ref().is_some_and(|hash| one_time::is_code(root.keyring(), hash, &bound, code));
        if is_right {
            found = Some(token);
        }
        Ok(())
    })?;
    Ok(found)
}

/// The newest live token of a purpose, whoever holds its secret.
pub fn find_by_purpose(user_id: Uuid, purpose: Purpose) -> Result<Option<Found>> {
    static FIND: Query = Query::write(
        "select t.id, t.purpose, t.user_id, t.relates_to, t.redirect_to, t.code_challenge, t.data, t.expires_at,
            null::text, null::text, t.code_hash
        from auth.one_time_tokens as t
        where t.user_id = $1 and t.purpose = $2 and t.expires_at > clock_timestamp()
        order by t.created_at desc
        limit 1",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    FIND.first(&[to_pg(user_id).into(), purpose.name().into()], read)
}

/// What the newest token of a purpose holds, also one that has ended; none where the caller's snapshot may be older than it.
pub fn latest_data(user_id: Uuid, purpose: Purpose) -> Result<Option<Value>> {
    static LATEST: Query = Query::write(
        "select t.data from auth.one_time_tokens as t
        where t.user_id = $1 and t.purpose = $2 order by t.created_at desc limit 1",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    let arguments = [to_pg(user_id).into(), purpose.name().into()];
    // An old snapshot does not show the latest.
    if backend::snapshot_is_fixed() {
        return Ok(None);
    }
    Ok(LATEST.first(&arguments, |row| row.required::<JsonB>(1))?.map(|JsonB(data)| data))
}

/// The newest sign-up that waits for an address.
pub fn find_sign_up(address_key: &str) -> Result<Option<Found>> {
    static FIND: Query = Query::write(
        "select p.id, 'sign_up', null::uuid, p.email_key, p.redirect_to, p.code_challenge, p.data, p.expires_at,
            p.email, p.password, p.code_hash
        from auth.pending_sign_ups as p
        where p.instance_id = '00000000-0000-0000-0000-000000000000' and p.aud = 'authenticated'
            and p.email_key = $1 and p.expires_at > clock_timestamp()
        order by p.created_at desc
        limit 1",
        &[Type::TEXTOID],
    );
    FIND.first(&[address_key.into()], read)
}

fn read(row: &Row<'_>) -> Result<Found> {
    Ok(Found {
        id: from_pg(row.required(1)?),
        purpose: Purpose::from_name(&row.required::<String>(2)?)?,
        user_id: row.optional(3)?.map(from_pg),
        address_key: row.required(4)?,
        redirect_to: row.optional(5)?,
        code_challenge: row.optional(6)?,
        data: row.optional::<JsonB>(7)?.map_or(Value::Null, |JsonB(data)| data),
        expires_at: i64::from(row.required::<TimestampWithTimeZone>(8)?),
        email: row.optional(9)?,
        encrypted_password: row.optional(10)?,
        code_hash: row.optional(11)?,
    })
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

/// Removes every token that is out for an account, and the codes at the end of redirects.
pub fn remove_all(user_id: Uuid) -> Result<()> {
    static REMOVE: Query = Query::write(
        "with codes as (delete from auth.flow_state where user_id = $1)
        delete from auth.one_time_tokens where user_id = $1",
        &[Type::UUIDOID],
    );
    REMOVE.execute(&[to_pg(user_id).into()]).map(drop)
}
