//! Domains that hand out addresses for a few minutes, to anybody.

/// Whether it is one, or below one. `domain` is that of an [`Email`](crate::email::Email).
pub fn is_disposable(domain: &str) -> bool {
    mailchecker::blacklist()
        .into_iter()
        .any(|listed| domain.strip_suffix(listed).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::email::Email;

    /// B068: those that everybody knows are listed, with what is below them; the great providers, what only ends alike, and the
    /// domains of documentation (RFC 2606) are not.
    #[test]
    fn who_is_listed() {
        for domain in ["mailinator.com", "guerrillamail.com", "10minutemail.com", "yopmail.com", "a.b.mailinator.com"] {
            assert!(is_disposable(domain), "{domain}");
        }
        for domain in [
            "gmail.com",
            "outlook.com",
            "icloud.com",
            "proton.me",
            "gmx.de",
            "reallymailinator.com",
            "mailinator.com.example",
        ] {
            assert!(!is_disposable(domain), "{domain}");
        }
        for domain in ["example.com", "example.org", "example.net", "x.test", "com", "org", "de", "co.uk"] {
            assert!(!is_disposable(domain), "{domain}");
        }
    }

    /// The list is written as our domains are: otherwise an entry would never be found.
    #[test]
    fn every_entry_is_found() {
        let missed = mailchecker::blacklist()
            .into_iter()
            .filter(|listed| !Email::parse(&format!("x@{listed}")).is_ok_and(|email| email.domain() == *listed));
        assert!(missed.count() <= 20, "entries that no address has");
    }
}
