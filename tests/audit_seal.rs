//! The audit's seals: whoever changes, removes, inserts or moves a row is found out, whatever rights he has.

use std::collections::BTreeSet;

use auth_harness::{Client, Cluster, Database, Person, acting, json, refused, sign_in, sign_up, wait_until};
use serde_json::{Value, json as object};

use crate::audit::{configure, guess};
use crate::minting::{PASSWORD, count, text};

#[track_caller]
pub fn verified(client: &mut impl auth_harness::GenericClient) -> Value {
    json(client, "select auth.verify_audit()", &[])
}

/// Waits until the worker has sealed every row; what `auth.verify_audit` says then.
#[track_caller]
pub fn wait_until_sealed(database: &Database) -> Value {
    let mut admin = database.admin();
    let unsealed = "select count(*) from auth.audit_log where sequence is null";
    wait_until("every row to be sealed", || count(&mut admin, unsealed) == 0);
    let answer = verified(&mut admin);
    assert_eq!(answer["broken"], Value::Null);
    assert_eq!((&answer["unsealed"], &answer["oldest_unsealed"]), (&object!(0), &Value::Null));
    answer
}

/// Ten sealed rows of two people, facts and refusals mixed; the third is a fact of the first of them.
fn sealed_rows(database: &Database) -> (Person, Person) {
    configure(database, object!({"max_active_sessions": null}));
    let mut app = database.app();
    let (ada, eve) = (sign_up(&mut app, "ada@example.org", PASSWORD), sign_up(&mut app, "eve@example.org", PASSWORD));
    for _ in 0..2 {
        sign_in(&mut app, &ada.email, PASSWORD);
        guess(&mut app, &ada.email);
        sign_in(&mut app, &eve.email, PASSWORD);
        guess(&mut app, "nobody@example.org");
    }
    let answer = wait_until_sealed(database);
    assert_eq!((&answer["sealed"], &answer["first_sequence"]), (&object!(10), &object!(1)));
    (ada, eve)
}

/// What `auth.verify_audit` says about a change that is then undone.
#[track_caller]
fn after(superuser: &mut Client, change: &str) -> Value {
    let mut transaction = superuser.transaction().unwrap();
    transaction.batch_execute(change).unwrap_or_else(|error| panic!("{change}: {error:?}"));
    let answer = verified(&mut transaction);
    transaction.rollback().unwrap();
    answer
}

/// The number of the row where a change is found, or how the question was refused.
fn found(superuser: &mut Client, change: &str) -> Value {
    let mut transaction = superuser.transaction().unwrap();
    transaction.batch_execute(change).unwrap_or_else(|error| panic!("{change}: {error:?}"));
    match transaction.query_one("select auth.verify_audit()", &[]) {
        Ok(row) => row.get::<_, Value>(0)["broken"]["sequence"].clone(),
        Err(error) => object!(refused::<()>(Err(error)).message),
    }
}

