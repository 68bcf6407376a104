//! Guests: what their session is, what it may not do, and how they become permanent.

use auth_harness::{Cluster, acting, claims, json, refused};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::refresh::configure;

/// F063, F065: a guest is somebody, with a fresh id and the claim; its role is anon unless the setting says otherwise, so
/// what is for authenticated users is not for it.
#[test]
fn a_guest_is_somebody_without_an_address() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    superuser
        .batch_execute(
            "create table public.members_only (note text);
            insert into public.members_only values ('for members');
            alter table public.members_only enable row level security;
            create policy members on public.members_only to authenticated using (true);
            grant select on public.members_only to anon, authenticated",
        )
        .unwrap();
    let mut seen = Vec::new();
    for (role, is_seen) in [("anon", false), ("authenticated", true)] {
        configure(&database, json!({"anonymous_role": role}));
        let answer = json(&mut app, "select auth.sign_in_anonymously('{\"cart\": 1}')", &[]);
        assert_eq!((&answer["status"], &answer["user"]["is_anonymous"]), (&json!("session"), &json!(true)));
        assert_eq!(answer["user"]["user_metadata"], json!({"cart": 1}));
        assert_eq!((&answer["user"]["email"], &answer["user"]["identities"]), (&json!(""), &json!([])));
        assert_eq!(answer["user"]["app_metadata"], json!({}));
        let token = answer["access_token"].as_str().unwrap();
        let inside = claims(token);
        assert_eq!((&inside["is_anonymous"], &inside["role"]), (&json!(true), &json!(role)));
        assert_eq!(inside["amr"][0]["method"], "anonymous");
        let (uid, rows): (Uuid, i64) = acting(&mut app, token, |transaction| {
            let row =
                transaction.query_one("select auth.uid(), (select count(*) from public.members_only)", &[]).unwrap();
            (row.get(0), row.get(1))
        });
        assert_eq!((uid.to_string().as_str(), rows == 1), (answer["user"]["id"].as_str().unwrap(), is_seen), "{role}");
        let refreshed = json(&mut app, "select auth.refresh($1)", &[&answer["refresh_token"].as_str()]);
        assert_eq!(claims(refreshed["access_token"].as_str().unwrap())["role"], role);
        seen.push(uid);
    }
    assert_ne!(seen[0], seen[1]);
    let rows: Vec<String> = superuser
        .query("select event_type from auth.audit_log where event_data = '{\"is_anonymous\": true}'", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(rows, ["signup", "signup"]);
}

/// F063: no guest is made where guests or new accounts are not allowed, beyond the limit of a network, where a hook
/// refuses, or where the transaction rolls back.
#[test]
fn guests_are_refused() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let rows = "select count(*) from auth.users";
    for (settings, code) in [
        (json!({"enable_anonymous": false}), "anonymous_provider_disabled"),
        (json!({"enable_anonymous": null, "enable_signup": false}), "signup_disabled"),
    ] {
        configure(&database, settings);
        let refusal = refused(app.query("select auth.sign_in_anonymously()", &[]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("55000", code));
    }
    configure(&database, json!({"enable_signup": null}));
    for call in ["auth.sign_in_anonymously('[]')", "auth.sign_in_anonymously('{}', '{\"role\": \"x\"}')"] {
        assert_eq!(refused(app.query(&format!("select {call}"), &[])).code, "validation_failed", "{call}");
    }
    app.batch_execute("begin; select auth.sign_in_anonymously(); rollback").unwrap();
    assert_eq!(superuser.query_one(rows, &[]).unwrap().get::<_, i64>(0), 0);
    configure(&database, json!({"rate_limit_enabled": true, "rate_limit_signup": "2/3600"}));
    let mut sidecar = database.sidecar();
    let mut from = |network: &str| -> Value {
        let mut transaction = sidecar.transaction().unwrap();
        transaction.execute("select auth.set_request_context($1::text::inet, 'x')", &[&network]).unwrap();
        match transaction.query_one("select auth.sign_in_anonymously() -> 'status'", &[]) {
            Ok(row) => {
                transaction.commit().unwrap();
                row.get(0)
            }
            result => json!(refused(result.map(drop)).code),
        }
    };
    let answers: Vec<Value> = (0..3).map(|_| from("192.0.2.7")).collect();
    assert_eq!(answers, ["session", "session", "over_request_rate_limit"]);
    assert_eq!(from("198.51.100.7"), "session", "another network");
}
