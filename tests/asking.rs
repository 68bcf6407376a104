//! Asking for mails: how often, for whom, and that nobody learns by it who has an account.

use auth_harness::{Cluster, Database, Refusal, mails, sign_up, wait_until};
use serde_json::{Value, json};

use crate::guard::{RIGHT, guarded, retry_after};
use crate::networks::from;
use crate::otp::{answer, mailed, mailing, proved, said};
use crate::refresh::configure;

/// Every function that mails something to an address that anybody may name, and how many states of an account hear of it.
const ASKING: [(&str, &[&str]); 7] = [
    ("send_otp($1)", &["known", "unproved", "bare", "deleted", "unknown"]),
    ("send_otp($1, '{\"create_user\": false}')", &["known", "unproved", "bare"]),
    ("send_magic_link($1)", &["known", "unproved", "bare", "deleted", "unknown"]),
    ("sign_up_with_email($1)", &["known", "unproved", "bare", "deleted", "unknown"]),
    ("request_password_reset($1)", &["known", "unproved", "bare"]),
    ("resend('signup', $1)", &["unproved"]),
    ("resend('email_change', $1)", &[]),
];

const STATES: [&str; 6] = ["known", "unproved", "bare", "banned", "deleted", "unknown"];

/// An account of every state with this name.
fn accounts(database: &Database, name: &str) {
    let mut superuser = database.superuser();
    for state in &STATES[..5] {
        proved(database, &format!("{state}-{name}@example.org"));
    }
    superuser
        .batch_execute(
            "update auth.users set email_confirmed_at = null where email like 'unproved%';
            update auth.users set encrypted_password = null where email like 'bare%';
            update auth.users set banned_until = now() + interval '1 h' where email like 'banned%';
            update auth.users set deleted_at = now() where email like 'deleted%'",
        )
        .unwrap();
}