/// N17: every column of a sealed row is covered: a superuser's change of any of them is found, in the row where it is.
#[test]
fn a_change_of_any_column_is_found() {
    let database = Cluster::shared().database();
    let (_, eve) = sealed_rows(&database);
    let mut superuser = database.superuser();
    let other = format!("'{}'", eve.user_id);
    let mut missed: Vec<String> = Vec::new();
    let changes = [
        ("id", "gen_random_uuid()"),
        ("user_id", &other),
        ("user_id", "gen_random_uuid()"),
        ("session_id", "gen_random_uuid()"),
        ("session_id", "null"),
        ("event_type", "'logout'"),
        ("event_type", "event_type || ' '"),
        ("success", "not success"),
        ("code", "'invalid_credentials'"),
        ("code", "''"),
        ("event_data", "event_data || '{\"x\": 1}'"),
        ("event_data", "'{}'"),
        ("ip", "'203.0.113.7'"),
        ("user_agent", "'Firefox'"),
        ("user_agent", "''"),
        ("count", "count + 1"),
        ("created_at", "created_at + interval '1 microsecond'"),
        ("created_at", "created_at - interval '2 years'"),
        ("seal", "null"),
        ("seal", "''"),
        ("seal", "substr(seal, 1, 43)"),
        ("seal", "seal || '\\x00'"),
        ("seal", "(select b.seal from auth.audit_log as b where b.sequence = 4)"),
        ("slot", "(slot + 1) % 24"),
        ("created_at", "'infinity'"),
    ];
    for (column, value) in changes {
        let change = format!("update auth.audit_log set {column} = {value} where sequence = 3");
        let answer = found(&mut superuser, &change);
        if answer != object!(3) {
            missed.push(format!("{change}: {answer}"));
        }
    }
    for byte in 0..44 {
        let set = format!("seal = set_byte(seal, {byte}, get_byte(seal, {byte}) # 1)");
        let change = format!("update auth.audit_log set {set} where sequence = 3");
        assert_eq!(found(&mut superuser, &change), object!(3), "{change}");
    }
    // A change of where it stands shows at the row after it, or at itself.
    for (value, broken) in [("null", 4), ("1", 1), ("2", 2), ("4", 4), ("11", 4), ("1000", 4), ("0", 0), ("-1", -1)] {
        let change = format!("update auth.audit_log set sequence = {value} where sequence = 3");
        assert_eq!(found(&mut superuser, &change), object!(broken), "{change}");
    }
    let tried: BTreeSet<&str> = changes.into_iter().map(|(column, _)| column).chain(["sequence"]).collect();
    let columns = "select attname::text from pg_attribute where attrelid = 'auth.audit_log'::regclass and attnum > 0";
    let columns = superuser.query(columns, &[]).unwrap();
    let columns: Vec<String> = columns.into_iter().map(|row| row.get(0)).collect();
    assert!(columns.iter().all(|column| tried.contains(column.as_str())), "{columns:?}");
    assert_eq!(verified(&mut superuser)["broken"], Value::Null, "nothing of that was kept");
    assert!(missed.is_empty(), "not found: {missed:#?}");
}

/// N17: a row that names nobody cannot be made somebody's; a deleted account is no alarm, and all its rows still verify.
#[test]
fn a_row_is_not_made_somebody_elses() {
    let database = Cluster::shared().database();
    let (ada, eve) = sealed_rows(&database);
    let mut superuser = database.superuser();
    let nobodys = count(&mut superuser, "select max(sequence) from auth.audit_log where user_id is null");
    let change = format!("update auth.audit_log set user_id = '{}' where sequence = {nobodys}", eve.user_id);
    assert_eq!(after(&mut superuser, &change)["broken"]["sequence"], nobodys);

    superuser.execute("delete from auth.users where id = $1", &[&ada.user_id]).unwrap();
    let answer = verified(&mut superuser);
    assert_eq!((&answer["broken"], &answer["sealed"]), (&Value::Null, &object!(10)));
    // Once it names nobody it cannot be given to another, but back to whose it was.
    let first = "update auth.audit_log set user_id = '{}' where sequence = 1";
    let change = first.replace("{}", &eve.user_id.to_string());
    assert_eq!(after(&mut superuser, &change)["broken"]["sequence"], 1);
    let change = first.replace("{}", &ada.user_id.to_string());
    assert_eq!(after(&mut superuser, &change)["broken"], Value::Null);
}

