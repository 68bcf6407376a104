//! Every setting, in one place. A TOML file, and over it the environment: `AUTH_HTTP__LISTEN` is `[http] listen`.
//! `docs/sidecar.md` lists the same keys; a test compares.

use std::net::SocketAddr;
use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::courier::settings::{Courier, Smtp};
use crate::outbound;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients reach this service, without a slash at the end. Links and redirects are made from it and never
    /// from a request's Host.
    pub external_url: String,
    pub database: Database,
    pub http: Http,
    pub log: Log,
    pub smtp: Smtp,
    pub courier: Courier,
    pub outbound: outbound::Settings,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// Of a login that is a member of `auth_sidecar` and of nothing else.
    pub url: String,
    pub pool_size: usize,
    /// How long a request waits for a connection before it is answered with 503.
    pub wait_seconds: u64,
    /// The server ends a statement after this; it is answered with 504.
    pub statement_seconds: u64,
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
            log: Log { format: LogFormat::Json, level: Level::Info },
            smtp: Smtp::default(),
            courier: Courier::default(),
            outbound: outbound::Settings::default(),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Database { url: String::new(), pool_size: 10, wait_seconds: 3, statement_seconds: 9 }
    }
}

impl Default for Http {
    fn default() -> Self {
        Http {
            listen: SocketAddr::from(([127, 0, 0, 1], 9999)),
            threads: 2,
            body_limit_bytes: 1_000_000,
            header_limit_bytes: 32 * 1024,
            request_seconds: 10,
            drain_seconds: 10,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Config::default().log
    }
}

/// Its URL may hold a password.
impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Database").field("pool_size", &self.pool_size).finish_non_exhaustive()
    }
}

impl Config {
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
            .filter(|name| !["smtp__user", "smtp__password"].contains(&name.as_str().to_ascii_lowercase().as_str()))
            .filter(|name| name.as_str().contains("__") || name.as_str().eq_ignore_ascii_case("external_url"))
            .split("__");
        let mut config: Config = figment.merge(ours).extract().map_err(|error| error.to_string())?;
        while config.external_url.ends_with('/') {
            config.external_url.pop();
        }
        // A password may look like a number, which the reader of the environment would make of it.
        for (name, value) in
            [("AUTH_SMTP__USER", &mut config.smtp.user), ("AUTH_SMTP__PASSWORD", &mut config.smtp.password)]
        {
            if let Ok(text) = std::env::var(name) {
                *value = text;
            }
        }
        config.smtp.check()?;
        config.courier.check()?;
        config.outbound.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.database.url.is_empty() {
            return Err("database.url is not set (AUTH_DATABASE__URL)".into());
        }
        self.database
            .url
            .parse::<tokio_postgres::Config>()
            .map_err(|error| format!("database.url is not a connection string: {error}"))?;
        if !self.external_url.starts_with("https://") && !self.external_url.starts_with("http://") {
            return Err("external_url is not an http or https URL".into());
        }
        for (name, value) in [
            ("database.pool_size", self.database.pool_size),
            ("http.threads", self.http.threads),
            ("http.body_limit_bytes", self.http.body_limit_bytes),
        ] {
            if value == 0 {
                return Err(format!("{name} is 0"));
            }
        }
        Ok(())
    }
}
