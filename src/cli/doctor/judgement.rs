//! What facts mean: files, flags, sessions, latencies and the clock, each judged into a finding. Pure.

use std::path::PathBuf;
use std::time::Duration;

use super::finding::Finding;
use crate::clock::UnixSeconds;
use crate::keys::pkcs11::ckr::Class;
use crate::keys::pkcs11::ffi::TokenInfo;

/// A file or a directory above it, as the system shows it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) owner: u32,
    pub(super) directory: bool,
}

const STICKY: u32 = 0o1000;
const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITE: u32 = 0o020;
const ROOT: u32 = 0;

/// Who could put another module in the place of this one: it sees every PIN. `chain` is the file, then each directory
/// above it.
pub(super) fn module_file(chain: &[Entry], us: u32) -> Finding {
    const CHECK: &str = "module file";
    for entry in chain {
        let path = entry.path.display();
        let sticky = entry.directory && entry.mode & STICKY != 0;
        if entry.mode & OTHERS_WRITE != 0 && !sticky {
            return Finding::failed(
                CHECK,
                format!(
                    "every user of this machine can replace the module: {path} is writable by others"
                ),
                format!("Run: chmod o-w {path}"),
            );
        }
    }
    for entry in chain {
        let path = entry.path.display();
        if entry.owner != ROOT && entry.owner != us {
            return Finding::warning(
                CHECK,
                format!(
                    "the user {} can replace the module: {path} is theirs",
                    entry.owner
                ),
                format!("Run: chown root {path}"),
            );
        }
        if !entry.directory && entry.mode & GROUP_WRITE != 0 {
            return Finding::warning(
                CHECK,
                format!("the group of {path} can replace the module"),
                format!("Run: chmod g-w {path}"),
            );
        }
    }
    let named = chain.first().map(|file| file.path.display().to_string());
    Finding::ok(
        CHECK,
        format!("{}, not writable by others", named.unwrap_or_default()),
    )
}

/// Readability has been checked when the configuration was read; this is about who may change it.
pub(super) fn pin_file(file: &Entry, us: u32) -> Finding {
    const CHECK: &str = "PIN file";
    let path = file.path.display();
    if file.owner != ROOT && file.owner != us {
        return Finding::warning(
            CHECK,
            format!(
                "{path} belongs to the user {}, who can read and replace the PIN",
                file.owner
            ),
            format!("Run: chown {us} {path}"),
        );
    }
    if file.mode & GROUP_WRITE != 0 {
        return Finding::warning(
            CHECK,
            format!("the group of {path} can replace the PIN, and a wrong one costs a login"),
            format!("Run: chmod g-w {path}"),
        );
    }
    Finding::ok(CHECK, format!("{path}, mode {:04o}", file.mode))
}

/// The state of the user PIN, as the token tells it without a login.
pub(super) fn pin_state(token: &TokenInfo, last_try_allowed: bool) -> Finding {
    const CHECK: &str = "PIN state";
    const OFFICER: &str = "Have the token's security officer check and reset the user PIN";
    if token.pin_locked {
        return Finding::failed(CHECK, "the user PIN is locked; no login is tried", OFFICER);
    }
    if token.pin_final_try && last_try_allowed {
        return Finding::warning(
            CHECK,
            "one more wrong PIN locks the user PIN; the login is tried, as you said",
            OFFICER,
        );
    }
    if token.pin_final_try {
        return Finding::failed(
            CHECK,
            "one more wrong PIN locks the user PIN; no login is tried",
            "Have the token's security officer check and reset the user PIN; or, sure of the PIN, run `macp-auth-service doctor --clear-pin-guard`",
        );
    }
    if token.pin_count_low {
        return Finding::warning(
            CHECK,
            "a wrong PIN was given since the last login that succeeded",
            "Find out which program has the wrong PIN before it locks; a login that succeeds resets the count on most tokens",
        );
    }
    Finding::ok(CHECK, "neither locked nor near it")
}

