//! XG2, XG3, XG4, XG15: the addresses that open redirects were made of, and the ones that must go on working.

use super::*;

const SITE: &str = "https://app.example.com";
const LIST: [&str; 9] = [
    "https://allowed.com/callback",
    "https://*.preview.example.net/done",
    "https://foo.example.com/*",
    "http://localhost:5173",
    "http://[::1]:8080/",
    "https://docs.example.org/a/*/c",
    "https://query.example.org/?only=this",
    "myapp://callback",
    "com.example.app:/oauth",
];

fn list(entries: &[&str]) -> Vec<String> {
    entries.iter().map(|entry| (*entry).to_owned()).collect()
}

fn check(target: &str) -> Option<String> {
    allowed(target, SITE, &list(&LIST))
}

#[test]
fn good_addresses_are_emitted_normalised() {
    for (target, emitted) in [
        ("https://app.example.com", "https://app.example.com/"),
        ("https://app.example.com/", "https://app.example.com/"),
        ("https://app.example.com:443/welcome", "https://app.example.com/welcome"),
        ("HTTPS://APP.Example.COM/Welcome?a=1&b=https://x/#top", "https://app.example.com/Welcome?a=1&b=https://x/"),
        ("https://app.example.com/a/b/c/", "https://app.example.com/a/b/c/"),
        ("https://app.example.com/v1.2/file.html", "https://app.example.com/v1.2/file.html"),
        ("https://app.example.com/...", "https://app.example.com/..."),
        ("https://app.example.com/caf\u{e9}", "https://app.example.com/caf%C3%A9"),
        ("https://app.example.com/a%20b", "https://app.example.com/a%20b"),
        ("https://app.example.com?next=1", "https://app.example.com/?next=1"),
        ("https://app.example.com#", "https://app.example.com/"),
        ("https://allowed.com/callback", "https://allowed.com/callback"),
        ("https://allowed.com/callback?state=x%2F..%2F", "https://allowed.com/callback?state=x%2F..%2F"),
        ("https://pr-17.preview.example.net/done", "https://pr-17.preview.example.net/done"),
        ("https://foo.example.com/bar", "https://foo.example.com/bar"),
        ("http://localhost:5173", "http://localhost:5173/"),
        ("http://[::1]:8080/", "http://[::1]:8080/"),
        ("http://[0:0:0:0:0:0:0:1]:8080", "http://[::1]:8080/"),
        ("https://docs.example.org/a/b/c", "https://docs.example.org/a/b/c"),
        ("https://query.example.org/?only=this", "https://query.example.org/?only=this"),
        ("myapp://callback", "myapp://callback"),
        ("MYAPP://callback?code=1", "myapp://callback?code=1"),
        ("com.example.app:/oauth", "com.example.app:/oauth"),
    ] {
        assert_eq!(check(target).as_deref(), Some(emitted), "{target}");
        assert_eq!(check(emitted).as_deref(), Some(emitted), "what is emitted is allowed itself");
    }
}

