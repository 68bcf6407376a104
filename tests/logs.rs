//! The server's log, told to write everything it can: no call of ours leaves a secret in it, other people's statements are
//! there as ever, and what cannot be helped is the table of docs/security.md and nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use auth_harness::{Client, Cluster, acting, canary, refused, sign_up, wait_until};

use crate::logs_stage::{Logs, canaries, send, send_extended};

const PASSWORD: &str = "correct horse battery";
const HIDDEN: &str = "<hidden by extension auth: it may hold a secret>";

/// What a server may be told to log; each is set for the app's login. And whether it then logs a statement that succeeds.
const SETTINGS: &[(&str, &[&str], bool)] = &[
    ("default settings", &[], false),
    ("log_statement", &["log_statement = 'all'"], true),
    ("log_min_duration_statement", &["log_min_duration_statement = 0"], true),
    ("log_duration", &["log_statement = 'all'", "log_duration = on", "log_min_duration_statement = 0"], true),
    (
        "parameters",
        &["log_statement = 'all'", "log_parameter_max_length = -1", "log_parameter_max_length_on_error = -1"],
        true,
    ),
    (
        "parameters with the duration",
        &["log_min_duration_statement = 0", "log_parameter_max_length = -1", "log_error_verbosity = 'verbose'"],
        true,
    ),
    (
        "samples",
        &["log_transaction_sample_rate = 1", "log_min_duration_sample = 0", "log_statement_sample_rate = 1"],
        true,
    ),
    ("debug5", &["log_statement = 'all'", "log_min_messages = 'debug5'", "log_min_error_statement = 'debug5'"], true),
    (
        "trees",
        &["debug_print_parse = on", "debug_print_rewritten = on", "debug_print_plan = on", "debug_pretty_print = off"],
        false,
    ),
    (
        "pretty trees and statistics",
        &[
            "debug_print_parse = on",
            "debug_print_plan = on",
            "log_parser_stats = on",
            "log_planner_stats = on",
            "log_executor_stats = on",
            "log_lock_waits = on",
            "log_temp_files = 0",
        ],
        false,
    ),
    (
        "auto_explain",
        &[
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_nested_statements = on",
            "auto_explain.log_analyze = on",
            "auto_explain.log_verbose = on",
        ],
        true,
    ),
    (
        "auto_explain as JSON",
        &[
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_nested_statements = on",
            "auto_explain.log_format = 'json'",
            "auto_explain.log_level = 'notice'",
            "log_min_messages = 'notice'",
        ],
        true,
    ),
];

/// The messages of the simple protocol that make up one call; {call} is the expression that takes the secret.
const FORMS: &[&[&str]] = &[
    &["select {call}"],
    &["select 1; select {call}; select 2"],
    &["explain (analyze, verbose) select {call}"],
    &["begin; declare c cursor for select {call}; fetch c; commit"],
    &["begin; declare c cursor for select {call}", "fetch c", "close c", "commit"],
    &["create temp table t as select {call} as a; drop table t"],
    &["with w as materialized (select {call} as a) select count(*) from w"],
    &["prepare p as select {call}", "execute p"],
    &["do $$ begin perform {call}; end $$"],
    &["do $$ begin execute $q$ select {call} $q$; end $$"],
    &["begin; savepoint s; select {call}; rollback to s; select 1; commit"],
];

/// The expression, and the SQLSTATE that it ends in.
const CALLS: &[(&str, &str)] = &[
    ("auth.sign_in('{email}', '{secret}')", ""),
    ("\"auth\" . \"sign_in\" /* so */ ('{email}', '{secret}')", ""),
    ("auth.sign_in('known@example.org', '{secret}')", "28P01"),
    ("auth.sign_in('{email}', '{secret}')::text || 1 / (select count(*) from pg_class where false)", "22012"),
    ("auth.sign_in('{email}', '{secret}'::uuid::text)", "22P02"),
    ("auth.sign_in('{email}', \"{secret}\")", "42703"),
    ("auth.sign_in('{email}', '{secret}', '{}', 1)", "42883"),
    ("auth.sign_in('{email}', '{secret}') {secret} {secret}", "42601"),
    ("auth.sign_in('{email}', '{secret}'", "42601"),
];

