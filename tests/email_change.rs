//! Changing one's address: nothing changes before it is confirmed, by whom it has to be, and nobody learns who has the other.

use auth_harness::{Cluster, Database, Mail, Person, acting, claims, json, mails, the_mail, try_acting};
use serde_json::{Value, json};

use crate::guard::RIGHT;
use crate::otp::{answer, mailing, not, proved, said};
use crate::refresh::configure;

/// Asks for a change; what is mailed.
#[track_caller]
fn asked(database: &Database, person: &Person, new: &str) -> Vec<Mail> {
    let status = acting(&mut database.app(), &person.access_token, |transaction| {
        said(transaction, "update_email($1, $2)", &[&new, &person.password])
    });
    assert_eq!(status, "confirmation_sent");
    mails(database)
}

fn address(database: &Database, person: &Person) -> String {
    let address = "select email::text from auth.users where id = $1";
    database.superuser().query_one(address, &[&person.user_id]).unwrap().get(0)
}

fn follow(database: &Database, mail: &Mail) -> String {
    said(&mut database.app(), "verify_link($1)", &[&mail.token()])
}

/// B027, F052: with a proved address both mails have to be confirmed, in either order, by link or code; the address is the
/// old one until then and the old one's owner is told; each half is good once.
#[test]
fn both_halves_in_either_order() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    for (number, (first, by_code)) in [(0, false), (1, false), (0, true), (1, true)].into_iter().enumerate() {
        let ada = proved(&database, &format!("ada{number}@example.org"));
        let new = format!("new{number}@example.org");
        let halves = asked(&database, &ada, &new);
        let kinds: Vec<(&str, &str)> = halves.iter().map(|mail| (&*mail.kind, &*mail.recipient)).collect();
        assert_eq!(kinds, [("email_change_current", &*ada.email), ("email_change", &*new)]);
        assert!(halves.iter().all(|mail| mail.payload["new_email"] == *new && mail.payload["type"] == "email_change"));
        let mut confirm = |mail: &Mail| match by_code {
            true => {
                let call = "verify_otp($1, $2, '{\"type\": \"email_change\"}')";
                said(&mut app, call, &[&mail.recipient, &mail.code()])
            }
            false => said(&mut app, "verify_link($1)", &[&mail.token()]),
        };
        assert_eq!(confirm(&halves[first]), "confirmation_sent");
        assert_eq!(confirm(&halves[first]), "otp_expired");
        assert_eq!(address(&database, &ada), ada.email);
        assert_eq!(confirm(&halves[1 - first]), "session");
        assert_eq!(address(&database, &ada), new);
        assert_eq!(confirm(&halves[1 - first]), "otp_expired");
        assert_eq!(said(&mut app, "sign_in($1, $2)", &[&new, &RIGHT]), "session");
        assert_eq!(said(&mut app, "sign_in($1, $2)", &[&ada.email, &RIGHT]), "invalid_credentials");
        mails(&database);
    }
}

/// B027: where it is off, or the old address was never proved, the new address alone decides.
#[test]
fn the_new_address_alone() {
    let database = mailing(Cluster::shared(), json!({}));
    let unproved = auth_harness::sign_up(&mut database.app(), "eve@example.org", RIGHT);
    let mail = asked(&database, &unproved, "eve2@example.org");
    assert_eq!(mail.len(), 1);
    assert_eq!(follow(&database, &mail[0]), "session");
    configure(&database, json!({"secure_email_change": false}));
    let ada = proved(&database, "ada@example.org");
    let mail = asked(&database, &ada, "ada2@example.org");
    assert_eq!(mail.iter().map(|mail| &*mail.recipient).collect::<Vec<_>>(), ["ada2@example.org"]);
    assert_eq!(follow(&database, &mail[0]), "session");
    assert_eq!(address(&database, &ada), "ada2@example.org");
    let identity = "select identity_data from auth.identities where user_id = $1";
    let identity = json(&mut database.superuser(), identity, &[&ada.user_id]);
    assert_eq!((&identity["email"], &identity["email_verified"]), (&json!("ada2@example.org"), &json!(true)));
    let events = "select array_agg(event_type) from auth.audit_log where user_id = $1 and event_type like 'email_ch%'";
    let events: Vec<String> = database.superuser().query_one(events, &[&ada.user_id]).unwrap().get(0);
    assert_eq!(events, ["email_change_requested", "email_changed"]);
}

