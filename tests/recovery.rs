//! Resetting a password by mail: who hears what, how often, and what is over afterwards.

use auth_harness::{Cluster, acting, mails, sign_in, storm_with, the_mail};
use serde_json::{Value, json};

use crate::guard::RIGHT;
use crate::otp::{answer, mailed, mailing, not, proved, said};
use crate::refresh::{configure, refresh, standing};

const NEW: &str = "staple correct horse";
const RESET: &str = "reset_password($1, 'staple correct horse')";

/// F034, F037, F038, F039, F040: link and code of the newest mail set a password, once; what came before is void, the old password is gone,
/// and a password that is too weak spends nothing.
#[test]
fn a_reset_is_good_once() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    for (number, by_code) in [false, true].into_iter().enumerate() {
        let ada = proved(&database, &format!("ada{number}@example.org"));
        let old = mailed(&database, "request_password_reset($1)", &[&ada.email]);
        let mail = mailed(&database, "request_password_reset($1)", &[&ada.email]);
        assert_eq!((&*mail.kind, &mail.payload["type"]), ("recovery", &json!("recovery")));
        assert_eq!(said(&mut app, RESET, &[&old.token()]), "otp_expired");
        let mut reset = |password: &str| match by_code {
            true => said(&mut app, "reset_password_with_code($1, $2, $3)", &[&ada.email, &mail.code(), &password]),
            false => said(&mut app, "reset_password($1, $2)", &[&mail.token(), &password]),
        };
        assert_eq!(reset("short"), "weak_password");
        assert_eq!(reset(&"x".repeat(2000)), "password_too_long");
        assert_eq!(reset(NEW), "password_changed");
        assert_eq!(reset("another right password"), "otp_expired");
        assert_eq!(said(&mut app, "verify_link($1)", &[&mail.token()]), "otp_expired");
        assert_eq!(said(&mut app, "sign_in($1, $2)", &[&ada.email, &RIGHT]), "invalid_credentials");
        assert_eq!(said(&mut app, "sign_in($1, $2)", &[&ada.email, &NEW]), "session");
        let notice = the_mail(&database);
        assert_eq!((&*notice.kind, &*notice.recipient), ("password_changed", &*ada.email));
        assert!(notice.payload["token"].is_null() && notice.payload["code"].is_null());
    }
    configure(&database, json!({"security_notices": false}));
    let bob = proved(&database, "bob@example.org");
    let mail = mailed(&database, "request_password_reset($1)", &[&bob.email]);
    assert_eq!(said(&mut app, RESET, &[&mail.token()]), "password_changed");
    assert_eq!(mails(&database).len(), 0);
}

/// B024, XA3, XA5, F041: a reset ends every session and everything else that waited for a confirmation; where the setting is on it
/// answers with a session, the only one that is left.
#[test]
fn a_reset_ends_what_was_before() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    for returns_session in [false, true] {
        configure(&database, json!({"reset_returns_session": returns_session}));
        let phone = proved(&database, &format!("ada-{returns_session}@example.org"));
        let laptop = sign_in(&mut app, &phone.email, RIGHT);
        acting(&mut app, &phone.access_token, |transaction| {
            answer(transaction, "update_email('thief@example.net', $1)", &[&RIGHT]).unwrap();
            answer(transaction, "reauthenticate()", &[]).unwrap();
        });
        answer(&mut app, "send_otp($1)", &[&phone.email]).unwrap();
        let waiting = mails(&database);
        assert_eq!(waiting.len(), 4);
        let mail = mailed(&database, "request_password_reset($1)", &[&phone.email]);
        let reset = answer(&mut app, RESET, &[&mail.token()]).unwrap();
        assert_eq!(reset["status"], if returns_session { "session" } else { "password_changed" });
        for person in [&phone, &laptop] {
            assert_eq!(standing(&mut app, person).as_deref(), Some("session_not_found"));
            assert!(refresh(&mut app, &person.refresh_token).is_err());
        }
        for mail in waiting.iter().filter(|mail| mail.payload["token"].is_string()) {
            assert_eq!(said(&mut app, "verify_link($1)", &[&mail.token()]), "otp_expired", "{}", mail.kind);
        }
        if let Value::String(token) = &reset["access_token"] {
            acting(&mut app, token, |transaction| {
                assert_eq!(transaction.query("select from auth.list_sessions()", &[]).unwrap().len(), 1);
            });
        }
        mails(&database);
    }
}

