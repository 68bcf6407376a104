//! The phone as a second factor: enrolled, confirmed, asked for at sign-in and in a session, and what does not meet a challenge.

use auth_harness::{Client, Cluster, Database, Mail, claims, mails, sign_up, storm_with};
use serde_json::{Value, json};

use crate::guard::RIGHT;
use crate::mfa::{as_user, first_step, said_as};
use crate::otp::{answer, not, said};
use crate::refresh::configure;
use crate::sms::{ADA, texted, texting};

const EMAIL: &str = "ada@example.org";

/// The only SMS that is to be sent; mails to the account are not looked at.
#[track_caller]
pub fn the_sms(database: &Database) -> Mail {
    let mut found: Vec<Mail> = mails(database).into_iter().filter(|mail| mail.channel == "sms").collect();
    assert_eq!(found.len(), 1, "{:?}", found.iter().map(|sms| &sms.recipient).collect::<Vec<_>>());
    found.remove(0)
}

/// Somebody with a phone as second factor: a token of level aal2, and the factor.
#[track_caller]
pub fn enrolled(database: &Database, email: &str, phone: &str) -> (String, String) {
    let mut app = database.app();
    let person = sign_up(&mut app, email, RIGHT);
    mails(database);
    let enrolled = as_user(&mut app, &person.access_token, &format!("enroll_sms('{phone}')"));
    let id = enrolled["factor_id"].as_str().unwrap().to_owned();
    let sms = the_sms(database);
    let confirmed = as_user(&mut app, &person.access_token, &format!("confirm_sms('{id}', '{}')", sms.code()));
    assert_eq!(confirmed["status"], "session", "{confirmed}");
    mails(database);
    (confirmed["access_token"].as_str().unwrap().to_owned(), id)
}

/// Asks for the SMS of a challenge and takes it.
#[track_caller]
fn asked(database: &Database, client: &mut Client, challenge: &str) -> Mail {
    let sent = answer(client, "send_mfa_sms($1)", &[&challenge]).unwrap();
    assert_eq!(sent["status"], "code_sent", "{sent}");
    the_sms(database)
}

fn methods(session: &Value) -> Vec<String> {
    let claims = claims(session["access_token"].as_str().unwrap());
    claims["amr"].as_array().unwrap().iter().map(|one| one["method"].as_str().unwrap().to_owned()).collect()
}

/// F140: a phone is asked for nowhere before its code has confirmed it; then a sign-in is sent a code that makes a session of
/// level aal2, once; in a session the challenge sends it by itself.
#[test]
fn a_phone_finishes_a_sign_in() {
    let database = texting(Cluster::shared(), json!({"enable_sms": false}));
    let mut app = database.app();
    let person = sign_up(&mut app, EMAIL, RIGHT);
    mails(&database);
    let token = &person.access_token;
    let enrolled = as_user(&mut app, token, "enroll_sms('+49 151 12345678', '{\"friendly_name\": \"Mine\"}')");
    let id = enrolled["factor_id"].as_str().unwrap().to_owned();
    assert_eq!(enrolled, json!({"status": "code_sent", "factor_id": id, "phone": ADA, "friendly_name": "Mine"}));
    assert_eq!(said(&mut app, "sign_in($1, $2)", &[&EMAIL, &RIGHT]), "session", "not confirmed yet");
    let sms = the_sms(&database);
    assert_eq!((&*sms.kind, &*sms.recipient, sms.code().len()), ("sms_otp", ADA, 6));
    let wrong = format!("confirm_sms('{id}', '{}')", not(sms.code()));
    assert_eq!(said_as(&mut app, token, &wrong), "mfa_verification_failed");
    let confirmed = as_user(&mut app, token, &format!("confirm_sms('{id}', '{}')", sms.code()));
    assert_eq!((&confirmed["status"], &confirmed["factor_id"]), (&json!("session"), &json!(id)));
    assert_eq!(confirmed["recovery_codes"].as_array().unwrap().len(), 10);
    assert_eq!(methods(&confirmed), ["password", "mfa/phone"]);
    assert_eq!(claims(confirmed["access_token"].as_str().unwrap())["aal"], "aal2");
    mails(&database);

    let first = answer(&mut app, "sign_in($1, $2)", &[&EMAIL, &RIGHT]).unwrap();
    let factor = json!({"id": id, "factor_type": "phone", "friendly_name": "Mine", "phone": "…78"});
    assert_eq!((&first["status"], &first["factors"]), (&json!("mfa_required"), &json!([factor])));
    assert!(mails(&database).is_empty(), "it is sent when it is asked for");
    let challenge = first["challenge_token"].as_str().unwrap();
    let sent = answer(&mut app, "send_mfa_sms($1, $2::text::uuid)", &[&challenge, &id]).unwrap();
    assert_eq!(sent, json!({"status": "code_sent", "factor_id": id, "phone": "…78"}));
    let old = the_sms(&database);
    let sms = asked(&database, &mut app, challenge);
    // One in a million has the code of the one before.
    if old.code() != sms.code() {
        assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenge, &old.code()]), "mfa_verification_failed");
    }
    let session = answer(&mut app, "verify_totp($1, $2)", &[&challenge, &sms.code()]).unwrap();
    assert_eq!(
        (methods(&session), &session["status"]),
        (vec!["password".into(), "mfa/phone".into()], &json!("session"))
    );
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenge, &sms.code()]), "mfa_challenge_expired");
    assert_eq!(said(&mut app, "send_mfa_sms($1)", &[&challenge]), "mfa_challenge_expired");

    let token = session["access_token"].as_str().unwrap();
    let challenge = as_user(&mut app, token, &format!("challenge_factor('{id}')"));
    assert_eq!(challenge["type"], "phone");
    let sms = the_sms(&database);
    let challenge = challenge["id"].as_str().unwrap();
    // The challenge of a session is nothing to others, who are not sent anything for it either.
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenge, &sms.code()]), "mfa_challenge_expired");
    assert_eq!(said(&mut app, "send_mfa_sms($1)", &[&challenge]), "mfa_challenge_expired");
    assert!(mails(&database).is_empty());
    assert_eq!(said_as(&mut app, token, &format!("verify_totp('{challenge}', '{}')", sms.code())), "session");
    let listed = as_user(&mut app, token, "list_factors()");
    assert_eq!((&listed[0]["phone"], &listed[0]["status"]), (&json!("4915112345678"), &json!("verified")));
    assert!(listed[0]["last_challenged_at"].is_string());
}

