//! Where and how much to accept, and whether strangers may.

use std::net::IpAddr;

use super::fault::{Fault, Given};
use super::reader::Reader;
use super::settings;
use super::{BindAddress, Listen};

pub(super) fn read(reader: &mut Reader<'_>) -> Option<Listen> {
    let port = reader.bare_number(&settings::PORT);
    let connections = reader.number(&settings::MAX_CONNECTIONS);
    let address = address(reader);
    let anonymous = reader.switch(&settings::ALLOW_ANONYMOUS);
    if let (Some(BindAddress::One(address)), Some(anonymous)) = (address, anonymous)
        && !address.to_canonical().is_loopback()
    {
        if anonymous {
            reader.warn(format!(
                "MACP_AUTH_ALLOW_ANONYMOUS=1: whoever reaches {address} gets any token. Let only trusted callers reach it"
            ));
        } else {
            reader.refuse(settings::BIND_ADDR.name, Fault::OpenToAll { address });
        }
    }
    Some(Listen {
        address: address?,
        port: u16::try_from(port?).ok()?,
        max_connections: usize::try_from(connections?).ok()?,
    })
}

fn address(reader: &mut Reader<'_>) -> Option<BindAddress> {
    let text = reader.value(&settings::BIND_ADDR)?;
    if text == "localhost" {
        return Some(BindAddress::Loopback);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let parsed = bare.parse::<IpAddr>().map_err(|_| Fault::Address {
        got: Given(text.to_owned()),
    });
    reader
        .accept(&settings::BIND_ADDR, parsed)
        .map(BindAddress::One)
}
