//! What to do about a failure: (class of the code, where, state of the session, what was tried) -> action.
//!
//! Pure; the supervisor and the seats carry it out. The ladder, as measured on six modules, stands in docs/pkcs11.md:
//! a new session, then the login, then the handles, then the module as a whole. Signing is idempotent, so a second
//! attempt inside the deadline of a mint does no harm; there is never a third.

use super::ckr::Class;

/// Which call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// C_OpenSession.
    OpenSession,
    /// C_Login.
    Login,
    /// C_FindObjects*, C_GetAttributeValue.
    Find,
    /// C_SignInit, C_Sign.
    Sign,
}

/// What C_GetSessionInfo says of the session on which the call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// The user is logged in, or the token wants no login.
    LoggedIn,
    /// The login is gone: closing the last session, another program's C_Logout, or a token that forgot it.
    Public,
    /// It does not answer, or there is none.
    Unknown,
}

/// What was tried before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct History {
    /// This is the first failure of this mint, search or probe.
    pub first: bool,
    /// The key has signed before: its type and size suit the token, so such a complaint is about a stale handle.
    pub signed_before: bool,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The state asked for is there.
    Proceed,
    /// Drop the session and try once more on another.
    NewSession,
    /// Find the keys again: handles die, and a stale one can name another key.
    FindKeys,
    /// Log in once for all, then find the keys again: the handles died with the login.
    LogIn,
    /// Stop all, finalise, initialise, find the token, log in, find the keys.
    Reinitialize,
    /// No login with this PIN any more.
    StopLogins,
    /// This key or this configuration will not do until somebody changes it.
    GiveUp,
}

/// Decides.
pub const fn decide(class: Class, place: Place, session: SessionState, history: History) -> Action {
    match class {
        Class::AlreadyDone => Action::Proceed,
        Class::Pin => Action::StopLogins,
        Class::Permanent => Action::GiveUp,
        Class::Token => Action::Reinitialize,
        // SoftHSM2 and Kryoptic report a lost login under many codes: the state of the session decides.
        Class::Session
        | Class::SessionLimit
        | Class::Login
        | Class::Key
        | Class::Mechanism
        | Class::Attribute
            if matches!(session, SessionState::Public) && !matches!(place, Place::Login) =>
        {
            Action::LogIn
        }
        Class::Login => Action::LogIn,
        Class::Session | Class::SessionLimit => match (place, history.first) {
            (Place::Login, _) | (_, false) => Action::Reinitialize,
            (Place::OpenSession | Place::Find | Place::Sign, true) => Action::NewSession,
        },
        Class::Key => Action::FindKeys,
        Class::Mechanism if history.signed_before => Action::FindKeys,
        Class::Mechanism | Class::Attribute => match place {
            Place::Sign | Place::Find => Action::GiveUp,
            Place::OpenSession | Place::Login => Action::Reinitialize,
        },
    }
}

/// The next rung, for a repair that did not help.
pub const fn escalate(action: Action) -> Action {
    match action {
        Action::Proceed | Action::NewSession => Action::FindKeys,
        Action::FindKeys => Action::LogIn,
        Action::LogIn | Action::Reinitialize => Action::Reinitialize,
        Action::StopLogins => Action::StopLogins,
        Action::GiveUp => Action::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: [Class; 10] = [
        Class::Session,
        Class::SessionLimit,
        Class::Login,
        Class::Key,
        Class::Mechanism,
        Class::Token,
        Class::Pin,
        Class::Attribute,
        Class::AlreadyDone,
        Class::Permanent,
    ];
    const PLACES: [Place; 4] = [Place::OpenSession, Place::Login, Place::Find, Place::Sign];
    const SESSIONS: [SessionState; 3] = [
        SessionState::LoggedIn,
        SessionState::Public,
        SessionState::Unknown,
    ];

    /// Every cell of the table: 10 classes, 4 places, 3 states, 4 histories.
    fn grid() -> impl Iterator<Item = (Class, Place, SessionState, History, Action)> {
        let histories = [(true, true), (true, false), (false, true), (false, false)];
        CLASSES.into_iter().flat_map(move |class| {
            PLACES.into_iter().flat_map(move |place| {
                SESSIONS.into_iter().flat_map(move |session| {
                    histories.into_iter().map(move |(first, signed_before)| {
                        let history = History {
                            first,
                            signed_before,
                        };
                        let action = decide(class, place, session, history);
                        (class, place, session, history, action)
                    })
                })
            })
        })
    }

    #[test]
    fn the_ladder_of_a_mint_is_as_documented() {
        use Action::{FindKeys, GiveUp, LogIn, NewSession, Reinitialize, StopLogins};
        use SessionState::{LoggedIn, Public, Unknown};
        #[rustfmt::skip]
        let rows = [
            ("a closed session", Class::Session, LoggedIn, true, NewSession),
            ("the same twice", Class::Session, LoggedIn, false, Reinitialize),
            ("a general error of a public session", Class::Session, Public, true, LogIn),
            ("no more sessions", Class::SessionLimit, Unknown, true, NewSession),
            ("not logged in", Class::Login, LoggedIn, true, LogIn),
            ("a stale handle", Class::Key, LoggedIn, true, FindKeys),
            ("a stale handle after a lost login", Class::Key, Public, true, LogIn),
            ("a handle that names another type of key", Class::Mechanism, LoggedIn, true, FindKeys),
            ("the token is gone", Class::Token, Unknown, true, Reinitialize),
            ("an expired PIN", Class::Pin, LoggedIn, true, StopLogins),
            ("a locked library", Class::Permanent, LoggedIn, true, GiveUp),
        ];
        for (name, class, session, first, want) in rows {
            let history = History {
                first,
                signed_before: true,
            };
            assert_eq!(decide(class, Place::Sign, session, history), want, "{name}");
        }
    }

    #[test]
    fn no_failure_of_a_pin_is_ever_answered_by_a_login() {
        for (class, place, session, history, action) in grid() {
            if class == Class::Pin {
                assert_eq!(
                    action,
                    Action::StopLogins,
                    "{place:?} {session:?} {history:?}"
                );
            }
        }
    }

    #[test]
    fn a_session_is_tried_anew_once_only() {
        for (class, place, session, history, action) in grid() {
            let again = action == Action::NewSession;
            assert!(!again || history.first, "{class:?} {place:?} {session:?}");
        }
    }

    #[test]
    fn a_failed_login_is_not_answered_by_another_in_the_same_breath() {
        for (class, place, session, history, action) in grid() {
            if place == Place::Login && class != Class::Login && class != Class::Key {
                assert_ne!(action, Action::LogIn, "{class:?} {session:?} {history:?}");
            }
        }
    }

    #[test]
    fn a_lost_login_is_seen_behind_every_code_that_hides_it() {
        for (class, place, session, _, action) in grid() {
            let hides = !matches!(
                class,
                Class::AlreadyDone | Class::Pin | Class::Permanent | Class::Token
            );
            if session == SessionState::Public && place != Place::Login && hides {
                assert_eq!(action, Action::LogIn, "{class:?} {place:?}");
            }
        }
    }

    #[test]
    fn every_rung_leads_to_the_top_or_to_an_operator() {
        for (.., start) in grid() {
            let mut action = start;
            for _ in 0..4 {
                action = escalate(action);
            }
            assert!(
                matches!(
                    action,
                    Action::Reinitialize | Action::StopLogins | Action::GiveUp
                ),
                "{start:?}"
            );
        }
    }
}
