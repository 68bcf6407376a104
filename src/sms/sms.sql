-- Codes that were sent by SMS. A row holds a digest, and no account: who has the number is asked when the code is right.

create table auth.sms_codes (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    phone text not null,
    about uuid,
    code_hash bytea not null,
    data jsonb not null default '{}',
    expires_at timestamptz not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
create index sms_codes_phone on auth.sms_codes (phone, created_at);
create index sms_codes_about on auth.sms_codes (about) where about is not null;
select pg_catalog.pg_extension_config_dump('auth.sms_codes', '');

comment on table auth.sms_codes is 'Codes that are out by SMS. Of each number, and of each challenge, the newest one is good. One that signs in belongs to a number and to no account.';
comment on column auth.sms_codes.id is 'Row id.';
comment on column auth.sms_codes.phone is 'Number it was sent to, E.164 without the plus.';
comment on column auth.sms_codes.about is 'Challenge that it meets, or factor that it confirms; null: it signs in.';
comment on column auth.sms_codes.code_hash is 'Keyed digest of the code.';
comment on column auth.sms_codes.data is 'Of one that signs in: whether an account may be made, and its user metadata, {create_user, data}; of others {factor_id}.';
comment on column auth.sms_codes.expires_at is 'When the code ends.';
comment on column auth.sms_codes.created_at is 'When it was made.';

create function auth.send_sms_otp(phone text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'send_sms_otp_wrapper';

comment on function auth.send_sms_otp(text, jsonb) is
    'Sends a code by SMS that signs in, to be given to auth.verify_sms_otp within sms_otp_ttl. phone is a number with country code, such as +4915112345678 (E.164). Options: create_user (default true: a number without an account gets one when its code is verified), data (user metadata of a new account), locale, channel (sms), again (true: create_user and data as the request before it had them), type (sms; phone_change with again: the code of auth.update_phone once more). Answers {status: code_sent} whether or not anybody has the number. For everyone. 55000 phone_provider_disabled; 53400 over_sms_send_rate_limit; 22023 validation_failed for what is no such number, or one that sms_prefixes leaves out.';

create function auth.verify_sms_otp(phone text, code text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'verify_sms_otp_wrapper';

comment on function auth.verify_sms_otp(text, text, jsonb) is
    'Spends the code of an SMS and signs in (docs/sessions.md); the account is made now where the number has none. Options: type (sms; phone_change: the code of auth.update_phone, which gives the account the number; whoever is signed in confirms no change of another account), mfa (session: a restricted session in place of a challenge). For everyone. 28000 otp_expired for a code that is wrong, used, over or another number''s; 23505 phone_exists where somebody has got the number meanwhile; 53400 account_locked after too many wrong ones; 55000 phone_provider_disabled.';

create function auth.update_phone(new_phone text, current_password text default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'update_phone_wrapper';

comment on function auth.update_phone(text, text, jsonb) is
    'Begins a change of the caller''s number, or gives an account its first: the new one is sent a code, and once that is given to auth.verify_sms_otp with option type phone_change, it is the account''s. The current password is needed where the account has one and current_password_required is on. Options: locale, channel (sms). Answers {status: code_sent, user}, also where somebody has the number already. For authenticated, and guests. 28P01 current_password_invalid; 28000 insufficient_aal where a factor is verified and this session has used none; 55000 phone_provider_disabled, email_not_confirmed while nobody has proved the account''s address; 53400 over_sms_send_rate_limit; 22023 validation_failed for what is no number with country code, or one that sms_prefixes leaves out.';

create function auth.enroll_sms(phone text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'enroll_sms_wrapper';

comment on function auth.enroll_sms(text, jsonb) is
    'Enrols a phone as a second factor and sends it a code: {status: code_sent, factor_id, phone, friendly_name}. It is asked for nowhere before auth.confirm_sms. Options: friendly_name (default: the number), locale, send (false: no code yet, {status: enrolled}; auth.challenge_factor sends one), current_password, for a first factor in a session older than ten minutes. For authenticated users who are no guests. 28000 insufficient_aal where a factor is verified and this session has used none; 55000 mfa_phone_enroll_not_enabled, too_many_enrolled_mfa_factors; 23505 mfa_factor_name_conflict, mfa_verified_factor_exists; 53400 over_sms_send_rate_limit; 22023 validation_failed for what is no number with country code, or one that sms_prefixes leaves out.';

create function auth.confirm_sms(factor_id uuid, code text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'confirm_sms_wrapper';

comment on function auth.confirm_sms(uuid, text, jsonb) is
    'Confirms a phone by the code of auth.enroll_sms; from now on sign-ins ask for it. Answers this session, raised to aal2, with factor_id and, for the first factor, recovery_codes; other sessions of level aal1 end. For authenticated. 28000 mfa_verification_failed; 02000 mfa_factor_not_found; 53400 account_locked after too many wrong ones.';

create function auth.send_mfa_sms(challenge_token text, factor_id uuid default null, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'send_mfa_sms_wrapper';

comment on function auth.send_mfa_sms(text, uuid, jsonb) is
    'Sends a code for a second step, to be given to auth.verify_totp with the same challenge_token: that of a sign-in, or the id of auth.challenge_factor, for which one more is sent. factor_id: which phone, if there are several. Option locale. Answers {status: code_sent, factor_id, phone (its last two digits)}. For everyone. 28000 mfa_challenge_expired; 02000 mfa_factor_not_found without a confirmed phone; 53400 over_sms_send_rate_limit.';
