//! `GET /metrics`: what alerts are made of, in OpenMetrics text, made anew for each scrape.
//!
//! Few series, and bounded: kinds and states are there always, with 0; tokens are those of the configuration; of kids only
//! the one that signs. A time that does not exist has no series.

use prometheus_client::encoding::text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::Report;
use crate::clock::UnixSeconds;
use crate::keys::AlarmKind;
use crate::keys::board::{REVOKED, Role};

const PREFIX: &str = "macp_auth";

type Label = [(&'static str, String); 1];

/// # Errors
/// Those of writing to a string: none.
pub(super) fn text(report: &Report) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    service(&mut registry, report);
    keys(&mut registry, report);
    tokens(&mut registry, report);
    verifiers(&mut registry, report);
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

fn service(registry: &mut Registry, report: &Report) {
    let build = [
        ("version", report.version.to_owned()),
        ("key_source", report.source.to_owned()),
        ("rules_digest", report.overview.rules_digest.clone()),
    ];
    registry.register("build", "What runs here", Info::new(build));
    let ready = family(
        registry,
        "ready",
        "1: requests of this kind may be sent here",
    );
    for (purpose, readiness) in [("mint", &report.mint), ("jwks", &report.jwks)] {
        set(&ready, "for", purpose, i64::from(readiness.ready));
    }
    let alarms = family(
        registry,
        "alarms",
        "Alarms by kind; see /status for their texts",
    );
    for kind in AlarmKind::ALL {
        let raised = report.overview.alarms.iter();
        let raised = raised.filter(|alarm| alarm.kind == kind).count();
        set(&alarms, "kind", kind.name(), whole(raised));
    }
}

fn keys(registry: &mut Registry, report: &Report) {
    let overview = &report.overview;
    let states = family(registry, "keys", "Keys by state");
    for state in Role::ALL.map(Role::name).into_iter().chain([REVOKED]) {
        let keys = overview.keys.iter().filter(|key| key.state() == state);
        set(&states, "state", state, whole(keys.count()));
    }
    let signing = overview.signing.as_ref();
    let signing = signing.and_then(|kid| overview.keys.iter().find(|key| key.key.kid() == kid));
    if let Some(key) = signing {
        let labels = [
            ("kid", key.key.kid().as_str().to_owned()),
            ("algorithm", key.key.algorithm().name().to_owned()),
        ];
        registry.register(
            "signing_key",
            "The key that signs now; none: mints are refused",
            Info::new(labels),
        );
    }
    let published = overview.keys.iter().filter(|key| key.published).count();
    gauge(registry, "jwks_keys", "Keys in the JWKS", whole(published));
    let until = |at: UnixSeconds| whole(at.get().saturating_sub(overview.now.get()));
    if let Some(at) = overview.next_switch() {
        seconds(
            registry,
            "next_switch",
            "Until the next prepared key signs",
            until(at),
        );
    }
    if let Some(at) = overview.next_removal() {
        seconds(
            registry,
            "next_removal",
            "Until the next key is withdrawn from the JWKS",
            until(at),
        );
    }
}

fn tokens(registry: &mut Registry, report: &Report) {
    let overview = &report.overview;
    let ready = family(registry, "token_ready", "1: the token signs");
    let age = Family::<Label, Gauge>::default();
    registry.register_with_unit(
        "token_look_age",
        "Since the last complete look at the token",
        Unit::Seconds,
        age.clone(),
    );
    for look in &overview.looks {
        let name = look.token.as_str();
        let well = look.health.as_ref().is_some_and(|health| health.ready);
        set(&ready, "token", name, i64::from(well));
        if let Some(at) = look.at {
            let ago = overview.now.get().saturating_sub(at.get());
            set(&age, "token", name, whole(ago));
        }
    }
}

fn verifiers(registry: &mut Registry, report: &Report) {
    let recent = || {
        report
            .overview
            .verifiers
            .iter()
            .filter(|verifier| verifier.recent)
    };
    let lacking = recent().filter(|verifier| !verifier.is_current());
    gauge(
        registry,
        "verifiers_seen",
        "Addresses that fetched the JWKS here in the last two lives of their copy",
        whole(recent().count()),
    );
    gauge(
        registry,
        "verifiers_lacking",
        "Of these, the ones that lack a key that is published now",
        whole(lacking.count()),
    );
}

fn family(registry: &mut Registry, name: &str, help: &str) -> Family<Label, Gauge> {
    let family = Family::<Label, Gauge>::default();
    registry.register(name, help, family.clone());
    family
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn seconds(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(value);
    registry.register_with_unit(name, help, Unit::Seconds, gauge);
}

fn set(family: &Family<Label, Gauge>, label: &'static str, of: &str, value: i64) {
    family.get_or_create(&[(label, of.to_owned())]).set(value);
}

fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{EVIL, report};
    use super::*;

    fn lines() -> Vec<String> {
        let text = text(&report()).unwrap();
        assert!(text.ends_with("# EOF\n"), "{text}");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_alerts_need_is_there_by_name() {
        let lines = lines();
        for want in [
            r#"macp_auth_ready{for="mint"} 1"#,
            r#"macp_auth_ready{for="jwks"} 1"#,
            r#"macp_auth_alarms{kind="look"} 1"#,
            r#"macp_auth_keys{state="PREPARED"} 1"#,
            r#"macp_auth_keys{state="TOMBSTONE"} 0"#,
            r#"macp_auth_keys{state="REVOKED"} 0"#,
            r#"macp_auth_signing_key_info{kid="active",algorithm="ES256"} 1"#,
            "macp_auth_jwks_keys 3",
            "macp_auth_next_switch_seconds 3600",
            "macp_auth_next_removal_seconds 3000",
            r#"macp_auth_token_ready{token="/module.so label \"b\""} 0"#,
            "macp_auth_verifiers_seen 2",
            "macp_auth_verifiers_lacking 1",
        ] {
            assert!(lines.iter().any(|line| line == want), "{want}: {lines:#?}");
        }
        let age = format!(r#"macp_auth_token_look_age_seconds{{token="/module.so {EVIL}"}} 12"#);
        assert!(lines.contains(&age), "{lines:#?}");
    }

    #[test]
    fn a_revoked_key_counts_as_revoked_and_as_nothing_else() {
        let mut report = report();
        let mut active = report.overview.keys.iter_mut();
        active.find(|key| key.state() == "ACTIVE").unwrap().revoked = true;

        let text = text(&report).unwrap();
        for want in [
            r#"macp_auth_keys{state="ACTIVE"} 0"#,
            r#"macp_auth_keys{state="REVOKED"} 1"#,
        ] {
            assert!(text.lines().any(|line| line == want), "{want}: {text}");
        }
    }

    #[test]
    fn every_kind_of_alarm_has_a_series_before_it_is_raised() {
        let lines = lines();
        for kind in AlarmKind::ALL {
            let start = format!("macp_auth_alarms{{kind=\"{}\"}} ", kind.name());
            assert_eq!(
                lines.iter().filter(|line| line.starts_with(&start)).count(),
                1
            );
        }
    }
}
