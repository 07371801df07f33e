//! Where and how much to accept, and whether strangers may.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::fault::{Fault, Given};
use super::reader::Reader;
use super::settings;
use super::{AdminAddress, BindAddress, Listen};

pub(super) fn read(reader: &mut Reader<'_>) -> Option<Listen> {
    let port = reader.bare_number(&settings::PORT);
    let connections = reader.number(&settings::MAX_CONNECTIONS);
    let address = address(reader);
    let anonymous = reader.switch(&settings::ALLOW_ANONYMOUS);
    if let (Some(BindAddress::One(address)), Some(anonymous)) = (address, anonymous)
        && reaches_others(address)
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

/// None: no admin listener, or a reported fault.
pub(super) fn admin(reader: &mut Reader<'_>) -> Option<AdminAddress> {
    let setting = &settings::ADMIN_ADDR;
    let text = reader.given(setting)?;
    let parsed = admin_address(text).ok_or_else(|| Fault::Place {
        got: Given(text.to_owned()),
    });
    let admin = reader.accept(setting, parsed)?;
    if let BindAddress::One(address) = admin.address
        && reaches_others(address)
    {
        reader.warn(format!(
            "MACP_AUTH_ADMIN_ADDR: whoever reaches {address} sees which keys there are (never a secret). Use localhost, or let only trusted machines reach it"
        ));
    }
    Some(admin)
}

fn admin_address(text: &str) -> Option<AdminAddress> {
    let (host, port) = text.rsplit_once(':')?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = match bracketed {
        // Without brackets the end of an IPv6 address would read as a port.
        Some(inner) => BindAddress::One(inner.parse::<Ipv6Addr>().ok()?.into()),
        None if host == "localhost" => BindAddress::Loopback,
        None => BindAddress::One(host.parse::<Ipv4Addr>().ok()?.into()),
    };
    // `parse` alone would take a sign.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.then(|| port.parse().ok()).flatten()?;
    Some(AdminAddress { address, port })
}

fn reaches_others(address: IpAddr) -> bool {
    !address.to_canonical().is_loopback()
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
