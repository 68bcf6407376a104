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
    CurrentPasswordInvalid,
    // 28000
    BadJwt(&'static str),
    NoAuthorization,
    SessionNotFound,
    SessionExpired,
    UserBanned,
    InsufficientAal,
    RefreshTokenNotFound,
    RefreshTokenAlreadyUsed,
    NotAdmin,
    OtpExpired,
    ReauthenticationNeeded,
    ReauthenticationNotValid,
    FlowStateNotFound,
    FlowStateExpired,
    BadCodeVerifier,
    MfaVerificationFailed,
    MfaVerificationRejected,
    MfaChallengeExpired,
    WebauthnChallengeExpired,
    WebauthnVerificationFailed,
    // 53400
    AccountLocked { seconds: i64 },
    OverRequestRateLimit { seconds: i64 },
    OverEmailSendRateLimit { seconds: i64 },
    OverSmsSendRateLimit { seconds: i64 },
    WorkerUnavailable,
    HashGateBusy,
    // 23505
    EmailExists,
    PhoneExists,
    UserAlreadyExists,
    UsernameExists,
    MfaFactorNameConflict,
    MfaVerifiedFactorExists,
    WebauthnCredentialExists,
    // 22023
    WeakPassword(String),
    PasswordTooLong(String),
    EmailAddressInvalid(String),
    EmailAddressNotAuthorized,
    SamePassword,
    RedirectNotAllowed,
    ValidationFailed { what: String, hint: String },
    // 55000
    SignupDisabled,
    EmailNotConfirmed,
    OtpDisabled,
    MagicLinkDisabled,
    AnonymousProviderDisabled,
    RefreshDisabled,
    TooManyEnrolledMfaFactors,
    TooManyPasskeys,
    MfaTotpEnrollNotEnabled,
    MfaPhoneEnrollNotEnabled,
    MfaWebauthnEnrollNotEnabled,
    MfaWebauthnVerifyNotEnabled,
    MfaRecoveryCodesSoleFactor,
    PasskeyDisabled,
    PhoneProviderDisabled,
    PhoneNotConfirmed,
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
    MfaFactorNotFound,
    WebauthnCredentialNotFound,
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
            Error::CurrentPasswordInvalid => {
                (S::ERRCODE_INVALID_PASSWORD, "current_password_invalid", "the current password is wrong".into(), None)
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
            Error::NotAdmin => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "not_admin",
                "this needs the service key".into(),
                Some("act with a token of role service_role".into()),
            ),
            Error::OtpExpired => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "otp_expired",
                "code or link is not valid, or has expired".into(),
                Some("ask for a new one".into()),
            ),
            Error::ReauthenticationNeeded => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "reauthentication_needed",
                "this session is too old for that".into(),
                Some("auth.reauthenticate() mails a code; give it as option nonce".into()),
            ),
            Error::ReauthenticationNotValid => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "reauthentication_not_valid",
                "the code is not valid, or has expired".into(),
                Some("auth.reauthenticate() mails a new one".into()),
            ),
            Error::FlowStateNotFound => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "flow_state_not_found",
                "the code is not valid, or was used".into(),
                Some("begin again".into()),
            ),
            Error::FlowStateExpired => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "flow_state_expired",
                "the code has expired".into(),
                Some("begin again".into()),
            ),
            Error::BadCodeVerifier => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "bad_code_verifier",
                "the code verifier is not the one of the request".into(),
                Some("exchange the code where the flow began (RFC 7636)".into()),
            ),
            Error::MfaVerificationFailed => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "mfa_verification_failed",
                "the code is not valid".into(),
                Some("wait for the next code, or use another factor".into()),
            ),
            Error::MfaVerificationRejected => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "mfa_verification_rejected",
                "the second factor was refused".into(),
                None,
            ),
            Error::MfaChallengeExpired => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "mfa_challenge_expired",
                "this step of the sign-in is over".into(),
                Some("sign in again, or challenge the factor again".into()),
            ),
            Error::WebauthnChallengeExpired => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "webauthn_challenge_expired",
                "this ceremony is over".into(),
                Some("start it again".into()),
            ),
            Error::WebauthnVerificationFailed => (
                S::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                "webauthn_verification_failed",
                "the passkey could not be verified".into(),
                Some("try again, or use another one".into()),
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
            Error::OverEmailSendRateLimit { seconds } => (
                S::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "over_email_send_rate_limit",
                "too many mails were asked for".into(),
                Some(format!("retry_after={seconds} seconds")),
            ),
            Error::OverSmsSendRateLimit { seconds } => (
                S::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "over_sms_send_rate_limit",
                "too many SMS were asked for".into(),
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
            Error::PhoneExists => {
                (S::ERRCODE_UNIQUE_VIOLATION, "phone_exists", "an account with this phone number exists".into(), None)
            }
            Error::UserAlreadyExists => {
                (S::ERRCODE_UNIQUE_VIOLATION, "user_already_exists", "an account with this id exists".into(), None)
            }
            Error::UsernameExists => (
                S::ERRCODE_UNIQUE_VIOLATION,
                "user_already_exists",
                "somebody has this user name".into(),
                Some("choose another".into()),
            ),
            Error::MfaFactorNameConflict => (
                S::ERRCODE_UNIQUE_VIOLATION,
                "mfa_factor_name_conflict",
                "a factor of this account has this name".into(),
                Some("choose another name".into()),
            ),
            Error::MfaVerifiedFactorExists => (
                S::ERRCODE_UNIQUE_VIOLATION,
                "mfa_verified_factor_exists",
                "a verified factor has this phone number".into(),
                Some("use it, or remove it first".into()),
            ),
            Error::WebauthnCredentialExists => (
                S::ERRCODE_UNIQUE_VIOLATION,
                "webauthn_credential_exists",
                "this passkey is registered already".into(),
                Some("use another authenticator".into()),
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
            Error::EmailAddressNotAuthorized => (
                S::ERRCODE_INVALID_PARAMETER_VALUE,
                "email_address_not_authorized",
                "this e-mail address may not sign up here".into(),
                Some("use another address; auth.email_rules says which".into()),
            ),
            Error::SamePassword => (
                S::ERRCODE_INVALID_PARAMETER_VALUE,
                "same_password",
                "the new password is the old one".into(),
                Some("choose another".into()),
            ),
            Error::RedirectNotAllowed => (
                S::ERRCODE_INVALID_PARAMETER_VALUE,
                "redirect_not_allowed",
                "links may not lead there".into(),
                Some("an administrator may add it to redirect_allow_list".into()),
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
            Error::EmailNotConfirmed => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "email_not_confirmed",
                "the e-mail address is not confirmed".into(),
                Some("follow the link in the mail, or auth.resend('signup', email)".into()),
            ),
            Error::OtpDisabled => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "otp_disabled",
                "signing in by code is not allowed here".into(),
                Some("sign in another way".into()),
            ),
            Error::MagicLinkDisabled => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "magic_link_disabled",
                "signing in by a mailed link is not allowed here".into(),
                Some("auth.send_otp mails a code; an administrator may set enable_magic_link".into()),
            ),
            Error::AnonymousProviderDisabled => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "anonymous_provider_disabled",
                "guests are not allowed here".into(),
                Some("an administrator may set enable_anonymous".into()),
            ),
            Error::RefreshDisabled => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "refresh_disabled",
                "refresh tokens are switched off here".into(),
                Some("sign in again; an administrator may set refresh_tokens_enabled".into()),
            ),
            Error::TooManyEnrolledMfaFactors => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "too_many_enrolled_mfa_factors",
                "the account has as many factors as it may have".into(),
                Some("remove one first; an administrator may raise mfa_max_factors".into()),
            ),
            Error::TooManyPasskeys => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "too_many_passkeys",
                "the account has as many passkeys as it may have".into(),
                Some("remove one first".into()),
            ),
            Error::MfaTotpEnrollNotEnabled => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "mfa_totp_enroll_not_enabled",
                "authenticator apps may not be enrolled here".into(),
                Some("an administrator may set mfa_enabled and mfa_totp_enabled".into()),
            ),
            Error::MfaPhoneEnrollNotEnabled => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "mfa_phone_enroll_not_enabled",
                "phones may not be enrolled as a second factor here".into(),
                Some("an administrator may set mfa_enabled and mfa_sms_enabled".into()),
            ),
            Error::MfaWebauthnEnrollNotEnabled => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "mfa_webauthn_enroll_not_enabled",
                "security keys may not be enrolled as a second factor here".into(),
                Some("an administrator may set mfa_enabled and mfa_webauthn_enabled".into()),
            ),
            Error::MfaWebauthnVerifyNotEnabled => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "mfa_webauthn_verify_not_enabled",
                "security keys may not be confirmed as a second factor here".into(),
                Some("an administrator may set mfa_enabled and mfa_webauthn_enabled".into()),
            ),
            Error::MfaRecoveryCodesSoleFactor => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "mfa_recovery_codes_sole_factor",
                "recovery codes need a second factor that they recover".into(),
                Some("enroll a factor first".into()),
            ),
            Error::PasskeyDisabled => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "passkey_disabled",
                "passkeys are switched off here".into(),
                Some("an administrator may set enable_passkeys".into()),
            ),
            Error::PhoneProviderDisabled => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "phone_provider_disabled",
                "signing in by SMS is not allowed here".into(),
                Some("an administrator may set enable_sms".into()),
            ),
            Error::PhoneNotConfirmed => (
                S::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "phone_not_confirmed",
                "the phone number is not confirmed".into(),
                Some("auth.send_sms_otp sends a code".into()),
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
            Error::MfaFactorNotFound => (S::ERRCODE_NO_DATA, "mfa_factor_not_found", "no such factor".into(), None),
            Error::WebauthnCredentialNotFound => {
                (S::ERRCODE_NO_DATA, "webauthn_credential_not_found", "no such passkey".into(), None)
            }
            Error::Conflict => (
                S::ERRCODE_T_R_SERIALIZATION_FAILURE,
                "conflict",
                "it was changed at the same time".into(),
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

    /// Message and hint as one text, for a report.
    pub fn words(&self) -> String {
        let refusal = self.refusal();
        match refusal.hint {
            Some(hint) => format!("{}: {hint}", refusal.message),
            None => refusal.message,
        }
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
