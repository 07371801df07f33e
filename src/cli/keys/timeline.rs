//! The lives of keys as a drawing: a line a key, time from left to right, a column for now. Pure.
//!
//! ```text
//!                   now
//! mJx2kQpa ACTIVE   ==|====-------------->
//! 9sTf0WbV PREPARED   |....==============>
//! ```

use std::fmt::Write as _;

use super::span::Spelled;
use crate::clock::UnixSeconds;
use crate::shown::shown;

/// When one key changes its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) published: UnixSeconds,
    pub(super) signs_from: UnixSeconds,
    pub(super) retired: Option<UnixSeconds>,
    pub(super) removal: Option<UnixSeconds>,
    /// Neither published nor signing, at any time.
    pub(super) revoked: bool,
}

/// The part of time that is drawn, and in how many columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    from: u64,
    to: u64,
    columns: usize,
}

const LEGEND: &str = ". published   = signs   - published, no longer signs   | now";
/// What lies further ahead would press everything else into one column; the table tells it.
const FURTHEST: u64 = 400 * 86_400;
/// Drawn where nothing is about to happen.
const QUIET: u64 = 3600;
const NARROWEST: usize = 20;
/// Wider is no terminal, and the formatter of the standard library takes no width above 65535.
const WIDEST: usize = 500;

impl Life {
    fn at(&self, time: u64) -> char {
        let time = UnixSeconds::new(time);
        let past = |at: Option<UnixSeconds>| at.is_some_and(|at| at <= time);
        if self.revoked || past(self.removal) {
            ' '
        } else if past(self.retired) {
            '-'
        } else if self.signs_from <= time {
            '='
        } else if self.published <= time {
            '.'
        } else {
            ' '
        }
    }

    fn changes(&self) -> impl Iterator<Item = u64> {
        let times = [
            Some(self.published),
            Some(self.signs_from),
            self.retired,
            self.removal,
        ];
        times.into_iter().flatten().map(UnixSeconds::get)
    }
}

impl Window {
    /// All that is ahead, and half as much of what is past.
    fn of(lives: &[(String, Life)], now: u64, columns: usize) -> Self {
        let changes = || lives.iter().flat_map(|(_, life)| life.changes());
        let ahead = changes().filter(|at| *at > now && *at <= now.saturating_add(FURTHEST));
        let ahead = ahead.max().map_or(0, |at| at - now);
        let back = changes().filter(|at| *at <= now && *at > 0);
        let back = back.min().map_or(0, |at| now - at);
        let most = if ahead > 0 { ahead / 2 } else { FURTHEST };
        let back = back.min(most).max(ahead / 8).max(QUIET / 8);
        let ahead = ahead.saturating_add(ahead / 8).max(back / 2).max(QUIET / 8);
        Self {
            from: now.saturating_sub(back),
            to: now.saturating_add(ahead),
            columns,
        }
    }

    fn time(&self, column: usize) -> u64 {
        let last = self.columns.saturating_sub(1).max(1);
        let share = u128::from(self.to - self.from) * column as u128 / last as u128;
        self.from
            .saturating_add(u64::try_from(share).unwrap_or(u64::MAX))
    }

    /// The column that stands for an instant of the window.
    fn column(&self, at: u64) -> usize {
        let columns = 0..self.columns;
        columns
            .rev()
            .find(|column| self.time(*column) <= at)
            .unwrap_or(0)
    }
}

