//! Second factors in sessions: the restricted one between the steps, the one of level aal1 where policies decide, and what
//! raising and lowering them does.

use auth_harness::authenticator::{Algorithm, Authenticator, USER_PRESENT};
use auth_harness::{
    Client, Cluster, Database, Person, ToSql, acting, claims, json, refused, sign_in, sign_up, try_acting,
};
use serde_json::{Value, json};

use crate::guard::{RIGHT, guarded};
use crate::mfa::{Enrolled, ada, as_user, count, enroll, first_step, forget_steps, said_as};
use crate::otp::{answer, mailed, said};
use crate::passkey::{ORIGIN, finish_sign_in, register, start_sign_in};
use crate::refresh::{configure, refresh};
use crate::sms::{ADA, texted, texting};

/// Rows that everybody who is signed in may see, and rows for two factors.
fn with_rows(database: &Database) {
    database
        .superuser()
        .batch_execute(
            "create table public.papers (secret boolean);
            insert into public.papers values (false), (true);
            alter table public.papers enable row level security;
            grant select on public.papers to anon, authenticated;
            create policy plain on public.papers to authenticated using (not secret);
            create policy careful on public.papers to authenticated using (secret and auth.aal() = 'aal2')",
        )
        .unwrap();
}

fn seen(app: &mut Client, token: &str) -> i64 {
    acting(app, token, |transaction| transaction.query_one("select count(*) from public.papers", &[]).unwrap().get(0))
}

/// The session that clients of Supabase Auth get before the second step.
fn before_second(app: &mut Client) -> Value {
    let answer = answer(app, "sign_in('ada@example.org', $1, '{\"mfa\": \"session\"}')", &[&RIGHT]).unwrap();
    assert_eq!(answer["status"], "session", "{answer}");
    answer
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap()
}

/// Takes the second step in a session.
#[track_caller]
fn raise(app: &mut Client, token: &str, ada: &Enrolled) -> Value {
    let challenge = as_user(app, token, &format!("challenge_factor('{}')", ada.factor_id));
    assert_eq!((text(&challenge, "type"), text(&challenge, "factor_id")), ("totp", &*ada.factor_id));
    as_user(app, token, &format!("verify_totp('{}', '{}')", text(&challenge, "id"), ada.app.code_at(1)))
}

/// F141, XD13, XD14, XE18: between the factors no token satisfies a policy, and what was issued there does nothing but take the second
/// step: not its access token, not its refresh token and its successors, and not after the session was raised either.
#[test]
fn between_the_steps_nobody_is_anybody() {
    let database = guarded(Cluster::shared(), json!({"refresh_reuse_interval": 10, "refresh_reuse_scope": "session"}));
    with_rows(&database);
    let ada = ada(&database);
    let mut app = database.app();
    assert_eq!(seen(&mut app, &ada.person.access_token), 2);
    let first = before_second(&mut app);
    let token = text(&first, "access_token");
    let said_by = claims(token);
    assert_eq!(
        (&said_by["role"], &said_by["token_type"], &said_by["aal"]),
        (&json!("anon"), &json!("restricted"), &json!("aal1"))
    );
    assert_eq!(first["user"]["user_metadata"], json!({}));
    assert_eq!(first["user"]["factors"][0]["id"], json!(ada.factor_id));
    let later = refresh(&mut app, text(&first, "refresh_token")).unwrap();
    for token in [token, text(&later, "access_token")] {
        assert_eq!(seen(&mut app, token), 0);
        assert!(acting(&mut app, token, |transaction| json(transaction, "select to_jsonb(auth.uid())", &[])).is_null());
        let allowed = ["list_factors", "challenge_factor", "get_user", "sign_out", "verify_totp"];
        let factor = &ada.factor_id;
        for call in [
            "update_user('{}')".to_owned(),
            "update_password($$correct horse battery$$, $$staple correct horse$$)".to_owned(),
            "update_email('new@example.org', $$correct horse battery$$)".to_owned(),
            "update_phone('+4915112345678', $$correct horse battery$$)".to_owned(),
            "convert_anonymous('new@example.org', $$correct horse battery$$)".to_owned(),
            "reauthenticate()".to_owned(),
            "get_session()".to_owned(),
            "revoke_sessions()".to_owned(),
            "enroll_totp('mine')".to_owned(),
            format!("confirm_totp('{factor}', '000000')"),
            format!("unenroll_factor('{factor}')"),
            format!("disable_totp('{}')", ada.app.code_at(1)),
            "regenerate_recovery_codes()".to_owned(),
            "count_recovery_codes()".to_owned(),
        ] {
            assert!(!allowed.iter().any(|name| call.starts_with(name)));
            let result = try_acting(&mut app, token, |transaction| {
                transaction.query_one(&format!("select to_jsonb(auth.{call})"), &[])
            });
            match result {
                Ok(row) => assert!(row.get::<_, Option<Value>>(0).is_none(), "{call} answered"),
                Err(error) => {
                    let refusal = refused::<()>(Err(error));
                    assert!(refusal.code == "no_authorization" || refusal.sqlstate == "42501", "{call}: {refusal:?}");
                }
            }
        }
    }
    let raised = raise(&mut app, text(&later, "access_token"), &ada);
    assert_eq!(seen(&mut app, text(&raised, "access_token")), 2);
    assert_eq!(claims(text(&raised, "access_token"))["session_id"], said_by["session_id"], "the same session");
    assert_eq!(seen(&mut app, token), 0, "a token from before stays what it was");
    // XD8: whoever has the refresh token from before the second step does not get the session after it.
    assert_eq!(said(&mut app, "refresh($1)", &[&text(&later, "refresh_token")]), "refresh_token_already_used");
    assert_eq!(said(&mut app, "refresh($1)", &[&text(&raised, "refresh_token")]), "session_not_found");
}

