//! The documentation is true: its SQL runs, its tables say what the code says, and the main job plays.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use auth_harness::{Client, Cluster, Database, Inbox, Sidecar, json, refused};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().canonicalize().unwrap()
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// README.md and docs/*.md, in order of their names.
fn pages() -> Vec<String> {
    let mut pages: Vec<String> = std::fs::read_dir(root().join("docs"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .map(|name| format!("docs/{name}"))
        .collect();
    pages.sort();
    pages.insert(0, "README.md".to_owned());
    pages
}

/// One block of SQL on a page. Its first line says `-- as LOGIN`; a second one may say `-- refused: CODE`.
#[derive(Debug)]
struct Block {
    line: usize,
    login: String,
    /// The code word, or the SQLSTATE where PostgreSQL itself refuses, in which the last statement must end.
    refused: Option<String>,
    statements: Vec<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Vec<&str>)> = None;
    for (index, line) in page.lines().enumerate() {
        match (&mut open, line.trim_end()) {
            (None, "```sql") => open = Some((index + 1, Vec::new())),
            (Some(_), "```") => {
                let (line, lines) = open.take().unwrap();
                let comment = |prefix: &str| {
                    lines.iter().take(2).find_map(|line| line.strip_prefix(prefix)).map(|rest| rest.trim().to_owned())
                };
                blocks.push(Block {
                    line,
                    login: comment("-- as ").unwrap_or_else(|| panic!("line {line}: whose login? `-- as app`")),
                    refused: comment("-- refused: "),
                    statements: statements(&lines.join("\n")),
                });
            }
            (Some((_, lines)), line) => lines.push(line),
            (None, _) => {}
        }
    }
    assert!(open.is_none(), "a block of SQL has no end");
    blocks
}

/// Cuts a script at its semicolons as psql does: not in quotes, in dollar quotes or in comments.
fn statements(script: &str) -> Vec<String> {
    let (mut found, mut current, mut rest) = (Vec::new(), String::new(), script);
    while let Some(character) = rest.chars().next() {
        let closed_by = match character {
            '\'' => Some("'".to_owned()),
            '-' if rest.starts_with("--") => Some("\n".to_owned()),
            '$' => rest[1..].find('$').map(|end| rest[..end + 2].to_owned()).filter(|tag| {
                tag.trim_matches('$').chars().all(|character| character.is_alphanumeric() || character == '_')
                    && !tag.trim_matches('$').starts_with(|character: char| character.is_ascii_digit())
            }),
            _ => None,
        };
        let length = match closed_by {
            Some(end) => match rest[end.len().min(rest.len())..].find(&end) {
                Some(at) => at + 2 * end.len(),
                None => rest.len(),
            },
            None => character.len_utf8(),
        };
        if character == ';' {
            found.push(std::mem::take(&mut current));
        } else if !rest.starts_with("--") {
            current.push_str(&rest[..length]);
        }
        rest = &rest[length..];
    }
    found.push(current);
    found.into_iter().map(|statement| statement.trim().to_owned()).filter(|statement| !statement.is_empty()).collect()
}

#[test]
fn scripts_are_cut_at_their_semicolons() {
    let script =
        "-- as app; no\nselect ';' as \"a\";\ncreate function f() as $x$ a; b $x$; select '$$;' -- c; d\n, $$;$$";
    let cut = ["select ';' as \"a\"", "create function f() as $x$ a; b $x$", "select '$$;' , $$;$$"];
    assert_eq!(statements(script), cut);
    let page = "text\n```sql\n-- as app\n-- refused: no\nselect 1;\n```\n```text\nno\n```\n";
    let [block] = &blocks(page)[..] else { panic!("one block") };
    assert_eq!((block.line, block.login.as_str(), block.refused.as_deref()), (2, "app", Some("no")));
}

fn connect(database: &Database, login: &str) -> Client {
    match login {
        "app" => database.app(),
        "service" => database.service(),
        "admin" => database.admin(),
        "superuser" => database.superuser(),
        "sidecar" => database.sidecar(),
        other => panic!("no login {other}"),
    }
}

/// F172: docs/sessions.md refreshes in a database where no secret of refresh tokens was ever configured.
#[test]
fn the_sql_of_every_page_runs() {
    let mut count = 0;
    for page in pages() {
        let database = Cluster::shared().database();
        for block in blocks(&text(&page)) {
            let mut client = connect(&database, &block.login);
            let (last, others) = block.statements.split_last().expect("a block has a statement");
            let whole = match block.refused {
                Some(_) => others,
                None => &block.statements[..],
            };
            for statement in whole {
                if let Err(error) = client.simple_query(statement) {
                    panic!("{page}:{}: {statement}: {:?}", block.line, error.as_db_error());
                }
            }
            if let Some(expected) = &block.refused {
                let refusal = refused(client.simple_query(last));
                assert!(
                    *expected == refusal.code || *expected == refusal.sqlstate,
                    "{page}:{}: refused otherwise: {refusal:?}",
                    block.line
                );
            }
            count += 1;
        }
    }
    assert!(count > 40, "only {count} blocks were found");
}

/// The cells of the table rows of a page, without the backticks; lines that begin a table are left out.
fn rows(page: &str) -> Vec<Vec<String>> {
    page.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "").trim().to_owned()).collect()
        })
        .collect()
}

