//! Signing up with a passkey: one ceremony, in each mode, and what nobody learns or keeps by it.

use auth_harness::authenticator::{Algorithm, Authenticator, Registration, USER_PRESENT, decode};
use auth_harness::{Client, Cluster, Database, Refusal, claims, json, mails, storm_with, the_mail};
use serde_json::{Value, json};

use crate::guard::{RIGHT, WRONG};
use crate::networks::from;
use crate::otp::{answer, mailing, not, proved, said};
use crate::passkey::{
    ORIGIN, ask, code, finish_sign_in, id, register, sign_in_with, start_registration, start_sign_in,
};
use crate::refresh::configure;
use crate::sign_up::row_counts;
use crate::sign_up_modes::shape;

fn signing_up(settings: Value) -> Database {
    let passkeys = json!({"enable_passkeys": true, "webauthn_rp_id": "app.example.org", "webauthn_rp_name": "App",
        "webauthn_rp_origins": [ORIGIN]});
    let database = mailing(Cluster::shared(), passkeys);
    configure(&database, settings);
    database
}

fn start(client: &mut Client, email: &str) -> Value {
    json(client, "select auth.start_passkey_sign_up($1)", &[&email])
}

fn finish(client: &mut Client, started: &Value, credential: &Value) -> Result<Value, Refusal> {
    answer(client, "finish_passkey_sign_up($1, $2, 'my key')", &[&id(&started["challenge_id"]), credential])
}

/// The whole ceremony.
fn sign_up(client: &mut Client, email: &str, authenticator: &mut Authenticator) -> Result<Value, Refusal> {
    let started = start(client, email);
    let credential = authenticator.create(&started["options"], ORIGIN).json();
    finish(client, &started, &credential)
}

fn new() -> Authenticator {
    Authenticator::new(Algorithm::Es256)
}

fn enters(database: &Database, authenticator: &mut Authenticator) -> String {
    match sign_in_with(&mut database.app(), authenticator, |_| ()) {
        Ok(answer) => answer["status"].as_str().unwrap().to_owned(),
        Err(refusal) => refusal.code,
    }
}

fn count(database: &Database, of: &str) -> i64 {
    database.superuser().query_one(&format!("select count(*) from auth.{of}"), &[]).unwrap().get(0)
}

