//! The hosted pages: in a real browser (`tests/clients/pages.mjs`), and what every answer says to a browser.

use auth_harness::{Ask, Cluster, Reply, Sidecar, free_port};
use serde_json::json;

use crate::clients_stage::Stage;
use crate::http_accounts::{PASSWORD, sign_up};

const PAGES: [&str; 7] = [
    "/sign-in",
    "/sign-up",
    "/sign-up/code",
    "/sign-in/mail",
    "/sign-in/code",
    "/forgotten-password",
    "/forgotten-password/new",
];

/// XH9: the whole way of a person with scripts and without, by keyboard, in both languages, held against WCAG 2.2 AA; names that
/// are markup are text.
#[test]
fn the_pages_run_in_a_browser() {
    let site = format!("http://localhost:{}", free_port());
    let stage = Stage::new(&json!({"site_url": site, "mfa_enforcement": "required"}));
    stage.node_with("tests/clients/pages.mjs", &[("AUTH_SITE", &site)]);
}

/// What a sign-in may still wait for is done on its own page before any other says anything: a code by SMS, a new password, a first
/// factor. What the account's pages list is its own.
#[test]
fn what_a_sign_in_waits_for_comes_first() {
    let site = format!("http://localhost:{}", free_port());
    let roles = ["moderator"];
    let stage = Stage::new(&json!({"site_url": site, "mfa_enforcement": "required", "mfa_required_roles": roles,
        "enable_passkeys": true, "enable_sms": true, "sms_budget": null, "rate_limit_sms": "1000/3600"}));
    stage.node_with("tests/clients/pages_steps.mjs", &[("AUTH_SITE", &site)]);
}

/// B013, B014, XH9: passkeys and security keys on the pages: registered, offered by the field for the address and by a button, signed
/// up with, asked for in the second step, renamed, removed; their names are text.
#[test]
fn passkeys_on_the_pages() {
    let port = free_port().to_string();
    let site = format!("http://localhost:{port}");
    let stage = Stage::new(
        &json!({"site_url": site, "mfa_enforcement": "required", "enable_passkeys": true, "mfa_webauthn_enabled": true}),
    );
    let external = format!("{site}/auth/v1");
    let named =
        Sidecar::start(&stage.database, &[("AUTH_EXTERNAL_URL", &external), ("AUTH_COURIER__ENABLED", "false")]);
    stage.node_with("tests/clients/pages_passkey.mjs", &[("PORT", &port), ("AUTH_BEHIND", &named.url())]);
}

fn form(sidecar: &Sidecar, path: &str, body: &str) -> Ask {
    sidecar.post(path).header("origin", &sidecar.url()).body("application/x-www-form-urlencoded", body)
}

fn credentials(email: &str) -> String {
    format!("email={email}&password={}", PASSWORD.replace(' ', "+"))
}

/// What a browser would send back, and the attributes of each.
fn cookies(reply: &Reply) -> (String, Vec<String>) {
    let set: Vec<String> =
        reply.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.clone()).collect();
    let pairs: Vec<&str> = set.iter().filter_map(|cookie| cookie.split("; ").next()).collect();
    (pairs.join("; "), set)
}

#[test]
fn pages_are_kept_by_nobody_and_framed_by_nobody() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[("AUTH_CORS__ORIGINS", r#"["*", "https://app.example.com"]"#)]);
    for path in PAGES {
        let reply = sidecar.get(path).header("origin", "https://app.example.com").send();
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            // No page of another origin reads one of these, whatever the API allows it.
            ("access-control-allow-origin", ""),
            ("access-control-allow-credentials", ""),
        ] {
            assert_eq!(reply.header(name), value, "{name} of {path}");
        }
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self';"));
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(!reply.body.contains("<script") && !reply.body.contains("style="), "{path}");
        assert!(reply.body.contains("<html lang=\"en\">"));
        let german = sidecar.get(path).header("accept-language", "de-CH,de;q=0.9").send();
        assert!(german.body.contains("<html lang=\"de\">"), "{path}");
    }
    let style = sidecar.get("/auth/v1/pages/style.css").send();
    assert_eq!((style.status, style.header("content-type")), (200, "text/css; charset=utf-8"));

    let off = Sidecar::start(&database, &[("AUTH_PAGES__ENABLED", "false")]);
    let captcha = [("AUTH_CAPTCHA__PROVIDER", "turnstile"), ("AUTH_CAPTCHA__SECRET", "x")];
    let with_captcha = Sidecar::start(&database, &captcha);
    for sidecar in [off, with_captcha] {
        assert_eq!(sidecar.get("/sign-in").send().status, 404);
    }
}

