//! The worker: what it has acknowledged is written once, whoever stops it or holds it up.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use auth_harness::{Cluster, Database, json, running, sign_up, wait_until};
use serde_json::{Value, json as object};

use crate::audit::{configure, guess, happened, wait_until_happened};
use crate::minting::{PASSWORD, count};
use crate::refresh::{refreshed, refusal};

/// The workers of this database that run now.
pub fn workers(database: &Database) -> i64 {
    let sql = format!(
        "select count(*) from pg_stat_activity where backend_type = 'auth worker' and datname = '{}'",
        database.name()
    );
    count(&mut database.cluster().connect("postgres", "postgres"), &sql)
}

/// The process of the cluster that calls itself so.
pub fn process(cluster: &Cluster, title: &str) -> Option<u32> {
    let postmaster = cluster.postmaster()?.to_string();
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).find(
        |process| {
            let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
            let stat = read("stat");
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1).map(str::to_owned));
            parent.as_deref() == Some(&postmaster) && read("cmdline").contains(title)
        },
    )
}

pub fn signal(process: u32, how: &str) {
    assert!(Command::new("kill").args([how, &process.to_string()]).status().unwrap().success());
}

pub fn status(database: &Database) -> Value {
    json(&mut database.admin(), "select auth.guard_status()", &[])
}

/// Nothing limits the guesses but what the test is about.
pub fn unlimited(database: &Database) {
    configure(database, object!({"lockout_attempts": null, "max_active_sessions": null}));
}

/// N17, N15: a worker that is told to stop, or to cancel what it does, again and again under load, loses nothing and writes nothing twice: each
/// guess that was answered has its row then, and each one that was not has it later.
#[test]
fn a_stopped_worker_loses_nothing() {
    let database = Cluster::shared().database();
    unlimited(&database);
    let (stopping, guesses) = (AtomicBool::new(true), AtomicI64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let (mut app, mut superuser) = (database.app(), database.superuser());
                while stopping.load(Ordering::Relaxed) {
                    let email = format!("user{}@example.org", guesses.fetch_add(1, Ordering::Relaxed));
                    let code = guess(&mut app, &email);
                    if code == "invalid_credentials" {
                        assert_eq!(happened(&mut superuser, &format!("event_data ->> 'email' = '{email}'")), 1);
                    } else {
                        assert_eq!(code, "worker_unavailable");
                    }
                }
            });
        }
        let mut superuser = database.superuser();
        let mut stopped: Vec<i32> = Vec::new();
        let cancel = "select pg_cancel_backend(pid) from pg_stat_activity
            where backend_type = 'auth worker' and datname = current_database()";
        let stop = "select pid, pg_terminate_backend(pid) from pg_stat_activity
            where backend_type = 'auth worker' and datname = current_database() and pid <> all($1)";
        wait_until("five workers to be stopped under load", || {
            superuser.execute(cancel, &[]).unwrap();
            stopped.extend(superuser.query(stop, &[&stopped]).unwrap().into_iter().map(|row| row.get::<_, i32>(0)));
            stopped.len() >= 5 && guesses.load(Ordering::Relaxed) > 5
        });
        stopping.store(false, Ordering::Relaxed);
    });
    let guesses = guesses.into_inner();
    wait_until_happened(&database, "event_type = 'login_failure'", guesses);
    let twice = "select count(*) from (select from auth.audit_log group by event_data having count(*) > 1) as t";
    assert_eq!(count(&mut database.superuser(), twice), 0);
    assert_eq!(
        (&status(&database)["events_dropped"], &status(&database)["events_waiting"]),
        (&object!(0), &object!(0))
    );
    guess(&mut database.app(), "after@example.org");
    wait_until_happened(&database, "event_type = 'login_failure'", guesses + 1);
}

/// N17: a worker that cannot write, because somebody has locked its table, refuses those who wait for it, and nobody's
/// guess is looked at for free: what was refused is written once the lock is gone, exactly once.
#[test]
fn a_locked_table_delays_and_loses_nothing() {
    let database = Cluster::shared().database();
    unlimited(&database);
    let mut app = database.app();
    app.batch_execute("set statement_timeout = '20s'").unwrap();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    refreshed(&mut app, &ada.refresh_token);
    assert_eq!(guess(&mut app, "first@example.org"), "invalid_credentials");
    let mut superuser = database.superuser();
    let mut holder = superuser.transaction().unwrap();
    holder.batch_execute("lock table auth.audit_log in access exclusive mode").unwrap();
    for email in ["second@example.org", "third@example.org", "third@example.org"] {
        assert_eq!(guess(&mut app, email), "worker_unavailable");
    }
    assert_eq!(refusal(&mut app, &ada.refresh_token), "worker_unavailable");
    assert_eq!(status(&database)["events_waiting"], 5);
    holder.rollback().unwrap();
    wait_until_happened(&database, "event_type = 'login_failure'", 4);
    wait_until_happened(&database, "event_type = 'refresh_token_reuse'", 1);
    assert_eq!(count(&mut superuser, "select count(*) from auth.revocations"), 1);
    assert_eq!(refusal(&mut app, &ada.refresh_token), "session_not_found");
    let counts = status(&database);
    assert_eq!((&counts["events_waiting"], &counts["events_dropped"]), (&object!(0), &object!(0)));
}

