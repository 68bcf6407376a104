//! Mailed codes and links that sign in: what a mail holds, that each is good once, for one address, and for a while.

use auth_harness::postgres::types::ToSql;
use auth_harness::{
    Cluster, Database, GenericClient, Mail, Person, Refusal, claims, json, mails, refused, sign_up, the_mail,
};
use serde_json::{Value, json};

use crate::guard::{RIGHT, guarded};
use crate::refresh::configure;

/// A database where mails are asked for as often as one likes, and a hash costs next to nothing.
pub fn mailing(cluster: &Cluster, settings: Value) -> Database {
    let free = json!({
        "rate_limit_database": null, "verification_resend_interval": 0, "verification_resend_limit": null,
        "enable_magic_link": true, "max_active_sessions": null,
    });
    let database = guarded(cluster, free);
    configure(&database, settings);
    database
}

pub fn answer(
    client: &mut impl GenericClient,
    call: &str,
    arguments: &[&(dyn ToSql + Sync)],
) -> Result<Value, Refusal> {
    match client.query_one(&format!("select auth.{call}"), arguments) {
        Ok(row) => Ok(row.get(0)),
        Err(error) => Err(refused::<()>(Err(error))),
    }
}

/// The status of the answer, or the code word of the refusal.
pub fn said(client: &mut impl GenericClient, call: &str, arguments: &[&(dyn ToSql + Sync)]) -> String {
    match answer(client, call, arguments) {
        Ok(answer) => answer["status"].as_str().unwrap_or("an answer").to_owned(),
        Err(refusal) if refusal.code.is_empty() => refusal.sqlstate,
        Err(refusal) => refusal.code,
    }
}

/// Asks for a mail and takes it.
#[track_caller]
pub fn mailed(database: &Database, call: &str, arguments: &[&(dyn ToSql + Sync)]) -> Mail {
    let answer = answer(&mut database.app(), call, arguments).unwrap();
    assert!(["code_sent", "confirmation_sent"].contains(&answer["status"].as_str().unwrap()), "{answer}");
    the_mail(database)
}

/// Somebody with a password, a session and a proved address.
#[track_caller]
pub fn proved(database: &Database, email: &str) -> Person {
    let person = sign_up(&mut database.app(), email, RIGHT);
    let prove = "update auth.users set email_confirmed_at = clock_timestamp() where id = $1";
    database.superuser().execute(prove, &[&person.user_id]).unwrap();
    person
}

/// Another code of the same length.
pub fn not(code: &str) -> String {
    code.chars().map(|digit| if digit == '9' { '0' } else { (digit as u8 + 1) as char }).collect()
}

/// F056, F053, F054, B010, XE11: one mail holds a link and a code; either signs in once and takes the other with it, the
/// answer to the request holds neither, and the session says by which it was opened.
#[test]
fn a_mail_signs_in_once() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", RIGHT);
    let uses = [("verify_otp($1, $2)", "otp"), ("verify_link($1)", "magiclink")];
    for (call, method) in uses {
        let sent = answer(&mut app, "send_magic_link($1)", &[&ada.email]).unwrap();
        assert_eq!(sent, json!({"status": "code_sent"}));
        let mail = the_mail(&database);
        assert_eq!(
            (mail.channel.as_str(), mail.kind.as_str(), mail.recipient.as_str()),
            ("email", "magiclink", &*ada.email)
        );
        assert_eq!(mail.payload["type"], "magiclink");
        assert_eq!(mail.payload["user"]["id"], json!(ada.user_id.to_string()));
        assert!(mail.code().len() == 6 && mail.code().bytes().all(|byte| byte.is_ascii_digit()));
        assert!(mail.text("code_expires_at") < mail.text("expires_at"), "the code ends before the link");
        let by_code: [&(dyn ToSql + Sync); 2] = [&ada.email, &mail.code()];
        let by_link: [&(dyn ToSql + Sync); 1] = [&mail.token()];
        let arguments = if method == "otp" { &by_code[..] } else { &by_link[..] };
        let session = answer(&mut app, call, arguments).unwrap();
        assert_eq!(session["user"]["id"], json!(ada.user_id.to_string()));
        assert_eq!(claims(session["access_token"].as_str().unwrap())["amr"][0]["method"], method);
        for (call, _) in uses {
            let arguments = if call.contains("$2") { &by_code[..] } else { &by_link[..] };
            assert_eq!(said(&mut app, call, arguments), "otp_expired", "{call} after {method}");
        }
    }
}

