//! The three ways of signing up: at once, after the address is confirmed, and no account before its code is given.

use auth_harness::{Client, Cluster, Database, json, mails, the_mail};
use serde_json::{Value, json};

use crate::guard::{RIGHT, WRONG};
use crate::otp::{answer, mailed, mailing, not, proved, said};
use crate::refresh::configure;

const OTHER: &str = "staple correct horse";

fn count(client: &mut Client, table: &str) -> i64 {
    client.query_one(&format!("select count(*) from auth.{table}"), &[]).unwrap().get(0)
}

fn confirming(mode: &str) -> Database {
    mailing(Cluster::shared(), json!({"signup_mode": mode}))
}

/// What kind of values an object has: a text that is a time, an id, or the same wherever it stands.
pub fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(text) => {
            let pattern: String =
                text.chars().map(|letter| if letter.is_ascii_hexdigit() { '0' } else { letter }).collect();
            // Fractions of a second are as long as they need to be.
            json!(pattern.split_once('.').map_or(pattern.as_str(), |(seconds, _)| seconds).to_owned())
        }
        other => other.clone(),
    }
}

/// F043, F047, F048: confirm: the account is there, its password lets nobody in before the address is confirmed, and only
/// the right one tells that; after it the link and the code are gone and the columns are set.
#[test]
fn confirm() {
    let database = confirming("confirm");
    let (mut app, mut superuser) = (database.app(), database.superuser());
    for (number, by_code) in [false, true].into_iter().enumerate() {
        let email = format!("ada{number}@example.org");
        let data = json!({"name": "Ada"});
        let up = answer(&mut app, "sign_up($1, $2, $3)", &[&email, &RIGHT, &data]).unwrap();
        assert_eq!(up["status"], "confirmation_sent");
        assert_eq!(up["user"]["email"], json!(email));
        assert!(up.get("access_token").is_none() && up["user"].get("email_confirmed_at").is_none());
        let mail = the_mail(&database);
        assert_eq!((&*mail.kind, &*mail.recipient, &mail.payload["type"]), ("confirmation", &*email, &json!("signup")));
        assert_eq!(mail.payload["user"]["user_metadata"], data);
        assert!(!up.to_string().contains(mail.code()) && !up.to_string().contains(mail.token()));
        let refusal = answer(&mut app, "sign_in($1, $2)", &[&email, &RIGHT]).unwrap_err();
        assert_eq!((&*refusal.sqlstate, &*refusal.code), ("55000", "email_not_confirmed"));
        assert_eq!(said(&mut app, "sign_in($1, $2)", &[&email, &WRONG]), "invalid_credentials");
        let first = match by_code {
            true => answer(&mut app, "verify_otp($1, $2)", &[&email, &mail.code()]),
            false => answer(&mut app, "verify_link($1)", &[&mail.token()]),
        };
        assert!(first.unwrap()["user"]["email_confirmed_at"].is_string());
        assert_eq!(said(&mut app, "verify_link($1)", &[&mail.token()]), "otp_expired");
        assert_eq!(said(&mut app, "verify_otp($1, $2)", &[&email, &mail.code()]), "otp_expired");
        assert_eq!(
            said(&mut app, "sign_in($1, $2)", &[&email, &RIGHT]),
            "session",
            "the sign-up's password is confirmed"
        );
        // Nothing waits any more, so nothing is sent.
        assert_eq!(said(&mut app, "resend('signup', $1)", &[&email]), "confirmation_sent");
        assert_eq!(mails(&database).len(), 0);
    }
    assert_eq!(count(&mut superuser, "one_time_tokens"), 0);
}

