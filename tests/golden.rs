//! Golden files: what is written down once and compared ever after.

use std::path::Path;

use auth_harness::Client;

/// Compares with `tests/golden/<name>`, line by line; AUTH_BLESS=1 writes the file instead, for a review of its diff.
#[track_caller]
pub fn assert_golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name);
    if std::env::var_os("AUTH_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_same(&format!("tests/golden/{name} (AUTH_BLESS=1 rewrites it)"), &expected, found);
}

/// Says which lines differ: two long texts side by side help nobody.
#[track_caller]
pub fn assert_same(what: &str, expected: &str, found: &str) {
    let missing = expected.lines().filter(|line| !found.lines().any(|other| other == *line));
    let added = found.lines().filter(|line| !expected.lines().any(|other| other == *line));
    let difference: Vec<String> =
        missing.map(|line| format!("- {line}")).chain(added.map(|line| format!("+ {line}"))).collect();
    assert!(difference.is_empty() && expected == found, "{what} differs:\n{}", difference.join("\n"));
}

/// The first column of every row, one a line.
#[track_caller]
pub fn lines(client: &mut Client, sql: &str) -> String {
    let rows = client.query(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
}

/// The oids of everything that extension auth owns, for a `with` clause: `member (classid, objid)`.
pub const MEMBERS: &str = "member as (
    select d.classid, d.objid
    from pg_depend as d join pg_extension as e on e.oid = d.refobjid
    where d.refclassid = 'pg_extension'::regclass and d.deptype = 'e' and e.extname = 'auth')";
