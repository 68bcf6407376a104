//! Hooks: an app's own functions at fixed events, in the caller's transaction, as their own owner.

use std::collections::BTreeMap;

use auth_harness::{Client, Cluster, Database, Totp, claims, json, refused, sign_in, sign_up, try_acting};
use serde_json::{Value, json};

use crate::mfa::{as_user, said_as};
use crate::sign_up::cheap_hashes;

const PASSWORD: &str = "correct horse battery";

/// A database with schema hooks, whose owner is an ordinary role made for this database; dropped with it.
struct Hooked {
    database: Database,
    owner: String,
}

impl Hooked {
    fn new() -> Hooked {
        let database = Cluster::shared().database();
        let owner = format!("hook_owner_{}", database.name());
        database
            .superuser()
            .batch_execute(&format!("create role {owner} nologin; create schema hooks authorization {owner}"))
            .unwrap();
        Hooked { database, owner }
    }

    /// Makes `hooks.<name>(event jsonb) returns jsonb` with this plpgsql body.
    fn function(&self, name: &str, body: &str) {
        self.database
            .superuser()
            .batch_execute(&format!(
                "create or replace function hooks.{name}(event jsonb) returns jsonb language plpgsql as $body$ {body} $body$;
                alter function hooks.{name} owner to {}",
                self.owner
            ))
            .unwrap();
    }

    fn add(&self, event: &str, name: &str) {
        self.database.admin().execute("select auth.add_hook($1, $2)", &[&event, &format!("hooks.{name}")]).unwrap();
    }
}

impl Drop for Hooked {
    fn drop(&mut self) {
        let mut superuser = self.database.superuser();
        let _ = superuser.batch_execute(&format!("drop owned by {0}; drop role {0}", self.owner));
    }
}

