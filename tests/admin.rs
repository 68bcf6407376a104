//! Administration of users: what each function does, who may call it, and that nobody else's request gets through.

use auth_harness::{Client, Cluster, Database, acting, json, postgres, refused, sign_in, sign_up, try_acting};
use serde_json::{Value, json};
use uuid::Uuid;

const PASSWORD: &str = "correct horse battery";
const CALLS: [&str; 6] = [
    "select auth.admin_create_user('{\"email\": \"new@example.org\"}')",
    "select auth.admin_get_user('00000000-0000-0000-0000-000000000001')",
    "select auth.admin_list_users()",
    "select auth.admin_update_user('00000000-0000-0000-0000-000000000001', '{}')",
    "select auth.admin_delete_user('00000000-0000-0000-0000-000000000001')",
    "select auth.admin_list_audit()",
];

/// A login that has taken the role of the service key.
pub fn service(database: &Database) -> Client {
    let mut service = database.service();
    service.batch_execute("set role service_role").unwrap();
    service
}

pub fn key(database: &Database, role: &str) -> String {
    let answer = json(&mut database.admin(), "select auth.create_key($1)", &[&role]);
    answer["key"].as_str().unwrap().to_owned()
}

#[track_caller]
pub fn create(client: &mut Client, attributes: Value) -> Value {
    json(client, "select auth.admin_create_user($1)", &[&attributes])
}

#[track_caller]
pub fn update(client: &mut Client, id: &Value, attributes: Value) -> Value {
    json(client, "select auth.admin_update_user($1::text::uuid, $2)", &[&id.as_str().unwrap(), &attributes])
}

pub fn id(user: &Value) -> Uuid {
    user["id"].as_str().unwrap().parse().unwrap()
}

/// The code word of a refused call, or `ok`.
pub fn code(result: Result<Vec<postgres::Row>, postgres::Error>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        result => {
            let refusal = refused(result.map(drop));
            if refusal.code.is_empty() { refusal.sqlstate } else { refusal.code }
        }
    }
}

/// F016: no role but service_role and the sidecar's may call any of it, and whoever is signed in is nobody here.
#[test]
fn others_are_refused() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    for call in CALLS {
        for (mut client, role) in [
            (database.app(), "none"),
            (database.app(), "anon"),
            (database.app(), "authenticated"),
            (database.admin(), "none"),
            (database.service(), "none"),
        ] {
            client.batch_execute(&format!("set role {role}")).unwrap();
            assert_eq!(code(client.query(call, &[])), "42501", "{role}: {call}");
        }
        let refusal = refused(try_acting(&mut database.app(), &ada.access_token, |tx| tx.query(call, &[]).map(drop)));
        assert_eq!(refusal.sqlstate, "42501", "{call}");
    }
}

/// F016: the sidecar serves everybody, so it is believed only with a service key that is good now.
#[test]
fn a_sidecar_needs_the_service_key() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let (strong, weak, revoked) =
        (key(&database, "service_role"), key(&database, "anon"), key(&database, "service_role"));
    let forged = {
        let (head, signature) = strong.rsplit_once('.').unwrap();
        let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
        format!("{head}.{flipped}{}", &signature[1..])
    };
    let mut superuser = database.superuser();
    superuser
        .execute(
            "update auth.api_keys set revoked_at = now() where jti = $1",
            &[&auth_harness::claims(&revoked)["jti"].as_str().unwrap().parse::<Uuid>().unwrap()],
        )
        .unwrap();
    let mut sidecar = database.sidecar();
    let mut call = |token: Option<&str>, call: &str| {
        let mut transaction = sidecar.transaction().unwrap();
        if let Some(token) = token {
            transaction.execute("select set_config('auth.token', $1, true)", &[&token]).unwrap();
        }
        code(transaction.query(call, &[]))
    };
    for statement in CALLS {
        assert_eq!(call(None, statement), "no_authorization", "{statement}");
        assert_eq!(call(Some(&ada.access_token), statement), "not_admin", "{statement}");
        assert_eq!(call(Some(&weak), statement), "not_admin", "{statement}");
        assert_eq!(call(Some(&forged), statement), "bad_jwt", "{statement}");
        assert_eq!(call(Some(&revoked), statement), "bad_jwt", "{statement}");
        let allowed = call(Some(&strong), statement);
        assert!(["ok", "user_not_found"].contains(&allowed.as_str()), "{statement}: {allowed}");
    }
    // One transaction's key is not the next one's.
    assert_eq!(call(None, CALLS[2]), "no_authorization");
    // A user whose role was set to that of the key by somebody with power over the table is still let through by role: no
    // function of ours sets it.
    let refusal = refused(
        service(&database).query("select auth.admin_update_user($1, '{\"role\": \"service_role\"}')", &[&ada.user_id]),
    );
    assert_eq!(refusal.code, "validation_failed");
    // A superuser is a member of everything and is asked for nothing.
    assert_eq!(json(&mut superuser, "select auth.admin_list_users()", &[])["total"], 1);
}