fn without_digits(refusal: Refusal) -> String {
    format!("{refusal:?}").chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

/// B073, XC13, F035, F048: whatever state an account is in, or nobody has the address: every function that mails something answers
/// byte for byte the same, the limit comes at the same request, and only those get a mail who should.
#[test]
fn nobody_learns_who_has_an_account() {
    let database = mailing(Cluster::shared(), json!({"verification_resend_limit": 3}));
    let mut app = database.app();
    for (number, (call, told)) in ASKING.into_iter().enumerate() {
        accounts(&database, &number.to_string());
        let mut seen: Vec<(Vec<String>, &str)> = Vec::new();
        for state in STATES {
            let email = format!("{state}-{number}@example.org");
            let said = (0..6).map(|_| match answer(&mut app, call, &[&email]) {
                Ok(answer) => answer.to_string(),
                Err(refusal) => without_digits(refusal),
            });
            seen.push((said.collect(), state));
            let mails = mails(&database);
            let expected = if told.contains(&state) { 4 } else { 0 };
            assert_eq!(mails.len(), expected, "{call}, {state}");
            assert!(mails.iter().all(|mail| mail.recipient == email), "{call}, {state}");
        }
        for (said, state) in &seen {
            assert_eq!(*said, seen[0].0, "{call}, {state}");
            let refused = said.iter().map(|said| said.contains("over_email_send_rate_limit"));
            assert_eq!(refused.collect::<Vec<_>>(), [false, false, false, false, true, true], "{call}, {state}");
        }
    }
}

/// F045, F046, F051: not before the interval is over, with the seconds that are left, and not more often than the limit; a rolled
/// back request has mailed nothing and does not count, one that was used is forgotten; other kinds and addresses are not concerned.
#[test]
fn how_often() {
    let database = mailing(Cluster::shared(), json!({"verification_resend_interval": 60}));
    let mut app = database.app();
    for (number, (call, _)) in ASKING.into_iter().enumerate() {
        let email = format!("user{number}@example.org");
        let mut transaction = app.transaction().unwrap();
        assert!(answer(&mut transaction, call, &[&email]).is_ok(), "{call}");
        let mut inner = transaction.transaction().unwrap();
        assert_eq!(said(&mut inner, call, &[&email]), "over_email_send_rate_limit", "{call}");
        inner.rollback().unwrap();
        transaction.rollback().unwrap();
        let mut transaction = app.transaction().unwrap();
        let mut inner = transaction.transaction().unwrap();
        assert!(answer(&mut inner, call, &[&email]).is_ok(), "{call}");
        inner.rollback().unwrap();
        assert!(answer(&mut transaction, call, &[&email]).is_ok(), "{call}: a savepoint gives it back too");
        transaction.commit().unwrap();
        let refusal = answer(&mut app, call, &[&email]).unwrap_err();
        assert_eq!((&*refusal.sqlstate, &*refusal.code), ("53400", "over_email_send_rate_limit"), "{call}");
        assert!((55..=61).contains(&retry_after(&refusal)), "{refusal:?}");
        assert!(answer(&mut app, call, &[&format!("other{number}@example.org")]).is_ok(), "{call}");
    }
    mails(&database);
    configure(&database, json!({"verification_resend_interval": 1}));
    assert_eq!(said(&mut app, "send_otp('ada@example.org')", &[]), "code_sent");
    assert_eq!(said(&mut app, "send_otp('ada@example.org')", &[]), "over_email_send_rate_limit");
    wait_until("the interval to be over", || said(&mut app, "send_otp('ada@example.org')", &[]) == "code_sent");
    mails(&database);
    // Used, so that the next one is a first one.
    configure(&database, json!({"verification_resend_interval": 60, "signup_mode": "otp_first"}));
    let ways = [
        ("send_otp($1)", "verify_otp($1, $2)"),
        ("sign_up($1, 'correct horse battery')", "verify_sign_up($1, $2)"),
        ("send_magic_link($1)", "verify_otp($1, $2)"),
    ];
    for (number, (ask, verify)) in ways.into_iter().enumerate() {
        let email = format!("used{number}@example.org");
        let mail = mailed(&database, ask, &[&email]);
        assert_eq!(said(&mut app, ask, &[&email]), "over_email_send_rate_limit", "{ask}");
        assert_eq!(said(&mut app, verify, &[&email, &mail.code()]), "session", "{verify}");
        assert!(answer(&mut app, ask, &[&email]).is_ok(), "{ask}");
        mails(&database);
    }
}

/// F045, F046, F049, F051: a sign-up that waits is mailed again at most three times, not at once after it, and in both modes by the
/// same count; each mail makes the one before void.
#[test]
fn resending_a_sign_up() {
    for mode in ["confirm", "otp_first"] {
        let database = mailing(
            Cluster::shared(),
            json!({"signup_mode": mode, "verification_resend_interval": 60, "verification_resend_limit": 3}),
        );
        let mut app = database.app();
        let first = mailed(&database, "sign_up('ada@example.org', $1)", &[&RIGHT]);
        assert_eq!(said(&mut app, "resend('signup', 'ada@example.org')", &[]), "over_email_send_rate_limit", "{mode}");
        configure(&database, json!({"verification_resend_interval": 0}));
        let mut last = first.clone();
        for number in 0..3 {
            let next = mailed(&database, "resend('signup', 'ada@example.org')", &[]);
            assert_eq!((&*next.kind, &next.payload["type"]), ("confirmation", &json!("signup")), "{mode} {number}");
            assert_eq!(said(&mut app, "verify_link($1)", &[&last.token()]), "otp_expired");
            last = next;
        }
        assert_eq!(said(&mut app, "resend('signup', 'ada@example.org')", &[]), "over_email_send_rate_limit", "{mode}");
        assert_eq!(said(&mut app, "sign_up('ada@example.org', $1)", &[&RIGHT]), "over_email_send_rate_limit", "{mode}");
        assert_eq!(said(&mut app, "verify_otp('ada@example.org', $1)", &[&last.code()]), "session", "{mode}");
        assert_eq!(said(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]), "session", "{mode}");
    }
}

