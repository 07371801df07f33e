//! `keys generate` and `keys rotate`: a new key on every token, all with the same instant.
//!
//! ```text
//! looks -> instant, algorithm -> a pair on each token, read back and proved -> board -> from when on it signs
//! ```
//!
//! All that can be refused is refused before the first pair is made. A rehearsal goes the same way with keys that are no token's.

mod told;

use std::collections::BTreeSet;
use std::path::PathBuf;

use aws_lc_rs::rand;

use super::super::hang::Act;
use super::super::opened::Opened;
use super::super::preview::{Preview, PreviewedToken, pkcs11};
use super::activation::Situation;
use super::arguments::{ActivationArguments, GenerateArguments, RecordArguments, RotateArguments};
use super::naming::{self, Ids};
use super::plan::Plan;
use super::record::{self, Sheet, Subject};
use super::{KeysError, believe_the_clock};
use crate::clock::{Moment, UnixSeconds};
use crate::config::{Config, KeySelector, Pkcs11Config, TokenConfig};
use crate::jose::{Algorithm, Jwk, Kid};
use crate::keys::PublishedKey;
use crate::keys::board::{Overview, Role};
use crate::keys::label::{Instant, LabelPrefix};
use crate::keys::local::LocalKey;
use crate::keys::memory::Found;
use crate::keys::pkcs11::generate::{self, NewKey};
use crate::keys::schedule::Created;

use told::Answer;
pub use told::MadeSoFar;

/// A token that gets a key.
#[derive(Clone, Copy)]
struct Place<'a> {
    on: &'a TokenConfig,
    token: &'a PreviewedToken,
}

/// What to make.
struct Order {
    algorithm: Algorithm,
    at: Instant,
    /// A schedule file decides which keys are ours, and from when on.
    scheduled: bool,
    skew: u64,
    /// Of all its keys.
    stamp: uuid::Timestamp,
}

/// A pair that is on its token, or that would be.
#[derive(Debug)]
struct NewPair {
    token: String,
    label: String,
    id: Vec<u8>,
    jwk: Jwk,
    /// None: not made.
    mechanism: Option<&'static str>,
    notes: Vec<String>,
    /// Lines for the schedule file.
    entry: Option<String>,
    record: Option<PathBuf>,
}

pub(super) fn answer(
    config: &Config,
    asked: &GenerateArguments,
    now: Moment,
) -> Result<String, KeysError> {
    let preview = Preview::of(config, now)?;
    let answer = make(config, asked, &preview, now)?;
    Ok(if asked.make.json {
        format!("{}\n", answer.json())
    } else {
        answer.text()
    })
}

/// With the lead, and the plan behind it.
pub(super) fn rotated(
    config: &Config,
    asked: RotateArguments,
    columns: usize,
    now: Moment,
) -> Result<String, KeysError> {
    let preview = Preview::of(config, now)?;
    let asked = GenerateArguments {
        make: asked.make,
        tokens: Vec::new(),
        activation: ActivationArguments::default(),
        record: RecordArguments::default(),
    };
    let answer = make(config, &asked, &preview, now)?;
    let plan = Plan::of(&answer.overview, &answer.unmade());
    if asked.make.json {
        let both = serde_json::json!({ "generated": answer.json(), "plan": plan.json() });
        return Ok(format!("{both}\n"));
    }
    Ok(format!("{}\n{}", answer.text(), plan.text(columns)))
}

fn make(
    config: &Config,
    asked: &GenerateArguments,
    preview: &Preview,
    now: Moment,
) -> Result<Answer, KeysError> {
    let pkcs11 = pkcs11(&config.source)?;
    believe_the_clock(&preview.board, now)?;
    let before = preview.board.overview(now);
    let situation = situation(&before);
    let order = Order {
        algorithm: asked
            .make
            .algorithm
            .unwrap_or_else(|| present_algorithm(&before, pkcs11)),
        at: situation
            .instant(asked.activation)?
            .ok_or(KeysError::Clock)?,
        scheduled: preview.board.schedule().is_some(),
        skew: before.rules.skew,
        stamp: uuid::Timestamp::now(uuid::NoContext),
    };
    // Everything that can be known before anything is made.
    let places = places(pkcs11, preview, &asked.tokens)?;
    for place in &places {
        place.takes(&order)?;
    }
    preview.shows_every_key()?;
    let sheets = asked
        .record
        .record
        .as_deref()
        .map(|path| record::sheets(path, &asked.record.attestation, places.len()));
    let mut sheets = sheets.transpose()?.into_iter().flatten();
    let mut pairs: Vec<NewPair> = Vec::new();
    for (number, place) in places.iter().enumerate() {
        let sheet = sheets.next();
        let pair = if asked.make.dry_run {
            rehearsed(place, &order, sheet.as_ref())
        } else {
            made(pkcs11, place.on, &order, sheet)
        };
        match pair {
            Ok(pair) => pairs.push(pair),
            Err(error) if pairs.is_empty() => return Err(error),
            // What was made before is told all the same: it is on its token.
            Err(error) => {
                return Err(KeysError::Partly {
                    token: place.token.label.clone(),
                    error: Box::new(error),
                    made: MadeSoFar::new(&pairs, places.get(number..).unwrap_or_default(), &order),
                });
            }
        }
    }
    let after = Moment::now();
    add(preview, &places, &pairs, &order, after);
    let overview = preview.board.overview(after);
    Ok(Answer::new(pairs, &order, situation.published, overview))
}

