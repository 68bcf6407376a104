//! Limits by network: which addresses are believed, what they are counted as, and how a network is blocked.

use auth_harness::{Client, Cluster, GenericClient, Transaction, json, refused, sign_up, storm_with, wait_until};
use serde_json::json;

use crate::guard::{RIGHT, WRONG, code, guarded, guess, retry_after, wrong};
use crate::refresh::{configure, refresh};

/// Acts as the sidecar does for a client at an address, and commits.
#[track_caller]
pub fn from<T>(sidecar: &mut Client, address: &str, act: impl FnOnce(&mut Transaction<'_>) -> T) -> T {
    let mut transaction = sidecar.transaction().unwrap();
    transaction.execute("select auth.set_request_context($1::text::inet, 'agent')", &[&address]).unwrap();
    let answer = act(&mut transaction);
    transaction.commit().unwrap();
    answer
}

pub fn code_from(sidecar: &mut Client, address: &str, email: &str, password: &str) -> String {
    from(sidecar, address, |transaction| code(transaction, email, password))
}

fn sign_up_code(client: &mut impl GenericClient, email: &str) -> String {
    match client.query_one("select auth.sign_up($1, $2) ->> 'status'", &[&email, &RIGHT]) {
        Ok(row) => row.get(0),
        Err(error) => refused::<()>(Err(error)).code,
    }
}

/// F215: five wrong guesses at one account from one network, and that network is out for this account, with the right
/// password too; other networks, callers without one, and other accounts are not. The time runs from the first.
#[test]
fn an_account_from_one_network() {
    let database = guarded(Cluster::shared(), json!({"lockout_attempts": null}));
    let (mut app, mut sidecar) = (database.app(), database.sidecar());
    sign_up(&mut app, "ada@example.org", RIGHT);
    for _ in 0..5 {
        assert_eq!(code_from(&mut sidecar, "192.0.2.1", "ada@example.org", WRONG), "invalid_credentials");
    }
    for password in [RIGHT, WRONG] {
        let refusal = from(&mut sidecar, "192.0.2.1", |client| guess(client, "ada@example.org", password)).unwrap_err();
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("53400", "over_request_rate_limit"));
        assert!((880..=900).contains(&retry_after(&refusal)), "{refusal:?}");
    }
    assert_eq!(code_from(&mut sidecar, "192.0.2.1", "bob@example.org", WRONG), "invalid_credentials");
    assert_eq!(code_from(&mut sidecar, "192.0.2.2", "ada@example.org", RIGHT), "session");
    assert_eq!(code(&mut app, "ada@example.org", RIGHT), "session");
    assert_eq!(code_from(&mut sidecar, "192.0.2.1", "ada@example.org", RIGHT), "over_request_rate_limit");

    configure(&database, json!({"rate_limit_login": "2/1"}));
    for _ in 0..2 {
        code_from(&mut sidecar, "192.0.2.3", "ada@example.org", WRONG);
    }
    wait_until("the second to pass", || code_from(&mut sidecar, "192.0.2.3", "ada@example.org", RIGHT) == "session");
}

/// F216, N09: three new accounts an hour from one network, also if they were rolled back or refused; other networks and
/// callers without an address go on.
#[test]
fn three_sign_ups_from_one_network() {
    let database = guarded(Cluster::shared(), json!({}));
    let (mut app, mut sidecar) = (database.app(), database.sidecar());
    for number in 0..3 {
        let mut transaction = sidecar.transaction().unwrap();
        transaction.execute("select auth.set_request_context('192.0.2.1', 'x')", &[]).unwrap();
        assert_eq!(sign_up_code(&mut transaction, &format!("user{number}@example.org")), "session");
        transaction.rollback().unwrap();
    }
    let fourth = from(&mut sidecar, "192.0.2.1", |client| {
        refused(client.execute("select auth.sign_up('user4@example.org', $1)", &[&RIGHT]))
    });
    assert_eq!((fourth.sqlstate.as_str(), fourth.code.as_str()), ("53400", "over_request_rate_limit"));
    assert!((3590..=3600).contains(&retry_after(&fourth)), "{fourth:?}");
    let by =
        |sidecar: &mut Client, address: &str, email: &str| from(sidecar, address, |client| sign_up_code(client, email));
    assert_eq!(by(&mut sidecar, "192.0.2.2", "other@example.org"), "session");
    for number in 0..4 {
        assert_eq!(sign_up_code(&mut app, &format!("app{number}@example.org")), "session");
    }
    // What is refused for its form never came to a hash and counts nothing.
    for number in 0..5 {
        let weak = from(&mut sidecar, "192.0.2.3", |client| {
            refused(client.execute(&format!("select auth.sign_up('weak{number}@example.org', 'short')"), &[])).code
        });
        assert_eq!(weak, "weak_password");
    }
    assert_eq!(by(&mut sidecar, "192.0.2.3", "strong@example.org"), "session");
    configure(&database, json!({"rate_limit_enabled": false}));
    assert_eq!(by(&mut sidecar, "192.0.2.1", "fifth@example.org"), "session");
}

