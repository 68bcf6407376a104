//! Supabase's own client for JavaScript, unmodified, on Node: the scenarios are in `tests/clients/*.mjs`.

use serde_json::json;

use crate::clients_stage::Stage;

fn stage() -> Stage {
    let callback = "http://app.example.org:3000/callback";
    Stage::new(&json!({"site_url": "http://app.example.org:3000", "redirect_allow_list": [callback],
        "jwt_issuer": "https://auth.example.org/auth/v1"}))
}

/// B100, F268, F161, F194, F269: signing up with `options.data`, confirming by the page of the link and by the code, signing in, claims,
/// refreshing, changing the account, guests, and what is refused, with the words and statuses that the client shows.
#[test]
fn accounts() {
    stage().node("tests/clients/accounts.mjs");
}

/// B100: what goes by mail: links with and without PKCE, codes, resets, a new address with both confirmations, a nonce.
#[test]
fn mails() {
    stage().node("tests/clients/mails.mjs");
}

/// B100, F059, F060: signing in by phone, resending, and what there is not.
#[test]
fn phones() {
    let pace = json!({"site_url": "http://app.example.org:3000", "enable_sms": true, "rate_limit_sms": "1000/3600"});
    Stage::new(&pace).node("tests/clients/phones.mjs");
}

/// B100, F270, XD2: sessions of several devices, the scopes of signing out, the events, and 20 refreshes at once.
#[test]
fn sessions() {
    stage().node("tests/clients/sessions.mjs");
}

/// B100: `auth.admin`, and every one of its routes refused to whoever is not the service.
#[test]
fn administration() {
    stage().node("tests/clients/admin.mjs");
}

/// B100, F126, F127, F129, F130, F132, F133, F134, F136, XD8, XD13, XE17: `auth.mfa` and `auth.admin.mfa`, where policies ask for
/// the second factor and where every sign-in does; codes are made from RFC 6238 in the script itself.
#[test]
fn second_factors() {
    stage().node("tests/clients/mfa.mjs");
}

/// B100: the same with Supabase's client for Python.
#[test]
fn in_python() {
    stage().python("tests/clients/supabase_client.py");
}
