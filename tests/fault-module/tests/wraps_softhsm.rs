//! Every kind of rule, over SoftHSM2, as a caller sees it.
//!
//! `Session::sign` of cryptoki makes three calls: C_SignInit, C_Sign for the length, C_Sign for the signature.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads its own environment and clock"
)]

mod rig;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use cryptoki::error::RvError;
use cryptoki::session::UserType;

use rig::{code, find, logged_in, module, pair, pin, scenario, scenario_with, sign, verifies};

#[test]
fn without_rules_it_forwards_and_counts() {
    scenario("without_rules_it_forwards_and_counts", |rig| {
        let (hsm, slot, session) = rig.session();
        let key = pair(&session);
        let before = (rig.calls("C_SignInit"), rig.calls("C_Sign"));

        for round in 1..=3 {
            let signature = sign(&session, key).unwrap();
            assert!(verifies(&session, key, &signature));
            assert_eq!(rig.calls("C_SignInit"), before.0 + round);
            assert_eq!(rig.calls("C_Sign"), before.1 + 2 * round);
        }

        assert_eq!(rig.calls("C_Login"), 2, "one made the PIN");
        let opened = rig.calls("C_OpenSession");
        drop(hsm.open_ro_session(slot).unwrap());
        assert_eq!(rig.calls("C_OpenSession"), opened + 1);
        drop(session);
        assert_eq!(rig.calls("C_CloseSession"), rig.calls("C_OpenSession"));
        hsm.finalize().unwrap();
        assert_eq!((rig.calls("C_Initialize"), rig.calls("C_Finalize")), (1, 1));
        let text = fs::read_to_string(rig.path("counts")).unwrap();
        assert!(text.lines().all(|line| line.ends_with(" 0")), "{text}");
    });
}

#[test]
fn a_failure_comes_when_the_rule_says_and_goes_with_it() {
    scenario(
        "a_failure_comes_when_the_rule_says_and_goes_with_it",
        |rig| {
            let (hsm, slot, session) = rig.session();
            let key = pair(&session);

            rig.say("C_SignInit fail CKR_DEVICE_ERROR after 3 times 2\n");
            let answers: Vec<bool> = (0..6).map(|_| sign(&session, key).is_ok()).collect();
            assert_eq!(answers, [true, true, true, false, false, true]);
            assert_eq!(rig.faults("C_SignInit"), 2);

            rig.say("C_SignInit fail 0x80000abc\n");
            let answer = code(sign(&session, key));
            assert!(matches!(answer, RvError::VendorDefined(_)), "{answer:?}");

            rig.say("* fail CKR_TOKEN_NOT_PRESENT\n");
            assert_eq!(code(sign(&session, key)), RvError::TokenNotPresent);
            assert_eq!(code(hsm.get_token_info(slot)), RvError::TokenNotPresent);

            rig.say("");
            assert!(verifies(&session, key, &sign(&session, key).unwrap()));
        },
    );
}

#[test]
fn a_session_is_closed_even_where_the_caller_is_told_otherwise() {
    scenario(
        "a_session_is_closed_even_where_the_caller_is_told_otherwise",
        |rig| {
            let (hsm, slot, _session) = rig.session();

            rig.say("C_CloseSession fail CKR_DEVICE_ERROR\nC_OpenSession limit 2\n");
            for _ in 0..3 {
                let session = hsm.open_ro_session(slot).unwrap();
                assert_eq!(code(session.close()), RvError::DeviceError);
            }
        },
    );
}