/// The tokens of these labels, in the order of the configuration; all of them where none is named.
fn places<'a>(
    config: &'a Pkcs11Config,
    preview: &'a Preview,
    named: &[String],
) -> Result<Vec<Place<'a>>, KeysError> {
    let all = config.tokens.iter().zip(&preview.tokens);
    let all = all.map(|(on, token)| Place { on, token });
    for label in named {
        let of_it = preview.tokens.iter().filter(|token| token.label == *label);
        let found = of_it.count();
        if found != 1 {
            let known = preview.tokens.iter().map(|token| token.label.as_str());
            return Err(KeysError::NotOneToken {
                label: label.clone(),
                found,
                known: known.collect::<Vec<_>>().join(", "),
            });
        }
    }
    Ok(all
        .filter(|place| named.is_empty() || named.contains(&place.token.label))
        .collect())
}

fn situation(before: &Overview) -> Situation {
    Situation {
        now: before.now,
        rules: before.rules,
        published: !before.keys.is_empty(),
        instants: before.keys.iter().filter_map(|key| key.instant).collect(),
    }
}

/// Of the key that signs, else of the newest.
fn present_algorithm(before: &Overview, pkcs11: &Pkcs11Config) -> Algorithm {
    let signing = before.signing.as_ref();
    let signing = signing.and_then(|kid| before.keys.iter().find(|key| key.key.kid() == kid));
    let mut in_rotation = before.keys.iter();
    let newest = in_rotation.find(|key| matches!(key.role, Role::Scheduled(_)));
    let present = signing.or(newest).map(|key| key.key.algorithm());
    present.or(pkcs11.algorithm).unwrap_or(Algorithm::Rs256)
}

fn prefix(on: &TokenConfig) -> Result<&LabelPrefix, KeysError> {
    match &on.keys {
        KeySelector::Prefix(prefix) => Ok(prefix),
        KeySelector::Fixed { .. } => Err(KeysError::FixedKey),
    }
}

fn made(
    config: &Pkcs11Config,
    on: &TokenConfig,
    order: &Order,
    sheet: Option<Sheet>,
) -> Result<NewPair, KeysError> {
    let prefix = prefix(on)?;
    let opened = Opened::new(config, on)?;
    let new = NewKey {
        algorithm: order.algorithm,
        names: naming::names(prefix, order.at, &Ids::new(order.stamp)?)?,
    };
    opened.will(Act::Make);
    let made = generate::generate(&opened.token, &new)?;
    let (opened, key, warnings) = opened.read_back(config, on, &made.stored)?;
    let jwk = key.published.jwk().clone();
    let now = UnixSeconds::now();
    let subject = Subject {
        token: &opened.token,
        key: &key,
        label: &made.stored.label,
        id: &made.stored.id,
        policy: config.policy,
        made_at: Some(now),
        active_from: Some(order.at.seconds()),
        now,
    };
    let record = sheet.map(|sheet| sheet.fill(&subject)).transpose();
    let record = record.map_err(|error| KeysError::NoRecord {
        label: made.stored.label.clone(),
        kid: jwk.kid().clone(),
        error: Box::new(error),
    })?;
    let mut unsaid = naming::unsaid(
        &made,
        jwk.kid(),
        prefix,
        order.at,
        order.scheduled,
        now,
        order.skew,
    );
    unsaid.notes.extend(warnings);
    Ok(NewPair {
        token: opened.token.label().to_owned(),
        label: made.stored.label,
        id: made.stored.id,
        jwk,
        mechanism: Some(key.handle.mechanism.name()),
        notes: unsaid.notes,
        entry: unsaid.entry,
        record,
    })
}

/// A pair of this process in the place of one that is not made.
fn rehearsed(
    Place { on, token }: &Place<'_>,
    order: &Order,
    sheet: Option<&Sheet>,
) -> Result<NewPair, KeysError> {
    let names = naming::names(prefix(on)?, order.at, &Ids::new(order.stamp)?)?;
    let name = names.into_iter().next().ok_or(KeysError::Clock)?;
    let stand_in = LocalKey::ephemeral(order.algorithm).map_err(|_| KeysError::NoRandom)?;
    Ok(NewPair {
        token: token.label.clone(),
        label: name.label,
        id: name.id,
        jwk: Jwk::by_thumbprint(stand_in.published().jwk().key().clone()),
        mechanism: None,
        notes: Vec::new(),
        entry: None,
        record: sheet.map(|sheet| sheet.path().to_owned()),
    })
}

/// As a running service will find them.
fn add(preview: &Preview, places: &[Place<'_>], pairs: &[NewPair], order: &Order, now: Moment) {
    for (Place { token, .. }, pair) in places.iter().zip(pairs) {
        if let Ok(key) = PublishedKey::new(pair.jwk.clone()) {
            let new = Found {
                key: key.into(),
                instant: order.at.seconds(),
                created: Created::from_id(&pair.id, now.wall, order.skew),
            };
            preview.add(&token.name, new, now);
        }
    }
}

impl Place<'_> {
    /// What it would refuse, as far as that can be known before.
    fn takes(&self, order: &Order) -> Result<(), KeysError> {
        naming::names(prefix(self.on)?, order.at, &Ids::new(order.stamp)?)?;
        Ok(())
    }
}

impl Ids {
    /// Keys made together have the same time, so that none of them counts as the elder.
    fn new(stamp: uuid::Timestamp) -> Result<Self, KeysError> {
        let mut short = [0; 8];
        rand::fill(&mut short).map_err(|_| KeysError::NoRandom)?;
        Ok(Self {
            // It carries the creation time to every replica.
            timed: uuid::Uuid::new_v7(stamp).into_bytes().to_vec(),
            short: short.to_vec(),
        })
    }
}

impl Answer {
    /// Kids that stand for keys that were not made.
    fn unmade(&self) -> BTreeSet<Kid> {
        let unmade = self.pairs.iter().filter(|pair| pair.mechanism.is_none());
        unmade.map(|pair| pair.jwk.kid().clone()).collect()
    }
}