/// B073, XC13: confirm: for an address that somebody has, proved or banned, the answer has exactly the shape of a new account's,
/// another id every time, the account is untouched and its owner is told; a banned one is not.
#[test]
fn a_taken_address_looks_free() {
    let database = confirming("immediate");
    let mut app = database.app();
    let (ada, bob) = (proved(&database, "ada@example.org"), proved(&database, "bob@example.org"));
    let ban = "update auth.users set banned_until = now() + interval '1 h' where id = $1";
    database.superuser().execute(ban, &[&bob.user_id]).unwrap();
    configure(&database, json!({"signup_mode": "confirm"}));
    let data = json!({"name": "x", "deep": {"a": [1, null]}});
    let up = |app: &mut Client, email: &str| answer(app, "sign_up($1, $2, $3)", &[&email, &OTHER, &data]).unwrap();
    let real = up(&mut app, "new@example.org");
    assert_eq!(the_mail(&database).kind, "confirmation");
    let (again, banned, taken) =
        (up(&mut app, "ada@example.org"), up(&mut app, "bob@example.org"), up(&mut app, "ada@example.org"));
    assert_ne!(again["user"]["id"], taken["user"]["id"]);
    assert_ne!(again["user"]["id"], json!(ada.user_id.to_string()));
    let same = |answer: &Value| {
        shape(&answer.to_string().replace("ada@ex", "new@ex").replace("bob@ex", "new@ex").parse().unwrap())
    };
    // Which times are the same to the microsecond tells nothing either.
    let times = |answer: &Value| {
        let user = &answer["user"];
        let names = ["created_at", "updated_at", "confirmation_sent_at"];
        let first = user["created_at"].clone();
        names
            .map(|name| user[name] == first)
            .to_vec()
            .into_iter()
            .chain([user["identities"][0]["created_at"] == first])
            .collect::<Vec<bool>>()
    };
    for made_up in [&again, &taken, &banned] {
        assert_eq!(same(made_up), same(&real));
        assert_eq!(times(made_up), times(&real));
        assert_eq!(made_up["user"]["user_metadata"], data);
    }
    let told: Vec<(String, String)> = mails(&database).into_iter().map(|mail| (mail.kind, mail.recipient)).collect();
    assert_eq!(told, vec![("existing_account".to_owned(), "ada@example.org".to_owned()); 2]);
    assert_eq!(said(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]), "session");
    assert_eq!(said(&mut app, "sign_in('ada@example.org', $1)", &[&OTHER]), "invalid_credentials");
}

/// F049, XA1, XA2: confirm, otp_first: a second sign-up for an address that nobody has confirmed makes the first link void; where two of
/// them disagree about the password the confirmation is worth neither, whoever comes last and however often it is resent.
#[test]
fn signing_up_again() {
    ["confirm", "otp_first"].into_iter().for_each(signing_up_again_in);
}

fn signing_up_again_in(mode: &str) {
    let database = confirming(mode);
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let cases: [(&[&str], bool); 5] = [
        (&[RIGHT], true),
        (&[RIGHT, RIGHT], true),
        (&[OTHER, RIGHT], false),
        (&[RIGHT, OTHER, RIGHT], false),
        (&[RIGHT, OTHER, RIGHT, RIGHT], false),
    ];
    for (number, (passwords, is_kept)) in cases.into_iter().enumerate() {
        for is_resent in [false, true] {
            let email = format!("ada{number}-{is_resent}@example.org");
            let up = passwords.iter().map(|password| mailed(&database, "sign_up($1, $2)", &[&email, password]));
            let mut mails: Vec<_> = up.collect();
            if is_resent {
                mails.push(mailed(&database, "resend('signup', $1)", &[&email]));
            }
            let last = mails.pop().unwrap();
            for before in &mails {
                assert_eq!(
                    said(&mut app, "verify_link($1)", &[&before.token()]),
                    "otp_expired",
                    "{mode} {passwords:?}"
                );
            }
            assert_eq!(said(&mut app, "verify_link($1)", &[&last.token()]), "session", "{mode} {passwords:?}");
            assert_eq!(
                said(&mut app, "sign_in($1, $2)", &[&email, &OTHER]),
                "invalid_credentials",
                "{mode} {passwords:?}"
            );
            let right = said(&mut app, "sign_in($1, $2)", &[&email, &RIGHT]);
            assert_eq!(right == "session", is_kept, "{mode} {passwords:?}, resent: {is_resent}: {right}");
        }
    }
    assert_eq!(count(&mut superuser, "users"), 10);
}

