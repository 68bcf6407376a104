//! What the clients of other people are driven against: a database of the profile `supabase`, the sidecar with its courier,
//! and the inbox that its mail goes to.

use auth_harness::{Cluster, Database, Inbox, Sidecar, run_node, run_python};
use serde_json::{Value, json};

pub struct Stage {
    pub inbox: Inbox,
    pub sidecar: Sidecar,
    // Dropped last: whoever is connected goes first.
    pub database: Database,
}

impl Stage {
    /// `changes` are settings of the database beyond the profile.
    pub fn new(changes: &Value) -> Stage {
        let database = Cluster::shared().database();
        let mut admin = database.admin();
        admin.execute("select auth.apply_profile('supabase')", &[]).unwrap();
        // Everybody comes from one network here, and mails of a kind follow each other within a minute.
        let pace = json!({"rate_limit_signup": "1000/3600", "rate_limit_mail": "1000/3600", "verification_resend_interval": 0,
            "verification_resend_limit": null});
        admin.execute("select auth.configure($1)", &[&pace]).unwrap();
        admin.execute("select auth.configure($1)", &[changes]).unwrap();
        let inbox = Inbox::start();
        let mut settings = inbox.settings().to_vec();
        settings.push(("AUTH_COURIER__POLL_SECONDS", "1"));
        let url = format!("{}/sms", inbox.url());
        settings.extend(inbox.sms_settings(&url));
        let sidecar = Sidecar::start(&database, &settings);
        Stage { inbox, sidecar, database }
    }

    pub fn key(&self, role: &str) -> String {
        let row = self.database.admin().query_one("select auth.create_key($1) ->> 'key'", &[&role]);
        row.unwrap().get(0)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AUTH_URL", self.sidecar.url()),
            ("AUTH_INBOX", self.inbox.url()),
            // For what a client cannot do: letting time pass.
            ("AUTH_SUPERUSER_URL", self.database.url("postgres")),
            ("AUTH_ANON_KEY", self.key("anon")),
            ("AUTH_SERVICE_KEY", self.key("service_role")),
        ]
    }

    #[track_caller]
    pub fn node(&self, script: &str) {
        self.node_with(script, &[]);
    }

    #[track_caller]
    pub fn node_with(&self, script: &str, more: &[(&str, &str)]) {
        let settings = self.settings();
        let settings = settings.iter().map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied());
        run_node(script, &settings.collect::<Vec<_>>());
    }

    #[track_caller]
    pub fn python(&self, script: &str) {
        let settings = self.settings();
        run_python(script, &settings.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>());
    }
}
