//! Every way to set a setting, and none that makes anybody somebody. Identity follows ROLLBACK TO and exception blocks.

use auth_harness::{Client, Cluster, Database, Transaction, canary, json, postgres, refused, sign_up, try_acting};
use serde_json::json;
use uuid::Uuid;

use crate::minting::{PASSWORD, alice_and_bob, assert_refused, carry, count, encoded, notes, seen, text, uid};

/// What an attacker puts into settings to be taken for the victim: setting, value, and whether it is refused in the
/// transaction that sets it (a token that is not good) or is just nobody.
fn lures(victim_id: Uuid) -> Vec<(&'static str, String, bool)> {
    let victim = victim_id.to_string();
    let claims =
        json!({"sub": victim, "user_id": victim, "role": "service_role", "session_id": victim, "exp": 9999999999u64})
            .to_string();
    let unsigned = format!("{}.{}.", encoded(r#"{"alg":"none","typ":"JWT"}"#), encoded(&claims));
    vec![
        ("auth.token", "garbage".into(), true),
        ("auth.token", victim.clone(), true),
        ("auth.token", claims.clone(), true),
        ("auth.token", unsigned.clone(), true),
        ("request.headers", json!({"authorization": format!("Bearer {unsigned}")}).to_string(), true),
        ("request.headers", "garbage".into(), true),
        ("request.headers", json!({"x-user-id": victim, "x-user-email": "alice@example.org"}).to_string(), false),
        ("request.jwt.claims", claims, false),
        ("request.jwt.claims", "garbage".into(), false),
        ("request.jwt.claim.sub", victim.clone(), false),
        ("request.jwt.claim.role", "service_role".into(), false),
        ("app.user_id", victim.clone(), false),
        ("app.user_email", "alice@example.org".into(), false),
    ]
}

/// Nobody: neither a user nor a claim, in a statement of its own and in a transaction.
#[track_caller]
fn assert_nobody(client: &mut Client, what: &str) {
    const WHO: &str =
        "select to_jsonb(array[auth.uid()::text, auth.role(), auth.email(), auth.jwt()::text, auth.aal()])";
    for _ in 0..2 {
        assert_eq!(json(client, WHO, &[]), json!([null, null, null, null, null]), "{what}");
        assert_eq!(json(&mut client.transaction().unwrap(), WHO, &[]), json!([null, null, null, null, null]), "{what}");
    }
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// In a startup packet white space and backslashes are escaped.
fn as_option(setting: &str, value: &str) -> String {
    format!("-c {setting}={}", value.replace('\\', "\\\\").replace(' ', "\\ "))
}

/// N05, N06, XJ5: what was set before the transaction makes nobody anybody: SET, set_config, SET LOCAL, ALTER ROLE,
/// ALTER DATABASE, the startup packet, PGOPTIONS; not even the victim's own good token.
#[test]
fn a_setting_from_before_the_transaction_is_nobody() {
    let database = Cluster::shared().database();
    let alice = sign_up(&mut database.app(), "alice@example.org", PASSWORD);
    let mut superuser = database.superuser();
    let name = database.name();
    let mut all = lures(alice.user_id);
    all.push(("auth.token", alice.access_token.clone(), true));
    all.push(("request.headers", json!({"authorization": format!("Bearer {}", alice.access_token)}).to_string(), true));
    for (setting, value, _) in all {
        let what = format!("{setting} = {value:.40}");
        let literal = quoted(&value);

        let mut client = database.app();
        client.batch_execute(&format!("set {setting} = {literal}")).unwrap();
        assert_nobody(&mut client, &format!("set {what}"));
        client.execute("select set_config($1, $2, false)", &[&setting, &value]).unwrap();
        assert_nobody(&mut client, &format!("set_config {what}"));
        client.batch_execute(&format!("begin; set {setting} = {literal}; commit")).unwrap();
        assert_nobody(&mut client, &format!("set in an earlier transaction {what}"));
        client.batch_execute(&format!("begin; set local {setting} = {literal}; commit")).unwrap();
        assert_nobody(&mut client, &format!("set local in an earlier transaction {what}"));

        client = Cluster::shared().try_connect(name, "app", &as_option(setting, &value)).unwrap();
        assert_nobody(&mut client, &format!("startup option {what}"));
        client.batch_execute(&format!("reset {setting}")).unwrap();
        assert_nobody(&mut client, &format!("reset to a startup option {what}"));

        let mut psql = Cluster::shared().command("psql");
        psql.env("PGOPTIONS", as_option(setting, &value)).args(["-U", "app", "-XAtqd", name]);
        let output = psql.args(["-c", "select auth.uid() is null and auth.role() is null"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "t\n", "PGOPTIONS {what}");

        // Everybody may do this to their own role, but PostgreSQL itself lets only superusers store a name that no
        // library defines.
        let is_ours = setting.starts_with("auth.") || ["request.headers", "request.jwt.claims"].contains(&setting);
        let mut owner = if is_ours { database.app() } else { database.superuser() };
        owner.batch_execute(&format!("alter role app in database {name} set {setting} = {literal}")).unwrap();
        assert_nobody(&mut database.app(), &format!("alter role {what}"));
        owner.batch_execute(&format!("alter role app in database {name} reset all")).unwrap();
        superuser.batch_execute(&format!("alter database {name} set {setting} = {literal}")).unwrap();
        assert_nobody(&mut database.app(), &format!("alter database {what}"));
        superuser.batch_execute(&format!("alter database {name} reset all")).unwrap();
    }
}

/// N05, XJ5: in the transaction itself a lure is nobody or, where a token ought to be, refused; and it takes nothing from
/// who is there already. SET, SET LOCAL, set_config, a function's SET clause.
#[test]
fn a_setting_in_the_transaction_is_nobody_or_refused() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    let mut app = database.app();
    let mut superuser = database.superuser();
    for (setting, value, is_bad_token) in lures(alice.user_id) {
        let literal = quoted(&value);
        // By a superuser, whom PostgreSQL lets name any setting there.
        superuser
            .batch_execute(&format!(
                "create or replace function public.asks() returns uuid language plpgsql set {setting} = {literal}
                as 'begin return auth.uid(); end';
                grant execute on function public.asks() to public"
            ))
            .unwrap();
        let ways: [(&str, String, &str); 4] = [
            ("set", format!("set {setting} = {literal}"), "select auth.uid()"),
            ("set local", format!("set local {setting} = {literal}"), "select auth.uid()"),
            ("set_config", format!("select set_config('{setting}', {literal}, true)"), "select auth.uid()"),
            ("a function's SET clause", "select 1".into(), "select public.asks()"),
        ];
        for (way, set, ask) in ways {
            let what = format!("{way} {setting} = {value:.40}");
            let mut transaction = app.transaction().unwrap();
            transaction.batch_execute(&set).unwrap();
            let answer = transaction.query_one(ask, &[]).map(|row| row.get::<_, Option<Uuid>>(0));
            if is_bad_token {
                assert_refused(answer, "28000", "bad_jwt", &what);
            } else {
                assert_eq!(answer.unwrap(), None, "{what}");
            }
            transaction.rollback().unwrap();

            // While Bob acts: a bad token in the token's own place is refused, everything else leaves him Bob.
            let mut transaction = app.transaction().unwrap();
            transaction.execute("select auth.authenticate($1)", &[&bob.access_token]).unwrap();
            transaction.batch_execute(&set).unwrap();
            let answer = transaction.query_one(ask, &[]).map(|row| row.get::<_, Option<Uuid>>(0));
            if is_bad_token && setting == "auth.token" {
                assert_refused(answer, "28000", "bad_jwt", &what);
            } else {
                assert_eq!(answer.unwrap(), Some(bob.user_id), "{what}");
            }
            transaction.rollback().unwrap();
        }
    }
    // Names that we did not define stay undefined.
    for name in ["auth.uid", "auth.user_id", "auth.claims"] {
        assert_eq!(refused(app.batch_execute(&format!("set {name} = 'x'"))).sqlstate, "42602", "{name}");
    }
}

/// XJ5: a function's SET clause ends with the function; the definer's rights do not change who asks.
#[test]
fn a_function_has_its_token_to_itself() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    database
        .superuser()
        .batch_execute(
            "create function public.asks_as_owner() returns uuid language plpgsql security definer
                as 'begin return auth.uid(); end';
            grant execute on function public.asks_as_owner() to authenticated",
        )
        .unwrap();
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    transaction
        .batch_execute(&format!(
            "create function pg_temp.as_bob() returns uuid language plpgsql set auth.token = '{}'
                as 'begin return auth.uid(); end'",
            bob.access_token
        ))
        .unwrap();
    transaction.execute("select auth.authenticate($1)", &[&alice.access_token]).unwrap();
    let row =
        transaction.query_one("select auth.uid(), pg_temp.as_bob(), auth.uid(), public.asks_as_owner()", &[]).unwrap();
    let ids: Vec<Uuid> = (0..4).map(|place| row.get(place)).collect();
    assert_eq!(ids, [alice.user_id, bob.user_id, alice.user_id, alice.user_id]);
}

/// XJ8: unset, empty, reset and left over are all nobody, never an error.
#[test]
fn nothing_is_nobody() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut app = database.app();
    assert_nobody(&mut app, "a fresh connection");
    try_acting(&mut app, &ada.access_token, |transaction| uid(transaction)).unwrap();
    assert_eq!(text(&mut app, "select current_setting('app.user_id', true)").as_deref(), Some(""), "not null any more");
    assert_nobody(&mut app, "after a transaction-local value");
    for forget in ["set local auth.token = ''", "reset auth.token", "set auth.token to default", "reset all"] {
        let mut transaction = app.transaction().unwrap();
        carry(&mut transaction, &ada.access_token);
        assert_eq!(uid(&mut transaction).unwrap(), Some(ada.user_id));
        transaction.batch_execute(forget).unwrap();
        assert_eq!(uid(&mut transaction).unwrap(), None, "{forget}");
    }
    app.batch_execute(&format!("set auth.token = '{}'", ada.access_token)).unwrap();
    app.batch_execute("discard all").unwrap();
    assert_nobody(&mut app, "discard all");
    for setting in ["auth.token", "request.headers", "request.jwt.claims"] {
        let mut transaction = app.transaction().unwrap();
        transaction.batch_execute(&format!("set local {setting} = ''")).unwrap();
        assert_eq!(uid(&mut transaction).unwrap(), None, "{setting} is empty");
    }
}

fn authenticate(transaction: &mut Transaction<'_>, token: &str) -> Result<u64, postgres::Error> {
    transaction.execute("select auth.authenticate($1)", &[&token])
}

/// N06: ROLLBACK TO and RELEASE restore and keep the identity with its role, and revive nothing stale.
#[test]
fn identity_follows_savepoints() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    notes(&database, &[&alice, &bob]);
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    authenticate(&mut transaction, &alice.access_token).unwrap();
    assert_eq!(seen(&mut transaction).unwrap(), ["alice@example.org"]);

    let mut savepoint = transaction.transaction().unwrap();
    authenticate(&mut savepoint, &bob.access_token).unwrap();
    assert_eq!(seen(&mut savepoint).unwrap(), ["bob@example.org"]);
    savepoint.rollback().unwrap();
    assert_eq!(
        (uid(&mut transaction).unwrap(), seen(&mut transaction).unwrap()),
        (Some(alice.user_id), vec!["alice@example.org".into()])
    );

    let mut savepoint = transaction.transaction().unwrap();
    carry(&mut savepoint, "garbage");
    assert_refused(uid(&mut savepoint), "28000", "bad_jwt", "garbage after a savepoint");
    savepoint.rollback().unwrap();
    assert_eq!(uid(&mut transaction).unwrap(), Some(alice.user_id));

    let mut savepoint = transaction.transaction().unwrap();
    savepoint.execute("select auth.authenticate(null)", &[]).unwrap();
    assert!(seen(&mut savepoint).unwrap().is_empty());
    savepoint.rollback().unwrap();
    assert_eq!(seen(&mut transaction).unwrap(), ["alice@example.org"]);

    let mut savepoint = transaction.transaction().unwrap();
    authenticate(&mut savepoint, &bob.access_token).unwrap();
    savepoint.commit().unwrap();
    assert_eq!(uid(&mut transaction).unwrap(), Some(bob.user_id), "RELEASE keeps it");
    transaction.commit().unwrap();
    assert_nobody(&mut app, "after the transaction");

    // A stale token of the connection lies under the transaction's own: ROLLBACK TO must bring back its staleness too.
    app.batch_execute(&format!("set auth.token = '{}'", alice.access_token)).unwrap();
    let mut transaction = app.transaction().unwrap();
    assert_eq!(uid(&mut transaction).unwrap(), None);
    let mut savepoint = transaction.transaction().unwrap();
    authenticate(&mut savepoint, &bob.access_token).unwrap();
    assert_eq!(uid(&mut savepoint).unwrap(), Some(bob.user_id));
    savepoint.rollback().unwrap();
    assert_eq!(uid(&mut transaction).unwrap(), None, "the stale token was revived");
}

