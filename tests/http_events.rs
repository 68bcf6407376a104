//! GET /v1/events: what a stream says, to whom, how long, and how many there may be.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use auth_harness::{Cluster, Database, Sidecar, claims, json, sign_up, wait_until};
use serde_json::{Value, json};

use crate::guard::RIGHT;
use crate::otp::mailing;
use crate::refresh::configure;

const LIMIT: Duration = Duration::from_secs(60);

struct Stream(BufReader<TcpStream>);

impl Stream {
    /// The status, and the stream behind it.
    fn open(sidecar: &Sidecar, path: &str, token: &str) -> (u16, String, Stream) {
        let mut socket = TcpStream::connect(("127.0.0.1", sidecar.port())).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n").unwrap();
        let mut stream = Stream(BufReader::new(socket));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(stream.0.read_line(&mut head).unwrap() > 0, "{head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, stream)
    }

    #[track_caller]
    fn of(sidecar: &Sidecar, token: &str) -> Stream {
        let (status, head, mut stream) = Stream::open(sidecar, "/v1/events", token);
        assert_eq!(status, 200, "{head}");
        assert_eq!(stream.line().as_deref(), Some(": listening"));
        stream
    }

    /// The next line with something in it; none at the end. Lengths of chunks are left out.
    fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 || line == "0\r\n" {
                return None;
            }
            if ["event: ", "data: ", ": "].iter().any(|begin| line.starts_with(begin)) {
                return Some(line.trim_end().to_owned());
            }
        }
    }

    /// The next event with its data.
    fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let line = self.line()?;
            if let Some(name) = line.strip_prefix("event: ") {
                let data = self.line().unwrap();
                return Some((name.to_owned(), serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap()));
            }
        }
    }

    #[track_caller]
    fn hears(&mut self, event: &str, user_id: &uuid::Uuid) {
        let data = json!({"event": event, "user_id": user_id.to_string()});
        assert_eq!(self.event(), Some((event.to_owned(), data)));
    }
}

fn stage() -> Database {
    mailing(Cluster::shared(), json!({"notify_events": true}))
}

/// F162: the four events in order, each of the caller's own account only, with ids and nothing else; what is rolled back is said
/// to nobody, and what others put on the channel is not passed on unless it is one of the four.
#[test]
fn a_stream_says_what_happens_to_its_user() {
    let database = stage();
    let sidecar = Sidecar::start(&database, &[]);
    let mut app = database.app();
    let (ada, eve) = (sign_up(&mut app, "ada@example.org", RIGHT), sign_up(&mut app, "eve@example.org", RIGHT));
    let mut of_ada = Stream::of(&sidecar, &ada.access_token);
    let mut of_eve = Stream::of(&sidecar, &eve.access_token);

    let mut transaction = app.transaction().unwrap();
    json(&mut transaction, "select auth.sign_in('ada@example.org', $1)", &[&RIGHT]);
    transaction.rollback().unwrap();
    for word in ["", "garbage", "{}", "{\"event\": \"SIGNED_OUT\"}"] {
        app.execute("select pg_notify('auth_events', $1)", &[&word]).unwrap();
    }
    let strange = json!({"event": "ADMIN\ndata: x", "user_id": ada.user_id.to_string()}).to_string();
    app.execute("select pg_notify('auth_events', $1)", &[&strange]).unwrap();

    let credentials = json!({"email": "ada@example.org", "password": RIGHT});
    let other = sidecar.post("/token?grant_type=password").json(&credentials).send().json();
    let other_token = other["access_token"].as_str().unwrap();
    sidecar.post("/token?grant_type=refresh_token").json(&json!({"refresh_token": other["refresh_token"]})).send();
    sidecar.put("/user").bearer(&ada.access_token).json(&json!({"data": {"secret": "s3cr3t"}})).send();
    assert_eq!(sidecar.post("/logout?scope=others").bearer(&ada.access_token).send().status, 204);
    for event in ["SIGNED_IN", "TOKEN_REFRESHED", "USER_UPDATED", "SIGNED_OUT"] {
        of_ada.hears(event, &ada.user_id);
    }
    sidecar.put("/user").bearer(&eve.access_token).json(&json!({"data": {"a": 1}})).send();
    of_eve.hears("USER_UPDATED", &eve.user_id);
    assert!(!other_token.is_empty() && !sidecar.log().contains("s3cr3t") && !sidecar.log().contains(&ada.access_token));
}

