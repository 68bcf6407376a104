//! What every answer says beside its body.

use auth_harness::{Cluster, Reply, Sidecar};
use serde_json::{Value, json};

const LISTED: &str = "https://app.example.com";

fn operations(sidecar: &Sidecar) -> Vec<(String, String)> {
    let description: Value = sidecar.get("/openapi.json").send().json();
    let mut operations = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let path = path.replace("{user_id}", "00000000-0000-4000-8000-000000000000");
            operations.push((method.to_uppercase(), path));
        }
    }
    operations
}

/// F219, XI11, F265, B099: every operation of the description is served, and every answer, good or bad, says that it is not to
/// be kept, framed, sniffed or told to others. The public keys may be kept.
#[test]
fn every_route_has_the_security_headers() {
    let database = Cluster::shared().database();
    let settings = [("AUTH_EXTERNAL_URL", "https://auth.example.com")];
    let sidecar = Sidecar::start(&database, &settings);
    let mut operations = operations(&sidecar);
    assert!(operations.len() >= 25, "{operations:?}");
    operations.extend(
        [("GET", "/openapi.json"), ("GET", "/metrics"), ("GET", "/nowhere"), ("PATCH", "/user")]
            .map(|(method, path)| (method.to_owned(), path.to_owned())),
    );
    for (method, path) in operations {
        for prefix in ["", "/auth/v1"] {
            let mut ask = sidecar.ask(&method, &format!("{prefix}{path}"));
            if method != "GET" {
                ask = ask.json(&json!({}));
            }
            let reply = ask.send();
            let known = !["/nowhere", "/metrics"].contains(&path.as_str()) && method != "PATCH";
            assert!(
                !known
                    || ![404, 405].contains(&reply.status)
                    || path.contains("/users/")
                    || path.starts_with("/public/")
                    || reply.body.contains("passkey_disabled"),
                "{method} {path}: {reply:?}"
            );
            let is_kept = path.ends_with("jwks.json");
            let kept = if is_kept { "public, max-age=600" } else { "no-store" };
            for (name, value) in [
                ("cache-control", kept),
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            ] {
                assert_eq!(reply.header(name), value, "{name} of {method} {path}");
            }
            assert!(reply.header("content-security-policy").starts_with("default-src 'none'"), "{method} {path}");
        }
    }
    let plain = Sidecar::start(&database, &[]);
    assert_eq!(plain.get("/health").send().header("strict-transport-security"), "");
}

/// B099: the document that is served is the one that the program prints without a database.
#[test]
fn the_description_is_printed_too() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let printed = auth_harness::run_sidecar(&["openapi"], &[]);
    assert!(printed.status.success());
    let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(printed, sidecar.get("/auth/v1/openapi.json").send().json());
    assert!(printed["paths"]["/token"]["post"]["requestBody"].is_object());
    assert!(printed["components"]["schemas"]["Session"]["properties"]["access_token"].is_object());
}

/// F218, XI11: pages of listed origins may call, with credentials; others may not; `*` is everybody and never has them.
#[test]
fn pages_of_listed_origins_may_call() {
    let database = Cluster::shared().database();
    let listed = Sidecar::start(&database, &[("AUTH_CORS__ORIGINS", r#"["https://app.example.com"]"#)]);
    let anybody = Sidecar::start(&database, &[]);
    let both = Sidecar::start(&database, &[("AUTH_CORS__ORIGINS", r#"["*", "https://app.example.com"]"#)]);
    let ask = |sidecar: &Sidecar, method: &str, origin: &str| -> Reply {
        let ask = sidecar.ask(method, "/token?grant_type=password").header("origin", origin);
        match method {
            "OPTIONS" => ask.header("access-control-request-method", "POST").send(),
            _ => ask.json(&json!({})).send(),
        }
    };
    for (sidecar, origin, allowed, credentials) in [
        (&listed, LISTED, LISTED, "true"),
        (&listed, "https://evil.example", "", ""),
        (&listed, "https://app.example.com.evil.example", "", ""),
        (&listed, "http://app.example.com", "", ""),
        (&listed, "null", "", ""),
        (&anybody, "https://evil.example", "*", ""),
        (&both, "https://evil.example", "*", ""),
        (&both, LISTED, LISTED, "true"),
    ] {
        for method in ["OPTIONS", "POST"] {
            let reply = ask(sidecar, method, origin);
            assert_eq!(reply.header("access-control-allow-origin"), allowed, "{method} {origin}: {reply:?}");
            assert_eq!(reply.header("access-control-allow-credentials"), credentials, "{method} {origin}");
            assert!(reply.headers.iter().any(|(name, value)| name == "vary" && value == "origin"));
        }
    }
    let preflight = ask(&listed, "OPTIONS", LISTED);
    assert_eq!(preflight.status, 204);
    for header in ["authorization", "apikey", "content-type", "x-client-info", "x-supabase-api-version", "x-use-cookie"]
    {
        let allowed = preflight.header("access-control-allow-headers");
        assert!(allowed.split(", ").any(|name| name == header), "{header} in {allowed}");
    }
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert!(preflight.header("access-control-allow-methods").contains(method));
    }
    for header in ["x-total-count", "link", "x-supabase-api-version"] {
        assert!(ask(&listed, "POST", LISTED).header("access-control-expose-headers").contains(header));
    }
    assert_eq!(ask(&listed, "OPTIONS", "https://evil.example").status, 403);
}
