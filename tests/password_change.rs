//! One's own password: changing it, setting the first one, and having to change it before a sign-in is finished.

use auth_harness::{
    Client, Cluster, Database, acting, claims, json, postgres, refused, sign_in, sign_up, storm_with, try_acting,
};
use serde_json::{Value, json};

use crate::admin::{key, service, update};
use crate::guard::guarded;
use crate::otp::{answer, mailed, mailing, proved, said};
use crate::refresh::{configure, standing};

const PASSWORD: &str = "correct horse battery";
const NEW: &str = "another good one";

/// The answer, or the code word of the refusal.
fn change(client: &mut Client, token: &str, current: Option<&str>, new: &str) -> Result<Value, String> {
    change_with(client, token, current, new, json!({}))
}

fn change_with(
    client: &mut Client,
    token: &str,
    current: Option<&str>,
    new: &str,
    options: Value,
) -> Result<Value, String> {
    let result = try_acting(client, token, |transaction| {
        let row = transaction.query_one("select auth.update_password($1, $2, $3)", &[&current, &new, &options])?;
        Ok(row.get::<_, Value>(0))
    });
    result.map_err(|error| refused::<()>(Err(error)).code)
}

fn stored(database: &Database) -> Option<String> {
    database.superuser().query_one("select encrypted_password from auth.users", &[]).unwrap().get(0)
}

/// F032: only who knows the current password changes it; a refused change leaves it as it was.
#[test]
fn the_current_password_is_asked_for() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let before = stored(&database);
    let token = &ada.access_token;
    for (current, new, expected) in [
        (Some("a wrong password"), NEW, "current_password_invalid"),
        (Some(""), NEW, "current_password_invalid"),
        (Some("a wrong one"), NEW, "current_password_invalid"),
        (Some(NEW), NEW, "same_password"),
        (None, NEW, "validation_failed"),
        (Some(PASSWORD), PASSWORD, "same_password"),
        (Some(PASSWORD), "short", "weak_password"),
        (Some(PASSWORD), &"x".repeat(73), "password_too_long"),
    ] {
        assert_eq!(change(&mut app, token, current, new), Err(expected.to_owned()), "{current:?} {new}");
    }
    for call in ["auth.update_password($1, null)", "auth.update_password($1, $1, '{\"no\": 1}')"] {
        let refusal = refused(try_acting(&mut app, token, |tx| tx.query(&format!("select {call}"), &[&PASSWORD])));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{call}");
    }
    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.authenticate($1)", &[token]).unwrap();
    transaction.execute("select auth.update_password($1, $2)", &[&PASSWORD, &NEW]).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(stored(&database), before, "nothing has changed");
    let user = change(&mut app, token, Some(PASSWORD), NEW).unwrap();
    assert_eq!((&user["id"], user.get("status")), (&json!(ada.user_id.to_string()), None));
    assert_eq!(refused(app.query("select auth.sign_in($1, $2)", &[&ada.email, &PASSWORD])).code, "invalid_credentials");
    sign_in(&mut app, &ada.email, NEW);
}

/// F032: nobody changes a password without being somebody, and everybody only their own.
#[test]
fn it_takes_a_signed_in_user() {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let call = "select auth.update_password($1, $2)";
    for role in ["anon", "authenticated"] {
        app.batch_execute(&format!("set role {role}")).unwrap();
        assert_eq!(refused(app.query(call, &[&PASSWORD, &NEW])).code, "no_authorization", "{role}");
    }
    app.batch_execute("reset role").unwrap();
    assert_eq!(refused(database.service().query(call, &[&PASSWORD, &NEW])).sqlstate, "42501");
    assert_eq!(change(&mut app, &key(&database, "anon"), Some(PASSWORD), NEW), Err("no_authorization".to_owned()));
}

