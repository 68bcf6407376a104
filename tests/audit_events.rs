//! The audit's events: each kind by the fact that writes it, equal ones as one row with a count, none with a secret in it.

use auth_harness::{
    Cluster, Database, acting, canary, json, refused, sign_in, sign_up, storm_with, try_acting, wait_until,
};
use serde_json::{Value, json as object};

use crate::audit::{configure, guess, happened, rows, wait_until_happened};
use crate::minting::PASSWORD;
use crate::refresh::{refresh, refreshed, refusal};

/// The row that this event has, once it is there.
#[track_caller]
fn row(database: &Database, event_type: &str) -> Value {
    wait_until_happened(database, &format!("event_type = '{event_type}'"), 1);
    rows(&mut database.superuser(), &format!("event_type = '{event_type}'")).remove(0)
}

/// F226, F124, N17: every kind of event is written by its fact, with the user and the session that it is about, and none
/// holds a password, a token or a header.
#[test]
fn every_fact_has_its_row() {
    let database = Cluster::shared().database();
    configure(&database, object!({"max_active_sessions": null, "lockout_attempts": 3, "rate_limit_network": "3/900"}));
    let (mut app, mut admin, mut sidecar) = (database.app(), database.admin(), database.sidecar());
    let secret = canary();
    let mut secrets = vec![secret.clone()];
    let email = "ada@example.org";

    let ada = sign_up(&mut app, email, &secret);
    let (user, session) = (object!(ada.user_id.to_string()), object!(ada.session_id.to_string()));
    let signup = row(&database, "signup");
    assert_eq!((&signup["user_id"], &signup["session_id"]), (&user, &session));
    assert_eq!(signup["event_data"]["email"], email);

    let taken = refused(app.query_one("select auth.sign_up($1, $2)", &[&email, &secret]));
    let failure = row(&database, "signup_failure");
    assert_eq!((&failure["success"], &failure["code"]), (&object!(false), &object!(taken.code)));
    assert_eq!(failure["event_data"]["email"], email);

    let phone = sign_in(&mut app, email, &secret);
    let login = row(&database, "login_success");
    assert_eq!((&login["user_id"], &login["session_id"]), (&user, &object!(phone.session_id.to_string())));

    acting(&mut app, &ada.access_token, |transaction| {
        let data = object!({"nickname": secret});
        transaction.execute("select auth.update_user($1)", &[&data]).unwrap();
    });
    let updated = row(&database, "user_updated");
    assert_eq!((&updated["user_id"], &updated["event_data"]), (&user, &object!({"keys": ["nickname"]})));

    acting(&mut app, &ada.access_token, |transaction| {
        transaction.execute("select auth.revoke_session($1)", &[&phone.session_id]).unwrap();
    });
    let revoked = row(&database, "session_revoked");
    assert_eq!((&revoked["user_id"], &revoked["session_id"]), (&user, &session));
    assert_eq!(revoked["event_data"]["session_id"], phone.session_id.to_string());

    sign_in(&mut app, email, &secret);
    acting(&mut app, &ada.access_token, |transaction| {
        transaction.execute("select auth.revoke_sessions()", &[]).unwrap();
    });
    let revoked = row(&database, "sessions_revoked");
    assert_eq!((&revoked["user_id"], &revoked["session_id"]), (&user, &session));
    assert_eq!(revoked["event_data"]["sessions"], 1);

    // As after a restore: the row is behind the token.
    let newest = refreshed(&mut app, &ada.refresh_token);
    database.superuser().execute("update auth.sessions set refresh_token_counter = 0", &[]).unwrap();
    let ahead = refreshed(&mut app, &newest);
    let row_ahead = row(&database, "refresh_token_ahead");
    assert_eq!((&row_ahead["user_id"], &row_ahead["session_id"]), (&user, &session));

    let answer = refresh(&mut app, &ahead).unwrap();
    acting(&mut app, answer["access_token"].as_str().unwrap(), |transaction| {
        transaction.execute("select auth.sign_out()", &[]).unwrap();
    });
    let logout = row(&database, "logout");
    assert_eq!((&logout["user_id"], &logout["session_id"]), (&user, &session));
    assert_eq!(logout["event_data"]["scope"], "local");

    let again = sign_in(&mut app, email, &secret);
    refreshed(&mut app, &again.refresh_token);
    assert_eq!(refusal(&mut app, &again.refresh_token), "refresh_token_already_used");
    let reuse = row(&database, "refresh_token_reuse");
    assert_eq!((&reuse["user_id"], &reuse["session_id"]), (&user, &object!(again.session_id.to_string())));
    assert_eq!((&reuse["success"], &reuse["code"]), (&object!(false), &object!("refresh_token_already_used")));

    for number in 0..3 {
        let wrong = canary();
        let mut transaction = sidecar.transaction().unwrap();
        transaction.execute("select auth.set_request_context('203.0.113.7', 'Firefox')", &[]).unwrap();
        let refusal = refused(transaction.query_one("select auth.sign_in($1, $2)", &[&email, &wrong]));
        assert_eq!(refusal.code, "invalid_credentials", "guess {number}");
        secrets.push(wrong);
    }
    wait_until_happened(&database, "event_type = 'login_failure'", 3);
    let locked = row(&database, "account_locked");
    assert_eq!(locked["user_id"], user);
    assert_eq!((&locked["event_data"]["seconds"], &locked["event_data"]["locks"]), (&object!(1800), &object!(1)));
    let blocked = row(&database, "network_blocked");
    assert_eq!(blocked["event_data"]["network"], "203.0.113.7/32");

    json(&mut admin, "select to_jsonb(auth.guard_reset($1))", &[&email]);
    let reset = row(&database, "guard_reset");
    assert_eq!(reset["event_data"], object!({"subject": email, "by": "admin"}));

    for person in [&ada, &phone, &again] {
        secrets.extend([person.access_token.clone(), person.refresh_token.clone()]);
        secrets.push(person.access_token.rsplit('.').next().unwrap().to_owned());
    }
    secrets.push(ahead);
    let all = rows(&mut database.superuser(), "true");
    assert!(all.len() >= 17, "{}", all.len());
    let all = object!(all).to_string();
    for secret in secrets {
        assert!(!all.contains(&secret), "a secret stands in the audit");
    }
    assert_eq!(updated["session_id"], session, "the session that asked");
}

