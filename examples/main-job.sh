#!/usr/bin/env bash
# The main job, played through psql as an app's own login: two people sign up and confirm their addresses by mail, each sees
# only their own rows, forged identities are refused, whoever signs out is blind at the next statement, and the same person
# signs in over HTTP. `./dev up` runs it last.
#
# Wants DATABASE_URL (superuser), APP_DATABASE_URL (a member of anon and authenticated), AUTH_URL and ANON_KEY (the HTTP API),
# INBOX_URL (where mails arrive), AUTH_NODE and AUTH_NODE_MODULES (Node and supabase-js) and, on PATH, psql and python3.
# What is printed after an arrow is what the server answered. Anything unexpected ends the script with status 1.
set -euo pipefail
: "${DATABASE_URL:?is in .dev/env}" "${APP_DATABASE_URL:?is in .dev/env}" "${INBOX_URL:?is in .dev/env}"
: "${AUTH_URL:?is in .dev/env}" "${ANON_KEY:?is in .dev/env}" "${AUTH_NODE:?is what ./dev installs}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
unset PGOPTIONS

PASSWORD='correct horse battery staple'
ADA=ada@main-job.example
GRACE=grace@main-job.example

psql=(psql -X -q -A -t -v ON_ERROR_STOP=1 -v VERBOSITY=verbose)
superuser() { PGOPTIONS='-c client_min_messages=warning' "${psql[@]}" "$DATABASE_URL" "$@"; }
app() { "${psql[@]}" "$APP_DATABASE_URL" "$@"; }

STEP=0
step() { STEP=$((STEP + 1)); printf '\n%2d. %s\n' "$STEP" "$1"; }
show() { printf '      %-46s -> %s\n' "$1" "$2"; }
die() { printf 'main job: %s\n' "$*" >&2; exit 1; }

# show_answer TITLE EXPECTED: prints what the server answers to the SQL on standard input; it must be that.
show_answer() {
    local answer
    answer=$(app -v ada="$ada_token" -v grace="$grace_token" -v ada_id="$ada_id") || die "$1: failed"
    show "$1" "${answer//$'\n'/, }"
    [ "$answer" = "$2" ] || die "$1: expected $2"
}

# show_refusal TITLE 'SQLSTATE CODE': the SQL on standard input must end in exactly this refusal. What it answers before
# that is printed too, and must be a row count of zero.
show_refusal() {
    local output error detail hint before
    if output=$(app -v ada="$ada_token" -v grace="$grace_token" -v ada_id="$ada_id" -v forged="${forged-}" 2>&1); then
        die "$1: NOT refused, the server answered: $output"
    fi
    error=$(sed -n 's/^.*\(ERROR\|FATAL\):  //p' <<<"$output" | head -n 1)
    detail=$(sed -n 's/^DETAIL:  //p' <<<"$output" | head -n 1)
    hint=$(sed -n 's/^HINT:  \(it [^;]*\);.*/ (\1)/p' <<<"$output" | head -n 1)
    before=$(grep -x '[0-9]* notes seen' <<<"$output" || true)
    show "$1" "${before:+$before, }${error%%: *} ${detail:+$detail: }${error#*: }$hint"
    [ "${error%%: *} $detail" = "$2" ] || die "$1: expected the refusal $2"
    [ "${before:-0 notes seen}" = '0 notes seen' ] || die "$1: rows were seen"
}

# forge KIND TOKEN JWKS: a token made without the private key.
forge() {
    python3 - "$@" <<'END'
import base64, hashlib, hmac, json, sys
kind, token, jwks = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
encode = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
decode = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
header, payload, signature = token.split(".")
head = json.loads(decode(header))
if kind == "none":
    print(encode(json.dumps({**head, "alg": "none"}).encode()) + "." + payload + ".")
elif kind == "edited":
    claims = {**json.loads(decode(payload)), "role": "service_role"}
    print(header + "." + encode(json.dumps(claims).encode()) + "." + signature)
else:
    key = next(key for key in jwks["keys"] if key["kid"] == head["kid"])
    secrets = {"hs256-jwk": json.dumps(key, separators=(",", ":")).encode()}
    if key["kty"] == "EC":
        point = b"\x04" + decode(key["x"]) + decode(key["y"])
        der = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + point
    else:
        point = decode(key["x"])
        der = bytes.fromhex("302a300506032b6570032100") + point
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[i:i + 64] for i in range(0, len(text), 64))
    secrets["hs256-pem"] = f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n".encode()
    secrets["hs256-point"] = point
    signed = encode(json.dumps({**head, "alg": "HS256"}).encode()) + "." + payload
    print(signed + "." + encode(hmac.new(secrets[kind], signed.encode(), hashlib.sha256).digest()))