/// F140, XE13: a code meets the challenge that it was sent for and no other: not another sign-in of the same account, not
/// somebody else's, not a sign-in by phone, nor the other way round; nor a confirmation of another factor; and it ends.
#[test]
fn a_code_is_for_one_challenge() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    enrolled(&database, EMAIL, ADA);
    enrolled(&database, "bob@example.org", "+4915112345679");
    let challenges =
        [first_step(&mut app, EMAIL), first_step(&mut app, EMAIL), first_step(&mut app, "bob@example.org")];
    let codes = challenges.each_ref().map(|challenge| asked(&database, &mut app, challenge));
    let sign_in = texted(&database, ADA);
    let wrong = [(0, &codes[1]), (0, &codes[2]), (1, &sign_in), (2, &codes[0])];
    for (number, sms) in wrong.into_iter().filter(|(number, sms)| sms.code() != codes[*number].code()) {
        let said = said(&mut app, "verify_totp($1, $2)", &[&challenges[number], &sms.code()]);
        assert_eq!(said, "mfa_verification_failed", "{number}");
    }
    if codes[0].code() != sign_in.code() {
        assert_eq!(said(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &codes[0].code()]), "otp_expired");
    }
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenges[0], &codes[0].code()]), "session");
    let age = "update auth.sms_codes set expires_at = expires_at - interval '61 s'";
    database.superuser().execute(age, &[]).unwrap();
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenges[2], &codes[2].code()]), "mfa_verification_failed");
    assert_eq!(said(&mut app, "send_mfa_sms($1)", &[&challenges[2]]), "code_sent", "the challenge lasts longer");
    for forged in ["", "x", "00000000-0000-0000-0000-000000000000", &challenges[2][1..]] {
        assert_eq!(said(&mut app, "send_mfa_sms($1)", &[&forged]), "mfa_challenge_expired", "{forged}");
    }
    let nobodys = "send_mfa_sms($1, gen_random_uuid())";
    assert_eq!(said(&mut app, nobodys, &[&challenges[2]]), "mfa_factor_not_found");
}

/// F140, XE3, XC2: of sixty-four who give one code at one moment one is let in; a code whose transaction rolled back stays
/// spent, and a new one is sent for the same challenge.
#[test]
fn a_code_is_spent_once() {
    let cluster = Cluster::start();
    let database = texting(&cluster, json!({"lockout_attempts": null}));
    let mut app = database.app();
    enrolled(&database, EMAIL, ADA);
    let challenge = first_step(&mut app, EMAIL);
    let sms = asked(&database, &mut app, &challenge);
    let mut transaction = app.transaction().unwrap();
    assert_eq!(said(&mut transaction, "verify_totp($1, $2)", &[&challenge, &sms.code()]), "session");
    transaction.rollback().unwrap();
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenge, &sms.code()]), "mfa_verification_failed");
    let sms = asked(&database, &mut app, &challenge);
    let answers = storm_with(
        64,
        |_| database.app(),
        |_, mut client| said(&mut client, "verify_totp($1, $2)", &[&challenge, &sms.code()]),
    );
    assert_eq!(answers.iter().filter(|said| *said == "session").count(), 1, "{answers:?}");
}

