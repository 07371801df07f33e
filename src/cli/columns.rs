//! Rows of text under a head, each column as wide as its widest cell.
//!
//! Cells are escaped here, so that no column forgets it: kids of others and labels of tokens may hold anything.

use std::borrow::Cow;

use crate::shown::shown;

/// The lines of a table; two spaces between columns, none at the end of a line.
pub(super) fn aligned<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let rows = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| shown(cell)));
    let rows: Vec<[Cow<'_, str>; N]> = std::iter::once(head.map(Cow::Borrowed))
        .chain(rows)
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (number, cell) in row.iter().enumerate() {
            line.push_str(cell);
            let width = rows.iter().filter_map(|row| row.get(number));
            let width = width.map(|cell| length(cell)).max().unwrap_or(0);
            let padding = width.saturating_sub(length(cell)) + 2;
            line.extend(std::iter::repeat_n(' ', padding));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn length(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "bbb"], ["zürich", ""]].map(|row| row.map(str::to_owned));

        assert_eq!(
            aligned(["ONE", "TWO"], &rows),
            "ONE     TWO\na       bbb\nzürich\n"
        );
    }

    #[test]
    fn a_cell_cannot_break_its_line_or_tell_the_terminal_anything() {
        let rows = [["\u{1b}[2J\nforged", "b"]].map(|row| row.map(str::to_owned));

        assert_eq!(
            aligned(["ONE", "TWO"], &rows).lines().nth(1),
            Some(r"\u{1b}[2J\nforged  b")
        );
    }
}
