//! The outbox: what is written with the fact that it announces, taken by couriers, and gone once it is sent.

use auth_harness::{Client, Cluster, claim, json, mails, refused, settle, the_mail};
use serde_json::{Value, json};

use crate::guard::RIGHT;
use crate::otp::{answer, mailed, mailing, proved, said};

fn rows(superuser: &mut Client, what: &str) -> Vec<String> {
    let rows = superuser.query(&format!("select ({what})::text from auth.outbox order by id"), &[]).unwrap();
    rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect()
}

/// As if so many seconds had gone by for the rows that wait.
fn age(superuser: &mut Client, seconds: f64) {
    let age = "update auth.outbox set next_attempt_at = next_attempt_at - make_interval(secs => $1),
        claimed_until = claimed_until - make_interval(secs => $1)";
    superuser.execute(age, &[&seconds]).unwrap();
}

/// N02, B089: what was rolled back, by the transaction or a savepoint, leaves nothing to send; what was committed is there.
#[test]
fn written_with_the_fact() {
    let database = mailing(Cluster::shared(), json!({"signup_mode": "confirm"}));
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    answer(&mut transaction, "sign_up('ada@example.org', $1)", &[&RIGHT]).unwrap();
    transaction.rollback().unwrap();
    let mut transaction = app.transaction().unwrap();
    let mut inner = transaction.savepoint("s").unwrap();
    answer(&mut inner, "sign_up('ada@example.org', $1)", &[&RIGHT]).unwrap();
    inner.rollback().unwrap();
    transaction.commit().unwrap();
    assert_eq!(mails(&database).len(), 0);
    let mut transaction = app.transaction().unwrap();
    answer(&mut transaction, "sign_up('ada@example.org', $1)", &[&RIGHT]).unwrap();
    assert_eq!(mails(&database).len(), 0, "nobody sees it before it is committed");
    transaction.commit().unwrap();
    let mail = the_mail(&database);
    assert_eq!(said(&mut app, "verify_link($1)", &[&mail.token()]), "session");
}

/// B089, F259: a row is one courier's for a minute; after that it is another's, and what the first one says then is ignored. The
/// Message-ID stays.
#[test]
fn a_lease() {
    let database = mailing(Cluster::shared(), json!({}));
    let (mut one, mut two, mut superuser) = (database.sidecar(), database.sidecar(), database.superuser());
    for number in 0..3 {
        proved(&database, &format!("user{number}@example.org"));
        answer(&mut database.app(), "send_otp($1)", &[&format!("user{number}@example.org")]).unwrap();
    }
    // Two couriers at once, the first of which has not committed.
    let mut open = one.transaction().unwrap();
    let first = claim(&mut open, 2);
    assert_eq!(first.iter().map(|mail| mail.attempts).collect::<Vec<_>>(), [1, 1]);
    let second = claim(&mut two, 10);
    assert_eq!(second.iter().map(|mail| &*mail.recipient).collect::<Vec<_>>(), ["user2@example.org"]);
    open.commit().unwrap();
    assert_eq!(claim(&mut two, 10).len(), 0, "all are taken");
    age(&mut superuser, 61.0);
    let again = claim(&mut two, 10);
    assert_eq!(again.iter().map(|mail| mail.attempts).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(again[0].message_id, first[0].message_id);
    assert_eq!(again[0].payload, first[0].payload);
    for outcome in ["sent", "retry", "failed"] {
        assert_eq!(settle(&mut one, &json!([first[0].settled(outcome)])), 0, "{outcome}");
    }
    let outcomes = json!([again[0].settled("sent"), again[1].settled("failed"), again[2].settled("retry")]);
    assert_eq!(settle(&mut two, &outcomes), 3);
    assert_eq!(settle(&mut two, &outcomes), 1, "only what still waits can be settled again");
    assert_eq!(rows(&mut superuser, "status"), ["sent", "dead", "pending"]);
    assert_eq!(rows(&mut superuser, "payload_sealed is null"), ["true", "true", "false"]);
    let status = json(&mut two, "select auth.outbox_status()", &[]);
    assert_eq!(
        ["pending", "due", "claimed", "sent", "dead", "expired", "foreign"].map(|name| status[name].as_i64().unwrap()),
        [1, 0, 0, 1, 1, 0, 0]
    );
    assert!(status["last_sent_at"].is_string() && status["oldest_pending_seconds"].is_i64());
}

/// B089: many couriers at one moment: every row is taken once.
#[test]
fn couriers_share() {
    let database = mailing(Cluster::shared(), json!({}));
    for number in 0..40 {
        answer(&mut database.app(), "send_otp($1)", &[&format!("user{number}@example.org")]).unwrap();
    }
    let taken = auth_harness::storm_with(
        8,
        |_| database.sidecar(),
        |_, mut courier| (0..5).flat_map(|_| claim(&mut courier, 3)).map(|mail| mail.recipient).collect::<Vec<_>>(),
    );
    let mut taken: Vec<String> = taken.into_iter().flatten().collect();
    let count = taken.len();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), count, "one of them twice");
    taken.extend(mails(&database).into_iter().map(|mail| mail.recipient));
    assert_eq!(taken.len(), 40);
}

