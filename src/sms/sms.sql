-- Codes that were sent by SMS. A row holds a digest, and no account: who has the number is asked when the code is right.

create table auth.sms_codes (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    phone text not null,
    code_hash bytea not null,
    data jsonb not null default '{}',
    expires_at timestamptz not null,
    created_at timestamptz not null default pg_catalog.clock_timestamp()
);
create index sms_codes_phone on auth.sms_codes (phone, created_at);
select pg_catalog.pg_extension_config_dump('auth.sms_codes', '');

comment on table auth.sms_codes is 'Codes that are out by SMS. Of each number the newest one is good; they belong to a number and to no account.';
comment on column auth.sms_codes.id is 'Row id.';
comment on column auth.sms_codes.phone is 'Number it was sent to, E.164 without the plus.';
comment on column auth.sms_codes.code_hash is 'Keyed digest of the code.';
comment on column auth.sms_codes.data is 'Whether an account may be made, and its user metadata: {create_user, data}.';
comment on column auth.sms_codes.expires_at is 'When the code ends.';
comment on column auth.sms_codes.created_at is 'When it was made.';

create function auth.send_sms_otp(phone text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'send_sms_otp_wrapper';

comment on function auth.send_sms_otp(text, jsonb) is
    'Sends a code by SMS that signs in, to be given to auth.verify_sms_otp within sms_otp_ttl. phone is a number with country code, such as +4915112345678 (E.164). Options: create_user (default true: a number without an account gets one when its code is verified), data (user metadata of a new account), locale, channel (sms), again (true: create_user and data as the request before it had them). Answers {status: code_sent} whether or not anybody has the number. For everyone. 55000 phone_provider_disabled; 53400 over_sms_send_rate_limit; 22023 validation_failed for what is no such number, or one that sms_prefixes leaves out.';

create function auth.verify_sms_otp(phone text, code text, options jsonb default '{}')
returns jsonb
language c
security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'verify_sms_otp_wrapper';

comment on function auth.verify_sms_otp(text, text, jsonb) is
    'Spends the code of an SMS and signs in (docs/sessions.md); the account is made now where the number has none. Options: type (sms), mfa (session: a restricted session in place of a challenge). For everyone. 28000 otp_expired for a code that is wrong, used, over or another number''s, 53400 account_locked after too many wrong ones; 55000 phone_provider_disabled.';
