//! Every refusal, in one place: one variant for each thing that a caller can do differently.
//!
//! SQLSTATE, the code word (DETAIL), a plain message and a HINT; `docs/errors.md` lists them for callers.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

pub type Result<T> = std::result::Result<T, Error>;

/// What a function of the SQL surface returns: `?` turns an `Error` into a Postgres ERROR.
pub type Answer<T> = std::result::Result<T, ErrorReport>;

#[derive(Debug)]
pub enum Error {
    // 28P01
    InvalidCredentials,
    // 28000
    BadJwt(&'static str),
    NoAuthorization,
    SessionNotFound,
    SessionExpired,
    UserBanned,
    InsufficientAal,
    RefreshTokenNotFound,
    RefreshTokenAlreadyUsed,
    // 53400
    AccountLocked { seconds: i64 },
    OverRequestRateLimit { seconds: i64 },
    WorkerUnavailable,
    HashGateBusy,
    // 23505
    EmailExists,
    // 22023
    WeakPassword(String),
    PasswordTooLong(String),
    EmailAddressInvalid(String),
    ValidationFailed { what: String, hint: String },
    // 55000
    SignupDisabled,
    RefreshDisabled,
    SessionIdentityOff,
    TestsRefused,
    RootKeyMissing { what: String, hint: String },
    RootKeyMismatch { what: String },
    NotPreloaded,
    UpdateNeeded,
    NotInstalled,
    // 42501
    NetworkBlocked,
    HookOfSuperuser(String),
    DropRefused,
    // 02000
    UserNotFound,
    // 40001
    Conflict,
    // 25006, 25P01
    ReadOnlyReplica,
    NoTransaction,
    // A fault of ours or of the machine, never of the caller.
    Internal(String),
}

struct Refusal {
    sqlstate: PgSqlErrorCode,
    code: &'static str,
    message: String,
    hint: Option<String>,
}

impl Error {
    /// A setting, option or argument that is not as documented.
    pub fn invalid(what: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::ValidationFailed { what: what.into(), hint: hint.into() }
    }

    /// The code word that callers find in DETAIL.
    pub fn code(&self) -> &'static str {
        self.refusal().code
    }