/// XD8, XD13: refresh tokens that a thief has refreshed ahead in transactions that rolled back are nobody's once the session is raised.
#[test]
fn a_chain_that_was_rolled_back_is_not_raised() {
    let database = guarded(Cluster::shared(), json!({"mfa_enforcement": "policy"}));
    let ada = ada(&database);
    let (mut app, mut thief) = (database.app(), database.app());
    let weak = sign_in(&mut app, "ada@example.org", RIGHT);
    let mut open = thief.transaction().unwrap();
    let mut ahead = vec![weak.refresh_token.clone()];
    for _ in 0..9 {
        let next = json(&mut open, "select auth.refresh($1)", &[ahead.last().unwrap()]);
        ahead.push(text(&next, "refresh_token").to_owned());
    }
    open.rollback().unwrap();
    let raised = raise(&mut app, &weak.access_token, &ada);
    // The last first: what was replayed ends the session.
    for token in ahead.iter().rev() {
        let said = said(&mut thief, "refresh($1)", &[token]);
        assert!(["refresh_token_already_used", "session_not_found"].contains(&&*said), "{said}");
    }
    assert_eq!(said(&mut app, "refresh($1)", &[&text(&raised, "refresh_token")]), "session_not_found");
}

/// F133: a caller that names a factor means the one that was asked for, and nothing else is it; no guess is spent on that.
#[test]
fn a_named_factor_is_that_of_the_challenge() {
    let database = guarded(Cluster::shared(), json!({"mfa_enforcement": "policy"}));
    let ada = ada(&database);
    let mut app = database.app();
    let weak = sign_in(&mut app, "ada@example.org", RIGHT).access_token;
    let second = as_user(&mut app, &ada.person.access_token, "enroll_totp('tablet')");
    let challenge = as_user(&mut app, &weak, &format!("challenge_factor('{}')", ada.factor_id));
    let verify = |factor_id: Value| {
        let (id, options) = (text(&challenge, "id"), json!({"factor_id": factor_id}));
        format!("verify_totp('{id}', '{}', '{options}')", ada.app.code_at(1))
    };
    for other in [json!(text(&second, "factor_id")), json!("no id"), json!(""), json!(1), json!({})] {
        assert_eq!(said_as(&mut app, &weak, &verify(other.clone())), "mfa_factor_not_found", "{other}");
    }
    let raised = as_user(&mut app, &weak, &verify(json!(ada.factor_id)));
    assert_eq!(claims(text(&raised, "access_token"))["aal"], "aal2");
    // The challenge of a sign-in asks for no factor in particular.
    configure(&database, json!({"mfa_enforcement": "required"}));
    let token = first_step(&mut app, "ada@example.org");
    for factor_id in [json!("no id"), json!(ada.factor_id)] {
        let options = json!({"factor_id": factor_id}).to_string();
        let call = "verify_totp($1, $2, $3::text::jsonb)";
        assert_eq!(said(&mut app, call, &[&token, &ada.app.code_at(1), &options]), "mfa_factor_not_found");
    }
}