END
}

step "The app brings a table with row-level security: using (auth.uid() = owner_id)"
superuser -f "$here/main-job.sql"
show "policy on notes" "$(superuser -c "select qual from pg_policies where tablename = 'notes'")"
show "the app's login" "$(app -c "select session_user || ', may be: ' || string_agg(r.rolname, ' or ' order by r.rolname)
    from pg_roles r where pg_has_role(session_user, r.oid, 'member') and r.rolname <> session_user")"
# One of the forged tokens below: it lives for one second.
brief_key=$(superuser -c "select auth.create_key('anon', interval '1 second') ->> 'key'")

# mailed_code ADDRESS: the code of the newest mail to it, once it has arrived.
mailed_code() {
    python3 - "$INBOX_URL" "$1" <<'END'
import json, re, sys, time, urllib.request
inbox, address = sys.argv[1:]
read = lambda path: json.load(urllib.request.urlopen(inbox + path))
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    for mail in read("/api/messages"):
        if address in json.dumps(mail["to"]):
            print(re.search(r"\b\d{6}\b", read(f"/api/messages/{mail['id']}")["text"]).group())
            sys.exit()
    time.sleep(0.1)
sys.exit(f"no mail to {address}")
END
}

step "Two people sign up, over the app's login; the addresses have to be confirmed"
superuser -c "select from unnest(array['$ADA', '$GRACE']) as address, auth.guard_reset(address)"
sign_up() {
    app -v email="$1" -v password="$PASSWORD" <<'END'
select s ->> 'status' from auth.sign_up(:'email', :'password') as s;
END
}
for address in "$ADA" "$GRACE"; do
    status=$(sign_up "$address") || die 'no sign-up'
    show "auth.sign_up('$address', ...)" "$status"
    [ "$status" = confirmation_sent ] || die 'no confirmation was asked for'
done
ada_token='' grace_token='' ada_id=''
show_refusal 'she signs in before that' '55000 email_not_confirmed' <<<"select auth.sign_in('$ADA', '$PASSWORD');"

step "The mails have left the database with the sign-ups: each confirms by the code in it"
confirm() {
    app -v email="$1" -v code="$2" -F ' ' <<'END'
select s ->> 'access_token', s ->> 'refresh_token', s -> 'user' ->> 'id', s ->> 'status', s -> 'user' ->> 'email'
from auth.verify_otp(:'email', :'code') as s;
END
}
ada_code=$(mailed_code "$ADA") || die 'no mail'
grace_code=$(mailed_code "$GRACE") || die 'no mail'
read -r ada_token ada_refresh ada_id status email < <(confirm "$ADA" "$ada_code") || die 'not confirmed'
show "auth.verify_otp('$ADA', '$ada_code')" "$status, $email, $ada_id"
read -r grace_token _ grace_id status email < <(confirm "$GRACE" "$grace_code") || die 'not confirmed'
show "auth.verify_otp('$GRACE', '$grace_code')" "$status, $email, $grace_id"
show_refusal 'the same code once more' '28000 otp_expired' <<<"select auth.verify_otp('$ADA', '$ada_code');"

step "Each adds notes; nobody says whose they are, the column's default asks auth.uid()"
show_answer 'Ada adds two' "2" <<'END'
begin;
select auth.authenticate(:'ada') is not null \g /dev/null
with added as (insert into notes (body) values ('Ada one'), ('Ada two') returning 1) select count(*) from added;
commit;
END
show_answer 'Grace adds one' "1" <<'END'
begin;
select auth.authenticate(:'grace') is not null \g /dev/null
with added as (insert into notes (body) values ('Grace one') returning 1) select count(*) from added;
commit;
END

