//! The rules that the compiler does not know. Each is a function over files in memory, so that each is also shown a
//! tree that breaks it.

use std::process::Command;

use crate::tidy_scan::{Files, code_only, repository, root, rust, sql_statements, used_modules, without_tests};

type Findings = Vec<String>;

#[test]
fn a_module_uses_only_modules_above_it() {
    assert_tidy(module_order(&repository()));
    let tree = |file, text| {
        files(&[
            (
                "src/lib.rs",
                "// ledger\nmod guard;\nmod tokens;\n\n// ways in\nmod otp;\n// Why totp.\nmod totp;\n\n// self service\nmod account;\n",
            ),
            (file, text),
        ])
    };
    for (file, text) in [
        ("src/guard/mod.rs", "use crate::tokens;"),
        ("src/guard/mod.rs", "use crate::{guard, tokens::{self, Token}};"),
        ("src/guard/mod.rs", "use super::tokens;"),
        ("src/guard/deep.rs", "use super::super::tokens;"),
        ("src/guard.rs", "fn f() { crate::otp::send() }"),
        ("src/totp/mod.rs", "use crate::otp;"),
    ] {
        assert!(!module_order(&tree(file, text)).is_empty(), "{file}: {text}");
    }
    for (file, text) in [
        ("src/tokens/mod.rs", "use crate::{guard, tokens::Token}; use super::guard::Bucket;"),
        ("src/otp.rs", "use crate::tokens; // never crate::totp\nconst S: &str = \"crate::totp\";"),
        ("src/guard/mod.rs", "use crate::guard_of_something_else;"),
        ("src/account/mod.rs", "use crate::{otp, totp};"),
    ] {
        assert_eq!(module_order(&tree(file, text)), Findings::new(), "{file}: {text}");
    }
    assert!(!module_order(&files(&[("src/lib.rs", "mod a;")])).is_empty(), "a map without floors");
    assert!(!module_order(&tree("src/stray/mod.rs", "")).is_empty(), "a module that is not on the map");
}

#[test]
fn definer_functions_pin_their_search_path() {
    assert_tidy(search_paths(&repository()));
    let pinned = "create function f() returns text security definer set search_path = pg_catalog, pg_temp as $$;$$;";
    assert_eq!(search_paths(&files(&[("src/a/a.sql", pinned)])), Findings::new());
    for text in [
        "create function f() language sql security definer as $$ select 1; $$;".to_owned(),
        format!("{pinned} create function g() SECURITY\n  DEFINER set search_path = pg_catalog as $$;$$;"),
        "create function f() security definer set search_path = '' as ''; -- set search_path = pg_catalog, pg_temp"
            .to_owned(),
    ] {
        assert!(!search_paths(&files(&[("src/a/a.sql", &text)])).is_empty(), "{text}");
    }
    let rust = "#[pg_extern(security_definer)]\nfn f() {}";
    assert!(!search_paths(&files(&[("src/a/mod.rs", rust)])).is_empty());
    let rust = "#[pg_extern(security_definer)]\n#[search_path(pg_catalog, pg_temp)]\nfn f() {}";
    assert_eq!(search_paths(&files(&[("src/a/mod.rs", rust)])), Findings::new());
}

#[test]
fn files_are_short_enough_to_read() {
    assert_tidy(sizes(&repository()));
    let readme = [("README.md", ""), ("ARCHITECTURE.md", "")];
    assert_eq!(sizes(&files(&readme)), Findings::new());
    for (file, lines) in [("src/a/mod.rs", 601), ("core/src/a.rs", 601), ("tests/a.rs", 601), ("ARCHITECTURE.md", 151)]
    {
        let mut tree = files(&readme);
        tree.insert(file.to_owned(), "\n".repeat(lines));
        assert!(!sizes(&tree).is_empty(), "{file} of {lines} lines");
    }
    assert!(!sizes(&Files::new()).is_empty(), "no README, no ARCHITECTURE");
}

