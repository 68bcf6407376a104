//! The courier when something breaks: the relay refuses, breaks off or is away, the courier is killed, the database
//! restarts. No mail is lost, and a second one comes only where nobody can know of the first.

use auth_harness::{Cluster, Program, Relay, RelayOptions, Signal, rounds, wait_until};
use serde_json::json;
use uuid::Uuid;

use crate::courier_stage::{Stage, payload_with};

/// How a relay's answer settles a row.
struct Answer {
    script: &'static [&'static str],
    status: &'static str,
    attempts: i32,
    /// Mails that the relay has in the end.
    taken: usize,
    /// In the error of the row; empty: there is none.
    error: &'static str,
}

/// What the relay says decides: for now, for ever, or unknown. A mail that comes twice is the same mail.
#[test]
fn an_answer_is_for_now_or_for_ever() {
    let answers = [
        // The first, because only a new connection is closed at once.
        Answer { script: &["gone"], status: "sent", attempts: 2, taken: 1, error: "" },
        Answer { script: &["accept"], status: "sent", attempts: 1, taken: 1, error: "" },
        Answer { script: &["defer"], status: "sent", attempts: 2, taken: 1, error: "" },
        Answer { script: &["defer-rcpt", "defer"], status: "sent", attempts: 3, taken: 1, error: "" },
        // A sender that is refused is the operator's to mend: mail waits.
        Answer { script: &["refuse-mail"], status: "sent", attempts: 2, taken: 1, error: "" },
        Answer { script: &["refuse-rcpt"], status: "dead", attempts: 1, taken: 0, error: "550 5.1.1" },
        Answer { script: &["refuse"], status: "dead", attempts: 1, taken: 0, error: "550 5.7.1" },
        Answer { script: &["drop-before"], status: "sent", attempts: 2, taken: 1, error: "" },
        // It has the mail, and did not say so.
        Answer { script: &["drop"], status: "sent", attempts: 2, taken: 2, error: "" },
        Answer { script: &["hang"], status: "sent", attempts: 2, taken: 2, error: "" },
        Answer { script: &["hang-before"], status: "sent", attempts: 2, taken: 1, error: "" },
    ];
    let mut stage = Stage::new();
    stage.set("AUTH_SMTP__TIMEOUT_SECONDS", "1");
    let _courier = stage.courier();
    for answer in answers {
        let before = stage.relay.taken().len();
        stage.relay.will(answer.script);
        let id = stage.queue(json!({}));
        let state = stage.wait_for_status(id, answer.status);
        let taken = &stage.relay.taken()[before..];
        let seen = (state.attempts, taken.len());
        assert_eq!(seen, (answer.attempts, answer.taken), "{:?}: {state:?}", answer.script);
        assert!(state.error.contains(answer.error), "{:?}: {state:?}", answer.script);
        assert!(!state.error.contains("tokentokentoken") && !state.error.contains("987654"), "{state:?}");
        let message_id = stage.message_id(id);
        for mail in taken {
            assert_eq!(mail.message_id(), message_id);
            assert!(mail.says("tokentokentoken"));
        }
    }
}

