//! The code at the end of a redirect: what a page gets instead of tokens, and whom it lets in.

use auth_harness::{Cluster, Database, claims, mails, refused, storm_with};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::otp::{answer, mailed, mailing, proved, said};
use crate::refresh::configure;

/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

const PAGE: &str = "verify_link($1, '{\"flow\": \"redirect\"}')";

/// What the page gets for a link that was asked for with these options.
#[track_caller]
fn redirected(database: &Database, email: &str, options: &Value) -> Value {
    let mail = mailed(database, "send_magic_link($1, null, $2)", &[&email, options]);
    answer(&mut database.app(), PAGE, &[&mail.token()]).unwrap()
}

fn with_challenge() -> Value {
    json!({"code_challenge": CHALLENGE, "code_challenge_method": "S256"})
}

/// F054, B010, XG8: a request with a challenge gets a code at its page, and only the verifier makes a session of it, once; a
/// wrong verifier, none, or one where there was no challenge does not.
#[test]
fn a_code_needs_its_verifier() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    let ada = proved(&database, "ada@example.org");
    let page = redirected(&database, &ada.email, &with_challenge());
    assert_eq!(page["status"], "redirect");
    assert_eq!((&page["type"], &page["redirect_to"]), (&json!("magiclink"), &json!("http://localhost:3000")));
    assert!(page.get("access_token").is_none() && page.get("user").is_none());
    let code = page["code"].as_str().unwrap();
    let sessions = "select count(*) from auth.sessions";
    let before: i64 = database.superuser().query_one(sessions, &[]).unwrap().get(0);
    let wrong = [None, Some(""), Some("x"), Some(CHALLENGE), Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl")];
    for verifier in wrong {
        let refusal = answer(&mut app, "exchange_code($1, $2)", &[&code, &verifier]).unwrap_err();
        assert_eq!((&*refusal.sqlstate, &*refusal.code), ("28000", "bad_code_verifier"), "{verifier:?}");
    }
    assert_eq!(database.superuser().query_one(sessions, &[]).unwrap().get::<_, i64>(0), before);
    let session = answer(&mut app, "exchange_code($1, $2)", &[&code, &VERIFIER]).unwrap();
    assert_eq!(session["user"]["id"], json!(ada.user_id.to_string()));
    assert_eq!(claims(session["access_token"].as_str().unwrap())["amr"][0]["method"], "magiclink");
    assert_eq!(said(&mut app, "exchange_code($1, $2)", &[&code, &VERIFIER]), "flow_state_not_found");
    configure(&database, json!({"implicit_flow": false}));
    let page = redirected(&database, &ada.email, &json!({}));
    let code = page["code"].as_str().unwrap();
    assert_eq!(
        said(&mut app, "exchange_code($1, $2)", &[&code, &VERIFIER]),
        "bad_code_verifier",
        "a dropped challenge"
    );
    assert_eq!(said(&mut app, "exchange_code($1)", &[&code]), "session");
}

/// B010, F054: which page gets what: a session where nobody asked otherwise, a code with a challenge or where tokens in
/// addresses are off; an app that holds the link itself always gets the session.
#[test]
fn who_gets_a_code() {
    let database = mailing(Cluster::shared(), json!({}));
    let ada = proved(&database, "ada@example.org");
    for (implicit, has_challenge, is_page, expected) in [
        (true, false, true, "session"),
        (true, true, true, "redirect"),
        (false, false, true, "redirect"),
        (false, true, true, "redirect"),
        (true, true, false, "session"),
        (false, false, false, "session"),
    ] {
        configure(&database, json!({"implicit_flow": implicit}));
        let options = if has_challenge { with_challenge() } else { json!({}) };
        let mail = mailed(&database, "send_otp($1, $2)", &[&ada.email, &options]);
        let call = if is_page { PAGE } else { "verify_link($1)" };
        assert_eq!(said(&mut database.app(), call, &[&mail.token()]), expected, "{implicit} {has_challenge} {is_page}");
        assert_eq!(said(&mut database.app(), call, &[&mail.token()]), "otp_expired");
    }
}

/// XG8: what is no S256 challenge is refused where it is given, and nothing is mailed.
#[test]
fn a_challenge_is_s256() {
    let database = mailing(Cluster::shared(), json!({}));
    let mut app = database.app();
    proved(&database, "ada@example.org");
    let wrong = [
        json!({"code_challenge": CHALLENGE, "code_challenge_method": "plain"}),
        json!({"code_challenge": VERIFIER, "code_challenge_method": "PLAIN"}),
        json!({"code_challenge_method": "s256"}),
        json!({"code_challenge": "", "code_challenge_method": "s256"}),
        json!({"code_challenge": "short", "code_challenge_method": "s256"}),
        json!({"code_challenge": CHALLENGE, "code_challenge_method": ""}),
        json!({"code_challenge": 7, "code_challenge_method": "s256"}),
        json!({"code_challenge": format!("{CHALLENGE}=")}),
        json!({"challenge": CHALLENGE}),
    ];
    let calls = [
        "send_otp('ada@example.org', $1)",
        "send_magic_link('ada@example.org', null, $1)",
        "request_password_reset('ada@example.org', null, $1)",
        "resend('signup', 'ada@example.org', $1)",
        "sign_up_with_email('ada@example.org', '{}', $1)",
        "sign_up('ada@example.org', 'correct horse battery', '{}', $1)",
    ];
    for options in &wrong {
        for call in calls {
            let refusal = answer(&mut app, call, &[options]).unwrap_err();
            assert_eq!((&*refusal.sqlstate, &*refusal.code), ("22023", "validation_failed"), "{call} {options}");
        }
    }
    assert_eq!(mails(&database).len(), 0);
}

