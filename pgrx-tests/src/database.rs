//! One fresh database and the logins that reach it.

use postgres::Client;

use crate::cluster::Cluster;

/// A database of one test; dropped with the value, whoever is still connected.
pub struct Database {
    cluster: Cluster,
    name: String,
}

impl Database {
    pub(crate) fn new(cluster: Cluster, name: String) -> Database {
        Database { cluster, name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    #[track_caller]
    pub fn connect(&self, user: &str) -> Client {
        self.cluster.connect(&self.name, user)
    }

    /// For tests about something else that guess more often than an account allows.
    pub fn without_limits(self) -> Database {
        self.admin()
            .execute("select auth.configure('{\"rate_limit_enabled\": false}')", &[])
            .expect("an administrator can switch limits off");
        self
    }

    #[track_caller]
    pub fn superuser(&self) -> Client {
        self.connect("postgres")
    }

    /// The login of an application: NOINHERIT, a member of anon and authenticated and of nothing else.
    #[track_caller]
    pub fn app(&self) -> Client {
        self.connect("app")
    }

    /// The login of a trusted backend: NOINHERIT, a member of service_role.
    #[track_caller]
    pub fn service(&self) -> Client {
        self.connect("service")
    }

    /// The login of an operator: a member of auth_admin.
    #[track_caller]
    pub fn admin(&self) -> Client {
        self.connect("admin")
    }

    /// The login of the sidecar: a member of auth_sidecar.
    #[track_caller]
    pub fn sidecar(&self) -> Client {
        self.connect("sidecar")
    }

    /// Over the loopback port.
    pub fn url(&self, user: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/{}", self.cluster.port(), self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The server may be stopped, or on its way down.
        if let Ok(mut client) = self.cluster.try_connect("postgres", "postgres", "") {
            let _ = client.batch_execute(&format!("drop database if exists {} with (force)", self.name));
        }
    }
}
