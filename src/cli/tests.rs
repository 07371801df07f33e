//! The commands as a whole, on an outside made of values.

use std::io::{self, Read as _, Write};
use std::net::TcpListener;
use std::process::ExitCode;

use super::{CommandLine, Outside, run};
use crate::config::{Environment, settings};
use clap::CommandFactory as _;

struct Answer {
    code: ExitCode,
    stdout: String,
    stderr: String,
}

fn cli(arguments: &[&str], vars: &[(&str, &str)]) -> Answer {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut outside = Outside {
        environment: vars.iter().copied().collect(),
        cores: 2,
        stdout: &mut stdout,
        stderr: &mut stderr,
    };
    let arguments = ["macp-auth-service"].iter().chain(arguments);
    let code = run(arguments.map(Into::into), &mut outside);
    Answer {
        code,
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

#[test]
fn the_command_line_is_consistent() {
    CommandLine::command().debug_assert();
}

#[test]
fn help_and_version_are_answers_and_a_wrong_line_is_not() {
    for (arguments, code, on_stdout) in [
        (&["--help"][..], 0, true),
        (&["--version"], 0, true),
        (&["keys", "generate", "--help"], 0, true),
        (&["keys"], 2, false),
        (&["mint"], 2, false),
        (&["config", "--json", "--markdown"], 2, false),
        (&["keys", "generate", "--activate-in", "5"], 2, false),
        (
            &["keys", "generate", "--now", "--activate-in", "5m"],
            2,
            false,
        ),
        (&["keys", "rotate", "--now"], 2, false),
        (&["keys", "revoke-bound"], 2, false),
        // A thumbprint may begin so.
        (&["keys", "revoke-bound", "-6SC3Qoqn87h"], 1, false),
        (&["keys", "generate", "--alg", "HS256"], 2, false),
        (
            &[
                "keys",
                "generate",
                "--alg",
                "ES256",
                "--activate-at",
                "soon",
            ],
            2,
            false,
        ),
    ] {
        let answer = cli(arguments, &[]);
        assert_eq!(answer.code, ExitCode::from(code), "{arguments:?}");
        assert_eq!(answer.stdout.is_empty(), !on_stdout, "{arguments:?}");
        assert_eq!(answer.stderr.is_empty(), on_stdout, "{arguments:?}");
    }
    let help = cli(&["--help"], &[]).stdout;
    for word in [
        "serve",
        "keys",
        "jwks",
        "healthcheck",
        "config",
        "Exit codes",
    ] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn config_shows_every_variable_and_no_secret() {
    let vars = [
        ("MACP_AUTH_SIGNING_KEY_JSON", "{\"d\":\"5ecret\"}"),
        ("MACP_AUTH_PKCS11_PIN", "5ecret"),
        (
            "MACP_AUTH_PKCS11_URI",
            "pkcs11:token=here?module-path=/m&pin-value=5ecret",
        ),
        ("MACP_AUTH_ISSUER", "me\u{1b}[2J"),
    ];
    for arguments in [&["config"][..], &["config", "--json"]] {
        let answer = cli(arguments, &vars);
        let text = &answer.stdout;

        for setting in settings::SETTINGS {
            assert!(text.contains(setting.name), "{}", setting.name);
        }
        assert!(text.contains("token=here"), "{text}");
        assert!(!text.contains("5ecret"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert_eq!(answer.code, ExitCode::from(1), "two sources of keys");
    }
    let broken = cli(
        &["config"],
        &[("MACP_AUTH_PKCS11_URI", "pkcs11:token=a;pin-value=5ecret")],
    );
    assert!(!broken.stdout.contains("5ecret"), "{}", broken.stdout);
}

#[test]
fn config_succeeds_where_the_service_would_start() {
    let answer = cli(&["config", "--json"], &[("PORT", "4000")]);
    let value: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();

    assert_eq!(answer.code, ExitCode::SUCCESS);
    assert_eq!(value["variables"][0]["name"], "PORT");
    assert_eq!(value["variables"][0]["value"], "4000");
    assert_eq!(value["problems"], serde_json::json!([]));
    assert_eq!(value["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn a_reader_that_went_away_is_no_panic() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    for command in ["config", "--help"] {
        let mut stderr = Vec::new();
        let mut outside = Outside {
            environment: Environment::default(),
            cores: 2,
            stdout: &mut Gone,
            stderr: &mut stderr,
        };
        let code = run(["x".into(), command.into()], &mut outside);

        assert_eq!(code, ExitCode::from(1), "{command}");
        assert!(stderr.is_empty(), "{command}");
    }
}

/// Answers one request with these bytes.
fn answering(answer: &'static [u8]) -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 512];
        let length = stream.read(&mut request).unwrap();
        stream.write_all(answer).unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (port, server)
}

#[test]
fn a_healthcheck_succeeds_on_200_alone() {
    for (name, answer, code) in [
        ("ok", &b"HTTP/1.1 200 OK\r\n\r\n{}"[..], 0),
        ("old", b"HTTP/1.0 200 OK\r\n\r\n", 0),
        ("not ready", b"HTTP/1.1 503 Service Unavailable\r\n\r\n", 1),
        ("redirect", b"HTTP/1.1 302 Found\r\n\r\n", 1),
        ("not HTTP", b"SSH-2.0-OpenSSH_9.2\r\n", 1),
        ("nothing", b"", 1),
    ] {
        let (port, server) = answering(answer);
        let port = port.to_string();
        let result = cli(&["healthcheck"], &[("PORT", &port)]);

        let request = server.join().unwrap();
        assert!(request.starts_with("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:"));
        assert_eq!(result.code, ExitCode::from(code), "{name}");
        assert_eq!(result.stderr.lines().count(), usize::from(code), "{name}");
    }
}

#[test]
fn a_healthcheck_asks_the_url_that_it_is_given() {
    let (port, server) = answering(b"HTTP/1.1 200 OK\r\n\r\n");
    let url = format!("http://127.0.0.1:{port}/readyz?for=jwks");
    let result = cli(&["healthcheck", &url], &[("PORT", "broken")]);

    assert!(
        server
            .join()
            .unwrap()
            .starts_with("GET /readyz?for=jwks HTTP/1.1\r\n")
    );
    assert_eq!(result.code, ExitCode::SUCCESS);
}

#[test]
fn a_healthcheck_that_cannot_ask_says_why_in_one_line() {
    for (arguments, vars, word) in [
        (&["https://127.0.0.1/healthz"][..], &[][..], "https"),
        (&["127.0.0.1:3200"], &[], "http://host:port"),
        (&["http://user:secret@host/"], &[], "http://host:port"),
        (&["http://127.0.0.1:99999/"], &[], "http://host:port"),
        (&["http:///healthz"], &[], "http://host:port"),
        (&["http://127.0.0.1:1/x\r\ny"], &[], "http://host:port"),
        (&[], &[("PORT", "0")], "PORT is 0"),
    ] {
        let arguments: Vec<_> = ["healthcheck"].iter().chain(arguments).copied().collect();
        let result = cli(&arguments, vars);

        assert_eq!(result.code, ExitCode::from(1), "{arguments:?}");
        assert_eq!(result.stderr.lines().count(), 1, "{}", result.stderr);
        assert!(result.stderr.contains(word), "{}", result.stderr);
        assert!(!result.stderr.contains("secret"));
    }
}
