//! Webhooks: who is told of what happened, by a signed POST (Standard Webhooks 1.0).

use auth_core::seal::Place;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Message;
use crate::keys;
use crate::platform::backend::{self, from_pg, to_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::given;
use crate::platform::query::{Query, Type};
use crate::platform::relation::{self, Relation};

static WEBHOOKS: Relation = Relation::cached(c"webhooks", c"webhooks_pkey", &[c"id"]);

thread_local! {
    /// Whether there is one, and for which generation of the catalog that is known.
    static ANY: std::cell::Cell<(u64, bool)> = const { std::cell::Cell::new((0, false)) };
}

fn place(id: &Uuid) -> Place<'_> {
    Place { table: "webhooks", column: "secret_sealed", row: id.as_bytes() }
}

/// Writes the calls of an event for all that want it. Asked at every event, so a backend remembers whether there is anybody.
pub fn announce(event_type: &str, data: impl FnOnce() -> Value) -> Result<()> {
    static WANTED: Query = Query::write(
        "select w.id, w.url, w.secret_sealed from auth.webhooks as w where w.events = '{}' or $1 = any (w.events)",
        &[Type::TEXTOID],
    );
    WEBHOOKS.table()?;
    let generation = relation::generation();
    if ANY.get() == (generation, false) {
        return Ok(());
    }
    let is_any = WEBHOOKS.every(|_| Some(()))?.is_some();
    ANY.set((generation, is_any));
    if !is_any {
        return Ok(());
    }
    let mut wanted = Vec::new();
    WANTED.each(&[event_type.into()], |row| {
        wanted.push((from_pg(row.required(1)?), row.required::<String>(2)?, row.required::<Vec<u8>>(3)?));
        Ok(())
    })?;
    let body = json!({"type": event_type, "timestamp": backend::iso8601(backend::clock()), "data": data()}).to_string();
    for (id, url, sealed) in wanted {
        // A secret that does not open must not keep people from signing in: the courier gives the call up, visibly.
        let secret = keys::root()?.open(&place(&id), &sealed).ok();
        let secret = secret.as_ref().map(|secret| String::from_utf8_lossy(secret));
        let payload = json!({"url": url, "secret": secret, "body": body});
        super::write(&Message {
            channel: "webhook",
            kind: event_type,
            recipient: &url,
            locale: None,
            payload,
            expires_at: None,
        })?;
    }
    Ok(())
}

#[pg_extern(sql = false)]
fn add_webhook(url: Option<&str>, events: Option<Vec<Option<String>>>) -> Answer<JsonB> {
    static ADD: Query = Query::write(
        "insert into auth.webhooks (id, url, events, secret_sealed) values ($1, $2, $3, $4)",
        &[Type::UUIDOID, Type::TEXTOID, Type::TEXTARRAYOID, Type::BYTEAOID],
    );
    backend::must_write()?;
    let url = given(url, "url")?;
    let is_address = (url.starts_with("https://") || url.starts_with("http://"))
        && url.len() <= 2000
        && !url.contains(|character: char| character.is_whitespace() || character.is_control());
    if !is_address {
        return Err(Error::invalid("url is no http or https address", "such as https://example.org/hook").into());
    }
    // A null that is dropped would make of one event all of them.
    let events: Option<Vec<String>> = events.unwrap_or_default().into_iter().collect();
    let events = events.ok_or_else(|| Error::invalid("an event is null", "name it as in auth.audit_log"))?;
    let id = backend::uuid_v4()?;
    let key = Zeroizing::new(backend::random::<32>()?);
    let secret = Zeroizing::new(format!("whsec_{}", BASE64_STANDARD.encode(key.as_slice())));
    let sealed = keys::root()?.seal(&place(&id), secret.as_bytes())?;
    ADD.execute(&[to_pg(id).into(), url.into(), events.into(), sealed.into()])?;
    Ok(JsonB(json!({"id": id, "secret": secret.as_str()})))
}

#[pg_extern(sql = false)]
fn remove_webhook(id: Option<pgrx::Uuid>) -> Answer<()> {
    static REMOVE: Query = Query::write("delete from auth.webhooks where id = $1", &[Type::UUIDOID]);
    backend::must_write()?;
    match REMOVE.execute(&[given(id, "id")?.into()])? {
        0 => Err(Error::invalid("no such webhook", "auth.webhooks lists them").into()),
        _ => Ok(()),
    }
}
