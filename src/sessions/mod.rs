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
use crate::platform::error::Result;
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
}

static SESSIONS: Relation = Relation::new(
    c"sessions",
    c"sessions_pkey",
    &[c"id", c"user_id", c"created_at", c"not_after", c"refreshed_at", c"refresh_token_counter", c"restricted"],
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

/// Opens a session; the least recently used ones beyond the limit end.
pub fn open(user_id: Uuid, method: &str, aal: &str, restricted: Option<&'static str>, config: &Config) -> Result<Uuid> {
    static OPEN: Query = Query::write(
        "with evicted as (
            delete from auth.sessions as s
            where s.user_id = $2 and $5 is not null and s.id in (
                select o.id
                from auth.sessions as o
                where o.user_id = $2
                order by coalesce(o.not_after <= clock_timestamp(), false), o.refreshed_at desc
                offset greatest($5 - 1, 0)
            )
        )
        insert into auth.sessions (id, user_id, amr, not_after, ip, user_agent, restricted, aal)
        values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4), $6::inet, $7, $8, $9)",
        &[
            Type::UUIDOID,
            Type::UUIDOID,
            Type::JSONBOID,
            Type::FLOAT8OID,
            Type::INT8OID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::TEXTOID,
            Type::TEXTOID,
        ],
    );
    let id = backend::uuid_v7()?;
    let methods = json!([{"method": method, "timestamp": backend::clock_seconds()}]);
    OPEN.execute(&[
        to_pg(id).into(),
        to_pg(user_id).into(),
        JsonB(methods).into(),
        config.session_timebox.map(|seconds| seconds as f64).into(),
        config.max_active_sessions.into(),
        audit::client_address().map(|address| address.to_string()).into(),
        audit::user_agent().into(),
        restricted.into(),
        aal.into(),
    ])?;
    Ok(id)
}

/// Whether the session may only do this to finish signing in.
pub fn is_restricted_to(id: Uuid, why: &'static str) -> Result<bool> {
    static RESTRICTED: Query =
        Query::write("select 1 from auth.sessions where id = $1 and restricted = $2", &[Type::UUIDOID, Type::TEXTOID]);
    Ok(RESTRICTED.first(&[to_pg(id).into(), why.into()], |_| Ok(()))?.is_some())
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