#[test]
fn hostile_addresses_are_refused() {
    for target in [
        // nothing, or not absolute
        "",
        "/",
        "/welcome",
        "//evil.com",
        "///evil.com",
        "app.example.com",
        "https:",
        "https:/",
        "https://",
        "https:///",
        "https:app.example.com/",
        "https:/app.example.com/",
        "https:///app.example.com/",
        "https:////evil.com",
        "https://?x",
        "?https://app.example.com",
        "#https://app.example.com",
        // a host that begins, ends or looks like a listed one
        "https://app.example.com.evil.com/",
        "https://allowed.com.evil.com/callback",
        "https://evil-app.example.com/",
        "https://evilallowed.com/callback",
        "https://evil.com/app.example.com",
        "https://evil.com?https://app.example.com/",
        "https://evil.com#https://app.example.com/",
        "https://evil.com#@app.example.com/",
        "https://app.example.com./",
        "https://app.example.co",
        "https://example.com/",
        "https://app.example.com.",
        "https://app\u{2024}example.com/x\u{2024}",
        "https://\u{430}pp.example.com/",
        "https://app.example.com\u{ff0e}evil.com/",
        "https://app.example.com\u{3002}evil.com/",
        "https://evil.c\u{2100}app.example.com/",
        "https://xn--pp-7ka.example.com/",
        "https://app.example.com%2eevil.com/",
        "https://app.example.com%00.evil.com/",
        "https://app.example.com%2f@evil.com/",
        // userinfo
        "https://app.example.com@evil.com/",
        "https://app.example.com:443@evil.com/",
        "https://user:password@app.example.com/",
        "https://user@app.example.com/",
        "https://@app.example.com/",
        "https://:@app.example.com/",
        "https://evil.com\\@app.example.com/",
        "https://app.example.com&@evil.com/",
        "https://evil.com;@app.example.com/",
        // slashes, backslashes, white space, controls
        "https:\\\\app.example.com/",
        "https:/\\evil.com",
        "https://app.example.com\\.evil.com/",
        "https://app.example.com/\\evil.com",
        "https://app.example.com/\\/evil.com",
        "https://app.example.com//evil.com",
        "https://app.example.com/a//evil.com",
        "https://app.example.com///",
        "/\t/evil.com",
        "https://app.example.com/\t/evil.com",
        "https://app.example.com/\n",
        "https://app.example.com/\r\nLocation: https://evil.com",
        "https://app.example.com/\0",
        " https://app.example.com/",
        "https://app.example.com/ ",
        "https://app.example.com/a b",
        "https://app.example.com/\u{a0}",
        "https://app.example.com/\u{85}",
        "ht\ntps://app.example.com/",
        "\u{1}https://app.example.com/",
        "https://app.example.com/?a=\\",
        // dots, encoded and not
        "https://app.example.com/..",
        "https://app.example.com/.",
        "https://app.example.com/a/../b",
        "https://app.example.com/a/./b",
        "https://app.example.com/..;/admin",
        "https://app.example.com/.;a=1/admin",
        "https://app.example.com/%2e%2e/admin",
        "https://app.example.com/%2E./admin",
        "https://app.example.com/.%2e;/admin",
        "https://app.example.com/..%3b/admin",
        "https://app.example.com/%252e%252e/admin",
        "https://app.example.com/%2f/evil.com",
        "https://app.example.com/%2Fevil.com",
        "https://app.example.com/%5cevil.com",
        "https://app.example.com/%5C..%5C",
        "https://app.example.com/%09/evil.com",
        "https://app.example.com/%0d%0aLocation:x",
        "https://app.example.com/%00",
        "https://app.example.com/%",
        "https://app.example.com/%2",
        "https://app.example.com/%zz",
        "https://app.example.com/%+2",
        // scheme and port
        "http://app.example.com/",
        "https://app.example.com:8443/",
        "https://app.example.com:80/",
        "https://app.example.com:0/",
        "https://app.example.com:99999/",
        "https://app.example.com:-1/",
        "https://app.example.com:443:443/",
        "http://localhost/",
        "http://localhost:51730/",
        "https://localhost:5173/",
        "http://127.0.0.1:5173/",
        "http://2130706433:5173/",
        "http://[::1]/",
        "http://[::2]:8080/",
        "http://[::ffff:127.0.0.1]:8080/",
        "http://[::1%25eth0]:8080/",
        "ftp://app.example.com/",
        "ws://app.example.com/",
        "javascript:alert(1)",
        "javascript://app.example.com/%0aalert(1)",
        "JaVaScRiPt://app.example.com/",
        "java\nscript://app.example.com/",
        "data:text/html,x",
        "data://app.example.com/",
        "vbscript:x",
        "file:///etc/passwd",
        "file://app.example.com/",
        "blob:https://app.example.com/x",
        "about:blank",
        "view-source:https://app.example.com/",
        "mailto:a@example.com",
        // the list is exact
        "https://allowed.com/",
        "https://allowed.com/callback/",
        "https://allowed.com/callback/x",
        "https://allowed.com/callback.evil",
        "https://allowed.com/Callback",
        "https://allowed.com/callbac",
        "http://allowed.com/callback",
        "https://allowed.com:444/callback",
        "https://query.example.org/",
        "https://query.example.org/?only=that",
        "myapp://callback/",
        "myapp://callback/x",
        "myapp://callback:1",
        "myapp://callback.evil",
        "myapp://evil",
        "myapp:callback",
        "myapp:/callback",
        "myapp:///callback",
        "myapp://a@callback",
        "myapps://callback",
        "com.example.app:/oauth/x",
        "com.example.app://oauth",
        "com.example.app:oauth",
        // a wildcard is neither a dot nor a slash, and not nothing
        "https://preview.example.net/done",
        "https://.preview.example.net/done",
        "https://a.b.preview.example.net/done",
        "https://evil.com/.preview.example.net/done",
        "https://evilpreview.example.net/done",
        "https://*.preview.example.net/done",
        "https://fooaexample.com/bar",
        "https://foo.example.com/",
        "https://foo.example.com/a/b",
        "https://foo.example.com/a.b",
        "https://docs.example.org/a//c",
        "https://docs.example.org/a/b/d/c",
        "https://docs.example.org/a/c",
    ] {
        assert_eq!(check(target), None, "{target:?}");
    }
}

