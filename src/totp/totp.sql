create function auth.enroll_totp(friendly_name text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'enroll_totp_wrapper';

comment on function auth.enroll_totp(text, jsonb) is
    'Enrols an authenticator app (RFC 6238: HMAC-SHA-1, 6 digits, 30 seconds): {factor_id, secret in base32, otpauth_uri, qr_code as a data URL of SVG}, shown once. It is asked for nowhere before auth.confirm_totp. Options: issuer, the name that apps show; current_password, for a first factor in a session older than ten minutes. For authenticated users who are no guests. 28000 insufficient_aal where a factor is verified and this session has used none; 55000 mfa_totp_enroll_not_enabled, too_many_enrolled_mfa_factors; 23505 mfa_factor_name_conflict.';

create function auth.confirm_totp(factor_id uuid, code text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'confirm_totp_wrapper';

comment on function auth.confirm_totp(uuid, text, jsonb) is
    'Confirms an authenticator app by its first code; from now on sign-ins ask for it. Answers this session, raised to aal2, with factor_id and, for the first factor, recovery_codes; other sessions of level aal1 end. For authenticated. 28000 mfa_verification_failed; 02000 mfa_factor_not_found; 53400 account_locked after too many wrong ones.';

create function auth.disable_totp(code text, options jsonb default '{}')
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'disable_totp_wrapper';

comment on function auth.disable_totp(text, jsonb) is
    'Removes every authenticator app of the signed-in user, for one of their codes or a recovery code. For authenticated. Sessions that they had raised are of level aal1 at the next statement. 28000 mfa_verification_failed; 02000 mfa_factor_not_found without one; 53400 account_locked after too many wrong ones.';
