//! Tokens that somebody made to be let in, at every door of the database: `core` has the long lists, here is that the
//! database uses them, and what only it can know (keys, sessions, kinds, audiences).

use auth_harness::{
    Client, Cluster, Database, Person, claims, json, refused, sign_in, sign_up, storm_with, try_acting,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::minting::{
    Mint, PASSWORD, assert_refused, carry, changed, decoded, encoded, hmac_token, refused_at_every_door,
    server_seconds, uid,
};

fn someone() -> (Database, Client, Person) {
    let database = Cluster::shared().database();
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    (database, app, ada)
}

fn with_mint() -> (Database, Client, Mint, Person) {
    let database = Cluster::shared().database();
    let mint = Mint::install(&database);
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", PASSWORD);
    (database, app, mint, ada)
}

fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<&str> = token.split('.').collect();
    parts.try_into().unwrap()
}

fn header(token: &str) -> Value {
    serde_json::from_slice(&decoded(parts(token)[0])).unwrap()
}

/// F178, XF1: no spelling of `none`, with or without a signature.
#[test]
fn none_is_no_algorithm() {
    let (_database, mut app, ada) = someone();
    let [_, payload, signature] = parts(&ada.access_token);
    for spelling in 0..16 {
        let none: String = "none"
            .char_indices()
            .map(|(place, letter)| if spelling >> place & 1 == 1 { letter.to_ascii_uppercase() } else { letter })
            .collect();
        let head = encoded(changed(&header(&ada.access_token), json!({"alg": none})).to_string());
        for end in ["", signature] {
            refused_at_every_door(&mut app, &format!("{head}.{payload}.{end}"), "bad_jwt", &none);
        }
    }
}

