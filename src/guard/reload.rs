//! The counters after a restart: they are what the audit's recent rows add up to.

use pgrx::prelude::*;

use super::attempt::{CODE, FACTOR, PASSWORD, SMS, SPENT, Secret};
use super::table::{self, Key, Remembered};
use crate::config::{Config, Limit};
use crate::platform::backend;
use crate::platform::error::{Error, Result};
use crate::platform::query::{Query, Type};

/// Every secret whose guesses are counted.
const SECRETS: &[&Secret] = &[&PASSWORD, &CODE, &SMS, &FACTOR];

/// How long others wait for the caller who reads them back.
const LONGEST_WAIT_MICROSECONDS: i64 = 10_000_000;

/// The first caller in a database after the server's start reads them back, and whoever comes meanwhile waits for it.
pub fn once(config: &Config) -> Result<()> {
    if table::is_loaded()? || table::is_loaded_by_another(LONGEST_WAIT_MICROSECONDS)? {
        return Ok(());
    }
    let _loading = table::Loading::begin()?;
    for kind in SECRETS {
        reload(kind, config)?;
    }
    reload_networks(config)?;
    reload_spent()?;
    table::set_loaded()
}

/// What is counted against each subject: its failures since it was last forgiven or locked, and its last lock.
fn reload(kind: &'static Secret, config: &Config) -> Result<()> {
    // Refusals that were made because of a count were not counted themselves. Successes are looked up by account, since
    // there may be millions of them.
    static SUBJECTS: Query = Query::write(
        "with failures as (
            select a.event_data ->> 'subject' as subject, a.created_at, a.count
            from auth.audit_log as a
            where a.event_type = $1 and a.created_at > clock_timestamp() - make_interval(secs => $3)
                and a.code in ('invalid_credentials', 'current_password_invalid', 'otp_expired',
                    'reauthentication_not_valid', 'mfa_verification_failed', 'mfa_verification_rejected', 'mfa_challenge_expired',
                    'user_banned', 'user_not_found', 'rolled_back', 'aborted')
        ), locks as (
            select distinct on (1)
                a.event_data ->> 'subject' as subject, a.created_at,
                (a.event_data ->> 'seconds')::bigint as seconds, (a.event_data ->> 'locks')::integer as locks
            from auth.audit_log as a
            where a.event_type = $2 and a.created_at > clock_timestamp() - interval '48 hours'
            order by 1, a.created_at desc
        ), resets as (
            select a.event_data ->> 'subject' as subject, max(a.created_at) as at
            from auth.audit_log as a
            where a.event_type = 'guard_reset' and a.created_at > clock_timestamp() - interval '48 hours'
            group by 1
        ), subjects as (
            select s.subject, greatest(r.at, g.at) as forgiven_at
            from (select subject from failures union select subject from locks) as s
            left join resets as r on r.subject = s.subject
            left join auth.users as u
                on u.instance_id = '00000000-0000-0000-0000-000000000000' and u.aud = 'authenticated'
                and u.email_key = s.subject and u.deleted_at is null
            left join auth.users as p
                on p.instance_id = '00000000-0000-0000-0000-000000000000' and p.aud = 'authenticated'
                and p.phone = s.subject and p.deleted_at is null
            left join lateral (
                select max(a.created_at) as at
                from auth.audit_log as a
                where a.user_id = coalesce(u.id, p.id, case when s.subject ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then s.subject::uuid end)
                    and a.event_type = $5
                    and a.created_at > clock_timestamp() - interval '48 hours'
            ) as g on true
            where s.subject is not null
        )
        select s.subject, coalesce(f.failures, 0)::bigint, coalesce(f.last_at, l.created_at),
            l.created_at, l.seconds, l.locks
        from subjects as s
        left join locks as l on l.subject = s.subject and l.created_at > coalesce(s.forgiven_at, '-infinity')
        left join lateral (
            select sum(f.count) as failures, max(f.created_at) as last_at
            from failures as f
            where f.subject = s.subject and f.created_at > coalesce(greatest(s.forgiven_at, l.created_at), '-infinity')
        ) as f on true
        where f.failures > 0 or l.locks > 0
        order by 2 desc
        limit $4",
        &[Type::TEXTOID, Type::TEXTOID, Type::FLOAT8OID, Type::INT8OID, Type::TEXTOID],
    );
    let (Some((limit, _)), Some(locked)) = (kind.lockout(config), kind.locked) else { return Ok(()) };
    let mut subjects = Vec::new();
    let seconds = limit.per as f64 / 1e6;
    let arguments = [kind.failure.into(), locked.into(), seconds.into(), table::capacity().into(), kind.success.into()];
    SUBJECTS.each(&arguments, |row| {
        let time = |column| Ok::<_, Error>(row.optional::<TimestampWithTimeZone>(column)?.map(i64::from).unwrap_or(0));
        let remembered = Remembered {
            count: u32::try_from(row.required::<i64>(2)?).unwrap_or(u32::MAX),
            ends_at: time(3)?.saturating_add(limit.per),
            locked_until: time(4)? + row.optional::<i64>(5)?.unwrap_or(0) * 1_000_000,
            locks: row.optional::<i32>(6)?.unwrap_or(0) as u32,
        };
        subjects.push((row.required::<String>(1)?, remembered));
        Ok(())
    })?;
    for (subject, remembered) in subjects {
        table::restore(Key::new(kind.name, &subject, "")?, &limit, &remembered)?;
    }
    Ok(())
}