/// B070, B072: a network that fails too often, whoever it tries, is blocked for five minutes: sign-ins and sign-ups, right or
/// wrong. Addresses that are found taken count. It is in the audit, and an administrator ends it.
#[test]
fn a_network_with_many_failures_is_blocked() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_network": "6/900", "rate_limit_signup": "100/60"}));
    let mut sidecar = database.sidecar();
    sign_up(&mut database.app(), "ada@example.org", RIGHT);
    for number in 0..3 {
        let email = format!("user{number}@example.org");
        assert_eq!(code_from(&mut sidecar, "192.0.2.1", &email, WRONG), "invalid_credentials");
        // Successes in between forgive the network nothing.
        assert_eq!(code_from(&mut sidecar, "192.0.2.1", "ada@example.org", RIGHT), "session");
        assert_eq!(from(&mut sidecar, "192.0.2.1", |client| sign_up_code(client, "ada@example.org")), "email_exists");
    }
    for _ in 0..3 {
        let refusal = from(&mut sidecar, "192.0.2.1", |client| guess(client, "ada@example.org", RIGHT)).unwrap_err();
        assert_eq!(refusal.code, "over_request_rate_limit");
        assert!((280..=300).contains(&retry_after(&refusal)), "{refusal:?}");
    }
    assert_eq!(
        from(&mut sidecar, "192.0.2.1", |client| sign_up_code(client, "new@example.org")),
        "over_request_rate_limit"
    );
    assert_eq!(code_from(&mut sidecar, "192.0.2.2", "ada@example.org", RIGHT), "session");
    assert_eq!(code(&mut database.app(), "ada@example.org", RIGHT), "session");
    let blocks =
        "select coalesce(jsonb_agg(event_data), '[]') from auth.audit_log where event_type = 'network_blocked'";
    wait_until("the block to be written", || {
        json(&mut database.superuser(), blocks, &[]) == json!([{"network": "192.0.2.1/32", "seconds": 300, "locks": 1}])
    });
    let reset = || -> i64 { database.admin().query_one("select auth.guard_reset('192.0.2.1')", &[]).unwrap().get(0) };
    assert!(reset() >= 1);
    assert_eq!(code_from(&mut sidecar, "192.0.2.1", "ada@example.org", RIGHT), "session");
}

/// XC1, B070: of 48 guesses from one network at one moment, each at another account, as many are looked at as the network's
/// limit says; the same for the whole database where no address is known.
#[test]
fn a_network_cannot_overtake_its_limit() {
    let database = guarded(Cluster::shared(), json!({"argon2_memory_kib": 8192, "argon2_iterations": 2}));
    // The keyring's check value is there: until then all wait for whoever makes it first.
    sign_up(&mut database.app(), "ada@example.org", RIGHT);
    for name in ["rate_limit_network", "rate_limit_database"] {
        configure(&database, json!({name: "5/60"}));
        let answers = storm_with(
            48,
            |_| {
                let mut client = database.sidecar();
                assert_eq!(refused(client.execute("select auth.sign_in(null, null)", &[])).code, "validation_failed");
                client
            },
            |number, mut client| {
                let email = format!("user{number}@example.org");
                match name {
                    "rate_limit_network" => code_from(&mut client, "192.0.2.1", &email, WRONG),
                    _ => code(&mut client, &email, WRONG),
                }
            },
        );
        let looked_at = answers.iter().filter(|answer| *answer == "invalid_credentials").count();
        assert_eq!(looked_at, 5, "{name}: {answers:?}");
        assert!(answers.iter().all(|code| ["invalid_credentials", "over_request_rate_limit"].contains(&code.as_str())));
    }
}

