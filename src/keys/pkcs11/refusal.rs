//! Why a private object on a token is not used: what, why, what to do.

use super::ckr::Failure;
use super::public::PublicKeyUnfit;
use crate::config::KeyPolicy;

/// Why a private object is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "its label ends in something that is no instant. Relabel it as <prefix>-20261201T120000Z (UTC)"
    )]
    BadInstant,
    #[error(
        "{count} private keys share this CKA_ID, so none of them is used. Give each an id of its own, or delete the superfluous one"
    )]
    Ambiguous { count: usize },
    #[error(
        "no public key object with this CKA_ID is visible. Write the public key to the token under the same CKA_ID, or generate a new pair with `keys generate`"
    )]
    NoPublicKey,
    #[error(
        "a signature of the private key does not verify under the public key object with this CKA_ID: that belongs to another key, or the token signs wrongly. If the key has signed before and nobody changed its objects, change nothing and have the HSM looked at; else write the right public key under this CKA_ID"
    )]
    ForeignPublicKey,
    #[error("{0}. Make an RSA key of 2048 to 8192 bits or a P-256 key with `keys generate`")]
    Unfit(#[from] PublicKeyUnfit),
    #[error("{reasons}. {}", policy_cure(*.taken_by))]
    Policy {
        reasons: String,
        /// The strictest policy that takes the key as it is.
        taken_by: Option<KeyPolicy>,
    },
    #[error("it does not sign: {tried}")]
    NoMechanism { tried: String },
    #[error(
        "it wants the PIN for each signature (CKA_ALWAYS_AUTHENTICATE), and none is configured. Set MACP_AUTH_PKCS11_PIN_FILE"
    )]
    WantsPin,
    #[error("its attributes cannot be read ({0})")]
    Unreadable(Failure),
}

fn policy_cure(taken_by: Option<KeyPolicy>) -> String {
    const ANOTHER: &str = "make another with `keys generate`, and delete this one";
    match taken_by {
        None => format!("No MACP_AUTH_KEY_POLICY takes this key: {ANOTHER}"),
        Some(policy) => {
            let policy = policy.name();
            format!(
                "If `keys generate` made this key, its token says no more of its keys, and another one would be refused as well: choose the policy, knowing what it does not ask for (the table of key policies in docs/pkcs11.md); MACP_AUTH_KEY_POLICY={policy} takes this key. Else {ANOTHER}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(taken_by: Option<KeyPolicy>) -> String {
        let reasons = "CKA_LOCAL is false: it was imported".to_owned();
        Refusal::Policy { reasons, taken_by }.to_string()
    }

    #[test]
    fn who_makes_keys_that_the_policy_refuses_hears_of_the_policy_that_takes_them() {
        let local = told(Some(KeyPolicy::Sealed));
        assert!(
            local.contains("MACP_AUTH_KEY_POLICY=sealed takes"),
            "{local}"
        );
        assert!(local.contains("docs/pkcs11.md"), "{local}");

        let silent = told(None);
        assert!(silent.contains("No MACP_AUTH_KEY_POLICY takes"), "{silent}");
    }
}
