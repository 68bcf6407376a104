//! Guessing at passwords: every way to try one is limited, and none tells more than that it was wrong.

use auth_harness::{Client, Cluster, Refusal, json, refused, sign_in, sign_up, storm_with, try_acting, wait_until};
use serde_json::json;

use crate::golden::MEMBERS;
use crate::guard::{RIGHT, WRONG, audited, code, guarded, guess, locked, total};
use crate::mfa::{as_user, enroll, first_step};
use crate::networks::from;
use crate::refresh::{configure, refresh, refusal};

/// How a function that takes a secret which can be guessed is called with a wrong one for `$1`.
const GUESSABLE: [(&str, &str); 5] = [
    ("reset_password_with_code", "select auth.reset_password_with_code($1, '000000', 'staple correct horse')"),
    ("sign_in", "select auth.sign_in($1, 'a wrong password')"),
    ("verify_otp", "select auth.verify_otp($1, '000000')"),
    ("verify_sign_up", "select auth.verify_sign_up($1, '000000')"),
    ("verify_sms_otp", "select auth.verify_sms_otp($1, '000000')"),
];

/// The same for those that a signed-in user may call about their own account.
const GUESSABLE_SIGNED_IN: [(&str, &str); 3] = [
    ("update_email", "select auth.update_email('new@example.org', 'a wrong password')"),
    ("update_phone", "select auth.update_phone('+4915112345678', 'a wrong password')"),
    ("update_password", "select auth.update_password('a wrong password', 'staple correct horse')"),
];

/// Those that take a code of a second factor: its owner's, of `$1` the challenge of a sign-in, of `$2` an unverified factor.
const GUESSABLE_BY_A_CODE: [(&str, &str); 4] = [
    ("confirm_sms", "select auth.confirm_sms($2::text::uuid, $1 || '000000')"),
    ("confirm_totp", "select auth.confirm_totp($2::text::uuid, $1 || '000000')"),
    ("disable_totp", "select auth.disable_totp(coalesce($2, $1))"),
    ("verify_totp", "select auth.verify_totp($1, coalesce($2, ''))"),
];

/// The other functions that a client may call: they take no secret, or one of so many bits that nobody guesses it.
const NOT_GUESSABLE: [&str; 82] = [
    "aal",
    "admin_create_user",
    "admin_delete_factor",
    "admin_delete_passkey",
    "admin_delete_user",
    "admin_generate_link",
    "admin_get_user",
    "admin_list_audit",
    "admin_list_factors",
    "admin_list_passkeys",
    "admin_list_users",
    "admin_update_factor",
    "admin_update_user",
    "authenticate",
    "authenticate_request",
    "authenticate_session",
    "challenge_factor",
    "challenge_webauthn",
    "claim_outbox",
    "convert_anonymous",
    "count_attempt",
    "count_recovery_codes",
    "delete_passkey",
    "delete_recovery_codes",
    "email",
    "enroll_sms",
    "enroll_totp",
    "enroll_webauthn",
    "exchange_code",
    "finish_passkey_registration",
    "finish_passkey_sign_in",
    "finish_passkey_sign_up",
    "fresh",
    "get_recovery_codes",
    "get_session",
    "get_user",
    "invite_user",
    "jwks",
    "jwt",
    "list_factors",
    "list_passkeys",
    "list_sessions",
    "look_up_link",
    "network",
    "outbox_status",
    "public_profile",
    "public_settings",
    "reauthenticate",
    "redirect_allowed",
    "refresh",
    "regenerate_recovery_codes",
    "rename_passkey",
    "request_password_reset",
    "require_aal2",
    "require_uid",
    "resend",
    "reset_password",
    "revoke_session",
    "revoke_sessions",
    "role",
    "send_magic_link",
    "send_mfa_sms",
    "send_otp",
    "send_sms_otp",
    "session_id",
    "set_request_context",
    "settle_outbox",
    "sidecar_status",
    "sign_in_anonymously",
    "sign_out",
    "sign_up",
    "sign_up_with_email",
    "start_passkey_registration",
    "start_passkey_sign_in",
    "start_passkey_sign_up",
    "uid",
    "unenroll_factor",
    "update_user",
    "verify_link",
    "verify_token",
    "verify_webauthn",
    "version",
];

