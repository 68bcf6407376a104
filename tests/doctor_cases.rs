//! The bad examples that tests/doctor.rs shows to auth.doctor(), each with its repair.

/// A table as it should be, in a schema that requests reach.
pub const APP: &str = "
    create schema app;
    grant usage on schema app to anon, authenticated;
    create table app.notes (id bigint primary key, owner_id uuid not null, body text);
    alter table app.notes enable row level security;
    create policy own on app.notes to authenticated using (auth.uid() = owner_id);
    grant select, insert, update, delete on app.notes to authenticated;
    create view app.bodies with (security_invoker = true) as select body from app.notes;
    grant select on app.bodies to authenticated;
    create table app.hidden (id bigint);";

/// A bad example of one finding, and what ends it.
pub struct Case {
    pub title: &'static str,
    pub bad: &'static str,
    /// Severity, finding, object.
    pub found: &'static str,
    pub hint: &'static str,
    pub repair: &'static str,
}

const fn case(
    title: &'static str,
    bad: &'static str,
    found: &'static str,
    hint: &'static str,
    repair: &'static str,
) -> Case {
    Case { title, bad, found, hint, repair }
}

pub const CASES: &[Case] = &[
    case(
        "F224 a policy by user_metadata",
        "create policy p on app.notes for select using (auth.jwt() -> 'user_metadata' ->> 'admin' = 'yes')",
        "error policy_reads_user_metadata policy p on app.notes",
        "users change it themselves",
        "alter policy p on app.notes using (auth.jwt() -> 'app_metadata' ->> 'admin' = 'yes')",
    ),
    case(
        "F224 a path, in a check of new rows",
        "create policy p on app.notes for insert with check (auth.jwt() #>> '{user_metadata,team}' = body)",
        "error policy_reads_user_metadata policy p on app.notes",
        "app_metadata",
        "drop policy p on app.notes",
    ),
    case(
        "F224 a column, in a restrictive policy",
        "create table app.people (raw_user_meta_data jsonb);
        create policy p on app.notes as restrictive using (exists (select from app.people where raw_user_meta_data ? 'x'))",
        "error policy_reads_user_metadata policy p on app.notes",
        "auth.uid()",
        "drop policy p on app.notes",
    ),
    case(
        "F224 a function that a policy calls",
        "create function app.is_admin() returns boolean language sql as $$ select auth.jwt() -> 'user_metadata' ? 'admin' $$;
        create policy p on app.notes for select using (app.is_admin())",
        "error policy_reads_user_metadata policy p on app.notes",
        "in function app.is_admin(): ",
        "create or replace function app.is_admin() returns boolean language sql
        as $$ select auth.jwt() -> 'app_metadata' ? 'admin' /* not user_metadata */ -- nor raw_user_meta_data $$",
    ),
    case(
        "N22 a policy by request.jwt.claims",
        "create policy p on app.notes for select
        using (current_setting('request.jwt.claims', true)::jsonb ->> 'sub' = owner_id::text)",
        "error policy_reads_setting policy p on app.notes",
        "auth.uid()",
        "alter policy p on app.notes using (auth.uid() = owner_id)",
    ),
    case(
        "N22 a policy by request.headers, in a subquery",
        "create policy p on app.notes for update using (body = (select current_setting('request.headers')))",
        "error policy_reads_setting policy p on app.notes",
        "anyone may set a setting",
        "drop policy p on app.notes",
    ),
    case(
        "N22 a function that a policy calls",
        "create function app.me() returns text language plpgsql as $$ begin return current_setting ('app.me'); end $$;
        create policy p on app.notes for select using (app.me() = body)",
        "error policy_reads_setting policy p on app.notes",
        "in function app.me(): ",
        "create or replace function app.me() returns text language plpgsql as $$ begin return auth.uid(); end $$",
    ),
    case(
        "N22 a function behind a function",
        "create function app.inner() returns text begin atomic; select current_setting('app.me'); end;
        create function app.outer() returns text begin atomic; select app.inner(); end;
        create policy p on app.notes for select using (app.outer() = body)",
        "error policy_reads_setting policy p on app.notes",
        "in function app.\"inner\"(): ",
        "drop policy p on app.notes",
    ),
    case(
        "a policy that lets everybody write",
        "create policy p on app.notes using (true)",
        "warning policy_allows_all_writes policy p on app.notes",
        "true for every row",
        "drop policy p on app.notes",
    ),
    case(
        "a policy that lets everybody insert",
        "create policy p on app.notes for insert to authenticated with check (true)",
        "warning policy_allows_all_writes policy p on app.notes",
        "auth.uid()",
        "alter policy p on app.notes with check (auth.uid() = owner_id)",
    ),
    case(
        "a policy that lets rows be given away",
        "create policy p on app.notes for update to anon using (auth.uid() = owner_id) with check (true)",
        "warning policy_allows_all_writes policy p on app.notes",
        "auth.uid()",
        "alter policy p on app.notes to service_role",
    ),
    case(
        "F189 a table without row security that anon reads",
        "grant select on app.hidden to anon",
        "error table_without_row_security table app.hidden",
        "may select every row: alter table app.hidden enable row level security",
        "revoke select on app.hidden from anon",
    ),
    case(
        "F189 written by authenticated",
        "grant insert, update, delete on app.hidden to authenticated",
        "error table_without_row_security table app.hidden",
        "may delete, insert, update every row",
        "alter table app.hidden enable row level security; create policy p on app.hidden using (auth.uid() is null)",
    ),
    case(
        "F189 a column, granted to everybody",
        "grant select (id) on app.hidden to public",
        "error table_without_row_security table app.hidden",
        "may select",
        "revoke usage on schema app from anon, authenticated",
    ),
    case(
        "F189 a partition, which the policies of its table do not guard",
        "create table app.parts (id int) partition by list (id);
        alter table app.parts enable row level security;
        create policy p on app.parts for select using (id = 1);
        create table app.part partition of app.parts default;
        grant select on app.part to anon",
        "error table_without_row_security table app.part",
        "enable row level security",
        "revoke all on app.part from anon",
    ),
    case(
        "a materialized view",
        "create materialized view app.copy as select * from app.notes; grant select on app.copy to authenticated",
        "warning table_without_row_security materialized view app.copy",
        "it can have no policies: revoke that",
        "revoke select on app.copy from authenticated",
    ),
    case(
        "a table without policies",
        "alter table app.hidden enable row level security",
        "note table_without_policies table app.hidden",
        "create a policy",
        "create policy p on app.hidden for select using (auth.uid() is null)",
    ),
    case(
        "truncate is under no policy",
        "grant all on app.notes to authenticated",
        "warning truncate_granted table app.notes",
        "revoke truncate on app.notes from public, anon, authenticated",
        "revoke truncate on app.notes from public, anon, authenticated",
    ),
    case(
        "XJ14 a superuser's view",
        "create view app.all_notes as select * from app.notes; grant select on app.all_notes to anon",
        "error view_passes_row_security view app.all_notes",
        "with the rights of postgres",
        "alter view app.all_notes set (security_invoker = on)",
    ),
    case(
        "XJ14 a view of the owner of its table",
        "create role of_doctor; grant usage on schema app, auth to of_doctor; alter table app.notes owner to of_doctor;
        create view app.all_notes as select * from app.notes; alter view app.all_notes owner to of_doctor;
        grant select on app.all_notes to authenticated",
        "error view_passes_row_security view app.all_notes",
        "with the rights of of_doctor",
        "alter table app.notes force row level security",
    ),
    case(
        "XJ14 a view of a role with BYPASSRLS",
        "create role of_doctor bypassrls; create view app.one as select 1 as one; alter view app.one owner to of_doctor;
        grant select on app.one to authenticated",
        "error view_passes_row_security view app.one",
        "alter view app.one set (security_invoker = true)",
        "alter role of_doctor nobypassrls",
    ),
    case(
        "N22 a view by a setting",
        "create view app.mine with (security_invoker) as select * from app.notes where owner_id = current_setting('app.me')::uuid;
        grant select on app.mine to authenticated",
        "warning view_reads_setting view app.mine",
        "auth.uid()",
        "create or replace view app.mine with (security_invoker) as select * from app.notes where owner_id = auth.uid()",
    ),
    case(
        "N22 a definer function without a path",
        "create function app.f() returns int language sql security definer as 'select 1'",
        "warning definer_without_search_path function app.f()",
        "alter function app.f() set search_path = pg_catalog, pg_temp",
        "alter function app.f() set search_path = pg_catalog, pg_temp",
    ),
    case(
        "a login of users that may become service_role",
        "create role of_doctor login noinherit in role authenticated, service_role",
        "warning login_passes_row_security login of_doctor",
        "revoke service_role from of_doctor",
        "revoke service_role from of_doctor",
    ),
    case(
        "by way of another role",
        "create role of_doctor login noinherit in role anon; create role between in role service_role; grant between to of_doctor",
        "warning login_passes_row_security login of_doctor",
        "use another login",
        "revoke anon from of_doctor",
    ),
    case(
        "a login of users that bypasses policies itself",
        "create role of_doctor login bypassrls in role anon",
        "warning login_passes_row_security login of_doctor",
        ": alter role of_doctor nobypassrls",
        "alter role of_doctor nobypassrls",
    ),
    case(
        "users are administrators",
        "grant auth_admin to authenticated",
        "error role_of_requests_is_mighty role authenticated",
        ": revoke auth_admin from authenticated",
        "revoke auth_admin from authenticated",
    ),
    case(
        "strangers bypass policies",
        "alter role anon bypassrls",
        "error role_of_requests_is_mighty role anon",
        ": alter role anon nosuperuser nobypassrls nocreaterole",
        "alter role anon nobypassrls",
    ),
    case(
        "a member of auth_owner",
        "create role of_doctor in role auth_owner",
        "error auth_owner_has_members role of_doctor",
        "revoke auth_owner from of_doctor",
        "revoke auth_owner from of_doctor",
    ),
    case(
        "identities of connections",
        "set local auth.session_identity = on",
        "warning session_identity_allowed setting auth.session_identity",
        "transaction pooler",
        "set local auth.session_identity = off",
    ),
    case(
        "identities of one login's connections",
        "alter role app set auth.session_identity = yes",
        "warning session_identity_allowed setting auth.session_identity of role app",
        "switch it off",
        "alter role app reset auth.session_identity",
    ),
    case(
        "XJ20 the extension may be dropped",
        "set local auth.allow_drop = on",
        "warning drop_allowed setting auth.allow_drop",
        "delete every user",
        "set local auth.allow_drop = off",
    ),
    case(
        "statements in the log",
        "set local log_statement = 'mod'",
        "note statements_are_logged setting log_statement",
        "auth.literal_passwords = reject",
        "set local auth.literal_passwords = reject",
    ),
    case(
        "slow statements in the log",
        "set local log_min_duration_statement = 0",
        "note statements_are_logged setting log_min_duration_statement",
        "docs/security.md",
        "set local log_min_duration_statement = -1",
    ),
    case(
        "no limits",
        "select auth.configure('{\"rate_limit_enabled\": false}')",
        "note limits_are_off setting rate_limit_enabled",
        "select auth.configure(",
        "select auth.configure('{\"rate_limit_enabled\": true}')",
    ),
    case(
        "audit rows without a seal",
        "insert into auth.audit_log (id, slot, event_type, success, created_at)
        values (gen_random_uuid(), 0, 'test', true, now() - interval '61 minutes'), (gen_random_uuid(), 1, 'test', true, now())",
        "warning audit_is_unsealed table auth.audit_log",
        "2 rows are unsealed",
        "update auth.audit_log set sequence = 1000000 where created_at < now()",
    ),
    case(
        "B089 mail that was not sent",
        "insert into auth.outbox (id, channel, kind, recipient, message_id, status, cluster_id)
        values (gen_random_uuid(), 'email', 'otp', 'ada@example.org', '<1@example.org>', 'expired', '1')",
        "warning mail_was_not_sent table auth.outbox",
        "1 rows of the last day are expired",
        "update auth.outbox set created_at = now() - interval '25 hours'",
    ),
    case(
        "F275 a shared secret from a document",
        "select auth.import_signing_key('{\"kty\": \"oct\", \"alg\": \"HS256\", \"kid\": \"old\",
            \"k\": \"c3VwZXItc2VjcmV0LWp3dC10b2tlbi13aXRoLWF0LWxlYXN0LTMyLWNoYXJhY3RlcnMtbG9uZw\"}')",
        "error signing_key_is_weak signing key old",
        "auth.rotate_signing_key()",
        "update auth.signing_keys set status = 'revoked' where kid = 'old'",
    ),
    case(
        "F275 a library of another release",
        "update pg_extension set extversion = '0.1' where extname = 'auth'",
        "error library_is_another extension auth",
        "alter extension auth update",
        "update pg_extension set extversion = '0.2' where extname = 'auth'",
    ),
    case(
        "XJ22 pgcrypto",
        "create extension pgcrypto",
        "note pgcrypto_not_needed extension pgcrypto",
        "drop it if nothing else does",
        "drop extension pgcrypto",
    ),
];
