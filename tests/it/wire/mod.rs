//! The wire contract, row by row, against a service with an ephemeral ES256 key.

mod body;
mod fields;
mod limits;
mod numbers;
mod origin;
mod protocol;
mod routes;
mod sender;
mod signed;

use crate::harness::{Answer, Launch, Service};

fn service() -> Service {
    Launch::ephemeral("ES256").start()
}

/// `200`, or `400 sentence`: an answer in one line, for tables.
fn outcome(answer: &Answer) -> String {
    if answer.status == 200 {
        return "200".to_owned();
    }
    format!("{} {}", answer.status, answer.error())
}

const NO_SENDER: &str = "400 sender is required";
const NO_JSON: &str = "400 invalid JSON body";
const NO_SCOPES: &str = "400 scopes must be an object";
const NO_TTL: &str = "400 ttl_seconds must be a positive number";