/// F035, F057: nobody hears of an unknown address; whoever has no password gets a mail that signs in, and no reset.
#[test]
fn without_an_account_or_a_password() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    let ada = proved(&database, "ada@example.org");
    let nobody = answer(&mut app, "request_password_reset('nobody@example.org')", &[]).unwrap();
    assert_eq!(mails(&database).len(), 0);
    assert_eq!(answer(&mut app, "request_password_reset($1)", &[&ada.email]).unwrap().to_string(), nobody.to_string());
    mails(&database);
    let bare = "update auth.users set encrypted_password = null where id = $1";
    database.superuser().execute(bare, &[&ada.user_id]).unwrap();
    for (has_link, kind) in [(true, "magiclink"), (false, "otp")] {
        configure(&database, json!({"enable_magic_link": has_link}));
        let mail = mailed(&database, "request_password_reset($1)", &[&ada.email]);
        assert_eq!((&*mail.kind, mail.payload["token"].is_string()), (kind, has_link));
        if has_link {
            assert_eq!(said(&mut app, RESET, &[&mail.token()]), "otp_expired");
        }
        let call = "reset_password_with_code($1, $2, 'staple correct horse')";
        assert_eq!(said(&mut app, call, &[&ada.email, &mail.code()]), "otp_expired");
        assert_eq!(said(&mut app, "verify_otp($1, $2)", &[&ada.email, &mail.code()]), "session");
    }
    let recovery = "select count(*) from auth.one_time_tokens where purpose = 'recovery' and user_id = $1";
    let count: i64 = database.superuser().query_one(recovery, &[&ada.user_id]).unwrap().get(0);
    // The one of before the password went away.
    assert_eq!(count, 1);
}

/// XE4, F039: sixty-four resets by one link, or by its code, each with a password of its own: exactly one sticks, and it is the
/// one that was answered so.
#[test]
fn sixty_four_resets_at_once() {
    const CALLERS: usize = 64;
    let cluster = Cluster::start();
    let database = mailing(&cluster, json!({"lockout_attempts": null, "argon2_memory_kib": 1024}));
    for (email, by_code) in [("ada@example.org", false), ("bob@example.org", true)] {
        let person = proved(&database, email);
        let mail = mailed(&database, "request_password_reset($1)", &[&email]);
        let password = |number: usize| format!("the password of caller {number}");
        let said = storm_with(
            CALLERS,
            |_| {
                let mut client = database.app();
                // Plans and caches are warm, so that the race is about the token.
                assert_eq!(said(&mut client, RESET, &[&"x"]), "otp_expired");
                client
            },
            |number, mut client| match by_code {
                true => {
                    let call = "reset_password_with_code($1, $2, $3)";
                    said(&mut client, call, &[&email, &mail.code(), &password(number)])
                }
                false => said(&mut client, "reset_password($1, $2)", &[&mail.token(), &password(number)]),
            },
        );
        let winners: Vec<usize> = (0..CALLERS).filter(|number| said[*number] == "password_changed").collect();
        assert_eq!(winners.len(), 1, "{said:?}");
        assert!(said.iter().all(|said| ["password_changed", "otp_expired"].contains(&said.as_str())), "{said:?}");
        let mut app = database.app();
        assert_eq!(crate::otp::said(&mut app, "sign_in($1, $2)", &[&email, &password(winners[0])]), "session");
        assert!(standing(&mut app, &person).is_some());
        let changed = "select count(*) from auth.audit_log where event_type = 'password_reset' and user_id = $1";
        let changed: i64 = database.superuser().query_one(changed, &[&person.user_id]).unwrap().get(0);
        assert_eq!(changed, 1);
        mails(&database);
    }
}

