//! A small HTTP client: no redirects are followed, and every status is an answer.

use std::time::Duration;

use serde_json::Value;

/// A request before it is sent.
pub struct Ask {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Ask {
    pub fn new(method: &str, url: String) -> Ask {
        Ask { method: method.to_owned(), url, headers: Vec::new(), body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Ask {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, token: &str) -> Ask {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// As Supabase's clients ask since 2024.
    pub fn new_errors(self) -> Ask {
        self.header("x-supabase-api-version", "2024-01-01")
    }

    pub fn json(self, body: &Value) -> Ask {
        self.body("application/json", &body.to_string())
    }

    pub fn body(self, kind: &str, body: &str) -> Ask {
        let mut ask = self.header("content-type", kind);
        ask.body = body.as_bytes().to_vec();
        ask
    }

    #[track_caller]
    pub fn send(self) -> Reply {
        let what = format!("{} {}", self.method, self.url);
        self.try_send().unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// # Errors
    /// That nobody answered.
    pub fn try_send(self) -> Result<Reply, String> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        let mut request = ureq::http::Request::builder().method(self.method.as_str()).uri(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let sent = if self.body.is_empty() && ["GET", "HEAD", "OPTIONS"].contains(&self.method.as_str()) {
            agent.run(request.body(()).map_err(|error| error.to_string())?)
        } else {
            agent.run(request.body(self.body).map_err(|error| error.to_string())?)
        };
        let mut response = sent.map_err(|error| error.to_string())?;
        let text = |value: &ureq::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(Reply {
            status: response.status().as_u16(),
            headers,
            body: response.body_mut().read_to_string().map_err(|error| error.to_string())?,
        })
    }
}

impl Reply {
    /// The body, which is JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The first header of the name, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The code word of a refusal.
    pub fn code(&self) -> &str {
        self.header("x-sb-error-code")
    }
}
