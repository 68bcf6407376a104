create function auth.list_factors(options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'list_factors_wrapper';

comment on function auth.list_factors(jsonb) is
    'The signed-in user''s second factors, the oldest first: [{id, friendly_name, factor_type, status, phone, created_at, updated_at, last_challenged_at}], never a secret. Also for a sign-in that waits for one; numbers are then hinted at only. For authenticated. 28000 no_authorization.';

create function auth.challenge_factor(factor_id uuid, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'challenge_factor_wrapper';

comment on function auth.challenge_factor(uuid, jsonb) is
    'Asks for a factor in this session: {id, factor_id, type, expires_at in seconds since 1970}. The id is given to auth.verify_totp with a code; a phone is sent one. Of a security key there is also webauthn, {type, credential_options: {publicKey}}, for navigator.credentials.create where type is create, as long as the factor is not verified, else .get; what comes back goes to auth.verify_webauthn. Options: send, false sends none, for whoever has a recovery code. For authenticated, and for a sign-in that waits for a second factor. 55000 mfa_webauthn_verify_not_enabled; 02000 mfa_factor_not_found for one that is not the caller''s.';

create function auth.verify_totp(challenge_token text, code text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'verify_totp_wrapper';

comment on function auth.verify_totp(text, text, jsonb) is
    'Takes the second step: challenge_token is that of a sign-in, which becomes a session of level aal2, or the id of auth.challenge_factor, which raises this session; its refresh token from before is void. code is one of an authenticator app (RFC 6238, six digits, a step of 30 seconds before or after is accepted), one that was sent, or a recovery code; each works once. Options: factor_id, if given it has to be the challenge''s; current_password, as in auth.enroll_totp, where the factor is not verified yet; recovery_codes, false makes none with a first factor. Answers a session (docs/sessions.md). For everyone. 28000 mfa_verification_failed, mfa_challenge_expired; 53400 account_locked after too many wrong ones.';

create function auth.verify_webauthn(challenge_token text, credential jsonb, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'verify_webauthn_wrapper';

comment on function auth.verify_webauthn(text, jsonb, jsonb) is
    'Takes the second step with a security key: challenge_token as in auth.verify_totp, credential what the browser gave for auth.challenge_webauthn or auth.challenge_factor, a RegistrationResponseJSON for a factor that is not verified yet and an AuthenticationResponseJSON else (WebAuthn Level 3). What was asked is spent, whatever comes of it. Options and answer as in auth.verify_totp. For everyone. 28000 mfa_verification_failed, mfa_challenge_expired, webauthn_challenge_expired; 23505 webauthn_credential_exists; 55000 mfa_webauthn_verify_not_enabled; 53400 account_locked after too many wrong ones.';

create function auth.unenroll_factor(factor_id uuid, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'unenroll_factor_wrapper';

comment on function auth.unenroll_factor(uuid, jsonb) is
    'Removes a factor of the signed-in user: {id}. For authenticated. Sessions that it had raised are of level aal1 at the next statement; with the last verified one the recovery codes go. 28000 insufficient_aal unless the session is of level aal2 where a factor is verified; 02000 mfa_factor_not_found.';

create function auth.regenerate_recovery_codes(options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'regenerate_recovery_codes_wrapper';

comment on function auth.regenerate_recovery_codes(jsonb) is
    'Ten new recovery codes of 80 bits, {recovery_codes}, shown once; the set before is void. Options: replace, false refuses where there is a set (23505 mfa_verified_factor_exists), true where there is none (02000 mfa_factor_not_found). For authenticated. 28000 insufficient_aal below level aal2; 55000 mfa_recovery_codes_sole_factor without a verified factor.';

create function auth.count_recovery_codes(options jsonb default '{}')
returns bigint
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'count_recovery_codes_wrapper';

comment on function auth.count_recovery_codes(jsonb) is
    'How many recovery codes of the signed-in user are left. For authenticated. 28000 no_authorization.';

create function auth.get_recovery_codes(options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'get_recovery_codes_wrapper';

comment on function auth.get_recovery_codes(jsonb) is
    'What there is of the signed-in user''s recovery codes, and never one of them: {id, total, remaining}; id is the user''s. For authenticated. 28000 no_authorization; 02000 mfa_factor_not_found where there are none.';

create function auth.delete_recovery_codes(options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'delete_recovery_codes_wrapper';

comment on function auth.delete_recovery_codes(jsonb) is
    'Removes the recovery codes of the signed-in user: {id}. For authenticated. 28000 no_authorization, insufficient_aal below level aal2; 02000 mfa_factor_not_found where there are none.';
