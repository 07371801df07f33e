//! Paths, methods, and the headers of the published key set.

use std::collections::BTreeSet;

use super::service;
use crate::harness::Launch;

const JWKS: &str = "/.well-known/jwks.json";

#[test]
fn known_paths_answer_with_and_without_a_trailing_slash_and_a_query() {
    let service = service();
    for (method, path, body) in [
        ("GET", "/healthz", Some(r#"{"ok":true}"#)),
        ("GET", "/healthz/", Some(r#"{"ok":true}"#)),
        ("GET", "/healthz?verbose=1", Some(r#"{"ok":true}"#)),
        ("HEAD", "/healthz", Some("")),
        ("HEAD", "/healthz/", Some("")),
        ("GET", JWKS, None),
        ("GET", "/.well-known/jwks.json/", None),
        ("GET", "/.well-known/jwks.json?kid=x", None),
        ("HEAD", JWKS, Some("")),
        ("GET", "/readyz", None),
        ("GET", "/readyz/", None),
        ("GET", "/readyz?for=mint", None),
        ("GET", "/readyz?for=jwks", None),
        ("HEAD", "/readyz", Some("")),
    ] {
        let answer = service.request(method, path, &[], b"");

        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        let media = answer.header("content-type").unwrap_or_default();
        assert!(
            media.starts_with("application/json"),
            "{method} {path}: {media}"
        );
        if let Some(body) = body {
            assert_eq!(answer.text(), body, "{method} {path}");
        }
    }
    for path in ["/tokens", "/tokens/", "/tokens?ttl_seconds=5"] {
        let headers = [("Content-Type", "application/json")];
        let answer = service.request("POST", path, &headers, br#"{"sender":"a"}"#);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.json()["expires_in_seconds"], 300, "{path}");
    }
}

#[test]
fn anything_else_is_not_found_by_whatever_method() {
    let service = service();
    for path in [
        "/",
        "/x",
        "/token",
        "/tokens/x",
        "/tokens//",
        "//tokens",
        "/tokens.json",
        "/healthzz",
        "/healthz/live",
        "/.well-known",
        "/.well-known/",
        "/.well-known/jwks",
        "/.well-known/jwks.json/x",
        "/.well-known/openid-configuration",
        "/%74okens",
        "/metrics",
        "/status",
        "/favicon.ico",
        "/../tokens",
        "/tokens%2f",
        "/a?x=/tokens",
        "/%ff",
        "/%00",
    ] {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            let answer = service.request(method, path, &[], b"");
            let shown = format!("{method} {path}");

            assert_eq!(answer.status, 404, "{shown}");
            assert_eq!(answer.text(), r#"{"error":"not found"}"#, "{shown}");
            answer.error();
        }
    }
    let head = service.request("HEAD", "/nowhere", &[], b"");
    assert_eq!((head.status, head.body.len()), (404, 0));
}

#[test]
fn other_letter_case_is_a_known_path_or_not_found_but_never_a_page() {
    let service = service();
    for path in ["/HEALTHZ", "/Healthz", "/.Well-Known/JWKS.json"] {
        let answer = service.get(path);

        assert!(
            [200, 404].contains(&answer.status),
            "{path}: {}",
            answer.status
        );
        answer.json();
    }
}

#[test]
fn a_known_path_with_another_method_names_the_methods_it_takes() {
    let service = service();
    let read: BTreeSet<_> = ["GET", "HEAD"].into();
    let rows = [
        (
            "/healthz",
            &["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"][..],
            read.clone(),
        ),
        ("/healthz/", &["POST"], read.clone()),
        (
            JWKS,
            &["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"],
            read.clone(),
        ),
        ("/readyz", &["POST", "DELETE"], read),
        (
            "/tokens",
            &[
                "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "post", "X-MINT",
            ],
            ["POST"].into(),
        ),
        ("/tokens/", &["GET"], ["POST"].into()),
    ];
    for (path, methods, allowed) in rows {
        for method in methods {
            let answer = service.request(method, path, &[], b"");
            let shown = format!("{method} {path}");

            assert_eq!(answer.status, 405, "{shown}");
            let allow: BTreeSet<_> = answer.header("allow").unwrap().split(", ").collect();
            assert_eq!(allow, allowed, "{shown}");
            if *method != "HEAD" {
                assert_eq!(
                    answer.text(),
                    r#"{"error":"method not allowed"}"#,
                    "{shown}"
                );
            }
        }
    }
}

#[test]
fn the_key_set_can_be_cached_and_asked_for_again() {
    let service = service();
    let whole = service.get(JWKS);
    let tag = whole.header("etag").unwrap();

    assert!(
        tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2,
        "no strong tag: {tag}"
    );
    assert_eq!(
        whole.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(whole.header("cache-control"), Some("public, max-age=60"));
    assert_eq!(
        service.get(JWKS).header("etag"),
        Some(tag),
        "the tag changed"
    );

    let head = service.request("HEAD", JWKS, &[], b"");
    for name in ["etag", "content-type", "cache-control", "content-length"] {
        assert_eq!(head.header(name), whole.header(name), "{name} of HEAD");
    }
    assert_eq!(
        head.header("content-length"),
        Some(whole.body.len().to_string().as_str())
    );
}

#[test]
fn a_matching_tag_is_answered_with_304() {
    let service = service();
    let tag = service.get(JWKS).header("etag").unwrap().to_owned();
    let bare = tag.trim_matches('"');
    for (name, value, status) in [
        ("the tag", tag.clone(), 304),
        ("its weak form", format!("W/{tag}"), 304),
        ("in a list", format!("\"a\", {tag},\"b\""), 304),
        ("any", "*".to_owned(), 304),
        ("another", "\"a\"".to_owned(), 200),
        ("a longer one", format!("\"{bare}x\""), 200),
        ("not quoted", bare.to_owned(), 200),
        ("empty", String::new(), 200),
        ("rubbish", "\"".to_owned(), 200),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = service.request(method, JWKS, &[("If-None-Match", &value)], b"");

            assert_eq!(answer.status, status, "{method} {name}");
            assert_eq!(answer.header("etag"), Some(tag.as_str()), "{method} {name}");
            if status == 304 {
                assert_eq!(
                    answer.header("cache-control"),
                    Some("public, max-age=60"),
                    "{name}"
                );
                assert!(answer.body.is_empty(), "{name}");
            }
        }
    }
}

#[test]
fn the_age_of_the_key_set_is_configured() {
    let service = Launch::ephemeral("ES256")
        .set("MACP_AUTH_JWKS_MAX_AGE_SECONDS", "5")
        .start();

    assert_eq!(
        service.get(JWKS).header("cache-control"),
        Some("public, max-age=5")
    );
}

#[test]
fn a_minted_token_is_never_stored_by_a_cache_and_names_no_software() {
    let service = service();
    for body in [r#"{"sender":"a"}"#, "{}"] {
        let answer = service.post(body);

        let media = answer.header("content-type").unwrap();
        assert!(media.starts_with("application/json"), "{body}: {media}");
        assert_eq!(answer.header("etag"), None, "{body}");
        assert_eq!(answer.header("x-powered-by"), None, "{body}");
        assert_eq!(answer.header("server"), None, "{body}");
        assert!(answer.header("content-length").is_some(), "{body}");
    }
    let minted = service.post(r#"{"sender":"a"}"#);
    assert_eq!(minted.header("cache-control"), Some("no-store"));
}

#[test]
fn a_ready_service_names_its_parts() {
    let answer = service().get("/readyz");

    assert_eq!(answer.status, 200);
    assert!(answer.json().is_object(), "{}", answer.text());
}
