//! Why a private object on a token is not used: what, why, what to do.

use super::ckr::Failure;
use super::public::PublicKeyUnfit;

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
    #[error(
        "{reasons}. Make a key that never leaves the token with `keys generate`, or lower MACP_AUTH_KEY_POLICY knowingly (`sealed` for keys restored from a backup, `warn` for any)"
    )]
    Policy { reasons: String },
    #[error("it does not sign: {tried}")]
    NoMechanism { tried: String },
    #[error(
        "it wants the PIN for each signature (CKA_ALWAYS_AUTHENTICATE), and none is configured. Set MACP_AUTH_PKCS11_PIN_FILE"
    )]
    WantsPin,
    #[error("its attributes cannot be read ({0})")]
    Unreadable(Failure),
}
