//! Challenges: what was asked, of whom, and that it is answered once.

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::TTL_SECONDS;
use crate::guard::Attempt;
use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};

#[derive(Clone, Copy)]
pub enum Kind {
    Registration,
    SignIn,
    SignUp,
}

impl Kind {
    /// As it stands in the table.
    fn name(self) -> &'static str {
        match self {
            Kind::Registration => "registration",
            Kind::SignIn => "sign_in",
            Kind::SignUp => "sign_up",
        }
    }
}

/// Whom a challenge is for.
#[derive(Clone, Copy, PartialEq)]
pub struct For {
    /// None: whoever has a passkey. Of a sign-up: the account that it makes.
    pub user_id: Option<Uuid>,
    /// The session that registers.
    pub session_id: Option<Uuid>,
}

/// A challenge that this caller has spent.
pub struct Spent {
    id: Uuid,
    pub bytes: Vec<u8>,
    pub whom: For,
    /// What the start of a sign-up was given.
    pub asked: Option<Value>,
}

/// A new challenge and the answer of a start; `options` makes what the browser is told of it, `asked` is kept for the finish.
pub fn start(kind: Kind, whom: For, asked: Option<Value>, options: impl FnOnce(String) -> Value) -> Result<Value> {
    static INSERT: Query = Query::write(
        "insert into auth.webauthn_challenges (id, user_id, session_id, kind, challenge, expires_at, asked)
        values ($1, $2, $3, $4, $5, $6, $7)",
        &[
            Type::UUIDOID,
            Type::UUIDOID,
            Type::UUIDOID,
            Type::TEXTOID,
            Type::BYTEAOID,
            Type::TIMESTAMPTZOID,
            Type::JSONBOID,
        ],
    );
    // Not by time: whoever guessed the id of another's could spend it.
    let id = backend::uuid_v4()?;
    let challenge = backend::random::<32>()?;
    let expires_at = backend::clock() + TTL_SECONDS * 1_000_000;
    INSERT.execute(&[
        to_pg(id).into(),
        whom.user_id.map(to_pg).into(),
        whom.session_id.map(to_pg).into(),
        kind.name().into(),
        challenge.as_slice().into(),
        TimestampWithTimeZone::try_from(expires_at)
            .map_err(|_| Error::Internal("a time is out of range".into()))?
            .into(),
        asked.map(JsonB).into(),
    ])?;
    Ok(json!({
        "challenge_id": id,
        "options": options(auth_core::base64url::encode(&challenge)),
        "expires_at": backend::unix_seconds(expires_at),
    }))
}

/// Spends a challenge of this kind: whatever comes of it, nobody else answers it. `is_for` says whether it is the caller's;
/// another's is not spent.
pub fn spend(id: Uuid, kind: Kind, attempt: &Attempt, is_for: impl FnOnce(&For) -> bool) -> Result<Spent> {
    static FIND: Query = Query::write(
        "select c.challenge, c.user_id, c.session_id, c.expires_at, c.asked
        from auth.webauthn_challenges as c
        where c.id = $1 and c.kind = $2 and c.expires_at > clock_timestamp()",
        &[Type::UUIDOID, Type::TEXTOID],
    );
    let found = FIND.first(&[to_pg(id).into(), kind.name().into()], |row| {
        let whom = For { user_id: row.optional(2)?.map(from_pg), session_id: row.optional(3)?.map(from_pg) };
        let asked = row.optional::<JsonB>(5)?.map(|JsonB(asked)| asked);
        Ok((Spent { id, bytes: row.required(1)?, whom, asked }, i64::from(row.required::<TimestampWithTimeZone>(4)?)))
    })?;
    let (spent, expires_at) = found.filter(|(spent, _)| is_for(&spent.whom)).ok_or(Error::WebauthnChallengeExpired)?;
    attempt.spend(id, expires_at).map_err(|error| match error {
        Error::OtpExpired => Error::WebauthnChallengeExpired,
        other => other,
    })?;
    Ok(spent)
}

impl Spent {
    /// Removes the row; refused where somebody has done so meanwhile.
    pub fn remove(&self) -> Result<()> {
        static REMOVE: Query = Query::write("delete from auth.webauthn_challenges where id = $1", &[Type::UUIDOID]);
        match REMOVE.execute(&[to_pg(self.id).into()])? {
            0 => Err(Error::WebauthnChallengeExpired),
            _ => Ok(()),
        }
    }
}
