create function auth.redirect_allowed(url text)
returns boolean
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'redirect_allowed_wrapper';

comment on function auth.redirect_allowed(text) is
    'Whether a link may lead there: site_url and what is below it, and what redirect_allow_list names. For everyone. 22023 validation_failed for null.';
