//! PUT /user: what clients change of the account, in the cases where the request is not simply handed on.

use auth_harness::Sidecar;
use serde_json::{Value, json};

use crate::admin::{service, update};
use crate::http_accounts::{PASSWORD, refused, sign_up, text};
use crate::http_links::{database, mailed};

/// B023: whoever has to change the password does so by PUT /user, whose answer is the user; the refresh token of the sign-in goes on
/// as a full session. Nothing else can be asked for with it, and then nothing has happened.
#[test]
fn a_password_that_has_to_be_changed() {
    let database = database();
    database.admin().execute("select auth.configure($1)", &[&json!({"signup_mode": "immediate"})]).unwrap();
    let sidecar = Sidecar::start(&database, &[]);
    let ada = sign_up(&sidecar, "ada@example.org");
    update(&mut service(&database), &ada["user"]["id"], json!({"must_change_password": true}));
    let sign_in = |password: &str| {
        let body = json!({"email": "ada@example.org", "password": password});
        sidecar.post("/token?grant_type=password").json(&body).send()
    };
    let session = sign_in(PASSWORD).json();
    let put = |changes: Value| sidecar.put("/user").bearer(text(&session["access_token"])).json(&changes).send();
    let new = "another horse battery";
    for more in [json!({"data": {"name": "Ada"}}), json!({"email": "lovelace@example.org"})] {
        let mut changes = more.clone();
        changes["password"] = json!(new);
        refused(&put(changes), 401, "no_authorization");
        assert_eq!((sign_in(PASSWORD).status, sign_in(new).status), (200, 400), "{more}");
    }
    refused(&put(json!({"password": PASSWORD})), 422, "same_password");
    let reply = put(json!({"password": new}));
    assert_eq!((reply.status, &reply.json()["id"]), (200, &ada["user"]["id"]), "{reply:?}");
    assert!(reply.json().get("access_token").is_none() && reply.json()["identities"].is_array(), "{reply:?}");
    assert_eq!((sign_in(PASSWORD).status, sign_in(new).status), (400, 200));
    let body = json!({"refresh_token": session["refresh_token"]});
    let next = sidecar.post("/token?grant_type=refresh_token").json(&body).send().json();
    let user = sidecar.get("/user").bearer(text(&next["access_token"])).send();
    assert_eq!((user.status, &user.json()["email"]), (200, &json!("ada@example.org")), "{user:?}");
}

/// F035: as the default has it: a session that began by the mail of a reset, by its code or its link, sets a password without
/// the current one; another session does not.
#[test]
fn a_reset_needs_no_current_password() {
    let database = database();
    database.admin().execute("select auth.configure($1)", &[&json!({"signup_mode": "immediate"})]).unwrap();
    let sidecar = Sidecar::start(&database, &[]);
    let ada = sign_up(&sidecar, "ada@example.org");
    let put = |session: &Value, password: &str| {
        sidecar.put("/user").bearer(text(&session["access_token"])).json(&json!({"password": password})).send()
    };
    // Else the proof of the address is what makes the password void.
    database.superuser().batch_execute("update auth.users set email_confirmed_at = now()").unwrap();
    refused(&put(&ada, "another horse battery"), 400, "validation_failed");
    for (number, by_link) in [false, true].into_iter().enumerate() {
        let reply = sidecar.post("/recover").json(&json!({"email": "ada@example.org"})).send();
        assert_eq!(reply.status, 200, "{reply:?}");
        let mail = mailed(&database, "ada@example.org");
        let body = match by_link {
            true => json!({"token_hash": mail["token"], "type": "recovery"}),
            false => json!({"email": "ada@example.org", "token": mail["code"], "type": "recovery"}),
        };
        let session = sidecar.post("/verify").json(&body).send().json();
        let new = format!("another horse battery {number}");
        let reply = put(&session, &new);
        assert_eq!((reply.status, &reply.json()["email"]), (200, &json!("ada@example.org")), "{by_link}: {reply:?}");
        let body = json!({"email": "ada@example.org", "password": new});
        assert_eq!(sidecar.post("/token?grant_type=password").json(&body).send().status, 200, "{by_link}");
    }
}

/// B027: clients send the whole form: the own address and number among it are no change, and nothing is mailed or sent for them.
#[test]
fn what_is_there_already_is_no_change() {
    let database = database();
    database
        .admin()
        .execute("select auth.configure($1)", &[&json!({"signup_mode": "immediate", "enable_sms": true})])
        .unwrap();
    let sidecar = Sidecar::start(&database, &[]);
    let ada = sign_up(&sidecar, "ada@example.org");
    let token = text(&ada["access_token"]);
    let put = |changes: Value| sidecar.put("/user").bearer(token).json(&changes).send();
    let sent = || -> i64 { database.superuser().query_one("select count(*) from auth.outbox", &[]).unwrap().get(0) };
    // Nobody has proved them yet.
    refused(&put(json!({"email": "ada@example.org"})), 400, "validation_failed");
    database
        .superuser()
        .batch_execute(
            "update auth.users set email_confirmed_at = now(), phone = '4915112345678', phone_confirmed_at = now()",
        )
        .unwrap();
    let reply = put(json!({"email": "Ada@Example.org", "data": {"name": "Ada"}}));
    assert_eq!((reply.status, &reply.json()["user_metadata"]["name"]), (200, &json!("Ada")), "{reply:?}");
    assert_eq!((reply.json().get("new_email"), sent()), (None, 0));
    for phone in ["+4915112345678", "4915112345678"] {
        let reply = put(json!({"phone": phone, "data": {"name": "Augusta"}}));
        assert_eq!((reply.status, reply.json().get("new_phone"), sent()), (200, None, 0), "{reply:?}");
    }
    refused(&put(json!({"phone": "+4915112345679"})), 400, "validation_failed");
    let reply = put(json!({"phone": "+4915112345679", "current_password": PASSWORD}));
    assert_eq!((&reply.json()["new_phone"], sent()), (&json!("4915112345679"), 1), "{reply:?}");
    let reply = put(json!({"email": "lovelace@example.org", "current_password": PASSWORD}));
    assert_eq!((&reply.json()["new_email"], sent()), (&json!("lovelace@example.org"), 3), "{reply:?}");
}
