//! A hot standby: identity is read there as on the primary, revocation included; what writes is refused before it costs.

use auth_harness::{Client, Cluster, Database, acting, claims, json, sign_in, sign_up, try_acting};
use serde_json::json;

use crate::minting::{PASSWORD, alice_and_bob, assert_refused, notes, refused_at_every_door, seen, uid};

fn hashes(cluster: &Cluster, database: &Database) -> i64 {
    let mut admin = cluster.connect(database.name(), "admin");
    json(&mut admin, "select auth.gate_status()", &[])["hashes"].as_i64().unwrap()
}

/// N24, XD6: tokens are verified and policies work; what is revoked on the primary is refused after replay, in
/// transactions that are open on the standby; keys and rotations arrive too.
#[test]
fn a_standby_reads_identity_and_sees_revocation() {
    let primary = Cluster::start();
    let database = primary.database();
    let (alice, bob) = alice_and_bob(&database);
    notes(&database, &[&alice, &bob]);
    let standby = primary.standby();
    primary.wait_replay(&standby);
    let connect = || -> Client { standby.connect(database.name(), "app") };

    let mut reader = connect();
    for person in [&alice, &bob] {
        let rows = acting(&mut reader, &person.access_token, |transaction| {
            assert_eq!(uid(transaction).unwrap(), Some(person.user_id));
            assert_eq!(json(transaction, "select auth.get_user()", &[])["email"], person.email.as_str());
            assert_eq!(json(transaction, "select auth.get_session()", &[])["id"], person.session_id.to_string());
            seen(transaction).unwrap()
        });
        assert_eq!(rows, [person.email.as_str()]);
    }
    assert_eq!(json(&mut reader, "select auth.verify_token($1)", &[&alice.access_token]), claims(&alice.access_token));
    assert_eq!(uid(&mut reader).unwrap(), None);
    refused_at_every_door(&mut reader, &format!("{}x", alice.access_token), "bad_jwt", "a forged token");

    // In workers as well.
    reader
        .batch_execute(
            "set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0;
            set parallel_leader_participation = off; set enable_indexscan = off; set enable_bitmapscan = off",
        )
        .unwrap();
    let rows = acting(&mut reader, &bob.access_token, |transaction| seen(transaction).unwrap());
    assert_eq!(rows, ["bob@example.org"]);

    // A refresh on the primary is good here after replay; ahead of the row it would be refused.
    let answer = json(&mut database.app(), "select auth.refresh($1)", &[&bob.refresh_token]);
    primary.wait_replay(&standby);
    let next = answer["access_token"].as_str().unwrap();
    assert_eq!(try_acting(&mut reader, next, |tx| uid(tx)).unwrap(), Some(bob.user_id));

    // Open transactions that have seen rows, under an old snapshot.
    let mut open = connect();
    open.batch_execute("begin isolation level repeatable read").unwrap();
    open.execute("select auth.authenticate($1)", &[&alice.access_token]).unwrap();
    assert_eq!(seen(&mut open).unwrap(), ["alice@example.org"]);
    acting(&mut database.app(), &alice.access_token, |transaction| {
        transaction.execute("select auth.sign_out()", &[]).unwrap();
    });
    primary.wait_replay(&standby);
    assert_refused(seen(&mut open), "28000", "session_not_found", "signed out on the primary");
    open.batch_execute("rollback").unwrap();
    refused_at_every_door(&mut reader, &alice.access_token, "session_not_found", "signed out on the primary");

    // A replayed refresh token ends every session of the user through auth.revocations.
    let replay = database.app().execute("select auth.refresh($1)", &[&bob.refresh_token]);
    assert_refused(replay, "28000", "refresh_token_already_used", "replay");
    primary.wait_replay(&standby);
    refused_at_every_door(&mut reader, next, "session_not_found", "revoked by a replay");

    // A rotation and a removed key.
    let old = sign_in(&mut database.app(), "bob@example.org", PASSWORD);
    primary.wait_replay(&standby);
    assert_eq!(try_acting(&mut reader, &old.access_token, |tx| uid(tx)).unwrap(), Some(bob.user_id));
    database.admin().execute("select auth.rotate_signing_key()", &[]).unwrap();
    let new = sign_in(&mut database.app(), "bob@example.org", PASSWORD);
    primary.wait_replay(&standby);
    for token in [&old.access_token, &new.access_token] {
        assert_eq!(try_acting(&mut reader, token, |tx| uid(tx)).unwrap(), Some(bob.user_id));
    }
    database
        .superuser()
        .batch_execute("update auth.signing_keys set status = 'revoked' where status = 'previous'")
        .unwrap();
    primary.wait_replay(&standby);
    refused_at_every_door(&mut reader, &old.access_token, "bad_jwt", "its key was revoked on the primary");
    assert_eq!(try_acting(&mut reader, &new.access_token, |tx| uid(tx)).unwrap(), Some(bob.user_id));
    database.superuser().batch_execute("update auth.users set banned_until = 'infinity'").unwrap();
    primary.wait_replay(&standby);
    refused_at_every_door(&mut reader, &new.access_token, "user_banned", "banned on the primary");
}

