//! An ended session, a banned user, a removed key: refused at the next statement of anybody, whatever is open.

use auth_harness::{
    Client, Cluster, Database, Person, acting, claims, json, refused, sign_in, sign_up, storm, try_acting, wait_until,
};
use serde_json::json;
use uuid::Uuid;

use crate::minting::{
    PASSWORD, alice_and_bob, assert_refused, carry, count, notes, refused_at_every_door, seen, text, uid,
};

fn sign_out(database: &Database, person: &Person) {
    acting(&mut database.app(), &person.access_token, |transaction| {
        transaction.execute("select auth.sign_out()", &[]).unwrap();
    });
}

fn as_superuser(database: &Database, sql: &str, person: &Person) {
    assert_eq!(database.superuser().execute(sql, &[&person.user_id]).unwrap(), 1, "{sql}");
}

/// XD6, N12: a sign-out is seen at the next statement of a transaction that is open already, at every isolation level.
#[test]
fn a_sign_out_ends_open_transactions() {
    for level in ["read committed", "repeatable read", "serializable", "repeatable read, read only"] {
        let database = Cluster::shared().database();
        let (alice, bob) = alice_and_bob(&database);
        notes(&database, &[&alice, &bob]);
        let mut app = database.app();
        let mut other = database.app();
        let begin = format!("start transaction isolation level {level}");
        app.batch_execute(&begin).unwrap();
        app.execute("select auth.authenticate($1)", &[&alice.access_token]).unwrap();
        assert_eq!(seen(&mut app).unwrap(), ["alice@example.org"]);
        other.batch_execute(&begin).unwrap();
        other.execute("select auth.authenticate($1)", &[&bob.access_token]).unwrap();
        assert_eq!(seen(&mut other).unwrap(), ["bob@example.org"]);

        sign_out(&database, &alice);
        assert_refused(seen(&mut app), "28000", "session_not_found", level);
        app.batch_execute("rollback").unwrap();
        assert_eq!(seen(&mut other).unwrap(), ["bob@example.org"], "only hers: {level}");
        refused_at_every_door(&mut app, &alice.access_token, "session_not_found", level);
    }
}

/// XD6, N13: each way to end what a token stands for, in an open REPEATABLE READ transaction and at every door.
#[test]
fn whatever_ends_a_session_ends_it_at_once() {
    let endings = [
        ("banned", "update auth.users set banned_until = now() + interval '1 hour' where id = $1", "user_banned"),
        ("banned for ever", "update auth.users set banned_until = 'infinity' where id = $1", "user_banned"),
        ("soft-deleted", "update auth.users set deleted_at = now() where id = $1", "session_not_found"),
        ("deleted", "delete from auth.users where id = $1", "session_not_found"),
        ("row deleted", "delete from auth.sessions where user_id = $1", "session_not_found"),
        (
            "at its end",
            "update auth.sessions set not_after = now() - interval '1 second' where user_id = $1",
            "session_expired",
        ),
        (
            "user revoked",
            "insert into auth.revocations (scope, subject, not_before, reason) values ('user', $1, now(), 'test')",
            "session_not_found",
        ),
        (
            "session revoked",
            "insert into auth.revocations (scope, subject, not_before, reason)
                select 'session', id, now(), 'test' from auth.sessions where user_id = $1",
            "session_not_found",
        ),
    ];
    let database = Cluster::shared().database();
    let mut app = database.app();
    for (place, (what, ending, code)) in endings.into_iter().enumerate() {
        let person = sign_up(&mut app, &format!("person{place}@example.org"), PASSWORD);
        let mut open = database.app();
        open.batch_execute("start transaction isolation level repeatable read").unwrap();
        open.execute("select auth.authenticate($1)", &[&person.access_token]).unwrap();
        assert_eq!(uid(&mut open).unwrap(), Some(person.user_id), "{what}");
        as_superuser(&database, ending, &person);
        assert_refused(uid(&mut open), "28000", code, what);
        refused_at_every_door(&mut app, &person.access_token, code, what);
        let refreshed = refused(app.execute("select auth.refresh($1)", &[&person.refresh_token]));
        assert_eq!((refreshed.sqlstate.as_str(), refreshed.code.as_str()), ("28000", code), "refresh, {what}");
    }
}

