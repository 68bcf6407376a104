//! The counters after a restart: they are what the audit's recent rows add up to.

use std::collections::HashMap;

use pgrx::prelude::*;

use super::attempt::{PASSWORD, Secret};
use super::table::{self, Key, Remembered};
use crate::config::{Config, Limit};
use crate::platform::backend;
use crate::platform::error::Result;
use crate::platform::query::{Query, Type};

/// Every secret whose guesses are counted.
const SECRETS: &[&Secret] = &[&PASSWORD];

/// The first caller in a database after the server's start reads them back; whoever comes meanwhile does the same.
pub fn once(config: &Config) -> Result<()> {
    if table::is_loaded()? {
        return Ok(());
    }
    for kind in SECRETS {
        reload(kind, config)?;
    }
    reload_networks(config)?;
    table::set_loaded()
}

struct Row {
    event_type: String,
    subject: String,
    count: u32,
    at: i64,
    seconds: i64,
    locks: u32,
}

/// Adds up rows in the order in which they happened.
fn fold(rows: Vec<Row>, kind: &Secret, limit: &Limit) -> HashMap<String, Remembered> {
    let mut all: HashMap<String, Remembered> = HashMap::new();
    for row in rows {
        let remembered = all.entry(row.subject).or_default();
        if row.event_type == kind.failure {
            if remembered.ends_at <= row.at {
                remembered.count = 0;
            }
            remembered.count += row.count;
            remembered.ends_at = row.at + limit.per;
        } else if Some(row.event_type.as_str()) == kind.locked {
            *remembered = Remembered {
                locked_until: row.at + row.seconds * 1_000_000,
                locks: row.locks,
                ..Remembered::default()
            };
        } else {
            *remembered = Remembered::default();
        }
    }
    all
}

fn reload(kind: &'static Secret, config: &Config) -> Result<()> {
    // Failures count while the lockout counter remembers them; locks as long as their repetition lasts longer. Refusals
    // that were made because of a count were not counted themselves.
    static ROWS: Query = Query::write(
        "select a.event_type, coalesce(a.event_data ->> 'subject', ''), a.count, a.created_at,
            coalesce((a.event_data ->> 'seconds')::bigint, 0), coalesce((a.event_data ->> 'locks')::integer, 0)
        from auth.audit_log as a
        where a.event_type in ($1, $2, 'login_success', 'guard_reset')
            and a.created_at > clock_timestamp() - interval '48 hours'
            and (a.event_type <> $1
                or (a.created_at > clock_timestamp() - make_interval(secs => $3)
                    and a.code in ('invalid_credentials', 'user_banned', 'user_not_found', 'rolled_back', 'aborted')))
        order by a.created_at, a.id",
        &[Type::TEXTOID, Type::TEXTOID, Type::FLOAT8OID],
    );
    let Some((limit, _)) = config.limits.lockout else { return Ok(()) };
    let mut rows = Vec::new();
    let seconds = limit.per as f64 / 1e6;
    ROWS.each(&[kind.failure.into(), kind.locked.into(), seconds.into()], |row| {
        rows.push(Row {
            event_type: row.required(1)?,
            subject: row.required(2)?,
            count: row.required::<i32>(3)? as u32,
            at: i64::from(row.required::<TimestampWithTimeZone>(4)?),
            seconds: row.required(5)?,
            locks: row.required::<i32>(6)? as u32,
        });
        Ok(())
    })?;
    for (subject, remembered) in fold(rows, kind, &limit) {
        if remembered.count > 0 || remembered.locks > 0 {
            table::restore(Key::new(kind.name, &subject, "")?, &limit, &remembered)?;
        }
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