/// Other calls, and a token in settings.
const OTHERS: &[&[&str]] = &[
    &["select auth.sign_up('{secret}@example.org', 'password {secret}')"],
    &["select auth.refresh('{secret}')"],
    &["select auth.verify_sms_otp('+4915112345678', '{secret}')"],
    &["select auth.verify_sms_otp('{secret}', '{secret}', '{}', 1)"],
    &["select auth.confirm_sms(gen_random_uuid(), '{secret}')"],
    &["select auth.send_mfa_sms('{secret}')"],
    &["select auth.challenge_webauthn('{secret}')"],
    &["select auth.verify_webauthn('{secret}', '{\"id\": \"{secret}\"}')"],
    &["select auth.enroll_webauthn('my key', '{\"current_password\": \"{secret}\"}')"],
    &["select auth.enroll_totp('app', '{\"current_password\": \"{secret}\"}')"],
    &["select auth.start_passkey_registration('{\"current_password\": \"{secret}\"}')"],
    &["select auth.update_phone('+4915112345678', '{secret}')"],
    &["select auth.enroll_sms('+4915112345678', '{\"current_password\": \"{secret}\"}')"],
    &["select auth.verify_token('{secret}')"],
    &["begin; select auth.authenticate('{secret}')"],
    &["select auth.authenticate_session('{secret}')"],
    &["begin; set local auth.token = '{secret}'; select auth.uid()"],
    &["set \"auth\" . \"token\" to '{secret}'"],
    &["begin", "set local auth.token = '{secret}'", "select auth.uid()"],
    &["begin; select set_config('auth.token', '{secret}', true), set_config('request.headers', '{secret}', true)"],
    &["select auth.import_signing_key('{\"kty\": \"oct\", \"k\": \"{secret}{secret}\"}')"],
    &["select auth.import_signing_key('{\"kty\": {secret}}')"],
    &["select auth.import_signing_key('{secret}')"],
    // Found by what was prepared.
    &["prepare p as select auth.sign_in($1, $2)", "execute p('{email}', '{secret}')"],
    &["prepare p as select auth.sign_in($1, $2)", "explain analyze execute p('{email}', '{secret}')"],
    &[
        "prepare \"P\" as select auth.sign_in($1, $2)",
        "create temp table t as execute \"P\"('known@example.org', '{secret}')",
    ],
    &["prepare p as select auth.sign_in($1, $2)", "execute p('{secret}')"],
    &["prepare p as select auth.sign_in($1, $2)", "execute p('{email}', '{secret}'"],
    // The answer's tokens are in the row that fails.
    &[
        "create temp table t (a jsonb, s text, b int not null)",
        "insert into t select auth.sign_in('{email}', '{secret}'), '{secret}', null",
    ],
];