/// B024: a change ends every other session, tells by mail, and stands in the audit; the own session goes on.
#[test]
fn a_change_ends_the_other_sessions_and_is_told() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let eve = sign_up(&mut app, "eve@example.org", PASSWORD);
    superuser.batch_execute("update auth.users set email_confirmed_at = now() where email like 'ada%'").unwrap();
    let other = sign_in(&mut app, "ada@example.org", PASSWORD);
    change(&mut app, &ada.access_token, Some(PASSWORD), NEW).unwrap();
    assert_eq!(standing(&mut app, &ada), None);
    assert_eq!(standing(&mut app, &eve), None);
    assert_eq!(standing(&mut app, &other).as_deref(), Some("session_not_found"));
    assert_eq!(refused(app.query("select auth.refresh($1)", &[&other.refresh_token])).code, "session_not_found");
    json(&mut app, "select auth.refresh($1)", &[&ada.refresh_token]);
    let mails = "select string_agg(kind || ' ' || recipient, ', ') from auth.outbox";
    let mails: Option<String> = superuser.query_one(mails, &[]).unwrap().get(0);
    assert_eq!(mails.as_deref(), Some("password_changed ada@example.org"));
    let audit = "select event_data from auth.audit_log where event_type = 'user_updated_password' and user_id = $1";
    assert_eq!(json(&mut superuser, audit, &[&ada.user_id]), json!({"sessions": 1}));
}

/// F032, XC7: guesses at the current password are those of sign-in: counted with them, locked with them, in both
/// directions.
#[test]
fn guesses_count_with_those_at_sign_in() {
    let database = guarded(Cluster::shared(), json!({}));
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let eve = sign_up(&mut app, "eve@example.org", PASSWORD);
    for _ in 0..2 {
        let refusal = refused(app.query("select auth.sign_in($1, 'wrong')", &[&ada.email]));
        assert_eq!(refusal.code, "invalid_credentials");
    }
    for _ in 0..3 {
        let answer = change(&mut app, &ada.access_token, Some("wrong"), NEW);
        assert_eq!(answer, Err("current_password_invalid".to_owned()));
    }
    assert_eq!(change(&mut app, &ada.access_token, Some(PASSWORD), NEW), Err("account_locked".to_owned()));
    assert_eq!(refused(app.query("select auth.sign_in($1, $2)", &[&ada.email, &PASSWORD])).code, "account_locked");
    change(&mut app, &eve.access_token, Some(PASSWORD), NEW).unwrap();
}

/// F032: whoever has no password sets the first one without; where the setting says so nobody is asked for the old one.
#[test]
fn a_first_password_needs_none() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    superuser.batch_execute("update auth.users set encrypted_password = null; truncate auth.password_state").unwrap();
    let token = &ada.access_token;
    assert_eq!(change(&mut app, token, Some("x"), NEW), Err("current_password_invalid".to_owned()));
    change(&mut app, token, None, NEW).unwrap();
    sign_in(&mut app, &ada.email, NEW);
    assert_eq!(change(&mut app, token, None, PASSWORD), Err("validation_failed".to_owned()));
    configure(&database, json!({"current_password_required": false}));
    assert_eq!(change(&mut app, token, None, NEW), Err("same_password".to_owned()));
    assert_eq!(change(&mut app, token, Some("wrong"), PASSWORD), Err("current_password_invalid".to_owned()));
    change(&mut app, token, None, PASSWORD).unwrap();
    sign_in(&mut app, &ada.email, PASSWORD);
}

/// XB10: an aged session alone is not enough where the setting asks for more: it takes a mailed code, once.
#[test]
fn an_aged_session_has_to_prove_itself_again() {
    let database = Cluster::shared().database();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    configure(&database, json!({"reauthentication_required": true, "current_password_required": false}));
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    superuser.batch_execute("update auth.users set email_confirmed_at = now()").unwrap();
    let token = &ada.access_token;
    change(&mut app, token, Some(PASSWORD), NEW).unwrap();
    superuser.batch_execute("update auth.sessions set created_at = now() - interval '25 hours'").unwrap();
    let with = |app: &mut Client, nonce: &str| change_with(app, token, None, PASSWORD, json!({"nonce": nonce}));
    assert_eq!(change(&mut app, token, None, PASSWORD), Err("reauthentication_needed".to_owned()));
    assert_eq!(change(&mut app, token, Some(NEW), PASSWORD), Err("reauthentication_needed".to_owned()));
    assert_eq!(with(&mut app, "000000"), Err("reauthentication_not_valid".to_owned()));
    let sent = acting(&mut app, token, |transaction| json(transaction, "select auth.reauthenticate()", &[]));
    assert_eq!(sent, json!({"status": "code_sent"}));
    let mail = "select payload ->> 'code' from auth.claim_outbox(10) where kind = 'reauthentication'";
    let code: String = database.sidecar().query_one(mail, &[]).unwrap().get(0);
    with(&mut app, &code).unwrap();
    let answer = change_with(&mut app, token, None, NEW, json!({"nonce": code}));
    assert_eq!(answer, Err("reauthentication_not_valid".to_owned()), "a code is good once");
    sign_in(&mut app, &ada.email, PASSWORD);
}

