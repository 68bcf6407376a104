-- For an app's own tests of its policies.

create function auth.test_as(email text)
returns jsonb
language c
volatile
as 'MODULE_PATHNAME', 'test_as_wrapper';

comment on function auth.test_as(text) is
    'In a test: acts as the user with this address until the transaction ends, without a password; null acts as anon. Returns the claims. For superusers only; 55000 where environment is production; 02000 user_not_found; 25P01 outside a transaction block.';

create function auth.version()
returns text
language c
stable
parallel safe
as 'MODULE_PATHNAME', 'version_wrapper';

comment on function auth.version() is 'Version of the loaded library; the version of the installed script is pg_extension.extversion.';
