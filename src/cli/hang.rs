//! A command that opens modules is watched, because a call into a module may never come back.
//!
//! ```text
//! main thread    step, step, ... answer      (a step: one token opened, looked at, given a key)
//! watcher        waits for the next of them; one that takes too long is a call that hangs
//! ```
//!
//! A hung call cannot be cancelled: what is left is to say where it hangs, and to leave past the module's destructors. The command
//! has the main thread: a module whose threads end before it does not like to be unloaded.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

/// What a command is about to do on a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    Look,
    Make,
    Destroy,
}

/// Where a command is: which token, and what may have changed by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) module: PathBuf,
    pub(super) token: String,
    pub(super) act: Act,
}

/// A call into a module did not come back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a call into the PKCS#11 module {module} (token {token}) has not come back for {waited} s (MACP_AUTH_STUCK_EXIT_SECONDS), so the command was given up.{left} Look at the HSM, its daemon and the way to it, and restart what hangs; `doctor` shows which call it is",
    module = .step.module.display(),
    token = .step.token,
    waited = .patience.as_secs(),
    left = .step.act.left_behind()
)]
pub(super) struct Hung {
    step: Step,
    patience: Duration,
}

thread_local! {
    /// Of the command that this thread runs: whoever opens a token says so, without every command having to pass it on.
    static STEPS: RefCell<Option<Sender<Step>>> = const { RefCell::new(None) };
}

/// Runs a command on this thread; where a step of it takes longer than `patience`, `hung` is called on another.
///
/// # Errors
/// The system gives no thread.
pub(super) fn watched<T>(
    patience: Duration,
    hung: impl FnOnce(Hung) + Send + 'static,
    command: impl FnOnce() -> T,
) -> io::Result<T> {
    let (steps, heard) = unbounded();
    let watcher = std::thread::Builder::new().name("watcher".to_owned());
    let watcher = watcher.spawn(move || {
        if let Some(found) = listen(&heard, patience) {
            hung(found);
        }
    })?;
    STEPS.set(Some(steps));
    let answer = command();
    STEPS.set(None);
    // A watcher that panicked has nothing to say any more.
    watcher.join().ok();
    Ok(answer)
}

/// The command of this thread goes on to this.
pub(super) fn goes_on(module: &Path, token: &str, act: Act) {
    let step = Step {
        module: module.to_owned(),
        token: token.to_owned(),
        act,
    };
    STEPS.with_borrow(|steps| {
        if let Some(said) = steps {
            said.send(step).ok();
        }
    });
}

/// None: the command has ended.
fn listen(heard: &Receiver<Step>, patience: Duration) -> Option<Hung> {
    let mut at = None;
    loop {
        match heard.recv_timeout(patience) {
            Ok(step) => at = Some(step.after(at.as_ref())),
            Err(RecvTimeoutError::Disconnected) => return None,
            // Before the first step no module has been called: a file that is slow to read hangs nothing.
            Err(RecvTimeoutError::Timeout) => {
                if let Some(step) = at {
                    return Some(Hung { step, patience });
                }
            }
        }
    }
}

impl Step {
    /// A token that is only looked at after another was changed: the change is what to tell.
    fn after(self, before: Option<&Self>) -> Self {
        let act = before.map_or(self.act, |before| before.act.max(self.act));
        Self { act, ..self }
    }
}

impl Act {
    /// What may be on the token all the same.
    const fn left_behind(self) -> &'static str {
        match self {
            Self::Look => "",
            Self::Make => {
                " A key may have been made: see `keys list` once the HSM answers, before you make another."
            }
            Self::Destroy => " Keys may have been destroyed: see `keys list` once the HSM answers.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(act: Act) -> Step {
        Step {
            module: "/lib/a.so".into(),
            token: "one".to_owned(),
            act,
        }
    }

    #[test]
    fn a_step_that_takes_too_long_is_the_one_that_is_told() {
        let (said, heard) = unbounded();
        for act in [Act::Look, Act::Make, Act::Look] {
            said.send(step(act)).unwrap();
        }

        let Some(hung) = listen(&heard, Duration::from_millis(1)) else {
            panic!("it does not hang");
        };

        assert_eq!(hung.step, step(Act::Make));
        let text = hung.to_string();
        for part in [
            "/lib/a.so",
            "token one",
            "A key may have been made",
            "`keys list`",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_command_that_ends_in_time_gives_its_answer() {
        let end = watched(
            Duration::from_secs(60),
            |hung| panic!("{hung}"),
            || {
                goes_on(Path::new("/lib/a.so"), "one", Act::Look);
                "done"
            },
        );

        assert_eq!(end.unwrap(), "done");
    }
}