/// XD8: a refresh keeps the level of the session; a removed factor lowers every session that it raised, at the next statement, also
/// of tokens that say otherwise.
#[test]
fn levels_follow_the_factors() {
    let database = guarded(Cluster::shared(), json!({"mfa_enforcement": "policy", "max_active_sessions": null}));
    with_rows(&database);
    let ada = ada(&database);
    let mut app = database.app();
    let weak = sign_in(&mut app, "ada@example.org", RIGHT);
    assert_eq!(seen(&mut app, &weak.access_token), 1);
    let still_weak = refresh(&mut app, &weak.refresh_token).unwrap();
    assert_eq!(claims(text(&still_weak, "access_token"))["aal"], "aal1");
    let strong = raise(&mut app, text(&still_weak, "access_token"), &ada);
    let strong = refresh(&mut app, text(&strong, "refresh_token")).unwrap();
    assert_eq!(claims(text(&strong, "access_token"))["aal"], "aal2");
    assert_eq!(seen(&mut app, text(&strong, "access_token")), 2);
    // What was issued before the step stays what it is.
    assert_eq!(seen(&mut app, text(&still_weak, "access_token")), 1);

    as_user(&mut app, &ada.person.access_token, &format!("unenroll_factor('{}')", ada.factor_id));
    for token in [text(&strong, "access_token"), &ada.person.access_token] {
        assert_eq!(seen(&mut app, token), 1, "aal1 at the next statement");
        let said_by = acting(&mut app, token, |transaction| json(transaction, "select auth.jwt()", &[]));
        assert_eq!(said_by["aal"], "aal1");
        assert_eq!(
            refused(try_acting(&mut app, token, |tx| tx.execute("select auth.require_aal2()", &[]))).code,
            "insufficient_aal"
        );
    }
    let after = refresh(&mut app, text(&strong, "refresh_token")).unwrap();
    assert_eq!(claims(text(&after, "access_token"))["aal"], "aal1");
    sign_in(&mut app, "ada@example.org", RIGHT);
}

/// XD8: what a recovery code has raised is lowered with the last factor, also where the sign-in began by a passkey that does not verify
/// its user.
#[test]
fn a_recovery_code_after_a_passkey_is_lowered() {
    let settings =
        json!({"enable_passkeys": true, "webauthn_rp_id": "app.example.org", "webauthn_rp_origins": [ORIGIN]});
    let database = guarded(Cluster::shared(), settings);
    let mut app = database.app();
    let person = sign_up(&mut app, "ada@example.org", RIGHT);
    let mut authenticator = Authenticator::new(Algorithm::Es256);
    authenticator.flags = USER_PRESENT;
    register(&mut app, &person.access_token, &mut authenticator).unwrap();
    let ada = enroll(&mut app, person);
    let started = start_sign_in(&mut app, None);
    let credential = authenticator.get(&started["options"], ORIGIN).json(&authenticator);
    let first = finish_sign_in(&mut app, &started, &credential).unwrap();
    let arguments: [&(dyn ToSql + Sync); 2] = [&text(&first, "challenge_token"), &ada.recovery_codes[0]];
    let session = answer(&mut app, "verify_totp($1, $2)", &arguments).unwrap();
    assert_eq!(claims(text(&session, "access_token"))["aal"], "aal2");
    as_user(&mut app, &ada.person.access_token, &format!("unenroll_factor('{}')", ada.factor_id));
    let after = refresh(&mut app, text(&session, "refresh_token")).unwrap();
    assert_eq!(claims(text(&after, "access_token"))["aal"], "aal1");
}

