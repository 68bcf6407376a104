//! The hash gate: how many hash at once, who waits, and that whatever ends gives back what it had.
//!
//! A holder is a process that is stopped in the middle of a long hash, so nothing here depends on how long a hash takes.

use std::process::{Child, Stdio};
use std::thread::JoinHandle;

use auth_harness::{Client, Cluster, Database, json, refused, sign_in, sign_up, storm_with, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::gate_stage::{Call, SIGN_IN, Server, backend_of};

const PASSWORD: &str = "correct horse battery";
const MIB: u64 = 1 << 20;

/// Bytes that belong to a process alone and are in memory.
fn anonymous_memory(process: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Cancelled, or terminated, which the driver may know by its closed connection only.
fn was_ended(call: Call, sqlstate: &str) {
    let error = call.end().1.unwrap_err();
    match error.as_db_error() {
        Some(error) => assert_eq!(error.code().code(), sqlstate),
        None => assert!(sqlstate == "57P01" && error.is_closed(), "{error}"),
    }
}

/// B025: however many come, no more hash at once than there are places; the others wait and all get in; what hashes nothing
/// is not held up.
#[test]
fn a_storm_gets_in_a_few_at_a_time() {
    let server = Server::start(&[("auth.max_concurrent_hashes", "2")]);
    let ada = sign_in(&mut server.quick.app(), "ada@example.org", PASSWORD);
    let before = server.status();
    assert_eq!((&before["limit"], &before["most_running"]), (&json!(2), &json!(1)));
    let holders = [server.hold(), server.hold()];
    let called = server.count("hashes");
    let calls: Vec<Call> = (0..32).map(|_| Call::start(server.quick.app(), SIGN_IN)).collect();
    server.wait_for("waiting", 32);
    let status = server.status();
    assert_eq!((&status["running"], &status["most_running"]), (&json!(2), &json!(2)));
    assert_eq!(server.count("hashes"), called, "nobody who waits has hashed");
    json(&mut server.quick.app(), "select auth.refresh($1)", &[&ada.refresh_token]);

    holders.into_iter().for_each(Call::let_go);
    for call in calls {
        call.end().1.unwrap();
    }
    server.assert_free("after a storm");
    let status = server.status();
    assert_eq!((&status["most_running"], &status["refused"]), (&json!(2), &json!(0)));
    assert_eq!(server.count("hashes"), called + 2 + 32 + 1);

    // And with nobody who holds them up: new accounts, right passwords and wrong ones, of people and of nobody.
    storm_with(
        32,
        |_| server.quick.app(),
        |index, mut app| {
            for turn in 0..10 {
                let email = format!("user{index}-{turn}@example.org");
                sign_up(&mut app, &email, PASSWORD);
                sign_in(&mut app, &email, PASSWORD);
                refused(app.execute("select auth.sign_in($1, 'a wrong password')", &[&email]));
                refused(app.execute("select auth.sign_in('nobody@example.org', 'x')", &[]));
            }
        },
    );
    let status = server.status();
    assert_eq!((&status["most_running"], &status["running"]), (&json!(2), &json!(0)));
    assert_eq!(server.count("hashes"), called + 2 + 32 + 1 + 32 * 40);
}

/// B025: first come, first served. A place that is free belongs to the first in line, also while that one is slow to take it.
#[test]
fn nobody_passes_those_who_wait() {
    let server = Server::start(&[("auth.max_concurrent_hashes", "1")]);
    let holder = server.hold();
    let first = server.wait_in_line(SIGN_IN);
    first.stop();
    let second = server.wait_in_line(SIGN_IN);
    holder.let_go();
    assert_eq!((server.count("running"), server.count("waiting")), (0, 2));
    let newcomer = server.wait_in_line(SIGN_IN);
    assert_eq!((server.count("running"), server.count("waiting")), (0, 3));
    first.go_on();
    for call in [first, second, newcomer] {
        call.end().1.unwrap();
    }
    server.assert_free("after a slow first");

    // A second place is for the second.
    let mut superuser = server.quick.superuser();
    set(&mut superuser, "auth.max_concurrent_hashes", "2");
    let holders = [server.hold(), server.hold()];
    let first = server.wait_in_line(SIGN_IN);
    first.stop();
    let second = server.wait_in_line(SIGN_IN);
    holders.into_iter().for_each(Call::let_go);
    second.end().1.unwrap();
    assert_eq!(server.count("waiting"), 1);
    sign_in(&mut server.quick.app(), "ada@example.org", PASSWORD);
    first.go_on();
    first.end().1.unwrap();
    server.assert_free("after a slow first of two");
}

/// Sets it for the server, and waits until new statements see it.
fn set(superuser: &mut Client, name: &str, value: &str) {
    superuser.batch_execute(&format!("alter system set {name} = '{value}'")).unwrap();
    superuser.execute("select pg_reload_conf()", &[]).unwrap();
    wait_until(&format!("{name} to be {value}"), || {
        let current: String = superuser.query_one(&format!("show {name}"), &[]).unwrap().get(0);
        current == value
    });
}

/// B025: who waits too long is refused with 53400 hash_gate_busy and has left nothing behind, neither in the line nor in
/// the database; with a time of 0 nobody waits at all.
#[test]
fn who_waits_too_long_is_refused() {
    let server = Server::start(&[("auth.max_concurrent_hashes", "1"), ("auth.hash_queue_timeout", "100ms")]);
    let mut app = server.quick.app();
    let mut superuser = server.quick.superuser();
    for (number, patience) in ["100ms", "0"].iter().enumerate() {
        set(&mut superuser, "auth.hash_queue_timeout", patience);
        let holder = server.hold();
        for sql in [
            SIGN_IN,
            "select auth.sign_in('ada@example.org', 'a wrong password')",
            "select auth.sign_in('nobody@example.org', 'a wrong password')",
            "select auth.sign_up('new@example.org', 'correct horse battery')",
        ] {
            let before = server.status();
            let refusal = refused(app.execute(sql, &[]));
            assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("53400", "hash_gate_busy"), "{sql}");
            assert_eq!(refusal.hint.as_deref(), Some("try again in a few seconds"));
            let status = server.status();
            assert_eq!((&status["running"], &status["waiting"]), (&json!(1), &json!(0)), "{sql}");
            assert_eq!(status["hashes"], before["hashes"], "nothing was hashed: {sql}");
            assert_eq!(status["refused"].as_u64().unwrap(), before["refused"].as_u64().unwrap() + 1, "{sql}");
        }
        let mut transaction = app.transaction().unwrap();
        let mut savepoint = transaction.savepoint("s").unwrap();
        assert_eq!(refused(savepoint.execute(SIGN_IN, &[])).code, "hash_gate_busy");
        savepoint.rollback().unwrap();
        holder.let_go();
        sign_in(&mut transaction, "ada@example.org", PASSWORD);
        transaction.commit().unwrap();
        server.assert_free(patience);
        assert_eq!(server.count("refused"), 5 * (number as u64 + 1));
    }
    let new: i64 =
        superuser.query_one("select count(*) from auth.users where email = 'new@example.org'", &[]).unwrap().get(0);
    assert_eq!(new, 0);
}

/// B025: whoever waits can be cancelled, terminated, timed out or lost, in the middle of the line and at its head; the line
/// closes up, and those behind get in.
#[test]
fn a_waiter_that_ends_leaves_the_line() {
    let server = Server::start(&[("auth.max_concurrent_hashes", "1")]);
    let mut superuser = server.quick.superuser();
    let holder = server.hold();
    let behind = server.wait_in_line(SIGN_IN);
    let other = server.wait_in_line(SIGN_IN);
    for (function, sqlstate) in [("pg_cancel_backend", "57014"), ("pg_terminate_backend", "57P01")] {
        for _ in 0..3 {
            let waiter = server.wait_in_line(SIGN_IN);
            superuser.execute(&format!("select {function}({})", waiter.backend), &[]).unwrap();
            was_ended(waiter, sqlstate);
            server.wait_for("waiting", 2);
        }
    }
    let mut app = server.quick.app();
    app.batch_execute("set statement_timeout = '1s'").unwrap();
    assert_eq!(refused(app.execute(SIGN_IN, &[])).sqlstate, "57014");
    server.wait_for("waiting", 2);
    // What was cancelled is an error like any other: the transaction goes on after its savepoint.
    let caught = "do $$ begin perform auth.sign_in('ada@example.org', 'correct horse battery');
        exception when query_canceled then null; end $$";
    app.batch_execute(caught).unwrap();
    server.wait_for("waiting", 2);

    // A client that is gone.
    let mut psql = psql(&server.quick, SIGN_IN);
    server.wait_for("waiting", 3);
    psql.kill().unwrap();
    psql.wait().unwrap();
    server.wait_for("waiting", 2);

    // The head of the line: it was the one to be woken.
    behind.stop();
    superuser.execute(&format!("select pg_terminate_backend({})", behind.backend), &[]).unwrap();
    holder.let_go();
    assert_eq!((server.count("running"), server.count("waiting")), (0, 2));
    behind.go_on();
    was_ended(behind, "57P01");
    other.end().1.unwrap();
    server.assert_free("after the head was terminated");
    assert_eq!(server.count("refused"), 0, "none of these was refused");
}

fn psql(database: &Database, sql: &str) -> Child {
    let mut command = database.cluster().command("psql");
    command.args(["-X", "-q", "-d", database.name(), "-U", "app", "-c", sql]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// B025: a place comes back when its holder is cancelled, terminated or loses its client; a server that crashed begins anew.
#[test]
fn a_holder_that_ends_gives_its_place_back() {
    let server = Server::start(&[("auth.max_concurrent_hashes", "1")]);
    let mut superuser = server.quick.superuser();
    for (function, sqlstate) in [("pg_cancel_backend", "57014"), ("pg_terminate_backend", "57P01")] {
        let holder = server.hold();
        let waiter = server.wait_in_line(SIGN_IN);
        superuser.execute(&format!("select {function}({})", holder.backend), &[]).unwrap();
        holder.go_on();
        was_ended(holder, sqlstate);
        waiter.end().1.unwrap();
        server.assert_free(function);
    }
    let mut psql = psql(&server.slow, SIGN_IN);
    server.wait_for("running", 1);
    psql.kill().unwrap();
    psql.wait().unwrap();
    server.assert_free("a lost client");

    let holder = server.hold();
    let waiter = server.wait_in_line(SIGN_IN);
    let before = server.count("hashes");
    assert!(before > 0);
    holder.signal(Signal::SIGKILL);
    assert!(holder.end().1.is_err() && waiter.end().1.is_err());
    wait_until("the server to be back", || {
        server
            .cluster
            .try_connect(server.quick.name(), "app", "")
            .is_ok_and(|mut app| app.execute(SIGN_IN, &[]).is_ok())
    });
    let status = server.status();
    let expected = json!({"hashes": 1, "limit": 1, "running": 0, "most_running": 1, "waiting": 0, "refused": 0});
    assert_eq!(status, expected);
}

/// B025: a hash that is over has given its place back, whatever comes of the call: a wrong password, a raising hook, a
/// ROLLBACK, an exception that was caught, no memory.
#[test]
fn an_error_after_the_hash_keeps_no_place() {
    let server = Server::start(&[("auth.max_concurrent_hashes", "1"), ("auth.hash_queue_timeout", "0")]);
    let (mut app, mut superuser) = (server.quick.app(), server.quick.superuser());
    superuser
        .batch_execute(
            "create role hook_owner; create schema hooks authorization hook_owner;
            create function hooks.fails(event jsonb) returns jsonb language plpgsql
                as $$ begin raise exception 'not this one'; end $$;
            alter function hooks.fails owner to hook_owner",
        )
        .unwrap();
    let mut free = |title: &str| {
        let status = json(&mut superuser, "select auth.gate_status()", &[]);
        assert_eq!((&status["running"], &status["waiting"]), (&json!(0), &json!(0)), "{title}");
    };
    for (sql, title) in [
        ("select auth.sign_in('ada@example.org', 'a wrong password')", "a wrong password"),
        ("select auth.sign_in('nobody@example.org', 'a wrong password')", "nobody"),
        ("select auth.sign_up('ada@example.org', 'correct horse battery')", "a known address"),
    ] {
        for _ in 0..3 {
            refused(app.execute(sql, &[]));
            free(title);
        }
    }
    app.batch_execute(&format!("begin; {SIGN_IN}; savepoint s; {SIGN_IN}; rollback to s; {SIGN_IN}; rollback"))
        .unwrap();
    free("rollback");
    app.batch_execute(
        "do $$ begin for n in 1..20 loop
            begin
                perform auth.sign_in('ada@example.org', 'a wrong password');
            exception when invalid_password then null;
            end;
        end loop; end $$",
    )
    .unwrap();
    free("caught");
    for event in ["custom_access_token", "before_user_created"] {
        server.quick.admin().execute("select auth.add_hook($1, 'hooks.fails')", &[&event]).unwrap();
    }
    assert_eq!(refused(app.execute(SIGN_IN, &[])).message, "not this one");
    free("a raising hook at sign-in");
    let sql = "select auth.sign_up('new@example.org', 'correct horse battery')";
    assert_eq!(refused(app.execute(sql, &[])).message, "not this one");
    free("a raising hook at sign-up");

    // No memory: refused, and the backend goes on.
    let mut app = server.slow.app();
    let backend = backend_of(&mut app);
    limit_memory(&server.cluster, backend, 64 * MIB);
    let refusal = refused(app.execute(SIGN_IN, &[]));
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("XX000", "unexpected_failure"), "{refusal:?}");
    assert!(refusal.message.contains("not enough memory"), "{refusal:?}");
    free("no memory");
    assert_eq!(backend_of(&mut app), backend, "the server has not restarted");
}

/// How much more address space a process gets.
fn limit_memory(cluster: &Cluster, process: i32, more: u64) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let bytes = line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024 + more;
    let mut command = cluster.server_command("/usr/bin/prlimit");
    let output = command.args(["--pid", &process.to_string(), &format!("--as={bytes}")]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// B025: memory is bounded by the places, not by the connections, while they hash and when they are idle again.
#[test]
fn memory_is_that_of_the_places() {
    const CLIENTS: usize = 64;
    let server = Server::start(&[("auth.max_concurrent_hashes", "2")]);
    let sum = |backends: &[i32]| backends.iter().map(|backend| anonymous_memory(*backend)).sum::<u64>();
    let fail = |client: &mut Client| {
        for _ in 0..3 {
            refused(client.execute("select auth.sign_in('nobody@example.org', 'x')", &[]));
        }
    };
    // Each has its caches, and what it keeps of cheap hashes.
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.quick.app()).collect();
    clients.iter_mut().for_each(fail);
    let backends: Vec<i32> = clients.iter_mut().map(backend_of).collect();
    let base = sum(&backends);

    // The default as well: blocks of up to 32 MiB are those that malloc would keep.
    for hash in [64 * MIB, 19 * MIB] {
        let large = json!({"argon2_memory_kib": hash / 1024, "argon2_iterations": 1});
        server.quick.admin().execute("select auth.configure($1)", &[&large]).unwrap();
        let calls: Vec<JoinHandle<Client>> = clients
            .into_iter()
            .map(|mut client| {
                std::thread::spawn(move || {
                    fail(&mut client);
                    client
                })
            })
            .collect();
        let (mut most, mut samples) = (0, 0);
        while !calls.iter().all(JoinHandle::is_finished) {
            most = most.max(sum(&backends));
            samples += 1;
        }
        clients = calls.into_iter().map(|call| call.join().unwrap()).collect();
        let after = sum(&backends);

        // A mapping is whole huge pages; a backend may have learnt something more.
        let slack = CLIENTS as u64 * MIB / 2;
        let [before, at_most, left] = [base, most, after].map(|bytes| bytes / MIB);
        let figures = format!("before {before} MiB, at most {at_most} in {samples} samples, after {left}");
        // Two places, and one that changes hands while the processes are looked at one after the other.
        assert!(most <= base + 3 * (hash + 4 * MIB) + slack, "{figures}");
        assert!(hash < 64 * MIB || most > base + hash / 4, "the hashes are seen: {figures}");
        assert!(after <= base + slack, "{figures}");
    }
    assert_eq!(server.count("most_running"), 2);
}

/// The settings are the server's: as documented, within bounds, nobody else's to change.
#[test]
fn the_gate_is_set_by_the_server() {
    let database = Cluster::shared().database();
    let mut superuser = database.superuser();
    let processors = std::thread::available_parallelism().unwrap().get() as u64;
    let status = json(&mut database.admin(), "select auth.gate_status()", &[]);
    assert_eq!(status["limit"].as_u64().unwrap(), processors, "by default as many as there are processors");
    let settings: Vec<String> = superuser
        .query(
            "select concat_ws(' ', name, boot_val, unit, context, min_val, max_val)
            from pg_settings where name in ('auth.max_concurrent_hashes', 'auth.hash_queue_timeout') order by name",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let expected = ["auth.hash_queue_timeout 10000 ms sighup 0 3600000", "auth.max_concurrent_hashes 0 sighup 0 1024"];
    assert_eq!(settings, expected);
    for (mut client, sql, sqlstate) in [
        (database.app(), "set auth.max_concurrent_hashes = 1000", "55P02"),
        (database.superuser(), "set auth.hash_queue_timeout = 0", "55P02"),
        (database.superuser(), "alter system set auth.max_concurrent_hashes = 1025", "22023"),
        (database.superuser(), "alter system set auth.hash_queue_timeout = '-1'", "22023"),
        (database.app(), "select auth.gate_status()", "42501"),
        (database.service(), "select auth.gate_status()", "42501"),
    ] {
        assert_eq!(refused(client.execute(sql, &[])).sqlstate, sqlstate, "{sql}");
    }
}
