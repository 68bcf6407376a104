//! The signed-in user's own account; what nobody may read; and what an app builds on users.

use auth_harness::{Client, Cluster, acting, canary, json, refused, sign_in, sign_up, try_acting};
use serde_json::{Value, json};
use uuid::Uuid;

const PASSWORD: &str = "correct horse battery";

#[track_caller]
fn update(client: &mut Client, token: &str, data: Value) -> Value {
    acting(client, token, |transaction| json(transaction, "select auth.update_user($1)", &[&data]))
}

/// F012: with a token one's own account, without one null, and never a hash.
#[test]
fn get_user_is_the_caller() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let eve = sign_up(&mut app, "eve@example.org", PASSWORD);
    for person in [&ada, &eve] {
        let (user, row) = acting(&mut app, &person.access_token, |transaction| {
            (
                json(transaction, "select auth.get_user()", &[]),
                json(transaction, "select jsonb_agg(m) from auth.my_account m", &[]),
            )
        });
        assert_eq!((&user["id"], &user["email"]), (&json!(person.user_id.to_string()), &json!(person.email)));
        let answer = json(&mut app, "select auth.sign_in($1, $2) -> 'user'", &[&person.email, &PASSWORD]);
        let (Value::Object(mut user), Value::Object(mut answered)) = (user, answer) else { panic!("no objects") };
        for moved in ["updated_at", "last_sign_in_at", "identities"] {
            user.remove(moved);
            answered.remove(moved);
        }
        assert_eq!(user, answered, "one user object everywhere");
        assert_eq!(row.as_array().unwrap().len(), 1, "nobody else's row");
        assert_eq!((&row[0]["id"], &row[0]["encrypted_password"]), (&json!(person.user_id.to_string()), &json!("***")));
        assert!(!format!("{user:?}{row}").contains("$argon2"));
    }
    assert!(json(&mut app, "select auth.get_user()", &[]).is_null());
    app.batch_execute("set role authenticated").unwrap();
    let rows: i64 = app.query_one("select count(*) from auth.my_account", &[]).unwrap().get(0);
    assert_eq!(rows, 0);
    for statement in ["select auth.get_user()", "select from auth.my_account"] {
        let refusal = refused(app.batch_execute(&format!("begin; set local auth.token = 'nonsense'; {statement}")));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28000", "bad_jwt"), "{statement}");
        app.batch_execute("rollback").unwrap();
    }
}

