//! Sockets to accept on.
//!
//! Loopback is 127.0.0.1 and, where the machine has it, ::1 on the same port: clients that resolve `localhost` try
//! either. A port in use is an error that says so; a machine without IPv6 is none.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use crate::config::{BindAddress, Listen};

/// Why the service cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "cannot listen on {address}: the port is in use. Stop the other program or set PORT to a free one"
    )]
    InUse { address: SocketAddr },
    #[error(
        "cannot listen on {address}: the system does not permit it. Set PORT to 1024 or above, or grant CAP_NET_BIND_SERVICE"
    )]
    Denied { address: SocketAddr },
    #[error(
        "cannot listen on {address}: this machine does not have that address. Set MACP_AUTH_BIND_ADDR to one of its own"
    )]
    NoSuchAddress { address: SocketAddr },
    #[error("found no port that is free on both 127.0.0.1 and ::1. Set PORT to one that is")]
    NoCommonPort,
    #[error("cannot listen on {address}: {source}. Check PORT and MACP_AUTH_BIND_ADDR")]
    Other {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// Ports that the system may choose before we give up: only one that ::1 has in use costs a try.
const TRIES: usize = 32;

/// Binds all sockets and tells the port they share.
pub(super) async fn bind(listen: &Listen) -> Result<(Vec<TcpListener>, u16), BindError> {
    match listen.address {
        BindAddress::One(address) => one(address, listen.port)
            .await
            .map(|(socket, port)| (vec![socket], port)),
        BindAddress::Loopback if listen.port == 0 => chosen_loopback().await,
        BindAddress::Loopback => loopback(listen.port).await,
    }
}

async fn chosen_loopback() -> Result<(Vec<TcpListener>, u16), BindError> {
    for _ in 0..TRIES {
        match loopback(0).await {
            Err(BindError::InUse { address }) if address.ip() == V6 => {}
            outcome => return outcome,
        }
    }
    Err(BindError::NoCommonPort)
}

async fn loopback(port: u16) -> Result<(Vec<TcpListener>, u16), BindError> {
    let (v4, port) = one(V4, port).await?;
    match TcpListener::bind((V6, port)).await {
        Ok(v6) => Ok((vec![v4, v6], port)),
        Err(error) if lacks_ipv6(&error) => Ok((vec![v4], port)),
        Err(error) => Err(named(SocketAddr::new(V6, port), error)),
    }
}

async fn one(address: IpAddr, port: u16) -> Result<(TcpListener, u16), BindError> {
    let wanted = SocketAddr::new(address, port);
    let failed = |error| named(wanted, error);
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

fn named(address: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        io::ErrorKind::PermissionDenied => BindError::Denied { address },
        io::ErrorKind::AddrNotAvailable => BindError::NoSuchAddress { address },
        _ => BindError::Other { address, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(address: BindAddress, port: u16) -> Listen {
        Listen {
            address,
            port,
            max_connections: 1,
        }
    }

    #[tokio::test]
    async fn loopback_shares_one_port_that_the_system_chose() {
        let (sockets, port) = bind(&listen(BindAddress::Loopback, 0)).await.unwrap();

        assert_ne!(port, 0);
        for socket in &sockets {
            assert_eq!(socket.local_addr().unwrap().port(), port);
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_cure() {
        let (_held, port) = bind(&listen(BindAddress::One(V4), 0)).await.unwrap();

        let error = bind(&listen(BindAddress::Loopback, port))
            .await
            .unwrap_err();

        assert!(matches!(error, BindError::InUse { .. }));
        assert!(
            error.to_string().contains(&format!("127.0.0.1:{port}"))
                && error.to_string().contains("PORT")
        );
    }

    #[tokio::test]
    async fn a_port_in_use_on_ipv6_alone_is_in_use() {
        let Ok((_held, port)) = bind(&listen(BindAddress::One(V6), 0)).await else {
            return; // a machine without IPv6
        };

        let error = bind(&listen(BindAddress::Loopback, port)).await;

        assert!(matches!(error, Err(BindError::InUse { address }) if address.ip() == V6));
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

        let error = bind(&listen(BindAddress::One(elsewhere), 0)).await;

        assert!(matches!(error, Err(BindError::NoSuchAddress { .. })));
    }
}
