//! Settings: what is in force, who may change it, what is refused, and who sees a change when.

use auth_harness::{Client, Cluster, GenericClient, json, refused, sign_in, sign_up};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";

#[track_caller]
fn configure(client: &mut impl GenericClient, settings: Value) -> Value {
    json(client, "select auth.configure($1)", &[&settings])
}

fn sign_up_is_open(app: &mut impl GenericClient) -> bool {
    // A password that is too short tells the two apart without making an account.
    let refusal = refused(app.execute("select auth.sign_up('probe@example.org', 'x')", &[]));
    match refusal.code.as_str() {
        "weak_password" => true,
        "signup_disabled" => false,
        code => panic!("{code}"),
    }
}

/// F021, F022, F031, F147, F153, F160: the profiles are the columns of names.md, for every setting that there is; where the
/// app lives is left as it was.
#[test]
fn profiles_are_the_documented_columns() {
    let database = Cluster::shared().database();
    let mut admin = database.admin();
    let own = json!({"site_url": "https://app.example.org", "environment": "production", "jwt_issuer": "https://id.example.org",
        "redirect_allow_list": ["https://other.example.org/back"], "debug_mode": false, "test_codes": {},
        "totp_issuer": "Example", "webauthn_rp_name": "Example", "webauthn_rp_id": "example.org",
        "webauthn_rp_origins": ["https://app.example.org"], "sms_prefixes": ["+49"],
        "webauthn_allowed_aaguids": ["00000000-0000-0000-0000-000000000001"], "webauthn_attestation_roots": null,
        "public_profile_fields": ["username", "name"]});
    configure(&mut admin, own.clone());
    let columns = [
        // setting, default, strict, supabase
        ("enable_signup", json!([true, true, true])),
        ("access_token_ttl", json!([900, 300, 3600])),
        ("refresh_token_ttl", json!([7 * 86_400, 86_400, null])),
        ("session_timebox", json!([30 * 86_400, 86_400, null])),
        ("max_active_sessions", json!([5, 3, null])),
        ("refresh_tokens_enabled", json!([true, true, true])),
        ("refresh_reuse_interval", json!([0, 0, 10])),
        ("refresh_reuse_scope", json!(["user", "user", "session"])),
        ("password_min_length", json!([8, 15, 6])),
        ("password_max_length", json!([72, 128, 72])),
        ("argon2_memory_kib", json!([19_456, 47_104, 19_456])),
        ("argon2_iterations", json!([2, 1, 2])),
        ("argon2_parallelism", json!([1, 1, 1])),
        ("claims_user_metadata", json!([true, true, true])),
        ("rate_limit_enabled", json!([true, true, true])),
        ("rate_limit_login", json!(["5/900", "5/900", "5/900"])),
        ("rate_limit_signup", json!(["3/3600", "3/3600", "3/3600"])),
        ("rate_limit_network", json!(["100/900", "100/900", "100/900"])),
        ("rate_limit_database", json!(["100/60", "100/60", "100/60"])),
        ("lockout_attempts", json!([5, 3, 5])),
        ("lockout_duration", json!([1800, 1800, 1800])),
        ("signup_mode", json!(["immediate", "otp_first", "confirm"])),
        ("enable_anonymous", json!([true, false, true])),
        ("anonymous_role", json!(["anon", "anon", "authenticated"])),
        ("enable_magic_link", json!([false, false, true])),
        ("implicit_flow", json!([true, false, true])),
        ("email_otp_length", json!([6, 8, 6])),
        ("email_otp_ttl", json!([600, 300, 3600])),
        ("verification_ttl", json!([86_400, 86_400, 86_400])),
        ("recovery_ttl", json!([3600, 3600, 3600])),
        ("magic_link_ttl", json!([3600, 3600, 3600])),
        ("verification_resend_limit", json!([3, 3, 3])),
        ("verification_resend_interval", json!([60, 60, 60])),
        ("secure_email_change", json!([true, true, true])),
        ("reauthentication_required", json!([false, true, false])),
        ("current_password_required", json!([true, true, false])),
        ("reset_returns_session", json!([false, false, false])),
        ("security_notices", json!([true, true, true])),
        ("notify_events", json!([false, false, false])),
        ("rate_limit_mail", json!(["30/3600", "30/3600", "30/3600"])),
        ("enable_passkeys", json!([false, true, false])),
        ("mfa_enabled", json!([true, true, true])),
        ("mfa_totp_enabled", json!([true, true, true])),
        ("mfa_sms_enabled", json!([true, true, true])),
        ("mfa_webauthn_enabled", json!([true, true, false])),
        ("mfa_enforcement", json!(["required", "required", "policy"])),
        ("mfa_required_roles", json!([[], ["admin", "moderator"], []])),
        ("mfa_max_factors", json!([10, 10, 10])),
        ("mfa_challenge_ttl", json!([300, 300, 300])),
        ("webauthn_user_verification", json!(["preferred", "required", "preferred"])),
        ("enable_sms", json!([false, false, false])),
        ("sms_otp_length", json!([6, 6, 6])),
        ("sms_otp_ttl", json!([60, 60, 60])),
        ("rate_limit_sms", json!(["30/3600", "30/3600", "30/3600"])),
        ("sms_budget", json!(["1000/86400", "1000/86400", "1000/86400"])),
        ("require_approval", json!([false, false, false])),
        ("email_block_disposable", json!([false, false, false])),
        ("email_block_subaddress", json!([false, false, false])),
        ("password_prevent_common", json!([true, true, false])),
        ("password_prevent_user_info", json!([true, true, false])),
    ];
    // Whatever comes before, a profile is the same.
    let before = json!({"enable_signup": false, "refresh_tokens_enabled": false, "access_token_ttl": 60, "claims_user_metadata": false});
    for (place, profile) in ["default", "strict", "supabase", "default"].iter().enumerate() {
        configure(&mut admin, before.clone());
        let in_force = json(&mut admin, "select auth.apply_profile($1)", &[profile]);
        for (name, values) in &columns {
            assert_eq!(in_force[name], values[place % 3], "{profile}: {name}");
        }
        for (name, value) in own.as_object().unwrap() {
            assert_eq!(&in_force[name], value, "{profile}: {name}");
        }
        assert_eq!(in_force, configure(&mut admin, json!({})), "{profile}: what is answered is in force");
        let known = columns.len() + own.as_object().unwrap().len();
        assert_eq!(in_force.as_object().unwrap().len(), known, "a new setting belongs into this table: {in_force}");
    }
    // And they hold: what sign-up and tokens do is what the profile says.
    json(&mut admin, "select auth.apply_profile('strict')", &[]);
    configure(&mut admin, json!({"signup_mode": "immediate"}));
    let mut app = database.app();
    let refusal = refused(app.execute("select auth.sign_up('a@x.io', 'fourteen chars')", &[]));
    assert_eq!(refusal.code, "weak_password");
    let answer = json(&mut app, "select auth.sign_up('a@x.io', $1)", &[&"x".repeat(128)]);
    assert_eq!(answer["expires_in"], 300);
    for profile in [Some("Strict"), Some(""), Some("supabase "), None] {
        let refusal = refused(admin.execute("select auth.apply_profile($1)", &[&profile]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{profile:?}");
    }
}

/// Every setting refuses an unknown name, another kind and what is out of bounds: 22023 validation_failed, nothing changed.
#[test]
fn bad_settings_are_refused() {
    let database = Cluster::shared().database();
    let mut admin = database.admin();
    let before = configure(&mut admin, json!({"access_token_ttl": "20 minutes"}));
    assert_eq!(before["access_token_ttl"], 1200);
    for settings in [
        json!({"no_such_setting": 1}),
        json!({"Enable_Signup": true}),
        json!({"only_row": false}),
        json!({"no_limit": ["access_token_ttl"]}),
        json!({"updated_at": "2020-01-01"}),
        json!({"": null}),
        json!({"enable_signup": false, "no_such_setting": 1}),
        json!({"enable_signup": "false"}),
        json!({"enable_signup": 0}),
        json!({"access_token_ttl": 9}),
        json!({"access_token_ttl": "9 seconds"}),
        json!({"access_token_ttl": 7 * 86_400 + 1}),
        json!({"access_token_ttl": "1 month"}),
        json!({"access_token_ttl": -900}),
        json!({"access_token_ttl": 900.5}),
        json!({"access_token_ttl": 1e300}),
        json!({"access_token_ttl": "soon"}),
        json!({"access_token_ttl": "'; drop table auth.users; --"}),
        json!({"access_token_ttl": "999999999999 years"}),
        json!({"access_token_ttl": "infinity"}),
        json!({"access_token_ttl": true}),
        json!({"access_token_ttl": [900]}),
        json!({"refresh_token_ttl": 0}),
        json!({"session_timebox": 59}),
        json!({"refresh_reuse_interval": -1}),
        json!({"refresh_reuse_interval": 61}),
        json!({"refresh_reuse_scope": "everyone"}),
        json!({"max_active_sessions": 0}),
        json!({"max_active_sessions": "5"}),
        json!({"max_active_sessions": 10_001}),
        json!({"password_min_length": 0}),
        json!({"password_min_length": 73}),
        json!({"password_max_length": 7}),
        json!({"password_max_length": 1025}),
        json!({"password_min_length": 100, "password_max_length": 90}),
        json!({"argon2_memory_kib": 7}),
        json!({"argon2_memory_kib": 262_145}),
        json!({"argon2_memory_kib": 16, "argon2_parallelism": 4}),
        json!({"argon2_iterations": 0}),
        json!({"argon2_iterations": 17}),
        json!({"argon2_parallelism": 5}),
        json!({"site_url": "example.org"}),
        json!({"site_url": "javascript:alert(1)"}),
        json!({"site_url": "https://a b"}),
        json!({"site_url": ""}),
        json!({"site_url": 1}),
        json!({"environment": "prod"}),
        json!([]),
        json!("enable_signup"),
        json!(null),
    ] {
        let refusal = refused(admin.execute("select auth.configure($1)", &[&settings]));
        assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"), "{settings}");
    }
    let refusal = refused(admin.execute("select auth.configure(null)", &[]));
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("22023", "validation_failed"));
    assert_eq!(configure(&mut admin, json!({})), before);
    let history: i64 =
        admin.query_one("select count(*) from auth.config_history where changes <> '{}'", &[]).unwrap().get(0);
    assert_eq!(history, 1, "what was refused is no history");
}

/// Null means the default, or no limit where there may be none; a duration is given in seconds or as interval text.
#[test]
fn null_is_the_default_or_no_limit() {
    let database = Cluster::shared().database();
    let (mut admin, mut app) = (database.admin(), database.app());
    let all = [
        "site_url",
        "environment",
        "enable_signup",
        "access_token_ttl",
        "refresh_tokens_enabled",
        "refresh_reuse_interval",
        "refresh_reuse_scope",
        "password_min_length",
        "password_max_length",
        "argon2_memory_kib",
        "argon2_iterations",
        "argon2_parallelism",
        "claims_user_metadata",
        "rate_limit_enabled",
        "rate_limit_login",
        "rate_limit_signup",
        "lockout_duration",
        "signup_mode",
        "enable_anonymous",
        "anonymous_role",
        "enable_magic_link",
        "implicit_flow",
        "redirect_allow_list",
        "email_otp_length",
        "email_otp_ttl",
        "verification_ttl",
        "recovery_ttl",
        "magic_link_ttl",
        "verification_resend_interval",
        "debug_mode",
        "test_codes",
        "secure_email_change",
        "reauthentication_required",
        "current_password_required",
        "reset_returns_session",
        "security_notices",
        "notify_events",
        "rate_limit_mail",
        "enable_passkeys",
        "mfa_enabled",
        "mfa_totp_enabled",
        "mfa_sms_enabled",
        "mfa_webauthn_enabled",
        "mfa_enforcement",
        "mfa_required_roles",
        "mfa_max_factors",
        "mfa_challenge_ttl",
        "webauthn_rp_origins",
        "webauthn_user_verification",
        "webauthn_allowed_aaguids",
        "enable_sms",
        "sms_otp_length",
        "sms_otp_ttl",
        "sms_prefixes",
        "rate_limit_sms",
        "require_approval",
        "email_block_disposable",
        "email_block_subaddress",
        "password_prevent_common",
        "password_prevent_user_info",
        "public_profile_fields",
    ];
    let unlimited = [
        "jwt_issuer",
        "totp_issuer",
        "webauthn_rp_name",
        "webauthn_rp_id",
        "webauthn_attestation_roots",
        "sms_budget",
        "refresh_token_ttl",
        "session_timebox",
        "max_active_sessions",
        "rate_limit_network",
        "rate_limit_database",
        "lockout_attempts",
        "verification_resend_limit",
    ];
    let defaults = configure(&mut admin, json!({}));
    assert_eq!(defaults.as_object().unwrap().len(), all.len() + unlimited.len());
    configure(
        &mut admin,
        json!({"site_url": "https://a.example", "environment": "production", "enable_signup": false, "access_token_ttl": "1 hour",
            "refresh_tokens_enabled": false, "refresh_reuse_interval": "5 s", "refresh_reuse_scope": "session",
            "password_min_length": 9, "password_max_length": 99, "argon2_memory_kib": 1024, "argon2_iterations": 3,
            "argon2_parallelism": 2, "claims_user_metadata": false, "max_active_sessions": 2}),
    );
    let mut nulls = serde_json::Map::new();
    for name in all.iter().chain(&unlimited) {
        nulls.insert((*name).to_owned(), Value::Null);
    }
    let in_force = configure(&mut admin, Value::Object(nulls));
    for name in all {
        assert_eq!(in_force[name], defaults[name], "{name}: null is the default");
    }
    for name in unlimited {
        assert_eq!(in_force[name], Value::Null, "{name}: null is no limit");
    }
    // Without limits: sessions without an end, as many as one likes.
    sign_up(&mut app, "ada@example.org", PASSWORD);
    for _ in 0..7 {
        sign_in(&mut app, "ada@example.org", PASSWORD);
    }
    let endless: i64 = database
        .superuser()
        .query_one("select count(*) from auth.sessions where not_after is null", &[])
        .unwrap()
        .get(0);
    assert_eq!(endless, 8);
    // One setting leaves the others as they are, also those without a limit.
    let one = configure(&mut admin, json!({"max_active_sessions": 2}));
    assert_eq!((&one["max_active_sessions"], &one["session_timebox"]), (&json!(2), &Value::Null));
    sign_in(&mut app, "ada@example.org", PASSWORD);
    let left: i64 = database.superuser().query_one("select count(*) from auth.sessions", &[]).unwrap().get(0);
    assert_eq!(left, 2);
}

/// Every change is a row of history in its transaction, with the login that made it and what was given.
#[test]
fn changes_are_history() {
    let database = Cluster::shared().database();
    let mut admin = database.admin();
    configure(&mut admin, json!({"enable_signup": false, "session_timebox": null}));
    let mut transaction = admin.transaction().unwrap();
    configure(&mut transaction, json!({"enable_signup": true}));
    transaction.rollback().unwrap();
    json(&mut database.superuser(), "select auth.apply_profile('strict')", &[]);
    let history: Vec<(String, Value)> = admin
        .query("select changed_by, changes from auth.config_history order by created_at", &[])
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0], ("admin".to_owned(), json!({"enable_signup": false, "session_timebox": null})));
    assert_eq!((history[1].0.as_str(), &history[1].1["access_token_ttl"]), ("postgres", &json!(300)));
    for statement in [
        "delete from auth.config_history",
        "update auth.config set enable_signup = true",
        "insert into auth.config default values",
    ] {
        assert_eq!(refused(admin.execute(statement, &[])).sqlstate, "42501", "{statement}");
    }
    for login in ["app", "service", "sidecar"] {
        let mut client = database.connect(login);
        for statement in [
            "select auth.configure('{}')",
            "select auth.apply_profile('strict')",
            "select from auth.config",
            "select from auth.config_history",
        ] {
            assert_eq!(refused(client.execute(statement, &[])).sqlstate, "42501", "{login}: {statement}");
        }
    }
}

