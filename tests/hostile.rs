//! A caller who shadows every name that our functions use, and one who looks everywhere for what others typed.

use std::collections::HashSet;

use auth_harness::{Client, Cluster, Database, acting, canary, claims, json, refused, sign_in, sign_up, storm_with};
use serde_json::Value;

use crate::golden::{MEMBERS, lines};
use crate::install::count;
use crate::planted::plant;

const PASSWORD: &str = "correct horse battery";

/// A database with a table that any shadowing object writes to when it is called.
fn with_witness() -> Database {
    let database = Cluster::shared().database();
    let mallory = mallory(&database);
    database
        .superuser()
        .batch_execute(&format!(
            "create role {mallory} login noinherit;
            select auth.allow_client('{mallory}');
            create schema evil authorization {mallory};
            grant usage, create on schema evil to public;
            create table public.stolen (who text);
            grant insert, select on public.stolen to public;
            create function public.after(event jsonb) returns jsonb language sql as 'select null::jsonb';
            alter function public.after(jsonb) owner to {mallory};"
        ))
        .unwrap();
    plant(&mut database.connect(&mallory), "evil");
    database
}

fn mallory(database: &Database) -> String {
    format!("mallory_of_{}", database.name())
}

/// Everything in schema evil and in the temporary schema stands before what is ours and before pg_catalog.
fn shadow(client: &mut Client) {
    // A role that the caller takes is not the one that owns the temporary schema, so it is opened for all.
    plant(client, "pg_temp");
    client
        .batch_execute(
            "create temporary table signing_keys as select 'evil' as kid;
            create temporary table config as select false as enable_signup;
            create temporary table hooks as select 'after_user_created' as event, 'evil.hook' as function;
            create temporary view revocations as select evil.lower('x') as subject;
            set search_path = pg_temp, evil, pg_catalog",
        )
        .unwrap();
}

