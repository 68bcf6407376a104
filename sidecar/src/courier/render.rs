//! A template and a payload become subject, text and HTML. Values are data: a `{{ token }}` in somebody's name is
//! printed as it is, and in HTML everything is escaped. What is not defined is an error, never an empty place.

use chrono::{DateTime, Utc};
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, Error, State, UndefinedBehavior};
use serde_json::{Map, json};

use super::payload::Payload;
use super::template::{LAYOUT, PARTS, Template};

/// A mail as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
}

/// Where the links of the mail lead, which only the settings say.
#[derive(Clone)]
pub struct Place<'a> {
    pub external_url: &'a str,
    pub locale: &'a str,
    pub recipient: &'a str,
    /// When the row was written: the time of what a notice tells of.
    pub created_at: DateTime<Utc>,
}

/// More than any mail needs; a template that loops ends here.
const FUEL: u64 = 100_000;
const MAX_SUBJECT_CHARS: usize = 200;
const MAX_LINE_CHARS: usize = 300;
const MAX_BODY_BYTES: usize = 500_000;
/// What a notice may say about its event; always defined, so that a template may ask `{% if event.at %}`.
const EVENT_FIELDS: [&str; 5] = ["at", "ip", "user_agent", "provider", "factor_type"];

pub fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(write_value);
    for (name, source) in [("layout.html", LAYOUT), ("parts.html", PARTS)] {
        environment.add_template(name, source).expect("the layout is a template: the tests render it");
    }
    environment
}

/// # Errors
/// What is wrong with the template, without any value of the payload.
pub fn render(
    environment: &Environment<'_>,
    template: &Template,
    payload: &Payload,
    place: &Place<'_>,
    now: DateTime<Utc>,
) -> Result<Rendered, String> {
    let mut variables = variables(payload, place, now);
    let run = |name: &str, source: &str, variables: &Map<String, serde_json::Value>| {
        environment
            .render_named_str(name, source, Value::from(Serde(variables)))
            .map_err(|error| describe(name, &error))
    };
    let subject = one_line(&run("subject", &template.subject, &variables)?, MAX_SUBJECT_CHARS);
    if subject.is_empty() {
        return Err("subject: it is empty".into());
    }
    // The layout has it as its title.
    variables.insert("subject".into(), subject.clone().into());
    let text = tidy_lines(&run("text", &template.text, &variables)?);
    let html = template.html.as_deref().map(|source| run("mail.html", source, &variables)).transpose()?;
    for part in [Some(&text), html.as_ref()].into_iter().flatten() {
        if part.trim().is_empty() || part.len() > MAX_BODY_BYTES {
            return Err("a part of the mail is empty or too long".into());
        }
    }
    Ok(Rendered { subject, text, html })
}

/// The link of a mail, from the settings and never from a request (XI1).
pub fn confirmation_url(external_url: &str, payload: &Payload, now: DateTime<Utc>) -> Option<String> {
    let token = payload.live_token(now)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("token", token).append_pair("type", payload.verify_type.as_deref().unwrap_or_default());
    if let Some(redirect_to) = payload.redirect_to.as_deref().filter(|text| !text.is_empty()) {
        query.append_pair("redirect_to", redirect_to);
    }
    Some(format!("{external_url}/verify?{}", query.finish()))
}

