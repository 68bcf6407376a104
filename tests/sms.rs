//! Codes by SMS that sign in: what is sent, that each is good once, for one number, and for a while; who gets an account.

use auth_harness::{Cluster, Database, Mail, claims, json, mails, sign_up, the_mail};
use serde_json::{Value, json};

use crate::guard::RIGHT;
use crate::otp::{answer, mailing, not, said};
use crate::refresh::configure;

pub const ADA: &str = "+4915112345678";
const DIGITS: &str = "4915112345678";

/// A database where SMS are asked for as often as one likes.
pub fn texting(cluster: &Cluster, settings: Value) -> Database {
    let database = mailing(cluster, json!({"enable_sms": true, "sms_budget": null, "rate_limit_sms": "1000000/60"}));
    configure(&database, settings);
    database
}

/// Asks for an SMS and takes it.
#[track_caller]
pub fn texted(database: &Database, phone: &str) -> Mail {
    assert_eq!(answer(&mut database.app(), "send_sms_otp($1)", &[&phone]).unwrap(), json!({"status": "code_sent"}));
    the_mail(database)
}

fn count(database: &Database, of: &str) -> i64 {
    database.superuser().query_one(&format!("select count(*) from auth.{of}"), &[]).unwrap().get(0)
}

/// F059, F060, F061: the SMS holds a code of six digits and who is meant; no account is there before the code is given, one
/// afterwards, with the number proved; the second sign-in adds none; the session says by which it was opened.
#[test]
fn an_sms_signs_in_and_makes_the_account_first() {
    let database = texting(Cluster::shared(), json!({"site_url": "https://app.example.org"}));
    let mut app = database.app();
    let sent = answer(&mut app, "send_sms_otp($1, '{\"data\": {\"name\": \"Ada\"}}')", &[&ADA]).unwrap();
    assert_eq!(sent, json!({"status": "code_sent"}));
    let sms = the_mail(&database);
    assert_eq!((&*sms.channel, &*sms.kind, &*sms.recipient), ("sms", "sms_otp", ADA));
    assert!(sms.code().len() == 6 && sms.code().bytes().all(|byte| byte.is_ascii_digit()));
    assert_eq!(
        (&sms.payload["type"], &sms.payload["phone"], &sms.payload["site_url"]),
        (&json!("sms"), &json!(DIGITS), &json!("https://app.example.org"))
    );
    assert_eq!(sms.payload["user"], json!({"id": null, "phone": DIGITS, "user_metadata": {}}));
    assert_eq!(count(&database, "users"), 0);

    let session = answer(&mut app, "verify_sms_otp($1, $2)", &[&"+49 (151) 12345678", &sms.code()]).unwrap();
    assert_eq!((&session["status"], &session["user"]["phone"]), (&json!("session"), &json!(DIGITS)));
    let user = &session["user"];
    assert!(user["phone_confirmed_at"].is_string() && user["confirmed_at"].is_string() && user["email"] == "");
    assert_eq!(user["app_metadata"], json!({"provider": "phone", "providers": ["phone"]}));
    assert_eq!(user["user_metadata"], json!({"name": "Ada"}));
    assert_eq!(user["identities"].as_array().unwrap().len(), 1, "{user}");
    let identity = &user["identities"][0];
    assert_eq!((&identity["provider"], &identity["id"]), (&json!("phone"), &user["id"]));
    let data = json!({"sub": user["id"], "phone": DIGITS, "email_verified": false, "phone_verified": true});
    assert_eq!(identity["identity_data"], data);
    assert!(identity["last_sign_in_at"].is_string());
    let token = claims(session["access_token"].as_str().unwrap());
    assert_eq!(
        (&token["amr"][0]["method"], &token["phone"], &token["aal"]),
        (&json!("sms"), &json!(DIGITS), &json!("aal1"))
    );
    assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &sms.code()]), "otp_expired");

    // As the answers write it, without the plus.
    let again = answer(&mut app, "verify_sms_otp($1, $2)", &[&DIGITS, &texted(&database, DIGITS).code()]).unwrap();
    assert_eq!((&again["user"]["id"], count(&database, "users")), (&user["id"], 1));
    assert_eq!(count(&database, "identities"), 1);
    let events =
        "select jsonb_agg(event_type order by created_at) from auth.audit_log where event_type <> 'otp_requested'
        and success and user_id is not null";
    crate::audit_seal::wait_until_sealed(&database);
    assert_eq!(json(&mut database.superuser(), events, &[]), json!(["signup", "login_success"]));
    assert_eq!(count(&database, "sms_codes"), 0, "what is used is gone");
}

