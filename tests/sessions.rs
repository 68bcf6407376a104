//! A user's own sessions: listed, ended one by one or together, limited in number; never somebody else's.

use std::collections::BTreeSet;

use auth_harness::{
    Client, Cluster, Database, Person, Refusal, acting, canary, json, refused, sign_in, sign_up, storm_with, try_acting,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::sign_up::cheap_hashes;

const PASSWORD: &str = "correct horse battery";

fn is_live(client: &mut Client, person: &Person) -> bool {
    match try_acting(client, &person.access_token, |_| Ok(())) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(refused::<()>(Err(error)).code, "session_not_found");
            false
        }
    }
}

/// Refused in a transaction of this person.
#[track_caller]
fn refusal(client: &mut Client, person: &Person, statement: &str) -> Refusal {
    refused(try_acting(client, &person.access_token, |transaction| transaction.execute(statement, &[])))
}

fn live_sessions(client: &mut Client, person: &Person) -> BTreeSet<Uuid> {
    acting(client, &person.access_token, |transaction| {
        transaction.query("select id from auth.list_sessions()", &[]).unwrap().iter().map(|row| row.get(0)).collect()
    })
}

/// XD12, F155, F157, F158, N31: which of one's sessions each call ends: access and refresh tokens both, from the next statement of
/// anyone, and nobody else's. What is rolled back ended nothing.
#[test]
fn each_call_ends_what_it_says() {
    let database = Cluster::shared().database();
    cheap_hashes(&database);
    let (mut app, mut other) = (database.app(), database.app());
    // call, what is left of: this session, the two others
    for (number, (statement, answer, this, others)) in [
        ("select auth.sign_out()", json!(null), false, [true, true]),
        ("select auth.sign_out('local')", json!(null), false, [true, true]),
        ("select auth.sign_out('others')", json!(null), true, [false, false]),
        ("select auth.sign_out('global')", json!(null), false, [false, false]),
        ("select to_jsonb(auth.revoke_sessions())", json!(2), true, [false, false]),
        ("select to_jsonb(auth.revoke_sessions(true))", json!(2), true, [false, false]),
        ("select to_jsonb(auth.revoke_sessions(false))", json!(3), false, [false, false]),
        ("select auth.revoke_session('{first}')", json!(null), true, [false, true]),
        ("select auth.revoke_session('{this}')", json!(null), false, [true, true]),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("user{number}@example.org");
        let first = sign_up(&mut app, &email, PASSWORD);
        let second = sign_in(&mut app, &email, PASSWORD);
        let current = sign_in(&mut app, &email, PASSWORD);
        let stranger = sign_up(&mut app, &format!("stranger{number}@example.org"), PASSWORD);
        let call = statement
            .replace("{first}", &first.session_id.to_string())
            .replace("{this}", &current.session_id.to_string());

        let mut transaction = app.transaction().unwrap();
        transaction.execute("select auth.authenticate($1)", &[&current.access_token]).unwrap();
        transaction.execute(&call, &[]).unwrap();
        assert!(is_live(&mut other, &current) && is_live(&mut other, &first), "{call}: not before the commit");
        transaction.rollback().unwrap();
        for person in [&first, &second, &current] {
            assert!(is_live(&mut app, person), "{call}, rolled back");
        }

        let mut transaction = app.transaction().unwrap();
        transaction.execute("select auth.authenticate($1)", &[&current.access_token]).unwrap();
        let row = transaction.query_one(&call, &[]).unwrap();
        if !answer.is_null() {
            assert_eq!(row.get::<_, Value>(0), answer, "{call}");
        }
        let uid = transaction.query_one("select auth.uid()", &[]);
        if this {
            assert_eq!(uid.unwrap().get::<_, Uuid>(0), current.user_id);
            transaction.commit().unwrap();
        } else {
            // The very transaction that ended it is nobody from its next statement on; what it did still commits.
            assert_eq!(refused(uid).code, "session_not_found", "{call}");
            drop(transaction);
            let mut transaction = app.transaction().unwrap();
            transaction.execute("select auth.authenticate($1)", &[&current.access_token]).unwrap();
            transaction.execute(&call, &[]).unwrap();
            transaction.commit().unwrap();
        }
        for (person, live) in [(&current, this), (&first, others[0]), (&second, others[1]), (&stranger, true)] {
            assert_eq!(is_live(&mut other, person), live, "{call}: access token of {}", person.email);
            let refresh = other.query_one("select auth.refresh($1)", &[&person.refresh_token]);
            if live {
                refresh.unwrap();
            } else {
                let refusal = refused(refresh);
                assert_eq!(
                    (refusal.sqlstate.as_str(), refusal.code.as_str()),
                    ("28000", "session_not_found"),
                    "{call}"
                );
            }
        }
        sign_in(&mut app, &email, PASSWORD);
    }
}