/// F016: every attribute of a new account does what it says.
#[test]
fn an_account_is_made_as_told() {
    let database = Cluster::shared().database();
    let (mut service, mut app, mut superuser) = (service(&database), database.app(), database.superuser());
    let chosen = "5b3f0f4e-6f4c-4a53-9d3b-0d1f0a3a9c11";
    let user = create(
        &mut service,
        json!({
            "id": chosen, "email": "Ada@Example.org", "phone": "+49 151 12345678", "password": PASSWORD,
            "email_confirm": true, "phone_confirm": true, "user_metadata": {"name": "Ada"},
            "app_metadata": {"plan": "team"}, "role": "authenticated", "ban_duration": null,
        }),
    );
    assert_eq!(
        (&user["id"], &user["email"], &user["phone"]),
        (&json!(chosen), &json!("ada@example.org"), &json!("4915112345678"))
    );
    assert!(user["email_confirmed_at"].is_string() && user["phone_confirmed_at"].is_string());
    assert_eq!(user["app_metadata"], json!({"provider": "email", "providers": ["email", "phone"], "plan": "team"}));
    assert_eq!(user["user_metadata"], json!({"name": "Ada"}));
    assert_eq!(user["identities"][0]["identity_data"]["email_verified"], true);
    let verified = "select verified_at is not null from auth.email_addresses where address = 'ada@example.org'";
    assert!(superuser.query_one(verified, &[]).unwrap().get::<_, bool>(0));
    assert!(user.get("last_sign_in_at").is_none(), "nobody has signed in");
    assert_eq!(sign_in(&mut app, "ada@example.org", PASSWORD).user_id.to_string(), chosen);

    // Without a confirmation nothing is confirmed; without a password nobody signs in; a number alone has no identity.
    let plain = create(&mut service, json!({"email": "plain@example.org"}));
    assert!(plain.get("email_confirmed_at").is_none());
    assert_eq!(plain["identities"][0]["identity_data"]["email_verified"], false);
    assert_eq!(code(app.query("select auth.sign_in('plain@example.org', '')", &[])), "invalid_credentials");
    let phone = create(&mut service, json!({"phone": "4915112345679"}));
    assert_eq!((&phone["email"], &phone["identities"]), (&json!(""), &json!([])));
    assert_eq!(phone["app_metadata"], json!({"provider": "phone", "providers": ["phone"]}));

    // Hashes of another system, made by Python's libraries; they are ours after the first sign-in.
    for (email, hash, password) in [
        ("b@example.org", "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e", "correct horse"),
        (
            "a@example.org",
            "$argon2id$v=19$m=64,t=1,p=1$YKjI1nPYccgU7LYDcikx/Q$T4wMHvRq/VinZsupFYiaQSPKtmuJIznifv6dNPk2MQ4",
            PASSWORD,
        ),
    ] {
        let created = create(&mut service, json!({"email": email, "password_hash": hash}));
        let mut stored = || -> String {
            let of = "select encrypted_password from auth.users where id = $1";
            superuser.query_one(of, &[&id(&created)]).unwrap().get(0)
        };
        assert_eq!(stored(), hash);
        sign_in(&mut app, email, password);
        assert!(stored().starts_with("$argon2id$v=19$m=19456,"), "{email}");
    }
}

