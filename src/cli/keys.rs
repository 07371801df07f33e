//! Placeholder.
use std::process::ExitCode;

pub fn list(_outside: &mut super::Outside<'_>, _arguments: &super::ListArguments) -> ExitCode {
    super::failed()
}

pub fn generate(
    _outside: &mut super::Outside<'_>,
    _arguments: &super::GenerateArguments,
) -> ExitCode {
    super::failed()
}