    fn refusal(&self) -> Refusal {
        use PgSqlErrorCode as S;
        let (sqlstate, code, message, hint): (S, &'static str, String, Option<String>) = match self {
            Error::InvalidCredentials => {
                (S::ERRCODE_INVALID_PASSWORD, "invalid_credentials", "invalid sign-in credentials".into(), None)
            }
            Error::BadJwt(reason) => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "bad_jwt",
                "access token is not valid".into(),
                Some(format!("it {reason}; sign in or refresh for a new one")),
            ),
            Error::NoAuthorization => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "no_authorization",
                "this needs a signed-in user".into(),
                Some("begin; select auth.authenticate(access_token); first".into()),
            ),
            Error::SessionNotFound => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "session_not_found",
                "session does not exist or was ended".into(),
                Some("sign in again".into()),
            ),
            Error::SessionExpired => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "session_expired",
                "access token or session has expired".into(),
                Some("refresh the session, or sign in again".into()),
            ),
            Error::UserBanned => {
                (S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, "user_banned", "this account is banned".into(), None)
            }
            Error::InsufficientAal => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "insufficient_aal",
                "this needs a session with assurance level aal2".into(),
                Some("verify a second factor first".into()),
            ),
            Error::RefreshTokenNotFound => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "refresh_token_not_found",
                "refresh token is not valid".into(),
                Some("sign in again".into()),
            ),
            Error::RefreshTokenAlreadyUsed => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "refresh_token_already_used",
                "refresh token was used before".into(),
                Some("its sessions were ended, because it may have been stolen; sign in again".into()),
            ),
            Error::AccountLocked { seconds } => (
                S::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "account_locked",
                "too many failed attempts for this account".into(),
                Some(format!("retry_after={seconds} seconds; other ways to sign in still work")),
            ),
            Error::OverRequestRateLimit { seconds } => (
                S::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "over_request_rate_limit",
                "too many attempts".into(),
                Some(format!("retry_after={seconds} seconds")),
            ),
            Error::WorkerUnavailable => (
                S::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "worker_unavailable",
                "the background worker of extension auth did not answer".into(),
                Some("try again; the server log says why, often max_worker_processes is too low".into()),
            ),
            Error::HashGateBusy => (
                S::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "hash_gate_busy",
                "too many passwords are being checked at once".into(),
                Some("try again in a few seconds".into()),
            ),
            Error::EmailExists => (
                S::ERRCODE_UNIQUE_VIOLATION,
                "email_exists",
                "an account with this e-mail address exists".into(),
                Some("sign in, or reset the password".into()),
            ),
            Error::WeakPassword(reasons) => (
                S::ERRCODE_INVALID_PARAMETER_VALUE,
                "weak_password",
                "password is too weak".into(),
                Some(reasons.clone()),
            ),
            Error::PasswordTooLong(limit) => (
                S::ERRCODE_INVALID_PARAMETER_VALUE,
                "password_too_long",
                "password is too long".into(),
                Some(limit.clone()),
            ),
            Error::EmailAddressInvalid(reason) => (
                S::ERRCODE_INVALID_PARAMETER_VALUE,
                "email_address_invalid",
                "e-mail address is not valid".into(),
                Some(reason.clone()),
            ),
            Error::ValidationFailed { what, hint } => {
                (S::ERRCODE_INVALID_PARAMETER_VALUE, "validation_failed", what.clone(), Some(hint.clone()))
            }
            Error::SignupDisabled => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "signup_disabled",
                "new accounts are not allowed here".into(),
                Some("an administrator may set enable_signup".into()),
            ),
            Error::RefreshDisabled => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "refresh_disabled",
                "refresh tokens are switched off here".into(),
                Some("sign in again; an administrator may set refresh_tokens_enabled".into()),
            ),
            Error::SessionIdentityOff => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "no_authorization",
                "identity for a whole connection is switched off".into(),
                Some("begin; select auth.authenticate(token); or a superuser sets auth.session_identity = on".into()),
            ),
            Error::TestsRefused => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "validation_failed",
                "auth.test_as is refused in production".into(),
                Some("it is for tests; auth.configure('{\"environment\": \"development\"}') allows it".into()),
            ),
            Error::RootKeyMissing { what, hint } => {
                (S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "root_key_missing", what.clone(), Some(hint.clone()))
            }
            Error::RootKeyMismatch { what } => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "root_key_mismatch",
                what.clone(),
                Some(
                    "set auth.root_key_file to the keyring that this database was used with; a restore needs it too"
                        .into(),
                ),
            ),
            Error::NotPreloaded => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "not_preloaded",
                "extension auth is not preloaded".into(),
                Some("add to postgresql.conf: shared_preload_libraries = 'auth'   and restart the server".into()),
            ),
            Error::UpdateNeeded => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "update_needed",
                "extension auth of this database is older than the library of the server".into(),
                Some("as a superuser: alter extension auth update".into()),
            ),
            Error::NotInstalled => (
                S::ERRCODE_UNDEFINED_OBJECT,
                "not_installed",
                "extension auth is not installed in this database".into(),
                Some("create extension auth".into()),
            ),
            Error::NetworkBlocked => (
                S::ERRCODE_INSUFFICIENT_PRIVILEGE,
                "network_blocked",
                "requests from this network are refused".into(),
                Some("an administrator blocked it; auth.unblock_network ends that".into()),
            ),
            Error::HookOfSuperuser(function) => (
                S::ERRCODE_INSUFFICIENT_PRIVILEGE,
                "validation_failed",
                format!("hook {function} belongs to a superuser or to auth_owner"),
                Some(format!("a hook runs as its owner: alter function {function}(jsonb) owner to …")),
            ),
            Error::DropRefused => (
                S::ERRCODE_INSUFFICIENT_PRIVILEGE,
                "validation_failed",
                "dropping extension auth would delete every user".into(),
                Some("if that is meant, a superuser sets auth.allow_drop = on first".into()),
            ),
            Error::UserNotFound => (S::ERRCODE_NO_DATA, "user_not_found", "no such user".into(), None),
            Error::Conflict => (
                S::ERRCODE_T_R_SERIALIZATION_FAILURE,
                "conflict",
                "the session was changed at the same time".into(),
                Some("try again in a new transaction".into()),
            ),
            Error::ReadOnlyReplica => (
                S::ERRCODE_READ_ONLY_SQL_TRANSACTION,
                "read_only_replica",
                "this writes, and the server or the transaction is read only".into(),
                Some("call it on the primary, in a read-write transaction".into()),
            ),
            Error::NoTransaction => (
                S::ERRCODE_NO_ACTIVE_SQL_TRANSACTION,
                "no_transaction",
                "outside a transaction block this would have no effect".into(),
                Some("begin".into()),
            ),
            Error::Internal(what) => (S::ERRCODE_INTERNAL_ERROR, "unexpected_failure", what.clone(), None),
        };
        Refusal { sqlstate, code, message, hint }
    }

    /// Raises this refusal as a Postgres ERROR. For code that Postgres calls without going through `#[pg_extern]`.
    pub fn raise(self) -> ! {
        ErrorReport::from(self).report(PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    }
}

impl From<Error> for ErrorReport {
    #[track_caller]
    fn from(error: Error) -> ErrorReport {
        let refusal = error.refusal();
        let report = ErrorReport::new(refusal.sqlstate, refusal.message, "auth").set_detail(refusal.code);
        match refusal.hint {
            Some(hint) => report.set_hint(hint),
            None => report,
        }
    }
}

impl From<pgrx::spi::SpiError> for Error {
    fn from(error: pgrx::spi::SpiError) -> Error {
        Error::Internal(format!("a query of extension auth failed: {error}"))
    }
}

impl From<auth_core::jwt::JwtError> for Error {
    fn from(error: auth_core::jwt::JwtError) -> Error {
        use auth_core::jwt::JwtError as E;
        match error {
            E::Expired => Error::SessionExpired,
            E::NotYetValid => Error::BadJwt("is not valid yet"),
            E::BadSignature => Error::BadJwt("has a wrong signature"),
            E::WrongKey | E::UnknownAlgorithm => Error::BadJwt("names no algorithm and key of this database"),
            E::Malformed(_) => Error::BadJwt("is not well formed"),
            E::BadClaim(_) => Error::BadJwt("has a claim of the wrong kind"),
        }
    }
}
