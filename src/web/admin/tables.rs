//! The tables of the page: keys, tokens, verifiers, rules. Each cell names its column, because on a narrow screen a row
//! becomes a card.

use std::fmt;

use super::status::verified;
use super::text::{Safe, calendar, distance, length};
use crate::clock::UnixSeconds;
use crate::keys::Overview;
use crate::keys::board::{KeyOverview, LookOverview, Role, VerifierOverview};
use crate::keys::memory::TokenName;
use crate::keys::schedule::State;

/// More verifiers than these are in the JSON alone.
const MOST_VERIFIERS: usize = 50;
const MOST_LACKING: usize = 3;

pub(super) struct Keys<'a>(pub(super) &'a Overview);
pub(super) struct Tokens<'a>(pub(super) &'a Overview);
pub(super) struct Verifiers<'a>(pub(super) &'a Overview);
pub(super) struct RulesTable<'a>(pub(super) &'a Overview);

impl fmt::Display for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overview = self.0;
        if overview.keys.is_empty() {
            return Ok(());
        }
        let columns = [
            "Key",
            "State",
            "Signs from",
            "Retires",
            "Withdrawn",
            "Made",
            "On tokens",
        ];
        open(f, "Keys", "keys", &columns)?;
        for key in &overview.keys {
            let signs = overview.signing.as_ref() == Some(key.key.kid());
            let cells = [
                format!(
                    "<code>{}</code> {}",
                    Safe(key.key.kid()),
                    key.key.algorithm()
                ),
                state(key, signs),
                when(key.ripe, overview.now),
                when(key.retired, overview.now),
                when(key.removal, overview.now),
                made(key, overview.now),
                holders(key, overview),
            ];
            row(f, &columns, &cells)?;
        }
        f.write_str(CLOSE)
    }
}

impl fmt::Display for Tokens<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overview = self.0;
        if overview.looks.is_empty() {
            return Ok(());
        }
        let columns = [
            "No.",
            "Token",
            "Health",
            "Last look",
            "Last signature",
            "Device",
        ];
        open(f, "Tokens", "tokens", &columns)?;
        for (number, look) in (1..).zip(&overview.looks) {
            let health = look.health.as_ref();
            let verified = health.and_then(|health| verified(health, overview.now));
            let cells = [
                format!("{number}"),
                Safe(&look.token).to_string(),
                token_health(look),
                look.at
                    .map_or_else(|| "never".to_owned(), |at| distance(at, overview.now)),
                verified.map_or_else(|| "none".to_owned(), |at| distance(at, overview.now)),
                device(look),
            ];
            row(f, &columns, &cells)?;
        }
        f.write_str(CLOSE)
    }
}

impl fmt::Display for Verifiers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overview = self.0;
        if overview.verifiers.is_empty() {
            return f.write_str("<section><h2>Verifiers</h2><p>None has fetched the JWKS here since the start.</p></section>");
        }
        let mut verifiers: Vec<&VerifierOverview> = overview.verifiers.iter().collect();
        // Those that may reject tokens come first.
        verifiers.sort_by_key(|verifier| {
            let behind = verifier.recent && !verifier.is_current();
            (!behind, !verifier.recent, verifier.address)
        });
        let columns = ["Address", "Has", "Last fetch", "ETag"];
        open(f, "Verifiers", "verifiers", &columns)?;
        for verifier in verifiers.iter().take(MOST_VERIFIERS) {
            let cells = [
                verifier.address.to_string(),
                possession(verifier),
                distance(verifier.at, overview.now),
                format!("<code>{}</code>", Safe(&verifier.etag)),
            ];
            row(f, &columns, &cells)?;
        }
        f.write_str("</tbody></table>")?;
        if let Some(more) = verifiers
            .len()
            .checked_sub(MOST_VERIFIERS)
            .filter(|more| *more > 0)
        {
            write!(f, r#"<p class="small">{more} more are in the JSON.</p>"#)?;
        }
        f.write_str("</section>")
    }
}

impl fmt::Display for RulesTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = &self.0.rules;
        let columns = ["Rule", "Is", "At least"];
        open(f, "Rules", "rules", &columns)?;
        let sums = [
            (
                "lead: from the making of a key to its first signature",
                rules.lead,
                rules.least_lead(),
                rules.least_lead_sum().to_string(),
            ),
            (
                "retention: from that to the withdrawal of the key before",
                rules.retain,
                rules.least_retain(),
                rules.least_retain_sum().to_string(),
            ),
        ];
        for (name, is, least, sum) in sums {
            let mark = if is < least {
                r#" <b class="badge bad">too short</b>"#
            } else {
                ""
            };
            let cells = [
                name.to_owned(),
                format!("{is} s{mark}"),
                // Names of variables may go on in the next line.
                format!("{least} s = {}", Safe(sum)).replace('_', "_<wbr>"),
            ];
            row(f, &columns, &cells)?;
        }
        write!(
            f,
            r#"</tbody></table><p class="small">Longest token: {max_ttl}. Replicas that work together show the same digest: <code>{digest}</code>.</p></section>"#,
            max_ttl = length(rules.max_ttl),
            digest = Safe(&self.0.rules_digest),
        )
    }
}

