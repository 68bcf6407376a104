//! The main job over HTTP: sign up, sign in, go on, look, change, sign out.

use auth_harness::{Cluster, Reply, Sidecar, claims};
use serde_json::{Value, json};

pub const PASSWORD: &str = "correct horse battery";

/// Signs up and gives the session.
#[track_caller]
pub fn sign_up(sidecar: &Sidecar, email: &str) -> Value {
    let reply = sidecar.post("/signup").json(&json!({"email": email, "password": PASSWORD})).send();
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

#[track_caller]
pub fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code()), (status, code), "{reply:?}");
}

/// F265, F161: sign-up, sign-in, refresh, reading, changing and signing out, at `/` and at `/auth/v1`, with bodies of the shape
/// that Supabase's clients read.
#[test]
fn an_account_lives_over_http() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    for (prefix, email) in [("", "ada@example.org"), ("/auth/v1", "eve@example.org")] {
        let path = |path: &str| format!("{prefix}{path}");
        let data = json!({"name": "Ada"});
        let body = json!({"email": email, "password": PASSWORD, "data": data, "gotrue_meta_security": {},
            "code_challenge": null, "code_challenge_method": null});
        let reply = sidecar.post(&path("/signup")).json(&body).send();
        assert_eq!(reply.status, 200, "{reply:?}");
        session(&reply, email);
        assert_eq!(reply.json()["user"]["user_metadata"]["name"], "Ada");

        let credentials = json!({"email": email, "password": PASSWORD, "gotrue_meta_security": {}});
        let reply = sidecar.post(&path("/token?grant_type=password")).json(&credentials).send();
        let first = session(&reply, email);

        let body = json!({"refresh_token": first["refresh_token"]});
        let reply = sidecar.post(&path("/token?grant_type=refresh_token")).json(&body).send();
        let second = session(&reply, email);
        assert_ne!(second["refresh_token"], first["refresh_token"]);
        assert_eq!(reply.header("sb-auth-session-id"), claims(text(&first["access_token"]))["session_id"]);

        let token = text(&second["access_token"]);
        let user = sidecar.get(&path("/user")).bearer(token).send();
        assert_eq!((user.status, &user.json()["email"]), (200, &json!(email)));
        assert_eq!((&user.json()["phone"], &user.json()["role"]), (&json!(""), &json!("authenticated")));

        let changed = sidecar.put(&path("/user")).bearer(token).json(&json!({"data": {"name": "Augusta"}})).send();
        assert_eq!((changed.status, &changed.json()["user_metadata"]["name"]), (200, &json!("Augusta")));

        let out = sidecar.post(&path("/logout?scope=global")).bearer(token).send();
        assert_eq!((out.status, out.body.as_str()), (204, ""));
        refused(&sidecar.get(&path("/user")).bearer(token).send(), 403, "session_not_found");
    }
}

#[track_caller]
fn session(reply: &Reply, email: &str) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    let session = reply.json();
    let mut members: Vec<_> = session.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["access_token", "expires_at", "expires_in", "refresh_token", "token_type", "user"]);
    assert_eq!((&session["token_type"], &session["user"]["email"]), (&json!("bearer"), &json!(email)));
    assert!(session["expires_in"].is_i64() && session["expires_at"].is_i64());
    assert_eq!(reply.header("sb-auth-user-id"), session["user"]["id"]);
    session
}

/// Who is refused, with the status and the word that Supabase's clients act on. A wrong password and an unknown address
/// answer the same bytes.
#[test]
fn refusals_have_supabases_statuses() {
    let database = Cluster::shared().database().without_limits();
    let sidecar = Sidecar::start(&database, &[]);
    let ada = sign_up(&sidecar, "ada@example.org");
    let spent = json!({"refresh_token": ada["refresh_token"]});
    sidecar.post("/token?grant_type=refresh_token").json(&spent).send();
    let fresh = sidecar.post("/token?grant_type=password");
    let fresh = fresh.json(&json!({"email": "ada@example.org", "password": PASSWORD})).send().json();
    let token = text(&fresh["access_token"]).to_owned();
    let forged = format!("{}x", &token[..token.len() - 4]);

    let check = |method: &str, path: &str, bearer: &str, body: Value, status: u16, code: &str| {
        let mut ask = sidecar.ask(method, path);
        if !bearer.is_empty() {
            ask = ask.bearer(bearer);
        }
        if method != "GET" {
            ask = ask.json(&body);
        }
        refused(&ask.send(), status, code);
    };
    for (method, path, bearer, body, status, code) in [
        (
            "POST",
            "/token?grant_type=password",
            "",
            json!({"email": "ada@example.org", "password": "wrong"}),
            400,
            "invalid_credentials",
        ),
        (
            "POST",
            "/token?grant_type=password",
            "",
            json!({"email": "no@example.org", "password": "wrong"}),
            400,
            "invalid_credentials",
        ),
        ("POST", "/token?grant_type=password", "", json!({"email": "ada@example.org"}), 400, "invalid_credentials"),
        ("POST", "/token?grant_type=password", "", json!({}), 400, "validation_failed"),
        (
            "POST",
            "/token?grant_type=password",
            "",
            json!({"phone": "49123", "password": "x"}),
            422,
            "phone_provider_disabled",
        ),
        (
            "POST",
            "/token?grant_type=refresh_token",
            "",
            json!({"refresh_token": "nonsense"}),
            400,
            "refresh_token_not_found",
        ),
        ("POST", "/token?grant_type=refresh_token", "", json!({}), 400, "validation_failed"),
        ("POST", "/token?grant_type=pkce", "", json!({"code_verifier": "x"}), 400, "validation_failed"),
        ("POST", "/token?grant_type=pkce", "", json!({"auth_code": "x"}), 404, "flow_state_not_found"),
        ("POST", "/token?grant_type=web3", "", json!({}), 400, "validation_failed"),
        ("POST", "/token", "", json!({}), 400, "validation_failed"),
        ("POST", "/signup", "", json!({"email": "ada@example.org", "password": PASSWORD}), 422, "email_exists"),
        ("POST", "/signup", "", json!({"email": "no address", "password": PASSWORD}), 400, "email_address_invalid"),
        ("POST", "/signup", "", json!({"email": "new@example.org", "password": "short"}), 422, "weak_password"),
        ("POST", "/signup", "", json!({"email": "new@example.org"}), 400, "validation_failed"),
        ("POST", "/signup", "", json!({"phone": "49123", "password": PASSWORD}), 422, "phone_provider_disabled"),
        ("GET", "/user", "", json!(null), 401, "no_authorization"),
        ("GET", "/user", &forged, json!(null), 403, "bad_jwt"),
        ("GET", "/user", "garbage", json!(null), 403, "bad_jwt"),
        ("PUT", "/user", "", json!({"data": {}}), 401, "no_authorization"),
        ("POST", "/logout", "", json!({}), 401, "no_authorization"),
        ("POST", "/logout?scope=everywhere", &token, json!({}), 400, "validation_failed"),
        ("GET", "/nowhere", "", json!(null), 404, "validation_failed"),
        ("DELETE", "/signup", "", json!({}), 405, "validation_failed"),
    ] {
        check(method, path, bearer, body, status, code);
    }
    let wrong = |email: &str| {
        let ask = sidecar.post("/token?grant_type=password").new_errors();
        ask.json(&json!({"email": email, "password": "wrong wrong"})).send().body
    };
    assert_eq!(wrong("ada@example.org"), wrong("nobody@example.org"));
}

