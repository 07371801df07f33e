//! The JSON of `POST /tokens`, checked in the order of the wire contract: well formed, `sender`, `scopes`, `ttl_seconds`.
//!
//! The three members are first taken as raw text and read one after the other, so the order of checks does not depend
//! on the order of members, and the last of duplicates wins whatever the earlier ones were.
//! `scopes` is read by a visitor of our own: serde_json's `Value` treats a member named
//! `$serde_json::private::RawValue` as JSON inside a string, and a client must not choose that.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::scan::is_shallow_unicode;
use crate::grant::{MintRequest, RequestedTtl, Scopes, Sender};

/// The first check that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the body is not JSON, or neither an object nor an array")]
    InvalidJson,
    #[error("sender is missing, blank, or no string")]
    SenderRequired,
    #[error("scopes is no object")]
    ScopesNotAnObject,
    #[error("ttl_seconds is no positive number")]
    TtlNotPositive,
}

/// Reads a whole body; an empty one counts as `{}`.
///
/// # Errors
/// The first check that failed.
pub fn parse(body: &[u8]) -> Result<MintRequest, RequestError> {
    let text = std::str::from_utf8(body).map_err(|_| RequestError::InvalidJson)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.is_empty() {
        return Err(RequestError::SenderRequired);
    }
    if !is_shallow_unicode(text) {
        return Err(RequestError::InvalidJson);
    }
    let members: Members<'_> = serde_json::from_str(text).map_err(|_| RequestError::InvalidJson)?;
    Ok(MintRequest {
        sender: sender(members.sender)?,
        scopes: scopes(members.scopes)?,
        ttl: ttl(members.ttl_seconds)?,
    })
}

fn sender(raw: Option<&RawValue>) -> Result<Sender, RequestError> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .and_then(|name| Sender::new(name).ok())
        .ok_or(RequestError::SenderRequired)
}

fn scopes(raw: Option<&RawValue>) -> Result<Scopes, RequestError> {
    let Some(raw) = raw else {
        return Ok(Scopes::default());
    };
    if !raw.get().starts_with('{') {
        return Err(RequestError::ScopesNotAnObject);
    }
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    // Well formed by now: what is left is a number that overflows a double.
    match Verbatim.deserialize(&mut reader) {
        Ok(Value::Object(members)) => Ok(Scopes::new(members)),
        Ok(_) => Err(RequestError::ScopesNotAnObject),
        Err(_) => Err(RequestError::InvalidJson),
    }
}

fn ttl(raw: Option<&RawValue>) -> Result<Option<RequestedTtl>, RequestError> {
    let Some(text) = raw.map(RawValue::get).filter(|text| *text != "null") else {
        return Ok(None);
    };
    // JSON's numbers are a part of Rust's; strings, booleans and the rest of JSON are not, and overflow is infinity.
    text.parse()
        .ok()
        .and_then(|seconds| RequestedTtl::new(seconds).ok())
        .map(Some)
        .ok_or(RequestError::TtlNotPositive)
}

/// The members that mean something. A top-level array has none of them.
#[derive(Default)]
struct Members<'a> {
    sender: Option<&'a RawValue>,
    scopes: Option<&'a RawValue>,
    ttl_seconds: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    Sender,
    Scopes,
    TtlSeconds,
    #[serde(other)]
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TopLevel)
    }
}

struct TopLevel;

impl<'de> Visitor<'de> for TopLevel {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(name) = map.next_key()? {
            match name {
                Name::Sender => members.sender = Some(map.next_value()?),
                Name::Scopes => members.scopes = Some(map.next_value()?),
                Name::TtlSeconds => members.ttl_seconds = Some(map.next_value()?),
                Name::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(members)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Members::default())
    }
}

/// A [`Value`] as it stands: no member name means anything.
struct Verbatim;

impl<'de> DeserializeSeed<'de> for Verbatim {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Verbatim {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            // As JSON.parse: a duplicate keeps the first one's place and takes the last one's value.
            members.insert(name, map.next_value_seed(Self)?);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