#[test]
fn a_hang_stops_its_own_thread_until_the_rule_goes() {
    scenario("a_hang_stops_its_own_thread_until_the_rule_goes", |rig| {
        let (hsm, slot, session) = rig.session();
        let key = pair(&session);
        let other = hsm.open_ro_session(slot).unwrap();
        let calls = rig.calls("C_SignInit");

        rig.say("C_SignInit hang times 1\n");
        thread::scope(|scope| {
            let hung = scope.spawn(move || {
                let signature = sign(&session, key).unwrap();
                verifies(&session, key, &signature)
            });
            while rig.calls("C_SignInit") == calls {
                thread::sleep(Duration::from_millis(1));
            }
            for _ in 0..20 {
                assert!(verifies(&other, key, &sign(&other, key).unwrap()));
            }
            assert!(!hung.is_finished());
            rig.say("");
            let since = Instant::now();
            assert!(hung.join().unwrap());
            assert!(since.elapsed() < Duration::from_secs(1));
        });
        assert_eq!(rig.faults("C_SignInit"), 1);
    });
}

#[test]
fn a_delay_takes_its_time() {
    scenario("a_delay_takes_its_time", |rig| {
        let (_hsm, _slot, session) = rig.session();
        let key = pair(&session);

        rig.say("C_SignInit delay 200\n");
        let since = Instant::now();
        let signature = sign(&session, key).unwrap();

        assert!(since.elapsed() >= Duration::from_millis(200));
        assert!(verifies(&session, key, &signature));
    });
}

#[test]
fn a_flipped_signature_and_one_by_another_key_do_not_verify() {
    scenario(
        "a_flipped_signature_and_one_by_another_key_do_not_verify",
        |rig| {
            let (_hsm, _slot, session) = rig.session();
            let key = pair(&session);

            rig.say("C_Sign other-key\n");
            let lonely = sign(&session, key).unwrap();
            assert!(verifies(&session, key, &lonely), "there is no other key");
            assert_eq!(rig.faults("C_SignInit"), 0);

            let other = pair(&session);
            let foreign = sign(&session, key).unwrap();
            assert!(!verifies(&session, key, &foreign));
            assert!(verifies(&session, other, &foreign));
            assert_eq!(rig.faults("C_SignInit"), 1);

            rig.say("C_Sign flip times 1\n");
            assert!(!verifies(&session, key, &sign(&session, key).unwrap()));
            assert!(verifies(&session, key, &sign(&session, key).unwrap()));
            assert_eq!(rig.faults("C_Sign"), 1);
        },
    );
}

#[test]
fn hidden_objects_and_slots_come_back_with_the_end_of_the_rule() {
    scenario(
        "hidden_objects_and_slots_come_back_with_the_end_of_the_rule",
        |rig| {
            let (hsm, slot, session) = rig.session();
            pair(&session);

            rig.say("C_FindObjects hide\nC_GetSlotList hide token main\n");
            assert_eq!(session.find_objects(&[]).unwrap(), []);
            let slots = hsm.get_slots_with_token().unwrap();
            assert!(!slots.is_empty() && !slots.contains(&slot), "{slots:?}");

            rig.say("C_GetSlotList hide\n");
            assert_eq!(session.find_objects(&[]).unwrap().len(), 2);
            assert_eq!(hsm.get_slots_with_token().unwrap(), []);

            rig.say("");
            assert!(hsm.get_slots_with_token().unwrap().contains(&slot));
        },
    );
}

#[test]
fn a_frozen_token_shows_new_objects_after_the_next_initialisation_alone() {
    scenario(
        "a_frozen_token_shows_new_objects_after_the_next_initialisation_alone",
        |rig| {
            let (hsm, _, session) = rig.session();
            pair(&session);
            rig.say("C_FindObjects freeze\n");
            assert_eq!(session.find_objects(&[]).unwrap().len(), 2);

            pair(&session);
            assert_eq!(session.find_objects(&[]).unwrap().len(), 2);
            assert!(rig.faults("C_FindObjects") > 0);

            drop(session);
            hsm.clone().finalize().unwrap();
            hsm.initialize(rig::threads()).unwrap();
            let session = logged_in(&hsm, find(&hsm, "main"));
            assert_eq!(session.find_objects(&[]).unwrap().len(), 4);
        },
    );
}

