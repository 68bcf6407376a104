//! Mailed links and codes over HTTP, and where browsers are sent.

use std::collections::BTreeMap;

use auth_harness::{Cluster, Database, Reply, Sidecar};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::http_accounts::{PASSWORD, refused, sign_up, text};

const SITE: &str = "https://app.example.com";
const ALLOWED: &str = "https://other.example.com/callback";

pub fn database() -> Database {
    let database = Cluster::shared().database().without_limits();
    let settings = json!({"site_url": SITE, "redirect_allow_list": [ALLOWED], "enable_magic_link": true,
        "signup_mode": "confirm", "verification_resend_interval": 0, "verification_resend_limit": null});
    database.admin().execute("select auth.configure($1)", &[&settings]).unwrap();
    database
}

/// What the courier would mail to this address now; the newest counts.
#[track_caller]
pub fn mailed(database: &Database, email: &str) -> Value {
    let rows =
        database.sidecar().query("select recipient, payload from auth.claim_outbox(100) order by created_at", &[]);
    let found = rows.unwrap().iter().rev().find(|row| row.get::<_, String>(0) == email).map(|row| row.get(1));
    found.unwrap_or_else(|| panic!("nothing is mailed to {email}"))
}

fn page(sidecar: &Sidecar, mail: &Value) -> Reply {
    sidecar.get(&format!("/verify?token={}&type={}", text(&mail["token"]), text(&mail["type"]))).send()
}

fn press(sidecar: &Sidecar, mail: &Value) -> Reply {
    let form = format!("token={}&type={}", text(&mail["token"]), text(&mail["type"]));
    sidecar.post("/verify").body("application/x-www-form-urlencoded", &form).send()
}

/// Where a redirect leads: the URL before its query and fragment, and the pairs of both.
#[track_caller]
fn location(reply: &Reply) -> (String, BTreeMap<String, String>) {
    assert_eq!(reply.status, 303, "{reply:?}");
    let target = reply.header("location");
    let (url, pairs) = target.split_once(['?', '#']).unwrap_or((target, ""));
    let decode = |text: &str| text.replace('+', " ").replace("%3A", ":").replace("%2F", "/");
    let pairs = pairs.split('&').filter_map(|pair| pair.split_once('='));
    (url.to_owned(), pairs.map(|(name, value)| (name.to_owned(), decode(value))).collect())
}

/// XE9, XG14: whatever looks at the link spends nothing and gets no session; the button's POST does, once. The page needs no script,
/// is kept by nobody and tells nobody where it was.
#[test]
fn a_link_is_spent_by_its_button() {
    let database = database();
    let sidecar = Sidecar::start(&database, &[]);
    let reply = sidecar.post("/signup").json(&json!({"email": "ada@example.org", "password": PASSWORD})).send();
    assert_eq!((reply.status, &reply.json()["email"]), (200, &json!("ada@example.org")));
    assert!(reply.json().get("access_token").is_none() && reply.json()["identities"].is_array());
    let sign_in =
        || sidecar.post("/token?grant_type=password").json(&json!({"email": "ada@example.org", "password": PASSWORD}));
    refused(&sign_in().send(), 400, "email_not_confirmed");

    let mail = mailed(&database, "ada@example.org");
    for _ in 0..5 {
        let shown = page(&sidecar, &mail);
        assert_eq!((shown.status, shown.header("content-type")), (200, "text/html; charset=utf-8"), "{shown:?}");
        assert!(shown.body.contains("<form method=\"post\"") && !shown.body.contains("<script"));
        let policy = shown.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; form-action 'self' https://app.example.com;"), "{policy}");
        assert_eq!((shown.header("referrer-policy"), shown.header("cache-control")), ("no-referrer", "no-store"));
        let path = format!("/auth/v1/verify?token={}&type={}", text(&mail["token"]), text(&mail["type"]));
        assert_eq!((sidecar.ask("HEAD", &path).send().status, sidecar.get(&path).send().status), (200, 200));
    }
    refused(&sign_in().send(), 400, "email_not_confirmed");

    let (url, pairs) = location(&press(&sidecar, &mail));
    assert!([SITE.to_owned(), format!("{SITE}/")].contains(&url), "{url}");
    let names: Vec<_> = pairs.keys().map(String::as_str).collect();
    assert_eq!(names, ["access_token", "expires_at", "expires_in", "refresh_token", "token_type", "type"]);
    assert_eq!((pairs["token_type"].as_str(), pairs["type"].as_str()), ("bearer", "signup"));
    assert_eq!(sidecar.get("/user").bearer(&pairs["access_token"]).send().json()["email"], "ada@example.org");
    assert_eq!(sign_in().send().status, 200);

    for reply in [press(&sidecar, &mail), page(&sidecar, &mail)] {
        let (url, pairs) = location(&reply);
        assert!(url.starts_with(SITE));
        assert_eq!((pairs["error"].as_str(), pairs["error_code"].as_str()), ("access_denied", "otp_expired"));
        assert!(!pairs["error_description"].is_empty());
    }
}

