//! Passkeys: what is forged, replayed, or answers another question is refused, and the honest one beside it is not.

use auth_harness::authenticator::{
    Algorithm, Assertion, Authenticator, BACKED_UP, BACKUP_ELIGIBLE, HAS_EXTENSIONS, Registration, USER_PRESENT, decode,
};
use auth_harness::{Client, Cluster, json, sign_up};
use serde_json::{Value, json};

use crate::passkey::{
    ORIGIN, PASSWORD, ada, ask, code, finish_registration, finish_sign_in, id, register, sign_in_with, standing_count,
    start_registration, start_sign_in, with_passkeys,
};

fn text(bytes: &[u8]) -> Value {
    use base64::Engine;
    json!(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// A change before it is signed.
pub type Change<T> = (&'static str, fn(&mut T));
/// A change afterwards, on the way.
pub type Tampering = (&'static str, fn(&mut Value));

pub fn flip(value: &mut Value) {
    let mut bytes = decode(value);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    *value = text(&bytes);
}

/// Changes to a new passkey: each alone makes it bad.
pub const REGISTRATION: &[Change<Registration>] = &[
    ("type", |made| made.client_data["type"] = json!("webauthn.get")),
    ("type of nothing", |made| made.client_data["type"] = json!("")),
    ("challenge", |made| made.client_data["challenge"] = text(&[1; 32])),
    ("challenge cut", |made| {
        let challenge = decode(&made.client_data["challenge"]);
        made.client_data["challenge"] = text(&challenge[..31]);
    }),
    ("challenge padded", |made| {
        let padded = format!("{}=", made.client_data["challenge"].as_str().unwrap());
        made.client_data["challenge"] = json!(padded);
    }),
    ("origin", |made| made.client_data["origin"] = json!("https://evil.test")),
    ("crossOrigin", |made| made.client_data["crossOrigin"] = json!(true)),
    ("topOrigin", |made| made.client_data["topOrigin"] = json!(ORIGIN)),
    ("client data is a list", |made| made.client_data = json!([])),
    ("client data is no JSON", |made| made.client_data = json!("{")),
    ("rp id", |made| made.rp_id = "evil.test".into()),
    ("rp id of the parent", |made| made.rp_id = "example.org".into()),
    ("nobody present", |made| made.flags &= !USER_PRESENT),
    ("backed up, not eligible", |made| made.flags |= BACKED_UP),
    ("no credential", |made| made.flags &= !(1 << 6)),
    ("extensions that are none", |made| made.flags |= HAS_EXTENSIONS),
    ("extensions that are a list", |made| {
        made.flags |= HAS_EXTENSIONS;
        made.trailing = vec![0x80];
    }),
    ("trailing bytes", |made| made.trailing = vec![0]),
    ("another id inside", |made| made.credential_id[0] ^= 1),
    ("another id outside", |made| made.raw_id[0] ^= 1),
    ("no id", |made| {
        made.credential_id.clear();
        made.raw_id.clear();
    }),
    ("id of 1024 bytes", |made| {
        made.credential_id = vec![1; 1024];
        made.raw_id = vec![1; 1024];
    }),
    ("key is no map", |made| made.cose_key = vec![0x80]),
    ("key of ES384", |made| made.cose_key[4] = 0x38),
    ("key of another curve", |made| made.cose_key[6] = 2),
    ("key of another kind", |made| made.cose_key[2] = 1),
    ("key cut", |made| made.cose_key.truncate(76)),
    ("key beside its curve", |made| made.cose_key[76] ^= 1),
    ("key with one member more", |made| {
        made.cose_key[0] = 0xa6;
        made.cose_key.extend([0x04, 0x01]);
    }),
    ("key with a member twice", |made| {
        made.cose_key[0] = 0xa6;
        made.cose_key.extend([0x01, 0x02]);
    }),
    ("another format", |made| made.format = "tpm"),
    ("none, with a statement", |made| made.statement = vec![0xa1, 0x61, b'x', 0x01]),
    ("packed, without one", |made| made.format = "packed"),
    ("statement that is no map", |made| made.statement = vec![0x80]),
    ("statement nested", |made| made.statement = [vec![0x81; 5000], vec![0]].concat()),
    ("statement of a gigabyte", |made| made.statement = vec![0xba, 0x40, 0, 0, 0]),
];

pub const CREDENTIAL: &[Tampering] = &[
    ("id is another", |credential| credential["id"] = text(&[9; 32])),
    ("rawId is another", |credential| credential["rawId"] = text(&[9; 32])),
    ("no id", |credential| drop(credential.as_object_mut().unwrap().remove("id"))),
    ("no rawId", |credential| drop(credential.as_object_mut().unwrap().remove("rawId"))),
    ("type", |credential| credential["type"] = json!("password")),
    ("no response", |credential| credential["response"] = Value::Null),
    ("response is a list", |credential| credential["response"] = json!([])),
    ("no client data", |credential| credential["response"]["clientDataJSON"] = Value::Null),
    ("client data in standard base64", |credential| {
        let padded = format!("{}==", credential["response"]["clientDataJSON"].as_str().unwrap());
        credential["response"]["clientDataJSON"] = json!(padded);
    }),
    ("nothing", |credential| *credential = json!({})),
    ("a list", |credential| *credential = json!([])),
    ("text", |credential| *credential = json!("x")),
];

/// XH1, XH3, XH7, XH8: of a good registration each single change is refused, and then the honest one is not.
#[test]
fn a_changed_registration() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let mut app = database.app();
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    let token = &person.access_token;
    let mut authenticator = Authenticator::new(Algorithm::Es256);
    authenticator.flags = USER_PRESENT;
    let mut check = |name: &str, change: &dyn Fn(&mut Registration), tamper: &dyn Fn(&mut Value)| {
        let started = start_registration(&mut app, token);
        let mut made = authenticator.create(&started["options"], ORIGIN);
        change(&mut made);
        let mut credential = made.json();
        tamper(&mut credential);
        let refusal = finish_registration(&mut app, token, &started, &credential);
        assert_eq!(refusal.map_err(|refusal| refusal.code), Err("webauthn_verification_failed".to_owned()), "{name}");
    };
    for (name, change) in REGISTRATION {
        check(name, change, &|_| ());
    }
    for (name, tamper) in CREDENTIAL {
        check(name, &|_| (), tamper);
    }
    for name in ["attestationObject", "clientDataJSON"] {
        check(name, &|_| (), &|credential| flip(&mut credential["response"][name]));
    }
    let count: i64 = database.superuser().query_one("select count(*) from auth.passkeys", &[]).unwrap().get(0);
    assert_eq!(count, 0);
    register(&mut app, token, &mut authenticator).unwrap();
}

/// B014: attestation is not asked for: none is taken, self attestation is verified, others are refused.
#[test]
fn self_attestation() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    let token = &person.access_token;
    let other = Authenticator::new(Algorithm::Es256);
    for (algorithm, by_other, is_good) in
        [(-7, false, true), (-7, true, false), (-8, false, false), (-257, false, false)]
    {
        let mut authenticator = Authenticator::new(Algorithm::Es256);
        authenticator.flags = USER_PRESENT;
        let started = start_registration(&mut app, token);
        let made = authenticator.create(&started["options"], ORIGIN);
        let made = made.attested_by(if by_other { &other } else { &authenticator }, algorithm);
        let said = finish_registration(&mut app, token, &started, &made.json());
        match is_good {
            true => drop(said.unwrap()),
            false => assert_eq!(code(said), "webauthn_verification_failed", "{algorithm} {by_other}"),
        }
    }
}

/// Changes to a sign-in, signed as they are.
pub const ASSERTION: &[Change<Assertion>] = &[
    ("type", |signed| signed.client_data["type"] = json!("webauthn.create")),
    ("type of a payment", |signed| signed.client_data["type"] = json!("payment.get")),
    ("challenge", |signed| signed.client_data["challenge"] = text(&[1; 32])),
    ("no challenge", |signed| signed.client_data["challenge"] = json!("")),
    ("challenge is a number", |signed| signed.client_data["challenge"] = json!(1)),
    ("origin", |signed| signed.client_data["origin"] = json!("https://app.example.org.evil.test")),
    ("no origin", |signed| drop(signed.client_data.as_object_mut().unwrap().remove("origin"))),
    ("crossOrigin", |signed| signed.client_data["crossOrigin"] = json!(true)),
    ("crossOrigin is text", |signed| signed.client_data["crossOrigin"] = json!("true")),
    ("topOrigin", |signed| signed.client_data["topOrigin"] = json!("https://evil.test")),
    ("client data is no JSON", |signed| signed.client_data = json!("}")),
    ("rp id", |signed| signed.rp_id = "evil.test".into()),
    ("nobody present", |signed| signed.flags &= !USER_PRESENT),
    ("eligible now", |signed| signed.flags |= BACKUP_ELIGIBLE),
    ("backed up, not eligible", |signed| signed.flags |= BACKED_UP),
    ("says it has a credential", |signed| signed.flags |= 1 << 6),
    ("extensions that are none", |signed| signed.flags |= HAS_EXTENSIONS),
    ("trailing bytes", |signed| signed.trailing = vec![0xa0]),
    ("counter as before", |signed| signed.sign_count = 1),
    ("counter zero", |signed| signed.sign_count = 0),
    ("another credential", |signed| signed.credential_id[0] ^= 1),
    ("no credential", |signed| signed.credential_id.clear()),
    ("another user", |signed| signed.user_handle = Some(vec![1; 16])),
    ("no user", |signed| signed.user_handle = None),
];

/// XH1, XH3, XH5, XH7: of a good sign-in each single change is refused, signed or made on the way, and the honest one is not.
#[test]
fn a_changed_sign_in() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let mut app = database.app();
    let (_, mut authenticator) = ada(&database);
    for (name, change) in ASSERTION {
        let said = sign_in_with(&mut app, &mut authenticator, change);
        assert_eq!(said.map_err(|refusal| refusal.code), Err("webauthn_verification_failed".to_owned()), "{name}");
    }
    let mut check = |name: &str, tamper: &dyn Fn(&mut Value)| {
        let started = start_sign_in(&mut app, None);
        let mut credential = authenticator.get(&started["options"], ORIGIN).json(&authenticator);
        tamper(&mut credential);
        let said = finish_sign_in(&mut app, &started, &credential);
        assert_eq!(said.map_err(|refusal| refusal.code), Err("webauthn_verification_failed".to_owned()), "{name}");
    };
    for (name, tamper) in CREDENTIAL {
        check(name, tamper);
    }
    for name in ["signature", "authenticatorData", "clientDataJSON", "userHandle"] {
        check(name, &|credential| flip(&mut credential["response"][name]));
        check(name, &|credential| credential["response"][name] = json!(""));
        check(name, &|credential| credential["response"][name] = json!(7));
    }
    // By another authenticator, which says that it is this one.
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let mut other = Authenticator::new(algorithm);
        other.credential_id = authenticator.credential_id.clone();
        other.user_handle = authenticator.user_handle.clone();
        other.sign_count = 1000;
        assert_eq!(code(sign_in_with(&mut app, &mut other, |_| ())), "webauthn_verification_failed");
    }
    assert_eq!(standing_count(&database), 1, "that of the sign-up");
    sign_in_with(&mut app, &mut authenticator, |_| ()).unwrap();
}

