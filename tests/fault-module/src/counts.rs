//! How often each function was called and how often a rule was applied to it: a text file with a line for each function.
//!
//! ```text
//! C_Login                                           1            0
//! ```
//!
//! Lines have a fixed length and are rewritten in place, under a lock of the file, before the call goes on: what a caller
//! has done can be read as soon as its call has returned. The numbers live in the file alone, so they add up over
//! processes that share it and over restarts. A counter that fails is reported once and never fails the call.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::functions::Function;
use crate::report;

/// The counts file, if there is one.
#[derive(Debug)]
pub struct Counts {
    file: Option<Mutex<File>>,
    reported: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    Calls,
    Faults,
}

impl Counts {
    /// Opens the file, or makes one with zeros.
    pub fn open(path: Option<&Path>) -> Self {
        let counts = |file| Self {
            file,
            reported: AtomicBool::new(false),
        };
        let Some(path) = path else {
            return counts(None);
        };
        match prepared(path) {
            Ok(file) => counts(Some(Mutex::new(file))),
            Err(error) => {
                report(&format!("no counts in {}: {error}", path.display()));
                counts(None)
            }
        }
    }

    /// Adds one.
    pub fn add(&self, function: Function, column: Column) {
        let Some(file) = &self.file else {
            return;
        };
        let file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = locked(&file, || one_more(&file, function, column))
            && !self.reported.swap(true, Ordering::Relaxed)
        {
            report(&format!("cannot count {}: {error}", function.name()));
        }
    }
}

fn prepared(path: &Path) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    locked(&file, || {
        let lines: String = Function::ALL.iter().map(|&f| line(f, 0, 0)).collect();
        if file.metadata()?.len() == lines.len() as u64 {
            return Ok(());
        }
        file.set_len(0)?;
        file.write_all_at(lines.as_bytes(), 0)
    })?;
    Ok(file)
}

/// The lock of the file holds off other processes; within this one they all have the same open file.
fn locked<T>(file: &File, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    }
    let done = work();
    file.unlock()?;
    done
}

fn one_more(file: &File, function: Function, column: Column) -> io::Result<()> {
    let place = function as u64 * LINE as u64;
    let mut old = [0; LINE];
    file.read_exact_at(&mut old, place)?;
    let (calls, faults) = numbers(&String::from_utf8_lossy(&old));
    let new = match column {
        Column::Calls => line(function, calls + 1, faults),
        Column::Faults => line(function, calls, faults + 1),
    };
    file.write_all_at(new.as_bytes(), place)
}

fn line(function: Function, calls: u64, faults: u64) -> String {
    format!("{:<37} {calls:>12} {faults:>12}\n", function.name())
}

fn numbers(line: &str) -> (u64, u64) {
    let mut numbers = line
        .split_whitespace()
        .skip(1)
        .map(|word| word.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// 64 bytes do not cross a cache line, so that even a reader without the lock sees no half-written number.
const LINE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path, function: Function) -> (u64, u64) {
        let text = std::fs::read_to_string(path).unwrap();
        let line = text
            .lines()
            .find(|line| line.split_whitespace().next() == Some(function.name()));
        numbers(line.unwrap())
    }

    #[test]
    fn every_line_has_the_length_that_its_place_is_computed_from() {
        for &function in Function::ALL {
            assert_eq!(line(function, 0, 0).len(), LINE, "{}", function.name());
            assert_eq!(line(function, 999_999_999_999, 1).len(), LINE);
        }
    }

    #[test]
    fn counts_add_up_over_threads_and_over_openings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counts");
        let (first, second) = (Counts::open(Some(&path)), Counts::open(Some(&path)));

        std::thread::scope(|scope| {
            for counts in [&first, &first, &second, &second] {
                scope.spawn(move || {
                    for _ in 0..250 {
                        counts.add(Function::C_Sign, Column::Calls);
                        counts.add(Function::C_WaitForSlotEvent, Column::Faults);
                    }
                });
            }
        });

        assert_eq!(read(&path, Function::C_Sign), (1000, 0));
        assert_eq!(read(&path, Function::C_WaitForSlotEvent), (0, 1000));
        assert_eq!(read(&path, Function::C_SignInit), (0, 0));
    }

    #[test]
    fn without_a_file_nothing_is_counted_and_nothing_fails() {
        Counts::open(None).add(Function::C_Sign, Column::Calls);
        Counts::open(Some(Path::new("/nowhere/counts"))).add(Function::C_Sign, Column::Calls);
    }
}