/// Clients that speak JSON spend a link by its token and a code by its address, each once, and for nothing else.
#[test]
fn clients_verify_codes_and_links() {
    let database = database();
    let sidecar = Sidecar::start(&database, &[]);
    let verify = |body: Value| sidecar.post("/auth/v1/verify").json(&body).send();
    let ask = || {
        let reply =
            sidecar.post("/otp").json(&json!({"email": "ada@example.org", "create_user": true, "data": {}})).send();
        assert_eq!((reply.status, reply.body.as_str()), (200, "{}"), "{reply:?}");
        mailed(&database, "ada@example.org")
    };
    let by_code = |code: &Value| json!({"email": "ada@example.org", "token": code, "type": "email"});
    let by_link = |mail: &Value| json!({"token_hash": mail["token"], "type": mail["type"]});
    let mail = ask();
    for (body, status, code) in [
        (by_code(&json!("not it")), 403, "otp_expired"),
        (json!({"email": "eve@example.org", "token": mail["code"], "type": "email"}), 403, "otp_expired"),
        (json!({"token_hash": mail["token"], "type": "recovery"}), 403, "otp_expired"),
        (json!({"token_hash": "x", "type": "email"}), 403, "otp_expired"),
        (json!({"email": "ada@example.org", "token": mail["code"], "type": "nonsense"}), 400, "validation_failed"),
        (json!({"email": "ada@example.org", "token": mail["code"]}), 400, "validation_failed"),
        (json!({"token": mail["code"], "type": "email"}), 400, "validation_failed"),
        (json!({"phone": "49123", "token": "123456", "type": "sms"}), 422, "phone_provider_disabled"),
    ] {
        refused(&verify(body), status, code);
    }
    let reply = verify(by_code(&mail["code"]));
    assert_eq!((reply.status, &reply.json()["user"]["email"]), (200, &json!("ada@example.org")), "{reply:?}");
    assert!(reply.json().get("status").is_none() && reply.json()["refresh_token"].is_string());
    refused(&verify(by_code(&mail["code"])), 403, "otp_expired");

    let mail = ask();
    let reply = verify(by_link(&mail));
    assert!(reply.status == 200 && reply.json().get("redirect_to").is_none(), "{reply:?}");
    assert_eq!(reply.header("sb-auth-user-id"), reply.json()["user"]["id"]);
    refused(&verify(by_link(&mail)), 403, "otp_expired");
}

/// The request that brought a challenge gets a code for its verifier, in the query, and never a token.
#[test]
fn a_challenge_gets_a_code() {
    let database = database();
    let sidecar = Sidecar::start(&database, &[]);
    let verifier = "a-verifier-that-is-long-enough-for-rfc-7636-to-be-happy";
    let challenge = URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes()));
    let ask = |challenge: &str| {
        let body = json!({"email": "ada@example.org", "code_challenge": challenge, "code_challenge_method": "s256"});
        let path = format!("/otp?redirect_to={}", ALLOWED.replace(':', "%3A").replace('/', "%2F"));
        assert_eq!(sidecar.post(&path).json(&body).send().status, 200);
        let (url, pairs) = location(&press(&sidecar, &mailed(&database, "ada@example.org")));
        assert_eq!((url.as_str(), pairs.len()), (ALLOWED, 1));
        pairs["code"].clone()
    };
    let exchange = |code: &str, verifier: &str| {
        let body = json!({"auth_code": code, "code_verifier": verifier});
        sidecar.post("/token?grant_type=pkce").json(&body).send()
    };
    let code = ask(&challenge);
    let reply = exchange(&code, verifier);
    assert_eq!((reply.status, &reply.json()["user"]["email"]), (200, &json!("ada@example.org")), "{reply:?}");
    refused(&exchange(&code, verifier), 404, "flow_state_not_found");
    refused(&exchange(&ask(&challenge), &verifier.replace('a', "b")), 400, "bad_code_verifier");
    refused(&exchange("nonsense", verifier), 404, "flow_state_not_found");
    for verifier in ["", "null"] {
        let body = json!({"auth_code": ask(&challenge), "code_verifier": (verifier != "null").then_some(verifier)});
        refused(&sidecar.post("/token?grant_type=pkce").json(&body).send(), 400, "bad_code_verifier");
    }
}

