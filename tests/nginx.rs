//! `examples/nginx-forward-auth.conf` in a real nginx, before a sidecar and a service that knows nothing about tokens.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use auth_harness::{Cluster, Nginx, Sidecar, free_port};
use serde_json::json;

use crate::http_accounts::{PASSWORD, sign_up, text};

/// A service that answers with the head of the request that has reached it.
fn service() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: String =
                lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase() + "\n").collect();
            let _ = write!(stream, "HTTP/1.0 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
        }
    });
    port
}

/// F271: nobody passes without a good token; who passes is named to the service, whatever the request said of that; the API of the
/// sidecar is reached through nginx, what is for operators is not.
#[test]
fn requests_pass_with_who_they_are() {
    let database = Cluster::shared().database();
    let port = free_port();
    let external = format!("http://127.0.0.1:{port}/auth/v1");
    let settings = [("AUTH_EXTERNAL_URL", external.as_str()), ("AUTH_HTTP__TRUSTED_PROXIES", r#"["127.0.0.0/8"]"#)];
    let sidecar = Sidecar::start(&database, &settings);
    let replaced = [
        ("127.0.0.1:9999", format!("127.0.0.1:{}", sidecar.port())),
        ("127.0.0.1:3000", format!("127.0.0.1:{}", service())),
        ("127.0.0.1:8080", format!("127.0.0.1:{port}")),
    ];
    let conf =
        replaced.iter().fold(include_str!("../examples/nginx-forward-auth.conf").to_owned(), |conf, (from, to)| {
            assert!(conf.contains(from), "{from} is in the example");
            conf.replace(from, to)
        });
    let nginx = Nginx::start(&conf, port);

    let credentials = json!({"email": "ada@example.org", "password": PASSWORD});
    let user = sign_up(&sidecar, "ada@example.org")["user"]["id"].clone();
    database.superuser().batch_execute("update auth.users set email_confirmed_at = now()").unwrap();
    let signed_in = nginx.ask("POST", "/auth/v1/token?grant_type=password").json(&credentials).send();
    assert_eq!(signed_in.status, 200, "{signed_in:?} {}", nginx.log());
    let session = signed_in.json();
    let token = text(&session["access_token"]);

    let evil = |method: &str| {
        let ask = nginx.ask(method, "/api/things").header("x-user-id", "evil").header("X-USER-EMAIL", "evil");
        ask.header("x-forwarded-for", "203.0.113.9")
    };
    for method in ["GET", "POST"] {
        let passed = evil(method).bearer(token).send();
        assert_eq!(passed.status, 200, "{passed:?} {}", nginx.log());
        assert!(passed.body.contains(&format!("x-user-id: {}\n", text(&user))), "{}", passed.body);
        assert!(
            passed.body.contains("x-user-email: ada@example.org\n") && !passed.body.contains("evil"),
            "{}",
            passed.body
        );
        assert_eq!(evil(method).send().status, 401);
        assert_eq!(evil(method).bearer("nonsense").send().status, 401);
    }
    assert_eq!(nginx.ask("GET", "/_auth").bearer(token).send().status, 404, "it is for nginx alone");
    assert_eq!(nginx.ask("GET", "/auth/v1/metrics").send().status, 404);

    assert_eq!(nginx.ask("POST", "/auth/v1/logout").bearer(token).send().status, 204);
    assert_eq!(evil("GET").bearer(token).send().status, 401, "a session that has ended ends at once");
    assert_eq!(nginx.ask("GET", "/page").send().status, 200, "the rest is for everybody");
}
