//! Builds the outside (arguments, environment, streams, exit code) and hands it to the command line.

use std::io;
use std::process::ExitCode;
use std::thread;

use macp_auth_service::cli::{self, Outside};

fn main() -> ExitCode {
    let mut outside = Outside {
        environment: std::env::vars_os().collect(),
        cores: thread::available_parallelism().map_or(1, usize::from),
        stdout: &mut io::stdout(),
        stderr: &mut io::stderr(),
    };
    cli::run(std::env::args_os(), &mut outside)
}