/// N06: an exception block takes back who its body acted as.
#[test]
fn identity_follows_exception_blocks() {
    let database = Cluster::shared().database();
    let (alice, bob) = alice_and_bob(&database);
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    transaction
        .batch_execute(
            "create function pg_temp.tries(token text, fails bool) returns text[] language plpgsql as $$
            declare inside uuid;
            begin
                begin
                    perform auth.authenticate(token);
                    inside := auth.uid();
                    if fails then raise division_by_zero; end if;
                exception when division_by_zero then
                    null;
                end;
                return array[inside::text, auth.uid()::text, current_user::text];
            end $$",
        )
        .unwrap();
    let (alice_id, bob_id) = (alice.user_id.to_string(), bob.user_id.to_string());
    authenticate(&mut transaction, &alice.access_token).unwrap();
    for (fails, expected) in [(true, [&bob_id, &alice_id]), (false, [&bob_id, &bob_id])] {
        let row = transaction.query_one("select pg_temp.tries($1, $2)", &[&bob.access_token, &fails]).unwrap();
        let ids: Vec<String> = row.get(0);
        assert_eq!(ids[..2].iter().collect::<Vec<_>>(), expected);
        assert_eq!(ids[2], "authenticated");
    }
}

/// N06: a procedure's COMMIT ends the identity in the middle of its statement.
#[test]
fn identity_ends_with_a_procedures_commit() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    for local in [true, false] {
        let mut app = database.app();
        app.batch_execute(&format!(
            "do $$ begin
                perform set_config('auth.token', '{}', {local});
                perform set_config('test.before', coalesce(auth.uid()::text, 'nobody'), false);
                commit;
                perform set_config('test.after', coalesce(auth.uid()::text, 'nobody'), false);
            end $$",
            ada.access_token
        ))
        .unwrap();
        let before = text(&mut app, "select current_setting('test.before')");
        assert_eq!(before, Some(ada.user_id.to_string()));
        assert_eq!(text(&mut app, "select current_setting('test.after')").as_deref(), Some("nobody"));
    }
}