/// B027, XA10: asking for the mail again does not take away that the old address has to agree, and a thief's session gets no
/// further by it.
#[test]
fn resending_keeps_both_halves() {
    let database = mailing(Cluster::shared(), json!({}));
    let ada = proved(&database, "ada@example.org");
    let halves = asked(&database, &ada, "evil@example.org");
    assert_eq!(said(&mut database.app(), "resend('email_change', $1)", &[&ada.email]), "confirmation_sent");
    let again = mails(&database);
    let new = again.iter().find(|mail| mail.kind == "email_change").expect("it is mailed again");
    assert_eq!(new.recipient, "evil@example.org");
    assert_eq!(follow(&database, &halves[1]), "otp_expired", "the mail before is void");
    assert_eq!(follow(&database, new), "confirmation_sent");
    assert_eq!(address(&database, &ada), ada.email);
    let old = again.iter().find(|mail| mail.kind == "email_change_current").unwrap_or(&halves[0]);
    assert_eq!(follow(&database, old), "session");
    assert_eq!(address(&database, &ada), "evil@example.org");
}

/// XA10, XE13: a change that is begun again with another address: only the newest pair counts, in every order, so that no
/// address is confirmed by a mail that went to another.
#[test]
fn another_address_in_between() {
    let database = mailing(Cluster::shared(), json!({}));
    for (number, is_half_first) in [false, true].into_iter().enumerate() {
        let ada = proved(&database, &format!("ada{number}@example.org"));
        let mine = asked(&database, &ada, &format!("mine{number}@example.net"));
        if is_half_first {
            assert_eq!(follow(&database, &mine[1]), "confirmation_sent");
        }
        let other = asked(&database, &ada, &format!("other{number}@example.org"));
        for old in &mine {
            assert_eq!(follow(&database, old), "otp_expired");
        }
        assert_eq!(follow(&database, &other[0]), "confirmation_sent");
        assert_eq!(address(&database, &ada), ada.email, "the old address agrees to the other, not to mine");
        assert_eq!(follow(&database, &other[1]), "session");
        assert_eq!(address(&database, &ada), format!("other{number}@example.org"));
        mails(&database);
    }
}

/// XC13, B073: whether somebody has the new address shows neither in the answer, nor in what becomes of an earlier change, nor
/// in what is mailed to the caller; its owner is told.
#[test]
fn nobody_learns_who_has_the_other_address() {
    let database = mailing(Cluster::shared(), json!({"secure_email_change": false}));
    proved(&database, "bob@example.org");
    let mut seen = Vec::new();
    for (number, new) in ["bob@example.org", "free@example.org"].into_iter().enumerate() {
        let ada = proved(&database, &format!("ada{number}@example.org"));
        let before = asked(&database, &ada, &format!("mine{number}@example.net"));
        let mut answer = acting(&mut database.app(), &ada.access_token, |transaction| {
            answer(transaction, "update_email($1, $2)", &[&new, &RIGHT]).unwrap()
        });
        let mail = the_mail(&database);
        assert_eq!(mail.recipient, new);
        assert_eq!(mail.kind, if number == 0 { "existing_account" } else { "email_change" });
        assert_eq!(mail.payload["token"].is_null(), number == 0);
        answer["user"] = shape(&answer["user"]);
        let earlier = follow(&database, &before[0]);
        let resent = said(&mut database.app(), "resend('email_change', $1)", &[&ada.email]);
        mails(&database);
        seen.push((answer, earlier, resent));
    }
    assert_eq!(seen[0], seen[1]);
}

/// What kind of values an object has, without the values.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => json!("text"),
        other => other.clone(),
    }
}

/// F052: the current password is needed where there is one, a wrong one is a guess at sign-in too, and nothing is mailed.
#[test]
fn the_current_password() {
    let database = mailing(Cluster::shared(), json!({}));
    let ada = proved(&database, "ada@example.org");
    let mut app = database.app();
    let mut update = |password: Option<&str>| {
        let call = |transaction: &mut auth_harness::Transaction<'_>| {
            transaction
                .query_one("select auth.update_email('new@example.org', $1) ->> 'status'", &[&password])
                .map(|row| row.get(0))
        };
        let result: Result<String, auth_harness::postgres::Error> = try_acting(&mut app, &ada.access_token, call);
        result.unwrap_or_else(|error| auth_harness::refused::<()>(Err(error)).code)
    };
    assert_eq!(update(None), "validation_failed");
    for _ in 0..5 {
        assert_eq!(update(Some("a wrong guess")), "current_password_invalid");
    }
    assert_eq!(update(Some(RIGHT)), "account_locked");
    assert_eq!(said(&mut database.app(), "sign_in($1, $2)", &[&ada.email, &RIGHT]), "account_locked");
    assert_eq!(mails(&database).len(), 0);
    database.admin().execute("select auth.guard_reset('ada@example.org')", &[]).unwrap();
    assert_eq!(update(Some(RIGHT)), "confirmation_sent");
    configure(&database, json!({"current_password_required": false}));
    assert_eq!(update(None), "confirmation_sent");
    assert_eq!(update(Some("a wrong guess")), "current_password_invalid", "a wrong one is refused all the same");
}