/// Every SQLSTATE and code word that the code raises is explained, and no other.
#[test]
fn the_refusals_are_those_of_the_code() {
    const NAMES: [(&str, &str); 14] = [
        ("INVALID_PASSWORD", "28P01"),
        ("INVALID_AUTHORIZATION_SPECIFICATION", "28000"),
        ("CONFIGURATION_LIMIT_EXCEEDED", "53400"),
        ("T_R_SERIALIZATION_FAILURE", "40001"),
        ("UNIQUE_VIOLATION", "23505"),
        ("INVALID_PARAMETER_VALUE", "22023"),
        ("OBJECT_NOT_IN_PREREQUISITE_STATE", "55000"),
        ("UNDEFINED_OBJECT", "42704"),
        ("DUPLICATE_OBJECT", "42710"),
        ("INSUFFICIENT_PRIVILEGE", "42501"),
        ("NO_DATA", "02000"),
        ("READ_ONLY_SQL_TRANSACTION", "25006"),
        ("NO_ACTIVE_SQL_TRANSACTION", "25P01"),
        ("INTERNAL_ERROR", "XX000"),
    ];
    let sqlstate = |name: &str| {
        NAMES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("the test does not know {name}")).1
    };
    let mut raised = BTreeSet::new();
    let code = text("src/platform/error.rs");
    for part in code.split("S::ERRCODE_").skip(1) {
        let name: String =
            part.chars().take_while(|character| *character == '_' || character.is_alphanumeric()).collect();
        let word = part.split('"').nth(1).expect("a code word follows");
        raised.insert((word.to_owned(), sqlstate(&name).to_owned()));
    }
    for file in sql_files(&root().join("src")) {
        let script = std::fs::read_to_string(&file).unwrap();
        for part in script.split("errcode = '").skip(1) {
            let (name, rest) = part.split_once('\'').unwrap();
            let word = rest.split("detail = '").nth(1).expect("a refusal has a code word").split('\'').next().unwrap();
            raised.insert((word.to_owned(), sqlstate(&name.to_uppercase()).to_owned()));
        }
    }
    let explained: BTreeSet<(String, String)> =
        rows(&text("docs/errors.md")).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(raised, explained);
}

fn sql_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sql_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    files
}

