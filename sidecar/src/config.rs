//! Every setting, in one place. A TOML file, and over it the environment: `AUTH_HTTP__LISTEN` is `[http] listen`.
//! `docs/sidecar.md` lists the same keys; a test compares.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client_ip::Network;
use crate::courier::settings::{Courier, Mail, Smtp};
use crate::courier::sms_settings;
use crate::outbound;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients reach this service, without a slash at the end. Links and redirects are made from it and never
    /// from a request's Host.
    pub external_url: String,
    pub database: Database,
    pub http: Http,
    pub cors: Cors,
    pub cookie: Cookie,
    pub captcha: Captcha,
    pub outbound: outbound::Settings,
    pub metrics: Metrics,
    pub compat: Compat,
    pub apps: Apps,
    pub events: Events,
    pub log: Log,
    pub mail: Mail,
    pub smtp: Smtp,
    pub sms: sms_settings::Settings,
    pub courier: Courier,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// Of a login that is a member of `auth_sidecar` and of nothing else.
    pub url: String,
    pub tls: Tls,
    /// Certificates to trust instead of the public ones, as PEM.
    pub ca_file: Option<PathBuf>,
    pub pool_size: usize,
    /// How long a request waits for a connection before it is answered with 503.
    pub wait_seconds: u64,
    /// The server ends a statement after this; it is answered with 504.
    pub statement_seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// For a database on this machine or in a network of your own.
    Off,
    /// Encrypted, and the server's certificate must be good for its name.
    Verify,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    pub listen: SocketAddr,
    pub threads: usize,
    pub body_limit_bytes: usize,
    pub header_limit_bytes: usize,
    pub request_seconds: u64,
    /// How long requests under way may take to finish after SIGTERM.
    pub drain_seconds: u64,
    /// Proxies whose word about the client's address is believed, as networks: `["10.0.0.0/8"]`.
    pub trusted_proxies: Vec<Network>,
    /// The header that they add the address to.
    pub client_ip_header: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Origins whose pages may call. `*` is everybody, without credentials; a listed one gets credentials.
    pub origins: Vec<String>,
    /// Request headers beyond those that Supabase's clients send.
    pub headers: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cookie {
    /// Whether a client may ask, by `x-use-cookie: true`, for its refresh token in a cookie that scripts cannot read.
    pub enabled: bool,
    pub name: String,
    pub secure: bool,
    pub same_site: SameSite,
    pub max_age_seconds: u64,
    /// Domains whose hosts share one cookie: `example.com` stands for itself and everything below it.
    pub shared_domains: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Captcha {
    /// Nobody is asked for a captcha as long as this is not set.
    pub provider: Option<CaptchaProvider>,
    pub secret: String,
    /// The provider's address, if it is another than the public one.
    pub verify_url: Option<String>,
    /// For end-to-end tests: requests from this machine to this machine pass without a captcha.
    pub bypass_on_loopback: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptchaProvider {
    Turnstile,
    Hcaptcha,
    Recaptcha,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    pub enabled: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compat {
    /// urBackend's paths below /api/userAuth.
    pub urbackend: bool,
    /// nSelf's /auth/login and /auth/protected.
    pub nself: bool,
}

/// Apps that may use the site's passkeys.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Apps {
    /// `{ package = "org.example.app", fingerprints = ["AB:CD:…"] }`, as /.well-known/assetlinks.json says it.
    pub android: Vec<AndroidApp>,
    /// `TEAMID.org.example.app`, as /.well-known/apple-app-site-association says it.
    pub apple: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AndroidApp {
    pub package: String,
    /// SHA-256 of the certificates that the app is signed with.
    pub fingerprints: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// Streams of GET /v1/events at once; 0: there are none, and no connection listens.
    pub max_streams: usize,
    /// How often a silent stream says that it is there, and asks whether its session is.
    pub heartbeat_seconds: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
    pub level: Level,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Json,
    Text,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            external_url: "http://localhost:9999".into(),
            database: Database::default(),
            http: Http::default(),
            cors: Cors::default(),
            cookie: Cookie::default(),
            captcha: Captcha::default(),
            outbound: outbound::Settings::default(),
            metrics: Metrics::default(),
            compat: Compat::default(),
            apps: Apps::default(),
            events: Events::default(),
            log: Log::default(),
            mail: Mail::default(),
            smtp: Smtp::default(),
            sms: sms_settings::Settings::default(),
            courier: Courier::default(),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Database {
            url: String::new(),
            tls: Tls::Off,
            ca_file: None,
            pool_size: 10,
            wait_seconds: 3,
            statement_seconds: 9,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Http {
            listen: SocketAddr::from(([127, 0, 0, 1], 9999)),
            threads: 2,
            body_limit_bytes: 1024 * 1024,
            header_limit_bytes: 32 * 1024,
            request_seconds: 10,
            drain_seconds: 10,
            trusted_proxies: Vec::new(),
            client_ip_header: "x-forwarded-for".into(),
        }
    }
}

impl Default for Cors {
    fn default() -> Self {
        Cors { origins: vec!["*".into()], headers: Vec::new() }
    }
}

impl Default for Cookie {
    fn default() -> Self {
        Cookie {
            enabled: false,
            name: "auth-refresh-token".into(),
            secure: true,
            same_site: SameSite::Strict,
            max_age_seconds: 30 * 86_400,
            shared_domains: Vec::new(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics { enabled: true }
    }
}

impl Default for Events {
    fn default() -> Self {
        Events { max_streams: 200, heartbeat_seconds: 20 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Log { format: LogFormat::Json, level: Level::Info }
    }
}

/// Its URL may hold a password.
impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Database").field("pool_size", &self.pool_size).finish_non_exhaustive()
    }
}

/// Without its secret.
impl std::fmt::Debug for Captcha {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Captcha").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// Variables of the environment that are text whatever they look like.
const TEXTS: [&str; 11] = [
    "AUTH_SMTP__USER",
    "AUTH_SMTP__PASSWORD",
    "AUTH_CAPTCHA__SECRET",
    "AUTH_MAIL__SECRET",
    "AUTH_SMS__TWILIO__ACCOUNT_SID",
    "AUTH_SMS__TWILIO__AUTH_TOKEN",
    "AUTH_SMS__TWILIO__FROM",
    "AUTH_SMS__AWS_SNS__ACCESS_KEY_ID",
    "AUTH_SMS__AWS_SNS__SECRET_ACCESS_KEY",
    "AUTH_SMS__AWS_SNS__SENDER_ID",
    "AUTH_SMS__HTTP__SECRET",
];

impl Config {
    /// # Errors
    /// What is wrong with the settings, for the person who wrote them.
    pub fn read(file: Option<&Path>) -> Result<Config, String> {
        let config = Config::read_partly(file)?;
        config.check()?;
        Ok(config)
    }

    /// For commands that need no database.
    pub fn read_partly(file: Option<&Path>) -> Result<Config, String> {
        let mut figment = Figment::from(Serialized::defaults(Config::default()));
        if let Some(file) = file {
            if !file.is_file() {
                return Err(format!("there is no file {}", file.display()));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        // Other programs have AUTH_… variables too: ours are the ones with a section, and external_url.
        let ours = Env::prefixed("AUTH_")
            .filter(|name| !TEXTS.iter().any(|text| name.as_str().eq_ignore_ascii_case(&text["AUTH_".len()..])))
            .filter(|name| name.as_str().contains("__") || name.as_str().eq_ignore_ascii_case("external_url"))
            .split("__");
        let mut config: Config = figment.merge(ours).extract().map_err(|error| error.to_string())?;
        while config.external_url.ends_with('/') {
            config.external_url.pop();
        }
        // A password may look like a number, which the reader of the environment would make of it.
        let (twilio, sns, hook) = (&mut config.sms.twilio, &mut config.sms.aws_sns, &mut config.sms.http);
        for (name, value) in TEXTS.into_iter().zip([
            &mut config.smtp.user,
            &mut config.smtp.password,
            &mut config.captcha.secret,
            &mut config.mail.secret,
            &mut twilio.account_sid,
            &mut twilio.auth_token,
            &mut twilio.from,
            &mut sns.access_key_id,
            &mut sns.secret_access_key,
            &mut sns.sender_id,
            &mut hook.secret,
        ]) {
            if let Ok(text) = std::env::var(name) {
                *value = text;
            }
        }
        config.smtp.check()?;
        config.mail.check(&config.smtp)?;
        config.courier.check()?;
        config.sms.check()?;
        config.outbound.check()?;
        Ok(config)
    }

    /// Every setting in force, one a line; what may be secret only says whether it is set.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        describe("", &serde_json::to_value(self).unwrap_or_default(), &mut lines);
        lines
    }

    pub fn is_https(&self) -> bool {
        self.external_url.starts_with("https://")
    }

    fn check(&self) -> Result<(), String> {
        if self.database.url.is_empty() {
            return Err("database.url is not set (AUTH_DATABASE__URL)".into());
        }
        // The parser's words, which name a key and never the password.
        self.database
            .url
            .parse::<tokio_postgres::Config>()
            .map_err(|error| format!("database.url is not a connection string: {error}"))?;
        check_url("external_url", &self.external_url)?;
        for (name, value) in [
            ("database.pool_size", self.database.pool_size as u64),
            ("database.wait_seconds", self.database.wait_seconds),
            ("database.statement_seconds", self.database.statement_seconds),
            ("http.threads", self.http.threads as u64),
            ("http.body_limit_bytes", self.http.body_limit_bytes as u64),
            ("http.request_seconds", self.http.request_seconds),
            ("events.heartbeat_seconds", self.events.heartbeat_seconds),
        ] {
            if value == 0 {
                return Err(format!("{name} is 0"));
            }
        }
        // The library that reads requests has this floor.
        if self.http.header_limit_bytes < 8192 {
            return Err("http.header_limit_bytes is less than 8192".into());
        }
        if http::HeaderName::try_from(self.http.client_ip_header.as_str()).is_err() {
            return Err("http.client_ip_header is not the name of a header".into());
        }
        for origin in self.cors.origins.iter().filter(|origin| *origin != "*") {
            check_origin(origin)?;
        }
        for header in &self.cors.headers {
            http::HeaderName::try_from(header.as_str())
                .map_err(|_| format!("cors.headers: {header:?} is not the name of a header"))?;
        }
        self.check_cookie()?;
        if self.captcha.provider.is_some() && self.captcha.secret.is_empty() {
            return Err("captcha.secret is not set (AUTH_CAPTCHA__SECRET)".into());
        }
        if self.captcha.provider.is_some() && (self.compat.urbackend || self.compat.nself) {
            return Err("captcha.provider is set, and compat.* has no captcha: turn one of them off".into());
        }
        Ok(())
    }

    fn check_cookie(&self) -> Result<(), String> {
        let is_token = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if !is_token(&self.cookie.name) {
            return Err("cookie.name: letters, digits, '-', '_' and '.' only".into());
        }
        if self.cookie.same_site == SameSite::None && !self.cookie.secure {
            return Err("cookie.same_site = \"none\" needs cookie.secure: browsers refuse it otherwise".into());
        }
        match self.cookie.shared_domains.iter().find(|domain| !is_token(domain) || domain.starts_with('.')) {
            Some(domain) => Err(format!("cookie.shared_domains: {domain:?} is not a domain like example.com")),
            None => Ok(()),
        }
    }
}

fn describe(name: &str, value: &Value, lines: &mut Vec<String>) {
    if let Value::Object(members) = value {
        for (member, value) in members {
            let name = if name.is_empty() { member.clone() } else { format!("{name}.{member}") };
            describe(&name, value, lines);
        }
        return;
    }
    let is_secret = ["database.url", "courier.listen_url", "mail.url"].contains(&name)
        || ["secret", "secret_access_key", "password", "token"].iter().any(|word| name.ends_with(word));
    let is_empty = value.is_null() || value == "";
    lines.push(match (is_empty, is_secret) {
        (true, _) => format!("{name} is not set"),
        (false, true) => format!("{name} is set"),
        (false, false) => format!("{name} = {value}"),
    });
}

fn check_url(name: &str, text: &str) -> Result<(), String> {
    let uri: http::Uri = text.parse().map_err(|_| format!("{name} is not a URL"))?;
    let is_http = uri.scheme_str().is_some_and(|scheme| scheme == "http" || scheme == "https");
    if !is_http || uri.host().is_none() || uri.query().is_some() {
        return Err(format!("{name} is not an http or https URL without a query"));
    }
    Ok(())
}

/// As browsers write it: scheme, host and port, and nothing after them.
fn check_origin(origin: &str) -> Result<(), String> {
    let uri: Option<http::Uri> = origin.parse().ok();
    let good = uri.is_some_and(|uri| uri.scheme_str().is_some() && uri.host().is_some());
    if !good || origin.ends_with('/') || origin.matches('/').count() != 2 || origin.contains(['?', '#', '*', '@']) {
        return Err(format!("cors.origins: {origin:?} is not an origin like https://app.example.com"));
    }
    Ok(())
}