/// F016: each attribute has its refusal, a refused call leaves nothing, and a password is held to the policy whoever
/// sets it.
#[test]
fn attributes_are_checked_one_by_one() {
    let database = Cluster::shared().database();
    let (mut service, mut superuser) = (service(&database), database.superuser());
    superuser.batch_execute("create role powerful_of_admin createrole; create role granted_service").unwrap();
    superuser.batch_execute("grant service_role to granted_service").unwrap();
    let taken = create(&mut service, json!({"email": "taken@example.org", "phone": "+4915112345678"}));
    let email = "new@example.org";
    let long = "x".repeat(2000);
    let cases = [
        (json!({}), "validation_failed"),
        (json!([]), "validation_failed"),
        (json!("x"), "validation_failed"),
        (json!({"password": PASSWORD}), "validation_failed"),
        (json!({"email": email, "Password": PASSWORD}), "validation_failed"),
        (json!({"email": email, "is_super_admin": true}), "validation_failed"),
        (json!({"email": email, "nonce": "1"}), "validation_failed"),
        (json!({"email": "nobody"}), "email_address_invalid"),
        (json!({"email": ""}), "email_address_invalid"),
        (json!({"email": 1}), "validation_failed"),
        (json!({"email": "Taken@EXAMPLE.org"}), "email_exists"),
        (json!({"phone": "+49 151 12345678"}), "phone_exists"),
        (json!({"email": email, "phone": "4915112345678"}), "phone_exists"),
        (json!({"phone": "12345"}), "validation_failed"),
        (json!({"phone": "+0123456789"}), "validation_failed"),
        (json!({"phone": "call me"}), "validation_failed"),
        (json!({"email": email, "id": taken["id"]}), "user_already_exists"),
        (json!({"email": email, "id": "1"}), "validation_failed"),
        (json!({"email": email, "password": "short"}), "weak_password"),
        (json!({"email": email, "password": "x".repeat(73)}), "password_too_long"),
        (json!({"email": email, "password": 12345678}), "validation_failed"),
        (json!({"email": email, "password_hash": "plain"}), "validation_failed"),
        (json!({"email": email, "password_hash": "$1$salt$hash"}), "validation_failed"),
        (
            json!({"email": email, "password_hash": "$argon2id$v=19$m=4194304,t=9,p=1$c2FsdHNhbHQ$YWFhYWFhYWFhYWFhYWFhYQ"}),
            "validation_failed",
        ),
        (json!({"email": email, "password": PASSWORD, "password_hash": "$2b$04$x"}), "validation_failed"),
        (json!({"email": email, "email_confirm": "yes"}), "validation_failed"),
        (json!({"email": email, "user_metadata": []}), "validation_failed"),
        (json!({"email": email, "user_metadata": {"a": "x".repeat(17000)}}), "validation_failed"),
        (json!({"email": email, "app_metadata": "x"}), "validation_failed"),
        (json!({"email": email, "role": "service_role"}), "validation_failed"),
        (json!({"email": email, "role": "auth_owner"}), "validation_failed"),
        (json!({"email": email, "role": "auth_admin"}), "validation_failed"),
        (json!({"email": email, "role": "auth_sidecar"}), "validation_failed"),
        (json!({"email": email, "role": "postgres"}), "validation_failed"),
        (json!({"email": email, "role": "powerful_of_admin"}), "validation_failed"),
        (json!({"email": email, "role": "granted_service"}), "validation_failed"),
        (json!({"email": email, "role": "no_such_role"}), "validation_failed"),
        (json!({"email": email, "ban_duration": "soon"}), "validation_failed"),
        (json!({"email": email, "ban_duration": "-1h"}), "validation_failed"),
        (json!({"email": email, "ban_duration": "0"}), "validation_failed"),
        (json!({"email": email, "ban_duration": "99999999 years"}), "validation_failed"),
        (json!({"email": email, "ban_duration": 24}), "validation_failed"),
        (json!({"email": email, "ban_reason": "spam"}), "validation_failed"),
        (json!({"email": email, "ban_duration": "1h", "ban_reason": long}), "validation_failed"),
        (json!({"email": email, "must_change_password": 1}), "validation_failed"),
    ];
    let rows = "select count(*) from auth.users";
    for (attributes, expected) in &cases {
        assert_eq!(code(service.query("select auth.admin_create_user($1)", &[attributes])), *expected, "{attributes}");
        assert_eq!(superuser.query_one(rows, &[]).unwrap().get::<_, i64>(0), 1, "{attributes}");
    }
    let other = create(&mut service, json!({"email": "other@example.org"}));
    let row = "select to_jsonb(u)::text from auth.users as u where id = $1";
    let before: String = superuser.query_one(row, &[&id(&other)]).unwrap().get(0);
    for (attributes, expected) in &cases {
        // What is only wrong for a new account.
        if ["{}", "{\"password\":\"correct horse battery\"}"].contains(&attributes.to_string().as_str())
            || attributes.get("nonce").is_some()
        {
            continue;
        }
        let expected = if attributes.get("id").is_some() { "validation_failed" } else { expected };
        let result = service.query("select auth.admin_update_user($1, $2)", &[&id(&other), attributes]);
        assert_eq!(code(result), expected, "{attributes}");
        let after: String = superuser.query_one(row, &[&id(&other)]).unwrap().get(0);
        assert_eq!(after, before, "{attributes}");
    }
    superuser.batch_execute("drop role powerful_of_admin; drop role granted_service").unwrap();
    for call in [
        "select auth.admin_create_user(null)",
        "select auth.admin_get_user(null)",
        "select auth.admin_update_user(null, '{}')",
        "select auth.admin_delete_user(null)",
        "select auth.admin_create_user('{\"email\": \"x@example.org\"}', '{\"no\": 1}')",
        "select auth.admin_list_users('{\"no\": 1}')",
        "select auth.admin_list_audit('[]')",
    ] {
        assert_eq!(code(service.query(call, &[])), "validation_failed", "{call}");
    }
    for call in [
        "select auth.admin_get_user('00000000-0000-0000-0000-000000000001')",
        "select auth.admin_update_user('00000000-0000-0000-0000-000000000001', '{}')",
        "select auth.admin_delete_user('00000000-0000-0000-0000-000000000001')",
        "select auth.admin_delete_user('00000000-0000-0000-0000-000000000001', true)",
    ] {
        assert_eq!(code(service.query(call, &[])), "user_not_found", "{call}");
    }
}

