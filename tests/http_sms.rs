//! Phones over HTTP: POST /otp, /verify and /resend, PUT /user, and what there is not.

use auth_harness::{Cluster, Database, Sidecar, mails, the_mail};
use serde_json::json;

use crate::http_accounts::refused;
use crate::refresh::configure;
use crate::sms::ADA;

fn stage(settings: &[(&str, &str)]) -> (Database, Sidecar) {
    let database = Cluster::shared().database();
    configure(&database, json!({"enable_sms": true, "verification_resend_interval": 0, "rate_limit_sms": "1000/60"}));
    let sidecar = Sidecar::start(&database, settings);
    (database, sidecar)
}

/// F059, F060: a code is sent to a number, once more, and signs in; each answer is the one that Supabase's clients read, and the
/// metadata of the request is the account's.
#[test]
fn a_number_signs_in() {
    let (database, sidecar) = stage(&[]);
    let body = json!({"phone": ADA, "data": {"name": "Ada"}, "create_user": true, "channel": "sms",
        "gotrue_meta_security": {}});
    let reply = sidecar.post("/otp").header("accept-language", "de").json(&body).send();
    assert_eq!((reply.status, reply.json()), (200, json!({})));
    let first = the_mail(&database);
    assert_eq!((&*first.channel, &*first.recipient, first.locale.as_deref()), ("sms", ADA, Some("de")));
    let reply = sidecar.post("/resend").json(&json!({"type": "sms", "phone": "4915112345678"})).send();
    assert_eq!((reply.status, reply.json()), (200, json!({})));
    let second = the_mail(&database);

    let verify = |phone: &str, code: &str| {
        sidecar.post("/verify").json(&json!({"type": "sms", "phone": phone, "token": code})).send()
    };
    refused(&verify(ADA, first.code()), 403, "otp_expired");
    refused(&verify("+4915112345679", second.code()), 403, "otp_expired");
    let reply = verify("4915112345678", second.code());
    assert_eq!(reply.status, 200, "{reply:?}");
    let session = reply.json();
    assert_eq!((&session["user"]["phone"], &session["user"]["email"]), (&json!("4915112345678"), &json!("")));
    assert_eq!(session["user"]["user_metadata"], json!({"name": "Ada"}));
    assert!(session["refresh_token"].is_string() && session.get("status").is_none());
    refused(&verify(ADA, second.code()), 403, "otp_expired");
    let token = session["access_token"].as_str().unwrap();
    assert_eq!(sidecar.get("/user").bearer(token).send().json()["phone"], "4915112345678");
    let metrics = sidecar.get("/metrics").send().body;
    assert!(metrics.contains("\"sms\""), "{metrics}");
    assert!(!sidecar.log().contains("4915112345678"), "{}", sidecar.log());
}

/// F059, B073: what is no number is 400, one that is asked for too often 429, an unknown one that may not sign up is answered
/// like a known one; passwords by phone and other channels there are not, and switched off there is nothing.
#[test]
fn what_is_refused() {
    let (database, sidecar) = stage(&[]);
    let otp = |body| sidecar.post("/otp").json(&body).send();
    refused(&otp(json!({"phone": "555-0123"})), 400, "validation_failed");
    refused(&otp(json!({"phone": ADA, "channel": "whatsapp"})), 400, "validation_failed");
    refused(&otp(json!({"phone": ""})), 400, "validation_failed");
    let reply = otp(json!({"phone": ADA, "create_user": false}));
    assert_eq!((reply.status, reply.json()), (200, json!({})));
    let reply = sidecar.post("/resend").json(&json!({"type": "sms", "phone": ADA})).send();
    assert_eq!((reply.status, reply.json()), (200, json!({})));
    assert!(mails(&database).is_empty());
    refused(&sidecar.post("/resend").json(&json!({"type": "sms"})).send(), 400, "validation_failed");
    let credentials = json!({"phone": ADA, "password": "correct horse battery"});
    for path in ["/signup", "/token?grant_type=password"] {
        refused(&sidecar.post(path).json(&credentials).send(), 422, "phone_provider_disabled");
    }
    let change = json!({"type": "phone_change", "phone": ADA, "token": "123456"});
    refused(&sidecar.post("/verify").json(&change).send(), 403, "otp_expired");
    refused(&sidecar.put("/user").json(&json!({"phone": ADA})).send(), 401, "no_authorization");
    let unsaid = json!({"phone": ADA, "token": "123456", "type": "email"});
    refused(&sidecar.post("/verify").json(&unsaid).send(), 400, "validation_failed");
    configure(&database, json!({"verification_resend_interval": 60}));
    assert_eq!(otp(json!({"phone": "+15555550123"})).status, 200);
    let reply = otp(json!({"phone": "+15555550123"}));
    refused(&reply, 429, "over_sms_send_rate_limit");
    assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds <= 61), "{reply:?}");
    configure(&database, json!({"enable_sms": false}));
    refused(&otp(json!({"phone": ADA})), 422, "phone_provider_disabled");
    let verify = json!({"type": "sms", "phone": ADA, "token": "123456"});
    refused(&sidecar.post("/verify").json(&verify).send(), 422, "phone_provider_disabled");
}

/// F261: forms learn whether there is sign-in by phone, and by which provider.
#[test]
fn settings_say_so() {
    let (database, sidecar) = stage(&[]);
    let settings = sidecar.get("/settings").send().json();
    assert_eq!((&settings["external"]["phone"], &settings["sms_provider"]), (&json!(true), &json!("")));
    configure(&database, json!({"enable_sms": false}));
    assert_eq!(sidecar.get("/settings").send().json()["external"]["phone"], false);
    let provider = [
        ("AUTH_SMS__PROVIDER", "http"),
        ("AUTH_SMS__HTTP__URL", "https://sms.example.org/"),
        ("AUTH_SMS__HTTP__SECRET", "whsec_c2VjcmV0"),
        ("AUTH_COURIER__ENABLED", "false"),
    ];
    let sidecar = Sidecar::start(&database, &provider);
    assert_eq!(sidecar.get("/settings").send().json()["sms_provider"], "http");
}
