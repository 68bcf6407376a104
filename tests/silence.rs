//! The server's log at default settings: a refusal raises an error and says nothing that was secret.

use auth_harness::{Client, Cluster, canary, refused, sign_up};

const PASSWORD: &str = "correct horse battery";

/// What is sent, with {secret} where the secret stands, and the SQLSTATE that it is refused with.
const STATEMENTS: &[(&str, &str)] = &[
    ("select auth.sign_in('known@example.org', '{secret}')", "28P01"),
    ("select auth.sign_in('unknown@example.org', '{secret}')", "28P01"),
    ("select auth.sign_up('known@example.org', '{secret}')", "23505"),
    ("select auth.sign_up('weak@example.org', left('{secret}', 3) || '')", "22023"),
    ("select auth.sign_up('long@example.org', repeat('{secret}', 9))", "22023"),
    ("select auth.sign_up('nonsense', '{secret}')", "22023"),
    ("select auth.sign_up('a@x.io', '{secret}', '[]')", "22023"),
    ("select auth.sign_up('a@x.io', '{secret}', '{}', '{\"unknown\": 1}')", "22023"),
    ("select auth.sign_up(null, '{secret}')", "22023"),
    ("select auth.refresh('{secret}')", "28000"),
    ("select auth.verify_token('{secret}')", "28000"),
    ("begin; select auth.authenticate('{secret}')", "28000"),
    ("select auth.authenticate('{secret}')", "25P01"),
    ("select auth.authenticate_session('{secret}')", "55000"),
    ("set auth.token = '{secret}'; select auth.uid()", "28000"),
    (
        "begin; set local auth.token = '{secret}'; select 1 / (select count(*) from (select auth.uid()) u where false)",
        "22012",
    ),
    // Refused before our function has begun.
    ("select auth.sign_up('a@x.io', '{secret}', '{}', '{}', 'one too many')", "42883"),
    ("select auth.sign_in(email => 'a@x.io', pasword => '{secret}')", "42883"),
    ("select auth.sign_in('a@x.io', '{secret}'", "42601"),
    ("select auth.sign_in('a@x.io', '{secret}') from", "42601"),
    ("select auth.sign_up('a@x.io', '{secret}', 'no json')", "22P02"),
    ("select auth.sign_in('a@x.io', '{secret}' || no_such_column)", "42703"),
    ("select AUTH.Sign_In('a@x.io', '{secret}', 1)", "42883"),
    // However it is written.
    ("select \"auth\".\"sign_in\"('known@example.org', '{secret}')", "28P01"),
    ("select auth.U&\"sign\\005fin\"('known@example.org', '{secret}')", "28P01"),
    ("select auth . sign_in ( 'known@example.org' , $${secret}$$ )", "28P01"),
    ("set search_path = auth; select sign_in('known@example.org', '{secret}')", "28P01"),
    ("select 1; select auth.sign_in('known@example.org', '{secret}'); select 2", "28P01"),
    ("select auth.sign_up('first@example.org', '{secret}'); select 1 / 0", "22012"),
    ("select auth.sign_up('second@example.org', '{secret}') -> 'user' ->> 'id' || (1 / (select 0))", "22012"),
    ("explain analyze select auth.sign_in('known@example.org', '{secret}')", "28P01"),
    ("begin; declare c cursor for select auth.sign_in('known@example.org', '{secret}'); fetch c", "28P01"),
    ("create temp table t as select auth.sign_in('known@example.org', '{secret}')", "28P01"),
    ("prepare p as select auth.sign_in($1, $2); execute p('known@example.org', '{secret}')", "28P01"),
    // In other languages: the context and the inner query are no place for it either.
    ("do $$ begin perform auth.sign_in('known@example.org', '{secret}'); end $$", "28P01"),
    ("do $$ begin perform auth.sign_in('known@example.org', '{secret}', 1); end $$", "42883"),
    ("do $$ begin execute 'select auth.sign_in(''known@example.org'', ''{secret}'')'; end $$", "28P01"),
    ("do $$ begin execute 'select auth.sign_in(''known@example.org'', ''{secret}'''; end $$", "42601"),
    ("do $$ declare p text := '{secret}'; begin perform auth.sign_in('known@example.org', p); end $$", "28P01"),
    ("select log_in('known@example.org', '{secret}')", "28P01"),
    ("select log_in_as('known@example.org', '{secret}')", "28P01"),
];

/// Simple protocol, as psql sends it.
fn send(client: &mut Client, statement: &str) -> String {
    let refusal = refused(client.batch_execute(statement));
    let _ = client.batch_execute("rollback; reset all; deallocate all");
    refusal.sqlstate
}