/// XJ1, XJ2: every function that a caller reaches, called from a session whose path and temporary schema shadow every
/// operator, function, type, table and catalog: nothing planted runs, neither as the owner nor as the caller, and each
/// answers what it always answers.
#[test]
fn no_function_finds_a_planted_object() {
    let database = with_witness();
    let mut called = HashSet::new();
    let mut mallory = database.connect(&mallory(&database));
    // They act where they are meant.
    mallory.batch_execute("set search_path = evil, pg_catalog; begin; select lower('X'::pg_catalog.text)").unwrap();
    let row = mallory.query_one("select who::pg_catalog.text from public.stolen", &[]);
    assert!(!row.unwrap().get::<_, String>(0).is_empty());
    mallory.batch_execute("rollback").unwrap();
    shadow(&mut mallory);
    let mut admin = database.admin();
    shadow(&mut admin);

    let mut ask = |client: &mut Client, sql: &str, args: &[&(dyn auth_harness::ToSql + Sync)]| -> Value {
        for (at, _) in sql.match_indices("auth.") {
            called.insert(sql[at + 5..].split('(').next().unwrap().to_owned());
        }
        json(client, sql, args)
    };
    // Types are named with their schema, since the names alone are the planted ones.
    let text = "::pg_catalog.text";
    ask(&mut mallory, &format!("select auth.public_profile('nobody'{text})"), &[]);
    let sign_up_with = format!("select auth.sign_up($1{text}, $2{text}, '{{\"a\": 1}}'::pg_catalog.jsonb)");
    let answer = ask(&mut mallory, &sign_up_with, &[&"ada@example.org", &PASSWORD]);
    assert_eq!(answer["user"]["user_metadata"]["a"], 1);
    ask(
        &mut admin,
        &format!("select pg_catalog.to_jsonb(auth.add_hook($1{text}, $2{text})::pg_catalog.text)"),
        &[&"after_user_created", &"public.after"],
    );
    ask(&mut mallory, &sign_up_with, &[&"bob@example.org", &PASSWORD]);
    let answer =
        ask(&mut mallory, &format!("select auth.sign_in($1{text}, $2{text})"), &[&"ada@example.org", &PASSWORD]);
    let answer = ask(&mut mallory, &format!("select auth.refresh($1{text})"), &[&answer["refresh_token"].as_str()]);
    let token = answer["access_token"].as_str().unwrap().to_owned();
    let user_id = answer["user"]["id"].as_str().unwrap().to_owned();
    assert_eq!(ask(&mut mallory, &format!("select auth.verify_token($1{text})"), &[&token])["sub"], user_id);
    assert_eq!(ask(&mut mallory, "select auth.jwks()", &[])["keys"].as_array().unwrap().len(), 1);

    mallory.batch_execute("begin").unwrap();
    ask(&mut mallory, &format!("select auth.authenticate($1{text})"), &[&token]);
    mallory.batch_execute("set local search_path = pg_temp, evil, pg_catalog").unwrap();
    for (call, expected) in [
        ("select pg_catalog.to_jsonb(auth.uid())", Some(user_id.as_str())),
        ("select pg_catalog.to_jsonb(auth.require_uid())", Some(user_id.as_str())),
        ("select pg_catalog.to_jsonb(auth.role())", Some("authenticated")),
        ("select pg_catalog.to_jsonb(auth.email())", Some("ada@example.org")),
        ("select pg_catalog.to_jsonb(auth.aal())", Some("aal1")),
        ("select pg_catalog.to_jsonb(auth.session_id())", None),
        ("select pg_catalog.to_jsonb(auth.fresh('1 hour'::pg_catalog.interval))", None),
        ("select auth.jwt()", None),
        ("select pg_catalog.to_jsonb(auth.version())", None),
        ("select auth.get_user()", None),
        ("select auth.get_session()", None),
        ("select auth.update_user('{\"b\": 2}'::pg_catalog.jsonb)", None),
        ("select pg_catalog.to_jsonb(pg_catalog.count(*)) from auth.list_sessions()", None),
        ("select pg_catalog.to_jsonb(pg_catalog.count(*)) from auth.my_account", None),
        ("select pg_catalog.to_jsonb(auth.revoke_sessions())", None),
    ] {
        let answer = ask(&mut mallory, call, &[]);
        assert!(!answer.is_null(), "{call}");
        if let Some(expected) = expected {
            assert_eq!(answer, expected, "{call}");
        }
    }
    mallory.batch_execute("savepoint refused").unwrap();
    assert_eq!(refused(mallory.query_one("select auth.require_aal2()", &[])).code, "insufficient_aal");
    mallory.batch_execute("rollback to savepoint refused").unwrap();
    let own = "select pg_catalog.to_jsonb(auth.revoke_session(auth.session_id())::pg_catalog.text)";
    ask(&mut mallory, own, &[]);
    mallory.batch_execute("commit").unwrap();
    let answer =
        ask(&mut mallory, &format!("select auth.sign_in($1{text}, $2{text})"), &[&"bob@example.org", &PASSWORD]);
    mallory.batch_execute("begin").unwrap();
    ask(&mut mallory, &format!("select auth.authenticate($1{text})"), &[&answer["access_token"].as_str()]);
    ask(&mut mallory, "select pg_catalog.to_jsonb(auth.sign_out()::pg_catalog.text)", &[]);
    mallory.batch_execute("commit").unwrap();

    let answer = ask(&mut mallory, "select auth.sign_in_anonymously('{\"a\": 1}'::pg_catalog.jsonb)", &[]);
    mallory.batch_execute("begin").unwrap();
    ask(&mut mallory, &format!("select auth.authenticate($1{text})"), &[&answer["access_token"].as_str()]);
    let convert = format!("select auth.convert_anonymous($1{text}, $2{text})");
    let user = ask(&mut mallory, &convert, &[&"carol@example.org", &PASSWORD]);
    assert_eq!(user["is_anonymous"], false);
    let change = format!("select auth.update_password($1{text}, $2{text})");
    ask(&mut mallory, &change, &[&PASSWORD, &"another horse battery"]);
    mallory.batch_execute("commit").unwrap();

    let settings = ask(&mut admin, "select auth.configure('{\"password_min_length\": 9}'::pg_catalog.jsonb)", &[]);
    assert_eq!(settings["password_min_length"], 9);
    for (call, argument) in
        [("auth.apply_profile", "default"), ("auth.rotate_signing_key", "EdDSA"), ("auth.create_key", "anon")]
    {
        ask(&mut admin, &format!("select {call}($1{text})"), &[&argument]);
    }
    ask(&mut admin, "select auth.configure('{\"enable_sms\": true}'::pg_catalog.jsonb)", &[]);
    let jwk = "{\"kty\": \"oct\", \"alg\": \"HS256\", \"kid\": \"x\", \"k\": \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}";
    ask(&mut admin, &format!("select auth.import_signing_key('{jwk}'::pg_catalog.jsonb)"), &[]);
    ask(&mut admin, "select auth.gate_status()", &[]);
    ask(&mut admin, "select auth.guard_status()", &[]);
    ask(&mut admin, "select auth.verify_audit()", &[]);
    ask(&mut admin, "select auth.cleanup()", &[]);
    ask(&mut admin, "select pg_catalog.to_jsonb(pg_catalog.count(*)) from auth.doctor()", &[]);
    for call in [
        "auth.guard_reset('ada@example.org'::pg_catalog.text)",
        "auth.network('192.0.2.1'::pg_catalog.inet)",
        "auth.block_network('192.0.2.0/24'::pg_catalog.cidr)::pg_catalog.text",
        "auth.unblock_network('192.0.2.0/24'::pg_catalog.cidr)",
        "auth.add_email_rule('*.evil.example'::pg_catalog.text)::pg_catalog.text",
        "auth.remove_email_rule('*.evil.example'::pg_catalog.text)::pg_catalog.text",
    ] {
        ask(&mut admin, &format!("select pg_catalog.to_jsonb({call})"), &[]);
    }
    ask(&mut admin, "select pg_catalog.to_jsonb(pg_catalog.count(*)) from auth.admin_users", &[]);
    ask(
        &mut admin,
        &format!("select pg_catalog.to_jsonb(auth.remove_hook($1{text})::pg_catalog.text)"),
        &[&"after_user_created"],
    );

    // As a superuser, who is the one worth waiting for.
    let mut root = database.superuser();
    shadow(&mut root);
    let again = database.name().to_owned() + "_again";
    root.batch_execute(&format!("create role {again} login noinherit")).unwrap();
    ask(&mut root, &format!("select pg_catalog.to_jsonb(auth.allow_client('{again}')::pg_catalog.text)"), &[]);
    root.batch_execute("begin").unwrap();
    ask(&mut root, &format!("select auth.test_as($1{text})"), &[&"ada@example.org"]);
    root.batch_execute("commit").unwrap();
    let attributes =
        "{\"email\": \"dave@example.org\", \"password\": \"correct horse battery\", \"ban_duration\": \"1 h\"}";
    let user = ask(&mut root, &format!("select auth.admin_create_user('{attributes}'::pg_catalog.jsonb)"), &[]);
    let dave = format!("'{}'::pg_catalog.uuid", user["id"].as_str().unwrap());
    let attributes = "{\"phone\": \"+4915112345678\", \"role\": \"anon\", \"must_change_password\": true}";
    for call in [
        format!("auth.admin_update_user({dave}, '{attributes}'::pg_catalog.jsonb)"),
        format!("auth.admin_get_user({dave})"),
        format!("auth.admin_list_factors({dave})"),
        "auth.admin_list_users('{\"filter\": \"dave\", \"sort\": \"email\"}'::pg_catalog.jsonb)".to_owned(),
        "auth.admin_list_audit('{\"query\": \"action:user\"}'::pg_catalog.jsonb)".to_owned(),
        format!("pg_catalog.to_jsonb(auth.admin_delete_user({dave})::pg_catalog.text)"),
    ] {
        ask(&mut root, &format!("select {call}"), &[]);
    }
    // What mails and what they hold.
    let webhook = format!("select auth.add_webhook($1{text}, '{{signup}}'::pg_catalog.text[])");
    let webhook = ask(&mut admin, &webhook, &[&"https://hook.example.org/"]);
    let webhook = format!("'{}'::pg_catalog.uuid", webhook["id"].as_str().unwrap());
    let removed = format!("select pg_catalog.to_jsonb(auth.remove_webhook({webhook})::pg_catalog.text)");
    ask(&mut admin, &removed, &[]);
    ask(&mut admin, "select pg_catalog.to_jsonb(auth.adopt_outbox())", &[]);
    ask(&mut admin, "select auth.outbox_status()", &[]);
    ask(&mut admin, "select auth.sidecar_status()", &[]);

    ask(&mut mallory, "select auth.public_settings()", &[]);
    let url = format!("select pg_catalog.to_jsonb(auth.redirect_allowed($1{text}))");
    ask(&mut mallory, &url, &[&"http://localhost:3000/"]);
    for (call, address) in [
        ("auth.send_otp", "ada@example.org"),
        ("auth.sign_up_with_email", "erin@example.org"),
        ("auth.request_password_reset", "ada@example.org"),
        ("auth.send_sms_otp", "+4915112345678"),
    ] {
        ask(&mut mallory, &format!("select {call}($1{text})"), &[&address]);
    }
    ask(&mut mallory, &format!("select auth.resend($1{text}, $2{text})"), &[&"signup", &"bob@example.org"]);
    for call in [
        "auth.verify_otp('ada@example.org'::pg_catalog.text, '000000'::pg_catalog.text)",
        "auth.verify_sign_up('erin@example.org'::pg_catalog.text, '000000'::pg_catalog.text)",
        "auth.reset_password_with_code('ada@example.org'::pg_catalog.text, '000000'::pg_catalog.text, 'another battery'::pg_catalog.text)",
        "auth.reset_password('x'::pg_catalog.text, 'another battery'::pg_catalog.text)",
        "auth.verify_link('x'::pg_catalog.text)",
        "auth.look_up_link('x'::pg_catalog.text)",
        "auth.exchange_code('x'::pg_catalog.text)",
        "auth.send_magic_link('ada@example.org'::pg_catalog.text)",
        "auth.verify_sms_otp('+4915112345678'::pg_catalog.text, '000000'::pg_catalog.text)",
    ] {
        called.insert(call[5..].split('(').next().unwrap().to_owned());
        let refusal = refused(mallory.query_one(&format!("select {call}"), &[]));
        assert!(
            ["otp_expired", "flow_state_not_found", "magic_link_disabled"].contains(&refusal.code.as_str()),
            "{call}"
        );
    }
    passkeys(&mut mallory, &mut admin, &mut root, &mut called);
    let mut ask = |client: &mut Client, sql: &str, args: &[&(dyn auth_harness::ToSql + Sync)]| -> Value {
        for (at, _) in sql.match_indices("auth.") {
            called.insert(sql[at + 5..].split('(').next().unwrap().to_owned());
        }
        json(client, sql, args)
    };
    for call in [
        "auth.invite_user('frank@example.org'::pg_catalog.text)",
        "auth.admin_generate_link('magiclink'::pg_catalog.text, 'ada@example.org'::pg_catalog.text)",
        "pg_catalog.to_jsonb(pg_catalog.count(*)) from auth.claim_outbox(10)",
        "pg_catalog.to_jsonb(auth.settle_outbox('[]'::pg_catalog.jsonb))",
    ] {
        ask(&mut root, &format!("select {call}"), &[]);
    }
    let answer =
        ask(&mut mallory, &format!("select auth.sign_in($1{text}, $2{text})"), &[&"bob@example.org", &PASSWORD]);
    mallory.batch_execute("begin").unwrap();
    ask(&mut mallory, &format!("select auth.authenticate($1{text})"), &[&answer["access_token"].as_str()]);
    ask(&mut mallory, "select pg_catalog.to_jsonb(auth.authenticate_request()::pg_catalog.text)", &[]);
    ask(&mut mallory, "select auth.reauthenticate()", &[]);
    root.batch_execute("update auth.users set email_confirmed_at = pg_catalog.now()").unwrap();
    let change = format!("select auth.update_phone($1{text}, $2{text})");
    ask(&mut mallory, &change, &[&"+4915112345678", &PASSWORD]);
    let change = format!("select auth.update_email($1{text}, $2{text})");
    ask(&mut mallory, &change, &[&"robert@example.org", &PASSWORD]);
    for call in [
        "auth.list_factors()",
        "auth.enroll_totp('phone'::pg_catalog.text)",
        "auth.enroll_sms('+4915112345678'::pg_catalog.text)",
        "auth.enroll_webauthn('key'::pg_catalog.text)",
        "pg_catalog.to_jsonb(auth.count_recovery_codes())",
    ] {
        ask(&mut mallory, &format!("select {call}"), &[]);
    }
    mallory.batch_execute("commit").unwrap();
    let nil = "'00000000-0000-0000-0000-000000000000'::pg_catalog.uuid";
    for (call, code) in [
        (format!("auth.challenge_factor({nil})"), "mfa_factor_not_found"),
        (format!("auth.unenroll_factor({nil})"), "mfa_factor_not_found"),
        (format!("auth.confirm_totp({nil}, '000000'::pg_catalog.text)"), "mfa_factor_not_found"),
        (format!("auth.confirm_sms({nil}, '000000'::pg_catalog.text)"), "mfa_factor_not_found"),
        ("auth.send_mfa_sms('x'::pg_catalog.text)".to_owned(), "mfa_challenge_expired"),
        ("auth.challenge_webauthn('x'::pg_catalog.text)".to_owned(), "mfa_challenge_expired"),
        ("auth.verify_webauthn('x'::pg_catalog.text, '{}'::pg_catalog.jsonb)".to_owned(), "mfa_challenge_expired"),
        ("auth.disable_totp('000000'::pg_catalog.text)".to_owned(), "mfa_factor_not_found"),
        ("auth.verify_totp('x'::pg_catalog.text, '000000'::pg_catalog.text)".to_owned(), "mfa_challenge_expired"),
        ("auth.regenerate_recovery_codes()".to_owned(), "mfa_recovery_codes_sole_factor"),
        ("auth.get_recovery_codes()".to_owned(), "mfa_factor_not_found"),
        ("auth.delete_recovery_codes()".to_owned(), "mfa_factor_not_found"),
    ] {
        called.insert(call[5..].split('(').next().unwrap().to_owned());
        mallory.batch_execute("begin").unwrap();
        mallory.execute(&format!("select auth.authenticate($1{text})"), &[&answer["access_token"].as_str()]).unwrap();
        assert_eq!(refused(mallory.query_one(&format!("select {call}"), &[])).code, code, "{call}");
        mallory.batch_execute("rollback").unwrap();
    }
    for call in [
        format!("auth.admin_update_factor({nil}, {nil}, '{{}}'::pg_catalog.jsonb)"),
        format!("auth.admin_delete_factor({nil}, {nil})"),
    ] {
        called.insert(call[5..].split('(').next().unwrap().to_owned());
        assert_eq!(refused(root.query_one(&format!("select {call}"), &[])).code, "user_not_found", "{call}");
    }
    let mut ask = |client: &mut Client, sql: &str, args: &[&(dyn auth_harness::ToSql + Sync)]| -> Value {
        for (at, _) in sql.match_indices("auth.") {
            called.insert(sql[at + 5..].split('(').next().unwrap().to_owned());
        }
        json(client, sql, args)
    };

    root.batch_execute("begin").unwrap();
    for call in [
        "auth.count_attempt('a'::pg_catalog.text, 'b'::pg_catalog.text, 1, '1 hour'::pg_catalog.interval)",
        "auth.set_request_context('192.0.2.1'::pg_catalog.inet, 'x'::pg_catalog.text)",
    ] {
        ask(&mut root, &format!("select pg_catalog.to_jsonb({call}::pg_catalog.text)"), &[]);
    }
    root.batch_execute("commit").unwrap();
    root.batch_execute(
        "create table public.made (); alter table public.made add a pg_catalog.int4; drop table public.made",
    )
    .unwrap();
    assert_eq!(refused(root.batch_execute("alter table auth.users add a pg_catalog.int4")).sqlstate, "42501");
    assert_eq!(refused(root.batch_execute("drop extension auth cascade")).sqlstate, "42501");
    root.batch_execute("delete from auth.users; truncate auth.hooks; update auth.config set site_url = null").unwrap();

    assert_eq!(count(&database, "select count(*) from public.stolen"), 0, "a planted object was called");
    let definers = lines(
        &mut database.superuser(),
        &format!(
            "with {MEMBERS} select distinct p.proname::text from member as m
            join pg_proc as p on m.classid = 'pg_proc'::regclass and p.oid = m.objid
            where p.prosecdef or exists (select from aclexplode(p.proacl) as a where a.grantee <> p.proowner)"
        ),
    );
    // One is switched off here and its own tests have it; the other is asked above for its refusal.
    let elsewhere = ["authenticate_session", "require_aal2"];
    let missed: Vec<&str> =
        definers.lines().filter(|function| !called.contains(*function) && !elsewhere.contains(function)).collect();
    assert!(missed.is_empty(), "these functions were not attacked: {missed:?}");
}

