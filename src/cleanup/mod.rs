//! Cleanup: expired sessions, codes, pending sign-ups and revocations that nothing needs any more.
//!
//! In small bites, and past every row that somebody holds: nobody waits for it, and it waits for nobody.

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::{Map, Value};

use crate::config;
use crate::platform::backend;
use crate::platform::error::{Answer, Result};
use crate::platform::query::{Query, Type};

extension_sql_file!("cleanup.sql", name = "cleanup", requires = ["invitation"]);

const BITE: i64 = 1000;

/// What one bite removed.
#[derive(Default)]
pub struct Removed {
    counts: Map<String, Value>,
    /// There may be more of a kind than one bite took.
    pub is_partial: bool,
}

/// What the worker leaves of what has expired: for so long its owner is still told that it has.
pub const GRACE_SECONDS: f64 = 86_400.0;

/// Removes a bite of everything that expired so long ago, in the caller's transaction.
pub fn remove_expired(grace_seconds: f64) -> Result<Removed> {
    static SESSIONS: Query = Query::write(
        "delete from auth.sessions where id in (
            select s.id
            from auth.sessions as s
            where s.not_after <= clock_timestamp() - make_interval(secs => $2)
                or s.refreshed_at < clock_timestamp() - make_interval(secs => $2 + $3)
            limit $1
            for update skip locked)",
        &[Type::INT8OID, Type::FLOAT8OID, Type::FLOAT8OID],
    );
    static REVOKED_SESSIONS: Query = Query::write(
        "delete from auth.sessions where id in (
            select s.id
            from auth.revocations as r
            join auth.sessions as s on s.id = r.subject or s.user_id = r.subject
            where s.created_at < r.not_before
            limit $1
            for update of s skip locked)",
        &[Type::INT8OID],
    );
    // The older ones first: one that a newer one has made void would be good again without it.
    static ONE_TIME_TOKENS: Query = Query::write(
        "delete from auth.one_time_tokens where id in (
            select t.id
            from auth.one_time_tokens as t
            where t.expires_at <= clock_timestamp() - make_interval(secs => $2) or exists (
                select from auth.one_time_tokens as n
                where n.user_id = t.user_id and n.purpose = t.purpose and n.created_at > t.created_at)
            order by t.created_at
            limit $1
            for update of t skip locked)",
        &[Type::INT8OID, Type::FLOAT8OID],
    );
    static PENDING_SIGN_UPS: Query = Query::write(
        "delete from auth.pending_sign_ups where id in (
            select p.id
            from auth.pending_sign_ups as p
            where p.expires_at <= clock_timestamp() - make_interval(secs => $2) or exists (
                select from auth.pending_sign_ups as n
                where n.instance_id = p.instance_id and n.aud = p.aud and n.email_key = p.email_key
                    and n.created_at > p.created_at)
            order by p.created_at
            limit $1
            for update of p skip locked)",
        &[Type::INT8OID, Type::FLOAT8OID],
    );
    static SMS_CODES: Query = Query::write(
        "delete from auth.sms_codes where id in (
            select c.id
            from auth.sms_codes as c
            where c.expires_at <= clock_timestamp() - make_interval(secs => $2) or exists (
                select from auth.sms_codes as n
                where n.phone = c.phone and n.about is not distinct from c.about and n.created_at > c.created_at)
            order by c.created_at
            limit $1
            for update of c skip locked)",
        &[Type::INT8OID, Type::FLOAT8OID],
    );
    // As long as a session that it concerns is there, held by an open transaction, the revocation stays. Once the session
    // is gone, its tokens are refused without it.
    static REVOCATIONS: Query = Query::write(
        "delete from auth.revocations where ctid in (
            select r.ctid
            from auth.revocations as r
            where r.created_at < clock_timestamp() - interval '1 day'
                and not exists (
                    select from auth.sessions as s
                    where (s.id = r.subject or s.user_id = r.subject) and s.created_at < r.not_before
                )
            limit $1
            for update skip locked)",
        &[Type::INT8OID],
    );
    static BLOCKED_NETWORKS: Query = Query::write(
        "delete from auth.blocked_networks where network in (
            select b.network from auth.blocked_networks as b where b.expires_at <= clock_timestamp() - make_interval(secs => $2)
            limit $1 for update skip locked)",
        &[Type::INT8OID, Type::FLOAT8OID],
    );
    static FLOW_STATE: Query = Query::write(
        "delete from auth.flow_state where id in (
            select f.id from auth.flow_state as f where f.expires_at <= clock_timestamp() - make_interval(secs => $2)
            limit $1 for update skip locked)",
        &[Type::INT8OID, Type::FLOAT8OID],
    );
    static CHALLENGES: Query = Query::write(
        "delete from auth.mfa_challenges where id in (
            select c.id from auth.mfa_challenges as c where c.expires_at <= clock_timestamp() - make_interval(secs => $2)
            limit $1 for update skip locked)",
        &[Type::INT8OID, Type::FLOAT8OID],
    );
    static FACTORS: Query = Query::write(
        "delete from auth.mfa_factors where id in (
            select f.id from auth.mfa_factors as f
            where f.status = 'unverified' and f.created_at <= clock_timestamp() - interval '1 day'
            limit $1 for update skip locked)",
        &[Type::INT8OID],
    );
    // Nobody is told more about one that has expired than about one that is gone.
    static WEBAUTHN_CHALLENGES: Query = Query::write(
        "delete from auth.webauthn_challenges where id in (
            select c.id from auth.webauthn_challenges as c where c.expires_at <= clock_timestamp()
            limit $1 for update skip locked)",
        &[Type::INT8OID],
    );
    // For a month it can be looked up whether a mail was sent.
    static OUTBOX: Query = Query::write(
        "delete from auth.outbox where id in (
            select o.id from auth.outbox as o
            where o.status <> 'pending' and o.created_at <= clock_timestamp() - interval '30 days'
            limit $1 for update skip locked)",
        &[Type::INT8OID],
    );
    let idle_limit = config::current()?.refresh_token_ttl.map(|seconds| seconds as f64);
    let mut removed = Removed::default();
    let sessions = SESSIONS.execute(&[BITE.into(), grace_seconds.into(), idle_limit.into()])?;
    removed.note("sessions", sessions + REVOKED_SESSIONS.execute(&[BITE.into()])?);
    removed.note("one_time_tokens", ONE_TIME_TOKENS.execute(&[BITE.into(), grace_seconds.into()])?);
    removed.note("pending_sign_ups", PENDING_SIGN_UPS.execute(&[BITE.into(), grace_seconds.into()])?);
    removed.note("sms_codes", SMS_CODES.execute(&[BITE.into(), grace_seconds.into()])?);
    removed.note("flow_state", FLOW_STATE.execute(&[BITE.into(), grace_seconds.into()])?);
    removed.note("mfa_challenges", CHALLENGES.execute(&[BITE.into(), grace_seconds.into()])?);
    removed.note("mfa_factors", FACTORS.execute(&[BITE.into()])?);
    removed.note("webauthn_challenges", WEBAUTHN_CHALLENGES.execute(&[BITE.into()])?);
    removed.note("outbox", OUTBOX.execute(&[BITE.into()])?);
    removed.note("revocations", REVOCATIONS.execute(&[BITE.into()])?);
    removed.note("blocked_networks", BLOCKED_NETWORKS.execute(&[BITE.into(), grace_seconds.into()])?);
    Ok(removed)
}

impl Removed {
    fn note(&mut self, kind: &str, rows: u64) {
        self.is_partial |= rows >= BITE as u64;
        self.counts.insert(kind.into(), rows.into());
    }
}

#[pg_extern(sql = false)]
fn cleanup() -> Answer<JsonB> {
    backend::must_write()?;
    Ok(JsonB(Value::Object(remove_expired(0.0)?.counts)))
}
