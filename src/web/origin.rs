//! The `Origin` rule: a web page of another host must not mint as an anonymous caller.
//!
//! A page that rebinds its own name to 127.0.0.1 reaches a service that trusts its loopback; the browser then still
//! sends the page's `Origin`. Programs send none. Only http and https origins of this machine pass; `null` does not.

use std::net::Ipv4Addr;

use hyper::Uri;
use hyper::header::{HeaderMap, ORIGIN};

/// The request comes from a web page that is not served by this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request carries the Origin of another host")]
pub(super) struct ForeignOrigin;

/// Lets requests without `Origin`, or with origins of this machine alone, pass.
pub(super) fn check(headers: &HeaderMap) -> Result<(), ForeignOrigin> {
    let ours = headers
        .get_all(ORIGIN)
        .iter()
        .all(|origin| origin.to_str().is_ok_and(is_loopback));
    if ours { Ok(()) } else { Err(ForeignOrigin) }
}

fn is_loopback(origin: &str) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else {
        return false;
    };
    matches!(origin.scheme_str(), Some("http" | "https"))
        && origin.host().is_some_and(names_this_machine)
}

fn names_this_machine(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host == "[::1]"
        || host
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(origins: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        headers
    }

    #[test]
    fn programs_and_pages_of_this_machine_pass() {
        assert_eq!(check(&headers(&[])), Ok(()));
        for origin in [
            "http://localhost",
            "http://localhost:3000",
            "https://LOCALHOST:8443",
            "http://app.localhost:5173",
            "http://127.0.0.1:3000",
            "http://127.9.8.7",
            "http://[::1]:3000",
        ] {
            assert_eq!(check(&headers(&[origin])), Ok(()), "{origin}");
        }
    }

    #[test]
    fn pages_of_other_hosts_do_not() {
        for origin in [
            "null",
            "",
            "localhost",
            "http://",
            "https://evil.example",
            "http://localhost.evil.example",
            "http://evil-localhost",
            "http://127.0.0.1.evil.example",
            "http://localhost@evil.example",
            "http://128.0.0.1",
            "http://0.0.0.0",
            "http://[::2]",
            "http://[::ffff:127.0.0.1]",
            "chrome-extension://localhost",
            "file://",
        ] {
            assert_eq!(check(&headers(&[origin])), Err(ForeignOrigin), "{origin}");
        }
        assert_eq!(
            check(&headers(&["http://localhost", "https://evil.example"])),
            Err(ForeignOrigin),
            "two origins"
        );
    }
}
