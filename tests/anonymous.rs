//! Guests: what their session is, what it may not do, and how they become permanent.

use auth_harness::{Client, Cluster, acting, claims, json, refused, sign_in, sign_up, storm_with, try_acting};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::guard::guarded;
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

const PASSWORD: &str = "correct horse battery";

/// A guest's token and id.
fn guest(app: &mut Client) -> (String, Uuid) {
    let answer = json(app, "select auth.sign_in_anonymously()", &[]);
    let id = answer["user"]["id"].as_str().unwrap().parse().unwrap();
    (answer["access_token"].as_str().unwrap().to_owned(), id)
}

fn convert(app: &mut Client, token: &str, email: &str, password: &str) -> Result<Value, String> {
    let result = try_acting(app, token, |transaction| {
        let row = transaction.query_one("select auth.convert_anonymous($1, $2)", &[&email, &password])?;
        Ok(row.get::<_, Value>(0))
    });
    result.map_err(|error| refused::<()>(Err(error)).code)
}

/// F064: a guest becomes permanent under the same id, so what it owned stays its own; its other sessions end.
#[test]
fn a_guest_becomes_permanent() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    superuser
        .batch_execute(
            "create table public.carts (owner uuid references auth.users (id), item text);
            alter table public.carts enable row level security;
            create policy own on public.carts to anon, authenticated using (auth.uid() = owner);
            grant select, insert on public.carts to anon, authenticated",
        )
        .unwrap();
    let (token, id) = guest(&mut app);
    acting(&mut app, &token, |tx| tx.execute("insert into public.carts values (auth.uid(), 'a book')", &[]).unwrap());
    // Another session of the guest, which nobody opens by a function.
    superuser.execute("insert into auth.sessions (id, user_id) values (gen_random_uuid(), $1)", &[&id]).unwrap();
    let user = convert(&mut app, &token, "Ada@Example.org", PASSWORD).unwrap();
    assert_eq!((&user["id"], &user["is_anonymous"]), (&json!(id.to_string()), &json!(false)));
    assert_eq!((&user["email"], &user["role"]), (&json!("ada@example.org"), &json!("authenticated")));
    assert_eq!(user["app_metadata"], json!({"provider": "email", "providers": ["email"]}));
    assert_eq!(user["identities"][0]["identity_data"]["email_verified"], false);
    assert!(user.get("email_confirmed_at").is_none(), "nobody has proved it");
    let sessions = "select count(*) from auth.sessions";
    assert_eq!(superuser.query_one(sessions, &[]).unwrap().get::<_, i64>(0), 1);
    let person = sign_in(&mut app, "ada@example.org", PASSWORD);
    assert_eq!(person.user_id, id);
    let inside = claims(&person.access_token);
    assert_eq!((&inside["is_anonymous"], &inside["role"]), (&json!(false), &json!("authenticated")));
    for token in [&token, &person.access_token] {
        let items: i64 =
            acting(&mut app, token, |tx| tx.query_one("select count(*) from public.carts", &[]).unwrap().get(0));
        assert_eq!(items, 1);
    }
    assert_eq!(convert(&mut app, &token, "b@example.org", PASSWORD), Err("validation_failed".to_owned()), "once");
}

/// F064: who is no guest, an address that is taken, a weak password: refused, and the guest is one as before.
#[test]
fn a_conversion_is_refused() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let (token, id) = guest(&mut app);
    let row = "select to_jsonb(u)::text from auth.users as u where id = $1";
    let before: String = superuser.query_one(row, &[&id]).unwrap().get(0);
    superuser.batch_execute("set role auth_admin; select auth.add_email_rule('bad.example'); reset role").unwrap();
    for (email, password, expected) in [
        ("ADA@example.org", PASSWORD, "email_exists"),
        ("nobody", PASSWORD, "email_address_invalid"),
        ("a@bad.example", PASSWORD, "email_address_not_authorized"),
        ("new@example.org", "short", "weak_password"),
        ("new@example.org", &"x".repeat(73), "password_too_long"),
    ] {
        assert_eq!(convert(&mut app, &token, email, password), Err(expected.to_owned()), "{email} {password}");
    }
    configure(&database, json!({"enable_signup": false}));
    assert_eq!(convert(&mut app, &token, "new@example.org", PASSWORD), Err("signup_disabled".to_owned()));
    configure(&database, json!({"enable_signup": null}));
    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.authenticate($1)", &[&token]).unwrap();
    transaction.execute("select auth.convert_anonymous('new@example.org', $1)", &[&PASSWORD]).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(superuser.query_one(row, &[&id]).unwrap().get::<_, String>(0), before);
    let answer = convert(&mut app, &ada.access_token, "new@example.org", PASSWORD);
    assert_eq!(answer, Err("validation_failed".to_owned()), "no guest");
    let call = "select auth.convert_anonymous('new@example.org', $1)";
    assert_eq!(refused(app.query(call, &[&PASSWORD])).code, "no_authorization");
    convert(&mut app, &token, "new@example.org", PASSWORD).unwrap();
}