#[test]
fn nothing_is_unwrapped_ignored_slept_or_spawned() {
    assert_tidy(forbidden_words(&repository()));
    for (file, text) in [
        ("src/a/mod.rs", "fn f() { g().unwrap() }"),
        ("core/src/a.rs", "fn f() { g()\n.unwrap() }"),
        ("core/src/a.rs", "#[cfg(test)] mod tests { fn f() {} }\nfn f() { g().unwrap() }"),
        ("src/a/mod.rs", "fn f() { std::thread::spawn(g); }"),
        ("core/src/a.rs", "use std::thread;"),
        ("core/src/a.rs", "fn f() { SystemTime::now(); }"),
        ("core/src/a.rs", "fn f() { std::fs::read(p); }"),
        ("core/src/a.rs", "use pgrx::prelude::*;"),
        ("core/Cargo.toml", "[dependencies]\npgrx = \"1\""),
        ("tests/a.rs", "#[test]\n#[ignore = \"later\"]\nfn f() {}"),
        ("tests/a.rs", "fn f() { std::thread::sleep(d) }"),
    ] {
        assert!(!forbidden_words(&files(&[(file, text)])).is_empty(), "{file}: {text}");
    }
    for (file, text) in [
        ("src/a/mod.rs", "/// Never `x.unwrap()`.\nfn f() -> &'static str { \"\\\".unwrap()\" }"),
        ("core/src/a.rs", "fn f() {}\n#[cfg(test)]\nmod tests { fn f() { g().unwrap(); SystemTime::now(); } }"),
        ("core/src/a/tests.rs", "fn f() { g().unwrap() }"),
        ("core/src/a.rs", "//! No pgrx here.\nfn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' }"),
        ("tests/a.rs", "fn f() { g().unwrap(); wait_until(\"it\", d, h) }"),
    ] {
        assert_eq!(forbidden_words(&files(&[(file, text)])), Findings::new(), "{file}: {text}");
    }
}

/// XF14: no private RSA operation, because there is no library for one.
#[test]
fn a_backend_links_no_second_crypto_library_and_no_runtime() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert_tidy(unwanted_packages("Cargo.lock", &names_in_lock(&lock), &["openssl", "openssl-sys", "openssl-src"]));
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "auth", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let names = names_in_tree(&String::from_utf8_lossy(&tree.stdout));
    assert!(names.iter().any(|name| name == "pgrx"), "the tree of the extension has pgrx");
    assert_tidy(unwanted_packages("the extension", &names, &["rsa", "openssl", "tokio", "rayon", "openssl-sys"]));

    let broken = names_in_lock("[[package]]\nname = \"openssl-sys\"\nversion = \"1\"\n");
    assert!(!unwanted_packages("Cargo.lock", &broken, &["openssl-sys"]).is_empty());
    let broken = names_in_tree("auth v0.2.0 (/repo)\nrsa v0.9.8\n");
    assert!(!unwanted_packages("the extension", &broken, &["rsa"]).is_empty());
}

/// XF16, XE7: what decides whether a secret is right takes the same time for each wrong one; totp-rs compares codes with constant_time_eq.
#[test]
fn secrets_are_compared_in_constant_time() {
    assert_tidy(plain_comparisons(&repository()));
    for text in ["if tag == expected {}", "computed != digest", "&mac[..] == stored", "a.digest == b"] {
        let tree = files(&[("core/src/hash.rs", text), ("core/src/refresh_token.rs", "a.ct_eq(b)")]);
        assert!(!plain_comparisons(&tree).is_empty(), "{text}");
    }
    let tree = files(&[("core/src/hash.rs", "x.ct_eq(y); digest.len() == 3"), ("core/src/refresh_token.rs", "")]);
    assert_eq!(plain_comparisons(&tree), ["core/src/refresh_token.rs compares nothing in constant time"]);
}

#[test]
fn every_module_opens_with_its_story() {
    assert_tidy(stories(&repository()));
    let story = |lines: usize| "//! A line.\n".repeat(lines) + "\nuse x;\n";
    assert_eq!(stories(&files(&[("src/a/mod.rs", &story(15))])), Findings::new());
    for text in [story(16), story(0), "\n//! Late.\n".to_owned()] {
        assert!(!stories(&files(&[("src/a/mod.rs", &text)])).is_empty());
    }
}

/// The sidecar decides nothing and knows no host but the configured one; its routes do not know each other.
#[test]
fn the_sidecar_only_calls_functions() {
    assert_tidy(sidecar_rules(&repository()));
    for (file, text) in [
        ("sidecar/src/routes/otp.rs", "//! Story.\nuse crate::routes::verify;"),
        ("sidecar/src/routes/otp.rs", "//! Story.\nuse super::verify;"),
        ("sidecar/src/routes/otp.rs", "fn f() {}"),
        ("sidecar/src/routes/otp.rs", "//! Story.\nconst S: &str = \"select email from auth.users\";"),
        ("sidecar/src/db.rs", "//! Story.\nconst S: &str = \"set role service_role\";"),
        ("sidecar/src/page.rs", "//! Story.\nfn f() { text_header(headers, \"host\") }"),
        ("sidecar/src/page.rs", "//! Story.\nfn f() { headers.get(header::HOST) }"),
        ("sidecar/src/page.rs", "//! Story.\nfn f() { g().unwrap() }"),
    ] {
        assert!(!sidecar_rules(&files(&[(file, text)])).is_empty(), "{file}: {text}");
    }
    let call = "//! Story.\nconst S: &str = \"select auth.sign_in($1, $2)\"; use crate::request::Json;";
    assert_eq!(sidecar_rules(&files(&[("sidecar/src/routes/otp.rs", call)])), Findings::new());
}

