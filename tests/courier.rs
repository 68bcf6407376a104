//! Mail from the outbox to a relay: what arrives, for whom, and what never does.

use auth_harness::{Relay, RelayOptions, canary, run_sidecar, wait_until};
use serde_json::json;

use crate::courier_stage::{EXTERNAL_URL, Stage, payload_with};

/// F257, F260, XI1, N02: a queued mail leaves as soon as it is committed, once, with the sender and the link base of the
/// settings; the courier is told by NOTIFY, since it looks by itself once an hour only.
#[test]
fn a_mail_arrives_with_sender_link_and_code_of_the_settings() {
    let mut stage = Stage::new();
    stage.set("AUTH_COURIER__POLL_SECONDS", "3600");
    let mut courier = stage.courier();
    courier.wait_for_log("the courier is ready");
    let sql = "select from pg_stat_activity where query = 'listen auth_outbox' and datname = current_database()";
    wait_until("the courier to listen", || !stage.superuser.query(sql, &[]).unwrap().is_empty());

    let id = stage.queue(json!({}));
    let state = stage.wait_for_status(id, "sent");
    assert_eq!((state.attempts, state.error.as_str()), (1, ""));
    let mails = stage.relay.taken();
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert_eq!((mail.from.as_str(), mail.to.as_slice()), ("auth@example.org", &["ada@example.org".to_owned()][..]));
    assert_eq!(mail.headers("to"), ["ada@example.org"]);
    assert_eq!(mail.headers("from"), ["\"Ada Lovelace\" <auth@example.org>"]);
    assert_eq!(mail.headers("auto-submitted"), ["auto-generated"]);
    assert_eq!(mail.headers("date").len(), 1);
    assert_eq!(mail.message_id(), stage.message_id(id));
    let link = "verify?token=tokentokentoken&type=signup&redirect_to=https%3A%2F%2Fapp.example.org%2Fwelcome";
    assert!(mail.says(&format!("{EXTERNAL_URL}/{link}\r\n")), "the text part: {}", mail.data);
    assert!(mail.says(&format!("href=\"{EXTERNAL_URL}/{}\"", link.replace('&', "&amp;"))), "the HTML part");
    assert!(mail.says("987654"));
    assert!(mail.headers("content-type")[0].starts_with("multipart/alternative"));
}

/// XA13, XA14: a stored text that is not one plain address is told to no relay; one that is, byte for byte.
#[test]
fn a_mail_goes_to_the_stored_address_or_nowhere() {
    let mut stage = Stage::new();
    let strange = [
        "\"e@attacker.com\"@victim.com",
        "a@example.org,b@example.org",
        "a@example.org\r\nRCPT TO:<b@example.org>",
        "a@example.org> SIZE=1\r\nRCPT TO:<b@example.org",
        "[\"a@example.org\"]",
        "Ada <a@example.org>",
        "a@b@example.org",
    ]
    .map(|recipient| stage.queue(json!({"recipient": recipient})));
    let plain = ["A.da+Tag@example.org", "o'neil@xn--bcher-kva.example", "jürgen@bücher.example"];
    let good = plain.map(|recipient| stage.queue(json!({"recipient": recipient})));
    let _courier = stage.courier();
    for id in good {
        stage.wait_for_status(id, "sent");
    }
    for id in strange {
        let state = stage.wait_for_status(id, "dead");
        assert!(state.error.contains("recipient") && state.attempts == 1, "{state:?}");
    }
    let mut recipients: Vec<String> = stage.relay.taken().into_iter().flat_map(|mail| mail.to).collect();
    recipients.sort();
    let mut wanted = plain;
    wanted.sort();
    assert_eq!(recipients, wanted);
    assert_eq!(stage.relay.heard().iter().filter(|line| line.starts_with("RCPT")).count(), plain.len());
}

