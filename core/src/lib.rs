//! Pure computation of the extension: what an address is, how a password is hashed, how tokens are written and read.
//!
//! Nothing here knows PostgreSQL, opens a file, reads a clock or draws random bytes for a result: time, salts and nonces come
//! in as arguments. Every function that reads foreign bytes answers with an error, never with a panic, and bounds its
//! work before it starts. The byte formats are frozen; `docs/formats.md` describes them and golden tests hold them.

pub mod audit;
pub mod base64url;
mod crypto;
pub mod disposable;
pub mod email;
pub mod gate;
pub mod hash;
mod json;
pub mod jwk;
pub mod jws;
pub mod jwt;
pub mod keyring;
pub mod list;
pub mod one_time;
pub mod password;
pub mod phone;
pub mod pkce;
pub mod recovery_code;
pub mod redirect;
pub mod refresh_token;
pub mod seal;
pub mod statement;
pub mod strength;
pub mod totp;
pub mod webauthn;

pub use crypto::PROVIDER as JWT_CRYPTO_PROVIDER;