/// With implicit_flow off an invitation ends in a code too, which no challenge belongs to: it is exchanged without a verifier, and
/// with none but that.
#[test]
fn an_invitation_gets_a_code_without_a_challenge() {
    let database = database();
    database.admin().execute("select auth.configure($1)", &[&json!({"implicit_flow": false})]).unwrap();
    let key: String =
        database.admin().query_one("select auth.create_key('service_role') ->> 'key'", &[]).unwrap().get(0);
    let sidecar = Sidecar::start(&database, &[]);
    let exchange = |body: Value| sidecar.post("/token?grant_type=pkce").json(&body).send();
    for (email, rest) in [
        ("ada@example.org", json!({})),
        ("eve@example.org", json!({"code_verifier": ""})),
        ("bob@example.org", json!({"code_verifier": null})),
    ] {
        let invited = sidecar.post("/invite").bearer(&key).json(&json!({"email": email})).send();
        assert_eq!(invited.status, 200, "{invited:?}");
        let (_, pairs) = location(&press(&sidecar, &mailed(&database, email)));
        assert_eq!(pairs.len(), 1, "{pairs:?}");
        let mut body =
            json!({"auth_code": pairs["code"], "code_verifier": "a-verifier-that-nobody-asked-for-at-all-ever"});
        refused(&exchange(body.clone()), 400, "bad_code_verifier");
        body.as_object_mut().unwrap().remove("code_verifier");
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let reply = exchange(body);
        assert_eq!((reply.status, &reply.json()["user"]["email"]), (200, &json!(email)), "{reply:?}");
    }
}

