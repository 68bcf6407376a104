-- Owners and privileges from scratch, last in the install script and in every upgrade script. The order matters: with the
-- owner set last, pg_dump would write the installer's name into every GRANT.

do $finalize$
declare
    ours constant text[] := array['auth_owner', 'auth_admin', 'auth_sidecar', 'anon', 'authenticated', 'service_role'];
    others text[] := array[]::text[];
    member record;
    grantee record;
    other text;
begin
    for member in
        select d.classid, d.objid,
            case
                when d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                    then 'function ' || d.objid::pg_catalog.regprocedure::text
                when d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass then 'schema auth'
                when c.relkind = 'v' then 'view ' || d.objid::pg_catalog.regclass::text
                when c.relkind in ('r', 'p') then 'table ' || d.objid::pg_catalog.regclass::text
            end as object,
            case
                when d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass then 'table ' || d.objid::pg_catalog.regclass::text
            end as grant_object,
            coalesce(p.proacl, c.relacl, n.nspacl) as acl
        from pg_catalog.pg_depend as d
        left join pg_catalog.pg_proc as p on d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and p.oid = d.objid
        left join pg_catalog.pg_class as c
            on d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and c.oid = d.objid and c.relkind in ('r', 'p', 'v')
        left join pg_catalog.pg_namespace as n
            on d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass and n.oid = d.objid
        where d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
            and d.refobjid = (select e.oid from pg_catalog.pg_extension as e where e.extname = 'auth')
            and d.deptype = 'e'
            and coalesce(p.oid, c.oid, n.oid) is not null
    loop
        execute 'alter ' || member.object || ' owner to auth_owner';
        execute 'revoke all on ' || coalesce(member.grant_object, member.object) || ' from public';
        -- Whoever was given something by a default privilege of the installer's, or before an upgrade.
        for grantee in
            select distinct a.grantee::pg_catalog.regrole::text as name
            from pg_catalog.aclexplode(member.acl) as a
            where a.grantee <> 0 and a.grantee <> 'auth_owner'::pg_catalog.regrole
        loop
            execute 'revoke all on ' || coalesce(member.grant_object, member.object) || ' from ' || grantee.name || ' cascade';
            if grantee.name <> all (ours) and grantee.name <> all (others) then
                others := others || grantee.name;
            end if;
        end loop;
    end loop;

    -- Granting it back here would count as the extension's own grant, and pg_dump would leave it out.
    foreach other in array others loop
        raise notice 'privileges of % on schema auth were taken back', other
            using hint = pg_catalog.format('if it is an app''s login: select auth.allow_client(%L)', other);
    end loop;
end
$finalize$;

grant usage on schema auth to public;

-- Policies check the privilege of whoever runs the query.
grant execute on function
    auth.uid(), auth.role(), auth.email(), auth.jwt(), auth.session_id(), auth.aal(), auth.fresh(interval)
to public;

grant execute on function
    auth.authenticate(text), auth.authenticate_session(text), auth.verify_token(text), auth.jwks(),
    auth.require_uid(), auth.require_aal2(),
    auth.sign_up(text, text, jsonb, jsonb), auth.sign_in(text, text, jsonb), auth.refresh(text, jsonb),
    auth.send_otp(text, jsonb), auth.send_magic_link(text, text, jsonb), auth.sign_up_with_email(text, jsonb, jsonb),
    auth.verify_sign_up(text, text, text, jsonb), auth.verify_otp(text, text, jsonb), auth.verify_link(text, jsonb),
    auth.send_sms_otp(text, jsonb), auth.verify_sms_otp(text, text, jsonb),
    auth.look_up_link(text, jsonb), auth.resend(text, text, jsonb), auth.exchange_code(text, text, jsonb),
    auth.request_password_reset(text, text, jsonb), auth.reset_password(text, text, jsonb),
    auth.reset_password_with_code(text, text, text, jsonb),
    auth.start_passkey_sign_in(text, jsonb), auth.finish_passkey_sign_in(uuid, jsonb, jsonb),
    auth.start_passkey_sign_up(text, jsonb, jsonb), auth.finish_passkey_sign_up(uuid, jsonb, text, jsonb),
    auth.redirect_allowed(text), auth.public_settings(), auth.get_user(jsonb), auth.version(), auth.public_profile(text),
    auth.authenticate_request()
to anon, authenticated, service_role, auth_sidecar;