/// The drawing, `width` characters wide at most where that can be drawn and read.
pub(super) fn drawn(lives: &[(String, Life)], now: UnixSeconds, width: usize) -> String {
    let labels: Vec<_> = lives.iter().map(|(label, _)| shown(label)).collect();
    let margin = labels.iter().map(|label| label.chars().count());
    let margin = margin.max().unwrap_or(0) + 1;
    let columns = width.saturating_sub(margin).clamp(NARROWEST, WIDEST);
    let window = Window::of(lives, now.get(), columns);
    let mark = window.column(now.get());
    let mut text = String::new();
    // Writing to a String does not fail.
    writeln!(text, "{:indent$}now", "", indent = margin + mark).ok();
    for (label, (_, life)) in labels.iter().zip(lives) {
        let line: String = (0..columns)
            .map(|column| match column {
                column if column == mark => '|',
                column => life.at(window.time(column)),
            })
            .collect();
        let line = format!("{label:<margin$}{line}");
        writeln!(text, "{}", line.trim_end()).ok();
    }
    let (from, to) = ruler(&window, now.get());
    let between = columns.saturating_sub(from.len() + to.len());
    writeln!(text, "{:margin$}{from}{:between$}{to}", "", "").ok();
    writeln!(text, "{LEGEND}").ok();
    text
}

fn ruler(window: &Window, now: u64) -> (String, String) {
    let from = format!("-{}", Spelled(now - window.from));
    let to = format!("+{}", Spelled(window.to - now));
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn life(published: u64, signs: u64, retired: Option<u64>, removal: Option<u64>) -> Life {
        Life {
            published: UnixSeconds::new(published),
            signs_from: UnixSeconds::new(signs),
            retired: retired.map(UnixSeconds::new),
            removal: removal.map(UnixSeconds::new),
            revoked: false,
        }
    }

    fn draw(lives: &[(&str, Life)], width: usize) -> String {
        let lives: Vec<_> = lives
            .iter()
            .map(|(label, life)| ((*label).to_owned(), *life))
            .collect();
        drawn(&lives, UnixSeconds::new(NOW), width)
    }

    #[test]
    fn a_rotation_is_drawn_as_what_each_key_does_when() {
        let lives = [
            ("new PREPARED", life(NOW, NOW + 960, None, None)),
            (
                "b ACTIVE",
                life(NOW - 9000, NOW - 8000, Some(NOW + 960), Some(NOW + 5760)),
            ),
            ("a RETIRED", life(0, 0, Some(NOW - 2000), Some(NOW + 2800))),
            (
                "x REVOKED",
                Life {
                    revoked: true,
                    ..life(0, 0, None, None)
                },
            ),
        ];
        let text = draw(&lives, 60);

        let want = [
            "                           now",
            "new PREPARED               |....============================",
            "b ACTIVE     ==============|====------------------------",
            "a RETIRED    =====---------|-------------",
            "x REVOKED                  |",
            "             -48 min                                +108 min",
            ". published   = signs   - published, no longer signs   | now",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_key_alone_is_drawn_to_the_edge() {
        let text = draw(&[("a ACTIVE", life(0, 0, None, None))], 40);

        assert_eq!(
            text.lines().nth(1).unwrap().matches('=').count(),
            30,
            "{text}"
        );
    }

    #[test]
    fn no_terminal_is_too_wide_or_too_narrow_to_draw_for() {
        let lives = [(
            "a ACTIVE",
            life(NOW - 9000, NOW - 8000, None, Some(NOW + 960)),
        )];
        for width in [0, 1, 65_535, 66_000, 99_999_999_999, usize::MAX] {
            let text = draw(&lives, width);

            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(
                (NARROWEST..=WIDEST + 20).contains(&widest),
                "{width}: {widest}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_drawing_is_too_wide_or_lacks_its_mark(
            times in proptest::collection::vec((any::<u32>(), any::<u64>(), any::<Option<u64>>(), any::<Option<u32>>()), 0..5),
            width in 0usize..200,
            now in any::<u32>(),
        ) {
            let lives: Vec<(String, Life)> = times
                .iter()
                .map(|(published, signs, retired, removal)| {
                    ("key".to_owned(), life((*published).into(), *signs, *retired, removal.map(u64::from)))
                })
                .collect();
            let text = drawn(&lives, UnixSeconds::new(now.into()), width);

            let widest = width.max(NARROWEST + 4);
            for line in text.lines().skip(1).take(lives.len()) {
                prop_assert!(line.chars().count() <= widest, "{text}");
                prop_assert_eq!(line.matches('|').count(), 1, "{}", text);
            }
        }
    }
}
