//! An authenticator in software: makes passkeys and signs in with them, honestly or with anything changed on the way.
//!
//! It shares no code with what verifies it. A ceremony is a value whose members a test may change before it is signed.

mod cbor;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256};
use serde_json::{Value, json};

use cbor::{bytes, list, map, number, text};

pub const USER_PRESENT: u8 = 1;
pub const USER_VERIFIED: u8 = 1 << 2;
pub const BACKUP_ELIGIBLE: u8 = 1 << 3;
pub const BACKED_UP: u8 = 1 << 4;
const HAS_CREDENTIAL: u8 = 1 << 6;
pub const HAS_EXTENSIONS: u8 = 1 << 7;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Algorithm {
    Es256,
    EdDsa,
    Rs256,
}

enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(Box<RsaKeyPair>),
}

/// One authenticator with one passkey.
pub struct Authenticator {
    key: Key,
    pub credential_id: Vec<u8>,
    /// What the account's id is, once it has a passkey.
    pub user_handle: Option<Vec<u8>>,
    pub sign_count: u32,
    pub flags: u8,
}

/// A ceremony before it is put together.
#[derive(Clone)]
pub struct Registration {
    pub client_data: Value,
    pub rp_id: String,
    pub flags: u8,
    pub sign_count: u32,
    pub aaguid: [u8; 16],
    pub credential_id: Vec<u8>,
    /// As it stands in the authenticator data.
    pub cose_key: Vec<u8>,
    /// Whatever follows it there.
    pub trailing: Vec<u8>,
    /// What the credential says that it is.
    pub raw_id: Vec<u8>,
    pub format: &'static str,
    /// CBOR.
    pub statement: Vec<u8>,
    pub transports: Value,
}

#[derive(Clone)]
pub struct Assertion {
    pub client_data: Value,
    pub rp_id: String,
    pub flags: u8,
    pub sign_count: u32,
    pub trailing: Vec<u8>,
    pub credential_id: Vec<u8>,
    pub user_handle: Option<Vec<u8>>,
}

fn encode(bytes: &[u8]) -> Value {
    json!(URL_SAFE_NO_PAD.encode(bytes))
}

/// The bytes of a member of a ceremony.
#[track_caller]
pub fn decode(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().expect("base64url is text")).expect("base64url")
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("random bytes");
    bytes
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec()
}

fn client_data(kind: &str, options: &Value, origin: &str) -> Value {
    json!({"type": kind, "challenge": options["challenge"], "origin": origin, "crossOrigin": false})
}

fn written(client_data: &Value) -> Vec<u8> {
    match client_data {
        // Bytes that are no JSON.
        Value::String(text) => text.as_bytes().to_vec(),
        object => object.to_string().into_bytes(),
    }
}

impl Authenticator {
    /// One that verifies its user and cannot be copied.
    pub fn new(algorithm: Algorithm) -> Authenticator {
        let random_source = SystemRandom::new();
        let key = match algorithm {
            Algorithm::Es256 => {
                let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random_source);
                let made = made.expect("a key");
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, made.as_ref(), &random_source);
                Key::Es256(key.expect("a key"))
            }
            Algorithm::EdDsa => {
                let made = Ed25519KeyPair::generate_pkcs8(&random_source).expect("a key");
                Key::EdDsa(Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("a key"))
            }
            // A key of nobody, made for these tests.
            Algorithm::Rs256 => {
                Key::Rs256(Box::new(RsaKeyPair::from_pkcs8(include_bytes!("rsa.pk8")).expect("the test's key")))
            }
        };
        Authenticator {
            key,
            credential_id: random::<32>().to_vec(),
            user_handle: None,
            sign_count: 1,
            flags: USER_PRESENT | USER_VERIFIED,
        }
    }

    /// The public key as a COSE_Key.
    pub fn cose_key(&self) -> Vec<u8> {
        match &self.key {
            Key::Es256(key) => {
                let point = key.public_key().as_ref();
                map(&[
                    (number(1), number(2)),
                    (number(3), number(-7)),
                    (number(-1), number(1)),
                    (number(-2), bytes(&point[1..33])),
                    (number(-3), bytes(&point[33..])),
                ])
            }
            Key::EdDsa(key) => map(&[
                (number(1), number(1)),
                (number(3), number(-8)),
                (number(-1), number(6)),
                (number(-2), bytes(key.public_key().as_ref())),
            ]),
            Key::Rs256(key) => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(key.public());
                map(&[
                    (number(1), number(3)),
                    (number(3), number(-257)),
                    (number(-1), bytes(&public.n)),
                    (number(-2), bytes(&public.e)),
                ])
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random_source = SystemRandom::new();
        match &self.key {
            Key::Es256(key) => key.sign(&random_source, message).expect("a signature").as_ref().to_vec(),
            Key::EdDsa(key) => key.sign(message).as_ref().to_vec(),
            Key::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random_source, message, &mut signature).expect("a signature");
                signature
            }
        }
    }

    /// What it does in `navigator.credentials.create` with these options.
    pub fn create(&mut self, options: &Value, origin: &str) -> Registration {
        self.user_handle = Some(decode(&options["user"]["id"]));
        Registration {
            client_data: client_data("webauthn.create", options, origin),
            rp_id: options["rp"]["id"].as_str().expect("rp.id").to_owned(),
            flags: self.flags | HAS_CREDENTIAL,
            sign_count: self.sign_count,
            aaguid: *b"made by the test",
            credential_id: self.credential_id.clone(),
            cose_key: self.cose_key(),
            trailing: Vec::new(),
            raw_id: self.credential_id.clone(),
            format: "none",
            statement: map(&[]),
            transports: json!(["internal", "hybrid"]),
        }
    }

    /// What it does in `navigator.credentials.get` with these options.
    pub fn get(&mut self, options: &Value, origin: &str) -> Assertion {
        if self.sign_count > 0 {
            self.sign_count += 1;
        }
        Assertion {
            client_data: client_data("webauthn.get", options, origin),
            rp_id: options["rpId"].as_str().expect("rpId").to_owned(),
            flags: self.flags,
            sign_count: self.sign_count,
            trailing: Vec::new(),
            credential_id: self.credential_id.clone(),
            user_handle: self.user_handle.clone(),
        }
    }
}