/// F226: fifty equal refusals of a locked account at once are a few rows whose counts make fifty; a refusal of somebody
/// else is not counted with them.
#[test]
fn equal_refusals_are_one_row_with_a_count() {
    let database = Cluster::shared().database();
    configure(&database, object!({"lockout_attempts": 1}));
    for email in ["ada@example.org", "bob@example.org"] {
        assert_eq!(guess(&mut database.app(), email), "invalid_credentials");
    }
    let answers = storm_with(
        10,
        |_| database.app(),
        |_, mut app| (0..5).map(|_| guess(&mut app, "ada@example.org")).collect::<Vec<String>>(),
    );
    assert!(answers.iter().flatten().all(|code| code == "account_locked"), "{answers:?}");
    assert_eq!(guess(&mut database.app(), "bob@example.org"), "account_locked");
    let refused = |name: &str| format!("code = 'account_locked' and event_data ->> 'email' = '{name}@example.org'");
    wait_until_happened(&database, &refused("ada"), 50);
    wait_until_happened(&database, &refused("bob"), 1);
    let found = rows(&mut database.superuser(), &refused("ada"));
    assert!(found.len() <= 20, "{} rows", found.len());
    assert!(found.iter().all(|row| row["event_type"] == "login_failure" && row["success"] == false));
    // What somebody waited for is never one row with another.
    assert_eq!(happened(&mut database.superuser(), "code = 'invalid_credentials' and count = 1"), 2);
}

/// F150, N17: a used refresh token is in the audit, and its sessions dead, although the thief rolls back; a second
/// use is another refusal and no second reuse.
#[test]
fn a_replay_is_recorded_past_its_rollback() {
    let database = Cluster::shared().database();
    configure(&database, object!({}));
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let eve = sign_up(&mut app, "eve@example.org", PASSWORD);
    let newest = refreshed(&mut app, &ada.refresh_token);
    let mut transaction = app.transaction().unwrap();
    {
        let mut savepoint = transaction.transaction().unwrap();
        assert_eq!(refusal(&mut savepoint, &ada.refresh_token), "refresh_token_already_used");
        savepoint.rollback().unwrap();
    }
    let condition = "event_type = 'refresh_token_reuse'";
    assert_eq!(happened(&mut database.superuser(), condition), 1, "before the transaction has ended");
    transaction.rollback().unwrap();
    assert_eq!(refusal(&mut app, &newest), "session_not_found");
    assert_eq!(refusal(&mut app, &ada.refresh_token), "session_not_found");
    assert_eq!(happened(&mut database.superuser(), condition), 1);
    let revoked = "select count(*) from auth.revocations where reason = 'refresh_token_reuse' and scope = 'user'";
    assert_eq!(crate::minting::count(&mut database.superuser(), revoked), 1);
    assert!(try_acting(&mut app, &ada.access_token, |_| Ok(())).is_err());
    assert!(try_acting(&mut app, &eve.access_token, |_| Ok(())).is_ok(), "nobody else's");
}

/// F226, N17: a refusal that comes while the worker is writing an equal one is not counted with what is already on its way:
/// every one of them is in the audit, whatever held the worker up.
#[test]
fn a_refusal_while_its_equal_is_written_is_counted() {
    let database = Cluster::shared().database();
    configure(&database, object!({"lockout_attempts": 1}));
    let mut app = database.app();
    assert_eq!(guess(&mut app, "ada@example.org"), "invalid_credentials");
    let mut superuser = database.superuser();
    let mut watcher = database.superuser();
    let waits = "select from pg_stat_activity
        where datname = current_database() and backend_type = 'auth worker' and wait_event_type = 'Lock'";
    let mut refusals = 0;
    for _ in 0..4 {
        let mut holder = superuser.transaction().unwrap();
        holder.batch_execute("lock table auth.audit_log in exclusive mode").unwrap();
        assert_eq!(guess(&mut app, "ada@example.org"), "account_locked");
        wait_until("the worker to write", || !watcher.query(waits, &[]).unwrap().is_empty());
        // The worker has read the first of them, and gives up only after half a second.
        assert_eq!(guess(&mut app, "ada@example.org"), "account_locked");
        holder.rollback().unwrap();
        refusals += 2;
        wait_until_happened(&database, "code = 'account_locked'", refusals);
    }
}
