//! Two tokens for one service: replicas of one key, or keys of their own of which one stands by. Where one of them lives, no
//! mint fails. The claims that hold of every answer are those of `harness/load.rs`.

mod hung;
mod moved;
mod start;
mod takeover;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::faults::fault_module;
use crate::harness::{Launch, Service, SoftHsm};

/// The first try of each token has 5 s.
const STARTS_WITHIN: Duration = Duration::from_secs(6);
/// A token that no mint asks is tried every 15 s, and a call that hangs is given up after 3 s.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);
/// From the fault's end to a token: what docs/reliability.md promises.
const RESUMES_WITHIN: Duration = Duration::from_secs(3);
/// The same for a token whose module is restarted every 30 s at most, because a sibling signs.
const SHARED_WITHIN: Duration = Duration::from_secs(33);

/// Tokens `one` and `two` behind the fault-injecting module.
pub struct Pair {
    pub hsm: SoftHsm,
    /// The second token is reached through another module.
    apart: bool,
}

impl Pair {
    fn new(apart: bool) -> Self {
        let hsm = SoftHsm::without_token();
        hsm.make_token("one");
        hsm.make_token("two");
        Self { hsm, apart }
    }

    /// Keys of their own with one instant: the smaller kid signs, the other stands by.
    pub fn with_a_stand_by(apart: bool) -> Self {
        let pair = Self::new(apart);
        let made = pair
            .launch()
            .arguments(&["keys", "generate", "--alg", "ES256"])
            .run();
        assert_eq!(made.code, Some(0), "{made:?}");
        pair
    }

    /// The same keys on both.
    fn with_replicas(apart: bool, keys: &[Vec<u8>]) -> Self {
        let pair = Self::new(apart);
        for (key, id) in keys.iter().zip(["01", "02", "03"]) {
            pair.hsm.import_to("one", key, "macp-jwt", id);
            pair.hsm.import_to("two", key, "macp-jwt", id);
        }
        pair
    }

    pub fn launch(&self) -> Launch {
        self.launch_on(&self.uris().join(" "))
    }

    /// Those of `one` and `two`.
    fn uris(&self) -> [String; 2] {
        let one = PathBuf::from(fault_module());
        let two = if self.apart {
            self.copied(&one, "libfault_module_TWO.so")
        } else {
            one.clone()
        };
        let pin = self.hsm.pin_file();
        let uri = |token: &str, module: &PathBuf| {
            let (module, pin) = (module.display(), pin.display());
            format!("pkcs11:token={token}?module-path={module}&pin-source={pin}")
        };
        [uri("one", &one), uri("two", &two)]
    }

    fn launch_on(&self, uris: &str) -> Launch {
        self.hsm
            .bare_launch()
            .set("MACP_AUTH_PKCS11_URI", uris)
            .set("MACP_AUTH_STATE_DIR", self.hsm.path("state"))
            .set("MACP_AUTH_KEY_POLICY", "warn")
            .set("FAULT_MODULE_TARGET", self.hsm.module())
            .set("FAULT_MODULE_CONTROL", self.hsm.path("rules"))
            .set("FAULT_MODULE_COUNTS", self.hsm.path("counts"))
            .set("FAULT_MODULE_COUNTS_TWO", self.hsm.path("counts-two"))
            .set(
                "FAULT_MODULE_TARGET_TWO",
                self.copied(self.hsm.module(), "libsofthsm2-two.so"),
            )
            .set("FAULT_MODULE_CONTROL_TWO", self.hsm.path("rules"))
    }

    /// How many faults were injected so far.
    pub fn faults(&self) -> u64 {
        let counted = ["counts", "counts-two"].map(|file| {
            let text = fs::read_to_string(self.hsm.path(file)).unwrap_or_default();
            text.lines()
                .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok())
                .sum::<u64>()
        });
        counted.iter().sum()
    }

    /// A copy is a library of its own for the loader: nothing of one is initialised or finalised with the other.
    fn copied(&self, library: &Path, name: &str) -> PathBuf {
        let copy = self.hsm.path(name);
        if !copy.exists() {
            fs::copy(library, &copy).unwrap();
        }
        copy
    }

    pub fn rules(&self, rules: &str) {
        let new = self.hsm.path("rules.new");
        fs::write(&new, format!("{rules}\n")).unwrap();
        fs::rename(new, self.hsm.path("rules")).unwrap();
    }
}

/// Both tokens with all their parts.
pub fn both_are_well(service: &Service) -> Option<()> {
    let parts = service.get("/readyz").json()["parts"].clone();
    let parts = parts.as_array().unwrap();
    let well = parts.len() == 9 && parts.iter().all(|part| part["ok"] == true);
    well.then_some(())
}