/// XD6: a ban that is over, or not committed, or rolled back, ends nothing.
#[test]
fn what_has_not_ended_goes_on() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut app = database.app();
    as_superuser(&database, "update auth.users set banned_until = now() - interval '1 second' where id = $1", &ada);
    assert_eq!(try_acting(&mut app, &ada.access_token, |tx| uid(tx)).unwrap(), Some(ada.user_id));
    let mut superuser = database.superuser();
    for ending in [
        "update auth.users set banned_until = 'infinity'",
        "delete from auth.sessions",
        "insert into auth.revocations select 'user', id, now(), 'test' from auth.users",
    ] {
        let mut transaction = superuser.transaction().unwrap();
        transaction.batch_execute(ending).unwrap();
        assert_eq!(try_acting(&mut app, &ada.access_token, |tx| uid(tx)).unwrap(), Some(ada.user_id), "{ending}");
        transaction.rollback().unwrap();
        assert_eq!(try_acting(&mut app, &ada.access_token, |tx| uid(tx)).unwrap(), Some(ada.user_id), "{ending}");
    }
    // One of an earlier time says nothing of a session that began later.
    superuser.batch_execute("insert into auth.revocations select 'user', id, now(), 'test' from auth.users").unwrap();
    let again = sign_in(&mut app, "ada@example.org", PASSWORD);
    assert_eq!(try_acting(&mut app, &again.access_token, |tx| uid(tx)).unwrap(), Some(ada.user_id));
    refused_at_every_door(&mut app, &ada.access_token, "session_not_found", "the session from before");
}

/// XD6: whoever signs out is signed out in that transaction too.
#[test]
fn a_sign_out_is_seen_in_its_own_transaction() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.authenticate($1)", &[&ada.access_token]).unwrap();
    let mut savepoint = transaction.transaction().unwrap();
    savepoint.execute("select auth.sign_out()", &[]).unwrap();
    assert_refused(uid(&mut savepoint), "28000", "session_not_found", "after the sign-out");
    savepoint.rollback().unwrap();
    assert_eq!(uid(&mut transaction).unwrap(), Some(ada.user_id), "the sign-out was rolled back");
    transaction.rollback().unwrap();
    assert_eq!(try_acting(&mut app, &ada.access_token, |tx| uid(tx)).unwrap(), Some(ada.user_id));
}

/// Waits until the superuser sees the statement at work.
fn wait_until_running(database: &Database, marker: &str) {
    let mut superuser = database.superuser();
    wait_until("the statement to run", || {
        let sql = format!(
            "select count(*) from pg_stat_activity
            where query like '%{marker}%' and pid <> pg_backend_pid() and wait_event = 'PgSleep'"
        );
        count(&mut superuser, &sql) > 0
    });
}

/// XD6: one long statement, whose own time stands still, sees a sign-out too: a loop in a DO block, and a single SELECT.
#[test]
fn a_sign_out_ends_a_long_statement() {
    // Both would run for half a minute and then say so.
    let loop_of_calls = "do $$ begin
            for turn in 1..600 loop perform auth.require_uid(), 'a-loop'; perform pg_sleep(0.05); end loop;
            raise 'never noticed';
        end $$";
    let many_rows = "select count(auth.uid()), count(pg_sleep(0.05)), 'many-rows' from generate_series(1, 600)";
    for (statement, marker) in [(loop_of_calls, "a-loop"), (many_rows, "many-rows")] {
        let database = Cluster::shared().database();
        let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
        let ended = std::thread::scope(|scope| {
            let running = scope.spawn(|| {
                let mut app = database.app();
                app.batch_execute("begin").unwrap();
                app.execute("select auth.authenticate($1)", &[&ada.access_token]).unwrap();
                app.batch_execute(statement)
            });
            wait_until_running(&database, marker);
            sign_out(&database, &ada);
            running.join().unwrap()
        });
        assert_refused(ended, "28000", "session_not_found", marker);
    }
}

