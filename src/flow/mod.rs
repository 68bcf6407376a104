//! Codes at the end of a redirect: a browser carries one back to the app, which exchanges it for a session.
//!
//! Promises: a code is good once, for five minutes, and where the request had a PKCE challenge only with its verifier (RFC
//! 7636, S256; plain is refused). Threats: a code that leaks by history or Referer, an attacker's code in the victim's app,
//! a challenge dropped on the way.

use auth_core::pkce;
use pgrx::extension_sql_file;
use pgrx::prelude::*;
use uuid::Uuid;

use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};
use crate::tokens;

extension_sql_file!("flow.sql", name = "flow", requires = ["guard"]);

const LIFETIME_SECONDS: f64 = 300.0;
/// How long an expired code is still told apart from one that never was.
const GRACE_SECONDS: f64 = 300.0;

/// A PKCE challenge as a client gives it.
pub fn check_challenge(challenge: Option<&str>, method: Option<&str>) -> Result<Option<String>> {
    let wrong = |what: &str| Error::invalid(what, "43 letters of base64url: the SHA-256 of the verifier, method s256");
    match (challenge, method) {
        (None | Some(""), None | Some("")) => Ok(None),
        (None | Some(""), Some(_)) => Err(wrong("code_challenge_method without code_challenge")),
        (Some(_), Some(method)) if !method.eq_ignore_ascii_case("s256") => {
            Err(wrong("code_challenge_method is not s256"))
        }
        (Some(challenge), _) if pkce::is_challenge(challenge) => Ok(Some(challenge.to_string())),
        (Some(_), _) => Err(wrong("code_challenge is malformed")),
    }
}

/// A code for a user who has proved who they are.
pub fn issue_code(user_id: Uuid, method: &str, code_challenge: Option<&str>) -> Result<String> {
    static INSERT: Query = Query::write(
        "insert into auth.flow_state (id, user_id, authentication_method, code_challenge, auth_code_hash, expires_at)
        values ($1, $2, $3, $4, $5, clock_timestamp() + make_interval(secs => $6))",
        &[Type::UUIDOID, Type::UUIDOID, Type::TEXTOID, Type::TEXTOID, Type::BYTEAOID, Type::FLOAT8OID],
    );
    let (code, digest) = tokens::new_link()?;
    INSERT.execute(&[
        to_pg(backend::uuid_v7()?).into(),
        to_pg(user_id).into(),
        method.into(),
        code_challenge.into(),
        digest.into(),
        LIFETIME_SECONDS.into(),
    ])?;
    Ok(code.to_string())
}

/// A code that is good now.
pub struct Code {
    pub id: Uuid,
    pub user_id: Uuid,
    pub method: String,
    /// Microseconds since 2000-01-01.
    pub expires_at: i64,
    challenge: Option<String>,
}

pub fn find(code: &str) -> Result<Code> {
    static FIND: Query = Query::write(
        "select f.id, f.user_id, f.authentication_method, f.expires_at, f.code_challenge
        from auth.flow_state as f
        where f.auth_code_hash = $1 and f.user_id is not null
            and f.expires_at > clock_timestamp() - make_interval(secs => $2)",
        &[Type::BYTEAOID, Type::FLOAT8OID],
    );
    let digest = tokens::link_digest(code)?.ok_or(Error::FlowStateNotFound)?;
    let found = FIND
        .first(&[digest.into(), GRACE_SECONDS.into()], |row| {
            Ok(Code {
                id: from_pg(row.required(1)?),
                user_id: from_pg(row.required(2)?),
                method: row.required(3)?,
                expires_at: i64::from(row.required::<TimestampWithTimeZone>(4)?),
                challenge: row.optional(5)?,
            })
        })?
        .ok_or(Error::FlowStateNotFound)?;
    if found.expires_at <= backend::clock() {
        return Err(Error::FlowStateExpired);
    }
    Ok(found)
}

impl Code {
    /// A verifier where there was no challenge is refused too: somebody dropped the challenge.
    pub fn check_verifier(&self, verifier: Option<&str>) -> Result<()> {
        let verifier = verifier.filter(|verifier| !verifier.is_empty());
        match (&self.challenge, verifier) {
            (None, None) => Ok(()),
            (Some(challenge), Some(verifier)) if pkce::matches(challenge, verifier) => Ok(()),
            _ => Err(Error::BadCodeVerifier),
        }
    }

    pub fn remove(&self) -> Result<()> {
        static REMOVE: Query = Query::write("delete from auth.flow_state where id = $1 returning 1", &[Type::UUIDOID]);
        REMOVE.first(&[to_pg(self.id).into()], |_| Ok(()))?.ok_or(Error::FlowStateNotFound)
    }
}