impl Registration {
    pub fn authenticator_data(&self) -> Vec<u8> {
        let mut data = sha256(self.rp_id.as_bytes());
        data.push(self.flags);
        data.extend(self.sign_count.to_be_bytes());
        if self.flags & HAS_CREDENTIAL != 0 {
            data.extend(self.aaguid);
            data.extend((self.credential_id.len() as u16).to_be_bytes());
            data.extend(&self.credential_id);
            data.extend(&self.cose_key);
        }
        data.extend(&self.trailing);
        data
    }

    /// With self attestation; `algorithm` is what it says of itself.
    pub fn attested_by(mut self, authenticator: &Authenticator, algorithm: i64) -> Registration {
        let message = [self.authenticator_data(), sha256(&written(&self.client_data))].concat();
        self.format = "packed";
        self.statement = map(&[(text("alg"), number(algorithm)), (text("sig"), bytes(&authenticator.sign(&message)))]);
        self
    }

    /// Attested with the maker's key, of PKCS#8 and P-256, and its certificate.
    pub fn certified_by(mut self, key: &[u8], certificate: &[u8]) -> Registration {
        let random_source = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key, &random_source).expect("a key");
        let message = [self.authenticator_data(), sha256(&written(&self.client_data))].concat();
        let signature = key.sign(&random_source, &message).expect("a signature");
        self.format = "packed";
        self.statement = map(&[
            (text("alg"), number(-7)),
            (text("sig"), bytes(signature.as_ref())),
            (text("x5c"), list(&[bytes(certificate)])),
        ]);
        self
    }

    /// A RegistrationResponseJSON.
    pub fn json(&self) -> Value {
        let object = map(&[
            (text("fmt"), text(self.format)),
            (text("attStmt"), self.statement.clone()),
            (text("authData"), bytes(&self.authenticator_data())),
        ]);
        json!({
            "id": encode(&self.raw_id),
            "rawId": encode(&self.raw_id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {"credProps": {"rk": true}},
            "response": {
                "clientDataJSON": encode(&written(&self.client_data)),
                "attestationObject": encode(&object),
                "authenticatorData": encode(&self.authenticator_data()),
                "transports": self.transports,
            },
        })
    }
}

impl Assertion {
    /// An AuthenticationResponseJSON, signed by this authenticator.
    pub fn json(&self, authenticator: &Authenticator) -> Value {
        let mut data = sha256(self.rp_id.as_bytes());
        data.push(self.flags);
        data.extend(self.sign_count.to_be_bytes());
        data.extend(&self.trailing);
        let client_data = written(&self.client_data);
        let signature = authenticator.sign(&[data.clone(), sha256(&client_data)].concat());
        json!({
            "id": encode(&self.credential_id),
            "rawId": encode(&self.credential_id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encode(&client_data),
                "authenticatorData": encode(&data),
                "signature": encode(&signature),
                "userHandle": self.user_handle.as_deref().map(encode),
            },
        })
    }
}
