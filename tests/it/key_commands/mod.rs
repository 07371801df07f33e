//! The `keys` commands on real tokens.

mod answers;
mod ending;
mod failing;
mod making;
mod record;

use serde_json::Value;

use crate::harness::service::Refusal;
use crate::harness::{Launch, SoftHsm};

/// Tokens `one` and `two` of one SoftHSM2.
struct Two(SoftHsm);

impl Two {
    fn new() -> Self {
        let hsm = SoftHsm::without_token();
        hsm.make_token("one");
        hsm.make_token("two");
        Self(hsm)
    }

    fn launch(&self) -> Launch {
        self.launch_on(&["one", "two"])
    }

    fn launch_on(&self, tokens: &[&str]) -> Launch {
        let (module, pin) = (self.0.module().display(), self.0.pin_file());
        let pin = pin.display();
        let uris: Vec<String> = tokens
            .iter()
            .map(|token| format!("pkcs11:token={token}?module-path={module}&pin-source={pin}"))
            .collect();
        let directory = self.0.path(&format!("state-{}", tokens.len()));
        self.0
            .bare_launch()
            .set("MACP_AUTH_PKCS11_URI", uris.join(" "))
            .set("MACP_AUTH_STATE_DIR", directory)
    }
}

/// `keys …` on this configuration; it has to succeed.
fn keys(launch: Launch, arguments: &[&str]) -> String {
    let outcome = try_keys(launch, arguments);
    assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
    outcome.stdout
}

fn try_keys(launch: Launch, arguments: &[&str]) -> Refusal {
    launch.arguments(&[&["keys"], arguments].concat()).run()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn listed(launch: Launch) -> Value {
    json(&keys(launch, &["list", "--json"]))
}

/// (kid, state) of each key.
fn states(list: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let keys = list["keys"].as_array().unwrap().iter();
    keys.map(|key| (text(&key["kid"]), text(&key["state"])))
        .collect()
}

fn kid_of(made: &str) -> String {
    json(made)["keys"][0]["kid"].as_str().unwrap().to_owned()
}
