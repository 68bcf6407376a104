//! When two addresses are one: in other capitals, another spelling of the domain; and never by a look-alike.

use auth_harness::{Client, Cluster, json, refused, sign_in, sign_up};
use uuid::Uuid;

use crate::sign_up::cheap_hashes;

const PASSWORD: &str = "correct horse battery";

fn sign_up_code(client: &mut Client, email: &str) -> Result<Uuid, String> {
    match client.query_one("select (auth.sign_up($1, $2) -> 'user' ->> 'id')::uuid", &[&email, &PASSWORD]) {
        Ok(row) => Ok(row.get(0)),
        Err(error) => Err(refused::<()>(Err(error)).code),
    }
}

/// F005, N40: spellings of one mailbox are one account, for sign-up and for sign-in.
#[test]
fn spellings_of_one_mailbox_are_one_account() {
    let database = Cluster::shared().database();
    cheap_hashes(&database);
    let mut app = database.app();
    for spellings in [
        &["mike@example.org", "MIKE@example.org", "mIkE@EXAMPLE.ORG"][..],
        &["zoë@example.org", "zoe\u{308}@example.org", "ZOë@example.org"],
        &["a@bücher.example", "a@BÜCHER.example", "a@xn--bcher-kva.example", "A@bu\u{308}cher.example"],
        &["o'neil+tag@example.org", "O'Neil+TAG@Example.Org"],
    ] {
        let person = sign_up(&mut app, spellings[0], PASSWORD);
        for spelling in spellings {
            assert_eq!(sign_up_code(&mut app, spelling), Err("email_exists".to_owned()), "{spelling}");
            assert_eq!(sign_in(&mut app, spelling, PASSWORD).user_id, person.user_id, "{spelling}");
        }
    }
}

/// XA11: an address that a case rule of some other program would turn into an existing one is another account, or is no
/// address; it never signs in as the existing one and never finds it.
#[test]
fn look_alikes_are_somebody_else() {
    let database = Cluster::shared().database();
    cheap_hashes(&database);
    let mut app = database.app();
    let victims =
        ["mike@example.org", "straße@example.org", "ss@example.org", "İstanbul@example.org", "zoé@example.org"];
    let ids = victims.map(|victim| sign_up(&mut app, victim, "the victim's own").user_id);
    for attempt in [
        "m\u{131}ke@example.org",     // dotless i: its capital is I
        "mi\u{212a}e@example.org",    // Kelvin sign: its small letter is k
        "M\u{130}KE@example.org",     // I with dot
        "\u{ff4d}ike@example.org",    // fullwidth m
        "m\u{456}ke@example.org",     // Cyrillic i
        "\u{17f}\u{17f}@example.org", // long s: its capital is S
        "STRA\u{1e9e}E@example.org",  // capital sharp s
        "strasse@example.org",
        "\u{df}@example.org",
        "i\u{307}stanbul@example.org", // what lower() makes of I with dot
        "istanbul@example.org",
        "zoe@example.org",
        "ZOÉ@example.org",         // no case is folded outside ASCII
        "mike@example\u{2024}org", // one dot leader
        "mike@example.org\u{200b}",
        "\u{feff}mike@example.org",
        "mike\u{ad}@example.org",
        " mike@example.org",
        "mike@example.org.",
        "mike+tag@example.org",
        "m.ike@example.org",
        "mike@example.or\u{261}", // script g
    ] {
        let refusal = refused(app.execute("select auth.sign_in($1, 'the victim''s own')", &[&attempt]));
        assert_eq!(refusal.code, "invalid_credentials", "{attempt:?}");
        match sign_up_code(&mut app, attempt) {
            Ok(id) => {
                assert!(!ids.contains(&id));
                assert_eq!(sign_in(&mut app, attempt, PASSWORD).user_id, id, "{attempt:?}");
            }
            Err(code) => assert_eq!(code, "email_address_invalid", "{attempt:?}"),
        }
    }
    for (victim, id) in victims.iter().zip(ids) {
        assert_eq!(sign_in(&mut app, victim, "the victim's own").user_id, id, "{victim}");
    }
}

