//! Administration over HTTP: what Supabase's `auth.admin` calls.

use auth_harness::{Cluster, Database, Sidecar};
use serde_json::{Value, json};

use crate::http_accounts::{PASSWORD, refused, sign_up, text};
use crate::http_links::mailed;

fn key(database: &Database, role: &str) -> String {
    database.admin().query_one("select auth.create_key($1) ->> 'key'", &[&role]).unwrap().get(0)
}

/// Every administrative route, with a body that would do something.
fn routes(id: &str) -> Vec<(&'static str, String, Value)> {
    vec![
        ("GET", "/admin/users".into(), json!(null)),
        ("POST", "/admin/users".into(), json!({"email": "new@example.org", "password": PASSWORD})),
        ("GET", format!("/admin/users/{id}"), json!(null)),
        ("PUT", format!("/admin/users/{id}"), json!({"app_metadata": {"admin": true}})),
        ("DELETE", format!("/admin/users/{id}"), json!({})),
        ("GET", format!("/admin/users/{id}/factors"), json!(null)),
        ("POST", "/invite".into(), json!({"email": "invited@example.org"})),
        ("POST", "/admin/generate_link".into(), json!({"type": "magiclink", "email": "ada@example.org"})),
        ("GET", "/admin/audit".into(), json!(null)),
    ]
}

/// Only the service key opens them: without a token 401, with a user's or the public key 403, and nothing happens.
#[test]
fn only_the_service_key_administrates() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let ada = sign_up(&sidecar, "ada@example.org");
    let anon = key(&database, "anon");
    for (method, path, body) in routes(text(&ada["user"]["id"])) {
        let ask = || {
            let ask = sidecar.ask(method, &format!("/auth/v1{path}"));
            if method == "GET" { ask } else { ask.json(&body) }
        };
        refused(&ask().send(), 401, "no_authorization");
        refused(&ask().header("apikey", &key(&database, "service_role")).send(), 401, "no_authorization");
        refused(&ask().bearer(text(&ada["access_token"])).send(), 403, "not_admin");
        refused(&ask().bearer(&anon).header("apikey", &anon).send(), 403, "not_admin");
        refused(&ask().bearer("nonsense").send(), 403, "bad_jwt");
    }
    let users: i64 = database.superuser().query_one("select count(*) from auth.users", &[]).unwrap().get(0);
    assert_eq!(users, 1);
}

/// Accounts are made, found, listed, changed and deleted; pages say how many there are and what comes next.
#[test]
fn accounts_are_administrated() {
    let database = Cluster::shared().database();
    let settings = [("AUTH_EXTERNAL_URL", "https://auth.example.com/auth/v1")];
    let sidecar = Sidecar::start(&database, &settings);
    let service = key(&database, "service_role");
    let ask = |method: &str, path: &str| sidecar.ask(method, path).bearer(&service).header("apikey", &service);

    let attributes = json!({"email": "ada@example.org", "password": PASSWORD, "email_confirm": true,
        "user_metadata": {"name": "Ada"}, "app_metadata": {"plan": "pro"}});
    let made = ask("POST", "/admin/users").json(&attributes).send();
    assert_eq!((made.status, &made.json()["user_metadata"]["name"]), (200, &json!("Ada")), "{made:?}");
    refused(&ask("POST", "/admin/users").json(&attributes).send(), 422, "email_exists");
    refused(&ask("POST", "/admin/users").json(&json!({"email": "no address"})).send(), 400, "email_address_invalid");
    refused(&ask("POST", "/admin/users").json(&json!([1])).send(), 400, "validation_failed");
    let id = text(&made.json()["id"]).to_owned();
    for number in 0..4 {
        ask("POST", "/admin/users").json(&json!({"email": format!("p{number}@example.org")})).send();
    }

    let page = ask("GET", "/admin/users?page=1&per_page=2").send();
    assert_eq!((page.status, page.header("x-total-count")), (200, "5"), "{page:?}");
    assert_eq!((page.json()["users"].as_array().unwrap().len(), &page.json()["aud"]), (2, &json!("authenticated")));
    let link = |page: i64, relation: &str| {
        format!("<https://auth.example.com/auth/v1/admin/users?page={page}&per_page=2>; rel=\"{relation}\"")
    };
    assert_eq!(page.header("link"), format!("{}, {}", link(2, "next"), link(3, "last")));
    let last = ask("GET", "/admin/users?page=3&per_page=2").send();
    assert_eq!((last.header("link"), last.json()["users"].as_array().unwrap().len()), (link(3, "last").as_str(), 1));
    refused(&ask("GET", "/admin/users?page=x").send(), 400, "validation_failed");
    let found = ask("GET", "/admin/users?filter=ada@").send().json();
    assert_eq!(found["users"][0]["id"], id.as_str());

    let path = format!("/admin/users/{id}");
    assert_eq!(ask("GET", &path).send().json()["email"], "ada@example.org");
    let changed = ask("PUT", &path).json(&json!({"app_metadata": {"plan": "free"}, "ban_duration": "24h"})).send();
    assert_eq!((changed.status, &changed.json()["app_metadata"]["plan"]), (200, &json!("free")), "{changed:?}");
    let body = json!({"email": "ada@example.org", "password": PASSWORD});
    refused(&sidecar.post("/token?grant_type=password").json(&body).send(), 403, "user_banned");
    ask("PUT", &path).json(&json!({"ban_duration": "none"})).send();
    assert_eq!(sidecar.post("/token?grant_type=password").json(&body).send().status, 200);

    let gone = ask("DELETE", &path).json(&json!({"should_soft_delete": false})).send();
    assert_eq!((gone.status, gone.body.as_str()), (200, "{}"), "{gone:?}");
    refused(&ask("GET", &path).send(), 404, "user_not_found");
    refused(&ask("DELETE", &path).json(&json!({})).send(), 404, "user_not_found");
    refused(&ask("PUT", &path).json(&json!({})).send(), 404, "user_not_found");
    let entries = ask("GET", "/admin/audit?per_page=3").send();
    assert_eq!(entries.json().as_array().unwrap().len(), 3, "{entries:?}");
    assert!(entries.header("x-total-count").parse::<i64>().unwrap() > 3);
}