/// N06: COMMIT AND CHAIN begins another transaction, and an identity does not go along.
#[test]
fn identity_ends_with_a_chained_commit() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut app = database.app();
    for (set, end) in [("set local", "commit"), ("set", "commit"), ("set local", "rollback"), ("set", "rollback")] {
        app.batch_execute(&format!("begin; {set} auth.token = '{}'", ada.access_token)).unwrap();
        assert_eq!(uid(&mut app).unwrap(), Some(ada.user_id));
        app.batch_execute(&format!("{end} and chain")).unwrap();
        assert_eq!(uid(&mut app).unwrap(), None, "{set}, {end} and chain");
        app.batch_execute("commit").unwrap();
    }
}

/// Nothing that shows settings shows the token: SHOW, current_setting, set_config's answer, pg_settings.
#[test]
fn no_setting_shows_the_token() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    let told: String =
        transaction.query_one("select set_config('auth.token', $1, true)", &[&ada.access_token]).unwrap().get(0);
    let mut shown = vec![told];
    shown.extend(text(&mut transaction, "show auth.token"));
    shown.extend(text(&mut transaction, "select current_setting('auth.token')"));
    shown.extend(text(&mut transaction, "select coalesce(string_agg(s::text, ''), '') from pg_settings as s"));
    shown.extend(
        transaction
            .query("show all", &[])
            .unwrap()
            .iter()
            .map(|row| row.get::<_, Option<String>>(1).unwrap_or_default()),
    );
    assert_eq!(uid(&mut transaction).unwrap(), Some(ada.user_id));
    assert!(shown.len() > 100);
    assert!(!shown.iter().any(|text| text.contains(&ada.access_token) || text.contains("eyJ")), "{shown:?}");
}

