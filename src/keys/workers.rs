//! Signing threads behind a bounded queue. Knows no cryptoki: a [`SigningDevice`] is what a thread signs with.
//!
//! ```text
//! sign() --try_send--> queue --recv--> thread: device.sign() --oneshot--> sign()
//!   full: Overloaded          past its deadline: dropped            deadline: TimedOut
//! ```
//!
//! The caller's wait ends at its deadline whatever the device does: a hung call cannot be cancelled, so threads are our own
//! (tokio's blocking pool would hold up the shutdown).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use super::{PublishedKey, SignError};
use crate::clock::Deadline;
use crate::jose::{Jwt, Signature, SigningInput};

/// What one thread signs with.
pub trait SigningDevice: Send + 'static {
    /// One signature over `message` by `key`, verified under the published key.
    ///
    /// # Errors
    /// [`SignError`]; the device has to be usable again afterwards.
    fn sign(
        &mut self,
        key: &PublishedKey,
        message: &[u8],
        deadline: Deadline,
    ) -> Result<Signature, SignError>;
}

/// The threads and their queue.
#[derive(Debug)]
pub struct Workers {
    queue: Sender<Order>,
    threads: usize,
}

enum Order {
    Sign(Job),
    Stop,
}

struct Job {
    key: Arc<PublishedKey>,
    input: SigningInput,
    deadline: Deadline,
    reply: oneshot::Sender<Result<Jwt, SignError>>,
}

impl Workers {
    /// One thread a device; `queue_length` mints may wait before them.
    ///
    /// # Errors
    /// The system's, where it gives no thread.
    pub fn start<D: SigningDevice>(devices: Vec<D>, queue_length: usize) -> io::Result<Self> {
        let (queue, orders) = bounded(queue_length);
        let threads = devices.len();
        for (number, device) in devices.into_iter().enumerate() {
            let orders = orders.clone();
            std::thread::Builder::new()
                .name(format!("sign-{number}"))
                .spawn(move || run(device, &orders))?;
        }
        Ok(Self { queue, threads })
    }

    /// Waits for a signature until `deadline`, and not at all where the queue is full.
    ///
    /// # Errors
    /// [`SignError`].
    pub async fn sign(
        &self,
        key: &Arc<PublishedKey>,
        input: SigningInput,
        deadline: Deadline,
    ) -> Result<Jwt, SignError> {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            key: Arc::clone(key),
            input,
            deadline,
            reply,
        };
        self.queue
            .try_send(Order::Sign(job))
            .map_err(|error| match error {
                TrySendError::Full(_) => SignError::Overloaded,
                TrySendError::Disconnected(_) => SignError::Unavailable,
            })?;
        match tokio::time::timeout_at(deadline.instant().into(), answer).await {
            Ok(Ok(result)) => result,
            // The thread drops a job whose deadline has passed.
            Ok(Err(_)) | Err(_) => Err(SignError::TimedOut),
        }
    }

    /// Tells the threads to end after the jobs that wait; does not wait for them.
    pub fn stop(&self) {
        for _ in 0..self.threads {
            if self
                .queue
                .send_timeout(Order::Stop, Duration::from_millis(100))
                .is_err()
            {
                return;
            }
        }
    }
}

