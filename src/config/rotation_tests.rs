//! Rotation and the admin listener: their defaults, where each value arrives, and every bad one. The sums are in
//! rotation_sums_tests.rs.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::tests::{LABEL, MODULE, URI, assert_refused, parsed};
use super::*;
use crate::jose::Kid;
use crate::keys::rules::DEFAULT_LEAD;

pub(super) const POLL: &str = "MACP_AUTH_KEY_POLL_SECONDS";
pub(super) const LEAD: &str = "MACP_AUTH_KEY_LEAD_SECONDS";
pub(super) const RETAIN: &str = "MACP_AUTH_KEY_RETAIN_SECONDS";
pub(super) const VERIFIER_TTL: &str = "MACP_AUTH_VERIFIER_TTL_SECONDS";
pub(super) const SKEW: &str = "MACP_AUTH_CLOCK_SKEW_SECONDS";
pub(super) const MAX_AGE: &str = "MACP_AUTH_JWKS_MAX_AGE_SECONDS";
pub(super) const MAX_TTL: &str = "MACP_AUTH_MAX_TTL_SECONDS";
const REVOKED: &str = "MACP_AUTH_REVOKED_KIDS";
const SCHEDULE: &str = "MACP_AUTH_KEY_SCHEDULE_FILE";
const ADMIN: &str = "MACP_AUTH_ADMIN_ADDR";
const FIXED_KEY: &str = "pkcs11:token=a;object=k?module-path=/m";

pub(super) fn rotation(rows: &[(&str, &str)]) -> RotationConfig {
    parsed(rows).unwrap().config.rotation
}

#[test]
fn nothing_set_is_the_documented_default() {
    let config = parsed(&[]).unwrap().config;

    assert_eq!(
        config.rotation.rules,
        Rules {
            poll: 30,
            jwks_max_age: 60,
            verifier_ttl: 300,
            skew: 30,
            max_ttl: 3600,
            lead: DEFAULT_LEAD,
            retain: 4800,
            unsafe_timing: false,
        }
    );
    assert_eq!(config.rotation.files.schedule_file, None);
    assert_eq!(config.rotation.files.revoked, BTreeSet::new());
    assert_eq!(config.rotation.files.revoked_file, None);
    assert_eq!(config.rotation.files.extra_jwks_file, None);
    assert!(!config.rotation.after_convergence);
    assert_eq!(config.admin, None);
}

#[test]
fn every_value_arrives_where_it_belongs() {
    let parsed = parsed(&[
        MODULE,
        LABEL,
        (POLL, "1"),
        (MAX_AGE, "2"),
        (VERIFIER_TTL, "3"),
        (SKEW, "4"),
        (MAX_TTL, "500"),
        (LEAD, "60"),
        (RETAIN, "700"),
        (SCHEDULE, "/etc/schedule.toml"),
        ("MACP_AUTH_REVOKED_KIDS_FILE", "/etc/revoked"),
        ("MACP_AUTH_EXTRA_JWKS_FILE", "/etc/extra.json"),
        ("MACP_AUTH_ACTIVATE_AFTER_CONVERGENCE", "1"),
    ])
    .unwrap();

    assert_eq!(parsed.warnings, Vec::<String>::new());
    let rotation = parsed.config.rotation;
    assert_eq!(
        rotation.rules,
        Rules {
            poll: 1,
            jwks_max_age: 2,
            verifier_ttl: 3,
            skew: 4,
            max_ttl: 500,
            lead: 60,
            retain: 700,
            unsafe_timing: false,
        }
    );
    let named = |path: &Option<PathBuf>| path.as_deref().and_then(Path::to_str).map(str::to_owned);
    assert_eq!(
        named(&rotation.files.schedule_file).as_deref(),
        Some("/etc/schedule.toml")
    );
    assert_eq!(
        named(&rotation.files.revoked_file).as_deref(),
        Some("/etc/revoked")
    );
    assert_eq!(
        named(&rotation.files.extra_jwks_file).as_deref(),
        Some("/etc/extra.json")
    );
    assert!(rotation.after_convergence);
}