/// XI2, XI3, XI5: what somebody wrote about himself becomes no header, no command, no HTML and no template.
#[test]
fn what_users_wrote_stays_text() {
    let mut stage = Stage::new();
    let template = json!({
        "subject": "Hi {{ user.user_metadata.name }}",
        "text_body": "Dear {{ user.user_metadata.name }}!\n{{ confirmation_url }}",
        "html_body": "<p title=\"{{ user.user_metadata.name }}\">Dear {{ user.user_metadata.name }}</p>",
    });
    let names = [
        "Eve\r\nBcc: eve@example.org\r\n\r\nbody",
        "x\r\n.\r\nMAIL FROM:<eve@example.org>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\nspam\r\n.\r\n",
        "x\n.\nMAIL FROM:<eve@example.org>\n.\n",
        "x\r.\rMAIL FROM:<eve@example.org>\r",
        "{{ token }}{{ code }}",
        "<a href=\"https://evil.example\">click</a>'\"",
        "=?utf-8?B?QmNjOiBldmVAZXhhbXBsZS5vcmc=?=",
    ];
    let rows = names.map(|name| {
        let user = json!({"id": "1", "email": "ada@example.org", "user_metadata": {"name": name}});
        stage.queue(json!({"payload": payload_with(json!({"user": user})), "template": template}))
    });
    let _courier = stage.courier();
    for id in rows {
        let state = stage.wait_for_status(id, "sent");
        assert_eq!(state.error, "");
    }
    let mails = stage.relay.taken();
    assert_eq!(mails.len(), names.len(), "each row is one mail");
    for mail in mails {
        assert_eq!(mail.to, ["ada@example.org"]);
        assert_eq!(mail.from, "auth@example.org");
        for header in ["bcc", "cc", "x", "mail from"] {
            assert_eq!(mail.headers(header), Vec::<String>::new(), "{}", mail.data);
        }
        assert_eq!((mail.headers("subject").len(), mail.headers("to").len()), (1, 1));
        assert!(!mail.says("987654"), "a template in a name was not run: {}", mail.data);
        let (_, html) = mail.data.split_once("Content-Type: text/html").unwrap();
        assert!(!html.contains("<a href"), "HTML of a name is escaped: {html}");
    }
}

/// B088: the row's language, its override, and the default where the override fails.
#[test]
fn a_template_of_the_database_stands_before_the_default() {
    let mut stage = Stage::new();
    let html = "{% extends 'layout.html' %}{% block content %}<b>{{ code }}</b>{% endblock %}";
    let own = json!({"subject": "Mine {{ code }}", "text_body": "own {{ site_url }}/verify-email?token={{ token }}",
        "html_body": html});
    let broken = json!({"subject": "Mine", "text_body": "{{ no_such_thing }} {{ token }}", "html_body": null});
    let german = stage.queue(json!({"locale": "de-AT", "kind": "recovery"}));
    let overridden = stage.queue(json!({"kind": "recovery", "template": own}));
    let fallen_back = stage.queue(json!({"kind": "recovery", "locale": "fr", "template": broken}));
    let unknown = stage.queue(json!({"kind": "nothing_of_ours"}));
    let courier = stage.courier();
    for id in [german, overridden, fallen_back] {
        stage.wait_for_status(id, "sent");
    }
    assert!(stage.wait_for_status(unknown, "dead").error.contains("no template"));
    let of = |stage: &mut Stage, id| {
        let message_id = stage.message_id(id);
        stage.relay.taken().into_iter().find(|mail| mail.message_id() == message_id).unwrap()
    };
    let mail = of(&mut stage, german);
    assert!(mail.says("Guten Tag") && mail.says("<html lang=\"de\">"), "{}", mail.data);
    let mail = of(&mut stage, overridden);
    assert_eq!(mail.headers("subject"), ["Mine 987654"]);
    assert!(mail.says("own https://app.example.org/verify-email?token=tokentokentoken") && mail.says("<b>987654</b>"));
    let mail = of(&mut stage, fallen_back);
    assert_eq!(mail.headers("subject"), ["Reset your password"]);
    let error = stage.state(fallen_back).error;
    assert!(
        error.contains("auth.templates") && error.contains("no_such_thing") | error.contains("undefined"),
        "{error}"
    );
    assert!(courier.log().contains("a template of auth.templates fails"));
}

/// XI7: what would carry nothing that works is not sent, and the row says why; a code that is over is left out.
#[test]
fn an_expired_mail_is_not_sent() {
    let mut stage = Stage::new();
    let past = "2020-01-01T00:00:00.5+00:00";
    let expired = stage.queue(json!({"payload": payload_with(json!({"expires_at": past}))}));
    let only_code = stage
        .queue(json!({"payload": payload_with(json!({"token": null, "expires_at": null, "code_expires_at": past}))}));
    let late = stage.queue(json!({"payload": payload_with(json!({"code_expires_at": past}))}));
    let _courier = stage.courier();
    for id in [expired, only_code] {
        assert!(stage.wait_for_status(id, "expired").error.contains("ended before it could be sent"));
    }
    stage.wait_for_status(late, "sent");
    let mails = stage.relay.taken();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].says("tokentokentoken") && !mails[0].says("987654"));
}

