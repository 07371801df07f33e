//! The checks of a software key: it signs, and the signatures verify. That it is one has been warned of already.

use super::finding::Finding;
use super::{Enough, Orders, Reporter, judgement};
use crate::clock::Stopwatch;
use crate::jose::Algorithm;
use crate::keys::local::LocalKey;

pub(super) fn check_ephemeral(
    algorithm: Algorithm,
    orders: Orders,
    reporter: &Reporter,
) -> Result<(), Enough> {
    let key = LocalKey::ephemeral(algorithm);
    let key = reporter.expect("key", key, "Start the program again")?;
    check(&key, orders, reporter)
}

pub(super) fn check(key: &LocalKey, orders: Orders, reporter: &Reporter) -> Result<(), Enough> {
    const CHECK: &str = "signatures";
    let published = key.published();
    reporter.found(Finding::ok(
        "key",
        format!("{} in memory, kid {}", key.algorithm(), published.kid()),
    ));
    let mut took = Vec::new();
    for number in 0..orders.signatures {
        let message = format!("macp-auth-service: test signature {number}");
        let watch = Stopwatch::start();
        let signature = key.sign(message.as_bytes());
        let elapsed = watch.elapsed();
        let signature = reporter.expect(CHECK, signature, "Pin another key")?;
        if !published.verifier().accepts(message.as_bytes(), &signature) {
            reporter.found(Finding::failed(
                CHECK,
                "a signature does not verify under the published key",
                "Check the memory of this machine",
            ));
            return Err(Enough);
        }
        took.push(elapsed);
    }
    reporter.found(judgement::latency(None, took, orders.sign_timeout));
    Ok(())
}
