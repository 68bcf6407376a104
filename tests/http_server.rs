//! The program itself: settings, start, health, counters, faults of the database, end.

use std::io::{Read, Write};
use std::net::TcpStream;

use auth_harness::{Cluster, Sidecar, run_sidecar, storm, wait_until};
use serde_json::json;

use crate::http_accounts::{PASSWORD, refused, sign_up, text};

/// F263: health is 200 with what clients expect, and 503 once the database is gone; requests then are 503 too, never a 4xx,
/// which would sign users out, and say nothing of the reason. When it is back, so are they.
#[test]
fn a_database_that_is_gone_is_a_passing_fault() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let sidecar = Sidecar::start(&database, &[("AUTH_DATABASE__WAIT_SECONDS", "1")]);
    let ada = sign_up(&sidecar, "ada@example.org");
    let health = sidecar.get("/health").send();
    assert_eq!((health.status, &health.json()["name"]), (200, &json!("auth-sidecar")));
    assert!(health.json()["version"].is_string() && health.json()["description"].is_string());

    cluster.stop_fast();
    let body = json!({"refresh_token": ada["refresh_token"]});
    for reply in [
        sidecar.get("/health").send(),
        sidecar.post("/token?grant_type=refresh_token").json(&body).send(),
        sidecar.get("/user").bearer(text(&ada["access_token"])).send(),
        sidecar.get("/verify-token").bearer(text(&ada["access_token"])).send(),
        sidecar.post("/token?grant_type=password").json(&json!({"email": "ada@example.org", "password": "x"})).send(),
    ] {
        refused(&reply, 503, "unexpected_failure");
        assert!(
            ["connect", "postgres", "terminat", "127.0.0.1"].iter().all(|word| !reply.body.contains(word)),
            "{reply:?}"
        );
    }
    cluster.start_again();
    wait_until("the sidecar to find its database", || sidecar.get("/health").send().status == 200);
    assert_eq!(sidecar.post("/token?grant_type=refresh_token").json(&body).send().status, 200);
}

/// XI10: what is wrong inside is in the log and not in the answer; a statement that takes too long is a 504.
#[test]
fn faults_are_told_to_the_log_only() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[("AUTH_DATABASE__STATEMENT_SECONDS", "1")]);
    let ada = sign_up(&sidecar, "ada@example.org");
    let mut superuser = database.superuser();
    let mut lock = superuser.transaction().unwrap();
    lock.batch_execute("lock table auth.sessions in access exclusive mode").unwrap();
    let body = json!({"refresh_token": ada["refresh_token"]});
    refused(&sidecar.post("/token?grant_type=refresh_token").json(&body).send(), 504, "request_timeout");
    lock.rollback().unwrap();
    assert_eq!(sidecar.post("/token?grant_type=refresh_token").json(&body).send().status, 200);

    database
        .superuser()
        .batch_execute("revoke execute on function auth.sign_in(text, text, jsonb) from auth_sidecar")
        .unwrap();
    let reply =
        sidecar.post("/token?grant_type=password").json(&json!({"email": "ada@example.org", "password": "x"})).send();
    refused(&reply, 500, "unexpected_failure");
    assert_eq!(reply.json()["msg"], "unexpected failure");
    assert!(sidecar.log().contains("permission denied"), "{}", sidecar.log());
}

/// Through PgBouncer in transaction mode, where each transaction may have another server: no request fails and no identity leaks
/// into another's.
#[test]
fn a_transaction_pooler_does_not_matter() {
    let database = Cluster::shared().database().without_limits();
    let pooler = database.cluster().pgbouncer(database.name(), "sidecar", 3);
    let sidecar = Sidecar::start_at(&pooler.url("sidecar"), &[]);
    let people: Vec<_> = (0..4).map(|number| sign_up(&sidecar, &format!("p{number}@example.org"))).collect();
    let replies = storm(8, |index| {
        let person = &people[index % 4];
        (0..25).all(|round| match round % 3 {
            0 => sidecar.get("/user").send().status == 401,
            1 => sidecar.get("/user").bearer("garbage").send().status == 403,
            _ => sidecar.get("/user").bearer(text(&person["access_token"])).send().json()["id"] == person["user"]["id"],
        })
    });
    assert!(replies.into_iter().all(|good| good), "{}", sidecar.log());
}

