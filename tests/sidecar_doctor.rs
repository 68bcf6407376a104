//! `auth-sidecar doctor`: everything that the sidecar needs is tried; what is wrong is named, and nothing is sent or told.

use std::os::unix::fs::PermissionsExt;

use auth_harness::{Cluster, Database, Relay, RelayOptions, json, refused, run_sidecar};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::courier_receiver::Receiver;

const WEAK: &[u8] = b"super-secret-jwt-token-with-at-least-32-characters-long";

/// Settings under which all is well.
struct Settings(Vec<(String, String)>);

impl Settings {
    fn new(database: &Database, relay: &Relay) -> Settings {
        let mut settings = Settings(Vec::new());
        for (name, value) in [
            ("AUTH_DATABASE__URL", database.url("sidecar")),
            ("AUTH_EXTERNAL_URL", "http://localhost:9999".into()),
            ("AUTH_SMTP__HOST", "127.0.0.1".into()),
            ("AUTH_SMTP__PORT", relay.port().to_string()),
            ("AUTH_SMTP__TLS", "none".into()),
            ("AUTH_SMTP__SENDER", "App <app@example.org>".into()),
            ("AUTH_OUTBOUND__ALLOW_PRIVATE", "true".into()),
        ] {
            settings.set(name, value);
        }
        settings
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.into(), value.into()));
    }

    fn with(&self, name: &str, value: impl Into<String>) -> Settings {
        let mut settings = Settings(self.0.clone());
        settings.set(name, value);
        settings
    }

    /// Severity and finding of each, and whether it ended well.
    fn told(&self, arguments: &[&str]) -> (Vec<String>, String, bool) {
        let settings: Vec<(&str, &str)> = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let output = run_sidecar(&[&["doctor"], arguments].concat(), &settings);
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        let findings = said
            .lines()
            .filter_map(|line| {
                let (severity, rest) = line.split_once(char::is_whitespace)?;
                let is_one = ["error", "warning", "note"].contains(&severity);
                is_one.then(|| format!("{severity} {}", rest.trim().split(':').next().unwrap()))
            })
            .collect();
        assert!(!said.contains("panicked"), "{said}");
        (findings, said, output.status.code() == Some(0))
    }

    #[track_caller]
    fn finds(&self, finding: &str, words: &str) -> String {
        let (findings, said, is_well) = self.told(&[]);
        let not_asked = "note database_was_not_looked_at".to_owned();
        let expected = if finding.is_empty() { vec![not_asked] } else { vec![finding.to_owned(), not_asked] };
        assert_eq!(findings, expected, "{said}");
        assert_eq!(is_well, finding.is_empty(), "{said}");
        assert!(said.contains(words), "{said}");
        said
    }
}

