//! `auth.count_attempt`: limits of an app's own, by whatever it likes, and addresses of direct connections.

use auth_harness::postgres::NoTls;
use auth_harness::{Client, Cluster, Database, GenericClient, Refusal, refused, sign_up, storm_with, wait_until};
use serde_json::json;

use crate::guard::{RIGHT, code, guarded, retry_after, wrong};

fn service(database: &Database) -> Client {
    let mut service = database.service();
    service.batch_execute("set role service_role").unwrap();
    service
}

fn count(client: &mut impl GenericClient, arguments: &str) -> Result<(), Refusal> {
    match client.execute(&format!("select auth.count_attempt({arguments})"), &[]) {
        Ok(_) => Ok(()),
        Err(error) => Err(refused::<()>(Err(error))),
    }
}

/// F125, N35: the attempt after the last is refused with the time that is left, for each bucket and subject by itself, and
/// no ROLLBACK uncounts one; then the time is over and it begins anew.
#[test]
fn an_app_counts_what_it_likes() {
    let database = Cluster::shared().database();
    for mut client in [service(&database), database.sidecar()] {
        for _ in 0..3 {
            let mut transaction = client.transaction().unwrap();
            count(&mut transaction, "'oauth', session_user || '192.0.2.1', 3, '10 minutes'").unwrap();
            transaction.rollback().unwrap();
        }
        for _ in 0..3 {
            let refusal = count(&mut client, "'oauth', session_user || '192.0.2.1', 3, '10 minutes'").unwrap_err();
            assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("53400", "over_request_rate_limit"));
            assert!((580..=600).contains(&retry_after(&refusal)), "{refusal:?}");
        }
        count(&mut client, "'oauth', session_user || '192.0.2.2', 3, '10 minutes'").unwrap();
        count(&mut client, "'export', session_user || '192.0.2.1', 3, '10 minutes'").unwrap();
        count(&mut client, "'oaut', 'h' || session_user || '192.0.2.1', 3, '10 minutes'").unwrap();
    }
    let mut client = service(&database);
    // By network: any two addresses of one /64, and the time runs from the first.
    for last in ["1", "2"] {
        count(&mut client, &format!("'oauth', auth.network('2001:db8::{last}')::text, 2, '1 second'")).unwrap();
    }
    let third = "'oauth', auth.network('2001:db8::3')::text, 2, '1 second'";
    wait_until("the second to pass", || count(&mut client, third).is_ok());
    let neighbour = Cluster::shared().database();
    let mut other = service(&neighbour);
    for _ in 0..3 {
        count(&mut other, "'oauth', 'service192.0.2.1', 3, '10 minutes'").unwrap();
    }
}

/// F125, XC1: of forty at one moment as many are let through as the limit says.
#[test]
fn forty_counts_at_once() {
    let database = Cluster::shared().database();
    let answers = storm_with(
        40,
        |number| {
            let mut client = service(&database);
            count(&mut client, &format!("'warm', '{number}', 1, '1 hour'")).unwrap();
            client
        },
        |_, mut client| count(&mut client, "'oauth', 'one', 7, '1 hour'"),
    );
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 7, "{answers:?}");
    for refusal in answers.into_iter().filter_map(Result::err) {
        assert!((3590..=3600).contains(&retry_after(&refusal)), "{refusal:?}");
    }
}

/// N35: arguments that are no limit are refused and count nothing; an app's bucket is none of ours.
#[test]
fn what_is_no_limit_is_refused() {
    let database = guarded(Cluster::shared(), json!({}));
    let mut client = service(&database);
    for arguments in [
        "null, 's', 1, '1 hour'",
        "'b', null, 1, '1 hour'",
        "'b', 's', null, '1 hour'",
        "'b', 's', 1, null",
        "'b', 's', 0, '1 hour'",
        "'b', 's', -1, '1 hour'",
        "'b', 's', 1000001, '1 hour'",
        "'b', 's', 1, '0'",
        "'b', 's', 1, '999 ms'",
        "'b', 's', 1, '-1 hour'",
        "'b', 's', 1, '32 days'",
        "'b', 's', 1, '100 years'",
        "'b', 's', 1, '178000000 years'",
    ] {
        let refusal = count(&mut client, arguments).unwrap_err();
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{arguments}");
    }
    for arguments in ["'b', 's', 1, '1 hour'", "'', '', 1000000, '1 second'", "'b', repeat('x', 1000000), 1, '31 days'"]
    {
        count(&mut client, arguments).unwrap();
    }
    sign_up(&mut database.app(), "ada@example.org", RIGHT);
    for bucket in ["password", "app password", "signup", "network", "database"] {
        count(&mut client, &format!("'{bucket}', 'ada@example.org', 1, '1 hour'")).unwrap();
    }
    assert_eq!(code(&mut database.app(), "ada@example.org", RIGHT), "session");
}