/// Passkeys, as far as they go without an authenticator.
fn passkeys(mallory: &mut Client, admin: &mut Client, root: &mut Client, called: &mut HashSet<String>) {
    let text = "::pg_catalog.text";
    let mut ask = |client: &mut Client, sql: &str, args: &[&(dyn auth_harness::ToSql + Sync)]| -> Value {
        called.insert(sql.split("auth.").nth(1).unwrap_or_default().split('(').next().unwrap().to_owned());
        json(client, sql, args)
    };
    ask(admin, "select auth.configure('{\"enable_passkeys\": true}'::pg_catalog.jsonb)", &[]);
    for call in ["auth.start_passkey_sign_in()", "auth.start_passkey_sign_in('bob@example.org'::pg_catalog.text)"] {
        ask(mallory, &format!("select {call}"), &[]);
    }
    ask(mallory, &format!("select auth.start_passkey_sign_up('new@example.org'{text})"), &[]);
    let answer = ask(mallory, &format!("select auth.sign_in($1{text}, $2{text})"), &[&"bob@example.org", &PASSWORD]);
    mallory.batch_execute("begin").unwrap();
    ask(mallory, &format!("select auth.authenticate($1{text})"), &[&answer["access_token"].as_str()]);
    let started = ask(mallory, "select auth.start_passkey_registration()", &[]);
    let listed = "select pg_catalog.to_jsonb(pg_catalog.count(*)) from auth.list_passkeys()";
    assert_eq!(ask(mallory, listed, &[]), 0);
    let id = format!("'{}'::pg_catalog.uuid", started["challenge_id"].as_str().unwrap());
    let bob = format!("'{}'::pg_catalog.uuid", answer["user"]["id"].as_str().unwrap());
    for call in [
        format!("auth.finish_passkey_registration({id}, '{{}}'::pg_catalog.jsonb)"),
        format!("auth.rename_passkey({id}, 'x'::pg_catalog.text)"),
        format!("auth.delete_passkey({id})"),
        format!("auth.finish_passkey_sign_in({id}, '{{}}'::pg_catalog.jsonb)"),
        format!("auth.finish_passkey_sign_up({id}, '{{}}'::pg_catalog.jsonb)"),
    ] {
        mallory.batch_execute("savepoint refused").unwrap();
        let refusal = refused(mallory.query_one(&format!("select {call}"), &[]));
        assert!(refusal.code.starts_with("webauthn_"), "{call}: {refusal:?}");
        mallory.batch_execute("rollback to savepoint refused").unwrap();
    }
    mallory.batch_execute("commit").unwrap();
    assert_eq!(ask(root, &format!("select auth.admin_list_passkeys({bob})"), &[]), serde_json::json!([]));
    let refusal = refused(root.query_one(&format!("select auth.admin_delete_passkey({bob}, {id})"), &[]));
    assert_eq!(refusal.code, "webauthn_credential_not_found");
    let refused = [
        "finish_passkey_registration",
        "rename_passkey",
        "delete_passkey",
        "finish_passkey_sign_in",
        "finish_passkey_sign_up",
        "admin_delete_passkey",
    ];
    called.extend(refused.map(str::to_owned));
}

