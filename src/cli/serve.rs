//! Placeholder.
use std::process::ExitCode;

pub fn run(_outside: &mut super::Outside<'_>) -> ExitCode {
    super::failed()
}
