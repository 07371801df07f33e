//! docs/configuration.md, written from the table of variables. A test compares the file with this text.

use super::settings::{Fallback, Form, Group, NOT_BUILT, OF_THE_RUNTIME, SETTINGS, Setting};

/// The whole document, with a newline at its end.
pub fn markdown() -> String {
    let mut out = INTRODUCTION.to_owned();
    for (group, title) in GROUPS {
        out.push_str(&format!(
            "\n## {title}\n\n| variable | default | value | meaning |\n|---|---|---|---|\n"
        ));
        SETTINGS
            .iter()
            .filter(|setting| setting.group == group)
            .for_each(|setting| out.push_str(&row(setting)));
    }
    out.push_str(CHOICE_OF_KEY);
    out.push_str(URI);
    out.push_str(ROTATION);
    out.push_str(STOPS);
    out.push_str(WARNINGS);
    out.push_str("\n## Other names under `MACP_AUTH_`\n\n");
    out.push_str(&format!(
        "* The runtime's names are ignored, so that both can share a file: {}.\n",
        names(&OF_THE_RUNTIME)
    ));
    out.push_str(&format!(
        "* These names are reserved. Setting one stops the start: {}.\n",
        names(&NOT_BUILT)
    ));
    out.push_str(
        "* An unknown name under `MACP_AUTH_PKCS11_`, or a slip of one, stops the start and is told the nearest known name: \
         a misspelt name must not end in a software key.\n* Any other unknown name is warned about.\n",
    );
    out
}

const GROUPS: [(Group, &str); 7] = [
    (Group::Listening, "Listening"),
    (Group::Tokens, "What a token says"),
    (Group::Key, "Which key signs"),
    (Group::Hsm, "PKCS#11 token"),
    (Group::Rotation, "Rotation"),
    (Group::Signing, "Signing"),
    (Group::Logs, "Logs and faults"),
];

fn row(setting: &Setting) -> String {
    let default = match setting.default {
        Fallback::Nothing => "none".to_owned(),
        Fallback::Value(value) => format!("`{value}`"),
        Fallback::Described(words) => words.to_owned(),
    };
    let secret = if setting.secret {
        " Secret: never shown."
    } else {
        ""
    };
    format!(
        "| `{}` | {default} | {} | {}{secret} |\n",
        setting.name,
        form(setting.form),
        setting.help
    )
}

fn form(form: Form) -> String {
    match form {
        Form::Text => "text".to_owned(),
        Form::Number {
            least,
            most,
            because,
        } => format!("{least} to {most} ({because})"),
        Form::Switch => "`1` or `0`".to_owned(),
        Form::Choice(choices) => names(choices),
        Form::Address => "IP address or `localhost`".to_owned(),
        Form::Place => "`address:port`, with an IP address or `localhost`".to_owned(),
        Form::Path => "path".to_owned(),
        Form::Kids => "kids, separated by spaces or commas".to_owned(),
        Form::Uri => "PKCS#11 URI".to_owned(),
        Form::Jwk => "JSON".to_owned(),
        Form::LogFilter => "log filter".to_owned(),
    }
}

