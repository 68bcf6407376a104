//! One-time secrets under stress: many at once, transactions that do not commit, servers that die.

use auth_harness::{Client, Cluster, Database, Mail, claims, json, refused, storm_with, wait_until};
use serde_json::json;

use crate::guard::RIGHT;
use crate::otp::{answer, mailed, mailing, not, proved, said};
use crate::refresh::configure;

const CALLERS: usize = 64;

/// Many at one moment, each with a connection of its own whose plans and caches are warm, so that the race is about the secret.
fn at_once(database: &Database, act: impl Fn(usize, &mut Client) -> String + Sync) -> Vec<String> {
    storm_with(
        CALLERS,
        |_| {
            let mut client = database.app();
            assert_eq!(said(&mut client, "verify_link('x')", &[]), "otp_expired");
            client
        },
        |number, mut client| act(number, &mut client),
    )
}

fn times(said: &[String], what: &str) -> usize {
    said.iter().filter(|said| *said == what).count()
}

/// XE3, F039: of sixty-four who follow one link, or give one code, at one moment, one is let in, and there is one session more.
#[test]
fn sixty_four_with_one_secret() {
    let cluster = Cluster::start();
    let database = mailing(&cluster, json!({"lockout_attempts": null}));
    let sessions = "select count(*) from auth.sessions where user_id = $1";
    for by_code in [false, true] {
        let ada = proved(&database, &format!("ada-{by_code}@example.org"));
        let mail = mailed(&database, "send_otp($1)", &[&ada.email]);
        let said = at_once(&database, |_, client| match by_code {
            true => said(client, "verify_otp($1, $2)", &[&ada.email, &mail.code()]),
            false => said(client, "verify_link($1)", &[&mail.token()]),
        });
        assert_eq!((times(&said, "session"), times(&said, "otp_expired")), (1, CALLERS - 1), "{said:?}");
        let count: i64 = database.superuser().query_one(sessions, &[&ada.user_id]).unwrap().get(0);
        assert_eq!(count, 2, "that of the sign-up and one more");
        // Half by the link and half by the code of one mail, of an account that is not there yet.
        let mail = mailed(&database, "sign_up_with_email($1)", &[&format!("new-{by_code}@example.org")]);
        let said = at_once(&database, |number, client| match number % 2 {
            0 => crate::otp::said(client, "verify_sign_up($1, $2)", &[&mail.recipient, &mail.code()]),
            _ => crate::otp::said(client, "verify_link($1)", &[&mail.token()]),
        });
        assert_eq!((times(&said, "session"), times(&said, "otp_expired")), (1, CALLERS - 1), "{said:?}");
    }
    let twice = "select count(*) from auth.users where email like 'new-%'";
    assert_eq!(database.superuser().query_one(twice, &[]).unwrap().get::<_, i64>(0), 2);
}

/// XE3, XC1: of wrong codes from sixty-four connections at one moment five are looked at, for an account and for nobody's address;
/// then the right one is refused as well.
#[test]
fn wrong_codes_from_everywhere() {
    let cluster = Cluster::start();
    let database = mailing(&cluster, json!({}));
    proved(&database, "ada@example.org");
    let mail = mailed(&database, "send_otp('ada@example.org')", &[]);
    for email in ["ada@example.org", "nobody@example.org"] {
        let said = at_once(&database, |number, client| {
            let calls = [
                "verify_otp($1, $2)",
                "verify_sign_up($1, $2)",
                "reset_password_with_code($1, $2, 'staple correct horse')",
            ];
            said(client, calls[number % 3], &[&email, &not(mail.code())])
        });
        assert_eq!((times(&said, "otp_expired"), times(&said, "account_locked")), (5, CALLERS - 5), "{said:?}");
    }
    assert_eq!(said(&mut database.app(), "verify_otp('ada@example.org', $1)", &[&mail.code()]), "account_locked");
}

/// Both halves of a change at one moment: one ends it, whichever comes second, and the account has one address.
#[test]
fn both_halves_at_once() {
    let database = mailing(Cluster::shared(), json!({}));
    for round in 0..8 {
        let ada = proved(&database, &format!("ada{round}@example.org"));
        auth_harness::acting(&mut database.app(), &ada.access_token, |transaction| {
            answer(transaction, "update_email($1, $2)", &[&format!("new{round}@example.org"), &RIGHT]).unwrap();
        });
        let halves = auth_harness::mails(&database);
        let said = storm_with(
            2,
            |_| database.app(),
            |number, mut client| said(&mut client, "verify_link($1)", &[&halves[number].token()]),
        );
        let address = "select email::text from auth.users where id = $1";
        let address: String = database.superuser().query_one(address, &[&ada.user_id]).unwrap().get(0);
        let is_changed = address.starts_with("new");
        // Neither may see the other's half: then both are confirmed and nothing has changed, which asking again mends.
        assert_eq!(times(&said, "session"), usize::from(is_changed), "{said:?}");
        assert_eq!(times(&said, "session") + times(&said, "confirmation_sent"), 2, "{said:?}");
        auth_harness::mails(&database);
    }
}

/// A secret, how it is spent, and how it is refused afterwards.
type Spending<'a> = (&'a str, Box<dyn Fn(&mut Client) -> String + 'a>, &'a str);