/// F013, XA15: updates merge by key, null takes a key away, nothing but the caller's metadata changes, and what is too much
/// is refused as at sign-up, also when it only comes together.
#[test]
fn update_user_merges_metadata() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let eve = sign_up(&mut app, "eve@example.org", PASSWORD);
    let mut row = |id: Uuid| json(&mut superuser, "select to_jsonb(u) from auth.users u where id = $1", &[&id]);
    let (before, others) = (row(ada.user_id), row(eve.user_id));
    for (data, expected) in [
        (json!({"a": 1}), json!({"a": 1})),
        (json!({"b": {"c": 2}}), json!({"a": 1, "b": {"c": 2}})),
        (json!({"b": {"d": 3}}), json!({"a": 1, "b": {"d": 3}})),
        (json!({"a": null, "z": null}), json!({"b": {"d": 3}})),
        (json!({}), json!({"b": {"d": 3}})),
    ] {
        let user = update(&mut app, &ada.access_token, data.clone());
        assert_eq!(user["user_metadata"], expected, "{data}");
        assert_eq!(user["id"], ada.user_id.to_string());
    }
    let mut after = row(ada.user_id);
    for moved in ["raw_user_meta_data", "updated_at"] {
        assert_ne!(after[moved], before[moved], "{moved}");
        after[moved] = before[moved].clone();
    }
    assert_eq!(after, before);
    assert_eq!(row(eve.user_id), others);

    update(&mut app, &ada.access_token, json!({"big": "x".repeat(10_000)}));
    let kept = row(ada.user_id);
    for (title, data) in [
        ("too large together", json!({"more": "x".repeat(7_000)})),
        ("too large", json!({"big": "x".repeat(17_000)})),
        ("nine levels", json!({"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}}})),
        ("an array", json!([])),
        ("a text", json!("x")),
        ("json null", json!(null)),
    ] {
        let refusal = refused(try_acting(&mut app, &ada.access_token, |transaction| {
            transaction.execute("select auth.update_user($1)", &[&data])
        }));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{title}");
    }
    assert_eq!(row(ada.user_id), kept);
    // Rolled back it never was, and a token from before sees the change all the same.
    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.authenticate($1)", &[&ada.access_token]).unwrap();
    transaction.execute("select auth.update_user('{\"big\": null}')", &[]).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(row(ada.user_id), kept);
    let refreshed = json(&mut app, "select auth.refresh($1)", &[&ada.refresh_token]);
    assert_eq!(refreshed["user"]["user_metadata"], kept["raw_user_meta_data"]);
}

/// F013: two updates at once keep both keys.
#[test]
fn updates_at_once_keep_both_keys() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    auth_harness::storm_with(
        8,
        |_| database.app(),
        |index, mut app| {
            let mut data = serde_json::Map::new();
            data.insert(format!("key{index}"), json!(index));
            update(&mut app, &ada.access_token, Value::Object(data));
        },
    );
    let keys: i64 = database
        .superuser()
        .query_one("select count(*) from auth.users, jsonb_object_keys(raw_user_meta_data)", &[])
        .unwrap()
        .get(0);
    assert_eq!(keys, 8);
}

/// F017: created_at stays; updated_at moves with every change; last_sign_in_at with every sign-in and with nothing else; the
/// address is verified when it is.
#[test]
fn times_of_the_account() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let account = |app: &mut Client| {
        acting(app, &ada.access_token, |transaction| {
            json(transaction, "select to_jsonb(m) from auth.my_account m", &[])
        })
    };
    let first = account(&mut app);
    assert_eq!((&first["email_verified"], &first["email_verified_at"]), (&json!(false), &Value::Null));
    assert!(first["created_at"].is_string() && first["updated_at"].is_string() && first["last_sign_in_at"].is_string());
    update(&mut app, &ada.access_token, json!({"a": 1}));
    let updated = account(&mut app);
    assert_ne!(updated["updated_at"], first["updated_at"]);
    assert_eq!(updated["last_sign_in_at"], first["last_sign_in_at"]);
    app.execute("select auth.refresh($1)", &[&ada.refresh_token]).unwrap();
    refused(app.execute("select auth.sign_in('ada@example.org', 'a wrong password')", &[]));
    assert_eq!(account(&mut app), updated, "a refresh and a refusal move nothing");
    sign_in(&mut app, "ada@example.org", PASSWORD);
    let signed_in = account(&mut app);
    assert_ne!(signed_in["last_sign_in_at"], updated["last_sign_in_at"]);
    assert_eq!(signed_in["created_at"], first["created_at"]);
    let in_order: bool = superuser
        .query_one("select created_at <= last_sign_in_at and last_sign_in_at <= updated_at from auth.users", &[])
        .unwrap()
        .get(0);
    assert!(in_order);
    superuser.execute("update auth.users set email_confirmed_at = now()", &[]).unwrap();
    let verified = account(&mut app);
    assert_eq!(verified["email_verified"], true);
    assert!(verified["email_verified_at"].is_string());
}

