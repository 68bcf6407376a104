//! TLS and passwords between the courier and the relay: verified always, or no mail.

use auth_harness::{RelayOptions, run_sidecar, wait_until};
use serde_json::json;

use crate::courier_stage::Stage;

/// XI4: a relay is believed by its name and its authority, by STARTTLS and by implicit TLS; everybody else gets no mail,
/// and the mail waits.
#[test]
fn only_a_relay_with_the_right_certificate_gets_mail() {
    for (certificate, implicit, trusted, arrives) in [
        ("good", false, true, true),
        ("good", true, true, true),
        ("good", false, false, false),
        ("good", true, false, false),
        ("wrong-name", false, true, false),
        ("wrong-name", true, true, false),
        ("expired", false, true, false),
        ("self-signed", false, true, false),
        ("self-signed", true, false, false),
    ] {
        let case = format!("{certificate}, implicit {implicit}, trusted {trusted}");
        let options = RelayOptions { certificate: Some(certificate), implicit, ..RelayOptions::default() };
        let mut stage = Stage::with_options(options);
        stage.set("AUTH_SMTP__TLS", if implicit { "implicit" } else { "starttls" });
        if trusted {
            let authority = stage.relay.ca_file();
            stage.set("AUTH_SMTP__CA_FILE", &authority);
        }
        let id = stage.queue(json!({}));
        let _courier = stage.courier();
        if arrives {
            stage.wait_for_status(id, "sent");
            let mails = stage.relay.taken();
            assert!(mails.len() == 1 && mails[0].tls, "{case}");
        } else {
            let state = stage.wait_for_retry(id);
            assert!(state.error.contains("ertificate"), "{case}: {state:?}");
            assert!(stage.relay.taken().is_empty() && stage.relay.heard().is_empty(), "{case}");
        }
    }
}

/// STARTTLS is required: a relay that does not offer it, or somebody between who hides that it does, gets nothing.
#[test]
fn a_relay_without_starttls_gets_no_mail() {
    let mut stage = Stage::with_options(RelayOptions { user: Some(("ada", "secret")), ..RelayOptions::default() });
    stage.set("AUTH_SMTP__TLS", "starttls");
    stage.set("AUTH_SMTP__USER", "ada");
    stage.set("AUTH_SMTP__PASSWORD", "secret");
    let id = stage.queue(json!({}));
    let _courier = stage.courier();
    assert!(stage.wait_for_retry(id).error.contains("STARTTLS"));
    assert!(stage.relay.heard().is_empty());
}

/// F257: the relay knows us by a password. A wrong one is the operator's to mend, and costs nobody a mail.
#[test]
fn mail_waits_for_the_right_password() {
    let options = RelayOptions { certificate: Some("good"), user: Some(("ada", "right")), ..RelayOptions::default() };
    let mut stage = Stage::with_options(options);
    let authority = stage.relay.ca_file();
    stage.set("AUTH_SMTP__TLS", "starttls");
    stage.set("AUTH_SMTP__CA_FILE", &authority);
    stage.set("AUTH_SMTP__USER", "ada");
    stage.set("AUTH_SMTP__PASSWORD", "wrong");
    let id = stage.queue(json!({}));
    let mut courier = stage.courier();
    let state = stage.wait_for_retry(id);
    assert!(state.error.contains("535") && !state.error.contains("wrong"), "{state:?}");
    courier.stop();
    stage.set("AUTH_SMTP__PASSWORD", "right");
    let _courier = stage.courier();
    stage.wait_for_status(id, "sent");
    assert!(stage.relay.taken()[0].tls);
}

/// In the clear to this machine only; there is no setting that accepts a bad certificate.
#[test]
fn settings_that_are_not_safe_are_refused() {
    let check = |settings: &[(&str, &str)]| {
        let mut all =
            vec![("AUTH_DATABASE__URL", "postgresql://nobody@127.0.0.1/x"), ("AUTH_SMTP__SENDER", "a@example.org")];
        all.extend(settings);
        let output = run_sidecar(&["check-config"], &all);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(check(&[("AUTH_SMTP__HOST", "127.0.0.1"), ("AUTH_SMTP__TLS", "none")]).0);
    assert!(check(&[("AUTH_SMTP__HOST", "mail.example.org")]).0);
    for (settings, why) in [
        (&[("AUTH_SMTP__HOST", "mail.example.org"), ("AUTH_SMTP__TLS", "none")][..], "loopback"),
        (&[("AUTH_SMTP__HOST", "mail.example.org"), ("AUTH_SMTP__TLS", "opportunistic")][..], "smtp.tls"),
        (&[("AUTH_SMTP__HOST", "mail.example.org"), ("AUTH_SMTP__ACCEPT_INVALID", "true")][..], "accept_invalid"),
        (&[("AUTH_SMTP__HOST", "mail.example.org"), ("AUTH_SMTP__SENDER", "Ada")][..], "smtp.sender"),
        (&[("AUTH_COURIER__LOCALE", "xx")][..], "courier.locale"),
    ] {
        let (good, words) = check(settings);
        assert!(!good && words.to_lowercase().contains(why), "{settings:?}: {words}");
    }
}

/// Without a relay nothing is claimed: mail waits in the outbox until there is one.
#[test]
fn without_a_relay_mail_waits() {
    let mut stage = Stage::new();
    stage.set("AUTH_SMTP__HOST", "");
    let id = stage.queue(json!({}));
    let mut courier = stage.courier();
    courier.wait_for_log("smtp.host is not set");
    courier.wait_for_log("ready");
    assert_eq!(stage.state(id).attempts, 0);
    courier.stop();
    stage.set("AUTH_SMTP__HOST", "127.0.0.1");
    let _courier = stage.courier();
    wait_until("the mail", || stage.state(id).status == "sent");
}
