//! Names under our prefix that are not variables of this version: misspelt, reserved, or of the runtime beside us.

use super::fault::Fault;
use super::reader::Reader;
use super::settings::{NOT_BUILT, OF_THE_RUNTIME, PREFIX, SETTINGS, TOKEN_PREFIX, named};
use crate::shown::shown;

/// Refuses reserved names and unknown names of a token; warns of other unknown ones.
pub(super) fn check(reader: &mut Reader<'_>) {
    for name in reader.vars().names() {
        let known = named(&name).is_some() || OF_THE_RUNTIME.contains(&name.as_str());
        if known || !name.starts_with(PREFIX) {
            continue;
        }
        if NOT_BUILT.contains(&name.as_str()) {
            reader.refuse(&name, Fault::NotBuilt);
            continue;
        }
        let Some((distance, nearest)) = nearest(&name) else {
            continue;
        };
        let slip = distance <= SLIP.min(subject(&name).len() / 4);
        if name.starts_with(TOKEN_PREFIX) || (nearest.starts_with(TOKEN_PREFIX) && slip) {
            reader.refuse(&name, Fault::Unknown { nearest });
            continue;
        }
        let name = shown(&name);
        reader.warn(if slip {
            format!("{name} is not known and has no effect. Is {nearest} meant?")
        } else {
            format!("{name} is not known and has no effect. Unset it")
        });
    }
}

/// So many letters wrong may be a slip of the hand, in a name long enough.
const SLIP: usize = 3;

/// Letter case never makes a name another one.
fn nearest(name: &str) -> Option<(usize, &'static str)> {
    let name = &name.to_uppercase();
    SETTINGS
        .iter()
        .map(|setting| (distance(name, setting.name), setting.name))
        .min()
}

/// A wrong prefix before the right words counts as near, too.
fn distance(name: &str, known: &str) -> usize {
    let whole = strsim::damerau_levenshtein(name, known);
    whole.min(strsim::damerau_levenshtein(subject(name), subject(known)))
}

/// A name without its prefix.
fn subject(name: &str) -> &str {
    name.strip_prefix(TOKEN_PREFIX)
        .or_else(|| name.strip_prefix(PREFIX))
        .unwrap_or(name)
}