/// F015, N31: hashes, private keys and whatever else opens something are read by no login but the superuser's; nor can one
/// write a session, a role or a key, or call what is internal. The masked view shows that there is a password.
#[test]
fn secrets_are_out_of_reach() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let statements = [
        "select * from auth.signing_keys",
        "select private_sealed from auth.signing_keys",
        "select * from auth.users",
        "select encrypted_password from auth.users",
        "select count(encrypted_password) from auth.users",
        "select 1 from auth.users u where u.encrypted_password like '$argon2id%'",
        "select u from auth.users u",
        "copy auth.users to stdout",
        "copy auth.signing_keys (private_sealed) to stdout",
        "table auth.api_keys",
        "table auth.key_check",
        "table auth.sessions",
        "table auth.revocations",
        "table auth.one_time_tokens",
        "table auth.pending_sign_ups",
        "table auth.sms_codes",
        "table auth.password_state",
        "insert into auth.sessions (id, user_id) select gen_random_uuid(), gen_random_uuid()",
        "update auth.users set role = 'service_role'",
        "update auth.users set encrypted_password = null",
        "update auth.sessions set not_after = null",
        "delete from auth.users",
        "delete from auth.revocations",
        "truncate auth.revocations",
        "update auth.signing_keys set status = 'revoked'",
        "insert into auth.signing_keys (kid, alg, status, public_jwk) values ('x', 'HS256', 'current', '{}')",
        "select auth.test_as('ada@example.org')",
        "select auth.session_is_live(null)",
        "do 'begin lock table auth.users in access exclusive mode; end'",
        "create trigger t before insert on auth.users for each row execute function suppress_redundant_updates_trigger()",
        "create policy p on auth.users",
        "create table auth.mine ()",
    ];
    for (login, role) in [
        ("app", "app"),
        ("app", "anon"),
        ("app", "authenticated"),
        ("service", "service_role"),
        ("admin", "admin"),
        ("admin", "auth_admin"),
        ("sidecar", "sidecar"),
    ] {
        let mut client = database.connect(login);
        client.batch_execute(&format!("set role {role}")).unwrap();
        for statement in statements {
            let refusal = refused(client.batch_execute(statement));
            assert_eq!(refusal.sqlstate, "42501", "{role}: {statement}: {}", refusal.message);
        }
    }
    // As somebody signed in it is no different.
    for statement in statements {
        let refusal =
            refused(try_acting(&mut app, &ada.access_token, |transaction| transaction.batch_execute(statement)));
        assert_eq!(refusal.sqlstate, "42501", "signed in: {statement}: {}", refusal.message);
    }
    // What makes keys is not for whoever manages users, and the other way round.
    for (login, role, statement) in [
        ("service", "service_role", "select auth.import_signing_key('{}')"),
        ("service", "service_role", "select auth.rotate_signing_key()"),
        ("service", "service_role", "select auth.create_key('service_role')"),
        ("service", "service_role", "select auth.configure('{}')"),
        ("service", "service_role", "set role auth_owner"),
        ("service", "service_role", "set role authenticated"),
        ("app", "app", "set role service_role"),
        ("app", "app", "set role auth_owner"),
        ("app", "app", "set role auth_admin"),
        ("admin", "admin", "set role auth_owner"),
        ("admin", "admin", "set role service_role"),
        ("sidecar", "sidecar", "set role service_role"),
        ("sidecar", "sidecar", "select auth.configure('{}')"),
    ] {
        let mut client = database.connect(login);
        client.batch_execute(&format!("set role {role}")).unwrap();
        assert_eq!(refused(client.batch_execute(statement)).sqlstate, "42501", "{role}: {statement}");
    }
    for (login, role) in [("service", "service_role"), ("admin", "auth_admin")] {
        let mut client = database.connect(login);
        client.batch_execute(&format!("set role {role}")).unwrap();
        let masked: Vec<(Uuid, String)> = client
            .query("select id, encrypted_password from auth.admin_users", &[])
            .unwrap()
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect();
        assert_eq!(masked, [(ada.user_id, "***".to_owned())], "{role}");
        assert_eq!(refused(client.execute("delete from auth.admin_users", &[])).sqlstate, "42501", "{role}");
    }
}

