//! The audit's chain over the years: kills, a new root key, a restore elsewhere, months that are emptied.

use auth_harness::{Client, Cluster, json, refused, sign_in, sign_up, wait_until};
use serde_json::{Value, json as object};

use crate::audit::{configure, guess};
use crate::audit_seal::{verified, wait_until_sealed};
use crate::minting::{PASSWORD, count};

const OLD: &str = "1 b25lIHJvb3Qga2V5IG9mIHRoZSBhdWRpdCB0ZXN0cyE=\n";
const NEW: &str = "7 YW5vdGhlciByb290IGtleSBvZiB0aGlzIHRlc3QhISE=\n";
const WRONG: &str = "1 YW5vdGhlciByb290IGtleSBvZiB0aGlzIHRlc3QhISE=\n";

fn command(cluster: &Cluster, program: &str, args: &[&str]) {
    let output = cluster.command(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// N17: the chain goes on where it was after a kill of the server, under a new first root key, and in the database that a
/// dump is restored into; without the key of its beginning, or under another one, it is a clear error and not a verdict.
#[test]
fn the_chain_outlives_kills_keys_and_restores() {
    let cluster = Cluster::builder().root_key(OLD).durable().start();
    let database = cluster.database();
    configure(&database, object!({"max_active_sessions": null}));
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    guess(&mut database.app(), "nobody@example.org");
    wait_until_sealed(&database);
    // Whatever the kill meets: rows without a seal, or a worker in the middle of giving it.
    for _ in 0..5 {
        sign_in(&mut database.app(), &ada.email, PASSWORD);
    }
    cluster.kill9();
    cluster.start_again();
    sign_in(&mut database.app(), &ada.email, PASSWORD);
    let answer = wait_until_sealed(&database);
    assert_eq!((&answer["sealed"], &answer["last_sequence"]), (&object!(8), &object!(8)));

    let write = |text: &str| std::fs::write(cluster.root_key_path(), text).unwrap();
    let key_ids = |client: &mut Client| -> Vec<i32> {
        let sql = "select get_byte(seal, 3) from auth.audit_log order by sequence";
        client.query(sql, &[]).unwrap().into_iter().map(|row| row.get(0)).collect()
    };
    write(&format!("{NEW}{OLD}"));
    sign_in(&mut database.app(), &ada.email, PASSWORD);
    assert_eq!(wait_until_sealed(&database)["sealed"], 9);
    assert_eq!(key_ids(&mut database.superuser()), [1, 1, 1, 1, 1, 1, 1, 1, 7]);
    for (keyring, code) in [(NEW, "root_key_m"), (WRONG, "root_key_mismatch")] {
        write(keyring);
        let refusal = refused(database.admin().query_one("select auth.verify_audit()", &[]));
        assert_eq!(refusal.sqlstate, "55000", "{}", refusal.message);
        assert!(refusal.code.starts_with(code) && refusal.hint.is_some(), "{refusal:?}");
    }
    std::fs::remove_file(cluster.root_key_path()).unwrap();
    let refusal = refused(database.admin().query_one("select auth.verify_audit()", &[]));
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("55000", "root_key_missing"));
    write(&format!("{NEW}{OLD}"));
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(cluster.root_key_path(), permissions).unwrap();
    let owner = std::fs::metadata(cluster.data_dir()).unwrap();
    let (uid, gid) = (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
    std::os::unix::fs::chown(cluster.root_key_path(), Some(uid), Some(gid)).unwrap();
    let last = verified(&mut database.admin());

    // With a row that the dump takes along without its seal.
    let unsealed = "insert into auth.audit_log (id, slot, event_type, success, created_at)
        select gen_random_uuid(), slot, 'late', true, created_at from auth.audit_log where sequence = 9";
    database.superuser().execute(unsealed, &[]).unwrap();
    let elsewhere = Cluster::builder().root_key(&format!("{NEW}{OLD}")).start();
    let restored = elsewhere.empty_database();
    let file = cluster.socket_dir().join("dump.sql").display().to_string();
    command(&cluster, "pg_dump", &["-f", &file, database.name()]);
    command(&elsewhere, "psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", restored.name(), "-f", &file]);
    let answer = verified(&mut restored.admin());
    assert_eq!((&answer["broken"], &answer["unsealed"]), (&Value::Null, &object!(1)));
    assert_eq!((&answer["last_seal"], &answer["last_sequence"]), (&last["last_seal"], &object!(9)));
    sign_in(&mut restored.superuser(), &ada.email, PASSWORD);
    assert_eq!(wait_until_sealed(&restored)["last_sequence"], 11);
    let change = "update auth.audit_log set success = not success where sequence = 4";
    restored.superuser().execute(change, &[]).unwrap();
    assert_eq!(verified(&mut restored.admin())["broken"]["sequence"], 4);
}

/// N17, F225: each row is in the slot of its month, in UTC, whatever the client's time zone.
#[test]
fn a_row_is_in_the_slot_of_its_month() {
    let database = Cluster::shared().database();
    configure(&database, object!({}));
    let mut superuser = database.superuser();
    for (number, zone) in ["Pacific/Kiritimati", "Etc/GMT+12", "UTC"].into_iter().enumerate() {
        let mut app = database.app();
        app.batch_execute(&format!("set timezone = '{zone}'; set datestyle = 'German'")).unwrap();
        sign_up(&mut app, &format!("user{number}@example.org"), PASSWORD);
        guess(&mut app, &format!("nobody{number}@example.org"));
    }
    let wrong =
        "select count(*) from auth.audit_log where slot <> (extract(year from created_at at time zone 'UTC') * 12
        + extract(month from created_at at time zone 'UTC') - 1)::integer % 24
        or tableoid <> format('auth.audit_log_%s', lpad(slot::text, 2, '0'))::regclass";
    assert_eq!(count(&mut superuser, wrong), 0);
    assert_eq!(count(&mut superuser, "select count(*) from auth.audit_log"), 6);
    assert_eq!(wait_until_sealed(&database)["sealed"], 6);
}