#[test]
fn only_what_is_below_the_path_of_the_site_is_of_the_site() {
    let site = "https://example.com/app";
    for (target, is_allowed) in [
        ("https://example.com/app", true),
        ("https://example.com/app/", true),
        ("https://example.com/app/deep/er?x", true),
        ("https://example.com/", false),
        ("https://example.com/application", false),
        ("https://example.com/App", false),
        ("https://example.com/app/../admin", false),
        ("https://example.com/app/..;/admin", false),
        ("https://example.com/app/%2e%2e/admin", false),
    ] {
        assert_eq!(allowed(target, site, &[]).is_some(), is_allowed, "{target}");
    }
}

#[test]
fn what_is_listed_but_not_an_address_allows_nothing() {
    let hostile = [
        "*",
        "**",
        "https://*",
        "https://*/",
        "*://app.example.com/",
        "https://evil.com@good.com/",
        "javascript:alert(1)",
        "javascript://x/",
        "data:text/html,x",
        "file:///x",
        "//evil.com/",
        "evil.com",
        "myapp:*",
        "myapp://*",
        "",
    ];
    for target in [
        "https://evil.com/",
        "https://good.com/",
        "javascript:alert(1)",
        "javascript://x/",
        "data:text/html,x",
        "file:///x",
        "myapp://callback",
        "myapp:callback",
        "evil.com",
        "//evil.com/",
    ] {
        assert_eq!(allowed(target, "http://localhost:3000", &list(&hostile)), None, "{target}");
    }
    // A site that is no web address allows nothing either.
    for site in ["", "app.example.com", "myapp://callback", "javascript://x/", "file:///"] {
        for target in ["https://app.example.com/", "myapp://callback", "javascript://x/", "file:///"] {
            assert_eq!(allowed(target, site, &[]), None, "{site} {target}");
        }
    }
}

#[test]
fn long_texts_are_refused() {
    let of = |bytes: usize| {
        let start = "https://app.example.com/";
        format!("{start}{}", "a".repeat(bytes - start.len()))
    };
    assert!(check(&of(MAX_BYTES)).is_some());
    assert_eq!(check(&of(MAX_BYTES + 1)), None);
    // Of 1,000 characters each is written as six.
    assert_eq!(check(&format!("https://app.example.com/{}", "\u{e9}".repeat(900))), None);
    assert_eq!(check(&"x".repeat(10_000_000)), None);
}

#[test]
fn many_wildcards_do_not_multiply() {
    // Tried one after the other these would never end.
    let entry = format!("https://a.example/{}b", "*".repeat(900));
    let target = format!("https://a.example/{}", "a".repeat(1900));
    assert_eq!(allowed(&target, SITE, &[entry]), None);
}