/// XK1, XK2, XK3, XK8, N08, F033: whatever is logged in whatever form, each call in each protocol, answered, refused and failing
/// before or after: the secret is in none of the three logs. What others run is, every time.
#[test]
fn no_log_setting_writes_a_secret() {
    let mut logs = Logs::start();
    for (name, settings, logs_statements) in SETTINGS {
        let (marks, mut client) = (logs.marks(), logs.set(settings));
        let mut cells = BTreeMap::new();
        let mut controls = Vec::new();
        let fill = |text: &str, email: &str, secret: &str| text.replace("{email}", email).replace("{secret}", secret);
        for form in FORMS {
            for (call, expected) in CALLS {
                let secret = canary();
                let email = logs.person(&secret);
                let messages: Vec<String> =
                    form.iter().map(|message| fill(&message.replace("{call}", call), &email, &secret)).collect();
                let sqlstate = send(&mut client, &messages);
                // A text cut off inside another is refused by whoever reads it.
                assert!(sqlstate == *expected || expected.starts_with("42"), "{name}: {messages:?}: {sqlstate}");
                cells.insert(secret, messages.join("; "));
            }
        }
        for form in OTHERS {
            let secret = canary();
            let email = logs.person(&secret);
            let messages: Vec<String> = form.iter().map(|message| fill(message, &email, &secret)).collect();
            send(&mut client, &messages);
            cells.insert(secret, messages.join("; "));
        }
        let (secret, wrong) = (canary(), canary());
        let email = logs.person(&secret);
        send_extended(&mut client, &email, &secret, &wrong);
        cells.insert(secret, "extended, answered".to_owned());
        cells.insert(wrong, "extended, refused".to_owned());
        // Other people's statements, some of which sound like ours.
        for statement in [
            "insert into refresh_log (note) values ('{secret}')",
            "refresh materialized view v /* {secret} */",
            "select 'sign_in', '{secret}'",
        ] {
            let control = canary();
            client.batch_execute(&statement.replace("{secret}", &control)).unwrap();
            // An utility statement has no plan.
            if *logs_statements && !(name.starts_with("auto_explain") && statement.starts_with("refresh")) {
                controls.push((control, statement));
            }
        }
        // An error in an authenticated transaction is its own: the token was set by an earlier statement.
        let person = auth_harness::sign_in(&mut client, "known@example.org", PASSWORD);
        let control = canary();
        acting(&mut client, &person.access_token, |transaction| {
            refused(transaction.batch_execute(&format!("select auth.uid(), '{control}', 1 / 0")));
        });
        controls.push((control, "an error"));
        for (file, text) in ["stderr", "csvlog", "jsonlog"].iter().zip(logs.since(&marks)) {
            let found = canaries(&text);
            let leaks: Vec<&String> = found.iter().filter_map(|secret| cells.get(secret)).collect();
            assert!(leaks.is_empty(), "{name}, {file}: {leaks:#?}");
            let lost: Vec<_> = controls.iter().filter(|(control, _)| !found.contains(control)).collect();
            assert!(lost.is_empty(), "{name}, {file}: not logged: {lost:?}");
            assert!(!text.contains(&person.access_token) && !text.contains(&person.refresh_token), "{name}, {file}");
            assert!(!text.contains("$argon2id$"), "{name}, {file}: a stored hash");
            assert!(text.contains(HIDDEN), "{name}, {file}: something was hidden");
        }
    }
}

