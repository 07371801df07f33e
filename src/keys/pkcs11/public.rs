//! Attributes of an object -> public key, in every encoding that was measured.
//!
//! CKA_EC_POINT comes as DER OCTET STRING, raw, or BIT STRING: told by length. CKA_MODULUS may be zero-padded.
//! That the point is on the curve, and that the key is the private object's, is proved by a signature later.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
use cryptoki::session::Session;

use super::ckr::{Class, Failure};
use crate::jose::{PublicKey, PublicKeyError};

/// The attributes of one object that could be read.
#[derive(Debug, Default)]
pub struct Attributes(Vec<Attribute>);

/// Why an object gives no public key that this service publishes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyUnfit {
    #[error(transparent)]
    Rsa(#[from] PublicKeyError),
    #[error("its curve is {curve}; only P-256 is accepted")]
    Curve { curve: String },
    #[error("its CKA_EC_POINT has a form that is not known ({length} bytes)")]
    Point { length: usize },
    #[error("it is neither an RSA nor an EC key")]
    Type,
    #[error("{attribute} cannot be read")]
    Missing { attribute: &'static str },
}

impl Attributes {
    /// Those of `types` that the object has.
    ///
    /// # Errors
    /// The first failure that is no word about the object: what could not be read may be there.
    pub fn read(
        session: &Session,
        object: ObjectHandle,
        types: &[AttributeType],
    ) -> Result<Self, Failure> {
        match Self::readable(session, object, types)? {
            (_, Some(unread)) => Err(unread),
            (read, None) => Ok(read),
        }
    }

    /// Those that could be read, and why one could not that may be there.
    ///
    /// # Errors
    /// A failure, where nothing at all could be read.
    pub fn readable(
        session: &Session,
        object: ObjectHandle,
        types: &[AttributeType],
    ) -> Result<(Self, Option<Failure>), Failure> {
        // First as a group, then singly: some modules fail as a whole on one bad attribute.
        if let Ok(all) = session.get_attributes(object, types) {
            return Ok((Self(all), None));
        }
        let single = types.iter();
        let single = single.map(|kind| session.get_attributes(object, &[*kind]));
        Self::of(single.map(|read| read.map_err(Failure::from)))
    }

    fn of(
        single: impl Iterator<Item = Result<Vec<Attribute>, Failure>>,
    ) -> Result<(Self, Option<Failure>), Failure> {
        let (mut read, mut absent, mut unread) = (Vec::new(), None, None);
        for answer in single {
            match answer {
                Ok(found) => read.extend(found),
                Err(failure) if failure.class() == Class::Attribute => {
                    absent = absent.or(Some(failure));
                }
                Err(failure) => unread = unread.or(Some(failure)),
            }
        }
        if !read.is_empty() {
            return Ok((Self(read), unread));
        }
        match unread.or(absent) {
            Some(failure) => Err(failure),
            None => Ok((Self(read), None)),
        }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Attribute> {
        self.0.iter()
    }

    /// The first value that `pick` takes.
    pub fn find<'a, T>(&'a self, pick: impl Fn(&'a Attribute) -> Option<T>) -> Option<T> {
        self.iter().find_map(pick)
    }

    /// CKA_LABEL, without the padding of some modules.
    pub fn label(&self) -> Option<String> {
        self.find(|attribute| match attribute {
            Attribute::Label(text) => Some(
                String::from_utf8_lossy(text)
                    .trim_end_matches([' ', '\0'])
                    .to_owned(),
            ),
            _ => None,
        })
    }

    /// CKA_ID.
    pub fn id(&self) -> Option<Vec<u8>> {
        self.find(|attribute| match attribute {
            Attribute::Id(id) => Some(id.clone()),
            _ => None,
        })
    }

    fn bytes(&self, kind: AttributeType) -> Option<&[u8]> {
        self.find(|attribute| match attribute {
            Attribute::Modulus(bytes)
            | Attribute::PublicExponent(bytes)
            | Attribute::EcPoint(bytes)
            | Attribute::EcParams(bytes)
                if attribute.attribute_type() == kind && !bytes.is_empty() =>
            {
                Some(bytes.as_slice())
            }
            _ => None,
        })
    }
}

/// The public key that an object carries: a public object, or a private one that tells its public part.
///
/// # Errors
/// The module's failure, or (inside) why the object gives no key.
pub fn public_key(
    session: &Session,
    object: ObjectHandle,
    kind: KeyType,
) -> Result<Result<PublicKey, PublicKeyUnfit>, Failure> {
    if kind == KeyType::RSA {
        let types = [AttributeType::Modulus, AttributeType::PublicExponent];
        return Ok(rsa(&Attributes::read(session, object, &types)?));
    }
    if kind == KeyType::EC {
        let types = [AttributeType::EcParams, AttributeType::EcPoint];
        return Ok(ec(&Attributes::read(session, object, &types)?));
    }
    Ok(Err(PublicKeyUnfit::Type))
}

fn rsa(attributes: &Attributes) -> Result<PublicKey, PublicKeyUnfit> {
    let missing = |attribute| PublicKeyUnfit::Missing { attribute };
    let modulus = attributes
        .bytes(AttributeType::Modulus)
        .ok_or(missing("CKA_MODULUS"))?;
    let exponent = attributes
        .bytes(AttributeType::PublicExponent)
        .ok_or(missing("CKA_PUBLIC_EXPONENT"))?;
    Ok(PublicKey::rsa(modulus, exponent)?)
}

fn ec(attributes: &Attributes) -> Result<PublicKey, PublicKeyUnfit> {
    if let Some(parameters) = attributes.bytes(AttributeType::EcParams) {
        check_curve(parameters)?;
    }
    let point = attributes
        .bytes(AttributeType::EcPoint)
        .ok_or(PublicKeyUnfit::Missing {
            attribute: "CKA_EC_POINT",
        })?;
    p256_point(point)
}

/// namedCurve OIDs and, as some modules write them, PrintableStrings (PKCS#11 v3.1, 6.3.3).
fn check_curve(parameters: &[u8]) -> Result<(), PublicKeyUnfit> {
    const NAMED: [(&[u8], &str); 5] = [
        (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22], "P-384"),
        (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23], "P-521"),
        (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a], "secp256k1"),
        (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21], "P-224"),
        (&[0x06, 0x03, 0x2b, 0x65, 0x70], "Ed25519"),
    ];
    if parameters == P256_OID
        || matches!(
            printable(parameters),
            Some(b"prime256v1" | b"secp256r1" | b"P-256")
        )
    {
        return Ok(());
    }
    let curve = NAMED
        .iter()
        .find(|(oid, _)| *oid == parameters)
        .map_or_else(|| hex::encode(parameters), |(_, name)| (*name).to_owned());
    Err(PublicKeyUnfit::Curve { curve })
}

