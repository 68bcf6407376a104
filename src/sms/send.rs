//! Asking for a code.

use auth_core::phone::Phone;
use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{change, codes};
use crate::audit::{self, Entry};
use crate::config::{self, Config};
use crate::outbox::{self, Message};
use crate::platform::backend;
use crate::platform::error::{Answer, Error, Result};
use crate::platform::log;
use crate::platform::options::{self, JsonArgument, given};
use crate::{door, guard, mail, users};

/// What a code that signs in is called by the clients of the HTTP API.
pub const TYPE: &str = "sms";

#[pg_extern(sql = false)]
fn send_sms_otp(phone: Option<&str>, options: JsonArgument) -> Answer<JsonB> {
    let result = try_send(phone, options);
    log::outcome("send_sms_otp", None, &result);
    Ok(result?)
}

fn try_send(phone: Option<&str>, options: JsonArgument) -> Result<JsonB> {
    backend::must_write()?;
    let options = options::only(options, &["create_user", "data", "channel", "locale", "again", "type"])?;
    let config = config::current()?;
    let phone = reachable(given(phone, "phone")?, &config)?;
    let wish = Wish::read(&options)?;
    match options::text(&options, "type")? {
        None | Some(TYPE) => {}
        Some(change::TYPE) if wish.is_again => {
            change::send_again(&phone, &options, &config)?;
            return Ok(JsonB(json!({"status": "code_sent"})));
        }
        Some(change::TYPE) => {
            return Err(Error::invalid(
                "a change is not begun here",
                "auth.update_phone begins one; option again repeats it",
            ));
        }
        Some(_) => return Err(Error::invalid("unknown type", "types are: sms, phone_change")),
    }
    // Before it is looked at whether anybody has the number; and every request wakes the courier.
    outbox::wake()?;
    guard::count_sms(guard::SMS_OF_SIGN_IN, phone.digits(), &config)?;
    // Whoever is banned gets no SMS and no other answer.
    let account = users::find_by_phone(&phone)?;
    let welcome = account.filter(|id| door::must_be_welcome(*id).is_ok());
    let (may_create, data) = wish.of_new_account(&phone)?;
    let is_wanted = welcome.is_some() || account.is_none() && may_create && config.enable_signup;
    audit::record(&Entry {
        event_type: "otp_requested",
        code: None,
        user_id: welcome,
        session_id: None,
        data: json!({"phone": phone.digits(), "channel": "sms"}),
    })?;
    let fixed = fixed_code(&phone, &config);
    let data = json!({"create_user": may_create, "data": data});
    let issued = codes::issue(&phone, None, fixed.as_deref(), data, &config)?;
    let recipient = Recipient { user_id: welcome, phone: &phone, locale: wish.locale.as_deref(), verify_type: TYPE };
    write(&recipient, &issued, is_wanted && fixed.is_none(), &config)?;
    Ok(JsonB(json!({"status": "code_sent"})))
}

/// A number that SMS may go to here.
pub fn reachable(phone: &str, config: &Config) -> Result<Phone> {
    if !config.sms.is_enabled {
        return Err(Error::PhoneProviderDisabled);
    }
    let phone = users::parse_phone(phone)?;
    must_be_reachable(&phone, config)?;
    Ok(phone)
}

pub fn must_be_reachable(phone: &Phone, config: &Config) -> Result<()> {
    match config.sms.prefixes.is_empty() || phone.has_prefix(&config.sms.prefixes) {
        true => Ok(()),
        false => Err(Error::invalid(
            "no SMS are sent to numbers that begin so",
            format!("numbers begin with one of: {}", config.sms.prefixes.join(", ")),
        )),
    }
}

pub fn check_channel(options: &Map<String, Value>) -> Result<()> {
    match mail::text(options, "channel")?.is_none_or(|channel| channel == "sms") {
        true => Ok(()),
        false => Err(Error::invalid("unknown channel", "the only channel is sms")),
    }
}

/// What whoever asks wants of it.
struct Wish {
    may_create: bool,
    data: Map<String, Value>,
    locale: Option<String>,
    /// As the request before it.
    is_again: bool,
}

impl Wish {
    fn read(options: &Map<String, Value>) -> Result<Wish> {
        let switch = |name: &str, default: bool| match options.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(switch)) => Ok(*switch),
            Some(_) => Err(Error::invalid(format!("option {name} is no boolean"), "true or false")),
        };
        check_channel(options)?;
        Ok(Wish {
            may_create: switch("create_user", true)?,
            data: users::check_metadata(options.get("data").filter(|data| !data.is_null()).cloned())?,
            locale: mail::locale(options)?,
            is_again: switch("again", false)?,
        })
    }

    /// Whether an unknown number gets an account, and with which user metadata.
    fn of_new_account(&self, phone: &Phone) -> Result<(bool, Value)> {
        let latest = codes::latest_data(phone)?;
        match (self.is_again, latest) {
            (false, _) => Ok((self.may_create, Value::Object(self.data.clone()))),
            (true, Some(latest)) => Ok((latest["create_user"] == json!(true), latest["data"].clone())),
            (true, None) => Ok((false, json!({}))),
        }
    }
}

/// A code that needs no SMS: that of debug mode, or of a number that the app's tests use.
pub fn fixed_code(phone: &Phone, config: &Config) -> Option<String> {
    mail::test_code(|number| Phone::parse(number).is_ok_and(|number| number == *phone), config)
}

/// Who gets it.
pub struct Recipient<'a> {
    /// None: nobody has the number.
    pub user_id: Option<Uuid>,
    pub phone: &'a Phone,
    /// None: what the user's metadata says.
    pub locale: Option<&'a str>,
    /// As the clients of the HTTP API name what the code is for.
    pub verify_type: &'static str,
}

/// The same work whether or not it is to be sent.
pub fn write(to: &Recipient<'_>, issued: &codes::Issued, is_wanted: bool, config: &Config) -> Result<()> {
    let phone = to.phone;
    let person = json!({"id": to.user_id, "phone": phone.digits(), "user_metadata": mail::user_metadata(to.user_id)?});
    let ends = backend::iso8601(issued.expires_at);
    let payload = json!({
        "type": to.verify_type,
        "code": issued.code.as_str(),
        "code_expires_at": ends,
        "expires_at": ends,
        "phone": phone.digits(),
        "site_url": config.site_url,
        "user": person,
    });
    let message = Message {
        channel: "sms",
        kind: "sms_otp",
        recipient: &phone.e164(),
        locale: to.locale.or_else(|| mail::locale_of(&person)),
        payload,
        expires_at: Some(issued.expires_at),
    };
    outbox::write_if(is_wanted, &message).map(drop)
}