/// F045: one network asks for so many mails, whomever for; others go on, and callers without one share the database's limit.
#[test]
fn by_network() {
    let database = mailing(Cluster::shared(), json!({"rate_limit_mail": "3/3600", "rate_limit_database": "4/3600"}));
    let mut sidecar = database.sidecar();
    for (number, (call, _)) in ASKING.into_iter().enumerate().take(5) {
        let email = format!("user{number}@example.org");
        let said = from(&mut sidecar, "192.0.2.1", |transaction| {
            let mut inner = transaction.savepoint("s").unwrap();
            said(&mut inner, call, &[&email])
        });
        assert_eq!(said, if number < 3 { "code_sent" } else { "over_email_send_rate_limit" }, "{call}");
    }
    let other = from(&mut sidecar, "192.0.2.2", |transaction| said(transaction, "send_otp('x@example.org')", &[]));
    assert_eq!(other, "code_sent");
    let mut app = database.app();
    let said: Vec<String> =
        (0..6).map(|number| said(&mut app, "send_otp($1)", &[&format!("y{number}@example.org")])).collect();
    assert_eq!(said, [["code_sent"; 4].as_slice(), &["over_email_send_rate_limit"; 2]].concat());
}

/// XA13, XA14: what is not exactly one address is refused before anything is counted or written, everywhere.
#[test]
fn one_address_is_one() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    let wrong = [
        "",
        "ada",
        "ada@",
        "@example.org",
        "a@example.org,b@example.org",
        "a@example.org b@example.org",
        "a@example.org\r\nBcc: b@example.org",
        "a@example.org\nRCPT TO:<b@example.org>",
        "[\"a@example.org\"]",
        "Ada <a@example.org>",
        "<a@example.org>",
        "a@example.org;b@example.org",
        "\"e@attacker.com\"@victim.com",
        "a@@example.org",
    ];
    for (call, _) in ASKING {
        for email in wrong {
            let refusal = answer(&mut app, call, &[&email]).unwrap_err();
            assert_eq!((&*refusal.sqlstate, &*refusal.code), ("22023", "email_address_invalid"), "{call} {email:?}");
        }
        assert_eq!(answer(&mut app, call, &[&None::<String>]).unwrap_err().code, "validation_failed", "{call}");
    }
    let options = [
        "{\"no_such\": 1}",
        "[]",
        "{\"redirect_to\": 1}",
        "{\"locale\": []}",
        "{\"create_user\": \"yes\"}",
        "{\"data\": []}",
    ];
    for options in options {
        let said = said(&mut app, "send_otp('a@example.org', $1::text::jsonb)", &[&options]);
        assert_eq!(said, "validation_failed", "{options}");
    }
    for kind in [Some("sms"), Some(""), None] {
        assert_eq!(said(&mut app, "resend($1, 'a@example.org')", &[&kind]), "validation_failed");
    }
    let count = "select (select count(*) from auth.outbox) + (select count(*) from auth.pending_sign_ups)";
    assert_eq!(database.superuser().query_one(count, &[]).unwrap().get::<_, i64>(0), 0);
}

/// F058, B091: debug mode is a superuser's, refused in production, and then every code is 1234 and nothing is mailed; an
/// address of the tests has its own code, and no other.
#[test]
fn for_tests_of_an_app() {
    let database = mailing(Cluster::shared(), json!({}));
    let (mut app, mut admin, mut superuser) = (database.app(), database.admin(), database.superuser());
    let set = |client: &mut auth_harness::Client, settings: Value| said(client, "configure($1)", &[&settings]);
    for settings in [json!({"debug_mode": true}), json!({"debug_mode": "true"}), json!({"debug_mode": 1})] {
        assert_eq!(set(&mut admin, settings), "validation_failed");
    }
    proved(&database, "ada@example.org");
    assert_eq!(set(&mut admin, json!({"test_codes": {"Test@Example.org": "424242"}})), "an answer");
    for (email, code, right) in
        [("test@example.org", "424242", true), ("ada@example.org", "424242", false), ("ada@example.org", "1234", false)]
    {
        assert_eq!(said(&mut app, "send_otp($1)", &[&email]), "code_sent");
        assert_eq!(mails(&database).len(), usize::from(!right), "{email}");
        assert_eq!(said(&mut app, "verify_otp($1, $2)", &[&email, &code]) == "session", right, "{email}");
    }
    // A code nobody has asked for is none, and it is spent as any other.
    assert_eq!(said(&mut app, "verify_otp('test@example.org', '424242')", &[]), "otp_expired");
    let production = json!({"environment": "production"});
    assert_eq!(set(&mut admin, production.clone()), "validation_failed");
    for wrong in [
        json!({"a@example.org": "12"}),
        json!({"a@example.org": "abcdef"}),
        json!({"a@example.org": 123456}),
        json!([]),
    ] {
        assert_eq!(set(&mut admin, json!({"test_codes": wrong})), "validation_failed");
    }
    assert_eq!(set(&mut admin, json!({"test_codes": {}})), "an answer");
    assert_eq!(set(&mut superuser, json!({"debug_mode": true})), "an answer");
    for call in ["send_otp('ada@example.org')", "send_otp('new@example.org')"] {
        assert_eq!(said(&mut app, call, &[]), "code_sent");
    }
    for email in ["ada@example.org", "new@example.org"] {
        assert_eq!(said(&mut app, "verify_otp($1, '1234')", &[&email]), "session", "{email}");
    }
    assert_eq!(mails(&database).len(), 0);
    assert_eq!(set(&mut superuser, production.clone()), "validation_failed");
    assert_eq!(set(&mut admin, json!({"debug_mode": false})), "an answer");
    assert_eq!(set(&mut admin, production), "an answer");
    for settings in [json!({"debug_mode": true}), json!({"test_codes": {"a@example.org": "424242"}})] {
        assert_eq!(set(&mut superuser, settings), "validation_failed");
    }
    assert_eq!(mailed(&database, "send_otp('ada@example.org')", &[]).code().len(), 6);
}