/// XC7: each function that takes a guessable secret refuses for their number, within two hundred wrong tries, any more; a
/// new function of the surface must be put into one of the two lists.
#[test]
fn every_function_that_takes_a_secret_is_limited() {
    let database = guarded(Cluster::shared(), json!({"enable_sms": true}));
    let reachable = format!(
        "with {MEMBERS} select distinct p.proname::text
        from member as m join pg_proc as p on m.classid = 'pg_proc'::regclass and p.oid = m.objid
        where p.prorettype not in ('event_trigger'::regtype, 'trigger'::regtype) and exists (
            select from unnest(array['anon', 'authenticated', 'service_role', 'auth_sidecar', 'app']) as r
            where has_function_privilege(r, p.oid, 'execute'))
        order by 1"
    );
    let found: Vec<String> =
        database.superuser().query(&reachable, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    let mut listed: Vec<&str> = GUESSABLE
        .iter()
        .chain(&GUESSABLE_SIGNED_IN)
        .chain(&GUESSABLE_BY_A_CODE)
        .map(|(name, _)| *name)
        .chain(NOT_GUESSABLE)
        .collect();
    listed.sort_unstable();
    assert_eq!(found, listed, "a function is in neither list: can what it takes be guessed?");

    for (name, call) in GUESSABLE_BY_A_CODE {
        let mut app = database.app();
        let person = sign_up(&mut app, &format!("{name}@example.org"), RIGHT);
        let enrolled = enroll(&mut app, person);
        let token = enrolled.person.access_token.as_str();
        let challenge = first_step(&mut app, &enrolled.person.email);
        let enroll = if name == "confirm_sms" { "enroll_sms('+4915112345678')" } else { "enroll_totp('another')" };
        let unverified = as_user(&mut app, token, enroll)["factor_id"].as_str().unwrap().to_owned();
        let codes: Vec<Refusal> = (0..200)
            .map(|_| {
                refused(try_acting(&mut app, token, |transaction| {
                    transaction.execute(call, &[&challenge, &unverified])
                }))
            })
            .collect();
        let looked_at = codes.iter().take_while(|refusal| refusal.code == "mfa_verification_failed").count();
        assert_eq!(looked_at, 5, "{name}: {:?}", codes[0]);
        assert!(codes[looked_at..].iter().all(|refusal| refusal.sqlstate == "53400"), "{name}");
    }
    for (name, call) in GUESSABLE.into_iter().chain(GUESSABLE_SIGNED_IN) {
        let mut app = database.app();
        let person = sign_up(&mut app, &format!("{name}@example.org"), RIGHT);
        let codes: Vec<Refusal> = (0..200)
            .map(|_| match call.contains("$1") {
                true => refused(app.execute(call, &[&person.email])),
                false => {
                    refused(try_acting(&mut app, &person.access_token, |transaction| transaction.execute(call, &[])))
                }
            })
            .collect();
        let looked_at = codes.iter().take_while(|refusal| refusal.sqlstate != "53400").count();
        assert!(looked_at <= 5, "{name}: {looked_at} guesses were looked at");
        assert!(codes[looked_at..].iter().all(|refusal| refusal.sqlstate == "53400"), "{name}");
        // A code's lock is no password's.
        if call.contains("a wrong password") {
            locked(&mut app, &person.email);
        }
    }
}

/// XC15, XC6: whatever is sent, the answer is byte for byte the same for accounts of every state, before they are locked and
/// afterwards.
#[test]
fn an_answer_tells_nothing_of_the_account() {
    let database = guarded(Cluster::shared(), json!({"rate_limit_database": null}));
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let states = ["known", "banned", "bare", "deleted", "unknown"];
    for state in &states[..4] {
        sign_up(&mut app, &format!("{state}@example.org"), RIGHT);
    }
    superuser
        .batch_execute(
            "update auth.users set banned_until = now() + interval '1 h' where email = 'banned@example.org';
            update auth.users set encrypted_password = null where email = 'bare@example.org';
            update auth.users set deleted_at = now() where email = 'deleted@example.org'",
        )
        .unwrap();
    let megabyte = "x".repeat(1 << 20);
    let inputs: [(&str, &str, &[&str]); 8] = [
        ("wrong", "auth.sign_in($1, 'a wrong password')", &["28P01", "53400"]),
        ("empty", "auth.sign_in($1, '')", &["28P01", "53400"]),
        ("null", "auth.sign_in($1, null)", &["22023"]),
        ("option", "auth.sign_in($1, 'x', '{\"no_such\": 1}')", &["22023"]),
        ("options", "auth.sign_in($1, 'x', '[]')", &["22023"]),
        ("nothing", "auth.sign_in($1, 'x', null)", &[]),
        ("control", "auth.sign_in($1, E'\\x01\\u200b\\ufeff')", &["28P01", "53400"]),
        ("megabyte", "auth.sign_in($1, $2)", &["28P01", "53400"]),
    ];
    for phase in 0..2 {
        for (title, call, sqlstates) in inputs {
            let answers: Vec<(Refusal, &str)> = states
                .iter()
                .map(|state| {
                    let email = format!("{state}@example.org");
                    let statement = format!("select {call}");
                    let result = match call.contains("$2") {
                        true => app.execute(&statement, &[&email, &megabyte]),
                        false => app.execute(&statement, &[&email]),
                    };
                    let mut refusal = refused(result);
                    // The lock of each began at a moment of its own.
                    refusal.hint = refusal.hint.map(|hint| hint.replace(|c: char| c.is_ascii_digit(), ""));
                    (refusal, *state)
                })
                .collect();
            for (refusal, state) in &answers {
                assert_eq!(*refusal, answers[0].0, "{title}, {state}, phase {phase}");
                assert!(sqlstates.is_empty() || sqlstates.contains(&refusal.sqlstate.as_str()), "{title}: {refusal:?}");
            }
        }
        for state in states {
            let email = format!("{state}@example.org");
            wait_until("the account to be locked", || code(&mut app, &email, WRONG) == "account_locked");
            assert_eq!(code(&mut app, &email, RIGHT), "account_locked", "{state}");
        }
    }
}

/// XB3: a password of a megabyte or of a hundred is refused without a hash, at sign-in in the words of a wrong one, and
/// counts as one; the longest that sign-up takes is let in however it is typed.
#[test]
fn a_huge_password_costs_no_hash() {
    let cluster = Cluster::start();
    let database = guarded(&cluster, json!({"password_max_length": 512, "lockout_attempts": null}));
    let mut app = database.app();
    sign_up(&mut app, "ada@example.org", RIGHT);
    let mut admin = database.admin();
    let mut hashes = || json(&mut admin, "select auth.gate_status()", &[])["hashes"].as_i64().unwrap();
    let before = hashes();
    for (unit, bytes) in [("x", 1 << 20), ("x", 100 << 20), ("e\u{301}", 1 << 20), ("\u{fdfa}", 1 << 20), ("x", 1025)] {
        let password = unit.repeat(bytes / unit.len());
        for email in ["ada@example.org", "nobody@example.org", "no address"] {
            assert_eq!(code(&mut app, email, &password), "invalid_credentials", "{bytes} bytes of {unit:?}");
        }
        let refusal = refused(app.execute("select auth.sign_up('new@example.org', $1)", &[&password]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "password_too_long"));
    }
    assert_eq!(hashes(), before);
    let failures = audited(&database, "login_failure", "ada@example.org");
    assert_eq!(failures, [(Some("invalid_credentials".to_owned()), 5)]);
    // 1,020 bytes when composed; three times as many as macOS types them.
    let (composed, typed) = ("\u{d4db}".repeat(340), "\u{1111}\u{1171}\u{11b6}".repeat(340));
    sign_up(&mut app, "bob@example.org", &composed);
    sign_up(&mut app, "eve@example.org", &typed);
    for email in ["bob@example.org", "eve@example.org"] {
        for password in [&composed, &typed] {
            assert_eq!(code(&mut app, email, password), "session", "{email}, {} bytes", password.len());
        }
    }
}

/// XB9: a sign-in that replaces a hash of an old cost while the owner sets a new password never undoes that: in three
/// hundred races the new password wins.
#[test]
fn a_rehash_never_overwrites_a_new_password() {
    const ROUNDS: usize = 300;
    let database = guarded(
        Cluster::shared(),
        json!({"lockout_attempts": null, "max_active_sessions": null, "rate_limit_database": null}),
    );
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let person = sign_up(&mut app, "ada@example.org", "the new password");
    let hash = |superuser: &mut Client| -> String {
        superuser
            .query_one("select encrypted_password from auth.users where id = $1", &[&person.user_id])
            .unwrap()
            .get(0)
    };
    let new = hash(&mut superuser);
    let old = {
        let other = sign_up(&mut app, "old@example.org", RIGHT);
        let row = superuser.query_one("select encrypted_password from auth.users where id = $1", &[&other.user_id]);
        row.unwrap().get::<_, String>(0)
    };
    configure(&database, json!({"argon2_iterations": 2, "argon2_memory_kib": 1024}));
    let set = superuser.prepare("update auth.users set encrypted_password = $2 where id = $1").unwrap();
    let (mut rehashed, mut refusals) = (0, 0);
    let (go, start) = std::sync::mpsc::channel::<()>();
    let (done, ended) = std::sync::mpsc::channel::<String>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            start.into_iter().for_each(|()| done.send(code(&mut app, "ada@example.org", RIGHT)).unwrap())
        });
        for round in 0..ROUNDS {
            superuser.execute(&set, &[&person.user_id, &old]).unwrap();
            go.send(()).unwrap();
            // Each round a little later into the sign-in.
            for _ in 0..round % 60 {
                superuser.simple_query("").unwrap();
            }
            rehashed += usize::from(hash(&mut superuser) != old);
            superuser.execute(&set, &[&person.user_id, &new]).unwrap();
            let answer = ended.recv().unwrap();
            refusals += usize::from(answer == "invalid_credentials");
            assert!(["session", "invalid_credentials"].contains(&answer.as_str()), "{answer}");
            assert_eq!(hash(&mut superuser), new, "round {round}: {answer}");
        }
        drop(go);
    });
    assert!(rehashed + refusals < ROUNDS, "no race: the owner came after {rehashed} and before {refusals} sign-ins");
    configure(&database, json!({"argon2_iterations": 1, "argon2_memory_kib": 8}));
    sign_in(&mut database.app(), "ada@example.org", "the new password");
}

