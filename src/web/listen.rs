//! Sockets to accept on.
//!
//! Loopback is 127.0.0.1 and, where the machine has it, ::1 on the same port: clients that resolve `localhost` try
//! either. A port in use is an error that says so; a machine without IPv6 is none.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use crate::config::BindAddress;

/// What a listener is for: who may ask what, and which variables say where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Minting and the JWKS.
    Public,
    /// State and metrics, for operators.
    Admin,
}

/// Why the service cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "cannot listen on {address}: the port is in use. Stop the other program or set {} to a free one", .setting.port
    )]
    InUse {
        address: SocketAddr,
        setting: Setting,
    },
    #[error(
        "cannot listen on {address}: PORT is the same. Set {} to another one", .setting.port
    )]
    Same {
        address: SocketAddr,
        setting: Setting,
    },
    #[error(
        "cannot listen on {address}: the system does not permit it. Set {} to 1024 or above, or grant CAP_NET_BIND_SERVICE", .setting.port
    )]
    Denied {
        address: SocketAddr,
        setting: Setting,
    },
    #[error(
        "cannot listen on {address}: this machine does not have that address. Set {} to one of its own", .setting.address
    )]
    NoSuchAddress {
        address: SocketAddr,
        setting: Setting,
    },
    #[error("found no port that is free on both 127.0.0.1 and ::1. Set {} to one that is", .setting.port)]
    NoCommonPort { setting: Setting },
    #[error("cannot listen on {address}: {source}. Check {}", .setting.both)]
    Other {
        address: SocketAddr,
        setting: Setting,
        #[source]
        source: io::Error,
    },
}

/// The words with which messages send operators to the variable that is to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    port: &'static str,
    address: &'static str,
    both: &'static str,
}

impl Side {
    const fn setting(self) -> Setting {
        match self {
            Self::Public => Setting {
                port: "PORT",
                address: "MACP_AUTH_BIND_ADDR",
                both: "PORT and MACP_AUTH_BIND_ADDR",
            },
            Self::Admin => Setting {
                port: "the port of MACP_AUTH_ADMIN_ADDR",
                address: "the address of MACP_AUTH_ADMIN_ADDR",
                both: "MACP_AUTH_ADMIN_ADDR",
            },
        }
    }
}

impl BindError {
    /// The port in use is the service's own.
    pub(super) fn or_the_same(self, public: u16) -> Self {
        match self {
            Self::InUse { address, setting } if address.port() == public => {
                Self::Same { address, setting }
            }
            other => other,
        }
    }
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// Ports that the system may choose before we give up: only one that ::1 has in use costs a try.
const TRIES: usize = 32;

/// Binds all sockets and tells the port they share.
pub(super) async fn bind(
    address: BindAddress,
    port: u16,
    side: Side,
) -> Result<(Vec<TcpListener>, u16), BindError> {
    let setting = side.setting();
    match address {
        BindAddress::One(address) => one(address, port, setting)
            .await
            .map(|(socket, port)| (vec![socket], port)),
        BindAddress::Loopback if port == 0 => chosen_loopback(setting).await,
        BindAddress::Loopback => loopback(port, setting).await,
    }
}

async fn chosen_loopback(setting: Setting) -> Result<(Vec<TcpListener>, u16), BindError> {
    for _ in 0..TRIES {
        match loopback(0, setting).await {
            Err(BindError::InUse { address, .. }) if address.ip() == V6 => {}
            outcome => return outcome,
        }
    }
    Err(BindError::NoCommonPort { setting })
}

async fn loopback(port: u16, setting: Setting) -> Result<(Vec<TcpListener>, u16), BindError> {
    let (v4, port) = one(V4, port, setting).await?;
    match TcpListener::bind((V6, port)).await {
        Ok(v6) => Ok((vec![v4, v6], port)),
        Err(error) if lacks_ipv6(&error) => Ok((vec![v4], port)),
        Err(error) => Err(named(SocketAddr::new(V6, port), setting, error)),
    }
}

async fn one(
    address: IpAddr,
    port: u16,
    setting: Setting,
) -> Result<(TcpListener, u16), BindError> {
    let wanted = SocketAddr::new(address, port);
    let failed = |error| named(wanted, setting, error);
    let socket = TcpListener::bind(wanted).await.map_err(failed)?;
    let port = socket.local_addr().map_err(failed)?.port();
    Ok((socket, port))
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT)
    )
}

fn named(address: SocketAddr, setting: Setting, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, setting },
        io::ErrorKind::PermissionDenied => BindError::Denied { address, setting },
        io::ErrorKind::AddrNotAvailable => BindError::NoSuchAddress { address, setting },
        _ => BindError::Other {
            address,
            setting,
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loopback_shares_one_port_that_the_system_chose() {
        let (sockets, port) = bind(BindAddress::Loopback, 0, Side::Public).await.unwrap();

        assert_ne!(port, 0);
        for socket in &sockets {
            assert_eq!(socket.local_addr().unwrap().port(), port);
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_cure() {
        let (_held, port) = bind(BindAddress::One(V4), 0, Side::Public).await.unwrap();

        let error = bind(BindAddress::Loopback, port, Side::Public)
            .await
            .unwrap_err();

        assert!(matches!(error, BindError::InUse { .. }));
        assert!(
            error.to_string().contains(&format!("127.0.0.1:{port}"))
                && error.to_string().contains("PORT")
        );
    }

    #[tokio::test]
    async fn the_admin_listener_names_its_own_variable_and_tells_its_own_port_from_anothers() {
        let (_held, port) = bind(BindAddress::One(V4), 0, Side::Public).await.unwrap();
        let taken = || async {
            bind(BindAddress::Loopback, port, Side::Admin)
                .await
                .unwrap_err()
        };

        let other = taken().await.or_the_same(port.wrapping_add(1));
        let same = taken().await.or_the_same(port);

        assert!(matches!(other, BindError::InUse { .. }), "{other}");
        assert!(matches!(same, BindError::Same { .. }), "{same}");
        for error in [other, same] {
            assert!(
                error.to_string().contains("MACP_AUTH_ADMIN_ADDR"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn a_port_in_use_on_ipv6_alone_is_in_use() {
        let Ok((_held, port)) = bind(BindAddress::One(V6), 0, Side::Public).await else {
            return; // a machine without IPv6
        };

        let error = bind(BindAddress::Loopback, port, Side::Public).await;

        assert!(matches!(error, Err(BindError::InUse { address, .. }) if address.ip() == V6));
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

        let error = bind(BindAddress::One(elsewhere), 0, Side::Public).await;

        assert!(matches!(error, Err(BindError::NoSuchAddress { .. })));
    }
}
