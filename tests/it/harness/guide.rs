//! A guide whose commands are run: the blocks of a document, and whether what a command said has the shape that is shown.
//!
//! ````text
//! <!-- scene: NAME, … -->  before each block of commands; blocks of one scene run one after the other in one shell
//! ```sh
//! ```text                  right behind it: what the block says. Commands without one may say anything
//! ````
//!
//! Shapes: kids, hexadecimal ids, instants and spans of time may differ, blanks may be wider, `…` is anything, and a line of `…` any
//! number of lines. The same kid in what is shown is the same kid in what was said.

use std::collections::BTreeMap;

/// One block of commands with what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub scenes: Vec<String>,
    /// Of the first command, from 1.
    pub line: usize,
    pub commands: String,
    pub says: Option<String>,
}

/// All blocks of commands; panics at one that would not be run, and at words of a command that nobody compares.
pub fn steps(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut scene = None;
    let mut after_commands = false;
    let mut lines = (1..).zip(document.lines());
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            if let Some(name) = line.strip_prefix("<!-- scene: ") {
                scene = name.strip_suffix(" -->");
            }
            after_commands &= line.is_empty();
            continue;
        };
        let block = lines.by_ref().map(|(_, line)| line);
        let block: Vec<&str> = block.take_while(|line| *line != "```").collect();
        let text = block.join("\n") + "\n";
        match language {
            "sh" => steps.push(Step {
                scenes: scene
                    .unwrap_or_else(|| panic!("line {number}: commands without a scene"))
                    .split(", ")
                    .map(str::to_owned)
                    .collect(),
                line: number + 1,
                commands: text,
                says: None,
            }),
            "text" => {
                assert!(after_commands, "line {number}: whose words are these?");
                steps.last_mut().unwrap().says = Some(text);
            }
            "" | "toml" | "yaml" => {}
            other => panic!("line {number}: {other} is not run"),
        }
        after_commands = language == "sh";
        scene = None;
    }
    steps
}

/// Kids in what is shown, and in what was said.
#[derive(Debug, Default)]
pub struct Kids(BTreeMap<String, String>);

/// Why `said` does not look like `shown`; None: it does.
pub fn difference(shown: &str, said: &str, kids: &mut Kids) -> Option<String> {
    let shown: Vec<&str> = shown.lines().collect();
    let said: Vec<&str> = said.lines().collect();
    let Some(pairs) = pairs(&shown, &said) else {
        return Some("no line for line".to_owned());
    };
    for (shown, said) in pairs {
        // Beside something left out nobody knows which kid is which.
        if shown.contains('…') {
            continue;
        }
        for (shown, said) in kids_of(shown).zip(kids_of(said)) {
            let known = kids.0.entry(shown.to_owned());
            let known = known.or_insert_with(|| said.to_owned());
            if known != said {
                return Some(format!("{shown} was {known}, and is {said} here"));
            }
        }
    }
    let mut said: Vec<&String> = kids.0.values().collect();
    said.sort();
    let twice = said.windows(2).find(|two| two[0] == two[1]);
    twice.map(|two| format!("{} stands for two keys", two[0]))
}

/// Which line that is shown is which line that was said.
fn pairs<'a>(shown: &[&'a str], said: &[&'a str]) -> Option<Vec<(&'a str, &'a str)>> {
    let Some((first, rest)) = shown.split_first() else {
        return said.is_empty().then(Vec::new);
    };
    if *first == "…" {
        return (0..=said.len()).find_map(|skipped| pairs(rest, &said[skipped..]));
    }
    let (line, others) = said.split_first()?;
    if !is_like(first, line) {
        return None;
    }
    let mut pairs = pairs(rest, others)?;
    pairs.push((first, line));
    Some(pairs)
}

fn is_like(shown: &str, said: &str) -> bool {
    let (shown, said) = (shape(shown), shape(said));
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = said.strip_prefix(first.trim_end()) else {
        return false;
    };
    let parts: Vec<&str> = parts.map(str::trim).collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// The line without what is another at each run.
fn shape(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let parts = word.split_inclusive(|char: char| !is_of_a_word(char));
        let parts = parts.map(|part| {
            let word = part.trim_end_matches(|char| !is_of_a_word(char));
            format!("{}{}", kind(word), &part[word.len()..])
        });
        parts.collect::<String>()
    });
    spans(&words.collect::<Vec<_>>())
}

const fn is_of_a_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | ':')
}

fn kind(word: &str) -> String {
    let bare = word.trim_end_matches(':');
    if is_kid(bare) {
        return format!("KID{}", &word[bare.len()..]);
    }
    if bare.len() == 32 && bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return "ID".to_owned();
    }
    let digits: String = word
        .chars()
        .map(|char| if char.is_ascii_digit() { '0' } else { char })
        .collect();
    let instants = ["0000-00-00T00:00:00Z", "00000000T000000Z"];
    match instants
        .iter()
        .find_map(|instant| digits.strip_suffix(instant))
    {
        Some(before) => format!("{}INSTANT", &word[..before.len()]),
        None => word.to_owned(),
    }
}

fn is_kid(word: &str) -> bool {
    word.len() == 43 && word.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn kids_of(line: &str) -> impl Iterator<Item = &str> {
    line.split(|char: char| !char.is_ascii_alphanumeric() && !matches!(char, '-' | '_'))
        .filter(|word| is_kid(word))
}

/// `in 14 min` is FUTURE, `2 h 5 min ago` and `now` are PAST; a number of seconds beside neither is one of the rules, and stays.
fn spans(words: &[String]) -> String {
    let mut line: Vec<&str> = Vec::new();
    let mut rest = words;
    while let Some((word, others)) = rest.split_first() {
        let future = word.trim_start_matches('(') == "in";
        let numbers = if future { others } else { rest };
        let length = span_length(numbers);
        let last = numbers.get(length.wrapping_sub(1));
        let behind = numbers.get(length).filter(|_| length > 0);
        if future && length > 0 {
            line.push(if last.is_some_and(|word| word.ends_with(')')) {
                "(FUTURE)"
            } else {
                "FUTURE"
            });
            rest = &numbers[length..];
        } else if let Some(ago) = behind.filter(|word| word.trim_end_matches([')', ',']) == "ago") {
            line.push(if ago.ends_with(')') { "(PAST)" } else { "PAST" });
            rest = &numbers[length + 1..];
        } else {
            line.push(if word == "now" { "PAST" } else { word });
            rest = others;
        }
    }
    line.join(" ")
}

/// How many words at the beginning are `14 min`, or `2 h 5 min`.
fn span_length(words: &[String]) -> usize {
    let units = ["s", "min", "h", "d"];
    let pairs = words.chunks(2).take_while(|pair| {
        let number = pair[0].trim_start_matches('(');
        let unit = pair.get(1).map(|unit| unit.trim_end_matches([')', ',']));
        !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && unit.is_some_and(|unit| units.contains(&unit))
    });
    2 * pairs.count().min(2)
}
