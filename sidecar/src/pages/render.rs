//! How a page is written: a template, the texts of its language, and the headers that keep others out of it.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Value, json};

use super::visitor::base_path;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::origin::origin_of;
use crate::page::form_target;
use crate::request::text_header;

macro_rules! files {
    ($($name:literal)*) => { [$((concat!($name, ".html"), include_str!(concat!("../../templates/pages/", $name, ".html")))),*] };
}

const TEMPLATES: [(&str, &str); 18] = files!("layout" "inside" "parts" "refused" "sign_in" "second_step" "sign_up" "code"
    "forgotten" "reset" "account" "password" "sessions" "factors" "enrol" "key" "recovery_codes" "passkeys");

const LANGUAGES: [(&str, &str); 2] =
    [("en", include_str!("../../templates/pages/en.json")), ("de", include_str!("../../templates/pages/de.json"))];

struct Pages {
    environment: Environment<'static>,
    texts: Vec<(&'static str, Value)>,
}

/// A test renders each of them, so none of them fails here.
static PAGES: LazyLock<Pages> = LazyLock::new(|| {
    let mut environment = Environment::new();
    // A page that asks for less than another leaves out what it has not.
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment
        .add_filter("encoded", |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
    for (name, source) in TEMPLATES {
        if let Err(error) = environment.add_template(name, source) {
            tracing::error!(name, %error, "a page cannot be read");
        }
    }
    let texts = LANGUAGES.map(|(lang, text)| (lang, serde_json::from_str(text).unwrap_or_default()));
    Pages { environment, texts: texts.into() }
});

/// The first language that the browser asks for and that there is; the order is that of its preference.
pub fn language(headers: &HeaderMap) -> &'static str {
    let asked = text_header(headers, "accept-language").unwrap_or_default();
    let known = |tag: &str| {
        let language = tag.split([';', '-']).next().unwrap_or_default().trim().to_ascii_lowercase();
        LANGUAGES.iter().map(|(lang, _)| *lang).find(|lang| *lang == language)
    };
    asked.split(',').find_map(known).unwrap_or("en")
}

/// What a page looks like beside its content.
pub struct Look<'a> {
    pub config: &'a Config,
    pub lang: &'static str,
    pub leads_to: Option<&'a str>,
    pub with_script: bool,
}

impl Look<'_> {
    pub fn page(&self, name: &str, status: StatusCode, mut context: Value) -> Result<Response> {
        let pages = &*PAGES;
        let texts = pages.texts.iter().find(|(lang, _)| *lang == self.lang).map_or(&Value::Null, |(_, texts)| texts);
        if let Some(error) = context.get("error").cloned() {
            context["error"]["sentence"] = json!(sentence(texts, &error));
        }
        if let Some(word) = context["done"].as_str() {
            context["done"] = texts["done"][word].clone();
        }
        context["t"] = texts.clone();
        context["lang"] = json!(self.lang);
        context["base"] = json!(base_path(self.config));
        context["app"] = json!({"name": self.config.pages.app_name, "logo": self.config.pages.logo_url});
        context["with_script"] = json!(self.with_script);
        let html = pages
            .environment
            .get_template(&format!("{name}.html"))
            .and_then(|template| template.render(minijinja::Value::from(Serde(&context))))
            .map_err(|error| Error::internal(format!("the page {name}: {error}")))?;
        let mut response = (status, html).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(self.lang));
        // Without a referrer browsers would not say where a form comes from, as `guard` asks them to.
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
        headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
        let policy =
            HeaderValue::from_str(&self.policy()).map_err(|_| Error::internal("a policy that is no header"))?;
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        Ok(response)
    }

    fn policy(&self) -> String {
        let logo = self.config.pages.logo_url.as_deref().filter(|url| url.contains("://"));
        let script = if self.with_script { "; script-src 'self'; connect-src 'self'" } else { "" };
        format!(
            "default-src 'none'; style-src 'self'; img-src 'self' data:{}{script}; form-action 'self'{}; frame-ancestors 'none'; \
             base-uri 'none'",
            logo.map_or(String::new(), |url| format!(" {}", origin_of(url))),
            self.leads_to.map_or(String::new(), form_target),
        )
    }
}

impl Look<'_> {
    /// What a refusal says where there is no page to say it in.
    pub fn sentence(&self, error: &Error, field: Option<&str>) -> Value {
        let texts = PAGES.texts.iter().find(|(lang, _)| *lang == self.lang).map_or(&Value::Null, |(_, texts)| texts);
        sentence(texts, &json!({"code": error.code(), "message": error.message(), "field": field}))
    }
}

/// In the page's language, by the code word; a hook's own words where the word is none of ours.
fn sentence(texts: &Value, error: &Value) -> Value {
    let code = error["code"].as_str().unwrap_or_default();
    let of_field = error["field"].as_str().map(|field| format!("{code}.{field}"));
    let known = of_field.and_then(|word| texts["errors"].get(&word)).or_else(|| texts["errors"].get(code));
    match known {
        Some(sentence) => sentence.clone(),
        None if crate::error::is_ours(code) => texts["errors"]["other"].clone(),
        None => error["message"].clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(value: &Value, prefix: &str, into: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| words(value, &format!("{prefix}.{name}"), into))
            }
            text => {
                assert!(text.as_str().is_some_and(|text| !text.is_empty()), "{prefix} is not a text");
                into.push(prefix.to_owned());
            }
        }
    }

    #[test]
    fn every_text_is_there_in_every_language() {
        let mut of_first = Vec::new();
        for (lang, text) in LANGUAGES {
            let texts: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{lang}: {error}"));
            let mut found = Vec::new();
            words(&texts, "t", &mut found);
            if of_first.is_empty() {
                of_first = found.clone();
            }
            assert_eq!(found, of_first, "{lang}");
            for (name, source) in TEMPLATES {
                for (at, _) in source.match_indices("t.") {
                    let is_word = |character: char| character.is_ascii_alphanumeric() || "_.".contains(character);
                    if source[..at].ends_with(is_word) {
                        continue;
                    }
                    let end = source[at..].find(|character| !is_word(character)).map_or(source.len(), |end| at + end);
                    let word = source[at..end].trim_end_matches('.');
                    assert!(
                        found.iter().any(|known| known == word || known.starts_with(&format!("{word}."))),
                        "{name}: {word}"
                    );
                }
            }
        }
        assert_eq!(PAGES.environment.templates().count(), TEMPLATES.len());
    }

    #[test]
    fn the_language_is_one_that_there_is() {
        for (asked, expected) in
            [("de-AT,de;q=0.9,en;q=0.5", "de"), ("fr, DE;q=0.8", "de"), ("en-GB", "en"), ("fr", "en"), ("", "en")]
        {
            let mut headers = HeaderMap::new();
            headers.insert("accept-language", HeaderValue::from_static(asked));
            assert_eq!(language(&headers), expected, "{asked}");
        }
    }
}