/// B089: a row that is the end of each courier that takes it is given up like any other, and holds up none; what its courier knows
/// to be over before it is sent is told apart from what was given up.
#[test]
fn a_row_that_ends_its_couriers_is_given_up() {
    let database = mailing(Cluster::shared(), json!({"magic_link_ttl": 86400}));
    let (mut courier, mut superuser) = (database.sidecar(), database.superuser());
    answer(&mut database.app(), "send_otp('killer@example.org')", &[]).unwrap();
    superuser.execute("update auth.outbox set expires_at = null", &[]).unwrap();
    for number in 1..=12 {
        assert_eq!(claim(&mut courier, 10).remove(0).attempts, number);
        assert_eq!(claim(&mut database.sidecar(), 10).len(), 0, "its lease holds");
        age(&mut superuser, 61.0);
    }
    answer(&mut database.app(), "send_otp('other@example.org')", &[]).unwrap();
    let mut transaction = courier.transaction().unwrap();
    assert_eq!(claim(&mut transaction, 10).len(), 1);
    transaction.rollback().unwrap();
    assert_eq!(rows(&mut superuser, "status"), ["pending", "pending"]);
    let other = claim(&mut courier, 10).remove(0);
    assert_eq!(other.recipient, "other@example.org");
    assert_eq!(rows(&mut superuser, "status"), ["dead", "pending"]);
    assert_eq!(rows(&mut superuser, "payload_sealed is null"), ["true", "false"]);
    assert_eq!(rows(&mut superuser, "last_error"), ["no courier that took it came back", ""]);
    assert_eq!(settle(&mut courier, &json!([other.settled("expired")])), 1);
    assert_eq!(settle(&mut courier, &json!([other.settled("sent")])), 0, "once");
    let status = json(&mut courier, "select auth.outbox_status()", &[]);
    assert_eq!((&status["dead"], &status["expired"], &status["pending"]), (&json!(1), &json!(1), &json!(0)));
}

/// B089: what fails waits longer each time, never less than that by the courier's word, and is given up after twelve attempts.
#[test]
fn a_row_is_given_up() {
    let database = mailing(Cluster::shared(), json!({"magic_link_ttl": 86400}));
    let (mut courier, mut superuser) = (database.sidecar(), database.superuser());
    answer(&mut database.app(), "send_otp('ada@example.org')", &[]).unwrap();
    superuser.execute("update auth.outbox set expires_at = null", &[]).unwrap();
    let waits = "select round(extract(epoch from next_attempt_at - clock_timestamp()))::integer from auth.outbox";
    for (number, expected) in [5, 20, 80, 320, 1280, 3600, 3600, 3600, 3600, 3600, 3600].into_iter().enumerate() {
        let mail = claim(&mut courier, 1).remove(0);
        assert_eq!(mail.attempts, number as i32 + 1);
        let mut result = mail.settled("retry");
        result["error"] = json!("4.2.1 ".repeat(200));
        result["retry_in"] = json!(if number % 2 == 0 { 0.0 } else { -1e300 });
        assert_eq!(settle(&mut courier, &json!([result])), 1);
        let wait: i32 = superuser.query_one(waits, &[]).unwrap().get(0);
        assert!((expected - 2..=expected).contains(&wait), "attempt {}: {wait} s", number + 1);
        assert_eq!(claim(&mut courier, 1).len(), 0);
        age(&mut superuser, f64::from(expected) + 1.0);
    }
    assert_eq!(rows(&mut superuser, "length(last_error)"), ["500"]);
    let mail = claim(&mut courier, 1).remove(0);
    assert_eq!(mail.attempts, 12);
    settle(&mut courier, &json!([mail.settled("retry")]));
    assert_eq!(rows(&mut superuser, "status"), ["dead"]);
    age(&mut superuser, 1e6);
    assert_eq!(claim(&mut courier, 1).len(), 0);
    // What a courier asks for beyond that.
    answer(&mut database.app(), "send_otp('bob@example.org')", &[]).unwrap();
    let mut later = claim(&mut courier, 1).remove(0).settled("retry");
    later["retry_in"] = json!(1e9);
    settle(&mut courier, &json!([later]));
    let waits = waits.to_owned() + " where status = 'pending'";
    assert!((3590..=3600).contains(&superuser.query_one(&waits, &[]).unwrap().get::<_, i32>(0)));
}