/// N08, XC14, XB2: refused with the secret as a literal, whichever way the call is written and wherever it fails, the log of
/// a server with default settings does not have it. The error itself is there, and so are other people's statements.
#[test]
fn no_secret_reaches_the_log() {
    let cluster = Cluster::shared();
    let database = cluster.database().without_limits();
    let mut app = database.app();
    sign_up(&mut app, "known@example.org", PASSWORD);
    database
        .superuser()
        .batch_execute(
            "create function log_in(email text, password text) returns jsonb language plpgsql as
                $$ begin return auth.sign_in(email, password); end $$;
            create function log_in_as(email text, password text) returns jsonb language plpgsql as
                $$ declare answer jsonb; begin
                    execute format('select auth.sign_in(%L, %L)', email, password) into answer; return answer;
                end $$",
        )
        .unwrap();
    let mut leaks = Vec::new();
    for (statement, sqlstate) in STATEMENTS {
        let (secret, control) = (canary(), canary());
        let mark = cluster.log_len();
        let answered = send(&mut app, &statement.replace("{secret}", &secret));
        assert_eq!(answered, *sqlstate, "{statement}");
        send(&mut app, &format!("select '{control}', 1 / 0"));
        let log = cluster.log_since(mark);
        assert!(log.contains(&control), "{statement}: the next statement is logged as ever");
        leaks.extend(log.lines().filter(|line| line.contains(&secret)).map(|line| format!("{statement}: {line}")));
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
    // As bound parameters.
    let (secret, mark) = (canary(), cluster.log_len());
    refused(app.execute("select auth.sign_in('known@example.org', $1)", &[&secret]));
    refused(app.execute("select auth.sign_in('known@example.org', $1)", &[&format!("{secret}\0")]));
    refused(app.execute("select auth.sign_up('known@example.org', $1)", &[&secret]));
    assert!(!cluster.log_since(mark).contains(&secret));
}

/// XC14: a second sign-up with an address shows that address to nobody: not in the error, not in the log.
#[test]
fn a_duplicate_address_is_not_shown() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let mut app = database.app();
    let (email, second) = (format!("{}@example.org", canary()), format!("{}@example.org", canary()));
    let person = sign_up(&mut app, &email, PASSWORD);
    // Also where another account has it as a second address.
    database
        .superuser()
        .execute("insert into auth.email_addresses (user_id, address) values ($1, $2)", &[&person.user_id, &second])
        .unwrap();
    for taken in [&email, &second] {
        let mark = cluster.log_len();
        let error = app.execute("select auth.sign_up($1, $2)", &[taken, &PASSWORD]).unwrap_err();
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        let refusal = refused::<()>(Err(error));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("23505", "email_exists"));
        refused(app.batch_execute(&format!("select auth.sign_up('{taken}', '{PASSWORD}')")));
        let log = cluster.log_since(mark);
        assert!(log.contains("an account with this e-mail address exists"));
        assert!(!log.contains(taken.as_str()), "{log}");
    }
    let users: i64 = database.superuser().query_one("select count(*) from auth.users", &[]).unwrap().get(0);
    assert_eq!(users, 1);
}

/// F033: auth.literal_passwords warns of a password that is written into the statement, or refuses it before any work, however
/// it is quoted; one that is bound passes, in every protocol and plan.
#[test]
fn literal_passwords_are_refused_where_that_is_asked_for() {
    // A server of its own: hashes are counted, and other tests hash too.
    let cluster = Cluster::start();
    let database = cluster.database();
    let mut root = database.superuser();
    let password = "it's a $ecret of mine";
    sign_up(&mut database.app(), "known@example.org", password);
    let literal = [
        "select auth.sign_in('known@example.org', 'it''s a $ecret of mine')",
        "select auth.sign_in('known@example.org', $x$it's a $ecret of mine$x$)",
        "select auth.sign_in('known@example.org', e'it''s a $ecret of mine')",
        "do $$ begin perform auth.sign_in('known@example.org', 'it''s a $ecret of mine'); end $$",
        "do 'begin perform auth.sign_in(''known@example.org'', ''it''''s a $ecret of mine''); end'",
        "prepare p as select auth.sign_in($1, $2); execute p('known@example.org', 'it''s a $ecret of mine'); deallocate p",
        "with w as (delete from auth.users where email = 'x' returning 1) select auth.sign_in('known@example.org', 'it''s a $ecret of mine')",
    ];
    let hashes = |client: &mut Client| {
        client.query_one("select auth.gate_status() ->> 'hashes'", &[]).unwrap().get::<_, String>(0)
    };
    for (level, is_refused) in [("allow", false), ("warn", false), ("reject", true)] {
        root.batch_execute(&format!("set auth.literal_passwords = '{level}'")).unwrap();
        for statement in literal {
            let (before, mark) = (hashes(&mut root), cluster.log_len());
            match root.batch_execute(statement) {
                Ok(()) => assert!(!is_refused, "{level}: {statement}"),
                Err(error) => {
                    let refusal = refused::<()>(Err(error));
                    assert_eq!(
                        (refusal.sqlstate.as_str(), refusal.code.as_str()),
                        ("22023", "validation_failed"),
                        "{statement}"
                    );
                    assert!(
                        is_refused && refusal.hint.is_some_and(|hint| hint.contains("$1, $2")),
                        "{level}: {statement}"
                    );
                    let _ = root.batch_execute("deallocate all");
                }
            }
            assert_eq!(
                cluster.log_since(mark).contains("WARNING:  the password is written"),
                level == "warn",
                "{statement}"
            );
            assert!(!is_refused || before == hashes(&mut root), "{statement}: no hash was run");
            assert!(!cluster.log_since(mark).contains("ecret of mine"));
        }
        let sign_up = "select auth.sign_up('new@example.org', 'another password')";
        assert_eq!(root.batch_execute(sign_up).is_err(), is_refused, "{level}: sign_up");
        root.batch_execute("delete from auth.users where email = 'new@example.org'").unwrap();
        let call = "select auth.sign_in($1, $2)";
        root.query(call, &[&"known@example.org", &password]).unwrap();
        root.query("select auth.sign_in('known@example.org', $1) /* $ecret 'quoted' */", &[&password]).unwrap();
        let prepared = root.prepare(call).unwrap();
        for _ in 0..7 {
            root.query(&prepared, &[&"known@example.org", &password]).unwrap();
        }
        // Not given, and too short to tell: judged as ever.
        assert_eq!(refused(root.query("select auth.sign_in('a', '')", &[])).code, "invalid_credentials");
        assert_eq!(refused(root.query("select auth.sign_up('b@example.org', $1)", &[&"b"])).code, "weak_password");
    }
    assert_eq!(refused(database.app().batch_execute("set auth.literal_passwords = 'allow'")).sqlstate, "42501");
}