/// N17: rows removed at the beginning or in the middle, exchanged, inserted with a copied seal, moved or vouched for by a
/// forged anchor are found.
#[test]
fn a_chain_is_not_cut_or_mended() {
    let database = Cluster::shared().database();
    sealed_rows(&database);
    let mut superuser = database.superuser();
    let all = "id, slot, user_id, session_id, event_type, success, code, event_data, ip, user_agent, count, created_at";
    let copy = |sequence: &str, of: i32| {
        let columns = all.replacen("id", "gen_random_uuid()", 1);
        format!(
            "insert into auth.audit_log ({all}, sequence, seal) select {columns}, {sequence}, seal
            from auth.audit_log where sequence = {of};"
        )
    };
    let anchor = |first: i32, last: i32, seal: &str| {
        format!(
            "insert into auth.audit_anchors (first_sequence, last_sequence, last_seal, seal)
            select {first}, {last}, a.seal, {seal} from auth.audit_log as a where a.sequence = {last};
            delete from auth.audit_log where sequence between {first} and {last};"
        )
    };
    let renumber = "update auth.audit_log set sequence = sequence - 1 where sequence > 3;";
    for (what, change, broken) in [
        ("the first", "delete from auth.audit_log where sequence = 1".to_owned(), 2),
        ("the middle", "delete from auth.audit_log where sequence = 5".to_owned(), 6),
        ("the first half", "delete from auth.audit_log where sequence <= 5".to_owned(), 6),
        ("one, the rest moved up", format!("delete from auth.audit_log where sequence = 3; {renumber}"), 3),
        (
            "exchanged numbers",
            "update auth.audit_log set sequence = 9 - sequence where sequence in (4, 5)".to_owned(),
            4,
        ),
        (
            "exchanged numbers and seals",
            "update auth.audit_log as a set sequence = b.sequence, seal = b.seal from auth.audit_log as b
            where a.sequence + b.sequence = 9 and a.sequence in (4, 5)"
                .to_owned(),
            4,
        ),
        ("inserted at its end", copy("11", 10), 11),
        ("inserted before the first", copy("0", 1), 0),
        ("inserted far behind", copy("9000000000", 10), 9_000_000_000i64),
        ("an anchor of random bytes", anchor(1, 4, "decode(repeat('00', 36), 'hex')"), 5),
        ("an anchor of the right key", anchor(1, 4, "substr(a.seal, 1, 4) || decode(repeat('00', 32), 'hex')"), 5),
        ("an anchor with a row's seal", anchor(1, 4, "a.seal"), 5),
        ("an anchor with a row's MAC", anchor(1, 4, "substr(a.seal, 1, 4) || substr(a.seal, 13)"), 5),
        ("an anchor without a seal", anchor(3, 4, "''"), 5),
        ("inserted far before the first", copy("-7", 1), -7),
    ] {
        assert_eq!(after(&mut superuser, &change)["broken"]["sequence"], broken, "{what}");
    }
    // Two rows with one number: one of them is the wrong one.
    assert_eq!(
        after(&mut superuser, &copy("3", 3))["broken"]["sequence"].as_i64().map(|at| (3..=4).contains(&at)),
        Some(true)
    );
    // An anchor that nobody needs is no alarm and no help.
    let spare = "insert into auth.audit_anchors (first_sequence, last_sequence, last_seal, seal) values (3, 4, '', '')";
    assert_eq!(after(&mut superuser, spare)["broken"], Value::Null);
    // What nothing in the database can show is that the end is gone; so the answer names it.
    let last = verified(&mut superuser);
    let cut = after(&mut superuser, "delete from auth.audit_log where sequence = 10");
    assert_eq!((&cut["broken"], &cut["last_sequence"]), (&Value::Null, &object!(9)));
    assert_ne!(cut["last_seal"], last["last_seal"]);
}

/// N17: rows that wait for their seal are reported as such, and sealed by the worker when there is something to do.
#[test]
fn what_is_not_sealed_yet_is_reported() {
    let database = Cluster::shared().database();
    sealed_rows(&database);
    let (mut superuser, mut app) = (database.superuser(), database.app());
    let inserted = "insert into auth.audit_log (id, slot, event_type, success, created_at)
        select gen_random_uuid(), 0, 'forged', true, '2020-01-02 03:04:05.000006+00'";
    let answer = after(&mut superuser, inserted);
    assert_eq!((&answer["unsealed"], &answer["sealed"], &answer["broken"]), (&object!(1), &object!(10), &Value::Null));
    assert_eq!(answer["oldest_unsealed"], "2020-01-02T03:04:05.000006Z");
    // In its own transaction a fact is not sealed yet, and its row is of this moment.
    let mut transaction = superuser.transaction().unwrap();
    sign_in(&mut transaction, "ada@example.org", PASSWORD);
    assert_eq!(verified(&mut transaction)["unsealed"], 1);
    transaction.commit().unwrap();
    let answer = wait_until_sealed(&database);
    assert_eq!((&answer["sealed"], &answer["last_sequence"]), (&object!(11), &object!(11)));
    let newest = "select encode(seal, 'hex') from auth.audit_log where sequence = 11";
    assert_eq!(answer["last_seal"].as_str().map(str::to_owned), text(&mut superuser, newest));
    guess(&mut app, "ada@example.org");
    assert_eq!(wait_until_sealed(&database)["sealed"], 12);
}

