//! Second factors over HTTP: what a session of the first step may do, what raises it, and what does not.

use auth_harness::{Ask, Client, Cluster, Database, Reply, Sidecar, Totp, claims, mails, try_acting};
use serde_json::{Value, json};

use crate::http_accounts::{PASSWORD, refused, sign_up, text};
use crate::mfa::forget_steps;
use crate::otp::mailing;
use crate::refresh::configure;
use crate::sms::texting;
use crate::sms_factor::the_sms;

/// Somebody who has enrolled an authenticator app over HTTP, and the session that this has raised.
pub struct Enrolled {
    pub app: Totp,
    pub factor_id: String,
    pub session: Value,
}

impl Enrolled {
    fn token(&self) -> &str {
        text(&self.session["access_token"])
    }
}

pub fn sign_in(sidecar: &Sidecar, email: &str) -> Value {
    let body = json!({"email": email, "password": PASSWORD});
    let reply = sidecar.post("/token?grant_type=password").json(&body).send();
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

pub fn refresh(sidecar: &Sidecar, token: &Value) -> Reply {
    sidecar.post("/token?grant_type=refresh_token").json(&json!({"refresh_token": token})).send()
}

#[track_caller]
pub fn challenge(sidecar: &Sidecar, token: &str, factor_id: &str) -> String {
    let reply = sidecar.post(&format!("/factors/{factor_id}/challenge")).bearer(token).json(&json!({})).send();
    assert_eq!(reply.status, 200, "{reply:?}");
    text(&reply.json()["id"]).to_owned()
}

pub fn verify(sidecar: &Sidecar, token: &str, factor_id: &str, challenge_id: &str, code: &str) -> Ask {
    let body = json!({"challenge_id": challenge_id, "code": code});
    sidecar.post(&format!("/factors/{factor_id}/verify")).bearer(token).json(&body)
}

#[track_caller]
pub fn enroll(sidecar: &Sidecar, session: &Value) -> Enrolled {
    let token = text(&session["access_token"]);
    let reply = sidecar.post("/factors").bearer(token).json(&json!({"factor_type": "totp"})).send();
    assert_eq!(reply.status, 200, "{reply:?}");
    let enrolled = reply.json();
    let (app, factor_id) = (Totp::new(text(&enrolled["totp"]["secret"])), text(&enrolled["id"]).to_owned());
    let challenge_id = challenge(sidecar, token, &factor_id);
    let reply = verify(sidecar, token, &factor_id, &challenge_id, &app.code_at(-1)).send();
    assert_eq!(reply.status, 200, "{reply:?}");
    Enrolled { app, factor_id, session: reply.json() }
}

fn stage() -> (Database, Sidecar) {
    let database = Cluster::shared().database().without_limits();
    configure(&database, json!({"argon2_memory_kib": 8, "argon2_iterations": 1}));
    let sidecar = Sidecar::start(&database, &[]);
    (database, sidecar)
}

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// What a policy `to authenticated using (true)` shows to a token, as PostgREST asks: in the token's role.
fn rows_shown(client: &mut Client, token: &str) -> i64 {
    let role = text(&claims(token)["role"]).to_owned();
    let asked = try_acting(client, token, |transaction| {
        transaction.batch_execute(&format!("set local role {role}"))?;
        transaction.query_one("select count(*) from public.notes", &[])
    });
    asked.unwrap().get(0)
}

fn notes(database: &Database) -> Client {
    let mut superuser = database.superuser();
    superuser
        .batch_execute(
            "create table public.notes (id integer); insert into public.notes values (1);
            alter table public.notes enable row level security;
            create policy everybody on public.notes to authenticated using (true);
            grant usage on schema public to anon, authenticated; grant select on public.notes to anon, authenticated;",
        )
        .unwrap();
    database.app()
}

/// F126, F127, F128, F129, F130, F132, F133, XD13, XD14: enrolling, a session of the first step that is nobody's in policies, the second
/// step, level aal2 that refreshing keeps, and removing, in the shapes of Supabase's clients.
#[test]
fn the_second_step_over_http() {
    let (database, sidecar) = stage();
    let mut rest = notes(&database);
    let first = sign_up(&sidecar, "ada@example.org");
    let token = text(&first["access_token"]);
    let body = json!({"factor_type": "totp", "friendly_name": "phone", "issuer": "Acme"});
    let enrolled = sidecar.post("/factors").bearer(token).json(&body).send().json();
    assert_eq!(names(&enrolled), ["friendly_name", "id", "totp", "type"]);
    assert_eq!((&enrolled["type"], &enrolled["friendly_name"]), (&json!("totp"), &json!("phone")));
    let picture = text(&enrolled["totp"]["qr_code"]);
    assert!(picture.starts_with('<') && picture.contains("<svg") && !picture.contains('#'), "{picture:.200}");
    assert!(text(&enrolled["totp"]["uri"]).starts_with("otpauth://totp/Acme"));
    // Not asked for yet, and without a name one is chosen that is free.
    assert!(sign_in(&sidecar, "ada@example.org")["refresh_token"].is_string());
    let listed = sidecar.get("/user").bearer(token).send().json();
    assert_eq!(listed["factors"][0]["status"], "unverified");
    assert!(!listed.to_string().contains("secret"));
    let ada = enroll(&sidecar, &first);
    let amr = |session: &Value| {
        let claims = claims(text(&session["access_token"]));
        let methods: Vec<String> =
            claims["amr"].as_array().unwrap().iter().map(|entry| text(&entry["method"]).to_owned()).collect();
        (text(&claims["aal"]).to_owned(), methods)
    };
    let aal2 = ("aal2".to_owned(), vec!["password".to_owned(), "totp".to_owned()]);
    assert_eq!(amr(&ada.session), aal2);
    assert_eq!(
        names(&ada.session),
        ["access_token", "expires_at", "expires_in", "refresh_token", "token_type", "user"],
        "no recovery codes for a client that stores the answer"
    );
    assert_eq!(rows_shown(&mut rest, ada.token()), 1);

    let waiting = sign_in(&sidecar, "ada@example.org");
    assert_eq!(names(&waiting), names(&ada.session));
    let token = text(&waiting["access_token"]);
    let of_token = claims(token);
    assert_eq!(
        (&of_token["role"], &of_token["token_type"], &of_token["aal"]),
        (&json!("anon"), &json!("restricted"), &json!("aal1"))
    );
    let user = sidecar.get("/user").bearer(token).send();
    assert_eq!((user.status, &user.json()["factors"][0]["id"]), (200, &json!(ada.factor_id)), "{user:?}");
    assert_eq!(rows_shown(&mut rest, token), 0, "to authenticated using (true)");
    refused(&sidecar.get("/forward-auth").bearer(token).send(), 401, "no_authorization");
    refused(&sidecar.get("/verify-token").bearer(token).send(), 401, "bad_jwt");
    // Going on with it makes no more of it.
    let still = refresh(&sidecar, &waiting["refresh_token"]).json();
    assert_eq!(claims(text(&still["access_token"]))["token_type"], "restricted");
    assert_eq!(rows_shown(&mut rest, text(&still["access_token"])), 0);

    let token = text(&still["access_token"]);
    let asked = sidecar.post(&format!("/factors/{}/challenge", ada.factor_id)).bearer(token).send();
    assert_eq!((asked.status, names(&asked.json())), (200, vec!["expires_at", "id", "type"]), "{asked:?}");
    let challenge_id = text(&asked.json()["id"]).to_owned();
    refused(
        &verify(&sidecar, token, &ada.factor_id, &challenge_id, &ada.app.wrong()).send(),
        422,
        "mfa_verification_failed",
    );
    let code = ada.app.code();
    let done = verify(&sidecar, token, &ada.factor_id, &challenge_id, &code).send();
    assert_eq!((done.status, amr(&done.json())), (200, aal2.clone()), "{done:?}");
    assert_eq!(done.json()["user"]["email"], "ada@example.org");
    let raised = done.json();
    assert_eq!(rows_shown(&mut rest, text(&raised["access_token"])), 1);
    let next = refresh(&sidecar, &raised["refresh_token"]).json();
    assert_eq!(amr(&next), aal2, "refreshing keeps it");
    let token = text(&next["access_token"]);
    assert_eq!(sidecar.get("/forward-auth").bearer(token).send().status, 200);

    let gone = sidecar.delete(&format!("/factors/{}", ada.factor_id)).bearer(token).send();
    assert_eq!((gone.status, gone.json()), (200, json!({"id": ada.factor_id})));
    // XD8: the level falls with the factor.
    assert_eq!(claims(text(&refresh(&sidecar, &next["refresh_token"]).json()["access_token"]))["aal"], "aal1");
    assert_eq!(claims(text(&sign_in(&sidecar, "ada@example.org")["access_token"]))["token_type"], "access");
}

/// XD8, XD13: a refresh token from before the second step is refused and ends the session, also within the interval in which the
/// profile `supabase` takes an old one for a repetition.
#[test]
fn a_token_from_before_the_second_step_is_over() {
    for enforcement in ["required", "policy"] {
        let (database, sidecar) = stage();
        database.admin().execute("select auth.apply_profile('supabase')", &[]).unwrap();
        configure(&database, json!({"mfa_enforcement": enforcement, "signup_mode": "immediate"}));
        let first = sign_up(&sidecar, "ada@example.org");
        let ada = enroll(&sidecar, &first);
        refused(&refresh(&sidecar, &first["refresh_token"]), 400, "refresh_token_already_used");
        forget_steps(&database);
        let waiting = sign_in(&sidecar, "ada@example.org");
        let token = text(&waiting["access_token"]);
        let challenge_id = challenge(&sidecar, token, &ada.factor_id);
        let raised = verify(&sidecar, token, &ada.factor_id, &challenge_id, &ada.app.code()).send().json();
        refused(&refresh(&sidecar, &waiting["refresh_token"]), 400, "refresh_token_already_used");
        refused(&refresh(&sidecar, &raised["refresh_token"]), 403, "session_not_found");
        let user = sidecar.get("/user").bearer(text(&raised["access_token"])).send();
        refused(&user, 403, "session_not_found");
    }
}

/// XE18, F133: used codes, challenges that are over or another's, factors of others: what each is refused with, and nothing in it
/// says whose it is.
#[test]
fn what_does_not_meet_a_challenge() {
    let (database, sidecar) = stage();
    let ada = enroll(&sidecar, &sign_up(&sidecar, "ada@example.org"));
    let eve = enroll(&sidecar, &sign_up(&sidecar, "eve@example.org"));
    forget_steps(&database);
    let waiting = sign_in(&sidecar, "ada@example.org");
    let token = text(&waiting["access_token"]);
    let unknown = "00000000-0000-0000-0000-000000000000";

    let of_eve = sidecar.post(&format!("/factors/{}/challenge", eve.factor_id)).bearer(token).send();
    let of_nobody = sidecar.post(&format!("/factors/{unknown}/challenge")).bearer(token).send();
    refused(&of_eve, 404, "mfa_factor_not_found");
    assert_eq!(of_eve.body, of_nobody.body);
    let of_eve = sidecar.delete(&format!("/factors/{}", eve.factor_id)).bearer(ada.token()).send();
    let of_nobody = sidecar.delete(&format!("/factors/{unknown}")).bearer(ada.token()).send();
    refused(&of_eve, 404, "mfa_factor_not_found");
    assert_eq!(of_eve.body, of_nobody.body);
    refused(&sidecar.delete("/factors/nonsense").bearer(ada.token()).send(), 404, "mfa_factor_not_found");

    let own = challenge(&sidecar, token, &ada.factor_id);
    let foreign = challenge(&sidecar, eve.token(), &eve.factor_id);
    let said =
        |factor_id: &str, challenge_id: &str, code: &str| verify(&sidecar, token, factor_id, challenge_id, code).send();
    refused(&said(&eve.factor_id, &own, &ada.app.code()), 404, "mfa_factor_not_found");
    let of_eve = said(&ada.factor_id, &foreign, &eve.app.code());
    refused(&of_eve, 422, "mfa_challenge_expired");
    assert_eq!(of_eve.body, said(&ada.factor_id, unknown, &ada.app.code()).body);
    refused(&said(&ada.factor_id, "nonsense", &ada.app.code()), 400, "validation_failed");
    refused(&said(&ada.factor_id, &own, ""), 400, "validation_failed");
    // Another session of the same account is another's too.
    let other = sign_in(&sidecar, "ada@example.org");
    let reply = verify(&sidecar, text(&other["access_token"]), &ada.factor_id, &own, &ada.app.code()).send();
    refused(&reply, 422, "mfa_challenge_expired");
    refused(&said(&ada.factor_id, &own, &ada.app.wrong()), 422, "mfa_verification_failed");
    let code = ada.app.code();
    assert_eq!(said(&ada.factor_id, &own, &code).status, 200);

    let third = sign_in(&sidecar, "ada@example.org");
    let token = text(&third["access_token"]);
    let again = challenge(&sidecar, token, &ada.factor_id);
    let used = verify(&sidecar, token, &ada.factor_id, &again, &code).send();
    refused(&used, 422, "mfa_verification_failed");
    assert_eq!(used.body, verify(&sidecar, token, &ada.factor_id, &again, &ada.app.wrong()).send().body);
    forget_steps(&database);
    database.superuser().execute("update auth.mfa_challenges set expires_at = now() - interval '1 s'", &[]).unwrap();
    let late = verify(&sidecar, token, &ada.factor_id, &again, &ada.app.code()).send();
    refused(&late, 422, "mfa_challenge_expired");
    for path in ["/factors", &format!("/factors/{}/challenge", ada.factor_id), "/factors/recovery-codes"] {
        refused(&sidecar.post(path).json(&json!({})).send(), 401, "no_authorization");
    }
}

/// XE17, XE18: a session without the second step, stolen or not, changes nothing that the account hangs on, whatever the mode.
#[test]
fn a_session_of_the_first_step_changes_nothing() {
    for enforcement in ["required", "policy"] {
        let (database, sidecar) = stage();
        database.admin().execute("select auth.apply_profile('supabase')", &[]).unwrap();
        configure(&database, json!({"mfa_enforcement": enforcement, "signup_mode": "immediate"}));
        let ada = enroll(&sidecar, &sign_up(&sidecar, "ada@example.org"));
        let stolen = sign_in(&sidecar, "ada@example.org");
        let token = text(&stolen["access_token"]);
        let kind = if enforcement == "policy" { "access" } else { "restricted" };
        assert_eq!((&claims(token)["aal"], &claims(token)["token_type"]), (&json!("aal1"), &json!(kind)));
        let (status, code) =
            if enforcement == "policy" { (403, "insufficient_aal") } else { (401, "no_authorization") };
        let put = |body: Value| sidecar.put("/user").bearer(token).json(&body);
        for ask in [
            sidecar.post("/factors").bearer(token).json(&json!({"factor_type": "totp"})),
            sidecar.delete(&format!("/factors/{}", ada.factor_id)).bearer(token),
            sidecar.post("/factors/recovery-codes").bearer(token),
            sidecar.post("/factors/recovery-codes/regenerate").bearer(token),
            sidecar.delete("/factors/recovery-codes").bearer(token),
            put(json!({"password": "staple correct horse", "current_password": PASSWORD})),
            put(json!({"email": "eve@example.org", "current_password": PASSWORD})),
        ] {
            refused(&ask.send(), status, code);
        }
        let user = sidecar.get("/user").bearer(ada.token()).send().json();
        assert_eq!((user["factors"].as_array().unwrap().len(), &user["email"]), (1, &json!("ada@example.org")));
        assert_eq!(sidecar.post("/logout?scope=local").bearer(token).send().status, 204, "signing out it may");
        refused(&refresh(&sidecar, &stolen["refresh_token"]), 403, "session_not_found");
    }
}

/// F134, F135, F136: recovery codes over HTTP: with the first factor where they are asked for, else made once; each raises one
/// session; a new set voids the old one; they go with the last factor, or alone.
#[test]
fn recovery_codes_over_http() {
    let (database, sidecar) = stage();
    let ada = enroll(&sidecar, &sign_up(&sidecar, "ada@example.org"));
    let path = "/factors/recovery-codes";
    let post = |path: &str| sidecar.post(path).bearer(ada.token()).send();
    refused(&sidecar.get(path).bearer(ada.token()).send(), 404, "mfa_factor_not_found");
    refused(&post("/factors/recovery-codes/regenerate"), 404, "mfa_factor_not_found");
    let made = post(path);
    assert_eq!(names(&made.json()), ["codes", "friendly_name", "id", "total", "type"], "{made:?}");
    let codes = |reply: &Reply| -> Vec<String> {
        reply.json()["codes"].as_array().unwrap().iter().map(|code| text(code).to_owned()).collect()
    };
    let first = codes(&made);
    assert!(first.len() == 10 && first.iter().all(|code| code.len() == 16), "{first:?}");
    refused(&post(path), 422, "mfa_verified_factor_exists");

    let step = |code: &str| {
        let token = sign_in(&sidecar, "ada@example.org")["access_token"].clone();
        sidecar.post("/factors/recovery-codes/verify").bearer(text(&token)).json(&json!({"code": code})).send()
    };
    let raised = step(&first[0].to_uppercase());
    let of_token = claims(text(&raised.json()["access_token"]));
    assert_eq!((&of_token["aal"], &of_token["amr"][1]["method"]), (&json!("aal2"), &json!("mfa/recovery_code")));
    refused(&step(&first[0]), 422, "mfa_verification_failed");
    refused(&step("0000000000000000"), 422, "mfa_verification_failed");
    let left = sidecar.get(path).bearer(ada.token()).send().json();
    assert_eq!(
        (&left["total"], &left["remaining"], &left["type"], &left["id"]),
        (&json!(10), &json!(9), &json!("recovery_code"), &made.json()["id"])
    );
    let second = codes(&post("/factors/recovery-codes/regenerate"));
    refused(&step(&first[1]), 422, "mfa_verification_failed");
    assert_eq!(step(&second[0]).status, 200);
    let gone = sidecar.delete(path).bearer(ada.token()).send();
    assert_eq!((gone.status, &gone.json()["id"]), (200, &made.json()["id"]));
    refused(&sidecar.delete(path).bearer(ada.token()).send(), 404, "mfa_factor_not_found");
    refused(&step(&second[1]), 422, "mfa_verification_failed");

    let eve = sign_up(&sidecar, "eve@example.org");
    let token = text(&eve["access_token"]);
    refused(&sidecar.post(path).bearer(token).send(), 422, "mfa_recovery_codes_sole_factor");
    let body = json!({"code": "0000000000000000"});
    let verify_alone = sidecar.post("/factors/recovery-codes/verify").bearer(token).json(&body).send();
    refused(&verify_alone, 404, "mfa_factor_not_found");
    let enrolled = sidecar.post("/factors").bearer(token).json(&json!({"factor_type": "totp"})).send().json();
    let factor_id = text(&enrolled["id"]);
    let code = Totp::new(text(&enrolled["totp"]["secret"])).code();
    let body = json!({"challenge_id": challenge(&sidecar, token, factor_id), "code": code, "recovery_codes": true});
    let confirmed = sidecar.post(&format!("/factors/{factor_id}/verify")).bearer(token).json(&body).send().json();
    assert_eq!(confirmed["recovery_codes"].as_array().map(Vec::len), Some(10));
    let stored = "select bool_or(code_hash::text ~ $1) from auth.recovery_codes";
    let plain = text(&confirmed["recovery_codes"][0]).to_owned();
    assert!(!database.superuser().query_one(stored, &[&plain]).unwrap().get::<_, bool>(0));
}

/// What cannot be enrolled, and with which words; names that are chosen are free.
#[test]
fn enrolling_is_refused_as_supabase_does() {
    let (database, sidecar) = stage();
    let first = sign_up(&sidecar, "ada@example.org");
    let ada = enroll(&sidecar, &first);
    let post = |body: Value| sidecar.post("/factors").bearer(ada.token()).json(&body).send();
    assert_eq!(post(json!({"factor_type": "totp"})).json()["friendly_name"], "Authenticator app 2");
    let named = json!({"factor_type": "totp", "friendly_name": "Authenticator app"});
    refused(&post(named), 422, "mfa_factor_name_conflict");
    configure(&database, json!({"mfa_sms_enabled": false}));
    refused(&post(json!({"factor_type": "phone", "phone": "+4915112345678"})), 422, "mfa_phone_enroll_not_enabled");
    refused(&post(json!({"factor_type": "phone"})), 400, "validation_failed");
    configure(&database, json!({"mfa_webauthn_enabled": false}));
    refused(&post(json!({"factor_type": "webauthn"})), 422, "mfa_webauthn_enroll_not_enabled");
    refused(&post(json!({"factor_type": "nonsense"})), 400, "validation_failed");
    refused(&post(json!({})), 400, "validation_failed");
    configure(&database, json!({"mfa_sms_enabled": true, "mfa_max_factors": 2}));
    let more = json!({"factor_type": "totp", "friendly_name": "third"});
    refused(&post(more.clone()), 422, "too_many_enrolled_mfa_factors");
    configure(&database, json!({"mfa_totp_enabled": false}));
    refused(&post(more), 422, "mfa_totp_enroll_not_enabled");
}

/// B041: wrong codes lock the second step of the account, which HTTP says as ever: 429, and how long.
#[test]
fn wrong_codes_are_counted() {
    let database = Cluster::shared().database();
    configure(&database, json!({"argon2_memory_kib": 8, "argon2_iterations": 1, "rate_limit_database": null}));
    let sidecar = Sidecar::start(&database, &[]);
    let ada = enroll(&sidecar, &sign_up(&sidecar, "ada@example.org"));
    let wrong = ada.app.wrong();
    let guess = |code: &str| {
        let challenge_id = challenge(&sidecar, ada.token(), &ada.factor_id);
        verify(&sidecar, ada.token(), &ada.factor_id, &challenge_id, code).send()
    };
    for _ in 0..5 {
        refused(&guess(&wrong), 422, "mfa_verification_failed");
    }
    let locked = guess(&ada.app.code());
    refused(&locked, 429, "over_request_rate_limit");
    assert!(
        locked.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=900).contains(&seconds)),
        "{locked:?}"
    );
}