/// Names, values of the profiles and bounds in docs/settings.md are those in force.
#[test]
fn the_settings_are_those_of_the_code() {
    let documented: Vec<Vec<String>> =
        rows(&text("docs/settings.md")).into_iter().filter(|row| !row[0].starts_with("auth.")).collect();
    let database = Cluster::shared().database();
    let mut admin = database.admin();
    let initial = json(&mut admin, "select auth.configure('{}')", &[]);
    for (column, profile) in [(2, "default"), (3, "strict"), (4, "supabase")] {
        let in_force = json(&mut admin, "select auth.apply_profile($1)", &[&profile]);
        let told: BTreeMap<&str, Value> = documented
            .iter()
            .map(|row| match row[column].as_str() {
                "keeps" => (row[0].as_str(), initial[&row[0]].clone()),
                value => (row[0].as_str(), serde_json::from_str(value).unwrap()),
            })
            .collect();
        assert_eq!(in_force, serde_json::to_value(told).unwrap(), "profile {profile}");
        if column == 2 {
            assert_eq!(in_force, initial);
        }
    }
    json(&mut admin, "select auth.configure('{\"password_min_length\": 1, \"password_max_length\": 1024}')", &[]);
    for row in &documented {
        let (name, kind) = (&row[0], &row[1]);
        let setting = |value: Value| Value::Object([(name.clone(), value)].into_iter().collect());
        let mut accepted = |value: Value, is_right: bool| {
            let mut transaction = admin.transaction().unwrap();
            let answer = transaction.query_one("select auth.configure($1)", &[&setting(value.clone())]);
            assert_eq!(answer.is_ok(), is_right, "{name} = {value}");
            if let Ok(in_force) = answer {
                assert_eq!(in_force.get::<_, Value>(0)[name], value);
            }
        };
        let numbers: Vec<i64> = kind.split(' ').filter_map(|word| word.parse().ok()).collect();
        match (numbers[..].as_ref(), kind.as_str()) {
            (&[least, most], _) => {
                accepted(least.into(), true);
                accepted(most.into(), true);
                accepted((least - 1).into(), false);
                accepted((most + 1).into(), false);
                // Null is no limit where the page says so, else the default.
                let may_be_unlimited = kind.ends_with("or no limit");
                let answer = json(&mut admin, "select auth.configure($1)", &[&setting(Value::Null)]);
                assert_eq!(answer[name].is_null(), may_be_unlimited, "{name} = null");
            }
            (_, "rate" | "rate or no limit") => {
                accepted("1/1".into(), true);
                accepted("1000000/2678400".into(), true);
                for wrong in ["0/1", "1/0", "1000001/1", "1/2678401", "1", "many/60", "-1/60"] {
                    accepted(wrong.into(), false);
                }
                let answer = json(&mut admin, "select auth.configure($1)", &[&setting(Value::Null)]);
                assert_eq!(answer[name].is_null(), kind.ends_with("or no limit"), "{name} = null");
            }
            (_, "true or false") => {
                accepted(false.into(), true);
                accepted("no".into(), false);
            }
            (_, "http or https address") => {
                accepted("https://example.org".into(), true);
                accepted("example.org".into(), false);
            }
            (_, "list of addresses") => {
                accepted(json!(["https://example.org/a", "myapp://back"]), true);
                accepted("https://example.org".into(), false);
                accepted(json!([""]), false);
                accepted(vec!["https://example.org"; 101].into(), false);
            }
            (_, "list of names") => {
                accepted(json!(["a", "b"]), true);
                accepted("a".into(), false);
                accepted(json!([1]), false);
            }
            (_, "list of UUIDs") => {
                accepted(json!(["ee882879-721c-4913-9775-3dfcce97072a"]), true);
                for wrong in [json!(["a"]), json!("a"), json!(vec!["ee882879-721c-4913-9775-3dfcce97072a"; 1001])] {
                    accepted(wrong, false);
                }
            }
            (_, "certificates as PEM") => {
                let file: Value = serde_json::from_str(&text("tests/vectors/webauthn/attestation.json")).unwrap();
                accepted(file["device"]["root"].clone(), true);
                accepted("another".into(), false);
            }
            (_, "name") => {
                accepted("Example & Co".into(), true);
                for wrong in [json!(""), json!("a:b"), json!("x".repeat(65)), json!(["a"])] {
                    accepted(wrong, false);
                }
            }
            (_, "object of address to code") => {
                accepted(json!({"a@example.org": "4242"}), true);
                for wrong in [json!([]), json!({"a@example.org": 4242}), json!({"a@example.org": "42a42"})] {
                    accepted(wrong, false);
                }
            }
            (_, "true or false, for superusers") => {
                accepted(false.into(), true);
                accepted(true.into(), false);
            }
            (_, choices) => {
                choices.split(", ").for_each(|choice| accepted(choice.into(), true));
                accepted("another".into(), false);
            }
        }
    }
}

