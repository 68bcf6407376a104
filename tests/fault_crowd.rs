//! People who use the database until it dies, and what they were told by then: the model that `faults` compares with.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use auth_harness::{Client, Database, Person, Refusal, ToSql, claims, postgres, refused, try_acting};
use serde_json::Value;
use uuid::Uuid;

pub const PASSWORDS: [&str; 2] = ["correct horse battery", "staple correct horse"];
pub const LIMIT: u32 = 5;

/// The connection is gone: what was asked last is in flight for ever.
struct Broken;

struct Device {
    id: Uuid,
    access_token: String,
    token: String,
    /// The counter of the newest token that arrived, and whether a refresh of it was asked for and not answered.
    step: i64,
    is_refreshing: bool,
    spent: Option<String>,
    /// None: to end it was asked for and not answered.
    is_alive: Option<bool>,
}

struct Human {
    email: String,
    user_id: Uuid,
    password: usize,
    /// A new password was written and its COMMIT not answered.
    is_changing: bool,
    /// A sign-in was asked for and not answered.
    is_entering: bool,
    devices: Vec<Device>,
    /// Wrong guesses that were refused as such, and those without an answer.
    guesses: u32,
    unanswered: u32,
}

/// One client, its connections and its people; no other client touches them.
pub struct Crowd {
    name: String,
    app: Client,
    superuser: Client,
    random: u64,
    people: Vec<Human>,
    victims: Vec<Human>,
    /// A sign-up that was not answered.
    arriving: Option<String>,
}

/// What is left of a crowd when its connections are gone.
pub struct Memory {
    people: Vec<Human>,
    victims: Vec<Human>,
    arriving: Option<String>,
}

impl Crowd {
    pub fn new(database: &Database, name: String, seed: u64, is_careless: bool) -> Crowd {
        let mut app = database.app();
        if is_careless {
            app.batch_execute("set synchronous_commit = off").unwrap();
        }
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Crowd { name, app, superuser: database.superuser(), random, people: vec![], victims: vec![], arriving: None }
    }

