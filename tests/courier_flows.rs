//! From a flow in the database to a mail that can be used: the extension, the courier and a relay together.

use auth_harness::{
    Client, Cluster, Database, Program, Relay, Taken, acting, canary, json, sign_in, sign_up, wait_until,
};
use serde_json::{Value, json};

use crate::courier_receiver::Receiver;
use crate::courier_stage::{EXTERNAL_URL, settings, start_courier};

const PASSWORD: &str = "correct horse battery";
const SITE: &str = "https://app.example.org";

struct App {
    client: Client,
    admin: Client,
    relay: Relay,
    settings: Vec<(String, String)>,
    // Dropped last.
    database: Database,
}

impl App {
    fn new(more: Value) -> App {
        let database = Cluster::shared().database().without_limits();
        let relay = Relay::start();
        let mut app = App {
            client: database.app(),
            admin: database.admin(),
            settings: settings(&database.url("sidecar"), &relay),
            relay,
            database,
        };
        app.configure(&json!({"site_url": SITE, "verification_resend_interval": 0, "enable_magic_link": true}));
        app.configure(&more);
        app
    }

    fn configure(&mut self, settings: &Value) {
        self.admin.execute("select auth.configure($1)", &[settings]).unwrap();
    }

    fn courier(&self) -> Program {
        start_courier(&self.settings)
    }

    fn call(&mut self, sql: &str) -> Value {
        json(&mut self.client, sql, &[])
    }

    /// The newest mail to somebody, once there are so many.
    #[track_caller]
    fn mail_to(&self, email: &str, count: usize) -> Taken {
        let of = |relay: &Relay| {
            let mails: Vec<Taken> = relay.taken().into_iter().filter(|mail| mail.to == [email]).collect();
            mails
        };
        wait_until(&format!("mail {count} to {email}"), || of(&self.relay).len() >= count);
        let mails = of(&self.relay);
        assert_eq!(mails.len(), count, "{}", mails.last().map_or("", |mail| &mail.data));
        mails.into_iter().next_back().unwrap()
    }

    fn status(&mut self) -> Value {
        json(&mut self.admin, "select auth.outbox_status()", &[])
    }

    #[track_caller]
    fn wait_for_sent(&mut self, count: u64) {
        wait_until("the rows to be settled", || self.status()["sent"] == count);
    }
}

/// The text of a mail as it is read.
fn text(mail: &Taken) -> String {
    let (_, text) = mail.data.split_once("Content-Type: text/plain").unwrap();
    let (text, _) = text.split_once("Content-Type: text/html").unwrap();
    text.replace("=\r\n", "").replace("=3D", "=")
}

/// The token of the link in a mail.
#[track_caller]
fn token(mail: &Taken) -> String {
    let text = text(mail);
    let start = format!("{EXTERNAL_URL}/verify?token=");
    let (_, rest) = text.split_once(&start).unwrap_or_else(|| panic!("no link: {text}"));
    rest.split(['&', '\r']).next().unwrap().to_owned()
}

/// The code that stands alone on its line.
#[track_caller]
fn code(mail: &Taken) -> String {
    let text = text(mail);
    let alone = |line: &&str| line.len() >= 4 && line.chars().all(|c| c.is_ascii_digit());
    text.lines().map(str::trim).find(alone).unwrap_or_else(|| panic!("no code: {text}")).to_owned()
}