/// XA5, B027: the address was taken meanwhile, the account is banned, or everything was reset: the change does not happen.
#[test]
fn what_ends_a_change() {
    let database = mailing(Cluster::shared(), json!({"secure_email_change": false}));
    let mut app = database.app();
    let ada = proved(&database, "ada@example.org");
    let taken = asked(&database, &ada, "taken@example.org");
    proved(&database, "taken@example.org");
    assert_eq!(follow(&database, &taken[0]), "email_exists");
    let before = asked(&database, &ada, "mine@example.net");
    let reset = crate::otp::mailed(&database, "request_password_reset($1)", &[&ada.email]);
    assert_eq!(said(&mut app, "reset_password($1, 'staple correct horse')", &[&reset.token()]), "password_changed");
    mails(&database);
    assert_eq!(follow(&database, &before[0]), "otp_expired");
    assert_eq!(address(&database, &ada), ada.email);
    let eve = proved(&database, "eve@example.org");
    let banned = asked(&database, &eve, "eve2@example.org");
    let ban = "update auth.users set banned_until = now() + interval '1 h' where id = $1";
    database.superuser().execute(ban, &[&eve.user_id]).unwrap();
    assert_eq!(follow(&database, &banned[0]), "user_banned");
    assert_eq!(address(&database, &eve), eve.email);
}

/// B028: the old address is told once the account has another.
#[test]
fn the_old_address_is_told() {
    let database = mailing(Cluster::shared(), json!({"secure_email_change": false}));
    let ada = proved(&database, "ada@example.org");
    let mail = asked(&database, &ada, "new@example.org");
    assert_eq!(follow(&database, &mail[0]), "session");
    let notice = the_mail(&database);
    assert_eq!((&*notice.kind, &*notice.recipient), ("email_changed", "ada@example.org"));
    assert!(notice.payload["token"].is_null() && notice.payload["code"].is_null());
}

/// F052, XE12: the mailed proof that somebody is there is a code without a link, of the signed-in account's own address.
#[test]
fn reauthentication() {
    let database = mailing(Cluster::shared(), json!({}));
    let ada = proved(&database, "ada@example.org");
    let status = acting(&mut database.app(), &ada.access_token, |transaction| {
        answer(transaction, "reauthenticate('{\"locale\": \"de\"}')", &[]).unwrap()
    });
    assert_eq!(status, json!({"status": "code_sent"}));
    let mail = the_mail(&database);
    assert_eq!((&*mail.kind, &*mail.recipient, mail.locale.as_deref()), ("reauthentication", &*ada.email, Some("de")));
    assert!(mail.payload["token"].is_null());
    let call = "verify_otp($1, $2, '{\"type\": \"email\"}')";
    for code in [mail.code(), &not(mail.code())] {
        assert_eq!(said(&mut database.app(), call, &[&ada.email, &code]), "otp_expired");
    }
    assert_eq!(claims(&ada.access_token)["email"], "ada@example.org");
}

/// B027: the own address is no change, however it is written: no mail, no count, no password, and a change that waits goes on.
/// One that nobody has proved is confirmed as ever.
#[test]
fn the_own_address_is_no_change() {
    let limits = json!({"verification_resend_interval": 60, "verification_resend_limit": 0});
    let database = mailing(Cluster::shared(), limits);
    let mut app = database.app();
    let ada = proved(&database, "ada@xn--strae-oqa.de");
    let waiting = asked(&database, &ada, "new@example.org");
    for spelling in ["ada@xn--strae-oqa.de", "Ada@XN--STRAE-OQA.DE", "ada@stra\u{df}e.de"] {
        for _ in 0..3 {
            let answer = acting(&mut app, &ada.access_token, |transaction| {
                json(transaction, "select auth.update_email($1)", &[&spelling])
            });
            assert_eq!((&answer["status"], &answer["user"]["email"]), (&json!("unchanged"), &json!(ada.email)));
            assert_eq!(answer["user"]["new_email"], "new@example.org");
        }
    }
    assert_eq!(mails(&database).len(), 0);
    let asked_for = "select count(*) from auth.audit_log where event_type = 'email_change_requested'";
    assert_eq!(database.superuser().query_one(asked_for, &[]).unwrap().get::<_, i64>(0), 1);
    assert_eq!(follow(&database, &waiting[0]), "confirmation_sent");
    assert_eq!(follow(&database, &waiting[1]), "session");
    mails(&database);
    let eve = auth_harness::sign_up(&mut app, "eve@example.org", RIGHT);
    let own = acting(&mut app, &eve.access_token, |transaction| said(transaction, "update_email($1)", &[&eve.email]));
    assert_eq!(own, "validation_failed", "it asks for the password");
    assert_eq!(asked(&database, &eve, &eve.email).len(), 1);
}