/// Everything that a template may name. What there is not is an empty text, so that every template of a kind is either
/// right for all its mails or for none.
fn variables(payload: &Payload, place: &Place<'_>, now: DateTime<Utc>) -> Map<String, serde_json::Value> {
    let line = |value: &Option<String>| one_line(value.as_deref().unwrap_or_default(), MAX_LINE_CHARS);
    let token = payload.live_token(now).unwrap_or_default();
    let left = |end: Option<DateTime<Utc>>, unit: i64| {
        end.map_or(0, |end| (((end - now).num_seconds() + unit / 2) / unit).max(1))
    };
    let mut event = payload.event.clone().unwrap_or_default();
    for value in event.values_mut() {
        if let serde_json::Value::String(text) = value {
            *text = one_line(text, MAX_LINE_CHARS);
        }
    }
    event.entry("at").or_insert_with(|| place.created_at.format("%Y-%m-%d %H:%M UTC").to_string().into());
    for field in EVENT_FIELDS {
        event.entry(field).or_insert_with(|| "".into());
    }
    let mut user = payload.user.clone().unwrap_or_default();
    user.entry("id").or_insert_with(|| "".into());
    user.entry("email").or_insert_with(|| payload.email.clone().unwrap_or_default().into());
    user.entry("user_metadata").or_insert_with(|| json!({}));
    let email = match line(&payload.email) {
        email if email.is_empty() => one_line(place.recipient, MAX_LINE_CHARS),
        email => email,
    };
    let site_url = match line(&payload.site_url) {
        url if url.is_empty() => place.external_url.to_owned(),
        url => url,
    };
    let mut all = Map::new();
    for (name, value) in [
        ("site_host", host(&site_url).into()),
        ("site_url", site_url.into()),
        ("external_url", place.external_url.into()),
        ("confirmation_url", confirmation_url(place.external_url, payload, now).unwrap_or_default().into()),
        ("token", token.into()),
        ("token_hash", token.into()),
        ("type", line(&payload.verify_type).into()),
        ("code", payload.live_code(now).unwrap_or_default().into()),
        ("email", email.into()),
        ("new_email", line(&payload.new_email).into()),
        ("phone", line(&payload.phone).into()),
        ("redirect_to", line(&payload.redirect_to).into()),
        ("code_minutes", left(payload.code_expires_at, 60).into()),
        ("expires_minutes", left(payload.expires_at, 60).into()),
        ("expires_hours", left(payload.expires_at, 3600).into()),
        ("locale", place.locale.into()),
        ("user", user.into()),
        ("event", event.into()),
    ] {
        all.insert(name.to_owned(), value);
    }
    all
}

/// The host of an address, without its port.
fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(host, _)| host).to_owned()
}

/// One line of at most so many characters, without control characters: a subject, a name, an address to show.
pub fn one_line(text: &str, most: usize) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    words.join(" ").chars().take(most).collect()
}

/// Lines end in one way, control characters are gone, and what an `if` left empty is one empty line.
fn tidy_lines(text: &str) -> String {
    let text: String = text
        .replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|character| *character == '\n' || *character == '\t' || !character.is_control())
        .collect();
    let mut tidy = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.trim().lines() {
        empty = if line.trim().is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            tidy.push_str(line.trim_end());
            tidy.push('\n');
        }
    }
    tidy
}

/// As the engine's own, but a slash stays a slash: links in attributes survive what mail gateways do to them.
fn write_value(output: &mut minijinja::Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = match (state.auto_escape(), value.as_str()) {
        (AutoEscape::Html, Some(text)) if !value.is_safe() => text,
        _ => return minijinja::escape_formatter(output, state, value),
    };
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    output.write_str(&escaped).map_err(Error::from)
}

