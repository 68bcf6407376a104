create function auth.exchange_code(code text, code_verifier text default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'exchange_code_wrapper';

comment on function auth.exchange_code(text, text, jsonb) is
    'Exchanges the code at the end of a redirect for a session (docs/sessions.md), once and within five minutes; code_verifier is that of the request (RFC 7636), null where it had no challenge. For everyone. 28000 flow_state_not_found, flow_state_expired, bad_code_verifier.';
