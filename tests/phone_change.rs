//! Changing one's number: it is the account's once its code is given, by whom it has to be, and nobody learns who has it.

use auth_harness::{
    Client, Cluster, Database, Mail, Person, acting, json, mails, refused, sign_up, storm_with, the_mail,
};
use serde_json::{Value, json};

use crate::guard::RIGHT;
use crate::otp::{answer, not, proved, said};
use crate::refresh::configure;
use crate::sms::{ADA, texted, texting};

const OTHER: &str = "+15555550123";
const CONFIRM: &str = "verify_sms_otp($1, $2, '{\"type\": \"phone_change\"}')";

fn update(database: &Database, person: &Person, new: &str) -> Value {
    let call = "update_phone($1, $2)";
    acting(&mut database.app(), &person.access_token, |tx| answer(tx, call, &[&new, &RIGHT]).unwrap())
}

/// Asks for a change, and takes the SMS.
#[track_caller]
fn asked(database: &Database, person: &Person, new: &str) -> Mail {
    assert_eq!(update(database, person, new)["status"], "code_sent");
    the_mail(database)
}

fn confirm(client: &mut Client, sms: &Mail) -> String {
    said(client, CONFIRM, &[&sms.recipient, &sms.code()])
}

fn number(database: &Database, person: &Person) -> Option<String> {
    database.superuser().query_one("select phone from auth.users where id = $1", &[&person.user_id]).unwrap().get(0)
}

/// F061: nothing changes before the code is given; then the number is the account's, one of its ways in, and its owner is told;
/// a second change takes the first number's place.
#[test]
fn a_code_gives_the_number() {
    let database = texting(Cluster::shared(), json!({"security_notices": true}));
    let mut app = database.app();
    let ada = proved(&database, "ada@example.org");
    mails(&database);
    let status = update(&database, &ada, ADA);
    assert_eq!((&status["user"]["phone"], &status["user"]["new_phone"]), (&json!(""), &json!("4915112345678")));
    assert!(status["user"]["phone_change_sent_at"].is_string());
    let sms = the_mail(&database);
    assert_eq!((&*sms.channel, &*sms.kind, &*sms.recipient), ("sms", "sms_otp", ADA));
    assert_eq!(
        (&sms.payload["type"], &sms.payload["user"]["id"]),
        (&json!("phone_change"), &json!(ada.user_id.to_string()))
    );
    assert_eq!(number(&database, &ada), None);

    let session = answer(&mut app, CONFIRM, &[&"+49 151 12345678", &sms.code()]).unwrap();
    let user = &session["user"];
    assert_eq!((&session["status"], &user["id"]), (&json!("session"), &json!(ada.user_id.to_string())));
    assert_eq!((&user["phone"], &user["email"]), (&json!("4915112345678"), &json!("ada@example.org")));
    assert!(user["phone_confirmed_at"].is_string() && user.get("new_phone").is_none());
    assert_eq!(user["app_metadata"], json!({"provider": "email", "providers": ["email", "phone"]}));
    let identities = user["identities"].as_array().unwrap();
    assert_eq!(identities.len(), 2, "{user}");
    assert!(identities.iter().all(|identity| identity["identity_data"]["phone_verified"] == true), "{user}");
    let notice = the_mail(&database);
    assert_eq!((&*notice.kind, &*notice.recipient), ("phone_changed", "ada@example.org"));
    assert_eq!(confirm(&mut app, &sms), "otp_expired");
    let by_sms = answer(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &texted(&database, ADA).code()]).unwrap();
    assert_eq!(by_sms["user"]["id"], json!(ada.user_id.to_string()));

    let sms = asked(&database, &ada, OTHER);
    assert_eq!(confirm(&mut app, &sms), "session");
    assert_eq!(number(&database, &ada).as_deref(), Some("15555550123"));
    let identity = "select identity_data from auth.identities where user_id = $1 and provider = 'phone'";
    assert_eq!(json(&mut database.superuser(), identity, &[&ada.user_id])["phone"], "15555550123");
    mails(&database);
    let anew = answer(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &texted(&database, ADA).code()]).unwrap();
    assert_ne!(anew["user"]["id"], json!(ada.user_id.to_string()), "the old number is nobody's");
    let events = "select array_agg(event_type) from auth.audit_log where user_id = $1 and event_type like 'phone_ch%'";
    crate::audit_seal::wait_until_sealed(&database);
    let events: Vec<String> = database.superuser().query_one(events, &[&ada.user_id]).unwrap().get(0);
    assert_eq!(events, ["phone_change_requested", "phone_changed", "phone_change_requested", "phone_changed"]);
}

