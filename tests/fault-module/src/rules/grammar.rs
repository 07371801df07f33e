//! One line of the control file.
//!
//!   line      = [functions] action {qualifier} ["token" label to the end of the line]
//!   functions = "*" | name{","name}             may be left out for logout and close-sessions: "*"
//!   action    = ("fail" | "lose") code{","code} | "hang" | "delay" ms | "flip" | "other-key" | "hide" | "freeze"
//!             | "renumber" n | "limit" n | "logout" | "close-sessions"
//!   qualifier = "after" n | "times" n | "chance" p | "seed" n
//!
//! A word that begins with `#` begins a comment.

use std::iter::Peekable;
use std::str::SplitWhitespace;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::{Action, Functions, Reach, Rule, When};
use crate::codes::code;
use crate::functions::Function;

type Words<'a> = Peekable<SplitWhitespace<'a>>;

/// None for an empty line or a comment; the error says in plain words what is wrong.
pub(super) fn rule(line: &str) -> Result<Option<Rule>, String> {
    let text: Vec<&str> = line
        .split_whitespace()
        .take_while(|word| !word.starts_with('#'))
        .collect();
    let text = text.join(" ");
    let mut words = text.split_whitespace().peekable();
    let Some(&first) = words.peek() else {
        return Ok(None);
    };
    let functions = if matches!(first, "logout" | "close-sessions") {
        Functions::Star
    } else {
        words.next();
        functions(first)?
    };
    let action = action(&mut words)?;
    let functions = suited(functions, &action)?;
    let (when, reach) = qualifiers(&mut words, &action)?;
    Ok(Some(Rule {
        text,
        functions,
        action,
        when,
        reach,
        matched: AtomicU64::new(0),
        applied: AtomicU64::new(0),
    }))
}

fn functions(text: &str) -> Result<Functions, String> {
    if text == "*" {
        return Ok(Functions::Star);
    }
    let named = |name: &str| {
        Function::named(name)
            .filter(|&function| function != Function::C_GetFunctionList)
            .ok_or_else(|| format!("no function {name}"))
    };
    text.split(',')
        .map(named)
        .collect::<Result<_, _>>()
        .map(Functions::Named)
}

fn action(words: &mut Words<'_>) -> Result<Action, String> {
    let name = words.next().ok_or("an action is missing")?;
    Ok(match name {
        "fail" => Action::Fail(codes(words.next().ok_or("fail needs a code")?)?),
        "lose" => Action::Lose(codes(words.next().ok_or("lose needs a code")?)?),
        "hang" => Action::Hang,
        "delay" => Action::Delay(Duration::from_millis(number(name, words)?)),
        "flip" => Action::Flip,
        "other-key" => Action::OtherKey,
        "hide" => Action::Hide,
        "freeze" => Action::Freeze,
        "renumber" => Action::Renumber(number(name, words)?),
        "limit" => Action::Limit(number(name, words)?),
        "logout" => Action::Logout,
        "close-sessions" => Action::CloseSessions,
        other => return Err(format!("no action {other}")),
    })
}

fn codes(text: &str) -> Result<Vec<cryptoki_sys::CK_RV>, String> {
    let known = |name| code(name).ok_or_else(|| format!("no code {name}"));
    text.split(',').map(known).collect()
}

/// Only where an action has a meaning may it stand.
fn suited(functions: Functions, action: &Action) -> Result<Functions, String> {
    use Function as F;
    let (name, possible): (&str, &[Function]) = match action {
        Action::Flip => ("flip", &[F::C_Sign, F::C_SignFinal]),
        Action::OtherKey => ("other-key", &[F::C_Sign, F::C_SignInit]),
        Action::Hide => ("hide", &[F::C_FindObjects, F::C_GetSlotList]),
        Action::Freeze => ("freeze", &[F::C_FindObjects]),
        Action::Renumber(_) => ("renumber", &[F::C_GetSlotList]),
        Action::Limit(_) => ("limit", &[F::C_OpenSession]),
        Action::Fail(_)
        | Action::Lose(_)
        | Action::Hang
        | Action::Delay(_)
        | Action::Logout
        | Action::CloseSessions => return Ok(functions),
    };
    match functions {
        Functions::Named(named) if named.iter().all(|f| possible.contains(f)) => {
            // The key of a signature is chosen when it begins.
            if *action == Action::OtherKey {
                return Ok(Functions::Named(vec![F::C_SignInit]));
            }
            Ok(Functions::Named(named))
        }
        _ => {
            let possible: Vec<&str> = possible.iter().map(|f| f.name()).collect();
            Err(format!("{name} is for {}", possible.join(" and ")))
        }
    }
}

fn qualifiers(words: &mut Words<'_>, action: &Action) -> Result<(When, Reach), String> {
    let mut when = When::default();
    let mut given: Vec<&str> = Vec::new();
    let mut reach = Reach::All;
    while let Some(name) = words.next() {
        if given.contains(&name) {
            return Err(format!("{name} stands twice"));
        }
        given.push(name);
        match name {
            "after" => when.after = number(name, words)?,
            "times" => when.times = Some(number(name, words)?),
            "chance" => when.chance = Some(chance(words)?),
            "seed" => when.seed = number(name, words)?,
            "token" => reach = Reach::Token(label(words)?),
            other => return Err(format!("no qualifier {other}")),
        }
    }
    match action {
        Action::Renumber(_) if !given.is_empty() => {
            return Err("renumber takes no qualifier".to_owned());
        }
        Action::Limit(_) if given.iter().any(|name| *name != "token") => {
            return Err("limit takes no qualifier but token".to_owned());
        }
        // Once is what is meant: a login that is lost before every call is a token without logins.
        Action::Logout | Action::CloseSessions if when.times.is_none() && when.chance.is_none() => {
            when.times = Some(1);
        }
        _ => {}
    }
    Ok((when, reach))
}

fn number(name: &str, words: &mut Words<'_>) -> Result<u64, String> {
    words
        .next()
        .filter(|word| word.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| format!("{name} needs a whole number"))
}

fn chance(words: &mut Words<'_>) -> Result<f64, String> {
    words
        .next()
        .and_then(|word| word.parse().ok())
        .filter(|chance| (0.0..=1.0).contains(chance))
        .ok_or_else(|| "chance needs a number from 0 to 1".to_owned())
}

fn label(words: &mut Words<'_>) -> Result<String, String> {
    let label = words.collect::<Vec<_>>().join(" ");
    if label.is_empty() {
        return Err("token needs a label".to_owned());
    }
    Ok(label)
}
