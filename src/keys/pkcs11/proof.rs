//! Non-export is a claim to check: what a private object says of itself, judged under `MACP_AUTH_KEY_POLICY`.
//!
//! Pure. The attributes come in as read; whether the private value could be read comes in as tried.
//! An attribute that the token does not report counts as not proven.

use cryptoki::object::AttributeType;

use crate::config::KeyPolicy;

/// What the token says of one private object. None: not reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claims {
    pub sensitive: Option<bool>,
    pub always_sensitive: Option<bool>,
    pub extractable: Option<bool>,
    pub never_extractable: Option<bool>,
    pub local: Option<bool>,
    pub sign: Option<bool>,
    pub decrypt: Option<bool>,
    pub unwrap: Option<bool>,
    pub derive: Option<bool>,
    /// Reading CKA_PRIVATE_EXPONENT or CKA_VALUE gave a value.
    pub private_value_readable: bool,
}

/// The attributes behind [`Claims`], in the small groups that modules answer well.
pub const CLAIM_GROUPS: [&[AttributeType]; 3] = [
    &[AttributeType::Sensitive, AttributeType::Extractable],
    &[
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
        AttributeType::Local,
    ],
    &[
        AttributeType::Sign,
        AttributeType::Decrypt,
        AttributeType::Unwrap,
        AttributeType::Derive,
    ],
];

/// The outcome: refused if anything is, and what to tell in any case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    pub refused: Vec<String>,
    pub warnings: Vec<String>,
}

/// From which policy on a violated claim refuses the key; below it is a warning.
struct Rule {
    attribute: &'static str,
    found: fn(&Claims) -> Option<bool>,
    wanted: bool,
    refused_from: KeyPolicy,
    meaning: &'static str,
}

const RULES: [Rule; 9] = [
    Rule {
        attribute: "CKA_SIGN",
        found: |claims| claims.sign.or(Some(true)),
        wanted: true,
        refused_from: KeyPolicy::Warn,
        meaning: "the key may not sign",
    },
    Rule {
        attribute: "CKA_SENSITIVE",
        found: |claims| claims.sensitive,
        wanted: true,
        refused_from: KeyPolicy::Sealed,
        meaning: "its value may be read in plain",
    },
    Rule {
        attribute: "CKA_EXTRACTABLE",
        found: |claims| claims.extractable,
        wanted: false,
        refused_from: KeyPolicy::Sealed,
        meaning: "it may be wrapped and taken out",
    },
    Rule {
        attribute: "CKA_ALWAYS_SENSITIVE",
        found: |claims| claims.always_sensitive,
        wanted: true,
        refused_from: KeyPolicy::Strict,
        meaning: "its value was readable once",
    },
    Rule {
        attribute: "CKA_NEVER_EXTRACTABLE",
        found: |claims| claims.never_extractable,
        wanted: true,
        refused_from: KeyPolicy::Strict,
        meaning: "it could be taken out once",
    },
    Rule {
        attribute: "CKA_LOCAL",
        found: |claims| claims.local,
        wanted: true,
        refused_from: KeyPolicy::Strict,
        meaning: "it was imported, or the token does not say where it was made",
    },
    Rule {
        attribute: "CKA_DECRYPT",
        found: |claims| claims.decrypt.or(Some(false)),
        wanted: false,
        refused_from: KeyPolicy::Exclusive,
        meaning: "the key does more than sign",
    },
    Rule {
        attribute: "CKA_UNWRAP",
        found: |claims| claims.unwrap.or(Some(false)),
        wanted: false,
        refused_from: KeyPolicy::Exclusive,
        meaning: "the key does more than sign",
    },
    Rule {
        attribute: "CKA_DERIVE",
        found: |claims| claims.derive.or(Some(false)),
        wanted: false,
        refused_from: KeyPolicy::Exclusive,
        meaning: "the key does more than sign",
    },
];

