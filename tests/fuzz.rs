//! Nothing that a client says takes a backend down, let alone the cluster.

use std::process::Stdio;

use auth_harness::{Client, Cluster, Database, sign_up};

use serde_json::json;

use crate::golden::MEMBERS;
use crate::refresh::configure;

const PASSWORD: &str = "correct horse battery";

/// What a crash leaves in the log. A backend that dies of a signal takes all others with it.
fn assert_unharmed(cluster: &Cluster, postmaster: u32) {
    let log = cluster.log();
    for trace in
        ["terminated by signal", "PANIC", "was terminated", "reinitializing", "panicked at", "unexpected_failure"]
    {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(trace)).collect();
        assert!(lines.is_empty(), "{trace}: {lines:?}");
    }
    assert_eq!(cluster.postmaster(), Some(postmaster));
}

/// Values of a type that nobody meant to be given.
fn odd_values(type_name: &str) -> Vec<&'static str> {
    match type_name {
        "text" | "name" => vec![
            "null",
            "''",
            "' '",
            "repeat('x', 3000000)",
            "repeat('€', 400000)",
            "repeat('.', 100000)",
            "repeat('a@', 100000)",
            "'a@' || repeat('b.', 50000) || 'c'",
            "repeat('[', 100000)",
            "E'\\x01\\x7f\\u200b\\u202e'",
            "E'a\\nb@c.d'",
            "'a.b.c'",
            "'..'",
            "'eyJhbGciOiJub25lIn0.e30.'",
            "repeat('eyJ', 100000) || '.' || repeat('A', 1000) || '.x'",
            "'AQAAAAEAESIzRFVmd4iZqrvM3e7_AAAAAAAAACqNxdZ9IRij9Dfs_lAEG6UK'",
            "'-1'",
            "'\"x\".\"y\"'",
            "'ES256'",
            "'anon'",
        ],
        "jsonb" => vec![
            "null",
            "'null'",
            "'1'",
            "'1e400000'",
            "'true'",
            "'\"x\"'",
            "'[]'",
            "'[{}]'",
            "'{}'",
            "'{\"\": null}'",
            "'{\"a\": {\"b\": {\"c\": {\"d\": {\"e\": {\"f\": {\"g\": {\"h\": {\"i\": 1}}}}}}}}}'",
            "(repeat('[', 5000) || repeat(']', 5000))::jsonb",
            "jsonb_build_object('a', repeat('x', 2000000))",
            "(select jsonb_object_agg(i::text, i) from generate_series(1, 20000) as i)",
            "'{\"kty\": [], \"alg\": {}, \"k\": 1, \"kid\": null, \"d\": true, \"n\": \"\", \"e\": \"\"}'",
            "'{\"kty\": \"RSA\", \"alg\": \"RS256\", \"n\": \"AA\", \"e\": \"AA\"}'",
            "'{\"kty\": \"EC\", \"crv\": \"P-256\", \"x\": \"\", \"y\": \"\"}'",
            "'{\"access_token_ttl\": \"-178000000 years\"}'",
            "'{\"access_token_ttl\": 1e308}'",
            "'{\"argon2_memory_kib\": 99999999999999999999}'",
            "'{\"password_min_length\": -1, \"site_url\": [], \"refresh_reuse_scope\": {}}'",
        ],
        "interval" => vec![
            "null",
            "'0'",
            "'-1 day'",
            "'178000000 years'",
            "'-178000000 years'",
            "'1 microsecond'",
            "'2147483647 days'",
        ],
        "uuid" => vec!["null", "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
        "boolean" => vec!["null", "true", "false"],
        "timestamp with time zone" => vec!["null", "'infinity'", "'-infinity'", "'4713-01-01 BC'", "'294276-01-01'"],
        "inet" => vec!["null", "'::/0'", "'0.0.0.0/0'", "'255.255.255.255'"],
        "integer" | "bigint" => vec!["null", "0", "-1", "2147483647"],
        // A row of a table of ours, or a type that no SQL value has.
        _ => vec!["null"],
    }
}

/// A value that gets past the first check, so that the next argument's is reached.
fn plausible(type_name: &str, argument: usize) -> &'static str {
    match (type_name, argument) {
        ("text", 0) => "'ada@example.org'",
        ("text", _) => "'correct horse battery'",
        ("jsonb", _) => "'{}'",
        ("interval", _) => "'1 hour'",
        ("uuid", _) => "'00000000-0000-0000-0000-000000000001'",
        ("boolean", _) => "true",
        _ => "null",
    }
}