/// Rows from so many months ago, in their slot and without a seal.
fn plant(superuser: &mut Client, months: i32, rows: i32, what: &str) {
    let sql = "insert into auth.audit_log (id, slot, event_type, success, created_at)
        select gen_random_uuid(), (extract(year from m.t) * 12 + extract(month from m.t) - 1)::integer % 24, $3, true,
            (m.t + interval '1 hour' + g * interval '1 second') at time zone 'UTC'
        from (select date_trunc('month', now() at time zone 'UTC') - $1 * interval '1 month' as t) as m,
            generate_series(1, $2) as g";
    superuser.execute(sql, &[&f64::from(months), &rows, &what]).unwrap();
}

/// N17: what next month needs the place of, which is two years old by then, goes by itself, in as many runs as it was
/// sealed in, and the chain verifies over the gaps and goes on; nothing younger goes, and no gap is without its voucher.
#[test]
fn a_month_is_emptied_after_two_years() {
    let cluster = Cluster::builder().start();
    let (database, younger) = (cluster.database(), cluster.database());
    for database in [&database, &younger] {
        configure(database, object!({"max_active_sessions": null}));
        let mut superuser = database.superuser();
        // The first chores after the start empty nothing: there is nothing yet.
        sign_up(&mut database.app(), "ada@example.org", PASSWORD);
        wait_until_sealed(database);
        for what in ["old", "older"] {
            plant(&mut superuser, 23, 10, what);
            sign_in(&mut database.app(), "ada@example.org", PASSWORD);
            wait_until_sealed(database);
        }
        // 22 months, 12 months, and the month before this one.
        for months in [22, 12, 1] {
            plant(&mut superuser, months, 5, "kept");
        }
        sign_in(&mut database.app(), "ada@example.org", PASSWORD);
        assert_eq!(wait_until_sealed(database)["sealed"], 4 + 20 + 15);
    }
    // One row in the slot that is younger than the others keeps them all.
    let moved = "insert into auth.audit_log (id, slot, event_type, success, created_at)
        select gen_random_uuid(), slot, 'young', true, now() - interval '21 months'
        from auth.audit_log where event_type = 'old' limit 1";
    younger.superuser().execute(moved, &[]).unwrap();
    let revoked = "insert into auth.revocations (scope, subject, not_before, reason, created_at)
        values ('session', gen_random_uuid(), now(), 'old', now() - interval '3 days')";
    younger.superuser().execute(revoked, &[]).unwrap();
    sign_in(&mut younger.app(), "ada@example.org", PASSWORD);
    let unsealed = "select count(*) from auth.audit_log where sequence is null";
    wait_until("every row to be sealed", || count(&mut younger.superuser(), unsealed) == 0);
    // It is where it does not belong, and that is told too.
    assert_eq!(verified(&mut younger.admin())["broken"]["sequence"], 40);

    cluster.restart();
    for database in [&database, &younger] {
        sign_in(&mut database.app(), "ada@example.org", PASSWORD);
    }
    let (mut superuser, mut admin) = (database.superuser(), database.admin());
    let old = "select count(*) from auth.audit_log where event_type in ('old', 'older')";
    wait_until("the old month to be emptied", || count(&mut superuser, old) == 0);
    let answer = wait_until_sealed(&database);
    assert_eq!((&answer["sealed"], &answer["last_sequence"]), (&object!(20), &object!(40)));
    assert_eq!(count(&mut superuser, "select count(*) from auth.audit_log where event_type = 'kept'"), 15);
    let anchors =
        superuser.query("select first_sequence, last_sequence from auth.audit_anchors order by 1", &[]).unwrap();
    let anchors: Vec<(i64, i64)> = anchors.into_iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(anchors.iter().map(|(first, last)| last - first + 1).sum::<i64>(), 20, "{anchors:?}");
    assert_eq!(anchors.len(), 2, "{anchors:?}");
    for change in [
        "delete from auth.audit_anchors where first_sequence = (select min(first_sequence) from auth.audit_anchors)",
        "update auth.audit_anchors set last_seal = set_byte(last_seal, 20, get_byte(last_seal, 20) # 1)",
        "update auth.audit_anchors set seal = set_byte(seal, 20, get_byte(seal, 20) # 1)",
        "update auth.audit_anchors set last_sequence = last_sequence + 1",
        "update auth.audit_anchors set first_sequence = first_sequence - 1",
        "delete from auth.audit_log where sequence = (select max(last_sequence) + 1 from auth.audit_anchors)",
    ] {
        let mut transaction = superuser.transaction().unwrap();
        assert!(transaction.execute(change, &[]).unwrap() > 0);
        assert_ne!(verified(&mut transaction)["broken"], Value::Null, "{change}");
    }
    sign_in(&mut database.app(), "ada@example.org", PASSWORD);
    assert_eq!(wait_until_sealed(&database)["last_sequence"], 41);
    assert_eq!(json(&mut admin, "select auth.verify_audit()", &[])["first_sequence"], 1);

    // The other database's chores are over when the old revocation is gone, and its month is still there.
    let mut superuser = younger.superuser();
    wait_until("the chores", || count(&mut superuser, "select count(*) from auth.revocations") == 0);
    assert_eq!(count(&mut superuser, old), 20);
    assert_eq!(count(&mut superuser, "select count(*) from auth.audit_anchors"), 0);
}

/// N17, F225: the same at the turn of a month, where the client's month is another one, for the client's rows and the worker's.
#[test]
fn a_month_ends_in_utc() {
    let cluster = Cluster::builder()
        .env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1")
        .env("FAKETIME", "@2027-01-31 20:00:00")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("TZ", "UTC")
        .start();
    let database = cluster.database();
    configure(&database, object!({}));
    let mut superuser = database.superuser();
    let set = format!("alter database {} set timezone = 'Asia/Kolkata'", database.name());
    superuser.batch_execute(&set).unwrap();
    let mut app = database.app();
    sign_up(&mut app, "ada@example.org", PASSWORD);
    guess(&mut app, "nobody@example.org");
    let slots = "select count(*) from auth.audit_log
        where to_char(created_at at time zone 'UTC', 'YYYY-MM') = '2027-01' and slot = (2027 * 12) % 24";
    assert_eq!(count(&mut superuser, slots), 2);
    assert_eq!(count(&mut superuser, "select count(*) from auth.audit_log"), 2);
    assert_eq!(wait_until_sealed(&database)["broken"], Value::Null);
}
