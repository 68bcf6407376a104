//! Cookie mode: the refresh token where scripts cannot read it.

use auth_harness::{Ask, Cluster, Reply, Sidecar};
use serde_json::{Value, json};

use crate::http_accounts::{PASSWORD, refused, sign_up, text};

const APP: &str = "https://app.example.com";
const NAME: &str = "auth-refresh-token";
const SETTINGS: [(&str, &str); 3] = [
    ("AUTH_COOKIE__ENABLED", "true"),
    ("AUTH_CORS__ORIGINS", r#"["https://app.example.com"]"#),
    ("AUTH_COOKIE__SHARED_DOMAINS", r#"["example.com", "example.localhost"]"#),
];

/// The value of the cookie that was set and its attributes.
#[track_caller]
fn cookie(reply: &Reply) -> (String, Vec<String>) {
    let mut parts = reply.header("set-cookie").split("; ").map(str::to_owned);
    let first = parts.next().unwrap();
    let (name, value) = first.split_once('=').unwrap_or_else(|| panic!("no cookie in {reply:?}"));
    assert_eq!(name, NAME);
    (value.to_owned(), parts.collect())
}

fn sign_in(sidecar: &Sidecar) -> Ask {
    let credentials = json!({"email": "ada@example.org", "password": PASSWORD});
    sidecar.post("/token?grant_type=password").header("origin", APP).json(&credentials)
}

fn refresh(sidecar: &Sidecar, body: &Value) -> Ask {
    sidecar.post("/token?grant_type=refresh_token").header("origin", APP).json(body)
}

/// F152, F154: asked for by header, the refresh token is in the cookie and not in the body, goes on from there, and is gone
/// after sign-out. Without the header, or with the mode off, it is in the body as ever.
#[test]
fn the_refresh_token_stays_in_the_cookie() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &SETTINGS);
    sign_up(&sidecar, "ada@example.org");

    let plain = sign_in(&sidecar).send();
    assert!(plain.json()["refresh_token"].is_string() && plain.header("set-cookie").is_empty());

    let reply = sign_in(&sidecar).header("x-use-cookie", "true").send();
    assert_eq!((reply.status, &reply.json()["refresh_token"]), (200, &Value::Null));
    assert!(reply.json().get("refresh_token").is_none() && reply.json()["access_token"].is_string());
    let (token, attributes) = cookie(&reply);
    assert_eq!(attributes, ["Path=/", "Max-Age=2592000", "HttpOnly", "SameSite=Strict", "Secure"]);

    // What came by cookie goes back by cookie, asked for or not: a script could otherwise read it.
    let reply = refresh(&sidecar, &json!({})).header("cookie", &format!("a=b; {NAME}={token}")).send();
    assert_eq!((reply.status, reply.json().get("refresh_token")), (200, None));
    let (next, _) = cookie(&reply);
    assert_ne!(next, token);

    let session = reply.json();
    let out = sidecar.post("/logout").header("origin", APP).header("cookie", &format!("{NAME}={next}"));
    let out = out.bearer(text(&session["access_token"])).send();
    assert_eq!((out.status, cookie(&out).0.as_str()), (204, ""));
    assert!(cookie(&out).1.contains(&"Max-Age=0".to_owned()));
    let over = refresh(&sidecar, &json!({})).header("cookie", &format!("{NAME}={next}")).send();
    assert_eq!((over.status, cookie(&over).0.as_str()), (if over.status == 403 { 403 } else { 400 }, ""));

    let off = Sidecar::start(&database, &[]);
    let reply = sign_in(&off).header("x-use-cookie", "true").send();
    assert!(reply.json()["refresh_token"].is_string() && reply.header("set-cookie").is_empty());
    let token = text(&reply.json()["refresh_token"]).to_owned();
    refused(&refresh(&off, &json!({})).header("cookie", &format!("{NAME}={token}")).send(), 400, "validation_failed");
    // F152: programs that are no browsers say it in a header.
    let reply = refresh(&off, &json!({})).header("x-refresh-token", &token).send();
    assert!(reply.status == 200 && reply.json()["refresh_token"].is_string(), "{reply:?}");
}

