//! PostgREST in front, by its documented protocol: its login, its transaction, its settings and its statements, as version 12
//! sends them. There is no package of it to run here.

use auth_harness::{Client, Cluster, Database, Refusal, claims, json, postgres, refused, sign_up};
use serde_json::{Value, json};

use crate::guard::RIGHT;

/// A request that PostgREST has let through, its token verified or not: `role` is what it took out of it.
struct Request<'a> {
    role: &'a str,
    method: &'a str,
    path: &'a str,
    bearer: Option<&'a str>,
    has_pre_request: bool,
}

impl Request<'_> {
    /// `main` is PostgREST's statement; its one column is the body of the answer.
    fn send(&self, postgrest: &mut Client, main: &str, body: &Value) -> Result<Value, Refusal> {
        let access = if self.method == "GET" { "read only" } else { "read write" };
        let headers = match self.bearer {
            Some(token) => json!({"host": "api", "authorization": format!("Bearer {token}"), "user-agent": "test"}),
            None => json!({"host": "api", "user-agent": "test"}),
        };
        let claims = self.bearer.map_or(json!({"role": self.role}), claims);
        let result = (|| -> Result<Value, postgres::Error> {
            postgrest.batch_execute(&format!("begin isolation level read committed {access}"))?;
            postgrest.execute(
                "select set_config('search_path', '\"auth\", \"public\"', true), set_config('role', $1, true),
                    set_config('request.jwt.claims', $2, true), set_config('request.method', $3, true),
                    set_config('request.path', $4, true), set_config('request.headers', $5, true),
                    set_config('request.cookies', '{}', true)",
                &[&self.role, &claims.to_string(), &self.method, &self.path, &headers.to_string()],
            )?;
            if self.has_pre_request {
                postgrest.execute("select \"auth\".\"authenticate_request\"()", &[])?;
            }
            let row = match main.contains("$1") {
                true => postgrest.query_one(main, &[body])?,
                false => postgrest.query_one(main, &[])?,
            };
            let answer = row.get::<_, Option<Value>>(0).unwrap_or(Value::Null);
            postgrest.batch_execute("commit")?;
            Ok(answer)
        })();
        if result.is_err() {
            postgrest.batch_execute("rollback").unwrap();
        }
        match result {
            Ok(answer) => Ok(answer),
            result => Err(refused(result)),
        }
    }
}

/// `POST /rpc/FUNCTION`, as PostgREST writes the call: arguments by name out of the body.
fn rpc(function: &str, arguments: &[(&str, &str)]) -> String {
    let names: Vec<String> = arguments.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let types: Vec<String> = arguments.iter().map(|(name, kind)| format!("\"{name}\" {kind}")).collect();
    let passed: Vec<String> =
        arguments.iter().map(|(name, _)| format!("\"{name}\" := pgrst_body.\"{name}\"")).collect();
    let call = match arguments.is_empty() {
        true => format!("select \"auth\".\"{function}\"() pgrst_scalar"),
        false => format!(
            "select pgrst_call.pgrst_scalar from (select $1::json as json_data) pgrst_payload,
                lateral (select {} from json_to_record(pgrst_payload.json_data) as _({}) limit 1) pgrst_body,
                lateral (select \"auth\".\"{function}\"({}) pgrst_scalar) pgrst_call",
            names.join(", "),
            types.join(", "),
            passed.join(", ")
        ),
    };
    format!(
        "with pgrst_source as ({call})
        select coalesce(json_agg(_postgrest_t.pgrst_scalar) -> 0, 'null') as body
        from (select pgrst_source.pgrst_scalar from pgrst_source) _postgrest_t"
    )
}

const SIGN_IN: [(&str, &str); 2] = [("email", "text"), ("password", "text")];
const NOTES: &str = "with pgrst_source as (select \"public\".\"notes\".\"body\" from \"public\".\"notes\")
    select coalesce(json_agg(_postgrest_t), '[]') as body from (select * from pgrst_source) _postgrest_t";
const NEW_NOTE: &str = "with pgrst_source as (
        insert into \"public\".\"notes\" (\"body\") select \"body\" from json_to_record($1::json) as _(\"body\" text)
        returning \"public\".\"notes\".*)
    select to_json(true) as body from pgrst_source";

fn database() -> (Database, Client) {
    let database = Cluster::shared().database().without_limits();
    let login = format!("authenticator_of_{}", database.name());
    database
        .superuser()
        .batch_execute(&format!(
            "create role {login} login noinherit; grant anon, authenticated to {login};
            create table public.notes (
                id bigint generated always as identity primary key,
                owner_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
                body text not null
            );
            alter table public.notes enable row level security;
            create policy own on public.notes to authenticated using (auth.uid() = owner_id);
            create table public.shared (body text);
            insert into public.shared values ('for all who are signed in');
            grant select on public.shared to authenticated;
            grant select, insert on public.notes to authenticated"
        ))
        .unwrap();
    let postgrest = database.connect(&login);
    (database, postgrest)
}

fn post<'a>(path: &'a str, role: &'a str, bearer: Option<&'a str>) -> Request<'a> {
    Request { role, method: "POST", path, bearer, has_pre_request: true }
}

