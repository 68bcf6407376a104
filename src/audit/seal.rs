//! Sealing, by the worker: committed rows get the next numbers of the sequence and a MAC each. Verifying, by anybody with
//! the keyring.

use auth_core::audit::{self, Row, Sealer};
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};

use crate::keys;
use crate::platform::backend::from_pg;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::query::{Query, Type};

const BATCH: i32 = 500;

/// What a seal covers, beside sequence and user: canonical, because jsonb has one text for one value.
macro_rules! content {
    () => {
        "jsonb_build_array(a.id, a.session_id, a.event_type, a.success, a.code, a.event_data, text(a.ip), a.user_agent,
            a.count, case when isfinite(a.created_at) then (extract(epoch from a.created_at) * 1000000)::bigint end)::text"
    };
}

struct Head {
    sequence: i64,
    seal: Vec<u8>,
}

/// The last sealed row, or the last that was removed; none at the beginning.
fn head() -> Result<Head> {
    static HEAD: Query = Query::write(
        "(select a.sequence, a.seal from auth.audit_log as a where a.sequence is not null order by a.sequence desc limit 1)
        union all
        (select n.last_sequence, n.last_seal from auth.audit_anchors as n order by n.last_sequence desc limit 1)
        order by 1 desc limit 1",
        &[],
    );
    let head = HEAD.first(&[], |row| Ok(Head { sequence: row.required(1)?, seal: row.required(2)? }))?;
    Ok(head.unwrap_or(Head { sequence: 0, seal: Vec::new() }))
}

/// Seals a batch of committed rows, oldest first; whether more wait.
pub fn seal_some() -> Result<bool> {
    // One at a time: no client has a right to this table, so nobody else can hold it for long.
    static LOCK: Query = Query::write("lock table auth.audit_anchors in share row exclusive mode", &[]);
    static UNSEALED: Query = Query::write(
        concat!(
            "select a.id, a.user_id, ",
            content!(),
            " from auth.audit_log as a where a.sequence is null order by a.created_at, a.id limit $1"
        ),
        &[Type::INT4OID],
    );
    static SEAL: Query = Query::write(
        "update auth.audit_log as a
        set sequence = s.sequence, seal = s.seal
        from unnest($1, $2, $3) as s (id, sequence, seal)
        where a.sequence is null and a.id = s.id",
        &[Type::UUIDARRAYOID, Type::INT8ARRAYOID, Type::BYTEAARRAYOID],
    );
    LOCK.execute(&[])?;
    let head = head()?;
    let root = keys::root()?;
    let sealer = Sealer::new(root.current());
    let (mut ids, mut sequences, mut seals) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = head.seal;
    UNSEALED.each(&[BATCH.into()], |row| {
        let sequence = head.sequence + ids.len() as i64 + 1;
        let user_id = row.optional::<pgrx::Uuid>(2)?.map(|id| *id.as_bytes());
        let content: String = row.required(3)?;
        last = sealer.seal(&last, &Row { sequence: sequence as u64, user_id, content: &content }).to_vec();
        ids.push(row.required::<pgrx::Uuid>(1)?);
        sequences.push(sequence);
        seals.push(last.clone());
        Ok(())
    })?;
    if ids.is_empty() {
        return Ok(false);
    }
    let found = ids.len();
    if SEAL.execute(&[ids.into(), sequences.into(), seals.into()])? != found as u64 {
        return Err(Error::Internal("audit rows changed while they were sealed".into()));
    }
    Ok(found == BATCH as usize)
}

/// Empties the slot that next month will need, which holds what is two years old, and vouches for the gap in the chain.
pub fn empty_next_slot() -> Result<()> {
    static NEXT: Query = Query::write(
        "select n.slot
        from (
            select (date_part('year', t)::integer * 12 + date_part('month', t)::integer) % 24 as slot
            from (select clock_timestamp() at time zone 'UTC' as t) as now
        ) as n
        where exists (select from auth.audit_log as a where a.slot = n.slot)
            and not exists (
                select from auth.audit_log as a
                where a.slot = n.slot
                    and (a.sequence is null or a.created_at > clock_timestamp() - interval '22 months')
            )",
        &[],
    );
    // Rows from around the turn of a month may have taken their numbers in another order, so there may be several runs.
    static RUNS: Query = Query::write(
        "select min(r.sequence), max(r.sequence), (array_agg(r.seal order by r.sequence desc))[1]
        from (
            select a.sequence, a.seal, a.sequence - row_number() over (order by a.sequence) as run
            from auth.audit_log as a where a.slot = $1
        ) as r
        group by r.run",
        &[Type::INT4OID],
    );
    static ANCHOR: Query = Query::write(
        "insert into auth.audit_anchors (first_sequence, last_sequence, last_seal, seal) values ($1, $2, $3, $4)",
        &[Type::INT8OID, Type::INT8OID, Type::BYTEAOID, Type::BYTEAOID],
    );
    let Some(slot) = NEXT.first(&[], |row| row.required::<i32>(1))? else { return Ok(()) };
    let root = keys::root()?;
    let sealer = Sealer::new(root.current());
    let mut runs: Vec<(i64, i64, Vec<u8>)> = Vec::new();
    RUNS.each(&[slot.into()], |row| {
        runs.push((row.required(1)?, row.required(2)?, row.required(3)?));
        Ok(())
    })?;
    for (first, last, last_seal) in runs {
        let anchor = sealer.anchor(first as u64, last as u64, &last_seal);
        ANCHOR.execute(&[first.into(), last.into(), last_seal.into(), anchor.into()])?;
    }
    Spi::run(&format!("truncate auth.audit_log_{slot:02}"))?;
    Ok(())
}

