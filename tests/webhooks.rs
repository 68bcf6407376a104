//! Webhooks: who is told of what, what a call holds, and who may say so.

use auth_harness::{Cluster, Database, Mail, json, mails, sign_up};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::guard::RIGHT;
use crate::otp::{answer, mailing, said};

fn add(database: &Database, url: &str, events: &[&str]) -> Value {
    answer(&mut database.admin(), "add_webhook($1, $2)", &[&url, &events]).unwrap()
}

/// The calls that wait: where to, and what of.
fn calls(database: &Database) -> Vec<Mail> {
    mails(database).into_iter().filter(|mail| mail.channel == "webhook").collect()
}

/// B077: every event that is wanted is one row of the outbox, with the fact: what was rolled back announces nothing; a webhook
/// hears only its own events, and none once it is gone.
#[test]
fn who_is_told_of_what() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    sign_up(&mut app, "before@example.org", RIGHT);
    assert_eq!(calls(&database).len(), 0, "nobody has asked");
    let all = add(&database, "https://all.example.org/hook?a=b", &[]);
    add(&database, "http://some.example.org/hook", &["signup", "logout"]);
    let ada = sign_up(&mut app, "ada@example.org", RIGHT);
    let told = calls(&database);
    let mut to: Vec<(&str, &str)> = told.iter().map(|call| (&*call.recipient, &*call.kind)).collect();
    to.sort_unstable();
    assert_eq!(to, [("http://some.example.org/hook", "signup"), ("https://all.example.org/hook?a=b", "signup")]);
    let call = told.iter().find(|call| call.recipient.starts_with("https")).unwrap();
    assert_eq!((&call.payload["url"], &call.payload["secret"]), (&json!(call.recipient), &all["secret"]));
    assert!(call.template.is_none());
    let body: Value = call.text("body").parse().unwrap();
    assert_eq!((&body["type"], &body["data"]["user_id"]), (&json!("signup"), &json!(ada.user_id.to_string())));
    assert!(body["timestamp"].as_str().unwrap().starts_with("20"));
    for secret in [&ada.access_token, &ada.refresh_token, RIGHT] {
        assert!(!call.payload.to_string().contains(secret));
    }
    let mut transaction = app.transaction().unwrap();
    answer(&mut transaction, "sign_in('ada@example.org', $1)", &[&RIGHT]).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(calls(&database).len(), 0);
    // A connection that has known of none hears of the next one, and one that knew forgets.
    answer(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]).unwrap();
    assert_eq!(calls(&database).iter().map(|call| &*call.kind).collect::<Vec<_>>(), ["login_success"]);
    let id: String = all["id"].as_str().unwrap().to_owned();
    database.admin().execute("select auth.remove_webhook($1::text::uuid)", &[&id]).unwrap();
    answer(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]).unwrap();
    assert_eq!(calls(&database).len(), 0);
    let again = auth_harness::refused(database.admin().execute("select auth.remove_webhook($1::text::uuid)", &[&id]));
    assert_eq!(again.code, "validation_failed");
}

/// B077, N11: a secret is shown once, to the administrator who made it; it stands sealed in the table and is in no dump; what is no
/// address is refused.
#[test]
fn its_secret_and_address() {
    let database = mailing(Cluster::shared(), json!({}));
    let made = add(&database, "https://example.org/hook", &["signup"]);
    let secret = made["secret"].as_str().unwrap();
    assert_eq!(STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap().len(), 32);
    sign_up(&mut database.app(), "ada@example.org", RIGHT);
    let dump = database.cluster().command("pg_dump").arg(database.name()).output().unwrap();
    let dump = String::from_utf8(dump.stdout).unwrap();
    assert!(dump.contains("https://example.org/hook"));
    let raw: String = STANDARD.decode(&secret[6..]).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    let text: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    for canary in [secret, &raw, &text] {
        assert!(!dump.contains(canary));
    }
    let row = "select to_jsonb(w) from auth.webhooks as w";
    assert!(!json(&mut database.admin(), row, &[]).to_string().contains(secret));
    let mut admin = database.admin();
    let long = format!("https://example.org/{}", "x".repeat(2000));
    for url in [
        "",
        "example.org",
        "ftp://example.org",
        "javascript:alert(1)",
        "https://example.org/a b",
        "https://e\r\nx",
        " https://x",
        &long,
    ] {
        assert_eq!(said(&mut admin, "add_webhook($1)", &[&url]), "validation_failed", "{url:?}");
    }
    assert_eq!(said(&mut admin, "add_webhook(null)", &[]), "validation_failed");
    // One event that is null is not all of them.
    assert_eq!(said(&mut admin, "add_webhook('https://example.org', array[null])", &[]), "validation_failed");
    for mut client in [database.app(), database.service(), database.sidecar()] {
        assert_eq!(said(&mut client, "add_webhook('https://example.org')", &[]), "42501");
        let remove = auth_harness::refused(client.execute("select auth.remove_webhook(gen_random_uuid())", &[]));
        assert_eq!(remove.sqlstate, "42501");
    }
    assert_eq!(json(&mut database.admin(), "select to_jsonb(count(*)) from auth.webhooks", &[]), json!(1));
}