/// F006: a change is in force at the next call of every connection once it is committed, for the changing transaction at
/// once, and after a rollback or a ROLLBACK TO never happened.
#[test]
fn a_change_is_seen_at_the_next_call() {
    let database = Cluster::shared().database();
    let (mut admin, mut app) = (database.admin(), database.app());
    let mut both = database.superuser();
    assert!(sign_up_is_open(&mut app) && sign_up_is_open(&mut both));
    configure(&mut admin, json!({"enable_signup": false}));
    assert!(!sign_up_is_open(&mut app) && !sign_up_is_open(&mut both));
    configure(&mut admin, json!({"enable_signup": true}));
    assert!(sign_up_is_open(&mut app));

    // In the middle of somebody's transaction.
    let mut transaction = app.transaction().unwrap();
    sign_up(&mut transaction, "ada@example.org", PASSWORD);
    configure(&mut admin, json!({"enable_signup": false}));
    let refusal = refused(transaction.execute("select auth.sign_up('eve@example.org', $1)", &[&PASSWORD]));
    assert_eq!(refusal.code, "signup_disabled");
    drop(transaction);
    configure(&mut admin, json!({"enable_signup": true}));

    let mut transaction = both.transaction().unwrap();
    configure(&mut transaction, json!({"enable_signup": false}));
    let mut inner = transaction.savepoint("probe").unwrap();
    assert!(!sign_up_is_open(&mut inner), "whoever changes it sees it at once");
    inner.rollback().unwrap();
    assert!(sign_up_is_open(&mut app), "nobody else does before the commit");
    transaction.rollback().unwrap();
    assert!(sign_up_is_open(&mut both), "and nobody after a rollback");

    let mut transaction = both.transaction().unwrap();
    let mut inner = transaction.savepoint("change").unwrap();
    configure(&mut inner, json!({"enable_signup": false}));
    inner.rollback().unwrap();
    assert!(sign_up_is_open(&mut transaction), "nor after ROLLBACK TO");
    transaction.rollback().unwrap();
}