/// XA1, XA2: a stranger whose transaction holds an old snapshot does not see the owner's sign-up; what the newest mail is worth is
/// no password, whether he signs up again or asks for the mail again.
#[test]
fn an_old_snapshot_decides_nothing() {
    let again = ["sign_up('ada@example.org', 'staple correct horse')", "resend('signup', 'ada@example.org')"];
    for (mode, call) in ["confirm", "otp_first"].into_iter().flat_map(|mode| again.map(|call| (mode, call))) {
        let database = confirming(mode);
        let (mut stranger, mut owner) = (database.app(), database.app());
        mailed(&database, "sign_up('ada@example.org', $1)", &[&OTHER]);
        stranger.batch_execute("begin isolation level repeatable read; select 1").unwrap();
        answer(&mut owner, "sign_up('ada@example.org', $1)", &[&RIGHT]).unwrap();
        answer(&mut stranger, call, &[]).unwrap();
        stranger.batch_execute("commit").unwrap();
        let last = mails(&database).pop().unwrap();
        assert_eq!(said(&mut owner, "verify_link($1)", &[&last.token()]), "session", "{mode} {call}");
        for password in [RIGHT, OTHER] {
            let outcome = said(&mut owner, "sign_in('ada@example.org', $1)", &[&password]);
            assert_eq!(outcome, "invalid_credentials", "{mode} {call}");
        }
    }
}

/// XA1: otp_first: with an old snapshot it cannot be known whether somebody else's sign-up waits, so a first one keeps no password
/// either; it is given with the code.
#[test]
fn an_old_snapshot_keeps_no_password() {
    let database = confirming("otp_first");
    mailed(&database, "sign_up('first@example.org', $1)", &[&RIGHT]);
    let (mut stranger, mut owner) = (database.app(), database.app());
    stranger.batch_execute("begin isolation level repeatable read; select 1").unwrap();
    answer(&mut owner, "sign_up('ada@example.org', $1)", &[&RIGHT]).unwrap();
    answer(&mut stranger, "sign_up('ada@example.org', $1)", &[&OTHER]).unwrap();
    stranger.batch_execute("commit").unwrap();
    let last = mails(&database).pop().unwrap();
    let call = "verify_sign_up('ada@example.org', $1, $2)";
    assert_eq!(said(&mut owner, call, &[&last.code(), &RIGHT]), "session");
    assert_eq!(said(&mut owner, "sign_in('ada@example.org', $1)", &[&OTHER]), "invalid_credentials");
    assert_eq!(said(&mut owner, "sign_in('ada@example.org', $1)", &[&RIGHT]), "session");
}

/// F007, F008, F010, F011: otp_first: no account before the code, then one with the password and the metadata of the sign-up;
/// the code is good once.
#[test]
fn otp_first() {
    let database = confirming("otp_first");
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let data = json!({"name": "Jane Doe"});
    let sent = answer(&mut app, "sign_up('jane@example.org', $1, $2)", &[&RIGHT, &data]).unwrap();
    assert_eq!(sent, json!({"status": "code_sent"}));
    assert_eq!((count(&mut superuser, "users"), count(&mut superuser, "pending_sign_ups")), (0, 1));
    assert_eq!(said(&mut app, "sign_in('jane@example.org', $1)", &[&RIGHT]), "invalid_credentials");
    let mail = the_mail(&database);
    let wrong = not(mail.code());
    assert_eq!(said(&mut app, "verify_sign_up('jane@example.org', $1)", &[&wrong]), "otp_expired");
    assert_eq!(count(&mut superuser, "users"), 0);
    let session = answer(&mut app, "verify_sign_up('jane@example.org', $1)", &[&mail.code()]).unwrap();
    assert_eq!(session["user"]["user_metadata"], data);
    assert!(session["user"]["email_confirmed_at"].is_string());
    assert_eq!((count(&mut superuser, "users"), count(&mut superuser, "pending_sign_ups")), (1, 0));
    assert_eq!(said(&mut app, "verify_sign_up('jane@example.org', $1)", &[&mail.code()]), "otp_expired");
    assert_eq!(said(&mut app, "verify_link($1)", &[&mail.token()]), "otp_expired");
    assert_eq!(said(&mut app, "sign_in('jane@example.org', $1)", &[&RIGHT]), "session");
    // Whoever has an account is told, and the answer is the same.
    let again = answer(&mut app, "sign_up('jane@example.org', $1, $2)", &[&OTHER, &data]).unwrap();
    assert_eq!(again, sent);
    assert_eq!(the_mail(&database).kind, "existing_account");
    assert_eq!(count(&mut superuser, "pending_sign_ups"), 0);
}