#[test]
fn renumbered_slots_work_by_their_new_numbers_only() {
    scenario("renumbered_slots_work_by_their_new_numbers_only", |rig| {
        let (hsm, old, session) = rig.session();

        rig.say("C_GetSlotList renumber 100\n");
        let new = find(&hsm, "main");
        assert_eq!(new.id(), old.id() + 100);
        assert_eq!(code(hsm.get_token_info(old)), RvError::SlotIdInvalid);
        assert_eq!(code(hsm.open_ro_session(old)), RvError::SlotIdInvalid);
        let opened = hsm.open_ro_session(new).unwrap();
        assert_eq!(opened.get_session_info().unwrap().slot_id(), new);
        assert_eq!(session.get_session_info().unwrap().slot_id(), new);

        rig.say("C_GetSlotList renumber 18446744073709551615\n");
        assert_eq!(code(hsm.get_token_info(new)), RvError::SlotIdInvalid);
    });
}

#[test]
fn a_session_limit_is_a_limit_of_each_token() {
    scenario("a_session_limit_is_a_limit_of_each_token", |rig| {
        let (hsm, slot, session) = rig.session();
        let standby = rig.token(&hsm, "stand by");

        rig.say("C_OpenSession limit 1\n");
        assert_eq!(code(hsm.open_ro_session(slot)), RvError::SessionCount);
        let only = hsm.open_ro_session(standby).unwrap();
        assert_eq!(code(hsm.open_ro_session(standby)), RvError::SessionCount);
        assert_eq!(rig.faults("C_OpenSession"), 2);
        drop((session, only));
        hsm.open_ro_session(slot).unwrap();

        rig.say("C_OpenSession limit 0 token stand by\n");
        hsm.open_ro_session(slot).unwrap();
        assert_eq!(code(hsm.open_ro_session(standby)), RvError::SessionCount);
    });
}

#[test]
fn login_and_sessions_are_lost_behind_the_callers_back() {
    scenario(
        "login_and_sessions_are_lost_behind_the_callers_back",
        |rig| {
            let (hsm, slot, session) = rig.session();
            let key = pair(&session);
            let calls = (rig.calls("C_Logout"), rig.calls("C_CloseAllSessions"));

            rig.say("C_SignInit logout\n");
            sign(&session, key).unwrap_err();
            session.login(UserType::User, Some(&pin())).unwrap();
            rig.say("");
            assert_eq!(session.find_objects(&[]).unwrap().len(), 2);

            rig.say("close-sessions\n");
            let lost = code(session.get_session_info());
            assert_eq!(lost, RvError::SessionHandleInvalid);
            let session = logged_in(&hsm, slot);
            assert_eq!(session.find_objects(&[]).unwrap().len(), 2);
            let now = (rig.calls("C_Logout"), rig.calls("C_CloseAllSessions"));
            assert_eq!(now, calls, "what the module does itself is no call");
        },
    );
}

#[test]
fn a_rule_for_one_token_leaves_the_other_alone() {
    scenario("a_rule_for_one_token_leaves_the_other_alone", |rig| {
        let (hsm, dying, session) = rig.session();
        let healthy = rig.token(&hsm, "stand by");
        let other = logged_in(&hsm, healthy);
        let (key, spare) = (pair(&session), pair(&other));

        rig.say("* fail CKR_TOKEN_NOT_PRESENT token main\n");
        assert_eq!(code(sign(&session, key)), RvError::TokenNotPresent);
        assert_eq!(code(hsm.get_token_info(dying)), RvError::TokenNotPresent);
        assert_eq!(code(hsm.open_ro_session(dying)), RvError::TokenNotPresent);
        sign(&other, spare).unwrap();

        rig.say("close-sessions token main\n");
        sign(&other, spare).unwrap();
        assert_eq!(code(sign(&session, key)), RvError::SessionHandleInvalid);
        sign(&other, spare).unwrap();
    });
}

