//! The label grammar: no panic, an instant that is read can be written and is read again, and nothing is ours by chance.

use bolero::check;
use fuzz::spelled;
use macp_auth_service::clock::UnixSeconds;
use macp_auth_service::keys::label::{Instant, LabelMatch, LabelPrefix};

const DICTIONARY: [&str; 24] = [
    "macp-jwt",
    "-",
    "/",
    ".",
    "_",
    " ",
    "20261201T120000Z",
    "2026-12-01T12:00:00Z",
    "19700101T000000Z",
    "19691231T235959Z",
    "99991231T235959Z",
    "20270229T000000Z",
    "20281301T000000Z",
    "20261201T240000Z",
    "T",
    "Z",
    "0",
    "1",
    "2026",
    "+",
    "\u{0}",
    "\u{e4}",
    "\u{663}",
    "t",
];

fn examine(prefix: &str, label: &str) {
    let Ok(prefix) = LabelPrefix::new(prefix) else {
        return;
    };
    match prefix.read(label) {
        LabelMatch::NotOurs => assert_ne!(label, prefix.as_str()),
        LabelMatch::ActiveFrom(UnixSeconds::EVER) => {
            assert!(
                label == prefix.as_str() || label.ends_with("19700101T000000Z"),
                "{label:?}"
            );
        }
        LabelMatch::ActiveFrom(at) => {
            assert!(label.starts_with(prefix.as_str()), "{label:?}");
            let instant = Instant::at(at).unwrap();
            assert!(label.ends_with(&instant.to_string()), "{label:?}");
            assert_eq!(Instant::from_text(&instant.to_string()), Ok(instant));
            if let Ok(written) = prefix.write(instant) {
                assert_eq!(
                    prefix.read(&written),
                    LabelMatch::ActiveFrom(at),
                    "{written:?}"
                );
            }
        }
        LabelMatch::BadInstant => assert!(label.starts_with(prefix.as_str()), "{label:?}"),
    }
}

#[test]
fn labels_under_our_prefix() {
    check!()
        .with_iterations(20_000)
        .with_max_len(16)
        .for_each(|bytes| {
            let rest = String::from_utf8_lossy(&spelled(bytes, &DICTIONARY)).into_owned();
            examine("macp-jwt", &format!("macp-jwt{rest}"));
            examine("macp-jwt", &rest);
        });
}

/// Numbers a little beyond what the calendar has.
#[test]
fn labels_with_an_instant_or_nearly_so() {
    check!()
        .with_iterations(20_000)
        .with_type::<(u16, [u8; 5], u8, Option<(u8, u8)>)>()
        .for_each(
            |(year, [month, day, hour, minute, second], separator, damage)| {
                let mut label = format!(
                    "macp-jwt{}{:04}{:02}{:02}T{:02}{:02}{:02}Z",
                    ["", "-", "/", ".", "_", " ", "--", "+"][usize::from(separator % 8)],
                    year % 11_000,
                    month % 14,
                    day % 33,
                    hour % 26,
                    minute % 62,
                    second % 62,
                )
                .into_bytes();
                if let Some((at, byte)) = damage {
                    let at = usize::from(*at) % label.len();
                    label[at] = *byte;
                }
                examine("macp-jwt", &String::from_utf8_lossy(&label));
            },
        );
}

#[test]
fn any_prefix_and_label() {
    check!()
        .with_iterations(20_000)
        .with_type::<(Vec<u8>, Vec<u8>)>()
        .for_each(|(prefix, rest)| {
            let prefix = String::from_utf8_lossy(prefix);
            let rest = String::from_utf8_lossy(&spelled(rest, &DICTIONARY)).into_owned();
            examine(&prefix, &format!("{prefix}{rest}"));
        });
}

#[test]
fn instants_on_a_command_line() {
    check!()
        .with_iterations(20_000)
        .with_max_len(32)
        .for_each(|bytes| {
            let text = String::from_utf8_lossy(&spelled(bytes, &DICTIONARY)).into_owned();
            if let Ok(instant) = Instant::from_text(&text) {
                assert_eq!(Instant::at(instant.seconds()), Some(instant), "{text:?}");
                assert_eq!(
                    Instant::from_text(&instant.seconds().rfc3339()),
                    Ok(instant),
                    "{text:?}"
                );
            }
        });
}