/// XJ6: no SET ROLE leads an app's login to a stronger role, before, while and after it acts for a user.
#[test]
fn no_way_to_a_stronger_role() {
    fn attempts(client: &mut Client, database: &Database, what: &str) {
        for role in ["service_role", "auth_owner", "auth_admin", "auth_sidecar", "postgres", "service", "admin"] {
            for sql in [
                format!("set role {role}"),
                format!("set local role {role}"),
                format!("select set_config('role', '{role}', false)"),
                format!("reset role; set role {role}"),
                format!("set session authorization {role}"),
                format!("reset session authorization; set role {role}"),
            ] {
                let mut transaction = client.transaction().unwrap();
                assert_eq!(refused(transaction.batch_execute(&sql)).sqlstate, "42501", "{what}: {sql}");
            }
            let option = format!("-c role={role}");
            let connected = Cluster::shared().try_connect(database.name(), "app", &option).map(drop);
            assert_eq!(refused(connected).sqlstate, "42501", "{what}: startup option for {role}");
        }
    }
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut app = database.app();
    attempts(&mut app, &database, "as the login");
    try_acting(&mut app, &ada.access_token, |transaction| uid(transaction)).unwrap();
    attempts(&mut app, &database, "after acting");
    for before in ["", "reset role;", "set local role anon;"] {
        for role in ["service_role", "auth_owner", "auth_admin", "postgres"] {
            let mut transaction = app.transaction().unwrap();
            authenticate(&mut transaction, &ada.access_token).unwrap();
            let tried = transaction.batch_execute(&format!("{before} set local role {role}"));
            assert_eq!(refused(tried).sqlstate, "42501", "while acting: {before} {role}");
        }
    }
}