/// XD6: an open cursor, and an open portal of the driver, fetch nothing after a sign-out.
#[test]
fn a_sign_out_ends_open_cursors() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut superuser = database.superuser();
    notes(&database, &[&ada]);
    // An index condition is computed once, when the scan begins; a filter is asked for each row.
    superuser.batch_execute("drop index notes_owner_idx").unwrap();
    superuser
        .execute("insert into notes select $1, g::text from generate_series(1, 1000) as g", &[&ada.user_id])
        .unwrap();
    for way in ["cursor", "portal"] {
        let again = sign_in(&mut database.app(), "ada@example.org", PASSWORD);
        let mut app = database.app();
        let mut transaction = app.transaction().unwrap();
        transaction.execute("select auth.authenticate($1)", &[&again.access_token]).unwrap();
        if way == "cursor" {
            transaction.batch_execute("declare rows cursor for select body from notes").unwrap();
            assert_eq!(transaction.query("fetch 3 from rows", &[]).unwrap().len(), 3);
            sign_out(&database, &again);
            assert_refused(transaction.query("fetch 3 from rows", &[]), "28000", "session_not_found", way);
        } else {
            let portal = transaction.bind("select body from notes", &[]).unwrap();
            assert_eq!(transaction.query_portal(&portal, 3).unwrap().len(), 3);
            sign_out(&database, &again);
            assert_refused(transaction.query_portal(&portal, 3), "28000", "session_not_found", way);
        }
    }
}

/// N11: an access token of a refresh that rolled back is worth nothing; the one before goes on.
#[test]
fn a_rolled_back_refresh_mints_nothing_usable() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let mut transaction = app.transaction().unwrap();
    let answer = json(&mut transaction, "select auth.refresh($1)", &[&ada.refresh_token]);
    let ahead = answer["access_token"].as_str().unwrap().to_owned();
    carry(&mut transaction, &ahead);
    assert_eq!(uid(&mut transaction).unwrap(), Some(ada.user_id), "good in the transaction that made it");
    transaction.rollback().unwrap();
    refused_at_every_door(&mut app, &ahead, "session_not_found", "of a refresh that never was");
    assert_eq!(try_acting(&mut app, &ada.access_token, |tx| uid(tx)).unwrap(), Some(ada.user_id));

    let answer = json(&mut app, "select auth.refresh($1)", &[&ada.refresh_token]);
    let next = answer["access_token"].as_str().unwrap();
    assert_eq!(claims(next)["sc"], json!(1));
    assert_eq!(try_acting(&mut app, next, |tx| uid(tx)).unwrap(), Some(ada.user_id));
    assert_eq!(try_acting(&mut app, &ada.access_token, |tx| uid(tx)).unwrap(), Some(ada.user_id), "until its exp");
}

/// N11: neither is a session of a sign-up or sign-in that rolled back.
#[test]
fn a_rolled_back_sign_in_mints_nothing_usable() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    let ghost = sign_up(&mut transaction, "ghost@example.org", PASSWORD);
    carry(&mut transaction, &ghost.access_token);
    // The database's first signing key, made by the worker for it, stays.
    transaction.rollback().unwrap();
    refused_at_every_door(&mut app, &ghost.access_token, "session_not_found", "the first of all, rolled back");
    sign_up(&mut app, "ada@example.org", PASSWORD);
    let mut transaction = app.transaction().unwrap();
    let again = sign_in(&mut transaction, "ada@example.org", PASSWORD);
    let ghost = sign_up(&mut transaction, "ghost@example.org", PASSWORD);
    transaction.rollback().unwrap();
    for token in [&again.access_token, &ghost.access_token] {
        refused_at_every_door(&mut app, token, "session_not_found", "rolled back");
    }
}

/// XD6: a session that others refresh all the time is never taken for an ended one.
#[test]
fn a_refresh_beside_does_not_hide_the_session() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    storm(3, |index| {
        let mut client = if index == 0 { database.superuser() } else { database.app() };
        for _ in 0..200 {
            if index == 0 {
                // A new version of the row on other pages and in the index, as no refresh of ours makes it.
                client
                    .batch_execute(
                        "update auth.sessions set user_agent = repeat(md5(random()::text), 60), id = id,
                            refresh_token_counter = refresh_token_counter + 1",
                    )
                    .unwrap();
            } else {
                let mut transaction = client.transaction().unwrap();
                carry(&mut transaction, &ada.access_token);
                assert_eq!(uid(&mut transaction).unwrap(), Some(ada.user_id));
            }
        }
    });
}