/// F016: a change is what was given and nothing else; another address or number is not proved by the old one.
#[test]
fn an_account_is_changed_as_told() {
    let database = Cluster::shared().database();
    let (mut service, mut superuser) = (service(&database), database.superuser());
    let user = create(
        &mut service,
        json!({
            "email": "ada@example.org", "email_confirm": true, "user_metadata": {"a": 1, "b": 2},
            "app_metadata": {"plan": "team"},
        }),
    );
    let id = &user["id"];
    let same = update(&mut service, id, json!({"nonce": "123456"}));
    let strip = |user: &Value| {
        let mut user = user.clone();
        user.as_object_mut().unwrap().remove("updated_at");
        user["identities"] = json!(null);
        user
    };
    assert_eq!(strip(&same), strip(&user), "nothing was given");
    let merged =
        update(&mut service, id, json!({"user_metadata": {"b": null, "c": 3}, "app_metadata": {"plan": null}}));
    assert_eq!(merged["user_metadata"], json!({"a": 1, "c": 3}));
    assert_eq!(merged["app_metadata"], json!({"provider": "email", "providers": ["email"]}));
    // Together too much, though each is little enough.
    let half = |key: &str| json!({"app_metadata": {key: "x".repeat(10_000)}});
    update(&mut service, id, half("one"));
    let uuid: Uuid = id.as_str().unwrap().parse().unwrap();
    let refusal = refused(service.query("select auth.admin_update_user($1, $2)", &[&uuid, &half("two")]));
    assert_eq!(refusal.code, "validation_failed");
    update(&mut service, id, json!({"app_metadata": {"one": null}}));

    let spelt = update(&mut service, id, json!({"email": "ADA@example.org"}));
    assert!(spelt["email_confirmed_at"].is_string(), "the same address");
    let moved = update(&mut service, id, json!({"email": "countess@example.org"}));
    assert_eq!(moved["email"], "countess@example.org");
    assert!(moved.get("email_confirmed_at").is_none(), "nobody has proved it");
    assert_eq!(moved["identities"][0]["identity_data"]["email"], "countess@example.org");
    assert_eq!(moved["identities"][0]["identity_data"]["email_verified"], false);
    let addresses = "select string_agg(address || ' ' || (verified_at is not null), ',') from auth.email_addresses";
    assert_eq!(superuser.query_one(addresses, &[]).unwrap().get::<_, String>(0), "countess@example.org false");
    let confirmed = update(&mut service, id, json!({"email_confirm": true}));
    assert!(confirmed["email_confirmed_at"].is_string());
    assert_eq!(confirmed["identities"][0]["identity_data"]["email_verified"], true);
    let taken_back = update(&mut service, id, json!({"email_confirm": false}));
    assert!(taken_back.get("email_confirmed_at").is_none());

    let phoned = update(&mut service, id, json!({"phone": "+4915112345678", "phone_confirm": true}));
    assert!(phoned["phone_confirmed_at"].is_string());
    let rephoned = update(&mut service, id, json!({"phone": "+4915112345679"}));
    assert!(rephoned.get("phone_confirmed_at").is_none(), "nobody has proved it");
    assert_eq!(update(&mut service, id, json!({"role": "anon"}))["role"], "anon");

    // A number alone becomes an account with an address.
    let phone = create(&mut service, json!({"phone": "+4915112345670"}));
    let addressed = update(&mut service, &phone["id"], json!({"email": "grace@example.org", "email_confirm": true}));
    assert_eq!(addressed["identities"][0]["email"], "grace@example.org");
    assert_eq!(addressed["app_metadata"], json!({"provider": "phone", "providers": ["phone", "email"]}));
    let count = "select count(*) from auth.email_addresses where address_key = 'grace@example.org' and is_primary
        and verified_at is not null";
    assert_eq!(superuser.query_one(count, &[]).unwrap().get::<_, i64>(0), 1);
}