/// B070, F217: without a known address the database as a whole may fail so often in a time; callers from known networks are
/// not held up, and afterwards it goes on.
#[test]
fn callers_without_an_address_share_a_limit() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_database": "6/6"}));
    let mut app = database.app();
    sign_up(&mut app, "ada@example.org", RIGHT);
    for number in 0..3 {
        wrong(&mut app, &format!("user{number}@example.org"), 1);
        assert_eq!(sign_up_code(&mut app, "ada@example.org"), "email_exists");
    }
    let refusal = guess(&mut app, "ada@example.org", RIGHT).unwrap_err();
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("53400", "over_request_rate_limit"));
    assert!((1..=6).contains(&retry_after(&refusal)), "{refusal:?}");
    assert_eq!(code_from(&mut database.sidecar(), "192.0.2.1", "ada@example.org", RIGHT), "session");
    wait_until("the time to pass", || code(&mut app, "ada@example.org", RIGHT) == "session");
    configure(&database, json!({"rate_limit_database": null}));
    for number in 0..10 {
        wrong(&mut app, &format!("more{number}@example.org"), 1);
    }
}

/// XC9, N35: a thousand addresses of one /64 are one network; the next /64 is another; an IPv4 address is the same however
/// it is written.
#[test]
fn a_network_is_a_64_or_one_ipv4_address() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_network": "40/900"}));
    let mut sidecar = database.sidecar();
    database
        .superuser()
        .batch_execute(
            "create function public.guesses_from(addresses inet[]) returns jsonb language plpgsql as $$
            declare
                address inet;
                code text;
                counts jsonb := '{}';
            begin
                foreach address in array addresses loop
                    perform auth.set_request_context(address, 'x');
                    begin
                        perform auth.sign_in(gen_random_uuid() || '@example.org', 'x');
                    exception when others then
                        get stacked diagnostics code = pg_exception_detail;
                    end;
                    counts := counts || jsonb_build_object(code, coalesce((counts ->> code)::integer, 0) + 1);
                end loop;
                return counts;
            end $$",
        )
        .unwrap();
    let mut guesses = |addresses: &str| {
        let call = format!("select public.guesses_from(array(select {addresses} from generate_series(1, 1000) as i))");
        json(&mut sidecar.transaction().unwrap(), &call, &[])
    };
    let expected = json!({"invalid_credentials": 40, "over_request_rate_limit": 960});
    assert_eq!(guesses("'2001:db8:1:2::'::inet + i"), expected);
    assert_eq!(guesses("'2001:db8:1:2:ffff::'::inet + i * 4294967296"), json!({"over_request_rate_limit": 1000}));
    assert_eq!(guesses("'2001:db8:1:3::'::inet + i"), expected);
    assert_eq!(guesses("case when i % 2 = 0 then '192.0.2.9'::inet else '::ffff:192.0.2.9' end"), expected);
    assert_eq!(guesses("'::ffff:192.0.2.9'::inet"), json!({"over_request_rate_limit": 1000}));
}