/// N02, F259, F260, B028: every flow's mail arrives, and what it carries works.
#[test]
fn every_flow_mails_something_that_works() {
    let mut app = App::new(json!({"signup_mode": "confirm"}));
    let _courier = app.courier();

    let answer = app.call(&format!("select auth.sign_up('ada@example.org', '{PASSWORD}')"));
    assert_eq!(answer["status"], "confirmation_sent");
    let mail = app.mail_to("ada@example.org", 1);
    assert_eq!(mail.headers("subject"), ["Confirm your e-mail address"]);
    assert!(text(&mail).contains("24 hours") && text(&mail).contains("type=signup"), "{}", text(&mail));
    assert!(text(&mail).contains(&format!("redirect_to={}", SITE.replace(':', "%3A").replace('/', "%2F"))));
    let session = app.call(&format!("select auth.verify_link('{}')", token(&mail)));
    assert_eq!(session["status"], "session");

    // Somebody else tries the same address: its owner is told, and nobody else.
    app.call("select auth.sign_up('ada@example.org', 'another horse battery')");
    assert_eq!(app.mail_to("ada@example.org", 2).headers("subject"), ["You already have an account"]);

    app.call("select auth.send_otp('ada@example.org')");
    let mail = app.mail_to("ada@example.org", 3);
    let session = app.call(&format!("select auth.verify_otp('ada@example.org', '{}')", code(&mail)));
    assert_eq!(session["status"], "session");

    app.call("select auth.send_magic_link('ada@example.org')");
    let mail = app.mail_to("ada@example.org", 4);
    assert_eq!(mail.headers("subject"), ["Your link to sign in"]);
    let session = app.call(&format!("select auth.verify_link('{}')", token(&mail)));
    assert_eq!(session["status"], "session");

    let access_token = session["access_token"].as_str().unwrap().to_owned();
    acting(&mut app.client, &access_token, |transaction| {
        let sql = format!("select auth.update_email('ada@example.net', '{PASSWORD}')");
        assert_eq!(json(transaction, &sql, &[])["status"], "confirmation_sent");
    });
    let (current, new) = (app.mail_to("ada@example.org", 5), app.mail_to("ada@example.net", 1));
    assert_eq!(current.headers("subject"), ["Your e-mail address is about to change"]);
    assert!(text(&current).contains("from ada@example.org to ada@example.net"), "{}", text(&current));
    assert!(text(&new).contains("confirm that ada@example.net"), "{}", text(&new));
    let half = app.call(&format!("select auth.verify_link('{}')", token(&current)));
    assert_eq!(half["status"], "confirmation_sent");
    assert_eq!(app.call(&format!("select auth.verify_link('{}')", token(&new)))["status"], "session");

    app.call("select auth.request_password_reset('ada@example.net')");
    let mail = app.mail_to("ada@example.net", 2);
    assert_eq!(mail.headers("subject"), ["Reset your password"]);
    let changed = app.call(&format!("select auth.reset_password('{}', 'another horse battery')", token(&mail)));
    assert_eq!(changed["status"], "password_changed");
    assert_eq!(app.mail_to("ada@example.net", 3).headers("subject"), ["Your password was changed"]);

    let mut service = app.database.service();
    service.batch_execute("set role service_role").unwrap();
    json(&mut service, "select auth.invite_user('eve@example.org')", &[]);
    let mail = app.mail_to("eve@example.org", 1);
    assert_eq!(mail.headers("subject"), ["You have been invited"]);
    assert_eq!(app.call(&format!("select auth.verify_link('{}')", token(&mail)))["status"], "session");
    assert_eq!(app.status()["dead"], 0);
}

/// N02: a flow that is rolled back mails nobody.
#[test]
fn a_rolled_back_sign_up_mails_nobody() {
    let mut app = App::new(json!({"signup_mode": "confirm"}));
    let _courier = app.courier();
    let mut transaction = app.client.transaction().unwrap();
    transaction.execute("select auth.sign_up('eve@example.org', $1)", &[&PASSWORD]).unwrap();
    transaction.rollback().unwrap();
    app.call(&format!("select auth.sign_up('ada@example.org', '{PASSWORD}')"));
    app.mail_to("ada@example.org", 1);
    assert_eq!(app.relay.taken().len(), 1);
    app.wait_for_sent(1);
}

/// B088: words of `auth.templates` in the language of the request; what a user wrote about himself stays text; XI5.
#[test]
fn a_template_of_the_database_is_used() {
    let mut app = App::new(json!({"signup_mode": "confirm"}));
    let html = "<p>{{ user.user_metadata.name }}: {{ site_url }}/verify-email?token={{ token }}</p>";
    let insert = "insert into auth.templates (name, locale, subject, text_body, html_body)
        values ('confirmation', 'de', 'Hallo {{ user.user_metadata.name }}', '{{ code }}', $1)";
    app.admin.execute(insert, &[&html]).unwrap();
    let _courier = app.courier();
    let name = "{{ token }} <b>Ada</b>\r\nBcc: eve@example.org";
    let data = json!({ "name": name });
    let options = json!({"locale": "de-AT"});
    app.client.execute("select auth.sign_up('ada@example.org', $1, $2, $3)", &[&PASSWORD, &data, &options]).unwrap();
    let mail = app.mail_to("ada@example.org", 1);
    assert_eq!(mail.headers("subject"), ["Hallo {{ token }} <b>Ada</b> Bcc: eve@example.org"]);
    assert_eq!(mail.headers("bcc"), Vec::<String>::new());
    assert!(mail.says("{{ token }} &lt;b&gt;Ada&lt;/b&gt;"), "{}", mail.data);
    assert!(mail.says(&format!("{SITE}/verify-email?token=")), "F050");

    // Another language has the default.
    app.client
        .execute("select auth.sign_up('bob@example.org', $1, '{}', '{\"locale\": \"en\"}')", &[&PASSWORD])
        .unwrap();
    assert_eq!(app.mail_to("bob@example.org", 1).headers("subject"), ["Confirm your e-mail address"]);
}

