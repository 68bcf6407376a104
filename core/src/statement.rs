//! What the text of a statement gives away: whether it calls one of some functions, sets one of some settings, executes
//! something prepared, or has a value written into it.
//!
//! It is asked inside error reporting, so nothing here allocates or panics, and each question is one pass over the text.
//! The text need not parse: a call that is cut off, or stands in a string that is executed later, counts as well.

/// Whether one of the functions is called: its name as a whole word, whatever stands before it, and then a parenthesis.
/// Quotes around the name, spaces and comments do not hide it; a name with Unicode escapes may be any.
pub fn calls(text: &[u8], mut is_wanted: impl FnMut(&[u8]) -> bool) -> bool {
    words(text).any(|Word { text, rest }| {
        if text.eq_ignore_ascii_case(b"u") && rest.starts_with(b"&\"") {
            let name = near(rest).get(2..).unwrap_or_default();
            let end = name.iter().position(|byte| *byte == b'"').unwrap_or(name.len());
            return opens(name.get(end..).unwrap_or_default());
        }
        is_wanted(text) && opens(rest)
    })
}

/// Whether a setting of two words, `auth.token`, is named.
pub fn names_setting(text: &[u8], (first, second): (&[u8], &[u8])) -> bool {
    words(text).any(|word| {
        word.text.eq_ignore_ascii_case(first)
            && skip(near(word.rest)).strip_prefix(b".").map(skip).is_some_and(|after| {
                words(after).next().is_some_and(|next| {
                    next.text.eq_ignore_ascii_case(second) && after.len() == next.text.len() + next.rest.len()
                })
            })
    })
}

/// Whether a prepared statement is executed whose name, as it is written, is one of those.
pub fn executes(text: &[u8], mut is_wanted: impl FnMut(&[u8]) -> bool) -> bool {
    words(text).any(|word| {
        word.text.eq_ignore_ascii_case(b"execute") && words(word.rest).next().is_some_and(|name| is_wanted(name.text))
    })
}

/// Whether the value is written into the text as a literal: between quotes, there doubled, or between dollar quotes.
pub fn has_literal(text: &[u8], value: &[u8]) -> bool {
    if value.is_empty() || value.len() > FAR {
        return false;
    }
    (0..text.len()).any(|at| {
        let Some((before, rest)) = text.split_at_checked(at) else { return false };
        match before.last() {
            Some(b'\'') => after_quoted(rest, value).is_some_and(|rest| rest.first() == Some(&b'\'')),
            Some(b'$') => rest.strip_prefix(value).is_some_and(|rest| rest.first() == Some(&b'$')),
            _ => false,
        }
    })
}

/// What follows the value, whose quotes may be doubled any number of times: a literal inside a literal doubles them again.
fn after_quoted<'a>(mut text: &'a [u8], value: &[u8]) -> Option<&'a [u8]> {
    for byte in value {
        text = text.strip_prefix(std::slice::from_ref(byte))?;
        if *byte == b'\'' {
            // A single one would have ended the literal.
            text = text.strip_prefix(b"'")?;
            for _ in 0..MOST_DOUBLINGS {
                text = text.strip_prefix(b"''").unwrap_or(text);
            }
        }
    }
    Some(text)
}

/// How far behind a word is looked, so that no text makes the work grow faster than its length.
const FAR: usize = 4096;
const MOST_DOUBLINGS: usize = 8;

fn near(rest: &[u8]) -> &[u8] {
    rest.get(..FAR).unwrap_or(rest)
}

struct Word<'a> {
    text: &'a [u8],
    /// Everything behind it.
    rest: &'a [u8],
}

fn words(text: &[u8]) -> impl Iterator<Item = Word<'_>> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, begun) = rest.split_at_checked(rest.iter().position(is_part)?)?;
        let end = begun.iter().position(|byte| !is_part(byte)).unwrap_or(begun.len());
        let (word, after) = begun.split_at_checked(end)?;
        rest = after;
        Some(Word { text: word, rest: after })
    })
}

/// Behind a comment of more than `FAR` bytes anything may follow.
fn opens(rest: &[u8]) -> bool {
    match skip(near(rest)) {
        [] => rest.len() > FAR,
        [first, ..] => *first == b'(',
    }
}

/// Without the end of a quoted name (also one inside JSON), spaces and comments.
fn skip(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest {
            [b'"' | b'\\', after @ ..] => after,
            [byte, after @ ..] if byte.is_ascii_whitespace() || *byte == 0x0b => after,
            [b'-', b'-', after @ ..] => {
                let end = after.iter().position(|byte| *byte == b'\n').unwrap_or(after.len());
                after.get(end..).unwrap_or_default()
            }
            [b'/', b'*', after @ ..] => after_comment(after),
            _ => return rest,
        }
    }
}

