//! The one table of variables: the parser, the `config` command, docs/configuration.md and the search for misspelt names
//! all read it, so none of them can know a variable that the others do not.

/// One variable.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    pub group: Group,
    pub default: Fallback,
    pub form: Form,
    /// Its value is never shown.
    pub secret: bool,
    pub help: &'static str,
}

/// The headings of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Listening,
    Tokens,
    Key,
    Hsm,
    Rotation,
    Signing,
    Logs,
}

/// What counts where a variable is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    Nothing,
    /// Goes through the same parser as a value of the environment.
    Value(&'static str),
    /// Depends on the machine or on other variables.
    Described(&'static str),
}

/// What a value has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Number {
        least: u64,
        most: u64,
        /// Why not more.
        because: &'static str,
    },
    Switch,
    Choice(&'static [&'static str]),
    Address,
    /// Address and port.
    Place,
    Path,
    /// Separated by spaces or commas.
    Kids,
    Uri,
    Jwk,
    LogFilter,
}

/// Every name that starts so belongs to a token; an unknown one stops the start.
pub const TOKEN_PREFIX: &str = "MACP_AUTH_PKCS11_";
/// Every name that starts so is looked at.
pub const PREFIX: &str = "MACP_AUTH_";

/// Names of the runtime, which shares the prefix and often the environment file.
pub const OF_THE_RUNTIME: [&str; 4] = [
    "MACP_AUTH_JWKS_URL",
    "MACP_AUTH_JWKS_TTL_SECS",
    "MACP_AUTH_JWKS_JSON",
    "MACP_AUTH_JWT_ALGS",
];

/// Names that are reserved. A start error: a policy that is silently ignored is worse than none.
pub const NOT_BUILT: [&str; 6] = [
    "MACP_AUTH_AUDIT_DIR",
    "MACP_AUTH_POLICY_FILE",
    "MACP_AUTH_TLS_CERT_FILE",
    "MACP_AUTH_TLS_CLIENT_CA_FILE",
    "MACP_AUTH_TLS_KEY_FILE",
    "MACP_AUTH_TLS_PORT",
];

/// Mints that may wait for each signing thread, unless the operator says otherwise.
pub const QUEUE_PER_SESSION: usize = 64;
/// One session may wait for the token while another signs.
pub const FEWEST_SESSIONS: usize = 2;

const ONE_DAY: u64 = 86_400;
const ONE_YEAR: u64 = 31_536_000;

/// Declares each variable as a constant and all of them as the table, in the order of the documentation.
macro_rules! settings {
    ($($constant:ident = $group:ident $name:literal, $default:expr, $form:expr, $secrecy:ident: $help:literal;)*) => {
        $(pub const $constant: Setting = Setting {
            name: $name,
            group: Group::$group,
            default: $default,
            form: $form,
            secret: settings!(@ $secrecy),
            help: $help,
        };)*
        /// All variables.
        pub const SETTINGS: &[Setting] = &[$($constant),*];
    };
    (@ shown) => { false };
    (@ secret) => { true };
}

use Fallback::{Described, Nothing, Value};

const fn number(least: u64, most: u64, because: &'static str) -> Form {
    Form::Number {
        least,
        most,
        because,
    }
}

