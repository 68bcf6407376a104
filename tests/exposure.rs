//! Secrets in other places than the log: what other sessions see, what statistics keep, the memory of a backend, and every
//! kind of copy of the database.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use auth_harness::{Client, Cluster, Person, canary, json, refused, sign_in, sign_up, wait_until};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

const HIDDEN: &str = "<hidden by extension auth: it may hold a secret>";

/// What every login may see of all backends, and what an operator may.
fn seen(watchers: &mut [Client]) -> String {
    let all = "select coalesce(string_agg(a::text, ' '), '') from pg_stat_activity as a where pid <> pg_backend_pid()";
    watchers.iter_mut().map(|watcher| watcher.query_one(all, &[]).unwrap().get::<_, String>(0)).collect()
}

/// XK4: while the call runs, held by a lock that a hook of the app waits for, and after it, answered, refused or failed
/// before it began, neither the same login nor pg_monitor nor a superuser reads the literal.
#[test]
fn no_literal_is_shown_as_activity() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let mut root = database.superuser();
    root.batch_execute(
        "do $$ begin create role watcher login in role pg_monitor; exception when duplicate_object then end $$;
        create role hold_owner_of_activity; grant create on schema public to hold_owner_of_activity;
        create function public.hold(event jsonb) returns jsonb language plpgsql as
            $$ begin perform pg_advisory_xact_lock(4711); return null; end $$;
        alter function public.hold owner to hold_owner_of_activity;
        create function public.join_us(email text, password text) returns jsonb language plpgsql as
            $$ begin return auth.sign_up(email, password); end $$;
        select auth.add_hook('before_user_created', 'public.hold')",
    )
    .unwrap();
    let mut watchers = [database.app(), database.connect("watcher"), database.superuser()];
    for (form, fails) in [
        ("select auth.sign_up('a@example.org', '{secret}')", false),
        ("select auth.sign_up('b@example.org', $${secret}$$)", false),
        ("select public.join_us('c@example.org', '{secret}')", false),
        ("do $$ begin perform auth.sign_up('d@example.org', '{secret}'); end $$", false),
        ("prepare p as select auth.sign_up($1, $2); execute p('e@example.org', '{secret}')", false),
        ("select auth.sign_up('f@example.org', '{secret}'), 1 / 0 from pg_class limit 1", true),
    ] {
        let (secret, mut app) = (canary(), database.app());
        let statement = form.replace("{secret}", &secret);
        root.batch_execute("select pg_advisory_lock(4711)").unwrap();
        std::thread::scope(|scope| {
            let call = scope.spawn(|| app.batch_execute(&statement).is_err());
            let waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = 4711";
            if !fails {
                wait_until(form, || root.query_one(waiting, &[]).unwrap().get::<_, i64>(0) == 1);
                let during = seen(&mut watchers);
                assert!(during.contains(HIDDEN) && !during.contains(&secret), "{form}: {during}");
            }
            root.batch_execute("select pg_advisory_unlock(4711)").unwrap();
            assert_eq!(call.join().unwrap(), fails, "{form}");
        });
        assert!(!seen(&mut watchers).contains(&secret), "{form}: idle");
    }
    // What fails before our code runs stays in the view until the next statement.
    for form in ["select auth.sign_up('a@example.org', '{secret}'", "select auth.sign_up('{secret}', 1, 2, 3, 4, 5)"] {
        let (secret, mut app) = (canary(), database.app());
        refused(app.batch_execute(&form.replace("{secret}", &secret)));
        assert!(!seen(&mut watchers).contains(&secret), "{form}");
    }
    // Others' statements are shown.
    let (control, mut app) = (canary(), database.app());
    app.batch_execute(&format!("select '{control}'")).unwrap();
    assert!(seen(&mut watchers).contains(&control));
}