/// F059: a number is one of E.164, however its digits are separated; what people write for their own country is refused, with
/// what is meant, before anything is counted or sent; and so are numbers that sms_prefixes leaves out, and other channels.
#[test]
fn what_a_number_is() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    for number in ["555-0123", "015112345678", "ada@example.org", "", "+49151,+49152", "+0123456789", "+1234567"] {
        let refusal = answer(&mut app, "send_sms_otp($1)", &[&number]).unwrap_err();
        assert_eq!((&*refusal.sqlstate, &*refusal.code), ("22023", "validation_failed"), "{number}");
        assert_eq!(refusal.hint.as_deref(), Some("E.164, such as +4915112345678"), "{number}");
        // Guessing at what is no number is guessing at nobody's code.
        assert_eq!(said(&mut app, "verify_sms_otp($1, '000000')", &[&number]), "otp_expired", "{number}");
    }
    assert_eq!(said(&mut app, "send_sms_otp(null)", &[]), "validation_failed");
    assert_eq!((count(&database, "outbox"), count(&database, "sms_codes")), (0, 0));
    for number in ["+15555550123", "15555550123", "+1 (555) 555-0123", "+1.555.555.0123"] {
        assert_eq!(texted(&database, number).recipient, "+15555550123");
    }
    configure(&database, json!({"sms_prefixes": ["+49", "+4366"]}));
    for (number, expected) in [
        (ADA, "code_sent"),
        ("+436601234567", "code_sent"),
        ("+431234567890", "validation_failed"),
        ("+15555550123", "validation_failed"),
    ] {
        assert_eq!(said(&mut app, "send_sms_otp($1)", &[&number]), expected, "{number}");
    }
    for options in [
        "{\"channel\": \"whatsapp\"}",
        "{\"no_such\": 1}",
        "{\"create_user\": 1}",
        "{\"data\": []}",
        "{\"locale\": \"../x\"}",
        "[]",
    ] {
        let said = said(&mut app, "send_sms_otp($1, $2::text::jsonb)", &[&ADA, &options]);
        assert_eq!(said, "validation_failed", "{options}");
    }
    assert_eq!(said(&mut app, "send_sms_otp($1, '{\"channel\": \"sms\"}')", &[&ADA]), "code_sent");
    assert_eq!(said(&mut app, "verify_sms_otp($1, '000000', '{\"type\": \"email\"}')", &[&ADA]), "validation_failed");
}

/// F059: a fresh install sends no SMS, and a code that is out when it is switched off signs nobody in. The length of a code
/// and how long it is good are settings.
#[test]
fn what_is_off_and_how_long_a_code_is() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    for call in ["send_sms_otp($1)", "verify_sms_otp($1, '000000')"] {
        let refusal = answer(&mut app, call, &[&ADA]).unwrap_err();
        assert_eq!((&*refusal.sqlstate, &*refusal.code), ("55000", "phone_provider_disabled"), "{call}");
    }
    configure(&database, json!({"enable_sms": true, "sms_otp_length": 8, "sms_otp_ttl": 120}));
    let mut superuser = database.superuser();
    for (age, expected) in [(110.0, "session"), (121.0, "otp_expired")] {
        let sms = texted(&database, ADA);
        assert_eq!(sms.code().len(), 8);
        superuser
            .execute("update auth.sms_codes set expires_at = expires_at - make_interval(secs => $1)", &[&age])
            .unwrap();
        assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &sms.code()]), expected, "after {age} s");
    }
    let sms = texted(&database, ADA);
    configure(&database, json!({"enable_sms": false}));
    assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &sms.code()]), "phone_provider_disabled");
    // What waited too long to be sent is not sent: its code has ended.
    configure(&database, json!({"enable_sms": true}));
    assert_eq!(said(&mut app, "send_sms_otp($1)", &[&ADA]), "code_sent");
    superuser.execute("update auth.outbox set expires_at = clock_timestamp() where status = 'pending'", &[]).unwrap();
    assert!(mails(&database).is_empty());
    assert_eq!(count(&database, "outbox where status = 'expired' and payload_sealed is null"), 1);
}