/// XA11: whoever writes an address in another spelling than its account's has the mail go to the account's, to the byte; only for
/// an address that nobody has does it go where it was typed to.
#[test]
fn mail_goes_to_the_address_that_is_stored() {
    let database = mailing(Cluster::shared(), json!({"signup_mode": "confirm"}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let (ascii, own) = ("v@xn--strae-oqa.de", "v@stra\u{df}e.de");
    let cases = [
        (ascii, own),
        (own, ascii),
        (ascii, "V@XN--STRAE-OQA.DE"),
        ("v@Stra\u{df}e.DE", own),
        ("V@Example.Org", "v@example.org"),
    ];
    for (stored, typed) in cases {
        for (call, is_proved) in [
            ("request_password_reset($1)", true),
            ("send_otp($1)", true),
            ("send_magic_link($1)", true),
            ("resend('signup', $1)", false),
            ("sign_up($1, 'another horse battery')", false),
            ("sign_up($1, 'another horse battery')", true),
            ("sign_up_with_email($1)", true),
        ] {
            superuser.batch_execute("delete from auth.users; delete from auth.pending_sign_ups").unwrap();
            let first = mailed(&database, "sign_up($1, $2)", &[&typed, &RIGHT]);
            let expected = typed.to_ascii_lowercase();
            assert_eq!((&first.recipient, first.text("email")), (&expected, &*expected), "nobody has it");
            let proved = "update auth.users set email = $1, email_confirmed_at = case when $2 then now() end";
            superuser.execute(proved, &[&stored, &is_proved]).unwrap();
            answer(&mut app, call, &[&typed]).unwrap();
            let mail = mails(&database).pop().unwrap();
            assert_eq!(mail.kind == "existing_account", is_proved && call.starts_with("sign_up"), "{call}");
            let told = mail.payload["user"]["email"].as_str().unwrap();
            assert_eq!((&*mail.recipient, mail.text("email"), told), (stored, stored, stored), "{call} {typed}");
        }
    }
}

/// B073: whoever asks for somebody's mails and never commits uses up none of them: the owner waits for a moment. In one transaction the
/// limit holds all the same, and what is committed counts.
#[test]
fn an_open_transaction_uses_nothing_up() {
    let database =
        guarded(Cluster::shared(), json!({"verification_resend_interval": 60, "verification_resend_limit": 1}));
    sign_up(&mut database.app(), "ada@example.org", RIGHT);
    for call in ["request_password_reset('ada@example.org')", "send_otp('ada@example.org')"] {
        let (mut stranger, mut owner) = (database.app(), database.app());
        let mut open = stranger.transaction().unwrap();
        assert_eq!(said(&mut open, call, &[]), "code_sent");
        assert_eq!(said(&mut owner, call, &[]), "code_sent", "{call}");
        assert_eq!(said(&mut open, call, &[]), "over_email_send_rate_limit");
        open.rollback().unwrap();
        assert_eq!(said(&mut owner, call, &[]), "over_email_send_rate_limit", "{call}");
    }
}