/// F152: in cookie mode the refresh token of the restricted session, and that of the raised one, stay where scripts cannot read them.
#[test]
fn cookies_carry_both_sessions() {
    let database = Cluster::shared().database().without_limits();
    const APP: &str = "https://app.example.com";
    let origins = ("AUTH_CORS__ORIGINS", r#"["https://app.example.com"]"#);
    let sidecar = Sidecar::start(&database, &[("AUTH_COOKIE__ENABLED", "true"), origins]);
    let ada = enroll(&sidecar, &sign_up(&sidecar, "ada@example.org"));
    let body = json!({"email": "ada@example.org", "password": PASSWORD});
    let cookie = |reply: &Reply| reply.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let ask = |path: &str| sidecar.post(path).header("origin", APP).header("x-use-cookie", "true");
    let go_on = |with: &Reply| {
        let ask = sidecar.post("/token?grant_type=refresh_token").header("origin", APP);
        ask.header("cookie", &cookie(with)).json(&json!({})).send()
    };
    let waiting = ask("/token?grant_type=password").json(&body).send();
    assert!(waiting.json().get("refresh_token").is_none() && cookie(&waiting).contains('='), "{waiting:?}");
    let still = go_on(&waiting);
    let token = still.json()["access_token"].clone();
    assert_eq!(claims(text(&token))["token_type"], "restricted", "{still:?}");
    let challenge_id = challenge(&sidecar, text(&token), &ada.factor_id);
    let done = verify(&sidecar, text(&token), &ada.factor_id, &challenge_id, &ada.app.code());
    let done = done.header("origin", APP).header("x-use-cookie", "true").send();
    assert!(done.status == 200 && done.json().get("refresh_token").is_none(), "{done:?}");
    let next = go_on(&done);
    assert_eq!(claims(text(&next.json()["access_token"]))["aal"], "aal2", "{next:?}");
}

/// XE16, XE18: no other way in over HTTP passes the second step by: codes and links that were mailed, the page behind a link, and the
/// code that its redirect brings.
#[test]
fn mailed_ways_in_wait_for_the_second_step() {
    let database = mailing(Cluster::shared(), json!({"security_notices": false, "implicit_flow": true}));
    let sidecar = Sidecar::start(&database, &[]);
    enroll(&sidecar, &sign_up(&sidecar, "ada@example.org"));
    database.superuser().execute("update auth.users set email_confirmed_at = now()", &[]).unwrap();
    let email = "ada@example.org";
    let is_waiting = |token: &str, what: &str| {
        let claims = claims(token);
        assert_eq!((&claims["token_type"], &claims["role"]), (&json!("restricted"), &json!("anon")), "{what}");
    };
    let token_of = |reply: Reply| text(&reply.json()["access_token"]).to_owned();
    let mailed = |call: &str| crate::otp::mailed(&database, call, &[&email]);
    let code = mailed("send_otp($1)");
    let body = json!({"type": "email", "email": email, "token": code.code()});
    is_waiting(&token_of(sidecar.post("/verify").json(&body).send()), "a code");
    let link = mailed("send_magic_link($1)");
    let body = json!({"type": "magiclink", "token_hash": link.token()});
    is_waiting(&token_of(sidecar.post("/verify").json(&body).send()), "a link");
    let reset = mailed("request_password_reset($1)");
    let body = json!({"type": "recovery", "token_hash": reset.token()});
    is_waiting(&token_of(sidecar.post("/verify").json(&body).send()), "a reset");
    let link = mailed("send_magic_link($1)");
    let form = format!("type=magiclink&token={}", link.token());
    let page = sidecar.post("/verify").body("application/x-www-form-urlencoded", &form).send();
    let fragment = page.header("location").split_once("access_token=").map(|(_, rest)| rest.to_owned());
    let token = fragment.unwrap_or_else(|| panic!("{page:?}")).split('&').next().unwrap().to_owned();
    is_waiting(&token, "the page");
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let options = json!({"code_challenge": challenge, "code_challenge_method": "s256"});
    let link = crate::otp::mailed(&database, "send_magic_link($1, null, $2)", &[&email, &options]);
    let form = format!("type=magiclink&token={}", link.token());
    let page = sidecar.post("/verify").body("application/x-www-form-urlencoded", &form).send();
    let code = page.header("location").split_once("code=").map(|(_, code)| code.to_owned()).unwrap();
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let body = json!({"auth_code": code, "code_verifier": verifier});
    is_waiting(&token_of(sidecar.post("/token?grant_type=pkce").json(&body).send()), "a code of a redirect");
}

/// F140: a phone over HTTP: `challenge` sends the code, also to a sign-in that waits, which sees of the number its end; a recovery code
/// sends none.
#[test]
fn a_phone_over_http() {
    let database = texting(Cluster::shared(), json!({"security_notices": false}));
    let sidecar = Sidecar::start(&database, &[]);
    let first = sign_up(&sidecar, "ada@example.org");
    let token = text(&first["access_token"]);
    let body = json!({"factor_type": "phone", "friendly_name": "phone", "phone": "+4915112345678"});
    let enrolled = sidecar.post("/factors").bearer(token).json(&body).send().json();
    assert_eq!(names(&enrolled), ["friendly_name", "id", "phone", "type"]);
    let id = text(&enrolled["id"]).to_owned();
    mails(&database);
    let step = |session: &Value| {
        let token = text(&session["access_token"]);
        let challenge_id = challenge(&sidecar, token, &id);
        verify(&sidecar, token, &id, &challenge_id, the_sms(&database).code()).send()
    };
    let raised = step(&first);
    assert_eq!(claims(text(&raised.json()["access_token"]))["amr"][1]["method"], "mfa/phone", "{raised:?}");
    let waiting = sign_in(&sidecar, "ada@example.org");
    assert_eq!(waiting["user"]["factors"][0]["phone"], "…78");
    assert_eq!(step(&waiting).status, 200);
    let path = "/factors/recovery-codes";
    let made = sidecar.post(path).bearer(text(&raised.json()["access_token"])).send().json();
    let waiting = sign_in(&sidecar, "ada@example.org");
    mails(&database);
    let ask = sidecar.post("/factors/recovery-codes/verify").bearer(text(&waiting["access_token"]));
    assert_eq!(ask.json(&json!({"code": made["codes"][0]})).send().status, 200);
    assert!(mails(&database).is_empty());
}