fn sidecar_rules(tree: &Files) -> Findings {
    let mut findings = Findings::new();
    for (path, text) in rust(tree, &["sidecar/src/"]) {
        let code = without_tests(path, &code_only(text));
        if !text.starts_with("//!") {
            findings.push(format!("{path} does not open with its story"));
        }
        let is_route = path.starts_with("sidecar/src/routes/") && !path.ends_with("/mod.rs");
        if is_route && ["super::", "crate::routes"].iter().any(|word| code.contains(word)) {
            findings.push(format!("{path} uses another route"));
        }
        if code.contains(".unwrap()") {
            findings.push(format!("{path}: `.unwrap()`"));
        }
        // Only the choice among configured cookie domains may look at it, and the inbox, which refuses by it.
        let may_look = ["/cookies.rs", "/inbox/page.rs"].iter().any(|file| path.ends_with(file));
        if !may_look && ["\"host\"", "header::HOST"].iter().any(|word| text.contains(word)) {
            findings.push(format!("{path} reads the request's Host"));
        }
        let lower = text.to_lowercase();
        for word in ["from auth.", "into auth.", "update auth.", "set role", "set session authorization"] {
            // A function in FROM is a call too.
            let is_table = |rest: &str| {
                let name = rest.trim_start_matches(|character: char| character.is_alphanumeric() || character == '_');
                !name.starts_with('(')
            };
            if lower.match_indices(word).any(|(at, word)| is_table(&lower[at + word.len()..])) {
                findings.push(format!("{path}: `{word}…`, but SQL decides and the sidecar calls functions"));
            }
        }
    }
    findings
}

/// `==` beside a word that names a digest or a MAC, and a file of those that compare them without `ct_eq`.
fn plain_comparisons(tree: &Files) -> Findings {
    let mut findings = Findings::new();
    for (path, text) in tree.iter().filter(|(path, _)| path.starts_with("core/src/") || path.starts_with("src/")) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let compares = line.contains("==") || line.contains("!=");
            let is_secret = ["digest", "mac", "tag", "secret", "computed"].iter().any(|name| {
                line.split(|character: char| !character.is_alphanumeric() && character != '_').any(|word| word == *name)
            });
            if compares && is_secret && !line.contains(".len()") && !line.contains("matches!(") {
                findings.push(format!("{path}: {}", line.trim()));
            }
        }
    }
    for path in ["core/src/hash.rs", "core/src/refresh_token.rs"] {
        if !tree.get(path).is_some_and(|text| text.contains(".ct_eq(")) {
            findings.push(format!("{path} compares nothing in constant time"));
        }
    }
    findings
}

/// The module order of `src/lib.rs` is the map: what stands below is out of sight, and ways in do not see each other.
fn module_order(tree: &Files) -> Findings {
    let mut findings = Findings::new();
    let map = tree.get("src/lib.rs").map_or("", String::as_str);
    let (mut modules, mut ways_in, mut floor, mut before) = (Vec::new(), Vec::new(), "", "");
    for line in map.lines() {
        // A comment after an empty line opens a floor; one right above a module is about that module.
        if let (Some(title), "") = (line.strip_prefix("// "), before) {
            floor = title;
        }
        before = line.trim();
        let declared = line.trim().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        if let Some(name) = declared.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            modules.push(name);
            if floor.starts_with("ways in") {
                ways_in.push(name);
            }
        }
    }
    if ways_in.is_empty() {
        findings.push("src/lib.rs has no module on a floor `// ways in`".to_owned());
    }
    for (path, text) in rust(tree, &["src/"]) {
        if path == "src/lib.rs" {
            continue;
        }
        let rest = &path["src/".len()..];
        let own = rest.split('/').next().unwrap().trim_end_matches(".rs");
        let Some(place) = modules.iter().position(|module| *module == own) else {
            findings.push(format!("{path}: `{own}` is not on the map in src/lib.rs"));
            continue;
        };
        let top = !rest.contains('/') || rest.ends_with("/mod.rs") && rest.matches('/').count() == 1;
        for used in used_modules(&code_only(text), top) {
            let Some(used_place) = modules.iter().position(|module| *module == used) else { continue };
            if used_place > place {
                findings.push(format!("{path} uses `{used}`, which stands below `{own}` in src/lib.rs"));
            } else if used != own && ways_in.contains(&own) && ways_in.contains(&used.as_str()) {
                findings.push(format!("{path}: the way in `{own}` uses the way in `{used}`"));
            }
        }
    }
    findings
}