/// SIGTERM: nobody new is let in, who is under way is answered, and the program ends well.
#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let database = Cluster::shared().database();
    let mut sidecar = Sidecar::start(&database, &[]);
    let body = json!({"email": "ada@example.org", "password": PASSWORD}).to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", sidecar.port())).unwrap();
    let (begin, end) = body.split_at(10);
    let length = body.len();
    write!(stream, "POST /signup HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{begin}").unwrap();
    // Another request's answer shows that the half one has been accepted before it.
    assert_eq!(sidecar.get("/health").send().status, 200);
    sidecar.terminate();
    wait_until("the door to be closed", || sidecar.get("/health").try_send().is_err());
    stream.write_all(end.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("access_token"), "{answer}");
    assert_eq!(sidecar.exit_code(), Some(0));
}

/// F262: the address is a setting; a second program on it says so and ends.
#[test]
fn a_taken_port_is_a_clear_error() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let listen = format!("127.0.0.1:{}", sidecar.port());
    let url = database.url("sidecar");
    let second = run_sidecar(&["serve"], &[("AUTH_DATABASE__URL", &url), ("AUTH_HTTP__LISTEN", &listen)]);
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("another program listens on") && said.contains(&listen), "{said}");
}

/// F272: the environment stands over the file; what is misspelt or impossible is refused before anything starts.
#[test]
fn settings_come_from_file_and_environment() {
    let database = Cluster::shared().database();
    let file = database.cluster().socket_dir().join("sidecar-settings.toml");
    let path = file.to_str().unwrap();
    let check = |text: &str, environment: &[(&str, &str)]| {
        std::fs::write(&file, text).unwrap();
        let output = run_sidecar(&["check-config", "--config", path], environment);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let good = "external_url = 'https://auth.example.com'\n[database]\nurl = 'postgresql://sidecar@db/app'\n";
    assert_eq!(check(good, &[]), (true, String::new()));
    // Variables of other programs are none of ours.
    assert_eq!(check(good, &[("AUTH_PG_PREFIX", "x"), ("AUTH_SIDECAR", "y")]), (true, String::new()));
    let secret = "postgresql://sidecar:s3cr3t@db:port/app";
    let captcha = [("AUTH_CAPTCHA__PROVIDER", "turnstile"), ("AUTH_CAPTCHA__SECRET", "s3cr3t")];
    assert_eq!(check(good, &captcha), (true, String::new()));
    for (text, environment, words) in [
        ("", &[][..], "database.url is not set"),
        (good, &[("AUTH_DATABASE__URL", "")], "database.url is not set"),
        (good, &[("AUTH_DATABASE__URL", secret)], "database.url is not a connection string"),
        (good, &[("AUTH_HTTP__LISTEN", "nowhere")], "listen"),
        (good, &[("AUTH_HTTP__LISTN", "127.0.0.1:1")], "listn"),
        (good, &[("AUTH_EXTERNAL_URL", "auth.example.com")], "external_url"),
        (good, &[("AUTH_CORS__ORIGINS", "[\"https://app.example.com/\"]")], "cors.origins"),
        (good, &[("AUTH_CORS__ORIGINS", "[\"https://*.example.com\"]")], "cors.origins"),
        (good, &[("AUTH_HTTP__TRUSTED_PROXIES", "[\"10.0.0.0/40\"]")], "10.0.0.0/40"),
        (good, &[("AUTH_CAPTCHA__PROVIDER", "turnstile")], "captcha.secret"),
        (good, &[captcha[0], captcha[1], ("AUTH_COMPAT__NSELF", "true")], "compat.* has no captcha"),
        (good, &[captcha[0], captcha[1], ("AUTH_COMPAT__URBACKEND", "true")], "compat.* has no captcha"),
        (good, &[("AUTH_COOKIE__SHARED_DOMAINS", "[\".example.com\"]")], "cookie.shared_domains"),
        ("[htp]\nlisten = '127.0.0.1:1'\n", &[], "htp"),
    ] {
        let (fine, said) = check(text, environment);
        assert!(!fine && said.to_lowercase().contains(words) && !said.contains("s3cr3t"), "{words}: {said}");
    }
    let (fine, said) = {
        let output = run_sidecar(&["check-config", "--config", "/nowhere.toml"], &[]);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(!fine && said.contains("there is no file /nowhere.toml"), "{said}");
}

/// docs/sidecar.md lists every setting with its default, and no others but those of mail, which have a page of their own;
/// secrets are not printed.
#[test]
fn every_setting_is_documented() {
    let settings = [
        ("AUTH_DATABASE__URL", "postgresql://sidecar:s3cr3t@db/app"),
        ("AUTH_CAPTCHA__PROVIDER", "turnstile"),
        ("AUTH_CAPTCHA__SECRET", "s3cr3t"),
    ];
    let output = run_sidecar(&["check-config"], &settings);
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(!printed.contains("s3cr3t"), "{printed}");
    let mut known: Vec<&str> = printed.lines().filter_map(|line| line.split(' ').next()).collect();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/sidecar.md")).unwrap();
    let mut documented: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | `")).map(|(name, _)| name).collect();
    known.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, known);
    for line in page.lines().filter_map(|line| line.strip_prefix("| `")) {
        let Some((name, rest)) = line.split_once("` | `") else { continue };
        let default = rest.split_once('`').map_or("", |(default, _)| default);
        let set = settings.iter().any(|(variable, _)| variable.to_lowercase().ends_with(&name.replace('.', "__")));
        let expected = if default == "none" { format!("{name} is not set") } else { format!("{name} = {default}") };
        assert!(set || printed.lines().any(|line| line == expected), "{expected}: not in\n{printed}");
    }
}

/// F278: one sign-in more is one more on the counter; a refused one is not. Routes are named by their templates.
#[test]
fn sign_ins_are_counted() {
    let database = Cluster::shared().database();
    let sidecar = Sidecar::start(&database, &[]);
    let counter = |line: &str| -> u64 {
        let metrics = sidecar.get("/metrics").send();
        assert!(metrics.header("content-type").starts_with("text/plain"), "{metrics:?}");
        let found = metrics.body.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or_default()
    };
    let by_password = "auth_sign_ins_total{method=\"password\"}";
    sign_up(&sidecar, "ada@example.org");
    assert_eq!((counter("auth_sign_ins_total{method=\"sign_up\"}"), counter(by_password)), (1, 0));
    for (password, expected) in [(PASSWORD, 1), ("wrong", 1), (PASSWORD, 2)] {
        let body = json!({"email": "ada@example.org", "password": password});
        sidecar.post("/auth/v1/token?grant_type=password").json(&body).send();
        assert_eq!(counter(by_password), expected);
    }
    sidecar.get("/admin/users/00000000-0000-4000-8000-000000000000").send();
    sidecar.get("/nowhere/at/all").send();
    let metrics = sidecar.get("/metrics").send().body;
    assert!(metrics.contains("route=\"/admin/users/{user_id}\"") && metrics.contains("route=\"none\""), "{metrics}");
    assert!(!metrics.contains("0000-4000") && !metrics.contains("nowhere"));
    assert!(metrics.contains("auth_pool_connections{state=\"idle\"}"));

    assert_eq!(sidecar.get("/auth/v1/metrics").send().status, 404);
    let off = Sidecar::start(&database, &[("AUTH_METRICS__ENABLED", "false")]);
    assert_eq!(off.get("/metrics").send().status, 404);
}
