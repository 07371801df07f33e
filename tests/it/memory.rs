//! The private key is not in the service's process, and what secrets are in it stay there.
//!
//! A known key is imported into a token that lives in another process (p11-kit's server), because SoftHSM2 itself lives in
//! the process that loads it. While the service signs with it, its whole memory is searched for the primes of that key. The
//! control is the same search with the same key pinned: there it finds them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aws_lc_rs::rsa::KeySize;
use serde_json::Value;

use crate::harness::jwt::decode;
use crate::harness::service::PATIENCE;
use crate::harness::{Launch, Service, SoftHsm, rsa_jwk, rsa_pkcs8, until};

/// SoftHSM2 wipes a key after each signature. Where it is in the process, every second snapshot shows it (measured), so
/// this many without a trace are no chance.
const ENOUGH: usize = 10;
/// When a search that has to find something gives up.
const PLENTY: usize = 40;

/// A token behind p11-kit: the module runs in the server's children, and the service sees a socket.
struct RemoteToken {
    server: Child,
    socket: PathBuf,
}

impl RemoteToken {
    fn of(hsm: &SoftHsm) -> Self {
        let socket = hsm.path("p11-kit");
        let server = Command::new("p11-kit")
            .args(["server", "--foreground", "--provider"])
            .arg(hsm.module())
            .arg("--name")
            .arg(&socket)
            .arg("pkcs11:")
            .env("SOFTHSM2_CONF", hsm.path("softhsm2.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let remote = Self { server, socket };
        until("the socket of p11-kit's server", PATIENCE, || {
            remote.socket.exists().then_some(())
        });
        remote
    }

    fn launch(&self, hsm: &SoftHsm) -> Launch {
        let address = format!("unix:path={}", self.socket.display());
        hsm.launch()
            .unset("SOFTHSM2_CONF")
            .set("P11_KIT_SERVER_ADDRESS", address)
            .set("MACP_AUTH_PKCS11_MODULE", client_module())
    }
}

impl Drop for RemoteToken {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

fn client_module() -> PathBuf {
    let libraries = fs::read_dir("/usr/lib").unwrap().flatten();
    libraries
        .map(|entry| entry.path().join("pkcs11/p11-kit-client.so"))
        .chain([PathBuf::from("/usr/lib/pkcs11/p11-kit-client.so")])
        .find(|path| path.is_file())
        .expect("p11-kit-client.so: run softhsm/test.sh")
}

/// What must not be found: each prime as a DER integer or a PKCS#11 attribute has it, as the limbs of a big number on a
/// little-endian machine, and as text of a JWK.
fn traces(jwk: &Value) -> Vec<(String, Vec<u8>)> {
    ["p", "q"]
        .iter()
        .flat_map(|name| {
            let text = jwk[*name].as_str().unwrap();
            let big = decode(text);
            let little = big.iter().rev().copied().collect();
            [
                (format!("{name}, big-endian"), big),
                (format!("{name}, little-endian"), little),
                (format!("{name}, base64url"), text.as_bytes().to_vec()),
            ]
        })
        .collect()
}

/// All that a process has written to its memory, while it is held still: what lives for one signature only is
/// then either in it or not.
fn snapshot(service: &Service) -> Vec<Vec<u8>> {
    let process = PathBuf::from("/proc").join(service.pid().to_string());
    service.signal("STOP");
    until("the process stands still", PATIENCE, || {
        let state = fs::read_to_string(process.join("stat")).unwrap();
        state
            .rsplit_once(") ")
            .filter(|(_, rest)| rest.starts_with('T'))
            .map(drop)
    });
    let memory = File::open(process.join("mem")).unwrap();
    let maps = fs::read_to_string(process.join("maps")).unwrap();
    let regions = maps
        .lines()
        .filter_map(writable)
        .filter_map(|(start, end)| {
            let mut region = vec![0; usize::try_from(end - start).unwrap()];
            // The kernel's own pages cannot be read.
            let read = memory.read_at(&mut region, start).ok()?;
            region.truncate(read);
            Some(region)
        })
        .collect();
    service.signal("CONT");
    regions
}

/// Which of the traces stand in it.
fn search(regions: &[Vec<u8>], traces: &[(String, Vec<u8>)]) -> BTreeSet<String> {
    let beginning = |bytes: &[u8]| usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    let mut begins = vec![false; 1 << 16];
    for (_, trace) in traces {
        begins[beginning(trace)] = true;
    }
    let mut found = BTreeSet::new();
    for region in regions {
        for at in 0..region.len().saturating_sub(1) {
            if begins[beginning(&region[at..])] {
                let here = traces
                    .iter()
                    .filter(|(_, trace)| region[at..].starts_with(trace));
                found.extend(here.map(|(name, _)| name.clone()));
            }
        }
    }
    found
}

/// `7f12a000-7f12b000 rw-p …`: the addresses of one mapping, if the process can have written there. What it cannot write
/// to is program text, as it lies on the disk.
fn writable(line: &str) -> Option<(u64, u64)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    rest.starts_with("rw")
        .then_some((address(start)?, address(end)?))
}

/// Searches up to `times` while the service signs for several callers, until something is found; gives also the least
/// number of bytes that a snapshot had.
fn search_while_signing(service: &Service, jwk: &Value, times: usize) -> (BTreeSet<String>, usize) {
    let (stop, signed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let traces = traces(jwk);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = service.connect();
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(connection.post(r#"{"sender":"during"}"#).status, 200);
                    signed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut least = usize::MAX;
        let mut found = BTreeSet::new();
        for _ in 0..times {
            let before = signed.load(Ordering::Relaxed);
            until("signatures", PATIENCE, || {
                (signed.load(Ordering::Relaxed) > before + 5).then_some(())
            });
            let regions = snapshot(service);
            least = least.min(regions.iter().map(Vec::len).sum());
            found = search(&regions, &traces);
            if !found.is_empty() {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        (found, least)
    })
}

#[test]
fn the_private_key_is_not_in_the_process_that_signs_with_it() {
    let pkcs8 = rsa_pkcs8(KeySize::Rsa2048);
    let jwk = rsa_jwk(&pkcs8);
    let hsm = SoftHsm::new();
    hsm.import(&pkcs8, "macp-jwt", "01");
    let remote = RemoteToken::of(&hsm);
    let service = remote
        .launch(&hsm)
        .set("MACP_AUTH_KEY_POLICY", "warn")
        .set("MACP_AUTH_CORE_DUMPS", "1")
        .start();
    service.wait_ready();

    assert_eq!(
        service.jwks().keys[0]["n"],
        jwk["n"],
        "it signs with this key"
    );
    let (found, searched) = search_while_signing(&service, &jwk, ENOUGH);

    assert!(found.is_empty(), "{found:?}");
    // The program alone is larger: the search did look.
    let program = fs::metadata(crate::harness::precondition::SERVICE)
        .unwrap()
        .size();
    assert!(searched > 1 << 20, "{searched} of {program}");
}

#[test]
fn the_same_search_finds_the_same_kind_of_key_where_it_is_pinned() {
    let jwk = rsa_jwk(&rsa_pkcs8(KeySize::Rsa2048));
    let service = Launch::new()
        .set("MACP_AUTH_SIGNING_KEY_JSON", jwk.to_string())
        .set("MACP_AUTH_CORE_DUMPS", "1")
        .start();

    let (found, _) = search_while_signing(&service, &jwk, PLENTY);

    let raw = |name: &str| {
        let forms = [
            format!("{name}, big-endian"),
            format!("{name}, little-endian"),
        ];
        found.iter().any(|trace| forms.contains(trace))
    };
    assert!(raw("p") && raw("q"), "{found:?}");
}

#[test]
fn the_same_search_finds_the_key_where_the_module_is_loaded_into_the_process() {
    let pkcs8 = rsa_pkcs8(KeySize::Rsa2048);
    let jwk = rsa_jwk(&pkcs8);
    let hsm = SoftHsm::new();
    hsm.import(&pkcs8, "macp-jwt", "01");
    let service = hsm
        .launch()
        .set("MACP_AUTH_KEY_POLICY", "warn")
        .set("MACP_AUTH_CORE_DUMPS", "1")
        .start();
    service.wait_ready();

    let (found, _) = search_while_signing(&service, &jwk, PLENTY);

    assert!(
        !found.is_empty(),
        "SoftHSM2 signs in the process that loads it"
    );
}

#[test]
fn core_dumps_are_off_where_there_is_a_secret_and_on_where_the_operator_says_so() {
    let hsm = SoftHsm::with_key("ES256");
    let pinned = || {
        let jwk = rsa_jwk(&rsa_pkcs8(KeySize::Rsa2048));
        Launch::new().set("MACP_AUTH_SIGNING_KEY_JSON", jwk.to_string())
    };
    for (name, launch, closed) in [
        ("token", hsm.launch(), true),
        ("pinned", pinned(), true),
        (
            "pinned, dumps wanted",
            pinned().set("MACP_AUTH_CORE_DUMPS", "1"),
            false,
        ),
        ("ephemeral", Launch::ephemeral("ES256"), false),
    ] {
        let service = launch.start();
        let limits = fs::read_to_string(format!("/proc/{}/limits", service.pid())).unwrap();
        let line = |text: &str| {
            let found = text
                .lines()
                .find(|line| line.starts_with("Max core file size"));
            found
                .unwrap()
                .split_whitespace()
                .skip(4)
                .map(ToOwned::to_owned)
                .collect::<Vec<_>>()
        };
        let ours = line(&fs::read_to_string("/proc/self/limits").unwrap());

        let want = if closed {
            vec!["0", "0", "bytes"]
        } else {
            ours.iter().map(String::as_str).collect()
        };
        assert_eq!(line(&limits), want, "{name}");
        assert_eq!(
            belongs_to_root(service.pid()),
            closed || we_are_root(),
            "{name}"
        );
    }
}

/// The kernel gives the files of a process that is not dumpable to root.
fn belongs_to_root(pid: u32) -> bool {
    fs::metadata(Path::new("/proc").join(pid.to_string()))
        .unwrap()
        .uid()
        == 0
}

fn we_are_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}