/// F162: without a good token there is no stream; it ends with its session, with a ban and with its token, without a request of
/// the client, and when the sidecar is told to stop.
#[test]
fn a_stream_ends_with_its_session() {
    let database = stage();
    let mut sidecar = Sidecar::start(&database, &[("AUTH_EVENTS__HEARTBEAT_SECONDS", "1")]);
    let mut app = database.app();
    let ada = sign_up(&mut app, "ada@example.org", RIGHT);
    let key = json(&mut database.admin(), "select auth.create_key('anon')", &[]);
    for token in ["", "garbage", key["key"].as_str().unwrap()] {
        let (status, head, _) = Stream::open(&sidecar, "/v1/events", token);
        assert!([401, 403].contains(&status), "{head}");
    }
    let mut stream = Stream::of(&sidecar, &ada.access_token);
    assert_eq!(stream.line().as_deref(), Some(": still here"));
    assert_eq!(sidecar.post("/logout").bearer(&ada.access_token).send().status, 204);
    stream.hears("SIGNED_OUT", &ada.user_id);
    assert_eq!(stream.event(), None, "over with the session");
    assert_eq!(Stream::open(&sidecar, "/v1/events", &ada.access_token).0, 403);

    // Nobody says so, and the next heartbeat sees it: a ban by hand, and the token's own end.
    let mut superuser = database.superuser();
    let ada = sign_up(&mut app, "b@example.org", RIGHT);
    let mut stream = Stream::of(&sidecar, &ada.access_token);
    superuser.execute("update auth.users set banned_until = 'infinity' where id = $1", &[&ada.user_id]).unwrap();
    assert_eq!(stream.event(), None, "banned");
    configure(&database, json!({"access_token_ttl": 10}));
    let carol = sign_up(&mut app, "carol@example.org", RIGHT);
    let end = claims(&carol.access_token)["exp"].as_i64().unwrap();
    let mut stream = Stream::of(&sidecar, &carol.access_token);
    assert_eq!(stream.event(), None, "the token has ended");
    let now: i64 = superuser.query_one("select extract(epoch from clock_timestamp())::bigint", &[]).unwrap().get(0);
    assert!(now >= end, "and not before");

    configure(&database, json!({"access_token_ttl": 900}));
    let dave = sign_up(&mut app, "dave@example.org", RIGHT);
    let mut stream = Stream::of(&sidecar, &dave.access_token);
    // The connection that listens is lost: what is said now is not heard, so the stream ends, and a new one works.
    let lost = "select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'auth-events' and datname = current_database()";
    superuser.execute(lost, &[]).unwrap();
    assert_eq!(stream.event(), None);
    wait_until("another stream", || Stream::open(&sidecar, "/events", &dave.access_token).0 == 200);
    let mut stream = Stream::of(&sidecar, &dave.access_token);
    sidecar.terminate();
    assert_eq!(stream.event(), None);
    wait_until("the sidecar to end", || sidecar.exit_code().is_some());
    assert_eq!(sidecar.exit_code(), Some(0), "{}", sidecar.log());
}

/// F162: streams are bounded, in all and for one user, and a place is free again when its client is gone; where nothing is
/// announced there are none.
#[test]
fn streams_are_few_and_only_where_events_are() {
    let database = stage();
    let sidecar = Sidecar::start(&database, &[("AUTH_EVENTS__MAX_STREAMS", "9")]);
    let mut app = database.app();
    let people: Vec<_> = (0..2).map(|n| sign_up(&mut app, &format!("user{n}@example.org"), RIGHT)).collect();
    let mut streams: Vec<Stream> = (0..8).map(|_| Stream::of(&sidecar, &people[0].access_token)).collect();
    let status = |person: usize| Stream::open(&sidecar, "/v1/events", &people[person].access_token);
    assert_eq!(status(0).0, 429, "eight of one");
    let last = Stream::of(&sidecar, &people[1].access_token);
    assert_eq!(status(1).0, 429, "nine in all");
    drop(last);
    wait_until("the place to be free", || status(1).0 == 200);
    streams.clear();
    wait_until("all places to be free", || status(0).0 == 200);
    // Other requests have their connections, however many streams there are.
    assert_eq!(sidecar.get("/user").bearer(&people[0].access_token).send().status, 200);

    configure(&database, json!({"notify_events": false}));
    let off = sidecar.get("/v1/events").bearer(&people[0].access_token).send();
    assert_eq!((off.status, off.code()), (422, "events_disabled"));
    let none = Sidecar::start(&database, &[("AUTH_EVENTS__MAX_STREAMS", "0")]);
    assert_eq!(none.get("/events").bearer(&people[0].access_token).send().code(), "events_disabled");
    let listening =
        "select count(*) from pg_stat_activity where application_name = 'auth-events' and datname = current_database()";
    wait_until("one connection that listens", || {
        database.superuser().query_one(listening, &[]).unwrap().get::<_, i64>(0) == 1
    });
}
