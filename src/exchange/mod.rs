//! The way in for an app to which a browser came back with a code.

use pgrx::prelude::*;
use pgrx::{JsonB, extension_sql_file};
use serde_json::json;
use uuid::Uuid;

use crate::door::{self, BeforeMfa, Way};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::options::{self, JsonArgument, given};
use crate::platform::{log, silence};
use crate::{config, flow, guard};

extension_sql_file!("exchange.sql", name = "exchange", requires = ["otp"]);

#[pg_extern(sql = false)]
fn exchange_code(code: Option<&str>, code_verifier: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    silence::call_is_secret();
    let mut user_id = None;
    let result = try_exchange(code, code_verifier, options, &mut user_id);
    log::outcome("exchange_code", user_id, &result);
    Ok(result?)
}

fn try_exchange(
    code: Option<&str>,
    verifier: Option<&str>,
    options: JsonArgument,
    user_id: &mut Option<Uuid>,
) -> Result<JsonB> {
    backend::must_write()?;
    let before_mfa = BeforeMfa::read(&options::only(options, &[door::OPTION])?)?;
    let config = config::current()?;
    let code = given(code, "code")?;
    silence::check_literal(code)?;
    let attempt = guard::attempt(&guard::LINK, "", json!({}), &config)?;
    let answer = flow::find(code)
        .inspect(|found| *user_id = Some(found.user_id))
        .and_then(|found| found.check_verifier(verifier).map(|()| found))
        .and_then(|found| match attempt.spend(found.id, found.expires_at) {
            Err(Error::OtpExpired) => Err(Error::FlowStateNotFound),
            other => other.map(|()| found),
        })
        .and_then(|found| found.remove().map(|()| found))
        .inspect(|_| attempt.is_right())
        .and_then(|found| {
            door::let_in(found.user_id, Way::by_mail(&found.method, "login_success").before_mfa(before_mfa))
        });
    attempt.end(answer, *user_id)
}
