//! What commands show of keys, service and configuration: `keys list`, `jwks`, `healthcheck`, `config`, `--help`, `--version`.

use super::{all, json};
use crate::harness::jwt::thumbprint;
use crate::harness::{Jwks, KeyPair, Launch, SoftHsm};

#[test]
fn list_shows_each_key_under_the_prefix_and_why_one_is_not_used() {
    let hsm = SoftHsm::new();
    hsm.make(&KeyPair {
        label: "macp-jwt-20250101T000000Z",
        id: "01",
        ..KeyPair::RSA
    });
    hsm.make(&KeyPair {
        label: "macp-jwt-29990101T000000Z",
        id: "02",
        ..KeyPair::EC
    });
    hsm.make(&KeyPair {
        label: "macp-jwt",
        id: "03",
        kind: "EC:secp384r1",
        more: &[],
    });
    hsm.make(&KeyPair {
        label: "foreign",
        id: "04",
        ..KeyPair::EC
    });
    let kids = hsm.launch().start().jwks().kids();
    assert_eq!(kids.len(), 2);

    let table = hsm.launch().arguments(&["keys", "list"]).run();
    let machine = hsm.launch().arguments(&["keys", "list", "--json"]).run();
    assert_eq!(
        (table.code, machine.code),
        (Some(0), Some(0)),
        "{table:?} {machine:?}"
    );
    json(&machine.stdout);
    for out in [&table.stdout, &machine.stdout] {
        for kid in &kids {
            assert!(out.contains(kid), "{kid}: {out}");
        }
        for said in [
            "macp-jwt-20250101T000000Z",
            "macp-jwt-29990101T000000Z",
            "RS256",
            "ES256",
            "P-384",
        ] {
            assert!(out.contains(said), "{said}: {out}");
        }
        assert!(!out.contains("foreign"), "{out}");
    }
}

#[test]
fn list_of_an_empty_token_says_so() {
    let hsm = SoftHsm::new();
    let machine = hsm.launch().arguments(&["keys", "list", "--json"]).run();

    assert_eq!(machine.code, Some(0), "{machine:?}");
    assert!(all(&json(&machine.stdout), "kid").is_empty());
}

#[test]
fn jwks_prints_what_the_service_publishes() {
    let hsm = SoftHsm::with_key("RS256");
    hsm.generate(&["--alg", "ES256", "--activate-at", "29990101T000000Z"]);
    let printed = hsm.launch().arguments(&["jwks"]).run();
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let served = hsm.launch().start().jwks();

    assert_eq!(printed.stdout.trim_end(), served.text);
    for key in Jwks::parse(&printed.stdout).keys {
        assert_eq!(key["kid"], thumbprint(&key));
    }
}

#[test]
fn jwks_of_a_pinned_key_is_its_public_half() {
    let launch = Launch::ephemeral("ES256").set(
        "MACP_AUTH_SIGNING_KEY_JSON",
        crate::harness::vectors::RFC7515_A3_KEY,
    );
    let printed = launch.clone().arguments(&["jwks"]).run();

    assert_eq!(printed.code, Some(0), "{printed:?}");
    assert_eq!(printed.stdout.trim_end(), launch.start().jwks().text);
}

#[test]
fn healthcheck_tells_by_its_exit_code() {
    let service = Launch::ephemeral("ES256").start();
    let base = format!("http://127.0.0.1:{}", service.port());
    let check = |url: &str| Launch::new().arguments(&["healthcheck", url]).run();

    assert_eq!(check(&format!("{base}/healthz")).code, Some(0));
    assert_eq!(check(&format!("{base}/readyz")).code, Some(0));
    assert_eq!(check(&format!("{base}/nowhere")).code, Some(1));
    let by_port = Launch::new()
        .set("PORT", service.port().to_string())
        .arguments(&["healthcheck"])
        .run();
    assert_eq!(by_port.code, Some(0), "{by_port:?}");
    drop(service);
    let gone = check(&format!("{base}/healthz"));
    assert_eq!(gone.code, Some(1));
    assert!(!gone.stderr.is_empty());
}

#[test]
fn healthcheck_of_a_service_without_its_token_is_good() {
    let hsm = SoftHsm::without_token();
    let service = hsm.launch().start();
    let check = |path: &str| {
        let url = format!("http://127.0.0.1:{}{path}", service.port());
        Launch::new().arguments(&["healthcheck", &url]).run().code
    };

    assert_eq!(check("/healthz"), Some(0));
    assert_eq!(check("/readyz"), Some(1));
}

#[test]
fn config_shows_every_variable_and_no_secret() {
    let launch = Launch::new()
        .set("MACP_AUTH_ISSUER", "https://auth.example")
        .set("MACP_AUTH_SIGNING_ALG", "ES256")
        .set(
            "MACP_AUTH_SIGNING_KEY_JSON",
            crate::harness::vectors::RFC7515_A3_KEY,
        )
        .secret("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI");
    let table = launch.clone().arguments(&["config"]).run();
    let machine = launch.arguments(&["config", "--json"]).run();

    assert_eq!((table.code, machine.code), (Some(0), Some(0)), "{table:?}");
    json(&machine.stdout);
    for name in [
        "PORT",
        "MACP_AUTH_ISSUER",
        "https://auth.example",
        "MACP_AUTH_PKCS11_URI",
        "MACP_AUTH_SIGN_TIMEOUT_MS",
        "3000",
    ] {
        assert!(
            table.stdout.contains(name) && machine.stdout.contains(name),
            "{name}: {}",
            table.stdout
        );
    }

    let hidden = Launch::new()
        .set(
            "MACP_AUTH_PKCS11_URI",
            "pkcs11:token=x?module-path=/nowhere.so&pin-value=hunter2-hunter2",
        )
        .secret("hunter2-hunter2")
        .arguments(&["config"])
        .run();
    assert!(hidden.stdout.contains("MACP_AUTH_PKCS11_URI"), "{hidden:?}");
}

#[test]
fn config_names_all_problems_and_fails() {
    let outcome = Launch::new()
        .set("MACP_AUTH_SIGNING_ALG", "HS256")
        .set("MACP_AUTH_PKCS11_MODUL", "/x.so")
        .arguments(&["config"])
        .run();

    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let all = outcome.stdout + &outcome.stderr;
    assert!(
        all.contains("must be RS256 or ES256") && all.contains("MACP_AUTH_PKCS11_MODULE"),
        "{all}"
    );
}

#[test]
fn help_and_version_need_no_configuration() {
    for (arguments, said) in [
        (&["--version"][..], env!("CARGO_PKG_VERSION")),
        (&["--help"], "keys"),
        (&["keys", "--help"], "generate"),
        (&["keys", "generate", "--help"], "--activate-at"),
    ] {
        let outcome = Launch::new()
            .set("MACP_AUTH_SIGNING_ALG", "HS256")
            .arguments(arguments)
            .run();
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
        assert!(
            outcome.stdout.contains(said),
            "{arguments:?}: {}",
            outcome.stdout
        );
    }
    for arguments in [
        &["nonsense"][..],
        &["--nonsense"],
        &["keys"],
        &["serve", "x"],
    ] {
        let outcome = Launch::new().arguments(arguments).run();
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{arguments:?}");
    }
}