/// Comments nest.
fn after_comment(mut rest: &[u8]) -> &[u8] {
    let mut depth = 1;
    while depth > 0 {
        rest = match rest {
            [] => return rest,
            [b'*', b'/', after @ ..] => {
                depth -= 1;
                after
            }
            [b'/', b'*', after @ ..] => {
                depth += 1;
                after
            }
            [_, after @ ..] => after,
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls_ours(text: &str) -> bool {
        calls(text.as_bytes(), |name| {
            [&b"sign_in"[..], b"refresh"].iter().any(|wanted| name.eq_ignore_ascii_case(wanted))
        })
    }

    #[test]
    fn a_call_is_found_however_it_is_written() {
        for text in [
            "select auth.sign_in('a', 'b')",
            "sign_in(",
            "select AUTH.Sign_In ('a')",
            "select \"auth\".\"sign_in\"('a')",
            "select \"sign_in\" \n\t (",
            "select auth.sign_in/* a /* b */ c */('a')",
            "select auth.sign_in -- why\n ('a')",
            "select auth.U&\"sign\\005fin\"('a')",
            "select u&\"!0073ign_in\" ('a')",
            "do $$ begin perform auth.sign_in('a'); end $$",
            "do 'begin execute ''select auth.sign_in('''",
            "{\"Query Text\": \"select \\\"auth\\\".\\\"sign_in\\\"('a')\"}",
            "select é, refresh('a')",
        ] {
            assert!(calls_ours(text), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_call_is_none() {
        for text in [
            "",
            "refresh materialized view v",
            "refresh materialized view concurrently v with (a)",
            "select * from refresh_log (1)",
            "insert into refresh_log (a) values (1)",
            "select my_sign_in('a')",
            "select sign_in_late('a')",
            "select ésign_in('a')",
            "select 'sign_in'",
            "select sign_in, (1)",
            "select sign_in /* ( */",
            "select sign_in -- (",
            "select sign_in /* /* */ (",
            "u&\"",
            "u&\"a\" = 1",
        ] {
            assert!(!calls_ours(text), "{text}");
        }
    }

    #[test]
    fn a_setting_is_found_however_it_is_written() {
        let names = |text: &str| names_setting(text.as_bytes(), (b"auth", b"token"));
        for text in [
            "set auth.token = 'a'",
            "set local AUTH . \"Token\" to 'a'",
            "set \"auth\".\"token\" = 'a'",
            "select set_config('auth.token', 'a', true)",
            "set auth /* */ . token = 'a'",
        ] {
            assert!(names(text), "{text}");
        }
        for text in ["", "auth", "auth.", "auth.tokens", "select auth, token", "xauth.token", "auth.(token)"] {
            assert!(!names(text), "{text}");
        }
    }

    #[test]
    fn an_executed_name_is_found() {
        let executes_p = |text: &str| executes(text.as_bytes(), |name| name == b"p");
        for text in ["execute p('a')", "EXPLAIN analyze Execute \"p\" (1)", "create table t as execute p"] {
            assert!(executes_p(text), "{text}");
        }
        for text in ["", "execute", "execute q(p)", "select p", "executed p"] {
            assert!(!executes_p(text), "{text}");
        }
    }

    #[test]
    fn a_literal_is_found_in_each_kind_of_quotes() {
        for (text, value) in [
            ("select f('secret')", "secret"),
            ("select f(E'secret')", "secret"),
            ("select f('it''s me')", "it's me"),
            ("select f('''')", "'"),
            ("select f('''a''')", "'a'"),
            ("select f($$secret$$)", "secret"),
            ("select f($x$it's$x$)", "it's"),
            ("do 'begin perform f(''secret''); end'", "secret"),
            ("do 'begin perform f(''it''''s''); end'", "it's"),
        ] {
            assert!(has_literal(text.as_bytes(), value.as_bytes()), "{text}");
        }
        for (text, value) in [
            ("", "secret"),
            ("select f('', $1)", ""),
            ("select f($1)", "secret"),
            ("select f('a', $1)", "1"),
            ("select f('a', $1)", "f"),
            ("select f('secretive')", "secret"),
            ("select f('my secret')", "secret"),
            ("select secret", "secret"),
            ("select f('it's me')", "it's me"),
        ] {
            assert!(!has_literal(text.as_bytes(), value.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_long_text_is_looked_through_in_no_time() {
        let long = "auth sign_in ".repeat(1 << 14) + &"'".repeat(1 << 14) + &"u&\"".repeat(100);
        let started = std::time::Instant::now();
        assert!(!calls_ours(&long));
        assert!(!names_setting(long.as_bytes(), (b"auth", b"token")));
        assert!(!has_literal(long.as_bytes(), "'''''''''a".as_bytes()));
        // Behind too long a comment anything may follow.
        assert!(calls_ours(&("sign_in/*".repeat(100_000) + "*/")));
        assert!(started.elapsed() < std::time::Duration::from_secs(1));
    }
}