/// N29: `POST /rpc/sign_up`, `/rpc/sign_in` and their kin over PostgREST's connection are an API of authentication; what comes
/// back is a token under which policies by auth.uid() see its user's rows and no others, in GET's read-only transactions too.
#[test]
fn functions_are_an_api_and_policies_know_the_caller() {
    let (database, mut postgrest) = database();
    let body = json!({"email": "ada@example.org", "password": RIGHT});
    let made = post("/rpc/sign_up", "anon", None).send(&mut postgrest, &rpc("sign_up", &SIGN_IN), &body).unwrap();
    assert_eq!(made["status"], "session");
    let ada = post("/rpc/sign_in", "anon", None).send(&mut postgrest, &rpc("sign_in", &SIGN_IN), &body).unwrap();
    let eve = sign_up(&mut database.app(), "eve@example.org", RIGHT);
    let token = ada["access_token"].as_str().unwrap();
    let wrong = json!({"email": "ada@example.org", "password": "wrong password"});
    let refusal =
        post("/rpc/sign_in", "anon", None).send(&mut postgrest, &rpc("sign_in", &SIGN_IN), &wrong).unwrap_err();
    assert_eq!((refusal.sqlstate.as_str(), refusal.code.as_str()), ("28P01", "invalid_credentials"));

    for has_pre_request in [true, false] {
        for (token, body) in [(token, "of ada"), (&eve.access_token, "of eve")] {
            let write = Request { has_pre_request, ..post("/notes", "authenticated", Some(token)) };
            write.send(&mut postgrest, NEW_NOTE, &json!({"body": body})).unwrap();
            let read = Request { method: "GET", ..write };
            let seen = read.send(&mut postgrest, NOTES, &json!({})).unwrap();
            let seen: Vec<&str> = seen.as_array().unwrap().iter().map(|row| row["body"].as_str().unwrap()).collect();
            assert!(!seen.is_empty() && seen.iter().all(|seen| *seen == body), "{seen:?}");
        }
    }
    let me =
        post("/rpc/get_user", "authenticated", Some(token)).send(&mut postgrest, &rpc("get_user", &[]), &json!({}));
    assert_eq!(me.unwrap()["email"], "ada@example.org");
    let refresh = json!({"refresh_token": ada["refresh_token"]});
    let call = rpc("refresh", &[("refresh_token", "text")]);
    let next = post("/rpc/refresh", "anon", None).send(&mut postgrest, &call, &refresh).unwrap();
    assert_eq!(next["status"], "session");
    // Nothing of one request is left for the next one.
    let refusal = post("/notes", "anon", None).send(&mut postgrest, NOTES, &json!({})).unwrap_err();
    assert_eq!(refusal.sqlstate, "42501");
    let nobody = post("/rpc/uid", "anon", None).send(&mut postgrest, &rpc("uid", &[]), &json!({}));
    assert_eq!(nobody.unwrap(), Value::Null);
}

