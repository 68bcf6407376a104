-- Administration of users, for holders of the service key.

create function auth.admin_create_user(attributes jsonb, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_create_user_wrapper';

comment on function auth.admin_create_user(jsonb, jsonb) is
    'Makes an account without signing it in and returns it. attributes: email or phone, password or password_hash, email_confirm, phone_confirm, user_metadata, app_metadata, username, role, id, ban_duration, ban_reason, must_change_password. For service_role, and for auth_sidecar with the service key as auth.token: 28000 no_authorization, not_admin. 22023 weak_password, email_address_invalid, validation_failed; 23505 email_exists, phone_exists, user_already_exists.';

create function auth.admin_get_user(id uuid, options jsonb default '{}')
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_get_user_wrapper';

comment on function auth.admin_get_user(uuid, jsonb) is
    'The account with this id. For service_role, and for auth_sidecar with the service key. 02000 user_not_found.';

create function auth.admin_list_users(options jsonb default '{}')
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_list_users_wrapper';

comment on function auth.admin_list_users(jsonb) is
    'Accounts that are not deleted: {users, total, next_cursor}. options: filter (part of address, number, user name, id or name), sort (created_at, email or last_sign_in_at, and asc or desc behind it), per_page (50, at most 1000), page, or cursor (next_cursor of the answer before, in the order of created_at). For service_role, and for auth_sidecar with the service key.';

create function auth.admin_update_user(id uuid, attributes jsonb, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_update_user_wrapper';

comment on function auth.admin_update_user(uuid, jsonb, jsonb) is
    'Changes an account and returns it. attributes as in auth.admin_create_user without id; metadata is merged at the top level, null removes a key. A new password, and must_change_password, end every session; ban_duration is text such as 24h, and none lifts a ban. For service_role, and for auth_sidecar with the service key. 02000 user_not_found; otherwise refuses like auth.admin_create_user.';

create function auth.admin_delete_user(id uuid, soft boolean default false, options jsonb default '{}')
returns void
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_delete_user_wrapper';

comment on function auth.admin_delete_user(uuid, boolean, jsonb) is
    'Deletes an account with all that belongs to it; soft: keeps the row, which nobody can sign in to, and frees its address. Ends its sessions. Foreign keys of the app decide about the app''s rows. For service_role, and for auth_sidecar with the service key. 02000 user_not_found.';

create function auth.admin_list_factors(user_id uuid, options jsonb default '{}')
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_list_factors_wrapper';

comment on function auth.admin_list_factors(uuid, jsonb) is
    'The second factors of an account as auth.list_factors answers them, never a secret. For service_role, and for auth_sidecar with the service key. 02000 user_not_found.';

create function auth.admin_update_factor(user_id uuid, factor_id uuid, attributes jsonb, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_update_factor_wrapper';

comment on function auth.admin_update_factor(uuid, uuid, jsonb, jsonb) is
    'Gives a second factor of an account another name and returns it. attributes: friendly_name. For service_role, and for auth_sidecar with the service key. 02000 user_not_found, mfa_factor_not_found; 23505 mfa_factor_name_conflict; 22023 validation_failed.';

create function auth.admin_delete_factor(user_id uuid, factor_id uuid, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_delete_factor_wrapper';

comment on function auth.admin_delete_factor(uuid, uuid, jsonb) is
    'Removes a second factor of an account, such as a lost one: {id}. Sessions that it had raised are of level aal1 at the next statement; with the last verified one the recovery codes go; the user is told by mail. For service_role, and for auth_sidecar with the service key. 02000 user_not_found, mfa_factor_not_found.';

create function auth.admin_list_audit(options jsonb default '{}')
returns jsonb
language c
stable
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'admin_list_audit_wrapper';

comment on function auth.admin_list_audit(jsonb) is
    'What happened, newest first: {entries: [{id, payload, created_at, ip_address}], total}. options: page, per_page (50, at most 1000), query (part of an event type, a user''s id or an address; author:… or action:… for one of them). For service_role, and for auth_sidecar with the service key.';
