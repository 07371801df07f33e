//! Who writes to the state directory of a running board: a thread of its own, one snapshot after the other, because a disk may
//! hang; and whether another service writes there, too.
//!
//! ```text
//! look -> snapshot -> desk --keeper's thread--> jwks.json
//!    \-- waits until it is written, for a second at most --/
//! ```

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::clock::Deadline;
use crate::keys::memory::Memory;
use crate::keys::saved;
use crate::process::start_vital;
use crate::state_dir::StateDir;

/// See the module. Dropped, it still writes what lies there, if the disk lets it.
#[derive(Debug)]
pub(super) struct Keeper {
    /// None without a directory.
    desk: Option<Arc<Desk>>,
}

/// What is known of the keys at one time, to be written.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Of two the one with the higher number is the later one.
    pub(super) number: u64,
    pub(super) memory: Memory,
}

/// How it stands with the directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    /// Why what is known is not written.
    pub(super) unsaved: Option<String>,
    /// Another process runs a service in the same directory.
    pub(super) is_shared: bool,
}

/// Between those who know and the thread that writes.
#[derive(Debug)]
struct Desk {
    /// How long whoever hands in waits.
    patience: Duration,
    papers: Mutex<Papers>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Papers {
    next: Option<Snapshot>,
    /// The number of the last snapshot that was carried to the disk, written or not.
    done: u64,
    writes: bool,
    /// Somebody lost patience, and no write has come to an end since.
    hangs: bool,
    kept: Kept,
    closed: bool,
}

/// The directory, and the lock on it for as long as this lives.
struct Cabinet {
    directory: StateDir,
    lock: Option<File>,
}

/// `service.lock`.
const SERVICE: &str = "service";
/// A disk that takes longer holds nobody up, and is told.
const PATIENCE: Duration = Duration::from_secs(1);

impl Keeper {
    pub(super) fn new(directory: Option<StateDir>) -> Self {
        let desk = directory.map(|directory| {
            let mut cabinet = Cabinet {
                directory,
                lock: None,
            };
            let desk = Arc::new(Desk::new(PATIENCE));
            // A restart may overlap, so another service is no reason to stop.
            desk.papers.lock().kept.is_shared = cabinet.is_shared();
            let writer = Arc::clone(&desk);
            let write = move |memory: &Memory| cabinet.save(memory);
            let work = move || writer.write_until_closed(write);
            if let Err(error) = start_vital("keeper", work) {
                let mut papers = desk.papers.lock();
                papers.kept.unsaved = Some(format!("the system gives no thread: {error}"));
                papers.closed = true;
            }
            desk
        });
        Self { desk }
    }

    /// Has it written unless a later one was. Blocks until that is done, for a second at most.
    pub(super) fn save(&self, snapshot: Snapshot) {
        if let Some(desk) = &self.desk {
            desk.hand_in(snapshot);
        }
    }