fn spend_by<'a>(call: &'a str, arguments: Vec<String>) -> Box<dyn Fn(&mut Client) -> String + 'a> {
    Box::new(move |client| {
        let arguments: Vec<&(dyn auth_harness::ToSql + Sync)> =
            arguments.iter().map(|argument| argument as _).collect();
        said(client, call, &arguments)
    })
}

/// One secret of every kind.
fn secrets(database: &Database, name: &str) -> Vec<Spending<'static>> {
    let account = |kind: &str| proved(database, &format!("{name}-{kind}@example.org")).email;
    let otp = |email: &str| -> Mail { mailed(database, "send_otp($1)", &[&email]) };
    let (by_link, by_code, by_reset, by_page) = (account("link"), account("code"), account("reset"), account("page"));
    let new = format!("{name}-new@example.org");
    let reset = mailed(database, "request_password_reset($1)", &[&by_reset]);
    let page =
        answer(&mut database.app(), "verify_link($1, '{\"flow\": \"redirect\"}')", &[&otp(&by_page).token()]).unwrap();
    vec![
        ("link", spend_by("verify_link($1)", vec![otp(&by_link).token().into()]), "otp_expired"),
        ("code", spend_by("verify_otp($1, $2)", vec![by_code.clone(), otp(&by_code).code().into()]), "otp_expired"),
        ("reset", spend_by("reset_password($1, 'staple correct horse')", vec![reset.token().into()]), "otp_expired"),
        ("sign-up", spend_by("verify_sign_up($1, $2)", vec![new.clone(), otp(&new).code().into()]), "otp_expired"),
        ("page", spend_by("exchange_code($1)", vec![page["code"].as_str().unwrap().into()]), "flow_state_not_found"),
    ]
}

/// F039, XE3, N09: what a transaction spends that does not commit stays spent: after ROLLBACK, a savepoint, a lost connection, a
/// restart and a crash, also where nothing is limited; and nobody was let in by it.
#[test]
fn what_is_rolled_back_stays_spent() {
    let cluster = Cluster::builder().durable().start();
    for are_limited in [true, false] {
        let database = mailing(&cluster, json!({"implicit_flow": false, "rate_limit_enabled": are_limited}));
        let ways = ["rollback", "savepoint", "disconnect"];
        let all: Vec<(&str, Vec<Spending>)> = ways.into_iter().map(|way| (way, secrets(&database, way))).collect();
        let sessions = "select to_jsonb(count(*)) from auth.sessions";
        let before = json(&mut database.superuser(), sessions, &[]);
        for (way, secrets) in &all {
            for (kind, spend, _) in secrets {
                let mut client = database.app();
                client.batch_execute("begin; savepoint s").unwrap();
                assert!(["session", "password_changed"].contains(&&*spend(&mut client)), "{way}, {kind}");
                match *way {
                    "rollback" => client.batch_execute("rollback").unwrap(),
                    "savepoint" => client.batch_execute("rollback to s; commit").unwrap(),
                    _ => drop(client),
                }
            }
        }
        let spent = "select coalesce(sum(count), 0) = $1 from auth.audit_log where event_data ? 'token' and code = 'rolled_back'";
        let number = all.iter().map(|(_, secrets)| secrets.len() as i64).sum::<i64>();
        let mut superuser = database.superuser();
        wait_until("the audit", || superuser.query_one(spent, &[&number]).unwrap().get(0));
        drop(superuser);
        let check = |when: &str| {
            let mut client = database.app();
            for (way, secrets) in &all {
                for (kind, spend, refusal) in secrets {
                    assert_eq!(spend(&mut client), *refusal, "{when}: {way}, {kind}, limits: {are_limited}");
                }
            }
            assert_eq!(json(&mut database.superuser(), sessions, &[]), before);
        };
        cluster.restart();
        check("after a restart");
        cluster.kill9();
        cluster.start_again();
        check("after a crash");
    }
}

/// XE3: a refusal that comes after the secret was found right, and has nothing to do with it, leaves it good.
#[test]
fn what_fails_for_another_reason_spends_nothing() {
    let database = mailing(Cluster::shared(), json!({}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let ada = proved(&database, "ada@example.org");
    superuser
        .batch_execute(
            "create function public.refuse(event jsonb) returns jsonb language plpgsql as $$ begin raise 'not today'; end $$;
            grant execute on function public.refuse(jsonb) to public;
            alter function public.refuse(jsonb) owner to app;
            select auth.add_hook('custom_access_token', 'public.refuse')",
        )
        .unwrap();
    let mail = mailed(&database, "send_otp($1)", &[&ada.email]);
    for _ in 0..6 {
        let said_to = [
            said(&mut app, "verify_link($1)", &[&mail.token()]),
            said(&mut app, "verify_otp($1, $2)", &[&ada.email, &mail.code()]),
        ];
        assert!(
            said_to.iter().all(|said| !["session", "otp_expired", "account_locked"].contains(&&**said)),
            "{said_to:?}"
        );
    }
    superuser.batch_execute("select auth.remove_hook('custom_access_token')").unwrap();
    let session = answer(&mut app, "verify_otp($1, $2)", &[&ada.email, &mail.code()]).unwrap();
    assert_eq!(claims(session["access_token"].as_str().unwrap())["sub"], json!(ada.user_id.to_string()));
    configure(&database, json!({"enable_magic_link": false}));
    assert_eq!(refused(app.execute("select auth.send_magic_link('x@example.org')", &[])).code, "magic_link_disabled");
}
