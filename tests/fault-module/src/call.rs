//! What happens to every call before it reaches the wrapped module.
//!
//! count --> rules of this moment --> act behind the caller's back --> delay --> hang --> fail --> forward
//!
//! No lock is held while a call waits, or while it is inside the wrapped module: a hang stops its own thread alone.

use std::sync::OnceLock;
use std::time::Duration;

use cryptoki_sys::{
    CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_FUNCTION_NOT_SUPPORTED,
    CKR_GENERAL_ERROR, CKR_SLOT_ID_INVALID,
};

use crate::control::Control;
use crate::counts::{Column, Counts};
use crate::functions::Function;
use crate::report;
use crate::rules::{Call, Plan, Reach};
use crate::sessions::Sessions;
use crate::settings::Settings;
use crate::target::Target;

/// All state of this copy of the module.
#[derive(Debug)]
pub(crate) struct Wrapper {
    settings: Settings,
    target: OnceLock<Target>,
    control: Control,
    pub(crate) counts: Counts,
    pub(crate) sessions: Sessions,
}

/// What a call is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Module,
    /// The number that the caller knows.
    Slot(CK_SLOT_ID),
    Session(CK_SESSION_HANDLE),
}

/// A call that goes on to the wrapped module, and what is still to be done with it.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) target: Target,
    /// The slot of the call as the wrapped module numbers it.
    pub(crate) slot: CK_SLOT_ID,
    pub(crate) offset: CK_SLOT_ID,
    pub(crate) flip: bool,
    pub(crate) other_key: bool,
    pub(crate) hide: Option<Reach>,
    pub(crate) freeze: bool,
    pub(crate) limit: Option<u64>,
    function: Function,
    answer: Option<CK_RV>,
}

impl Wrapper {
    pub(crate) fn own() -> &'static Self {
        static OWN: OnceLock<Wrapper> = OnceLock::new();
        OWN.get_or_init(|| {
            let settings = Settings::from_environment();
            Self {
                target: OnceLock::new(),
                control: Control::new(settings.control.clone()),
                counts: Counts::open(settings.counts.as_deref()),
                sessions: Sessions::default(),
                settings,
            }
        })
    }

    fn load(&self) -> Option<Target> {
        if let Some(target) = self.target.get() {
            return Some(*target);
        }
        let variable = &self.settings.target_variable;
        let loaded = match &self.settings.target {
            Some(path) => Target::load(path, &raw const crate::LIST),
            None => Err("it is not set".to_owned()),
        };
        match loaded {
            Ok(target) => Some(*self.target.get_or_init(|| target)),
            Err(why) => {
                report(&format!(
                    "{variable}: {why}. Set it to the absolute path of the module to wrap"
                ));
                None
            }
        }
    }

    /// The label of the token that a call is about.
    fn token(&self, target: Option<Target>, place: Place, slot: CK_SLOT_ID) -> Option<String> {
        match place {
            Place::Module => None,
            Place::Slot(_) => target?.token_label(slot),
            Place::Session(session) => self.sessions.find(session)?.token,
        }
    }

    fn log_out(&self, target: Target, reach: &Reach) {
        for session in self.sessions.one_per_slot(reach).into_values() {
            if let Some(call) = target.0.C_Logout {
                // SAFETY: C_Logout takes any number for a session. The caller said at C_Initialize whether it uses
                // threads, and this call is on a thread of the caller.
                unsafe { call(session) };
            }
        }
    }

    fn close_sessions(&self, target: Target, reach: &Reach) {
        for slot in self.sessions.one_per_slot(reach).into_keys() {
            if let Some(call) = target.0.C_CloseAllSessions {
                // SAFETY: as for C_Logout; C_CloseAllSessions takes any number for a slot.
                unsafe { call(slot) };
                self.sessions.all_closed(slot);
            }
        }
    }

    /// Carries out what comes before the wrapped module is called.
    fn act(&self, function: Function, target: Option<Target>, plan: &Plan) {
        let fault = || self.counts.add(function, Column::Faults);
        if let (Some(target), Some(reach)) = (target, &plan.log_out) {
            fault();
            self.log_out(target, reach);
        }
        if let (Some(target), Some(reach)) = (target, &plan.close_sessions) {
            fault();
            self.close_sessions(target, reach);
        }
        if !plan.delay.is_zero() {
            fault();
            std::thread::sleep(plan.delay);
        }
        if let Some(text) = &plan.hang {
            fault();
            while self.control.rules().holds(text) {
                std::thread::sleep(LOOKS_AGAIN);
            }
        }
        if plan.fail.or(plan.lose).is_some() {
            fault();
        }
    }
}

/// Counts a call and applies the rules to it. The error is the answer to the caller.
pub(crate) fn enter(function: Function, place: Place, asks_length: bool) -> Result<Entered, CK_RV> {
    let wrapper = Wrapper::own();
    wrapper.counts.add(function, Column::Calls);
    let (target, absent) = match function {
        Function::C_Initialize => (wrapper.load(), CKR_GENERAL_ERROR),
        _ => (wrapper.target.get().copied(), CKR_CRYPTOKI_NOT_INITIALIZED),
    };
    let rules = wrapper.control.rules();
    let offset = rules.slot_offset();
    let slot = match place {
        Place::Slot(number) => number.checked_sub(offset),
        Place::Module | Place::Session(_) => Some(0),
    };
    let token = match slot {
        Some(slot) if rules.asks_for_tokens() => wrapper.token(target, place, slot),
        _ => None,
    };
    let plan = rules.decide(&Call {
        function,
        token: token.as_deref(),
        asks_length,
        has_sessions: wrapper.sessions.any(),
    });
    wrapper.act(function, target, &plan);
    if let Some(code) = plan.fail.filter(|_| !function.gives_back()) {
        return Err(code);
    }
    let target = target.ok_or(absent)?;
    let entered = Entered {
        target,
        slot: slot.unwrap_or_default(),
        offset,
        flip: plan.flip,
        other_key: plan.other_key,
        hide: plan.hide,
        freeze: plan.freeze,
        limit: plan.limit,
        function,
        answer: plan.fail.or(plan.lose),
    };
    if slot.is_none() {
        entered.fault();
        return Err(CKR_SLOT_ID_INVALID);
    }
    Ok(entered)
}

impl Entered {
    /// Counts a rule as applied.
    pub(crate) fn fault(&self) {
        Wrapper::own().counts.add(self.function, Column::Faults);
    }

    /// What the caller is told, where the wrapped module gave this answer, or lacks the function.
    pub(crate) fn answer(&self, given: Option<CK_RV>) -> CK_RV {
        self.answer
            .unwrap_or_else(|| given.unwrap_or(CKR_FUNCTION_NOT_SUPPORTED))
    }
}

const LOOKS_AGAIN: Duration = Duration::from_millis(3);
