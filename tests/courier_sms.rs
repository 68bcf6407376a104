//! SMS from the outbox to a provider: what each is asked, and what becomes of its answers.

use auth_harness::{Ask, Cluster, Program, canary, free_port, run_python, run_sidecar, wait_until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::courier_receiver::{Call, Receiver};
use crate::courier_stage::{Stage, start_courier};
use crate::otp::{answer, said};
use crate::sms::{ADA, texting};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A row of an SMS whose code is good for a while.
fn row(changes: Value) -> Value {
    let mut payload = json!({
        "type": "sms", "code": "987654", "phone": "4915112345678", "site_url": "https://app.example.org:8443",
        "code_expires_at": "2999-01-01T00:00:00+00:00", "expires_at": "2999-01-01T00:00:00+00:00",
        "user": {"id": "1", "phone": "4915112345678", "user_metadata": {}},
    });
    for (name, value) in changes["payload"].as_object().into_iter().flatten() {
        payload[name] = value.clone();
    }
    json!({"channel": "sms", "kind": "sms_otp", "recipient": ADA, "locale": changes["locale"],
        "payload": payload, "template": changes["template"]})
}

fn stage(provider: &str, settings: &[(&str, &str)]) -> Stage {
    let mut stage = Stage::new();
    stage.set("AUTH_SMS__PROVIDER", provider);
    stage.set("AUTH_OUTBOUND__ALLOW_PRIVATE", "true");
    for (name, value) in settings {
        stage.set(&format!("AUTH_SMS__{name}"), value);
    }
    stage
}

fn twilio(receiver: &Receiver) -> Stage {
    let base = format!("http://127.0.0.1:{}", receiver.port);
    // Digits, as a token may be.
    let settings =
        [("TWILIO__ACCOUNT_SID", "AC123"), ("TWILIO__AUTH_TOKEN", "0123456789"), ("TWILIO__FROM", "+15555550123")];
    let mut stage = stage("twilio", &settings);
    stage.set("AUTH_SMS__TWILIO__BASE_URL", &base);
    stage
}

fn form(call: &Call) -> Vec<(String, String)> {
    form_urlencoded::parse(call.body.as_bytes()).into_owned().collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[track_caller]
fn calls(receiver: &Receiver, count: usize) -> Vec<Call> {
    wait_until(&format!("{count} calls"), || receiver.calls().len() >= count);
    receiver.calls()
}

/// F062, F261: Twilio is asked by a form with basic authentication, with the number that we send from, or the messaging
/// service; the text is in the reader's language, and its last line is for the browser.
#[test]
fn twilio_is_asked_by_a_form() {
    let receiver = Receiver::start(&["201 Created"; 3]);
    let mut stage = twilio(&receiver);
    let id = stage.queue(row(json!({"locale": "de-AT"})));
    let mut courier = stage.courier();
    assert_eq!(stage.wait_for_status(id, "sent").error, "");
    courier.stop();
    let call = &calls(&receiver, 1)[0];
    assert_eq!(call.head.lines().next().unwrap(), "POST /2010-04-01/Accounts/AC123/Messages.json HTTP/1.1");
    let basic = STANDARD.encode("AC123:0123456789");
    assert_eq!(call.header("authorization"), format!("Basic {basic}"));
    assert_eq!(call.header("content-type"), "application/x-www-form-urlencoded");
    let text = "987654 ist Ihr Code für app.example.org. Geben Sie ihn nie weiter.\n\n@app.example.org #987654";
    assert_eq!(form(call), pairs(&[("To", ADA), ("From", "+15555550123"), ("Body", text)]));

    stage.set("AUTH_SMS__TWILIO__FROM", "");
    stage.set("AUTH_SMS__TWILIO__MESSAGING_SERVICE_SID", "MG1");
    let own = json!({"subject": "", "text_body": "Code {{ code }} of {{ site_host }} for {{ phone }}"});
    let id = stage.queue(row(json!({"template": own})));
    let broken = stage.queue(row(json!({"template": {"subject": "", "text_body": "{{ no_such }}"}})));
    let _courier = stage.courier();
    stage.wait_for_status(id, "sent");
    assert!(stage.wait_for_status(broken, "sent").error.contains("the default was used"));
    let calls = calls(&receiver, 3);
    let text = "Code 987654 of app.example.org for 4915112345678";
    assert!(
        calls.iter().any(|call| form(call) == pairs(&[("To", ADA), ("MessagingServiceSid", "MG1"), ("Body", text)]))
    );
    assert!(calls.iter().any(|call| call.body.contains("987654+is+your+code")));
}

/// F062: what we ask is what Twilio's own description of its API says, by a server that other people make of it: it answers as
/// Twilio does, and refuses what lacks a field or credentials.
#[test]
fn twilio_by_its_own_description() {
    let of = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is set by `./dev test`"));
    let prism = format!("{}/@stoplight/prism-cli/dist/index.js", of("AUTH_NODE_MODULES"));
    let port = free_port();
    let mut command = std::process::Command::new(of("AUTH_NODE"));
    command.args([&prism, "mock", "--errors", "-h", "127.0.0.1", "-p", &port.to_string(), &of("AUTH_TWILIO_OPENAPI")]);
    let mut server = Program::start(command);
    server.wait_for_log("Prism is listening");
    let base = format!("http://127.0.0.1:{port}");
    let account = "AC00000000000000000000000000000000";
    let settings = [
        ("TWILIO__ACCOUNT_SID", account),
        ("TWILIO__AUTH_TOKEN", "0123456789"),
        ("TWILIO__FROM", "+15555550123"),
        ("TWILIO__BASE_URL", &base),
    ];
    let mut stage = stage("twilio", &settings);
    let good = stage.queue(row(json!({})));
    let _courier = stage.courier();
    assert_eq!(stage.wait_for_status(good, "sent").error, "");
    assert!(server.log().contains("The request passed the validation rules"), "{}", server.log());
    // It looks: without credentials, and without a field that has to be there.
    let path = format!("{base}/2010-04-01/Accounts/{account}/Messages.json");
    let without = |fields: &str, credentials: &str| {
        let ask = Ask::new("POST", path.clone()).body("application/x-www-form-urlencoded", fields);
        if credentials.is_empty() { ask.send() } else { ask.header("authorization", credentials).send() }
    };
    let basic = format!("Basic {}", STANDARD.encode("AC:x"));
    assert_eq!(without("To=%2B4915112345678&From=%2B15555550123&Body=x", "").status, 401);
    assert_eq!(without("From=%2B15555550123&Body=x", &basic).status, 422);
}

/// F062, B010: what is about the message is given up, everything else is tried again, as long as Twilio says; what it says is
/// with the row, without the code; the log has neither number, nor code, nor token.
#[test]
fn what_twilio_answers() {
    let refusal = |code: u32| json!({"code": code, "message": "'987654' is not…", "status": 400}).to_string();
    let answers = vec![
        ("400 Bad Request", refusal(21211)),
        ("400 Bad Request", refusal(21610)),
        ("400 Bad Request", refusal(21606)),
        ("400 Bad Request", "no JSON".to_owned()),
        ("401 Unauthorized", refusal(20003)),
        ("404 Not Found", refusal(20404)),
        ("429 Too Many\r\nretry-after: 9", refusal(20429)),
        ("503 Oops", String::new()),
        ("301 Moved\r\nlocation: http://127.0.0.1:1/", String::new()),
    ];
    let expected = [true, true, false, false, false, false, false, false, false];
    let receiver = Receiver::saying(answers);
    let mut stage = twilio(&receiver);
    stage.pace("60 s", "1 h");
    let mut courier = stage.courier();
    for (number, is_final) in expected.into_iter().enumerate() {
        let id = stage.queue(row(json!({})));
        let state = if is_final { stage.wait_for_status(id, "dead") } else { stage.wait_for_retry(id) };
        assert!(state.error.starts_with("Twilio answered ") && !state.error.contains("987654"), "{number}: {state:?}");
        assert_eq!((state.attempts, state.retry_in), (1, (number == 6).then_some(9)), "{number}");
    }
    let log = courier.log();
    assert!(log.contains("not delivered") && log.contains("http_429"), "{log}");
    for secret in ["4915112345678", "987654", "0123456789"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
    courier.stop();
    // No answer at all.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    drop(silent);
    stage.set("AUTH_SMS__TWILIO__BASE_URL", &format!("http://127.0.0.1:{port}"));
    let id = stage.queue(row(json!({})));
    let _courier = stage.courier();
    assert_eq!(stage.wait_for_retry(id).error, "no connection to the receiver");
}

/// XI7: a code whose time is over is not sent, however it came to wait.
#[test]
fn what_has_ended_is_not_sent() {
    let receiver = Receiver::start(&[]);
    let mut stage = twilio(&receiver);
    let old = "2020-01-01T00:00:00+00:00";
    let dead = stage.queue(row(json!({"payload": {"code_expires_at": old, "expires_at": old}})));
    let sealed = stage.queue(row(json!({})));
    stage.superuser.execute("update auth.outbox set payload = null where id = $1", &[&sealed]).unwrap();
    let good = stage.queue(row(json!({})));
    let _courier = stage.courier();
    stage.wait_for_status(good, "sent");
    assert_eq!(stage.wait_for_status(dead, "dead").error, "expired");
    stage.wait_for_status(sealed, "dead");
    assert_eq!(receiver.calls().len(), 1);
}

/// F261: Amazon SNS is asked by a request that is signed as Amazon's own client for Python signs it.
#[test]
fn amazon_is_asked_by_a_signed_form() {
    let error =
        |code: &str| format!("<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code></Error></ErrorResponse>");
    let receiver = Receiver::saying(vec![
        ("200 OK", "<PublishResponse/>".to_owned()),
        ("400 Bad Request", error("InvalidParameter")),
        ("400 Bad Request", error("Throttling")),
        ("403 Forbidden", error("SignatureDoesNotMatch")),
        ("500 Oops", error("InternalError")),
    ]);
    let url = format!("http://127.0.0.1:{}", receiver.port);
    let settings = [
        ("AWS_SNS__REGION", "eu-central-1"),
        ("AWS_SNS__ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SNS__SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        ("AWS_SNS__SENDER_ID", "Example"),
        ("AWS_SNS__ENDPOINT", &url),
    ];
    let mut stage = stage("aws_sns", &settings);
    stage.pace("60 s", "1 h");
    let courier = stage.courier();
    for (number, status) in ["sent", "dead", "pending", "pending", "pending"].into_iter().enumerate() {
        let id = stage.queue(row(json!({})));
        let state = if status == "pending" { stage.wait_for_retry(id) } else { stage.wait_for_status(id, status) };
        assert_eq!(state.error.starts_with("SNS answered "), number > 0, "{state:?}");
    }
    assert!(!courier.log().contains("wJalrXUtnFEMI") && !courier.log().contains("4915112345678"));
    let call = &calls(&receiver, 5)[0];
    let fields = form(call);
    for (name, value) in [
        ("Action", "Publish"),
        ("PhoneNumber", ADA),
        ("Message", "987654 is your code for app.example.org. Never give it to anybody.\n\n@app.example.org #987654"),
        ("MessageAttributes.entry.1.Name", "AWS.SNS.SMS.SMSType"),
        ("MessageAttributes.entry.1.Value.StringValue", "Transactional"),
        ("MessageAttributes.entry.2.Name", "AWS.SNS.SMS.SenderID"),
        ("MessageAttributes.entry.2.Value.DataType", "String"),
        ("MessageAttributes.entry.2.Value.StringValue", "Example"),
    ] {
        assert!(fields.contains(&(name.to_owned(), value.to_owned())), "{name}: {fields:?}");
    }
    let settings = [
        ("SNS_KEY", "AKIDEXAMPLE"),
        ("SNS_SECRET", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        ("SNS_REGION", "eu-central-1"),
        ("SNS_URL", &format!("{url}/")),
        ("SNS_HEAD", &call.head),
        ("SNS_BODY", &call.body),
    ];
    run_python("tests/clients/sns.py", &settings);
}

/// F261: a program of the operator's is asked by a webhook that is signed as Standard Webhooks says, with the body of
/// Supabase's hook `send_sms` and the text; the same id at every attempt.
#[test]
fn a_program_of_ones_own_is_asked() {
    let receiver = Receiver::start(&["503 Oops", "204 No Content", "400 Bad Request"]);
    let url = receiver.url();
    let mut stage = stage("http", &[("HTTP__URL", &url), ("HTTP__SECRET", &format!("v1,{SECRET}"))]);
    let _courier = stage.courier();
    let id = stage.queue(row(json!({})));
    assert_eq!(stage.wait_for_status(id, "sent").attempts, 2);
    let refused = stage.queue(row(json!({})));
    stage.wait_for_status(refused, "dead");
    let calls = calls(&receiver, 3);
    for call in &calls {
        call.verify(SECRET);
    }
    assert_eq!((calls[0].header("webhook-id"), calls[1].header("webhook-id")), (&*id.to_string(), &*id.to_string()));
    let body: Value = serde_json::from_str(&calls[0].body).unwrap();
    assert_eq!((&body["user"]["phone"], &body["user"]["id"]), (&json!("4915112345678"), &json!("1")));
    assert_eq!(
        (&body["sms"]["otp"], &body["sms"]["phone"], &body["sms"]["locale"]),
        (&json!("987654"), &json!(ADA), &json!("en"))
    );
    assert!(body["sms"]["message"].as_str().unwrap().ends_with("@app.example.org #987654"));
}

/// F261: without a provider SMS are not taken from whoever has one, and without a relay mail is not: each courier takes what it
/// can send. From the request to the session, with the real database.
#[test]
fn each_courier_takes_what_it_can_send() {
    let database = texting(Cluster::shared(), json!({"site_url": "https://app.example.org"}));
    let receiver = Receiver::start(&[]);
    let mut app = database.app();
    let base = |more: &[(&str, &str)]| {
        let url = database.url("sidecar");
        let mut all = vec![("AUTH_DATABASE__URL", url.as_str()), ("AUTH_HTTP__LISTEN", "127.0.0.1:0")];
        all.extend(more);
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
    };
    let url = receiver.url();
    let texting = start_courier(&base(&[
        ("AUTH_SMS__PROVIDER", "http"),
        ("AUTH_SMS__HTTP__URL", &url),
        ("AUTH_SMS__HTTP__SECRET", SECRET),
        ("AUTH_OUTBOUND__ALLOW_PRIVATE", "true"),
    ]));
    let mailing = Stage::on(Cluster::shared().empty_database(), auth_harness::Relay::start());
    let relay = crate::courier_stage::settings(&database.url("sidecar"), &mailing.relay);
    let relaying = start_courier(&relay);
    assert_eq!(said(&mut app, "send_sms_otp($1)", &[&ADA]), "code_sent");
    assert_eq!(said(&mut app, "send_otp('ada@example.org')", &[]), "code_sent");
    let body: Value = serde_json::from_str(&calls(&receiver, 1)[0].body).unwrap();
    let code = body["sms"]["otp"].as_str().unwrap();
    let session = answer(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &code]).unwrap();
    assert_eq!(session["user"]["phone"], "4915112345678");
    wait_until("the mail", || mailing.relay.taken().len() == 1);
    let sent = "select count(*) from auth.outbox where status = 'sent' and attempts = 1 and payload_sealed is null";
    wait_until("both to be settled", || database.superuser().query_one(sent, &[]).unwrap().get::<_, i64>(0) == 2);
    drop((texting, relaying));
}

/// F261: `check-config` says what a provider lacks and shows no secret of it; `sms test` sends one SMS and says what became
/// of it.
#[test]
fn an_operator_tries_the_provider() {
    let receiver = Receiver::saying(vec![
        ("201 Created", String::new()),
        ("401 Unauthorized", json!({"code": 20003}).to_string()),
    ]);
    let token = canary();
    let base = format!("http://127.0.0.1:{}", receiver.port);
    let settings = [
        ("AUTH_DATABASE__URL", "postgresql://x@localhost/x"),
        ("AUTH_SMS__PROVIDER", "twilio"),
        ("AUTH_SMS__TWILIO__ACCOUNT_SID", "AC123"),
        ("AUTH_SMS__TWILIO__AUTH_TOKEN", &token),
        ("AUTH_SMS__TWILIO__FROM", "+15555550123"),
        ("AUTH_SMS__TWILIO__BASE_URL", &base),
        ("AUTH_OUTBOUND__ALLOW_PRIVATE", "true"),
        ("AUTH_SMS__AWS_SNS__SECRET_ACCESS_KEY", &token),
        ("AUTH_SMS__HTTP__SECRET", &token),
    ];
    let shown = run_sidecar(&["check-config"], &settings);
    assert!(shown.status.success());
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("sms.twilio.auth_token is set") && shown.contains("sms.provider = \"twilio\""), "{shown}");
    assert!(shown.contains("sms.twilio.from = \"+15555550123\"") && !shown.contains(&token), "{shown}");
    for lacking in ["AUTH_SMS__TWILIO__FROM", "AUTH_SMS__TWILIO__ACCOUNT_SID", "AUTH_SMS__TWILIO__AUTH_TOKEN"] {
        let fewer: Vec<_> = settings.into_iter().filter(|(name, _)| *name != lacking).collect();
        let refused = run_sidecar(&["check-config"], &fewer);
        let why = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && why.contains("sms.twilio."), "{lacking}: {why}");
    }
    let sent = run_sidecar(&["sms", "test", ADA, "--locale", "de"], &settings);
    assert!(sent.status.success() && String::from_utf8(sent.stdout).unwrap().contains("taken"));
    let fields = form(&receiver.calls()[0]);
    assert!(fields[0].1 == ADA && fields[2].1.starts_with("123456 ist Ihr Code"), "{fields:?}");
    let refused = run_sidecar(&["sms", "test", ADA], &settings);
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && why.contains("Twilio answered 401, code 20003"), "{why}");
    assert_eq!(receiver.calls().len(), 2);
}