/// XH7: a counter that does not go on is refused and in the audit; an authenticator that has none always says zero.
#[test]
fn a_counter_goes_on() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let (ada, mut authenticator) = ada(&database);
    for (count, is_good) in
        [(5, true), (5, false), (4, false), (0, false), (u32::MAX, true), (u32::MAX, false), (0, false)]
    {
        let said = sign_in_with(&mut app, &mut authenticator, |signed| signed.sign_count = count);
        match is_good {
            true => drop(said.unwrap()),
            false => assert_eq!(code(said), "webauthn_verification_failed", "{count}"),
        }
    }
    let audited = |event_type: &str| -> i64 {
        database
            .superuser()
            .query_one(
                "select coalesce(sum(count), 0)::bigint from auth.audit_log
                where event_type = $1 and user_id = $2 and code = 'webauthn_verification_failed'",
                &[&event_type, &ada.user_id],
            )
            .unwrap()
            .get(0)
    };
    assert_eq!(audited("login_failure"), 5);
    auth_harness::wait_until("the rows are written", || audited("passkey_counter_rolled_back") == 5);
    let bob = sign_up(&mut app, "bob@example.org", PASSWORD);
    let mut without = Authenticator::new(Algorithm::EdDsa);
    without.sign_count = 0;
    register(&mut app, &bob.access_token, &mut without).unwrap();
    for _ in 0..2 {
        sign_in_with(&mut app, &mut without, |signed| assert_eq!(signed.sign_count, 0)).unwrap();
    }
}