/// XI7: what holds an ended secret is not sent; neither is that of another cluster, until it is adopted.
#[test]
fn what_is_not_sent() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut superuser = database.superuser();
    for email in ["ended@example.org", "foreign@example.org", "adopted@example.org"] {
        answer(&mut database.app(), "send_otp($1)", &[&email]).unwrap();
    }
    superuser
        .batch_execute(
            "update auth.outbox set expires_at = now() where recipient = 'ended@example.org';
            update auth.outbox set cluster_id = '7' where recipient <> 'ended@example.org'",
        )
        .unwrap();
    assert_eq!(mails(&database).len(), 0);
    assert_eq!(rows(&mut superuser, "status"), ["expired", "pending", "pending"]);
    assert_eq!(rows(&mut superuser, "payload_sealed is null"), ["true", "false", "false"]);
    let status = json(&mut database.admin(), "select auth.outbox_status()", &[]);
    assert_eq!((&status["foreign"], &status["pending"], &status["expired"]), (&json!(2), &json!(0), &json!(1)));
    superuser.execute("update auth.outbox set status = 'dead' where recipient = 'foreign@example.org'", &[]).unwrap();
    assert_eq!(refused(database.sidecar().execute("select auth.adopt_outbox()", &[])).sqlstate, "42501");
    let adopted: i32 = database.admin().query_one("select auth.adopt_outbox()", &[]).unwrap().get(0);
    assert_eq!(adopted, 1);
    assert_eq!(the_mail(&database).recipient, "adopted@example.org");
    // A row that does not open holds up no other.
    for email in ["broken@example.org", "whole@example.org"] {
        answer(&mut database.app(), "send_otp($1)", &[&email]).unwrap();
    }
    let break_it = "update auth.outbox set payload_sealed = '\\x00' where recipient = 'broken@example.org'";
    superuser.execute(break_it, &[]).unwrap();
    let both = mails(&database);
    assert_eq!(both.iter().map(|mail| mail.payload.is_null()).collect::<Vec<_>>(), [true, false]);
}

/// XI8, XE10, N02: everybody may listen and hears an empty word, at the commit and not before; the secrets of a mail are in no
/// table in the clear, before it is sent and afterwards.
#[test]
fn nobody_overhears() {
    let database = mailing(Cluster::shared(), json!({"signup_mode": "otp_first"}));
    let (mut app, mut listener) = (database.app(), database.app());
    listener.batch_execute("listen auth_outbox").unwrap();
    let heard = |client: &mut Client| -> Vec<String> {
        client.batch_execute("select 1").unwrap();
        let mut notifications = client.notifications();
        let mut heard = Vec::new();
        while let Some(notification) =
            auth_harness::postgres::fallible_iterator::FallibleIterator::next(&mut notifications.iter()).unwrap()
        {
            heard.push(format!("{}:{}", notification.channel(), notification.payload()));
        }
        heard
    };
    let mut transaction = app.transaction().unwrap();
    answer(&mut transaction, "send_otp('ada@example.org')", &[]).unwrap();
    assert!(heard(&mut listener).is_empty());
    transaction.rollback().unwrap();
    assert!(heard(&mut listener).is_empty());
    answer(&mut app, "sign_up('ada@example.org', $1)", &[&RIGHT]).unwrap();
    assert_eq!(heard(&mut listener), ["auth_outbox:"]);
    // An address without an account wakes couriers as one with does, and a request that is rolled back none.
    let mut transaction = app.transaction().unwrap();
    answer(&mut transaction, "request_password_reset('ada@example.org')", &[]).unwrap();
    transaction.rollback().unwrap();
    assert!(heard(&mut listener).is_empty());
    for request in ["request_password_reset('nobody@example.org')", "send_magic_link('nobody@example.org')"] {
        answer(&mut app, request, &[]).unwrap();
        assert_eq!(heard(&mut listener), ["auth_outbox:"], "{request}");
    }
    let mut courier = database.sidecar();
    let mail = claim(&mut courier, 1).remove(0);
    let dump = || {
        let mut dump = database.cluster().command("pg_dump");
        let dump = dump.arg("--inserts").arg(database.name()).output().unwrap();
        assert!(dump.status.success());
        String::from_utf8(dump.stdout).unwrap()
    };
    for settled in [false, true] {
        if settled {
            settle(&mut courier, &json!([mail.settled("sent")]));
        }
        let dump = dump();
        assert!(dump.contains("ada@example.org"), "the dump has the row");
        let hex: String = mail.code().bytes().map(|byte| format!("{byte:02x}")).collect();
        for secret in [mail.token(), &hex, &format!("'{}'", mail.code()), &format!("\"{}\"", mail.code())] {
            assert!(!dump.contains(secret), "settled: {settled}");
        }
    }
    assert!(!database.cluster().log().contains(mail.token()));
}