/// F007, F008, F010, F057: without a password at the first step: the second step sets one, or the account has none.
#[test]
fn by_mail_alone() {
    let database = confirming("immediate");
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let data = json!({"name": "Jane Doe"});
    for (email, password) in [("jane@example.org", None), ("joan@example.org", Some(RIGHT))] {
        let mail = mailed(&database, "sign_up_with_email($1, $2)", &[&email, &data]);
        assert_eq!((&*mail.kind, &mail.payload["type"]), ("confirmation", &json!("signup")));
        assert_eq!(said(&mut app, "verify_sign_up($1, $2, 'short')", &[&email, &mail.code()]), "weak_password");
        let session = answer(&mut app, "verify_sign_up($1, $2, $3)", &[&email, &mail.code(), &password]).unwrap();
        assert_eq!(session["user"]["user_metadata"], data);
        let signs_in = said(&mut app, "sign_in($1, $2)", &[&email, &RIGHT]);
        assert_eq!(signs_in, if password.is_some() { "session" } else { "invalid_credentials" });
    }
    let bare = "select encrypted_password is null from auth.users where email = 'jane@example.org'";
    assert!(superuser.query_one(bare, &[]).unwrap().get::<_, bool>(0));
    configure(&database, json!({"enable_signup": false}));
    for call in ["sign_up_with_email('x@example.org')", "sign_up('x@example.org', 'correct horse battery')"] {
        assert_eq!(said(&mut app, call, &[]), "signup_disabled");
    }
    // A mail that signs in makes no account either; nobody can tell.
    assert_eq!(said(&mut app, "send_otp('x@example.org')", &[]), "code_sent");
    assert_eq!(mails(&database).len(), 0);
    configure(&database, json!({"enable_signup": true}));
    assert_eq!(said(&mut app, "send_otp('x@example.org', '{\"create_user\": false}')", &[]), "code_sent");
    assert_eq!(mails(&database).len(), 0);
    let mail = mailed(&database, "send_otp('x@example.org', '{\"data\": {\"a\": 1}}')", &[]);
    let session = answer(&mut app, "verify_otp('x@example.org', $1)", &[&mail.code()]).unwrap();
    assert_eq!(session["user"]["user_metadata"], json!({"a": 1}));
}

/// F008: somebody else was faster: the code of a sign-up whose address has an account by now makes none, and takes nothing over.
#[test]
fn the_address_was_taken_meanwhile() {
    let database = confirming("otp_first");
    let mut app = database.app();
    let mail = mailed(&database, "sign_up('ada@example.org', $1)", &[&OTHER]);
    configure(&database, json!({"signup_mode": "immediate"}));
    proved(&database, "ada@example.org");
    assert_eq!(said(&mut app, "verify_sign_up('ada@example.org', $1)", &[&mail.code()]), "email_exists");
    assert_eq!(said(&mut app, "verify_link($1)", &[&mail.token()]), "email_exists");
    assert_eq!(said(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]), "session");
    assert_eq!(json(&mut database.superuser(), "select to_jsonb(count(*)) from auth.users", &[]), json!(1));
}

/// XA1, XA3, B024: somebody makes an account with the victim's address, with a password and a session; the victim proves the
/// address by magic link, code or reset: nothing of the other's is left. A magic link to a proved account drops nothing.
#[test]
fn what_was_made_in_advance_is_gone() {
    let database = confirming("immediate");
    let mut app = database.app();
    let ways: [(&str, &str); 4] = [
        ("send_otp($1)", "verify_link($2)"),
        ("send_otp($1)", "verify_otp($1, $3)"),
        ("request_password_reset($1)", "verify_link($2)"),
        ("request_password_reset($1)", "reset_password($2, 'staple correct horse')"),
    ];
    for (number, (ask, prove)) in ways.into_iter().enumerate() {
        for is_proved in [false, true] {
            let email = format!("victim{number}-{is_proved}@example.org");
            let trap = match is_proved {
                false => auth_harness::sign_up(&mut app, &email, RIGHT),
                true => proved(&database, &email),
            };
            let change = auth_harness::acting(&mut app, &trap.access_token, |transaction| {
                said(transaction, "update_email('thief-' || $1, $2)", &[&email, &RIGHT])
            });
            assert_eq!(change, "confirmation_sent");
            let pending = mails(&database);
            let mail = mailed(&database, ask, &[&email]);
            let call = prove.replace("$2", "$1").replace("$3", "$2");
            let said_now = match prove.contains("$2") {
                true => said(&mut app, &call, &[&mail.token()]),
                false => said(&mut app, &call, &[&email, &mail.code()]),
            };
            assert!(["session", "password_changed"].contains(&&*said_now), "{ask}, {prove}: {said_now}");
            let is_gone = !is_proved || prove.starts_with("reset");
            let password = said(&mut app, "sign_in($1, $2)", &[&email, &RIGHT]);
            assert_eq!(password == "invalid_credentials", is_gone, "{ask}, {prove}, {is_proved}: {password}");
            assert_eq!(crate::refresh::standing(&mut app, &trap).is_some(), is_gone, "{ask}, {prove}, {is_proved}");
            let refreshed = crate::refresh::refresh(&mut app, &trap.refresh_token).is_err();
            assert_eq!(refreshed, is_gone, "{ask}, {prove}, {is_proved}");
            for mail in &pending {
                let change = said(&mut app, "verify_link($1)", &[&mail.token()]);
                assert_eq!(change == "otp_expired", is_gone, "{ask}, {prove}, {is_proved}: {change}");
            }
            mails(&database);
        }
    }
}