/// XH3: a challenge is for its own kind of ceremony, for the session that began it, once, and for five minutes.
#[test]
fn a_challenge_is_for_one_ceremony() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let (mut app, mut superuser) = (database.app(), database.superuser());
    let (ada, mut hers) = ada(&database);
    let session = sign_in_with(&mut app, &mut hers, |_| ()).unwrap();
    let token = session["access_token"].as_str().unwrap().to_owned();
    let bob = sign_up(&mut app, "bob@example.org", PASSWORD);
    let again = auth_harness::sign_in(&mut app, "bob@example.org", PASSWORD);
    let mut new = Authenticator::new(Algorithm::Es256);
    const OVER: &str = "webauthn_challenge_expired";

    // A challenge of one kind is none of the other.
    let registration = start_registration(&mut app, &token);
    let sign_in = start_sign_in(&mut app, None);
    let mut options = sign_in["options"].clone();
    options["challenge"] = registration["options"]["challenge"].clone();
    let signed = hers.get(&options, ORIGIN).json(&hers);
    assert_eq!(code(finish_sign_in(&mut app, &registration, &signed)), OVER);
    let mut options = registration["options"].clone();
    options["challenge"] = sign_in["options"]["challenge"].clone();
    let made = new.create(&options, ORIGIN).json();
    assert_eq!(code(finish_registration(&mut app, &token, &sign_in, &made)), OVER);

    // One session's is none of another's, of the same user or not, and it is not spent by that.
    let started = start_registration(&mut app, &bob.access_token);
    let made = new.create(&started["options"], ORIGIN).json();
    assert_eq!(code(finish_registration(&mut app, &again.access_token, &started, &made)), OVER);
    assert_eq!(code(finish_registration(&mut app, &token, &started, &made)), OVER);
    finish_registration(&mut app, &bob.access_token, &started, &made).unwrap();
    assert_eq!(code(finish_registration(&mut app, &bob.access_token, &started, &made)), "insufficient_aal");

    // Two at once are two: the answer to one is not that to the other.
    let (first, second) = (start_sign_in(&mut app, None), start_sign_in(&mut app, None));
    let signed = hers.get(&first["options"], ORIGIN).json(&hers);
    assert_eq!(code(finish_sign_in(&mut app, &second, &signed)), "webauthn_verification_failed");
    finish_sign_in(&mut app, &first, &signed).unwrap();
    assert_eq!(code(finish_sign_in(&mut app, &first, &signed)), OVER);
    assert_eq!(
        code(finish_sign_in(&mut app, &second, &hers.get(&second["options"], ORIGIN).json(&hers))),
        OVER,
        "spent"
    );

    // Over, and unknown.
    let started = start_sign_in(&mut app, None);
    let left: f64 = superuser
        .query_one(
            "select extract(epoch from expires_at - created_at)::float8 from auth.webauthn_challenges where id = $1",
            &[&id(&started["challenge_id"])],
        )
        .unwrap()
        .get(0);
    assert!((299.0..=301.0).contains(&left), "{left}");
    superuser.execute("update auth.webauthn_challenges set expires_at = clock_timestamp()", &[]).unwrap();
    let signed = hers.get(&started["options"], ORIGIN).json(&hers);
    assert_eq!(code(finish_sign_in(&mut app, &started, &signed)), OVER);
    let unknown = json!({"challenge_id": uuid::Uuid::new_v4().to_string()});
    assert_eq!(code(finish_sign_in(&mut app, &unknown, &signed)), OVER);
    let removed = json(&mut superuser, "select auth.cleanup()", &[]);
    assert!(removed["webauthn_challenges"].as_i64().unwrap() > 0);
    let rest: i64 = superuser.query_one("select count(*) from auth.webauthn_challenges", &[]).unwrap().get(0);
    assert_eq!((rest, ada.email.as_str()), (0, "ada@example.org"));
}

