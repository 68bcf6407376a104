-- What anybody may read of an account.

create function auth.public_profile(username text)
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'public_profile_wrapper';

comment on function auth.public_profile(text) is
    'What anybody may read of the account with this user name: the fields of setting public_profile_fields, username and texts, numbers and booleans of user_metadata; null where nobody has the name, or its account is banned. For everyone. 22023 validation_failed for null.';
