//! Passkeys over HTTP: the routes that Supabase's clients call, a real browser, and a verifier of somebody else.

use auth_harness::authenticator::{Algorithm, Authenticator};
use auth_harness::{Cluster, Sidecar, claims, free_port, json, run_node, sign_up};
use serde_json::{Value, json};

use crate::clients_stage::Stage;
use crate::http_accounts::{refused, text};
use crate::passkey::{
    ORIGIN, PASSWORD, finish_registration, finish_sign_in, start_registration, start_sign_in, with_passkeys,
};
use crate::webauthn_factor::{asked, security_key};

/// F066, F067, F068, F070, B013, B014, XH6, XH9: Supabase's client, unmodified, registers a passkey in Chromium, signs in with it, renames
/// and deletes it; an authenticator that verifies nobody gives aal1; a security key is its second factor; another library verifies the same ceremonies.
#[test]
fn in_a_browser() {
    let port = free_port();
    let site = format!("http://localhost:{port}");
    let stage = Stage::new(&json!({"site_url": site, "signup_mode": "immediate", "enable_passkeys": true,
        "mfa_webauthn_enabled": true, "mfa_enforcement": "required"}));
    stage.node_with("tests/clients/passkey.mjs", &[("PORT", port.to_string().as_str())]);
}

/// F066, F067: what the database accepts, @simplewebauthn/server accepts, for each algorithm.
#[test]
fn another_library_agrees() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let mut ceremonies = Vec::new();
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let person = sign_up(&mut app, &format!("{algorithm:?}@example.org"), PASSWORD);
        let mut authenticator = Authenticator::new(algorithm);
        let started = start_registration(&mut app, &person.access_token);
        let made = authenticator.create(&started["options"], ORIGIN).json();
        finish_registration(&mut app, &person.access_token, &started, &made).unwrap();
        let begun = start_sign_in(&mut app, None);
        let signed = authenticator.get(&begun["options"], ORIGIN).json(&authenticator);
        finish_sign_in(&mut app, &begun, &signed).unwrap();
        let mut signed = signed;
        // Level 3 leaves out what is not there; so does the other library's type.
        signed["response"].as_object_mut().unwrap().retain(|_, member| !member.is_null());
        ceremonies.push(json!({
            "algorithm": format!("{algorithm:?}"), "origin": ORIGIN, "rpId": "app.example.org",
            "registration": {"challenge": started["options"]["challenge"], "credential": made},
            "assertion": {"challenge": begun["options"]["challenge"], "credential": signed},
        }));
    }
    run_node("tests/clients/webauthn.mjs", &[("CEREMONIES", &Value::Array(ceremonies).to_string())]);
}

fn sidecar(database: &auth_harness::Database) -> Sidecar {
    Sidecar::start(database, &[])
}

/// F066, F067, F070, F074: the routes, their statuses and their words.
#[test]
fn routes_and_statuses() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let sidecar = sidecar(&database);
    assert_eq!(sidecar.get("/settings").send().json()["passkeys_enabled"], true);
    let person = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let token = &person.access_token;
    for (method, path) in
        [("POST", "/passkeys/registration/options"), ("POST", "/passkeys/registration/verify"), ("GET", "/passkeys")]
    {
        refused(&sidecar.ask(method, path).json(&json!({})).send(), 401, "no_authorization");
    }
    let started = sidecar.post("/passkeys/registration/options").bearer(token).json(&json!({})).send();
    assert_eq!(started.status, 200, "{started:?}");
    let started = started.json();
    let mut authenticator = Authenticator::new(Algorithm::Es256);
    let credential = authenticator.create(&started["options"], ORIGIN).json();
    let finish = json!({"challenge_id": started["challenge_id"], "credential": credential, "friendly_name": "phone"});
    let verify = || sidecar.post("/passkeys/registration/verify").bearer(token);
    refused(&verify().json(&json!({"challenge_id": "x", "credential": {}})).send(), 400, "validation_failed");
    refused(&verify().json(&json!({"challenge_id": started["challenge_id"]})).send(), 400, "validation_failed");
    let made = verify().json(&finish).send();
    assert_eq!(made.status, 200, "{made:?}");
    let made = made.json();
    assert_eq!((&made["friendly_name"], made.get("last_used_at")), (&json!("phone"), None));

    let options = sidecar.post("/passkeys/authentication/options");
    let options = options.json(&json!({"gotrue_meta_security": {}})).send().json();
    assert!(options["expires_at"].is_i64());
    let credential = authenticator.get(&options["options"], ORIGIN).json(&authenticator);
    let finish = json!({"challenge_id": options["challenge_id"], "credential": credential});
    let session = sidecar.post("/passkeys/authentication/verify").json(&finish).send();
    assert_eq!(session.status, 200, "{session:?}");
    let session = session.json();
    assert_eq!((claims(text(&session["access_token"]))["aal"].as_str(), session.get("status")), (Some("aal2"), None));
    let again = sidecar.post("/passkeys/authentication/verify").json(&finish).send();
    refused(&again, 400, "webauthn_challenge_expired");
    let token = text(&session["access_token"]);

    let path = format!("/passkeys/{}", text(&made["id"]));
    let renamed = sidecar.ask("PATCH", &path).bearer(token).json(&json!({"friendly_name": "<b>key</b>"})).send();
    assert_eq!((renamed.status, &renamed.json()["friendly_name"]), (200, &json!("<b>key</b>")));
    assert_eq!(renamed.header("content-type"), "application/json");
    assert_eq!(renamed.header("x-content-type-options"), "nosniff");
    let listed = sidecar.get("/passkeys").bearer(token).send().json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &made["id"]));
    for path in ["/passkeys/x", "/passkeys/00000000-0000-0000-0000-000000000000"] {
        refused(&sidecar.ask("DELETE", path).bearer(token).send(), 404, "webauthn_credential_not_found");
    }
    let of_user = format!("/admin/users/{}/passkeys", person.user_id);
    refused(&sidecar.get(&of_user).bearer(token).send(), 403, "not_admin");
    refused(&sidecar.ask("DELETE", &format!("{of_user}{}", &path[9..])).bearer(token).send(), 403, "not_admin");
    let service = json(&mut database.admin(), "select auth.create_key('service_role')", &[])["key"].clone();
    assert_eq!(sidecar.get(&of_user).bearer(text(&service)).send().json()[0]["id"], made["id"]);
    assert_eq!(sidecar.ask("DELETE", &path).bearer(token).send().status, 204);
    let reply = sidecar.ask("DELETE", &format!("{of_user}{}", &path[9..])).bearer(text(&service)).send();
    refused(&reply, 404, "webauthn_credential_not_found");

    crate::refresh::configure(&database, json!({"enable_passkeys": false}));
    assert_eq!(sidecar.get("/settings").send().json()["passkeys_enabled"], false);
    let off = sidecar.post("/passkeys/authentication/options").json(&json!({})).send();
    refused(&off, 404, "passkey_disabled");
}

