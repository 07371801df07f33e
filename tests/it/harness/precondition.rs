//! What has to be installed. Without it the whole run ends, with one line and a failure: a test that is skipped in
//! silence proves nothing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Programs and modules that the tests need.
#[derive(Debug)]
pub struct Tools {
    /// SoftHSM2's PKCS#11 module.
    pub module: PathBuf,
    /// OpenSC's module that writes down every call.
    pub spy: PathBuf,
    /// The runtime's own verifier.
    pub runtime_verifier: PathBuf,
}

/// The binary under test.
pub const SERVICE: &str = env!("CARGO_BIN_EXE_macp-auth-service");

/// Looked for once; the first missing one ends the process.
pub fn tools() -> &'static Tools {
    static TOOLS: OnceLock<Tools> = OnceLock::new();
    TOOLS.get_or_init(|| find().unwrap_or_else(|missing| leave(&missing)))
}

fn find() -> Result<Tools, String> {
    for program in ["softhsm2-util", "pkcs11-tool"] {
        if !runs(program) {
            return Err(program.to_owned());
        }
    }
    // softhsm/test.sh builds it without optimisation, whatever the tests are built with.
    let beside = Path::new(SERVICE).with_file_name("runtime-verifier");
    let unoptimised = Path::new(SERVICE).with_file_name("../debug/runtime-verifier");
    let runtime_verifier = [beside, unoptimised]
        .into_iter()
        .find(|path| path.is_file())
        .ok_or("the runtime's verifier")?;
    Ok(Tools {
        module: std::env::var_os("SOFTHSM2_MODULE")
            .map(PathBuf::from)
            .filter(|path| path.is_file())
            .or_else(|| library("softhsm/libsofthsm2.so"))
            .ok_or("libsofthsm2.so")?,
        spy: library("pkcs11-spy.so")
            .or_else(|| library("pkcs11/pkcs11-spy.so"))
            .ok_or("pkcs11-spy.so")?,
        runtime_verifier,
    })
}

/// In /usr/lib, or in a directory of it such as /usr/lib/x86_64-linux-gnu.
pub fn library(name: &str) -> Option<PathBuf> {
    ["/usr/lib", "/usr/lib64", "/usr/local/lib"]
        .iter()
        .flat_map(|root| {
            let root = PathBuf::from(root);
            let below = std::fs::read_dir(&root)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path());
            std::iter::once(root).chain(below).collect::<Vec<_>>()
        })
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

fn runs(program: &str) -> bool {
    Command::new(program)
        .arg("--help")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// Past the test harness, which would keep the line back and go on with the other tests.
fn leave(missing: &str) -> ! {
    let line =
        format!("the integration tests need {missing}, which is not here: run softhsm/test.sh\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    std::process::exit(101)
}