/// N11: a token that was read before its sign-up, sign-in or refresh was rolled back is nobody's.
#[test]
fn a_token_of_a_rolled_back_transaction_is_refused() {
    let database = guarded(Cluster::shared(), json!({}));
    let mut app = database.app();
    let person = sign_up(&mut app, "ada@example.org", RIGHT);
    for (call, code) in [
        (format!("select auth.sign_up('bob@example.org', '{RIGHT}')"), "session_not_found"),
        (format!("select auth.sign_in('ada@example.org', '{RIGHT}')"), "session_not_found"),
        (format!("select auth.refresh('{}')", person.refresh_token), "session_not_found"),
    ] {
        let mut transaction = app.transaction().unwrap();
        let answer = json(&mut transaction, &call, &[]);
        transaction.rollback().unwrap();
        let token = answer["access_token"].as_str().unwrap();
        let refused_with =
            refused(try_acting(&mut app, token, |transaction| transaction.execute("select auth.uid()", &[])));
        assert_eq!((refused_with.sqlstate.as_str(), refused_with.code.as_str()), ("28000", code), "{call}");
        if call.contains("sign_") {
            assert_eq!(refusal(&mut app, answer["refresh_token"].as_str().unwrap()), "session_not_found");
        }
    }
    refresh(&mut app, &person.refresh_token).unwrap();
}