/// F275: what is as it should be is said in one line, and nothing was sent for it; each thing that is wrong is found by its name,
/// ends the command with 1, and is not found any more once it is mended. No secret of the settings is printed.
#[test]
fn each_thing_that_is_wrong_is_found() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let relay = Relay::with(RelayOptions { user: Some(("courier", "s3cr3t-of-relay")), ..RelayOptions::default() });
    let mut well = Settings::new(&database, &relay);
    well.set("AUTH_SMTP__USER", "courier");
    well.set("AUTH_SMTP__PASSWORD", "s3cr3t-of-relay");
    well.finds("", "nothing is wrong");

    well.with("AUTH_HTTP__THREADS", "0").told(&[]);
    let (findings, said, is_well) = well.with("AUTH_HTTP__THREADS", "0").told(&[]);
    assert_eq!((findings, is_well), (vec!["error settings_are_wrong".to_owned()], false), "{said}");
    well.with("AUTH_EXTERNAL_URL", "http://app.example.org").finds("warning external_url_is_not_https", "https://");
    well.with("AUTH_EXTERNAL_URL", "https://app.example.org").finds("", "nothing is wrong");
    let nobody = database.url("sidecar").replace("sidecar@", "nobody:s3cr3t-of-db@");
    let said = well.with("AUTH_DATABASE__URL", nobody).finds("error database_cannot_be_used", "nobody");
    assert!(!said.contains("s3cr3t-of-db"), "{said}");
    well.with("AUTH_DATABASE__URL", database.url("app")).finds("error database_cannot_be_used", "permission denied");

    // The relay: not there, not let in, not set.
    well.with("AUTH_SMTP__PORT", auth_harness::free_port().to_string()).finds("error relay_cannot_be_used", "smtp");
    let said = well.with("AUTH_SMTP__PASSWORD", "another-s3cr3t").finds("error relay_cannot_be_used", "section smtp");
    assert!(!said.contains("another-s3cr3t"), "{said}");
    well.with("AUTH_SMTP__HOST", "").finds("warning mail_is_not_sent", "smtp.host");
    well.with("AUTH_SMTP__HOST", "").with("AUTH_COURIER__ENABLED", "false").finds("", "nothing is wrong");
    assert_eq!(relay.taken().len(), 0, "nothing was sent");

    // Webhooks: asked, not called; their URLs stay in the database.
    let receiver = Receiver::start(&[]);
    let mut admin = database.admin();
    json(&mut admin, "select auth.add_webhook($1)", &[&receiver.url()]);
    well.finds("", "nothing is wrong");
    assert!(receiver.calls().iter().all(|call| call.head.starts_with("OPTIONS ") && call.body.is_empty()));
    well.with("AUTH_OUTBOUND__ALLOW_PRIVATE", "false").finds("error webhook_cannot_be_reached", "not https");
    let gone = format!("http://127.0.0.1:{}/hook?key=s3cr3t-of-hook", auth_harness::free_port());
    let hook = json(&mut admin, "select auth.add_webhook($1)", &[&gone]);
    let said = well.finds("error webhook_cannot_be_reached", hook["id"].as_str().unwrap());
    assert!(!said.contains("s3cr3t-of-hook"), "{said}");
    let id: uuid::Uuid = hook["id"].as_str().unwrap().parse().unwrap();
    admin.execute("select auth.remove_webhook($1)", &[&id]).unwrap();

    // Another clock, at an unmoved database.
    let off = well.with("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1").with("FAKETIME", "-1h");
    off.with("FAKETIME_DONT_FAKE_MONOTONIC", "1").finds("error clock_is_off", "NTP");

    // Keys: a secret from a document, as nSelf's check finds it; and the keyring, once others can read it.
    let jwk = json!({"kty": "oct", "alg": "HS256", "kid": "old", "k": URL_SAFE_NO_PAD.encode(WEAK)});
    json(&mut admin, "select auth.import_signing_key($1)", &[&jwk]);
    let said = well.finds("error signing_key_is_weak", "signing key old");
    assert!(!said.contains("super-secret"), "{said}");
    json(&mut admin, "select auth.rotate_signing_key()", &[]);
    well.finds("error signing_key_is_weak", "signing key old");
    database.superuser().execute("update auth.signing_keys set status = 'revoked' where kid = 'old'", &[]).unwrap();
    let strong = URL_SAFE_NO_PAD.encode(auth_harness::canary().repeat(2));
    let jwk = json!({"kty": "oct", "alg": "HS256", "kid": "new", "k": strong});
    json(&mut admin, "select auth.import_signing_key($1)", &[&jwk]);
    well.finds("", "nothing is wrong");
    let mode = |mode| std::fs::set_permissions(cluster.root_key_path(), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    well.finds("error keyring_is_unusable", "chmod 600");
    mode(0o600);
    well.finds("", "nothing is wrong");
}

/// F275: with an administrator's connection the findings of the database are among them; a login that is none is told so.
#[test]
fn the_database_is_looked_at_by_an_administrator() {
    let database = Cluster::shared().database();
    let relay = Relay::start();
    let well = Settings::new(&database, &relay);
    let mut superuser = database.superuser();
    superuser
        .batch_execute("create table public.open_to_all (id int); grant select on public.open_to_all to anon")
        .unwrap();
    let admin = database.url("admin");
    let (findings, said, is_well) = well.told(&["--admin-url", &admin]);
    assert!(findings.contains(&"error table_without_row_security".to_owned()), "{said}");
    assert!(!is_well && said.contains("public.open_to_all"), "{said}");
    superuser.batch_execute("drop table public.open_to_all").unwrap();
    let (findings, said, is_well) = well.with("AUTH_DOCTOR_URL", &admin).told(&[]);
    assert!(is_well && findings.iter().all(|finding| finding.starts_with("note")), "{said}");
    let (findings, said, is_well) = well.told(&["--admin-url", &database.url("app")]);
    assert_eq!((findings, is_well), (vec!["error database_was_not_looked_at".to_owned()], false), "{said}");
    // Who may ask the database's part of it.
    for login in ["app", "service"] {
        let refusal = refused(database.connect(login).execute("select auth.sidecar_status()", &[]));
        assert_eq!(refusal.sqlstate, "42501", "{login}");
    }
    let mut admin = database.admin();
    assert_eq!(json(&mut admin, "select auth.sidecar_status()", &[])["findings"], json!([]));
}