/// XK5: pg_stat_statements keeps a SELECT without its literals, in both protocols. The forms that docs/security.md names keep
/// them, unless utility statements are not tracked.
#[test]
fn statistics_keep_no_literal_of_a_select() {
    const CALL: &str = "auth.sign_in('known@example.org', '{secret}')";
    const CLEAN: &[&str] = &[
        "select {call}",
        "select 1; select {call}; select 2",
        "with w as materialized (select {call} as a) select * from w",
        "prepare p as select auth.sign_in($1, $2); execute p('known@example.org', '{secret}')",
        "select public.log_in('known@example.org', '{secret}')",
    ];
    const KEPT: &[&str] = &[
        "do $$ begin perform {call}; end $$",
        "begin; declare c cursor for select {call}; fetch c; commit",
        "explain analyze select {call}",
        "create temp table t as select {call} as a",
        "copy (select {call}) to '/dev/null'",
        "begin; set local auth.token = '{secret}'; commit",
    ];
    let cluster = Cluster::builder().setting("shared_preload_libraries", "pg_stat_statements,auth").start();
    let database = cluster.database();
    let mut root = database.superuser();
    root.batch_execute(
        "create extension pg_stat_statements;
        create function public.log_in(email text, password text) returns jsonb language plpgsql as
            $$ begin return auth.sign_in(email, password); end $$",
    )
    .unwrap();
    let mut is_kept = |form: &str, settings: &str| {
        let secret = canary();
        sign_up(&mut database.app(), "known@example.org", &secret);
        let mut client = database.connect("postgres");
        client.batch_execute(settings).unwrap();
        client.batch_execute(&form.replace("{call}", CALL).replace("{secret}", &secret)).unwrap();
        let _ = client.query(&format!("select auth.sign_in('known@example.org', '{secret}')"), &[]);
        let kept = "select count(*) from pg_stat_statements where query like '%' || $1 || '%'";
        let count: i64 = root.query_one(kept, &[&secret]).unwrap().get(0);
        root.batch_execute("delete from auth.users").unwrap();
        count > 0
    };
    for form in CLEAN {
        assert!(!is_kept(form, ""), "{form}");
    }
    for form in KEPT {
        assert!(is_kept(form, ""), "{form}: docs/security.md names a form that keeps nothing");
        assert!(!is_kept(form, "set pg_stat_statements.track_utility = off"), "{form}");
    }
}

/// Whether the bytes are anywhere in the memory of a process that this one may write to.
fn is_in_memory(process: i32, wanted: &[u8]) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_else(|error| panic!("maps: {error}"));
    let mut memory = std::fs::File::open(format!("/proc/{process}/mem"))
        .unwrap_or_else(|error| panic!("the memory of {process} cannot be read, run as root or as its user: {error}"));
    let mut read = 0;
    let found =
        maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|flags| flags.starts_with("rw"))).any(|line| {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let [from, to] = [from, to].map(|place| u64::from_str_radix(place, 16).unwrap());
            let mut bytes = vec![0; (to - from) as usize];
            memory.seek(SeekFrom::Start(from)).unwrap();
            memory.read_exact(&mut bytes).unwrap_or_else(|error| panic!("{line}: {error}"));
            read += bytes.len();
            holds(&bytes, wanted)
        });
    assert!(found || read > 1 << 20, "only {read} bytes of {process} were read");
    found
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    // The search in a str is fast in a debug build too. What is no UTF-8 is replaced, which no secret is.
    String::from_utf8_lossy(bytes).contains(std::str::from_utf8(wanted).unwrap())
}

/// XK7: typed decomposed, sent decomposed: the composed form is in our copies only. After sign-up and sign-in, right, wrong
/// and against an imported bcrypt hash, none of them is left in the backend. A backend that was sent the composed form shows
/// that the search would find it.
#[test]
fn no_copy_of_a_password_stays_in_memory() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let mut app = database.app();
    let process: i32 = app.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    let mut composed = Vec::new();
    // Many times over in a long one, so that what is allocated next does not cover it.
    let mut typed = |times: usize| {
        let name = canary();
        composed.push(format!("é{name}"));
        format!("e\u{301}{name}").repeat(times)
    };
    let (right, wrong, short, imported) = (typed(1), typed(20), "e\u{301}".to_owned(), typed(1));
    sign_up(&mut app, "ada@example.org", &right);
    sign_in(&mut app, "ada@example.org", &right);
    for email in ["ada@example.org", "nobody@example.org"] {
        refused(app.query("select auth.sign_in($1, $2)", &[&email, &wrong]));
    }
    refused(app.query("select auth.sign_up('b@example.org', $1)", &[&short]));
    refused(app.query("select auth.sign_up('ada@example.org', $1)", &[&wrong]));
    let bcrypt = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e";
    database.superuser().execute("update auth.users set encrypted_password = $1", &[&bcrypt]).unwrap();
    refused(app.query("select auth.sign_in('ada@example.org', $1)", &[&imported]));
    app.batch_execute("select 1").unwrap();
    for part in &composed {
        assert!(!is_in_memory(process, part.as_bytes()), "{part}");
    }
    app.query("select $1::text", &[&composed[0]]).unwrap();
    assert!(is_in_memory(process, composed[0].as_bytes()), "PostgreSQL keeps what it was sent");
}