/// N35, XC9: auth.network names the network that limits count, for every kind of address.
#[test]
fn auth_network_agrees_with_what_is_counted() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_network": "1/900"}));
    let (mut sidecar, mut admin) = (database.sidecar(), database.admin());
    for (address, network) in [
        ("192.0.2.1", "192.0.2.1/32"),
        ("0.0.0.0", "0.0.0.0/32"),
        ("255.255.255.255", "255.255.255.255/32"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("2001:0:0:1::", "2001:0:0:1::/64"),
        ("fe80::1", "fe80::/64"),
        ("::1", "::/64"),
        ("64:ff9b::192.0.2.1", "64:ff9b::/64"),
        ("::ffff:198.51.100.7", "198.51.100.7/32"),
        ("::ffff:203.0.113.9", "203.0.113.9/32"),
    ] {
        let named: String = admin.query_one("select auth.network($1::text::inet)::text", &[&address]).unwrap().get(0);
        assert_eq!(code_from(&mut sidecar, address, "x@example.org", WRONG), "invalid_credentials", "{address}");
        let counted = json(
            &mut database.superuser(),
            "select event_data -> 'network' from auth.audit_log
            where event_type = 'network_blocked' order by created_at desc limit 1",
            &[],
        );
        assert_eq!(counted, network, "{address} is counted as");
        assert_eq!(named, network, "auth.network({address})");
        admin.execute("select auth.guard_reset('x@example.org')", &[]).unwrap();
        // The block ends by the address, and by the network as the audit names it.
        let reset: i64 = admin.query_one("select auth.guard_reset($1)", &[&address]).unwrap().get(0);
        assert!(reset > 0, "{address}");
    }
    // A prefix that was given is no way to be many networks, or a larger one.
    for (address, network) in [
        ("192.0.2.77/24", "192.0.2.77/32"),
        ("2001:db8::9/128", "2001:db8::/64"),
        ("2001:db8:5::1/32", "2001:db8:5::/64"),
    ] {
        let named: String = admin.query_one("select auth.network($1::text::inet)::text", &[&address]).unwrap().get(0);
        assert_eq!(named, network);
    }
    assert!(admin.query_one("select auth.network(null) is null", &[]).unwrap().get::<_, bool>(0));
}

/// XC8: what a client writes itself changes nothing: a forwarded-for header that is new with each guess, a name, a setting;
/// a context that is no address is refused, and one ends with its transaction.
#[test]
fn only_the_sidecar_is_believed() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_database": "8/900"}));
    let mut app = database.app();
    for number in 0..8 {
        let headers = json!({"x-forwarded-for": format!("203.0.113.{number}"), "x-real-ip": "203.0.113.1", "forwarded": "for=203.0.113.2"});
        let mut transaction = app.transaction().unwrap();
        for (name, value) in [
            ("request.headers", headers.to_string()),
            ("application_name", format!("203.0.113.{number}")),
            ("request.ip", "203.0.113.3".into()),
        ] {
            transaction.execute("select set_config($1, $2, true)", &[&name, &value]).unwrap();
        }
        wrong(&mut transaction, &format!("user{number}@example.org"), 1);
        drop(transaction);
    }
    for headers in ["", "garbage", "{\"x-forwarded-for\": \"garbage\"}", "{\"x-forwarded-for\": \"203.0.113.99\"}"] {
        let mut transaction = app.transaction().unwrap();
        transaction.execute("select set_config('request.headers', $1, true)", &[&headers]).unwrap();
        assert_eq!(code(&mut transaction, "ada@example.org", WRONG), "over_request_rate_limit", "{headers}");
    }
    let addresses = "select count(*) from auth.audit_log where ip is not null";
    assert_eq!(database.superuser().query_one(addresses, &[]).unwrap().get::<_, i64>(0), 0);
    for statement in ["set auth.direct_clients = on", "set session auth.direct_clients to true"] {
        assert_eq!(refused(app.batch_execute(statement)).sqlstate, "55P02", "{statement}");
    }

    let mut sidecar = database.sidecar();
    for (address, sqlstate) in [
        ("'192.0.2.0/24'", "22023"),
        ("'2001:db8::/32'", "22023"),
        ("'garbage'", "22P02"),
        ("''", "22P02"),
        ("'192.0.2.1, 192.0.2.2'", "22P02"),
    ] {
        let script = format!("begin; select auth.set_request_context({address}, 'x')");
        assert_eq!(refused(sidecar.batch_execute(&script)).sqlstate, sqlstate, "{address}");
        sidecar.batch_execute("rollback").unwrap();
    }
    let outside = refused(sidecar.execute("select auth.set_request_context('192.0.2.1', 'x')", &[]));
    assert_eq!((outside.sqlstate.as_str(), outside.code.as_str()), ("25P01", "no_transaction"));
    assert_eq!(code_from(&mut sidecar, "192.0.2.1", "ada@example.org", WRONG), "invalid_credentials");
    // The next transaction on this connection may be anybody's.
    assert_eq!(code(&mut sidecar, "ada@example.org", WRONG), "over_request_rate_limit");
    let nobody: Option<&str> = None;
    let mut transaction = sidecar.transaction().unwrap();
    transaction.execute("select auth.set_request_context($1::text::inet, null)", &[&nobody]).unwrap();
    assert_eq!(code(&mut transaction, "ada@example.org", WRONG), "over_request_rate_limit");
}

