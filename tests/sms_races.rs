//! Codes by SMS under stress: many at once, transactions that do not commit, servers that die.

use auth_harness::{Client, Cluster, Database, refused, storm_with};
use serde_json::json;

use crate::otp::{not, said};
use crate::sms::{ADA, texted, texting};

const CALLERS: usize = 64;

fn at_once(database: &Database, act: impl Fn(usize, &mut Client) -> String + Sync) -> Vec<String> {
    storm_with(
        CALLERS,
        |number| {
            // A connection whose plans and caches are warm.
            let mut client = database.app();
            let other = format!("+1555555{number:04}");
            assert_eq!(said(&mut client, "verify_sms_otp($1, 'x')", &[&other]), "otp_expired");
            client
        },
        |number, mut client| act(number, &mut client),
    )
}

fn times(said: &[String], what: &str) -> usize {
    said.iter().filter(|said| *said == what).count()
}

/// XE3, F060, F061: of sixty-four who give one code at one moment one is let in, and there is one account and one session; for
/// a number that has an account already as well.
#[test]
fn sixty_four_with_one_code() {
    let cluster = Cluster::start();
    let database = texting(&cluster, json!({"lockout_attempts": null}));
    for round in 1..3 {
        let sms = texted(&database, ADA);
        let said = at_once(&database, |_, client| said(client, "verify_sms_otp($1, $2)", &[&ADA, &sms.code()]));
        assert_eq!((times(&said, "session"), times(&said, "otp_expired")), (1, CALLERS - 1), "{said:?}");
        let count = "select (select count(*) from auth.users), (select count(*) from auth.sessions)";
        let row = database.superuser().query_one(count, &[]).unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, round));
    }
}

/// XE3, XC1: of wrong codes from sixty-four connections at one moment five are looked at, for a number with a code and for one
/// without; then the right one is refused as well.
#[test]
fn wrong_codes_from_everywhere() {
    let cluster = Cluster::start();
    let database = texting(&cluster, json!({}));
    let sms = texted(&database, ADA);
    for phone in [ADA, "+4915112345679"] {
        let said = at_once(&database, |_, client| said(client, "verify_sms_otp($1, $2)", &[&phone, &not(sms.code())]));
        assert_eq!((times(&said, "otp_expired"), times(&said, "account_locked")), (5, CALLERS - 5), "{said:?}");
    }
    assert_eq!(said(&mut database.app(), "verify_sms_otp($1, $2)", &[&ADA, &sms.code()]), "account_locked");
}

/// XC2, XC3, N09: a code that a transaction has spent stays spent although it rolls back, by itself, at a savepoint or by an error,
/// and although the server is killed then; the account that it made is gone. Asked for anew it signs in.
#[test]
fn a_rolled_back_code_stays_spent() {
    let cluster = Cluster::start();
    let database = texting(&cluster, json!({"lockout_attempts": 20}));
    let mut app = database.app();
    let call = "verify_sms_otp($1, $2)";
    let ends: [fn(&mut Client); 3] = [
        |client| client.batch_execute("rollback").unwrap(),
        |client| client.batch_execute("rollback to s; commit").unwrap(),
        |client| {
            refused(client.batch_execute("select 1 / 0"));
            client.batch_execute("commit").unwrap();
        },
    ];
    for end in ends {
        let sms = texted(&database, ADA);
        app.batch_execute("begin; savepoint s").unwrap();
        assert_eq!(said(&mut app, call, &[&ADA, &sms.code()]), "session");
        // Nobody else waits for it, or is let in meanwhile.
        assert_eq!(said(&mut database.app(), call, &[&ADA, &sms.code()]), "otp_expired");
        end(&mut app);
        assert_eq!(said(&mut app, call, &[&ADA, &sms.code()]), "otp_expired");
        let users = "select count(*) from auth.users";
        assert_eq!(app_count(&database, users), 0);
    }
    let sms = texted(&database, ADA);
    app.batch_execute("begin").unwrap();
    assert_eq!(said(&mut app, call, &[&ADA, &sms.code()]), "session");
    app.batch_execute("rollback").unwrap();
    auth_harness::wait_until("what nobody waits for to be written", || {
        app_count(
            &database,
            "select count(*) from auth.audit_log where event_type = 'sms_failure' and code = 'rolled_back'",
        ) == 4
    });
    cluster.kill9();
    cluster.start_again();
    let mut app = database.app();
    assert_eq!(said(&mut app, call, &[&ADA, &sms.code()]), "otp_expired", "a kill makes nobody forget");
    let sms = texted(&database, ADA);
    assert_eq!(said(&mut app, call, &[&ADA, &sms.code()]), "session");
}

fn app_count(database: &Database, count: &str) -> i64 {
    database.superuser().query_one(count, &[]).unwrap().get(0)
}
