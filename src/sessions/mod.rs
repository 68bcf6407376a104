//! Sessions: one row for each signed-in device, and the refresh token that names its row and counter.
//!
//! Promises: a refresh is one HOT update and no table grows by it; a row deleted or revoked is dead at the next statement,
//! also under an old snapshot, in a parallel worker and on a standby. Threats: two refreshes at once, an old token, a row
//! that a rolled-back refresh never moved.

mod refresh_token;

use pgrx::{JsonB, extension_sql_file};
use serde_json::{Value, json};
use uuid::Uuid;

pub use refresh_token::{encode, parse};

use crate::audit;
use crate::config::Config;
use crate::events::{self, Event};
use crate::platform::backend::{self, to_pg};
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};
use crate::platform::relation::{self, Relation};

extension_sql_file!("sessions.sql", name = "sessions", requires = ["flow"]);

/// What the row says now. Times in microseconds since 2000-01-01.
#[derive(Clone)]
pub struct Session {
    pub user_id: Uuid,
    pub created_at: i64,
    pub not_after: Option<i64>,
    pub refreshed_at: i64,
    pub counter: i64,
    pub is_restricted: bool,
    /// Whether a second factor was used and is still enrolled.
    pub is_aal2: bool,
}

static SESSIONS: Relation = Relation::new(
    c"sessions",
    c"sessions_pkey",
    &[c"id", c"user_id", c"created_at", c"not_after", c"refreshed_at", c"refresh_token_counter", c"restricted", c"aal"],
);
static REVOCATIONS: Relation = Relation::new(c"revocations", c"revocations_subject", &[c"subject", c"not_before"]);

/// The session as it is committed now (or in this transaction), unless it was revoked; whatever snapshot the caller holds.
pub fn find(id: Uuid) -> Result<Option<Session>> {
    let session = SESSIONS.find(id.as_bytes(), |row| {
        Some(Session {
            user_id: Uuid::from_bytes(row.uuid(1)?),
            created_at: row.time(2)?,
            not_after: row.time(3),
            refreshed_at: row.time(4)?,
            counter: row.int8(5)?,
            is_restricted: !row.is_null(6),
            is_aal2: row.get::<&str>(7).is_some_and(|aal| aal != AAL1),
        })
    })?;
    let Some(session) = session else { return Ok(None) };
    for subject in [&id, &session.user_id] {
        let revoked = REVOCATIONS.find_inserted(subject.as_bytes(), |row| {
            row.time(1).filter(|not_before| session.created_at < *not_before)
        })?;
        if revoked.is_some() {
            return Ok(None);
        }
    }
    Ok(Some(session))
}

/// Why a session may only finish signing in, as it stands in the table.
pub const PASSWORD_CHANGE: &str = "password_change";
/// See `PASSWORD_CHANGE`: a second factor has to be used.
pub const MFA: &str = "mfa";
/// See `PASSWORD_CHANGE`: a second factor has to be enrolled.
pub const MFA_ENROLLMENT: &str = "mfa_enrollment";

pub const AAL1: &str = "aal1";
pub const AAL2: &str = "aal2";

/// How somebody has signed in.
pub struct Opening {
    /// Claim amr.
    pub methods: Value,
    pub aal: &'static str,
    /// The second factor that was used.
    pub factor_id: Option<Uuid>,
    pub restricted: Option<&'static str>,
}

/// One entry of claim amr, as of now.
pub fn method(name: &str) -> Value {
    json!({"method": name, "timestamp": backend::clock_seconds()})
}

/// Opens a session; the least recently used ones beyond the limit end. One that only waits for a second factor ends none: whoever
/// knows the password alone could end those of its owner.
pub fn open(user_id: Uuid, opening: &Opening, config: &Config) -> Result<Uuid> {
    static OPEN: Query = Query::write(
        "insert into auth.sessions (id, user_id, amr, not_after, ip, user_agent, restricted, aal, factor_id)
        values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4), $5::inet, $6, $7, $8, $9)",
        &[
            Type::UUIDOID,
            Type::UUIDOID,
            Type::JSONBOID,
            Type::FLOAT8OID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::UUIDOID,
        ],
    );
    let id = backend::uuid_v7()?;
    OPEN.execute(&[
        to_pg(id).into(),
        to_pg(user_id).into(),
        JsonB(opening.methods.clone()).into(),
        config.session_timebox.map(|seconds| seconds as f64).into(),
        audit::client_address().map(|address| address.to_string()).into(),
        audit::user_agent().into(),
        opening.restricted.into(),
        opening.aal.into(),
        opening.factor_id.map(to_pg).into(),
    ])?;
    if opening.restricted != Some(MFA) {
        make_room(user_id, id, config)?;
    }
    Ok(id)
}

