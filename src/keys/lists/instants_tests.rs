//! The schedule file: every spelling of an entry, every fault by its place, and no text that panics or is shown.

use super::*;
use proptest::prelude::*;

const NOON: UnixSeconds = UnixSeconds::new(1_796_126_400);

fn kid(text: &str) -> Kid {
    Kid::pinned(text.to_owned()).unwrap()
}

fn entries(text: &str) -> Vec<(KeyName, UnixSeconds)> {
    let schedule = KeySchedule::parse(text).unwrap();
    let entries = schedule.entries();
    entries.map(|(name, at)| (name.clone(), at)).collect()
}

#[test]
fn an_entry_is_read_in_each_spelling() {
    let id = || KeyName::Id(vec![0x01, 0x9a, 0x3f]);
    for (name, members, want) in [
        (
            "a kid",
            "kid = 'a'\nactive_from = 'ever'",
            (KeyName::Kid(kid("a")), UnixSeconds::EVER),
        ),
        (
            "an id",
            "id = '019a3f'\nactive_from = 'ever'",
            (id(), UnixSeconds::EVER),
        ),
        (
            "capitals",
            "id = '019A3F'\nactive_from = 'ever'",
            (id(), UnixSeconds::EVER),
        ),
        (
            "colons",
            "id = '01:9a:3F'\nactive_from = 'ever'",
            (id(), UnixSeconds::EVER),
        ),
        (
            "label form",
            "id = '019a3f'\nactive_from = '20261201T120000Z'",
            (id(), NOON),
        ),
        (
            "RFC 3339",
            "id = '019a3f'\nactive_from = '2026-12-01T12:00:00Z'",
            (id(), NOON),
        ),
        (
            "a TOML instant",
            "id = '019a3f'\nactive_from = 2026-12-01T12:00:00Z",
            (id(), NOON),
        ),
        (
            "with a space",
            "id = '019a3f'\nactive_from = 2026-12-01 12:00:00Z",
            (id(), NOON),
        ),
    ] {
        assert_eq!(
            entries(&format!("[[key]]\n{members}\n")),
            std::slice::from_ref(&want),
            "{name}"
        );
        let windows = format!(
            "\u{feff}# ours\r\n[[key]]\r\n{}",
            members.replace('\n', "\r\n")
        );
        assert_eq!(entries(&windows), [want], "{name}, from Windows");
    }
}

#[test]
fn keys_are_found_under_the_name_that_the_entry_gives() {
    let schedule = KeySchedule::parse(
        "key = [{ kid = 'ab', active_from = 'ever' }, { id = 'cd', active_from = 2026-12-01T12:00:00Z }]",
    )
    .unwrap();

    assert_eq!(schedule.by_kid(&kid("ab")), Some(UnixSeconds::EVER));
    assert_eq!(schedule.by_kid(&kid("cd")), None);
    assert_eq!(schedule.by_id(&[0xcd]), Some(NOON));
    assert_eq!(schedule.by_id(&[0xab]), None);
    assert_eq!(schedule.by_id(&[]), None);
    assert!(schedule.names_kids());
    assert!(
        !KeySchedule::parse("[[key]]\nid='cd'\nactive_from='ever'")
            .unwrap()
            .names_kids()
    );
    assert_eq!(
        KeySchedule::parse("# none yet\n").unwrap(),
        KeySchedule::default()
    );
}

/// Of an entry behind a good one, for kid `a`.
fn fault_of(members: &str) -> EntryFault {
    let good = "[[key]]\nkid = 'a'\nactive_from = 'ever'\n";
    let fault = KeySchedule::parse(&format!("{good}[[key]]\n{members}\n")).unwrap_err();
    let ScheduleFault::Entry { number: 2, fault } = fault else {
        panic!("{fault:?}");
    };
    fault
}

#[test]
fn an_entry_names_one_key_and_no_other_entry_does() {
    for (name, members, want) in [
        ("no name", "", EntryFault::NoName),
        ("both", "kid = 'b'\nid = '01'", EntryFault::TwoNames),
        ("empty kid", "kid = ''", EntryFault::BadKid),
        ("kid with a space", "kid = 'b c'", EntryFault::BadKid),
        ("kid as a number", "kid = 7", EntryFault::BadKid),
        ("empty id", "id = ''", EntryFault::BadId),
        ("id as a number", "id = 12", EntryFault::BadId),
        ("odd id", "id = '012'", EntryFault::BadId),
        ("no digits", "id = '0g'", EntryFault::BadId),
        ("halves", "id = '0:1'", EntryFault::BadId),
        ("some colons", "id = '01:0203'", EntryFault::BadId),
        ("a last colon", "id = '01:'", EntryFault::BadId),
        ("kid again", "kid = 'a'", EntryFault::Again { first: 1 }),
    ] {
        let fault = fault_of(&format!("{members}\nactive_from = 'ever'"));
        assert_eq!(fault, want, "{name}");
    }
    let ids = "[[key]]\nid='ab'\nactive_from='ever'\n[[key]]\nid='AB'\nactive_from='ever'";
    let fault = EntryFault::Again { first: 1 };
    let again = Err(ScheduleFault::Entry { number: 2, fault });
    assert_eq!(KeySchedule::parse(ids), again);
}

