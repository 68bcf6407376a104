//! Domains that receive no mail: what the sidecar asks DNS before it asks the database.

use auth_harness::{Cluster, Dns, Sidecar, acting, sign_up};
use serde_json::json;

use crate::guard::RIGHT;
use crate::http_accounts::refused;
use crate::otp::mailing;

/// What DNS says of each domain, and whether somebody with an address there may sign up.
const DOMAINS: [(&str, bool); 7] = [
    ("mx.example", true),
    ("address.example", true),
    ("nothing.example", false),
    ("none.example", false),
    ("null.example", false),
    // The server refuses to say anything of it.
    ("refused.test", true),
    // It is no name that DNS could be asked for; the database says what an address is.
    ("bücher.mx.example", true),
];

fn dns() -> Dns {
    Dns::start(&[
        "--local=/example/",
        "--mx-host=mx.example,mail.mx.example",
        "--mx-host=xn--bcher-kva.mx.example,mail.mx.example",
        "--host-record=address.example,192.0.2.1",
        "--txt-record=nothing.example,it has no address",
        // Preference 0 and the root.
        "--dns-rr=null.example,15,000000",
    ])
}

/// B068: who signs up, asks for a code or changes an address is refused where mail can go nowhere: no such domain, neither MX nor
/// address, or a null MX (RFC 7505). A domain with an address alone receives mail (RFC 5321), and where DNS does not say, nobody is
/// refused. Off by default.
#[test]
fn mail_has_to_go_somewhere() {
    let database = mailing(
        Cluster::shared(),
        json!({"rate_limit_signup": "1000/60", "rate_limit_mail": "1000/60",
        "enable_passkeys": true, "webauthn_rp_id": "app.example.org", "site_url": "https://app.example.org"}),
    );
    let dns = dns();
    let resolvers = format!("[\"{}\"]", dns.address());
    let on = [("AUTH_MAIL__CHECK_DOMAINS", "true"), ("AUTH_MAIL__RESOLVERS", resolvers.as_str())];
    let sidecar = Sidecar::start(&database, &on);
    let ada = sign_up(&mut database.app(), "ada@example.org", RIGHT);
    for (domain, is_taken) in DOMAINS {
        let email = format!("ada@{domain}");
        let asks = [
            sidecar.post("/signup").json(&json!({"email": email, "password": RIGHT})),
            sidecar.post("/otp").json(&json!({"email": email})),
            sidecar.post("/passkeys/sign-up/options").json(&json!({"email": email})),
            sidecar.put("/user").bearer(&ada.access_token).json(&json!({"email": email, "current_password": RIGHT})),
        ];
        for (number, ask) in asks.into_iter().enumerate() {
            let reply = ask.send();
            match is_taken {
                true => assert_eq!(reply.status, 200, "{domain} {number}: {reply:?}"),
                false => refused(&reply, 400, "email_address_invalid"),
            }
        }
    }
    let waiting = acting(&mut database.app(), &ada.access_token, |tx| {
        auth_harness::json(tx, "select auth.get_user() -> 'new_email'", &[])
    });
    assert_eq!(waiting, "ada@bücher.mx.example", "the last that was not refused");
    assert!(sidecar.log().contains("mail.check_domains"), "that DNS said nothing is told");

    let off = Sidecar::start(&database, &[("AUTH_MAIL__RESOLVERS", resolvers.as_str())]);
    assert_eq!(off.post("/signup").json(&json!({"email": "bob@none.example", "password": RIGHT})).send().status, 200);
}

/// B068: without an answer nobody is refused, and the request waits no longer than it has to.
#[test]
fn silent_dns_refuses_nobody() {
    let database = mailing(Cluster::shared(), json!({}));
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let resolvers = format!("[\"{}\"]", silent.local_addr().unwrap());
    let on = [("AUTH_MAIL__CHECK_DOMAINS", "true"), ("AUTH_MAIL__RESOLVERS", resolvers.as_str())];
    let sidecar = Sidecar::start(&database, &on);
    let reply = sidecar.post("/signup").json(&json!({"email": "ada@none.example", "password": RIGHT})).send();
    assert_eq!(reply.status, 200, "{reply:?}");
}
