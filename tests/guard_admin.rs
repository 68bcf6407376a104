//! Working the guard: reset, status, and who may do what.

use auth_harness::{Client, Cluster, Database, json, refused, sign_in, sign_up, wait_until};
use serde_json::json;

use crate::guard::{RIGHT, code, guarded, locked, wrong};

/// F217: an administrator ends a lock by the address, however it is written; others stay locked, and the audit says who did.
#[test]
fn guard_reset_forgets_one_subject() {
    let database = guarded(Cluster::shared(), json!({}));
    let (mut app, mut admin) = (database.app(), database.admin());
    for email in ["ada@example.org", "bob@example.org"] {
        sign_up(&mut app, email, RIGHT);
        wrong(&mut app, email, 5);
    }
    let mut reset =
        |subject: &str| -> i64 { admin.query_one("select auth.guard_reset($1)", &[&subject]).unwrap().get(0) };
    assert_eq!(reset("nobody@example.org"), 0);
    assert_eq!(reset("' or true --"), 0);
    locked(&mut app, "ada@example.org");
    assert_eq!(reset("Ada@EXAMPLE.org"), 1);
    assert_eq!(reset("ada@example.org"), 0);
    locked(&mut app, "bob@example.org");
    // As if nothing had been: neither the failures nor that there was a lock.
    wrong(&mut app, "ada@example.org", 4);
    assert_eq!(code(&mut app, "ada@example.org", RIGHT), "session");
    let refusal = refused(admin.execute("select auth.guard_reset(null)", &[]));
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"));
    let by: Vec<Option<String>> = database
        .superuser()
        .query(
            "select event_data ->> 'by' from auth.audit_log
            where event_type = 'guard_reset' and event_data ->> 'subject' = 'ada@example.org'",
            &[],
        )
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(by, [Some("admin".to_owned()), Some("admin".to_owned())]);
    // At once, whatever becomes of the transaction.
    let mut transaction = admin.transaction().unwrap();
    transaction.execute("select auth.guard_reset('bob@example.org')", &[]).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(code(&mut app, "bob@example.org", RIGHT), "session");
}

/// F217, XC8: the guard is worked by administrators, networks are said by the sidecar, and nobody else may.
#[test]
fn only_the_listed_roles_work_the_guard() {
    let database = Cluster::shared().database();
    let calls = [
        ("select auth.guard_status()", &["admin"][..]),
        ("select auth.gate_status()", &["admin"]),
        ("select auth.guard_reset('ada@example.org')", &["admin"]),
        ("select auth.block_network('192.0.2.0/24')", &["admin"]),
        ("select auth.unblock_network('192.0.2.0/24')", &["admin"]),
        ("select * from auth.blocked_networks", &["admin"]),
        ("select auth.network('192.0.2.1')", &["admin", "service", "sidecar"]),
        ("select auth.count_attempt('b', 's', 5, '1 h')", &["service", "sidecar"]),
        ("select auth.set_request_context('192.0.2.1', 'x')", &["sidecar"]),
        ("insert into auth.blocked_networks (network) values ('0.0.0.0/0')", &[]),
        ("delete from auth.blocked_networks", &[]),
        ("insert into auth.audit_log select * from auth.audit_log", &[]),
        ("delete from auth.audit_log", &[]),
        ("truncate auth.audit_log", &[]),
    ];
    for login in ["app", "service", "admin", "sidecar"] {
        let roles = match login {
            "app" => &["", "set local role anon", "set local role authenticated"][..],
            "service" => &["set local role service_role"],
            _ => &[""],
        };
        for role in roles {
            let mut client: Client = database.connect(login);
            for (call, allowed) in calls {
                let mut transaction = client.transaction().unwrap();
                transaction.batch_execute(role).unwrap();
                let result = transaction.execute(call, &[]);
                match allowed.contains(&login) {
                    true => drop(result.unwrap_or_else(|error| panic!("{login} {role}: {call}: {error:?}"))),
                    false => assert_eq!(refused(result).sqlstate, "42501", "{login} {role}: {call}"),
                }
            }
        }
    }
}

/// F217: guard_status counts the counters of its own database, and the locked ones among them.
#[test]
fn guard_status_counts() {
    let (database, neighbour) = (guarded(Cluster::shared(), json!({})), guarded(Cluster::shared(), json!({})));
    let mut app = database.app();
    let status = |database: &Database| json(&mut database.admin(), "select auth.guard_status()", &[]);
    assert_eq!((&status(&database)["used"], &status(&database)["locked"]), (&json!(0), &json!(0)));
    // The first call of all makes keys, and that is an event as well.
    sign_up(&mut app, "eve@example.org", RIGHT);
    let earlier = status(&database)["events_written"].as_u64().unwrap();
    wrong(&mut app, "ada@example.org", 5);
    wrong(&mut app, "bob@example.org", 1);
    let before = status(&database);
    // Two accounts and the database as a whole.
    assert_eq!((&before["used"], &before["locked"], &before["slots"]), (&json!(3), &json!(1), &json!(65_536)));
    assert_eq!((&status(&neighbour)["used"], &status(&neighbour)["locked"]), (&json!(0), &json!(0)));
    locked(&mut app, "ada@example.org");
    let after = status(&database);
    assert!(after["refused"].as_u64().unwrap() > before["refused"].as_u64().unwrap(), "{before} {after}");
    // Six failures, a lock, and the refusal that waits for equal ones.
    wait_until("the events to be written", || {
        let status = status(&database);
        (&status["events_written"], &status["events_waiting"]) == (&json!(earlier + 8), &json!(0))
    });
    assert_eq!(status(&database)["events_dropped"], 0);
    sign_up(&mut app, "bob@example.org", RIGHT);
    sign_in(&mut app, "bob@example.org", RIGHT);
    assert_eq!(status(&database)["used"], 2, "a sign-in frees the counter");
}