/// OBJECT IDENTIFIER 1.2.840.10045.3.1.7.
pub(super) const P256_OID: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

fn printable(parameters: &[u8]) -> Option<&[u8]> {
    match parameters {
        [0x13, length, text @ ..] if usize::from(*length) == text.len() => Some(text),
        _ => None,
    }
}

fn p256_point(bytes: &[u8]) -> Result<PublicKey, PublicKeyUnfit> {
    let coordinates = match bytes {
        [0x04, 0x41, 0x04, rest @ ..] if rest.len() == 64 => rest,
        [0x03, 0x42, 0x00, 0x04, rest @ ..] if rest.len() == 64 => rest,
        [0x04, rest @ ..] if rest.len() == 64 => rest,
        rest if rest.len() == 64 => rest,
        other => {
            return Err(PublicKeyUnfit::Point {
                length: other.len(),
            });
        }
    };
    let (x, y) = coordinates.split_at(32);
    match (x.try_into(), y.try_into()) {
        (Ok(x), Ok(y)) => Ok(PublicKey::p256(x, y)),
        _ => Err(PublicKeyUnfit::Point {
            length: bytes.len(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;
    use cryptoki::error::{Error, RvError};

    use super::*;

    fn failed(code: RvError) -> Result<Vec<Attribute>, Failure> {
        Err(Error::Pkcs11(code, Function::GetAttributeValue).into())
    }

    #[test]
    fn what_could_not_be_read_is_told_apart_from_what_is_not_there() {
        let label = || Ok(vec![Attribute::Label(b"macp-jwt".to_vec())]);
        for (name, other, wanted) in [
            ("not there", RvError::AttributeTypeInvalid, None),
            ("kept secret", RvError::AttributeSensitive, None),
            ("unread", RvError::GeneralError, Some(Class::Session)),
            (
                "no such object",
                RvError::ObjectHandleInvalid,
                Some(Class::Key),
            ),
        ] {
            let (read, unread) = Attributes::of([label(), failed(other)].into_iter()).unwrap();
            assert_eq!(read.label().as_deref(), Some("macp-jwt"), "{name}");
            assert_eq!(unread.map(|failure| failure.class()), wanted, "{name}");
        }

        let codes = [RvError::AttributeTypeInvalid, RvError::DeviceError];
        let nothing = Attributes::of(codes.map(failed).into_iter()).unwrap_err();
        assert!(nothing.is(RvError::DeviceError), "{nothing}");
    }

    #[test]
    fn every_encoding_of_a_point_gives_the_same_key() {
        let xy: Vec<u8> = (0..64).collect();
        let want = PublicKey::p256(xy[..32].try_into().unwrap(), xy[32..].try_into().unwrap());
        for (name, head) in [
            ("DER OCTET STRING", &[0x04, 0x41, 0x04][..]),
            ("BIT STRING", &[0x03, 0x42, 0x00, 0x04]),
            ("raw, uncompressed", &[0x04]),
            ("raw, bare coordinates", &[]),
        ] {
            assert_eq!(p256_point(&[head, &xy].concat()).unwrap(), want, "{name}");
        }
        for length in [0, 1, 33, 63, 69, 97] {
            assert_eq!(
                p256_point(&vec![2; length]),
                Err(PublicKeyUnfit::Point { length })
            );
        }
    }

    #[test]
    fn curves_are_told_by_oid_and_by_name() {
        assert_eq!(check_curve(&P256_OID), Ok(()));
        assert_eq!(check_curve(b"\x13\x0aprime256v1"), Ok(()));
        for (parameters, curve) in [
            (&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22][..], "P-384"),
            (&[0x06, 0x01, 0x2a][..], "06012a"),
        ] {
            let curve = curve.to_owned();
            assert_eq!(
                check_curve(parameters),
                Err(PublicKeyUnfit::Curve { curve })
            );
        }
    }

    #[test]
    fn a_zero_padded_modulus_and_a_missing_exponent_are_told_apart() {
        let modulus = [vec![0; 3], vec![0xff; 256]].concat();
        let full = Attributes(vec![
            Attribute::Modulus(modulus.clone()),
            Attribute::PublicExponent(vec![1, 0, 1]),
        ]);
        let half = Attributes(vec![Attribute::Modulus(modulus)]);

        assert_eq!(
            rsa(&full).unwrap(),
            PublicKey::rsa(&[0xff; 256], &[1, 0, 1]).unwrap()
        );
        assert_eq!(
            rsa(&half),
            Err(PublicKeyUnfit::Missing {
                attribute: "CKA_PUBLIC_EXPONENT"
            })
        );
    }
}
