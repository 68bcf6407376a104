//! Accounts that wait until an administrator approves them.

use auth_harness::{Cluster, Sidecar, acting, json, refused, sign_in, sign_up, storm_with, the_mail, try_acting};
use serde_json::{Value, json};

use crate::admin::{create, service, update};
use crate::guard::RIGHT;
use crate::otp::{answer, mailed, mailing, said};
use crate::refresh::configure;

const SIGN_IN: &str = "sign_in('ada@example.org', $1)";

/// B030: whoever signs up, in whatever way, is told to wait and has no session, not by password, mail or reset; the right password
/// says user_banned, a wrong one what it always says; once an administrator approves, it is an account like any other.
#[test]
fn nobody_comes_in_before_they_are_approved() {
    for mode in ["immediate", "confirm", "otp_first"] {
        let database = mailing(Cluster::shared(), json!({"require_approval": true, "signup_mode": mode}));
        let (mut app, mut service) = (database.app(), service(&database));
        let made = answer(&mut app, "sign_up('ada@example.org', $1)", &[&RIGHT]).unwrap();
        let pending = match mode {
            "immediate" => made,
            "confirm" => answer(&mut app, "verify_link($1)", &[&the_mail(&database).token()]).unwrap(),
            _ => answer(&mut app, "verify_sign_up('ada@example.org', $1)", &[&the_mail(&database).code()]).unwrap(),
        };
        assert_eq!(pending["status"], "approval_pending", "{mode}: {pending}");
        assert!(pending.get("access_token").is_none() && pending.get("refresh_token").is_none(), "{mode}");
        assert_eq!(pending["user"]["awaits_approval"], true, "{mode}");
        let is_proved = pending["user"]["email_confirmed_at"].is_string();
        assert_eq!(is_proved, mode != "immediate", "{mode}: the proof is kept");
        assert_eq!(said(&mut app, SIGN_IN, &[&RIGHT]), "user_banned", "{mode}");
        assert_eq!(said(&mut app, SIGN_IN, &[&"a wrong password"]), "invalid_credentials", "{mode}");
        for request in [
            "send_magic_link('ada@example.org')",
            "send_otp('ada@example.org')",
            "request_password_reset('ada@example.org')",
        ] {
            assert_eq!(said(&mut app, request, &[]), "code_sent", "{mode}");
        }
        assert_eq!(auth_harness::mails(&database).len(), 0, "{mode}: nobody is mailed a way in");
        let sessions = "select count(*) from auth.sessions";
        assert_eq!(database.superuser().query_one(sessions, &[]).unwrap().get::<_, i64>(0), 0, "{mode}");

        let id = &pending["user"]["id"];
        let mut transaction = service.transaction().unwrap();
        let uuid: uuid::Uuid = id.as_str().unwrap().parse().unwrap();
        transaction.execute("select auth.admin_update_user($1, '{\"approved\": true}')", &[&uuid]).unwrap();
        transaction.rollback().unwrap();
        assert_eq!(said(&mut app, SIGN_IN, &[&RIGHT]), "user_banned", "{mode}: rolled back");
        let approved = update(&mut service, id, json!({"approved": true}));
        assert!(approved.get("awaits_approval").is_none(), "{mode}");
        let ada = sign_in(&mut app, "ada@example.org", RIGHT);
        // And back: at the next statement.
        update(&mut service, id, json!({"approved": false}));
        assert_eq!(refused(try_acting(&mut app, &ada.access_token, |_| Ok(()))).code, "user_banned", "{mode}");
        assert_eq!(said(&mut app, "refresh($1)", &[&ada.refresh_token]), "user_banned", "{mode}");
        update(&mut service, id, json!({"approved": true}));
        acting(&mut app, &ada.access_token, |_| ());
        let log = json(&mut service, "select auth.admin_list_audit('{\"query\": \"action:approv\"}')", &[]);
        let said: Vec<&str> = log["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["payload"]["action"].as_str().unwrap())
            .collect();
        assert_eq!(said, ["user_approved", "user_unapproved", "user_approved", "approval_awaited"], "{mode}");
    }
}

/// B030: what an administrator makes or invites needs no approval; nobody approves themselves, and no guest comes in or stays by
/// another way; accounts of before go on.
#[test]
fn only_administrators_approve() {
    let database = mailing(Cluster::shared(), json!({}));
    let (mut app, mut service) = (database.app(), service(&database));
    let before = sign_up(&mut app, "before@example.org", RIGHT);
    let guest = json(&mut app, "select auth.sign_in_anonymously()", &[]);
    configure(&database, json!({"require_approval": true}));
    acting(&mut app, &before.access_token, |_| ());
    create(&mut service, json!({"email": "made@example.org", "password": RIGHT}));
    sign_in(&mut app, "made@example.org", RIGHT);
    let waiting = create(&mut service, json!({"email": "later@example.org", "password": RIGHT, "approved": false}));
    assert_eq!(waiting["awaits_approval"], true);
    json(&mut service, "select auth.invite_user('guest@example.org')", &[]);
    assert_eq!(said(&mut app, "verify_link($1)", &[&the_mail(&database).token()]), "session");

    assert_eq!(said(&mut app, "sign_in_anonymously()", &[]), "anonymous_provider_disabled");
    let token = guest["access_token"].as_str().unwrap();
    let refusal = refused(try_acting(&mut app, token, |transaction| {
        transaction.query("select auth.convert_anonymous('new@example.org', $1)", &[&RIGHT]).map(drop)
    }));
    assert_eq!(refusal.code, "signup_disabled");
    let data = json!({"approved": true, "awaits_approval": false});
    let made = answer(&mut app, "sign_up('eve@example.org', $1, $2)", &[&RIGHT, &data]).unwrap();
    assert_eq!((&made["status"], &made["user"]["awaits_approval"]), (&json!("approval_pending"), &json!(true)));
    let call = "admin_update_user($1::text::uuid, '{\"approved\": true}')";
    assert_eq!(said(&mut app, call, &[&made["user"]["id"].as_str()]), "42501");
    assert_eq!(
        said(&mut service, "admin_update_user($1::text::uuid, '{\"approved\": 1}')", &[&made["user"]["id"].as_str()]),
        "validation_failed"
    );
    // A code that was mailed before somebody had to be approved.
    configure(&database, json!({"require_approval": false, "signup_mode": "otp_first"}));
    let mail = mailed(&database, "sign_up('late@example.org', $1)", &[&RIGHT]);
    configure(&database, json!({"require_approval": true}));
    assert_eq!(said(&mut app, "verify_sign_up('late@example.org', $1)", &[&mail.code()]), "approval_pending");
    assert_eq!(said(&mut app, "verify_sign_up('late@example.org', $1)", &[&mail.code()]), "otp_expired", "once");
    // Many at once are one account, and it waits.
    configure(&database, json!({"signup_mode": "immediate"}));
    let answers = storm_with(
        8,
        |_| database.app(),
        |_, mut client| said(&mut client, "sign_up('one@example.org', $1)", &[&RIGHT]),
    );
    assert_eq!(answers.iter().filter(|answer| *answer == "approval_pending").count(), 1, "{answers:?}");
    assert!(
        answers.iter().all(|answer| ["approval_pending", "email_exists"].contains(&answer.as_str())),
        "{answers:?}"
    );
}

/// B030: over HTTP a sign-up answers the user without a session, as where an address is to be confirmed; a proof and a sign-in are
/// refused as user_banned, and the page leads to the app with that word.
#[test]
fn waiting_over_http() {
    let database = mailing(Cluster::shared(), json!({"require_approval": true}));
    let sidecar = Sidecar::start(&database, &[]);
    let account = json!({"email": "ada@example.org", "password": RIGHT});
    let made = sidecar.post("/signup").json(&account).send();
    assert_eq!((made.status, &made.json()["email"]), (200, &json!("ada@example.org")));
    assert_eq!((&made.json()["access_token"], &made.json()["awaits_approval"]), (&Value::Null, &json!(true)));
    let come_in = || sidecar.post("/token?grant_type=password").json(&account).send();
    assert_eq!((come_in().status, come_in().code()), (403, "user_banned"));

    configure(&database, json!({"signup_mode": "confirm"}));
    for (email, is_page) in [("eve@example.org", false), ("bob@example.org", true)] {
        sidecar.post("/signup").json(&json!({"email": email, "password": RIGHT})).send();
        let mail = the_mail(&database);
        if is_page {
            let form = format!("token={}&type=signup", mail.token());
            let reply = sidecar.post("/verify").body("application/x-www-form-urlencoded", &form).send();
            assert_eq!(reply.status, 303, "{reply:?}");
            let target = reply.header("location");
            assert!(target.contains("error_code=user_banned") && !target.contains("access_token"), "{target}");
        } else {
            let reply = sidecar.post("/verify").json(&json!({"type": "signup", "token_hash": mail.token()})).send();
            assert_eq!((reply.status, reply.code()), (403, "user_banned"), "{reply:?}");
        }
        let proved = "select email_confirmed_at is not null and awaits_approval from auth.users where email = $1";
        assert!(database.superuser().query_one(proved, &[&email]).unwrap().get::<_, bool>(0), "{email}");
    }
    let key = crate::admin::key(&database, "service_role");
    let path = format!("/admin/users/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(sidecar.put(&path).bearer(&key).json(&json!({"approved": true})).send().status, 200);
    // Its address was never proved.
    assert_eq!((come_in().status, come_in().code()), (400, "email_not_confirmed"));
    configure(&database, json!({"signup_mode": "immediate"}));
    assert_eq!(come_in().status, 200);
}
