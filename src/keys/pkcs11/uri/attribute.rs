//! The attributes that RFC 7512 defines, and in which half of a URI each stands.
//!
//! Their order is that in which they are written.

use std::fmt;

/// The attributes of RFC 7512, 2.3, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attribute {
    LibraryManufacturer,
    LibraryDescription,
    LibraryVersion,
    SlotManufacturer,
    SlotDescription,
    SlotId,
    Manufacturer,
    Model,
    Serial,
    Token,
    Id,
    Object,
    Type,
    ModulePath,
    ModuleName,
    PinSource,
    PinValue,
}

/// The two halves of a URI, before and after the `?`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    Path,
    Query,
}

pub(super) const ATTRIBUTES: [Attribute; 17] = [
    Attribute::LibraryManufacturer,
    Attribute::LibraryDescription,
    Attribute::LibraryVersion,
    Attribute::SlotManufacturer,
    Attribute::SlotDescription,
    Attribute::SlotId,
    Attribute::Manufacturer,
    Attribute::Model,
    Attribute::Serial,
    Attribute::Token,
    Attribute::Id,
    Attribute::Object,
    Attribute::Type,
    Attribute::ModulePath,
    Attribute::ModuleName,
    Attribute::PinSource,
    Attribute::PinValue,
];

impl Attribute {
    pub const fn name(self) -> &'static str {
        match self {
            Self::LibraryManufacturer => "library-manufacturer",
            Self::LibraryDescription => "library-description",
            Self::LibraryVersion => "library-version",
            Self::SlotManufacturer => "slot-manufacturer",
            Self::SlotDescription => "slot-description",
            Self::SlotId => "slot-id",
            Self::Manufacturer => "manufacturer",
            Self::Model => "model",
            Self::Serial => "serial",
            Self::Token => "token",
            Self::Id => "id",
            Self::Object => "object",
            Self::Type => "type",
            Self::ModulePath => "module-path",
            Self::ModuleName => "module-name",
            Self::PinSource => "pin-source",
            Self::PinValue => "pin-value",
        }
    }

    pub const fn half(self) -> Half {
        match self {
            Self::ModulePath | Self::ModuleName | Self::PinSource | Self::PinValue => Half::Query,
            _ => Half::Path,
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        ATTRIBUTES
            .into_iter()
            .find(|attribute| attribute.name() == name)
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "before the \"?\", separated by \";\"",
            Self::Query => "after the \"?\", separated by \"&\"",
        })
    }
}

/// The attribute that a misspelt name may mean.
pub(super) fn nearest(name: &str) -> Option<Attribute> {
    let name = name.to_ascii_lowercase();
    ATTRIBUTES
        .into_iter()
        .map(|attribute| {
            (
                strsim::damerau_levenshtein(&name, attribute.name()),
                attribute,
            )
        })
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, attribute)| attribute)
}