/// XG2, XG3, XG4, XG5, XG15: nothing that a request says becomes a Location but what SQL allows, in requests for mails and in errors;
/// Referer counts for nothing.
#[test]
fn redirects_lead_where_they_may() {
    let database = database();
    let sidecar = Sidecar::start(&database, &[]);
    let encode = |url: &str| -> String { url.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    for url in [
        "https://evil.example",
        "https://app.example.com.evil.example/",
        "https://app.example.com@evil.example/",
        "https://app.example.com%2f@evil.example/",
        "https://app.example.com:443@evil.example/",
        "https://app.example.com\\@evil.example/",
        "https://app.example.com:8443/",
        "https://appaexample.com/",
        "https://x.app.example.com/",
        "http://app.example.com/",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://other.example.com/callback/../evil",
        "https://other.example.com/callback.evil",
        "https://other.example.com/",
        "https://app.example.com\r\nset-cookie: a=b",
    ] {
        let query = encode(url);
        for path in ["/otp", "/recover", "/resend", "/magiclink"] {
            let body = json!({"email": "ada@example.org", "type": "signup"});
            let reply = sidecar.post(&format!("{path}?redirect_to={query}")).json(&body).send();
            refused(&reply, 400, "redirect_not_allowed");
        }
        let path = format!("/verify?token=nonsense&type=signup&redirect_to={query}");
        let shown = sidecar.get(&path).header("referer", "https://evil.example/").send();
        let form = format!("token=nonsense&type=signup&redirect_to={query}");
        let pressed = sidecar.post("/verify").header("referer", "https://evil.example/");
        let pressed = pressed.body("application/x-www-form-urlencoded", &form).send();
        for reply in [shown, pressed] {
            let (target, _) = location(&reply);
            assert!([SITE.to_owned(), format!("{SITE}/")].contains(&target), "{url}: {target}");
            assert_eq!(reply.header("set-cookie"), "");
        }
    }
    let path = format!("/verify?token=nonsense&type=signup&redirect_to={}", encode(ALLOWED));
    assert_eq!(location(&sidecar.get(&path).send()).0, ALLOWED);
    // Below site_url, but a header holds ASCII only.
    let path = format!("/verify?token=nonsense&type=signup&redirect_to={}", encode(&format!("{SITE}/\u{fc}\u{4e2d}")));
    let (target, pairs) = location(&sidecar.get(&path).send());
    assert!([SITE.to_owned(), format!("{SITE}/")].contains(&target), "{target}");
    assert_eq!(pairs["error_code"], "otp_expired");
}

/// XI1: the names that a request gives the host are in no page, no mail and no redirect.
#[test]
fn hosts_of_requests_are_never_written() {
    let database = database();
    let settings = [("AUTH_EXTERNAL_URL", "https://auth.example.com/auth/v1/")];
    let sidecar = Sidecar::start(&database, &settings);
    let evil = |method: &str, path: &str| {
        let ask = sidecar.ask(method, path).header("host", "evil.example").header("x-forwarded-host", "evil.example");
        ask.header("forwarded", "host=evil.example")
            .header("x-forwarded-proto", "http")
            .header("x-host", "evil.example")
    };
    assert_eq!(evil("POST", "/otp").json(&json!({"email": "ada@example.org"})).send().status, 200);
    let mail = mailed(&database, "ada@example.org");
    assert!(!mail.to_string().contains("evil"), "{mail}");
    let path = format!("/verify?token={}&type={}", text(&mail["token"]), text(&mail["type"]));
    let form = path.trim_start_matches("/verify?");
    let replies = [
        evil("GET", &path).send(),
        evil("POST", "/verify").body("application/x-www-form-urlencoded", form).send(),
        evil("GET", "/verify?token=x&type=signup").send(),
        evil("GET", "/.well-known/openid-configuration").send(),
        evil("GET", "/settings").send(),
    ];
    for reply in &replies {
        assert!(!format!("{reply:?}").contains("evil"), "{reply:?}");
    }
    assert_eq!(replies[3].json()["jwks_uri"], "https://auth.example.com/auth/v1/.well-known/jwks.json");
}

/// XC13, B073: a known address and an unknown one are answered with the same status, body and headers.
#[test]
fn nobody_learns_who_has_an_account() {
    let database = database();
    let sidecar = Sidecar::start(&database, &[]);
    let known = {
        sidecar.post("/signup").json(&json!({"email": "ada@example.org", "password": PASSWORD})).send();
        press(&sidecar, &mailed(&database, "ada@example.org"))
    };
    assert_eq!(known.status, 303);
    let answers = |path: &str, email: &str| {
        let body = json!({"email": email, "type": "signup", "password": PASSWORD});
        let reply = sidecar.post(path).json(&body).send();
        let headers: Vec<_> = reply
            .headers
            .iter()
            .filter(|(name, _)| !["date", "content-length"].contains(&name.as_str()))
            .cloned()
            .collect();
        (reply.status, headers, reply.body)
    };
    for path in ["/otp", "/magiclink", "/recover", "/resend"] {
        assert_eq!(answers(path, "ada@example.org"), answers(path, "nobody@example.org"), "{path}");
    }
    let shape = |answer: (u16, Vec<(String, String)>, String)| {
        let body: Value = serde_json::from_str(&answer.2).unwrap();
        let members: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
        (answer.0, answer.1, members)
    };
    assert_eq!(shape(answers("/signup", "ada@example.org")), shape(answers("/signup", "new@example.org")));
}

/// Whoever forgot the password sets a new one after the mail; a changed address waits for its mails.
#[test]
fn passwords_and_addresses_change_by_mail() {
    let database = database();
    let settings = json!({"signup_mode": "immediate", "current_password_required": false, "secure_email_change": true});
    database.admin().execute("select auth.configure($1)", &[&settings]).unwrap();
    let sidecar = Sidecar::start(&database, &[]);
    sign_up(&sidecar, "ada@example.org");
    let reply = sidecar.post("/recover").json(&json!({"email": "ada@example.org"})).send();
    assert_eq!((reply.status, reply.body.as_str()), (200, "{}"));
    let mail = mailed(&database, "ada@example.org");
    let body = json!({"email": "ada@example.org", "token": mail["code"], "type": "recovery"});
    let session = sidecar.post("/verify").json(&body).send().json();
    let token = text(&session["access_token"]);
    let reply = sidecar.put("/user").bearer(token).json(&json!({"password": "another horse battery"})).send();
    assert_eq!((reply.status, &reply.json()["email"]), (200, &json!("ada@example.org")), "{reply:?}");
    let sign_in = |password: &str| {
        let body = json!({"email": "ada@example.org", "password": password});
        sidecar.post("/token?grant_type=password").json(&body).send().status
    };
    assert_eq!((sign_in(PASSWORD), sign_in("another horse battery")), (400, 200));
    refused(
        &sidecar.put("/user").bearer(token).json(&json!({"password": "another horse battery"})).send(),
        422,
        "same_password",
    );

    let reply = sidecar.get("/reauthenticate").bearer(token).send();
    assert_eq!((reply.status, reply.body.as_str()), (200, "{}"), "{reply:?}");
    assert_eq!(mailed(&database, "ada@example.org")["type"], "reauthentication");

    // Nothing of it happens where one part is refused.
    let changes = json!({"data": {"name": "Ada"}, "password": "short", "email": "lovelace@example.org"});
    refused(&sidecar.put("/user").bearer(token).json(&changes).send(), 422, "weak_password");
    let user = sidecar.get("/user").bearer(token).send().json();
    assert!(user["user_metadata"].get("name").is_none(), "{user}");
    let waiting = "select count(*) from auth.outbox where kind like 'email_change%'";
    let waiting: i64 = database.superuser().query_one(waiting, &[]).unwrap().get(0);
    assert_eq!(waiting, 0);

    let changes = json!({"data": {"name": "Ada"}, "email": "lovelace@example.org"});
    let reply = sidecar.put("/user").bearer(token).json(&changes).send();
    assert_eq!((reply.status, &reply.json()["email"]), (200, &json!("ada@example.org")), "{reply:?}");
    assert_eq!(reply.json()["user_metadata"]["name"], "Ada");
    let mails = database.sidecar().query("select recipient, payload from auth.claim_outbox(100)", &[]).unwrap();
    let mut answers = Vec::new();
    for row in &mails {
        let mail: Value = row.get(1);
        if mail["type"] == "email_change" {
            let body = json!({"token_hash": mail["token"], "type": "email_change"});
            answers.push(sidecar.post("/verify").json(&body).send());
        }
    }
    assert_eq!(answers.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200, 200], "{answers:?}");
    assert!(text(&answers[0].json()["msg"]).starts_with("Confirmation link accepted"));
    assert_eq!(answers[1].json()["user"]["email"], "lovelace@example.org");
}

