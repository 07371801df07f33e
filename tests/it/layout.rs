//! The shape of the source: who may use what. Reads src/ as text and names the offender.

use std::fs;
use std::path::{Path, PathBuf};

/// One source file, without its tests and comments.
struct Source {
    /// From src/ on, as `keys/ring.rs`.
    path: String,
    whole: String,
    code: Vec<(usize, String)>,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                files.push(source(&root, &path));
            }
        }
    }
    assert!(files.len() > 10, "src/ was not read");
    files
}

fn source(root: &Path, path: &PathBuf) -> Source {
    let whole = fs::read_to_string(path).unwrap();
    let tests_start = |line: &&str| *line != "#[cfg(test)]";
    let code = whole
        .lines()
        .take_while(tests_start)
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line.to_owned()))
        .collect();
    Source {
        path: path.strip_prefix(root).unwrap().display().to_string(),
        whole,
        code,
    }
}

/// The lines outside `home` in which one of the words stands.
fn strays(words: &[&str], home: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| !is_test(&source.path) && !home(&source.path))
    {
        for (number, line) in &source.code {
            if words.iter().any(|word| has_word(line, word)) {
                found.push(format!("src/{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

/// A whole file of unit tests.
fn is_test(path: &str) -> bool {
    path == "tests.rs" || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

/// `env::` is no word in `my_env::`.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let inside = |char: char| char.is_alphanumeric() || char == '_';
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let ends_open = word.ends_with(|char| !inside(char));
        !before.is_some_and(inside) && (ends_open || !after.is_some_and(inside))
    })
}

#[test]
fn each_border_of_the_program_is_touched_in_its_own_place_alone() {
    let in_cli = |path: &str| path == "main.rs" || path.starts_with("cli/");
    #[expect(clippy::type_complexity, reason = "a table of rules")]
    let rules: [(&str, &[&str], &dyn Fn(&str) -> bool); 7] = [
        (
            "cryptoki is known under keys/pkcs11/",
            &["cryptoki::", "cryptoki_sys::"],
            &|path| path.starts_with("keys/pkcs11/"),
        ),
        (
            "HTTP is known under web/",
            &[
                "hyper::",
                "hyper_util::",
                "axum::",
                "http::",
                "http_body_util::",
            ],
            &|path| path.starts_with("web/"),
        ),
        (
            "the environment is read in main.rs and cli/",
            &[
                "std::env",
                "env::var",
                "env::vars_os",
                "env::args",
                "env::args_os",
            ],
            &in_cli,
        ),
        (
            "stdout and exit belong to main.rs and cli/",
            &["stdout()", "println!", "print!", "process::exit"],
            &in_cli,
        ),
        (
            "whose message it is stands in cli/mod.rs",
            &["\"macp-auth-service: {}\""],
            &|path| path == "cli/mod.rs",
        ),
        (
            "clocks are read in clock.rs",
            &[
                "SystemTime",
                "Instant::now",
                "std::time::Instant",
                "OffsetDateTime::now_utc",
            ],
            &|path| path == "clock.rs",
        ),
        (
            "unsafe stands in keys/pkcs11/ffi.rs",
            &["unsafe"],
            &|path| path == "keys/pkcs11/ffi.rs",
        ),
    ];
    for (rule, words, home) in rules {
        let found = strays(words, home);
        assert!(found.is_empty(), "{rule}, but:\n{}", found.join("\n"));
    }
}

#[test]
fn dependencies_point_one_way() {
    // From the innermost out. config and clock are for all.
    let layers = ["jose", "keys", "grant", "mint", "web", "cli"];
    let mut found = Vec::new();
    for source in sources() {
        let Some(layer) = layers.iter().position(|name| {
            source.path == format!("{name}.rs") || source.path.starts_with(&format!("{name}/"))
        }) else {
            continue;
        };
        for (number, line) in &source.code {
            for outer in &layers[layer + 1..] {
                if has_word(line, &format!("crate::{outer}")) {
                    found.push(format!("src/{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
    }
    assert!(
        found.is_empty(),
        "jose < keys < grant < mint < web < cli, but:\n{}",
        found.join("\n")
    );
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let bare: Vec<_> = sources()
        .into_iter()
        .filter(|source| !is_test(&source.path) && !source.whole.starts_with("//!"))
        .map(|source| source.path)
        .collect();
    assert!(bare.is_empty(), "no //! header: {bare:?}");
}

#[test]
fn no_name_says_nothing() {
    let banned = [
        "util", "utils", "helper", "helpers", "manager", "common", "misc", "handler", "handlers",
        "core", "base", "data", "info",
    ];
    for source in sources() {
        for part in source.path.trim_end_matches(".rs").split('/') {
            assert!(!banned.contains(&part), "src/{}", source.path);
        }
    }
}

#[test]
fn files_stay_short_enough_to_read_at_once() {
    let long: Vec<_> = sources()
        .iter()
        .filter(|source| !is_test(&source.path) && !source.whole.contains("// size: "))
        .map(|source| {
            (
                source.code.last().map_or(0, |(line, _)| *line),
                &source.path,
            )
        })
        .filter(|(lines, _)| *lines > 400)
        .map(|(lines, path)| format!("src/{path}: {lines} lines before its tests"))
        .collect();
    assert!(
        long.is_empty(),
        "at most 400, or a `// size: ` that says why: {long:?}"
    );
}