    pub(super) fn kept(&self) -> Kept {
        let desk = self.desk.as_ref();
        desk.map(|desk| desk.papers.lock().kept())
            .unwrap_or_default()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(desk) = &self.desk {
            let mut papers = desk.papers.lock();
            papers.closed = true;
            desk.changed.notify_all();
            desk.wait(&mut papers, |papers| {
                papers.next.is_none() && !papers.writes
            });
        }
    }
}

impl Desk {
    fn new(patience: Duration) -> Self {
        Self {
            patience,
            papers: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn hand_in(&self, snapshot: Snapshot) {
        let number = snapshot.number;
        let mut papers = self.papers.lock();
        let latest = papers.next.as_ref().map_or(papers.done, |next| next.number);
        if papers.closed || number <= latest {
            return;
        }
        papers.next = Some(snapshot);
        self.changed.notify_all();
        papers.hangs |= !self.wait(&mut papers, |papers| papers.done >= number);
    }

    /// False where patience ends first.
    fn wait(&self, papers: &mut MutexGuard<'_, Papers>, is_over: impl Fn(&Papers) -> bool) -> bool {
        let by = Deadline::after(self.patience).instant();
        while !is_over(papers) {
            if self.changed.wait_until(papers, by).timed_out() {
                return is_over(papers);
            }
        }
        true
    }

    fn write_until_closed(&self, mut write: impl FnMut(&Memory) -> Kept) {
        while let Some(snapshot) = self.next() {
            let kept = write(&snapshot.memory);
            let mut papers = self.papers.lock();
            papers.done = snapshot.number;
            papers.writes = false;
            papers.hangs = false;
            papers.kept = kept;
            self.changed.notify_all();
        }
    }

    /// None once nobody hands in any more, and all is written.
    fn next(&self) -> Option<Snapshot> {
        let mut papers = self.papers.lock();
        loop {
            if let Some(snapshot) = papers.next.take() {
                papers.writes = true;
                return Some(snapshot);
            }
            if papers.closed {
                return None;
            }
            self.changed.wait(&mut papers);
        }
    }
}

impl Papers {
    fn kept(&self) -> Kept {
        let hangs = self.hangs.then(|| "the disk does not answer".to_owned());
        Kept {
            unsaved: hangs.or_else(|| self.kept.unsaved.clone()),
            is_shared: self.kept.is_shared,
        }
    }
}

impl Cabinet {
    fn save(&mut self, memory: &Memory) -> Kept {
        let outcome = saved::save(&self.directory, memory);
        Kept {
            unsaved: outcome.err().map(|error| error.to_string()),
            is_shared: self.is_shared(),
        }
    }

    fn is_shared(&mut self) -> bool {
        if self.lock.is_some() {
            return false;
        }
        match self.directory.try_lock(SERVICE) {
            Ok(lock) => {
                self.lock = lock;
                self.lock.is_none()
            }
            Err(error) => {
                tracing::debug!(%error, "the file system tells nothing of other services");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;
    use crate::clock::UnixSeconds;

    fn snapshot(number: u64) -> Snapshot {
        let memory = Memory::empty(UnixSeconds::new(number));
        Snapshot { number, memory }
    }

    fn written(memory: &Memory) -> u64 {
        memory.began().unwrap().at.get()
    }

    #[test]
    fn what_is_handed_in_is_written_before_its_owner_goes_on_and_nothing_older_after_it() {
        let desk = Arc::new(Desk::new(Duration::from_secs(60)));
        let writer = Arc::clone(&desk);
        let (done, seen) = unbounded();
        let thread = std::thread::spawn(move || {
            writer.write_until_closed(|memory| {
                done.send(written(memory)).unwrap();
                Kept::default()
            });
        });

        for (number, want) in [(1, vec![1]), (3, vec![3]), (2, vec![]), (3, vec![])] {
            desk.hand_in(snapshot(number));
            assert_eq!(seen.try_iter().collect::<Vec<_>>(), want, "{number}");
        }
        let keeper = Keeper { desk: Some(desk) };
        drop(keeper);
        thread.join().unwrap();
    }

    #[test]
    fn a_disk_that_hangs_holds_nobody_up_is_told_and_gets_the_latest_in_the_end() {
        let desk = Arc::new(Desk::new(Duration::from_millis(20)));
        let writer = Arc::clone(&desk);
        let (done, seen) = unbounded();
        let (begins, begun) = unbounded();
        let (release, hangs) = unbounded::<()>();
        let thread = std::thread::spawn(move || {
            writer.write_until_closed(|memory| {
                begins.send(()).unwrap();
                hangs.recv().ok();
                done.send(written(memory)).unwrap();
                Kept::default()
            });
        });
        let keeper = Keeper {
            desk: Some(Arc::clone(&desk)),
        };

        for number in 1..=3 {
            keeper.save(snapshot(number));
            let unsaved = keeper.kept().unsaved;
            assert_eq!(unsaved.as_deref(), Some("the disk does not answer"));
            if number == 1 {
                begun.recv().unwrap();
            }
        }
        assert!(seen.is_empty());
        drop(release);
        keeper.save(snapshot(4));
        drop(keeper);
        thread.join().unwrap();
        assert!(desk.papers.lock().kept().unsaved.is_none());
        let written: Vec<_> = seen.iter().collect();
        assert_eq!(written.first(), Some(&1));
        assert_eq!(written.last(), Some(&4));
        assert!(!written.contains(&2), "{written:?}");
    }
}