/// F065: a guest who proves a number is none any more, and keeps what is his.
#[test]
fn a_guest_gets_a_number() {
    let database = texting(Cluster::shared(), json!({"enable_anonymous": true}));
    let mut app = database.app();
    let guest = answer(&mut app, "sign_in_anonymously()", &[]).unwrap();
    let token = guest["access_token"].as_str().unwrap();
    let status = acting(&mut app, token, |tx| said(tx, "update_phone($1)", &[&ADA]));
    assert_eq!(status, "code_sent");
    let session = answer(&mut app, CONFIRM, &[&ADA, &the_mail(&database).code()]).unwrap();
    let user = &session["user"];
    assert_eq!((&user["id"], &user["is_anonymous"]), (&guest["user"]["id"], &json!(false)));
    assert_eq!((&user["role"], &user["app_metadata"]["provider"]), (&json!("authenticated"), &json!("phone")));
}

/// XA1, XA4: a guest who asked for a number before he took somebody's address, which nobody has proved, does not get it: he would share
/// the account with whoever proves the address.
#[test]
fn an_address_that_came_meanwhile_is_proved_first() {
    let database = texting(Cluster::shared(), json!({"enable_anonymous": true}));
    let mut app = database.app();
    let guest = answer(&mut app, "sign_in_anonymously()", &[]).unwrap();
    let token = guest["access_token"].as_str().unwrap();
    assert_eq!(acting(&mut app, token, |tx| said(tx, "update_phone($1)", &[&OTHER])), "code_sent");
    let sms = the_mail(&database);
    acting(&mut app, token, |tx| answer(tx, "convert_anonymous('ada@example.org', $1)", &[&RIGHT]).unwrap());
    assert_eq!(confirm(&mut app, &sms), "otp_expired");
    let phones = "select count(*) from auth.users where phone is not null";
    assert_eq!(database.superuser().query_one(phones, &[]).unwrap().get::<_, i64>(0), 0);
}

/// XA5: a change that was asked for is not kept alive for ever by asking for another code, and ends when its owner signs all others
/// out or gets a second factor.
#[test]
fn a_change_ends() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    const AGAIN: &str = "send_sms_otp($1, '{\"type\": \"phone_change\", \"again\": true}')";
    let ada = proved(&database, "ada@example.org");
    mails(&database);
    asked(&database, &ada, ADA);
    let later = "update auth.one_time_tokens set data = data || jsonb_build_object('asked_at', (data ->> 'asked_at')::bigint - $1::int)";
    database.superuser().execute(later, &[&500]).unwrap();
    assert_eq!(said(&mut app, AGAIN, &[&ADA]), "code_sent");
    the_mail(&database);
    database.superuser().execute(later, &[&101]).unwrap();
    assert_eq!(said(&mut app, AGAIN, &[&ADA]), "code_sent");
    assert!(mails(&database).is_empty(), "too long ago");

    for ends in ["sign_out('others')", "revoke_sessions(true)"] {
        let sms = asked(&database, &ada, ADA);
        acting(&mut app, &ada.access_token, |tx| tx.execute(&format!("select auth.{ends}"), &[]).unwrap());
        assert_eq!(confirm(&mut app, &sms), "otp_expired", "{ends}");
        assert_eq!(said(&mut app, AGAIN, &[&ADA]), "code_sent");
        assert!(mails(&database).is_empty(), "{ends}");
    }
    let sms = asked(&database, &ada, ADA);
    let ada = crate::mfa::enroll(&mut app, ada);
    mails(&database);
    assert_eq!(confirm(&mut app, &sms), "otp_expired", "asked for by one factor");
    // As if it had been asked for since, by a session of one factor.
    let sms = asked(&database, &ada.person, ADA);
    let weak = "update auth.one_time_tokens set data = data || '{\"is_aal2\": false}'";
    database.superuser().execute(weak, &[]).unwrap();
    assert_eq!(confirm(&mut app, &sms), "otp_expired");
    let sms = asked(&database, &ada.person, ADA);
    assert_eq!(confirm(&mut app, &sms), "mfa_required");
    assert_eq!(number(&database, &ada.person).as_deref(), Some("4915112345678"));
}

