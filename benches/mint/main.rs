//! `cargo bench`: what a mint costs beside the bare signature, in one run on one machine.
//!
//! Every figure is a ratio to a signature measured seconds before: aws-lc-rs in this process for software keys, C_Sign on
//! all cores for SoftHSM2. Server CPU is what the kernel accounts to the service's process; the load comes from this one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark reads clocks and environment, prints, and may panic"
)]

mod load;
mod raw;
mod service;

use std::time::Duration;

use load::Request;
use service::{Service, Token};

/// How long each figure is measured.
const MEASURED: Duration = Duration::from_secs(4);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments
        .iter()
        .position(|argument| argument == "raw-c-sign")
    {
        return raw::c_sign_child(&arguments[at + 1..]);
    }
    println!(
        "{:<22} {:>12} {:>12} {:>9} {:>12} {:>9}",
        "key", "signature", "mint CPU", "ratio", "mints/s", "ratio"
    );
    let mut rsa = Duration::ZERO;
    for algorithm in ["RS256", "ES256"] {
        let raw = raw::software(algorithm, MEASURED);
        if algorithm == "RS256" {
            rsa = raw;
        }
        let service = Service::start(&[("MACP_AUTH_SIGNING_ALG", algorithm)]);
        let mint = service.measure(Request::Mint, MEASURED);
        let per_core = 1.0 / raw.as_secs_f64();
        row(
            &format!("{algorithm} in memory"),
            raw,
            mint,
            per_core * cores(),
        );
    }
    match Token::make() {
        None => println!("SoftHSM2 is not installed; run softhsm/test.sh first to measure it"),
        Some(token) => {
            for algorithm in ["RS256", "ES256"] {
                token.generate(algorithm);
                let raw = token.raw_c_sign(algorithm, MEASURED);
                let service = Service::start(&token.settings(algorithm));
                let mint = service.measure(Request::Mint, MEASURED);
                row(
                    &format!("{algorithm} in SoftHSM2"),
                    raw.cpu,
                    mint,
                    raw.per_second,
                );
            }
        }
    }
    let service = Service::start::<&str>(&[]);
    let jwks = service.measure(Request::Jwks, MEASURED);
    println!(
        "\nJWKS GET: {:.1} us of server CPU, {:.3} of an RSA-2048 signature; {:.0} a second",
        micros(jwks.cpu),
        jwks.cpu.as_secs_f64() / rsa.as_secs_f64(),
        jwks.per_second
    );
}

/// A rate and the CPU behind one piece of it.
#[derive(Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) cpu: Duration,
    pub(crate) per_second: f64,
}

fn row(name: &str, raw: Duration, mint: Measured, raw_rate: f64) {
    println!(
        "{name:<22} {:>9.1} us {:>9.1} us {:>9.2} {:>12.0} {:>9.2}",
        micros(raw),
        micros(mint.cpu),
        mint.cpu.as_secs_f64() / raw.as_secs_f64(),
        mint.per_second,
        mint.per_second / raw_rate
    );
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1, usize::from) as f64
}