/// F140, XC5, XC7: wrong codes are counted for the account, over all challenges and phones: the fifth locks it, for the right
/// code too, and a new challenge or code is no new chance; so it is where a phone is confirmed.
#[test]
fn wrong_codes_lock_the_second_step() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    enrolled(&database, EMAIL, ADA);
    let mut said_to = Vec::new();
    for _ in 0..7 {
        let challenge = first_step(&mut app, EMAIL);
        let sms = asked(&database, &mut app, &challenge);
        said_to.push(said(&mut app, "verify_totp($1, $2)", &[&challenge, &not(sms.code())]));
    }
    assert_eq!(said_to, [["mfa_verification_failed"; 5].as_slice(), &["account_locked"; 2]].concat());
    let challenge = first_step(&mut app, EMAIL);
    let sms = asked(&database, &mut app, &challenge);
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenge, &sms.code()]), "account_locked");

    let eve = sign_up(&mut app, "eve@example.org", RIGHT);
    let id = as_user(&mut app, &eve.access_token, "enroll_sms('+15555550123')")["factor_id"].clone();
    let sms = mails(&database).into_iter().rfind(|mail| mail.channel == "sms").unwrap();
    let call = |code: &str| format!("confirm_sms('{}', '{code}')", id.as_str().unwrap());
    let said: Vec<String> = (0..6).map(|_| said_as(&mut app, &eve.access_token, &call(&not(sms.code())))).collect();
    assert_eq!(said, [["mfa_verification_failed"; 5].as_slice(), &["account_locked"]].concat());
    assert_eq!(said_as(&mut app, &eve.access_token, &call(sms.code())), "account_locked");
}

/// F140, XE20: SMS of second steps have a limit and an interval for each number, apart from those that anybody may ask for, so
/// that nobody else uses them up; the budget of the database is one.
#[test]
fn how_many_are_sent() {
    let database = texting(Cluster::shared(), json!({"verification_resend_limit": 3}));
    let mut app = database.app();
    enrolled(&database, EMAIL, ADA);
    for number in 0..6 {
        let expected = if number < 4 { "code_sent" } else { "over_sms_send_rate_limit" };
        assert_eq!(said(&mut app, "send_sms_otp($1)", &[&ADA]), expected);
    }
    let challenge = first_step(&mut app, EMAIL);
    for number in 0..6 {
        let expected = if number < 4 { "code_sent" } else { "over_sms_send_rate_limit" };
        assert_eq!(said(&mut app, "send_mfa_sms($1)", &[&challenge]), expected, "{number}");
    }
    assert_eq!(mails(&database).iter().filter(|mail| mail.channel == "sms").count(), 8);
    configure(&database, json!({"verification_resend_limit": null, "sms_budget": "3/3600"}));
    // A budget counts from when it is set.
    let said: Vec<String> = (0..4).map(|_| said(&mut app, "send_mfa_sms($1)", &[&challenge])).collect();
    assert_eq!(said, [["code_sent"; 3].as_slice(), &["over_sms_send_rate_limit"]].concat());
}

/// XE20: whoever enrols somebody else's number, as often as it goes, takes no SMS of its owner's second step away.
#[test]
fn enrolments_of_others_take_nothing_away() {
    let database = texting(Cluster::shared(), json!({"verification_resend_limit": 3}));
    let mut app = database.app();
    enrolled(&database, EMAIL, ADA);
    let eve = sign_up(&mut app, "eve@example.org", RIGHT).access_token;
    let said_to_eve: Vec<String> = (0..5).map(|_| said_as(&mut app, &eve, &format!("enroll_sms('{ADA}')"))).collect();
    assert_eq!(said_to_eve.last().unwrap(), "over_sms_send_rate_limit", "{said_to_eve:?}");
    let challenge = first_step(&mut app, EMAIL);
    assert_eq!(said(&mut app, "send_mfa_sms($1)", &[&challenge]), "code_sent");
}

/// XE14: before the second step a number is only hinted at, also where it is the factor's name.
#[test]
fn a_number_is_no_name_before_the_second_step() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    let (token, _) = enrolled(&database, EMAIL, ADA);
    let named = as_user(&mut app, &token, "list_factors()");
    assert_eq!(named[0]["friendly_name"], json!(ADA), "the owner sees it");
    let first = answer(&mut app, "sign_in($1, $2)", &[&EMAIL, &RIGHT]).unwrap();
    let session = answer(&mut app, "sign_in($1, $2, '{\"mfa\": \"session\"}')", &[&EMAIL, &RIGHT]).unwrap();
    let restricted = session["access_token"].as_str().unwrap();
    for seen in [
        &first,
        &session,
        &as_user(&mut app, restricted, "list_factors()"),
        &as_user(&mut app, restricted, "get_user()"),
    ] {
        let seen = seen.to_string();
        assert!(!seen.contains("5112345678") && seen.contains("…78"), "{seen}");
    }
}

