//! Auth state events for streams: one connection listens for all of them, and each gets what is about its own user.
//!
//! An event is a reason to look again and proves nothing: whoever has a login to the database may say one. Streams are
//! bounded in all and for each user, and all of them end when the connection is lost, since what is said then is not heard.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::config::Config;
use crate::error::Error;
use crate::listen::{self, Heard};

/// Streams of one user at once: some tabs, and no flood.
const MOST_OF_ONE: usize = 8;
/// Events that a slow stream may be behind before it is ended.
const BACKLOG: usize = 256;
/// How long a stream waits for the connection that listens.
const READY_WITHIN: Duration = Duration::from_secs(3);
/// What clients know; anything else that is said is nobody's.
const KNOWN: [&str; 4] = ["SIGNED_IN", "SIGNED_OUT", "TOKEN_REFRESHED", "USER_UPDATED"];

#[derive(Clone, Copy)]
pub enum Said {
    Event {
        name: &'static str,
        user_id: Uuid,
    },
    /// Something may have been missed: begin anew.
    Gap,
}

#[derive(Clone)]
pub struct Events {
    most: usize,
    said: broadcast::Sender<Said>,
    listening: watch::Receiver<bool>,
    stopped: watch::Receiver<bool>,
    open: Arc<Open>,
}

#[derive(Default)]
struct Open {
    all: AtomicUsize,
    of_one: Mutex<HashMap<Uuid, usize>>,
}

/// A stream that is counted as long as it lives.
pub struct Stream {
    user_id: Uuid,
    said: broadcast::Receiver<Said>,
    stopped: watch::Receiver<bool>,
    open: Arc<Open>,
}

#[derive(Deserialize)]
struct Notification {
    event: String,
    user_id: Option<Uuid>,
}

/// # Errors
/// What is wrong with the settings.
pub fn start(config: &Config, stopped: watch::Receiver<bool>) -> Result<Events, String> {
    let (said, _) = broadcast::channel(BACKLOG);
    let (is_listening, listening) = watch::channel(false);
    let events = Events {
        most: config.events.max_streams,
        said: said.clone(),
        listening,
        stopped: stopped.clone(),
        open: Arc::default(),
    };
    if config.events.max_streams > 0 {
        let ear = Arc::new(move |heard: Heard<'_>| {
            match heard {
                Heard::Listening => drop(is_listening.send_replace(true)),
                // Nobody may be there to hear it.
                Heard::Word(word) => drop(read(word).map(|event| said.send(event))),
                Heard::Lost => {
                    is_listening.send_replace(false);
                    let _ = said.send(Said::Gap);
                }
            };
        });
        listen::start(config, "auth-events", "auth_events", ear, stopped)?;
    }
    Ok(events)
}

/// What was said, if it is one of ours; every role may say anything.
fn read(word: &str) -> Option<Said> {
    let said: Notification = serde_json::from_str(word).ok()?;
    let name = KNOWN.into_iter().find(|known| *known == said.event)?;
    Some(Said::Event { name, user_id: said.user_id? })
}

impl Events {
    /// A place for one more stream of this user.
    ///
    /// # Errors
    /// That there is none, or that nobody listens now.
    pub async fn open(&self, user_id: Uuid) -> Result<Stream, Error> {
        // Heard from here on, before anybody looks at what is now.
        let said = self.said.subscribe();
        let mut listening = self.listening.clone();
        let ready = tokio::time::timeout(READY_WITHIN, listening.wait_for(|is_listening| *is_listening)).await;
        if !ready.is_ok_and(|ready| ready.is_ok()) {
            return Err(Error::unavailable("no connection listens for auth_events"));
        }
        let too_many = || Error::new("over_request_rate_limit", "too many streams are open");
        {
            let mut of_one = self.open.of_one.lock().unwrap_or_else(PoisonError::into_inner);
            let all = self.open.all.load(Ordering::Relaxed);
            let own = of_one.entry(user_id).or_default();
            if *own >= MOST_OF_ONE || all >= self.most {
                if *own == 0 {
                    of_one.remove(&user_id);
                }
                return Err(too_many());
            }
            *own += 1;
            self.open.all.store(all + 1, Ordering::Relaxed);
        }
        Ok(Stream { user_id, said, stopped: self.stopped.clone(), open: self.open.clone() })
    }

    pub fn is_on(&self) -> bool {
        self.most > 0
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut of_one = self.open.of_one.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = of_one.get_mut(&self.user_id) {
            *own -= 1;
            if *own == 0 {
                of_one.remove(&self.user_id);
            }
        }
        self.open.all.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stream {
    /// The next event of its user; none: the stream is over.
    pub async fn next(&mut self) -> Option<&'static str> {
        loop {
            tokio::select! {
                said = self.said.recv() => match said {
                    Ok(Said::Event { name, user_id }) if user_id == self.user_id => return Some(name),
                    Ok(Said::Event { .. }) => {}
                    // Lost, or too far behind: the client begins anew.
                    Ok(Said::Gap) | Err(_) => return None,
                },
                _ = self.stopped.changed() => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_four_words_about_somebody_are_events() {
        let id = "5b3f0f4e-6f4c-4a53-9d3b-0d1f0a3a9c11";
        for word in KNOWN {
            assert!(read(&format!(r#"{{"event": "{word}", "user_id": "{id}"}}"#)).is_some(), "{word}");
        }
        for word in [
            "".to_owned(),
            "[]".to_owned(),
            r#"{"event": "SIGNED_IN"}"#.to_owned(),
            r#"{"event": "SIGNED_IN", "user_id": null}"#.to_owned(),
            r#"{"event": "SIGNED_IN", "user_id": "x"}"#.to_owned(),
            format!(r#"{{"event": "ADMIN\ndata: x", "user_id": "{id}"}}"#),
            format!(r#"{{"event": 1, "user_id": "{id}"}}"#),
        ] {
            assert!(read(&word).is_none(), "{word}");
        }
    }
}