/// XF2, F178: the database's own public key, in every form that it is handed out in, is no HMAC secret.
#[test]
fn a_public_key_is_no_secret() {
    let (_database, mut app, ada) = someone();
    let jwks = json(&mut app, "select auth.jwks()", &[]);
    let jwk = &jwks["keys"][0];
    assert_eq!(jwk["kid"], header(&ada.access_token)["kid"]);
    let coordinate = |name: &str| decoded(jwk[name].as_str().unwrap());
    let mut point = vec![4];
    point.extend(coordinate("x"));
    point.extend(coordinate("y"));
    // SubjectPublicKeyInfo of P-256 (RFC 5480) up to the point.
    let mut der = vec![
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    der.extend(&point);
    let lines: Vec<String> =
        STANDARD.encode(&der).as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"));
    let secrets: [(&str, Vec<u8>); 9] = [
        ("PEM", format!("{pem}\n").into_bytes()),
        ("PEM without its last line end", pem.clone().into_bytes()),
        ("PEM with CRLF", pem.replace('\n', "\r\n").into_bytes()),
        ("DER", der),
        ("the point", point),
        ("the JWK", jwk.to_string().into_bytes()),
        ("the JWK Set", jwks.to_string().into_bytes()),
        ("x", coordinate("x")),
        ("nothing", Vec::new()),
    ];
    let head = changed(&header(&ada.access_token), json!({"alg": "HS256"})).to_string();
    let payload = claims(&ada.access_token).to_string();
    for (form, secret) in secrets {
        refused_at_every_door(&mut app, &hmac_token(&secret, &head, &payload), "bad_jwt", form);
    }
}

/// F178, XF3, XF4, XF9: a header that brings a key, names one that is none, or says two things.
#[test]
fn a_header_decides_nothing() {
    let (_database, mut app, mint, ada) = with_mint();
    let payload = claims(&ada.access_token).to_string();
    let own_key = json!({"kty": "oct", "k": encoded(mint.secret), "kid": mint.kid});
    let with = |changes: Value| changed(&serde_json::from_str(&mint.header()).unwrap(), changes).to_string();
    refused_none(&mut app, &hmac_token(&mint.secret, &mint.header(), &payload), ada.user_id);
    let headers = [
        with(json!({"jwk": own_key})),
        with(json!({"jku": "http://127.0.0.1:1/jwks.json"})),
        with(json!({"x5u": "http://127.0.0.1:1/cert.pem"})),
        with(json!({"x5c": ["MIIB"]})),
        with(json!({"crit": ["exp"]})),
        with(json!({"b64": false})),
        with(json!({"zip": "DEF"})),
        with(json!({"alg": "HS384"})),
        with(json!({"alg": "ES256"})),
        with(json!({"alg": "RS256"})),
        with(json!({"alg": "hs256"})),
        with(json!({"alg": ["HS256"]})),
        with(json!({"alg": null})),
        with(json!({"kid": null})),
        with(json!({"kid": ""})),
        with(json!({"kid": "unknown"})),
        with(json!({"kid": "' or 1=1 --"})),
        with(json!({"kid": "x' union select '0123456789abcdef0123456789abcdef"})),
        with(json!({"kid": "../../../../dev/null"})),
        with(json!({"kid": "https://127.0.0.1:1/"})),
        with(json!({"kid": "k".repeat(1_000_000)})),
        with(json!({"kid": format!("{}\u{0}", mint.kid)})),
        with(json!({"typ": "refresh+jwt"})),
        format!(r#"{{"alg":"HS256","alg":"HS256","kid":"{}"}}"#, mint.kid),
        format!(r#"{{"alg":"HS256","kid":"other","kid":"{}"}}"#, mint.kid),
        "[]".to_owned(),
        "null".to_owned(),
    ];
    for head in headers {
        let what = format!("{head:.80}");
        refused_at_every_door(&mut app, &hmac_token(&mint.secret, &head, &payload), "bad_jwt", &what);
    }
}

/// The token that all changes start from is a good one, so that each change alone is what is refused.
#[track_caller]
fn refused_none(client: &mut Client, token: &str, user_id: Uuid) {
    assert_eq!(try_acting(client, token, |transaction| uid(transaction)).unwrap(), Some(user_id));
}

/// XF5, XF9, F165: under a good signature, a claim of a wrong type or missing or said twice is refused, never ignored.
#[test]
fn a_claim_of_the_wrong_kind_is_refused() {
    let (_database, mut app, mint, ada) = with_mint();
    let good = claims(&ada.access_token);
    refused_none(&mut app, &mint.token(&good), ada.user_id);
    let text = good.to_string();
    let expires_at = good["exp"].to_string();
    let with_exp = |exp: &str| text.replacen(&format!("\"exp\":{expires_at}"), &format!("\"exp\":{exp}"), 1);
    let malformed = [
        with_exp("\"99999999999\""),
        with_exp("null"),
        with_exp("1e400"),
        with_exp("1e11"),
        with_exp("99999999999.5"),
        with_exp("true"),
        with_exp("[]"),
        with_exp("{}"),
        with_exp("99999999999999999999"),
        changed(&good, json!({"exp": null})).to_string(),
        changed(&good, json!({"nbf": "1"})).to_string(),
        changed(&good, json!({"nbf": true})).to_string(),
        changed(&good, json!({"nbf": good["iat"].as_i64().unwrap() + 600})).to_string(),
        changed(&good, json!({"iat": null})).to_string(),
        changed(&good, json!({"iat": "1"})).to_string(),
        text.replacen('{', r#"{"sub":"00000000-0000-4000-8000-000000000000","#, 1),
        text.replacen('{', r#"{"role":"service_role","#, 1),
        text.replacen("\"app_metadata\":{", r#""app_metadata":{"provider":"x","#, 1),
        format!("[{text}]"),
        text.replace('}', ""),
        format!("{text} trailing"),
        "null".to_owned(),
    ];
    for payload in malformed {
        assert_ne!(payload, text);
        refused_at_every_door(&mut app, &mint.token_of_text(&payload), "bad_jwt", &format!("{payload:.120}"));
    }
    for exp in ["-1", "0", "1"] {
        refused_at_every_door(&mut app, &mint.token_of_text(&with_exp(exp)), "session_expired", exp);
    }
}

/// F174, F177, N11: a token of another kind, for another audience, or of a session that is not its user's.
#[test]
fn a_token_of_another_kind_is_no_access_token() {
    let (database, mut app, mint, ada) = with_mint();
    let bob = sign_up(&mut app, "bob@example.org", PASSWORD);
    let good = claims(&ada.access_token);
    let cases = [
        ("no kind", json!({"token_type": null}), "bad_jwt"),
        ("a refresh token", json!({"token_type": "refresh"}), "bad_jwt"),
        ("a challenge", json!({"token_type": "mfa_challenge"}), "bad_jwt"),
        ("a link", json!({"token_type": "link"}), "bad_jwt"),
        ("another case", json!({"token_type": "ACCESS"}), "bad_jwt"),
        ("no string", json!({"token_type": ["access"]}), "bad_jwt"),
        ("a project key with a subject", json!({"token_type": "key"}), "bad_jwt"),
        ("the admins' audience", json!({"aud": "admin"}), "bad_jwt"),
        ("a list of audiences", json!({"aud": ["authenticated"]}), "bad_jwt"),
        ("no audience", json!({"aud": null}), "bad_jwt"),
        ("no subject", json!({"sub": null}), "bad_jwt"),
        ("a subject that is no uuid", json!({"sub": "ada@example.org"}), "bad_jwt"),
        ("somebody else's subject", json!({"sub": bob.user_id.to_string()}), "session_not_found"),
        ("nobody's subject", json!({"sub": Uuid::new_v4().to_string()}), "session_not_found"),
        ("no session", json!({"session_id": null}), "bad_jwt"),
        ("an unknown session", json!({"session_id": Uuid::new_v4().to_string()}), "session_not_found"),
        ("somebody else's session", json!({"session_id": bob.session_id.to_string()}), "session_not_found"),
        ("no counter", json!({"sc": null}), "bad_jwt"),
        ("a counter ahead", json!({"sc": 1}), "session_not_found"),
        ("no role", json!({"role": null}), "bad_jwt"),
        ("no string as role", json!({"role": ["authenticated"]}), "bad_jwt"),
    ];
    for (what, changes, code) in cases {
        refused_at_every_door(&mut app, &mint.token(&changed(&good, changes)), code, what);
    }
    let key = json!({"token_type": "key", "role": "anon", "sub": null, "jti": Uuid::new_v4().to_string()});
    refused_at_every_door(&mut app, &mint.token(&changed(&good, key)), "bad_jwt", "a project key without a row");

    // A stronger role in the token is one that the login may not take, and no reader lends it rights.
    let stronger = mint.token(&changed(&good, json!({"role": "service_role"})));
    assert_refused(try_acting(&mut app, &stronger, |tx| uid(tx)), "42501", "", "service_role in a user's token");

    let api_key = json(&mut database.admin(), "select auth.create_key('anon')", &[]);
    let not_tokens = [
        ("a refresh token", ada.refresh_token.clone(), "bad_jwt"),
        ("a user's id", ada.user_id.to_string(), "bad_jwt"),
        ("a key's id", api_key["id"].as_str().unwrap().to_owned(), "bad_jwt"),
        ("white space", " ".into(), "bad_jwt"),
        ("dots", "..".into(), "bad_jwt"),
        ("a megabyte of dots", ".".repeat(1_000_000), "bad_jwt"),
        ("white space before", format!(" {}", ada.access_token), "bad_jwt"),
        ("a line end after", format!("{}\n", ada.access_token), "bad_jwt"),
        ("padding", format!("{}=", ada.access_token), "bad_jwt"),
        ("with its scheme", format!("Bearer {}", ada.access_token), "bad_jwt"),
        ("twice", format!("{0}.{0}", ada.access_token), "bad_jwt"),
    ];
    for (what, token, code) in not_tokens {
        refused_at_every_door(&mut app, &token, code, what);
    }
}

/// XF8: the JSON forms of a signed token are no token.
#[test]
fn json_serialisation_is_no_token() {
    let (_database, mut app, ada) = someone();
    let [protected, payload, signature] = parts(&ada.access_token);
    let flattened = json!({"protected": protected, "payload": payload, "signature": signature});
    let general = json!({"payload": payload, "signatures": [{"protected": protected, "signature": signature}]});
    for token in [flattened.to_string(), general.to_string(), format!("{{\"{}\"}}", ada.access_token)] {
        refused_at_every_door(&mut app, &token, "bad_jwt", &format!("{token:.40}"));
    }
}

/// F175, F184: one changed letter anywhere, a swapped part, a cut signature.
#[test]
fn a_changed_token_is_refused() {
    let (_database, mut app, ada) = someone();
    let again = sign_in(&mut app, "ada@example.org", PASSWORD);
    let token = &ada.access_token;
    let [head, payload, signature] = parts(token);
    let other = parts(&again.access_token);
    let mut forgeries: Vec<String> = (0..token.len())
        .step_by(29)
        .map(|place| {
            let mut bytes = token.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        })
        .filter(|forged| forged != token)
        .collect();
    forgeries.extend([
        format!("{head}.{payload}.{}", other[2]),
        format!("{head}.{}.{signature}", other[1]),
        format!("{head}.{payload}."),
        format!("{head}.{payload}"),
        format!("{head}.{payload}.{}", &signature[..40]),
        format!("{head}.{payload}.{}", encoded([0; 64])),
        format!("{head}.{payload}.{signature}{signature}"),
    ]);
    assert!(forgeries.len() > 20);
    for forged in forgeries {
        let refusal = refused(app.execute("select auth.verify_token($1)", &[&forged]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28000", "bad_jwt"), "{forged}");
        assert!(!refusal.message.contains(&forged) && !format!("{:?}", refusal.hint).contains(&forged));
    }
}

/// F177, XF11: another database's token and project key are nothing here, though its user has the same address.
#[test]
fn another_databases_token_is_refused() {
    let (database, _, there) = someone();
    let key = json(&mut database.admin(), "select auth.create_key('anon')", &[])["key"].as_str().unwrap().to_owned();
    let (_here, mut app, ada) = someone();
    refused_none(&mut app, &ada.access_token, ada.user_id);
    refused_at_every_door(&mut app, &there.access_token, "bad_jwt", "another database's token");
    refused_at_every_door(&mut app, &key, "bad_jwt", "another database's project key");
    let refresh = refused(app.execute("select auth.refresh($1)", &[&there.refresh_token]));
    assert_eq!(refresh.sqlstate, "28000");
}

/// F171, XF12: a secret below 32 bytes is refused; a key of ours is no word that a dictionary has.
#[test]
fn a_weak_secret_is_no_key() {
    let (database, _, _) = someone();
    let mut admin = database.admin();
    let mut import = |secret: &[u8]| {
        let jwk = json!({"kty": "oct", "k": encoded(secret), "kid": format!("length-{}", secret.len())});
        admin.execute("select auth.import_signing_key($1)", &[&jwk])
    };
    for secret in [&b""[..], b"secret", b"your-256-bit-secret", &[b'x'; 31]] {
        assert_refused(import(secret), "22023", "validation_failed", &format!("{} bytes", secret.len()));
    }
    assert_eq!(import(b"0123456789abcdef0123456789abcdef").unwrap(), 1);
    // Nobody but an administrator imports one.
    let jwk = json!({"kty": "oct", "k": encoded([b'x'; 32])});
    for mut client in [database.app(), database.service(), database.sidecar()] {
        assert_eq!(refused(client.execute("select auth.import_signing_key($1)", &[&jwk])).sqlstate, "42501");
    }
    // It is not shown to anybody.
    assert_eq!(json(&mut database.app(), "select auth.jwks()", &[])["keys"].as_array().unwrap().len(), 1);
    let stored: Vec<String> = database
        .superuser()
        .query("select to_jsonb(k)::text from auth.signing_keys as k", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    for text in stored {
        assert!(!text.contains(&encoded(b"0123456789abcdef0123456789abcdef")), "{text}");
        assert!(!text.contains(&hex(b"0123456789abcdef0123456789abcdef")), "{text}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// F173, XF13: rotation logs nobody out; the old key verifies what it signed until that expires, and nothing newer.
#[test]
fn rotation_logs_nobody_out() {
    let (database, mut app, mint, ada) = with_mint();
    let before = server_seconds(&mut app);
    let old_kid = header(&ada.access_token)["kid"].clone();
    assert_eq!(old_kid, mint.kid.as_str());
    for algorithm in ["ES256", "EdDSA"] {
        let jwk = json(&mut database.admin(), "select auth.rotate_signing_key($1)", &[&algorithm]);
        let fresh = sign_in(&mut app, "ada@example.org", PASSWORD);
        assert_eq!(header(&fresh.access_token)["kid"], jwk["kid"]);
        assert_eq!(header(&fresh.access_token)["alg"], algorithm);
        refused_none(&mut app, &fresh.access_token, ada.user_id);
        refused_none(&mut app, &ada.access_token, ada.user_id);
        let keys = json(&mut app, "select auth.jwks()", &[]);
        assert!(keys["keys"].as_array().unwrap().iter().any(|key| key["kid"] == jwk["kid"]));
    }
    // Whoever has the old key can sign with it, but not for a time at which it had stopped signing.
    let good = claims(&ada.access_token);
    let now = server_seconds(&mut app);
    refused_none(&mut app, &mint.token(&changed(&good, json!({"iat": before}))), ada.user_id);
    let newer = mint.token(&changed(&good, json!({"iat": now + 2, "exp": now + 900})));
    refused_at_every_door(&mut app, &newer, "bad_jwt", "newer than its key");
    let expired = mint.token(&changed(&good, json!({"exp": now})));
    refused_at_every_door(&mut app, &expired, "session_expired", "the old key, at exp");

    for mut client in [database.app(), database.service(), database.sidecar()] {
        assert_eq!(refused(client.execute("select auth.rotate_signing_key()", &[])).sqlstate, "42501");
    }
    let unknown = database.admin().execute("select auth.rotate_signing_key('HS256')", &[]);
    assert_refused(unknown, "22023", "validation_failed", "an algorithm that is not rotated to");
}

/// XF13: a revoked key verifies nothing at once, in connections that have used it; the others go on.
#[test]
fn a_revoked_key_verifies_nothing() {
    let (database, mut app, mint, ada) = with_mint();
    let mut carrying = database.app();
    carrying.batch_execute("begin").unwrap();
    carry(&mut carrying, &ada.access_token);
    assert_eq!(uid(&mut carrying).unwrap(), Some(ada.user_id));
    carrying.batch_execute("commit").unwrap();
    database.admin().execute("select auth.rotate_signing_key()", &[]).unwrap();
    let fresh = sign_in(&mut app, "ada@example.org", PASSWORD);
    refused_none(&mut app, &ada.access_token, ada.user_id);
    let revoke = "update auth.signing_keys set status = 'revoked' where kid = $1";
    assert_eq!(database.superuser().execute(revoke, &[&mint.kid]).unwrap(), 1);
    for client in [&mut app, &mut carrying] {
        refused_at_every_door(client, &ada.access_token, "bad_jwt", "of a revoked key");
        refused_none(client, &fresh.access_token, ada.user_id);
    }
    database.superuser().execute("delete from auth.signing_keys where kid = $1", &[&mint.kid]).unwrap();
    refused_at_every_door(&mut app, &ada.access_token, "bad_jwt", "of a deleted key");
}

/// F173: sign-ins during rotations are never refused, and their tokens are good.
#[test]
fn rotation_beside_sign_ins() {
    let (database, _, ada) = someone();
    database.admin().execute("select auth.configure('{\"max_active_sessions\": null}')", &[]).unwrap();
    storm_with(
        3,
        |index| if index == 0 { database.admin() } else { database.app() },
        |index, mut client| {
            for _ in 0..6 {
                if index == 0 {
                    client.execute("select auth.rotate_signing_key()", &[]).unwrap();
                } else {
                    let fresh = sign_in(&mut client, "ada@example.org", PASSWORD);
                    refused_none(&mut client, &fresh.access_token, ada.user_id);
                }
            }
        },
    );
}