/// XH8: what is too large is refused before it is read.
#[test]
fn input_is_bounded() {
    let database = with_passkeys(Cluster::shared()).without_limits();
    let mut app = database.app();
    let (_, mut authenticator) = ada(&database);
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let started = start_sign_in(&mut app, None);
    let mut finish = |credential: &str| {
        let call = "select auth.finish_passkey_sign_in($1, $2::text::jsonb)";
        auth_harness::refused(app.query(call, &[&id(&started["challenge_id"]), &credential]))
    };
    let long = json!({"id": "A".repeat(70_000)}).to_string();
    for credential in [long.as_str(), &nested(1000)] {
        let refusal = finish(credential);
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"));
    }
    // Deeper than PostgreSQL itself reads.
    assert_eq!(finish(&nested(100_000)).sqlstate, "54001");
    let credential = authenticator.get(&started["options"], ORIGIN).json(&authenticator);
    finish_sign_in(&mut app, &started, &credential).expect("not spent by that");
}

/// XE3, XH3: of sixty-four uses of one assertion at one moment one is let in.
#[test]
fn sixty_four_with_one_assertion() {
    let cluster = Cluster::start();
    let database = with_passkeys(&cluster).without_limits();
    let (_, mut authenticator) = ada(&database);
    let warm = json!({"challenge_id": uuid::Uuid::new_v4().to_string()});
    for _ in 0..3 {
        let started = start_sign_in(&mut database.app(), None);
        let credential = authenticator.get(&started["options"], ORIGIN).json(&authenticator);
        let before = standing_count(&database);
        let said = auth_harness::storm_with(
            64,
            |_| {
                let mut client = database.app();
                assert_eq!(code(finish_sign_in(&mut client, &warm, &json!({}))), "webauthn_challenge_expired");
                client
            },
            |_, mut client: Client| match finish_sign_in(&mut client, &started, &credential) {
                Ok(_) => "session".to_owned(),
                Err(refusal) => refusal.code,
            },
        );
        let times = |what: &str| said.iter().filter(|said| *said == what).count();
        assert_eq!((times("session"), times("webauthn_challenge_expired")), (1, 63), "{said:?}");
        assert_eq!(standing_count(&database) - before, 1);
    }
}

