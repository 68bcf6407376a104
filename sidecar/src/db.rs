//! The database: a pool, and requests that are one transaction in one round trip.
//!
//! Statements are unnamed and typed, so that PgBouncer in transaction mode may give every transaction another server.
//! All of a transaction's messages are sent before the first answer is awaited: also where the client goes away in
//! the middle, the server has the COMMIT. If a statement fails, the COMMIT rolls back by itself.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts};
use futures_util::future::{join, join_all};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

use crate::config;
use crate::error::{Error, Result, describe};

#[derive(Clone)]
pub struct Db {
    pool: Pool,
    statement_timeout: String,
}

/// Who asks, as the database is told.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    pub ip: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub bearer: Option<String>,
}

/// A typed argument of a SQL function.
pub enum Argument {
    Text(Option<String>),
    Json(Value),
    Uuid(Uuid),
    Bool(bool),
    Int(i32),
}

impl Argument {
    pub fn text(text: impl Into<String>) -> Argument {
        Argument::Text(Some(text.into()))
    }

    fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Argument::Text(text) => (text, Type::TEXT),
            Argument::Json(value) => (value, Type::JSONB),
            Argument::Uuid(id) => (id, Type::UUID),
            Argument::Bool(yes) => (yes, Type::BOOL),
            Argument::Int(number) => (number, Type::INT4),
        }
    }
}

impl Db {
    pub fn new(config: &config::Database) -> std::result::Result<Db, String> {
        let mut server: tokio_postgres::Config =
            config.url.parse().map_err(|error| format!("database.url is not a connection string: {error}"))?;
        if server.get_application_name().is_none() {
            server.application_name("auth-sidecar");
        }
        let wait = Duration::from_secs(config.wait_seconds);
        server.connect_timeout(wait);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match config.tls {
            config::Tls::Off => Manager::from_config(server, NoTls, recycling),
            config::Tls::Verify => {
                server.ssl_mode(SslMode::Require);
                Manager::from_config(server, tls(config.ca_file.as_deref())?, recycling)
            }
        };
        let pool = Pool::builder(manager)
            .max_size(config.pool_size)
            .timeouts(Timeouts { wait: Some(wait), create: Some(wait), recycle: Some(wait) })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| format!("cannot make the pool: {error}"))?;
        Ok(Db { pool, statement_timeout: (config.statement_seconds * 1000).to_string() })
    }

    /// Calls one function that answers a jsonb; a function that answers nothing gives null.
    pub async fn call(&self, caller: &Caller, statement: &str, arguments: &[Argument]) -> Result<Value> {
        first_value(&self.transaction(caller, &[(statement, arguments)]).await?)
    }

    /// Calls several functions, all or none of them, and gives the answer of the last.
    pub async fn call_all(&self, caller: &Caller, calls: &[(&str, Vec<Argument>)]) -> Result<Value> {
        let calls: Vec<_> = calls.iter().map(|(statement, arguments)| (*statement, arguments.as_slice())).collect();
        first_value(&self.transaction(caller, &calls).await?)
    }

    /// The rows of the last statement of a transaction that knows the caller.
    pub async fn transaction(&self, caller: &Caller, calls: &[(&str, &[Argument])]) -> Result<Vec<Row>> {
        let lease = self.lease().await?;
        let client = lease.client();
        let empty = String::new();
        // An empty carrier is nobody, as is none at all; one of an earlier transaction would be ignored anyway.
        let bearer = caller.bearer.as_ref().unwrap_or(&empty);
        let context: [(&(dyn ToSql + Sync), Type); 4] = [
            (&caller.ip, Type::INET),
            (&caller.user_agent, Type::TEXT),
            (bearer, Type::TEXT),
            (&self.statement_timeout, Type::TEXT),
        ];
        let begin = client.query_typed("begin", &[]);
        let context = client.query_typed(
            "select auth.set_request_context($1, $2), pg_catalog.set_config('auth.token', $3, true),
                pg_catalog.set_config('statement_timeout', $4, true)",
            &context,
        );
        let calls = join_all(calls.iter().map(|(statement, arguments)| async move {
            let arguments: Vec<_> = arguments.iter().map(Argument::typed).collect();
            client.query_typed(statement, &arguments).await
        }));
        let commit = client.query_typed("commit", &[]);
        // Each is sent when it is first polled, and they are polled in this order.
        let ((begun, context), (answers, committed)) = join(join(begin, context), join(calls, commit)).await;
        lease.finished();
        // The first refusal is the reason of those after it.
        begun?;
        context?;
        let mut rows = Vec::new();
        for answer in answers {
            rows = answer?;
        }
        committed?;
        Ok(rows)
    }

    /// The rows of a question outside of any request, as a login that need not be the sidecar's.
    pub async fn read(&self, statement: &str) -> Result<Vec<Row>> {
        let lease = self.lease().await?;
        let rows = lease.client().query_typed(statement, &[]).await;
        lease.finished();
        rows.map_err(Error::from)
    }

    /// Whether the server answers at all.
    pub async fn ping(&self) -> Result<()> {
        let lease = self.lease().await?;
        let answer = lease.client().query_typed("select 1", &[]).await;
        lease.finished();
        answer.map(drop).map_err(Error::from)
    }

    pub fn pool_status(&self) -> deadpool_postgres::Status {
        self.pool.status()
    }

    pub fn close(&self) {
        self.pool.close();
    }

    async fn lease(&self) -> Result<Lease> {
        match self.pool.get().await {
            Ok(connection) => Ok(Lease(Some(connection))),
            Err(PoolError::Backend(error)) => Err(unreachable(&error)),
            Err(error) => Err(Error::unavailable(describe(&error))),
        }
    }
}

/// Whatever the reason why there is no connection, a wrong password of ours included: it is not the client's fault.
fn unreachable(error: &tokio_postgres::Error) -> Error {
    Error::unavailable(describe(error))
}

/// TLS whose certificates are verified: against the public authorities, or against a file of one's own.
pub fn tls(ca_file: Option<&Path>) -> std::result::Result<MakeRustlsConnect, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let certificates = CertificateDer::pem_file_iter(file)
                .map_err(|error| format!("database.ca_file: {}: {error}", file.display()))?;
            for certificate in certificates {
                let certificate =
                    certificate.map_err(|error| format!("database.ca_file: {}: {error}", file.display()))?;
                roots.add(certificate).map_err(|error| format!("database.ca_file: {error}"))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// The first column of the first row, whatever kind it is.
fn first_value(rows: &[Row]) -> Result<Value> {
    let Some(row) = rows.first() else { return Ok(Value::Null) };
    match row.columns().first().map(tokio_postgres::Column::type_) {
        Some(kind) if [Type::JSONB, Type::JSON].contains(kind) => {
            Ok(row.try_get::<_, Option<Value>>(0)?.unwrap_or(Value::Null))
        }
        Some(kind) if *kind == Type::BOOL => Ok(row.try_get::<_, Option<bool>>(0)?.into()),
        Some(kind) if *kind == Type::TEXT => Ok(row.try_get::<_, Option<String>>(0)?.into()),
        _ => Ok(Value::Null),
    }
}

/// A connection that goes back to the pool only when its transaction was seen to end. Where a request is given up, what
/// it has sent still runs, and the next request would wait behind it.
struct Lease(Option<Object>);

impl Lease {
    fn client(&self) -> &Object {
        self.0.as_ref().expect("a lease holds its connection until it is finished")
    }

    fn finished(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}
