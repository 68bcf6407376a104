//! The phone as a second factor, where its account, session or number is another by the time that a code is asked for or given.

use auth_harness::{Cluster, Database, mails, sign_up};
use serde_json::json;

use crate::guard::RIGHT;
use crate::mfa::{as_user, first_step, said_as};
use crate::otp::{answer, said};
use crate::sms::{ADA, texting};
use crate::sms_factor::{enrolled, the_sms};

const EMAIL: &str = "ada@example.org";
const OTHER: &str = "+4915112345679";

fn texts(database: &Database) -> usize {
    mails(database).iter().filter(|mail| mail.channel == "sms").count()
}

fn age_sessions(database: &Database) {
    let age = "update auth.sessions set created_at = created_at - interval '11 minutes'";
    database.superuser().batch_execute(age).unwrap();
}

/// F140, XE17: a session that is no longer fresh enrols a first phone, and confirms one, only with the current password.
#[test]
fn an_old_session_says_the_password() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    let person = sign_up(&mut app, EMAIL, RIGHT);
    let token = &person.access_token;
    let enrolled = as_user(&mut app, token, &format!("enroll_sms('{ADA}')"));
    let (id, code) = (enrolled["factor_id"].as_str().unwrap().to_owned(), the_sms(&database).code().to_owned());
    age_sessions(&database);
    let with = |password: &str| format!("'{{\"current_password\": \"{password}\"}}'");
    let enroll = format!("enroll_sms('{OTHER}'");
    assert_eq!(said_as(&mut app, token, &format!("{enroll})")), "validation_failed");
    assert_eq!(said_as(&mut app, token, &format!("{enroll}, {})", with("a wrong one"))), "current_password_invalid");
    assert_eq!(texts(&database), 0, "nothing is sent before");
    assert_eq!(said_as(&mut app, token, &format!("{enroll}, {})", with(RIGHT))), "code_sent");
    let confirm = format!("confirm_sms('{id}', '{code}'");
    assert_eq!(said_as(&mut app, token, &format!("{confirm})")), "validation_failed");
    assert_eq!(said_as(&mut app, token, &format!("{confirm}, {})", with("a wrong one"))), "current_password_invalid");
    assert_eq!(said(&mut app, "sign_in($1, $2)", &[&EMAIL, &RIGHT]), "session", "it is no factor yet");
    assert_eq!(said_as(&mut app, token, &format!("{confirm}, {})", with(RIGHT))), "session");
}

/// F140, XA18: whoever is banned between the steps is sent nothing.
#[test]
fn the_banned_are_sent_nothing() {
    let database = texting(Cluster::shared(), json!({}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    enrolled(&database, EMAIL, ADA);
    let challenge = first_step(&mut app, EMAIL);
    superuser.batch_execute("update auth.users set banned_until = 'infinity'").unwrap();
    assert_eq!(said(&mut app, "send_mfa_sms($1)", &[&challenge]), "user_banned");
    assert_eq!(texts(&database), 0);
    superuser.batch_execute("update auth.users set banned_until = null").unwrap();
    assert_eq!(said(&mut app, "send_mfa_sms($1)", &[&challenge]), "code_sent");
}

/// F140, XE13: a phone that is not confirmed is sent no code of a sign-in, and the challenge of one factor sends none to another.
#[test]
fn another_phone_is_sent_nothing() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    let (token, first) = enrolled(&database, EMAIL, ADA);
    let second = as_user(&mut app, &token, &format!("enroll_sms('{OTHER}', '{{\"send\": false}}')"));
    let second = second["factor_id"].as_str().unwrap().to_owned();
    let send = "send_mfa_sms($1, $2::text::uuid)";
    let challenge = first_step(&mut app, EMAIL);
    assert_eq!(said(&mut app, send, &[&challenge, &second]), "mfa_factor_not_found");
    let challenge = as_user(&mut app, &token, &format!("challenge_factor('{first}', '{{\"send\": false}}')"));
    let challenge = challenge["id"].as_str().unwrap();
    for (factor, expected) in [(&second, "mfa_factor_not_found"), (&first, "code_sent")] {
        let call = format!("send_mfa_sms('{challenge}', '{factor}')");
        assert_eq!(said_as(&mut app, &token, &call), expected);
    }
    assert_eq!(the_sms(&database).recipient, ADA);
}

/// F140, XE13: a code that was sent to the number that the factor had before meets nothing.
#[test]
fn a_code_to_the_number_before() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    enrolled(&database, EMAIL, ADA);
    let challenge = first_step(&mut app, EMAIL);
    answer(&mut app, "send_mfa_sms($1)", &[&challenge]).unwrap();
    let sms = the_sms(&database);
    database.superuser().execute("update auth.mfa_factors set phone = $1", &[&&OTHER[1..]]).unwrap();
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenge, &sms.code()]), "mfa_verification_failed");
    answer(&mut app, "send_mfa_sms($1)", &[&challenge]).unwrap();
    let sms = the_sms(&database);
    assert_eq!(sms.recipient, OTHER);
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenge, &sms.code()]), "session");
}

/// F137, F140: who gives up authenticator apps keeps the phone, and is asked for it.
#[test]
fn a_phone_outlives_the_apps() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    let ada = crate::mfa::ada(&database);
    let token = &ada.person.access_token;
    let id = as_user(&mut app, token, &format!("enroll_sms('{ADA}')"))["factor_id"].as_str().unwrap().to_owned();
    let confirmed = as_user(&mut app, token, &format!("confirm_sms('{id}', '{}')", the_sms(&database).code()));
    let token = confirmed["access_token"].as_str().unwrap();
    assert_eq!(said_as(&mut app, token, &format!("disable_totp('{}')", ada.app.code())), "an answer");
    let left = as_user(&mut app, token, "list_factors()");
    assert_eq!((left.as_array().unwrap().len(), &left[0]["id"]), (1, &json!(id)));
    let challenge = first_step(&mut app, EMAIL);
    answer(&mut app, "send_mfa_sms($1)", &[&challenge]).unwrap();
    let code = the_sms(&database).code().to_owned();
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&challenge, &code]), "session");
}