/// N02, F049: whoever signs up with somebody's waiting address and leaves his transaction open keeps nobody from confirming it.
#[test]
fn an_open_sign_up_holds_up_nobody() {
    for mode in ["confirm", "otp_first"] {
        let database = confirming(mode);
        let (mut app, mut stranger) = (database.app(), database.app());
        app.batch_execute("set statement_timeout = '15s'").unwrap();
        let mail = mailed(&database, "sign_up('ada@example.org', $1)", &[&RIGHT]);
        let mut open = stranger.transaction().unwrap();
        for call in [
            "sign_up('ada@example.org', $1)",
            "resend('signup', 'ada@example.org', jsonb_build_object('locale', left($1, 1)))",
        ] {
            assert!(answer(&mut open, call, &[&OTHER]).is_ok(), "{mode}");
        }
        assert_eq!(said(&mut app, "verify_link($1)", &[&mail.token()]), "session", "{mode}");
        assert_eq!(said(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]), "session", "{mode}");
        drop(open);
    }
}

/// How a stranger uses up what may be mailed to an address that he has signed up with first, so that its owner's sign-up is refused.
const USED_UP: [(&str, i64, i64); 2] = [("by resending", 0, 3), ("within the interval", 60, 1000)];

/// Signs a stranger up in this mode and uses up the limit; the mail that counts, and a login for whoever is next.
fn used_up(mode: &str, interval: i64, limit: i64, password: &str) -> (Database, auth_harness::Mail) {
    let database = confirming(mode);
    let settings = json!({"verification_resend_interval": interval, "verification_resend_limit": limit});
    configure(&database, settings);
    let mut app = database.app();
    let mut mail = mailed(&database, "sign_up('ada@example.org', $1)", &[&password]);
    for _ in 0..if interval == 0 { limit } else { 0 } {
        mail = mailed(&database, "resend('signup', 'ada@example.org')", &[]);
    }
    assert_eq!(said(&mut app, "resend('signup', 'ada@example.org')", &[]), "over_email_send_rate_limit");
    (database, mail)
}

/// XA1, XA2: whoever signs up with an address while no more may be mailed to it has given another password all the same: what the
/// mail that is out confirms is neither, also where that sign-up was rolled back. The same password again is no other.
#[test]
fn a_refused_sign_up_counts_as_one() {
    for (mode, (name, interval, limit)) in
        ["confirm", "otp_first"].into_iter().flat_map(|mode| USED_UP.map(|used| (mode, used)))
    {
        for (second, is_rolled_back, is_kept) in [(OTHER, false, false), (OTHER, true, false), (RIGHT, false, true)] {
            let case = format!("{mode} {name} {second} {is_rolled_back}");
            let (database, mail) = used_up(mode, interval, limit, RIGHT);
            let (mut app, mut owner) = (database.app(), database.app());
            let refused = if is_rolled_back {
                let mut transaction = owner.transaction().unwrap();
                transaction.batch_execute("savepoint before").unwrap();
                let refused = said(&mut transaction, "sign_up('ada@example.org', $1)", &[&second]);
                transaction.batch_execute("rollback to before").unwrap();
                transaction.rollback().unwrap();
                refused
            } else {
                said(&mut owner, "sign_up('ada@example.org', $1)", &[&second])
            };
            assert_eq!(refused, "over_email_send_rate_limit", "{case}");
            assert_eq!(mails(&database).len(), 0, "{case}");
            assert_eq!(said(&mut owner, "verify_link($1)", &[&mail.token()]), "session", "{case}");
            let right = said(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]);
            assert_eq!(right, if is_kept { "session" } else { "invalid_credentials" }, "{case}");
            assert_eq!(said(&mut app, "sign_in('ada@example.org', $1)", &[&OTHER]), "invalid_credentials", "{case}");
        }
    }
}