/// XE13: the code of one number is nothing to another, nor after a newer request.
#[test]
fn a_code_is_for_one_number_and_one_request() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    let old = texted(&database, ADA);
    let new = texted(&database, ADA);
    let bobs = texted(&database, "+4915112345679");
    let wrong = [
        (ADA, old.code()),
        (ADA, bobs.code()),
        ("+4915112345679", new.code()),
        ("+4915112345670", new.code()),
        (ADA, ""),
    ];
    // One in a million requests has the code of another.
    for (phone, code) in wrong.iter().filter(|(_, code)| *code != new.code() || old.code() != new.code()) {
        assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[phone, code]), "otp_expired", "{phone} {code}");
    }
    assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &new.code()]), "session");
    assert_eq!(said(&mut app, "verify_sms_otp('+4915112345679', $1)", &[&bobs.code()]), "session");
}

/// F059, F061, B073, XC13: whatever state an account is in, or nobody has the number: the answer and the limit are the same,
/// as many rows of codes are written, and only those get an SMS who should; nobody else's code makes an account.
#[test]
fn nobody_learns_who_has_a_number() {
    let states = ["known", "unproved", "banned", "deleted", "unknown"];
    for (options, enable_signup, told) in [
        ("{}", true, &["known", "unproved", "deleted", "unknown"][..]),
        ("{\"create_user\": false}", true, &["known", "unproved"]),
        ("{}", false, &["known", "unproved"]),
        ("{\"again\": true}", true, &["known", "unproved"]),
    ] {
        let database =
            texting(Cluster::shared(), json!({"verification_resend_limit": 3, "enable_signup": enable_signup}));
        let (mut app, mut superuser) = (database.app(), database.superuser());
        for (number, state) in states.iter().enumerate().take(4) {
            superuser
                .execute(
                    "insert into auth.users (phone, phone_confirmed_at, banned_until, deleted_at) values ($1,
                        case when $2 <> 'unproved' then now() end, case when $2 = 'banned' then now() + interval '1 h' end,
                        case when $2 = 'deleted' then now() end)",
                    &[&format!("491511234567{number}"), state],
                )
                .unwrap();
        }
        for (number, state) in states.iter().enumerate() {
            let phone = format!("+491511234567{number}");
            let said: Vec<String> =
                (0..6).map(|_| said(&mut app, "send_sms_otp($1, $2::text::jsonb)", &[&phone, &options])).collect();
            let expected = [["code_sent"; 4].as_slice(), &["over_sms_send_rate_limit"; 2]].concat();
            assert_eq!(said, expected, "{state} {options}");
            let expected = if told.contains(state) { 4 } else { 0 };
            assert_eq!(mails(&database).len(), expected, "{state} {options}");
            // The worker removes those that a newer one has made void.
            let codes = count(&database, &format!("sms_codes where phone = '{}'", &phone[1..]));
            assert!((1..=4).contains(&codes), "{state}: {codes}");
        }
    }
    // Where the code is known although no SMS went out, as in tests of an app.
    let database = texting(Cluster::shared(), json!({"test_codes": {ADA: "424242"}}));
    let mut app = database.app();
    assert_eq!(said(&mut app, "send_sms_otp($1, '{\"create_user\": false}')", &[&ADA]), "code_sent");
    assert_eq!(said(&mut app, "verify_sms_otp($1, '424242')", &[&ADA]), "otp_expired");
    assert_eq!(count(&database, "users"), 0);
}

/// F059: asked for again, what the first request said of the new account holds; where nobody asked before, nothing is sent.
#[test]
fn asked_for_again() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    let again = "send_sms_otp($1, '{\"again\": true, \"data\": {\"name\": \"Eve\"}}')";
    assert_eq!(said(&mut app, again, &[&ADA]), "code_sent");
    assert!(mails(&database).is_empty());
    assert_eq!(said(&mut app, "send_sms_otp($1, '{\"data\": {\"name\": \"Ada\"}}')", &[&ADA]), "code_sent");
    assert_eq!(said(&mut app, again, &[&ADA]), "code_sent");
    let code = mails(&database).pop().unwrap();
    let session = answer(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &code.code()]).unwrap();
    assert_eq!(session["user"]["user_metadata"], json!({"name": "Ada"}));
}

