//! What a running process holds: threads, file descriptors, memory. From /proc.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use super::{Service, until};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vitals {
    pub threads: u64,
    pub descriptors: usize,
    pub resident_kib: u64,
}

/// What a load may leave behind in allocators and caches. A session or a handle lost at each fault shows in the count of
/// descriptors or adds up to more.
const GROWTH_KIB: u64 = 12 * 1024;

impl Vitals {
    /// When no connection of a moment ago is being closed.
    pub fn at_rest(service: &Service) -> Self {
        let mut last = None;
        until("the process is at rest", Duration::from_secs(10), || {
            let now = Self::of(service);
            let same = last.replace(now.descriptors) == Some(now.descriptors);
            std::thread::sleep(Duration::from_millis(50));
            same.then_some(now)
        })
    }

    fn of(service: &Service) -> Self {
        let process = format!("/proc/{}", service.pid());
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let number = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.split_whitespace().next())
                .and_then(|word| word.parse().ok())
                .unwrap()
        };
        Self {
            threads: number("Threads:"),
            descriptors: fs::read_dir(format!("{process}/fd")).unwrap().count(),
            resident_kib: number("VmRSS:"),
        }
    }

    /// The same again, once the connections of the load are closed; panics with what is lost.
    pub fn assert_kept(self, service: &Service, what: &str) -> Self {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let now = Self::of(service);
            if now.threads == self.threads
                && now.descriptors <= self.descriptors
                && now.resident_kib <= self.resident_kib + GROWTH_KIB
            {
                return now;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: before {self}, after {now}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl fmt::Display for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} threads, {} descriptors, {} KiB",
            self.threads, self.descriptors, self.resident_kib
        )
    }
}
