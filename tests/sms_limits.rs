//! What bounds guesses at codes by SMS, and what bounds the SMS themselves, each of which costs money.

use auth_harness::{Cluster, json, mails, wait_until};
use serde_json::json;

use crate::guard::{guarded, retry_after};
use crate::networks::from;
use crate::otp::{answer, not, said};
use crate::refresh::configure;
use crate::sms::{ADA, texted, texting};

/// F060, XC1, XC5, XC7: five wrong codes lock the number, known or not, the right code included, and a new code is no new
/// chance; other numbers go on; a right one forgives; the lock outlasts every code, and the audit says so.
#[test]
fn five_wrong_codes() {
    let database = texting(Cluster::shared(), json!({"sms_otp_ttl": 3600, "lockout_duration": 60}));
    let mut app = database.app();
    let sms = texted(&database, ADA);
    for phone in [ADA, "+15555550123", "no number"] {
        // However it is spelled.
        let spelled = [phone.to_owned(), phone.trim_start_matches('+').to_owned()];
        let said: Vec<String> = (0..7)
            .map(|guess| said(&mut app, "verify_sms_otp($1, $2)", &[&spelled[guess % 2], &not(sms.code())]))
            .collect();
        assert_eq!(said, [["otp_expired"; 5].as_slice(), &["account_locked"; 2]].concat(), "{phone}");
    }
    let again = texted(&database, ADA);
    for code in [sms.code(), again.code()] {
        let refusal = answer(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &code]).unwrap_err();
        assert_eq!((&*refusal.sqlstate, &*refusal.code), ("53400", "account_locked"));
        assert!(retry_after(&refusal) > 3500, "{refusal:?}");
    }
    let locks =
        "select coalesce(jsonb_agg(event_data -> 'phone'), '[]') from auth.audit_log where event_type = 'sms_locked'";
    wait_until("the locks to be written", || {
        json(&mut database.superuser(), locks, &[]).as_array().unwrap().len() == 3
    });
    let locks = json(&mut database.superuser(), locks, &[]);
    assert_eq!(locks, json!(["4915112345678", "15555550123", null]), "what is no number may be a password");
    database.admin().execute("select auth.guard_reset($1)", &[&ADA]).unwrap();
    let bob = texted(&database, "+4915112345679");
    for _ in 0..2 {
        for _ in 0..4 {
            let wrong = not(again.code());
            assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[&"+4915112345679", &wrong]), "otp_expired");
        }
        let code = texted(&database, "+4915112345679");
        assert_eq!(said(&mut app, "verify_sms_otp('+4915112345679', $1)", &[&code.code()]), "session");
    }
    drop(bob);
    assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &again.code()]), "session", "an administrator forgave");
}