/// XE17, F130, XE18: a stolen session of level aal1 neither removes a factor nor adds one, nor changes what the account hangs on.
#[test]
fn a_session_of_one_factor_changes_none() {
    let database = guarded(Cluster::shared(), json!({"mfa_enforcement": "policy", "current_password_required": false}));
    let ada = ada(&database);
    let mut app = database.app();
    let stolen = sign_in(&mut app, "ada@example.org", RIGHT);
    let second = as_user(&mut app, &ada.person.access_token, "enroll_totp('second')");
    for call in [
        "enroll_totp('mine')".to_owned(),
        format!(
            "confirm_totp('{}', '{}')",
            text(&second, "factor_id"),
            auth_harness::Totp::new(text(&second, "secret")).code()
        ),
        format!("unenroll_factor('{}')", ada.factor_id),
        "regenerate_recovery_codes()".to_owned(),
        "update_password(null, $$staple correct horse$$)".to_owned(),
        "update_email('thief@example.org', null)".to_owned(),
        "update_phone('+4915112345678', null)".to_owned(),
        format!("disable_totp('{}')", ada.app.wrong()),
    ] {
        let expected = if call.starts_with("disable") { "mfa_verification_failed" } else { "insufficient_aal" };
        assert_eq!(said_as(&mut app, &stolen.access_token, &call), expected, "{call}");
    }
    let challenge =
        as_user(&mut app, &stolen.access_token, &format!("challenge_factor('{}')", text(&second, "factor_id")));
    let code = auth_harness::Totp::new(text(&second, "secret")).code();
    let call = format!("verify_totp('{}', '{code}')", text(&challenge, "id"));
    assert_eq!(
        said_as(&mut app, &stolen.access_token, &call),
        "insufficient_aal",
        "an unverified factor raises nobody"
    );
    assert_eq!(said_as(&mut app, &ada.person.access_token, &call), "mfa_challenge_expired", "another session's");
}

/// XE17: a first factor is not added by an old session alone, where passwords are asked for.
#[test]
fn a_first_factor_needs_a_recent_session_or_the_password() {
    let database = guarded(Cluster::shared(), json!({}));
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", RIGHT);
    database
        .superuser()
        .batch_execute("update auth.sessions set created_at = created_at - interval '11 minutes'")
        .unwrap();
    let token = ada.access_token.as_str();
    assert_eq!(said_as(&mut app, token, "enroll_totp('phone')"), "validation_failed");
    let with = |password: &str| format!("enroll_totp('phone', '{{\"current_password\": \"{password}\"}}')");
    assert_eq!(said_as(&mut app, token, &with("a wrong one")), "current_password_invalid");
    assert_eq!(said_as(&mut app, token, &with(RIGHT)), "an answer");
    configure(&database, json!({"current_password_required": false}));
    assert_eq!(said_as(&mut app, token, "enroll_totp('other')"), "an answer");
}

/// XE17: nor where there is no password to be asked for: whoever comes by mail signs in again.
#[test]
fn without_a_password_a_session_has_to_be_recent() {
    let database = texting(Cluster::shared(), json!({}));
    let mut app = database.app();
    let session = answer(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &texted(&database, ADA).code()]).unwrap();
    let age = |interval: &str| {
        let sql = format!("update auth.sessions set created_at = clock_timestamp() - interval '{interval}'");
        database.superuser().batch_execute(&sql).unwrap();
    };
    age("11 minutes");
    assert_eq!(said_as(&mut app, text(&session, "access_token"), "enroll_totp('phone')"), "validation_failed");
    age("9 minutes");
    assert_eq!(said_as(&mut app, text(&session, "access_token"), "enroll_totp('phone')"), "an answer");
}

/// XE17: what a thief enrolled before the owner's first factor was verified is gone with that, and so is every session without one.
#[test]
fn the_first_factor_ends_what_was_before() {
    let database = guarded(Cluster::shared(), json!({"mfa_enforcement": "policy"}));
    let mut app = database.app();
    let owner = sign_up(&mut app, "ada@example.org", RIGHT);
    let thief: Person = sign_in(&mut app, "ada@example.org", RIGHT);
    let planted = as_user(&mut app, &thief.access_token, "enroll_totp('planted')");
    let ada = enroll(&mut app, owner);
    assert_eq!(said(&mut app, "refresh($1)", &[&thief.refresh_token]), "session_not_found");
    let list = as_user(&mut app, &ada.person.access_token, "list_factors()");
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    let thief = sign_in(&mut app, "ada@example.org", RIGHT);
    let call = format!("challenge_factor('{}')", text(&planted, "factor_id"));
    assert_eq!(said_as(&mut app, &thief.access_token, &call), "mfa_factor_not_found");
}

/// F028, XE14: who has to set a new password as well sets it after the second step, and not before.
#[test]
fn a_new_password_comes_after_the_second_step() {
    let database = guarded(Cluster::shared(), json!({}));
    let ada = ada(&database);
    let mut app = database.app();
    let demand = "insert into auth.password_state (user_id, must_change) values ($1, true)
        on conflict (user_id) do update set must_change = true";
    database.superuser().execute(demand, &[&ada.person.user_id]).unwrap();
    let first = answer(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]).unwrap();
    assert_eq!(first["status"], "mfa_required");
    let second =
        answer(&mut app, "verify_totp($1, $2)", &[&text(&first, "challenge_token"), &ada.app.code_at(1)]).unwrap();
    assert_eq!((text(&second, "status"), second.get("refresh_token")), ("password_change_required", None));
    let token = text(&second, "access_token");
    let done = as_user(&mut app, token, "update_password(null, $$staple correct horse$$)");
    assert_eq!((text(&done, "status"), &claims(text(&done, "access_token"))["aal"]), ("session", &json!("aal2")));
    forget_steps(&database);
}