/// How many of the wanted sessions the token opened beside the one that keeps the login.
pub(super) fn sessions(opened: usize, wanted: usize, refused: Option<(Class, &str)>) -> Finding {
    const CHECK: &str = "sessions";
    let Some((class, failure)) = refused else {
        return Finding::ok(
            CHECK,
            format!("{opened} signing sessions beside the one for the login"),
        );
    };
    match (class == Class::SessionLimit, opened) {
        (true, 0) => Finding::warning(
            CHECK,
            format!("the token opens one session only ({failure}): one mint at a time is signed"),
            "Close sessions of other programs or raise the token's limit; if it has no more, set MACP_AUTH_PKCS11_SESSIONS=1",
        ),
        (true, opened) => Finding::warning(
            CHECK,
            format!("the token opens {opened} of {wanted} signing sessions ({failure})"),
            format!("Set MACP_AUTH_PKCS11_SESSIONS={opened}, or raise the token's limit"),
        ),
        (false, opened) => Finding::failed(
            CHECK,
            format!(
                "after {opened} of {wanted} signing sessions the token refused the next ({failure})"
            ),
            "Look into the log of the HSM or its daemon",
        ),
    }
}

/// Judges how long each signature took, against the deadline of a mint; `by` names the key where there are several.
pub(super) fn latency(by: Option<&str>, mut took: Vec<Duration>, deadline: Duration) -> Finding {
    const CHECK: &str = "signatures";
    took.sort_unstable();
    let (median, p99) = (quantile(&took, 50), quantile(&took, 99));
    let by = by.map_or_else(String::new, |kid| format!(" by {kid}"));
    let detail = format!(
        "{} verified{by}; median {}, p99 {}",
        took.len(),
        milliseconds(median),
        milliseconds(p99)
    );
    if p99 > deadline {
        return Finding::failed(
            CHECK,
            format!(
                "{detail}: longer than the {} of a mint",
                milliseconds(deadline)
            ),
            "Find out what slows the HSM or the way to it; MACP_AUTH_SIGN_TIMEOUT_MS can be raised to 3500",
        );
    }
    if p99 > deadline / 2 {
        return Finding::warning(
            CHECK,
            format!(
                "{detail}: no second attempt fits into the {} of a mint",
                milliseconds(deadline)
            ),
            "Find out what slows the HSM or the way to it, or raise MACP_AUTH_SIGN_TIMEOUT_MS (at most 3500)",
        );
    }
    Finding::ok(CHECK, detail)
}

/// A token is stamped with this clock.
pub(super) fn clock(now: UnixSeconds) -> Finding {
    const CHECK: &str = "clock";
    const START_OF_2024: UnixSeconds = UnixSeconds::new(1_704_067_200);
    if now < START_OF_2024 {
        return Finding::failed(
            CHECK,
            format!(
                "the system clock shows {}: verifiers will take every token for expired",
                now.rfc3339()
            ),
            "Set the clock and keep it right, with NTP for instance (timedatectl set-ntp true)",
        );
    }
    Finding::ok(CHECK, now.rfc3339())
}