/// A second factor was used in the session: it is of level aal2, and what was restricted for want of it is not any more. The
/// counter moves so far that every refresh token from before is nobody's, those too that were refreshed in transactions that
/// rolled back: each of these is ahead of the row by one more.
pub fn raise(id: Uuid, method_name: &str, factor_id: Option<Uuid>, restricted: Option<&'static str>) -> Result<()> {
    static RAISE: Query = Query::write(
        "update auth.sessions
        set aal = 'aal2', factor_id = coalesce($3, factor_id), amr = amr || $2, restricted = $4,
            refresh_token_counter = refresh_token_counter + (1::bigint << 32), refreshed_at = clock_timestamp(), updated_at = clock_timestamp()
        where id = $1",
        &[Type::UUIDOID, Type::JSONBOID, Type::UUIDOID, Type::TEXTOID],
    );
    let methods = JsonB(json!([method(method_name)]));
    match RAISE.execute(&[to_pg(id).into(), methods.into(), factor_id.map(to_pg).into(), restricted.into()])? {
        0 => Err(Error::SessionNotFound),
        _ => {
            relation::forget();
            Ok(())
        }
    }
}

/// A factor is gone: what it has raised is of level aal1 again; without any other, so is what a recovery code has raised. A passkey
/// that verifies its user has raised by itself.
pub fn lower(user_id: Uuid, factor_id: Uuid, is_last: bool) -> Result<u64> {
    static LOWER: Query = Query::write(
        "update auth.sessions
        set aal = 'aal1', factor_id = null, updated_at = clock_timestamp()
        where user_id = $1 and aal <> 'aal1'
            and (factor_id = $2 or ($3 and not exists (select from auth.passkeys as p where p.id = factor_id)))",
        &[Type::UUIDOID, Type::UUIDOID, Type::BOOLOID],
    );
    let lowered = LOWER.execute(&[to_pg(user_id).into(), to_pg(factor_id).into(), is_last.into()])?;
    relation::forget();
    Ok(lowered)
}

/// Ends the least recently used sessions beyond the limit, but this one.
pub fn make_room(user_id: Uuid, except: Uuid, config: &Config) -> Result<()> {
    static EVICT: Query = Query::write(
        "delete from auth.sessions as s
        where s.user_id = $1 and $3 is not null and s.id in (
            select o.id
            from auth.sessions as o
            where o.user_id = $1 and o.id <> $2
            order by coalesce(o.not_after <= clock_timestamp(), false), o.restricted is not distinct from 'mfa',
                o.refreshed_at desc
            offset greatest($3 - 1, 0)
        )",
        &[Type::UUIDOID, Type::UUIDOID, Type::INT8OID],
    );
    EVICT.execute(&[to_pg(user_id).into(), to_pg(except).into(), config.max_active_sessions.into()]).map(drop)
}

/// Sessions of less than two factors end, but this one: how many.
pub fn end_weaker(user_id: Uuid, except: Uuid) -> Result<u64> {
    static END: Query = Query::write(
        "delete from auth.sessions where user_id = $1 and id <> $2 and aal = 'aal1'",
        &[Type::UUIDOID, Type::UUIDOID],
    );
    let ended = END.execute(&[to_pg(user_id).into(), to_pg(except).into()])?;
    relation::forget();
    Ok(ended)
}

/// Whether the session may only do this to finish signing in.
pub fn is_restricted_to(id: Uuid, why: &'static str) -> Result<bool> {
    static RESTRICTED: Query =
        Query::write("select 1 from auth.sessions where id = $1 and restricted = $2", &[Type::UUIDOID, Type::TEXTOID]);
    Ok(RESTRICTED.first(&[to_pg(id).into(), why.into()], |_| Ok(()))?.is_some())
}

/// By what a session began.
pub fn first_method(id: Uuid) -> Result<Option<String>> {
    static FIRST: Query =
        Query::write("select s.amr -> 0 ->> 'method' from auth.sessions as s where s.id = $1", &[Type::UUIDOID]);
    Ok(FIRST.first(&[to_pg(id).into()], |row| row.optional(1))?.flatten())
}