/// The session is in cookies of this host that no script reads, and nothing of it is in an answer's body or address.
#[test]
fn the_session_is_in_cookies_alone() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    sign_up(&sidecar, "ada@example.org");
    let reply = form(&sidecar, "/sign-in", &credentials("ada%40example.org")).send();
    assert_eq!((reply.status, reply.header("location")), (303, "/auth/v1/account"), "{reply:?}");
    assert!(!reply.body.contains("eyJ"));
    let (kept, set) = cookies(&reply);
    for name in ["auth-pages-access", "auth-pages-refresh"] {
        let cookie = set.iter().find(|cookie| cookie.starts_with(&format!("{name}="))).unwrap();
        assert!(cookie.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"), "{cookie}");
    }
    let account = sidecar.get("/account").header("cookie", &kept).send();
    assert!(account.status == 200 && account.body.contains("ada@example.org"), "{account:?}");
    assert!(!account.body.contains("eyJ"));
    // A bearer is for programs, and a cookie for pages.
    assert_eq!(sidecar.get("/user").header("cookie", &kept).send().status, 401);

    let https = Sidecar::start(&database, &[("AUTH_EXTERNAL_URL", "https://auth.example.com")]);
    let ask = https.post("/sign-in").header("origin", "https://auth.example.com");
    let reply = ask.body("application/x-www-form-urlencoded", &credentials("ada%40example.org")).send();
    assert_eq!((reply.status, reply.header("location")), (303, "/account"), "{reply:?}");
    for cookie in cookies(&reply).1.iter().filter(|cookie| !cookie.contains("Max-Age=0")) {
        assert!(cookie.starts_with("__Host-auth-pages-") && cookie.contains("; Secure"), "{cookie}");
        assert!(!cookie.contains("Domain"), "{cookie}");
    }
}

/// Only our own pages post here: a form elsewhere changes nothing, with the session's cookies or without.
#[test]
fn forms_of_other_sites_are_refused() {
    let database = Cluster::shared().database();
    // Listed for the API: that is no page of ours.
    let sidecar = Sidecar::start(&database, &[("AUTH_CORS__ORIGINS", r#"["https://app.example.com"]"#)]);
    sign_up(&sidecar, "ada@example.org");
    let (kept, _) = cookies(&form(&sidecar, "/sign-in", &credentials("ada%40example.org")).send());
    let own = sidecar.url();
    for headers in [
        vec![],
        vec![("origin", "https://evil.example")],
        vec![("origin", "https://app.example.com")],
        vec![("origin", "null")],
        vec![("origin", "null"), ("sec-fetch-site", "same-origin")],
        vec![("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![("sec-fetch-site", "none")],
    ] {
        for (path, body) in [
            ("/sign-in", credentials("ada%40example.org").as_str()),
            ("/account/sign-out", "scope=global"),
            ("/account/sessions/revoke-others", ""),
            ("/account/factors/new", "name=evil"),
        ] {
            let mut ask = sidecar.post(path).header("cookie", &kept).body("application/x-www-form-urlencoded", body);
            for (name, value) in &headers {
                ask = ask.header(name, value);
            }
            let reply = ask.send();
            assert_eq!(reply.status, 403, "{path} {headers:?}: {reply:?}");
            assert!(cookies(&reply).1.is_empty(), "{path} {headers:?}");
        }
    }
    let still = sidecar.get("/account/factors").header("cookie", &kept).send();
    assert!(still.status == 200 && !still.body.contains("evil"), "{still:?}");
    for (name, value) in [("origin", own.as_str()), ("sec-fetch-site", "same-origin")] {
        let ask = sidecar.post("/account/sessions/revoke-others").header("cookie", &kept).header(name, value);
        assert_eq!(ask.body("application/x-www-form-urlencoded", "").send().status, 303, "{name}");
    }
}

/// Cookies that are nothing, or of a session that has ended, lead to the sign-in page and are taken away.
#[test]
fn what_is_no_session_is_asked_to_sign_in() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    sign_up(&sidecar, "ada@example.org");
    let (kept, _) = cookies(&form(&sidecar, "/sign-in", &credentials("ada%40example.org")).send());
    let out = form(&sidecar, "/account/sign-out", "scope=local").header("cookie", &kept).send();
    assert_eq!((out.status, out.header("location")), (303, "/auth/v1/sign-in?done=signed_out"));
    for cookie in
        ["", kept.as_str(), "auth-pages-access=nonsense", "auth-pages-refresh=nonsense; auth-pages-access=a.b.c"]
    {
        for path in [
            "/account",
            "/account/sessions",
            "/account/factors",
            "/account/factors/new",
            "/account/password",
            "/sign-in/second-step",
        ] {
            let reply = sidecar.get(path).header("cookie", cookie).send();
            assert_eq!(
                (reply.status, reply.header("location")),
                (303, "/auth/v1/sign-in"),
                "{path} {cookie}: {reply:?}"
            );
            assert!(cookies(&reply).1.iter().all(|cookie| cookie.contains("Max-Age=0")));
        }
    }
    // Where cookie mode is on, a refresh token is in its cookie, and an app on the site goes on with it.
    let shared = [("AUTH_COOKIE__ENABLED", "true"), ("AUTH_COOKIE__SECURE", "false")];
    let sidecar = Sidecar::start(&database, &shared);
    let (kept, set) = cookies(&form(&sidecar, "/sign-in", &credentials("ada%40example.org")).send());
    assert!(set.iter().any(|cookie| cookie.starts_with("auth-refresh-token=") && cookie.contains("SameSite=Strict")));
    let ask = sidecar.post("/token?grant_type=refresh_token").header("origin", &sidecar.url()).json(&json!({}));
    let reply = ask.header("cookie", &kept).send();
    assert!(reply.status == 200 && reply.json()["access_token"].is_string(), "{reply:?}");
}