step "Each sees only their own: select body from notes"
show_answer 'Ada' $'Ada one\nAda two' <<'END'
begin;
select auth.authenticate(:'ada') is not null \g /dev/null
select body from notes order by id;
commit;
END
show_answer 'Grace' 'Grace one' <<'END'
begin;
select auth.authenticate(:'grace') is not null \g /dev/null
select body from notes order by id;
commit;
END
show_answer 'nobody in particular: auth.authenticate(null)' '0 notes seen' <<'END'
begin;
select auth.authenticate(null) is not null \g /dev/null
select count(*) || ' notes seen' from notes;
commit;
END
show_refusal 'Grace writes a note in the name of Ada' '42501 ' <<'END'
begin;
select auth.authenticate(:'grace') is not null \g /dev/null
insert into notes (owner_id, body) values (:'ada_id', 'not by Ada');
END

step "Forged tokens, as carried by auth.token"
jwks=$(app -c 'select auth.jwks()')
for kind in hs256-jwk hs256-pem hs256-point none edited; do
    forged=$(forge "$kind" "$ada_token" "$jwks")
    case $kind in
        hs256-*) title="HS256 keyed with our public key (${kind#hs256-})" ;;
        none) title='alg none' ;;
        edited) title='role edited to service_role' ;;
    esac
    show_refusal "$title" '28000 bad_jwt' <<<"begin; select auth.authenticate(:'forged');"
done
forged=$ada_refresh
show_refusal "Ada's refresh token as a bearer" '28000 bad_jwt' <<<"begin; select auth.authenticate(:'forged');"
forged=$brief_key
show_refusal 'a key that lived for one second' '28000 session_expired' \
    <<<"select pg_sleep(1.1) \g /dev/null
begin; select auth.authenticate(:'forged');"
show_refusal 'a good token, outside a transaction' '25P01 no_transaction' <<<"select auth.authenticate(:'ada');"

step "Settings that any SQL client can set: nobody becomes Ada by one of them"
forged=$(forge edited "$ada_token" "$jwks")
attempt="select count(*) || ' notes seen' from notes;
select auth.require_uid();"
as_anyone="begin; set local role authenticated;"
show_refusal 'set auth.token, her id'           '28000 bad_jwt' <<<"$as_anyone set local auth.token = :'ada_id'; $attempt"
show_refusal 'set_config(auth.token, forged)'   '28000 bad_jwt' <<<"$as_anyone select set_config('auth.token', :'forged', true) \g /dev/null
$attempt"
show_refusal 'set app.user_id'                  '28000 no_authorization' <<<"$as_anyone set local app.user_id = :'ada_id'; $attempt"
show_refusal 'set request.jwt.claims'           '28000 no_authorization' <<<"$as_anyone
select set_config('request.jwt.claims', json_build_object('sub', :'ada_id', 'role', 'authenticated')::text, true) \g /dev/null
$attempt"
show_refusal 'set request.headers, forged bearer' '28000 bad_jwt' <<<"$as_anyone
select set_config('request.headers', json_build_object('authorization', 'Bearer ' || :'forged')::text, true) \g /dev/null
$attempt"
show_refusal "her own good token, left by another transaction" '28000 no_authorization' <<<"set auth.token = :'ada'; $as_anyone $attempt"

claims="{\\\"sub\\\":\\\"$ada_id\\\",\\\"role\\\":\\\"authenticated\\\"}"
for setting in "auth.token=$ada_token" "app.user_id=$ada_id" "request.jwt.claims=$claims" \
    "request.headers={\\\"authorization\\\":\\\"Bearer\\ $ada_token\\\"}"; do
    PGOPTIONS="-c $setting" show_refusal "PGOPTIONS -c ${setting%%=*}" '28000 no_authorization' <<<"$as_anyone $attempt"
done

restore_login() {
    app -c 'alter role current_user reset auth.token' -c 'alter role current_user reset request.jwt.claims' \
        -c 'alter role current_user reset request.headers'
}
trap restore_login EXIT
for setting in auth.token request.jwt.claims request.headers; do
    case $setting in
        auth.token) value=$ada_token ;;
        request.jwt.claims) value="{\"sub\":\"$ada_id\"}" ;;
        request.headers) value="{\"authorization\":\"Bearer $ada_token\"}" ;;
    esac
    app -v value="$value" <<<"alter role current_user set $setting = :'value';"
    show_refusal "alter role ... set $setting" '28000 no_authorization' <<<"$as_anyone $attempt"
    restore_login
done
trap - EXIT
show_refusal 'alter role ... set app.user_id' '42501 ' <<<"alter role current_user set app.user_id = :'ada_id';"