/// N29: db-pre-request refuses an ended session, a ban and a forgery before the request runs, also where no policy asks; it takes
/// the role from the token that it has verified and never one that the login may not be; what is not granted stays so.
#[test]
fn the_pre_request_believes_nobody_else() {
    let (database, mut postgrest) = database();
    let ada = sign_up(&mut database.app(), "ada@example.org", RIGHT);
    let shared = "with pgrst_source as (select * from \"public\".\"shared\")
        select coalesce(json_agg(_postgrest_t), '[]') as body from (select * from pgrst_source) _postgrest_t";
    let get = |role, bearer, has_pre_request| Request { role, method: "GET", path: "/shared", bearer, has_pre_request };
    let ask = |client: &mut Client, request: Request<'_>| {
        request.send(client, shared, &json!({})).map_err(|refusal| refusal.code)
    };
    let token = ada.access_token.as_str();
    assert!(ask(&mut postgrest, get("authenticated", Some(token), true)).is_ok());
    // The role is that of the verified token, whatever PostgREST took.
    assert!(ask(&mut postgrest, get("anon", Some(token), true)).is_ok());
    let key = json(&mut database.admin(), "select auth.create_key('anon')", &[]);
    let refusal = ask(&mut postgrest, get("authenticated", key["key"].as_str(), true));
    assert_eq!(refusal, Err(String::new()), "a project's key of anon is anon");
    let strong = json(&mut database.admin(), "select auth.create_key('service_role')", &[]);
    let refused_role = get("anon", strong["key"].as_str(), true).send(&mut postgrest, shared, &json!({})).unwrap_err();
    assert_eq!(refused_role.sqlstate, "42501", "the login is no member of service_role: {refused_role:?}");
    let (head, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
    assert_eq!(ask(&mut postgrest, get("authenticated", Some(&forged), true)), Err("bad_jwt".into()));

    // Without the line such a request is let through to what asks for nobody; auth.uid() refuses by itself.
    database.superuser().execute("delete from auth.sessions where user_id = $1", &[&ada.user_id]).unwrap();
    assert!(ask(&mut postgrest, get("authenticated", Some(token), false)).is_ok());
    let read = Request { has_pre_request: false, ..post("/rpc/uid", "authenticated", Some(token)) };
    assert_eq!(read.send(&mut postgrest, &rpc("uid", &[]), &json!({})).unwrap_err().code, "session_not_found");
    assert_eq!(ask(&mut postgrest, get("authenticated", Some(token), true)), Err("session_not_found".into()));
    let eve = sign_up(&mut database.app(), "eve@example.org", RIGHT);
    let ban = "update auth.users set banned_until = 'infinity' where id = $1";
    database.superuser().execute(ban, &[&eve.user_id]).unwrap();
    assert_eq!(ask(&mut postgrest, get("authenticated", Some(&eve.access_token), true)), Err("user_banned".into()));

    // Claims without a bearer are nobody's, and no function of the service or of administrators is reached.
    postgrest.batch_execute("begin").unwrap();
    let claimed = json!({"sub": ada.user_id.to_string(), "role": "authenticated"}).to_string();
    postgrest
        .execute(
            "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)",
            &[&claimed],
        )
        .unwrap();
    postgrest.execute("select auth.authenticate_request()", &[]).unwrap();
    assert_eq!(json(&mut postgrest, "select to_jsonb(auth.uid())", &[]), Value::Null);
    postgrest.batch_execute("rollback").unwrap();
    for function in ["admin_list_users", "gate_status", "claim_outbox", "configure"] {
        let refusal =
            post("/rpc", "authenticated", None).send(&mut postgrest, &rpc(function, &[]), &json!({})).unwrap_err();
        assert!(["42501", "42883"].contains(&refusal.sqlstate.as_str()), "{function}: {refusal:?}");
    }
    assert_eq!(refused(postgrest.execute("select auth.authenticate_request()", &[])).sqlstate, "42501", "noinherit");
}