/// F155, F157, XL7: bad arguments, and ids of sessions that are somebody else's, ended or not there: one refusal for these,
/// and a type that takes nothing but a UUID.
#[test]
fn other_peoples_sessions_are_not_found() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let eve = sign_up(&mut app, "eve@example.org", PASSWORD);
    let ended = sign_in(&mut app, "eve@example.org", PASSWORD);
    acting(&mut app, &eve.access_token, |transaction| {
        transaction.execute("select auth.revoke_session($1)", &[&ended.session_id]).unwrap();
    });
    let unknown = refusal(&mut app, &eve, &format!("select auth.revoke_session('{}')", Uuid::new_v4()));
    assert_eq!((unknown.sqlstate.as_str(), unknown.code.as_str()), ("28000", "session_not_found"));
    for id in [ada.session_id, ended.session_id, ada.user_id, eve.user_id, Uuid::nil()] {
        assert_eq!(refusal(&mut app, &eve, &format!("select auth.revoke_session('{id}')")), unknown, "{id}");
    }
    assert!(is_live(&mut app, &ada));
    for id in ["", "1", "*", "../../users", "00000000-0000-0000-0000-00000000000g", "' or true --", "null"] {
        let refusal = refusal(&mut app, &eve, &format!("select auth.revoke_session($${id}$$)"));
        assert_eq!(refusal.sqlstate, "22P02", "{id}");
    }
    for statement in [
        "select auth.revoke_session(null)",
        "select auth.sign_out(null)",
        "select auth.sign_out('everyone')",
        "select auth.sign_out('LOCAL')",
        "select auth.sign_out('')",
        "select auth.revoke_sessions(null)",
        "select auth.sign_out('local', '{\"user_id\": 1}')",
        "select auth.revoke_sessions(true, '{\"user_id\": 1}')",
        "select auth.revoke_session(gen_random_uuid(), '{\"user_id\": 1}')",
        "select auth.get_session('{\"user_id\": 1}')",
        "select auth.list_sessions('{\"user_id\": 1}')",
        "select auth.list_sessions('[]')",
        "select auth.get_user('{\"user_id\": 1}')",
        "select auth.update_user('{}', '{\"user_id\": 1}')",
    ] {
        let refusal = refusal(&mut app, &eve, statement);
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{statement}");
    }
    assert!(is_live(&mut app, &ada) && is_live(&mut app, &eve));
}

/// F155 to F159: without a token there is nobody whose sessions these are; and anon, the role of guests, may only end its own.
#[test]
fn nobody_has_no_sessions() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    sign_up(&mut app, "ada@example.org", PASSWORD);
    for statement in [
        "select auth.list_sessions()",
        "select auth.sign_out()",
        "select auth.sign_out('global')",
        "select auth.revoke_sessions(false)",
        "select auth.revoke_session(gen_random_uuid())",
        "select auth.update_user('{}')",
    ] {
        for (login, role, sqlstate, code) in [
            ("app", "authenticated", "28000", "no_authorization"),
            ("app", "anon", "42501", ""),
            ("service", "service_role", "42501", ""),
        ] {
            let is_for_guests = statement.contains("sign_out") || statement.contains("update_user");
            let (sqlstate, code) =
                if role == "anon" && is_for_guests { ("28000", "no_authorization") } else { (sqlstate, code) };
            let mut client = database.connect(login);
            client.batch_execute(&format!("set role {role}")).unwrap();
            let refusal = refused(client.execute(statement, &[]));
            assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), (sqlstate, code), "{role}: {statement}");
        }
    }
    let mut client = database.app();
    client.batch_execute("set role authenticated").unwrap();
    assert!(json(&mut client, "select auth.get_session()", &[]).is_null());
    let left: i64 = database.superuser().query_one("select count(*) from auth.sessions", &[]).unwrap().get(0);
    assert_eq!(left, 1);
}

