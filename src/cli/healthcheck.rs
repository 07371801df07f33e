//! `healthcheck`: one plain HTTP/1.1 GET, for containers that have no other tool inside.
//!
//! Exit code 0 for an answer 200 within three seconds; else 1 and one line on stderr. It reads neither key nor PIN.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use super::{DONE, Outside, failed};
use crate::clock::Deadline;
use crate::config::{self, BindAddress, Listen};

const LONGEST_WAIT: Duration = Duration::from_secs(3);

pub(super) fn run(outside: &mut Outside<'_>, url: Option<&str>) -> ExitCode {
    let target = match url {
        Some(url) => Target::parse(url),
        None => match config::listen(&outside.environment) {
            Ok(listen) => Target::of_the_service(&listen),
            Err(report) => {
                outside.complain(&report);
                return failed();
            }
        },
    };
    match target.and_then(|target| target.ask(Deadline::after(LONGEST_WAIT))) {
        Ok(()) => DONE,
        Err(problem) => {
            outside.complain(&format_args!("healthcheck: {problem}"));
            failed()
        }
    }
}

/// Why the service is not known to be alive.
#[derive(Debug, thiserror::Error)]
enum Unhealthy {
    #[error(
        "PORT is 0, so the system chose the port. Give the URL: healthcheck http://127.0.0.1:PORT/healthz"
    )]
    UnknownPort,
    #[error(
        "https is not spoken here. Ask the plain port: healthcheck http://127.0.0.1:3200/healthz"
    )]
    Https,
    #[error("that is no URL of the form http://host:port/path")]
    NoUrl,
    #[error("{target} cannot be resolved: {source}. Give an IP address")]
    Unresolved {
        target: Target,
        #[source]
        source: io::Error,
    },
    #[error("no answer from {target}: {source}. Is the service running and listening there?")]
    NoAnswer {
        target: Target,
        #[source]
        source: io::Error,
    },
    #[error("{target} answered {status}, not 200")]
    Status { target: Target, status: u16 },
    #[error("{target} did not answer in HTTP. Is it another program's port?")]
    NotHttp { target: Target },
}

/// An http URL, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
    path: String,
}

impl Target {
    fn of_the_service(listen: &Listen) -> Result<Self, Unhealthy> {
        if listen.port == 0 {
            return Err(Unhealthy::UnknownPort);
        }
        let address = match listen.address {
            BindAddress::One(IpAddr::V6(address)) if address.is_unspecified() => {
                IpAddr::V6(Ipv6Addr::LOCALHOST)
            }
            BindAddress::One(address) if !address.is_unspecified() => address,
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        Ok(Self {
            host: address.to_string(),
            port: listen.port,
            path: "/healthz".to_owned(),
        })
    }

    fn parse(url: &str) -> Result<Self, Unhealthy> {
        let (scheme, rest) = url.split_once("://").ok_or(Unhealthy::NoUrl)?;
        if scheme.eq_ignore_ascii_case("https") {
            return Err(Unhealthy::Https);
        }
        // A user name and password would be needed nowhere here, and shown in messages.
        let plain = rest
            .chars()
            .all(|char| char.is_ascii_graphic() && char != '@');
        if !scheme.eq_ignore_ascii_case("http") || !plain {
            return Err(Unhealthy::NoUrl);
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or(Unhealthy::NoUrl)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| Unhealthy::NoUrl)?)
            }
            _ => (authority, 80),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() || port == 0 {
            return Err(Unhealthy::NoUrl);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
        })
    }

    fn ask(self, deadline: Deadline) -> Result<(), Unhealthy> {
        let addresses: Vec<_> = match (self.host.as_str(), self.port).to_socket_addrs() {
            Ok(addresses) => addresses.collect(),
            Err(source) => {
                return Err(Unhealthy::Unresolved {
                    target: self,
                    source,
                });
            }
        };
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match self.status(address, deadline) {
                Ok(Some(200)) => return Ok(()),
                Ok(Some(status)) => {
                    return Err(Unhealthy::Status {
                        target: self,
                        status,
                    });
                }
                Ok(None) => return Err(Unhealthy::NotHttp { target: self }),
                Err(error) => last = error,
            }
        }
        Err(Unhealthy::NoAnswer {
            target: self,
            source: last,
        })
    }

    /// None: the answer is no HTTP.
    fn status(&self, address: SocketAddr, deadline: Deadline) -> io::Result<Option<u16>> {
        let mut stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
        stream.set_write_timeout(Some(left(deadline)?))?;
        // In one piece: some servers answer, and close, after their first read.
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.path,
            self.authority()
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut part = [0; 64];
        // "HTTP/1.1 200" is all that matters.
        while answer.len() < 12 {
            stream.set_read_timeout(Some(left(deadline)?))?;
            match stream.read(&mut part)? {
                0 => break,
                length => answer.extend(part.iter().take(length)),
            }
        }
        Ok(status_of(&answer))
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Zero is no time-out for a socket, but an error.
fn left(deadline: Deadline) -> io::Result<Duration> {
    match deadline.remaining() {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

fn status_of(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer.get(..12)?).ok()?;
    let status = line
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    status.parse().ok()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}