/// F055, F056: a fresh install sends no magic link, and its code's mail has no link; the length of a code is a setting.
#[test]
fn what_is_off_and_how_long_a_code_is() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    sign_up(&mut app, "ada@example.org", RIGHT);
    let refusal = answer(&mut app, "send_magic_link('ada@example.org')", &[]).unwrap_err();
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("55000", "magic_link_disabled"));
    assert_eq!(mails(&database).len(), 0);
    configure(&database, json!({"email_otp_length": 4}));
    let mail = mailed(&database, "send_otp('ada@example.org')", &[]);
    assert_eq!((mail.kind.as_str(), &mail.payload["token"]), ("otp", &Value::Null));
    assert_eq!(mail.code().len(), 4);
    assert_eq!(said(&mut app, "verify_otp('ada@example.org', $1)", &[&mail.code()]), "session");
}

/// XE13: the code of one person is nothing to another, nor to another address, nor after a newer request; spelling the
/// address otherwise is no other address.
#[test]
fn a_code_is_for_one_address_and_one_request() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    for email in ["ada@example.org", "bob@example.org"] {
        sign_up(&mut app, email, RIGHT);
    }
    let old = mailed(&database, "send_otp('ada@example.org')", &[]);
    let new = mailed(&database, "send_otp('ada@example.org')", &[]);
    let bobs = mailed(&database, "send_otp('bob@example.org')", &[]);
    // One in a million requests has the code of another.
    let wrong = [
        ("ada@example.org", old.code()),
        ("ada@example.org", bobs.code()),
        ("bob@example.org", new.code()),
        ("nobody@example.org", new.code()),
        ("no address", new.code()),
        ("ada@example.org", ""),
        ("ada@example.org", " "),
    ];
    for (email, code) in wrong.iter().filter(|(_, code)| *code != new.code() || old.code() != new.code()) {
        assert_eq!(said(&mut app, "verify_otp($1, $2)", &[email, code]), "otp_expired", "{email} {code}");
    }
    assert_eq!(said(&mut app, "verify_link($1)", &[&old.token()]), "otp_expired");
    assert_eq!(said(&mut app, "verify_otp('ADA@Example.org', $1)", &[&new.code()]), "session");
    assert_eq!(said(&mut app, "verify_link($1)", &[&bobs.token()]), "session");
}