/// F176: exactly one `Authorization: Bearer x`; anything else is nobody. A token that is also the apikey is the project's.
#[test]
fn only_a_bearer_is_a_bearer() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let ada = sign_up(&sidecar, "ada@example.org");
    let token = text(&ada["access_token"]);
    let user = || sidecar.get("/user");
    assert_eq!(user().bearer(token).send().status, 200);
    assert_eq!(user().header("authorization", &format!("bearer {token}")).send().status, 200);
    assert_eq!(user().bearer(token).header("apikey", "some other key").send().status, 200);
    for ask in [
        user(),
        user().header("authorization", token),
        user().header("authorization", &format!("Basic {token}")),
        user().header("authorization", &format!("Bearer {token} {token}")),
        user().header("authorization", &format!("Bearer  {token}")),
        user().header("authorization", "Bearer "),
        user().bearer(token).bearer(token),
        user().bearer(token).header("apikey", token),
        user().header("cookie", &format!("access_token={token}")),
        sidecar.get(&format!("/user?access_token={token}")),
    ] {
        refused(&ask.send(), 401, "no_authorization");
    }
}

/// Old clients and new ones read the same refusal, each in its form; the version is said back, or newer clients do not look.
#[test]
fn errors_come_in_both_forms() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let weak = || sidecar.post("/signup").json(&json!({"email": "ada@example.org", "password": "short"}));

    let old = weak().send();
    assert_eq!((&old.json()["code"], &old.json()["error_code"]), (&json!(422), &json!("weak_password")));
    assert!(old.json()["msg"].is_string() && old.header("x-supabase-api-version").is_empty());
    let new = weak().new_errors().send();
    assert_eq!((new.status, &new.json()["code"]), (422, &json!("weak_password")));
    assert_eq!(new.header("x-supabase-api-version"), "2024-01-01");
    assert_eq!(new.json()["weak_password"]["reasons"], json!(["length"]));
    assert!(new.json()["message"].is_string());
    for version in ["2023-12-31", "soon", ""] {
        let reply = weak().header("x-supabase-api-version", version).send();
        assert!(reply.json()["msg"].is_string(), "{version:?}: {reply:?}");
    }
}

/// XC7: what the database limits is limited here too, with the time to wait in the header that HTTP has for it.
#[test]
fn guessing_ends_with_retry_after() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    sign_up(&sidecar, "ada@example.org");
    let guess = || {
        let ask = sidecar.post("/token?grant_type=password");
        ask.json(&json!({"email": "ada@example.org", "password": "wrong wrong"})).send()
    };
    let limited = (0..200).map(|_| guess()).find(|reply| reply.status != 400).expect("200 guesses are refused");
    assert_eq!(limited.status, 429, "{limited:?}");
    assert!(["account_locked", "over_request_rate_limit"].contains(&limited.code()), "{limited:?}");
    assert!(limited.header("retry-after").parse::<u64>().unwrap() > 0);
}

/// What a hook of the application refuses, it refuses in its own words.
#[test]
fn a_hook_refuses_in_its_own_words() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let mut superuser = database.superuser();
    superuser
        .batch_execute(
            "create schema shop;
            grant create, usage on schema shop to admin;
            set role admin;
            create function shop.refuse(event jsonb) returns jsonb language plpgsql as $$
            begin raise 'a name is needed' using errcode = '22023', detail = 'name_missing'; end $$;
            reset role;
            grant usage on schema shop to auth_owner; grant execute on function shop.refuse(jsonb) to auth_owner;",
        )
        .unwrap();
    database.admin().execute("select auth.add_hook('before_user_created', 'shop.refuse')", &[]).unwrap();
    let reply = sidecar.post("/signup").json(&json!({"email": "ada@example.org", "password": PASSWORD})).send();
    refused(&reply, 422, "name_missing");
    assert_eq!(reply.json()["msg"], "a name is needed");
}