/// F032: of two changes at once from the same password one wins, and the other has changed nothing.
#[test]
fn of_two_changes_at_once_one_wins() {
    let database = Cluster::shared().database();
    let ada = sign_up(&mut database.app(), "ada@example.org", PASSWORD);
    let results = storm_with(
        4,
        |_| database.app(),
        |number, mut app| {
            let new = format!("new password {number}");
            change(&mut app, &ada.access_token, Some(PASSWORD), &new).map(|_| new)
        },
    );
    let won: Vec<&String> = results.iter().flatten().collect();
    assert_eq!(won.len(), 1, "{results:?}");
    let lost = ["current_password_invalid", "conflict"];
    assert!(results.iter().all(|result| result.as_ref().err().is_none_or(|code| lost.contains(&code.as_str()))));
    sign_in(&mut database.app(), &ada.email, won[0]);
}

/// B023: a password marked as compromised ends all sessions, and the next sign-in gets a token that changes it and does
/// nothing else; the change makes it a session.
#[test]
fn a_compromised_password_has_to_be_changed_first() {
    let database = Cluster::shared().database();
    let (mut app, mut service, mut superuser) = (database.app(), service(&database), database.superuser());
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    update(&mut service, &json!(ada.user_id.to_string()), json!({"must_change_password": true}));
    assert_eq!(standing(&mut app, &ada).as_deref(), Some("session_not_found"));
    assert_eq!(refused(app.query("select auth.sign_in($1, 'wrong')", &[&ada.email])).code, "invalid_credentials");
    let answer = json(&mut app, "select auth.sign_in($1, $2)", &[&ada.email, &PASSWORD]);
    assert_eq!((&answer["status"], answer.get("refresh_token")), (&json!("password_change_required"), None));
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!((&claims(token)["role"], &claims(token)["token_type"]), (&json!("anon"), &json!("restricted")));
    acting(&mut app, token, |transaction| {
        assert!(json(transaction, "select to_jsonb(auth.uid())", &[]).is_null(), "nobody in policies");
        assert!(json(transaction, "select auth.get_user()", &[]).is_null());
    });
    for call in ["auth.update_user('{}')", "auth.sign_out()", "auth.convert_anonymous('a@x.io', 'correct horse')"] {
        let refusal = refused(try_acting(&mut app, token, |tx| tx.query(&format!("select {call}"), &[]).map(drop)));
        assert_eq!(refusal.code, "no_authorization", "{call}");
    }
    assert_eq!(change(&mut app, token, None, PASSWORD), Err("same_password".to_owned()));
    assert_eq!(change(&mut app, token, Some("wrong"), NEW), Err("current_password_invalid".to_owned()));
    assert_eq!(change(&mut app, token, None, "short"), Err("weak_password".to_owned()));
    // A sign-in that waits for something else is not finished by a new password.
    superuser.batch_execute("update auth.sessions set restricted = 'mfa'").unwrap();
    assert_eq!(change(&mut app, token, None, NEW), Err("no_authorization".to_owned()));
    superuser.batch_execute("update auth.sessions set restricted = 'password_change'").unwrap();

    let other = json(&mut app, "select auth.sign_in($1, $2)", &[&ada.email, &PASSWORD]);
    let session = change(&mut app, token, None, NEW).unwrap();
    assert_eq!(session["status"], "session");
    let person = session["access_token"].as_str().unwrap();
    acting(&mut app, person, |transaction| {
        assert_eq!(json(transaction, "select to_jsonb(auth.uid())", &[]), json!(ada.user_id.to_string()));
    });
    json(&mut app, "select auth.refresh($1)", &[&session["refresh_token"].as_str()]);
    // The token of before is still nobody's, and finishes nothing a second time; the other sign-in is over.
    acting(&mut app, token, |tx| assert!(json(tx, "select to_jsonb(auth.uid())", &[]).is_null()));
    assert_eq!(change(&mut app, token, None, PASSWORD), Err("no_authorization".to_owned()));
    let other = other["access_token"].as_str().unwrap();
    assert_eq!(change(&mut app, other, None, PASSWORD), Err("session_not_found".to_owned()));
    sign_in(&mut app, &ada.email, NEW);
}

