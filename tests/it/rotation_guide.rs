//! docs/rotation.md as an operator follows it: each scene in a shell and a directory of its own, on a SoftHSM2 token, with the
//! binary in PATH. No command stands there that is not run here, and what is shown there is what is said here.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::guide::{Kids, Step, difference, steps};
use crate::harness::precondition::{SERVICE, tools};

/// Comes before every other scene.
const PLACE: &str = "place";
/// The longest scene waits for two changes of keys.
const SECONDS: &str = "570";
const STEP: &str = "=== step ";

fn guide() -> Vec<Step> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    steps(&std::fs::read_to_string(root.join("docs/rotation.md")).unwrap())
}

/// Two in a row that nobody listens on, below those that the system gives away.
fn ports(number: usize) -> (u16, u16) {
    let begin = 12_000 + (std::process::id() % 900) as usize * 20;
    let mut candidates = (begin + number * 50..32_000).step_by(2);
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let port = candidates.find_map(|port| {
        let port = u16::try_from(port).unwrap();
        (free(port) && free(port + 1)).then_some(port)
    });
    let port = port.expect("no free port");
    (port, port + 1)
}

/// What each step begins with, so that its words can be told from those of others.
fn script(place: &[&Step], scene: &[&Step]) -> String {
    let mut script = String::from(
        "set -euo pipefail\nexec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n",
    );
    for step in place.iter().chain(scene) {
        script += &format!("echo '{STEP}{}'\n{}", step.line, step.commands);
    }
    script + &format!("echo '{STEP}0'\n")
}

fn run(script: &str, number: usize) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("scene.sh");
    std::fs::write(&file, script).unwrap();
    let (port, admin) = ports(number);
    let (second, second_admin) = ports(number + 10);
    let programs = Path::new(SERVICE).parent().unwrap().display();
    let path = std::env::var("PATH").unwrap();
    // `timeout` ends the whole group: the services in the background, too.
    Command::new("timeout")
        .args(["--kill-after=10", SECONDS, "bash"])
        .arg(&file)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("PATH", format!("{programs}:{path}"))
        .env("HOME", directory.path())
        .env("TMPDIR", directory.path())
        .env("PORT", port.to_string())
        .env("MACP_AUTH_ADMIN_ADDR", format!("localhost:{admin}"))
        .env("SECOND_PORT", second.to_string())
        .env("SECOND_ADMIN_ADDR", format!("localhost:{second_admin}"))
        .env("SOFTHSM2_MODULE", &tools().module)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What is wrong with one scene.
fn faults(name: &str, place: &[&Step], scene: &[&Step], number: usize) -> Vec<String> {
    let output = run(&script(place, scene), number);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let all: Vec<(&str, &str)> = said
        .split(STEP)
        .skip(1)
        .map(|part| part.split_once('\n').unwrap_or((part, "")))
        .collect();
    let mut kids = Kids::default();
    let mut faults = Vec::new();
    for step in place.iter().chain(scene) {
        let mut words = all
            .iter()
            .filter(|(line, _)| *line == step.line.to_string());
        match (words.next(), &step.says) {
            (None, _) => faults.push(format!("line {}: not reached", step.line)),
            (Some((_, words)), Some(shown)) => {
                let found = difference(shown, words, &mut kids);
                faults.extend(found.map(|found| {
                    format!(
                        "line {}: {found}\n--- shown\n{shown}--- said\n{words}",
                        step.line
                    )
                }));
            }
            (Some(_), None) => {}
        }
    }
    if !output.status.success() {
        faults.push(format!("{}\n{said}", output.status));
    }
    faults
        .into_iter()
        .map(|fault| format!("scene {name}, {fault}"))
        .collect()
}