/// N24: whatever writes is refused with 25006 on a standby before it has spent a hash; promoted, it does all.
#[test]
fn a_standby_refuses_what_writes() {
    let primary = Cluster::start();
    let database = primary.database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let standby = primary.standby();
    primary.wait_replay(&standby);
    let name = database.name();
    let mut app = standby.connect(name, "app");
    let before = hashes(&standby, &database);

    for (call, argument) in [
        ("select auth.sign_in('ada@example.org', $1)", PASSWORD),
        ("select auth.sign_in('ada@example.org', $1)", "a wrong password"),
        ("select auth.sign_in('nobody@example.org', $1)", PASSWORD),
        ("select auth.sign_up('new@example.org', $1)", PASSWORD),
        ("select auth.sign_up('ada@example.org', $1)", "short"),
        ("select auth.refresh($1)", ada.refresh_token.as_str()),
        ("select auth.refresh($1)", "garbage"),
    ] {
        assert_refused(app.execute(call, &[&argument]), "25006", "read_only_replica", call);
    }
    for call in [
        "select auth.sign_out()",
        "select auth.sign_out('global')",
        "select auth.revoke_sessions()",
        "select auth.revoke_session(gen_random_uuid())",
        "select auth.update_user('{\"a\": 1}')",
    ] {
        let tried = try_acting(&mut app, &ada.access_token, |transaction| transaction.execute(call, &[]));
        assert_refused(tried, "25006", "read_only_replica", call);
    }
    let mut admin = standby.connect(name, "admin");
    for call in [
        "select auth.configure('{\"enable_signup\": false}')",
        "select auth.create_key('anon')",
        "select auth.rotate_signing_key()",
        "select auth.import_signing_key('{\"kty\": \"oct\", \"k\": \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}')",
    ] {
        assert_refused(admin.execute(call, &[]), "25006", "read_only_replica", call);
    }
    assert_eq!(hashes(&standby, &database), before, "no hash was spent");
    assert_eq!(before, 0);
    assert_eq!(try_acting(&mut app, &ada.access_token, |tx| uid(tx)).unwrap(), Some(ada.user_id));

    primary.stop_fast();
    standby.promote();
    let again = sign_in(&mut app, "ada@example.org", PASSWORD);
    assert_eq!(again.user_id, ada.user_id);
    assert!(hashes(&standby, &database) > before);
    let answer = json(&mut app, "select auth.refresh($1)", &[&ada.refresh_token]);
    assert_eq!(claims(answer["access_token"].as_str().unwrap())["sc"], json!(1));
}

/// N24: a read-only transaction on the primary is refused alike.
#[test]
fn a_read_only_transaction_refuses_what_writes() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut app = database.app();
    app.batch_execute("set default_transaction_read_only = on").unwrap();
    for (call, argument) in [
        ("select auth.sign_in('ada@example.org', $1)", PASSWORD),
        ("select auth.sign_up('new@example.org', $1)", PASSWORD),
        ("select auth.refresh($1)", ada.refresh_token.as_str()),
    ] {
        assert_refused(app.execute(call, &[&argument]), "25006", "read_only_replica", call);
    }
    assert_eq!(try_acting(&mut app, &ada.access_token, |tx| uid(tx)).unwrap(), Some(ada.user_id));
}
