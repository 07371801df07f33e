//! The real binary, started for one figure, and a throw-away SoftHSM2 token.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Measured;
use crate::load::{self, Request};

const BINARY: &str = env!("CARGO_BIN_EXE_macp-auth-service");
const PIN: &str = "123456";

/// A running service, killed when dropped.
pub(crate) struct Service {
    child: Child,
    port: u16,
}

impl Service {
    pub(crate) fn start<V: AsRef<str>>(settings: &[(&str, V)]) -> Self {
        let mut child = Command::new(BINARY)
            .env("PORT", "0")
            .env("MACP_AUTH_LOG", "error")
            .envs(settings.iter().map(|(name, value)| (name, value.as_ref())))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let first = BufReader::new(child.stdout.as_mut().unwrap())
            .lines()
            .next()
            .unwrap()
            .unwrap();
        let port = first.rsplit(' ').next().unwrap().parse().unwrap();
        Self { child, port }
    }

    /// Server CPU and rate under load.
    pub(crate) fn measure(&self, request: Request, time: Duration) -> Measured {
        let mut before = Duration::ZERO;
        let (count, took) = load::run(self.port, request, time, || {
            before = cpu_of(self.child.id())
        });
        let cpu = cpu_of(self.child.id()) - before;
        Measured {
            cpu: cpu / u32::try_from(count.max(1)).unwrap(),
            per_second: count as f64 / took.as_secs_f64(),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// User and system time of a process, in clock ticks of 10 ms.
pub(crate) fn cpu_of(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// A SoftHSM2 token in a directory of its own.
pub(crate) struct Token {
    directory: tempfile::TempDir,
    module: PathBuf,
}

impl Token {
    /// None where SoftHSM2 is not installed.
    pub(crate) fn make() -> Option<Self> {
        let places = [
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
            "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
            "/usr/local/lib/softhsm/libsofthsm2.so",
        ];
        let module = places
            .iter()
            .map(Path::new)
            .find(|path| path.exists())?
            .to_owned();
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("tokens")).unwrap();
        let tokens = directory.path().join("tokens");
        let settings = format!(
            "directories.tokendir = {}\nlog.level = ERROR\n",
            tokens.display()
        );
        std::fs::write(directory.path().join("softhsm2.conf"), settings).unwrap();
        let token = Self { directory, module };
        let made = Command::new("softhsm2-util")
            .args([
                "--init-token",
                "--free",
                "--label",
                "bench",
                "--so-pin",
                PIN,
                "--pin",
                PIN,
            ])
            .env("SOFTHSM2_CONF", token.configuration())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        Some(token)
    }

    fn configuration(&self) -> String {
        self.directory
            .path()
            .join("softhsm2.conf")
            .display()
            .to_string()
    }

    pub(crate) fn settings(&self, algorithm: &str) -> Vec<(&'static str, String)> {
        vec![
            ("SOFTHSM2_CONF", self.configuration()),
            ("MACP_AUTH_PKCS11_MODULE", self.module.display().to_string()),
            ("MACP_AUTH_PKCS11_TOKEN_LABEL", "bench".to_owned()),
            ("MACP_AUTH_PKCS11_KEY_LABEL", algorithm.to_owned()),
            ("MACP_AUTH_PKCS11_PIN", PIN.to_owned()),
        ]
    }

    pub(crate) fn generate(&self, algorithm: &str) {
        let made = Command::new(BINARY)
            .args(["keys", "generate", "--alg", algorithm])
            .envs(self.settings(algorithm))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "keys generate failed");
    }

    /// C_Sign on all cores, in a process of its own.
    pub(crate) fn raw_c_sign(&self, algorithm: &str, time: Duration) -> Measured {
        let module = self.module.display().to_string();
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "raw-c-sign",
                &module,
                "bench",
                PIN,
                algorithm,
                &time.as_millis().to_string(),
            ])
            .env("SOFTHSM2_CONF", self.configuration())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (cpu, rate) = text.trim().split_once(' ').unwrap();
        Measured {
            cpu: Duration::from_nanos(cpu.parse().unwrap()),
            per_second: rate.parse().unwrap(),
        }
    }
}