#[test]
fn an_entry_has_one_instant_in_utc_and_nothing_else() {
    for text in [
        "'tomorrow'",
        "2026-12-01T12:00:00",
        "2026-12-01T12:00:00+01:00",
        "2026-12-01",
        "2026-12-01T12:00:00.5Z",
        "1969-12-31T23:59:59Z",
    ] {
        let fault = fault_of(&format!("kid = 'b'\nactive_from = {text}"));
        let bad = Instant::from_text(text.trim_matches('\'')).unwrap_err();
        assert_eq!(fault, EntryFault::Instant(bad), "{text}");
    }
    for text in ["1796126400", "true", "['ever']"] {
        let fault = fault_of(&format!("kid = 'b'\nactive_from = {text}"));
        assert_eq!(fault, EntryFault::NotAnInstant, "{text}");
    }
    assert_eq!(fault_of("kid = 'b'"), EntryFault::NoInstant);
    let member = "activ_from".to_owned();
    assert_eq!(
        fault_of("kid = 'b'\nactiv_from = 'ever'"),
        EntryFault::Unknown { member }
    );
}

#[test]
fn what_is_no_list_of_entries_is_refused() {
    let stray = |member: &str| ScheduleFault::Stray {
        member: member.to_owned(),
    };
    for (name, text, want) in [
        ("another table", "[[keys]]\nkid = 'a'", stray("keys")),
        ("a member above", "version = 1\n[[key]]", stray("version")),
        (
            "single brackets",
            "[key]\nkid = 'a'",
            ScheduleFault::NoEntries,
        ),
        ("a list of texts", "key = ['a']", ScheduleFault::NoEntries),
    ] {
        assert_eq!(KeySchedule::parse(text), Err(want), "{name}");
    }
    for (name, text, want) in [
        ("JSON", "{}", 1),
        ("a PIN", "\n\n123456\n", 3),
        ("a member twice", "[[key]]\nkid = 'a'\nkid = 'b'", 3),
        (
            "no such day",
            "[[key]]\nkid = 'a'\nactive_from = 2026-02-30T12:00:00Z",
            3,
        ),
        ("deep", &format!("a = {}", "[".repeat(100_000)), 1),
    ] {
        let outcome = KeySchedule::parse(text);
        assert!(
            matches!(outcome, Err(ScheduleFault::NotToml { line, .. }) if line == want),
            "{name}: {outcome:?}"
        );
    }
}

#[test]
fn a_file_named_by_mistake_is_not_shown() {
    for text in [
        "QQ4711QQ",
        "a = 1\nQQ4711QQ = = 2",
        "a = \"QQ4711QQ",
        "QQ4711QQ = 1\nQQ4711QQ = 2",
        "a = QQ4711QQ",
    ] {
        let fault = KeySchedule::parse(text).unwrap_err();
        assert!(
            !format!("{fault} {fault:?}").contains("QQ4711QQ"),
            "{fault}"
        );
    }
}

fn name() -> impl Strategy<Value = KeyName> {
    prop_oneof![
        "[!-~ä鍵]{1,50}".prop_map(|text| KeyName::Kid(kid(&text))),
        proptest::collection::vec(any::<u8>(), 1..40).prop_map(KeyName::Id),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        instants in proptest::collection::btree_map(name(), 0u64..253_402_300_800, 0..9),
    ) {
        let schedule = instants.into_iter().fold(KeySchedule::default(), |schedule, (name, at)| {
            schedule.with(name, UnixSeconds::new(at))
        });

        prop_assert_eq!(KeySchedule::parse(&schedule.to_string()), Ok(schedule));
    }

    #[test]
    fn no_text_panics(text in "(?s).*", id in "[0-9a-fA-F:]{0,9}", at in "[0-9TZ:. +-]{0,25}") {
        KeySchedule::parse(&text).ok();
        KeySchedule::parse(&format!("[[key]]\nid = '{id}'\nactive_from = {at}")).ok();
        KeySchedule::parse(&format!("[[key]]\nkid = '''{text}'''\nactive_from = '{at}'")).ok();
    }
}
