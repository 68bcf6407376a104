//! Lists for administrators: users and what happened, in pages or behind a cursor.

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use auth_core::base64url;

use crate::identity;
use crate::platform::backend::{from_pg, to_pg};
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument};
use crate::platform::query::{Query, Type};

const DEFAULT_PER_PAGE: i64 = 50;
const MOST_PER_PAGE: i64 = 1000;
const MOST_PAGES: i64 = 1_000_000_000;
const LONGEST_FILTER: usize = 200;

/// Which rows of a list.
struct Page {
    limit: i64,
    offset: i64,
}

impl Page {
    fn read(options: &Map<String, Value>) -> Result<Page> {
        let number = |name: &str, default: i64, most: i64| match options.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_i64()
                .filter(|number| (1..=most).contains(number))
                .ok_or_else(|| Error::invalid(format!("{name} is out of range"), format!("from 1 to {most}"))),
        };
        let limit = number("per_page", DEFAULT_PER_PAGE, MOST_PER_PAGE)?;
        Ok(Page { limit, offset: (number("page", 1, MOST_PAGES)? - 1) * limit })
    }
}

fn text<'a>(options: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>> {
    match options.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= LONGEST_FILTER => Ok(Some(text)),
        Some(_) => Err(Error::invalid(
            format!("{name} is no text, or too long"),
            format!("a JSON string of at most {LONGEST_FILTER} bytes"),
        )),
    }
}

/// A LIKE pattern that finds the text itself, wherever it stands.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

/// One list of users in one order. Written out for each, because an order that is a parameter uses no index.
macro_rules! users_by {
    ($order:literal, $past:literal) => {{
        static LIST: Query = Query::read(
            concat!(
                include_str!("list.sql"),
                " and ($4 is null or ",
                $past,
                ") order by ",
                $order,
                " limit $2 offset $3"
            ),
            &[Type::TEXTOID, Type::INT8OID, Type::INT8OID, Type::TIMESTAMPTZOID, Type::UUIDOID],
        );
        &LIST
    }};
}

/// The query for an order, and whether a cursor can go on in it.
fn in_order(sort: &str) -> Result<(&'static Query, bool)> {
    Ok(match sort {
        "created_at" | "created_at desc" => {
            (users_by!("u.created_at desc, u.id desc", "(u.created_at, u.id) < ($4, $5)"), true)
        }
        "created_at asc" => (users_by!("u.created_at, u.id", "(u.created_at, u.id) > ($4, $5)"), true),
        "email" | "email asc" => (users_by!("u.email_key, u.id", "$5 is null"), false),
        "email desc" => (users_by!("u.email_key desc nulls last, u.id desc", "$5 is null"), false),
        "last_sign_in_at" | "last_sign_in_at desc" => {
            (users_by!("u.last_sign_in_at desc nulls last, u.id desc", "$5 is null"), false)
        }
        "last_sign_in_at asc" => (users_by!("u.last_sign_in_at nulls first, u.id", "$5 is null"), false),
        _ => {
            return Err(Error::invalid(
                "unknown order",
                "sort is created_at, email or last_sign_in_at, and asc or desc behind it",
            ));
        }
    })
}

#[pg_extern(sql = false, stable)]
fn admin_list_users(options: JsonArgument) -> Answer<JsonB> {
    identity::require_service()?;
    Ok(list_users(&options::only(options, &["cursor", "filter", "page", "per_page", "sort"])?)?)
}

fn list_users(options: &Map<String, Value>) -> Result<JsonB> {
    static COUNT: Query = Query::read(include_str!("count.sql"), &[Type::TEXTOID]);
    let page = Page::read(options)?;
    let pattern = text(options, "filter")?.filter(|filter| !filter.is_empty()).map(containing);
    let (query, has_cursor) = in_order(text(options, "sort")?.unwrap_or("created_at"))?;
    let after = text(options, "cursor")?.map(Cursor::read).transpose()?;
    if after.is_some() && (!has_cursor || options.contains_key("page")) {
        return Err(Error::invalid("a cursor goes with neither", "leave page out, and sort by created_at"));
    }
    let time = after.as_ref().map(|cursor| cursor.time()).transpose()?;
    let arguments = [
        pattern.as_deref().into(),
        page.limit.into(),
        page.offset.into(),
        time.into(),
        after.map(|cursor| to_pg(cursor.id)).into(),
    ];
    let (mut users, mut last) = (Vec::new(), None);
    query.each(&arguments, |row| {
        users.push(row.required::<JsonB>(1)?.0);
        let created_at = i64::from(row.required::<TimestampWithTimeZone>(2)?);
        last = Some(Cursor { created_at, id: from_pg(row.required(3)?) });
        Ok(())
    })?;
    let total = COUNT.first(&[pattern.as_deref().into()], |row| row.required::<i64>(1))?.unwrap_or(0);
    let mut answer = json!({"users": users, "total": total});
    if let Some(last) = last.filter(|_| has_cursor && users_fill(&answer, page.limit)) {
        answer["next_cursor"] = last.write().into();
    }
    Ok(JsonB(answer))
}

fn users_fill(answer: &Value, limit: i64) -> bool {
    answer["users"].as_array().is_some_and(|users| users.len() as i64 == limit)
}

/// The last user of a page: those made meanwhile move no other onto the next one.
struct Cursor {
    /// Microseconds since 2000-01-01.
    created_at: i64,
    id: Uuid,
}

impl Cursor {
    fn write(&self) -> String {
        base64url::encode(&[&self.created_at.to_be_bytes()[..], &self.id.as_bytes()[..]].concat())
    }

    fn read(text: &str) -> Result<Cursor> {
        let bytes: Option<[u8; 24]> = base64url::decode(text).and_then(|bytes| bytes.try_into().ok());
        let bytes =
            bytes.ok_or_else(|| Error::invalid("cursor is none of ours", "give next_cursor of the last answer"))?;
        let (mut created_at, mut id) = ([0; 8], [0; 16]);
        created_at.copy_from_slice(&bytes[..8]);
        id.copy_from_slice(&bytes[8..]);
        Ok(Cursor { created_at: i64::from_be_bytes(created_at), id: Uuid::from_bytes(id) })
    }

    fn time(&self) -> Result<TimestampWithTimeZone> {
        TimestampWithTimeZone::try_from(self.created_at)
            .map_err(|_| Error::invalid("cursor is none of ours", "give next_cursor of the last answer"))
    }
}

#[pg_extern(sql = false, stable)]
fn admin_list_audit(options: JsonArgument) -> Answer<JsonB> {
    identity::require_service()?;
    Ok(list_audit(&options::only(options, &["page", "per_page", "query"])?)?)
}

fn list_audit(options: &Map<String, Value>) -> Result<JsonB> {
    static LIST: Query =
        Query::read(include_str!("audit.sql"), &[Type::TEXTOID, Type::TEXTOID, Type::INT8OID, Type::INT8OID]);
    let page = Page::read(options)?;
    // As Supabase's clients write it: author:…, action:…, or a text.
    let (column, wanted) = match text(options, "query")? {
        None => (None, ""),
        Some(query) => match query.split_once(':') {
            Some((column @ ("author" | "action"), wanted)) => (Some(column), wanted),
            _ => (Some("any"), query),
        },
    };
    let pattern = Some(wanted).filter(|wanted| !wanted.is_empty()).map(containing);
    let arguments = [pattern.into(), column.into(), page.limit.into(), page.offset.into()];
    let answer = LIST.first(&arguments, |row| row.required::<JsonB>(1))?;
    answer.ok_or_else(|| Error::Internal("a list has no row".into()))
}
