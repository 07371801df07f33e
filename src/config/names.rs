//! Names under our prefix that are not variables of this version: misspelt, reserved, or of the runtime beside us.

use super::fault::Fault;
use super::reader::Reader;
use super::settings::{NOT_BUILT, OF_THE_RUNTIME, PREFIX, SETTINGS, TOKEN_PREFIX, named};

/// So many letters wrong still count as a slip of the hand.
const SLIP: usize = 3;

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
        let of_a_token = name.starts_with(TOKEN_PREFIX);
        let Some((distance, nearest)) = nearest(&name, of_a_token) else {
            continue;
        };
        if of_a_token || (nearest.starts_with(TOKEN_PREFIX) && distance <= SLIP) {
            reader.refuse(&name, Fault::Unknown { nearest });
        } else {
            let name = super::fault::printable(&name);
            reader.warn(if distance <= SLIP {
                format!("{name} is not known and has no effect. Is {nearest} meant?")
            } else {
                format!("{name} is not known and has no effect. Unset it")
            });
        }
    }
}

fn nearest(name: &str, of_a_token: bool) -> Option<(usize, &'static str)> {
    SETTINGS
        .iter()
        .map(|setting| setting.name)
        .filter(|known| !of_a_token || known.starts_with(TOKEN_PREFIX))
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min()
}