    /// Acts until the connection breaks (or the test has failed), and counts what is answered.
    pub fn run(mut self, answered: &AtomicUsize, is_over: &AtomicBool) -> Memory {
        while !is_over.load(Ordering::Relaxed) && self.act().is_ok() {
            answered.fetch_add(1, Ordering::Relaxed);
        }
        Memory { people: self.people, victims: self.victims, arriving: self.arriving }
    }

    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % below as u64) as usize
    }

    fn act(&mut self) -> Result<(), Broken> {
        if self.people.is_empty() || self.people.len() < 6 && self.random(4) == 0 {
            return self.arrive(false);
        }
        if self.victims.is_empty() || self.victims.len() < 4 && self.random(8) == 0 {
            return self.arrive(true);
        }
        if self.random(4) == 0 {
            return self.guess();
        }
        let place = self.random(self.people.len());
        let device = self.random(self.people[place].devices.len().max(1));
        let is_alive = self.people[place].devices.get(device).is_some_and(|device| device.is_alive == Some(true));
        match self.random(12) {
            0..=4 if is_alive => self.refresh(place, device),
            5 if is_alive => self.end(place, device, "select auth.sign_out()"),
            6 if is_alive => self.end(place, device, "select auth.revoke_session($1)"),
            7 if is_alive => self.end(place, device, "select auth.revoke_sessions(true)"),
            8 if is_alive => self.replay(place, device),
            9 => self.change(place),
            _ => self.enter(place),
        }
    }

    fn arrive(&mut self, is_victim: bool) -> Result<(), Broken> {
        let email = format!("{}-{}-{}@example.org", self.name, is_victim, self.people.len() + self.victims.len());
        self.arriving = Some(email.clone());
        let answer = asked(&mut self.app, "select auth.sign_up($1, $2)", &[&email, &PASSWORDS[0]])?.unwrap();
        self.arriving = None;
        let user_id = answer["user"]["id"].as_str().unwrap().parse().unwrap();
        let devices = vec![Device::new(&answer)];
        let human = Human {
            email,
            user_id,
            password: 0,
            is_changing: false,
            is_entering: false,
            devices,
            guesses: 0,
            unanswered: 0,
        };
        if is_victim { &mut self.victims } else { &mut self.people }.push(human);
        Ok(())
    }

    fn enter(&mut self, place: usize) -> Result<(), Broken> {
        let human = &mut self.people[place];
        human.is_entering = true;
        let password = PASSWORDS[human.password];
        let answer = asked(&mut self.app, "select auth.sign_in($1, $2)", &[&human.email, &password])?.unwrap();
        human.is_entering = false;
        human.devices.push(Device::new(&answer));
        Ok(())
    }

    fn guess(&mut self) -> Result<(), Broken> {
        let place = self.random(self.victims.len());
        let victim = &mut self.victims[place];
        victim.unanswered += 1;
        let refusal = asked(&mut self.app, "select auth.sign_in($1, 'a wrong guess')", &[&victim.email])?.unwrap_err();
        match refusal.code.as_str() {
            "invalid_credentials" => {
                victim.unanswered -= 1;
                victim.guesses += 1;
                assert!(victim.guesses <= LIMIT, "{} was looked at too often", victim.email);
            }
            "account_locked" => {
                victim.unanswered -= 1;
                assert!(victim.guesses + victim.unanswered >= LIMIT, "{} was locked too early", victim.email);
            }
            // Nobody was told that it is counted for good.
            other => assert_eq!(other, "worker_unavailable"),
        }
        Ok(())
    }

    fn refresh(&mut self, place: usize, device: usize) -> Result<(), Broken> {
        let device = &mut self.people[place].devices[device];
        device.is_refreshing = true;
        let answer = asked(&mut self.app, "select auth.refresh($1)", &[&device.token])?.unwrap();
        device.is_refreshing = false;
        device.step += 1;
        let old = std::mem::replace(&mut device.token, answer["refresh_token"].as_str().unwrap().to_owned());
        device.spent = Some(old);
        device.access_token = answer["access_token"].as_str().unwrap().to_owned();
        Ok(())
    }

    fn end(&mut self, place: usize, device: usize, call: &str) -> Result<(), Broken> {
        let human = &mut self.people[place];
        let caller =
            if call.contains("$1") { human.devices.iter().position(|d| d.is_alive == Some(true)) } else { None };
        let (token, id) = (human.devices[caller.unwrap_or(device)].access_token.clone(), human.devices[device].id);
        let others = call.contains("revoke_sessions");
        let ends = |place: usize, other: &Device| if others { place != device } else { other.id == id };
        let mark = |human: &mut Human, is_alive: Option<bool>| {
            for (place, other) in human.devices.iter_mut().enumerate() {
                if ends(place, other) && other.is_alive != Some(false) {
                    other.is_alive = is_alive;
                }
            }
        };
        mark(human, None);
        let asked = try_acting(&mut self.app, &token, |transaction| {
            let args: &[&(dyn ToSql + Sync)] = if call.contains("$1") { &[&id] } else { &[] };
            transaction.execute(call, args)
        });
        answer_of(asked)?.unwrap();
        mark(human, Some(false));
        Ok(())
    }

    /// An old token once more: every session of the user is dead as soon as the refusal is there.
    fn replay(&mut self, place: usize, device: usize) -> Result<(), Broken> {
        let human = &mut self.people[place];
        let Some(spent) = human.devices[device].spent.clone() else { return Ok(()) };
        let alive: Vec<usize> = (0..human.devices.len()).filter(|d| human.devices[*d].is_alive == Some(true)).collect();
        alive.iter().for_each(|device| human.devices[*device].is_alive = None);
        let refusal = asked(&mut self.app, "select auth.refresh($1)", &[&spent])?.unwrap_err();
        match refusal.code.as_str() {
            "refresh_token_already_used" => {
                alive.iter().for_each(|device| human.devices[*device].is_alive = Some(false))
            }
            other => assert_eq!(other, "worker_unavailable"),
        }
        Ok(())
    }

    /// A new password, as a function for it will write it. The donors have hashes of both.
    fn change(&mut self, place: usize) -> Result<(), Broken> {
        let human = &mut self.people[place];
        let new = 1 - human.password;
        human.is_changing = true;
        let change = || -> Result<u64, postgres::Error> {
            let mut transaction = self.superuser.transaction()?;
            let changed = transaction.execute(
                "update auth.users set encrypted_password = (select encrypted_password from auth.users where email = $1)
                where id = $2",
                &[&format!("donor{new}@example.org"), &human.user_id],
            )?;
            transaction.commit()?;
            Ok(changed)
        };
        let mut change = change;
        assert_eq!(answer_of(change())?.unwrap(), 1);
        (human.is_changing, human.password) = (false, new);
        Ok(())
    }
}

impl Device {
    fn new(answer: &Value) -> Device {
        let access_token = answer["access_token"].as_str().unwrap().to_owned();
        Device {
            id: claims(&access_token)["session_id"].as_str().unwrap().parse().unwrap(),
            token: answer["refresh_token"].as_str().unwrap().to_owned(),
            access_token,
            step: 0,
            is_refreshing: false,
            spent: None,
            is_alive: Some(true),
        }
    }
}

impl Memory {
    /// Compares with the database after its restart; returns the addresses that exist.
    pub fn check(self, app: &mut Client, superuser: &mut Client) -> Vec<String> {
        if let Some(email) = &self.arriving {
            // Wholly there or not at all.
            let exists: bool = one(superuser, "select exists (select from auth.users where email = $1)", &[email]);
            let answer = call(app, "select auth.sign_in($1, $2)", &[email, &PASSWORDS[0]]);
            assert_eq!(answer.is_ok(), exists, "{email}: half a sign-up");
        }
        self.people.iter().for_each(|human| human.check(app, superuser));
        self.victims.iter().for_each(|victim| victim.check_guesses(app, superuser));
        self.people.into_iter().chain(self.victims).map(|human| human.email).collect()
    }
}