/// XJ2: what is named like a table of ours in the temporary schema is not asked, and tells nobody who signs in.
#[test]
fn temporary_tables_named_like_ours_are_not_asked() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    // A user and a session that exist nowhere else, and a revocation of Ada's.
    app.batch_execute(&format!(
        "create temporary table users (id uuid, instance_id uuid, aud text, role text, email text, email_key text, encrypted_password text,
            banned_until timestamptz, deleted_at timestamptz);
        insert into users (id, email, email_key, encrypted_password) values ('{0}', 'eve@example.org', 'eve@example.org', '');
        create temporary table sessions (id uuid, user_id uuid, refresh_token_counter bigint);
        create temporary table revocations as select 'session'::text as scope, '{1}'::uuid as subject, 'infinity'::timestamptz as not_before;
        create temporary table config as select false as enable_signup, true as only_row;
        create temporary view pg_class as select 1 as oid, 'users' as relname;
        create temporary view pg_namespace as select 1 as oid, 'auth' as nspname;
        set search_path = pg_temp, pg_catalog",
        ada.user_id, ada.session_id
    ))
    .unwrap();
    let refusal = refused(app.query_one("select auth.sign_in('eve@example.org', '')", &[]));
    assert_eq!(refusal.code, "invalid_credentials");
    acting(&mut app, &ada.access_token, |transaction| {
        let uid: uuid::Uuid = transaction.query_one("select auth.uid()", &[]).unwrap().get(0);
        assert_eq!(uid, ada.user_id);
    });
    sign_up(&mut app, "bob@example.org", PASSWORD);
    sign_in(&mut app, "ada@example.org", PASSWORD);
    json(&mut app, "select auth.refresh($1)", &[&ada.refresh_token]);
    let rows = app.query_one("select (select count(*) from users), (select count(*) from sessions)", &[]).unwrap();
    assert_eq!((rows.get::<_, i64>(0), rows.get::<_, i64>(1)), (1, 0));
}