/// B013: an account by a passkey over HTTP: the options of the mail are those of /signup, the answer is its too, in each mode; of a
/// taken address as of a free one.
#[test]
fn signing_up() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let sidecar = sidecar(&database);
    let start = |body: Value| sidecar.post("/passkeys/sign-up/options").json(&body).send();
    let finish = |started: &Value, authenticator: &mut Authenticator| {
        let credential = authenticator.create(&started["options"], ORIGIN).json();
        let finish =
            json!({"challenge_id": started["challenge_id"], "credential": credential, "friendly_name": "phone"});
        sidecar.post("/passkeys/sign-up/verify").json(&finish).send()
    };
    refused(&start(json!({})), 400, "validation_failed");
    refused(&start(json!({"email": "no address"})), 400, "email_address_invalid");
    refused(&start(json!({"email": "ada@example.org", "code_challenge": "x"})), 400, "validation_failed");
    let started = start(json!({"email": "ada@example.org", "data": {"name": "Ada"}}));
    assert_eq!((started.status, started.header("cache-control")), (200, "no-store"), "{started:?}");
    let session = finish(&started.json(), &mut Authenticator::new(Algorithm::Es256));
    assert_eq!(session.status, 200, "{session:?}");
    let session = session.json();
    assert_eq!((claims(text(&session["access_token"]))["aal"].as_str(), session.get("status")), (Some("aal2"), None));
    assert_eq!(session["user"]["user_metadata"], json!({"name": "Ada"}));
    let listed = sidecar.get("/passkeys").bearer(text(&session["access_token"])).send().json();
    assert_eq!(listed[0]["friendly_name"], "phone");
    let taken = finish(&start(json!({"email": "ada@example.org"})).json(), &mut Authenticator::new(Algorithm::EdDsa));
    refused(&taken, 422, "email_exists");

    database.superuser().execute("update auth.users set email_confirmed_at = now()", &[]).unwrap();
    crate::refresh::configure(&database, json!({"signup_mode": "confirm", "site_url": "https://app.example.org"}));
    let asked = "/passkeys/sign-up/options?redirect_to=https%3A%2F%2Fapp.example.org%2Fwelcome";
    let mut answers = Vec::new();
    for email in ["bob@example.org", "ada@example.org"] {
        let started = sidecar.post(asked).json(&json!({"email": email})).send().json();
        let reply = finish(&started, &mut Authenticator::new(Algorithm::Es256));
        let user = reply.json();
        assert_eq!((reply.status, &user["email"], user.get("access_token")), (200, &json!(email), None), "{reply:?}");
        answers.push(user.as_object().unwrap().keys().cloned().collect::<Vec<_>>());
    }
    assert_eq!(answers[0], answers[1]);
    let mails = auth_harness::mails(&database);
    assert_eq!(mails[0].payload["redirect_to"], "https://app.example.org/welcome");
    assert_eq!((&*mails[1].kind, &*mails[1].recipient), ("existing_account", "ada@example.org"));

    crate::refresh::configure(&database, json!({"enable_signup": false}));
    refused(&start(json!({"email": "cyd@example.org"})), 422, "signup_disabled");
    crate::refresh::configure(&database, json!({"enable_passkeys": false}));
    refused(&start(json!({"email": "cyd@example.org"})), 404, "passkey_disabled");
}

