//! The other commands of the binary: `keys list`, `keys generate`, `jwks`, `healthcheck`, `config`, `--help`, `--version`.

mod generate;
mod show;

use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Every string under the name, wherever it stands.
fn all(value: &Value, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                if let (true, Value::String(text)) = (member == name, value) {
                    found.push(text.clone());
                }
                found.extend(all(value, name));
            }
        }
        Value::Array(values) => values
            .iter()
            .for_each(|value| found.extend(all(value, name))),
        _ => {}
    }
    found
}
