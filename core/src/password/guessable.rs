//! What is guessed first: the passwords of public leaks, and what anybody knows of the person or the site.

use zeroize::Zeroizing;

use crate::list;

/// Sorted, lower case; where it is from stands in `data/README.md`.
static COMMON: &str = include_str!("../../data/common_passwords.txt");

/// Shorter words are in too many good passwords.
const SHORTEST_WORD: usize = 4;

/// Folded for a comparison; of a secret, so it is wiped.
fn folded(text: &str) -> Zeroizing<String> {
    // No character has more than three lower-case ones: nothing is copied by growing.
    let mut folded = Zeroizing::new(String::with_capacity(3 * text.len()));
    folded.extend(text.chars().flat_map(char::to_lowercase));
    folded
}

/// Whether it is one of those that everybody tries, in whatever case.
pub fn is_common(normalised: &str) -> bool {
    list::has_line(COMMON, &folded(normalised))
}

/// Whether it holds one of these texts or a word of theirs, in whatever case; words of fewer than four characters do not count.
pub fn is_about(normalised: &str, known: &[String]) -> bool {
    let password = folded(normalised);
    known.iter().any(|text| {
        let text = folded(&super::normalise(text));
        let words = text.split(|character: char| !character.is_alphanumeric());
        std::iter::once(text.as_str())
            .chain(words)
            .any(|word| word.chars().count() >= SHORTEST_WORD && password.contains(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_folded_and_whole() {
        let lines: Vec<&str> = COMMON.lines().collect();
        assert_eq!(lines.len(), 30_000);
        assert!(lines.is_sorted() && COMMON.ends_with('\n'));
        for line in &lines {
            assert!(is_common(line) && is_common(&line.to_uppercase()), "{line}");
            assert_eq!(*folded(line), **line);
        }
        assert!(lines.iter().filter(|line| line.len() >= 8).count() >= 3_000, "ASVS 6.2.4");
    }

    #[test]
    fn nothing_near_it_is_common() {
        for password in ["correct horse battery", "password and more", " password", "", "passwordpasswordx", "pässword"]
        {
            assert!(!is_common(password), "{password}");
        }
    }

    #[test]
    fn what_is_known_is_found_in_any_case_and_form() {
        let known = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        for (password, texts) in [
            ("xADA.lovelaceX", vec!["ada.lovelace"]),
            ("my LOVELACE 1", vec!["ada.lovelace"]),
            ("i am Gra\u{301}ce!", vec!["x", "GR\u{c1}CE"]),
            ("example-2026", vec!["example"]),
        ] {
            assert!(is_about(&crate::password::normalise(password), &known(&texts)), "{password}");
        }
        for (password, texts) in [
            ("ada is not enough", vec!["ada"]),
            ("correct horse battery", vec!["", "   ", "....", "a.b.c.d", "lovelace"]),
            ("lovelac", vec!["lovelace"]),
        ] {
            assert!(!is_about(password, &known(&texts)), "{password}");
        }
        assert!(!is_about("whatever", &[]));
    }
}
