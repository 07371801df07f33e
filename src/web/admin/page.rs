//! The status as one HTML page: no script, nothing to fetch, renewed by the browser itself.
//!
//! From top to bottom as somebody asks who was woken: does it sign, what is wrong, what comes next; then keys, tokens,
//! verifiers and rules. Everything foreign goes through [`Safe`]. The policy allows this style and nothing else.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Report;
use super::drawing::Drawing;
use super::tables::{Keys, RulesTable, Tokens, Verifiers};
use super::text::{Safe, calendar, distance, head};
use super::timeline::Timeline;
use crate::clock::UnixSeconds;
use crate::keys::board::LookOverview;

const STYLE: &str = include_str!("style.css");
/// Between two loads, in seconds.
const RENEWED_EVERY: u8 = 10;

/// Content-Security-Policy of the page. The empty icon keeps browsers from asking for one.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = digest::digest(&digest::SHA256, STYLE.as_bytes());
    let hash = STANDARD.encode(hash);
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// See the module.
#[derive(Debug)]
pub(super) struct Page<'a>(pub(super) &'a Report);

/// How loud the page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    Warning,
    Bad,
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let (mood, headline) = headline(report);
        let (class, sign) = (mood.class(), mood.sign());
        write!(
            f,
            r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="{RENEWED_EVERY}">
<title>{sign} {headline} - macp-auth-service</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style></head>
<body><header class="{class}"><h1><span aria-hidden="true">{sign}</span> {headline}</h1><p>macp-auth-service {version}, {now} UTC, renewed every {RENEWED_EVERY} s</p></header>
<main>"#,
            version = report.version,
            now = calendar(report.overview.now),
        )?;
        troubles(f, report)?;
        tiles(f, report)?;
        timeline(f, report)?;
        let overview = &report.overview;
        write!(
            f,
            "{}{}{}{}",
            Tokens(overview),
            Verifiers(overview),
            Keys(overview),
            RulesTable(overview)
        )?;
        write!(
            f,
            r#"</main><footer><p>Key source: {source}. All times are UTC. The same for machines: <a href="/status?format=json">status</a>, <a href="/metrics">metrics</a>, <a href="/readyz">readiness</a>.</p></footer></body></html>"#,
            source = report.source
        )
    }
}

impl Mood {
    const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Good => "\u{2714}",
            Self::Warning => "\u{25B2}",
            Self::Bad => "\u{2716}",
        }
    }
}

fn headline(report: &Report) -> (Mood, String) {
    match (report.mint.ready, report.jwks.ready) {
        (false, false) => (
            Mood::Bad,
            "Does not sign, and its JWKS may be old".to_owned(),
        ),
        (false, true) => (Mood::Bad, "Does not sign".to_owned()),
        (true, false) => (Mood::Bad, "Signs, but its JWKS may be old".to_owned()),
        (true, true) => match (report.overview.alarms.len(), silent(report).count()) {
            (0, 0) => (Mood::Good, "All is well".to_owned()),
            (0, _) => (Mood::Warning, "Signs, but not with every token".to_owned()),
            (1, _) => (Mood::Warning, "Signs, with 1 alarm".to_owned()),
            (more, _) => (Mood::Warning, format!("Signs, with {more} alarms")),
        },
    }
}

/// Tokens that do not sign.
fn silent(report: &Report) -> impl Iterator<Item = &LookOverview> {
    let looks = report.overview.looks.iter();
    looks.filter(|look| look.health.as_ref().is_some_and(|health| !health.ready))
}

