//! Whether a token is good, and who it says is asking.
//!
//! Two halves. The signature and the shape of the claims never change, so verified tokens are kept, a few per backend.
//! Whether session, user and key are still good is asked of the tables at every statement (`standing`).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use auth_core::jwt;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::platform::backend::{clock, statement_time, unix_seconds};
use crate::platform::error::{Error, Result};
use crate::platform::log;
use crate::platform::relation;
use crate::{keys, sessions, users};

/// A token whose signature and claims are good.
pub struct Identity {
    pub claims: Map<String, Value>,
    pub role: String,
    pub session_id: Option<Uuid>,
    kind: Kind,
    expires_at: i64,
    counter: i64,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A signed-in user.
    User(Uuid),
    /// A sign-in that is not finished: role anon, no user.
    Restricted(Uuid),
    /// A project key, by its id.
    Key(Uuid),
    /// A foreign issuer's claims, verified by a trusted proxy.
    Foreign(Option<Uuid>),
}

impl Identity {
    /// The user in policies: none under a project key and under a restricted token.
    pub fn user_id(&self) -> Option<Uuid> {
        match self.kind {
            Kind::User(id) | Kind::Foreign(Some(id)) => Some(id),
            Kind::Restricted(_) | Kind::Key(_) | Kind::Foreign(None) => None,
        }
    }

    /// Whose sign-in is not finished. For the functions that finish one, and for nothing else.
    pub fn unfinished_user_id(&self) -> Option<Uuid> {
        match self.kind {
            Kind::Restricted(id) => Some(id),
            Kind::User(_) | Kind::Key(_) | Kind::Foreign(_) => None,
        }
    }

    /// The same at the lowest assurance level.
    fn lowered(&self) -> Identity {
        let mut claims = self.claims.clone();
        claims.insert("aal".into(), sessions::AAL1.into());
        Identity { claims, role: self.role.clone(), ..*self }
    }

    pub fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }
}

/// Verified tokens that a backend keeps: enough for a test of many users, few enough to search.
const MOST_KEPT: usize = 8;

struct Kept {
    generation: u64,
    tokens: VecDeque<(String, Rc<Identity>)>,
}

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { generation: 0, tokens: VecDeque::new() }) };
}

/// A statement that reads no table has not heard yet of a key that was revoked.
pub fn hear_news() {
    // SAFETY: in a transaction, outside any critical section.
    unsafe { pgrx::pg_sys::AcceptInvalidationMessages() };
}

/// Everything that is asked of a token.
pub fn accept(token: &str) -> Result<Rc<Identity>> {
    hear_news();
    let result = verified(token);
    let session_id = result.as_ref().ok().and_then(|identity| identity.session_id);
    let result = result.and_then(standing);
    log::debug(|| format!("token judged: session {}: {}", log::name(session_id), log::word(&result)));
    result
}

/// The unchanging half.
fn verified(token: &str) -> Result<Rc<Identity>> {
    // Taken before the key is read: a change in between makes what is kept stale, not the other way round.
    let generation = relation::generation();
    let kept = KEPT.with_borrow_mut(|kept| {
        if kept.generation != generation {
            kept.tokens.clear();
            kept.generation = generation;
        }
        kept.tokens.iter().find(|(known, _)| known == token).map(|(_, identity)| identity.clone())
    });
    if let Some(identity) = kept {
        return Ok(identity);
    }
    let unverified = jwt::parse(token)?;
    let kid = unverified.kid().ok_or(Error::BadJwt("names no key"))?;
    let key = keys::verifying(kid)?.ok_or(Error::BadJwt("names no key of this database"))?;
    let claims = unverified.verify(&key.key)?;
    // Wrong kinds of exp and the like are refused whatever the time; whether it has come is asked in `standing`.
    claims.check_times(claims.integer("nbf").unwrap_or(0))?;
    let issued_at = claims.integer("iat").ok_or(Error::BadJwt("has no iat"))?;
    if key.retired_at.is_some_and(|retired_at| issued_at > retired_at) {
        return Err(Error::BadJwt("is newer than its key"));
    }
    let identity = Rc::new(read(claims.into_map())?);
    KEPT.with_borrow_mut(|kept| {
        if kept.generation == generation {
            kept.tokens.truncate(MOST_KEPT - 1);
            kept.tokens.push_front((token.to_string(), identity.clone()));
        }
    });
    Ok(identity)
}

