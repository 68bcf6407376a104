-- Sign-ins that are under way in a browser: the code at the end of a redirect, exchanged once for a session.

create table auth.flow_state (
    id uuid primary key,
    user_id uuid,
    provider text,
    authentication_method text,
    state_hash bytea unique,
    nonce text,
    code_verifier_sealed bytea,
    code_challenge text,
    redirect_to text,
    link_user_id uuid,
    link_session_id uuid,
    browser_hash bytea,
    auth_code_hash bytea unique,
    expires_at timestamptz not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
create index flow_state_user_id on auth.flow_state (user_id);
select pg_catalog.pg_extension_config_dump('auth.flow_state', '');

comment on table auth.flow_state is 'Sign-ins under way in a browser.';
comment on column auth.flow_state.id is 'Row id.';
comment on column auth.flow_state.user_id is 'Who has proved who they are; null before that.';
comment on column auth.flow_state.provider is 'By which provider; null for a mailed link.';
comment on column auth.flow_state.authentication_method is 'Method that the session will name (RFC 8176).';
comment on column auth.flow_state.state_hash is 'Keyed digest of the parameter state (RFC 6749 section 10.12).';
comment on column auth.flow_state.nonce is 'Claim nonce that the provider has to repeat (OpenID Connect Core section 2).';
comment on column auth.flow_state.code_verifier_sealed is 'Our own PKCE verifier towards the provider, sealed.';
comment on column auth.flow_state.code_challenge is 'PKCE challenge of whoever began (RFC 7636).';
comment on column auth.flow_state.redirect_to is 'Where the browser goes in the end.';
comment on column auth.flow_state.link_user_id is 'Account that an identity is to be linked to.';
comment on column auth.flow_state.link_session_id is 'Session that asked for that.';
comment on column auth.flow_state.browser_hash is 'Keyed digest of what binds it to the browser that began.';
comment on column auth.flow_state.auth_code_hash is 'Keyed digest of the code that is exchanged for a session.';
comment on column auth.flow_state.expires_at is 'When it ends.';
comment on column auth.flow_state.created_at is 'When it began.';