grant execute on function
    auth.update_user(jsonb, jsonb), auth.list_sessions(jsonb), auth.get_session(jsonb), auth.sign_out(text, jsonb),
    auth.revoke_session(uuid, jsonb), auth.revoke_sessions(boolean, jsonb),
    auth.update_email(text, text, jsonb), auth.reauthenticate(jsonb),
    auth.start_passkey_registration(jsonb), auth.finish_passkey_registration(uuid, jsonb, text, jsonb),
    auth.list_passkeys(jsonb), auth.rename_passkey(uuid, text, jsonb), auth.delete_passkey(uuid, jsonb)
to authenticated, auth_sidecar;
grant select on auth.my_account to authenticated;

grant execute on function
    auth.configure(jsonb), auth.apply_profile(text), auth.add_hook(text, text), auth.remove_hook(text),
    auth.create_key(text, interval), auth.rotate_signing_key(text), auth.import_signing_key(jsonb),
    auth.jwks(), auth.gate_status(), auth.guard_status(), auth.guard_reset(text), auth.network(inet),
    auth.block_network(cidr, interval, text), auth.unblock_network(cidr), auth.verify_audit(), auth.cleanup(),
    auth.doctor(), auth.add_webhook(text, text[]), auth.remove_webhook(uuid), auth.outbox_status(), auth.adopt_outbox(),
    auth.version(), auth.sidecar_status()
to auth_admin;
grant select on
    auth.config, auth.config_history, auth.hooks, auth.admin_users, auth.audit_log, auth.audit_anchors,
    auth.blocked_networks, auth.outbox, auth.webhooks
to auth_admin;
grant select, insert, update, delete on auth.templates to auth_admin;
grant references (id) on auth.users to auth_admin;
grant select on auth.admin_users, auth.audit_log to service_role;
grant execute on function auth.network(inet), auth.count_attempt(text, text, integer, interval)
to service_role, auth_sidecar;

grant execute on function
    auth.set_request_context(inet, text), auth.claim_outbox(integer, text[]), auth.settle_outbox(jsonb), auth.outbox_status(),
    auth.sidecar_status()
to auth_sidecar;

grant execute on function
    auth.admin_create_user(jsonb, jsonb), auth.admin_get_user(uuid, jsonb), auth.admin_list_users(jsonb),
    auth.admin_update_user(uuid, jsonb, jsonb), auth.admin_delete_user(uuid, boolean, jsonb),
    auth.admin_list_factors(uuid, jsonb), auth.admin_update_factor(uuid, uuid, jsonb, jsonb),
    auth.admin_delete_factor(uuid, uuid, jsonb),
    auth.admin_list_passkeys(uuid, jsonb), auth.admin_delete_passkey(uuid, uuid, jsonb),
    auth.admin_list_audit(jsonb), auth.invite_user(text, jsonb, jsonb), auth.admin_generate_link(text, text, jsonb)
to service_role, auth_sidecar;

grant execute on function auth.sign_in_anonymously(jsonb, jsonb) to anon, authenticated, service_role, auth_sidecar;
-- A guest's token, and one for a change of password alone, may act as anon; each asks for its user itself.
grant execute on function
    auth.convert_anonymous(text, text, jsonb), auth.update_phone(text, text, jsonb),
    auth.update_password(text, text, jsonb)
to anon, authenticated, auth_sidecar;
grant execute on function auth.update_user(jsonb, jsonb), auth.get_session(jsonb), auth.sign_out(text, jsonb) to anon;

grant execute on function auth.add_email_rule(text, text, text), auth.remove_email_rule(text) to auth_admin;
grant select on auth.email_rules to auth_admin;

-- Steps of a sign-in that is not finished are taken as anon; each asks for its user itself.
grant execute on function
    auth.verify_totp(text, text, jsonb), auth.list_factors(jsonb), auth.challenge_factor(uuid, jsonb),
    auth.enroll_totp(text, jsonb), auth.confirm_totp(uuid, text, jsonb),
    auth.enroll_sms(text, jsonb), auth.confirm_sms(uuid, text, jsonb), auth.send_mfa_sms(text, uuid, jsonb),
    auth.enroll_webauthn(text, jsonb), auth.challenge_webauthn(text, uuid, jsonb), auth.verify_webauthn(text, jsonb, jsonb)
to anon, authenticated, service_role, auth_sidecar;
grant execute on function
    auth.unenroll_factor(uuid, jsonb), auth.disable_totp(text, jsonb), auth.regenerate_recovery_codes(jsonb),
    auth.count_recovery_codes(jsonb), auth.get_recovery_codes(jsonb), auth.delete_recovery_codes(jsonb)
to authenticated, auth_sidecar;
