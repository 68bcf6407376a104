"""Supabase's client for Python, unmodified: the scenarios of accounts.mjs, mails.mjs and sessions.mjs, in short."""

import base64
import json
import os
import re
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from supabase_auth import SyncGoTrueClient
from supabase_auth.errors import AuthApiError, AuthError
from supabase_auth._sync.gotrue_admin_api import SyncGoTrueAdminAPI

API = os.environ["AUTH_URL"] + "/auth/v1"
ANON = os.environ["AUTH_ANON_KEY"]
SERVICE = os.environ["AUTH_SERVICE_KEY"]
PASSWORD = "correct horse battery"
CALLBACK = "http://app.example.org:3000/callback"


def client(key=ANON, **options):
    headers = {"apiKey": key, "Authorization": f"Bearer {key}"}
    return SyncGoTrueClient(url=API, headers=headers, auto_refresh_token=False, **options)


def admin(key=SERVICE):
    return client(key).admin


people = 0


def address():
    global people
    people += 1
    return f"person-{people}@example.org"


def person():
    own, email = client(), address()
    admin().create_user({"email": email, "password": PASSWORD, "email_confirm": True})
    own.sign_in_with_password({"email": email, "password": PASSWORD})
    return own, email


def refused(status, code, call):
    try:
        call()
    except AuthApiError as error:
        assert (error.status, error.code) == (status, code), (error.status, error.code, error.message)
    else:
        raise AssertionError(f"nothing was refused where {code} is expected")


def claims(session):
    body = session.access_token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


seen = set()


def mail(email):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with urllib.request.urlopen(os.environ["AUTH_INBOX"] + "/api/messages") as answer:
            for message in json.load(answer):
                code = re.search(r"^\s*(\d{6})\s*$", message["text"], re.M)
                if email in message["recipients"] and code and message["id"] not in seen:
                    seen.add(message["id"])
                    link = re.search(r"https?:\S+/verify\?\S+", message["text"])
                    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(link.group()).query)) if link else {}
                    return code.group(1), query
        time.sleep(0.05)
    raise AssertionError(f"there is no mail to {email}")


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def press(query):
    """What the button of the page behind a link does; gives where the browser is sent."""
    try:
        urllib.request.build_opener(Stay).open(API + "/verify", urllib.parse.urlencode(query).encode())
    except urllib.error.HTTPError as answer:
        assert answer.code == 303, answer.read()
        return urllib.parse.urlsplit(answer.headers["location"])
    raise AssertionError("no redirect")


def sign_up_and_confirm_by_code():
    own, email = client(), address()
    options = {"data": {"name": "Ada"}, "email_redirect_to": CALLBACK}
    made = own.sign_up({"email": email, "password": PASSWORD, "options": options})
    assert made.session is None and made.user.email == email and made.user.user_metadata["name"] == "Ada"
    refused(400, "email_not_confirmed", lambda: own.sign_in_with_password({"email": email, "password": PASSWORD}))
    code, query = mail(email)
    assert query["redirect_to"] == CALLBACK
    assert own.verify_otp({"email": email, "token": code, "type": "signup"}).user.email_confirmed_at
    refused(403, "otp_expired", lambda: client().verify_otp({"email": email, "token": code, "type": "signup"}))


def the_user_the_claims_refreshing():
    own, email = person()
    session = own.get_session()
    told = claims(session)
    assert (told["email"], told["aal"], told["exp"] - told["iat"]) == (email, "aal1", 3600)
    assert told["amr"][0]["method"] == "password" and told["session_id"]
    assert own.get_user().user.email == email
    assert own.get_claims()["claims"]["session_id"] == told["session_id"]
    fresh = own.refresh_session().session
    assert fresh.refresh_token != session.refresh_token and claims(fresh)["session_id"] == told["session_id"]


def data_and_password_change():
    own, email = person()
    assert own.update_user({"data": {"name": "Ada"}}).user.user_metadata["name"] == "Ada"
    refused(422, "same_password", lambda: own.update_user({"password": PASSWORD}))
    own.update_user({"password": "another horse battery"})
    refused(400, "invalid_credentials", lambda: client().sign_in_with_password({"email": email, "password": PASSWORD}))
    client().sign_in_with_password({"email": email, "password": "another horse battery"})


def an_address_changes_after_both_mails():
    own, email = person()
    wanted = address()
    own.update_user({"email": wanted}, {"email_redirect_to": CALLBACK})
    (code, _), (_, query) = mail(email), mail(wanted)
    own.verify_otp({"email": email, "token": code, "type": "email_change"})
    press(query)
    assert own.get_user().user.email == wanted


