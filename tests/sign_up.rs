//! Sign-up by address and password: what it makes, what it refuses, and that a refusal leaves nothing behind.

use std::collections::BTreeMap;

use auth_harness::{Client, Cluster, Database, acting, claims, json, refused, sign_in, sign_up};
use serde_json::{Map, Value, json};
use uuid::Uuid;

const PASSWORD: &str = "correct horse battery";

/// For tests of many accounts, where it does not matter what a hash costs.
pub fn cheap_hashes(database: &Database) {
    let settings = json!({"argon2_memory_kib": 64, "argon2_iterations": 1});
    database.admin().execute("select auth.configure($1)", &[&settings]).unwrap();
}

/// How many rows each table of the schema has.
pub fn row_counts(superuser: &mut Client) -> BTreeMap<String, i64> {
    let tables = superuser
        .query(
            "select c.oid::regclass::text from pg_class c
            where c.relnamespace = 'auth'::regnamespace and c.relkind = 'r'
                -- refusals are audited whatever becomes of the transaction
                and c.relname not like 'audit%'",
            &[],
        )
        .unwrap();
    assert!(tables.len() > 10, "schema auth has its tables");
    tables
        .iter()
        .map(|row| {
            let table: String = row.get(0);
            let count = superuser.query_one(&format!("select count(*) from {table}"), &[]).unwrap().get(0);
            (table, count)
        })
        .collect()
}

/// F001, F284: one call answers a session whose token acts as the new user, and the answer holds no secret of the account.
#[test]
fn sign_up_answers_a_session() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let answer = json(&mut app, "select auth.sign_up('a@x.io', $1)", &[&PASSWORD]);
    let members: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["access_token", "expires_at", "expires_in", "refresh_token", "status", "token_type", "user"],
        "the session answer of names.md and nothing else"
    );
    assert_eq!((&answer["status"], &answer["token_type"]), (&json!("session"), &json!("bearer")));
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(answer["expires_at"], claims(token)["exp"]);
    assert_eq!(answer["expires_in"], 900);
    let user = &answer["user"];
    for (member, expected) in [
        ("email", json!("a@x.io")),
        ("phone", json!("")),
        ("role", json!("authenticated")),
        ("aud", json!("authenticated")),
        ("is_anonymous", json!(false)),
        ("app_metadata", json!({"provider": "email", "providers": ["email"]})),
        ("user_metadata", json!({})),
    ] {
        assert_eq!(user[member], expected, "user.{member}");
    }
    assert_eq!(user["identities"][0]["provider"], "email");
    assert!(user.get("email_confirmed_at").is_none(), "nobody has proved the address");
    let text = user.to_string();
    assert!(!text.contains(PASSWORD) && !text.contains("$argon2") && !text.contains("encrypted_password"));

    let (uid, role): (Uuid, String) = acting(&mut app, token, |transaction| {
        let row = transaction.query_one("select auth.uid(), current_user::text", &[]).unwrap();
        (row.get(0), row.get(1))
    });
    assert_eq!((uid.to_string().as_str(), role.as_str()), (user["id"].as_str().unwrap(), "authenticated"));
    // Only a token acts: the connection that signed up is still nobody.
    assert!(json(&mut app, "select to_jsonb(auth.uid())", &[]).is_null());
}

/// F002: metadata is kept as it was given, nested, and is what the user, the answer and the token say.
#[test]
fn metadata_is_kept_as_given() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let data = json!({"preferences": {"theme": "dark", "tags": [1, 2.5, null, true, "ü"]}, "name": "Ada"});
    let answer = json(&mut app, "select auth.sign_up('a@x.io', $1, $2)", &[&PASSWORD, &data]);
    assert_eq!(answer["user"]["user_metadata"], data);
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(claims(token)["user_metadata"], data);
    let user = acting(&mut app, token, |transaction| json(transaction, "select auth.get_user()", &[]));
    assert_eq!(user["user_metadata"], data);
}