/// N17: rows of a transaction that was open while others were sealed come into the chain after them; one that is rolled
/// back leaves no gap and no row that says it was done; two connections that write at once neither.
#[test]
fn rows_are_sealed_as_they_are_committed() {
    let database = Cluster::shared().database();
    configure(&database, object!({}));
    // The first sign-up of all makes the signing key, which others wait for.
    sign_up(&mut database.app(), "first@example.org", PASSWORD);
    let (mut slow, mut gone) = (database.app(), database.app());
    let mut open = slow.transaction().unwrap();
    sign_up(&mut open, "slow@example.org", PASSWORD);
    let mut lost = gone.transaction().unwrap();
    sign_up(&mut lost, "lost@example.org", PASSWORD);
    auth_harness::storm_with(
        2,
        |_| database.app(),
        |index, mut app| {
            for number in 0..20 {
                sign_up(&mut app, &format!("user{index}-{number}@example.org"), PASSWORD);
            }
        },
    );
    assert_eq!(wait_until_sealed(&database)["sealed"], 41);
    lost.rollback().unwrap();
    open.commit().unwrap();
    let mut superuser = database.superuser();
    // The one that was rolled back is a row too, of a sign-up that failed.
    let late = "select count(*) from auth.audit_log where sequence in (42, 43)
        and event_data ->> 'email' in ('slow@example.org', 'lost@example.org') and success = (event_type = 'signup')";
    wait_until("the late rows to be sealed", || count(&mut superuser, late) == 2);
    let answer = wait_until_sealed(&database);
    assert_eq!((&answer["sealed"], &answer["last_sequence"]), (&object!(43), &object!(43)));
    let earlier = "select count(*) from auth.audit_log where sequence > 41 and success
        and created_at < (select min(created_at) from auth.audit_log where sequence between 2 and 41)";
    assert_eq!(count(&mut superuser, earlier), 1, "it happened before all others");
}

/// N17: three thousand rows at once are sealed in several transactions, none of which holds the others up.
#[test]
fn many_rows_are_sealed_in_batches() {
    let database = Cluster::shared().database();
    configure(&database, object!({}));
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let mut superuser = database.superuser();
    let many = "insert into auth.audit_log (id, slot, user_id, event_type, success, event_data, count, created_at)
        select gen_random_uuid(), a.slot, a.user_id, 'imported', true, jsonb_build_object('n', g), 1, a.created_at
        from auth.audit_log as a, generate_series(1, 3000) as g";
    assert_eq!(superuser.execute(many, &[]).unwrap(), 3000);
    acting(&mut database.app(), &ada.access_token, |transaction| {
        transaction.execute("select auth.sign_out()", &[]).unwrap();
    });
    let answer = wait_until_sealed(&database);
    assert_eq!((&answer["sealed"], &answer["last_sequence"]), (&object!(3002), &object!(3002)));
    let batches = "select count(distinct xmin::text) from auth.audit_log";
    let batches = count(&mut superuser, batches);
    assert!(batches >= 6, "{batches}");
    let cut = "delete from auth.audit_log where sequence = 1500";
    assert_eq!(after(&mut superuser, cut)["broken"]["sequence"], 1501, "the walk does not end at a page");
}

/// N17: whoever verifies while others sign in and the worker seals never hears a false alarm, at any isolation level.
#[test]
fn verifying_beside_others_is_no_alarm() {
    let database = Cluster::shared().database();
    configure(&database, object!({"max_active_sessions": null}));
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let many = "insert into auth.audit_log (id, slot, event_type, success, created_at)
        select gen_random_uuid(), a.slot, 'imported', true, a.created_at
        from auth.audit_log as a, generate_series(1, 1500) as g";
    database.superuser().execute(many, &[]).unwrap();
    std::thread::scope(|scope| {
        let writing: Vec<_> = (0..2)
            .map(|_| {
                let mut app = database.app();
                let email = &ada.email;
                scope.spawn(move || (0..40).for_each(|_| drop(sign_in(&mut app, email, PASSWORD))))
            })
            .collect();
        let mut admin = database.admin();
        while !writing.iter().all(|thread| thread.is_finished()) {
            for level in ["read committed", "repeatable read"] {
                let mut transaction = admin.transaction().unwrap();
                transaction.batch_execute(&format!("set transaction isolation level {level}")).unwrap();
                let answer = verified(&mut transaction);
                assert_eq!(answer["broken"], Value::Null, "{level}");
                assert_eq!(answer["sealed"], answer["last_sequence"], "{level}");
            }
        }
    });
    assert_eq!(wait_until_sealed(&database)["sealed"], 1 + 1500 + 80);
}