/// XI1: links are made from the configured address, and lead in; invitations are mailed and accepted.
#[test]
fn links_and_invitations_lead_in() {
    let database = Cluster::shared().database();
    let site = json!({"site_url": "https://app.example.com", "redirect_allow_list": ["https://app.example.com/in"]});
    database.admin().execute("select auth.configure($1)", &[&site]).unwrap();
    let settings = [("AUTH_EXTERNAL_URL", "https://auth.example.com/auth/v1")];
    let sidecar = Sidecar::start(&database, &settings);
    let service = key(&database, "service_role");
    let ask = |path: &str, body: &Value| sidecar.post(path).bearer(&service).header("host", "evil.example").json(body);
    sign_up(&sidecar, "ada@example.org");

    let wanted = json!({"type": "magiclink", "email": "ada@example.org"});
    let made = ask("/admin/generate_link?redirect_to=https%3A%2F%2Fapp.example.com%2Fin", &wanted).send();
    assert_eq!((made.status, &made.json()["email"]), (200, &json!("ada@example.org")), "{made:?}");
    let made = made.json();
    let link = text(&made["action_link"]);
    let begin = format!("https://auth.example.com/auth/v1/verify?token={}&type=magiclink", text(&made["hashed_token"]));
    assert!(link.starts_with(&begin) && !link.contains("evil"), "{link}");
    assert!(made["email_otp"].is_string() && made["id"].is_string());
    assert_eq!(
        (&made["redirect_to"], &made["verification_type"]),
        (&json!("https://app.example.com/in"), &json!("magiclink"))
    );
    let body = json!({"token_hash": made["hashed_token"], "type": "magiclink"});
    assert_eq!(sidecar.post("/verify").json(&body).send().json()["user"]["email"], "ada@example.org");
    let evil = ask("/admin/generate_link?redirect_to=https%3A%2F%2Fevil.example", &wanted).send();
    refused(&evil, 400, "redirect_not_allowed");
    refused(&ask("/admin/generate_link", &json!({"type": "magiclink"})).send(), 400, "validation_failed");

    let invited = ask("/invite", &json!({"email": "eve@example.org", "data": {"name": "Eve"}})).send();
    assert_eq!((invited.status, &invited.json()["user_metadata"]["name"]), (200, &json!("Eve")), "{invited:?}");
    let mail = mailed(&database, "eve@example.org");
    let body = json!({"token_hash": mail["token"], "type": "invite"});
    assert_eq!(sidecar.post("/verify").json(&body).send().json()["user"]["email"], "eve@example.org");
    refused(&ask("/invite", &json!({"email": "ada@example.org"})).send(), 422, "email_exists");
}