/// B028: a sign-in from a program that was not seen before is told, with when and from where.
#[test]
fn a_new_sign_in_is_told() {
    let mut app = App::new(json!({}));
    let _courier = app.courier();
    let ada = sign_up(&mut app.client, "ada@example.org", PASSWORD);
    app.database
        .superuser()
        .execute("update auth.users set email_confirmed_at = now() where id = $1", &[&ada.user_id])
        .unwrap();
    let mut sidecar = app.database.sidecar();
    let mut transaction = sidecar.transaction().unwrap();
    let agent = format!("Firefox {}\r\nX: <b>", canary());
    transaction.execute("select auth.set_request_context('198.51.100.7', $1)", &[&agent]).unwrap();
    sign_in(&mut transaction, "ada@example.org", PASSWORD);
    transaction.commit().unwrap();
    let mail = app.mail_to("ada@example.org", 1);
    assert_eq!(mail.headers("subject"), ["New sign-in to your account"]);
    assert!(text(&mail).contains("Network address: 198.51.100.7") && text(&mail).contains("Device: Firefox"));
    assert!(text(&mail).contains(" UTC"), "{}", mail.data);
    assert!(mail.says("X: &lt;b&gt;</p>") && mail.headers("x").is_empty(), "{}", mail.data);
}

/// A restored copy mails nobody until an administrator says that it takes the place of the original.
#[test]
fn a_copy_of_the_database_mails_nobody() {
    let mut app = App::new(json!({"signup_mode": "confirm"}));
    app.call(&format!("select auth.sign_up('ada@example.org', '{PASSWORD}')"));
    app.database.superuser().execute("update auth.outbox set cluster_id = 'another'", &[]).unwrap();
    app.call(&format!("select auth.sign_up('bob@example.org', '{PASSWORD}')"));
    let _courier = app.courier();
    app.mail_to("bob@example.org", 1);
    app.wait_for_sent(1);
    assert_eq!((app.relay.taken().len(), &app.status()["foreign"]), (1, &json!(1)));
    app.admin.execute("select auth.adopt_outbox()", &[]).unwrap();
    app.mail_to("ada@example.org", 1);
}

/// XI6 with the real lease: a courier is killed when the relay has the mail and the database was not told. When the
/// lease is over another one sends the same mail; the token in it is the same, and is spent once.
#[test]
fn a_second_mail_carries_the_same_token() {
    let mut app = App::new(json!({"signup_mode": "confirm"}));
    app.relay.will(&["hang"]);
    app.call(&format!("select auth.sign_up('ada@example.org', '{PASSWORD}')"));
    let mut courier = app.courier();
    let first = app.mail_to("ada@example.org", 1);
    courier.kill9();
    let _courier = app.courier();
    assert_eq!(app.status()["claimed"], 1);
    // A minute, in shortened time.
    app.database.superuser().execute("update auth.outbox set claimed_until = now()", &[]).unwrap();
    let second = app.mail_to("ada@example.org", 2);
    assert_eq!((second.message_id(), token(&second)), (first.message_id(), token(&first)));
    app.wait_for_sent(1);
    let left = "select count(*) from auth.outbox where payload_sealed is not null";
    assert_eq!(app.database.superuser().query_one(left, &[]).unwrap().get::<_, i64>(0), 0, "nothing is kept");
    assert_eq!(app.call(&format!("select auth.verify_link('{}')", token(&first)))["status"], "session");
    assert!(app.client.query("select auth.verify_link($1)", &[&token(&second)]).is_err());
}

/// F264, B077: an event is posted to who asked for it, signed with the secret that was shown once.
#[test]
fn an_event_of_a_flow_is_posted() {
    let receiver = Receiver::start(&[]);
    let mut app = App::new(json!({}));
    app.settings.push(("AUTH_OUTBOUND__ALLOW_PRIVATE".into(), "true".into()));
    let _courier = app.courier();
    let add = format!("select auth.add_webhook('{}', '{{signup}}')", receiver.url());
    let webhook = json(&mut app.admin, &add, &[]);
    let ada = sign_up(&mut app.client, "ada@example.org", PASSWORD);
    app.wait_for_sent(1);
    let calls = receiver.calls();
    assert_eq!(calls.len(), 1);
    calls[0].verify(webhook["secret"].as_str().unwrap());
    let body: Value = serde_json::from_str(&calls[0].body).unwrap();
    assert_eq!((&body["type"], &body["data"]["user_id"]), (&json!("signup"), &json!(ada.user_id.to_string())));
    assert!(!calls[0].body.contains(PASSWORD));
}
