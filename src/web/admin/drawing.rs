//! The timeline as SVG.
//!
//! Across, everything is in per cent of the width, down in pixels, so that the picture follows the page and its letters keep
//! their size. States are told by words and colours; words that have no room on a narrow screen are of class `roomy`.
//! Attributes alone, no `style`: the page's policy allows none.

use std::fmt;

use super::text::{Safe, calendar, head};
use super::timeline::{Event, Mark, Phase, Place, Row, Span, Timeline};
use crate::clock::UnixSeconds;
use crate::jose::Kid;
use crate::keys::board::Role;
use crate::keys::schedule::State;

/// With the kid that signs now.
#[derive(Debug)]
pub(super) struct Drawing<'a> {
    pub(super) timeline: &'a Timeline<'a>,
    pub(super) signing: Option<&'a Kid>,
}

/// Above the first row, for the word at the line of now.
const TOP: usize = 18;
const ROW: usize = 52;
/// Of a row: where its name stands, and its bar.
const NAME: usize = 14;
const BAR: usize = 20;
const BAR_HEIGHT: usize = 22;
const AXIS: usize = 26;
/// In per cent: the longest word has room on the narrowest screen, or on a wide one.
const ROOM: u16 = 26;
const ROOM_WHEN_WIDE: u16 = 10;
/// In per cent from an edge: a label that is centred there would stick out.
const EDGE: u16 = 8;

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = &self.timeline.rows;
        let bottom = TOP + rows.len() * ROW;
        let height = bottom + AXIS;
        write!(
            f,
            r#"<svg class="timeline" width="100%" height="{height}" role="group" aria-label="Keys in time; the table below says the same">"#
        )?;
        self.axis(f, bottom)?;
        for (number, row) in rows.iter().enumerate() {
            self.row(f, row, TOP + number * ROW)?;
        }
        f.write_str("</svg>")
    }
}

impl Drawing<'_> {
    fn axis(&self, f: &mut fmt::Formatter<'_>, bottom: usize) -> fmt::Result {
        let label = bottom + 18;
        for tick in &self.timeline.ticks {
            let place = tick.place;
            let text = Safe(&tick.label);
            write!(
                f,
                r#"<line class="tick" x1="{place}" x2="{place}" y1="{TOP}" y2="{bottom}"/><text class="axis" x="{place}" y="{label}" text-anchor="middle">{text}</text>"#
            )?;
        }
        let now = self.timeline.now;
        let anchor = anchor(now);
        write!(
            f,
            r#"<line class="now" x1="{now}" x2="{now}" y1="{TOP}" y2="{bottom}"/><text class="now" x="{now}" y="12" text-anchor="{anchor}">now</text>"#
        )
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, row: &Row<'_>, top: usize) -> fmt::Result {
        let kid = row.key.key.kid();
        let (name, bar) = (top + NAME, top + BAR);
        let algorithm = row.key.key.algorithm();
        let state = standing(row, self.signing == Some(kid));
        write!(
            f,
            r#"<g class="row"><text class="name" x="0" y="{name}"><title>{whole}</title><tspan class="kid">{short}</tspan> {algorithm} {state}</text><rect class="track" x="0" y="{bar}" width="100%" height="{BAR_HEIGHT}"/>"#,
            whole = Safe(kid),
            short = Safe(head(kid.as_str())),
        )?;
        for span in &row.spans {
            draw_span(f, span, bar)?;
        }
        // Over the bars, and behind the words.
        let (now, end) = (self.timeline.now, bar + BAR_HEIGHT);
        for class in ["now edge", "now"] {
            write!(
                f,
                r#"<line class="{class}" x1="{now}" x2="{now}" y1="{bar}" y2="{end}"/>"#
            )?;
        }
        for span in &row.spans {
            draw_word(f, span, now, bar)?;
        }
        for mark in &row.marks {
            draw_mark(f, mark, bar)?;
        }
        f.write_str("</g>")
    }
}