settings! {
    PORT = Listening "PORT", Value("3200"), number(0, 65_535, "TCP has no more ports"), shown:
        "TCP port. `0`: the system chooses, and the start lines name the port.";
    BIND_ADDR = Listening "MACP_AUTH_BIND_ADDR", Value("localhost"), Form::Address, shown:
        "Address to listen on. `localhost` is 127.0.0.1 and, where it exists, ::1. An address that other machines reach needs `MACP_AUTH_ALLOW_ANONYMOUS=1`.";
    ALLOW_ANONYMOUS = Listening "MACP_AUTH_ALLOW_ANONYMOUS", Value("0"), Form::Switch, shown:
        "`1`: whoever reaches the port may have any token, also from other machines. For networks that decide themselves who gets there.";
    MAX_CONNECTIONS = Listening "MACP_AUTH_MAX_CONNECTIONS", Value("1024"), number(1, 65_536, "each holds a file descriptor"), shown:
        "Connections served at once. More wait until one closes.";
    JWKS_MAX_AGE_SECONDS = Listening "MACP_AUTH_JWKS_MAX_AGE_SECONDS", Value("60"), number(0, 86_400, "caches would not see a new key for more than a day"), shown:
        "How long caches between here and a verifier may keep the JWKS (`Cache-Control: max-age`).";
    ADMIN_ADDR = Listening "MACP_AUTH_ADMIN_ADDR", Nothing, Form::Place, shown:
        "Where the admin listener is, as `localhost:9464` or `[::1]:9464`. It shows which keys there are, never a secret, and mints nothing. Port `0`: the system chooses.";

    ISSUER = Tokens "MACP_AUTH_ISSUER", Value("macp-auth-service"), Form::Text, shown:
        "The claim `iss`, without control characters. Must equal the runtime's `MACP_AUTH_ISSUER`.";
    AUDIENCE = Tokens "MACP_AUTH_AUDIENCE", Value("macp-runtime"), Form::Text, shown:
        "The claim `aud`, always one string, without control characters. Must equal the runtime's `MACP_AUTH_AUDIENCE`.";
    MAX_TTL_SECONDS = Tokens "MACP_AUTH_MAX_TTL_SECONDS", Value("3600"), number(1, ONE_YEAR, "a token cannot be called back"), shown:
        "Longest life of a token. Longer requests are cut to it.";
    DEFAULT_TTL_SECONDS = Tokens "MACP_AUTH_DEFAULT_TTL_SECONDS", Value("300"), number(1, ONE_YEAR, "a token cannot be called back"), shown:
        "Life of a token whose request names none. Cut to the maximum.";

    SIGNING_ALG = Key "MACP_AUTH_SIGNING_ALG", Value("RS256"), Form::Choice(&["RS256", "ES256"]), shown:
        "Algorithm of the software keys. With a token: only its keys of this algorithm sign; unset, all do.";
    SIGNING_KEY_JSON = Key "MACP_AUTH_SIGNING_KEY_JSON", Nothing, Form::Jwk, secret:
        "A private JWK: RSA of 2048 to 8192 bits with its CRT members, or P-256, as the algorithm asks. Its `kid`, or `key-1`. Empty counts as unset.";
    REQUIRE_HSM = Key "MACP_AUTH_REQUIRE_HSM", Value("0"), Form::Switch, shown:
        "`1`: never a software key. Without a configured token the service does not start.";

    MODULE = Hsm "MACP_AUTH_PKCS11_MODULE", Nothing, Form::Path, shown:
        "Absolute path of the vendor's PKCS#11 module (Debian SoftHSM2: `/usr/lib/softhsm/libsofthsm2.so`).";
    TOKEN_LABEL = Hsm "MACP_AUTH_PKCS11_TOKEN_LABEL", Nothing, Form::Text, shown:
        "Label of the token. Exactly one token must match label and serial, where given.";
    TOKEN_SERIAL = Hsm "MACP_AUTH_PKCS11_TOKEN_SERIAL", Nothing, Form::Text, shown:
        "Serial number of the token, instead of the label or with it.";
    KEY_LABEL = Hsm "MACP_AUTH_PKCS11_KEY_LABEL", Value("macp-jwt"), Form::Text, shown:
        "Prefix of the labels of the signing keys: `macp-jwt` alone, or with the instant from which the key signs (`macp-jwt-20261201T120000Z`).";
    PIN_FILE = Hsm "MACP_AUTH_PKCS11_PIN_FILE", Nothing, Form::Path, shown:
        "File that holds the user PIN on one line. Others must have no access (`chmod o-rwx`); the group may.";
    PIN = Hsm "MACP_AUTH_PKCS11_PIN", Nothing, Form::Text, secret:
        "The user PIN itself. The file is better: other programs can read an environment. With neither, the service does not log in.";
    URI = Hsm "MACP_AUTH_PKCS11_URI", Nothing, Form::Uri, shown:
        "PKCS#11 URIs (RFC 7512), instead of module, label and serial: one, or several separated by spaces, a token each. See below.";
    SESSIONS = Hsm "MACP_AUTH_PKCS11_SESSIONS", Described("processor cores, at least 2"), number(1, 256, "each is a thread and a session of the token"), shown:
        "Signing threads, each with a session of its own. Fewer are used where the token allows fewer.";
    QUEUE_LENGTH = Hsm "MACP_AUTH_QUEUE_LENGTH", Described("64 per session"), number(1, 65_536, "those at its end would only wait for their deadline"), shown:
        "Mints that may wait for a signing thread. More are refused at once with 503.";
    KEY_POLICY = Hsm "MACP_AUTH_KEY_POLICY", Value("strict"), Form::Choice(&["exclusive", "strict", "sealed", "warn"]), shown:
        "What a key must prove before it signs. `strict`: made on the token and never exportable. `exclusive`: strict, and good for signing alone. `sealed`: not exportable now (keys restored from a backup). `warn`: nothing, the findings are logged.";

    STATE_DIR = Hsm "MACP_AUTH_STATE_DIR", Nothing, Form::Path, shown:
        "Directory of this service's own (mode 0700): the last good JWKS, served while the HSM is away at a start, and the PINs that were refused. Needed with several tokens.";
    STUCK_EXIT_SECONDS = Hsm "MACP_AUTH_STUCK_EXIT_SECONDS", Value("120"), number(1, 86_400, "nothing would start the service afresh for more than a day"), shown:
        "With calls that hang and no token that signs for this long, the process leaves with exit code 75, to be started afresh.";

    KEY_POLL_SECONDS = Rotation "MACP_AUTH_KEY_POLL_SECONDS", Value("30"), number(1, 3600, "a new key would go unseen for more than an hour"), shown:
        "Time between two looks for keys on a token.";
    KEY_LEAD_SECONDS = Rotation "MACP_AUTH_KEY_LEAD_SECONDS", Value("900"), number(0, ONE_YEAR, "a new key would wait for more than a year"), shown:
        "How long a new key is published before it signs. See below for the least.";
    KEY_RETAIN_SECONDS = Rotation "MACP_AUTH_KEY_RETAIN_SECONDS", Described("maximum TTL + lead + 300"), number(0, 3 * ONE_YEAR, "keys that nobody signs with would be published for years"), shown:
        "How long a key is published after its successor began to sign. See below for the least.";
    VERIFIER_TTL_SECONDS = Rotation "MACP_AUTH_VERIFIER_TTL_SECONDS", Value("300"), number(0, ONE_DAY, "a new key would wait for more than a day"), shown:
        "How long verifiers keep a JWKS before they ask again: the greatest `MACP_AUTH_JWKS_TTL_SECS` of your runtimes.";
    CLOCK_SKEW_SECONDS = Rotation "MACP_AUTH_CLOCK_SKEW_SECONDS", Value("30"), number(0, 3600, "tokens are refused where clocks are further apart, whatever the keys"), shown:
        "How far apart any two clocks may be: of instances of this service, and of verifiers.";
    KEY_SCHEDULE_FILE = Rotation "MACP_AUTH_KEY_SCHEDULE_FILE", Nothing, Form::Path, shown:
        "TOML file that says from when each key signs, for HSMs that dictate labels. It alone then decides which keys of the token are ours.";
    REVOKED_KIDS = Rotation "MACP_AUTH_REVOKED_KIDS", Nothing, Form::Kids, shown:
        "Keys that neither sign nor are published any more, by their `kid`.";
    REVOKED_KIDS_FILE = Rotation "MACP_AUTH_REVOKED_KIDS_FILE", Nothing, Form::Path, shown:
        "File of such keys: one `kid` a line, in double quotes where it has a space or a comma; a line that starts with `#` is a comment.";
    EXTRA_JWKS_FILE = Rotation "MACP_AUTH_EXTRA_JWKS_FILE", Nothing, Form::Path, shown:
        "JWKS of public keys that are published beside our own: those of a second site, or of a service that is being replaced.";
    ACTIVATE_AFTER_CONVERGENCE = Rotation "MACP_AUTH_ACTIVATE_AFTER_CONVERGENCE", Value("0"), Form::Switch, shown:
        "`1`: a new key also waits, within bounds, until every verifier that was seen has fetched it.";
    ROTATION_UNSAFE = Rotation "MACP_AUTH_ROTATION_UNSAFE", Value("0"), Form::Switch, shown:
        "`1`: starts although a sum below does not hold, and takes lead and retention as given. Tokens may then be rejected. For rehearsals only.";

    SIGN_TIMEOUT_MS = Signing "MACP_AUTH_SIGN_TIMEOUT_MS", Value("3000"), number(1, 3500, "clients give up after 5 seconds, and a refusal must reach them before"), shown:
        "Longest wait for one mint, queueing and retries included. Then 503.";

    CORE_DUMPS = Logs "MACP_AUTH_CORE_DUMPS", Value("0"), Form::Switch, shown:
        "`1`: core dumps and debuggers are allowed, to look into a fault. They show PIN and pinned key. Without it both are off as soon as there is such a secret.";
    LOG = Logs "MACP_AUTH_LOG", Described("info"), Form::LogFilter, shown:
        "What to log, as a `RUST_LOG` filter: `debug`, or `warn,macp_auth_service=debug`. A bare word that is neither a level nor a target of this service is refused. Logs go to stderr: text on a terminal, JSON elsewhere.";
}

/// The setting of that name.
pub fn named(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_stands_in_one_list_once() {
        let all: Vec<_> = SETTINGS
            .iter()
            .map(|setting| setting.name)
            .chain(NOT_BUILT)
            .chain(OF_THE_RUNTIME)
            .collect();

        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