const CLOSE: &str = "</tbody></table></section>";

fn open(f: &mut fmt::Formatter<'_>, title: &str, class: &str, columns: &[&str]) -> fmt::Result {
    write!(
        f,
        r#"<section><h2>{title}</h2><table class="{class}"><thead><tr>"#
    )?;
    for column in columns {
        write!(f, r#"<th scope="col">{column}</th>"#)?;
    }
    f.write_str("</tr></thead><tbody>")
}

/// The cells are HTML already.
fn row(f: &mut fmt::Formatter<'_>, columns: &[&str], cells: &[String]) -> fmt::Result {
    f.write_str("<tr>")?;
    for (column, cell) in columns.iter().zip(cells) {
        write!(f, r#"<td data-column="{column}"><span>{cell}</span></td>"#)?;
    }
    f.write_str("</tr>")
}

fn state(key: &KeyOverview, signs: bool) -> String {
    let class = match key.role {
        _ if key.revoked => "revoked",
        Role::Scheduled(State::Prepared) => "prepared",
        Role::Scheduled(State::Active) => "active",
        Role::Scheduled(State::Retired) => "retired",
        Role::Scheduled(State::Expired) => "expired",
        Role::Bystander | Role::Extra | Role::Tombstone => "aside",
    };
    let notes = [
        (signs, "signs now"),
        (key.revoked, "revoked"),
        (key.held, "waits for verifiers"),
        (!key.published, "not published"),
        (
            !key.proved && matches!(key.role, Role::Scheduled(_)),
            "not proved since the start",
        ),
    ];
    let notes = notes.into_iter().filter(|(holds, _)| *holds);
    let notes: Vec<&str> = notes.map(|(_, note)| note).collect();
    format!(
        r#"<b class="badge {class}">{}</b> {}"#,
        key.role.name(),
        notes.join(", ")
    )
}

/// By their numbers in the table of tokens; by name where they are no longer configured.
fn holders(key: &KeyOverview, overview: &Overview) -> String {
    let number = |token: &TokenName| overview.looks.iter().position(|look| look.token == *token);
    let tokens = key.tokens.iter();
    let named: Vec<String> = tokens
        .map(|token| {
            number(token).map_or_else(|| Safe(token).to_string(), |at| format!("{}", at + 1))
        })
        .collect();
    or_none(named.join(", "))
}

fn token_health(look: &LookOverview) -> String {
    let Some(health) = &look.health else {
        return or_none(String::new());
    };
    let (class, word) = if health.ready {
        ("good", "signs")
    } else {
        ("bad", "does not sign")
    };
    let mut lines = vec![format!(r#"<b class="badge {class}">{word}</b>"#)];
    let failing = health.parts.iter().filter(|part| !part.ok);
    lines.extend(failing.map(|part| format!("{}: {}", part.name, Safe(&part.detail))));
    let told = |failure: &&String| health.parts.iter().any(|part| part.detail == **failure);
    let failure = look.failure.iter().filter(|failure| !told(failure));
    lines.extend(failure.map(|failure| format!("look: {}", Safe(failure))));
    lines.extend(
        look.refused
            .iter()
            .map(|line| format!("not used: {}", Safe(line))),
    );
    lines.join("<br>")
}

fn device(look: &LookOverview) -> String {
    let identity = look
        .health
        .as_ref()
        .and_then(|health| health.identity.as_ref());
    let Some(of) = identity else {
        return or_none(String::new());
    };
    format!(
        "<b>{}</b> {} {}, firmware {}, serial {}",
        Safe(&of.label),
        Safe(&of.manufacturer),
        Safe(&of.model),
        Safe(&of.firmware),
        Safe(&of.serial)
    )
}

fn possession(verifier: &VerifierOverview) -> String {
    if verifier.is_current() {
        return r#"<b class="badge good">every key</b>"#.to_owned();
    }
    let kids = verifier.lacks.iter().take(MOST_LACKING);
    let kids: Vec<String> = kids
        .map(|kid| format!("<code>{}</code>", Safe(kid)))
        .collect();
    let more = if verifier.lacks.len() > MOST_LACKING {
        " and more"
    } else {
        ""
    };
    let (class, word) = if verifier.recent {
        ("bad", "lacks")
    } else {
        ("aside", "gone; lacked")
    };
    format!(
        r#"<b class="badge {class}">{word}</b> {}{more}"#,
        kids.join(" ")
    )
}

fn made(key: &KeyOverview, now: UnixSeconds) -> String {
    match (key.created, key.seen) {
        (Some(created), _) => when(Some(created.seconds()), now),
        (None, Some(seen)) => format!("before {}", calendar(seen)),
        (None, None) => or_none(String::new()),
    }
}

fn when(at: Option<UnixSeconds>, now: UnixSeconds) -> String {
    match at {
        None => or_none(String::new()),
        Some(UnixSeconds::EVER) => calendar(UnixSeconds::EVER),
        Some(at) => format!("{} <small>{}</small>", calendar(at), distance(at, now)),
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}
