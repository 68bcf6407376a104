-- Guests: an account without address and password, and how it becomes a permanent one.

create function auth.sign_in_anonymously(data jsonb default '{}', options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'sign_in_anonymously_wrapper';

comment on function auth.sign_in_anonymously(jsonb, jsonb) is
    'Makes a guest and signs in; answers like auth.sign_up. data is user_metadata. The role of its tokens is setting anonymous_role; claim is_anonymous is true. For anon. 55000 anonymous_provider_disabled, signup_disabled; 22023 validation_failed.';
