//! What a mailed secret is for: every kind of mail against every function that takes one, and who may call which.

use auth_harness::{Client, Cluster, Database, Mail, acting, mails};
use serde_json::json;

use crate::guard::RIGHT;
use crate::otp::{answer, mailed, mailing, proved, said};
use crate::refresh::configure;

/// How a secret is spent: `$1` is the address, `$2` the code, `$3` the link's; `session` or another status where it is right.
const USES: [&str; 21] = [
    "verify_otp($1, $2)",
    "verify_otp($1, $2, '{\"type\": \"email\"}')",
    "verify_otp($1, $2, '{\"type\": \"signup\"}')",
    "verify_otp($1, $2, '{\"type\": \"magiclink\"}')",
    "verify_otp($1, $2, '{\"type\": \"invite\"}')",
    "verify_otp($1, $2, '{\"type\": \"recovery\"}')",
    "verify_otp($1, $2, '{\"type\": \"email_change\"}')",
    "verify_sign_up($1, $2)",
    "verify_sign_up($1, $2, 'staple correct horse')",
    "reset_password_with_code($1, $2, 'staple correct horse')",
    "verify_link($3)",
    "verify_link($3, '{\"type\": \"signup\"}')",
    "verify_link($3, '{\"type\": \"magiclink\"}')",
    "verify_link($3, '{\"type\": \"invite\"}')",
    "verify_link($3, '{\"type\": \"recovery\"}')",
    "verify_link($3, '{\"type\": \"email_change\"}')",
    "verify_link($3, '{\"flow\": \"redirect\"}')",
    "reset_password($3, 'staple correct horse')",
    "exchange_code($3)",
    "refresh($3)",
    "sign_in($1, $2)",
];