/// N35: what was counted for a subject is forgotten by the name that it was counted under, whatever that looks like.
#[test]
fn a_subject_is_reset_by_its_name() {
    let database = Cluster::shared().database();
    let (mut client, mut admin) = (service(&database), database.admin());
    for subject in ["tenant 7", "Ada@Example.org", "192.0.2.1", "192.0.2.1/32", "2001:db8::/64", ""] {
        let arguments = format!("'b', '{subject}', 1, '1 hour'");
        count(&mut client, &arguments).unwrap();
        count(&mut client, &arguments).unwrap_err();
        let reset: i64 = admin.query_one("select auth.guard_reset($1)", &[&subject]).unwrap().get(0);
        assert!(reset >= 1, "{subject:?}");
        count(&mut client, &arguments).unwrap_or_else(|refusal| panic!("{subject:?}: {refusal:?}"));
        admin.execute("select auth.guard_reset($1)", &[&subject]).unwrap();
    }
}

/// B070, F216: with auth.direct_clients on the address of a TCP connection is its client's; a unix socket has none, and what
/// the sidecar says goes before.
#[test]
fn direct_clients_are_counted_by_their_connection() {
    let cluster = Cluster::builder().setting("auth.direct_clients", "on").start();
    let database = guarded(&cluster, json!({"rate_limit_network": "4/900", "rate_limit_database": null}));
    let mut direct = Client::connect(&database.url("app"), NoTls).unwrap();
    for number in 0..3 {
        sign_up(&mut direct, &format!("user{number}@example.org"), RIGHT);
    }
    let fourth = "select auth.sign_up('user4@example.org', 'correct horse battery')";
    assert_eq!(refused(direct.execute(fourth, &[])).code, "over_request_rate_limit");
    let mut socket = database.app();
    for number in 4..8 {
        sign_up(&mut socket, &format!("user{number}@example.org"), RIGHT);
    }
    for number in 0..4 {
        wrong(&mut direct, &format!("user{number}@example.org"), 1);
    }
    assert_eq!(code(&mut direct, "user7@example.org", RIGHT), "over_request_rate_limit");
    let mut again = Client::connect(&database.url("app"), NoTls).unwrap();
    assert_eq!(code(&mut again, "user7@example.org", RIGHT), "over_request_rate_limit", "a new connection");
    assert_eq!(code(&mut socket, "user7@example.org", RIGHT), "session");
    let mut sidecar = Client::connect(&database.url("sidecar"), NoTls).unwrap();
    assert_eq!(code(&mut sidecar, "user7@example.org", RIGHT), "over_request_rate_limit");
    let mut transaction = sidecar.transaction().unwrap();
    transaction.execute("select auth.set_request_context('192.0.2.1', 'x')", &[]).unwrap();
    assert_eq!(code(&mut transaction, "user7@example.org", RIGHT), "session");
    transaction.commit().unwrap();
    database.admin().execute("select auth.guard_reset('127.0.0.1')", &[]).unwrap();
    assert_eq!(code(&mut direct, "user7@example.org", RIGHT), "session");
}

/// XC8, B070: without auth.direct_clients the address of a TCP connection is that of a pooler, and nobody's: everybody shares
/// the database's limit, and new accounts are not counted.
#[test]
fn a_connection_without_direct_clients_has_no_network() {
    let limits = json!({"rate_limit_network": "2/900", "rate_limit_database": "4/900", "rate_limit_signup": "1/900"});
    let database = guarded(Cluster::shared(), limits);
    let mut pooler = Client::connect(&database.url("app"), NoTls).unwrap();
    for number in 0..2 {
        sign_up(&mut pooler, &format!("user{number}@example.org"), RIGHT);
    }
    for number in 0..4 {
        wrong(&mut pooler, &format!("nobody{number}@example.org"), 1);
    }
    assert_eq!(code(&mut pooler, "user0@example.org", RIGHT), "over_request_rate_limit");
    assert_eq!(code(&mut database.app(), "user0@example.org", RIGHT), "over_request_rate_limit", "the same limit");
    let blocks = "select count(*) from auth.audit_log where event_type = 'network_blocked'";
    assert_eq!(database.superuser().query_one(blocks, &[]).unwrap().get::<_, i64>(0), 0);
}