/// What is not ready, the tokens that do not sign, the alarms: each sentence once.
fn troubles(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let mut told = BTreeSet::new();
    let mut lines = String::new();
    for (name, detail) in failing(report) {
        let repeats = told.iter().any(|known: &&str| known.contains(detail));
        if !repeats {
            told.insert(detail);
            write!(lines, "<li><b>{}</b> {}</li>", Safe(name), Safe(detail))?;
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    write!(
        f,
        r#"<section class="troubles"><h2>What is wrong</h2><ul>{lines}</ul></section>"#
    )
}

/// (what, in which way). Alarms come first: their sentences say what to do.
fn failing(report: &Report) -> impl Iterator<Item = (&str, &str)> {
    let alarms = report.overview.alarms.iter();
    let alarms = alarms.map(|alarm| (alarm.kind.name(), &alarm.detail));
    let unready = [&report.mint, &report.jwks].into_iter();
    let unready = unready.filter(|readiness| !readiness.ready);
    let unready = unready.flat_map(|readiness| &readiness.parts);
    let of_tokens = silent(report).filter_map(|look| look.health.as_ref());
    let of_tokens = of_tokens.flat_map(|health| &health.parts);
    let parts = unready.chain(of_tokens).filter(|part| !part.ok);
    alarms
        .chain(parts.map(|part| (part.name, &part.detail)))
        .map(|(name, detail)| (name, detail.as_str()))
}

/// What there is now and what comes next, each in a few words.
fn tiles(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let overview = &report.overview;
    let key = |kid| overview.keys.iter().find(|key| key.key.kid() == kid);
    let signing = overview.signing.as_ref().and_then(key);
    let signing = signing.map_or_else(
        || "<b>no key</b><span>mints are answered 503</span>".to_owned(),
        |key| {
            let kid = key.key.kid();
            let (short, whole) = (Safe(head(kid.as_str())), Safe(kid));
            let (algorithm, state) = (key.key.algorithm(), key.role.name());
            format!(
                r#"<b title="{whole}"><code>{short}</code></b><span>{algorithm}, {state}</span>"#
            )
        },
    );
    let published = overview.keys.iter().filter(|key| key.published).count();
    let recent = || overview.verifiers.iter().filter(|verifier| verifier.recent);
    let current = recent().filter(|verifier| verifier.is_current()).count();
    let verifiers = match recent().count() {
        0 => "no verifier was seen lately".to_owned(),
        all => format!("all known to {current} of {all} verifiers"),
    };
    let tokens = match overview.looks.len() {
        0 => format!(
            "<b>none</b><span>the key is in memory ({})</span>",
            report.source
        ),
        all => {
            let well = all - silent(report).count();
            format!("<b>{well} of {all}</b><span>signing</span>")
        }
    };
    let keys = if published == 1 { "key" } else { "keys" };
    write!(
        f,
        r#"<section class="tiles" aria-label="Now and next"><div><h2>Signs now</h2>{signing}</div><div><h2>Next key signs</h2>{switch}</div><div><h2>Next withdrawal</h2>{removal}</div><div><h2>Published</h2><b>{published} {keys}</b><span>{verifiers}</span></div><div><h2>Tokens</h2>{tokens}</div></section>"#,
        switch = moment(overview.next_switch(), overview.now, "no key is prepared"),
        removal = moment(overview.next_removal(), overview.now, "nothing to withdraw"),
    )
}

fn moment(at: Option<UnixSeconds>, now: UnixSeconds, none: &str) -> String {
    at.map_or_else(
        || format!("<b>-</b><span>{none}</span>"),
        |at| {
            let (from_now, when) = (distance(at, now), calendar(at));
            format!("<b>{from_now}</b><span>{when}</span>")
        },
    )
}

fn timeline(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let timeline = Timeline::of(&report.overview);
    if timeline.rows.is_empty() {
        return f.write_str(r#"<section><h2>Keys in time</h2><p>No key was ever seen here. Make one with <code>macp-auth-service keys generate</code>.</p></section>"#);
    }
    let drawing = Drawing {
        timeline: &timeline,
        signing: report.overview.signing.as_ref(),
    };
    let left_out = match timeline.left_out {
        0 => String::new(),
        more => format!(" {more} older keys stand in the table alone."),
    };
    let (from, until) = (
        calendar(timeline.window.from),
        calendar(timeline.window.until),
    );
    write!(
        f,
        r#"<section><h2>Keys in time</h2>{drawing}<p class="small">From {from} to {until}.{left_out}</p></section>"#
    )
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