/// F016, B024: a password that an administrator sets is good at once, the old one and every session are dead.
#[test]
fn a_new_password_ends_what_the_old_one_began() {
    let database = Cluster::shared().database();
    let (mut service, mut app) = (service(&database), database.app());
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let eve = sign_up(&mut app, "eve@example.org", PASSWORD);
    let other = sign_in(&mut app, "ada@example.org", PASSWORD);
    // Rolled back it has not happened.
    let mut transaction = service.transaction().unwrap();
    transaction
        .query("select auth.admin_update_user($1, '{\"password\": \"another good one\"}')", &[&ada.user_id])
        .unwrap();
    transaction.rollback().unwrap();
    acting(&mut app, &ada.access_token, |_| ());
    update(&mut service, &json!(ada.user_id.to_string()), json!({"password": "another good one"}));
    for token in [&ada.access_token, &other.access_token] {
        assert_eq!(refused(try_acting(&mut app, token, |_| Ok(()))).code, "session_not_found");
    }
    acting(&mut app, &eve.access_token, |_| ());
    assert_eq!(code(app.query("select auth.sign_in('ada@example.org', $1)", &[&PASSWORD])), "invalid_credentials");
    sign_in(&mut app, "ada@example.org", "another good one");
}

/// B030: a ban is effective at the next statement, has an end and a reason, and can be lifted.
#[test]
fn a_ban_has_an_end_and_a_reason() {
    let database = Cluster::shared().database();
    let (mut service, mut app) = (service(&database), database.app());
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let id = json!(ada.user_id.to_string());
    let banned = update(&mut service, &id, json!({"ban_duration": "24h", "ban_reason": "spam"}));
    let left = "select extract(epoch from ($1::text::timestamptz - now()))::float8";
    let left: f64 = app.query_one(left, &[&banned["banned_until"].as_str().unwrap()]).unwrap().get(0);
    assert!((86_000.0..86_401.0).contains(&left), "{left}");
    assert_eq!(refused(try_acting(&mut app, &ada.access_token, |_| Ok(()))).code, "user_banned");
    assert_eq!(code(app.query("select auth.sign_in('ada@example.org', $1)", &[&PASSWORD])), "user_banned");
    assert_eq!(code(app.query("select auth.sign_in('ada@example.org', 'wrong one')", &[])), "invalid_credentials");
    assert_eq!(code(app.query("select auth.refresh($1)", &[&ada.refresh_token])), "user_banned");
    let lifted = update(&mut service, &id, json!({"ban_duration": "none"}));
    assert!(lifted.get("banned_until").is_none());
    acting(&mut app, &ada.access_token, |_| ());
    let log = json(&mut service, "select auth.admin_list_audit('{\"query\": \"action:ban\"}')", &[]);
    let entries = log["entries"].as_array().unwrap();
    let said: Vec<(&Value, &Value)> =
        entries.iter().map(|e| (&e["payload"]["action"], &e["payload"]["traits"]["reason"])).collect();
    assert_eq!(said, [(&json!("user_unbanned"), &json!(null)), (&json!("user_banned"), &json!("spam"))]);
    for duration in ["1h30m", "100 years", "876000h", "PT1H"] {
        assert!(update(&mut service, &id, json!({"ban_duration": duration}))["banned_until"].is_string(), "{duration}");
    }
    let born_banned =
        create(&mut service, json!({"email": "b@example.org", "password": PASSWORD, "ban_duration": "1h"}));
    assert!(born_banned["banned_until"].is_string());
    assert_eq!(code(app.query("select auth.sign_in('b@example.org', $1)", &[&PASSWORD])), "user_banned");
}