/// What was missing is done: the session may do all.
pub fn lift_restriction(id: Uuid) -> Result<()> {
    static LIFT: Query = Query::write(
        "update auth.sessions set restricted = null, refreshed_at = clock_timestamp(), updated_at = clock_timestamp()
        where id = $1",
        &[Type::UUIDOID],
    );
    LIFT.execute(&[to_pg(id).into()]).map(drop)
}

/// What an access token says of its session, beside the user.
pub struct Facts {
    pub counter: i64,
    pub aal: String,
    pub methods: Value,
    pub is_restricted: bool,
}

/// The facts, and the user object, in one statement.
pub fn facts(id: Uuid) -> Result<Option<(Facts, Value)>> {
    static FACTS: Query = Query::write(
        "select s.refresh_token_counter, s.aal, s.amr, s.restricted is not null, u.object
        from auth.sessions as s
        join auth.user_objects as u on u.id = s.user_id
        where s.id = $1",
        &[Type::UUIDOID],
    );
    FACTS.first(&[to_pg(id).into()], read_facts)
}

/// Moves the counter from `from` to `to`; `None` if the row has another counter by now.
pub fn advance(id: Uuid, from: i64, to: i64) -> Result<Option<(Facts, Value)>> {
    static ADVANCE: Query = Query::write(
        "update auth.sessions as s
        set refresh_token_counter = $3, refreshed_at = clock_timestamp(), updated_at = clock_timestamp()
        from auth.user_objects as u
        where s.id = $1 and s.refresh_token_counter = $2 and u.id = s.user_id
        returning s.refresh_token_counter, s.aal, s.amr, s.restricted is not null, u.object",
        &[Type::UUIDOID, Type::INT8OID, Type::INT8OID],
    );
    ADVANCE.first(&[to_pg(id).into(), from.into(), to.into()], read_facts)
}

fn read_facts(row: &crate::platform::query::Row<'_>) -> Result<(Facts, Value)> {
    Ok((
        Facts {
            counter: row.required(1)?,
            aal: row.required(2)?,
            methods: row.required::<JsonB>(3)?.0,
            is_restricted: row.required(4)?,
        },
        row.required::<JsonB>(5)?.0,
    ))
}

/// Which sessions of a user to end.
#[derive(Clone, Copy, PartialEq)]
pub enum Which {
    This(Uuid),
    AllBut(Uuid),
    All,
}

/// Ends sessions in the caller's transaction; how many.
pub fn end(user_id: Uuid, which: Which) -> Result<u64> {
    static END: Query = Query::write(
        "delete from auth.sessions
        where user_id = $1 and ($2 is null or id = $2) and ($3 is null or id <> $3)",
        &[Type::UUIDOID, Type::UUIDOID, Type::UUIDOID],
    );
    let (only, except) = match which {
        Which::This(id) => (Some(to_pg(id)), None),
        Which::AllBut(id) => (None, Some(to_pg(id))),
        Which::All => (None, None),
    };
    let ended = END.execute(&[to_pg(user_id).into(), only.into(), except.into()])?;
    // One message may hold several statements, which all began at the same time: the next one is blind already.
    relation::forget();
    Ok(ended)
}

/// Ends sessions beside the caller's transaction, durably before this returns: no ROLLBACK brings them back. The audit says
/// why.
pub fn revoke_durably(scope: Revoked, why: &audit::Entry<'_>) -> Result<()> {
    let (scope, subject) = match scope {
        Revoked::User(id) => ("user", id),
        Revoked::Session(id) => ("session", id),
    };
    let not_before = backend::iso8601(backend::clock());
    let row = json!({"scope": scope, "subject": subject, "not_before": not_before, "reason": why.event_type});
    events::write_durably(&[Event { table: "revocations", row }, why.event()])
}

/// What a revocation ends.
pub enum Revoked {
    User(Uuid),
    Session(Uuid),
}

/// Whether idle time or the absolute limit has ended the session, by the clock.
pub fn is_over(session: &Session, config: &Config) -> bool {
    let now = backend::clock();
    let idle = now.saturating_sub(session.refreshed_at);
    session.not_after.is_some_and(|not_after| not_after <= now)
        || config.refresh_token_ttl.is_some_and(|seconds| idle > seconds.saturating_mul(1_000_000))
}
