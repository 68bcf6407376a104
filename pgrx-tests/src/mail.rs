//! The courier of the tests: takes what the outbox holds, as the sidecar does, and says how that ended.

use postgres::GenericClient;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::database::Database;

/// A row of the outbox, as a courier sees it.
#[derive(Debug, Clone)]
pub struct Mail {
    pub id: Uuid,
    pub channel: String,
    pub kind: String,
    pub recipient: String,
    pub locale: Option<String>,
    pub message_id: String,
    pub attempts: i32,
    pub payload: Value,
    pub template: Option<Value>,
}

impl Mail {
    /// The secret of its link.
    #[track_caller]
    pub fn token(&self) -> &str {
        self.text("token")
    }

    #[track_caller]
    pub fn code(&self) -> &str {
        self.text("code")
    }

    /// A member of what the template is filled with.
    #[track_caller]
    pub fn text(&self, name: &str) -> &str {
        self.payload[name].as_str().unwrap_or_else(|| panic!("a mail of kind {} has no {name}", self.kind))
    }

    pub fn settled(&self, outcome: &str) -> Value {
        json!({"id": self.id.to_string(), "attempts": self.attempts, "outcome": outcome})
    }
}

/// Takes up to so many rows for a while.
#[track_caller]
pub fn claim(client: &mut impl GenericClient, most: i32) -> Vec<Mail> {
    // Ids of one millisecond are in no order.
    let claimed = client.query("select * from auth.claim_outbox($1) order by created_at, id", &[&most]);
    let claimed = claimed.expect("a courier may claim");
    let mail = |row: &postgres::Row| Mail {
        id: row.get("id"),
        channel: row.get("channel"),
        kind: row.get("kind"),
        recipient: row.get("recipient"),
        locale: row.get("locale"),
        message_id: row.get("message_id"),
        attempts: row.get("attempts"),
        payload: row.get::<_, Option<Value>>("payload").unwrap_or(Value::Null),
        template: row.get("template"),
    };
    claimed.iter().map(mail).collect()
}

/// How many results were taken.
#[track_caller]
pub fn settle(client: &mut impl GenericClient, results: &Value) -> i32 {
    client.query_one("select auth.settle_outbox($1)", &[results]).expect("a courier may settle").get(0)
}

/// Everything that is to be sent, in the order in which it was written; it counts as sent from now on.
#[track_caller]
pub fn mails(database: &Database) -> Vec<Mail> {
    let mut courier = database.sidecar();
    let mails = claim(&mut courier, 1000);
    settle(&mut courier, &mails.iter().map(|mail| mail.settled("sent")).collect());
    mails
}

/// The only mail that is to be sent.
#[track_caller]
pub fn the_mail(database: &Database) -> Mail {
    let mut mails = mails(database);
    assert_eq!(mails.len(), 1, "{:?}", mails.iter().map(|mail| (&mail.kind, &mail.recipient)).collect::<Vec<_>>());
    mails.remove(0)
}