/// F016: a soft deletion keeps the row and frees the address, a hard one takes everything; both are effective at once.
#[test]
fn a_deleted_account_is_gone_at_the_next_statement() {
    let database = Cluster::shared().database();
    let (mut service, mut app, mut superuser) = (service(&database), database.app(), database.superuser());
    superuser
        .batch_execute(
            "create table public.kept (user_id uuid references auth.users (id));
            create table public.gone (user_id uuid references auth.users (id) on delete cascade)",
        )
        .unwrap();
    for is_soft in [true, false] {
        let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
        superuser.execute("insert into public.gone values ($1)", &[&ada.user_id]).unwrap();
        let mut transaction = service.transaction().unwrap();
        transaction.query("select auth.admin_delete_user($1, $2)", &[&ada.user_id, &is_soft]).unwrap();
        transaction.rollback().unwrap();
        acting(&mut app, &ada.access_token, |_| ());
        service.query("select auth.admin_delete_user($1, $2)", &[&ada.user_id, &is_soft]).unwrap();
        assert_eq!(refused(try_acting(&mut app, &ada.access_token, |_| Ok(()))).code, "session_not_found");
        assert_eq!(code(app.query("select auth.refresh($1)", &[&ada.refresh_token])), "session_not_found");
        assert_eq!(code(app.query("select auth.sign_in('ada@example.org', $1)", &[&PASSWORD])), "invalid_credentials");
        for call in ["select auth.admin_get_user($1)", "select auth.admin_update_user($1, '{}')"] {
            assert_eq!(code(service.query(call, &[&ada.user_id])), "user_not_found", "{call}");
        }
        let again = code(service.query("select auth.admin_delete_user($1, true)", &[&ada.user_id]));
        assert_eq!(again, "user_not_found");
        let rows = "select count(*) from auth.users where id = $1";
        let left: i64 = superuser.query_one(rows, &[&ada.user_id]).unwrap().get(0);
        assert_eq!(left, i64::from(is_soft));
        let rows = "select count(*) from public.gone where user_id = $1";
        let left: i64 = superuser.query_one(rows, &[&ada.user_id]).unwrap().get(0);
        assert_eq!(left, i64::from(is_soft));
        let listed = json(&mut service, "select auth.admin_list_users()", &[]);
        assert_eq!(listed, json!({"users": [], "total": 0}));
    }
    // What was kept can be deleted wholly; what the app holds on to cannot.
    let kept = "select id from auth.users";
    let id: Uuid = superuser.query_one(kept, &[]).unwrap().get(0);
    service.query("select auth.admin_delete_user($1)", &[&id]).unwrap();
    assert_eq!(superuser.query(kept, &[]).unwrap().len(), 0);
    let held = sign_up(&mut app, "held@example.org", PASSWORD);
    superuser.execute("insert into public.kept values ($1)", &[&held.user_id]).unwrap();
    assert_eq!(refused(service.query("select auth.admin_delete_user($1)", &[&held.user_id])).sqlstate, "23503");
    acting(&mut app, &held.access_token, |_| ());
}

/// F001: fifty at once with one address make one account, by whichever way.
#[test]
fn of_many_at_once_one_is_made() {
    let database = Cluster::shared().database();
    let results = auth_harness::storm_with(
        8,
        |_| service(&database),
        |number, mut client| {
            let attributes = json!({"email": "one@example.org", "phone": format!("+49151123456{number:02}")});
            code(client.query("select auth.admin_create_user($1)", &[&attributes]))
        },
    );
    let made = results.iter().filter(|result| *result == "ok").count();
    assert_eq!(made, 1, "{results:?}");
    assert!(results.iter().all(|result| result == "ok" || result == "email_exists"), "{results:?}");
}