fn row_counts(superuser: &mut Client) -> BTreeMap<String, i64> {
    superuser
        .query(
            "select c.oid::regclass::text,
                (xpath('/row/c/text()', query_to_xml('select count(*) as c from ' || c.oid::regclass, false, true, '')))[1]::text::bigint
            from pg_class c
            where c.relkind = 'r' and c.relnamespace in ('auth'::regnamespace, 'hooks'::regnamespace)",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
}

/// F126, F133: the app is told of each right code, of one that confirms a factor and of one that finishes a sign-in, and may refuse it:
/// then it does neither.
#[test]
fn a_right_code_may_be_refused() {
    let hooked = Hooked::new();
    let judge = |answer: &str| {
        hooked.function("judge", &format!("begin return case when event ->> 'valid' = 'true' then {answer} end; end"))
    };
    judge("'{\"decision\": \"reject\"}'::jsonb");
    hooked.add("mfa_verification_attempt", "judge");
    let (mut app, mut superuser) = (hooked.database.app(), hooked.database.superuser());
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let factor = as_user(&mut app, &ada.access_token, "enroll_totp('phone')");
    let totp = Totp::new(factor["secret"].as_str().unwrap());
    let confirm =
        |steps| format!("confirm_totp('{}', '{}')", factor["factor_id"].as_str().unwrap(), totp.code_at(steps));
    assert_eq!(said_as(&mut app, &ada.access_token, &confirm(-1)), "mfa_verification_rejected");
    sign_in(&mut app, "ada@example.org", PASSWORD);
    judge("null");
    assert_eq!(said_as(&mut app, &ada.access_token, &confirm(0)), "session");
    judge("'{\"decision\": \"reject\"}'::jsonb");
    let first = json(&mut app, "select auth.sign_in('ada@example.org', $1)", &[&PASSWORD]);
    let token = first["challenge_token"].as_str().unwrap();
    let verify = "select auth.verify_totp($1, $2)";
    assert_eq!(refused(app.query(verify, &[&token, &totp.code_at(1)])).code, "mfa_verification_rejected");
    let done = "select count(*) from auth.audit_log where event_type = 'mfa_success'";
    assert_eq!(superuser.query_one(done, &[]).unwrap().get::<_, i64>(0), 1);
}

/// F004, N33, N01: a hook that raises, before or after the account is made or at its token, undoes the whole sign-up with
/// its own message; no row is left anywhere, in our tables or the app's.
#[test]
fn a_raising_hook_leaves_no_row_anywhere() {
    let hooked = Hooked::new();
    let mut superuser = hooked.database.superuser();
    superuser
        .batch_execute(&format!(
            "create table hooks.profiles (id uuid, username text); alter table hooks.profiles owner to {}",
            hooked.owner
        ))
        .unwrap();
    let mut app = hooked.database.app();
    sign_up(&mut app, "first@example.org", PASSWORD);
    let username = "event -> 'user' -> 'user_metadata' ->> 'username'";
    hooked.function(
        "check_username",
        &format!("begin if {username} is null then raise 'a username is needed' using errcode = '23514', detail = 'username', hint = 'choose one'; end if; return null; end"),
    );
    hooked.function(
        "make_profile",
        &format!(
            "begin
                insert into hooks.profiles values ((event -> 'user' ->> 'id')::uuid, {username});
                if {username} = 'taken' then raise 'that name is taken'; end if;
                return null;
            end"
        ),
    );
    hooked.function(
        "claims",
        "begin if event -> 'claims' -> 'user_metadata' ->> 'username' = 'tokenless' then raise 'no token for you'; end if; return event; end",
    );
    hooked.add("before_user_created", "check_username");
    hooked.add("after_user_created", "make_profile");
    hooked.add("custom_access_token", "claims");
    let before = row_counts(&mut superuser);
    for (data, sqlstate, message) in [
        (json!({}), "23514", "a username is needed"),
        (json!({"username": "taken"}), "P0001", "that name is taken"),
        (json!({"username": "tokenless"}), "P0001", "no token for you"),
    ] {
        let refusal = refused(app.execute("select auth.sign_up('ada@example.org', $1, $2)", &[&PASSWORD, &data]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.message.as_str()), (sqlstate, message));
        if sqlstate == "23514" {
            assert_eq!((refusal.code.as_str(), refusal.hint.as_deref()), ("username", Some("choose one")));
        }
        assert_eq!(row_counts(&mut superuser), before, "{message}");
    }
    // What the hooks let pass is there with the app's own row, and not before it is committed.
    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.sign_up('ada@example.org', $1, '{\"username\": \"ada\"}')", &[&PASSWORD]).unwrap();
    assert_eq!(row_counts(&mut superuser), before);
    transaction.commit().unwrap();
    let same: i64 = superuser
        .query_one(
            "select count(*) from hooks.profiles p join auth.users u on u.id = p.id and u.email = 'ada@example.org'",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(same, 1, "the event names the account that is made");
    hooked.database.admin().execute("select auth.remove_hook('before_user_created')", &[]).unwrap();
    sign_up(&mut app, "none@example.org", PASSWORD);
}

/// N33, F004: an answer with a member error refuses as well, with its message; the hint names the hook.
#[test]
fn an_answered_error_refuses() {
    let hooked = Hooked::new();
    let (mut app, mut superuser) = (hooked.database.app(), hooked.database.superuser());
    hooked.function(
        "refuse",
        "begin return '{\"error\": {\"http_code\": 403, \"message\": \"only our own people\"}}'; end",
    );
    sign_up(&mut app, "first@example.org", PASSWORD);
    let before = row_counts(&mut superuser);
    for event in ["before_user_created", "after_user_created", "custom_access_token"] {
        hooked.add(event, "refuse");
        let before: BTreeMap<_, _> = row_counts(&mut superuser);
        let refusal = refused(app.execute("select auth.sign_up('ada@example.org', $1)", &[&PASSWORD]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{event}");
        assert_eq!(refusal.message, "only our own people");
        assert!(refusal.hint.unwrap().contains("hooks.refuse"), "{event}");
        assert_eq!(row_counts(&mut superuser), before, "{event}");
        hooked.database.admin().execute("select auth.remove_hook($1)", &[&event]).unwrap();
    }
    hooked.function("refuse", "begin return '{\"error\": null}'; end");
    hooked.add("before_user_created", "refuse");
    sign_up(&mut app, "ada@example.org", PASSWORD);
    assert_ne!(row_counts(&mut superuser), before);
}

/// F170: a hook adds claims and changes metadata claims, for sign-up, sign-in and refresh; the token that policies see has
/// them.
#[test]
fn a_hook_adds_claims() {
    let hooked = Hooked::new();
    let mut app = hooked.database.app();
    let extra =
        json!({"subscription": "gold", "features": ["a", "b"], "quotas": {"rows": 10}, "custom-app-claims": null});
    hooked.function(
        "claims",
        &format!(
            "begin
                return jsonb_build_object('claims', event -> 'claims' || '{extra}'
                    || jsonb_build_object('how', event -> 'authentication_method', 'who', event -> 'user_id')
                    || '{{\"app_metadata\": {{\"plan\": 7}}}}');
            end"
        ),
    );
    hooked.add("custom_access_token", "claims");
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    let signed_in = sign_in(&mut app, "ada@example.org", PASSWORD);
    let refreshed = json(&mut app, "select auth.refresh($1)", &[&person.refresh_token]);
    for (token, how) in [
        (person.access_token.as_str(), "password"),
        (&signed_in.access_token, "password"),
        (refreshed["access_token"].as_str().unwrap(), "token_refresh"),
    ] {
        let seen: Value =
            try_acting(&mut app, token, |transaction| Ok(transaction.query_one("select auth.jwt()", &[])?.get(0)))
                .unwrap();
        assert_eq!(seen, claims(token));
        for (name, value) in extra.as_object().unwrap() {
            assert_eq!(&seen[name], value, "{name}");
        }
        assert_eq!((&seen["how"], &seen["who"]), (&json!(how), &seen["sub"]));
        assert_eq!(seen["app_metadata"], json!({"plan": 7}));
    }
    assert_eq!(refreshed["user"]["app_metadata"]["provider"], "email", "a claim is not stored");
}

/// F170, N31: no reserved claim can be changed, added or taken away by a hook, and a hook that answers no claims refuses.
#[test]
fn reserved_claims_cannot_be_changed() {
    let hooked = Hooked::new();
    cheap_hashes(&hooked.database);
    let (mut app, mut superuser) = (hooked.database.app(), hooked.database.superuser());
    let victim = sign_up(&mut app, "victim@example.org", PASSWORD);
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    let reserved = [
        "iss",
        "sub",
        "aud",
        "exp",
        "iat",
        "nbf",
        "email",
        "phone",
        "role",
        "aal",
        "amr",
        "session_id",
        "is_anonymous",
        "user_id",
        "token_type",
        "jti",
        "sc",
    ];
    let mut present: Vec<String> = claims(&person.access_token)
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| !name.ends_with("_metadata"))
        .cloned()
        .collect();
    present.push("nbf".to_owned());
    present.sort();
    let mut expected = reserved.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(present, expected, "every claim of a token but the metadata is reserved");

    let id = victim.user_id;
    let mut bodies: Vec<(String, String)> = Vec::new();
    for name in reserved {
        let value = match name {
            "sub" | "user_id" => format!("\"{id}\""),
            "role" => "\"service_role\"".to_owned(),
            "exp" | "iat" | "nbf" | "sc" => "99999999999".to_owned(),
            _ => "\"hostile\"".to_owned(),
        };
        bodies.push((format!("{name} changed"), format!("jsonb_set(event, '{{claims,{name}}}', '{value}')")));
        if name != "nbf" {
            bodies.push((format!("{name} null"), format!("jsonb_set(event, '{{claims,{name}}}', 'null')")));
            bodies.push((format!("{name} gone"), format!("event #- '{{claims,{name}}}'")));
        }
    }
    for (title, body) in [
        ("null claims", "'{\"claims\": null}'"),
        ("no claims", "'{}'"),
        ("empty claims", "'{\"claims\": {}}'"),
        ("an array", "'[]'"),
        ("a text", "'\"claims\"'"),
    ] {
        bodies.push((title.to_owned(), body.to_owned()));
    }
    hooked.function("claims", "begin return event; end");
    hooked.add("custom_access_token", "claims");
    let mut refresh_token = person.refresh_token.clone();
    for (title, body) in bodies {
        hooked.function("claims", &format!("begin return {body}; end"));
        for (statement, argument) in
            [("select auth.sign_in('ada@example.org', $1)", PASSWORD), ("select auth.refresh($1)", &refresh_token)]
        {
            let refusal = refused(app.execute(statement, &[&argument]));
            assert_eq!(
                (refusal.sqlstate.as_str(), refusal.code.as_str()),
                ("22023", "validation_failed"),
                "{title}: {}",
                refusal.message
            );
        }
    }
    // The refusals were whole: no session was opened and no refresh token used up.
    let sessions: i64 = superuser
        .query_one(
            "select count(*) from auth.sessions where user_id = $1 and refresh_token_counter = 0",
            &[&person.user_id],
        )
        .unwrap()
        .get(0);
    assert_eq!(sessions, 1);
    hooked.function("claims", "begin return event; end");
    refresh_token =
        json(&mut app, "select auth.refresh($1)", &[&refresh_token])["refresh_token"].as_str().unwrap().to_owned();
    // A hook that returns null has nothing to say.
    hooked.function("claims", "begin return null; end");
    json(&mut app, "select auth.refresh($1)", &[&refresh_token]);
}

/// N33: inside a hook the current user is the function's owner, whatever the function says of itself, the search path is
/// pinned, no role can be taken, and no secret of ours can be read or changed.
#[test]
fn a_hook_runs_as_its_own_owner() {
    let hooked = Hooked::new();
    let (mut app, mut superuser) = (hooked.database.app(), hooked.database.superuser());
    superuser
        .batch_execute(&format!(
            "create table hooks.seen (what text, value text); alter table hooks.seen owner to {}",
            hooked.owner
        ))
        .unwrap();
    let attempts = [
        "select encrypted_password from auth.users",
        "select private_sealed from auth.signing_keys",
        "update auth.users set role = 'service_role'",
        "delete from auth.sessions",
        "insert into auth.hooks values ('before_user_created', 'hooks.h')",
        "select auth.configure('{}')",
        "select auth.add_hook('before_user_created', 'hooks.h')",
        "select auth.test_as('ada@example.org')",
        "set local role auth_owner",
        "set local role postgres",
        "reset role",
        "set role none",
        "set local session authorization postgres",
        "reset session authorization",
    ];
    let list = attempts.map(|attempt| format!("'{}'", attempt.replace('\'', "''"))).join(", ");
    hooked.function(
        "h",
        &format!(
            "declare attempt text;
            begin
                insert into hooks.seen values ('current_user', current_user), ('search_path', current_setting('search_path')),
                    ('secrets', (event::text ~ 'argon2|{PASSWORD}|password_hash|encrypted_password')::text);
                foreach attempt in array array[{list}] loop
                    begin
                        execute attempt;
                        insert into hooks.seen values ('allowed', attempt || ' as ' || current_user);
                    exception when others then
                        insert into hooks.seen values ('refused', sqlstate);
                    end;
                end loop;
                return event;
            end"
        ),
    );
    // By a hostile login: what it calls its own functions, paths and roles does not matter.
    for event in ["before_user_created", "after_user_created", "custom_access_token"] {
        hooked.add(event, "h");
    }
    app.batch_execute("set search_path = hooks, public; set check_function_bodies = off").unwrap();
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    let path: String = app.query_one("select current_setting('search_path')", &[]).unwrap().get(0);
    assert_eq!(path, "hooks, public", "the caller's path is the caller's again");
    let user: String = app.query_one("select current_user::text", &[]).unwrap().get(0);
    assert_eq!(user, "app");
    let seen: Vec<(String, String)> = superuser
        .query("select distinct what, value from hooks.seen order by 1, 2", &[])
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let expected: Vec<(String, String)> = [
        ("current_user", hooked.owner.as_str()),
        ("refused", "42501"),
        ("search_path", "pg_catalog, pg_temp"),
        ("secrets", "false"),
    ]
    .map(|(what, value)| (what.to_owned(), value.to_owned()))
    .into();
    assert_eq!(seen, expected);
    try_acting(&mut app, &person.access_token, |_| Ok(())).unwrap();
}

/// N33: who may be a hook: a function of the right form that no superuser owns, when it is added and at each call.
#[test]
fn a_superusers_function_is_no_hook() {
    let hooked = Hooked::new();
    let (mut app, mut admin, mut superuser) =
        (hooked.database.app(), hooked.database.admin(), hooked.database.superuser());
    superuser
        .batch_execute(
            "create function hooks.of_superuser(event jsonb) returns jsonb language sql as 'select event';
            create function hooks.two(event jsonb, more jsonb default '{}') returns jsonb language sql as 'select event';
            create function hooks.of_text(event text) returns jsonb language sql as 'select event::jsonb';
            create function hooks.to_text(event jsonb) returns text language sql as 'select event::text';
            create function hooks.to_set(event jsonb) returns setof jsonb language sql as 'select event';
            create procedure hooks.procedure(event jsonb) language sql as 'select 1';
            create aggregate hooks.aggregate(jsonb) (sfunc = jsonb_concat, stype = jsonb)",
        )
        .unwrap();
    for name in ["two", "of_text", "to_text", "to_set"] {
        superuser.batch_execute(&format!("alter function hooks.{name} owner to {}", hooked.owner)).unwrap();
    }
    hooked.function("good", "begin return event; end");
    for (event, function, sqlstate) in [
        (Some("custom_access_token"), Some("hooks.of_superuser"), "42501"),
        (Some("custom_access_token"), Some("hooks.two"), "22023"),
        (Some("custom_access_token"), Some("hooks.of_text"), "22023"),
        (Some("custom_access_token"), Some("hooks.to_text"), "22023"),
        (Some("custom_access_token"), Some("hooks.to_set"), "22023"),
        (Some("custom_access_token"), Some("hooks.procedure"), "22023"),
        (Some("custom_access_token"), Some("hooks.aggregate"), "22023"),
        (Some("custom_access_token"), Some("hooks.missing"), "22023"),
        (Some("custom_access_token"), Some("missing.good"), "22023"),
        (Some("custom_access_token"), Some("good"), "22023"),
        (Some("custom_access_token"), Some("hooks.good(jsonb)"), "22023"),
        (Some("custom_access_token"), Some("hooks.good; drop table auth.users"), "22023"),
        (Some("custom_access_token"), Some("\"hooks.good"), "22023"),
        (Some("custom_access_token"), Some(""), "22023"),
        (Some("custom_access_token"), None, "22023"),
        (Some("before_user_deleted"), Some("hooks.good"), "22023"),
        (Some(""), Some("hooks.good"), "22023"),
        (None, Some("hooks.good"), "22023"),
        // Ours are no hooks: they would run as the owner of every table.
        (Some("custom_access_token"), Some("auth.configure"), "42501"),
        (Some("custom_access_token"), Some("auth.get_user"), "42501"),
    ] {
        let refusal = refused(admin.execute("select auth.add_hook($1, $2)", &[&event, &function]));
        assert_eq!(
            (refusal.sqlstate.as_str(), refusal.code.as_str()),
            (sqlstate, "validation_failed"),
            "{event:?} {function:?}"
        );
    }
    for (statement, code) in [
        ("select auth.remove_hook('custom_access_token')", "validation_failed"),
        ("select auth.remove_hook('nonsense')", "validation_failed"),
        ("select auth.remove_hook(null)", "validation_failed"),
    ] {
        let refusal = refused(admin.execute(statement, &[]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", code), "{statement}");
    }
    for login in ["app", "service", "sidecar"] {
        for statement in [
            "select auth.add_hook('custom_access_token', 'hooks.good')",
            "select auth.remove_hook('custom_access_token')",
            "select from auth.hooks",
        ] {
            let refusal = refused(hooked.database.connect(login).execute(statement, &[]));
            assert_eq!(refusal.sqlstate, "42501", "{login}: {statement}");
        }
    }
    let hooks: i64 = superuser.query_one("select count(*) from auth.hooks", &[]).unwrap().get(0);
    assert_eq!(hooks, 0);

    // Once added, what the function becomes is looked at again by connections that have used it.
    hooked.add("custom_access_token", "good");
    sign_up(&mut app, "ada@example.org", PASSWORD);
    let owner = &hooked.owner;
    for (change, back, sqlstate) in [
        (
            "alter function hooks.good owner to postgres".to_owned(),
            format!("alter function hooks.good owner to {owner}"),
            "42501",
        ),
        (format!("alter role {owner} superuser"), format!("alter role {owner} nosuperuser"), "42501"),
        (
            "alter function hooks.good rename to gone".to_owned(),
            "alter function hooks.gone rename to good".to_owned(),
            "22023",
        ),
        ("alter schema hooks rename to moved".to_owned(), "alter schema moved rename to hooks".to_owned(), "22023"),
    ] {
        superuser.batch_execute(&change).unwrap();
        let refusal = refused(app.execute("select auth.sign_in('ada@example.org', $1)", &[&PASSWORD]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), (sqlstate, "validation_failed"), "{change}");
        superuser.batch_execute(&back).unwrap();
        sign_in(&mut app, "ada@example.org", PASSWORD);
    }
}

/// N33: adding and removing a hook is seen by other connections at their next call, and is undone by a rollback.
#[test]
fn a_hook_is_seen_at_the_next_call() {
    let hooked = Hooked::new();
    let (mut app, mut admin) = (hooked.database.app(), hooked.database.admin());
    hooked.function("one", "begin return jsonb_set(event, '{claims,hook}', '1'); end");
    hooked.function("two", "begin return jsonb_set(event, '{claims,hook}', '2'); end");
    sign_up(&mut app, "ada@example.org", PASSWORD);
    let hook = |app: &mut Client| claims(&sign_in(app, "ada@example.org", PASSWORD).access_token)["hook"].clone();
    assert_eq!(hook(&mut app), Value::Null);
    hooked.add("custom_access_token", "one");
    assert_eq!(hook(&mut app), 1);
    hooked.add("custom_access_token", "two");
    assert_eq!(hook(&mut app), 2);
    let mut transaction = admin.transaction().unwrap();
    transaction.execute("select auth.remove_hook('custom_access_token')", &[]).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(hook(&mut app), 2);
    let login: String = admin.query_one("select created_by from auth.hooks", &[]).unwrap().get(0);
    assert_eq!(login, "admin");
    admin.execute("select auth.remove_hook('custom_access_token')", &[]).unwrap();
    assert_eq!(hook(&mut app), Value::Null);
}
