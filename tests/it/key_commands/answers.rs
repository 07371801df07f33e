//! Answers: told even where stdout takes nothing, and only what could be seen.

use std::process::Stdio;

use super::{listed, states};
use crate::harness::{Launch, SoftHsm};

/// A pipe whose reader has left, and a disk that is full.
fn broken_outputs() -> [(&'static str, Stdio); 2] {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    [
        ("no reader", writer.into()),
        ("a full disk", full.unwrap().into()),
    ]
}

#[test]
fn a_change_whose_answer_cannot_be_written_is_told_on_stderr() {
    let hsm = SoftHsm::new();
    let generate = |launch: Launch, more: &[&str]| {
        launch.arguments(&[&["keys", "generate", "--alg", "ES256"], more].concat())
    };
    for (name, output) in broken_outputs() {
        let before = hsm.objects();
        let rehearsed = generate(hsm.launch(), &["--dry-run"]).run_into(Stdio::null());
        assert_eq!((rehearsed.code, rehearsed.stderr.as_str()), (Some(0), ""));
        assert_eq!(hsm.objects(), before);

        let made = generate(hsm.launch(), &["--activate-in", "1h"]).run_into(output);
        assert_eq!(made.code, Some(1), "{name}: {made:?}");
        assert!(made.stderr.contains("was carried out"), "{name}: {made:?}");
        let known = states(&listed(hsm.launch()));
        let told = known.iter().filter(|(kid, _)| made.stderr.contains(kid));
        assert_eq!(told.count(), 1, "{name}: {known:?}: {made:?}");
    }
    for (name, output) in broken_outputs() {
        let arguments = ["keys", "prune", "--yes"];
        let pruned = hsm.launch().arguments(&arguments).run_into(output);
        assert_eq!(pruned.code, Some(1), "{name}: {pruned:?}");
        assert!(pruned.stderr.contains("no key to destroy"), "{pruned:?}");
    }
}