/// F064, XC7: that an address is taken is told to a guest no more often than to a stranger.
#[test]
fn conversions_do_not_enumerate_addresses() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_database": "3/60"}));
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let (token, _) = guest(&mut app);
    let answers: Vec<String> = (0..5).map(|_| convert(&mut app, &token, &ada.email, PASSWORD).unwrap_err()).collect();
    assert_eq!(answers[..3], ["email_exists"; 3]);
    assert_eq!(answers[3..], ["over_request_rate_limit"; 2]);
}

/// F064: of two conversions at once one is done, whichever address it names.
#[test]
fn of_two_conversions_at_once_one_is_done() {
    let database = Cluster::shared().database();
    let (token, id) = guest(&mut database.app());
    let results = storm_with(
        4,
        |_| database.app(),
        |number, mut app| convert(&mut app, &token, &format!("user{number}@example.org"), PASSWORD),
    );
    let done: Vec<&Value> = results.iter().flatten().collect();
    assert_eq!(done.len(), 1, "{results:?}");
    let email: String =
        database.superuser().query_one("select email from auth.users where id = $1", &[&id]).unwrap().get(0);
    assert_eq!(done[0]["email"], email);
}

/// F064: where addresses have to be proved, a guest stays one until the mail to the new address comes back; an address that
/// is taken gets the same answer, and its owner the mail.
#[test]
fn a_conversion_waits_for_the_mail() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    for mode in ["confirm", "otp_first"] {
        configure(&database, json!({"signup_mode": mode, "verification_resend_interval": 0}));
        let (token, id) = guest(&mut app);
        let email = format!("{mode}@example.org");
        let taken = convert(&mut app, &token, &ada.email, PASSWORD).unwrap();
        let answer = convert(&mut app, &token, &email, PASSWORD).unwrap();
        let shape = |answer: &Value| {
            let user = answer["user"].as_object().unwrap();
            (answer["status"].clone(), user["is_anonymous"].clone(), user.keys().cloned().collect::<Vec<_>>())
        };
        assert_eq!(shape(&taken), shape(&answer));
        assert_eq!(answer["status"], "confirmation_sent");
        assert_eq!((&answer["user"]["is_anonymous"], &answer["user"]["email"]), (&json!(true), &json!("")));
        let sign_in_now = "select auth.sign_in($1, $2) -> 'user' ->> 'id'";
        assert_eq!(refused(app.query(sign_in_now, &[&email, &PASSWORD])).code, "invalid_credentials");
        let mails = "select kind, recipient, payload ->> 'token' from auth.claim_outbox(10) order by kind";
        let mails = database.sidecar().query(mails, &[]).unwrap();
        let told: Vec<(String, String)> = mails.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(
            told,
            [("confirmation".to_owned(), email.clone()), ("existing_account".to_owned(), ada.email.clone())]
        );
        let link: String = mails[0].get(2);
        let session = json(&mut app, "select auth.verify_link($1)", &[&link]);
        assert_eq!(session["user"]["id"], id.to_string(), "the same account");
        assert_eq!(
            (&session["user"]["is_anonymous"], &session["user"]["role"]),
            (&json!(false), &json!("authenticated"))
        );
        assert!(session["user"]["email_confirmed_at"].is_string());
        assert_eq!(refused(app.query("select auth.verify_link($1)", &[&link])).code, "otp_expired", "once");
        let row = app.query_one(sign_in_now, &[&email, &PASSWORD]).unwrap();
        assert_eq!(row.get::<_, String>(0), id.to_string());
    }
}

/// F063, XC7: where the caller's address is not known, guests are limited by the database: one costs no hash.
#[test]
fn guests_are_limited_without_an_address_too() {
    let database = Cluster::shared().database();
    configure(&database, json!({"rate_limit_database": "3/60", "max_active_sessions": null}));
    let mut app = database.app();
    for _ in 0..3 {
        json(&mut app, "select auth.sign_in_anonymously()", &[]);
    }
    let refusal = refused(app.execute("select auth.sign_in_anonymously()", &[]));
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("53400", "over_request_rate_limit"));
}