/// XI6: killed at every point between the commit and the settlement. Lost: none. Twice: only where the relay had the
/// mail and the database could not know it, and then with the same Message-ID and the same token.
#[test]
fn a_killed_courier_loses_nothing_and_repeats_only_what_nobody_can_know() {
    let mut stage = Stage::new();
    stage.set("AUTH_SMTP__TIMEOUT_SECONDS", "50");
    stage.pace("1 s", "100 ms");

    // Before the claim: nobody was there when it was committed.
    let before_claim = stage.queue(json!({}));
    let mut courier = stage.courier();
    stage.wait_for_status(before_claim, "sent");

    // Claimed and not sent: the relay listens and does not greet.
    stage.relay.signal(Signal::SIGSTOP);
    let claimed = stage.queue(json!({}));
    wait_until("the claim", || stage.state(claimed).attempts == 1);
    courier.kill9();
    stage.relay.signal(Signal::SIGCONT);
    courier = stage.courier();
    stage.wait_for_status(claimed, "sent");

    // In the middle: the relay has heard everything and taken nothing.
    stage.relay.will(&["hang-before"]);
    let in_the_middle = kill_after_data(&mut stage, &mut courier, 2);
    // The relay has the mail, and the courier was not told.
    stage.relay.will(&["hang"]);
    let unanswered = kill_after_data(&mut stage, &mut courier, 3);

    // The courier was told, and the database was not: somebody holds the row since it was claimed.
    stage.relay.will(&["slow"]);
    let unsettled = stage.queue(json!({}));
    wait_until("the claim", || stage.state(unsettled).attempts == 1);
    let mut holder = stage.database.superuser();
    let mut held = holder.transaction().unwrap();
    held.execute("select from auth.outbox where id = $1 for update", &[&unsettled]).unwrap();
    let settling = "select from pg_stat_activity where wait_event_type = 'Lock' and query like '%settle_outbox%'
        and datname = current_database()";
    wait_until("the settlement to wait", || !stage.superuser.query(settling, &[]).unwrap().is_empty());
    courier.kill9();
    // The server must not settle for the dead: its connection ends before the lock does.
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%settle_outbox%'
        and datname = current_database() and pid <> pg_backend_pid()";
    stage.superuser.query(end, &[]).unwrap();
    drop(held);
    let _courier = stage.courier();
    stage.wait_for_status(unsettled, "sent");

    for (id, mails) in [(before_claim, 1), (claimed, 1), (in_the_middle, 1), (unanswered, 2), (unsettled, 2)] {
        let message_id = stage.message_id(id);
        let all = stage.relay.taken();
        let of_it: Vec<_> = all.iter().filter(|mail| mail.message_id() == message_id).collect();
        assert_eq!(of_it.len(), mails, "{message_id}");
        assert!(of_it.iter().all(|mail| mail.says("tokentokentoken")));
    }
}

/// Kills the courier when the relay has heard the whole mail, and starts another one.
fn kill_after_data(stage: &mut Stage, courier: &mut Program, data: usize) -> Uuid {
    let id = stage.queue(json!({}));
    wait_until("the relay to have heard the mail", || {
        stage.relay.heard().iter().filter(|line| *line == "DATA").count() >= data && stage.relay.idle_script()
    });
    courier.kill9();
    *courier = stage.courier();
    stage.wait_for_status(id, "sent");
    id
}

/// XI6, N02: many mails, a courier that is killed again and again at no chosen moment: each arrives, and a repetition is
/// the same mail.
#[test]
fn many_mails_survive_many_kills() {
    let mut stage = Stage::new();
    stage.pace("1 s", "10 ms");
    stage.set("AUTH_COURIER__CONCURRENCY", "2");
    let count = 40 * rounds(1, 5);
    let ids: Vec<Uuid> = (0..count).map(|_| stage.queue(json!({}))).collect();
    let mut kills = 0;
    let left = "select count(*) from auth.outbox where status <> 'sent'";
    for round in 0.. {
        let mut courier = stage.courier();
        let already = stage.relay.taken().len();
        let goal = already + 1 + round % 7;
        wait_until("some mails", || {
            let none_left = stage.superuser.query_one(left, &[]).unwrap().get::<_, i64>(0) == 0;
            none_left || stage.relay.taken().len() >= goal
        });
        if stage.superuser.query_one(left, &[]).unwrap().get::<_, i64>(0) == 0 {
            break;
        }
        courier.kill9();
        kills += 1;
        assert!(kills < 10 * count, "it comes to an end");
    }
    let mails = stage.relay.taken();
    for id in &ids {
        let message_id = stage.message_id(*id);
        let copies = mails.iter().filter(|mail| mail.message_id() == message_id).count();
        assert!(copies >= 1, "{message_id} is lost");
    }
    assert!(kills > 0 && mails.len() <= count + 2 * kills, "{} mails after {kills} kills", mails.len());
}

/// XI7: the relay is away for an hour, in shortened time. What is still good arrives once, what is not is not sent.
#[test]
fn a_relay_that_was_away_gets_what_is_still_good() {
    let mut stage = Stage::with(Relay::down(RelayOptions::default()));
    stage.pace("60 s", "300 ms");
    let _courier = stage.courier();
    let soon = "select to_char(clock_timestamp() + interval '2 s', 'YYYY-MM-DD\"T\"HH24:MI:SS.USOF:00')";
    let soon: String = stage.superuser.query_one(soon, &[]).unwrap().get(0);
    let good: Vec<Uuid> = (0..3).map(|_| stage.queue(json!({}))).collect();
    let over = stage.queue(json!({"payload": payload_with(json!({"expires_at": soon, "code_expires_at": soon}))}));
    for id in good.iter().chain([&over]) {
        assert!(stage.wait_for_retry(*id).error.contains("onnection"));
    }
    stage.wait_for_status(over, "expired");
    stage.relay.up();
    for id in &good {
        stage.wait_for_status(*id, "sent");
    }
    assert_eq!(stage.relay.taken().len(), good.len());
}