/// docs/settings.md names every setting of the server too, with the kind of user that may change it.
#[test]
fn the_servers_settings_are_documented() {
    let told: Vec<String> = rows(&text("docs/settings.md"))
        .into_iter()
        .map(|row| row[0].clone())
        .filter(|name| name.starts_with("auth."))
        .collect();
    let mut known: Vec<String> = Cluster::shared()
        .connect("postgres", "postgres")
        .query("select name from pg_settings where name like 'auth.%'", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    // Not in pg_settings, so that no token is ever listed there.
    known.push("auth.token".to_owned());
    assert_eq!(told.iter().collect::<BTreeSet<_>>(), known.iter().collect::<BTreeSet<_>>());
}

/// F222: docs/security.md answers for every abuse that the release answers for, and for the requirements of the ASVS, and
/// names tests that prove it; no page links to nothing.
#[test]
fn pages_name_what_is_there() {
    let is_abuse = |word: &str| {
        word.starts_with('X') && word.len() > 2 && word[2..].chars().all(|character| character.is_ascii_digit())
    };
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|character: char| !character.is_alphanumeric())
            .filter(|word| is_abuse(word))
            .map(str::to_owned)
            .collect()
    };
    let security = text("docs/security.md");
    let listed: String = security
        .lines()
        .filter(|line| line.starts_with("| X"))
        .fold(String::new(), |all, line| all + line.split('|').nth(1).unwrap_or_default() + " ");
    assert_eq!(words(&listed), words(&text("docs/rows.txt")));
    let mut missing = Vec::new();
    for line in security.lines().filter(|line| line.starts_with("| X")) {
        let ids = line.split('|').nth(1).unwrap_or_default();
        let files: Vec<&str> = line.split('`').filter(|path| path.ends_with(".rs")).collect();
        for id in words(ids) {
            // A file that the page names must claim the row, as `./dev rows` counts claims.
            let claims =
                |file: &&str| std::fs::read_to_string(root().join(file)).is_ok_and(|test| words(&test).contains(&id));
            if files.is_empty() || !files.iter().all(claims) {
                missing.push(format!("docs/security.md: {id} in {files:?}"));
            }
        }
    }
    let (_, standard) = security.split_once("## OWASP ASVS").expect("the page names its baseline");
    let requirements: Vec<&str> = standard.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(requirements.len() > 20, "{requirements:?}");
    for line in requirements {
        let files: Vec<&str> = line.split('`').filter(|path| path.ends_with(".rs")).collect();
        if files.is_empty() || !files.iter().all(|file| root().join(file).exists()) {
            missing.push(format!("docs/security.md: {line}"));
        }
    }
    for page in pages().into_iter().chain(["ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md"].map(str::to_owned)) {
        let content = text(&page);
        for link in content.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = root().join(&page).parent().unwrap().join(link);
            if !link.starts_with("http") && !target.exists() {
                missing.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(missing.is_empty(), "not there: {missing:?}");
}

/// N28, N05, F223: the main job through psql, with forged identities of every kind, and no other service; twice.
#[test]
fn the_main_job_plays() {
    let cluster = Cluster::start();
    let database = cluster.database();
    json(&mut database.superuser(), "select auth.apply_profile('supabase')", &[]);
    let inbox = Inbox::start();
    let sidecar = Sidecar::start(&database, &inbox.settings());
    let key = json(&mut database.superuser(), "select auth.create_key('anon')", &[]);
    for _ in 0..2 {
        let mut job = cluster.command("psql");
        let programs = Path::new(job.get_program()).parent().unwrap().to_owned();
        job = std::process::Command::new("bash");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&path))).unwrap();
        job.arg(root().join("examples/main-job.sh"))
            .env("PATH", path)
            .env("DATABASE_URL", database.url("postgres"))
            .env("APP_DATABASE_URL", database.url("app"))
            .env("INBOX_URL", inbox.url())
            .env("AUTH_URL", sidecar.url())
            .env("ANON_KEY", key["key"].as_str().unwrap());
        let output = job.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("28000 session_not_found"), "{said}");
    }
}