/// A report stays recognisable: what kind of line it is, how long it took, which error; and the client reads all of its own.
#[test]
fn hidden_lines_say_what_they_are() {
    let logs = Logs::start();
    let all = ["log_statement = 'all'", "log_min_duration_statement = 0", "log_parameter_max_length = -1"];
    let (marks, mut client) = (logs.marks(), logs.set(&all));
    client.batch_execute("prepare p as select auth.sign_in($1, $2)").unwrap();
    client.batch_execute("execute p('known@example.org', 'correct horse battery')").unwrap();
    client.query("select auth.sign_in('known@example.org', $1)", &[&PASSWORD]).unwrap();
    let wrong = refused(client.batch_execute("select auth.sign_in('known@example.org', 'wrong')"));
    assert_eq!((wrong.code.as_str(), wrong.message.as_str()), ("invalid_credentials", "invalid sign-in credentials"));
    let broken = refused(client.batch_execute("select auth.sign_in('known@example.org', '', '{x}')"));
    assert_eq!(broken.code, "Token \"x\" is invalid.");
    let broken = refused(client.batch_execute("select auth.sign_in('a', '12-x'::uuid::text)"));
    assert_eq!(broken.message, format!("invalid input syntax for type uuid: \"{HIDDEN}\""));
    let text = &logs.since(&marks)[0];
    for line in [
        &format!("LOG:  statement: {HIDDEN}"),
        &format!("DETAIL:  prepare: {HIDDEN}"),
        &format!("DETAIL:  parameters: {HIDDEN}"),
        "ERROR:  invalid sign-in credentials",
        "DETAIL:  invalid_credentials",
        &format!("DETAIL:  {HIDDEN}"),
        &format!("ERROR:  invalid input syntax for type uuid: \"{HIDDEN}\""),
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let named = |line: &str| {
        let (before, after) = line.split_once(": <hidden").unwrap_or_else(|| panic!("not hidden: {line}"));
        assert!(HIDDEN.ends_with(after), "{line}");
        before.rsplit_once("  ").unwrap().1.to_owned()
    };
    for kind in ["parse s", "bind s"] {
        let line = text.lines().find(|line| line.contains(kind)).unwrap();
        let duration = line.split_once("duration: ").unwrap().1.split_once(" ms  ").unwrap().0;
        assert!(duration.parse::<f64>().is_ok() && named(line).starts_with(kind), "{line}");
    }
    assert!(named(text.lines().find(|line| line.contains("LOG:  execute s")).unwrap()).starts_with("execute s"));
}

/// What others' processes print of a backend: the deadlock's detail, and the line about one that was killed, also where the
/// statement waits before our code runs.
#[test]
fn other_processes_print_no_secret_either() {
    let logs = Logs::start();
    let mut root = logs.database.superuser();
    root.batch_execute("create table one (); create table two (); grant all on one, two to app").unwrap();
    let (secret, marks) = (canary(), logs.marks());
    let statement = format!("select auth.sign_in('known@example.org', '{secret}') from one");
    let waits = |root: &mut Client| {
        let waiting = "select count(*) from pg_locks where not granted and relation = 'one'::regclass";
        wait_until("the call to wait", || root.query_one(waiting, &[]).unwrap().get::<_, i64>(0) == 1);
    };
    std::thread::scope(|scope| {
        root.batch_execute("begin; lock table one").unwrap();
        let mut app = logs.database.app();
        app.batch_execute("begin; lock table two").unwrap();
        let call = scope.spawn(move || {
            let _ = app.batch_execute(&statement);
        });
        let mut watcher = logs.database.superuser();
        waits(&mut watcher);
        root.batch_execute("set local deadlock_timeout = '1ms'").unwrap();
        let deadlock = refused(root.batch_execute("lock table two"));
        assert_eq!(deadlock.sqlstate, "40P01");
        root.batch_execute("rollback").unwrap();
        call.join().unwrap();
    });
    let text = logs.since(&marks).concat();
    assert!(text.contains("deadlock detected") && text.contains("waits for AccessExclusiveLock"));
    assert!(!text.contains(&secret), "{text}");

    let statement = format!("select auth.sign_in('known@example.org', '{secret}') from one");
    root.batch_execute("begin; lock table one").unwrap();
    let mut app = logs.database.app();
    let process: i32 = app.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    std::thread::scope(|scope| {
        let call = scope.spawn(move || app.batch_execute(&statement).is_err());
        waits(&mut logs.database.superuser());
        assert!(std::process::Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
        assert!(call.join().unwrap());
    });
    wait_until("the server to recover", || {
        logs.read(&marks)[0].contains("ready to accept connections")
            && logs.cluster.try_connect("postgres", "postgres", "").is_ok()
    });
    let text = logs.since(&marks).concat();
    assert!(text.contains(&format!("Failed process was running: {HIDDEN}")), "{text}");
    assert!(!text.contains(&secret), "{text}");
}

/// What can still be read in a log: how docs/security.md names it, the settings, what is sent, and the setting of ours that
/// helps, if one does.
type Known = (&'static str, &'static [&'static str], &'static [&'static str], Option<&'static str>);
const KNOWN: &[Known] = &[
    ("a misspelt function", &[], &["select auth.sing_in('known@example.org', '{secret}')"], None),
    (
        "a name made at run time",
        &["log_statement = 'all'"],
        &["do $$ begin execute format('select auth.%I(%L, %L)', 'sign_in', 'a', '{secret}'); end $$"],
        None,
    ),
    (
        "a function of the app",
        &["log_statement = 'all'"],
        &["select log_in('known@example.org', '{secret}')"],
        Some("public.log_in, other"),
    ),
    (
        "the tree of a function of the app",
        &["debug_print_parse = on"],
        &["select log_in('known@example.org', '{secret}')"],
        Some("other,LOG_IN"),
    ),
    ("a message of the app's own code", &[], &["select complain('person@example.org', '{password}')"], None),
    (
        "a secret in another statement",
        &["log_statement = 'all'"],
        &["insert into refresh_log (note) values ('{secret}')"],
        None,
    ),
];

/// The table of docs/security.md is true: each of these is really in the log, so that a row that is no longer needed goes;
/// and where a setting helps, it does.
#[test]
fn what_logs_can_still_show_is_documented() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/security.md")).unwrap();
    let section = page.split("## What logs can still show").nth(1).unwrap().split("\n## ").next().unwrap();
    let told: Vec<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).skip(1).collect();
    let known: Vec<&str> = KNOWN.iter().map(|(name, ..)| *name).collect();
    assert_eq!(told, known);
    let logs = Logs::start();
    let is_shown = |settings: &[&str], messages: &[&str]| {
        let (secret, marks, mut client) = (canary(), logs.marks(), logs.set(settings));
        let password = format!("password {secret}");
        logs.database.superuser().batch_execute("delete from auth.users where email <> 'known@example.org'").unwrap();
        sign_up(&mut logs.database.connect("other"), "person@example.org", &password);
        let filled = |message: &&str| message.replace("{secret}", &secret).replace("{password}", &password);
        send(&mut client, &messages.iter().map(filled).collect::<Vec<_>>());
        logs.since(&marks).iter().all(|file| canaries(file).contains(&secret))
    };
    for (name, settings, messages, help) in KNOWN {
        assert!(is_shown(settings, messages), "{name}: no longer shown");
        if let Some(functions) = help {
            logs.cluster.maintain(&format!("alter system set auth.secret_functions = '{functions}'"));
            logs.cluster.maintain("select pg_reload_conf()");
            let mut root = logs.database.superuser();
            wait_until("the setting", || {
                root.query_one("show auth.secret_functions", &[]).unwrap().get::<_, String>(0) == *functions
            });
            assert!(!is_shown(settings, messages), "{name}: auth.secret_functions does not help");
            logs.cluster.maintain("alter system reset auth.secret_functions");
            logs.cluster.maintain("select pg_reload_conf()");
            wait_until("the setting", || {
                root.query_one("show auth.secret_functions", &[]).unwrap().get::<_, String>(0).is_empty()
            });
        }
    }
}

/// Every function of ours with an argument that sounds like a secret is known to the hook: a call that never gets as far as
/// running is hidden by its name.
#[test]
fn every_function_that_takes_a_secret_is_known() {
    let cluster = Cluster::shared();
    let database = cluster.database().without_limits();
    let mut root = database.superuser();
    let rows = root
        .query(
            "select p.proname::text from pg_proc as p
            where p.pronamespace = 'auth'::regnamespace
                and p.proargnames[:p.pronargs] && array['password', 'token', 'refresh_token', 'jwk', 'code', 'secret', 'otp', 'key', 'nonce',
                    'new_password', 'current_password', 'code_verifier']
            group by 1 order by 1",
            &[],
        )
        .unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(names.len() >= 15, "{names:?}");
    for name in names {
        let (secret, mark) = (canary(), cluster.log_len());
        let many = ", 1".repeat(20);
        refused(root.batch_execute(&format!("select auth.{name}('{secret}'{many})")));
        assert!(!cluster.log_since(mark).contains(&secret), "auth.{name}");
    }
}
