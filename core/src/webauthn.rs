//! WebAuthn ceremonies as a relying party verifies them (WebAuthn Level 3, sections 7.1 and 7.2).
//!
//! What a browser's `toJSON()` gives comes in, with what was asked; what comes out is what an authenticator has signed, or why
//! it is refused. Where no roots are trusted, "none" is what is asked for, and of attestations only that and self attestation are
//! taken; where some are, only what leads to one. ring verifies the signatures.

mod attestation;
mod cbor;
mod data;
mod key;

use ring::rand::SecureRandom;
use serde_json::Value;

use crate::base64url;
use attestation::Certified;
pub use attestation::{Roots, Trusted};
use cbor::{Item, Reader};
use data::{AuthenticatorData, check_client_data};
pub use key::ALGORITHMS;
use key::Key;

/// Everything that a ceremony gives fits into so many bytes of JSON.
pub const LONGEST_RESPONSE: usize = 64 * 1024;

/// Why a ceremony is refused: for the log and the audit, never with what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub &'static str);

/// What was asked for, and by whom.
pub struct Expected<'a> {
    pub challenge: &'a [u8],
    pub rp_id: &'a str,
    /// Compared as they are.
    pub origins: &'a [String],
    pub needs_user_verification: bool,
    /// Whom a new authenticator has to be attested by; none: by nobody.
    pub attested_by: Option<Trusted<'a>>,
}

/// A credential that was made.
#[derive(Debug)]
pub struct Registered {
    pub credential_id: Vec<u8>,
    /// As the authenticator wrote it: a COSE_Key.
    pub public_key: Vec<u8>,
    pub sign_count: u32,
    pub aaguid: [u8; 16],
    pub transports: Vec<String>,
    pub user_is_verified: bool,
    pub is_backup_eligible: bool,
    pub is_backed_up: bool,
}

/// Who a sign-in says it is, before anything is verified.
#[derive(Debug)]
pub struct Assertion {
    pub credential_id: Vec<u8>,
    /// None where the authenticator was told which credential to use.
    pub user_handle: Option<Vec<u8>>,
    client_data: Vec<u8>,
    authenticator_data: Vec<u8>,
    signature: Vec<u8>,
}

/// What is known of the credential.
pub struct Stored<'a> {
    pub public_key: &'a [u8],
    pub is_backup_eligible: bool,
}

/// A sign-in whose signature is good.
#[derive(Debug)]
pub struct Asserted {
    pub sign_count: u32,
    pub user_is_verified: bool,
    pub is_backed_up: bool,
}

/// Transports that are kept as hints for the next sign-in (section 5.8.4).
const TRANSPORTS: [&str; 6] = ["ble", "hybrid", "internal", "nfc", "smart-card", "usb"];

/// A member of the response, which is base64url.
fn member(response: &Value, name: &str) -> Result<Vec<u8>, Refused> {
    response
        .get(name)
        .and_then(Value::as_str)
        .and_then(base64url::decode)
        .ok_or(Refused("the credential lacks something, or it is not base64url"))
}

/// The credential's id, in both its spellings, and the response.
fn open(credential: &Value) -> Result<(Vec<u8>, &Value), Refused> {
    if credential.get("type").and_then(Value::as_str) != Some("public-key") {
        return Err(Refused("the credential is not of type public-key"));
    }
    let id = member(credential, "rawId")?;
    if member(credential, "id")? != id {
        return Err(Refused("id and rawId are different"));
    }
    match credential.get("response") {
        Some(response @ Value::Object(_)) => Ok((id, response)),
        _ => Err(Refused("the credential has no response")),
    }
}

/// Verifies a RegistrationResponseJSON.
///
/// # Errors
/// Why it is refused.
pub fn register(credential: &Value, expected: &Expected<'_>, random: &dyn SecureRandom) -> Result<Registered, Refused> {
    let (id, response) = open(credential)?;
    let client_data = member(response, "clientDataJSON")?;
    check_client_data(&client_data, "webauthn.create", expected)?;
    let object = member(response, "attestationObject")?;
    let object = AttestationObject::read(&object)?;
    let data = AuthenticatorData::read(object.authenticator_data)?;
    data.check(expected)?;
    let made = data.credential.as_ref().ok_or(Refused("no credential was made"))?;
    if made.id.is_empty() || made.id != id {
        return Err(Refused("the credential has another id"));
    }
    made.key.check(random)?;
    let signed = signed(object.authenticator_data, &client_data);
    match (&object.statement, expected.attested_by) {
        (Statement::Certified(certified), Some(trusted)) => certified.verify(&signed, &made.aaguid, trusted)?,
        (_, Some(_)) => return Err(Refused("the authenticator is attested by nobody")),
        (statement, None) => statement.verify(&made.key, &signed)?,
    }
    let transports = response.get("transports").and_then(Value::as_array).into_iter().flatten();
    let given: Vec<&str> = transports.filter_map(Value::as_str).collect();
    Ok(Registered {
        credential_id: id,
        public_key: made.cose_key.to_vec(),
        sign_count: data.sign_count,
        aaguid: made.aaguid,
        transports: TRANSPORTS.iter().filter(|name| given.contains(name)).map(|name| name.to_string()).collect(),
        user_is_verified: data.user_is_verified(),
        is_backup_eligible: data.is_backup_eligible(),
        is_backed_up: data.is_backed_up(),
    })
}