/// F044, F036, F056: a code ends before its link, and both end; the ends are settings.
#[test]
fn codes_and_links_end() {
    let database = mailing(Cluster::shared(), json!({"signup_mode": "confirm"}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let lasts = [
        ("sign_up($1, 'correct horse battery')", "verify_otp($1, $2)", 600, 86_400),
        ("send_otp($1)", "verify_otp($1, $2)", 600, 86_400),
        ("request_password_reset($1)", "verify_otp($1, $2, '{\"type\": \"recovery\"}')", 600, 3600),
    ];
    for (number, (ask, verify, code_seconds, link_seconds)) in lasts.into_iter().enumerate() {
        let email = format!("user{number}@example.org");
        if ask.starts_with("request") {
            configure(&database, json!({"signup_mode": "immediate"}));
            sign_up(&mut app, &email, RIGHT);
        }
        for (seconds, code, link) in [
            (code_seconds - 60, "session", "session"),
            (code_seconds + 1, "otp_expired", "session"),
            (link_seconds + 1, "otp_expired", "otp_expired"),
        ] {
            for (call, by_code, expected) in [(verify, true, code), ("verify_link($1)", false, link)] {
                let email = format!("{seconds}-{by_code}-{email}");
                if ask.starts_with("request") {
                    sign_up(&mut app, &email, RIGHT);
                }
                let mail = mailed(&database, ask, &[&email]);
                // As if it had been asked for so long ago. A magic link of an unknown address is a sign-up.
                for table in ["one_time_tokens", "pending_sign_ups"] {
                    let age = format!(
                        "update auth.{table} set expires_at = expires_at - make_interval(secs => $1),
                            code_expires_at = code_expires_at - make_interval(secs => $1),
                            created_at = created_at - make_interval(secs => $1)"
                    );
                    superuser.execute(&age, &[&f64::from(seconds)]).unwrap();
                }
                let said = match by_code {
                    true => said(&mut app, call, &[&email, &mail.code()]),
                    false => said(&mut app, call, &[&mail.token()]),
                };
                let expected = match (ask.starts_with("send"), by_code, seconds) {
                    // The link of a sign-in lasts an hour also where it makes the account.
                    (true, false, seconds) if seconds > 86_400 => "otp_expired",
                    _ => expected,
                };
                assert_eq!(said, expected, "{ask}, {call}, after {seconds} s");
            }
        }
    }
}

/// F056, XC1, XC7: five wrong codes kill the code, the right one included, wherever codes are taken, and a new one is no new
/// chance; the link of the mail and the password go on, and the audit says so.
#[test]
fn five_wrong_codes() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    let ada = proved(&database, "ada@example.org");
    let mail = mailed(&database, "send_otp($1)", &[&ada.email]);
    let reset = mailed(&database, "request_password_reset($1)", &[&ada.email]);
    let wrong = not(mail.code());
    for _ in 0..2 {
        assert_eq!(said(&mut app, "verify_otp($1, $2)", &[&ada.email, &wrong]), "otp_expired");
    }
    assert_eq!(said(&mut app, "verify_sign_up($1, $2)", &[&ada.email, &wrong]), "otp_expired");
    for _ in 0..2 {
        let call = "reset_password_with_code($1, $2, 'staple correct horse')";
        assert_eq!(said(&mut app, call, &[&ada.email, &not(reset.code())]), "otp_expired");
    }
    let again = mailed(&database, "send_otp($1)", &[&ada.email]);
    for code in [mail.code(), again.code(), &wrong] {
        let refusal = answer(&mut app, "verify_otp($1, $2)", &[&ada.email, &code]).unwrap_err();
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("53400", "account_locked"));
        assert!(refusal.hint.unwrap().starts_with("retry_after="));
    }
    let call = "reset_password_with_code($1, $2, 'staple correct horse')";
    assert_eq!(said(&mut app, call, &[&ada.email, &reset.code()]), "account_locked");
    assert_eq!(said(&mut app, "sign_in($1, $2)", &[&ada.email, &RIGHT]), "session");
    assert_eq!(said(&mut app, "verify_link($1)", &[&again.token()]), "session");
    assert_eq!(said(&mut app, "reset_password($1, 'staple correct horse')", &[&reset.token()]), "password_changed");
    let locks = "select coalesce(jsonb_agg(event_data), '[]') from auth.audit_log where event_type = 'otp_locked'";
    let locks = json(&mut database.superuser(), locks, &[]);
    assert_eq!(locks.as_array().unwrap().len(), 1, "{locks}");
    assert_eq!(locks[0]["email"], json!(ada.email));
}

/// XC1: an address that nobody has is locked as one that somebody has.
#[test]
fn unknown_addresses_are_locked_too() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    sign_up(&mut app, "ada@example.org", RIGHT);
    for email in ["ada@example.org", "nobody@example.org", "no address"] {
        let said: Vec<String> = (0..7).map(|_| said(&mut app, "verify_otp($1, '000000')", &[&email])).collect();
        assert_eq!(said, [["otp_expired"; 5].as_slice(), &["account_locked"; 2]].concat(), "{email}");
    }
}

