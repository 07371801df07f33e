//! How keys change: the times with the sums they must keep, revoked keys, and the files that say more.
//!
//! The files are named here and read where they are used, again and again. An unsafe sum stops the start, because what it
//! does shows much later: at the next change of keys, as tokens that verifiers reject. Software keys never change, so with them
//! the sums count only where an operator speaks of rotation.

use std::collections::BTreeSet;

use super::RotationConfig;
use super::fault::{Fault, RotationFault};
use super::files::Files;
use super::reader::Reader;
use super::settings;
use crate::jose::Kid;
use crate::keys::lists::ListFiles;
use crate::keys::rules::{Rules, UnsafeTiming};

pub(super) fn read(
    reader: &mut Reader<'_>,
    files: &dyn Files,
    max_ttl: Option<u64>,
    jwks_max_age: Option<u64>,
    on_token: bool,
) -> Option<RotationConfig> {
    let rules = rules(reader, max_ttl, jwks_max_age, on_token);
    let lists = lists(reader, files);
    let after_convergence = reader.switch(&settings::ACTIVATE_AFTER_CONVERGENCE);
    Some(RotationConfig {
        rules: rules?,
        files: lists,
        after_convergence: after_convergence?,
    })
}

fn lists(reader: &mut Reader<'_>, files: &dyn Files) -> ListFiles {
    let lists = ListFiles {
        schedule_file: reader.absolute_path(&settings::KEY_SCHEDULE_FILE),
        revoked: revoked(reader),
        revoked_file: reader.absolute_path(&settings::REVOKED_KIDS_FILE),
        extra_jwks_file: reader.absolute_path(&settings::EXTRA_JWKS_FILE),
    };
    if let Err(error) = files.lists(&lists) {
        for fault in error.faults {
            reader.refuse(fault.variable, fault);
        }
    }
    lists
}

fn rules(
    reader: &mut Reader<'_>,
    max_ttl: Option<u64>,
    jwks_max_age: Option<u64>,
    on_token: bool,
) -> Option<Rules> {
    let poll = reader.number(&settings::KEY_POLL_SECONDS);
    let verifier_ttl = reader.number(&settings::VERIFIER_TTL_SECONDS);
    let skew = reader.number(&settings::CLOCK_SKEW_SECONDS);
    let lead = reader.number(&settings::KEY_LEAD_SECONDS);
    let retain = reader.number(&settings::KEY_RETAIN_SECONDS);
    let unsafe_timing = reader.switch(&settings::ROTATION_UNSAFE);
    let read = [poll, jwks_max_age, verifier_ttl, skew, max_ttl, lead];
    let is_whole = read.iter().all(Option::is_some) && unsafe_timing.is_some();
    // Where one cannot be read, its default stands in: the sums belong into the same report.
    let other = Rules::DEFAULTS;
    let max_ttl = max_ttl.unwrap_or(other.max_ttl);
    let lead = lead.unwrap_or(other.lead);
    let rules = Rules {
        poll: poll.unwrap_or(other.poll),
        jwks_max_age: jwks_max_age.unwrap_or(other.jwks_max_age),
        verifier_ttl: verifier_ttl.unwrap_or(other.verifier_ttl),
        skew: skew.unwrap_or(other.skew),
        max_ttl,
        lead,
        retain: retain.unwrap_or_else(|| Rules::default_retain(max_ttl, lead)),
        unsafe_timing: unsafe_timing.unwrap_or(other.unsafe_timing),
    };
    if rules.unsafe_timing {
        warn_of_rehearsal(reader, &rules);
    } else if on_token || speaks_of_rotation(reader) {
        refuse_unsafe(reader, &rules, retain.is_some());
    }
    is_whole.then_some(rules)
}

fn speaks_of_rotation(reader: &Reader<'_>) -> bool {
    [
        settings::KEY_POLL_SECONDS,
        settings::KEY_LEAD_SECONDS,
        settings::KEY_RETAIN_SECONDS,
        settings::VERIFIER_TTL_SECONDS,
        settings::CLOCK_SKEW_SECONDS,
    ]
    .iter()
    .any(|setting| reader.is_set(setting))
}

fn warn_of_rehearsal(reader: &mut Reader<'_>, rules: &Rules) {
    reader.warn(REHEARSAL);
    for timing in rules.faults() {
        reader.warn(format!(
            "{}=1: {timing}. Tokens may be rejected when keys change",
            settings::ROTATION_UNSAFE.name
        ));
    }
}

const REHEARSAL: &str = "MACP_AUTH_ROTATION_UNSAFE=1: lead and retention count as given, whatever the sums say. \
     For rehearsals only; unset it in production";

fn refuse_unsafe(reader: &mut Reader<'_>, rules: &Rules, retain_given: bool) {
    let least_lead = rules.least_lead();
    for timing in rules.faults() {
        match timing {
            UnsafeTiming::Lead(_) => {
                let least = least_lead;
                let fault = RotationFault::Lead { timing, least };
                reader.refuse(settings::KEY_LEAD_SECONDS.name, fault);
            }
            // The default grows with the lead: a lead that is safe makes it safe.
            UnsafeTiming::Retain(_) if !retain_given && rules.lead < least_lead => {}
            UnsafeTiming::Retain(_) => {
                let least = rules.least_retain();
                let fault = RotationFault::Retain { timing, least };
                reader.refuse(settings::KEY_RETAIN_SECONDS.name, fault);
            }
        }
    }
}

fn revoked(reader: &mut Reader<'_>) -> BTreeSet<Kid> {
    let setting = &settings::REVOKED_KIDS;
    let Some(text) = reader.given(setting) else {
        return BTreeSet::new();
    };
    let kids: BTreeSet<Kid> = text
        .split(|char: char| char == ',' || char.is_whitespace())
        .filter_map(|name| Kid::pinned(name.to_owned()).ok())
        .collect();
    if kids.is_empty() {
        reader.refuse(setting.name, Fault::Empty);
    }
    kids
}