/// A definer function that finds its names by the caller's path is the caller's to take over.
fn search_paths(tree: &Files) -> Findings {
    let mut findings = Findings::new();
    for (path, text) in tree.iter().filter(|(path, _)| path.starts_with("src/") && path.ends_with(".sql")) {
        for statement in sql_statements(text) {
            let words = statement.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
            let definers = words.matches("security definer").count();
            let pinned = words.matches("set search_path = pg_catalog, pg_temp").count();
            if definers > pinned && !words.starts_with("comment on") {
                let begin: String = words.chars().take(80).collect();
                findings.push(format!("{path}: a security definer without `pg_catalog, pg_temp`: {begin}"));
            }
        }
    }
    for (path, text) in rust(tree, &["src/"]) {
        let code = code_only(text);
        if code.matches("security_definer").count() > code.matches("#[search_path(pg_catalog, pg_temp)]").count() {
            findings.push(format!("{path}: a security_definer without #[search_path(pg_catalog, pg_temp)]"));
        }
    }
    findings
}

fn sizes(tree: &Files) -> Findings {
    let mut findings = Findings::new();
    let too_long = |path: &str, limit: usize| {
        let lines = tree.get(path).map_or(0, |text| text.lines().count());
        (lines > limit).then(|| format!("{path} has {lines} lines, more than {limit}"))
    };
    for path in tree.keys().filter(|path| path.starts_with("src/") || path.ends_with(".rs")) {
        findings.extend(too_long(path, 600));
    }
    for required in ["README.md", "ARCHITECTURE.md"] {
        if !tree.contains_key(required) {
            findings.push(format!("{required} is missing"));
        }
    }
    findings.extend(too_long("ARCHITECTURE.md", 150));
    findings
}

/// Words that must not stand in code, by where. `core` gets time, randomness and bytes from its caller.
fn forbidden_words(tree: &Files) -> Findings {
    const RULES: [(&[&str], &[&str]); 3] = [
        (&["src/", "core/src/"], &[".unwrap()", "thread::spawn", "use std::thread"]),
        (
            &["core/src/"],
            &[
                "pgrx",
                "SystemTime::now",
                "Instant::now",
                "std::fs",
                "std::net",
                "std::env",
                "std::process",
                "OsRng",
                "getrandom",
                "thread_rng",
            ],
        ),
        (&["tests/"], &["#[ignore", "thread::sleep"]),
    ];
    let mut findings = Findings::new();
    for (places, words) in RULES {
        for (path, text) in rust(tree, places) {
            let code = without_tests(path, &code_only(text));
            findings.extend(words.iter().filter(|word| code.contains(**word)).map(|word| format!("{path}: `{word}`")));
        }
    }
    let manifest = tree.get("core/Cargo.toml").map_or("", String::as_str);
    if manifest.lines().any(|line| line.trim_start().starts_with("pgrx") || line.contains("\"pgrx")) {
        findings.push("core/Cargo.toml depends on pgrx".to_owned());
    }
    findings
}

fn stories(tree: &Files) -> Findings {
    let mut findings = Findings::new();
    for (path, text) in rust(tree, &["src/"]).filter(|(path, _)| path.ends_with("/mod.rs")) {
        let lines = text.lines().take_while(|line| line.starts_with("//!")).count();
        if !(1..=15).contains(&lines) {
            findings.push(format!("{path} opens with {lines} lines of `//!`, not with 1 to 15"));
        }
    }
    findings
}

fn names_in_lock(lock: &str) -> Vec<String> {
    lock.lines().filter_map(|line| Some(line.strip_prefix("name = \"")?.trim_end_matches('"').to_owned())).collect()
}

fn names_in_tree(tree: &str) -> Vec<String> {
    tree.lines().filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

fn unwanted_packages(place: &str, names: &[String], unwanted: &[&str]) -> Findings {
    let found = names.iter().filter(|name| unwanted.contains(&name.as_str()));
    found.map(|name| format!("{place} has the package {name}")).collect()
}

fn files(entries: &[(&str, &str)]) -> Files {
    entries.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

#[track_caller]
fn assert_tidy(findings: Findings) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}
