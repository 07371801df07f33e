//! A waker that keeps what a connection says to itself within the connection.
//!
//! hyper wakes its own task when a body that has been read is dropped. The runtime then queues the task again and
//! often rouses a sleeping thread for it: two system calls a mint, for nothing. Behind a [`Bell`] a wake that comes
//! while the connection is being polled has it polled once more at once; any other wake goes to the runtime.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Stands between one future and the runtime.
#[derive(Debug)]
pub(super) struct Bell {
    shared: Arc<Shared>,
    /// Rings `shared`.
    handle: Waker,
    /// The runtime's waker as last seen, so that the lock is left alone while it stays the same.
    task: Option<Waker>,
}

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

const POLLING: u8 = 1;
const RUNG: u8 = 2;
/// Polls in a row; then others get their turn.
const MOST_POLLS: usize = 4;

impl Bell {
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU8::new(0),
            task: Mutex::new(None),
        });
        Self {
            handle: Waker::from(Arc::clone(&shared)),
            shared,
            task: None,
        }
    }

    /// Polls `inner` until it is done or rests.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut inner: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.follow(cx.waker());
        let state = &self.shared.state;
        for _ in 0..MOST_POLLS {
            // Every change of the state is a read-modify-write, so what a ringer wrote before it rang is seen here.
            state.swap(POLLING, Ordering::AcqRel);
            if let Poll::Ready(done) = inner(&mut Context::from_waker(&self.handle)) {
                return Poll::Ready(done);
            }
            let rests = state.compare_exchange(POLLING, 0, Ordering::AcqRel, Ordering::Acquire);
            if rests.is_ok() {
                return Poll::Pending;
            }
        }
        state.swap(0, Ordering::AcqRel);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn follow(&mut self, task: &Waker) {
        if self
            .task
            .as_ref()
            .is_some_and(|known| known.will_wake(task))
        {
            return;
        }
        self.task = Some(task.clone());
        self.shared.lock().replace(task.clone());
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Rung already and resting: the first ringer wakes. Polling: the poller looks when it is through.
        if self.state.fetch_or(RUNG, Ordering::AcqRel) == 0
            && let Some(task) = &*self.lock()
        {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Polls once a future that wakes itself `times` times; polls it took, and wakes the runtime saw.
    fn polled(bell: &mut Bell, times: usize) -> (usize, usize) {
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut polls = 0;

        let outcome = bell.poll(&mut Context::from_waker(&waker), |cx| {
            polls += 1;
            if polls <= times {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });

        assert!(outcome.is_pending());
        (polls, task.0.load(Ordering::Relaxed))
    }

    #[test]
    fn a_wake_from_within_is_a_poll_and_no_matter_of_the_runtime() {
        for (times, want) in [(0, (1, 0)), (1, (2, 0)), (3, (4, 0))] {
            assert_eq!(polled(&mut Bell::new(), times), want);
        }
    }

    #[test]
    fn a_future_that_always_wakes_itself_lets_others_have_their_turn() {
        assert_eq!(polled(&mut Bell::new(), usize::MAX), (MOST_POLLS, 1));
    }

    #[test]
    fn a_wake_from_without_reaches_the_runtime_once() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut bell = Bell::new();
        let mut kept = None;
        let outcome = bell.poll(&mut Context::from_waker(&waker), |cx| {
            kept = Some(cx.waker().clone());
            Poll::<()>::Pending
        });

        let kept = kept.unwrap();
        kept.wake_by_ref();
        kept.wake_by_ref();

        assert!(outcome.is_pending());
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
    }

    /// Many threads ring; the last value must be seen without another poll being asked for.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_of_another_thread_is_lost() {
        for _ in 0..200 {
            let done = Arc::new(AtomicUsize::new(0));
            let slot = Arc::new(Mutex::new(None::<Waker>));
            let ringers: Vec<_> = (0..3)
                .map(|_| {
                    let (done, slot) = (Arc::clone(&done), Arc::clone(&slot));
                    std::thread::spawn(move || {
                        done.fetch_add(1, Ordering::Relaxed);
                        if let Some(waker) = &*slot.lock().unwrap() {
                            waker.wake_by_ref();
                        }
                    })
                })
                .collect();
            let mut bell = Bell::new();
            let waiting = std::future::poll_fn(|cx| {
                bell.poll(cx, |cx| {
                    *slot.lock().unwrap() = Some(cx.waker().clone());
                    if done.load(Ordering::Relaxed) == 3 {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
            });
            tokio::time::timeout(std::time::Duration::from_secs(20), waiting)
                .await
                .expect("woken");
            for ringer in ringers {
                ringer.join().unwrap();
            }
        }
    }
}
