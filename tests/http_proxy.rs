//! Reverse proxies: whose request it is, and where it comes from.

use auth_harness::{Cluster, Sidecar, claims};
use serde_json::json;

use crate::admin::service;
use crate::http_accounts::{PASSWORD, refused, sign_up, text};

/// F183, F194, F271, B097: the answer names the user for a good token, whatever method the proxy uses and whatever the client
/// wrote under these names; nobody, a forged token, an ended session and a key of a program are 401. An address that was not
/// proved is not told.
#[test]
fn forward_auth_names_the_user() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let ada = sign_up(&sidecar, "ada@example.org");
    let token = text(&ada["access_token"]);
    let unproved = sidecar.get("/forward-auth").bearer(token).header("x-user-email", "forged@example.org").send();
    assert_eq!((unproved.status, unproved.header("x-user-id")), (200, text(&ada["user"]["id"])));
    assert_eq!(unproved.header("x-user-email"), "");
    database.superuser().batch_execute("update auth.users set email_confirmed_at = now()").unwrap();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let ask = sidecar.ask(method, "/forward-auth").bearer(token);
        let reply = ask.header("x-user-id", "forged").header("x-user-email", "forged@example.org").send();
        assert_eq!((reply.status, reply.header("x-user-id")), (200, text(&ada["user"]["id"])), "{method}");
        assert_eq!(reply.header("x-user-email"), "ada@example.org");
        assert_eq!(reply.headers.iter().filter(|(name, _)| name.starts_with("x-user")).count(), 2);
    }
    let key: String =
        database.admin().query_one("select auth.create_key('service_role') ->> 'key'", &[]).unwrap().get(0);
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    let ask = || sidecar.get("/forward-auth").header("x-user-id", "forged");
    let mut replies = vec![ask().send(), ask().bearer(&forged).send(), ask().bearer(&key).send()];
    sidecar.post("/logout").bearer(token).send();
    replies.push(ask().bearer(token).send());
    for reply in replies {
        assert_eq!((reply.status, reply.header("x-user-id")), (401, ""), "{reply:?}");
    }
}

/// A sign-in that waits for a new password is nobody's yet, for proxies and for programs that verify tokens.
#[test]
fn an_unfinished_sign_in_is_nobody() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let ada = sign_up(&sidecar, "ada@example.org");
    let mut superuser = database.superuser();
    superuser.batch_execute("update auth.users set email_confirmed_at = now()").unwrap();
    let sql = "select auth.admin_update_user($1::text::uuid, '{\"must_change_password\": true}')";
    service(&database).execute(sql, &[&text(&ada["user"]["id"])]).unwrap();
    let body = json!({"email": "ada@example.org", "password": PASSWORD});
    let restricted = sidecar.post("/token?grant_type=password").json(&body).send().json();
    let token = text(&restricted["access_token"]);
    assert_eq!(claims(token)["token_type"], "restricted");
    let reply = sidecar.get("/forward-auth").bearer(token).send();
    refused(&reply, 401, "no_authorization");
    assert_eq!((reply.header("x-user-id"), reply.header("x-user-email")), ("", ""));
    refused(&sidecar.get("/verify-token").bearer(token).send(), 401, "bad_jwt");
}

/// F175: a good token is answered with its claims, a tampered one with 401.
#[test]
fn tokens_are_verified_for_others() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let ada = sign_up(&sidecar, "ada@example.org");
    let token = text(&ada["access_token"]);
    let reply = sidecar.get("/auth/v1/verify-token").bearer(token).send();
    assert_eq!((reply.status, &reply.json()["sub"]), (200, &ada["user"]["id"]));
    for tampered in [format!("{}AAAA", &token[..token.len() - 4]), token.replacen('.', ".A", 1), "x".into()] {
        refused(&sidecar.get("/verify-token").bearer(&tampered).send(), 401, "bad_jwt");
    }
    refused(&sidecar.get("/verify-token").send(), 401, "no_authorization");
}

/// F194: the keys that other programs verify with are the ones that tokens are signed with, and none is a secret.
#[test]
fn keys_are_published() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let ada = sign_up(&sidecar, "ada@example.org");
    let keys = sidecar.get("/.well-known/jwks.json").send();
    assert_eq!((keys.status, keys.header("cache-control")), (200, "public, max-age=600"));
    let keys = keys.json();
    let keys = keys["keys"].as_array().unwrap();
    assert!(!keys.is_empty() && keys.iter().all(|key| key.get("d").is_none() && key.get("k").is_none()));
    let header = text(&ada["access_token"]).split('.').next().unwrap().to_owned();
    let kid = auth_harness::claims(&format!("x.{header}.x"))["kid"].clone();
    assert!(keys.iter().any(|key| key["kid"] == kid));
}

/// XC8: the address that limits and audit see is the connection's, or what a trusted proxy added last. Rotating the header
/// from elsewhere changes nothing.
#[test]
fn only_trusted_proxies_say_where_from() {
    let database = Cluster::shared().database().without_limits();
    let untrusting = Sidecar::start(&database, &[]);
    let trusting = Sidecar::start(&database, &[("AUTH_HTTP__TRUSTED_PROXIES", r#"["127.0.0.0/8", "10.0.0.0/8"]"#)]);
    sign_up(&untrusting, "ada@example.org");
    let mut superuser = database.superuser();
    let mut seen = |sidecar: &Sidecar, header: &str| -> String {
        let ask = sidecar.post("/token?grant_type=password").header("x-forwarded-for", header);
        let reply = ask.json(&json!({"email": "ada@example.org", "password": PASSWORD})).send();
        assert_eq!(reply.status, 200, "{reply:?}");
        let sql = "select host(ip) from auth.sessions order by created_at desc limit 1";
        superuser.query_one(sql, &[]).unwrap().get(0)
    };
    for header in ["203.0.113.1", "203.0.113.2, 203.0.113.3", "garbage", "127.0.0.2"] {
        assert_eq!(seen(&untrusting, header), "127.0.0.1", "{header}");
    }
    for (header, expected) in [
        ("203.0.113.1", "203.0.113.1"),
        ("198.51.100.1, 203.0.113.1", "203.0.113.1"),
        ("198.51.100.1, 203.0.113.1, 10.0.0.7", "203.0.113.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("garbage", "127.0.0.1"),
        ("203.0.113.1, garbage", "127.0.0.1"),
        ("garbage, 203.0.113.1", "203.0.113.1"),
    ] {
        assert_eq!(seen(&trusting, header), expected, "{header}");
    }
}