/// XJ24, N30: no catalog, no setting and no other session's activity shows a password, a token or a root key.
#[test]
fn no_catalog_and_no_activity_shows_a_secret() {
    let database = Cluster::shared().database();
    let (mut app, mut root) = (database.app(), database.superuser());
    let (password, wrong, bound) = (canary(), canary(), canary());
    app.batch_execute(&format!("select auth.sign_up('ada@example.org', '{password}')")).unwrap();
    let person = sign_in(&mut database.app(), "ada@example.org", &password);
    let root_key = std::fs::read_to_string(Cluster::shared().root_key_path()).unwrap();
    // Sessions that stay idle after their last statement: with a password as a literal, refused and not, with one as a
    // parameter, and with a token.
    let signed_in = app;
    let mut signed_in_now = database.app();
    signed_in_now.batch_execute(&format!("select auth.sign_in('ada@example.org', '{password}')")).unwrap();
    let mut failed = database.app();
    refused(failed.batch_execute(&format!("select auth.sign_in('ada@example.org', '{wrong}')")));
    let mut with_parameter = database.app();
    refused(with_parameter.query_one("select auth.sign_in('ada@example.org', $1)", &[&bound]));
    let mut acting_now = database.app();
    acting_now.batch_execute(&format!("begin; select auth.authenticate('{}')", person.access_token)).unwrap();
    let mut refreshing = database.app();
    refreshing.batch_execute(&format!("select auth.refresh('{}')", person.refresh_token)).unwrap();

    let signature = person.access_token.rsplit('.').next().unwrap();
    let secrets = [
        ("a password", password.as_str()),
        ("a password that was refused", &wrong),
        ("a bound password", &bound),
        ("an access token", signature),
        ("a refresh token", &person.refresh_token),
        ("the root key", &root_key[2..46]),
    ];
    let mut found = Vec::new();
    let mut watcher = database.app();
    for (who, client) in [("a superuser", &mut root), ("the same login", &mut watcher)] {
        for place in [
            "pg_proc",
            "pg_settings",
            "pg_db_role_setting",
            "pg_stat_activity where pid <> pg_backend_pid()",
            "pg_prepared_statements",
            "pg_seclabels",
            "pg_description",
            "pg_shdescription",
            "pg_cursors",
            "pg_file_settings",
            "pg_stat_user_functions",
            "pg_stats",
            "pg_locks",
            "pg_rules",
        ] {
            let (table, condition) = place.split_once(" where").unwrap_or((place, " true"));
            let Ok(rows) = client.query(&format!("select t::text from {table} as t where {condition}"), &[]) else {
                assert!(who != "a superuser", "{place}");
                continue;
            };
            for row in rows {
                let text = row.get::<_, Option<String>>(0).unwrap_or_default();
                for (what, secret) in secrets {
                    if text.contains(secret) {
                        found.push(format!("{what} in {table}, seen by {who}"));
                    }
                }
            }
        }
    }
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "{}", found.join("\n"));
    // The path of the file is for superusers, and its contents for nobody.
    assert_eq!(refused(watcher.query("show auth.root_key_file", &[])).sqlstate, "42501");
    let row = watcher.query("select setting from pg_settings where name = 'auth.root_key_file'", &[]).unwrap();
    assert!(row.is_empty() || row[0].get::<_, Option<String>>(0).is_none());
    drop((signed_in, signed_in_now, failed, with_parameter, acting_now, refreshing));
}