/// XE12, XE13: a code that signs in changes no number and the other way round; a newer request takes the place of the older;
/// of each account the code is its own, and whoever is signed in confirms no other's.
#[test]
fn a_code_is_for_one_account_and_one_request() {
    let database = texting(Cluster::shared(), json!({"lockout_attempts": null}));
    let mut app = database.app();
    let (ada, eve) = (proved(&database, "ada@example.org"), proved(&database, "eve@example.org"));
    mails(&database);
    let signs_in = texted(&database, ADA);
    let older = asked(&database, &ada, ADA);
    let changes = asked(&database, &ada, ADA);
    let eves = asked(&database, &eve, ADA);
    for code in [signs_in.code(), older.code(), &not(changes.code()), ""] {
        // One in a million requests has the code of another.
        if code != changes.code() && code != eves.code() {
            assert_eq!(said(&mut app, CONFIRM, &[&ADA, &code]), "otp_expired");
        }
    }
    assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &not(signs_in.code())]), "otp_expired");
    assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &changes.code()]), "otp_expired");
    assert_eq!(said(&mut app, CONFIRM, &[&OTHER, &changes.code()]), "otp_expired");
    let as_ada = |code: &str| acting(&mut database.app(), &ada.access_token, |tx| said(tx, CONFIRM, &[&ADA, &code]));
    assert_eq!(as_ada(eves.code()), "otp_expired");
    assert_eq!(number(&database, &eve), None);
    assert_eq!(as_ada(changes.code()), "session");
    assert_eq!(number(&database, &ada).as_deref(), Some("4915112345678"));
    // Eve's code is her own still, and the number is not hers to have.
    let refusal = answer(&mut app, CONFIRM, &[&ADA, &eves.code()]).unwrap_err();
    assert_eq!((&*refusal.sqlstate, &*refusal.code), ("23505", "phone_exists"));
    assert_eq!(number(&database, &eve), None);
}

/// B073: a number that somebody has answers like one that is free, counts like it, and gets no SMS.
#[test]
fn nobody_learns_who_has_a_number() {
    let database = texting(Cluster::shared(), json!({}));
    let (ada, eve) = (proved(&database, "ada@example.org"), proved(&database, "eve@example.org"));
    let sms = asked(&database, &ada, ADA);
    assert_eq!(confirm(&mut database.app(), &sms), "session");
    mails(&database);
    let shape = |mut status: Value| {
        for name in ["new_phone", "phone_change_sent_at"] {
            assert!(status["user"][name].take().is_string());
        }
        status
    };
    let taken = shape(update(&database, &eve, ADA));
    assert!(mails(&database).is_empty());
    assert_eq!(taken, shape(update(&database, &eve, OTHER)));
    assert_eq!(mails(&database).len(), 1);
}

