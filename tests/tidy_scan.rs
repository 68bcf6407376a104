//! How `tidy` reads the repository: its files, and code without comments, strings and unit tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file's path in the repository and what it holds.
pub type Files = BTreeMap<String, String>;
/// The first names after every `crate::`, and after every chain of `super::` that leads to the crate.
pub fn used_modules(code: &str, top: bool) -> Vec<String> {
    let anchors: &[&str] = if top { &["crate::", "super::"] } else { &["crate::", "super::super::"] };
    let mut names = Vec::new();
    for anchor in anchors {
        for (at, _) in code.match_indices(anchor) {
            let rest = &code[at + anchor.len()..];
            let Some(group) = rest.strip_prefix('{') else {
                names.push(first_name(rest));
                continue;
            };
            let (mut depth, mut begin) = (1, 0);
            for (index, character) in group.char_indices() {
                match character {
                    '{' => depth += 1,
                    '}' if depth > 1 => depth -= 1,
                    ',' | '}' if depth == 1 => {
                        names.push(first_name(&group[begin..index]));
                        begin = index + 1;
                        if character == '}' {
                            break;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    names
}

pub fn first_name(text: &str) -> String {
    text.trim_start().chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

/// Cuts a script at the semicolons outside dollar quotes; comments are left out.
pub fn sql_statements(script: &str) -> Vec<String> {
    let (mut statements, mut quote) = (vec![String::new()], None::<String>);
    for line in script.lines() {
        let mut rest = line.split("--").next().unwrap_or_default();
        while let Some(character) = rest.chars().next() {
            let tag = rest.strip_prefix('$').and_then(|after| {
                let name = first_name(after);
                after[name.len()..].starts_with('$').then(|| format!("${name}$"))
            });
            let taken = match (&tag, &quote) {
                (Some(tag), None) => {
                    quote = Some(tag.clone());
                    tag.len()
                }
                (Some(tag), Some(open)) if tag == open => {
                    quote = None;
                    tag.len()
                }
                _ => character.len_utf8(),
            };
            statements.last_mut().unwrap().push_str(&rest[..taken]);
            if character == ';' && quote.is_none() {
                statements.push(String::new());
            }
            rest = &rest[taken..];
        }
        statements.last_mut().unwrap().push('\n');
    }
    statements
}

/// Code without its comments and without what its strings say; lines stay where they are.
pub fn code_only(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(character) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest, code.chars().last()) {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = hashes + 2;
            rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len())
        } else if character == '"' {
            quoted(rest, '"')
        } else if character == '\'' && (rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'')) {
            quoted(rest, '\'')
        } else {
            code.push(character);
            rest = &rest[character.len_utf8()..];
            continue;
        };
        code.extend(rest[..taken].chars().filter(|character| *character == '\n'));
        rest = &rest[taken..];
    }
    code
}

/// How many `#` open the raw string that begins here, if one does.
pub fn raw_string(rest: &str, before: Option<char>) -> Option<usize> {
    let after =
        rest.strip_prefix('r').filter(|_| !before.is_some_and(|before| before.is_alphanumeric() && before != 'b'))?;
    let hashes = after.chars().take_while(|character| *character == '#').count();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// The length of a quoted literal with its quotes.
pub fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Code without what is compiled for unit tests only.
pub fn without_tests(path: &str, code: &str) -> String {
    if path.ends_with("/tests.rs") {
        return String::new();
    }
    let (mut kept, mut rest) = (String::new(), code);
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        let mut depth = 0;
        let end = rest.char_indices().find_map(|(index, character)| {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (depth == 0 && matches!(character, '}' | ';')).then_some(index + 1)
        });
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    kept + rest
}

pub fn rust<'a>(tree: &'a Files, places: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    tree.iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .filter(|(path, _)| path.ends_with(".rs") && places.iter().any(|place| path.starts_with(place)))
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().canonicalize().unwrap()
}

pub fn repository() -> Files {
    let mut tree = Files::new();
    for place in ["src", "core", "pgrx-tests", "sidecar", "tests", "README.md", "ARCHITECTURE.md"] {
        collect(&root().join(place), &mut tree);
    }
    tree
}

pub fn collect(path: &Path, tree: &mut Files) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "target" && entry.file_name() != "node_modules" {
                collect(&entry.path(), tree);
            }
        }
    } else if let Ok(text) = std::fs::read_to_string(path) {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        tree.insert(name, text);
    }
}