/// The least value that `percent` of all do not exceed (nearest rank).
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::super::finding::State::{Failed, Ok, Warning};
    use super::*;

    const US: u32 = 1000;

    fn file(mode: u32, owner: u32) -> Entry {
        Entry {
            path: "/opt/hsm/module.so".into(),
            mode,
            owner,
            directory: false,
        }
    }

    fn directory(mode: u32, owner: u32) -> Entry {
        Entry {
            path: "/opt/hsm".into(),
            mode,
            owner,
            directory: true,
        }
    }

    #[test]
    fn a_module_that_others_can_replace_is_told() {
        for (name, chain, want) in [
            ("root's", [file(0o755, 0), directory(0o755, 0)], Ok),
            ("ours", [file(0o755, US), directory(0o755, US)], Ok),
            (
                "world-writable",
                [file(0o757, 0), directory(0o755, 0)],
                Failed,
            ),
            (
                "directory of all",
                [file(0o755, 0), directory(0o777, 0)],
                Failed,
            ),
            ("like /tmp", [file(0o755, US), directory(0o1777, 0)], Ok),
            ("somebody's", [file(0o755, 7), directory(0o755, 0)], Warning),
            (
                "in somebody's directory",
                [file(0o755, 0), directory(0o755, 7)],
                Warning,
            ),
            (
                "the group's",
                [file(0o775, 0), directory(0o755, 0)],
                Warning,
            ),
            (
                "in a group's directory",
                [file(0o755, 0), directory(0o2775, 0)],
                Ok,
            ),
        ] {
            assert_eq!(module_file(&chain, US).state(), want, "{name}");
        }
    }

    #[test]
    fn a_pin_that_another_can_change_is_told() {
        for (name, entry, want) in [
            ("ours", file(0o600, US), Ok),
            ("a mounted secret", file(0o440, 0), Ok),
            ("somebody's", file(0o600, 7), Warning),
            ("the group writes", file(0o660, US), Warning),
        ] {
            assert_eq!(pin_file(&entry, US).state(), want, "{name}");
        }
    }

    #[test]
    fn a_pin_at_risk_forbids_the_login_and_a_low_count_does_not() {
        for (name, (locked, last, low), allowed, want) in [
            ("well", (false, false, false), false, Ok),
            ("count low", (false, false, true), false, Warning),
            ("final try", (false, true, true), false, Failed),
            ("final try, allowed", (false, true, true), true, Warning),
            ("locked", (true, false, false), false, Failed),
            (
                "locked, whatever is allowed",
                (true, false, false),
                true,
                Failed,
            ),
        ] {
            let token = TokenInfo {
                pin_count_low: low,
                pin_final_try: last,
                pin_locked: locked,
                ..TokenInfo::silent()
            };

            assert_eq!(pin_state(&token, allowed).state(), want, "{name}");
        }
    }

    #[test]
    fn fewer_sessions_are_a_warning_and_a_broken_token_is_a_failure() {
        let limit = (Class::SessionLimit, "C_OpenSession: CKR_SESSION_COUNT");
        let broken = (Class::Token, "C_OpenSession: CKR_DEVICE_ERROR");
        for (name, opened, refused, want) in [
            ("all", 4, None, Ok),
            ("some", 2, Some(limit), Warning),
            ("none beside the login", 0, Some(limit), Warning),
            ("broken", 2, Some(broken), Failed),
        ] {
            assert_eq!(sessions(opened, 4, refused).state(), want, "{name}");
        }
    }

    #[test]
    fn a_slow_token_is_told_before_mints_time_out() {
        let deadline = Duration::from_secs(3);
        for (name, slowest, want) in [
            ("quick", 5, Ok),
            ("half the deadline", 1500, Ok),
            ("no room for a retry", 1501, Warning),
            ("too slow", 3001, Failed),
        ] {
            let mut took = vec![Duration::from_millis(1); 19];
            took.push(Duration::from_millis(slowest));

            assert_eq!(latency(None, took, deadline).state(), want, "{name}");
        }
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let hundred: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        for (name, sorted, percent, want) in [
            ("median of 100", &hundred[..], 50, 50),
            ("p99 of 100", &hundred[..], 99, 99),
            ("p99 of 20 is the longest", &hundred[..20], 99, 20),
            ("of one", &hundred[..1], 50, 1),
            ("of none", &hundred[..0], 99, 0),
        ] {
            assert_eq!(
                quantile(sorted, percent),
                Duration::from_millis(want),
                "{name}"
            );
        }
    }

    #[test]
    fn a_clock_before_2024_is_wrong() {
        assert_eq!(clock(UnixSeconds::new(0)).state(), Failed);
        assert_eq!(clock(UnixSeconds::new(1_704_067_199)).state(), Failed);
        assert_eq!(clock(UnixSeconds::new(1_704_067_200)).state(), Ok);
    }
}