/// F128, B030: the second step is refused to an account that was banned or deleted meanwhile, and the challenge is void once the
/// password has changed.
#[test]
fn what_happens_between_the_steps_counts() {
    let database = guarded(Cluster::shared(), json!({}));
    let ada = ada(&database);
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let token = crate::mfa::first_step(&mut app, "ada@example.org");
    superuser.batch_execute("update auth.users set banned_until = 'infinity'").unwrap();
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &ada.app.code()]), "user_banned");
    superuser.batch_execute("update auth.users set banned_until = null").unwrap();
    let call = "update_password($$correct horse battery$$, $$staple correct horse$$)";
    as_user(&mut app, &ada.person.access_token, call);
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &ada.app.code_at(1)]), "mfa_challenge_expired");
}

/// XE16: the first proof of an address or a number passes no second factor by, although it takes a password away that nobody had
/// proved to be the owner's: whoever reads somebody's mail is not yet that person.
#[test]
fn a_first_proof_passes_no_factor_by() {
    for (way, is_proved) in ["code", "reset", "sms"].into_iter().flat_map(|way| [(way, false), (way, true)]) {
        let database = texting(Cluster::shared(), json!({"reset_returns_session": true, "security_notices": false}));
        let (mut app, ada) = (database.app(), ada(&database));
        let email = ada.person.email.as_str();
        let given = "update auth.users set phone = '4915112345678', email_confirmed_at = case when $1 then now() end";
        database.superuser().execute(given, &[&is_proved]).unwrap();
        let outcome = match way {
            "code" => {
                let mail = mailed(&database, "send_otp($1)", &[&email]);
                said(&mut app, "verify_otp($1, $2)", &[&email, &mail.code()])
            }
            "reset" => {
                let mail = mailed(&database, "request_password_reset($1)", &[&email]);
                said(&mut app, "reset_password($1, 'staple correct horse')", &[&mail.token()])
            }
            _ => {
                let sms = texted(&database, ADA);
                said(&mut app, "verify_sms_otp($1, $2)", &[&ADA, &sms.code()])
            }
        };
        assert_eq!(outcome, "mfa_required", "{way} {is_proved}");
        let left = (count(&database, "mfa_factors"), count(&database, "recovery_codes"));
        assert_eq!(left, (1, 10), "{way} {is_proved}");
    }
}

/// XE14, XE15: an app that is not confirmed yet finishes no sign-in: neither by its codes nor by a challenge of its own.
#[test]
fn an_app_that_is_not_confirmed_finishes_nothing() {
    let database = guarded(Cluster::shared(), json!({}));
    let (mut app, ada) = (database.app(), ada(&database));
    let second = as_user(&mut app, &ada.person.access_token, "enroll_totp('another')");
    let (strange, id) = (auth_harness::Totp::new(text(&second, "secret")), text(&second, "factor_id"));
    let token = crate::mfa::first_step(&mut app, "ada@example.org");
    assert_eq!(said(&mut app, "verify_totp($1, $2)", &[&token, &strange.code()]), "mfa_verification_failed");
    let first = answer(&mut app, "sign_in('ada@example.org', $1, '{\"mfa\": \"session\"}')", &[&RIGHT]).unwrap();
    let restricted = text(&first, "access_token");
    assert_eq!(said_as(&mut app, restricted, &format!("challenge_factor('{id}')")), "mfa_factor_not_found");
    let own = as_user(&mut app, restricted, &format!("challenge_factor('{}')", ada.factor_id));
    let verify = |code: &str| format!("verify_totp('{}', '{code}')", text(&own, "id"));
    assert_eq!(said_as(&mut app, restricted, &verify(&strange.code())), "mfa_verification_failed");
    let disable = format!("disable_totp('{}')", strange.code());
    assert_eq!(said_as(&mut app, &ada.person.access_token, &disable), "mfa_verification_failed");
    assert_eq!(said_as(&mut app, restricted, &verify(&ada.app.code())), "session");
}
