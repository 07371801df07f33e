//! `keys revoke-bound`: for how long a key could still verify once it is revoked, where, and what would sign in its place. It
//! revokes nothing.
//!
//! ```text
//! T + C + F    where the verifier can fetch: its cache, one on the way, the fetch
//! T + C + G    where it cannot: the runtime goes on with what it has for the stale grace
//! ```

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::super::preview::{Preview, board_config, of_pinned};
use super::arguments::RevokeBoundArguments;
use super::{KeysError, known};
use crate::clock::Moment;
use crate::config::{Config, KeySource};
use crate::jose::Kid;
use crate::keys::board::{KeyOverview, Overview};
use crate::keys::lists::revoked::line_of;
use crate::keys::rules::{FETCH, LEEWAY, Rules, STALE_GRACE};

/// Seconds. The first is counted from the change of the list, the others from the moment at which every instance knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
struct Bound {
    /// Without SIGHUP.
    taken_out: u64,
    fetching: u64,
    cut_off: u64,
    /// After a restart of the runtime, through a cache.
    restarted: u64,
    /// Tokens that were minted here.
    tokens: u64,
}

struct Answer<'a> {
    key: &'a KeyOverview,
    signs: bool,
    rules: Rules,
    bound: Bound,
    after: Overview,
    /// What would be wrong that is not wrong now.
    alarms: Vec<String>,
    file: Option<&'a Path>,
    /// How to come by one.
    another: &'static str,
}

pub(super) fn answer(
    config: &Config,
    asked: &RevokeBoundArguments,
    now: Moment,
) -> Result<String, KeysError> {
    let (before, after) = with_and_without(config, &asked.kid, now)?;
    let key = known(&before, &asked.kid)?;
    let new = after.alarms.iter();
    let new = new.filter(|alarm| !before.alarms.contains(alarm));
    let answer = Answer {
        key,
        signs: before.signing.as_ref() == Some(key.key.kid()),
        rules: before.rules,
        bound: Bound::of(&before.rules),
        alarms: new.map(|alarm| alarm.detail.clone()).collect(),
        after,
        another: match config.source {
            KeySource::Pkcs11(_) => "`keys generate`",
            KeySource::Ephemeral(_) | KeySource::Env(_) => {
                "pin it (MACP_AUTH_SIGNING_KEY_JSON), and restart the service"
            }
        },
        file: config.rotation.files.revoked_file.as_deref(),
    };
    Ok(if asked.json {
        format!("{}\n", answer.json())
    } else {
        answer.text()
    })
}

/// What there is, and what would be without the key.
fn with_and_without(
    config: &Config,
    kid: &str,
    now: Moment,
) -> Result<(Overview, Overview), KeysError> {
    match &config.source {
        KeySource::Ephemeral(_) => Err(KeysError::Ephemeral),
        KeySource::Env(pinned) => {
            let before = of_pinned(board_config(config, None), pinned, now)?.overview(now);
            let mut revoking = board_config(config, None);
            let kid = known(&before, kid)?.key.kid().clone();
            revoking.files.revoked.insert(kid);
            let after = of_pinned(revoking, pinned, now)?.overview(now);
            Ok((before, after))
        }
        KeySource::Pkcs11(_) => {
            let preview = Preview::of(config, now)?;
            let before = preview.board.overview(now);
            let kid = known(&before, kid)?.key.kid();
            let after = preview.without(config, kid, now)?.overview(now);
            Ok((before, after))
        }
    }
}

impl Bound {
    const fn of(rules: &Rules) -> Self {
        let cached = rules.verifier_ttl.saturating_add(rules.jwks_max_age);
        Self {
            taken_out: rules.poll.saturating_mul(11).div_ceil(10),
            fetching: cached.saturating_add(FETCH),
            cut_off: cached.saturating_add(STALE_GRACE),
            restarted: rules.jwks_max_age,
            tokens: rules.max_ttl.saturating_add(LEEWAY),
        }
    }
}