/// Two cookies of the name are none: another host of the domain may have planted one.
#[test]
fn a_planted_cookie_is_not_believed() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &SETTINGS);
    sign_up(&sidecar, "ada@example.org");
    let (token, _) = cookie(&sign_in(&sidecar).header("x-use-cookie", "true").send());
    let both = format!("{NAME}={token}; {NAME}=planted");
    refused(&refresh(&sidecar, &json!({})).header("cookie", &both).send(), 400, "validation_failed");
    assert_eq!(refresh(&sidecar, &json!({})).header("cookie", &format!("{NAME}={token}")).send().status, 200);
}

/// F154: the attributes are the operator's.
#[test]
fn attributes_are_configured() {
    let database = Cluster::shared().database();
    let mut settings = SETTINGS.to_vec();
    settings.extend([("AUTH_COOKIE__SAME_SITE", "lax"), ("AUTH_COOKIE__SECURE", "false"), ("AUTH_COOKIE__NAME", "rt")]);
    let sidecar = Sidecar::start(&database, &settings);
    sign_up(&sidecar, "ada@example.org");
    let reply = sign_in(&sidecar).header("x-use-cookie", "true").send();
    let cookie = reply.header("set-cookie");
    assert!(cookie.starts_with("rt=") && cookie.ends_with("HttpOnly; SameSite=Lax"), "{cookie}");

    let wrong = [
        ("AUTH_DATABASE__URL", "postgresql://x"),
        ("AUTH_COOKIE__SAME_SITE", "none"),
        ("AUTH_COOKIE__SECURE", "false"),
    ];
    assert!(!auth_harness::run_sidecar(&["check-config"], &wrong).status.success());
}

/// F230, F231: one cookie for all hosts of a shared domain, and a host-only one everywhere else, whatever the Host says.
#[test]
fn hosts_of_a_shared_domain_share_the_cookie() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &SETTINGS);
    sign_up(&sidecar, "ada@example.org");
    for (host, domain) in [
        ("auth.example.com", Some("Domain=example.com")),
        ("auth.example.localhost:3000", Some("Domain=example.localhost")),
        ("localhost:3000", None),
        ("preview.host.test", None),
        ("example.com.evil.test", None),
        ("notexample.com", None),
    ] {
        let reply = sign_in(&sidecar).header("x-use-cookie", "true").header("host", host);
        let reply = reply.header("x-forwarded-host", "www.example.com").send();
        let (_, attributes) = cookie(&reply);
        assert_eq!(
            attributes.iter().find(|attribute| attribute.starts_with("Domain")).map(String::as_str),
            domain,
            "{host}"
        );
    }
}

/// F220: with the cookie, only pages of listed origins and of our own change anything. Reading needs no origin, and without a
/// cookie no page has power over it.
#[test]
fn foreign_pages_cannot_use_the_cookie() {
    let database = Cluster::shared().database();
    let mut settings = SETTINGS.to_vec();
    settings.push(("AUTH_EXTERNAL_URL", "https://auth.example.com/auth/v1"));
    let sidecar = Sidecar::start(&database, &settings);
    let session = sign_up(&sidecar, "ada@example.org");
    let (token, _) = cookie(&sign_in(&sidecar).header("x-use-cookie", "true").send());
    let kept = format!("{NAME}={token}");
    let with_cookie = |path: &str| sidecar.post(path).header("cookie", &kept).json(&json!({}));
    for path in ["/token?grant_type=refresh_token", "/logout", "/signup", "/auth/v1/token?grant_type=refresh_token"] {
        for origin in ["https://evil.example", "null", "https://app.example.com.evil.example", "http://app.example.com"]
        {
            refused(&with_cookie(path).header("origin", origin).send(), 403, "origin_not_allowed");
        }
        refused(&with_cookie(path).send(), 403, "origin_not_allowed");
    }
    let asked = sidecar.post("/token?grant_type=password").header("x-use-cookie", "true");
    let asked = asked.header("origin", "https://evil.example").json(&json!({"email": "a@b.c", "password": "x"}));
    refused(&asked.send(), 403, "origin_not_allowed");

    let read = sidecar.get("/user").header("cookie", &kept).bearer(text(&session["access_token"])).send();
    assert_eq!(read.status, 200);
    let without = sidecar.post("/token?grant_type=refresh_token").header("origin", "https://evil.example");
    refused(&without.json(&json!({"refresh_token": "x"})).send(), 400, "refresh_token_not_found");
    let ours = with_cookie("/token?grant_type=refresh_token").header("origin", "https://auth.example.com").send();
    assert_eq!(ours.status, 200, "{ours:?}");
}