/// XE20, F059: of a thousand requests for one number a handful is sent, and of a thousand for a thousand numbers as many as
/// the budget has; a transaction that rolls back gives nothing of the budget back, and no other way to ask is without one.
#[test]
fn floods_are_bounded() {
    let database = guarded(Cluster::shared(), json!({"enable_sms": true, "rate_limit_database": null}));
    let mut app = database.app();
    let mut answers = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..1000 {
        *answers.entry(said(&mut app, "send_sms_otp($1)", &[&ADA])).or_default() += 1;
    }
    assert_eq!(answers, [("code_sent".to_owned(), 1), ("over_sms_send_rate_limit".to_owned(), 999)].into());
    assert_eq!(mails(&database).len(), 1, "within the interval");
    configure(&database, json!({"verification_resend_interval": 0}));
    for _ in 0..1000 {
        said(&mut app, "send_sms_otp($1)", &[&ADA]);
    }
    assert_eq!(mails(&database).len(), 3, "within the hour");

    configure(&database, json!({"sms_budget": "100/86400"}));
    // Four are spent; whoever rolls back spends too.
    let mut transaction = app.transaction().unwrap();
    for number in 0..6 {
        assert_eq!(said(&mut transaction, "send_sms_otp($1)", &[&format!("+4917{number:08}")]), "code_sent");
    }
    transaction.rollback().unwrap();
    let mut refused = 0;
    for number in 0..1000 {
        let options = if number % 2 == 0 { "{}" } else { "{\"create_user\": false}" };
        let call = "send_sms_otp($1, $2::text::jsonb)";
        refused += usize::from(said(&mut app, call, &[&format!("+4916{number:08}"), &options]) != "code_sent");
    }
    assert_eq!((mails(&database).len(), refused), (45, 910));
    // Nor for another network.
    let mut sidecar = database.sidecar();
    let other = from(&mut sidecar, "192.0.2.7", |transaction| {
        let mut inner = transaction.savepoint("s").unwrap();
        answer(&mut inner, "send_sms_otp('+15555550123')", &[]).unwrap_err()
    });
    assert_eq!((&*other.sqlstate, &*other.code), ("53400", "over_sms_send_rate_limit"));
    assert!((80_000..=86_401).contains(&retry_after(&other)), "{other:?}");
    configure(&database, json!({"sms_budget": null}));
    assert_eq!(said(&mut app, "send_sms_otp('+15555550123')", &[]), "code_sent");
}

/// XE20: one network asks for so many SMS, whomever for, also if it rolls back; others go on, and callers without one share
/// the database's limit.
#[test]
fn by_network() {
    let database = texting(Cluster::shared(), json!({"rate_limit_sms": "3/3600", "rate_limit_database": "4/3600"}));
    let mut sidecar = database.sidecar();
    for number in 0..5 {
        let said = from(&mut sidecar, "192.0.2.1", |transaction| {
            let mut inner = transaction.savepoint("s").unwrap();
            let said = said(&mut inner, "send_sms_otp($1)", &[&format!("+1555555012{number}")]);
            inner.rollback().unwrap();
            said
        });
        assert_eq!(said, if number < 3 { "code_sent" } else { "over_sms_send_rate_limit" }, "{number}");
    }
    let other = from(&mut sidecar, "192.0.2.2", |transaction| said(transaction, "send_sms_otp($1)", &[&ADA]));
    assert_eq!(other, "code_sent");
    let mut app = database.app();
    let said: Vec<String> =
        (0..6).map(|number| said(&mut app, "send_sms_otp($1)", &[&format!("+1555555013{number}")])).collect();
    assert_eq!(said, [["code_sent"; 4].as_slice(), &["over_sms_send_rate_limit"; 2]].concat());
    assert_eq!(mails(&database).len(), 5);
}

/// F059: not before the interval is over, with the seconds that are left; a request that rolls back has sent nothing and does
/// not count for its number; after a code was used the next is a first one.
#[test]
fn how_often() {
    let database = texting(Cluster::shared(), json!({"verification_resend_interval": 60}));
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    assert_eq!(said(&mut transaction, "send_sms_otp($1)", &[&ADA]), "code_sent");
    transaction.rollback().unwrap();
    assert!(mails(&database).is_empty());
    let sms = texted(&database, ADA);
    let refusal = answer(&mut app, "send_sms_otp($1)", &[&ADA]).unwrap_err();
    assert_eq!((&*refusal.sqlstate, &*refusal.code), ("53400", "over_sms_send_rate_limit"));
    assert!((55..=61).contains(&retry_after(&refusal)), "{refusal:?}");
    assert_eq!(said(&mut app, "send_sms_otp('+15555550123')", &[]), "code_sent");
    mails(&database);
    assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &sms.code()]), "session");
    texted(&database, ADA);
    configure(&database, json!({"verification_resend_interval": 1}));
    assert_eq!(said(&mut app, "send_sms_otp('+15555550124')", &[]), "code_sent");
    wait_until("the interval to be over", || said(&mut app, "send_sms_otp('+15555550124')", &[]) == "code_sent");
}