/// B023: rolled back, the change is still to be made; a new password from an administrator may have to be changed too, and
/// the demand can be taken back.
#[test]
fn a_demand_stays_until_it_is_met() {
    let database = Cluster::shared().database();
    let (mut app, mut service) = (database.app(), service(&database));
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    let id = json!(ada.user_id.to_string());
    update(&mut service, &id, json!({"password": NEW, "must_change_password": true}));
    let status = |app: &mut Client, password: &str| -> Result<Value, postgres::Error> {
        app.query_one("select auth.sign_in($1, $2) -> 'status'", &[&ada.email, &password]).map(|row| row.get(0))
    };
    assert_eq!(status(&mut app, NEW).unwrap(), "password_change_required");
    let token = json(&mut app, "select auth.sign_in($1, $2)", &[&ada.email, &NEW]);
    let mut transaction = app.transaction().unwrap();
    transaction.execute("select auth.authenticate($1)", &[&token["access_token"].as_str()]).unwrap();
    transaction.execute("select auth.update_password(null, $1)", &[&PASSWORD]).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(status(&mut app, NEW).unwrap(), "password_change_required");
    update(&mut service, &id, json!({"must_change_password": false}));
    assert_eq!(status(&mut app, NEW).unwrap(), "session");
    update(&mut service, &id, json!({"must_change_password": true}));
    update(&mut service, &id, json!({"password": PASSWORD}));
    assert_eq!(status(&mut app, PASSWORD).unwrap(), "session", "the administrator's new one is good");
}

/// F035, XB10: a session that began by the mail of a reset changes the password without the current one for a quarter of an hour;
/// an older one, one that began otherwise, and one that has no second factor where there is one are held up as ever.
#[test]
fn a_reset_is_proof_for_a_while() {
    let database = mailing(Cluster::shared(), json!({"security_notices": false}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let ada = proved(&database, "ada@example.org");
    let open = |call: &str, by: &str| {
        let mail = mailed(&database, call, &[&ada.email]);
        let options = json!({"type": by});
        let call = "verify_otp($1, $2, $3)";
        let session = answer(&mut database.app(), call, &[&ada.email, &mail.code(), &options]).unwrap();
        session["access_token"].as_str().unwrap().to_owned()
    };
    let reset = || open("request_password_reset($1)", "recovery");
    let asked = Err("validation_failed".to_owned());
    let amr = |superuser: &mut Client, amr: Value| {
        superuser.execute("update auth.sessions set amr = $1", &[&amr]).unwrap();
    };

    let token = reset();
    assert_eq!(change(&mut app, &token, Some("wrong"), NEW), Err("current_password_invalid".to_owned()));
    change(&mut app, &token, None, NEW).unwrap();
    sign_in(&mut app, &ada.email, NEW);

    configure(&database, json!({"implicit_flow": false}));
    let mail = mailed(&database, "request_password_reset($1)", &[&ada.email]);
    let link = answer(&mut app, "verify_link($1, '{\"flow\": \"redirect\"}')", &[&mail.token()]).unwrap();
    let session = answer(&mut app, "exchange_code($1)", &[&link["code"].as_str()]).unwrap();
    change(&mut app, session["access_token"].as_str().unwrap(), None, PASSWORD).unwrap();
    let token = sign_in(&mut app, &ada.email, PASSWORD).access_token;
    change(&mut app, &token, Some(PASSWORD), NEW).unwrap();

    let token = reset();
    superuser.batch_execute("update auth.sessions set created_at = created_at - interval '15 minutes'").unwrap();
    assert_eq!(change(&mut app, &token, None, PASSWORD), asked);
    change(&mut app, &token, Some(NEW), PASSWORD).unwrap();

    assert_eq!(change(&mut app, &open("send_otp($1)", "email"), None, NEW), asked);
    let token = sign_in(&mut app, &ada.email, PASSWORD).access_token;
    assert_eq!(change(&mut app, &token, None, NEW), asked);
    amr(&mut superuser, json!([{"method": "password"}, {"method": "recovery"}]));
    assert_eq!(change(&mut app, &token, None, NEW), asked);

    let token = reset();
    superuser
        .batch_execute(
            "insert into auth.mfa_factors (id, user_id, factor_type, status, friendly_name)
            select gen_random_uuid(), id, 'totp', 'verified', 'app' from auth.users",
        )
        .unwrap();
    assert_eq!(change(&mut app, &token, None, NEW), Err("insufficient_aal".to_owned()));
    assert_eq!(said(&mut app, "sign_in($1, $2)", &[&ada.email, &PASSWORD]), "mfa_required");
}
