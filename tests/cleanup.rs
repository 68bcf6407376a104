//! Cleanup: what has expired goes, in bites, past rows that others hold; what is alive stays, and the worker is patient.

use auth_harness::{Client, Cluster, Database, Person, json, refused, sign_in, sign_up, wait_until};
use serde_json::{Value, json as object};

use crate::audit::{configure, guess};
use crate::audit_seal::wait_until_sealed;
use crate::minting::{PASSWORD, count};
use crate::refresh::{refreshed, refusal, standing};
use crate::worker::workers;

#[track_caller]
fn cleaned(database: &Database) -> Value {
    json(&mut database.admin(), "select auth.cleanup()", &[])
}

/// Someone has an account, and the worker has done its chores, which come again only after ten minutes.
fn ada_and_no_worker(database: &Database) -> Person {
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    wait_until_sealed(database);
    wait_until("the worker to leave", || workers(database) == 0);
    ada
}

const NOTHING: [(&str, i64); 11] = [
    ("sessions", 0),
    ("one_time_tokens", 0),
    ("pending_sign_ups", 0),
    ("sms_codes", 0),
    ("flow_state", 0),
    ("mfa_challenges", 0),
    ("mfa_factors", 0),
    ("webauthn_challenges", 0),
    ("outbox", 0),
    ("revocations", 0),
    ("blocked_networks", 0),
];

/// Nothing but these.
fn only(removed: &[(&str, i64)]) -> Value {
    object!(
        NOTHING
            .iter()
            .chain(removed)
            .map(|(kind, rows)| ((*kind).to_owned(), object!(rows)))
            .collect::<serde_json::Map<_, _>>()
    )
}

/// A row of each kind that expired so long ago, beside one that is alive; sessions are those of `people`.
fn plant(superuser: &mut Client, ago: &str, title: &str, user: &Person) {
    superuser
        .batch_execute(&format!(
            "insert into auth.sessions (id, user_id, not_after) values
                (gen_random_uuid(), '{user}', now() - interval '{ago}'), (gen_random_uuid(), '{user}', now() + interval '1 hour');
            insert into auth.one_time_tokens (user_id, purpose, relates_to, expires_at) values
                ('{user}', '{title} gone', 'x', now() - interval '{ago}'), ('{user}', '{title} live', 'x', now() + interval '1 hour');
            insert into auth.pending_sign_ups (email, expires_at) values
                ('{title}-gone@example.org', now() - interval '{ago}'), ('{title}-live@example.org', now() + interval '1 hour');
            insert into auth.sms_codes (phone, code_hash, expires_at) values
                ('{title} gone', '', now() - interval '{ago}'), ('{title} live', '', now() + interval '1 hour');",
            user = user.user_id,
        ))
        .unwrap();
}

fn networks(superuser: &mut Client, list: &[(&str, &str)]) {
    for (network, expiry) in list {
        let sql = format!("insert into auth.blocked_networks (network, expires_at) values ('{network}', {expiry})");
        superuser.execute(&sql, &[]).unwrap();
    }
}