/// XA1: otp_first: the password that comes with the code is the owner's, whoever has contested the one before.
#[test]
fn a_password_with_the_code_is_contested_by_nobody() {
    let (database, mail) = used_up("otp_first", 60, 3, RIGHT);
    let mut app = database.app();
    assert_eq!(said(&mut app, "sign_up('ada@example.org', $1)", &[&OTHER]), "over_email_send_rate_limit");
    assert_eq!(said(&mut app, "verify_sign_up('ada@example.org', $1, $2)", &[&mail.code(), &OTHER]), "session");
    assert_eq!(said(&mut app, "sign_in('ada@example.org', $1)", &[&OTHER]), "session");
    assert_eq!(said(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]), "invalid_credentials");
}

/// XA1: a confirmation that is rolled back takes the mark with it no more than the sign-up that left it; once it is committed the
/// address begins anew.
#[test]
fn the_mark_goes_with_the_proof() {
    for mode in ["confirm", "otp_first"] {
        let (database, mail) = used_up(mode, 60, 3, RIGHT);
        let mut app = database.app();
        assert_eq!(said(&mut app, "sign_up('ada@example.org', $1)", &[&OTHER]), "over_email_send_rate_limit");
        let mut transaction = app.transaction().unwrap();
        assert_eq!(said(&mut transaction, "verify_link($1)", &[&mail.token()]), "session");
        transaction.rollback().unwrap();
        configure(&database, json!({"verification_resend_interval": 0}));
        let mail = mailed(&database, "resend('signup', 'ada@example.org')", &[]);
        assert_eq!(said(&mut app, "verify_link($1)", &[&mail.token()]), "session", "{mode}");
        assert_eq!(said(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]), "invalid_credentials", "{mode}");
        database.superuser().batch_execute("delete from auth.users").unwrap();
        let mail = mailed(&database, "sign_up('ada@example.org', $1)", &[&RIGHT]);
        assert_eq!(said(&mut app, "verify_link($1)", &[&mail.token()]), "session", "{mode}");
        assert_eq!(said(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]), "session", "{mode}");
    }
}

/// XA1: a mail that is asked for while the mark is there is worth no more when it has ended; nor is one where the owner, refused, has
/// signed up without a password.
#[test]
fn a_mail_outlives_the_mark() {
    let ways = [
        ("confirm", "sign_up('ada@example.org', 'staple correct horse')", "resend('signup', 'ada@example.org')"),
        (
            "confirm",
            "sign_up('ada@example.org', 'staple correct horse')",
            "sign_up('ada@example.org', 'correct horse battery')",
        ),
        ("otp_first", "sign_up('ada@example.org', 'staple correct horse')", "resend('signup', 'ada@example.org')"),
        (
            "otp_first",
            "sign_up('ada@example.org', 'staple correct horse')",
            "sign_up('ada@example.org', 'correct horse battery')",
        ),
        ("otp_first", "sign_up_with_email('ada@example.org')", "resend('signup', 'ada@example.org')"),
    ];
    for (mode, refused, again) in ways {
        let (database, _) = used_up(mode, 60, 1000, "correct horse battery");
        let mut app = database.app();
        assert_eq!(said(&mut app, refused, &[]), "over_email_send_rate_limit", "{mode} {refused}");
        configure(&database, json!({"verification_resend_interval": 0}));
        let mail = mailed(&database, again, &[]);
        let forget = "select auth.guard_reset('ada@example.org')";
        database.admin().execute(forget, &[]).unwrap();
        assert_eq!(said(&mut app, "verify_link($1)", &[&mail.token()]), "session", "{mode} {refused}");
        let right = said(&mut app, "sign_in('ada@example.org', 'correct horse battery')", &[]);
        assert_eq!(right, "invalid_credentials", "{mode} {refused} {again}");
    }
}
