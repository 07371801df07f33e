//! A headless chromium, driven over the WebDriver protocol: plain JSON over HTTP.
//!
//! Each browser has an empty profile, reaches no host but this machine, and is gone with the value.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::Connection;
use super::precondition::tools;
use super::service::PATIENCE;
use super::until;

/// One page in one browser.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

/// `prefers-color-scheme`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Light,
    Dark,
}

impl Browser {
    /// None where it is not installed: said in one line, and a failure where CI=true.
    pub fn open() -> Option<Self> {
        // What is missing ends the process, and would leave a browser behind.
        tools();
        let found = program(&["chromedriver"]).zip(program(&["chromium", "chromium-browser"]));
        let Some((driver, chromium)) = found else {
            let line = "the browser test needs chromium and chromedriver, which are not here: run softhsm/install.sh test";
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{line}");
            eprintln!("{line}");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let (driver, port) = start(&driver, profile.path());
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            _profile: profile,
        };
        browser.begin(&chromium);
        Some(browser)
    }

    fn begin(&mut self, chromium: &Path) {
        let profile = self._profile.path().join("profile");
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": chromium, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let begun = self.ask("POST", "/session", &wanted);
        self.session = begun["sessionId"].as_str().unwrap().to_owned();
    }

    pub fn load(&self, url: &str) {
        self.tell("/url", &json!({ "url": url }));
    }

    /// Runs the body of a function in the page; what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.tell("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The window, in pixels of the page.
    pub fn resize(&self, width: u32, height: u32) {
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}),
        );
    }

    pub fn prefer(&self, scheme: Scheme) {
        let value = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let feature = json!({"name": "prefers-color-scheme", "value": value});
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({"features": [feature]}),
        );
    }

    /// PNG of what the window shows.
    pub fn picture(&self) -> Vec<u8> {
        let picture = self.ask("GET", &self.path("/screenshot"), &Value::Null);
        let text = picture.as_str().unwrap();
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap()
    }

    /// Everything that the browser has said about the page since it was last asked.
    pub fn log(&self) -> Vec<Value> {
        let log = self.tell("/se/log", &json!({"type": "browser"}));
        log.as_array().unwrap().clone()
    }

    fn devtools(&self, command: &str, params: &Value) {
        self.tell(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": params}),
        );
    }

    fn tell(&self, what: &str, body: &Value) -> Value {
        self.ask("POST", &self.path(what), body)
    }

    fn path(&self, what: &str) -> String {
        format!("/session/{}{what}", self.session)
    }

    /// Asked again where the page renewed itself under the question: the driver gives up on a page that goes away.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let json = [("Content-Type", "application/json")];
        until(path, PATIENCE, || {
            let answer = Connection::open(self.port).request(method, path, &json, &body);
            let text = answer.text();
            if answer.status != 200 && PAGE_WENT_AWAY.iter().any(|sign| text.contains(sign)) {
                return None;
            }
            assert_eq!(answer.status, 200, "{method} {path}: {text}");
            Some(answer.json()["value"].clone())
        })
    }
}

/// What chromedriver 156 says of it, alone or within another error: measured on pages that renew themselves every 0.3 s.
const PAGE_WENT_AWAY: [&str; 2] = ["aborted by navigation", "no such execution context"];

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser with the session; what is left of the group goes by its number.
        if !self.session.is_empty()
            && let Ok(mut connection) = Connection::try_open([127, 0, 0, 1].into(), self.port)
        {
            let end = format!(
                "DELETE {} HTTP/1.1\r\nHost: localhost\r\n\r\n",
                self.path("")
            );
            if connection.try_send(end).is_ok() {
                let _ = connection.answer();
            }
        }
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.driver.wait();
    }
}

/// On a port of the system's choice, which it tells.
fn start(driver: &Path, home: &Path) -> (Child, u16) {
    let mut child = Command::new(driver)
        .arg("--port=0")
        .env("HOME", home)
        .env("TMPDIR", home)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, rest) = line.split_once("started successfully on port ")?;
        rest.trim_end_matches('.').parse().ok()
    });
    // It may say more, and must not be stopped by a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (child, port.expect("chromedriver names no port"))
}

fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let candidates = names.iter().flat_map(|name| {
        directories
            .iter()
            .map(move |directory| directory.join(name))
    });
    candidates.into_iter().find(|file| file.is_file())
}
