//! Replicas of one service that are stopped and started while others ask them: each is known by its number, wherever it
//! listens at the moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

use super::{Launch, Service};

/// All replicas, by number.
#[derive(Debug)]
pub struct Fleet {
    replicas: Vec<Replica>,
    addresses: Addresses,
    /// What the lives before the present ones have logged.
    earlier_logs: Vec<String>,
}

#[derive(Debug)]
struct Replica {
    launch: Launch,
    running: Option<Service>,
}

/// Where the replicas are now; shared with everything that asks them.
#[derive(Debug, Clone)]
pub struct Addresses(Arc<[Address]>);

#[derive(Debug, Default)]
struct Address {
    port: AtomicU16,
    /// Counts its starts: a connection belongs to one of them.
    life: AtomicUsize,
    /// It is being stopped or started: it owes nobody an answer.
    disturbed: AtomicBool,
}

impl Fleet {
    /// All ready to mint.
    pub fn start(launches: impl IntoIterator<Item = Launch>) -> Self {
        let replicas: Vec<Replica> = launches
            .into_iter()
            .map(|launch| Replica {
                launch,
                running: None,
            })
            .collect();
        let addresses = replicas.iter().map(|_| Address::default()).collect();
        let mut fleet = Self {
            addresses: Addresses(addresses),
            replicas,
            earlier_logs: Vec::new(),
        };
        for number in 0..fleet.replicas.len() {
            fleet.start_again(number);
        }
        fleet
    }

    pub fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    pub fn replicas(&self) -> impl Iterator<Item = &Service> {
        self.replicas
            .iter()
            .filter_map(|replica| replica.running.as_ref())
    }

    /// With SIGTERM.
    pub fn stop(&mut self, number: usize) {
        self.excuse(number, true);
        let mut service = self.replicas[number].running.take().unwrap();
        let log = service.log_to_its_end();
        self.earlier_logs
            .push(format!("--- replica {number}, before\n{log}"));
    }

    /// Until it is ready to mint.
    pub fn start_again(&mut self, number: usize) {
        let replica = &mut self.replicas[number];
        let service = replica.launch.clone().start();
        service.wait_ready();
        let address = &self.addresses.0[number];
        address.port.store(service.port(), Ordering::SeqCst);
        address.life.fetch_add(1, Ordering::SeqCst);
        replica.running = Some(service);
        self.excuse(number, false);
    }

    /// Whether its mints may fail from now on.
    pub fn excuse(&self, number: usize, excused: bool) {
        let disturbed = &self.addresses.0[number].disturbed;
        disturbed.store(excused, Ordering::SeqCst);
    }

    /// The only replica goes on as something else.
    pub fn become_another(&mut self, launch: Launch) {
        assert_eq!(self.replicas.len(), 1);
        self.stop(0);
        self.replicas[0].launch = launch;
        self.start_again(0);
    }

    pub fn earlier_logs(&self) -> String {
        self.earlier_logs.concat()
    }
}

impl Addresses {
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn port(&self, number: usize) -> u16 {
        self.0[number].port.load(Ordering::SeqCst)
    }

    pub fn life(&self, number: usize) -> usize {
        self.0[number].life.load(Ordering::SeqCst)
    }

    pub fn is_disturbed(&self, number: usize) -> bool {
        self.0[number].disturbed.load(Ordering::SeqCst)
    }
}