/// F006: a transaction with an old snapshot does not leave old settings behind on its connection.
#[test]
fn an_old_snapshot_leaves_no_old_settings_behind() {
    let database = Cluster::shared().database();
    let (mut admin, mut app) = (database.admin(), database.app());
    sign_up(&mut app, "ada@example.org", PASSWORD);
    for level in ["repeatable read", "serializable"] {
        configure(&mut admin, json!({"enable_signup": true}));
        assert!(sign_up_is_open(&mut app));
        app.batch_execute(&format!("begin isolation level {level}; select now()")).unwrap();
        configure(&mut admin, json!({"enable_signup": false}));
        // Any flow reads the settings.
        sign_in(&mut app, "ada@example.org", PASSWORD);
        app.batch_execute("commit").unwrap();
        assert!(!sign_up_is_open(&mut app), "{level}");
    }
}

/// Two changes at once are both kept: the second waits for the first and starts from it.
#[test]
fn changes_at_once_are_both_kept() {
    let database = Cluster::shared().database();
    let mut admin = database.admin();
    let mut first = admin.transaction().unwrap();
    configure(&mut first, json!({"access_token_ttl": 60}));
    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| configure(&mut database.admin(), json!({"max_active_sessions": 7})));
        let mut superuser: Client = database.superuser();
        auth_harness::wait_until("the second change to wait", || {
            let waiting = superuser.query_one(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
                &[],
            );
            waiting.unwrap().get::<_, i64>(0) == 1
        });
        first.commit().unwrap();
        second.join().unwrap()
    });
    assert_eq!((&second["access_token_ttl"], &second["max_active_sessions"]), (&json!(60), &json!(7)));
    assert_eq!(configure(&mut database.admin(), json!({})), second);
}