/// F003, XA15: metadata named like any column of auth.users, any claim or any option sets that column, claim or option
/// nowhere; neither at sign-up nor later by update_user.
#[test]
fn metadata_is_never_a_column_or_a_claim() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let columns: Vec<String> = superuser
        .query("select attname::text from pg_attribute where attrelid = 'auth.users'::regclass and attnum > 0", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(columns.iter().any(|name| name == "role") && columns.iter().any(|name| name == "banned_until"));
    let others = ["app_metadata", "user_metadata", "email_verified", "sub", "iss", "exp", "aal", "amr", "session_id"];
    let mut hostile = Map::new();
    for name in columns.iter().map(String::as_str).chain(others) {
        let value = match name {
            "id" | "instance_id" | "sub" | "session_id" => json!("00000000-0000-4000-8000-00000000beef"),
            "email" | "email_key" => json!("victim@example.org"),
            "role" => json!("service_role"),
            "aud" => json!("admin"),
            "phone" | "username" | "encrypted_password" | "iss" | "aal" => json!("hostile"),
            "exp" => json!(4_000_000_000_u32),
            "app_metadata" | "raw_app_meta_data" | "raw_user_meta_data" | "user_metadata" => json!({"admin": true}),
            name if name.starts_with("is_") || name == "email_verified" => json!(true),
            _ => json!("2020-01-01T00:00:00Z"),
        };
        hostile.insert(name.to_owned(), value);
    }
    let hostile = Value::Object(hostile);
    let control = sign_up(&mut app, "control@example.org", PASSWORD);
    let answer = json(&mut app, "select auth.sign_up('tester@example.org', $1, $2)", &[&PASSWORD, &hostile]);
    let token = answer["access_token"].as_str().unwrap().to_owned();
    let id: Uuid = answer["user"]["id"].as_str().unwrap().parse().unwrap();

    for round in ["sign_up", "update_user"] {
        if round == "update_user" {
            acting(&mut app, &token, |transaction| json(transaction, "select auth.update_user($1)", &[&hostile]));
        }
        let mut row = |id: Uuid| {
            let Value::Object(mut row) =
                json(&mut superuser, "select to_jsonb(u) from auth.users u where id = $1", &[&id])
            else {
                panic!("no row")
            };
            // What differs between any two accounts; the next assertions look at each of them.
            let own: Vec<Value> = ["id", "email", "email_key"].map(|name| row.remove(name).unwrap()).into();
            let metadata = row.remove("raw_user_meta_data").unwrap();
            let hash = row.remove("encrypted_password").unwrap();
            for name in ["created_at", "updated_at", "last_sign_in_at"] {
                let time = row.remove(name).unwrap();
                assert!(!time.as_str().unwrap().starts_with("2020"), "{name}");
            }
            assert!(hash.as_str().unwrap().starts_with("$argon2id$"), "the hash is ours");
            (own, metadata, row)
        };
        let (own, metadata, rest) = row(id);
        assert_eq!(own[1..], [json!("tester@example.org"), json!("tester@example.org")], "{round}");
        assert_eq!(metadata, hostile, "{round}");
        assert_eq!(rest, row(control.user_id).2, "{round}: every other column is that of an ordinary account");
    }
    assert_ne!(id.to_string(), hostile["id"].as_str().unwrap());
    let address: String = superuser
        .query_one("select address from auth.email_addresses where user_id = $1 and verified_at is null", &[&id])
        .unwrap()
        .get(0);
    assert_eq!(address, "tester@example.org");

    let token = sign_in(&mut app, "tester@example.org", PASSWORD).access_token;
    let (mine, ordinary) = (claims(&token), claims(&control.access_token));
    for name in ["role", "aud", "iss", "aal", "is_anonymous", "app_metadata", "token_type", "phone"] {
        assert_eq!(mine[name], ordinary[name], "claim {name}");
    }
    assert_eq!(mine["sub"], id.to_string());
    let role: String =
        acting(&mut app, &token, |transaction| transaction.query_one("select current_user::text", &[]).unwrap().get(0));
    assert_eq!(role, "authenticated");
}