/// F140: what is refused at enrolment: no number, one that SMS do not go to, one that is confirmed already, a guest, a session
/// of level aal1 where a factor is there, and where phones are switched off.
#[test]
fn what_may_be_enrolled() {
    let database = texting(Cluster::shared(), json!({"sms_prefixes": ["+49"], "enable_anonymous": true}));
    let mut app = database.app();
    let weak = sign_up(&mut app, "eve@example.org", RIGHT).access_token;
    for call in [
        "enroll_sms('555-0123')",
        "enroll_sms(null)",
        "enroll_sms('+15555550123')",
        "enroll_sms('+4915112345678', '{\"x\": 1}')",
    ] {
        assert_eq!(said_as(&mut app, &weak, call), "validation_failed", "{call}");
    }
    let unsent = as_user(&mut app, &weak, "enroll_sms('+4915112345670', '{\"send\": false}')");
    assert_eq!((&unsent["status"], &unsent["friendly_name"]), (&json!("enrolled"), &json!("+4915112345670")));
    let of_eve = unsent["factor_id"].as_str().unwrap();
    assert!(mails(&database).iter().all(|mail| mail.channel != "sms"));
    let challenge = as_user(&mut app, &weak, &format!("challenge_factor('{of_eve}')"));
    let sms = the_sms(&database);
    let confirm = format!("verify_totp('{}', '{}')", challenge["id"].as_str().unwrap(), sms.code());
    assert_eq!(said_as(&mut app, &weak, &confirm), "session", "confirmed by its challenge");

    let (token, id) = enrolled(&database, EMAIL, ADA);
    assert_eq!(
        said_as(&mut app, &token, "enroll_sms('+4915112345678', '{\"friendly_name\": \"again\"}')"),
        "mfa_verified_factor_exists"
    );
    assert_eq!(said_as(&mut app, &token, &format!("confirm_sms('{id}', '000000')")), "mfa_factor_not_found");
    assert_eq!(said_as(&mut app, &token, &format!("confirm_sms('{of_eve}', '000000')")), "mfa_factor_not_found");
    let guest = answer(&mut app, "sign_in_anonymously()", &[]).unwrap();
    assert_eq!(
        said_as(&mut app, guest["access_token"].as_str().unwrap(), "enroll_sms('+4915112345678')"),
        "validation_failed"
    );
    let refusal = said(&mut app, "enroll_sms('+4915112345678')", &[]);
    assert_eq!(refusal, "no_authorization");
    configure(&database, json!({"mfa_sms_enabled": false}));
    assert_eq!(said_as(&mut app, &token, "enroll_sms('+4915112345671')"), "mfa_phone_enroll_not_enabled");
    let challenge = first_step(&mut app, EMAIL);
    let sms = asked(&database, &mut app, &challenge);
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenge, &sms.code()]), "session", "who has one uses it");
}

/// F140, XE14: one phone is one factor: whoever signs in by a code to a number takes the second step by something else.
#[test]
fn the_same_phone_is_no_second_factor() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    let session = answer(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &texted(&database, ADA).code()]).unwrap();
    let token = session["access_token"].as_str().unwrap();
    let enrolled = as_user(&mut app, token, &format!("enroll_sms('{ADA}')"));
    let id = enrolled["factor_id"].as_str().unwrap().to_owned();
    let code = the_sms(&database);
    let confirmed = as_user(&mut app, token, &format!("confirm_sms('{id}', '{}')", code.code()));
    let recovery = confirmed["recovery_codes"][0].as_str().unwrap();
    let first = answer(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &texted(&database, ADA).code()]).unwrap();
    assert_eq!(first["status"], "mfa_required", "{first}");
    let challenge = first["challenge_token"].as_str().unwrap();
    assert_eq!(said(&mut app, "send_mfa_sms($1)", &[&challenge]), "mfa_factor_not_found");
    let options = "'{\"mfa\": \"session\"}'";
    let call = format!("verify_sms_otp($1, $2, {options})");
    let first = answer(&mut app, &call, &[&ADA, &texted(&database, ADA).code()]).unwrap();
    let token = first["access_token"].as_str().unwrap();
    let asked = as_user(&mut app, token, &format!("challenge_factor('{id}')"));
    let sms = the_sms(&database);
    let call = format!("verify_totp('{}', '{}')", asked["id"].as_str().unwrap(), sms.code());
    assert_eq!(said_as(&mut app, token, &call), "mfa_verification_failed");
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenge, &recovery]), "session");
}