/// XA11, XA12: every code point outside ASCII that some rule of Unicode (lower, upper, NFKC, NFKD) turns into ASCII, in the
/// local part: refused, or not the address that it turns into.
#[test]
fn no_code_point_turns_into_an_ascii_address() {
    let database = Cluster::shared().database();
    let mut superuser = database.superuser();
    let (corpus, equal): (i64, Option<String>) = {
        superuser
            .batch_execute(
                "create function key_of(address text) returns text language plpgsql as $$
                begin
                    return auth.email_key(address);
                exception when invalid_parameter_value then
                    return null;
                end $$;
                create table corpus as
                select letter, turned
                from generate_series(128, x'3ffff'::int) as point,
                    lateral (select chr(point) as letter) as l,
                    lateral (
                        select distinct turned
                        from unnest(array[
                            lower(letter), upper(letter),
                            lower(normalize(letter, NFKC)), lower(normalize(letter, NFKD)),
                            regexp_replace(normalize(letter, NFKD), '[^[:ascii:]]', '', 'g')
                        ]) as turned
                    ) as t
                where point not between x'd800'::int and x'dfff'::int
                    and turned ~ '^[\\x21-\\x7e]+$' and turned !~ '[@.]'",
            )
            .unwrap();
        let row = superuser
            .query_one(
                "select count(*), string_agg(letter, ' ') filter (where
                    key_of('a' || letter || 'z@example.org') = key_of('a' || turned || 'z@example.org')
                    or key_of(letter || '@example.org') = key_of(turned || '@example.org'))
                from corpus",
                &[],
            )
            .unwrap();
        (row.get(0), row.get(1))
    };
    assert!(corpus > 2000, "{corpus} code points");
    assert_eq!(equal, None);
}

/// XA12: what is accepted stays itself: reading the stored address again, as it is or after NFC, NFKC and lower, gives the
/// same mailbox or no mailbox at all. What only looks like an @ or a dot is neither.
#[test]
fn an_accepted_address_stays_itself() {
    let database = Cluster::shared().database();
    cheap_hashes(&database);
    let (mut app, mut superuser) = (database.app(), database.superuser());
    for address in [
        "victim\u{ff20}example.org",
        "victim\u{fe6b}example.org",
        "attacker@evil.org\u{ff20}example.org",
        "victim\u{ff20}example.org@evil.org",
        "attacker@evil.org,victim@example.org",
        "attacker@evil.org\nvictim@example.org",
        "\"victim@example.org\"@evil.org",
        "victim@example.org@evil.org",
        "victim@evil.org\u{0}@example.org",
        "a\u{ff0e}b@example.org",
        "\u{fb01}ve@example.org",
    ] {
        match app.execute("select auth.sign_up($1, $2)", &[&address, &PASSWORD]) {
            // A NUL never gets as far as us.
            Err(error) if address.contains('\0') => assert_eq!(refused::<()>(Err(error)).sqlstate, "22021"),
            answer => {
                let refusal = refused(answer);
                assert_eq!(
                    (refusal.sqlstate.as_str(), refusal.code.as_str()),
                    ("22023", "email_address_invalid"),
                    "{address:?}"
                );
            }
        }
    }
    for address in [
        "Ada@Example.ORG",
        "zoe\u{308}@example.org",
        "用户@例え.テスト",
        "δοκιμή@παράδειγμα.δοκιμή",
        "a@\u{ff45}xample.org",
        "a@bücher\u{3002}example",
        "a@STRASSE.example",
        "a@straße.example",
        "अजय@डाटा.भारत",
        "a\u{308}\u{323}@example.org",
        "m\u{131}ke@example.org",
        "!#$%&'*+-/=?^_`{|}~@example.org",
    ] {
        let answer = json(&mut app, "select auth.sign_up($1, $2)", &[&address, &PASSWORD]);
        let stored = answer["user"]["email"].as_str().unwrap();
        let id: Uuid = answer["user"]["id"].as_str().unwrap().parse().unwrap();
        for spelling in ["$1", "normalize($1, NFC)", "normalize($1, NFD)", "normalize($1, NFKC)"] {
            let spelled: String = superuser.query_one(&format!("select {spelling}"), &[&stored]).unwrap().get(0);
            assert_eq!(sign_in(&mut app, &spelled, PASSWORD).user_id, id, "{address:?} as {spelled:?}");
        }
        let (key, again): (String, String) = {
            let row = superuser
                .query_one("select email_key, auth.email_key(email_key) from auth.users where id = $1", &[&id])
                .unwrap();
            (row.get(0), row.get(1))
        };
        assert_eq!(key, again, "{address:?}");
        let lowered: String = superuser.query_one("select lower($1)", &[&stored]).unwrap().get(0);
        assert_eq!(sign_in(&mut app, &lowered, PASSWORD).user_id, id, "{address:?} as {lowered:?}");
    }
}