#[test]
fn chance_strikes_about_as_often_as_it_says() {
    scenario("chance_strikes_about_as_often_as_it_says", |rig| {
        let (_hsm, _slot, session) = rig.session();
        let key = pair(&session);

        rig.say("C_SignInit fail CKR_DEVICE_ERROR,CKR_GENERAL_ERROR chance 0.2 seed 7\n");
        let failed = (0..300).filter(|_| sign(&session, key).is_err()).count();

        assert!((30..100).contains(&failed), "{failed} of 300");
        assert_eq!(rig.faults("C_SignInit"), failed as u64);
    });
}

#[test]
fn counts_are_exact_with_many_threads() {
    scenario("counts_are_exact_with_many_threads", |rig| {
        let (hsm, slot, session) = rig.session();
        let key = pair(&session);
        let before = rig.calls("C_Sign");

        rig.say("C_Sign flip after 1000000\n");
        thread::scope(|scope| {
            for _ in 0..4 {
                let session = hsm.open_ro_session(slot).unwrap();
                scope.spawn(move || {
                    for _ in 0..50 {
                        sign(&session, key).unwrap();
                    }
                });
            }
        });

        assert_eq!(rig.calls("C_Sign"), before + 400);
    });
}

#[test]
fn a_copy_by_another_name_has_settings_of_its_own() {
    let softhsm = rig::softhsm();
    let target = [("FAULT_MODULE_TARGET_SPARE", softhsm.to_str().unwrap())];
    let name = "a_copy_by_another_name_has_settings_of_its_own";
    scenario_with(name, &target, |rig| {
        let copy = rig.path("libfault_module_spare.so");
        fs::copy(module(), &copy).unwrap();
        rig.say("* fail CKR_DEVICE_ERROR\nC_Initialize fail CKR_DEVICE_ERROR\n");

        let spare = Pkcs11::new(copy).unwrap();
        spare.initialize(rig::threads()).unwrap();
        assert!(!spare.get_all_slots().unwrap().is_empty());

        let first = Pkcs11::new(module()).unwrap();
        assert_eq!(code(first.initialize(rig::threads())), RvError::DeviceError);
    });
}

#[test]
fn a_target_that_is_no_module_fails_to_initialise_and_says_why() {
    let name = "a_target_that_is_no_module_fails_to_initialise_and_says_why";
    let own = module();
    for (target, why) in [
        ("", "FAULT_MODULE_TARGET: it is not set"),
        ("libsofthsm2.so", "is no absolute path"),
        (
            "/nowhere/libsofthsm2.so",
            "cannot load /nowhere/libsofthsm2.so",
        ),
        ("/lib/x86_64-linux-gnu/libc.so.6", "FAULT_MODULE_TARGET: "),
        (own.to_str().unwrap(), "is this very module"),
    ] {
        let stderr = scenario_with(name, &[("FAULT_MODULE_TARGET", target)], |_| {
            let hsm = Pkcs11::new(module()).unwrap();
            assert_eq!(code(hsm.initialize(rig::threads())), RvError::GeneralError);
        });
        let Some(stderr) = stderr else { return };
        let lines = stderr
            .lines()
            .filter(|line| line.starts_with("fault-module: "));
        let lines: Vec<_> = lines.collect();
        assert!(lines.len() == 1 && lines[0].contains(why), "{stderr}");
    }
}

#[test]
fn a_line_that_cannot_be_read_is_reported_once() {
    let stderr = scenario("a_line_that_cannot_be_read_is_reported_once", |rig| {
        let hsm = rig.hsm();
        for _ in 0..3 {
            rig.say("C_Sign explode\n");
            hsm.get_all_slots().unwrap();
            rig.say("");
            hsm.get_all_slots().unwrap();
        }
    });

    let Some(stderr) = stderr else { return };
    assert_eq!(stderr.matches("no action explode").count(), 1, "{stderr}");
}