impl Human {
    fn check(&self, app: &mut Client, superuser: &mut Client) {
        let email = &self.email;
        for device in &self.devices {
            let access =
                try_acting(app, &device.access_token, |_| Ok(())).map_err(|error| refused::<()>(Err(error)).code);
            match device.is_alive {
                Some(true) => {
                    assert_eq!(access, Ok(()), "{email}: a session that nobody ended");
                    let step: i64 =
                        one(superuser, "select refresh_token_counter from auth.sessions where id = $1", &[&device.id]);
                    let ahead = step - device.step;
                    assert!(ahead == 0 || ahead == 1 && device.is_refreshing, "{email}: {ahead} steps ahead");
                }
                Some(false) => {
                    assert_eq!(access, Err("session_not_found".into()), "{email}: an ended session");
                    let refusal = call(app, "select auth.refresh($1)", &[&device.token]).expect_err(email);
                    assert_eq!(refusal.code, "session_not_found", "{email}: an ended session");
                }
                None => assert!(access.is_ok() || access == Err("session_not_found".into()), "{email}: {access:?}"),
            }
        }
        let sessions: i64 = one(
            superuser,
            "select count(*) from auth.sessions where user_id = $1 and not id = any ($2)",
            &[&self.user_id, &self.devices.iter().map(|device| device.id).collect::<Vec<_>>()],
        );
        assert!(sessions <= i64::from(self.is_entering), "{email}: {sessions} sessions that nobody opened");
        // The newest tokens last: one that was in flight may be a used one by now, and ends all the others.
        for device in self.devices.iter().filter(|device| device.is_alive == Some(true) && !device.is_refreshing) {
            assert!(call(app, "select auth.refresh($1)", &[&device.token]).is_ok(), "{email}: the newest token");
        }
        let mut enters = |password: usize| {
            call(app, "select auth.sign_in($1, $2)", &[email, &PASSWORDS[password]]).map_err(|refusal| refusal.code)
        };
        let (current, other) = (enters(self.password), enters(1 - self.password));
        let wrong = Err("invalid_credentials".to_owned());
        let [current, other] = [current, other].map(|answer| answer.map(drop));
        if self.is_changing {
            assert!([&current, &other].contains(&&wrong) && current != other, "{email}: {current:?}, {other:?}");
        } else {
            assert_eq!((current, other), (Ok(()), wrong), "{email}: the password that was acknowledged");
        }
    }

    /// So many guesses as were refused are counted still: the rest up to the limit is looked at, and no more.
    fn check_guesses(&self, app: &mut Client, superuser: &mut Client) {
        let email = &self.email;
        let failures: i64 = one(
            superuser,
            "select coalesce(sum(count), 0) from auth.audit_log
            where event_type = 'login_failure' and code = 'invalid_credentials' and event_data ->> 'email' = $1",
            &[email],
        );
        assert!(failures >= i64::from(self.guesses), "{email}: {failures} of {} failures", self.guesses);
        let mut guess = || call(app, "select auth.sign_in($1, 'a wrong guess')", &[email]).expect_err(email).code;
        let mut looked_at = 0;
        loop {
            match guess().as_str() {
                "invalid_credentials" => looked_at += 1,
                other => break assert_eq!(other, "account_locked", "{email}"),
            }
            assert!(self.guesses + looked_at <= LIMIT, "{email}: {} guesses were forgotten", self.guesses);
        }
        assert!(self.guesses + self.unanswered + looked_at >= LIMIT, "{email}: locked too early");
        let right = call(app, "select auth.sign_in($1, $2)", &[email, &PASSWORDS[0]]).expect_err(email);
        assert_eq!(right.code, "account_locked", "{email}: locked for everybody");
    }
}

/// The accounts whose hashes a change of password copies.
pub fn donors(app: &mut Client) -> [Person; 2] {
    [0, 1].map(|number| auth_harness::sign_up(app, &format!("donor{number}@example.org"), PASSWORDS[number]))
}

fn asked(client: &mut Client, sql: &str, args: &[&(dyn ToSql + Sync)]) -> Result<Result<Value, Refusal>, Broken> {
    answer_of(client.query_one(sql, args).map(|row| row.get(0)))
}

/// The answer, the refusal, or that there will be none.
fn answer_of<T>(result: Result<T, postgres::Error>) -> Result<Result<T, Refusal>, Broken> {
    match result {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) if error.as_db_error().is_none_or(|error| error.code().code().starts_with("57P")) => Err(Broken),
        Err(error) => Ok(Err(refused::<()>(Err(error)))),
    }
}

pub fn call(client: &mut Client, sql: &str, args: &[&(dyn ToSql + Sync)]) -> Result<Value, Refusal> {
    client.query_one(sql, args).map(|row| row.get(0)).map_err(|error| refused::<()>(Err(error)))
}

#[track_caller]
pub fn one<T: for<'a> postgres::types::FromSql<'a>>(client: &mut Client, sql: &str, args: &[&(dyn ToSql + Sync)]) -> T {
    client.query_one(sql, args).unwrap().get(0)
}