/// N17, F150: the same where the table of revocations is locked against writers: the replay is refused, and ends the
/// sessions as soon as the lock is gone.
#[test]
fn a_locked_table_of_revocations_is_written_later() {
    let database = Cluster::shared().database();
    unlimited(&database);
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let newest = refreshed(&mut app, &ada.refresh_token);
    let mut superuser = database.superuser();
    let mut holder = superuser.transaction().unwrap();
    holder.batch_execute("lock table auth.revocations in exclusive mode").unwrap();
    assert_eq!(refusal(&mut app, &ada.refresh_token), "worker_unavailable");
    holder.rollback().unwrap();
    wait_until_happened(&database, "event_type = 'refresh_token_reuse'", 1);
    assert_eq!(refusal(&mut app, &newest), "session_not_found");
    assert_eq!(count(&mut superuser, "select count(*) from auth.revocations"), 1);
}

/// N17, N38: sealing that was in the way of somebody's lock is done once the lock is gone, without another event.
#[test]
fn sealing_goes_on_after_a_lock() {
    let database = Cluster::shared().database();
    unlimited(&database);
    let mut superuser = database.superuser();
    let mut app = database.app();
    let mut holder = superuser.transaction().unwrap();
    holder.batch_execute("lock table auth.audit_anchors in exclusive mode").unwrap();
    sign_up(&mut app, "ada@example.org", PASSWORD);
    let mut other = database.superuser();
    let waiting = "select count(*) from pg_stat_activity where backend_type = 'auth worker'
        and datname = current_database() and wait_event_type = 'Lock'";
    for (what, waits) in [("waits", 1), ("has given up", 0), ("tries again", 1), ("has given up again", 0)] {
        wait_until(&format!("the worker {what}"), || count(&mut other, waiting) == waits);
    }
    assert_eq!(count(&mut other, "select count(*) from auth.audit_log where sequence is null"), 1);
    holder.rollback().unwrap();
    wait_until("the row to be sealed", || {
        count(&mut other, "select count(*) from auth.audit_log where sequence is null") == 0
    });
}

/// N17: the ring holds 256 events: what nobody waits for and does not fit is counted as dropped, what fits is written, and
/// a guess is refused rather than answered without its row.
#[test]
fn a_full_ring_says_what_it_drops() {
    let database = Cluster::shared().database();
    configure(&database, object!({"lockout_attempts": null}));
    let mut sidecar = database.sidecar();
    assert_eq!(guess(&mut sidecar, "first@example.org"), "invalid_credentials");
    database.admin().execute("select auth.block_network('203.0.113.0/24')", &[]).unwrap();
    let before = status(&database);
    let mut superuser = database.superuser();
    let mut holder = superuser.transaction().unwrap();
    holder.batch_execute("lock table auth.audit_log in access exclusive mode").unwrap();
    for number in 0..300 {
        let mut transaction = sidecar.transaction().unwrap();
        transaction.execute("select auth.set_request_context('203.0.113.7', null)", &[]).unwrap();
        assert_eq!(guess(&mut transaction, &format!("user{number}@example.org")), "network_blocked");
    }
    let full = status(&database);
    assert_eq!((&full["events_waiting"], &full["events_dropped"]), (&object!(256), &object!(44)));
    assert_eq!(guess(&mut sidecar, "last@example.org"), "worker_unavailable");
    holder.rollback().unwrap();
    wait_until_happened(&database, "code = 'network_blocked'", 256);
    let after = status(&database);
    assert_eq!((&after["events_waiting"], &after["events_dropped"]), (&object!(0), &object!(44)));
    assert_eq!(after["events_written"].as_i64().unwrap(), before["events_written"].as_i64().unwrap() + 256);
    assert_eq!(guess(&mut sidecar, "last@example.org"), "invalid_credentials");
}