/// F036, XE13: the code of a reset is bound to its address, a wrong one is counted, and a banned account is not let in.
#[test]
fn whose_reset_it_is() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    let (ada, bob) = (proved(&database, "ada@example.org"), proved(&database, "bob@example.org"));
    let mail = mailed(&database, "request_password_reset($1)", &[&ada.email]);
    let call = "reset_password_with_code($1, $2, 'staple correct horse')";
    for (email, code) in
        [(&*bob.email, mail.code()), ("nobody@example.org", mail.code()), (&*ada.email, &*not(mail.code()))]
    {
        assert_eq!(said(&mut app, call, &[&email, &code]), "otp_expired");
    }
    let ban = "update auth.users set banned_until = now() + $2::text::interval where id = $1";
    database.superuser().execute(ban, &[&ada.user_id, &"1 h"]).unwrap();
    assert_eq!(said(&mut app, RESET, &[&mail.token()]), "user_banned");
    assert_eq!(mails(&database).len(), 0);
    database.superuser().execute(ban, &[&ada.user_id, &"-1 h"]).unwrap();
    assert_eq!(said(&mut app, RESET, &[&mail.token()]), "otp_expired", "it was spent");
    assert_eq!(said(&mut app, "sign_in($1, $2)", &[&ada.email, &RIGHT]), "session");
    // The address was changed since: the mail went to another.
    let mail = mailed(&database, "request_password_reset($1)", &[&bob.email]);
    let change = "update auth.users set email = 'bob2@example.org' where id = $1";
    database.superuser().execute(change, &[&bob.user_id]).unwrap();
    assert_eq!(said(&mut app, RESET, &[&mail.token()]), "otp_expired");
    assert_eq!(said(&mut app, "sign_in('bob2@example.org', $1)", &[&RIGHT]), "session");
}

/// F037, N02: whoever has asked for somebody's mails and leaves his transaction open keeps nobody from anything: the earlier mails
/// work, new ones are sent, and the account signs in.
#[test]
fn an_open_request_holds_up_nobody() {
    let database = mailing(Cluster::shared(), json!({}));
    let (mut app, mut stranger) = (database.app(), database.app());
    app.batch_execute("set statement_timeout = '15s'").unwrap();
    for (number, by_code) in [true, false, true, false].into_iter().enumerate() {
        let ada = proved(&database, &format!("ada{number}@example.org"));
        let sign_up = format!("new{number}@example.org");
        let before = [
            mailed(&database, "request_password_reset($1)", &[&ada.email]),
            mailed(&database, "send_otp($1)", &[&ada.email]),
            mailed(&database, "send_otp($1)", &[&sign_up]),
        ];
        let mut open = stranger.transaction().unwrap();
        for _ in 0..2 {
            for (call, email) in [
                ("request_password_reset($1)", &ada.email),
                ("send_otp($1)", &ada.email),
                ("send_otp($1)", &sign_up),
                ("resend('signup', $1)", &ada.email),
            ] {
                let answer = answer(&mut open, call, &[email]).unwrap();
                assert!(answer["status"].is_string());
            }
        }
        let mails = match number < 2 {
            true => before,
            // Or those that are asked for meanwhile.
            false => [
                mailed(&database, "request_password_reset($1)", &[&ada.email]),
                mailed(&database, "send_otp($1)", &[&ada.email]),
                mailed(&database, "send_otp($1)", &[&sign_up]),
            ],
        };
        for mail in &mails[1..] {
            let said = match by_code {
                true => said(&mut app, "verify_otp($1, $2)", &[&mail.recipient, &mail.code()]),
                false => said(&mut app, "verify_link($1)", &[&mail.token()]),
            };
            assert_eq!(said, "session", "{number}, {}", mail.kind);
        }
        assert_eq!(said(&mut app, RESET, &[&mails[0].token()]), "password_changed", "{number}");
        assert_eq!(said(&mut app, "sign_in($1, $2)", &[&ada.email, &NEW]), "session");
        open.rollback().unwrap();
        crate::otp::said(&mut app, "sign_in($1, $2)", &[&ada.email, &NEW]);
        auth_harness::mails(&database);
    }
}
