//! What no client should send, and what is left of it: a refusal, and never a fault.

use std::io::{Read, Write};
use std::net::TcpStream;

use auth_harness::{Cluster, Sidecar, canary};
use serde_json::json;

use crate::http_accounts::{PASSWORD, refused, sign_up, text};

/// XI12, XB2: values of another kind, U+0000, names given twice and what is no JSON are refused with 400 before SQL sees them.
#[test]
fn confusing_input_is_refused() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let long = format!("[{}]", "[".repeat(200));
    for (path, body, code) in [
        ("/token?grant_type=password", r#"{"email":"ada@example.org","password":{"$ne":1}}"#, "validation_failed"),
        ("/token?grant_type=password", r#"{"email":["ada@example.org"],"password":"x"}"#, "validation_failed"),
        ("/token?grant_type=password", r#"{"email":true,"password":1}"#, "validation_failed"),
        ("/token?grant_type=password", r#"{"email":"a@b.c","password":"x","password":"y"}"#, "validation_failed"),
        ("/token?grant_type=password", r#"{"email":"a@b.c","password":"x\u0000y"}"#, "validation_failed"),
        ("/signup", r#"{"email":"a@b.c","password":"x","data":{"a":"\u0000"}}"#, "validation_failed"),
        ("/signup", r#"{"email":"a@b.c","password":"x","data":{"\u0000":1}}"#, "validation_failed"),
        ("/signup", r#"["a@b.c"]"#, "validation_failed"),
        ("/signup", r#""a@b.c""#, "validation_failed"),
        ("/signup", r#"{"email":"a@b.c","#, "bad_json"),
        ("/signup", "email=a@b.c&password=x", "bad_json"),
        ("/signup", &long, "validation_failed"),
        ("/token?grant_type=refresh_token", r#"{"refresh_token":7}"#, "validation_failed"),
        ("/token?grant_type=password&grant_type=pkce", "{}", "validation_failed"),
        ("/token?grant_type=pass%00word", "{}", "validation_failed"),
    ] {
        let reply = sidecar.post(path).body("application/json", body).send();
        assert_eq!((reply.status, reply.code()), (400, code), "{path} {body}: {reply:?}");
    }
    // The escape of a backslash before u0000 is an innocent text.
    let body = r#"{"email":"ada@example.org","password":"correct \\u0000 horse"}"#;
    assert_eq!(sidecar.post("/signup").body("application/json", body).send().status, 200);
}

/// XB3, XI9: bodies and heads beyond the limits are refused unread, whether their length is said or not.
#[test]
fn large_requests_are_refused() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let large = json!({"email": "ada@example.org", "password": "x".repeat(2_000_000)});
    refused(&sidecar.post("/signup").json(&large).send(), 413, "request_entity_too_large");

    // Only announced: the answer comes before the body.
    let head = "POST /signup HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n";
    assert!(raw(&sidecar, head.as_bytes()).starts_with("HTTP/1.1 413"));
    let mut chunked = b"POST /signup HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..20 {
        chunked.extend_from_slice(format!("{:x}\r\n{}\r\n", 100_000, "x".repeat(100_000)).as_bytes());
    }
    assert!(raw(&sidecar, &chunked).starts_with("HTTP/1.1 413"));
    let head = format!("GET /health HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(1_000_000));
    assert!(raw(&sidecar, head.as_bytes()).starts_with("HTTP/1.1 431"));
    assert_eq!(sidecar.get("/health").send().status, 200);
}

/// What a server says to bytes that no client would send; it may hang up while we still write.
fn raw(sidecar: &Sidecar, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", sidecar.port())).unwrap();
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(bytes));
        let mut answer = vec![0; 64];
        let read = stream.read(&mut answer).unwrap_or_default();
        let _ = stream.shutdown(std::net::Shutdown::Both);
        String::from_utf8_lossy(&answer[..read]).into_owned()
    })
}

/// XI9: requests that say their length twice in different ways are no requests.
#[test]
fn smuggling_is_refused() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    for head in [
        "POST /signup HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "POST /signup HTTP/1.1\r\nhost: x\r\ntransfer-encoding: identity, nonsense\r\n\r\n{}",
        "GET /health\r\n\r\n",
        "G\0T /health HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        let answer = raw(&sidecar, head.as_bytes());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
    }
}

/// XI9: who sends half a request and stops is answered, or cut off, when its time is over.
#[test]
fn a_slow_request_ends() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[("AUTH_HTTP__REQUEST_SECONDS", "1")]);
    let body = raw(&sidecar, b"POST /signup HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{");
    assert!(body.starts_with("HTTP/1.1 504"), "{body}");
    let head = raw(&sidecar, b"POST /signup HTTP/1.1\r\nhost: ");
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
}

/// XL7: ids in paths are UUIDs or nobody's, for bearers of every kind.
#[test]
fn ids_are_refused_by_type() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let ada = sign_up(&sidecar, "ada@example.org");
    let paths = ["1", "..%2F..%2Fhealth", "'%20or%20true%20--", "00000000-0000-0000-0000-00000000000g", "%00"];
    for path in paths.map(|id| format!("/admin/users/{id}")) {
        refused(&sidecar.get(&path).bearer(text(&ada["access_token"])).send(), 404, "user_not_found");
        refused(
            &sidecar.delete(&path).bearer(text(&ada["access_token"])).json(&json!({})).send(),
            404,
            "user_not_found",
        );
    }
}

/// XK8, XG14, XI10: no password, token or address that was sent is in the log at its most talkative, in the counters or in
/// a refusal.
#[test]
fn nothing_secret_is_written_down() {
    let database = Cluster::shared().database();
    let settings = [("AUTH_LOG__LEVEL", "debug"), ("AUTH_COOKIE__ENABLED", "true")];
    let sidecar = Sidecar::start(&database, &settings);
    let (secret, name) = (canary(), canary());
    let email = format!("{name}@example.org");
    let mut replies = Vec::new();
    let session = {
        let body = json!({"email": email, "password": format!("{secret} battery")});
        sidecar.post("/signup").json(&body).send().json()
    };
    for body in [
        json!({"email": email, "password": secret}).to_string(),
        json!({"email": {"x": secret}, "password": secret}).to_string(),
        format!("{{\"email\": {secret}"),
    ] {
        for path in ["/signup", "/token?grant_type=password", "/otp", "/recover", "/verify"] {
            replies.push(
                sidecar
                    .post(&format!("{path}{}x={secret}", if path.contains('?') { '&' } else { '?' }))
                    .body("application/json", &body)
                    .send(),
            );
        }
    }
    replies.push(sidecar.get(&format!("/{secret}")).bearer(&secret).send());
    replies.push(sidecar.get("/user").bearer(&secret).header("cookie", &format!("auth-refresh-token={secret}")).send());
    replies.push(sidecar.get(&format!("/admin/users/{secret}")).bearer(&secret).send());
    for reply in &replies {
        assert!(!reply.body.contains(&secret), "{reply:?}");
        assert!(reply.headers.iter().all(|(_, value)| !value.contains(&secret)), "{reply:?}");
    }
    let metrics = sidecar.get("/metrics").send().body;
    for written in [sidecar.log(), metrics] {
        assert!(written.contains("/token"));
        assert!(!written.contains(&secret) && !written.contains(&name), "{written}");
        assert!(!written.contains(text(&session["refresh_token"])), "{written}");
        assert!(!written.contains(text(&session["access_token"])) && !written.contains(PASSWORD));
    }
}