/// N17: two databases have a worker each: one that is held up holds up nobody else, and each counts for itself.
#[test]
fn databases_have_workers_of_their_own() {
    let (held, free) = (Cluster::shared().database(), Cluster::shared().database());
    for database in [&held, &free] {
        unlimited(database);
        assert_eq!(guess(&mut database.app(), "first@example.org"), "invalid_credentials");
    }
    let mut superuser = held.superuser();
    let mut holder = superuser.transaction().unwrap();
    holder.batch_execute("lock table auth.audit_log in access exclusive mode").unwrap();
    assert_eq!(guess(&mut held.app(), "second@example.org"), "worker_unavailable");
    for number in 0..5 {
        assert_eq!(guess(&mut free.app(), &format!("user{number}@example.org")), "invalid_credentials");
    }
    assert_eq!(happened(&mut free.superuser(), "event_type = 'login_failure'"), 6);
    assert_eq!(status(&free)["events_waiting"], 0);
    assert_eq!(status(&held)["events_waiting"], 1);
    holder.rollback().unwrap();
    wait_until_happened(&held, "event_type = 'login_failure'", 2);
    assert_eq!(happened(&mut free.superuser(), "event_type = 'login_failure'"), 6);
    // What one database has written is not forgotten when its worker has left and another database needs one.
    let written = status(&held)["events_written"].clone();
    let count_of_free = || status(&free)["events_written"].as_i64().unwrap();
    let before = count_of_free();
    assert!(written.as_i64() >= Some(2) && before >= 6, "{written}, {before}");
    wait_until("both workers to leave", || workers(&held) + workers(&free) == 0);
    let third = Cluster::shared().database();
    unlimited(&third);
    assert_eq!(guess(&mut third.app(), "first@example.org"), "invalid_credentials");
    assert_eq!(guess(&mut free.app(), "again@example.org"), "invalid_credentials");
    assert_eq!(status(&held)["events_written"], written);
    assert_eq!(count_of_free(), before + 1);
}

/// N17: the worker writes as auth_owner with settings of its own, whatever the database and its users prefer.
#[test]
fn the_worker_has_its_own_role_and_settings() {
    let database = Cluster::shared().database();
    unlimited(&database);
    assert_eq!(guess(&mut database.app(), "first@example.org"), "invalid_credentials");
    let mut superuser = database.superuser();
    // Behind the DDL guard's back, as no user can be.
    superuser
        .batch_execute(&format!(
            "create schema evil;
            create function evil.clock_timestamp() returns timestamptz language plpgsql as 'begin raise division_by_zero; end';
            create function evil.text(inet) returns text language plpgsql as 'begin raise division_by_zero; end';
            create table evil.seen ();
            grant usage on schema evil to public;
            create table public.seen (who name, session name, lock_timeout text, synchronous text, path text);
            grant insert on public.seen to public;
            create function public.look() returns trigger language plpgsql as $$ begin
                insert into public.seen select current_user, session_user, current_setting('lock_timeout'),
                    current_setting('synchronous_commit'), current_setting('search_path');
                return null;
            end $$;
            alter database {name} set search_path = evil, pg_catalog;
            alter database {name} set synchronous_commit = off;
            alter database {name} set lock_timeout = 0;
            set session_replication_role = replica;
            create trigger look after insert on auth.audit_log for each row execute function public.look();
            alter table auth.audit_log enable always trigger look;
            reset session_replication_role",
            name = database.name()
        ))
        .unwrap();
    wait_until("the worker that was there before to leave", || workers(&database) == 0);
    assert_eq!(guess(&mut database.app(), "second@example.org"), "invalid_credentials");
    let seen = superuser.query_one("select to_jsonb(s) from public.seen as s", &[]).unwrap().get::<_, Value>(0);
    let expected = object!({"who": "auth_owner", "session": "postgres", "lock_timeout": "500ms", "synchronous": "on",
        "path": "pg_catalog, pg_temp"});
    assert_eq!(seen, expected);
}

/// N17: a launcher that is stopped comes back, and so does one that is stopped beside its worker.
#[test]
fn a_stopped_launcher_comes_back() {
    let cluster = Cluster::start();
    let database = cluster.database();
    unlimited(&database);
    let mut app = database.app();
    let mut guesses = 0;
    for with_worker in [false, true, true, true] {
        assert_eq!(guess(&mut app, &format!("before{guesses}@example.org")), "invalid_credentials");
        let launcher = process(&cluster, "auth launcher").expect("there is a launcher");
        if with_worker {
            // It may have left by itself meanwhile.
            if let Some(worker) = process(&cluster, "auth worker") {
                signal(worker, "-TERM");
            }
        }
        signal(launcher, "-TERM");
        wait_until("the launcher to end", || !running(launcher));
        wait_until("another launcher", || process(&cluster, "auth launcher").is_some_and(|new| new != launcher));
        wait_until("a worker's answer", || {
            guesses += 1;
            guess(&mut app, &format!("after{guesses}@example.org")) == "invalid_credentials"
        });
    }
    wait_until_happened(&database, "event_type = 'login_failure'", 4 + guesses);
    assert!(cluster.log().lines().all(|line| !line.contains("PANIC")));
}