/// Claims of ours, whoever has verified their signature.
fn read(claims: Map<String, Value>) -> Result<Identity> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let uuid = |name: &str| text(name).and_then(|text| Uuid::parse_str(text).ok());
    let role = text("role").ok_or(Error::BadJwt("has no role"))?.to_string();
    let expires_at = time(&claims, "exp")?.ok_or(Error::BadJwt("has no exp"))?;
    time(&claims, "nbf")?;
    let kind = match text("token_type") {
        Some("key") => {
            if claims.contains_key("sub") {
                return Err(Error::BadJwt("is a project key with a subject"));
            }
            Kind::Key(uuid("jti").ok_or(Error::BadJwt("has no jti"))?)
        }
        Some(kind @ ("access" | "restricted")) => {
            let user_id = uuid("sub").ok_or(Error::BadJwt("has no sub"))?;
            if text("aud") != Some(users::AUDIENCE) {
                return Err(Error::BadJwt("is for another audience"));
            }
            if kind == "access" { Kind::User(user_id) } else { Kind::Restricted(user_id) }
        }
        _ => return Err(Error::BadJwt("is no access token")),
    };
    let (session_id, counter) = match kind {
        Kind::Key(_) => (None, 0),
        _ => (
            Some(uuid("session_id").ok_or(Error::BadJwt("has no session_id"))?),
            claims.get("sc").and_then(Value::as_i64).ok_or(Error::BadJwt("has no sc"))?,
        ),
    };
    Ok(Identity { role, session_id, kind, expires_at, counter, claims })
}

/// A NumericDate (RFC 7519 section 2), in whole seconds. One of a wrong kind must not count as absent.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or(Error::BadJwt("has a time that is no whole number")),
    }
}

/// The half that may change between two statements: who it is now, which may be less than the token says.
pub fn standing(identity: Rc<Identity>) -> Result<Rc<Identity>> {
    // Statement time, because parallel workers must agree; never now(), which an open transaction holds still.
    let statement = statement_time();
    let now = unix_seconds(statement);
    if identity.expires_at <= now {
        return Err(Error::SessionExpired);
    }
    if identity.claims.get("nbf").and_then(Value::as_i64).is_some_and(|not_before| not_before > now) {
        return Err(Error::BadJwt("is not valid yet"));
    }
    match identity.kind {
        Kind::Key(jti) => match keys::find_project_key(jti.as_bytes())? {
            None => Err(Error::BadJwt("is a project key that does not exist")),
            Some(key) if key.revoked_at.is_some() => Err(Error::BadJwt("is a project key that was revoked")),
            Some(key) if key.expires_at.is_some_and(|expires_at| expires_at <= statement) => Err(Error::SessionExpired),
            Some(_) => Ok(identity),
        },
        Kind::Foreign(None) => Ok(identity),
        Kind::Foreign(Some(user_id)) => user_standing(user_id, statement).map(|()| identity),
        Kind::User(user_id) | Kind::Restricted(user_id) => {
            let session_id = identity.session_id.ok_or(Error::SessionNotFound)?;
            let session = sessions::find(session_id)?.ok_or(Error::SessionNotFound)?;
            // A counter ahead of the row was minted by a refresh that rolled back.
            if session.user_id != user_id || identity.counter > session.counter {
                return Err(Error::SessionNotFound);
            }
            // Restricted since the token was issued: a refresh gives the restricted one.
            let was_restricted = session.is_restricted && matches!(identity.kind, Kind::User(_));
            if was_restricted || session.not_after.is_some_and(|not_after| not_after <= statement) {
                return Err(Error::SessionExpired);
            }
            user_standing(user_id, statement)?;
            // Its second factor is gone since the token was issued.
            let is_lowered = !session.is_aal2 && identity.text("aal").is_some_and(|aal| aal != sessions::AAL1);
            Ok(if is_lowered { Rc::new(identity.lowered()) } else { identity })
        }
    }
}

fn user_standing(user_id: Uuid, statement: i64) -> Result<()> {
    match users::standing(user_id)? {
        None => Err(Error::SessionNotFound),
        Some(user) if user.is_deleted => Err(Error::SessionNotFound),
        // A ban that was set after the statement began counts too.
        Some(user) if user.is_banned(statement.max(clock())) => Err(Error::UserBanned),
        Some(_) => Ok(()),
    }
}

/// Claims that a trusted proxy has verified: no signature is left to check. Ours, by their token_type, are judged like the
/// token that they came in; a foreign issuer's name a user at most.
pub fn trusted(claims: &str) -> Result<Option<Rc<Identity>>> {
    let claims = match serde_json::from_str(claims) {
        Ok(Value::Object(claims)) => claims,
        _ => return Err(Error::BadJwt("is no JSON object of claims")),
    };
    if claims.is_empty() {
        return Ok(None);
    }
    if claims.contains_key("token_type") {
        return read(claims).map(|identity| Some(Rc::new(identity)));
    }
    let user_id = match claims.get("sub") {
        None => None,
        Some(sub) => Some(
            sub.as_str()
                .and_then(|text| Uuid::parse_str(text).ok())
                .ok_or(Error::BadJwt("has a sub that is no uuid"))?,
        ),
    };
    let expires_at = time(&claims, "exp")?.unwrap_or(i64::MAX);
    time(&claims, "nbf")?;
    Ok(Some(Rc::new(Identity {
        role: claims.get("role").and_then(Value::as_str).unwrap_or("anon").to_string(),
        session_id: None,
        kind: Kind::Foreign(user_id),
        expires_at,
        counter: 0,
        claims,
    })))
}