/// XK8: at the level of debugging the log says which row, of what kind, how it went, and nothing that is in it; also
/// where the relay repeats it all in its refusal.
#[test]
fn the_log_has_no_address_no_secret_and_no_content() {
    let mut stage = Stage::new();
    let secrets: Vec<String> = (0..5).map(|_| canary()).collect();
    let recipient = format!("{}@example.org", secrets[2]);
    stage.set("AUTH_SMTP__USER", &secrets[3]);
    stage.set("AUTH_SMTP__PASSWORD", &secrets[4]);
    let row = || {
        json!({"recipient": recipient, "payload": payload_with(json!({"token": secrets[0], "code": secrets[1],
            "email": recipient, "user": {"user_metadata": {"name": secrets[0]}}}))})
    };
    // This relay knows no passwords, so it refuses ours.
    let refused = stage.queue(row());
    let mut courier = stage.courier();
    stage.wait_for_retry(refused);
    assert!(courier.stop().success());
    let mut log = courier.log();
    stage.settings.retain(|(name, _)| !name.contains("USER") && !name.contains("PASSWORD"));
    stage.relay.will(&["refuse-rcpt", "refuse", "accept"]);
    let rows = [stage.queue(row()), stage.queue(row())];
    let webhook =
        json!({"url": format!("https://{}.example.org/", secrets[0]), "secret": secrets[1], "body": secrets[2]});
    let webhook = stage.queue(json!({"channel": "webhook", "payload": webhook}));
    let mut courier = stage.courier();
    for id in [refused, rows[0], rows[1], webhook] {
        wait_until("every row to be done", || stage.state(id).status != "pending");
        let error = stage.state(id).error;
        assert!(!error.contains(&secrets[0]) && !error.contains(&secrets[1]), "{error}");
    }
    assert!(courier.stop().success());
    log.push_str(&courier.log());
    assert!(log.contains(&refused.to_string()) && log.contains("smtp_550"), "{log}");
    for secret in &secrets {
        assert!(!log.contains(secret), "{log}");
    }
}

/// B088: an operator sees a mail and tries the relay without a row and without a database.
#[test]
fn an_operator_previews_a_mail_and_tests_the_relay() {
    let relay = Relay::with(RelayOptions { user: Some(("ada", "012345")), ..RelayOptions::default() });
    let port = relay.port().to_string();
    let settings = [
        ("AUTH_EXTERNAL_URL", EXTERNAL_URL),
        ("AUTH_SMTP__HOST", "127.0.0.1"),
        ("AUTH_SMTP__PORT", &port),
        ("AUTH_SMTP__TLS", "none"),
        ("AUTH_SMTP__SENDER", "auth@example.org"),
        ("AUTH_SMTP__USER", "ada"),
        // A password that looks like a number.
        ("AUTH_SMTP__PASSWORD", "012345"),
    ];
    let preview = run_sidecar(&["mail", "preview", "recovery", "--locale", "de"], &settings);
    let shown = String::from_utf8(preview.stdout).unwrap();
    assert!(shown.contains("Passwort zurücksetzen") && shown.contains(EXTERNAL_URL), "{shown}");
    let unknown = run_sidecar(&["mail", "preview", "nothing"], &settings);
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("confirmation, invite"));

    let file = std::env::temp_dir().join(format!("{}.mail", canary()));
    std::fs::write(&file, "Hi\n--- text\n{{ confirmation_urll }}\n").unwrap();
    let broken = run_sidecar(&["mail", "preview", "otp", "--template", file.to_str().unwrap()], &settings);
    std::fs::remove_file(&file).unwrap();
    let why = String::from_utf8_lossy(&broken.stderr).into_owned();
    assert!(!broken.status.success() && why.contains("undefined"), "{why}");

    let sent = run_sidecar(&["mail", "test", "ada@example.org"], &settings);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    assert_eq!(relay.taken().len(), 1);
    assert!(relay.taken()[0].headers("subject")[0].starts_with("[test]"));
    relay.will(&["refuse-rcpt"]);
    let refused = run_sidecar(&["mail", "test", "ada@example.org"], &settings);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("550"));
}