/// N38: an administrator removes what has expired, and is told how much of each kind; what is alive stays and a second
/// call finds nothing; nobody else may.
#[test]
fn cleanup_removes_what_has_expired_and_counts_it() {
    let database = Cluster::shared().database();
    configure(&database, object!({"max_active_sessions": null, "refresh_token_ttl": 3600}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let ada = ada_and_no_worker(&database);
    plant(&mut superuser, "1 second", "now", &ada);
    networks(
        &mut superuser,
        &[
            ("203.0.113.1/32", "now() - interval '1 second'"),
            ("203.0.113.2/32", "now() + interval '1 hour'"),
            ("203.0.113.3/32", "null"),
        ],
    );
    // Idle for too long, though its own end is far.
    let idle = sign_in(&mut app, &ada.email, PASSWORD);
    let sql = "update auth.sessions set refreshed_at = now() - interval '61 minutes' where id = $1";
    superuser.execute(sql, &[&idle.session_id]).unwrap();
    // Revoked beside the sessions' table, and a revocation of long ago that concerns nobody any more; a young one stays.
    let revoked = sign_in(&mut app, &ada.email, PASSWORD);
    let revocation = "insert into auth.revocations (scope, subject, not_before, reason, created_at)
        values ('session', coalesce($1, gen_random_uuid()), now(), 'test', now() - $2 * interval '1 hour')";
    superuser.execute(revocation, &[&Some(revoked.session_id), &1.0]).unwrap();
    superuser.execute(revocation, &[&None::<uuid::Uuid>, &25.0]).unwrap();
    superuser.execute(revocation, &[&None::<uuid::Uuid>, &23.0]).unwrap();

    for login in ["app", "service", "sidecar"] {
        assert_eq!(
            refused(database.connect(login).query_one("select auth.cleanup()", &[])).sqlstate,
            "42501",
            "{login}"
        );
    }
    let one = [
        ("sessions", 3),
        ("one_time_tokens", 1),
        ("pending_sign_ups", 1),
        ("sms_codes", 1),
        ("flow_state", 0),
        ("outbox", 0),
        ("revocations", 1),
        ("blocked_networks", 1),
    ];
    assert_eq!(cleaned(&database), only(&one));
    assert_eq!(cleaned(&database), only(&[]), "a second call");
    for (table, left) in [
        ("sessions where not_after > now()", 2),
        ("one_time_tokens where purpose = 'now live'", 1),
        ("pending_sign_ups where email = 'now-live@example.org'", 1),
        ("sms_codes where phone = 'now live'", 1),
        ("revocations", 2),
        ("blocked_networks", 2),
        ("users", 1),
    ] {
        assert_eq!(count(&mut superuser, &format!("select count(*) from auth.{table}")), left, "{table}");
    }
    assert_eq!(standing(&mut app, &ada), None, "a live session goes on");
    for person in [&idle, &revoked] {
        assert_eq!(standing(&mut app, person).as_deref(), Some("session_not_found"));
    }
    // Without an end by idling, nothing is idle for too long.
    configure(&database, object!({"refresh_token_ttl": null, "max_active_sessions": null}));
    superuser.execute("update auth.sessions set refreshed_at = now() - interval '1 year'", &[]).unwrap();
    assert_eq!(cleaned(&database), only(&[]));
    // On the way out of a transaction nothing is gone.
    plant(&mut superuser, "1 second", "again", &ada);
    let mut admin = database.admin();
    let mut transaction = admin.transaction().unwrap();
    assert_eq!(json(&mut transaction, "select auth.cleanup()", &[])["sessions"], 1);
    transaction.rollback().unwrap();
    assert_eq!(cleaned(&database)["sessions"], 1);
}

/// N38: rows that somebody's open transaction holds are passed over without waiting, and go the next time.
#[test]
fn cleanup_waits_for_nobody() {
    let database = Cluster::shared().database();
    configure(&database, object!({"max_active_sessions": null}));
    let mut superuser = database.superuser();
    let ada = ada_and_no_worker(&database);
    for title in ["held", "free"] {
        plant(&mut superuser, "2 hours", title, &ada);
    }
    networks(
        &mut superuser,
        &[("203.0.113.1/32", "now() - interval '2 hours'"), ("203.0.113.2/32", "now() - interval '2 hours'")],
    );
    superuser
        .batch_execute(
            "insert into auth.revocations (scope, subject, not_before, reason, created_at)
            select 'session', gen_random_uuid(), now(), 'old', now() - interval '2 days' from generate_series(1, 2)",
        )
        .unwrap();
    let mut holder = superuser.transaction().unwrap();
    for table in [
        "sessions where not_after < now()",
        "one_time_tokens where expires_at < now()",
        "pending_sign_ups where expires_at < now()",
        "sms_codes where expires_at < now()",
        "revocations",
        "blocked_networks",
    ] {
        assert_eq!(holder.query(&format!("select from auth.{table} limit 1 for update"), &[]).unwrap().len(), 1);
    }
    let mut admin = database.admin();
    admin.batch_execute("set lock_timeout = '5s'; set statement_timeout = '20s'").unwrap();
    let unfilled = ["flow_state", "mfa_challenges", "mfa_factors", "webauthn_challenges", "outbox"];
    let each = NOTHING.map(|(kind, _)| (kind, i64::from(!unfilled.contains(&kind))));
    assert_eq!(json(&mut admin, "select auth.cleanup()", &[]), only(&each));
    assert_eq!(json(&mut admin, "select auth.cleanup()", &[]), only(&[]));
    holder.rollback().unwrap();
    assert_eq!(json(&mut admin, "select auth.cleanup()", &[]), only(&each));
}

/// N38: at most a thousand rows of a kind go at a time, so that no call is a long one.
#[test]
fn cleanup_takes_a_thousand_at_a_time() {
    let database = Cluster::shared().database();
    let mut superuser = database.superuser();
    superuser
        .batch_execute(
            "insert into auth.pending_sign_ups (email, expires_at)
            select format('user%s@example.org', g), now() - interval '1 hour' from generate_series(1, 2001) as g",
        )
        .unwrap();
    let taken: Vec<Value> = (0..4).map(|_| cleaned(&database)["pending_sign_ups"].clone()).collect();
    assert_eq!(taken, [1000, 1000, 1, 0]);
}

/// N38, N13: as long as a session that a revocation ended is there, held by somebody, the revocation stays however old it
/// is; at no point are the session's tokens good again.
#[test]
fn a_revocation_outlives_the_sessions_that_it_ended() {
    let database = Cluster::shared().database();
    configure(&database, object!({"max_active_sessions": null}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let ada = ada_and_no_worker(&database);
    refreshed(&mut app, &ada.refresh_token);
    assert_eq!(refusal(&mut app, &ada.refresh_token), "refresh_token_already_used");
    superuser.execute("update auth.revocations set created_at = now() - interval '30 days'", &[]).unwrap();
    let mut is_dead = || {
        assert_eq!(standing(&mut app, &ada).as_deref(), Some("session_not_found"));
        assert_eq!(refusal(&mut app, &ada.refresh_token), "session_not_found");
    };
    let mut holder = superuser.transaction().unwrap();
    assert_eq!(holder.query("select from auth.sessions for update", &[]).unwrap().len(), 1);
    assert_eq!(cleaned(&database), only(&[]));
    is_dead();
    holder.rollback().unwrap();
    let removed = cleaned(&database);
    assert_eq!((&removed["sessions"], &removed["revocations"]), (&object!(1), &object!(1)));
    is_dead();
    // Who signed in since is not meant.
    let again = sign_in(&mut app, &ada.email, PASSWORD);
    assert_eq!(standing(&mut app, &again), None);
    assert_eq!(cleaned(&database), only(&[]));
}

/// N38: the worker removes by itself, and more than one bite of it, but only what expired a day ago: until then its owner
/// is told that it has.
#[test]
fn the_worker_removes_what_expired_a_day_ago() {
    let cluster = Cluster::builder().start();
    let database = cluster.database();
    configure(&database, object!({"max_active_sessions": null}));
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut superuser = database.superuser();
    plant(&mut superuser, "23 hours", "young", &ada);
    plant(&mut superuser, "25 hours", "old", &ada);
    networks(
        &mut superuser,
        &[("203.0.113.1/32", "now() - interval '23 hours'"), ("203.0.113.2/32", "now() - interval '25 hours'")],
    );
    superuser
        .batch_execute(
            "insert into auth.pending_sign_ups (email, expires_at)
            select format('user%s@example.org', g), now() - interval '1 week' from generate_series(1, 2500) as g",
        )
        .unwrap();
    drop(superuser);
    cluster.restart();
    guess(&mut database.app(), "nobody@example.org");
    let mut superuser = database.superuser();
    let left = "select count(*) from auth.pending_sign_ups where expires_at < now() - interval '1 day'";
    wait_until("the worker to clean", || count(&mut superuser, left) == 0);
    for (table, left) in [
        ("sessions where not_after < now()", 1),
        ("sessions", 4),
        ("one_time_tokens where expires_at < now()", 1),
        ("one_time_tokens", 3),
        ("pending_sign_ups", 3),
        ("blocked_networks", 1),
    ] {
        wait_until(table, || count(&mut superuser, &format!("select count(*) from auth.{table}")) == left);
    }
}

/// N38: a revocation of today stays although its sessions are gone: one that an open transaction is making is meant as well.
#[test]
fn a_revocation_of_today_stays() {
    let database = Cluster::shared().database();
    configure(&database, object!({"max_active_sessions": null}));
    let mut app = database.app();
    let ada = ada_and_no_worker(&database);
    refreshed(&mut app, &ada.refresh_token);
    assert_eq!(refusal(&mut app, &ada.refresh_token), "refresh_token_already_used");
    assert_eq!(cleaned(&database), only(&[("sessions", 1)]));
    assert_eq!(cleaned(&database), only(&[]));
    assert_eq!(count(&mut database.superuser(), "select count(*) from auth.revocations"), 1);
}