/// Design 4: a token of a sign-in that is not finished is anon and nobody: no policy for signed-in users opens, no
/// reader names the user, no call of a signed-in user's works.
#[test]
fn a_restricted_session_is_nobody() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    notes(&database, &[&alice, &bob]);
    let mut superuser = database.superuser();
    superuser
        .batch_execute(
            "create policy everyone_signed_in on notes for select to authenticated using (true);
            grant usage on schema auth to anon",
        )
        .unwrap();
    let mut app = database.app();
    assert_eq!(acting(&mut app, &alice.access_token, |tx| seen(tx).unwrap().len()), 3, "the policy shows all to her");
    as_superuser(&database, "update auth.sessions set restricted = 'mfa' where user_id = $1", &alice);
    let mut transaction = app.transaction().unwrap();
    let late = transaction.execute("select auth.authenticate($1)", &[&alice.access_token]);
    assert_refused(late, "28000", "session_expired", "a token from before the restriction");
    transaction.rollback().unwrap();
    let answer = json(&mut app, "select auth.refresh($1)", &[&alice.refresh_token]);
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!((&claims(token)["role"], &claims(token)["token_type"]), (&json!("anon"), &json!("restricted")));

    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.authenticate($1)", &[&token]).unwrap();
    assert_eq!(uid(&mut transaction).unwrap(), None);
    assert_eq!(text(&mut transaction, "select current_user::text").as_deref(), Some("anon"));
    assert_eq!(text(&mut transaction, "select current_setting('app.user_id')").as_deref(), Some(""));
    assert_eq!(text(&mut transaction, "select current_setting('app.user_email')").as_deref(), Some(""));
    assert!(seen(&mut transaction).unwrap().is_empty());
    transaction.rollback().unwrap();

    // Under the role that a proxy chose, too.
    for call in [
        "select auth.require_uid()",
        "select auth.update_user('{\"a\": 1}')",
        "select * from auth.list_sessions()",
        "select auth.sign_out('others')",
        "select auth.revoke_sessions()",
    ] {
        let mut transaction = app.transaction().unwrap();
        transaction.batch_execute("set local role authenticated").unwrap();
        carry(&mut transaction, token);
        assert_refused(transaction.execute(call, &[]), "28000", "no_authorization", call);
    }
}

/// Design 4: a policy by address must not open to a sign-in that still lacks its second factor.
#[test]
fn a_restricted_session_has_no_email() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    as_superuser(&database, "update auth.sessions set restricted = 'mfa' where user_id = $1", &ada);
    let answer = json(&mut app, "select auth.refresh($1)", &[&ada.refresh_token]);
    let token = answer["access_token"].as_str().unwrap();
    let email = acting(&mut app, token, |transaction| text(transaction, "select auth.email()"));
    assert_eq!(email, None);
}

/// F182, XJ6: the project key of service_role sees all rows through a login that may, and does nothing through one that
/// may not; revoked, it is refused at the next statement.
#[test]
fn a_service_key_needs_a_login_that_may() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    notes(&database, &[&alice, &bob]);
    let made = json(&mut database.admin(), "select auth.create_key('service_role')", &[]);
    let key = made["key"].as_str().unwrap();
    assert_eq!(claims(key).get("sub"), None);

    let mut service = database.service();
    service.batch_execute("begin; set local role service_role").unwrap();
    service.execute("select auth.authenticate($1)", &[&key]).unwrap();
    assert_eq!(uid(&mut service).unwrap(), None, "a role and nobody");
    assert_eq!(text(&mut service, "select current_user::text").as_deref(), Some("service_role"));
    assert_eq!(seen(&mut service).unwrap().len(), 3);
    service.batch_execute("commit").unwrap();
    assert_eq!(text(&mut service, "select current_user::text").as_deref(), Some("service"));

    let mut app = database.app();
    let entered = try_acting(&mut app, key, |transaction| seen(transaction));
    assert_refused(entered, "42501", "", "the app's login with the service key");
    // The bare setting gives the login nothing that it has not.
    let mut transaction = app.transaction().unwrap();
    transaction.batch_execute("set local role authenticated").unwrap();
    carry(&mut transaction, key);
    assert!(seen(&mut transaction).unwrap().is_empty());
    transaction.rollback().unwrap();
    let anon = json(&mut database.admin(), "select auth.create_key('anon')", &[])["key"].as_str().unwrap().to_owned();
    assert!(acting(&mut app, &anon, |transaction| seen(transaction).unwrap()).is_empty());

    let mut open = database.service();
    let mut transaction = open
        .build_transaction()
        .isolation_level(auth_harness::postgres::IsolationLevel::RepeatableRead)
        .start()
        .unwrap();
    transaction.batch_execute("set local role service_role").unwrap();
    transaction.execute("select auth.authenticate($1)", &[&key]).unwrap();
    assert_eq!(uid(&mut transaction).unwrap(), None);
    let id: Uuid = made["id"].as_str().unwrap().parse().unwrap();
    database.superuser().execute("update auth.api_keys set revoked_at = now() where id = $1", &[&id]).unwrap();
    assert_refused(uid(&mut transaction), "28000", "bad_jwt", "revoked");
    transaction.rollback().unwrap();
    service.batch_execute("set role service_role").unwrap();
    refused_at_every_door(&mut service, key, "bad_jwt", "revoked");
    database.superuser().execute("delete from auth.api_keys", &[]).unwrap();
    refused_at_every_door(&mut service, key, "bad_jwt", "deleted");

    let short = json(&mut database.admin(), "select auth.create_key('anon', '1 hour')", &[])["key"]
        .as_str()
        .unwrap()
        .to_owned();
    database.superuser().execute("update auth.api_keys set expires_at = now()", &[]).unwrap();
    refused_at_every_door(&mut app, &short, "session_expired", "its row says that it ended");
}