/// B010: a scanner that follows the link of a mail spends nothing; what the page shows is the link's own type and address.
#[test]
fn looking_at_a_link_spends_nothing() {
    let database = mailing(Cluster::shared(), json!({"redirect_allow_list": ["https://app.example.org/in"]}));
    let mut app = database.app();
    sign_up(&mut app, "ada@example.org", RIGHT);
    let mail = mailed(&database, "send_magic_link('ada@example.org', 'https://app.example.org/in?a=b')", &[]);
    let expected = json!({"type": "magiclink", "redirect_to": "https://app.example.org/in?a=b"});
    for _ in 0..3 {
        assert_eq!(answer(&mut app, "look_up_link($1)", &[&mail.token()]).unwrap(), expected);
    }
    assert_eq!(said(&mut app, "look_up_link($1, '{\"type\": \"recovery\"}')", &[&mail.token()]), "otp_expired");
    let session = answer(&mut app, "verify_link($1, '{\"type\": \"magiclink\"}')", &[&mail.token()]).unwrap();
    assert_eq!(session["redirect_to"], expected["redirect_to"]);
    assert_eq!(session["type"], "magiclink");
    for wrong in [mail.token(), "", "x", &"A".repeat(50), &mail.token()[1..], &mail.token().to_lowercase()] {
        assert_eq!(said(&mut app, "look_up_link($1)", &[&wrong]), "otp_expired");
        assert_eq!(said(&mut app, "verify_link($1)", &[&wrong]), "otp_expired");
    }
}

/// F042, XG: a link leads to site_url and what is below it, and where the list says; elsewhere it is refused before anything
/// is counted or written, in every function that takes it.
#[test]
fn a_link_leads_only_where_it_may() {
    let database =
        mailing(Cluster::shared(), json!({"redirect_allow_list": ["https://app.example.org/in", "myapp://in"]}));
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", RIGHT);
    let calls = [
        "send_otp($1, jsonb_build_object('redirect_to', $2::text))",
        "send_magic_link($1, $2)",
        "request_password_reset($1, $2)",
        "sign_up_with_email($1, '{}', jsonb_build_object('redirect_to', $2::text))",
        "resend('signup', $1, jsonb_build_object('redirect_to', $2::text))",
        "sign_up($1, 'correct horse battery', '{}', jsonb_build_object('redirect_to', $2::text))",
    ];
    let targets = [
        ("https://app.example.org/in", true),
        ("http://localhost:3000/any/page?x=y", true),
        ("myapp://in", true),
        ("https://evil.example.net/in", false),
        ("https://app.example.org.evil.net/in", false),
        ("https://app.example.org/in/../out", false),
        ("//evil.example.net", false),
        ("javascript:alert(1)", false),
        ("https://app.example.org@evil.net/in", false),
        ("http://localhost:3001/", false),
    ];
    for (target, is_allowed) in targets {
        let allowed: bool = app.query_one("select auth.redirect_allowed($1)", &[&target]).unwrap().get(0);
        assert_eq!(allowed, is_allowed, "{target}");
        for call in calls.iter().filter(|_| !is_allowed) {
            for email in [ada.email.as_str(), "nobody@example.org"] {
                let refusal = answer(&mut app, call, &[&email, &target]).unwrap_err();
                assert_eq!((&*refusal.sqlstate, &*refusal.code), ("22023", "redirect_not_allowed"), "{call} {target}");
            }
        }
        if is_allowed {
            let mail = mailed(&database, calls[1], &[&ada.email, &target]);
            assert_eq!(mail.payload["redirect_to"], target);
        }
    }
    assert_eq!(mails(&database).len(), 0);
    // Without one, the app itself.
    assert_eq!(mailed(&database, "send_otp($1)", &[&ada.email]).payload["redirect_to"], "http://localhost:3000");
}
