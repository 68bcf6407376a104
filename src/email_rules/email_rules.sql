-- Which addresses may have an account here.

create table auth.email_rules (
    domain text primary key,
    action text not null check (action in ('allow', 'block')),
    reason text,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
select pg_catalog.pg_extension_config_dump('auth.email_rules', '');

comment on table auth.email_rules is 'Domains whose addresses may or may not have a new account. A block always counts; with any allow rule, only what one names is taken. Written by auth.add_email_rule; readable by auth_admin.';
comment on column auth.email_rules.domain is 'Domain as A-label in lower case; *.domain for everything below it.';
comment on column auth.email_rules.action is 'allow or block.';
comment on column auth.email_rules.reason is 'Why, for people to read.';
comment on column auth.email_rules.created_at is 'When it was added.';

create function auth.add_email_rule(domain text, action text default 'block', reason text default null)
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'add_email_rule_wrapper';

comment on function auth.add_email_rule(text, text, text) is
    'Blocks a domain for new accounts and changes of address, or with action allow admits only those that are allowed; *.domain means everything below it, and not the domain itself. Replaces an earlier rule of the domain. For auth_admin. 22023 validation_failed.';

create function auth.remove_email_rule(domain text)
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'remove_email_rule_wrapper';

comment on function auth.remove_email_rule(text) is
    'Removes the rule of a domain. For auth_admin. 22023 validation_failed where there is none.';