/// A secret as it is, in hexadecimal, and in base64 at each of its three alignments, without the ends that neighbours change.
fn forms(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![secret.to_owned(), hex.to_uppercase(), hex];
    for shift in 0..3 {
        let shifted = [&b"xxx"[..shift], secret.as_bytes()].concat();
        for engine in [&STANDARD.encode(&shifted), &URL_SAFE_NO_PAD.encode(&shifted)] {
            forms.push(engine[4..engine.len() - 4].to_owned());
        }
    }
    forms
}

fn files(directory: &Path, all: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else {
            all.push(path);
        }
    }
}

/// XK6: an imported key, the keys that were made, a password and both tokens, in each form, are not in a dump, in the files of
/// a base backup with its WAL, in the server's own data directory, or in what a logical slot decodes.
#[test]
fn no_copy_of_the_database_holds_a_secret() {
    let cluster = Cluster::builder().setting("wal_level", "logical").start();
    let database = cluster.database();
    let mut root = database.superuser();
    root.batch_execute("create table public.notes (body text); create publication everything for all tables").unwrap();
    root.batch_execute("select pg_create_logical_replication_slot('watching', 'test_decoding')").unwrap();
    let (key, password, control) = (canary(), canary(), canary());
    let jwk = serde_json::json!({"kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(&key)});
    json(&mut database.admin(), "select auth.import_signing_key($1)", &[&jwk]);
    let Person { access_token, refresh_token, .. } = sign_up(&mut database.app(), "ada@example.org", &password);
    refused(database.app().query("select auth.sign_in('ada@example.org', $1)", &[&format!("{password}x")]));
    json(&mut database.admin(), "select auth.rotate_signing_key('ES256')", &[]);
    root.execute("insert into public.notes values ($1)", &[&control]).unwrap();
    root.batch_execute("checkpoint").unwrap();
    let signature = access_token.rsplit('.').next().unwrap().to_owned();
    let root_key = std::fs::read_to_string(cluster.root_key_path()).unwrap();
    let secrets: Vec<(&str, Vec<String>)> = vec![
        ("the signing key", forms(&key)),
        ("the password", forms(&password)),
        ("the access token", vec![signature]),
        ("the refresh token", vec![refresh_token]),
        ("the keyring", vec![root_key.split_whitespace().nth(1).unwrap().to_owned()]),
    ];
    let found = |bytes: &[u8]| -> BTreeSet<&str> {
        let text = String::from_utf8_lossy(bytes);
        let is_there = |(_, forms): &&(&str, Vec<String>)| forms.iter().any(|form| text.contains(form));
        secrets.iter().filter(is_there).map(|(name, _)| *name).collect()
    };
    // The search finds each of them.
    for (name, forms) in &secrets {
        assert!(forms.iter().all(|form| form.len() > 30 && found(form.as_bytes()).contains(name)), "{name}");
    }
    let dump = cluster.command("pg_dumpall").output().unwrap().stdout;
    assert!(holds(&dump, control.as_bytes()) && holds(&dump, b"$argon2id$"), "the dump has the data");
    assert_eq!(found(&dump), BTreeSet::new(), "pg_dumpall");

    let rows = root.query("select data from pg_logical_slot_get_changes('watching', null, null)", &[]).unwrap();
    let decoded: String = rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect();
    assert!(decoded.contains(&control) && decoded.contains("auth.signing_keys"), "the slot has the changes");
    assert_eq!(found(decoded.as_bytes()), BTreeSet::new(), "a logical slot");

    let backup = cluster.socket_dir().join("backup");
    let output = cluster
        .server_command("pg_basebackup")
        .args(["-X", "stream", "-c", "fast", "--no-sync", "-U", "postgres"])
        .arg("-h")
        .arg(cluster.socket_dir())
        .arg("-p")
        .arg(cluster.port().to_string())
        .arg("-D")
        .arg(&backup)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (what, directory) in [("a base backup", backup.as_path()), ("the data directory", cluster.data_dir())] {
        let (mut all, mut with_control) = (Vec::new(), 0);
        files(directory, &mut all);
        for path in &all {
            let bytes = std::fs::read(path).unwrap_or_default();
            with_control += usize::from(holds(&bytes, control.as_bytes()));
            assert_eq!(found(&bytes), BTreeSet::new(), "{what}: {}", path.display());
        }
        // In the table, and for the data directory in the WAL since the slot began.
        assert!(with_control > 0, "{what}: the control is not in {} files", all.len());
    }
}

/// F229, XK8: with auth.log_level the log says what was decided, with ids and code words and never a secret; without, nothing.
#[test]
fn decisions_are_logged_where_that_is_asked_for() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let mut root = database.superuser();
    let wrong = canary();
    let mut play = |level: &str| -> (String, Vec<String>) {
        root.batch_execute(&format!("alter role app set auth.log_level = '{level}'; delete from auth.users")).unwrap();
        let (mut app, mark, password) = (database.app(), cluster.log_len(), canary());
        let ada = sign_up(&mut app, "ada@example.org", &password);
        let again = sign_in(&mut app, "ada@example.org", &password);
        refused(app.query("select auth.sign_in('ada@example.org', $1)", &[&wrong]));
        refused(app.query("select auth.sign_in('nobody@example.org', $1)", &[&wrong]));
        let refreshed = json(&mut app, "select auth.refresh($1)", &[&again.refresh_token]);
        refused(app.query("select auth.refresh($1)", &[&wrong]));
        refused(app.query("select auth.require_uid()", &[]));
        auth_harness::acting(&mut app, &ada.access_token, |transaction| {
            transaction.query("select auth.uid(), auth.uid() from generate_series(1, 1000)", &[]).unwrap();
            transaction.execute("savepoint s", &[]).unwrap();
            refused(transaction.query("select auth.require_aal2()", &[]));
            transaction.execute("rollback to s", &[]).unwrap();
            transaction.execute("select auth.sign_out()", &[]).unwrap();
        });
        let mut transaction = app.transaction().unwrap();
        refused(transaction.query("select auth.authenticate($1)", &[&ada.access_token]));
        drop(transaction);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let secrets =
            [password, ada.access_token.clone(), ada.refresh_token.clone(), again.access_token, again.refresh_token]
                .into_iter()
                .chain([text(&refreshed["access_token"]), text(&refreshed["refresh_token"]), wrong.clone()]);
        let lines = cluster.log_since(mark).lines().filter(|line| line.contains("auth: ")).map(str::to_owned).collect();
        let log = cluster.log_since(mark);
        for secret in secrets {
            assert!(!log.contains(&secret), "{level}: {log}");
            assert!(!log.contains(secret.rsplit('.').next().unwrap()), "{level}: {log}");
        }
        (format!("user {}", ada.user_id), lines)
    };
    let has = |lines: &[String], wanted: &str| lines.iter().any(|line| line.contains(wanted));
    assert_eq!(play("off").1, Vec::<String>::new());
    let (ada, info) = play("info");
    let (_, debug) = play("debug");
    for outcome in [
        &format!("LOG:  auth: sign_up: {ada}: ok"),
        &format!("LOG:  auth: sign_in: {ada}: ok"),
        &format!("LOG:  auth: sign_in: {ada}: invalid_credentials"),
        "LOG:  auth: sign_in: user unknown: invalid_credentials",
        &format!("LOG:  auth: refresh: {ada}: ok"),
        "LOG:  auth: refresh: user unknown: refresh_token_not_found",
        &format!("LOG:  auth: sign_out: {ada}: ok"),
    ] {
        assert!(has(&info, outcome), "{outcome}: {info:#?}");
    }
    assert!(!has(&info, "token ") && info.len() == 7, "{info:#?}");
    for line in [
        "token minted: session ",
        "token judged: session ",
        ": session_not_found",
        "aal2 is needed",
        "no_authorization",
    ] {
        assert!(has(&debug, line), "{line}: {debug:#?}");
    }
    // Once for a statement and not for each row.
    assert!(debug.len() < 40, "{debug:#?}");
    // For superusers alone.
    assert_eq!(refused(database.app().batch_execute("set auth.log_level = 'debug'")).sqlstate, "42501");
}