/// B089, N11: what every login may do with the tables: an administrator looks at the outbox and webhooks and writes templates, and
/// nobody else sees anything.
#[test]
fn who_sees_the_outbox() {
    let database = mailing(Cluster::shared(), json!({}));
    let tables = ["outbox", "webhooks", "templates", "one_time_tokens", "pending_sign_ups", "flow_state"];
    for login in ["app", "service", "sidecar", "admin"] {
        for role in ["", "anon", "authenticated", "service_role"] {
            let mut client = database.connect(login);
            if !role.is_empty() && client.batch_execute(&format!("set role {role}")).is_err() {
                continue;
            }
            for (number, table) in tables.into_iter().enumerate() {
                let is_admin = login == "admin" && role.is_empty();
                let reads = client.query(&format!("select * from auth.{table}"), &[]).is_ok();
                assert_eq!(reads, is_admin && number < 3, "{login} {role} reads {table}");
                let writes = client.execute(&format!("delete from auth.{table}"), &[]).is_ok();
                assert_eq!(writes, is_admin && table == "templates", "{login} {role} writes {table}");
            }
        }
    }
    assert_eq!(refused(database.admin().execute("select auth.claim_outbox(1)", &[])).sqlstate, "42501");
    for n in ["0", "1001", "null", "-1"] {
        assert_eq!(said(&mut database.sidecar(), &format!("claim_outbox({n})"), &[]), "validation_failed", "{n}");
    }
    let id = "7e7c63ea-66e4-4a8f-9e2b-1f0f6c9a0c11";
    let wrong = ["{}", "[1]", "[{}]", "null", "[{\"id\": \"x\", \"attempts\": 1, \"outcome\": \"sent\"}]"];
    let more =
        [("attempts", json!("1")), ("outcome", json!("lost")), ("attempts", json!(1.5)), ("outcome", Value::Null)];
    let more = more.map(|(name, value)| {
        let mut result = json!({"id": id, "attempts": 1, "outcome": "sent"});
        result[name] = value;
        json!([result]).to_string()
    });
    for results in wrong.into_iter().map(str::to_owned).chain(more) {
        let said = said(&mut database.sidecar(), "settle_outbox($1::text::jsonb)", &[&results]);
        assert_eq!(said, "validation_failed", "{results}");
    }
}

/// F259, B028: an administrator's words take the place of the default ones: those of the language, else of its first part, else
/// those of all; a subject is one line.
#[test]
fn templates() {
    let database = mailing(Cluster::shared(), json!({}));
    let (mut admin, mut app) = (database.admin(), database.app());
    let mut template = |options: Value| {
        answer(&mut app, "send_otp('ada@example.org', $1)", &[&options]).unwrap();
        let mail = the_mail(&database);
        (mail.locale, mail.template.map(|template| template["subject"].as_str().unwrap().to_owned()))
    };
    assert_eq!(template(json!({})), (None, None));
    let add =
        "insert into auth.templates (name, locale, subject, text_body) values ('magiclink', $1, $2, 'x {{link}}')";
    admin.execute(add, &[&"", &"for all"]).unwrap();
    for locale in ["de", "pt-BR", "pt"] {
        admin.execute(add, &[&locale, &locale]).unwrap();
    }
    let cases = [
        (None, "for all"),
        (Some("de"), "de"),
        (Some("de-AT"), "de"),
        (Some("pt-BR"), "pt-BR"),
        (Some("pt-PT"), "pt"),
        (Some("fr"), "for all"),
    ];
    for (locale, expected) in cases {
        let options = locale.map_or(json!({}), |locale| json!({"locale": locale}));
        assert_eq!(template(options), (locale.map(str::to_owned), Some(expected.to_owned())));
    }
    let two_lines = admin.execute(add, &[&"x", &"one\r\nBcc: evil@example.net"]);
    assert_eq!(refused(two_lines).sqlstate, "23514");
    // The language that the user has chosen, unless the request names one; what is none is refused or passed over.
    let mail = mailed(&database, "sign_up_with_email('bob@example.org', '{\"locale\": \"de\"}')", &[]);
    assert_eq!(mail.template, None);
    for wrong in ["de_DE", "d e", "x\r\ny", &"a".repeat(36)] {
        let refusal = answer(&mut database.app(), "send_otp('ada@example.org', $1)", &[&json!({"locale": wrong})]);
        assert_eq!(refusal.unwrap_err().code, "validation_failed", "{wrong}");
    }
    assert_eq!(
        answer(&mut database.app(), "verify_sign_up('bob@example.org', $1)", &[&mail.code()]).unwrap()["status"],
        "session"
    );
    assert_eq!(mailed(&database, "send_otp('bob@example.org')", &[]).locale.as_deref(), Some("de"));
    assert_eq!(
        mailed(&database, "send_otp('bob@example.org', '{\"locale\": \"fr\"}')", &[]).locale.as_deref(),
        Some("fr")
    );
}