/// One request changes the password and the address, whether the current password has to be given or not; a wrong one changes
/// neither.
#[test]
fn a_password_and_an_address_change_together() {
    for (profile, current) in [("default", json!(PASSWORD)), ("supabase", json!(null)), ("supabase", json!(PASSWORD))] {
        let database = Cluster::shared().database().without_limits();
        let required: bool = {
            let mut admin = database.admin();
            admin.execute("select auth.apply_profile($1)", &[&profile]).unwrap();
            let changes = json!({"signup_mode": "immediate"});
            let settings: Value = admin.query_one("select auth.configure($1)", &[&changes]).unwrap().get(0);
            settings["current_password_required"].as_bool().unwrap()
        };
        assert_eq!(required, profile == "default");
        let sidecar = Sidecar::start(&database, &[]);
        let ada = sign_up(&sidecar, "ada@example.org");
        let token = text(&ada["access_token"]);
        let new = "another horse battery";
        let change = |current: &Value| {
            let changes = json!({"email": "lovelace@example.org", "password": new, "current_password": current});
            sidecar.put("/user").bearer(token).json(&changes).send()
        };
        let sign_in = |password: &str| {
            let body = json!({"email": "ada@example.org", "password": password});
            sidecar.post("/token?grant_type=password").json(&body).send().status
        };
        refused(&change(&json!("wrong")), 400, "current_password_invalid");
        assert_eq!((sign_in(PASSWORD), sign_in(new)), (200, 400), "{profile}");
        let reply = change(&current);
        assert_eq!((reply.status, &reply.json()["email"]), (200, &json!("ada@example.org")), "{profile}: {reply:?}");
        assert_eq!((sign_in(PASSWORD), sign_in(new)), (400, 200), "{profile}");
        assert_eq!(mailed(&database, "lovelace@example.org")["type"], "email_change", "{profile}");
    }
}