/// F250: an address of the app is stored as every reader understands it: its host by the name that DNS knows, without what says
/// nothing; what browsers and we could read in two ways is refused.
#[test]
fn addresses_are_stored_as_they_are_read() {
    let database = Cluster::shared().database();
    let mut admin = database.admin();
    for (given, stored) in [
        ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
        ("https://B\u{fc}cher.Example/Laden/", "https://xn--bcher-kva.example/Laden"),
        ("HTTPS://App.Example.ORG:443/", "https://app.example.org"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://app.example.org/b\u{fc}cher", "https://app.example.org/b%C3%BCcher"),
        ("http://[2001:DB8::1]:8080/", "http://[2001:db8::1]:8080"),
    ] {
        for name in ["site_url", "jwt_issuer"] {
            let settings = json(&mut admin, "select auth.configure($1)", &[&json!({name: given})]);
            assert_eq!(settings[name], stored, "{name} {given}");
        }
    }
    for given in [
        "https://ada@app.example.org",
        "https://ada:secret@app.example.org",
        "https://app.example.org#top",
        "https://app.example.org/#",
        "https://app.example.org\\evil",
        "https:app.example.org",
        "https:///app.example.org",
        "https://",
        "https://a b.example",
        "https://app.example.org/../up",
        "https://xn--a.example",
        "ftp://app.example.org",
    ] {
        let refusal = refused(admin.query("select auth.configure($1)", &[&json!({"site_url": given})]));
        assert_eq!(refusal.code, "validation_failed", "{given}");
    }
}