/// XF13 with XD6: a key that was revoked verifies nothing from the next statement on, in transactions that are open and
/// have verified with it before.
#[test]
fn a_revoked_signing_key_ends_open_transactions() {
    let database = Cluster::shared().database();
    let (alice, _) = alice_and_bob(&database);
    notes(&database, &[&alice]);
    let open = |sql: &str| -> Client {
        let mut client = database.app();
        client.batch_execute(sql).unwrap();
        client.execute("select auth.authenticate($1)", &[&alice.access_token]).unwrap();
        // Everything is cached then, so that nothing but the reader itself would look for news.
        for _ in 0..2 {
            assert_eq!(seen(&mut client).unwrap(), ["alice@example.org"]);
            assert_eq!(uid(&mut client).unwrap(), Some(alice.user_id));
        }
        client
    };
    let mut committed = open("begin");
    let mut repeatable = open("begin isolation level repeatable read");
    let mut asked_once = open("begin");
    let mut verifying = open("begin");
    let verify = verifying.prepare("select auth.verify_token($1)").unwrap();
    assert_eq!(verifying.execute(&verify, &[&alice.access_token]).unwrap(), 1);
    let mut idle = database.app();
    assert_eq!(try_acting(&mut idle, &alice.access_token, |tx| uid(tx)).unwrap(), Some(alice.user_id));
    assert_eq!(database.superuser().execute("update auth.signing_keys set status = 'revoked'", &[]).unwrap(), 1);
    refused_at_every_door(&mut idle, &alice.access_token, "bad_jwt", "an idle connection");
    // A single call, with no planning before it that would notice the change first.
    assert_refused(uid(&mut asked_once), "28000", "bad_jwt", "a single call in an open transaction");
    let verified = verifying.execute(&verify, &[&alice.access_token]);
    assert_refused(verified, "28000", "bad_jwt", "verify_token in an open transaction");
    assert_refused(seen(&mut committed), "28000", "bad_jwt", "an open transaction");
    assert_refused(seen(&mut repeatable), "28000", "bad_jwt", "an open transaction with an old snapshot");
}

/// XD6: what another session does in two phases counts when it is committed, not when it is prepared.
#[test]
fn a_prepared_sign_out_counts_when_it_is_committed() {
    let cluster = Cluster::builder().setting("max_prepared_transactions", "4").start();
    let database = cluster.database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut open = database.app();
    open.batch_execute("begin isolation level repeatable read").unwrap();
    open.execute("select auth.authenticate($1)", &[&ada.access_token]).unwrap();
    let mut app = database.app();
    app.batch_execute("begin").unwrap();
    app.execute("select auth.authenticate($1)", &[&ada.access_token]).unwrap();
    app.batch_execute("select auth.sign_out(); prepare transaction 'sign-out'").unwrap();
    assert_eq!(uid(&mut app).unwrap(), None, "the transaction is over for who prepared it");
    assert_eq!(uid(&mut open).unwrap(), Some(ada.user_id), "prepared is not committed");
    database.superuser().batch_execute("commit prepared 'sign-out'").unwrap();
    assert_refused(uid(&mut open), "28000", "session_not_found", "committed");
}