impl Assertion {
    /// Reads an AuthenticationResponseJSON.
    ///
    /// # Errors
    /// That it is none.
    pub fn read(credential: &Value) -> Result<Assertion, Refused> {
        let (credential_id, response) = open(credential)?;
        let user_handle = match response.get("userHandle") {
            None | Some(Value::Null) => None,
            Some(_) => Some(member(response, "userHandle")?),
        };
        Ok(Assertion {
            credential_id,
            user_handle,
            client_data: member(response, "clientDataJSON")?,
            authenticator_data: member(response, "authenticatorData")?,
            signature: member(response, "signature")?,
        })
    }

    /// Whether the credential has signed this, here and now. Its counter is for the caller to judge.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify(&self, stored: &Stored<'_>, expected: &Expected<'_>) -> Result<Asserted, Refused> {
        check_client_data(&self.client_data, "webauthn.get", expected)?;
        let data = AuthenticatorData::read(&self.authenticator_data)?;
        data.check(expected)?;
        if data.credential.is_some() {
            return Err(Refused("a sign-in makes no credential"));
        }
        if data.is_backup_eligible() != stored.is_backup_eligible {
            return Err(Refused("whether the passkey can be backed up has changed"));
        }
        let mut reader = Reader::new(stored.public_key);
        let key = Key::read(&mut reader)?;
        key.verify(&signed(&self.authenticator_data, &self.client_data), &self.signature)?;
        Ok(Asserted {
            sign_count: data.sign_count,
            user_is_verified: data.user_is_verified(),
            is_backed_up: data.is_backed_up(),
        })
    }
}

/// What is signed in both ceremonies.
fn signed(authenticator_data: &[u8], client_data: &[u8]) -> Vec<u8> {
    [authenticator_data, ring::digest::digest(&ring::digest::SHA256, client_data).as_ref()].concat()
}

/// What a registration gives (section 6.5.4).
struct AttestationObject<'a> {
    authenticator_data: &'a [u8],
    statement: Statement<'a>,
}

enum Statement<'a> {
    None,
    /// Signed with the new credential itself.
    SelfSigned {
        algorithm: i64,
        signature: &'a [u8],
    },
    Certified(Certified<'a>),
}

/// Certificates between an authenticator and a root, and its own.
const MOST_CERTIFICATES: u64 = 5;

/// What is taken for none that was asked for.
const OTHER: Refused = Refused("the attestation is not one of those that are asked for");

impl<'a> AttestationObject<'a> {
    fn read(bytes: &'a [u8]) -> Result<AttestationObject<'a>, Refused> {
        const MALFORMED: Refused = Refused("the attestation object is not well formed");
        let mut reader = Reader::new(bytes);
        let (mut format, mut data, mut statement) = (None, None, None);
        for _ in 0..reader.map().ok_or(MALFORMED)? {
            let is_twice = match reader.text().ok_or(MALFORMED)? {
                "fmt" => format.replace(reader.text().ok_or(MALFORMED)?).is_some(),
                "authData" => data.replace(reader.bytes().ok_or(MALFORMED)?).is_some(),
                "attStmt" => {
                    let place = reader;
                    reader.skip().ok_or(MALFORMED)?;
                    statement.replace(place).is_some()
                }
                _ => return Err(MALFORMED),
            };
            if is_twice {
                return Err(MALFORMED);
            }
        }
        let (Some(format), Some(authenticator_data), Some(statement), []) = (format, data, statement, reader.rest())
        else {
            return Err(MALFORMED);
        };
        Ok(AttestationObject { authenticator_data, statement: Statement::read(format, statement)? })
    }
}

impl<'a> Statement<'a> {
    fn read(format: &str, mut reader: Reader<'a>) -> Result<Statement<'a>, Refused> {
        let members = reader.map().ok_or(OTHER)?;
        let (mut algorithm, mut signature, mut certificates) = (None, None, Vec::new());
        for _ in 0..members {
            match (format, reader.text().ok_or(OTHER)?, reader.item().ok_or(OTHER)?) {
                ("packed", "alg", Item::Negative(number)) => algorithm = i64::try_from(number).ok(),
                ("packed", "sig", Item::Bytes(bytes)) => signature = Some(bytes),
                ("packed", "x5c", Item::Array(count @ 1..=MOST_CERTIFICATES)) if certificates.is_empty() => {
                    for _ in 0..count {
                        certificates.push(reader.bytes().ok_or(OTHER)?);
                    }
                }
                _ => return Err(OTHER),
            }
        }
        match (format, members, algorithm, signature) {
            ("none", 0, ..) => Ok(Statement::None),
            ("packed", 2, Some(number), Some(signature)) if certificates.is_empty() => {
                Ok(Statement::SelfSigned { algorithm: -1 - number, signature })
            }
            ("packed", 3, Some(number), Some(signature)) if !certificates.is_empty() => {
                Ok(Statement::Certified(Certified { algorithm: -1 - number, signature, certificates }))
            }
            _ => Err(OTHER),
        }
    }

    fn verify(&self, key: &Key<'_>, signed: &[u8]) -> Result<(), Refused> {
        match self {
            Statement::None => Ok(()),
            // Nobody is trusted, so it says nothing.
            Statement::Certified(_) => Err(OTHER),
            Statement::SelfSigned { algorithm, .. } if *algorithm != key.algorithm() => {
                Err(Refused("the attestation is of another algorithm"))
            }
            Statement::SelfSigned { signature, .. } => key.verify(signed, signature),
        }
    }
}