/// XJ17, XJ18: whoever holds advisory locks, or stays in a transaction after a wrong guess, holds up nobody: no advisory
/// lock is taken, and the victim signs in.
#[test]
fn an_idle_attacker_holds_up_nobody() {
    let database = guarded(Cluster::shared(), json!({}));
    let (mut attacker, mut app) = (database.app(), database.app());
    let person = sign_up(&mut app, "ada@example.org", RIGHT);
    let keys = format!(
        "select pg_advisory_lock(k) from unnest(array[hashtext('ada@example.org')::bigint,
            hashtextextended('ada@example.org', 0), hashtext('auth')::bigint, hashtext('{0}')::bigint,
            hashtextextended('{0}', 0)]) as k",
        person.user_id
    );
    attacker.query(&keys, &[]).unwrap();
    attacker
        .query("select pg_advisory_lock(k), pg_advisory_lock(0, k) from generate_series(0, 500) as k", &[])
        .unwrap();
    attacker.batch_execute("begin").unwrap();
    assert!(guess(&mut attacker, &person.email, WRONG).is_err());
    let mut savepoint = database.app();
    savepoint.batch_execute("begin; savepoint s").unwrap();
    assert!(guess(&mut savepoint, &person.email, WRONG).is_err());
    savepoint.batch_execute("rollback to s").unwrap();

    app.batch_execute("set statement_timeout = '10s'; begin").unwrap();
    assert_eq!(code(&mut app, &person.email, RIGHT), "session");
    sign_up(&mut app, "bob@example.org", RIGHT);
    refresh(&mut app, &person.refresh_token).unwrap();
    let held = "select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    assert!(app.query(held, &[]).unwrap().is_empty());
    app.batch_execute("commit").unwrap();
    let mut admin = database.admin();
    let mut transaction = admin.transaction().unwrap();
    transaction.execute("select auth.guard_reset('ada@example.org')", &[]).unwrap();
    transaction.execute("select auth.configure('{\"lockout_attempts\": 4}')", &[]).unwrap();
    assert!(transaction.query(held, &[]).unwrap().is_empty());
    transaction.rollback().unwrap();
}