/// Walks the chain.
struct Walk {
    root: keys::Root,
    sealers: Vec<(u32, Sealer)>,
    first: Option<i64>,
    last: Head,
    sealed: i64,
}

impl Walk {
    fn sealer(&mut self, seal: &[u8]) -> Result<Option<&Sealer>> {
        let Some(id) = audit::key_id(seal) else { return Ok(None) };
        let place = match self.sealers.iter().position(|(known, _)| *known == id) {
            Some(place) => place,
            None => {
                let Some(key) = self.root.find(id) else {
                    return match keys::unknown_root_key(id)? {
                        Some(missing) => Err(missing),
                        None => Ok(None),
                    };
                };
                self.sealers.push((id, Sealer::new(key)));
                self.sealers.len() - 1
            }
        };
        Ok(Some(&self.sealers[place].1))
    }

    /// Steps over rows that were removed on purpose.
    fn pass_anchors(&mut self) -> Result<()> {
        static ANCHOR: Query = Query::write(
            "select n.last_sequence, n.last_seal, n.seal from auth.audit_anchors as n where n.first_sequence = $1",
            &[Type::INT8OID],
        );
        loop {
            let first = self.last.sequence + 1;
            let mut anchors: Vec<(i64, Vec<u8>, Vec<u8>)> = Vec::new();
            ANCHOR.each(&[first.into()], |row| {
                anchors.push((row.required(1)?, row.required(2)?, row.required(3)?));
                Ok(())
            })?;
            let mut passed = false;
            for (last, last_seal, anchor) in anchors {
                let sealer = self.sealer(&anchor)?;
                if last >= first
                    && sealer.is_some_and(|sealer| sealer.verify_anchor(first as u64, last as u64, &last_seal, &anchor))
                {
                    self.last = Head { sequence: last, seal: last_seal };
                    passed = true;
                    break;
                }
            }
            if !passed {
                return Ok(());
            }
        }
    }

    /// Why this row cannot be the next one.
    fn step(&mut self, sequence: i64, user_id: Option<[u8; 16]>, content: &str, seal: Vec<u8>) -> Result<Option<&str>> {
        if sequence != self.last.sequence + 1 {
            self.pass_anchors()?;
        }
        if sequence <= self.last.sequence {
            return Ok(Some("its sequence number came before"));
        }
        if sequence != self.last.sequence + 1 {
            return Ok(Some("rows before it are missing"));
        }
        let previous = std::mem::take(&mut self.last.seal);
        let row = Row { sequence: sequence as u64, user_id, content };
        if !self.sealer(&seal)?.is_some_and(|sealer| sealer.verify(&previous, &row, &seal)) {
            return Ok(Some("it is not what was sealed"));
        }
        self.first.get_or_insert(sequence);
        self.last = Head { sequence, seal };
        self.sealed += 1;
        Ok(None)
    }
}

#[pg_extern(sql = false)]
fn verify_audit() -> Answer<JsonB> {
    static PAGE: Query = Query::write(
        concat!(
            "select a.sequence, a.id, a.user_id, ",
            content!(),
            ", a.seal,
                case when isfinite(a.created_at) then
                    (date_part('year', a.created_at at time zone 'UTC')::integer * 12
                        + date_part('month', a.created_at at time zone 'UTC')::integer - 1) % 24 = a.slot
                end
            from auth.audit_log as a where a.sequence > $1 or (a.sequence = $1 and a.id > $2)
            order by a.sequence, a.id limit 1000"
        ),
        &[Type::INT8OID, Type::UUIDOID],
    );
    static UNSEALED: Query = Query::write(
        "select count(*), auth.rfc3339(min(a.created_at)) from auth.audit_log as a where a.sequence is null",
        &[],
    );
    let mut walk = Walk {
        root: keys::root()?,
        sealers: Vec::new(),
        first: None,
        last: Head { sequence: 0, seal: Vec::new() },
        sealed: 0,
    };
    let mut broken = Value::Null;
    let mut page_end = (i64::MIN, pgrx::Uuid::from_bytes([0; 16]));
    while broken.is_null() {
        let mut rows = 0;
        PAGE.each(&[page_end.0.into(), page_end.1.into()], |row| {
            rows += 1;
            let (sequence, id): (i64, pgrx::Uuid) = (row.required(1)?, row.required(2)?);
            page_end = (sequence, id);
            if broken.is_null() {
                let user_id = row.optional::<pgrx::Uuid>(3)?.map(|id| *id.as_bytes());
                let (content, seal) = (row.required::<String>(4)?, row.optional(5)?.unwrap_or_default());
                let is_in_its_slot = row.optional::<bool>(6)? == Some(true);
                let reason = match walk.step(sequence, user_id, &content, seal)? {
                    None if !is_in_its_slot => Some("it is in the slot of another month"),
                    reason => reason,
                };
                if let Some(reason) = reason {
                    broken = json!({"sequence": sequence, "id": from_pg(id), "reason": reason});
                }
            }
            Ok(())
        })?;
        if rows == 0 {
            break;
        }
    }
    walk.pass_anchors()?;
    let (unsealed, oldest): (i64, Option<String>) =
        UNSEALED.first(&[], |row| Ok((row.required(1)?, row.optional(2)?)))?.unwrap_or_default();
    let hex: String = walk.last.seal.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(JsonB(json!({
        "sealed": walk.sealed,
        "first_sequence": walk.first,
        "last_sequence": walk.last.sequence,
        "last_seal": hex,
        "unsealed": unsealed,
        "oldest_unsealed": oldest,
        "broken": broken,
    })))
}
