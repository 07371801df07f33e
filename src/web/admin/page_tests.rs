//! The page as a whole: what it says first, and that nothing foreign is markup.

use super::super::samples::{EVIL, report};
use super::*;
use crate::keys::{Part, Readiness};

#[test]
fn foreign_text_is_never_markup_wherever_it_stands() {
    let page = Page(&report()).to_string();

    assert!(!page.contains("<script"), "{page}");
    let shown = Safe(EVIL).to_string();
    // Alarm, keys' token, token's name, device, failing part, failed look, keys not used.
    assert!(page.matches(&shown).count() >= 7, "{page}");
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    let page = Page(&report()).to_string();

    for word in [
        "src=", "url(", "@import", "style=", "onload", "http://", "https://",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(POLICY.starts_with("default-src 'none'; style-src 'sha256-"));
}

#[test]
fn the_headline_is_what_is_worst() {
    let ready = |ready| Readiness {
        ready,
        parts: Vec::new(),
    };
    for (mint, jwks, alarms, silent, mood, want) in [
        (true, true, 0, false, Mood::Good, "All is well"),
        (
            true,
            true,
            0,
            true,
            Mood::Warning,
            "Signs, but not with every token",
        ),
        (true, true, 1, true, Mood::Warning, "Signs, with 1 alarm"),
        (true, true, 2, false, Mood::Warning, "Signs, with 2 alarms"),
        (false, true, 1, true, Mood::Bad, "Does not sign"),
        (
            true,
            false,
            0,
            false,
            Mood::Bad,
            "Signs, but its JWKS may be old",
        ),
        (
            false,
            false,
            0,
            false,
            Mood::Bad,
            "Does not sign, and its JWKS may be old",
        ),
    ] {
        let mut report = report();
        let alarm = report.overview.alarms.remove(0);
        report.overview.alarms = vec![alarm; alarms];
        report.overview.looks.truncate(if silent { 2 } else { 1 });
        (report.mint, report.jwks) = (ready(mint), ready(jwks));

        assert_eq!(headline(&report), (mood, want.to_owned()));
    }
}

#[test]
fn what_is_not_ready_is_said_once_and_before_everything_else() {
    let mut report = report();
    let part = |name, detail: &str| Part {
        name,
        ok: false,
        detail: detail.to_owned(),
    };
    let alarm = report.overview.alarms.first().unwrap().detail.clone();
    report.mint = Readiness {
        ready: false,
        parts: vec![part("token", "the cable is out"), part("last_look", &alarm)],
    };
    let page = Page(&report).to_string();

    assert_eq!(page.matches("the cable is out").count(), 1, "{page}");
    assert_eq!(page.matches(&Safe(&alarm).to_string()).count(), 1, "{page}");
    assert!(
        page.find("the cable is out") < page.find("Signs now"),
        "{page}"
    );
}

#[test]
fn without_a_key_the_page_says_what_makes_one() {
    let mut report = report();
    report.overview.keys.clear();
    report.overview.signing = None;
    let page = Page(&report).to_string();

    assert!(page.contains("keys generate"), "{page}");
    assert!(page.contains("no key"), "{page}");
    assert!(!page.contains("<svg"), "{page}");
}