fn reload_networks(config: &Config) -> Result<()> {
    static BLOCKS: Query = Query::write(
        "select a.event_data ->> 'network', (a.event_data ->> 'seconds')::bigint, (a.event_data ->> 'locks')::integer,
            a.created_at
        from auth.audit_log as a
        where a.event_type = 'network_blocked' and a.created_at > clock_timestamp() - interval '48 hours'
            and not exists (
                select from auth.audit_log as r
                where r.event_type = 'guard_reset' and r.created_at > a.created_at
                    and r.event_data ->> 'subject' = a.event_data ->> 'network'
            )
        order by a.created_at, a.id",
        &[],
    );
    let Some(limit) = config.limits.network else { return Ok(()) };
    let mut blocks = Vec::new();
    BLOCKS.each(&[], |row| {
        let at = i64::from(row.required::<TimestampWithTimeZone>(4)?);
        let remembered = Remembered {
            locked_until: at + row.required::<i64>(2)? * 1_000_000,
            locks: row.required::<i32>(3)? as u32,
            ..Remembered::default()
        };
        blocks.push((row.required::<String>(1)?, remembered));
        Ok(())
    })?;
    let now = backend::clock();
    for (network, remembered) in blocks.iter().filter(|(_, remembered)| remembered.locked_until > now) {
        table::restore(Key::new("network", network, "")?, &limit, remembered)?;
    }
    Ok(())
}

/// One-time tokens that a transaction has spent which did not commit.
fn reload_spent() -> Result<()> {
    static SPENT_TOKENS: Query = Query::write(
        "select a.event_data ->> 'token', (a.event_data ->> 'token_ends')::timestamptz
        from auth.audit_log as a
        where a.event_type in ('otp_failure', 'link_failure', 'sms_failure', 'mfa_failure', 'login_failure', 'passkey_failure')
            and a.code <> 'interrupted'
            and a.event_data ? 'token' and a.created_at > clock_timestamp() - interval '31 days'
            and (a.event_data ->> 'token_ends')::timestamptz > clock_timestamp()",
        &[],
    );
    let mut spent = Vec::new();
    SPENT_TOKENS.each(&[], |row| {
        spent.push((row.required::<String>(1)?, i64::from(row.required::<TimestampWithTimeZone>(2)?)));
        Ok(())
    })?;
    for (token, ends_at) in spent {
        let limit = Limit { most: 1, per: 1, extends: false };
        table::restore(
            Key::new(SPENT, &token, "")?,
            &limit,
            &Remembered { count: 1, ends_at, ..Remembered::default() },
        )?;
    }
    Ok(())
}