impl Answer<'_> {
    fn kid(&self) -> &Kid {
        self.key.key.kid()
    }

    fn json(&self) -> Value {
        json!({
            "kid": self.kid().as_str(),
            "algorithm": self.key.key.algorithm().name(),
            "state": self.key.role.name(),
            "signs_now": self.signs,
            "revoked": self.key.revoked,
            "seconds": self.bound,
            "after": {
                "signing": self.after.signing.as_ref().map(Kid::as_str),
                "alarms": self.alarms,
            },
            "line": line_of(self.kid()),
            "file": self.file,
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let role = self.key.role.name();
        let signs = if self.signs { ", signs now" } else { "" };
        let revoked = if self.key.revoked {
            ", revoked already"
        } else {
            ""
        };
        let algorithm = self.key.key.algorithm();
        writeln!(
            text,
            "{} ({algorithm}, {role}{signs}{revoked})\n",
            self.kid()
        )
        .ok();
        self.bounds(&mut text);
        text.push_str("\nThen:\n");
        match &self.after.signing {
            Some(kid) => writeln!(text, "  {kid} signs").ok(),
            None => writeln!(
                text,
                "  no key signs, and mints are refused (503), until there is another: {}",
                self.another
            )
            .ok(),
        };
        for alarm in &self.alarms {
            writeln!(text, "  {alarm}").ok();
        }
        text.push_str("\nTo revoke it, ");
        let line = line_of(self.kid());
        match self.file {
            Some(file) => writeln!(text, "on every instance:\n  printf '%s\\n' '{}' >> '{}'\n  kill -HUP <pid of the service>", line.replace('\'', r"'\''"), file.display()).ok(),
            None => writeln!(text, "put this line into a file, set MACP_AUTH_REVOKED_KIDS_FILE to it on every instance, and restart them (with a file that is already set, SIGHUP is enough):\n  {line}").ok(),
        };
        text
    }

    fn bounds(&self, text: &mut String) {
        let Rules {
            verifier_ttl,
            jwks_max_age,
            max_ttl,
            ..
        } = self.rules;
        let Bound {
            taken_out,
            fetching,
            cut_off,
            restarted,
            tokens,
        } = self.bound;
        writeln!(text, "Instances take a revoked key out at once on SIGHUP, else within {taken_out} s. From then on verifiers accept it:").ok();
        let cached = format!(
            "{verifier_ttl} (MACP_AUTH_VERIFIER_TTL_SECONDS) + {jwks_max_age} (caches, MACP_AUTH_JWKS_MAX_AGE_SECONDS)"
        );
        let rows = [
            (
                fetching,
                format!("where they can fetch: {cached} + {FETCH} (fetch)"),
            ),
            (
                cut_off,
                format!("where they cannot: {cached} + {STALE_GRACE} (stale grace of the runtime)"),
            ),
            (
                restarted,
                "after a restart of the runtime, if it fetches through a cache; else not at all"
                    .to_owned(),
            ),
        ];
        for (seconds, what) in rows {
            writeln!(text, "  {:<8}{what}", format!("{seconds} s")).ok();
        }
        writeln!(text, "  without end where the JWKS is given inline (MACP_AUTH_JWKS_JSON), until that is changed").ok();
        writeln!(text, "Tokens minted with it die by themselves after {tokens} s at most: {max_ttl} (MACP_AUTH_MAX_TTL_SECONDS) + {LEEWAY} (leeway). Whoever holds\nthe key writes tokens of any life: only the times above end those.").ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_what_caches_verifier_and_fetch_may_take_together() {
        assert_eq!(
            Bound::of(&Rules::DEFAULTS),
            Bound {
                taken_out: 33,
                fetching: 365,
                cut_off: 3960,
                restarted: 60,
                tokens: 3660,
            }
        );
        let direct = Rules {
            jwks_max_age: 0,
            ..Rules::DEFAULTS
        };
        let direct = Bound::of(&direct);
        assert_eq!((direct.fetching, direct.restarted), (305, 0));
    }
}
