//! A wall clock that a test sets while the service runs; the monotonic one goes on undisturbed.

use std::fs;
use std::path::PathBuf;

use super::precondition::library;
use super::{Launch, SoftHsm};

/// By libfaketime, which reads how far it is off from a file.
#[derive(Debug)]
pub struct FakedClock {
    shift: PathBuf,
}

impl FakedClock {
    /// As it is, so far.
    pub fn beside(hsm: &SoftHsm) -> Self {
        let clock = Self {
            shift: hsm.path("shift"),
        };
        clock.set(0);
        clock
    }

    pub fn of(&self, launch: Launch) -> Launch {
        let library =
            library("faketime/libfaketimeMT.so.1").expect("libfaketime (softhsm/install.sh test)");
        launch
            .set("LD_PRELOAD", library)
            .set("FAKETIME_TIMESTAMP_FILE", &self.shift)
            .set("FAKETIME_NO_CACHE", "1")
            .set("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }

    /// So many seconds off.
    pub fn set(&self, seconds: i64) {
        fs::write(&self.shift, format!("{seconds:+}\n")).unwrap();
    }
}