fn run<D: SigningDevice>(mut device: D, orders: &Receiver<Order>) {
    while let Ok(Order::Sign(job)) = orders.recv() {
        if job.deadline.passed() || job.reply.is_closed() {
            continue;
        }
        let Job {
            key,
            input,
            deadline,
            reply,
        } = job;
        let signed = catch_unwind(AssertUnwindSafe(|| {
            device.sign(&key, input.as_bytes(), deadline)
        }));
        let result = match signed {
            Ok(result) => result.map(|signature| input.into_jwt(&signature)),
            Err(_) => {
                tracing::error!("a signing thread panicked; the mint failed, the thread goes on");
                Err(SignError::Unexpected)
            }
        };
        // A caller that has given up is no error.
        reply.send(result).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Algorithm;
    use crate::keys::local::LocalKey;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Local(Arc<LocalKey>);

    impl SigningDevice for Local {
        fn sign(
            &mut self,
            _: &PublishedKey,
            message: &[u8],
            _: Deadline,
        ) -> Result<Signature, SignError> {
            self.0.sign(message).map_err(|_| SignError::Unexpected)
        }
    }

    /// Says that it has a job, and holds it until told to go on.
    struct Held {
        taken: Arc<Barrier>,
        go_on: Receiver<()>,
        inner: Local,
    }

    impl SigningDevice for Held {
        fn sign(
            &mut self,
            key: &PublishedKey,
            message: &[u8],
            deadline: Deadline,
        ) -> Result<Signature, SignError> {
            self.taken.wait();
            self.go_on.recv().ok();
            self.inner.sign(key, message, deadline)
        }
    }

    struct Panics;

    impl SigningDevice for Panics {
        fn sign(
            &mut self,
            _: &PublishedKey,
            _: &[u8],
            _: Deadline,
        ) -> Result<Signature, SignError> {
            panic!("a bug in a device")
        }
    }

    fn key() -> Arc<LocalKey> {
        Arc::new(LocalKey::ephemeral(Algorithm::Es256).unwrap())
    }

    fn input(key: &LocalKey, payload: &[u8]) -> SigningInput {
        SigningInput::new(key.published().header(), payload)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(30))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_caller_gets_the_signature_of_its_own_input() {
        let key = key();
        let devices = (0..4).map(|_| Local(Arc::clone(&key))).collect();
        let workers = Arc::new(Workers::start(devices, 256).unwrap());

        let mints = (0..200).map(|number| {
            let (workers, key) = (Arc::clone(&workers), Arc::clone(&key));
            tokio::spawn(async move {
                let wanted = input(&key, number.to_string().as_bytes());
                let jwt = workers
                    .sign(&key.published(), wanted.clone(), soon())
                    .await
                    .unwrap();
                assert!(jwt.expose().as_bytes().starts_with(wanted.as_bytes()));
            })
        });
        for mint in mints.collect::<Vec<_>>() {
            mint.await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_full_queue_refuses_at_once_and_a_late_job_is_dropped() {
        let key = key();
        let (taken, (go_on, held)) = (Arc::new(Barrier::new(2)), bounded(8));
        let device = Held {
            taken: Arc::clone(&taken),
            go_on: held,
            inner: Local(Arc::clone(&key)),
        };
        let workers = Arc::new(Workers::start(vec![device], 1).unwrap());
        let mint = |deadline| {
            let (workers, key) = (Arc::clone(&workers), Arc::clone(&key));
            tokio::spawn(async move {
                workers
                    .sign(&key.published(), input(&key, b"x"), deadline)
                    .await
            })
        };

        let first = mint(soon());
        tokio::task::spawn_blocking(move || taken.wait())
            .await
            .unwrap();
        let late = mint(Deadline::after(Duration::from_millis(20)));
        assert_eq!(late.await.unwrap().unwrap_err(), SignError::TimedOut);
        assert_eq!(
            mint(soon()).await.unwrap().unwrap_err(),
            SignError::Overloaded
        );

        go_on.send(()).unwrap();
        assert!(first.await.unwrap().is_ok());
        assert!(go_on.is_empty(), "the late job reached no device");
    }

    /// Fails as devices do: by an error, a panic, or too late.
    struct Moody(Local);

    impl SigningDevice for Moody {
        fn sign(
            &mut self,
            key: &PublishedKey,
            message: &[u8],
            deadline: Deadline,
        ) -> Result<Signature, SignError> {
            match message.last().map(|byte| byte % 8) {
                Some(0) => panic!("a bug in a device"),
                Some(1) => Err(SignError::Unavailable),
                Some(2) => {
                    for _ in 0..1000 {
                        std::thread::yield_now();
                    }
                    self.0.sign(key, message, deadline)
                }
                _ => self.0.sign(key, message, deadline),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_in_a_crowd_gets_an_answer_of_somebody_else() {
        let key = key();
        let devices = (0..4).map(|_| Moody(Local(Arc::clone(&key)))).collect();
        let workers = Arc::new(Workers::start(devices, 64).unwrap());
        let answered = Arc::new(AtomicUsize::new(0));

        let mints = (0..2000_u64).map(|number| {
            let (workers, key) = (Arc::clone(&workers), Arc::clone(&key));
            let answered = Arc::clone(&answered);
            let mint = tokio::spawn(async move {
                let wanted = input(&key, number.to_string().as_bytes());
                let deadline = match number % 4 {
                    0 => soon(),
                    short => Deadline::after(Duration::from_millis(short)),
                };
                let published = key.published();
                let jwt = loop {
                    match workers.sign(&published, wanted.clone(), deadline).await {
                        Ok(jwt) => break jwt,
                        // Some come again, so that however crowded it is there are answers to look at.
                        Err(SignError::Overloaded) if number % 8 == 4 => {
                            tokio::task::yield_now().await;
                        }
                        Err(_) => return,
                    }
                };
                let mut theirs = jwt.expose().as_bytes().to_vec();
                let signature = theirs.split_off(wanted.as_bytes().len());
                assert_eq!(theirs, wanted.as_bytes());
                let signature = base64::Engine::decode(
                    &base64::engine::general_purpose::URL_SAFE_NO_PAD,
                    &signature[1..],
                );
                let signature = Signature::new(signature.unwrap());
                assert!(published.verifier().accepts(&theirs, &signature));
                answered.fetch_add(1, Ordering::Relaxed);
            });
            if number % 7 == 0 {
                // Its caller went away.
                mint.abort();
            }
            mint
        });
        for mint in mints.collect::<Vec<_>>() {
            assert!(mint.await.err().is_none_or(|error| error.is_cancelled()));
        }
        assert!(answered.load(Ordering::Relaxed) > 10);
        let wanted = input(&key, b"3");
        let published = key.published();
        let after = workers.sign(&published, wanted, soon()).await;
        assert!(after.is_ok(), "all threads live on: {after:?}");
    }

    #[tokio::test]
    async fn a_panic_is_one_failed_mint() {
        let key = key();
        let workers = Workers::start(vec![Panics], 4).unwrap();

        for _ in 0..3 {
            let published = key.published();
            let mint = workers.sign(&published, input(&key, b"x"), soon()).await;
            assert_eq!(mint.unwrap_err(), SignError::Unexpected);
        }
        workers.stop();
    }
}