/// F005, F006, F021, F022: every refusal of sign-up has its SQLSTATE and code, and leaves no row in any table.
#[test]
fn refusals_leave_nothing() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    sign_up(&mut app, "taken@example.org", PASSWORD);
    let before = row_counts(&mut superuser);
    let nested = |levels: usize| (1..levels).fold(json!({"a": 1}), |inner, _| json!({ "a": inner }));
    let seventy_three = "x".repeat(73);
    let big = json!({"a": "x".repeat(16 * 1024)});
    let none = Value::Null;
    let good = "sound and long enough";
    // title, address, password, data, options, SQLSTATE, code, how the hint begins
    type Case<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Value, Value, &'a str, &'a str, &'a str);
    let cases: [Case; 19] = [
        ("no address", None, Some(good), none.clone(), none.clone(), "22023", "validation_failed", "give email"),
        ("no password", Some("a@x.io"), None, none.clone(), none.clone(), "22023", "validation_failed", "give pass"),
        (
            "no address at all",
            Some("nonsense"),
            Some(good),
            none.clone(),
            none.clone(),
            "22023",
            "email_address_invalid",
            "",
        ),
        (
            "two addresses",
            Some("a@x.io,b@x.io"),
            Some(good),
            none.clone(),
            none.clone(),
            "22023",
            "email_address_invalid",
            "",
        ),
        ("an empty address", Some(""), Some(good), none.clone(), none.clone(), "22023", "email_address_invalid", ""),
        ("F005 taken", Some("taken@example.org"), Some(good), none.clone(), none.clone(), "23505", "email_exists", ""),
        (
            "F005 taken in capitals",
            Some("TAKEN@Example.ORG"),
            Some(good),
            none.clone(),
            none.clone(),
            "23505",
            "email_exists",
            "",
        ),
        (
            "F021 seven characters",
            Some("a@x.io"),
            Some("sevench"),
            none.clone(),
            none.clone(),
            "22023",
            "weak_password",
            "length",
        ),
        (
            "F021 an empty password",
            Some("a@x.io"),
            Some(""),
            none.clone(),
            none.clone(),
            "22023",
            "weak_password",
            "length",
        ),
        (
            "F021 seven characters of fourteen bytes",
            Some("a@x.io"),
            Some("ééééééé"),
            none.clone(),
            none.clone(),
            "22023",
            "weak_password",
            "length",
        ),
        (
            "F022 seventy-three",
            Some("a@x.io"),
            Some(&seventy_three),
            none.clone(),
            none.clone(),
            "22023",
            "password_too_long",
            "at most 72",
        ),
        ("data is an array", Some("a@x.io"), Some(good), json!([1]), none.clone(), "22023", "validation_failed", ""),
        ("data is a text", Some("a@x.io"), Some(good), json!("x"), none.clone(), "22023", "validation_failed", ""),
        ("data over 16 kB", Some("a@x.io"), Some(good), big.clone(), none.clone(), "22023", "validation_failed", ""),
        (
            "data of nine levels",
            Some("a@x.io"),
            Some(good),
            nested(9),
            none.clone(),
            "22023",
            "validation_failed",
            "at most 8",
        ),
        (
            "data of nine levels in arrays",
            Some("a@x.io"),
            Some(good),
            json!({"a": [[[[[[[[1]]]]]]]]}),
            none.clone(),
            "22023",
            "validation_failed",
            "at most 8",
        ),
        (
            "an unknown option",
            Some("a@x.io"),
            Some(good),
            none.clone(),
            json!({"role": "service_role"}),
            "22023",
            "validation_failed",
            "",
        ),
        (
            "options are no object",
            Some("a@x.io"),
            Some(good),
            none.clone(),
            json!([]),
            "22023",
            "validation_failed",
            "",
        ),
        ("F006 switched off", Some("a@x.io"), Some(good), none.clone(), none.clone(), "55000", "signup_disabled", ""),
    ];
    for (title, email, password, data, options, sqlstate, code, hint) in cases {
        if code == "signup_disabled" {
            database.admin().execute("select auth.configure('{\"enable_signup\": false}')", &[]).unwrap();
        }
        let data = (!data.is_null()).then_some(data);
        let options = (!options.is_null()).then_some(options);
        let refusal =
            refused(app.execute("select auth.sign_up($1, $2, $3, $4)", &[&email, &password, &data, &options]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), (sqlstate, code), "{title}");
        assert!(refusal.hint.unwrap_or_default().starts_with(hint), "{title}");
    }
    let mut after = row_counts(&mut superuser);
    // The switch of the last case is a setting and its history.
    for table in ["auth.config", "auth.config_history"] {
        assert_eq!(after.insert(table.to_owned(), 0), Some(1), "{table}");
    }
    assert_eq!(after, before);
    // Whoever has an account still gets in when sign-up is switched off.
    sign_in(&mut app, "taken@example.org", PASSWORD);
}

/// F021, F022: what is just within the bounds is accepted, whole: a password is never cut.
#[test]
fn bounds_are_inclusive() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let nested = (1..8).fold(json!({"a": 1}), |inner, _| json!({ "a": inner }));
    // {"a":"…"} is eight bytes longer than its text.
    let biggest = json!({"a": "x".repeat(16 * 1024 - 8)});
    for (email, password, data) in [
        ("eight@x.io", "letter88".to_owned(), json!({})),
        ("most@x.io", "x".repeat(72), json!({})),
        ("wide@x.io", "\u{1f980}".repeat(72), json!({})),
        ("nested@x.io", PASSWORD.to_owned(), nested),
        ("big@x.io", PASSWORD.to_owned(), biggest),
    ] {
        app.execute("select auth.sign_up($1, $2, $3)", &[&email, &password, &data]).unwrap();
        sign_in(&mut app, email, &password);
        let mut shorter = password.clone();
        shorter.pop();
        let refusal = refused(app.execute("select auth.sign_in($1, $2)", &[&email, &shorter]));
        assert_eq!(refusal.code, "invalid_credentials", "{email}");
    }
}

/// F005: the address of a soft-deleted account is free again, and its old password lets nobody in.
#[test]
fn a_deleted_accounts_address_is_free_again() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let old = sign_up(&mut app, "ada@example.org", PASSWORD);
    superuser.execute("update auth.users set deleted_at = now() where id = $1", &[&old.user_id]).unwrap();
    let new = sign_up(&mut app, "Ada@example.org", "another password");
    assert_ne!(new.user_id, old.user_id);
    assert_eq!(sign_in(&mut app, "ada@example.org", "another password").user_id, new.user_id);
    let refusal = refused(app.execute("select auth.sign_in('ada@example.org', $1)", &[&PASSWORD]));
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28P01", "invalid_credentials"));
    let again = refused(app.execute("select auth.sign_up('ada@example.org', $1)", &[&PASSWORD]));
    assert_eq!(again.code, "email_exists");
}
