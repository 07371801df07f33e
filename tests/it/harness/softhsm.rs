//! A throw-away SoftHSM2 with tokens of its own, and keys on them made by us or by pkcs11-tool.
//!
//! Its configuration reaches child processes alone: SoftHSM2 reads SOFTHSM2_CONF once a process.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::precondition::tools;
use super::service::{Launch, Refusal};

/// A directory with a configuration, tokens and a PIN file.
#[derive(Debug)]
pub struct SoftHsm {
    directory: TempDir,
}

/// The label of the one token, unless a test makes others.
pub const TOKEN: &str = "it-token";
/// Searched for in every log.
pub const PIN: &str = "user-4711-geheim";
pub const SO_PIN: &str = "officer-0815-geheim";

/// A pair for pkcs11-tool to make.
#[derive(Debug, Clone)]
pub struct KeyPair<'a> {
    /// `rsa:2048`, `EC:prime256v1`, …
    pub kind: &'a str,
    pub label: &'a str,
    /// CKA_ID in hex.
    pub id: &'a str,
    /// `--extractable`, `--always-auth`, …
    pub more: &'a [&'a str],
}

impl KeyPair<'static> {
    pub const RSA: Self = Self {
        kind: "rsa:2048",
        label: "macp-jwt",
        id: "01",
        more: &[],
    };
    pub const EC: Self = Self {
        kind: "EC:prime256v1",
        ..Self::RSA
    };
}

impl SoftHsm {
    /// With one token.
    pub fn new() -> Self {
        let hsm = Self::without_token();
        hsm.make_token(TOKEN);
        hsm
    }

    /// With a PIN file, but no token yet.
    pub fn without_token() -> Self {
        tools();
        let hsm = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(hsm.path("tokens")).unwrap();
        fs::write(
            hsm.path("softhsm2.conf"),
            format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
                hsm.path("tokens").display()
            ),
        )
        .unwrap();
        hsm.write_pin(PIN);
        hsm
    }

    /// With one token and a key that our own command made.
    pub fn with_key(algorithm: &str) -> Self {
        let hsm = Self::new();
        hsm.generate(&["--alg", algorithm]);
        hsm
    }

    pub fn make_token(&self, label: &str) {
        self.tool(
            "softhsm2-util",
            &[
                "--init-token",
                "--free",
                "--label",
                label,
                "--so-pin",
                SO_PIN,
                "--pin",
                PIN,
            ],
        );
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn module(&self) -> &'static Path {
        &tools().module
    }

    pub fn pin_file(&self) -> PathBuf {
        self.path("pin")
    }

    /// Into the PIN file, readable by its owner alone.
    pub fn write_pin(&self, pin: &str) {
        fs::write(self.pin_file(), format!("{pin}\n")).unwrap();
        self.set_pin_file_mode(0o600);
    }

    pub fn set_pin_file_mode(&self, mode: u32) {
        fs::set_permissions(self.pin_file(), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A service on this token.
    pub fn launch(&self) -> Launch {
        self.bare_launch()
            .set("MACP_AUTH_PKCS11_MODULE", self.module())
            .set("MACP_AUTH_PKCS11_TOKEN_LABEL", TOKEN)
            .set("MACP_AUTH_PKCS11_PIN_FILE", self.pin_file())
    }

    /// A service that finds this SoftHSM2, but is told of no token.
    pub fn bare_launch(&self) -> Launch {
        Launch::new()
            .set("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .secret(PIN)
            .secret(SO_PIN)
    }

    /// A service whose every call of the module is written to a file.
    pub fn spied_launch(&self) -> Launch {
        self.launch()
            .set("MACP_AUTH_PKCS11_MODULE", &tools().spy)
            .set("PKCS11SPY", self.module())
            .set("PKCS11SPY_OUTPUT", self.path("calls"))
    }

    /// How often a function of the module was called so far.
    pub fn calls(&self, function: &str) -> usize {
        let text = fs::read(self.path("calls")).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .filter(|line| {
                line.split_once(": ")
                    .is_some_and(|(_, called)| called.trim() == function)
            })
            .count()
    }

    /// Runs `keys generate …` on the token; it has to succeed.
    pub fn generate(&self, arguments: &[&str]) -> Refusal {
        let outcome = self.try_generate(arguments);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        outcome
    }

    pub fn try_generate(&self, arguments: &[&str]) -> Refusal {
        self.launch()
            .arguments(&[&["keys", "generate"], arguments].concat())
            .run()
    }

    /// Makes a pair with pkcs11-tool.
    pub fn make(&self, pair: &KeyPair<'_>) {
        let mut arguments = vec![
            "--keypairgen",
            "--key-type",
            pair.kind,
            "--label",
            pair.label,
        ];
        arguments.extend(["--id", pair.id, "--usage-sign"]);
        arguments.extend(pair.more);
        self.pkcs11_tool(&arguments);
    }

    /// Imports a private key in PKCS#8, with its public half.
    pub fn import(&self, pkcs8_der: &[u8], label: &str, id: &str) {
        self.import_to(TOKEN, pkcs8_der, label, id);
    }

    pub fn import_to(&self, token: &str, pkcs8_der: &[u8], label: &str, id: &str) {
        let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pkcs8_der);
        let lines: Vec<_> = body
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            lines.join("\n")
        );
        let file = self.path("import.pem");
        fs::write(&file, pem).unwrap();
        self.tool(
            "softhsm2-util",
            &[
                "--import",
                &file.display().to_string(),
                "--token",
                token,
                "--pin",
                PIN,
                "--label",
                label,
                "--id",
                id,
            ],
        );
    }

    /// Writes a public key object (SubjectPublicKeyInfo).
    pub fn write_public(&self, spki_der: &[u8], label: &str, id: &str) {
        let file = self.path("public.der");
        fs::write(&file, spki_der).unwrap();
        let file = file.display().to_string();
        self.pkcs11_tool(&[
            "--write-object",
            &file,
            "--type",
            "pubkey",
            "--label",
            label,
            "--id",
            id,
        ]);
    }

    pub fn delete(&self, kind: &str, id: &str) {
        self.delete_on(TOKEN, kind, id);
    }

    pub fn delete_on(&self, token: &str, kind: &str, id: &str) {
        self.pkcs11_tool_on(token, &["--delete-object", "--type", kind, "--id", id]);
    }

    /// As pkcs11-tool lists them.
    pub fn objects(&self) -> String {
        self.pkcs11_tool(&["--list-objects"])
    }

    /// The serial of the token, as pkcs11-tool shows it.
    pub fn serial(&self) -> String {
        self.slots()
            .lines()
            .skip_while(|line| !(line.contains("token label") && line.ends_with(TOKEN)))
            .find_map(|line| line.trim().strip_prefix("serial num"))
            .map(|rest| rest.trim_start_matches([' ', ':']).to_owned())
            .unwrap()
    }

    fn slots(&self) -> String {
        self.tool(
            "pkcs11-tool",
            &["--module", &self.module().display().to_string(), "-L"],
        )
    }

    fn pkcs11_tool(&self, arguments: &[&str]) -> String {
        self.pkcs11_tool_on(TOKEN, arguments)
    }

    fn pkcs11_tool_on(&self, token: &str, arguments: &[&str]) -> String {
        let module = self.module().display().to_string();
        let mut all = vec![
            "--module",
            &module,
            "--token-label",
            token,
            "--login",
            "--pin",
            PIN,
        ];
        all.extend(arguments);
        self.tool("pkcs11-tool", &all)
    }

    fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}