/// F061: a number that an administrator gave an account is proved by its code: where nothing else of the account was proved,
/// its password, passkeys and sessions end; where the address was, they stay. Banned is banned.
#[test]
fn a_number_that_an_administrator_gave() {
    let database = texting(Cluster::shared(), json!({}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    for (number, is_mailed) in [(1, false), (2, true)] {
        let (email, phone) = (format!("user{number}@example.org"), format!("491511234567{number}"));
        let person = sign_up(&mut app, &email, RIGHT);
        superuser
            .execute(
                "update auth.users set phone = $2, email_confirmed_at = case when $3 then now() end where id = $1",
                &[&person.user_id, &phone, &is_mailed],
            )
            .unwrap();
        let own = "insert into auth.passkeys (user_id, credential_id, public_key) values ($1, $2, '')";
        superuser.execute(own, &[&person.user_id, &person.user_id.as_bytes().as_slice()]).unwrap();
        let sms = texted(&database, &phone);
        assert_eq!(sms.payload["user"]["id"], json!(person.user_id.to_string()));
        let session = answer(&mut app, "verify_sms_otp($1, $2)", &[&phone, &sms.code()]).unwrap();
        assert_eq!(session["user"]["id"], json!(person.user_id.to_string()));
        assert!(session["user"]["phone_confirmed_at"].is_string());
        let identities = session["user"]["identities"].as_array().unwrap();
        assert!(identities.iter().all(|one| one["identity_data"]["phone_verified"] == true), "{identities:?}");
        assert_eq!(identities.len(), 2);
        let expected = if is_mailed { "session" } else { "invalid_credentials" };
        assert_eq!(said(&mut app, "sign_in($1, $2)", &[&email, &RIGHT]), expected);
        assert_eq!(count(&database, &format!("passkeys where user_id = '{}'", person.user_id)), i64::from(is_mailed));
        let sms = texted(&database, &phone);
        let ban = "update auth.users set banned_until = now() + interval '1 h' where id = $1";
        superuser.execute(ban, &[&person.user_id]).unwrap();
        assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[&phone, &sms.code()]), "user_banned");
    }
}

/// F059: the language of the SMS is the one asked for, or the user's; the tests of an app have codes that need no SMS.
#[test]
fn languages_and_tests() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    assert_eq!(texted(&database, ADA).locale, None);
    let german = "send_sms_otp($1, '{\"locale\": \"de\", \"data\": {\"locale\": \"fr\"}}')";
    assert_eq!(said(&mut app, german, &[&ADA]), "code_sent");
    let sms = the_mail(&database);
    assert_eq!(sms.locale.as_deref(), Some("de"));
    assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &sms.code()]), "session");
    let sms = texted(&database, ADA);
    assert_eq!((sms.locale.as_deref(), &sms.payload["user"]["user_metadata"]), (Some("fr"), &json!({"locale": "fr"})));
    configure(&database, json!({"test_codes": {"+49 151 12345678": "424242"}}));
    for (phone, code, right) in [(ADA, "424242", true), ("+15555550123", "424242", false), (ADA, "1234", false)] {
        assert_eq!(said(&mut app, "send_sms_otp($1)", &[&phone]), "code_sent");
        assert_eq!(mails(&database).len(), usize::from(phone != ADA), "{phone}");
        assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[&phone, &code]) == "session", right, "{phone} {code}");
    }
    configure(&database, json!({"test_codes": {}}));
    let debug = "select auth.configure('{\"debug_mode\": true}')";
    database.superuser().execute(debug, &[]).unwrap();
    assert_eq!(said(&mut app, "send_sms_otp('+15555550124')", &[]), "code_sent");
    assert!(mails(&database).is_empty());
    assert_eq!(said(&mut app, "verify_sms_otp('+15555550124', $1)", &[&not("0123")]), "session");
}