/// Every call: each argument in turn with each of its odd values, and all of them null.
fn calls(client: &mut Client) -> Vec<String> {
    let rows = client
        .query(
            &format!(
                "with {MEMBERS} select p.oid::regproc::text, array(
                    select format_type(t.oid, null) from unnest(p.proargtypes) with ordinality as a (oid, place)
                    join pg_type as t on t.oid = a.oid order by a.place)
                from member as m join pg_proc as p on m.classid = 'pg_proc'::regclass and p.oid = m.objid
                order by p.oid::regprocedure::text"
            ),
            &[],
        )
        .unwrap();
    let mut calls = Vec::new();
    for row in rows {
        let (function, types): (String, Vec<String>) = (row.get(0), row.get(1));
        let call = |arguments: Vec<String>| format!("select * from {function}({})", arguments.join(", "));
        let cast = |value: &str, type_name: &str| format!("({value})::{type_name}");
        calls.push(call(types.iter().map(|type_name| cast("null", type_name)).collect()));
        for (odd, type_name) in types.iter().enumerate() {
            for value in odd_values(type_name) {
                let arguments = types.iter().enumerate().map(|(place, type_name)| {
                    cast(if place == odd { value } else { plausible(type_name, place) }, type_name)
                });
                calls.push(call(arguments.collect()));
            }
        }
    }
    calls
}

/// XJ23, XB: each function with nulls, nothing, far too much and the wrong kind of JSON is an answer or an ERROR of a
/// known class; the connection lives on.
#[test]
fn odd_arguments_are_answered_or_refused() {
    let cluster = Cluster::start();
    let postmaster = cluster.postmaster().unwrap();
    let database = cluster.database();
    // The first password is hashed at the usual cost; what comes then is not about that.
    let person = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    configure(&database, json!({"argon2_memory_kib": 8, "argon2_iterations": 1}));
    let calls = calls(&mut database.superuser());
    assert!(calls.len() > 300, "{} calls", calls.len());
    let mut wrong = Vec::new();
    for (login, begin) in [
        ("app", String::new()),
        ("app", format!("select auth.authenticate('{}')", person.access_token)),
        ("admin", String::new()),
        ("postgres", String::new()),
    ] {
        let mut client = database.connect(login);
        client.batch_execute("set statement_timeout = '20s'").unwrap();
        for call in &calls {
            let mut transaction = client.transaction().unwrap();
            transaction.batch_execute(&begin).unwrap();
            if let Err(error) = transaction.batch_execute(call) {
                let shown: String = call.chars().take(200).collect();
                match error.as_db_error() {
                    // XX is a fault of ours, 57 a shutdown or an answer that took too long.
                    Some(refusal) if !["XX", "57", "58"].contains(&&refusal.code().code()[..2]) => {}
                    Some(refusal) => {
                        wrong.push(format!("{login}: {shown}: {} {}", refusal.code().code(), refusal.message()))
                    }
                    None => panic!("{login}: {shown}: the connection is gone: {error}"),
                }
            }
            // Undone, so that the next call finds the same database.
            transaction.rollback().unwrap();
        }
        let alive: i32 = client.query_one("select 1", &[]).unwrap().get(0);
        assert_eq!(alive, 1);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_unharmed(&cluster, postmaster);
}

/// Lets sqlsmith send some queries as a login, and waits for its end.
fn smith(database: &Database, login: &str, queries: u32, more: &str) -> String {
    let cluster = database.cluster();
    let target = format!(
        "host={} port={} dbname={} user={login} options='-c statement_timeout=150 -c max_parallel_workers_per_gather=0'",
        cluster.socket_dir().display(),
        cluster.port(),
        database.name()
    );
    let mut command = std::process::Command::new("sqlsmith");
    command.arg(format!("--target={target}")).arg(format!("--max-queries={queries}"));
    command.args(["--seed=1", "--verbose", more]).stdin(Stdio::null());
    loop {
        let done = command.output().unwrap();
        let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        // On a busy machine the limit strikes while it reads the catalogs.
        if !said.contains("statement timeout") || said.contains("queries: ") {
            return said;
        }
    }
}

/// XJ23: sqlsmith writes queries from the catalogs, of an app's login and of the administrator's; no backend ends by a
/// signal.
#[test]
fn sqlsmith_takes_no_backend_down() {
    let cluster = Cluster::start();
    let postmaster = cluster.postmaster().unwrap();
    let database = cluster.database();
    database
        .superuser()
        .batch_execute(
            "create table public.notes (id int generated always as identity primary key, owner_id uuid default auth.uid(), body text);
            insert into public.notes (body) select 'note ' || i from generate_series(1, 50) as i;
            alter table public.notes enable row level security;
            create policy own on public.notes using (owner_id = auth.uid() or auth.role() is null);
            grant all on public.notes to app, admin, anon, authenticated;",
        )
        .unwrap();
    let person = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    for (login, queries, more) in
        [("app", 500, "--exclude-catalog"), ("app", 400, "--verbose"), ("admin", 300, "--verbose")]
    {
        let said = smith(&database, login, queries, more);
        assert!(said.contains(&format!("queries: {queries}")), "sqlsmith ran: {said}");
        assert_unharmed(&cluster, postmaster);
    }
    let row =
        database.superuser().query_one("select count(*) from auth.users where id = $1", &[&person.user_id]).unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
}