#[test]
fn every_command_of_the_guide_does_what_it_shows() {
    let guide = guide();
    let of = |scene: &str| -> Vec<&Step> {
        guide
            .iter()
            .filter(|step| step.scenes.iter().any(|of| of == scene))
            .collect()
    };
    let mut scenes: Vec<&str> = guide
        .iter()
        .flat_map(|step| step.scenes.iter().map(String::as_str))
        .collect();
    scenes.sort_unstable();
    scenes.dedup();
    scenes.retain(|scene| *scene != PLACE);
    assert!(scenes.len() >= 10, "{scenes:?}");
    let place = of(PLACE);

    // All at once, because they do little but wait.
    let faults: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = scenes
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let (place, scene) = (&place, of(name));
                scope.spawn(move || faults(name, place, &scene, number))
            })
            .collect();
        let ended = running.into_iter();
        ended.flat_map(|scene| scene.join().unwrap()).collect()
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_is_another_at_each_run_may_differ_and_nothing_else() {
    const ONE: &str = "VQhxqh36vAz9C4HTUzGTOaQEKAYWSXyakf9QcV0-ja8";
    const OTHER: &str = "b64ZKk4Z5hWoD0l4bpSPe2xWtARU4m9leyr3herd5wE";
    let both = format!("{ONE} {OTHER}");
    let twice = format!("{ONE} {ONE}");
    for (name, shown, said, alike) in [
        ("the same", "a b", "a   b", true),
        ("another word", "a b", "a c", false),
        ("a kid", ONE, OTHER, true),
        ("two kids for one", &both, &twice, false),
        ("one kid for two", &twice, &both, false),
        ("a word for a kid", ONE, "none", false),
        (
            "an instant",
            "2026-11-25T10:39:42Z, macp-jwt-20261125T103942Z",
            "2027-01-02T03:04:05Z, macp-jwt-20270102T030405Z",
            true,
        ),
        (
            "an id",
            "CKA_ID: 01a2124a347976f7a884e15f3050bb27",
            "CKA_ID: 11a2124a347976f7a884e15f3050bb27",
            true,
        ),
        ("the future", "x (in 71 s)", "x (in 2 h 5 min)", true),
        ("the past", "3 s ago, y", "2 min ago, y", true),
        ("the past in a table, just now", "3 s ago  -", "now -", true),
        ("the past in a table", "3 s ago  -", "2 min ago -", true),
        ("past for future", "in 3 s", "3 s ago", false),
        (
            "now for future",
            "signs from: in 3 s",
            "signs from: now",
            false,
        ),
        (
            "seconds of a rule",
            "waits 11 s (lead)",
            "waits 12 s (lead)",
            false,
        ),
        ("something left out", "a … d", "a b c d", true),
        ("something left out at the end", "a …", "a b c", true),
        ("another end", "a … d", "a b c", false),
        ("lines left out", "a\n…\nd", "a\nb\nc\nd", true),
        ("no lines left out", "a\n…\nd", "a\nd", true),
        ("a line missing", "a\nb", "a", false),
        ("a line too many", "a", "a\nb", false),
    ] {
        let found = difference(shown, said, &mut Kids::default());
        assert_eq!(found.is_none(), alike, "{name}: {found:?}");
    }
}

#[test]
fn every_block_belongs_to_a_scene_and_words_to_commands() {
    let text =
        "<!-- scene: a, b -->\n\n```sh\ntrue\n```\n\n```text\nyes\n```\n\n```\na picture\n```\n";
    let step = Step {
        scenes: vec!["a".to_owned(), "b".to_owned()],
        line: 4,
        commands: "true\n".to_owned(),
        says: Some("yes\n".to_owned()),
    };
    assert_eq!(steps(text), [step]);
    for bad in [
        "```sh\ntrue\n```\n",
        "<!-- scene: a -->\n```sh\ntrue\n```\nand\n```text\nyes\n```\n",
        "```bash\ntrue\n```\n",
        "```text\nyes\n```\n",
    ] {
        assert!(std::panic::catch_unwind(|| steps(bad)).is_err(), "{bad}");
    }
}
