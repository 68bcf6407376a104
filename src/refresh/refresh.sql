-- New tokens for a session that goes on.

create function auth.refresh(refresh_token text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'refresh_wrapper';

comment on function auth.refresh(text, jsonb) is
    'Exchanges a refresh token for new tokens of the same session; answers like auth.sign_in. A token that was used before ends every session of the user at once (refresh_reuse_scope), even if this transaction is rolled back. For anon. 28000 refresh_token_not_found, refresh_token_already_used, session_not_found, session_expired, user_banned; 55000 refresh_disabled.';