/// A guest comes in without an address and keeps the account when giving one.
#[test]
fn a_guest_becomes_a_user() {
    let database = database();
    database.admin().execute("select auth.configure($1)", &[&json!({"signup_mode": "immediate"})]).unwrap();
    let sidecar = Sidecar::start(&database, &[]);
    let reply = sidecar.post("/signup").json(&json!({"data": {"name": "Guest"}, "gotrue_meta_security": {}})).send();
    assert_eq!((reply.status, &reply.json()["user"]["is_anonymous"]), (200, &json!(true)), "{reply:?}");
    let guest = reply.json();
    assert_eq!((&guest["user"]["email"], &guest["user"]["user_metadata"]["name"]), (&json!(""), &json!("Guest")));
    let token = text(&guest["access_token"]);
    assert_eq!(sidecar.get("/user").bearer(token).send().json()["id"], guest["user"]["id"]);
    let changes = json!({"email": "ada@example.org", "password": PASSWORD});
    let reply = sidecar.put("/user").bearer(token).json(&changes).send();
    assert_eq!(reply.status, 200, "{reply:?}");
    let body = json!({"email": "ada@example.org", "password": PASSWORD});
    let session = sidecar.post("/token?grant_type=password").json(&body).send().json();
    assert_eq!(session["user"]["id"], guest["user"]["id"]);

    database.admin().execute("select auth.configure($1)", &[&json!({"enable_anonymous": false})]).unwrap();
    refused(&sidecar.post("/signup").json(&json!({})).send(), 422, "anonymous_provider_disabled");
}

/// Forms learn from /settings what is on, from the next request on.
#[test]
fn settings_are_told() {
    let database = database();
    let sidecar = Sidecar::start(&database, &[]);
    let told = |settings: Value| {
        database.admin().execute("select auth.configure($1)", &[&settings]).unwrap();
        sidecar.get("/settings").send().json()
    };
    let on = told(json!({"enable_signup": true, "signup_mode": "immediate", "enable_anonymous": true}));
    assert_eq!((&on["disable_signup"], &on["mailer_autoconfirm"]), (&json!(false), &json!(true)));
    assert_eq!((&on["external"]["email"], &on["external"]["anonymous_users"]), (&json!(true), &json!(true)));
    assert_eq!((&on["external"]["phone"], &on["external"]["google"]), (&json!(false), &json!(false)));
    let off = told(json!({"enable_signup": false, "signup_mode": "confirm", "enable_anonymous": false}));
    assert_eq!((&off["disable_signup"], &off["mailer_autoconfirm"]), (&json!(true), &json!(false)));
    assert_eq!(off["external"]["anonymous_users"], false);
}

/// XE9: an app whose host is no ASCII: the button of a mailed link leads there, by the name that DNS knows it by.
#[test]
fn an_app_with_a_name_in_its_own_script() {
    let database = database();
    database
        .admin()
        .execute("select auth.configure($1)", &[&json!({"site_url": "https://b\u{fc}cher.example/app"})])
        .unwrap();
    let sidecar = Sidecar::start(&database, &[]);
    for target in [None, Some("https://b\u{fc}cher.example/app/done"), Some("https://xn--bcher-kva.example/app/done")] {
        let email = format!("ada{}@example.org", target.map_or(0, str::len));
        let path = target.map_or("/signup".to_owned(), |target| {
            format!("/signup?redirect_to={}", target.replace('\u{fc}', "%C3%BC"))
        });
        let reply = sidecar.post(&path).json(&json!({"email": email, "password": PASSWORD})).send();
        assert_eq!(reply.status, 200, "{reply:?}");
        let mail = mailed(&database, &email);
        let shown = page(&sidecar, &mail);
        assert_eq!(shown.status, 200, "{shown:?}");
        assert!(shown.header("content-security-policy").contains("'self' https://xn--bcher-kva.example;"), "{shown:?}");
        let (url, pairs) = location(&press(&sidecar, &mail));
        let path = if target.is_some() { "/app/done" } else { "/app" };
        assert_eq!(url, format!("https://xn--bcher-kva.example{path}"));
        assert_eq!(pairs["type"], "signup");
    }
}