/// F054, XG8: a code ends after five minutes and says so for a while, then it never was; one of a banned account lets nobody in; forged
/// ones and links are none.
#[test]
fn what_a_code_is_not() {
    let database = mailing(Cluster::shared(), json!({"implicit_flow": false}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let ada = proved(&database, "ada@example.org");
    for (age, expected) in [(290, "session"), (301, "flow_state_expired"), (601, "flow_state_not_found")] {
        let page = redirected(&database, &ada.email, &json!({}));
        let age = format!("update auth.flow_state set expires_at = expires_at - interval '{age} s'");
        superuser.execute(&age, &[]).unwrap();
        assert_eq!(said(&mut app, "exchange_code($1)", &[&page["code"].as_str()]), expected);
    }
    let page = redirected(&database, &ada.email, &json!({}));
    let code = page["code"].as_str().unwrap();
    let mail = mailed(&database, "send_otp($1)", &[&ada.email]);
    let mut bytes = URL_SAFE_NO_PAD.decode(code).unwrap();
    bytes[36] ^= 1;
    let mut foreign = URL_SAFE_NO_PAD.decode(code).unwrap();
    foreign[4] ^= 1;
    let forged = [
        URL_SAFE_NO_PAD.encode(bytes),
        "x".into(),
        String::new(),
        format!("{code}="),
        code[1..].into(),
        mail.token().into(),
    ];
    for forged in &forged {
        assert_eq!(said(&mut app, "exchange_code($1)", &[forged]), "flow_state_not_found", "{forged}");
    }
    let foreign = URL_SAFE_NO_PAD.encode(foreign);
    assert!(["flow_state_not_found", "no_signing_key"].contains(&&*said(&mut app, "exchange_code($1)", &[&foreign])));
    assert_eq!(said(&mut app, "verify_link($1)", &[&code]), "otp_expired");
    let ban = "update auth.users set banned_until = now() + interval '1 h' where id = $1";
    superuser.execute(ban, &[&ada.user_id]).unwrap();
    assert_eq!(said(&mut app, "exchange_code($1)", &[&code]), "user_banned");
    assert_eq!(said(&mut app, PAGE, &[&mail.token()]), "user_banned");
}

/// XE3: of sixty-four exchanges of one code one is answered, and a code that was exchanged in a transaction that did not commit
/// stays spent; all others hear that there is none.
#[test]
fn a_code_is_good_once() {
    let database = mailing(Cluster::shared(), json!({}));
    let ada = proved(&database, "ada@example.org");
    let page = redirected(&database, &ada.email, &with_challenge());
    let code = page["code"].as_str().unwrap();
    let said_each = storm_with(
        64,
        |_| {
            let mut client = database.app();
            assert_eq!(said(&mut client, "exchange_code('x')", &[]), "flow_state_not_found");
            client
        },
        |_, mut client| said(&mut client, "exchange_code($1, $2)", &[&code, &VERIFIER]),
    );
    assert_eq!(said_each.iter().filter(|said| *said == "session").count(), 1, "{said_each:?}");
    assert!(said_each.iter().all(|said| ["session", "flow_state_not_found"].contains(&&**said)), "{said_each:?}");
    let page = redirected(&database, &ada.email, &with_challenge());
    let code = page["code"].as_str().unwrap();
    let mut app = database.app();
    let mut transaction = app.transaction().unwrap();
    assert_eq!(said(&mut transaction, "exchange_code($1, $2)", &[&code, &VERIFIER]), "session");
    transaction.rollback().unwrap();
    assert_eq!(said(&mut app, "exchange_code($1, $2)", &[&code, &VERIFIER]), "flow_state_not_found");
    // Nobody but the functions sees the table.
    for mut client in [database.app(), database.sidecar(), database.admin(), database.service()] {
        assert_eq!(refused(client.execute("select * from auth.flow_state", &[])).sqlstate, "42501");
    }
}

/// B024, XA3: a code at the end of a redirect does not outlive a reset of the password.
#[test]
fn a_reset_ends_codes_too() {
    let database = mailing(Cluster::shared(), json!({"implicit_flow": false}));
    let mut app = database.app();
    proved(&database, "ada@example.org");
    let link = mailed(&database, "send_magic_link('ada@example.org')", &[]);
    let redirect = answer(&mut app, PAGE, &[&link.token()]).unwrap();
    let reset = mailed(&database, "request_password_reset('ada@example.org')", &[]);
    let outcome = said(&mut app, "reset_password($1, 'another horse battery')", &[&reset.token()]);
    assert_eq!(outcome, "password_changed");
    assert_eq!(said(&mut app, "exchange_code($1)", &[&redirect["code"].as_str()]), "flow_state_not_found");
}
