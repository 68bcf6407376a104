//! What anybody may know of a person, and their password must not be made of.

use auth_core::email::Email;
use pgrx::JsonB;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::platform::backend::to_pg;
use crate::platform::error::Result;
use crate::platform::query::{Query, Type};

/// Members of the metadata that say what somebody is called.
const NAMES: [&str; 10] = [
    "username",
    "user_name",
    "preferred_username",
    "nickname",
    "name",
    "full_name",
    "display_name",
    "first_name",
    "last_name",
    "given_name",
];

#[derive(Default)]
pub struct Person(Vec<String>);

impl Person {
    /// Of whom nothing is known yet; `impersonal` asks again once it is.
    pub fn unknown() -> Person {
        Person::default()
    }

    /// Whose account it is.
    pub fn of(user_id: Uuid) -> Result<Person> {
        static KNOWN: Query = Query::write(
            "select u.email, u.username, u.raw_user_meta_data from auth.users as u where u.id = $1",
            &[Type::UUIDOID],
        );
        let person = KNOWN.first(&[to_pg(user_id).into()], |row| {
            let email: Option<String> = row.optional(1)?;
            let mut person = Person::default().with_address(email.as_deref().unwrap_or_default());
            person.0.extend(row.optional::<String>(2)?);
            Ok(match row.optional::<JsonB>(3)? {
                Some(JsonB(Value::Object(metadata))) => person.with_metadata(&metadata),
                _ => person,
            })
        })?;
        Ok(person.unwrap_or_default())
    }

    pub fn with_email(self, email: Option<&Email>) -> Person {
        match email {
            Some(email) => self.with_address(email.address()),
            None => self,
        }
    }

    /// The part before the at sign: the domain is half the world's.
    pub fn with_address(mut self, address: &str) -> Person {
        self.0.push(address.rsplit_once('@').map_or("", |(local, _)| local).to_string());
        self
    }

    pub fn with_metadata(mut self, metadata: &Map<String, Value>) -> Person {
        self.0.extend(NAMES.iter().filter_map(|name| metadata.get(*name)?.as_str().map(str::to_string)));
        self
    }

    /// With what the site is called: its host without the last label, which is half the world's too.
    pub fn known_at(&self, host: &str) -> Vec<String> {
        let site = host.rsplit_once('.').map_or(host, |(site, _)| site);
        self.0.iter().cloned().chain([site.to_string()]).collect()
    }
}