/// XC3, XC4: every refused guess is in the audit, whatever the client says it is: addresses and programs of any length and
/// any character.
#[test]
fn every_refusal_is_in_the_audit() {
    let database = guarded(
        Cluster::shared(),
        json!({"rate_limit_database": null, "rate_limit_network": null, "rate_limit_login": "100/900"}),
    );
    let mut sidecar = database.sidecar();
    let long = format!("{}@{}.example.org", "a".repeat(64), ["b".repeat(60), "c".repeat(60), "d".repeat(50)].join("."));
    let mut expected = 0;
    for (number, agent) in
        [String::new(), "x".repeat(10_000), "\"".repeat(256), "\\".repeat(256), "\u{1}".repeat(256), "é".repeat(300)]
            .into_iter()
            .enumerate()
    {
        for email in [format!("user{number}@example.org"), format!("{number}{}", &long[1..])] {
            let answers: Vec<String> = (0..8)
                .map(|_| {
                    from(&mut sidecar, "2001:db8:1111:2222:3333:4444:5555:6666", |client| {
                        client
                            .execute(
                                "select auth.set_request_context('2001:db8:1111:2222:3333:4444:5555:6666', $1)",
                                &[&agent],
                            )
                            .unwrap();
                        code(client, &email, WRONG)
                    })
                })
                .collect();
            assert_eq!(answers[..5], ["invalid_credentials"; 5], "{agent:.10} {email}");
            assert_eq!(answers[5..], ["account_locked"; 3], "{agent:.10} {email}");
            expected += 8;
            let email = email.as_str();
            wait_until("its rows", || total(&audited(&database, "login_failure", email)) == 8);
            assert_eq!(total(&audited(&database, "account_locked", email)), 1);
        }
    }
    let sum = "select coalesce(sum(count), 0)::bigint from auth.audit_log where event_type = 'login_failure'";
    assert_eq!(database.superuser().query_one(sum, &[]).unwrap().get::<_, i64>(0), expected);
    assert_eq!(json(&mut database.admin(), "select auth.guard_status()", &[])["events_dropped"], 0);
}

/// F217, XC1: the same right password from eight devices at one moment locks nobody out, whatever the isolation level: who
/// loses to another right one may try again.
#[test]
fn right_passwords_at_once_lock_nobody() {
    let database = guarded(Cluster::shared(), json!({"max_active_sessions": null}));
    for level in ["read committed", "repeatable read", "serializable"] {
        let email = format!("{}@example.org", level.replace(' ', "-"));
        sign_up(&mut database.app(), &email, RIGHT);
        let answers = storm_with(
            8,
            |_| {
                let mut client = database.app();
                client.batch_execute(&format!("set default_transaction_isolation = '{level}'")).unwrap();
                client
            },
            |_, mut client| match guess(&mut client, &email, RIGHT) {
                Ok(_) => "session".to_owned(),
                Err(refusal) => refusal.sqlstate,
            },
        );
        assert!(answers.iter().any(|answer| answer == "session"), "{level}: {answers:?}");
        assert!(answers.iter().all(|answer| ["session", "40001"].contains(&answer.as_str())), "{level}: {answers:?}");
        assert_eq!(code(&mut database.app(), &email, RIGHT), "session", "{level}");
    }
}

/// XJ18: in a new database, where the first call makes keys, a first sign-up that never ends holds up nobody.
#[test]
fn the_first_sign_up_holds_up_nobody() {
    let database = guarded(Cluster::shared(), json!({}));
    let (mut idle, mut app) = (database.app(), database.app());
    idle.batch_execute("begin").unwrap();
    sign_up(&mut idle, "idle@example.org", RIGHT);
    app.batch_execute("set statement_timeout = '5s'").unwrap();
    assert_eq!(code(&mut app, "nobody@example.org", WRONG), "invalid_credentials");
    sign_up(&mut app, "ada@example.org", RIGHT);
    assert_eq!(code(&mut app, "ada@example.org", RIGHT), "session");
    idle.batch_execute("commit").unwrap();
    assert_eq!(code(&mut app, "idle@example.org", RIGHT), "session");
}