/// Judges one key.
pub fn judge(claims: &Claims, policy: KeyPolicy) -> Verdict {
    let mut verdict = Verdict::default();
    for rule in &RULES {
        let found = (rule.found)(claims);
        if found == Some(rule.wanted) {
            continue;
        }
        let says = found.map_or("is not reported", |value| {
            if value { "is true" } else { "is false" }
        });
        let text = format!("{} {says}: {}", rule.attribute, rule.meaning);
        verdict.note(text, policy >= rule.refused_from);
    }
    if claims.private_value_readable {
        let text = "its private value can be read: the key is not kept by the token".to_owned();
        verdict.note(text, policy >= KeyPolicy::Sealed);
    }
    verdict
}

/// The strictest policy that takes a key with these claims.
pub fn strictest(claims: &Claims) -> Option<KeyPolicy> {
    let mut policies = KeyPolicy::ALL.into_iter().rev();
    policies.find(|policy| judge(claims, *policy).refused.is_empty())
}

impl Verdict {
    fn note(&mut self, text: String, refuses: bool) {
        if refuses {
            self.refused.push(text);
        } else {
            self.warnings.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEALED_FOR_LIFE: Claims = Claims {
        sensitive: Some(true),
        always_sensitive: Some(true),
        extractable: Some(false),
        never_extractable: Some(true),
        local: Some(true),
        sign: Some(true),
        decrypt: Some(false),
        unwrap: Some(false),
        derive: Some(false),
        private_value_readable: false,
    };

    fn with(change: fn(&mut Claims)) -> Claims {
        let mut claims = SEALED_FOR_LIFE;
        change(&mut claims);
        claims
    }

    #[test]
    fn each_claim_refuses_from_its_policy_on() {
        use KeyPolicy::{Exclusive, Sealed, Strict, Warn};
        #[rustfmt::skip]
        let rows: [(&str, Claims, Option<KeyPolicy>); 14] = [
            ("as generated by us", SEALED_FOR_LIFE, None),
            ("may not sign", with(|c| c.sign = Some(false)), Some(Warn)),
            ("not sensitive", with(|c| c.sensitive = Some(false)), Some(Sealed)),
            ("sensitive unknown", with(|c| c.sensitive = None), Some(Sealed)),
            ("extractable", with(|c| c.extractable = Some(true)), Some(Sealed)),
            ("extractable unknown", with(|c| c.extractable = None), Some(Sealed)),
            ("value readable", with(|c| c.private_value_readable = true), Some(Sealed)),
            ("once readable", with(|c| c.always_sensitive = Some(false)), Some(Strict)),
            ("once extractable", with(|c| c.never_extractable = Some(false)), Some(Strict)),
            ("imported", with(|c| c.local = Some(false)), Some(Strict)),
            ("origin unknown", with(|c| c.local = None), Some(Strict)),
            ("decrypts", with(|c| c.decrypt = Some(true)), Some(Exclusive)),
            ("unwraps", with(|c| c.unwrap = Some(true)), Some(Exclusive)),
            ("derives", with(|c| c.derive = Some(true)), Some(Exclusive)),
        ];
        for (name, claims, refused_from) in rows {
            for policy in [Warn, Sealed, Strict, Exclusive] {
                let verdict = judge(&claims, policy);

                let refused = refused_from.is_some_and(|from| policy >= from);
                assert_eq!(
                    !verdict.refused.is_empty(),
                    refused,
                    "{name} under {policy:?}"
                );
                let taken = strictest(&claims).is_some_and(|strictest| policy <= strictest);
                assert_eq!(taken, !refused, "{name} is taken by {policy:?}");
                let told = verdict.refused.len() + verdict.warnings.len();
                assert_eq!(
                    told,
                    usize::from(refused_from.is_some()),
                    "{name} is told once under {policy:?}"
                );
            }
        }
    }

    #[test]
    fn a_token_that_reports_nothing_is_refused_by_default() {
        let verdict = judge(&Claims::default(), KeyPolicy::Strict);

        assert_eq!(verdict.refused.len(), 5, "{verdict:?}");
    }
}
