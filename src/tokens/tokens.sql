-- Secrets that are spent once. A row holds two digests: of the link and of the short-lived code of the same mail.

create table auth.one_time_tokens (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    user_id uuid not null,
    purpose text not null,
    relates_to text not null,
    link_hash bytea unique,
    code_hash bytea,
    code_expires_at timestamptz,
    expires_at timestamptz not null,
    redirect_to text,
    code_challenge text,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    data jsonb not null default '{}'
);
create index one_time_tokens_user_id on auth.one_time_tokens (user_id, purpose, created_at);
create index one_time_tokens_relates_to on auth.one_time_tokens (relates_to);
select pg_catalog.pg_extension_config_dump('auth.one_time_tokens', '');

comment on table auth.one_time_tokens is 'Links and codes that are out for a user. Of each purpose the newest one is good; there is no unique key, because whoever held a row in an open transaction would hold up the next request.';
comment on column auth.one_time_tokens.id is 'Row id.';
comment on column auth.one_time_tokens.user_id is 'Whom it was made for.';
comment on column auth.one_time_tokens.purpose is 'The only thing it may be spent on.';
comment on column auth.one_time_tokens.relates_to is 'Address it was sent to; only that address is confirmed by it.';
comment on column auth.one_time_tokens.link_hash is 'Keyed digest of the link''s secret.';
comment on column auth.one_time_tokens.code_hash is 'Keyed digest of the code.';
comment on column auth.one_time_tokens.code_expires_at is 'When the code ends; earlier than the link.';
comment on column auth.one_time_tokens.expires_at is 'When the link ends.';
comment on column auth.one_time_tokens.redirect_to is 'Where the link leads.';
comment on column auth.one_time_tokens.code_challenge is 'PKCE challenge of the request (RFC 7636).';
comment on column auth.one_time_tokens.created_at is 'When it was made.';
comment on column auth.one_time_tokens.data is 'What else its purpose needs, such as the new address of a change.';

create table auth.pending_sign_ups (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    instance_id uuid not null default '00000000-0000-0000-0000-000000000000',
    aud text not null default 'authenticated',
    email text not null,
    email_key text not null generated always as (auth.email_key(email)) stored,
    -- an Argon2id string, never the password
    password text,
    data jsonb not null default '{}',
    link_hash bytea unique,
    code_hash bytea,
    code_expires_at timestamptz,
    expires_at timestamptz not null,
    redirect_to text,
    code_challenge text,
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    passkey jsonb
);
create index pending_sign_ups_email on auth.pending_sign_ups (instance_id, aud, email_key, created_at);
select pg_catalog.pg_extension_config_dump('auth.pending_sign_ups', '');

comment on table auth.pending_sign_ups is 'Sign-ups that wait for their code: no user exists before it is verified. Of each address the newest one is good.';
comment on column auth.pending_sign_ups.id is 'Row id.';
comment on column auth.pending_sign_ups.instance_id is 'Tenant, as in auth.users.';
comment on column auth.pending_sign_ups.aud is 'Audience, as in auth.users.';
comment on column auth.pending_sign_ups.email is 'Address to be confirmed.';
comment on column auth.pending_sign_ups.email_key is 'What makes two addresses the same, as in auth.users.';
comment on column auth.pending_sign_ups.password is 'Argon2id string of the password given at sign-up, if any.';
comment on column auth.pending_sign_ups.data is 'User metadata given at sign-up.';
comment on column auth.pending_sign_ups.link_hash is 'Keyed digest of the link''s secret.';
comment on column auth.pending_sign_ups.code_hash is 'Keyed digest of the code.';
comment on column auth.pending_sign_ups.code_expires_at is 'When the code ends.';
comment on column auth.pending_sign_ups.expires_at is 'When the link, and so the sign-up, ends.';
comment on column auth.pending_sign_ups.redirect_to is 'Where the link leads.';
comment on column auth.pending_sign_ups.code_challenge is 'PKCE challenge of the request (RFC 7636).';
comment on column auth.pending_sign_ups.created_at is 'When it was made.';
comment on column auth.pending_sign_ups.passkey is 'Row of auth.passkeys that the account gets, if any; its user_id is the account''s.';
