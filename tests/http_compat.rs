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