/// What is refused, and changes and sends nothing.
#[test]
fn who_may_not() {
    let database = texting(Cluster::shared(), json!({}));
    let ada = proved(&database, "ada@example.org");
    let unproved = sign_up(&mut database.app(), "eve@example.org", RIGHT);
    mails(&database);
    let said_as = |token: &str, call: &str| acting(&mut database.app(), token, |tx| said(tx, call, &[]));
    let mine = &ada.access_token;
    assert_eq!(
        said_as(&unproved.access_token, "update_phone('+15555550123', $$correct horse battery$$)"),
        "email_not_confirmed"
    );
    assert_eq!(said_as(mine, "update_phone('+15555550123', $$a wrong password$$)"), "current_password_invalid");
    assert_eq!(said_as(mine, "update_phone('+15555550123')"), "validation_failed");
    for call in
        ["update_phone('555-0123', $$x$$)", "update_phone(null)", "update_phone('+15555550123', null, '{\"a\": 1}')"]
    {
        assert_eq!(said_as(mine, call), "validation_failed", "{call}");
    }
    configure(&database, json!({"sms_prefixes": ["+49"]}));
    assert_eq!(said_as(mine, "update_phone('+15555550123', $$x$$)"), "validation_failed");
    configure(&database, json!({"sms_prefixes": [], "enable_sms": false}));
    assert_eq!(said_as(mine, "update_phone('+15555550123', $$x$$)"), "phone_provider_disabled");
    assert!(mails(&database).is_empty());
    assert_eq!(number(&database, &ada), None);
}

/// XE3, XC2: of sixty-four who give one code one changes the number; a transaction that rolls back has spent the code and changed
/// nothing; an old code is over.
#[test]
fn a_code_is_spent_once() {
    let cluster = Cluster::start();
    let database = texting(&cluster, json!({"lockout_attempts": null}));
    let mut app = database.app();
    let ada = proved(&database, "ada@example.org");
    mails(&database);
    let sms = asked(&database, &ada, ADA);
    let said = storm_with(64, |_| database.app(), |_, mut client| confirm(&mut client, &sms));
    let times = |what: &str| said.iter().filter(|said| *said == what).count();
    assert_eq!((times("session"), times("otp_expired")), (1, 63), "{said:?}");
    mails(&database);

    let sms = asked(&database, &ada, OTHER);
    app.batch_execute("begin").unwrap();
    assert_eq!(confirm(&mut app, &sms), "session");
    app.batch_execute("rollback").unwrap();
    assert_eq!(confirm(&mut app, &sms), "otp_expired");
    assert_eq!(number(&database, &ada).as_deref(), Some("4915112345678"));

    let sms = asked(&database, &ada, OTHER);
    let age = "update auth.one_time_tokens set code_expires_at = code_expires_at - interval '61 s'";
    assert!(database.superuser().execute(age, &[]).unwrap() > 0);
    assert_eq!(confirm(&mut app, &sms), "otp_expired");
}

/// XE20, XC1: the code can be had again by its number alone, and only where a change waits; what is sent is counted, and five
/// wrong codes lock the number.
#[test]
fn asked_for_again_and_guessed_at() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    let ada = proved(&database, "ada@example.org");
    mails(&database);
    let again = "send_sms_otp($1, '{\"again\": true, \"type\": \"phone_change\"}')";
    assert_eq!(said(&mut app, again, &[&ADA]), "code_sent");
    assert!(mails(&database).is_empty());
    asked(&database, &ada, ADA);
    assert_eq!(said(&mut app, again, &[&ADA]), "code_sent");
    let sms = the_mail(&database);
    assert_eq!((&sms.payload["type"], &*sms.recipient), (&json!("phone_change"), ADA));
    let refusal = refused(app.query("select auth.send_sms_otp($1, '{\"type\": \"phone_change\"}')", &[&ADA]));
    assert_eq!(&*refusal.code, "validation_failed");
    assert_eq!(said(&mut app, "send_sms_otp($1, '{\"type\": \"email\"}')", &[&ADA]), "validation_failed");
    configure(&database, json!({"verification_resend_interval": 60}));
    let call = "update_phone($1, $2)";
    let mut ask = || acting(&mut app, &ada.access_token, |tx| said(tx, call, &[&OTHER, &RIGHT]));
    assert_eq!((ask(), ask()), ("code_sent".to_owned(), "over_sms_send_rate_limit".to_owned()));
    for _ in 0..5 {
        assert_eq!(said(&mut app, CONFIRM, &[&ADA, &not(sms.code())]), "otp_expired");
    }
    assert_eq!(confirm(&mut app, &sms), "account_locked");
}