/// The engine's words without its excerpt of values.
fn describe(name: &str, error: &Error) -> String {
    let line = error.line().map(|line| format!(" line {line}")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{name}{line}: {}{detail}", error.kind())
}

#[cfg(test)]
mod tests {
    use super::super::template::{KINDS, default_template};
    use super::*;

    fn payload(value: serde_json::Value) -> Payload {
        serde_json::from_value(value).ok().unwrap()
    }

    fn full() -> serde_json::Value {
        json!({"type": "signup", "token": "t0k", "code": "123456", "code_expires_at": 600, "expires_at": 86_400,
            "redirect_to": "https://app/?a=1&b=2", "site_url": "https://app", "email": "a@example.org",
            "new_email": "b@example.org", "user": {"id": "1", "email": "a@example.org", "user_metadata": {"name": "N"}}})
    }

    fn rendered(template: &Template, value: serde_json::Value) -> Result<Rendered, String> {
        let created_at = DateTime::from_timestamp(0, 0).unwrap();
        let place = Place { external_url: "https://auth", locale: "en", recipient: "a@example.org", created_at };
        render(&environment(), template, &payload(value), &place, created_at)
    }

    fn own(subject: &str, text: &str, html: &str) -> Template {
        Template { subject: subject.into(), text: text.into(), html: Some(html.into()) }
    }

    /// F259: one template for each kind, and none has a variable that is missing: with everything, and with the least.
    #[test]
    fn every_default_renders() {
        for locale in ["en", "de"] {
            for (kind, _) in KINDS {
                let template = default_template(kind, locale).unwrap();
                let least = json!({"type": "signup", "token": null, "code": null, "email": null});
                for value in [full(), least] {
                    let mail = rendered(&template, value).unwrap_or_else(|why| panic!("{kind} {locale}: {why}"));
                    let html = mail.html.unwrap();
                    assert!(html.starts_with("<!doctype html>") && html.contains("<h1"), "{kind} {locale}");
                    for remote in ["<img", "<script", "src=", "url("] {
                        assert!(!html.contains(remote), "{kind} {locale} loads something");
                    }
                }
            }
        }
    }

    #[test]
    fn a_mail_carries_link_and_code_as_long_as_they_are_good() {
        let template = default_template("otp", "en").unwrap();
        let link = "https://auth/verify?token=t0k&type=signup&redirect_to=https%3A%2F%2Fapp%2F%3Fa%3D1%26b%3D2";
        let mail = rendered(&template, full()).unwrap();
        assert!(mail.text.contains(link) && mail.text.contains("123456") && mail.text.contains("10 minutes"));
        assert!(mail.html.unwrap().contains(&link.replace('&', "&amp;")));
        let mut late = full();
        late["code_expires_at"] = (-1).into();
        let mail = rendered(&template, late).unwrap();
        assert!(mail.text.contains(link) && !mail.text.contains("123456") && !mail.text.contains("code"));
    }

    /// XI5: what users wrote is data.
    #[test]
    fn what_users_wrote_is_never_a_template_nor_html() {
        let template = own(
            "Hi {{ user.user_metadata.name }}",
            "{{ user.user_metadata.name }} {{ email }}",
            "<p title='{{ user.user_metadata.name }}'>{{ user.user_metadata.name }}</p>",
        );
        for name in ["{{ token }}", "{% raw %}{{ code }}", "<a href=x>&'\"", "{{ user|safe }}"] {
            let mut value = full();
            value["user"]["user_metadata"]["name"] = name.into();
            let mail = rendered(&template, value).unwrap();
            assert!(mail.text.starts_with(name) && mail.subject.ends_with(name), "{}", mail.text);
            let html = mail.html.unwrap();
            assert!(!html.contains("t0k") && !html.contains("<a") && !html.contains("&'"), "{html}");
        }
    }

    /// XI2: a subject is one line, whatever stands in it.
    #[test]
    fn a_subject_is_one_line() {
        let mut value = full();
        value["user"]["user_metadata"]["name"] = "Ada\r\nBcc: eve@example.org\u{2028}\0x\u{85}y".into();
        let mail = rendered(&own("Hi {{ user.user_metadata.name }}", "t", "h"), value).unwrap();
        assert_eq!(mail.subject, "Hi Ada Bcc: eve@example.org x y");
        assert!(rendered(&own(" \r\n ", "t", "h"), full()).is_err());
    }

    #[test]
    fn a_template_that_is_wrong_is_an_error_and_says_no_value() {
        for (text, place) in [
            ("{{ nothing }}", "undefined"),
            ("{{ user.user_metadata.missing }}", "undefined"),
            ("{% if missing %}x{% endif %}", "undefined"),
            ("{{ ", "syntax"),
            ("{{ token + 1 }}", "invalid"),
            ("{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}", "fuel"),
            ("{% include 'elsewhere' %}", "template"),
        ] {
            let why = rendered(&own("s", text, "h"), full()).unwrap_err();
            assert!(why.contains(place) && !why.contains("t0k") && !why.contains("123456"), "{text}: {why}");
        }
        let optional = own("s", "{{ user.user_metadata.missing|default('you') }}", "h");
        assert_eq!(rendered(&optional, full()).unwrap().text, "you\n");
    }

    /// F050, F260: an override can make its own link from the settings of the app.
    #[test]
    fn an_override_has_the_layout_and_its_own_link() {
        let html = "{% extends 'layout.html' %}{% block content %}<a href=\"{{ site_url }}/verify-email?token={{ token }}\">x</a>{% endblock %}";
        let mail = rendered(&own("s", "{{ site_url }}/verify-email?token={{ token_hash }}", html), full()).unwrap();
        assert_eq!(mail.text, "https://app/verify-email?token=t0k\n");
        let html = mail.html.unwrap();
        assert!(html.contains("href=\"https://app/verify-email?token=t0k\"") && html.contains("</html>"), "{html}");
    }
}
