//! Invitations and links that an administrator hands on, and who may make them; and who gets in by any door.

use auth_harness::{Cluster, Database, claims, json, mails, refused, sign_up, the_mail};
use serde_json::{Value, json};

use crate::admin::service;
use crate::guard::RIGHT;
use crate::otp::{answer, mailing, said};
use crate::refresh::configure;

fn invite(database: &Database, email: &str, options: Value) -> Value {
    answer(&mut service(database), "invite_user($1, '{\"name\": \"Eve\"}', $2)", &[&email, &options]).unwrap()
}

/// B055: an invitation makes an account that nobody can use before its owner follows the mail; it carries what the inviter
/// says of it, ends when it says, may be repeated, and the newest one counts. A proved address is not invited again.
#[test]
fn an_invited_person_comes_in_by_the_mail() {
    let database = mailing(Cluster::shared(), json!({"signup_mode": "confirm"}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let user = invite(&database, "eve@example.org", json!({"app_metadata": {"team": "red"}, "expires_in": 3600}));
    assert_eq!((&user["app_metadata"]["team"], &user["user_metadata"]["name"]), (&json!("red"), &json!("Eve")));
    assert!(user["invited_at"].is_string() && user.get("email_confirmed_at").is_none(), "{user}");
    let first = the_mail(&database);
    assert_eq!((&*first.kind, &*first.recipient, first.text("type")), ("invite", "eve@example.org", "invite"));
    let lives: bool = superuser
        .query_one(
            "select expires_at between now() + interval '59 minutes' and now() + interval '61 minutes'
            from auth.one_time_tokens where purpose = 'invite'",
            &[],
        )
        .unwrap()
        .get(0);
    assert!(lives, "expires_in is how long the link is good");
    assert_eq!(said(&mut app, "sign_in('eve@example.org', $1)", &[&RIGHT]), "invalid_credentials");

    let again = invite(&database, "eve@example.org", json!({}));
    assert_eq!(again["id"], user["id"]);
    let second = the_mail(&database);
    assert_eq!(said(&mut app, "verify_link($1)", &[&first.token()]), "otp_expired");
    let session = answer(&mut app, "verify_otp('eve@example.org', $1, '{\"type\": \"invite\"}')", &[&second.code()]);
    let session = session.unwrap();
    assert_eq!((&session["user"]["id"], &session["status"]), (&user["id"], &json!("session")));
    assert_eq!(claims(session["access_token"].as_str().unwrap())["app_metadata"]["team"], "red");
    assert_eq!(said(&mut app, "verify_link($1)", &[&second.token()]), "otp_expired");

    let refusal = answer(&mut service(&database), "invite_user('eve@example.org')", &[]).unwrap_err();
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("23505", "email_exists"));
    for options in
        [json!({"expires_in": 59}), json!({"expires_in": "1 hour"}), json!({"app_metadata": []}), json!({"x": 1})]
    {
        let refusal = answer(&mut service(&database), "invite_user('new@example.org', '{}', $1)", &[&options]);
        assert_eq!(refusal.unwrap_err().code, "validation_failed", "{options}");
    }
}

/// B016, B055: nobody but a holder of the service key invites or makes links: not an app, not a signed-in user, and through the
/// sidecar only with a token of that role. What is rolled back leaves neither account nor mail.
#[test]
fn only_the_service_key_invites() {
    let database = mailing(Cluster::shared(), json!({}));
    let ada = sign_up(&mut database.app(), "ada@example.org", RIGHT);
    let keys: Vec<String> = ["anon", "service_role"]
        .map(|role| json(&mut database.superuser(), "select auth.create_key($1)", &[&role]))
        .map(|key| key["key"].as_str().unwrap().to_owned())
        .to_vec();
    let calls = ["invite_user('eve@example.org')", "admin_generate_link('magiclink', 'ada@example.org')"];
    for call in calls {
        let statement = format!("select auth.{call}");
        for login in ["app", "admin"] {
            assert_eq!(refused(database.connect(login).execute(&statement, &[])).sqlstate, "42501", "{login}: {call}");
        }
        for (token, code) in
            [(None, "no_authorization"), (Some(&ada.access_token), "not_admin"), (Some(&keys[0]), "not_admin")]
        {
            let mut sidecar = database.sidecar();
            let mut transaction = sidecar.transaction().unwrap();
            if let Some(token) = token {
                transaction.execute("select set_config('auth.token', $1, true)", &[token]).unwrap();
            }
            assert_eq!(refused(transaction.execute(&statement, &[])).code, code, "{call}");
        }
        let mut service = service(&database);
        let mut transaction = service.transaction().unwrap();
        transaction.execute(&statement, &[]).unwrap();
        transaction.rollback().unwrap();
    }
    assert_eq!(mails(&database).len(), 0);
    let mut sidecar = database.sidecar();
    let mut transaction = sidecar.transaction().unwrap();
    transaction.execute("select set_config('auth.token', $1, true)", &[&keys[1]]).unwrap();
    let link = json(&mut transaction, "select auth.admin_generate_link('magiclink', 'ada@example.org')", &[]);
    transaction.commit().unwrap();
    assert_eq!(mails(&database).len(), 0, "the link is handed on, not mailed");
    let mut app = database.app();
    let session = answer(&mut app, "verify_link($1)", &[&link["hashed_token"].as_str()]).unwrap();
    assert_eq!(session["user"]["id"], ada.user_id.to_string());
    assert_eq!(said(&mut app, "verify_link($1)", &[&link["hashed_token"].as_str()]), "otp_expired");
}

/// XA1: a link that an administrator makes for an account that somebody else may have made confirms no password of theirs.
#[test]
fn a_handed_link_confirms_no_strangers_password() {
    let database = mailing(Cluster::shared(), json!({"signup_mode": "confirm"}));
    let mut app = database.app();
    let call = "admin_generate_link('signup', $1, '{\"password\": \"correct horse battery\"}')";
    for (email, is_strangers) in [("ada@example.org", true), ("bob@example.org", false)] {
        if is_strangers {
            answer(&mut app, "sign_up($1, 'the password of a stranger')", &[&email]).unwrap();
        }
        let link = answer(&mut service(&database), call, &[&email]).unwrap();
        assert_eq!(said(&mut app, "verify_link($1)", &[&link["hashed_token"].as_str()]), "session");
        assert_eq!(said(&mut app, "sign_in($1, 'the password of a stranger')", &[&email]), "invalid_credentials");
        let own = said(&mut app, "sign_in($1, 'correct horse battery')", &[&email]);
        assert_eq!(own == "session", !is_strangers, "{own}");
    }
}

/// B055, B030, XA1: who is invited to an account that nobody has proved gets what the invitation says, over what was there, and waits
/// for nobody; what a stranger had set on it, or holds of it, is nothing from then on.
#[test]
fn inviting_to_an_account_that_was_there() {
    let settings = json!({"require_approval": true});
    let calls = [
        "invite_user($1, '{\"name\": \"Eve\", \"from\": null}', '{\"app_metadata\": {\"team\": \"red\"}}') ->> 'id'",
        "admin_generate_link('invite', $1, '{\"data\": {\"name\": \"Eve\", \"from\": null}}') -> 'user' ->> 'id'",
    ];
    for (number, call) in calls.into_iter().enumerate() {
        let database = mailing(Cluster::shared(), settings.clone());
        let (mut app, mut service, mut superuser) = (database.app(), service(&database), database.superuser());
        let up = "sign_up('eve@example.org', $1, '{\"name\": \"X\", \"from\": \"here\", \"age\": 3}')";
        assert_eq!(said(&mut app, up, &[&RIGHT]), "approval_pending");
        superuser.batch_execute("update auth.users set awaits_approval = false").unwrap();
        let stranger = auth_harness::sign_in(&mut app, "eve@example.org", RIGHT);
        superuser.batch_execute("update auth.users set awaits_approval = true").unwrap();
        let id: String = service.query_one(&format!("select auth.{call}"), &[&"eve@example.org"]).unwrap().get(0);
        assert_eq!(id, stranger.user_id.to_string());
        let user = json(&mut superuser, "select to_jsonb(u) from auth.users as u", &[]);
        assert!(user["invited_at"].is_string() && user["awaits_approval"] == false, "{user}");
        assert_eq!(user["raw_user_meta_data"], json!({"name": "Eve", "age": 3}));
        let team = if number == 0 { json!("red") } else { Value::Null };
        assert_eq!(
            (&user["raw_app_meta_data"]["team"], &user["raw_app_meta_data"]["provider"]),
            (&team, &json!("email"))
        );
        assert_eq!(said(&mut app, "sign_in('eve@example.org', $1)", &[&RIGHT]), "invalid_credentials");
        assert!(crate::refresh::standing(&mut app, &stranger).is_some());
        assert!(crate::refresh::refresh(&mut app, &stranger.refresh_token).is_err());

        let mail = match number {
            0 => the_mail(&database).token().to_owned(),
            _ => answer(&mut service, "admin_generate_link('invite', 'eve@example.org')", &[]).unwrap()["hashed_token"]
                .as_str()
                .unwrap()
                .to_owned(),
        };
        let session = answer(&mut app, "verify_link($1)", &[&mail]).unwrap();
        assert_eq!((&session["status"], &session["user"]["id"]), (&json!("session"), &json!(id)));
        assert_eq!(
            session["user"]["user_metadata"],
            json!({"name": "Eve", "age": 3}),
            "an invitation adds nothing by silence"
        );
    }
}

/// A way in, and what it needs: the person's address and the newest mail to it.
type Way = fn(&Database, &str) -> String;

/// XA18: whoever is banned, deleted or not confirmed where that is asked for gets in by no door, whatever they prove; by mail
/// the proof of the address is the confirmation itself.
#[test]
fn no_way_in_forgets_who_is_not_welcome() {
    let database = mailing(Cluster::shared(), json!({"enable_magic_link": true, "reset_returns_session": true}));
    let handed = |database: &Database, kind: &str, email: &str| {
        let answer = answer(&mut service(database), "admin_generate_link($1, $2)", &[&kind, &email]);
        answer.map_or_else(|refusal| refusal.code, |link| link["hashed_token"].as_str().unwrap().to_owned())
    };
    let ways: [(&str, Way, &str); 5] = [
        (
            "password",
            |database, email| said(&mut database.app(), "sign_in($1, $2)", &[&email, &RIGHT]),
            "email_not_confirmed",
        ),
        ("link", |database, token| said(&mut database.app(), "verify_link($1)", &[&token]), "session"),
        (
            "redirect",
            |database, token| {
                let link = answer(&mut database.app(), "verify_link($1, '{\"flow\": \"redirect\"}')", &[&token]);
                match link {
                    Ok(link) if link["status"] == "redirect" => {
                        said(&mut database.app(), "exchange_code($1)", &[&link["code"].as_str()])
                    }
                    Ok(link) => link["status"].as_str().unwrap().to_owned(),
                    Err(refusal) => refusal.code,
                }
            },
            "session",
        ),
        (
            "reset",
            |database, token| said(&mut database.app(), "reset_password($1, 'another horse battery')", &[&token]),
            "session",
        ),
        ("refresh", |database, token| said(&mut database.app(), "refresh($1)", &[&token]), "session"),
    ];
    let states: [(&str, &str, &[&str]); 3] = [
        ("banned", "update auth.users set banned_until = 'infinity' where email = $1", &["user_banned"]),
        (
            "deleted",
            "update auth.users set deleted_at = now() where email = $1",
            &["invalid_credentials", "otp_expired", "user_not_found", "session_not_found"],
        ),
        ("unconfirmed", "update auth.users set email_confirmed_at = null where email = $1", &[]),
    ];
    for (state, change, refusals) in states {
        for (name, way, unconfirmed) in &ways {
            let email = format!("{state}_{name}@example.org");
            let person = sign_up(&mut database.app(), &email, RIGHT);
            let secret = match *name {
                "password" => email.clone(),
                "reset" => handed(&database, "recovery", &email),
                "refresh" => person.refresh_token.clone(),
                _ => handed(&database, "magiclink", &email),
            };
            configure(&database, json!({"signup_mode": "confirm", "implicit_flow": *name != "redirect"}));
            database.superuser().execute(change, &[&email]).unwrap();
            let outcome = way(&database, &secret);
            match refusals {
                [] => assert_eq!(outcome, *unconfirmed, "{state}: {name}"),
                refusals => assert!(refusals.contains(&outcome.as_str()), "{state}: {name}: {outcome}"),
            }
            configure(&database, json!({"signup_mode": "immediate", "implicit_flow": true}));
        }
    }
}