/// B013: nothing but the challenge is there before the finish; the account has the id that the authenticator keeps, what the start was
/// given, one passkey and no password; the session is aal2 where the authenticator has verified its user.
#[test]
fn a_passkey_signs_up() {
    let database = signing_up(json!({}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    auth_harness::sign_up(&mut app, "first@example.org", RIGHT);
    for (number, (flags, aal)) in [(0b101, "aal2"), (USER_PRESENT, "aal1")].into_iter().enumerate() {
        let email = format!("ada{number}@example.org");
        let before = row_counts(&mut superuser);
        let call = "start_passkey_sign_up($1, '{\"full_name\": \"Ada L\"}', jsonb_build_object('username', $2::text))";
        let started = answer(&mut app, call, &[&email, &format!("ada{number}")]).unwrap();
        let options = &started["options"];
        assert_eq!(options["rp"], json!({"id": "app.example.org", "name": "App"}));
        assert_eq!((&options["user"]["name"], &options["excludeCredentials"]), (&json!(email), &json!([])));
        assert_eq!((decode(&options["challenge"]).len(), &options["attestation"]), (32, &json!("none")));
        let mut expected = before;
        *expected.get_mut("auth.webauthn_challenges").unwrap() += 1;
        assert_eq!(row_counts(&mut superuser), expected);

        let mut authenticator = new();
        authenticator.flags = flags;
        let credential = authenticator.create(options, ORIGIN).json();
        let session = finish(&mut app, &started, &credential).unwrap();
        let (user, inside) = (&session["user"], claims(session["access_token"].as_str().unwrap()));
        assert_eq!(decode(&options["user"]["id"]), id(&user["id"]).as_bytes());
        assert_eq!((&user["email"], &user["username"]), (&json!(email), &json!(format!("ada{number}"))));
        assert_eq!(user["user_metadata"], json!({"full_name": "Ada L"}));
        assert_eq!((&inside["amr"][0]["method"], &inside["aal"]), (&json!("passkey"), &json!(aal)));
        assert!(user.get("email_confirmed_at").is_none());
        for table in ["users", "email_addresses", "identities", "passkeys", "sessions"] {
            *expected.get_mut(&format!("auth.{table}")).unwrap() += 1;
        }
        *expected.get_mut("auth.webauthn_challenges").unwrap() -= 1;
        assert_eq!(row_counts(&mut superuser), expected, "and no state of a password");
        let row = superuser
            .query_one(
                "select u.encrypted_password is null, p.friendly_name, p.uv, p.credential_id, s.factor_id is not distinct from p.id
                from auth.users as u
                join auth.passkeys as p on p.user_id = u.id
                join auth.sessions as s on s.user_id = u.id
                where u.id = $1",
                &[&id(&user["id"])],
            )
            .unwrap();
        assert_eq!((row.get(0), row.get(1), row.get(2)), (true, "my key", aal == "aal2"));
        assert_eq!(row.get::<_, Vec<u8>>(3), authenticator.credential_id);
        assert_eq!(row.get::<_, bool>(4), aal == "aal2", "what has raised the session, and lowers it when it goes");
        assert_eq!(enters(&database, &mut authenticator), "session");
        assert_eq!(said(&mut app, "sign_in($1, $2)", &[&email, &RIGHT]), "invalid_credentials");
        assert_eq!(code(finish(&mut app, &started, &credential)), "webauthn_challenge_expired", "a replay");
    }
}

/// B013: where the address is to be proved first, the passkey lets nobody in before, and its owner afterwards; the account has the
/// id that the authenticator keeps; asking for the mail again loses nothing.
#[test]
fn an_address_is_proved_first() {
    for (mode, is_resent) in [("confirm", false), ("confirm", true), ("otp_first", false), ("otp_first", true)] {
        let database = signing_up(json!({"signup_mode": mode}));
        let mut app = database.app();
        let mut authenticator = new();
        let answered = sign_up(&mut app, "ada@example.org", &mut authenticator).unwrap();
        let is_first = mode == "otp_first";
        let status = if is_first { "code_sent" } else { "confirmation_sent" };
        assert_eq!((&answered["status"], answered.get("access_token")), (&json!(status), None), "{mode}");
        assert_eq!((count(&database, "users"), count(&database, "passkeys")), if is_first { (0, 0) } else { (1, 1) });
        let early = if is_first { "webauthn_verification_failed" } else { "email_not_confirmed" };
        assert_eq!(enters(&database, &mut authenticator), early, "{mode}");
        let mut mail = the_mail(&database);
        if is_resent {
            assert_eq!(said(&mut app, "resend('signup', 'ada@example.org')", &[]), "confirmation_sent");
            mail = the_mail(&database);
        }
        let verify = "verify_otp('ada@example.org', $1)";
        assert_eq!(said(&mut app, verify, &[&not(mail.code())]), "otp_expired");
        let session = answer(&mut app, verify, &[&mail.code()]).unwrap();
        assert_eq!(Some(id(&session["user"]["id"]).as_bytes().to_vec()), authenticator.user_handle, "{mode}");
        assert_eq!(enters(&database, &mut authenticator), "session", "{mode} {is_resent}");
    }
}

/// B013, XC13: whether somebody has the address shows in no byte of the answer, nor whether they are banned; its owner is told by mail;
/// a passkey that somebody has registered is refused alike.
#[test]
fn a_taken_address_looks_free() {
    let database = signing_up(json!({}));
    let mut app = database.app();
    let (ada, bob) = (proved(&database, "ada@example.org"), proved(&database, "bob@example.org"));
    let mut hers = new();
    register(&mut app, &ada.access_token, &mut hers).unwrap();
    mails(&database);
    let ban = "update auth.users set banned_until = now() + interval '1 h' where id = $1";
    database.superuser().execute(ban, &[&bob.user_id]).unwrap();
    assert_eq!(code(sign_up(&mut app, "ADA@example.org", &mut new())), "email_exists");
    for mode in ["confirm", "otp_first"] {
        configure(&database, json!({"signup_mode": mode}));
        let mut seen = |email: &str| {
            let mut authenticator = new();
            let answer = sign_up(&mut app, email, &mut authenticator).unwrap();
            let user = &answer["user"];
            if user.is_object() {
                assert_eq!(Some(id(&user["id"]).as_bytes().to_vec()), authenticator.user_handle);
            }
            shape(&answer.to_string().replace(&email[..4], "new@").parse().unwrap()).to_string()
        };
        let free = seen("new@example.org");
        assert_eq!(the_mail(&database).kind, "confirmation");
        let by_password = json(&mut database.app(), "select auth.sign_up('abc@example.org', $1)", &[&RIGHT]);
        assert_eq!(shape(&by_password.to_string().replace("abc@", "new@").parse().unwrap()).to_string(), free);
        assert_eq!(the_mail(&database).kind, "confirmation");
        for taken in ["ada@example.org", "bob@example.org"] {
            assert_eq!(seen(taken), free, "{mode} {taken}");
        }
        let told: Vec<_> = mails(&database).into_iter().map(|mail| (mail.kind, mail.recipient)).collect();
        assert_eq!(told, [("existing_account".to_owned(), "ada@example.org".to_owned())], "{mode}");
        for email in ["ada@example.org", "cyd@example.org"] {
            let mut again = new();
            again.credential_id = hers.credential_id.clone();
            assert_eq!(code(sign_up(&mut app, email, &mut again)), "webauthn_credential_exists", "{mode} {email}");
        }
        configure(&database, json!({"signup_mode": "immediate"}));
        database
            .superuser()
            .batch_execute("delete from auth.users where email like 'new%' or email like 'abc%'")
            .unwrap();
        let left = "select count(*) from auth.passkeys";
        assert_eq!(database.superuser().query_one(left, &[]).unwrap().get::<_, i64>(0), 1, "{mode}: hers alone");
    }
    assert_eq!(enters(&database, &mut hers), "session");
}

/// B013, XA1, XA2: of what two have given for an address that nobody has proved, neither a passkey nor a password is worth anything,
/// whoever comes last, and whether or not any more could be mailed by then.
#[test]
fn what_two_have_given_is_nobodys() {
    for (mode, firsts, interval) in ["confirm", "otp_first"].into_iter().flat_map(|mode| {
        ["pp", "pw", "wp"].into_iter().flat_map(move |by| [0, 60].map(|interval| (mode, by, interval)))
    }) {
        let database = signing_up(json!({"signup_mode": mode, "verification_resend_interval": interval}));
        let mut app = database.app();
        let mut used = Vec::new();
        let outcomes = firsts.chars().map(|by| match by {
            'p' => {
                let mut authenticator = new();
                let outcome = sign_up(&mut app, "ada@example.org", &mut authenticator);
                used.push(authenticator);
                outcome
            }
            _ => answer(&mut app, "sign_up('ada@example.org', $1)", &[&RIGHT]),
        });
        let is_refused = outcomes.map(|outcome| outcome.is_err()).collect::<Vec<_>>();
        assert_eq!(is_refused, [false, interval > 0], "{mode} {firsts}");
        if interval == 0 {
            answer(&mut app, "resend('signup', 'ada@example.org')", &[]).unwrap();
        }
        let last = mails(&database).pop().unwrap();
        assert_eq!(said(&mut app, "verify_link($1)", &[&last.token()]), "session", "{mode} {firsts}");
        for authenticator in &mut used {
            assert_eq!(enters(&database, authenticator), "webauthn_verification_failed", "{mode} {firsts}");
        }
        assert_eq!(
            said(&mut app, "sign_in('ada@example.org', $1)", &[&RIGHT]),
            "invalid_credentials",
            "{mode} {firsts}"
        );
        assert_eq!(count(&database, "passkeys"), 0, "{mode} {firsts}");
    }
}

/// B013, XA1: whoever proves the address by what owes nothing to the sign-up gets the account without the stranger's passkey and
/// session; one whose snapshot is too old to show another sign-up keeps none.
#[test]
fn an_account_made_in_advance() {
    for mode in ["immediate", "confirm", "otp_first"] {
        let database = signing_up(json!({"signup_mode": mode}));
        let (mut app, mut stranger) = (database.app(), new());
        let strangers = sign_up(&mut app, "ada@example.org", &mut stranger).unwrap();
        mails(&database);
        assert_eq!(said(&mut app, "send_otp('ada@example.org')", &[]), "code_sent");
        let mail = the_mail(&database);
        let own = answer(&mut app, "verify_otp('ada@example.org', $1)", &[&mail.code()]).unwrap();
        assert_eq!(own["status"], "session", "{mode}");
        assert_eq!(enters(&database, &mut stranger), "webauthn_verification_failed", "{mode}");
        assert_eq!(count(&database, "passkeys"), 0, "{mode}");
        if mode == "immediate" {
            assert_eq!(said(&mut app, "refresh($1)", &[&strangers["refresh_token"].as_str()]), "session_not_found");
        }
    }
    let database = signing_up(json!({"signup_mode": "otp_first"}));
    let (mut app, mut old, mut stranger) = (database.app(), database.app(), new());
    // The first key is made by a first use.
    answer(&mut app, "sign_up('first@example.org', $1)", &[&RIGHT]).unwrap();
    let started = start(&mut old, "ada@example.org");
    let credential = stranger.create(&started["options"], ORIGIN).json();
    old.batch_execute("begin isolation level repeatable read; select 1 from pg_class limit 1").unwrap();
    answer(&mut app, "sign_up('ada@example.org', $1)", &[&RIGHT]).unwrap();
    finish(&mut old, &started, &credential).unwrap();
    old.batch_execute("commit").unwrap();
    let last = mails(&database).pop().unwrap();
    assert_eq!(said(&mut app, "verify_link($1)", &[&last.token()]), "session");
    assert_eq!(enters(&database, &mut stranger), "webauthn_verification_failed");
}

/// A change to a new passkey before it is signed.
type Change = (&'static str, fn(&mut Registration));

/// B013, XH1, XH3: a challenge of another kind, one that has ended, a forged answer and one to another challenge make no account; what
/// was forged or rolled back has spent its challenge.
#[test]
fn what_is_forged_makes_no_account() {
    const FORGED: [Change; 5] = [
        ("origin", |made| made.client_data["origin"] = json!("https://evil.test")),
        ("type", |made| made.client_data["type"] = json!("webauthn.get")),
        ("challenge", |made| made.client_data["challenge"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        ("rp id", |made| made.rp_id = "evil.test".into()),
        ("nobody present", |made| made.flags &= !USER_PRESENT),
    ];
    let database = signing_up(json!({"lockout_attempts": null})).without_limits();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let person = auth_harness::sign_up(&mut app, "bob@example.org", RIGHT);
    let token = &person.access_token;
    let before = count(&database, "users");
    for (what, change) in FORGED {
        let (started, mut authenticator) = (start(&mut app, "ada@example.org"), new());
        let mut made = authenticator.create(&started["options"], ORIGIN);
        change(&mut made);
        assert_eq!(code(finish(&mut app, &started, &made.json())), "webauthn_verification_failed", "{what}");
        let honest = authenticator.create(&started["options"], ORIGIN).json();
        assert_eq!(code(finish(&mut app, &started, &honest)), "webauthn_challenge_expired", "{what}");
    }

    // Each kind of challenge is for its own ceremony.
    let (started, mut authenticator) = (start(&mut app, "ada@example.org"), new());
    let made = authenticator.create(&started["options"], ORIGIN).json();
    let registers = "finish_passkey_registration($1, $2)";
    let arguments: [&(dyn auth_harness::ToSql + Sync); 2] = [&id(&started["challenge_id"]), &made];
    assert_eq!(code(ask(&mut app, token, registers, &arguments)), "webauthn_challenge_expired");
    let signed =
        authenticator.get(&json!({"challenge": started["options"]["challenge"], "rpId": "app.example.org"}), ORIGIN);
    let signs_in = finish_sign_in(&mut app, &started, &signed.json(&authenticator));
    assert_eq!(code(signs_in), "webauthn_challenge_expired");
    for other in [start_registration(&mut app, token), start_sign_in(&mut app, None)] {
        let mut options = started["options"].clone();
        options["challenge"] = other["options"]["challenge"].clone();
        let made = new().create(&options, ORIGIN).json();
        assert_eq!(code(finish(&mut app, &other, &made)), "webauthn_challenge_expired");
    }

    superuser.execute("update auth.webauthn_challenges set expires_at = now()", &[]).unwrap();
    assert_eq!(code(finish(&mut app, &started, &made)), "webauthn_challenge_expired", "it has ended");
    assert_eq!(count(&database, "users"), before);

    let (started, mut authenticator) = (start(&mut app, "ada@example.org"), new());
    let made = authenticator.create(&started["options"], ORIGIN).json();
    app.batch_execute("begin").unwrap();
    let session = finish(&mut app, &started, &made).unwrap();
    app.batch_execute("rollback").unwrap();
    assert_eq!(count(&database, "users"), before);
    assert_eq!(said(&mut app, "refresh($1)", &[&session["refresh_token"].as_str()]), "session_not_found");
    assert_eq!(code(finish(&mut app, &started, &made)), "webauthn_challenge_expired", "it was rolled back");
    assert_eq!(enters(&database, &mut authenticator), "webauthn_verification_failed");
    // Whose handle it is not signs in as nobody.
    sign_up(&mut app, "ada@example.org", &mut authenticator).unwrap();
    authenticator.user_handle = Some(person.user_id.as_bytes().to_vec());
    assert_eq!(enters(&database, &mut authenticator), "webauthn_verification_failed");
}

/// B013: of many finishes of one challenge one makes the account; of many challenges for one address one does.
#[test]
fn at_once() {
    const CALLERS: usize = 64;
    let database = signing_up(json!({})).without_limits();
    let mut app = database.app();
    let started = start(&mut app, "ada@example.org");
    let made = new().create(&started["options"], ORIGIN).json();
    let answers = storm_with(
        CALLERS,
        |_| database.app(),
        |_, mut app| finish(&mut app, &started, &made).map_err(|refusal| refusal.code),
    );
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    for refusal in answers.iter().flat_map(|answer| answer.as_ref().err()) {
        assert_eq!(refusal, "webauthn_challenge_expired");
    }
    let answers = storm_with(
        16,
        |_| {
            let mut app = database.app();
            let started = start(&mut app, "bob@example.org");
            let made = new().create(&started["options"], ORIGIN).json();
            (app, started, made)
        },
        |_, (mut app, started, made)| finish(&mut app, &started, &made).map_err(|refusal| refusal.code),
    );
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert!(answers.iter().flat_map(|answer| answer.as_ref().err()).all(|code| code == "email_exists"), "{answers:?}");
    assert_eq!((count(&database, "users"), count(&database, "passkeys"), count(&database, "sessions")), (2, 2, 2));
}

/// B013: what holds for signing up holds here, at the start and, where it has changed since, at the finish: the switches, the rules
/// for addresses, user names, what metadata may be, where links lead. A refusal leaves nothing.
#[test]
fn the_rules_of_signing_up_hold() {
    let database = signing_up(json!({}));
    let (mut app, mut admin, mut superuser) = (database.app(), database.admin(), database.superuser());
    auth_harness::sign_up(&mut app, "bob@example.org", RIGHT);
    let before = row_counts(&mut superuser);
    for (email, data, options, expected) in [
        (Some("no address"), json!({}), json!({}), "email_address_invalid"),
        (None, json!({}), json!({}), "validation_failed"),
        (Some("ada@example.org"), json!([]), json!({}), "validation_failed"),
        (Some("ada@example.org"), json!({}), json!({"mfa": "session"}), "validation_failed"),
        (Some("ada@example.org"), json!({}), json!({"username": "-"}), "validation_failed"),
        (Some("ada@example.org"), json!({}), json!({"redirect_to": "https://evil.test"}), "redirect_not_allowed"),
    ] {
        let said = said(&mut app, "start_passkey_sign_up($1, $2, $3)", &[&email, &data, &options]);
        assert_eq!(said, expected, "{email:?} {data} {options}");
    }
    assert_eq!(row_counts(&mut superuser), before);

    let changes = [
        ("configure('{\"enable_signup\": false}')", "configure('{\"enable_signup\": true}')", "signup_disabled"),
        ("configure('{\"enable_passkeys\": false}')", "configure('{\"enable_passkeys\": true}')", "passkey_disabled"),
        ("add_email_rule('example.org')", "remove_email_rule('example.org')", "email_address_not_authorized"),
    ];
    for (change, back, expected) in changes {
        let started = start(&mut app, "ada@example.org");
        let made = new().create(&started["options"], ORIGIN).json();
        admin.batch_execute(&format!("select auth.{change}")).unwrap();
        let before = row_counts(&mut superuser);
        assert_eq!(said(&mut app, "start_passkey_sign_up('ada@example.org')", &[]), expected);
        assert_eq!(code(finish(&mut app, &started, &made)), expected);
        assert_eq!(row_counts(&mut superuser), before, "{expected}");
        admin.batch_execute(&format!("select auth.{back}")).unwrap();
        finish(&mut app, &started, &made).unwrap();
        superuser.batch_execute("delete from auth.users where email = 'ada@example.org'").unwrap();
    }
    // A user name that would tell who is here is refused, also where that has changed since.
    let named = "start_passkey_sign_up('ada@example.org', options => '{\"username\": \"ada\"}')";
    let started = answer(&mut app, named, &[]).unwrap();
    let made = new().create(&started["options"], ORIGIN).json();
    configure(&database, json!({"signup_mode": "confirm"}));
    assert_eq!(said(&mut app, named, &[]), "validation_failed");
    assert_eq!(code(finish(&mut app, &started, &made)), "validation_failed");
}

/// B013, N33: a hook that refuses undoes all of it, and nobody has lost their challenge by it.
#[test]
fn a_hook_refuses() {
    let database = signing_up(json!({}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    auth_harness::sign_up(&mut app, "first@example.org", RIGHT);
    let owner = format!("passkey_hooks_{}", database.name());
    superuser
        .batch_execute(&format!(
            "create role {owner} nologin; create schema hooks authorization {owner};
            create function hooks.refuse(event jsonb) returns jsonb language plpgsql as $$
            begin raise 'not %', event #>> '{{user,email}}'; end $$;
            alter function hooks.refuse owner to {owner}"
        ))
        .unwrap();
    for mode in ["immediate", "confirm"] {
        configure(&database, json!({"signup_mode": mode}));
        let email = format!("{mode}@example.org");
        let started = start(&mut app, &email);
        let made = new().create(&started["options"], ORIGIN).json();
        for event in ["before_user_created", "after_user_created"] {
            database.admin().execute("select auth.add_hook($1, 'hooks.refuse')", &[&event]).unwrap();
            let before = row_counts(&mut superuser);
            assert_eq!(
                finish(&mut app, &started, &made).unwrap_err().message,
                format!("not {email}"),
                "{mode} {event}"
            );
            assert_eq!(row_counts(&mut superuser), before, "{mode} {event}");
            database.admin().execute("select auth.remove_hook($1)", &[&event]).unwrap();
        }
        finish(&mut app, &started, &made).unwrap();
    }
    superuser.batch_execute(&format!("drop owned by {owner}; drop role {owner}")).unwrap();
}

/// B013, F220: new accounts, mails and answers of authenticators are counted as everywhere, against the network; a stranger who tries
/// which addresses are taken is held up too.
#[test]
fn it_is_counted() {
    let database = signing_up(json!({"rate_limit_signup": "2/3600"}));
    let (mut app, mut sidecar) = (database.app(), database.sidecar());
    let mut up = |address: &str, email: &str| -> String {
        let started = start(&mut app, email);
        let made = new().create(&started["options"], ORIGIN).json();
        let mut transaction = sidecar.transaction().unwrap();
        transaction.execute("select auth.set_request_context($1::text::inet, 'agent')", &[&address]).unwrap();
        let outcome = said(&mut transaction, "finish_passkey_sign_up($1, $2)", &[&id(&started["challenge_id"]), &made]);
        match outcome.as_str() {
            "session" | "confirmation_sent" => transaction.commit().unwrap(),
            _ => transaction.rollback().unwrap(),
        }
        outcome
    };
    let outcomes = ["a", "b", "c"].map(|name| up("192.0.2.7", &format!("{name}@example.org")));
    assert_eq!(outcomes, ["session", "session", "over_request_rate_limit"]);
    assert_eq!(up("198.51.100.7", "c@example.org"), "session");
    configure(&database, json!({"signup_mode": "confirm"}));
    let outcomes = ["e", "a", "f"].map(|name| up("198.51.100.9", &format!("{name}@example.org")));
    assert_eq!(outcomes, ["confirmation_sent", "confirmation_sent", "over_request_rate_limit"], "taken or not");
    configure(&database, json!({"signup_mode": "immediate"}));
    let mut begin = || {
        from(&mut sidecar, "203.0.113.7", |transaction| {
            transaction.batch_execute("savepoint s").unwrap();
            let outcome = said(transaction, "start_passkey_sign_up('d@example.org')", &[]);
            transaction.batch_execute("rollback to s").unwrap();
            outcome
        })
    };
    let begun: Vec<String> = (0..61).map(|_| begin()).collect();
    assert!(begun[..60].iter().all(|said| said == "an answer"), "{begun:?}");
    assert_eq!(begun[60], "over_request_rate_limit");

    configure(&database, json!({"signup_mode": "confirm", "verification_resend_interval": 60}));
    let mut app = database.app();
    sign_up(&mut app, "d@example.org", &mut new()).unwrap();
    assert_eq!(code(sign_up(&mut app, "d@example.org", &mut new())), "over_email_send_rate_limit");
}

/// B013, B030: who has to be approved is told to wait, and the passkey lets nobody in before.
#[test]
fn an_account_waits_for_approval() {
    let database = signing_up(json!({"require_approval": true}));
    let (mut app, mut authenticator) = (database.app(), new());
    let pending = sign_up(&mut app, "ada@example.org", &mut authenticator).unwrap();
    assert_eq!((&pending["status"], pending.get("access_token")), (&json!("approval_pending"), None));
    assert_eq!((count(&database, "sessions"), enters(&database, &mut authenticator)), (0, "user_banned".to_owned()));
    let mut service = crate::admin::service(&database);
    crate::admin::update(&mut service, &pending["user"]["id"], json!({"approved": true}));
    assert_eq!(enters(&database, &mut authenticator), "session");
    assert_eq!(said(&mut app, "sign_in('ada@example.org', $1)", &[&WRONG]), "invalid_credentials");
}
