//! Paths of other services, for programs written for those.

use auth_harness::{Cluster, Sidecar, claims};
use serde_json::{Value, json};

use crate::http_accounts::{PASSWORD, refused, sign_up, text};
use crate::http_mfa::enroll;

/// F020, F266: with the flag, urBackend's paths and spelling, `token` and `accessToken` alike; without it, nothing.
#[test]
fn urbackends_paths() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[("AUTH_COMPAT__URBACKEND", "true")]);
    let path = |path: &str| format!("/api/userAuth/{path}");
    let same = |body: &Value| {
        assert!(
            body["token"].is_string() && body["token"] == body["accessToken"] && body["refreshToken"].is_string(),
            "{body}"
        );
    };
    let account = json!({"email": "ada@example.org", "password": PASSWORD, "username": "ada"});
    let made = sidecar.post(&path("signup")).json(&account).send();
    assert_eq!((made.status, &made.json()["user"]["user_metadata"]["username"]), (201, &json!("ada")), "{made:?}");
    same(&made.json());
    let body =
        sidecar.post(&path("login")).json(&json!({"email": "ada@example.org", "password": PASSWORD})).send().json();
    same(&body);
    refused(
        &sidecar.post(&path("login")).json(&json!({"email": "ada@example.org", "password": "x"})).send(),
        400,
        "invalid_credentials",
    );
    let again = sidecar.post(&path("refresh-token")).json(&json!({"refreshToken": body["refreshToken"]})).send().json();
    same(&again);
    let by_header =
        sidecar.post(&path("refresh-token")).header("x-refresh-token", text(&again["refreshToken"])).json(&json!({}));
    let token = text(&by_header.send().json()["token"]).to_owned();
    assert_eq!(sidecar.get(&path("me")).bearer(&token).send().json()["email"], "ada@example.org");
    refused(&sidecar.get(&path("me")).send(), 401, "no_authorization");
    assert_eq!(sidecar.post(&path("logout")).bearer(&token).send().status, 200);
    refused(&sidecar.get(&path("me")).bearer(&token).send(), 403, "session_not_found");

    let off = Sidecar::start(&database, &[]);
    assert_eq!(off.post(&path("login")).json(&json!({})).send().status, 404);
    let plain = off.post("/token?grant_type=password").json(&json!({"email": "ada@example.org", "password": PASSWORD}));
    let plain = plain.send().json();
    assert!(plain.get("token").is_none() && plain.get("accessToken").is_none());
}

/// F267: nSelf's login and its protected route.
#[test]
fn nselfs_paths() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[("AUTH_COMPAT__NSELF", "true")]);
    sidecar.post("/signup").json(&json!({"email": "ada@example.org", "password": PASSWORD})).send();
    let login = |password: &str| {
        sidecar.post("/auth/login").json(&json!({"email": "ada@example.org", "password": password})).send()
    };
    let reply = login(PASSWORD);
    let body = reply.json();
    assert!(reply.status == 200 && body["refreshToken"].is_string() && body["user"]["email"] == "ada@example.org");
    refused(&login("wrong"), 401, "invalid_credentials");
    let protected = || sidecar.get("/auth/protected");
    assert_eq!(protected().send().status, 401);
    assert_eq!(protected().bearer("garbage").send().status, 401);
    assert_eq!(protected().bearer(text(&body["accessToken"])).send().status, 200);
    assert_eq!(Sidecar::start(&database, &[]).get("/auth/protected").send().status, 404);
}

/// F132, F133: where the source answers `requires_2fa` and a challenge, there is no session before it is met; the code meets it once, and
/// a token of the first step that was had elsewhere is nobody's here.
#[test]
fn the_second_step_of_other_services() {
    let database = Cluster::shared().database().without_limits();
    let sidecar = Sidecar::start(&database, &[("AUTH_COMPAT__NSELF", "true"), ("AUTH_COMPAT__URBACKEND", "true")]);
    let ada = enroll(&sidecar, &sign_up(&sidecar, "ada@example.org"));
    let body = json!({"email": "ada@example.org", "password": PASSWORD});
    let mut token = String::new();
    for path in ["/api/userAuth/login", "/auth/login"] {
        let reply = sidecar.post(path).json(&body).send();
        assert_eq!((reply.status, &reply.json()["requires_2fa"]), (200, &json!(true)), "{reply:?}");
        assert_eq!(reply.json()["factors"][0]["id"], json!(ada.factor_id));
        assert!(!reply.body.contains("eyJ") && reply.json().get("accessToken").is_none(), "no token: {reply:?}");
        text(&reply.json()["challenge_token"]).clone_into(&mut token);
    }
    let verify =
        |code: &str| sidecar.post("/auth/2fa/verify").json(&json!({"challenge_token": token, "code": code})).send();
    refused(&verify(&ada.app.wrong()), 422, "mfa_verification_failed");
    let done = verify(&ada.app.code()).json();
    assert_eq!(claims(text(&done["accessToken"]))["aal"], "aal2");
    assert_eq!(sidecar.get("/auth/protected").bearer(text(&done["accessToken"])).send().status, 200);
    refused(&verify(&ada.app.code_at(1)), 422, "mfa_challenge_expired");
    let waiting = sidecar.post("/token?grant_type=password").json(&body).send().json();
    for path in ["/auth/protected", "/api/userAuth/me"] {
        refused(&sidecar.get(path).bearer(text(&waiting["access_token"])).send(), 401, "no_authorization");
    }
}
