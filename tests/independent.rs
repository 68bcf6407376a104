//! Peers that other people wrote: what we make they accept, what they make is judged as we promise.

use std::io::Write;
use std::process::{Command, Stdio};

use auth_harness::{Client, Cluster, acting, json, refused, sign_in, sign_up};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json as object};

const PASSWORD: &str = "correct horse battery \u{e9}\u{1f40e}";

/// Runs a script with PyJWT, cryptography and argon2-cffi at hand; gives it one JSON value and takes one.
#[track_caller]
fn python(script: &str, input: &Value) -> Value {
    let interpreter = std::env::var_os("AUTH_PYTHON").expect("AUTH_PYTHON is set by `./dev test`");
    let prelude = "import base64, hashlib, hmac, json, sys, time\nimport jwt, argon2\nasked = json.load(sys.stdin)\n";
    let mut child = Command::new(interpreter)
        .args(["-c", &format!("{prelude}{script}\n")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const VERIFY: &str = "
answers = []
for token in asked['tokens']:
    try:
        header = jwt.get_unverified_header(token)
        keys = jwt.PyJWKSet.from_dict(asked['jwks']).keys
        key = next(key for key in keys if key.key_id == header['kid'])
        claims = jwt.decode(token, key.key, algorithms=[key.algorithm_name], audience=asked['audience'],
            issuer=asked['issuer'], options={'require': ['exp', 'iat', 'sub']})
        answers.append({'claims': claims, 'alg': header['alg'], 'typ': header['typ']})
    except (jwt.PyJWTError, StopIteration) as error:
        answers.append({'refused': type(error).__name__})
json.dump(answers, sys.stdout)";

fn verified(client: &mut Client, tokens: &[String]) -> Value {
    let jwks = json(client, "select auth.jwks()", &[]);
    let asked =
        object!({"tokens": tokens, "jwks": jwks, "audience": "authenticated", "issuer": "http://localhost:3000"});
    python(VERIFY, &asked)
}

/// N31: our tokens verify in PyJWT by the published keys, ES256 and EdDSA; not one that was changed anywhere, not under
/// another key.
#[test]
fn our_access_tokens_verify_in_pyjwt() {
    let database = Cluster::shared().database();
    let (mut app, mut admin) = (database.app(), database.admin());
    let mut person = sign_up(&mut app, "ada@example.org", PASSWORD);
    for algorithm in ["ES256", "EdDSA", "ES256"] {
        let token = person.access_token.clone();
        let parts: Vec<&str> = token.split('.').collect();
        let with = |place: usize, part: String| {
            let mut parts: Vec<String> = parts.iter().map(|part| part.to_string()).collect();
            parts[place] = part;
            parts.join(".")
        };
        let claims = auth_harness::claims(&token);
        let mut stronger = claims.clone();
        stronger["role"] = "service_role".into();
        let mut signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        assert_eq!(signature.len(), 64, "raw, not DER (RFC 7518 section 3.4)");
        signature[40] ^= 1;
        let tampered = [
            with(1, URL_SAFE_NO_PAD.encode(stronger.to_string())),
            with(2, URL_SAFE_NO_PAD.encode(&signature)),
            with(2, String::new()),
        ];
        let tokens: Vec<String> = std::iter::once(token.clone()).chain(tampered).collect();
        let answers = verified(&mut app, &tokens);
        assert_eq!(answers[0]["claims"], claims, "{algorithm}: {answers}");
        assert_eq!((answers[0]["alg"].as_str(), answers[0]["typ"].as_str()), (Some(algorithm), Some("JWT")));
        for (answer, token) in answers.as_array().unwrap().iter().zip(&tokens).skip(1) {
            assert!(answer["refused"].is_string(), "{algorithm}: {answer}");
            // And ours says the same.
            let refusal = refused(app.query_one("select auth.verify_token($1)", &[token]));
            assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28000", "bad_jwt"));
        }
        // Another database's keys are no keys for it.
        let other = Cluster::shared().database();
        sign_up(&mut other.app(), "ada@example.org", PASSWORD);
        assert!(verified(&mut other.app(), &[token])[0]["refused"].is_string());
        let next = if algorithm == "ES256" { "EdDSA" } else { "ES256" };
        json(&mut admin, "select auth.rotate_signing_key($1)", &[&next]);
        person = sign_in(&mut app, "ada@example.org", PASSWORD);
    }
}

/// F015: the password string in the table is one that argon2-cffi verifies, and one that it made is good here.
#[test]
fn our_password_hashes_verify_in_argon2_cffi_and_the_other_way_round() {
    let database = Cluster::shared().database();
    let (mut app, mut root) = (database.app(), database.superuser());
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    let stored = |client: &mut Client| -> String {
        let sql = "select encrypted_password from auth.users where id = $1";
        client.query_one(sql, &[&person.user_id]).unwrap().get(0)
    };
    let hash = stored(&mut root);
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let script = "
hasher = argon2.PasswordHasher(memory_cost=19456, time_cost=2, parallelism=1)
def good(password):
    try: return hasher.verify(asked['hash'], password)
    except argon2.exceptions.VerifyMismatchError: return False
json.dump({'right': good(asked['password']), 'wrong': good(asked['password'] + 'x'),
    'same_parameters': not hasher.check_needs_rehash(asked['hash']), 'theirs': hasher.hash('of their own making'),
    'weaker': argon2.PasswordHasher(memory_cost=8192, time_cost=1, parallelism=1).hash('of their own making')}, sys.stdout)";
    let answer = python(script, &object!({"hash": hash, "password": PASSWORD}));
    assert_eq!(answer["right"], true);
    assert_eq!(answer["wrong"], false);
    assert_eq!(answer["same_parameters"], true, "length of salt and digest, version and costs are the usual ones");

    for made in ["theirs", "weaker"] {
        let update = "update auth.users set encrypted_password = $1 where id = $2";
        let theirs = answer[made].as_str().unwrap();
        root.execute(update, &[&theirs, &person.user_id]).unwrap();
        let wrong = refused(app.query_one("select auth.sign_in('ada@example.org', $1)", &[&PASSWORD]));
        assert_eq!(wrong.code, "invalid_credentials", "{made}");
        sign_in(&mut app, "ada@example.org", "of their own making");
        // A weaker one is made anew at the sign-in that knows the password.
        assert_eq!(stored(&mut root) == theirs, made == "theirs", "{made}");
    }
}

/// N31: a token that somebody else signs with an imported key is accepted for what it is: a signature of ours on
/// claims that still need a session, a user and a time.
#[test]
fn tokens_signed_by_pyjwt_are_judged_by_their_claims() {
    let database = Cluster::shared().database();
    let (mut app, mut admin) = (database.app(), database.admin());
    let secret = "c3ltbWV0cmljIHNlY3JldCBvZiB0aGUgdGVzdCwgMzIgYnl0ZXMh";
    let ec = object!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "theirs",
        "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let oct = object!({"kty": "oct", "alg": "HS256", "kid": "shared", "k": secret});
    for jwk in [&ec, &oct] {
        json(&mut admin, "select auth.import_signing_key($1)", &[jwk]);
    }
    let person = sign_up(&mut app, "ada@example.org", PASSWORD);
    let claims = auth_harness::claims(&person.access_token);
    let public = json(&mut app, "select auth.jwks()", &[]);
    let now = claims["iat"].as_i64().unwrap();
    let with = |changes: Value| -> Value {
        let mut claims = claims.clone();
        // Both keys signed then; a token that is newer than its key is another test's.
        claims["iat"] = Value::from(now - 60);
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        claims
    };
    let other = uuid::Uuid::new_v4().to_string();
    // What is signed, with which key and header, and how it is taken.
    let cases = [
        ("as ours", with(object!({})), "ec", object!({"kid": "theirs"}), None),
        ("as ours, symmetric", with(object!({})), "oct", object!({"kid": "shared"}), None),
        ("expired", with(object!({"exp": now - 3600})), "ec", object!({"kid": "theirs"}), Some("session_expired")),
        ("not yet", with(object!({"nbf": now + 600})), "ec", object!({"kid": "theirs"}), Some("bad_jwt")),
        ("another audience", with(object!({"aud": "other"})), "ec", object!({"kid": "theirs"}), Some("bad_jwt")),
        ("another user", with(object!({"sub": other})), "ec", object!({"kid": "theirs"}), Some("*")),
        (
            "another session",
            with(object!({"session_id": other})),
            "ec",
            object!({"kid": "theirs"}),
            Some("session_not_found"),
        ),
        ("no expiry", with(object!({"exp": null})), "ec", object!({"kid": "theirs"}), Some("bad_jwt")),
        ("an expiry of text", with(object!({"exp": "9999999999"})), "ec", object!({"kid": "theirs"}), Some("bad_jwt")),
        ("a counter ahead", with(object!({"sc": 99})), "ec", object!({"kid": "theirs"}), Some("*")),
        ("a kid that nobody knows", with(object!({})), "ec", object!({"kid": "unknown"}), Some("bad_jwt")),
        ("no kid", with(object!({})), "ec", object!({}), Some("bad_jwt")),
        ("the other key's kid", with(object!({})), "ec", object!({"kid": "shared"}), Some("bad_jwt")),
        ("the other key's kid", with(object!({})), "oct", object!({"kid": "theirs"}), Some("bad_jwt")),
        (
            "a fresh key in the header",
            with(object!({})),
            "fresh",
            object!({"kid": "theirs", "jwk": ec["x"], "jku": "https://evil.example"}),
            Some("bad_jwt"),
        ),
        ("a fresh key", with(object!({})), "fresh", object!({"kid": "theirs"}), Some("bad_jwt")),
        (
            "critical extension",
            with(object!({})),
            "ec",
            object!({"kid": "theirs", "crit": ["b64"], "b64": true}),
            Some("bad_jwt"),
        ),
        ("HMAC with our public key", with(object!({})), "public", object!({"kid": "theirs"}), Some("bad_jwt")),
        ("unsigned", with(object!({})), "none", object!({"kid": "theirs"}), Some("bad_jwt")),
    ];
    let asked: Vec<Value> = cases
        .iter()
        .map(|(_, claims, key, header, _)| object!({"claims": claims, "key": key, "header": header}))
        .collect();
    let script = "
from cryptography.hazmat.primitives.asymmetric import ec
def b64(data): return base64.urlsafe_b64encode(data).rstrip(b'=').decode()
pem = next(json.dumps(key, separators=(',', ':')) for key in asked['jwks']['keys'] if key['kid'] == 'theirs').encode()
keys = {
    'ec': ('ES256', jwt.PyJWK(asked['ec']).key),
    'oct': ('HS256', base64.urlsafe_b64decode(asked['secret'] + '==')),
    'fresh': ('ES256', ec.generate_private_key(ec.SECP256R1())),
    'none': ('none', None),
}
tokens = []
for case in asked['cases']:
    if case['key'] == 'public':
        # by hand: PyJWT refuses to make it
        head = b64(json.dumps({'alg': 'HS256', 'typ': 'JWT', **case['header']}).encode()) + '.' + b64(json.dumps(case['claims']).encode())
        tokens.append(head + '.' + b64(hmac.new(pem, head.encode(), hashlib.sha256).digest()))
    else:
        algorithm, key = keys[case['key']]
        head = b64(json.dumps({'alg': algorithm, 'typ': 'JWT', **case['header']}).encode()) + '.' + b64(json.dumps(case['claims']).encode())
        signer = jwt.get_algorithm_by_name(algorithm)
        tokens.append(head + '.' + b64(signer.sign(head.encode(), signer.prepare_key(key))))
json.dump(tokens, sys.stdout)";
    let tokens = python(script, &object!({"cases": asked, "ec": ec, "secret": secret, "jwks": public}));
    let mut wrong = Vec::new();
    for ((what, _, _, _, expected), token) in cases.iter().zip(tokens.as_array().unwrap()) {
        let token = token.as_str().unwrap();
        match expected {
            None => {
                let uid: uuid::Uuid = acting(&mut app, token, |transaction| {
                    transaction.query_one("select auth.uid()", &[]).unwrap().get(0)
                });
                assert_eq!(uid, person.user_id, "{what}");
            }
            Some(code) => {
                let mut transaction = app.transaction().unwrap();
                transaction.execute("select set_config('auth.token', $1, true)", &[&token]).unwrap();
                match transaction.query_one("select auth.uid()::text", &[]) {
                    Ok(row) => wrong.push(format!("{what}: accepted as {:?}", row.get::<_, Option<String>>(0))),
                    Err(error) => {
                        let refusal = refused::<()>(Err(error));
                        if refusal.sqlstate != "28000" || (*code != "*" && refusal.code != *code) {
                            wrong.push(format!("{what}: {} {}, not {code}", refusal.sqlstate, refusal.code));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// XJ1, XJ3: pgspot, which looks for CVE-2018-1058 and its kin, finds no error in the installed script.
#[test]
fn pgspot_finds_no_error_in_the_install_script() {
    let mut client = Cluster::shared().connect("postgres", "postgres");
    let directory: String =
        client.query_one("select setting || '/extension' from pg_config where name = 'SHAREDIR'", &[]).unwrap().get(0);
    let version: String = client
        .query_one("select default_version from pg_available_extensions where name = 'auth'", &[])
        .unwrap()
        .get(0);
    let pgspot = std::path::Path::new(&std::env::var("AUTH_PYTHON").unwrap()).with_file_name("pgspot");
    let look = |script: &std::path::Path| -> String {
        String::from_utf8(Command::new(&pgspot).arg(script).output().unwrap().stdout).unwrap()
    };
    // What CREATE EXTENSION does for `schema = pg_catalog` in the control file; pgspot only reads the script.
    let as_run = |text: &str| format!("set search_path to pg_catalog, pg_temp;\n{text}");
    let path = Cluster::shared().socket_dir().join("script.sql");
    let script = std::fs::read_to_string(format!("{directory}/auth--{version}.sql")).unwrap();
    std::fs::write(&path, as_run(&script)).unwrap();
    let said = look(&path);
    assert!(said.contains("Errors: 0 "), "{said}");
    // A pure expression over its argument, without an operator: a SET clause would forbid inlining it.
    let pardoned = "PS005: Function without explicit search_path: auth.rfc3339(";
    let warnings: Vec<&str> =
        said.lines().filter(|line| line.starts_with("PS") && !line.starts_with(pardoned)).collect();
    assert!(warnings.is_empty(), "{}", warnings.join("\n"));

    // It does find what it is for.
    let bad = "create function auth.f() returns int language sql security definer as 'select 1';
        create or replace function auth.g() returns int language sql set search_path = pg_catalog, pg_temp as 'select 1';
        create schema if not exists auth;";
    std::fs::write(&path, as_run(bad)).unwrap();
    let said = look(&path);
    for code in ["PS002", "PS003", "PS010"] {
        assert!(said.contains(code), "{said}");
    }
}