fn names(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

const INTRODUCTION: &str = "\
<!-- Written by `macp-auth-service config --markdown`. Change src/config/settings.rs or markdown.rs, then run it again. -->
# Configuration

The service reads environment variables, once, at its start. There is no configuration file.

* `macp-auth-service config` shows every variable with its default and its current value, then all problems and warnings. Secrets are not shown.
* All problems are reported at once, on stderr, and the service leaves with exit code 1. Each line says what is wrong, why, and what to do.
* A variable that is set but empty is a problem (`MACP_AUTH_SIGNING_KEY_JSON` excepted). Values are UTF-8.
* Numbers are whole and in decimal digits. Spaces around them are fine, except in `PORT`.
* Switches take `1` or `0`; `true` and `false` work too.
";

const CHOICE_OF_KEY: &str = "
## How the source of keys is chosen

By what is configured, never by what fails: a token that is away is never replaced by a software key.

| configured | key source | `kid` |
|---|---|---|
| any `MACP_AUTH_PKCS11_…` | `pkcs11`: the key stays in the token | RFC 7638 thumbprint |
| `MACP_AUTH_SIGNING_KEY_JSON` | `env`: the private key is in this process | that of the JWK, or `key-1` |
| neither | `ephemeral`: a new key at each start, for development | `dev-key-1` |

Both at once, or half a token, is a problem:

* a token needs a module: `MACP_AUTH_PKCS11_MODULE`, or `module-path` in `MACP_AUTH_PKCS11_URI`;
* a module needs a token: `MACP_AUTH_PKCS11_TOKEN_LABEL` or `MACP_AUTH_PKCS11_TOKEN_SERIAL`, even if it shows one token only;
* one PIN: `MACP_AUTH_PKCS11_PIN_FILE`, or `MACP_AUTH_PKCS11_PIN`, or one in a URI.

`MACP_AUTH_REQUIRE_HSM=1` refuses both software sources, whatever else is set.

The PIN file holds the PIN alone. One newline at its end is not part of the PIN. A file that others can read or write, an empty one, one of
several lines, or one that is not UTF-8 stops the start: a login with a wrong PIN costs one of few attempts.
";

const URI: &str = "
## `MACP_AUTH_PKCS11_URI`

PKCS#11 URIs as RFC 7512 defines them, instead of module, label and serial. Several, separated by spaces, are several
tokens: replicas of one key share the load, other keys stand by. The PIN file and the label prefix of the variables serve
the URIs that bring none of their own.

    pkcs11:token=macp;serial=0123456789abcdef?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/secrets/pin

Values are percent-encoded: a space is `%20`, `;` is `%3B`, `&` is `%26`, `%` is `%25`.

| attribute | where | meaning |
|---|---|---|
| `module-path` | query | required: absolute path of the module |
| `module-name` | query | a problem: it names no certain file |
| `token`, `serial` | path | which token; at least one of them |
| `manufacturer`, `model`, `slot-id` | path | must match as well, if given |
| `slot-manufacturer`, `slot-description` | path | a problem: they are not compared |
| `library-manufacturer`, `library-description`, `library-version` | path | not compared, with a warning: `module-path` names the library |
| `object`, `id` | path | select one fixed key by label and CKA_ID; `MACP_AUTH_PKCS11_KEY_LABEL` is then a problem |
| `type` | path | `private` or absent |
| `pin-source` | query | absolute path or `file:` URI of a PIN file; a command (`\\|…`) is never run |
| `pin-value` | query | the PIN itself, with a warning |
| `x-…` | query | ignored |

Any other attribute, one that is given twice, or one on the wrong side of the `?` is a problem. Without `pin-source` and `pin-value`,
`MACP_AUTH_PKCS11_PIN_FILE` or `MACP_AUTH_PKCS11_PIN` holds the PIN.
";

const ROTATION: &str = "
## The sums of rotation

Two sums keep every token good while keys change. The service starts only if both hold, whatever the source of keys:

* A new key is in the cache of every verifier before it signs. `MACP_AUTH_KEY_LEAD_SECONDS` is at least 2.2 x `MACP_AUTH_KEY_POLL_SECONDS` +
  `MACP_AUTH_JWKS_MAX_AGE_SECONDS` + `MACP_AUTH_VERIFIER_TTL_SECONDS` + 5 (one fetch) + 2 x `MACP_AUTH_CLOCK_SKEW_SECONDS`. With the defaults: 491.
* An old key is published until its last token has expired. `MACP_AUTH_KEY_RETAIN_SECONDS` is at least `MACP_AUTH_MAX_TTL_SECONDS` + 60 (leeway of
  verifiers) + 2 x `MACP_AUTH_CLOCK_SKEW_SECONDS` + `MACP_AUTH_KEY_POLL_SECONDS`. With the defaults: 3750. The default is always enough where the lead is.

Give all instances of the service the same values. `MACP_AUTH_ROTATION_UNSAFE=1` turns the problem into a warning, to rehearse what goes wrong.

A `kid` with a space or a comma in it fits only into `MACP_AUTH_REVOKED_KIDS_FILE`; with a space it stands there in
double quotes, as a JSON string (`\"my key\"`). `keys revoke-bound` prints the line. Both lists count together.

Paths of files are absolute. `MACP_AUTH_KEY_SCHEDULE_FILE` beside a URI with `object` or `id` is a problem: two answers to one question.
";

const STOPS: &str = "
## Who may reach it

Nobody who asks for a token is authenticated, so the service listens on the loopback addresses alone. `MACP_AUTH_BIND_ADDR` with any other
address is a problem unless `MACP_AUTH_ALLOW_ANONYMOUS=1` says that the network itself decides who gets there.

The admin listener exists only if `MACP_AUTH_ADMIN_ADDR` is set. An address that other machines reach is allowed, with a warning.
";

const WARNINGS: &str = "
## What is warned about

The service starts, and says on stderr:

* an ephemeral key signs (for development only);
* the private key is in the environment (`MACP_AUTH_SIGNING_KEY_JSON`), or the PIN is (`MACP_AUTH_PKCS11_PIN`, `pin-value`);
* the longest life of a token is below 60 seconds: callers cache tokens for up to a minute and would use expired ones;
* the default life is above the longest one, and is cut to it;
* anonymous callers from other machines are allowed;
* other machines may reach the admin listener;
* `MACP_AUTH_ROTATION_UNSAFE=1`, and each sum of rotation that does not hold;
* a variable has no effect: `MACP_AUTH_KEY_POLICY`, `MACP_AUTH_QUEUE_LENGTH` or `MACP_AUTH_KEY_SCHEDULE_FILE` without a token, `library-…` in a URI, an unknown name.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_in_the_repository_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let stored = std::fs::read_to_string(path).unwrap();

        assert!(
            stored == markdown(),
            "run: cargo run -- config --markdown > docs/configuration.md"
        );
    }

    #[test]
    fn every_variable_is_documented_once() {
        let text = markdown();
        for setting in SETTINGS {
            assert_eq!(text.matches(&row(setting)).count(), 1, "{}", setting.name);
        }
    }
}