/// F156, F159: a list has one row for each live session of one's own, newest first, and marks the one that asks, which is
/// the one get_session shows and the token names. Neither shows a secret.
#[test]
fn sessions_are_listed() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let first = sign_up(&mut app, "ada@example.org", PASSWORD);
    let second = sign_in(&mut app, "ada@example.org", PASSWORD);
    let eve = sign_up(&mut app, "eve@example.org", PASSWORD);
    for (asking, expected) in [
        (&first, vec![(second.session_id, false), (first.session_id, true)]),
        (&second, vec![(second.session_id, true), (first.session_id, false)]),
        (&eve, vec![(eve.session_id, true)]),
    ] {
        let rows: Vec<Value> = acting(&mut app, &asking.access_token, |transaction| {
            let rows = transaction.query("select to_jsonb(l) from auth.list_sessions() as l", &[]).unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        });
        let listed: Vec<(Uuid, bool)> = rows
            .iter()
            .map(|row| (row["id"].as_str().unwrap().parse().unwrap(), row["current"].as_bool().unwrap()))
            .collect();
        assert_eq!(listed, expected);
        let columns: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
        assert_eq!(columns, ["aal", "created_at", "current", "id", "ip", "not_after", "refreshed_at", "user_agent"]);
        let session =
            acting(&mut app, &asking.access_token, |transaction| json(transaction, "select auth.get_session()", &[]));
        assert_eq!(session["id"], asking.session_id.to_string());
        assert_eq!(session["user_id"], asking.user_id.to_string());
        assert_eq!((&session["aal"], &session["amr"][0]["method"]), (&json!("aal1"), &json!("password")));
        let members: Vec<&String> = session.as_object().unwrap().keys().collect();
        assert_eq!(
            members,
            ["aal", "amr", "created_at", "id", "ip", "not_after", "refreshed_at", "user_agent", "user_id"]
        );
    }
    // Last use moves with a refresh; over and revoked sessions are gone.
    let refreshed_at = "select refreshed_at::text from auth.list_sessions() where current";
    let last_use = |app: &mut Client| -> String {
        acting(app, &first.access_token, |transaction| transaction.query_one(refreshed_at, &[]).unwrap().get(0))
    };
    let before = last_use(&mut app);
    app.execute("select auth.refresh($1)", &[&first.refresh_token]).unwrap();
    assert_ne!(last_use(&mut app), before);
    let over = sign_in(&mut app, "ada@example.org", PASSWORD);
    superuser.execute("update auth.sessions set not_after = now() where id = $1", &[&over.session_id]).unwrap();
    assert_eq!(live_sessions(&mut app, &first), BTreeSet::from([first.session_id, second.session_id]));
    database.admin().execute("select auth.configure('{\"refresh_reuse_scope\": \"session\"}')", &[]).unwrap();
    app.execute("select auth.refresh($1)", &[&second.refresh_token]).unwrap();
    refused(app.execute("select auth.refresh($1)", &[&second.refresh_token]));
    assert_eq!(live_sessions(&mut app, &first), BTreeSet::from([first.session_id]));
}

/// F160: the sixth sign-in ends the session that was used longest ago, not the oldest; other users' do
/// not count; a rolled-back sign-in ends nobody's.
#[test]
fn the_least_recently_used_session_makes_room() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let eve = sign_up(&mut app, "eve@example.org", PASSWORD);
    let mut people = vec![sign_up(&mut app, "ada@example.org", PASSWORD)];
    for _ in 0..4 {
        people.push(sign_in(&mut app, "ada@example.org", PASSWORD));
    }
    // The oldest has just been used; so the second one is the next to go.
    app.execute("select auth.refresh($1)", &[&people[0].refresh_token]).unwrap();
    let mut transaction = app.transaction().unwrap();
    sign_in(&mut transaction, "ada@example.org", PASSWORD);
    transaction.rollback().unwrap();
    assert!(people.iter().all(|person| is_live(&mut app, person)));

    let sixth = sign_in(&mut app, "ada@example.org", PASSWORD);
    let mut expected: BTreeSet<Uuid> = people.iter().chain([&sixth]).map(|person| person.session_id).collect();
    expected.remove(&people[1].session_id);
    assert_eq!(live_sessions(&mut app, &sixth), expected);
    let refusal = refused(app.execute("select auth.refresh($1)", &[&people[1].refresh_token]));
    assert_eq!(refusal.code, "session_not_found");
    assert!(!is_live(&mut app, &people[1]) && is_live(&mut app, &eve));

    let seventh = sign_in(&mut app, "ada@example.org", PASSWORD);
    expected.remove(&people[2].session_id);
    expected.insert(seventh.session_id);
    assert_eq!(live_sessions(&mut app, &seventh), expected);
    let rows: i64 = superuser
        .query_one("select count(*) from auth.sessions where user_id = $1", &[&seventh.user_id])
        .unwrap()
        .get(0);
    assert_eq!(rows, 5);
}

