//! Captchas: the provider's word counts, and nothing else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use auth_harness::{Cluster, Sidecar};
use serde_json::{Value, json};

use crate::http_accounts::{PASSWORD, refused, text};

/// A provider on loopback that answers as the documented ones do: success for the token `good` and our secret.
struct Provider {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    fn start() -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(stream, &heard)));
        Provider { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AUTH_CAPTCHA__PROVIDER", "turnstile".into()),
            ("AUTH_CAPTCHA__SECRET", "the-secret".into()),
            ("AUTH_CAPTCHA__VERIFY_URL", format!("http://{}/siteverify", self.address)),
            ("AUTH_OUTBOUND__ALLOW_PRIVATE", "true".into()),
        ]
    }
}

fn answer(mut stream: TcpStream, heard: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).unwrap_or(0) > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let good = body.contains("secret=the-secret") && body.contains("response=good");
    let verdict = match good {
        true => {
            json!({"success": true, "challenge_ts": "2026-01-01T00:00:00Z", "hostname": "localhost", "error-codes": []})
        }
        false => json!({"success": false, "error-codes": ["invalid-input-response"]}),
    }
    .to_string();
    heard.lock().unwrap().push(body);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
    let _ = write!(stream, "{head} {}\r\n\r\n{verdict}", verdict.len());
}

fn start(database: &auth_harness::Database, settings: &[(&'static str, String)]) -> Sidecar {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Sidecar::start(database, &settings)
}

fn with_captcha(body: Value, token: Option<&str>) -> Value {
    let mut body = body;
    body["gotrue_meta_security"] = token.map_or(json!({}), |token| json!({"captcha_token": token}));
    body
}

/// F221, F075, B066: every way in that anybody may call asks the provider; a missing or refused token is refused before the database
/// is asked. Refreshing needs none. Trusted backends need none, and only those that the database believes.
#[test]
fn ways_in_need_a_captcha() {
    let database = Cluster::shared().database();
    let provider = Provider::start();
    let sidecar = start(&database, &provider.settings());
    let account = json!({"email": "ada@example.org", "password": PASSWORD});
    for path in [
        "/signup",
        "/token?grant_type=password",
        "/otp",
        "/magiclink",
        "/recover",
        "/resend",
        "/passkeys/authentication/options",
        "/passkeys/sign-up/options",
    ] {
        for token in [None, Some(""), Some("bad")] {
            let reply = sidecar.post(path).json(&with_captcha(account.clone(), token)).send();
            refused(&reply, 400, "captcha_failed");
        }
        refused(&sidecar.post(path).json(&account).send(), 400, "captcha_failed");
    }
    let reply = sidecar.post("/signup").json(&with_captcha(account.clone(), Some("good"))).send();
    assert_eq!(reply.status, 200, "{reply:?}");
    let session = reply.json();
    let asked = provider.asked();
    assert!(asked.last().unwrap().contains("remoteip=127.0.0.1"), "{asked:?}");
    let body = json!({"refresh_token": session["refresh_token"]});
    assert_eq!(sidecar.post("/token?grant_type=refresh_token").json(&body).send().status, 200);
    assert_eq!(provider.asked().len(), asked.len(), "a refresh asks nobody");

    let key = |role: &str| -> String {
        let row = database.admin().query_one("select auth.create_key($1) ->> 'key'", &[&role]).unwrap();
        row.get(0)
    };
    let sign_in = || sidecar.post("/token?grant_type=password").json(&account);
    let service = key("service_role");
    assert_eq!(sign_in().bearer(&service).header("apikey", &service).send().status, 200);
    refused(&sign_in().bearer(&key("anon")).send(), 400, "captcha_failed");
    refused(&sign_in().bearer(text(&session["access_token"])).send(), 400, "captcha_failed");
    refused(&sign_in().bearer(&format!("{service}x")).send(), 400, "captcha_failed");
}

/// A provider that does not answer proves nobody a person, and is no fault of the client's.
#[test]
fn without_a_provider_nobody_passes() {
    let database = Cluster::shared().database();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = Provider::start().settings();
    settings[2].1 = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let sidecar = start(&database, &settings);
    let body = with_captcha(json!({"email": "ada@example.org", "password": PASSWORD}), Some("good"));
    let reply = sidecar.post("/signup").json(&body).send();
    refused(&reply, 503, "unexpected_failure");
    assert!(!reply.body.contains("provider"), "{reply:?}");
}

/// B074: without leave to ask private addresses, a provider on one is not asked.
#[test]
fn private_addresses_are_not_asked() {
    let database = Cluster::shared().database();
    let provider = Provider::start();
    let mut settings = provider.settings();
    settings.pop();
    for url in [settings[2].1.clone(), settings[2].1.replace("http:", "https:"), "https://localhost/".into()] {
        settings[2].1 = url;
        let sidecar = start(&database, &settings);
        let body = with_captcha(json!({"email": "ada@example.org", "password": PASSWORD}), Some("good"));
        assert_eq!(sidecar.post("/signup").json(&body).send().status, 503);
    }
    assert!(provider.asked().is_empty());
}

/// F221: the bypass of local tests works where both ends and our address are of this machine, and is nothing elsewhere.
#[test]
fn the_bypass_is_local() {
    let database = Cluster::shared().database();
    let provider = Provider::start();
    let mut settings = provider.settings();
    settings.push(("AUTH_CAPTCHA__BYPASS_ON_LOOPBACK", "true".into()));
    let local = start(&database, &settings);
    let account = json!({"email": "ada@example.org", "password": PASSWORD});
    assert_eq!(local.post("/signup").json(&account).send().status, 200);

    settings.push(("AUTH_EXTERNAL_URL", "https://auth.example.com".into()));
    let public = start(&database, &settings);
    refused(&public.post("/signup").json(&account).send(), 400, "captcha_failed");
}