/// SIGTERM: what is being sent is finished and settled; what was not begun is left to its lease.
#[test]
fn a_courier_that_is_told_to_stop_finishes_what_it_sends() {
    let mut stage = Stage::new();
    stage.set("AUTH_COURIER__CONCURRENCY", "1");
    stage.relay.will(&["slow"]);
    let first = stage.queue(json!({}));
    let second = stage.queue(json!({}));
    let mut courier = stage.courier();
    wait_until("the first to be under way", || stage.relay.heard().iter().any(|l| l == "DATA"));
    assert!(courier.stop().success());
    // Which of the two is first is nobody's promise.
    let mut states = [stage.state(first), stage.state(second)];
    states.sort_by_key(|state| state.status.clone());
    let statuses = [states[0].status.as_str(), states[1].status.as_str()];
    assert_eq!(statuses, ["pending", "sent"], "{}", courier.log());
    assert_eq!((states[0].attempts, stage.relay.taken().len()), (1, 1), "it was claimed, and not begun");
}

/// Two couriers share the work: no row is sent twice.
#[test]
fn couriers_do_not_send_what_another_one_has() {
    let mut stage = Stage::new();
    let ids: Vec<Uuid> = (0..60).map(|_| stage.queue(json!({}))).collect();
    let _couriers = [stage.courier(), stage.courier(), stage.courier()];
    for id in &ids {
        stage.wait_for_status(*id, "sent");
    }
    let mut message_ids: Vec<String> = stage.relay.taken().iter().map(|mail| mail.message_id()).collect();
    message_ids.sort();
    message_ids.dedup();
    assert_eq!((message_ids.len(), stage.relay.taken().len()), (60, 60));
}

/// XI8: anybody may say the word, and it means nothing but "look"; the courier is not even told by whom.
#[test]
fn a_forged_notify_is_harmless() {
    let mut stage = Stage::new();
    let courier = stage.courier();
    let mut stranger = stage.database.connect("app");
    for payload in ["", "{\"to\":\"eve@example.org\"}", "x'; drop table auth.outbox; --"] {
        stranger.execute("select pg_notify('auth_outbox', $1)", &[&payload]).unwrap();
    }
    let id = stage.queue(json!({}));
    stage.wait_for_status(id, "sent");
    assert_eq!(stage.relay.taken().len(), 1);
    assert!(!courier.log().contains("eve@"));
}

/// The database goes away and comes back, with the mail of before and of after; LISTEN works again.
#[test]
fn a_courier_outlives_its_database() {
    let cluster = Cluster::builder().no_extension().start();
    cluster.maintain("create role sidecar login");
    let mut stage = Stage::on(cluster.empty_database(), Relay::start());
    let mut courier = stage.courier();
    let before = stage.queue(json!({}));
    stage.wait_for_status(before, "sent");
    cluster.restart();
    stage.superuser = stage.database.superuser();
    let after = stage.queue(json!({}));
    stage.wait_for_status(after, "sent");
    cluster.kill9();
    wait_until("the courier to notice", || courier.log().contains("the outbox cannot be reached"));
    cluster.start_again();
    stage.superuser = stage.database.superuser();
    let last = stage.queue(json!({}));
    stage.wait_for_status(last, "sent");
    assert!(courier.running() && stage.relay.taken().len() == 3);
}

/// A connection to the relay that went bad while it was idle costs nobody a mail, not even an attempt.
#[test]
fn an_idle_connection_that_broke_is_replaced() {
    let mut stage = Stage::new();
    let _courier = stage.courier();
    let first = stage.queue(json!({}));
    stage.wait_for_status(first, "sent");
    stage.relay.go_down();
    stage.relay.up();
    let second = stage.queue(json!({}));
    assert_eq!(stage.wait_for_status(second, "sent").attempts, 1);
}