/// F160: sign-ins at the same moment do not pass the limit together.
#[test]
fn the_limit_holds_for_sign_ins_at_once() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let answers = storm_with(12, |_| database.app(), |_, mut app| sign_in(&mut app, "ada@example.org", PASSWORD));
    assert_eq!(answers.len(), 12, "nobody was refused");
    let rows: i64 = database
        .superuser()
        .query_one("select count(*) from auth.sessions where user_id = $1", &[&ada.user_id])
        .unwrap()
        .get(0);
    assert_eq!(rows, 5);
}

/// Every issued secret of a few flows.
fn secrets(database: &Database) -> (Vec<String>, String) {
    let mut app = database.app();
    let (email, password, imported) = (format!("{}@example.org", canary()), canary(), canary());
    let ada = sign_up(&mut app, &email, &password);
    let again = sign_in(&mut app, &email, &password);
    let refreshed = json(&mut app, "select auth.refresh($1)", &[&ada.refresh_token]);
    let mut secrets = vec![password, ada.access_token, ada.refresh_token, again.access_token, again.refresh_token];
    for member in ["access_token", "refresh_token"] {
        secrets.push(refreshed[member].as_str().unwrap().to_owned());
    }
    let mut admin = database.admin();
    for role in ["anon", "service_role"] {
        let key = json(&mut admin, "select auth.create_key($1)", &[&role]);
        secrets.push(key["key"].as_str().unwrap().to_owned());
    }
    let key = URL_SAFE_NO_PAD.encode(&imported);
    let jwk = json!({"kty": "oct", "alg": "HS256", "k": key, "kid": "imported"});
    admin.execute("select auth.import_signing_key($1)", &[&jwk]).unwrap();
    secrets.extend([imported, key]);
    // A refused attempt, a replay and its revocation.
    let wrong = canary();
    refused(app.execute("select auth.sign_in($1, $2)", &[&email, &wrong]));
    refused(app.execute("select auth.refresh($1)", &[&secrets[2]]));
    secrets.push(wrong);
    // The secret part of a token is as good as the whole: the signature, or the MAC in the last letters.
    let parts: Vec<String> = secrets
        .iter()
        .map(|secret| match secret.rsplit_once('.') {
            Some((_, signature)) => signature.to_owned(),
            None => secret[secret.len() - 20..].to_owned(),
        })
        .collect();
    secrets.extend(parts);
    (secrets, email)
}

/// F151, XD11: no column of any table, no dump, no heap or WAL file holds a password, a token or a key that was issued, as
/// text or as bytes.
#[test]
fn no_issued_secret_is_stored() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let (secrets, email) = secrets(&database);
    let mut superuser = database.superuser();
    let tables: Vec<String> = superuser
        .query("select oid::regclass::text from pg_class where relnamespace = 'auth'::regnamespace and relkind in ('r', 'v', 'm')", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let mut rows = String::new();
    for table in &tables {
        let text: String = superuser
            .query_one(&format!("select coalesce(string_agg(t::text, chr(10)), '') from {table} as t"), &[])
            .unwrap()
            .get(0);
        rows.push_str(&text);
    }
    let dump = cluster.command("pg_dump").arg(database.name()).output().unwrap();
    assert!(dump.status.success());
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    let hex = |secret: &str| secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (place, text) in [("the tables", &rows), ("a dump", &dump)] {
        assert!(text.contains(&email), "{place}: the search finds what is there");
        for (number, secret) in secrets.iter().enumerate() {
            assert!(!text.contains(secret.as_str()), "{place} hold secret {number}");
            assert!(!text.contains(&hex(secret)), "{place} hold secret {number} as bytes");
        }
    }
    superuser.batch_execute("checkpoint").unwrap();
    drop(superuser);
    let files_with = |texts: &[String]| -> String {
        let mut grep = std::process::Command::new("grep");
        grep.args(["--recursive", "--text", "--fixed-strings", "--files-with-matches"]);
        texts.iter().for_each(|text| {
            grep.args(["-e", text]);
        });
        let found = grep.args([cluster.data_dir().join("base"), cluster.data_dir().join("pg_wal")]).output().unwrap();
        assert!(found.status.code() < Some(2), "{}", String::from_utf8_lossy(&found.stderr));
        String::from_utf8_lossy(&found.stdout).into_owned()
    };
    let with_address = files_with(&[email]);
    assert!(with_address.contains("/base/") && with_address.contains("/pg_wal/"), "the search finds what is there");
    assert_eq!(files_with(&secrets), "");
}