/// XF15: a generator that was touched before the fork would give every backend the same bytes; the library is preloaded,
/// and what the first call of a hundred backends makes is different in each.
#[test]
fn a_hundred_fresh_backends_make_different_secrets() {
    let database = Cluster::shared().database();
    let mut admin = database.admin();
    json(
        &mut admin,
        "select auth.configure('{\"argon2_memory_kib\": 64, \"argon2_iterations\": 1, \"max_active_sessions\": null}')",
        &[],
    );
    let preloaded = "select current_setting('shared_preload_libraries') = 'auth'";
    assert!(database.superuser().query_one(preloaded, &[]).unwrap().get::<_, bool>(0));
    let mut seen: Vec<HashSet<String>> = vec![HashSet::new(); 6];
    let made = storm_with(
        10,
        |_| (),
        |thread, ()| {
            let mut made = Vec::new();
            for number in 0..10 {
                // The very first call of this backend.
                let mut app = database.app();
                let pid: i32 = app.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
                made.push((pid, sign_up(&mut app, &format!("user{thread}of{number}@example.org"), PASSWORD)));
            }
            made
        },
    );
    let made: Vec<_> = made.into_iter().flatten().collect();
    assert_eq!(made.iter().map(|(pid, _)| pid).collect::<HashSet<_>>().len(), 100, "a hundred backends");
    for (_, person) in &made {
        seen[0].insert(person.access_token.rsplit('.').next().unwrap().to_owned());
        seen[1].insert(person.refresh_token.clone());
        // The random part of a version 7 id.
        seen[2].insert(person.session_id.to_string()[14..].to_owned());
        seen[3].insert(person.user_id.to_string());
        seen[4].insert(claims(&person.access_token)["jti"].as_str().unwrap().to_owned());
    }
    let salts = "select split_part(encrypted_password, '$', 5) from auth.users";
    for row in database.superuser().query(salts, &[]).unwrap() {
        let salt: String = row.get(0);
        assert_eq!(salt.len(), 22, "16 bytes");
        seen[5].insert(salt);
    }
    assert_eq!(seen.iter().map(HashSet::len).collect::<Vec<_>>(), [100; 6], "tokens, sessions, users, jti, salts");
}