step "Another role, another auth"
show_refusal 'set role service_role' '42501 ' <<<"set role service_role;"
show_refusal 'Ada, then set role service_role' '42501 ' \
    <<<"begin; select auth.authenticate(:'ada') is not null \g /dev/null
set local role service_role;"
show_refusal 'create or replace function auth.uid()' '42501 ' \
    <<<"create or replace function auth.uid() returns uuid language sql as 'select null::uuid';"
show_refusal 'create schema auth' '42501 ' <<<"create schema auth;"
show_refusal 'select encrypted_password from auth.users' '42501 ' <<<"select encrypted_password from auth.users;"
show_answer 'a temporary auth in front of the path, as Grace' 'Grace one' <<END
begin;
select auth.authenticate(:'grace') is not null \\g /dev/null
create function pg_temp.uid() returns uuid language sql as 'select ''$ada_id''::uuid';
create temporary table users as select '$ada_id'::uuid as id;
create temporary table sessions as select '$ada_id'::uuid as user_id;
set local search_path = pg_temp, auth, public;
select body from public.notes order by id;
rollback;
END

step "A transaction of Ada's is open; she signs out on another connection; its next statement is refused"
output=$(
    # psql's \! runs to its end before the next line: the order of the two connections is certain.
    export SIGN_OUT="begin; select auth.authenticate('$ada_token'); select auth.sign_out(); commit;"
    app -v ada="$ada_token" 2>&1 <<'END' || true
begin;
select auth.authenticate(:'ada') is not null \g /dev/null
select count(*) || ' notes seen' from notes;
\! printf '%s' "$SIGN_OUT" | psql -X -q -A -t -v ON_ERROR_STOP=1 "$APP_DATABASE_URL" >/dev/null && echo 'signed out'
select count(*) || ' notes seen' from notes;
END
)
expected='^2 notes seen
signed out
(psql:[^ ]* )?ERROR:  28000: session does not exist or was ended
DETAIL:  session_not_found'
[[ $output =~ $expected ]] || die "signing out: $output"
show 'before' "$(sed -n 1p <<<"$output")"
show 'elsewhere' "$(sed -n 2p <<<"$output")"
show 'the next statement' "$(sed -n 's/^.*ERROR:  \(28000\): /\1 session_not_found: /p' <<<"$output")"
forged=$ada_refresh
show_refusal 'her refresh token' '28000 session_not_found' <<<"select auth.refresh(:'forged');"

step "Ada again, over HTTP, with supabase-js as it comes from npm"
superuser -c "select from auth.guard_reset('$ADA')"
AUTH_URL=$AUTH_URL ANON_KEY=$ANON_KEY "$AUTH_NODE" "$here/supabase-sign-in.mjs" "$ADA" "$PASSWORD" || die 'supabase-js'

step "A stranger guesses Grace's password, in transactions that roll back"
superuser -c "select from auth.guard_reset('$GRACE')"
for guess in 'letmein1' 'password1' 'qwertyuiop' 'iloveyou1' 'football1'; do
    show_refusal "$guess" '28P01 invalid_credentials' <<<"begin; select auth.sign_in('$GRACE', '$guess'); rollback;"
done
show_refusal 'the right one, from another connection' '53400 account_locked' \
    <<<"select auth.sign_in('$GRACE', '$PASSWORD');"
failures=$(superuser -c "select sum(count) from auth.audit_log where event_type = 'login_failure'
    and code = 'invalid_credentials' and event_data ->> 'subject' = '$GRACE'
    and created_at > (select max(created_at) from auth.audit_log where event_type = 'guard_reset')")
show 'guesses in the audit' "$failures"
[ "$failures" = 5 ] || die 'the audit does not hold the five guesses'
show 'an administrator ends the lock' "$(superuser -c "select auth.guard_reset('$GRACE') || ' counter forgotten'")"

superuser -c "delete from auth.api_keys where role = 'anon' and expires_at < clock_timestamp()"

cat <<END

    All of that came from the server. Ada and Grace are still there; to go on as Ada:

. .dev/env && psql "\$APP_DATABASE_URL" <<'SQL'
select auth.sign_in('$ADA', '$PASSWORD') ->> 'access_token' as token \\gset
begin;
select auth.authenticate(:'token') ->> 'email' as i_am;
insert into notes (body) values ('written ' || clock_timestamp());
select id, body from notes;
commit;
SQL

    Every function is explained by \\df+ auth.* and in docs/.
END
