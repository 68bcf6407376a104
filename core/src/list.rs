//! Look-up in a text of sorted lines that is compiled in: no table is built, and no memory is needed.

/// Whether a line of the text is this one. Lines are sorted by their bytes, and each ends in a line feed.
pub fn has_line(sorted: &str, line: &str) -> bool {
    let bytes = sorted.as_bytes();
    let (mut low, mut high) = (0, bytes.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let begin = bytes[low..middle].iter().rposition(|byte| *byte == b'\n').map_or(low, |place| low + place + 1);
        let end = bytes[middle..high].iter().position(|byte| *byte == b'\n').map_or(high, |place| middle + place);
        match bytes[begin..end].cmp(line.as_bytes()) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = begin,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_found_and_nothing_else() {
        for text in ["", "one\n", "a\nab\nabc\nb\n", "a\nb"] {
            for line in text.lines() {
                assert!(has_line(text, line), "{line} in {text:?}");
            }
            for other in ["aa", "abcd", "c", "0", "on", "\n", "a\nab", "on\ne"] {
                assert!(!has_line(text, other), "{other:?} in {text:?}");
            }
        }
        assert!(!has_line("", "") && !has_line("a\n", ""));
    }
}
