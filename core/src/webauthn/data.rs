//! What an authenticator signs: authenticator data (WebAuthn section 6.1) and the client's data (section 5.8.1).

use std::borrow::Cow;

use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::cbor::Reader;
use super::key::Key;
use super::{Expected, Refused};
use crate::base64url;

/// WebAuthn section 7.1, step 25.
const LONGEST_CREDENTIAL_ID: usize = 1023;

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const HAS_CREDENTIAL: u8 = 1 << 6;
const HAS_EXTENSIONS: u8 = 1 << 7;

#[derive(Debug)]
pub(super) struct AuthenticatorData<'a> {
    rp_id_hash: &'a [u8],
    flags: u8,
    pub(super) sign_count: u32,
    pub(super) credential: Option<Credential<'a>>,
}

#[derive(Debug)]
pub(super) struct Credential<'a> {
    pub(super) aaguid: [u8; 16],
    pub(super) id: &'a [u8],
    pub(super) key: Key<'a>,
    /// The key as it was written.
    pub(super) cose_key: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<AuthenticatorData<'a>, Refused> {
        const MALFORMED: Refused = Refused("the authenticator data is not well formed");
        let (rp_id_hash, rest) = bytes.split_at_checked(32).ok_or(MALFORMED)?;
        let ([flags, count @ ..], rest) = rest.split_first_chunk::<5>().ok_or(MALFORMED)?;
        let mut reader = Reader::new(rest);
        let mut credential = None;
        if flags & HAS_CREDENTIAL != 0 {
            let (aaguid, rest) = rest.split_first_chunk::<16>().ok_or(MALFORMED)?;
            let (length, rest) = rest.split_first_chunk::<2>().ok_or(MALFORMED)?;
            let length = usize::from(u16::from_be_bytes(*length));
            if length > LONGEST_CREDENTIAL_ID {
                return Err(Refused("the credential id is too long"));
            }
            let (id, rest) = rest.split_at_checked(length).ok_or(MALFORMED)?;
            reader = Reader::new(rest);
            let key = Key::read(&mut reader)?;
            let cose_key = &rest[..rest.len() - reader.rest().len()];
            credential = Some(Credential { aaguid: *aaguid, id, key, cose_key });
        }
        if flags & HAS_EXTENSIONS != 0 {
            // None was asked for, and what comes unasked says nothing.
            let is_map = reader.clone().map().is_some();
            reader.skip().filter(|()| is_map).ok_or(MALFORMED)?;
        }
        match reader.rest() {
            [] => {
                Ok(AuthenticatorData { rp_id_hash, flags: *flags, sign_count: u32::from_be_bytes(*count), credential })
            }
            _ => Err(MALFORMED),
        }
    }

    /// What has to be so in both ceremonies.
    pub(super) fn check(&self, expected: &Expected<'_>) -> Result<(), Refused> {
        let ours = ring::digest::digest(&ring::digest::SHA256, expected.rp_id.as_bytes());
        if self.rp_id_hash.ct_ne(ours.as_ref()).into() {
            return Err(Refused("the passkey is of another relying party"));
        }
        if self.flags & USER_PRESENT == 0 {
            return Err(Refused("nobody was present"));
        }
        if expected.needs_user_verification && !self.user_is_verified() {
            return Err(Refused("the user was not verified"));
        }
        if self.is_backed_up() && !self.is_backup_eligible() {
            return Err(Refused("a passkey that cannot be backed up says that it is"));
        }
        Ok(())
    }

    pub(super) fn user_is_verified(&self) -> bool {
        self.flags & USER_VERIFIED != 0
    }

    pub(super) fn is_backup_eligible(&self) -> bool {
        self.flags & BACKUP_ELIGIBLE != 0
    }

    pub(super) fn is_backed_up(&self) -> bool {
        self.flags & BACKED_UP != 0
    }
}

/// What the client says that it was asked, by whom.
#[derive(Deserialize)]
struct ClientData<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    challenge: Cow<'a, str>,
    #[serde(borrow)]
    origin: Cow<'a, str>,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: Option<bool>,
    #[serde(borrow, default, rename = "topOrigin")]
    top_origin: Option<Cow<'a, str>>,
}

pub(super) fn check_client_data(bytes: &[u8], kind: &str, expected: &Expected<'_>) -> Result<(), Refused> {
    let data: ClientData<'_> =
        serde_json::from_slice(bytes).map_err(|_| Refused("the client data is not well formed"))?;
    if data.kind != kind {
        return Err(Refused("the client data is of another kind of ceremony"));
    }
    if data.challenge != base64url::encode(expected.challenge) {
        return Err(Refused("the challenge is another one"));
    }
    if !expected.origins.iter().any(|origin| *origin == data.origin) {
        return Err(Refused("the origin is not one of ours"));
    }
    if data.cross_origin == Some(true) || data.top_origin.is_some() {
        return Err(Refused("it comes from a frame in another site's page"));
    }
    Ok(())
}