#[test]
fn a_file_is_named_from_the_root() {
    for name in [
        SCHEDULE,
        "MACP_AUTH_REVOKED_KIDS_FILE",
        "MACP_AUTH_EXTRA_JWKS_FILE",
        "MACP_AUTH_STATE_DIR",
    ] {
        for bad in ["file", "./file", "../file", " /file", "~/file"] {
            assert_refused(&[(bad, &[MODULE, LABEL, (name, bad)], name, |fault| {
                matches!(fault, Fault::RelativePath { .. })
            })]);
        }
        assert!(parsed(&[MODULE, LABEL, (name, "/file")]).is_ok(), "{name}");
    }
}

#[test]
fn a_schedule_is_for_tokens_whose_keys_no_uri_fixes() {
    const TWO: &str = "pkcs11:token=a?module-path=/m pkcs11:token=b;id=%01?module-path=/m";
    let state = ("MACP_AUTH_STATE_DIR", "/state");
    let schedule = (SCHEDULE, "/schedule");
    let both: fn(&Fault) -> bool =
        |fault| matches!(fault, Fault::Rotation(RotationFault::ScheduleAndFixedKey));
    assert_refused(&[
        ("object", &[(URI, FIXED_KEY), schedule], SCHEDULE, both),
        (
            "id of the second",
            &[(URI, TWO), state, schedule],
            SCHEDULE,
            both,
        ),
    ]);
    let free = [(URI, "pkcs11:token=a?module-path=/m"), schedule];
    assert_eq!(parsed(&free).unwrap().warnings, Vec::<String>::new());
    let idle = parsed(&[schedule]).unwrap().warnings;
    assert!(
        idle.iter()
            .any(|warning| warning.contains(SCHEDULE) && warning.contains("no effect")),
        "{idle:?}"
    );
}

#[test]
fn revoked_kids_are_separated_by_spaces_or_commas() {
    let kid = |name: &str| Kid::pinned(name.into()).unwrap();
    for text in ["a b", "a,b", " a ,\tb, ", "b\na", "a,,b a"] {
        assert_eq!(
            rotation(&[(REVOKED, text)]).files.revoked,
            BTreeSet::from([kid("a"), kid("b")]),
            "{text:?}"
        );
    }
    for bad in ["", " ", ",", " , "] {
        assert_refused(&[(bad, &[(REVOKED, bad)], REVOKED, |fault| {
            matches!(fault, Fault::Empty)
        })]);
    }
}

#[test]
fn the_admin_listener_has_an_address_and_a_port() {
    let one = |ip: IpAddr, port| AdminAddress {
        address: BindAddress::One(ip),
        port,
    };
    let localhost = |port| AdminAddress {
        address: BindAddress::Loopback,
        port,
    };
    for (text, want) in [
        ("localhost:9464", localhost(9464)),
        ("localhost:0", localhost(0)),
        ("127.0.0.2:65535", one([127, 0, 0, 2].into(), 65_535)),
        ("[::1]:9464", one(Ipv6Addr::LOCALHOST.into(), 9464)),
    ] {
        let parsed = parsed(&[MODULE, LABEL, (ADMIN, text)]).unwrap();
        assert_eq!(parsed.config.admin, Some(want), "{text}");
        assert_eq!(parsed.warnings, Vec::<String>::new(), "{text}");
    }
    for bad in [
        "9464",
        ":9464",
        "localhost",
        "localhost:",
        "localhost:x",
        "localhost:+1",
        "localhost: 1",
        "localhost:65536",
        "127.0.0.1",
        "256.0.0.1:1",
        "::1:9464",
        "[::1]",
        "[::1:9464",
        "[localhost]:1",
        "[127.0.0.1]:1",
        "[fe80::1%1]:1",
        "example.org:1",
        "http://localhost:1",
    ] {
        assert_refused(&[(bad, &[(ADMIN, bad)], ADMIN, |fault| {
            matches!(fault, Fault::Place { .. })
        })]);
    }
}

#[test]
fn an_admin_listener_that_others_reach_is_warned_of() {
    for (text, address) in [
        ("0.0.0.0:1", IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        ("[::]:1", Ipv6Addr::UNSPECIFIED.into()),
        ("10.0.0.1:1", [10, 0, 0, 1].into()),
    ] {
        let parsed = parsed(&[MODULE, LABEL, (ADMIN, text)]).unwrap();
        assert_eq!(
            parsed.config.admin.map(|admin| admin.address),
            Some(BindAddress::One(address))
        );
        assert!(
            matches!(&parsed.warnings[..], [one] if one.contains(ADMIN)),
            "{:?}",
            parsed.warnings
        );
    }
}