/// Refusals leave no token in the server's log, whichever statement brought it.
#[test]
fn refusals_log_no_token() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut app = database.app();
    database.superuser().execute("delete from auth.sessions where id = $1", &[&ada.session_id]).unwrap();
    let mark = Cluster::shared().log_len();
    let (token, marker) = (&ada.access_token, canary());
    let bearer = json!({"authorization": format!("Bearer {token}")}).to_string();
    for sql in [
        format!("select auth.verify_token('{token}')"),
        format!("begin; select auth.authenticate('{token}')"),
        format!("begin; set local auth.token = '{token}'; select auth.uid()"),
        format!("begin; set local auth.token = '{token}'; select 1/0"),
        format!("begin; set local request.headers = '{bearer}'; select auth.uid()"),
        format!("do $$ begin perform set_config('auth.token', '{token}', true); perform auth.uid(); end $$"),
        format!("do $$ begin perform set_config('request.headers', '{bearer}', true); perform auth.uid(); end $$"),
        format!("select auth.refresh('{}')", ada.refresh_token),
    ] {
        refused(app.batch_execute(&sql));
        app.batch_execute("rollback").unwrap();
    }
    refused(app.execute("select auth.verify_token($1)", &[token]));
    // The marker shows that the log is written: at default settings a failing statement is.
    refused(app.batch_execute(&format!("select {marker}")));
    let log = Cluster::shared().log_since(mark);
    assert!(log.contains(&marker));
    for secret in [token.as_str(), token.split('.').nth(2).unwrap(), ada.refresh_token.as_str()] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "in the log: {lines:#?}");
    }
    assert_eq!(count(&mut app, "select 1::bigint"), 1);
}