/// A kind of mail, how it is asked for, and the uses that it is good for.
type Kind = (&'static str, fn(&Database, &str) -> Mail, &'static [&'static str]);

const KINDS: [Kind; 7] = [
    (
        "confirmation",
        confirmation,
        &["verify_otp($1, $2)", "email", "otp signup", "verify_link($3)", "link signup", "flow"],
    ),
    (
        "sign_up",
        |database, email| {
            configure(database, json!({"signup_mode": "otp_first"}));
            mailed(database, "sign_up($1, 'correct horse battery')", &[&email])
        },
        &[
            "verify_otp($1, $2)",
            "email",
            "otp signup",
            "otp magiclink",
            "verify_sign_up",
            "verify_link($3)",
            "link signup",
            "link magiclink",
            "flow",
        ],
    ),
    (
        "magiclink",
        |database, email| {
            account(database, email);
            mailed(database, "send_otp($1)", &[&email])
        },
        &["verify_otp($1, $2)", "email", "otp magiclink", "verify_link($3)", "link magiclink", "flow"],
    ),
    (
        "recovery",
        |database, email| {
            account(database, email);
            mailed(database, "request_password_reset($1)", &[&email])
        },
        &["otp recovery", "reset_password_with_code", "verify_link($3)", "link recovery", "flow", "reset_password($3"],
    ),
    (
        "email_change",
        |database, email| change(database, email, 1),
        &["otp email_change", "verify_link($3)", "link email_change", "flow"],
    ),
    (
        "email_change_current",
        |database, email| change(database, email, 0),
        &["otp email_change", "verify_link($3)", "link email_change", "flow"],
    ),
    (
        "reauthentication",
        |database, email| {
            let token = account(database, email);
            acting(&mut database.app(), &token, |tx| answer(tx, "reauthenticate()", &[]).unwrap());
            mails(database).remove(0)
        },
        &[],
    ),
];

fn confirmation(database: &Database, email: &str) -> Mail {
    configure(database, json!({"signup_mode": "confirm"}));
    mailed(database, "sign_up($1, 'correct horse battery')", &[&email])
}

/// Somebody with a proved address; the access token.
fn account(database: &Database, email: &str) -> String {
    configure(database, json!({"signup_mode": "immediate"}));
    proved(database, email).access_token
}

/// The two mails of a change of address: to the old and to the new one.
fn change(database: &Database, email: &str, which: usize) -> Mail {
    let token = account(database, email);
    acting(&mut database.app(), &token, |tx| answer(tx, "update_email('new-' || $1, $2)", &[&email, &RIGHT]).unwrap());
    let mut mails = mails(database);
    assert_eq!(
        mails.iter().map(|mail| mail.kind.as_str()).collect::<Vec<_>>(),
        ["email_change_current", "email_change"]
    );
    mails.remove(which)
}

fn is_for(usage: &str, good: &[&str]) -> bool {
    good.iter().any(|good| match good.split_once(' ') {
        Some((function, kind)) if !good.contains('(') => {
            usage.starts_with(&format!("verify_{function}")) && usage.contains(&format!("\"{kind}\""))
        }
        _ if *good == "email" => usage.contains("\"email\""),
        _ if *good == "flow" => usage.contains("\"flow\""),
        _ => usage.starts_with(good) && (!good.ends_with(')') || usage == *good),
    })
}

fn spend(app: &mut Client, usage: &str, mail: &Mail) -> String {
    let code = mail.code();
    let token = mail.payload["token"].as_str().unwrap_or("none");
    let call = usage.replace("$3", "$1");
    match usage.contains("$3") {
        true => said(app, &call, &[&token]),
        false => said(app, &call, &[&mail.recipient, &code]),
    }
}

/// XE12: of seven kinds of mail and twenty-one ways to spend one, only those are answered that the kind is for; all others are
/// refused in the same words and spend nothing.
#[test]
fn only_the_diagonal_passes() {
    let database = mailing(Cluster::shared(), json!({"lockout_attempts": null}));
    let mut app = database.app();
    for (kind, make, good) in KINDS {
        let kept = make(&database, &format!("{}@example.org", kind.replace('_', "-")));
        for (number, usage) in USES.into_iter().enumerate().filter(|(_, usage)| !is_for(usage, good)) {
            let expected = match usage {
                "exchange_code($3)" => "flow_state_not_found",
                "refresh($3)" => "refresh_token_not_found",
                "sign_in($1, $2)" => "invalid_credentials",
                _ => "otp_expired",
            };
            assert_eq!(spend(&mut app, usage, &kept), expected, "{kind}, {usage} ({number})");
        }
        assert_eq!(mails(&database).len(), 0, "{kind}");
        let right: Vec<&str> = USES.into_iter().filter(|usage| is_for(usage, good)).collect();
        for (number, usage) in right.iter().enumerate() {
            let mail = make(&database, &format!("{}-{number}@example.org", kind.replace('_', "-")));
            let expected = match *usage {
                usage if usage.starts_with("reset") => "password_changed",
                _ if kind.starts_with("email_change") => "confirmation_sent",
                _ => "session",
            };
            assert_eq!(spend(&mut app, usage, &mail), expected, "{kind}, {usage}");
            assert_eq!(spend(&mut app, usage, &mail), "otp_expired", "{kind}, {usage}, again");
            mails(&database);
        }
        // None of the wrong uses has spent it.
        if let Some(usage) = right.last() {
            assert_ne!(spend(&mut app, usage, &kept), "otp_expired", "{kind}");
        }
        mails(&database);
    }
}

/// B016, N11: who may call what: the functions of a visitor are everybody's but the administrator's login, those of the
/// signed-in are of no anonymous one, and the courier's are the sidecar's alone.
#[test]
fn who_may_call() {
    let database = Cluster::shared().database();
    let visitor = ["anon", "authenticated", "service_role", "auth_sidecar"];
    let table: [(&[&str], &[&str]); 5] = [
        (
            &[
                "send_otp(text, jsonb)",
                "send_magic_link(text, text, jsonb)",
                "sign_up_with_email(text, jsonb, jsonb)",
                "verify_sign_up(text, text, text, jsonb)",
                "verify_otp(text, text, jsonb)",
                "verify_link(text, jsonb)",
                "look_up_link(text, jsonb)",
                "resend(text, text, jsonb)",
                "send_sms_otp(text, jsonb)",
                "verify_sms_otp(text, text, jsonb)",
                "enroll_sms(text, jsonb)",
                "confirm_sms(uuid, text, jsonb)",
                "send_mfa_sms(text, uuid, jsonb)",
                "enroll_webauthn(text, jsonb)",
                "challenge_webauthn(text, uuid, jsonb)",
                "verify_webauthn(text, jsonb, jsonb)",
                "exchange_code(text, text, jsonb)",
                "request_password_reset(text, text, jsonb)",
                "reset_password(text, text, jsonb)",
                "reset_password_with_code(text, text, text, jsonb)",
                "redirect_allowed(text)",
            ],
            &visitor,
        ),
        (&["update_email(text, text, jsonb)", "reauthenticate(jsonb)"], &["authenticated", "auth_sidecar"]),
        (&["claim_outbox(integer, text[])", "settle_outbox(jsonb)"], &["auth_sidecar"]),
        (&["outbox_status()", "sidecar_status()"], &["auth_sidecar", "auth_admin"]),
        (&["adopt_outbox()", "add_webhook(text, text[])", "remove_webhook(uuid)"], &["auth_admin"]),
    ];
    let mut superuser = database.superuser();
    for (functions, callers) in table {
        for function in functions {
            for role in ["anon", "authenticated", "service_role", "auth_sidecar", "auth_admin", "pg_monitor"] {
                let may: bool = superuser
                    .query_one(
                        "select has_function_privilege($1::text, 'auth.' || $2::text, 'execute')",
                        &[&role, function],
                    )
                    .unwrap()
                    .get(0);
                assert_eq!(may, callers.contains(&role), "{role}, {function}");
            }
        }
    }
    {
        let internal = "auth.open_outbox(uuid, bytea)";
        for role in ["anon", "authenticated", "service_role", "auth_sidecar", "auth_admin"] {
            let may = "select has_function_privilege($1::text, $2::text, 'execute')";
            assert!(!superuser.query_one(may, &[&role, &internal]).unwrap().get::<_, bool>(0), "{role}, {internal}");
        }
    }
    assert_eq!(said(&mut database.admin(), "send_otp('ada@example.org')", &[]), "42501");
    assert_eq!(said(&mut database.app(), "claim_outbox(1)", &[]), "42501");
    // Signed in means a token, not a role.
    let mut app = database.app();
    for call in ["update_email('new@example.org')", "update_phone('+4915112345678')", "reauthenticate()"] {
        app.batch_execute("set role authenticated").unwrap();
        assert_eq!(said(&mut app, call, &[]), "no_authorization");
        assert_eq!(said(&mut database.sidecar(), call, &[]), "no_authorization");
    }
}