/// N14: an app's own tables refer to users with real foreign keys, made by an operator who is no superuser: rows follow a
/// deleted user, or forget it, in the same transaction, and nobody can refer to a user who is not there.
#[test]
fn app_tables_refer_to_users() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    superuser
        .batch_execute(
            "create schema shop; grant create, usage on schema shop to admin; grant usage on schema shop to app",
        )
        .unwrap();
    database
        .admin()
        .batch_execute(
            "create table shop.profiles (user_id uuid primary key references auth.users (id) on delete cascade);
            create table shop.orders (id int primary key, user_id uuid references auth.users (id) on delete set null);
            create table shop.audit (user_id uuid references auth.users (id));
            grant insert on shop.profiles, shop.orders, shop.audit to app",
        )
        .unwrap();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let eve = sign_up(&mut app, "eve@example.org", PASSWORD);
    for (number, person) in [&ada, &eve].into_iter().enumerate() {
        app.execute("insert into shop.profiles values ($1)", &[&person.user_id]).unwrap();
        app.execute("insert into shop.orders values ($1, $2)", &[&(number as i32), &person.user_id]).unwrap();
    }
    let nobody = refused(app.execute("insert into shop.orders values (9, $1)", &[&Uuid::new_v4()]));
    assert_eq!(nobody.sqlstate, "23503");
    let left = |client: &mut Client| -> Value {
        json(
            client,
            "select jsonb_build_array(
                (select count(*) from auth.users), (select count(*) from auth.sessions), (select count(*) from auth.identities),
                (select count(*) from auth.email_addresses), (select count(*) from auth.password_state),
                (select count(*) from shop.profiles), (select count(*) from shop.orders), (select count(user_id) from shop.orders))",
            &[],
        )
    };
    assert_eq!(left(&mut superuser), json!([2, 2, 2, 2, 2, 2, 2, 2]));
    let mut transaction = superuser.transaction().unwrap();
    transaction.execute("delete from auth.users where id = $1", &[&ada.user_id]).unwrap();
    assert_eq!(left(&mut database.superuser()), json!([2, 2, 2, 2, 2, 2, 2, 2]), "not before the commit");
    transaction.rollback().unwrap();
    assert_eq!(left(&mut superuser), json!([2, 2, 2, 2, 2, 2, 2, 2]));
    superuser.execute("delete from auth.users where id = $1", &[&ada.user_id]).unwrap();
    assert_eq!(left(&mut superuser), json!([1, 1, 1, 1, 1, 1, 2, 1]));
    let refusal = refused(try_acting(&mut app, &ada.access_token, |_| Ok(())));
    assert_eq!(refusal.code, "session_not_found");
    app.execute("insert into shop.audit values ($1)", &[&eve.user_id]).unwrap();
    let refusal = refused(superuser.execute("delete from auth.users where id = $1", &[&eve.user_id]));
    assert_eq!(refusal.sqlstate, "23503", "a plain reference keeps its user");
    // Whoever is only an app cannot.
    superuser.batch_execute("grant create on schema shop to app").unwrap();
    let refusal = refused(app.batch_execute("create table shop.mine (user_id uuid references auth.users (id))"));
    assert_eq!(refusal.sqlstate, "42501");
}

/// F223: every public flow runs for a login that is anon and nothing else; service_role is never needed, and anon stays anon.
#[test]
fn public_flows_need_no_more_than_anon() {
    let database = Cluster::shared().database();
    let (login, mut superuser) = (format!("only_anon_{}", database.name()), database.superuser());
    superuser.batch_execute(&format!("create role {login} login in role anon")).unwrap();
    let outcome = std::panic::catch_unwind(|| {
        let mut client = database.connect(&login);
        let email = format!("{}@example.org", canary());
        let person = sign_up(&mut client, &email, PASSWORD);
        sign_in(&mut client, &email, PASSWORD);
        json(&mut client, "select auth.refresh($1)", &[&person.refresh_token]);
        assert_eq!(json(&mut client, "select auth.verify_token($1)", &[&person.access_token])["email"], email);
        assert_eq!(json(&mut client, "select auth.jwks()", &[])["keys"].as_array().unwrap().len(), 1);
        client.batch_execute("begin; select auth.authenticate(null); commit").unwrap();
        assert!(json(&mut client, "select auth.get_user()", &[]).is_null());
        // It may know who it is, by a token in the setting, but it cannot take a role that it is no member of.
        let mut transaction = client.transaction().unwrap();
        transaction.execute("select set_config('auth.token', $1, true)", &[&person.access_token]).unwrap();
        assert_eq!(json(&mut transaction, "select auth.get_user()", &[])["email"], email);
        transaction.rollback().unwrap();
        let refusal = refused(try_acting(&mut client, &person.access_token, |_| Ok(())));
        assert_eq!(refusal.sqlstate, "42501");
        for statement in ["select auth.revoke_sessions()", "select auth.list_sessions()", "select from auth.my_account"]
        {
            assert_eq!(refused(client.execute(statement, &[])).sqlstate, "42501", "{statement}");
        }
        // What a guest may do, whose role is anon too, asks for its user itself.
        for statement in
            ["select auth.update_user('{}')", "select auth.sign_out()", "select auth.update_password('', '')"]
        {
            assert_eq!(refused(client.execute(statement, &[])).code, "no_authorization", "{statement}");
        }
    });
    superuser.batch_execute(&format!("drop role {login}")).unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
