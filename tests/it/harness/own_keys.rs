//! Fresh private keys as JWKs, for pinning.

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RsaKeyPair,
};
use serde_json::{Value, json};

use super::jwt::encode;

/// A P-256 key; no kid.
pub fn private_ec_jwk() -> Value {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let d: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().unwrap();
    json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]), "d": encode(d.as_ref())})
}

/// A P-256 key in PKCS#8, for import into a token.
pub fn ec_pkcs8() -> Vec<u8> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    pair.to_pkcs8v1().unwrap().as_ref().to_vec()
}

/// An RSA key with its CRT members; no kid.
pub fn private_rsa_jwk(size: KeySize) -> Value {
    rsa_jwk(&rsa_pkcs8(size))
}

/// An RSA key in PKCS#8, for import into a token.
pub fn rsa_pkcs8(size: KeySize) -> Vec<u8> {
    let pair = RsaKeyPair::generate(size).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    der.as_ref().to_vec()
}

/// The same key as a JWK.
pub fn rsa_jwk(pkcs8_der: &[u8]) -> Value {
    // PrivateKeyInfo: version, algorithm, and an OCTET STRING with the RSAPrivateKey (RFC 5958, RFC 8017 A.1.2).
    let info = members(contents(pkcs8_der).1);
    let numbers = members(contents(info[2]).1);
    let mut jwk = json!({"kty": "RSA"});
    for (name, number) in ["n", "e", "d", "p", "q", "dp", "dq", "qi"]
        .iter()
        .zip(&numbers[1..])
    {
        let significant = number.iter().position(|&byte| byte != 0).unwrap();
        jwk[*name] = encode(&number[significant..]).into();
    }
    jwk
}

/// The value of the first DER element, its tag, and what follows.
fn contents(der: &[u8]) -> (u8, &[u8], &[u8]) {
    let (length, start) = match der[1] {
        short @ 0..0x80 => (usize::from(short), 2),
        long => {
            let octets = usize::from(long & 0x7f);
            let length = der[2..2 + octets]
                .iter()
                .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            (length, 2 + octets)
        }
    };
    (der[0], &der[start..start + length], &der[start + length..])
}

/// The values of all elements in a sequence.
fn members(mut der: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (_, value, rest) = contents(der);
        found.push(value);
        der = rest;
    }
    found
}
