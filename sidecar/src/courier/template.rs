//! The default templates, which are part of the program. A file is a subject, then `--- text`, then `--- html`.

/// What a mail is made of before it is rendered: a default, or an override from `auth.templates`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub subject: String,
    pub text: String,
    /// None: the mail has a text part only.
    pub html: Option<String>,
}

/// The kinds of mail, each with the member of `type` that its link carries.
pub const KINDS: [(&str, &str); 18] = [
    ("confirmation", "signup"),
    ("invite", "invite"),
    ("magiclink", "magiclink"),
    ("otp", "magiclink"),
    ("recovery", "recovery"),
    ("email_change", "email_change"),
    ("email_change_current", "email_change"),
    ("reauthentication", "reauthentication"),
    ("existing_account", ""),
    ("password_changed", ""),
    ("email_changed", ""),
    ("phone_changed", ""),
    ("new_sign_in", ""),
    ("identity_linked", ""),
    ("factor_added", ""),
    ("factor_removed", ""),
    ("passkey_added", ""),
    ("passkey_removed", ""),
];

/// What every HTML part extends, and what it imports.
pub const LAYOUT: &str = include_str!("../../templates/layout.html");
pub const PARTS: &str = include_str!("../../templates/parts.html");

macro_rules! files {
    ($locale:literal: $($kind:literal)*) => {
        ($locale, &[$(($kind, include_str!(concat!("../../templates/", $locale, "/", $kind, ".mail")))),*])
    };
}

const DEFAULTS: [(&str, &[(&str, &str)]); 2] = [
    files!("en": "confirmation" "invite" "magiclink" "otp" "recovery" "email_change" "email_change_current"
        "reauthentication" "existing_account" "password_changed" "email_changed" "phone_changed" "new_sign_in" "identity_linked"
        "factor_added" "factor_removed" "passkey_added" "passkey_removed"),
    files!("de": "confirmation" "invite" "magiclink" "otp" "recovery" "email_change" "email_change_current"
        "reauthentication" "existing_account" "password_changed" "email_changed" "phone_changed" "new_sign_in" "identity_linked"
        "factor_added" "factor_removed" "passkey_added" "passkey_removed"),
];

pub fn has_locale(locale: &str) -> bool {
    DEFAULTS.iter().any(|(name, _)| *name == locale)
}

/// The language to write in: the one asked for (`de-AT`), its language (`de`), or the one of the settings.
pub fn choose_locale(asked: Option<&str>, default: &str) -> String {
    let asked = asked.unwrap_or_default().to_ascii_lowercase().replace('_', "-");
    let language = asked.split('-').next().unwrap_or_default();
    [asked.as_str(), language, default].into_iter().find(|locale| has_locale(locale)).unwrap_or("en").to_owned()
}

/// The default of a kind; None for a kind that there is not.
pub fn default_template(kind: &str, locale: &str) -> Option<Template> {
    let (_, files) = DEFAULTS.iter().find(|(name, _)| *name == locale)?;
    let (_, source) = files.iter().find(|(name, _)| *name == kind)?;
    parse(source).ok()
}

/// # Errors
/// What the file lacks.
pub fn parse(source: &str) -> Result<Template, String> {
    let (subject, rest) = source.split_once("\n--- text\n").ok_or("there is no line `--- text`")?;
    let (text, html) = match rest.split_once("\n--- html\n") {
        Some((text, html)) => (text, Some(html.to_owned())),
        None => (rest, None),
    };
    Ok(Template { subject: subject.trim().to_owned(), text: text.to_owned(), html })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_default_in_every_language() {
        for (locale, files) in DEFAULTS {
            assert_eq!(files.len(), KINDS.len(), "{locale}");
            for (kind, _) in KINDS {
                let template = default_template(kind, locale).unwrap();
                assert!(!template.subject.is_empty() && template.html.is_some(), "{kind} {locale}");
            }
        }
        assert_eq!(default_template("unknown", "en"), None);
    }

    #[test]
    fn the_language_is_the_nearest_there_is() {
        for (asked, default, chosen) in [
            (Some("de"), "en", "de"),
            (Some("de-AT"), "en", "de"),
            (Some("DE_ch"), "en", "de"),
            (Some("fr"), "de", "de"),
            (Some("../../etc"), "en", "en"),
            (Some(""), "en", "en"),
            (None, "de", "de"),
        ] {
            assert_eq!(choose_locale(asked, default), chosen, "{asked:?}");
        }
    }
}
