//! What the tests of the courier stand on: a database with a stand-in for the outbox, a real relay, the real program.

use auth_harness::postgres::types::Json;
use auth_harness::{Client, Cluster, Database, Program, Relay, RelayOptions, sidecar_command, wait_until};
use serde_json::{Value, json};
use uuid::Uuid;

pub const EXTERNAL_URL: &str = "https://auth.example.org/base";

pub struct Stage {
    pub relay: Relay,
    pub settings: Vec<(String, String)>,
    pub superuser: Client,
    // Dropped last: whoever is connected goes first.
    pub database: Database,
}

/// A row as it stands now.
#[derive(Debug)]
pub struct State {
    pub status: String,
    pub attempts: i32,
    pub error: String,
    pub retry_in: Option<i32>,
}

impl Stage {
    pub fn new() -> Stage {
        Stage::with(Relay::start())
    }

    pub fn with_options(options: RelayOptions<'_>) -> Stage {
        Stage::with(Relay::with(options))
    }

    pub fn with(relay: Relay) -> Stage {
        Stage::on(Cluster::shared().empty_database(), relay)
    }

    pub fn on(database: Database, relay: Relay) -> Stage {
        let mut superuser = database.superuser();
        superuser.batch_execute(include_str!("courier.sql")).unwrap();
        let settings = settings(&database.url("sidecar"), &relay);
        Stage { relay, settings, superuser, database }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Dropped, it is killed: what it had asked the server for may still be claimed, for as long as the lease is. Where
    /// another one is to go on, `stop` it.
    pub fn courier(&self) -> Program {
        start_courier(&self.settings)
    }

    /// A row of the outbox, and the NOTIFY that comes with it.
    pub fn queue(&mut self, row: Value) -> Uuid {
        let sql = "with row as (
                insert into auth.outbox (channel, kind, recipient, locale, payload, template)
                select coalesce(($1::jsonb)->>'channel', 'email'), coalesce(($1::jsonb)->>'kind', 'otp'),
                    coalesce(($1::jsonb)->>'recipient', 'ada@example.org'), ($1::jsonb)->>'locale', ($1::jsonb)->'payload', ($1::jsonb)->'template'
                returning id)
            select id, pg_notify('auth_outbox', '') is null from row";
        let payload = row.get("payload").cloned().unwrap_or_else(payload);
        let mut row = row;
        row["payload"] = payload;
        self.superuser.query_one(sql, &[&Json(row)]).unwrap().get(0)
    }

    pub fn state(&mut self, id: Uuid) -> State {
        let sql = "select status, attempts, coalesce(error, ''), retry_in from auth.outbox where id = $1";
        let row = self.superuser.query_one(sql, &[&id]).unwrap();
        State { status: row.get(0), attempts: row.get(1), error: row.get(2), retry_in: row.get(3) }
    }

    /// For longer than a lease: what was claimed by somebody who was killed comes after it.
    #[track_caller]
    pub fn wait_for_status(&mut self, id: Uuid, status: &str) -> State {
        wait_until(&format!("the row to be {status}"), || self.state(id).status == status);
        self.state(id)
    }

    /// Until it was tried, and is to be tried again.
    #[track_caller]
    pub fn wait_for_retry(&mut self, id: Uuid) -> State {
        wait_until("an attempt to have failed", || {
            let state = self.state(id);
            state.status == "pending" && !state.error.is_empty()
        });
        self.state(id)
    }

    pub fn message_id(&mut self, id: Uuid) -> String {
        let row = self.superuser.query_one("select message_id from auth.outbox where id = $1", &[&id]).unwrap();
        format!("<{}>", row.get::<_, String>(0))
    }

    /// What the stand-in takes for a lease and for the time to the next attempt.
    pub fn pace(&mut self, lease: &str, retry: &str) {
        self.superuser
            .execute("update auth.pace set lease = $1::text::interval, retry = $2::text::interval", &[&lease, &retry])
            .unwrap();
    }
}

pub fn settings(url: &str, relay: &Relay) -> Vec<(String, String)> {
    let mut settings = vec![
        ("AUTH_DATABASE__URL".to_owned(), url.to_owned()),
        ("AUTH_EXTERNAL_URL".to_owned(), EXTERNAL_URL.to_owned()),
        ("AUTH_HTTP__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("AUTH_LOG__LEVEL".to_owned(), "debug".to_owned()),
    ];
    for (name, value) in [
        ("HOST", "127.0.0.1"),
        ("PORT", &relay.port().to_string()),
        ("TLS", "none"),
        ("SENDER", "Ada Lovelace <auth@example.org>"),
        ("TIMEOUT_SECONDS", "5"),
    ] {
        settings.push((format!("AUTH_SMTP__{name}"), value.to_owned()));
    }
    settings.push(("AUTH_COURIER__POLL_SECONDS".to_owned(), "1".to_owned()));
    settings
}

pub fn start_courier(settings: &[(String, String)]) -> Program {
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Program::start(sidecar_command(&["serve"], &settings))
}

/// A mail with a link and a code that are good for a while.
pub fn payload() -> Value {
    json!({
        "type": "signup", "token": "tokentokentoken", "code": "987654",
        "code_expires_at": "2999-01-01T00:00:00+00:00", "expires_at": "2999-01-01T00:00:00+00:00",
        "redirect_to": "https://app.example.org/welcome", "site_url": "https://app.example.org",
        "email": "ada@example.org",
        "user": {"id": "1", "email": "ada@example.org", "user_metadata": {}},
    })
}

pub fn payload_with(changes: Value) -> Value {
    let mut payload = payload();
    for (name, value) in changes.as_object().unwrap() {
        payload[name] = value.clone();
    }
    payload
}
