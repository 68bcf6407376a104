//! Refresh: new tokens for a session that goes on, each refresh token good once.
//!
//! Promises: of two uses at once one wins; a used token ends every session of its user, and no ROLLBACK undoes that.
//! Threats: a stolen token used before or after its owner's; a thief who rolls back after reading the answer.

use std::cmp::Ordering;

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::json;
use uuid::Uuid;

use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::sessions::{self, Revoked, Session};
use crate::{door, guard};

extension_sql_file!("refresh.sql", name = "refresh", requires = ["anonymous"]);

const METHOD: &str = "token_refresh";

/// Each further round means that another refresh of the session has just committed.
const MOST_ROUNDS: usize = 8;

#[pg_extern(sql = false)]
fn refresh(refresh_token: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_refresh(refresh_token, options, &mut user_id);
    log::outcome("refresh", user_id, &result);
    Ok(result?)
}

fn try_refresh(refresh_token: Option<&str>, options: JsonArgument, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    backend::must_write()?;
    options::only(options, &[])?;
    let config = config::current()?;
    if !config.refresh_tokens_enabled {
        return Err(Error::RefreshDisabled);
    }
    guard::must_not_be_blocked()?;
    let (session_id, counter) = sessions::parse(given(refresh_token, "refresh_token")?)?.verify()?;
    exchange(session_id, counter, &config, user_id)
}

/// Each round looks at the row as it is committed now. A second one is needed only where another refresh of the same
/// session was faster, and then the counter has moved.
fn exchange(session_id: Uuid, counter: i64, config: &Config, user_id: &mut Option<Uuid>) -> Result<JsonB> {
    for _ in 0..MOST_ROUNDS {
        let session = sessions::find(session_id)?.ok_or(Error::SessionNotFound)?;
        *user_id = Some(session.user_id);
        door::must_be_welcome(session.user_id).map_err(|error| match error {
            Error::UserNotFound => Error::SessionNotFound,
            error => error,
        })?;
        if sessions::is_over(&session, config) {
            return Err(Error::SessionExpired);
        }
        let advanced = match counter.cmp(&session.counter) {
            // Ahead of the row: it was issued after the backup that this database was restored from, or by a refresh that
            // a failover lost. The MAC says that it is ours.
            Ordering::Equal => sessions::advance(session_id, session.counter, counter + 1)?,
            Ordering::Greater => {
                let advanced = sessions::advance(session_id, session.counter, counter + 1)?;
                if advanced.is_some() {
                    let data = json!({"counter": counter, "row": session.counter});
                    let entry = Entry::done("refresh_token_ahead", session.user_id).in_session(session_id).with(data);
                    audit::record(&entry)?;
                }
                advanced
            }
            Ordering::Less if is_repeated(&session, counter, config) => {
                sessions::facts(session_id)?.filter(|(facts, _)| facts.counter == session.counter)
            }
            Ordering::Less => return Err(replayed(session_id, &session, config)),
        };
        if let Some((facts, user)) = advanced {
            audit::notify("TOKEN_REFRESHED", Some(session.user_id))?;
            return door::answer(session_id, &facts, user, METHOD, config);
        }
        if backend::snapshot_is_fixed() {
            break;
        }
    }
    // An older snapshot will never see the row as it is now.
    Err(Error::Conflict)
}

/// Within the interval the token before the current one gets the same successor again: two tabs, or an answer lost.
fn is_repeated(session: &Session, counter: i64, config: &Config) -> bool {
    let age = backend::clock().saturating_sub(session.refreshed_at);
    counter + 1 == session.counter && age < config.refresh_reuse_interval.saturating_mul(1_000_000)
}

fn replayed(session_id: Uuid, session: &Session, config: &Config) -> Error {
    let scope =
        if config.refresh_reuse_ends_user { Revoked::User(session.user_id) } else { Revoked::Session(session_id) };
    let entry = Entry {
        event_type: "refresh_token_reuse",
        code: Some("refresh_token_already_used"),
        user_id: Some(session.user_id),
        session_id: Some(session_id),
        data: json!({}),
    };
    match sessions::revoke_durably(scope, &entry) {
        Ok(()) => Error::RefreshTokenAlreadyUsed,
        Err(error) => error,
    }
}