/// F073: phones find the apps that belong to the site at its root, where some are set.
#[test]
fn files_of_apps() {
    let database = with_passkeys(Cluster::shared());
    let paths = ["/.well-known/assetlinks.json", "/.well-known/apple-app-site-association"];
    let without = sidecar(&database);
    for path in paths {
        assert_eq!(without.get(path).send().status, 404);
    }
    let android = r#"[{package="org.example.app", fingerprints=["14:6D:E9:83"]}]"#;
    let settings = [("AUTH_APPS__ANDROID", android), ("AUTH_APPS__APPLE", r#"["ABCDE12345.org.example.app"]"#)];
    let with = Sidecar::start(&database, &settings);
    let replies = paths.map(|path| with.get(path).send());
    assert!(replies.iter().all(|reply| (reply.status, reply.header("content-type")) == (200, "application/json")));
    let [links, association] = replies.map(|reply| reply.json());
    assert_eq!(links[0]["target"]["package_name"], "org.example.app");
    assert_eq!(links[0]["target"]["sha256_cert_fingerprints"], json!(["14:6D:E9:83"]));
    assert!(links[0]["relation"].as_array().unwrap().contains(&json!("delegate_permission/common.get_login_creds")));
    assert_eq!(association, json!({"webcredentials": {"apps": ["ABCDE12345.org.example.app"]}}));
}

/// B014: the routes of a security key as a factor, their statuses and words; what the body says of the site counts for nothing.
#[test]
fn a_security_key_over_http() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let sidecar = sidecar(&database);
    assert_eq!(sidecar.get("/settings").send().json()["mfa_webauthn_enabled"], true);
    let person = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let enroll = |token: &str, body: Value| sidecar.post("/factors").bearer(token).json(&body).send();
    let enrolled = enroll(&person.access_token, json!({"factor_type": "webauthn"})).json();
    assert_eq!(
        (&enrolled["type"], &enrolled["friendly_name"], enrolled.as_object().unwrap().len()),
        (&json!("webauthn"), &json!("Security key"), 3)
    );
    let path = format!("/factors/{}", text(&enrolled["id"]));
    let challenge = |token: &str| sidecar.post(&format!("{path}/challenge")).bearer(token).json(&json!({})).send();
    let verify = |token: &str, body: Value| sidecar.post(&format!("{path}/verify")).bearer(token).json(&body).send();
    let mut key = security_key();
    let asked_for = challenge(&person.access_token).json();
    assert_eq!((&asked_for["type"], asked_for.as_object().unwrap().len()), (&json!("webauthn"), 4));
    let made = key.create(asked(&asked_for, "create"), ORIGIN).json();
    let site = json!({"rpId": "evil.test", "rpOrigins": ["https://evil.test"], "type": "request"});
    let body = |challenge: &Value, credential: &Value| {
        let mut webauthn = site.clone();
        webauthn["credential_response"] = credential.clone();
        json!({"challenge_id": challenge["id"], "webauthn": webauthn})
    };
    let evil = key.create(asked(&asked_for, "create"), "https://evil.test").json();
    refused(&verify(&person.access_token, body(&asked_for, &evil)), 422, "mfa_verification_failed");
    refused(&verify(&person.access_token, body(&asked_for, &made)), 400, "webauthn_challenge_expired");
    for wrong in [json!({"challenge_id": asked_for["id"]}), json!({"challenge_id": asked_for["id"], "webauthn": {}})] {
        refused(&verify(&person.access_token, wrong), 400, "validation_failed");
    }
    let asked_for = challenge(&person.access_token).json();
    let made = key.create(asked(&asked_for, "create"), ORIGIN).json();
    let session = verify(&person.access_token, body(&asked_for, &made));
    assert_eq!(session.status, 200, "{session:?}");
    let session = session.json();
    let token = text(&session["access_token"]);
    assert_eq!((claims(token)["aal"].as_str(), session.get("recovery_codes")), (Some("aal2"), None));
    assert_eq!(session["user"]["factors"][0]["factor_type"], "webauthn");
    refused(&verify(token, body(&asked_for, &made)), 422, "mfa_challenge_expired");
    let asked_for = challenge(token).json();
    let signed = key.get(asked(&asked_for, "request"), ORIGIN).json(&key);
    assert_eq!(verify(token, body(&asked_for, &signed)).status, 200);
    crate::refresh::configure(&database, json!({"mfa_webauthn_enabled": false}));
    assert_eq!(sidecar.get("/settings").send().json()["mfa_webauthn_enabled"], false);
}