/// XH3: an assertion that was used in a transaction that rolls back, in a savepoint, or by a server that dies then, is used.
#[test]
fn a_rollback_gives_nothing_back() {
    let cluster = Cluster::start();
    let database = with_passkeys(&cluster).without_limits();
    let mut app = database.app();
    let (_, mut authenticator) = ada(&database);
    let call = "select auth.finish_passkey_sign_in($1, $2)";
    for savepoint in [false, true] {
        let started = start_sign_in(&mut app, None);
        let credential = authenticator.get(&started["options"], ORIGIN).json(&authenticator);
        let mut transaction = app.transaction().unwrap();
        transaction.batch_execute("savepoint s").unwrap();
        let answer = json(&mut transaction, call, &[&id(&started["challenge_id"]), &credential]);
        assert_eq!(answer["status"], "session");
        match savepoint {
            true => {
                transaction.batch_execute("rollback to s").unwrap();
                transaction.commit().unwrap();
            }
            false => transaction.rollback().unwrap(),
        }
        assert_eq!(code(finish_sign_in(&mut app, &started, &credential)), "webauthn_challenge_expired", "{savepoint}");
        // The row is there still: what refuses is the guard, also after the server was killed.
        auth_harness::wait_until("the failure is in the audit", || {
            let mut superuser = database.superuser();
            let rows = "select count(*) from auth.audit_log where event_data ->> 'token' = $1";
            superuser.query_one(rows, &[&started["challenge_id"].as_str()]).unwrap().get::<_, i64>(0) > 0
        });
        cluster.kill9();
        cluster.start_again();
        app = database.app();
        let rows = "select count(*) from auth.webauthn_challenges where id = $1";
        let row = database.superuser().query_one(rows, &[&id(&started["challenge_id"])]).unwrap();
        assert_eq!(row.get::<_, i64>(0), 1);
        assert_eq!(code(finish_sign_in(&mut app, &started, &credential)), "webauthn_challenge_expired", "{savepoint}");
    }
    assert_eq!(standing_count(&database), 1);
    sign_in_with(&mut app, &mut authenticator, |_| ()).unwrap();
}

/// F067: the banned and the deleted are refused, only after they have shown who they are.
#[test]
fn the_banned_are_refused() {
    let database = with_passkeys(Cluster::shared());
    let mut app = database.app();
    let (ada, mut authenticator) = ada(&database);
    let mut superuser = database.superuser();
    for (change, expected) in [
        ("banned_until = clock_timestamp() + interval '1 hour'", "user_banned"),
        ("banned_until = null, deleted_at = clock_timestamp()", "user_not_found"),
    ] {
        superuser.execute(&format!("update auth.users set {change} where id = $1"), &[&ada.user_id]).unwrap();
        assert_eq!(code(sign_in_with(&mut app, &mut authenticator, |_| ())), expected);
    }
    superuser.execute("delete from auth.users where id = $1", &[&ada.user_id]).unwrap();
    let left: i64 = superuser.query_one("select count(*) from auth.passkeys", &[]).unwrap().get(0);
    assert_eq!(left, 0);
    assert_eq!(code(sign_in_with(&mut app, &mut authenticator, |_| ())), "webauthn_verification_failed");
    assert!(ask(&mut app, &ada.access_token, "start_passkey_registration()", &[]).is_err());
}