/// B070: a network that an administrator blocks gets no sign-in, no sign-up and no refresh, whatever the limits, until it is
/// unblocked or the time is over; everybody else does.
#[test]
fn a_blocked_network_is_refused() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_enabled": false}));
    let (mut sidecar, mut admin) = (database.sidecar(), database.admin());
    let person = sign_up(&mut database.app(), "ada@example.org", RIGHT);
    let mut codes = |address: &str| -> [String; 3] {
        [
            code_from(&mut sidecar, address, "ada@example.org", RIGHT),
            from(&mut sidecar, address, |client| sign_up_code(client, "ada@example.org")),
            from(&mut sidecar, address, |client| refresh(client, "nonsense").unwrap_err().code),
        ]
    };
    let welcome = ["session", "email_exists", "refresh_token_not_found"];
    let blocked = ["network_blocked"; 3];
    admin.execute("select auth.block_network('192.0.2.0/25', null, 'spam')", &[]).unwrap();
    admin.execute("select auth.block_network('2001:db8:1::/48')", &[]).unwrap();
    for (address, expected) in [
        ("192.0.2.1", blocked),
        ("192.0.2.127", blocked),
        ("::ffff:192.0.2.5", blocked),
        ("2001:db8:1:2::3", blocked),
        ("192.0.2.128", welcome),
        ("2001:db8:2::1", welcome),
        ("::1", welcome),
    ] {
        assert_eq!(codes(address), expected, "{address}");
    }
    let refusal =
        from(&mut database.sidecar(), "192.0.2.1", |client| refresh(client, &person.refresh_token).unwrap_err());
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("42501", "network_blocked"));
    assert_eq!(code(&mut database.app(), "ada@example.org", RIGHT), "session", "no address, no network");
    let unblock = |network: &str| -> bool {
        let unblock = format!("select auth.unblock_network('{network}')");
        database.admin().query_one(&unblock, &[]).unwrap().get(0)
    };
    assert!(!unblock("192.0.2.0/24"));
    assert!(unblock("192.0.2.0/25"));
    assert!(!unblock("192.0.2.0/25"));
    assert_eq!(codes("192.0.2.1"), welcome);
    assert_eq!(codes("2001:db8:1::1"), blocked);
    // Blocking again changes how long.
    admin.execute("select auth.block_network('2001:db8:1::/48', '1 second')", &[]).unwrap();
    wait_until("the block to end", || codes("2001:db8:1::1") == welcome);
    assert_eq!(refused(admin.execute("select auth.block_network(null)", &[])).sqlstate, "23502");
}

/// XJ18, B070: whoever leaves a transaction open after a sign-up or a sign-in, and has others wait for it, uses up nothing of
/// what callers without an address share.
#[test]
fn nobody_holds_the_shared_limit() {
    for call in ["auth.sign_up('idle@example.org', $1)", "auth.sign_in('ada@example.org', $1)"] {
        let database = guarded(Cluster::shared(), json!({"rate_limit_database": "4/900"}));
        for name in ["ada", "bob"] {
            sign_up(&mut database.app(), &format!("{name}@example.org"), RIGHT);
        }
        let statement = format!("select {call}");
        let mut idle = database.app();
        let mut transaction = idle.transaction().unwrap();
        transaction.execute(&statement, &[&RIGHT]).unwrap();
        std::thread::scope(|scope| {
            let waiting: Vec<_> =
                (0..4).map(|_| scope.spawn(|| database.app().execute(&statement, &[&RIGHT]).is_ok())).collect();
            let waits = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
            let mut watcher = database.superuser();
            wait_until("four to wait", || watcher.query(waits, &[]).unwrap().len() == 4);
            let answer = code(&mut database.app(), "bob@example.org", RIGHT);
            transaction.commit().unwrap();
            for waiting in waiting {
                waiting.join().unwrap();
            }
            assert_eq!(answer, "session", "while four wait in {call}");
        });
    }
}
