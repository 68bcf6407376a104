-- What has expired goes, in small bites.

create function auth.cleanup()
returns jsonb
language c
volatile
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'cleanup_wrapper';

comment on function auth.cleanup() is
    'Removes what has expired, at most 1,000 rows of each kind, and waits for nobody: {sessions, one_time_tokens, pending_sign_ups, sms_codes, flow_state, mfa_challenges, mfa_factors (unverified for a day), webauthn_challenges, outbox, revocations, blocked_networks} removed. The worker does the same every ten minutes while there is work; this is for whoever wants it now. For auth_admin.';