/// What the row says of itself, short.
fn standing(row: &Row<'_>, signs: bool) -> &'static str {
    let key = row.key;
    match key.role {
        _ if key.revoked => "revoked",
        _ if signs => "signs now",
        _ if key.held => "waits for verifiers",
        Role::Scheduled(State::Prepared) => "comes next",
        Role::Scheduled(State::Active) => "stands by",
        Role::Scheduled(State::Retired) => "retired",
        Role::Scheduled(State::Expired) => "expired",
        Role::Bystander => "of the other algorithm",
        Role::Extra => "of the extra JWKS",
        Role::Tombstone => "tombstone",
    }
}

fn draw_span(f: &mut fmt::Formatter<'_>, span: &Span, bar: usize) -> fmt::Result {
    let (class, word) = (class(span.phase), span.phase.name());
    let width = span.from.to(span.until);
    write!(
        f,
        r#"<rect class="span {class}" x="{from}" y="{bar}" width="{width}" height="{BAR_HEIGHT}"><title>{word}{since}{until}</title></rect>"#,
        from = span.from,
        since = bound(" from ", span.starts),
        until = bound(" until ", span.ends),
    )
}

/// Where it has room, beside the line of now.
fn draw_word(f: &mut fmt::Formatter<'_>, span: &Span, now: Place, bar: usize) -> fmt::Result {
    let (class, word) = (class(span.phase), span.phase.name());
    let (from, until) = beside(span.from, span.until, now);
    let roomy = match from.to(until).per_cent() {
        room if room >= ROOM => "",
        room if room >= ROOM_WHEN_WIDE => " roomy",
        _ => return Ok(()),
    };
    let middle = from.half_way(until);
    let baseline = bar + 15;
    write!(
        f,
        r#"<text class="word {class}{roomy}" x="{middle}" y="{baseline}" text-anchor="middle">{word}</text>"#
    )
}

/// The stretch itself, or its longer part where the line would cross its middle.
fn beside(from: Place, until: Place, now: Place) -> (Place, Place) {
    let middle = from.half_way(until);
    let distance = middle.to(now).max(now.to(middle));
    if now <= from || until <= now || distance.per_cent() > ROOM / 2 {
        return (from, until);
    }
    if from.to(now) < now.to(until) {
        (now, until)
    } else {
        (from, now)
    }
}

/// A small shape over the bar: up where the key begins to sign, down where it ends, a cross where it is withdrawn.
fn draw_mark(f: &mut fmt::Formatter<'_>, mark: &Mark, bar: usize) -> fmt::Result {
    let (name, shape) = match mark.event {
        Event::Activation => ("signs from", "M0 0 L-5 8 L5 8 Z"),
        Event::Retirement => ("retired", "M-5 0 L5 0 L0 8 Z"),
        Event::Removal => ("withdrawn", "M-4 0 L4 8 M4 0 L-4 8"),
    };
    let (place, top) = (mark.place, bar + 7);
    let end = bar + BAR_HEIGHT;
    write!(
        f,
        r#"<g class="mark"><title>{name} {at}</title><line x1="{place}" x2="{place}" y1="{bar}" y2="{end}"/><svg x="{place}" y="{top}" overflow="visible"><path d="{shape}"/></svg></g>"#,
        at = calendar(mark.at),
    )
}

const fn class(phase: Phase) -> &'static str {
    match phase {
        Phase::In(State::Prepared) => "prepared",
        Phase::In(State::Active) => "active",
        Phase::In(State::Retired) => "retired",
        Phase::In(State::Expired) => "expired",
        Phase::Aside => "aside",
        Phase::Revoked => "revoked",
    }
}

const fn anchor(place: Place) -> &'static str {
    match place.per_cent() {
        near if near < EDGE => "start",
        near if near > 100 - EDGE => "end",
        _ => "middle",
    }
}

fn bound(word: &str, at: Option<UnixSeconds>) -> String {
    at.map(|at| format!("{word}{}", calendar(at)))
        .unwrap_or_default()
}