def a_link_with_pkce():
    _, email = person()
    own = client(flow_type="pkce")
    own.sign_in_with_otp({"email": email, "options": {"email_redirect_to": CALLBACK}})
    landed = press(mail(email)[1])
    code = dict(urllib.parse.parse_qsl(landed.query))["code"]
    assert own.exchange_code_for_session({"auth_code": code}).user.email == email


def codes_and_resets():
    own, email = client(), address()
    own.sign_in_with_otp({"email": email})
    assert own.verify_otp({"email": email, "token": mail(email)[0], "type": "email"}).session
    _, email = person()
    own.reset_password_for_email(email, {"redirect_to": CALLBACK})
    own.verify_otp({"email": email, "token": mail(email)[0], "type": "recovery"})
    own.update_user({"password": "another horse battery"})
    client().sign_in_with_password({"email": email, "password": "another horse battery"})
    own.reauthenticate()
    assert mail(email)[1] == {}


def a_guest_becomes_somebody():
    own, email = client(), address()
    guest = own.sign_in_anonymously().user
    assert guest.is_anonymous
    own.update_user({"email": email})
    became = own.verify_otp({"email": email, "token": mail(email)[0], "type": "email_change"}).user
    assert (became.id, became.is_anonymous) == (guest.id, False)


def sessions_end():
    own, email = person()
    other = client()
    other.sign_in_with_password({"email": email, "password": PASSWORD})
    own.sign_out({"scope": "others"})
    assert own.get_user().user.email == email
    refused(403, "session_not_found", lambda: other.get_user())
    token = own.get_session().access_token
    own.sign_out()
    refused(403, "session_not_found", lambda: client().get_user(token))


def events_are_told():
    own, email = person()
    events = []
    own.on_auth_state_change(lambda event, _: events.append(event))
    own.refresh_session()
    own.update_user({"data": {"theme": "dark"}})
    own.sign_out()
    own.sign_in_with_password({"email": email, "password": PASSWORD})
    assert events == ["TOKEN_REFRESHED", "USER_UPDATED", "SIGNED_OUT", "SIGNED_IN"], events


def twenty_refreshes_at_once():
    own, _ = person()
    token = own.get_session().refresh_token
    with ThreadPoolExecutor(20) as pool:
        sessions = list(pool.map(lambda _: client().refresh_session(token).session, range(20)))
    assert len({session.refresh_token for session in sessions}) == 1
    for session in sessions:
        client().get_user(session.access_token)


def administration():
    email = address()
    api = admin()
    user = api.create_user({"email": email, "password": PASSWORD, "email_confirm": True}).user
    assert api.get_user_by_id(user.id).user.email == email
    assert user.id in {each.id for each in api.list_users(page=1, per_page=100)}
    assert api.update_user_by_id(user.id, {"user_metadata": {"name": "Ada"}}).user.user_metadata["name"] == "Ada"
    link = api.generate_link({"type": "magiclink", "email": email, "options": {"redirect_to": CALLBACK}})
    assert link.properties.verification_type == "magiclink" and link.properties.action_link.startswith(API)
    client().verify_otp({"token_hash": link.properties.hashed_token, "type": "magiclink"})
    invited = address()
    assert api.invite_user_by_email(invited, {"redirect_to": CALLBACK}).user.invited_at
    mail(invited)
    api.delete_user(user.id)
    refused(404, "user_not_found", lambda: api.get_user_by_id(user.id))
    own, _ = person()
    headers = {"Authorization": f"Bearer {own.get_session().access_token}", "apiKey": ANON}
    stranger = SyncGoTrueAdminAPI(url=API, headers=headers, http_client=own._http_client)
    for call in (stranger.list_users, lambda: stranger.get_user_by_id(user.id), lambda: stranger.delete_user(user.id),
                 lambda: stranger.create_user({"email": address(), "password": PASSWORD})):
        refused(403, "not_admin", call)


def refusals_have_words():
    own, email = person()
    refused(400, "invalid_credentials", lambda: client().sign_in_with_password({"email": email, "password": "wrong"}))
    refused(400, "email_address_invalid", lambda: client().sign_up({"email": "no address", "password": PASSWORD}))
    refused(400, "refresh_token_not_found", lambda: client().refresh_session("nonsense"))
    try:
        client().update_user({"data": {}})
        raise AssertionError("nobody changes nothing")
    except AuthError:
        pass


failed = 0
scenarios = [each for each in list(globals().values()) if callable(each) and getattr(each, "__module__", "") == "__main__"]
helpers = (client, admin, address, person, refused, claims, mail, press, Stay)
for number, scenario in enumerate(each for each in scenarios if each not in helpers):
    try:
        scenario()
        print(f"ok {number + 1} - {scenario.__name__}")
    except Exception as error:
        failed += 1
        print(f"not ok {number + 1} - {scenario.__name__}: {error!r} {getattr(error, 'status', '')} {getattr(error, 'code', '')}")
raise SystemExit(failed > 0)
