//! The grammar and the decisions, as tables and properties.

use proptest::prelude::*;

use super::*;

fn call(function: Function) -> Call<'static> {
    Call {
        function,
        token: Some("main"),
        asks_length: false,
        has_sessions: true,
    }
}

fn failures(rules: &str, calls: usize) -> Vec<Option<CK_RV>> {
    let set = RuleSet::parse(rules);
    assert_eq!(set.complaints(), [""; 0], "{rules}");
    (0..calls)
        .map(|_| set.decide(&call(Function::C_Sign)).fail)
        .collect()
}

#[test]
fn a_rule_fails_the_calls_that_its_qualifiers_say() {
    const N: Option<CK_RV> = None;
    const E: Option<CK_RV> = Some(0x30);
    const G: Option<CK_RV> = Some(0x05);
    for (rules, want) in [
        ("C_Sign fail CKR_DEVICE_ERROR", [E, E, E, E, E, E]),
        ("C_Sign fail 0x30 after 3 times 2", [N, N, N, E, E, N]),
        ("C_Sign fail 0x30 times 2 after 3", [N, N, N, E, E, N]),
        ("C_Sign fail 0x30 times 0", [N, N, N, N, N, N]),
        ("C_Sign fail 0x30,0x5", [E, G, E, G, E, G]),
        ("* fail 0x30 after 5", [N, N, N, N, N, E]),
        ("C_SignInit,C_Sign fail 0x30 times 1", [E, N, N, N, N, N]),
        ("C_SignInit fail 0x30", [N, N, N, N, N, N]),
        ("C_Sign fail 0x30 chance 0", [N, N, N, N, N, N]),
        ("C_Sign fail 0x30 chance 1 times 1", [E, N, N, N, N, N]),
        ("C_Sign fail 0x30 token main", [E, E, E, E, E, E]),
        ("C_Sign fail 0x30 token other", [N, N, N, N, N, N]),
        ("# C_Sign fail 0x30", [N, N, N, N, N, N]),
        ("  C_Sign   fail\t0x30 times 1 # once", [E, N, N, N, N, N]),
        (
            "C_Sign fail 0x30 times 1\nC_Sign fail 0x5 times 2",
            [E, G, G, N, N, N],
        ),
    ] {
        assert_eq!(failures(rules, 6), want, "{rules}");
    }
}

#[test]
fn a_line_that_cannot_be_read_is_complained_about_and_the_others_count() {
    for (line, why) in [
        ("C_Sign", "an action is missing"),
        ("C_Sgin fail 0x30", "no function C_Sgin"),
        (
            "C_GetFunctionList fail 0x30",
            "no function C_GetFunctionList",
        ),
        ("C_Sign,, hang", "no function "),
        ("C_Sign explode", "no action explode"),
        ("C_Sign fail", "fail needs a code"),
        ("C_Sign fail CKR_OK", "no code CKR_OK"),
        ("C_Sign fail 0x30,", "no code "),
        ("C_Sign delay", "delay needs a whole number"),
        ("C_Sign delay -1", "delay needs a whole number"),
        (
            "C_Sign delay 99999999999999999999",
            "delay needs a whole number",
        ),
        ("C_Sign hang after", "after needs a whole number"),
        ("C_Sign hang chance 2", "chance needs a number from 0 to 1"),
        (
            "C_Sign hang chance NaN",
            "chance needs a number from 0 to 1",
        ),
        ("C_Sign hang after 1 after 2", "after stands twice"),
        ("C_Sign hang sometimes", "no qualifier sometimes"),
        ("C_Sign hang token", "token needs a label"),
        ("C_Login flip", "flip is for C_Sign and C_SignFinal"),
        ("* flip", "flip is for C_Sign and C_SignFinal"),
        ("C_Sign hide", "hide is for C_FindObjects and C_GetSlotList"),
        ("C_GetSlotList freeze", "freeze is for C_FindObjects"),
        ("C_Sign limit 1", "limit is for C_OpenSession"),
        (
            "C_OpenSession limit 1 times 2",
            "limit takes no qualifier but token",
        ),
        (
            "C_GetSlotList renumber 1 token a",
            "renumber takes no qualifier",
        ),
    ] {
        let set = RuleSet::parse(&format!("\n{line}\nC_Sign flip\n"));

        let complaint = set.complaints().first().unwrap();
        assert!(complaint.contains(&format!(": {why}: ")), "{complaint}");
        assert!(complaint.starts_with("line 2 "), "{complaint}");
        assert!(set.decide(&call(Function::C_Sign)).flip, "{line}");
    }
}

type Row = (&'static str, Function, fn(&mut Plan));

/// A rule, a call, and what the plan for it then holds.
const PLANS: [Row; 17] = {
    use Function as F;
    [
        ("C_Sign delay 2", F::C_Sign, |p| {
            p.delay = Duration::from_millis(2)
        }),
        ("C_Sign  hang", F::C_Sign, |p| {
            p.hang = Some("C_Sign hang".to_owned())
        }),
        ("C_Sign flip", F::C_Sign, |p| p.flip = true),
        ("C_Sign lose 0x30", F::C_Sign, |p| p.lose = Some(0x30)),
        ("C_Sign other-key", F::C_SignInit, |p| p.other_key = true),
        ("C_Sign other-key", F::C_Sign, |_| {}),
        ("C_FindObjects hide", F::C_FindObjects, |p| {
            p.hide = Some(Reach::All)
        }),
        ("C_FindObjects freeze", F::C_FindObjects, |p| {
            p.freeze = true
        }),
        ("C_GetSlotList hide token b c", F::C_GetSlotList, |p| {
            p.hide = token("b c")
        }),
        ("C_OpenSession limit 1", F::C_OpenSession, |p| {
            p.limit = Some(1)
        }),
        ("logout", F::C_Sign, |p| p.log_out = Some(Reach::All)),
        ("C_SignInit logout", F::C_Sign, |_| {}),
        ("close-sessions token main", F::C_Sign, |p| {
            p.close_sessions = token("main")
        }),
        ("* fail 0x30", F::C_Login, |p| p.fail = Some(0x30)),
        ("* fail 0x30", F::C_Initialize, |_| {}),
        ("* fail 0x30", F::C_Finalize, |_| {}),
        ("C_Initialize fail 0x30", F::C_Initialize, |p| {
            p.fail = Some(0x30)
        }),
    ]
};

fn token(label: &str) -> Option<Reach> {
    Some(Reach::Token(label.to_owned()))
}

#[test]
fn every_action_reaches_the_plan() {
    for (rule, function, fill) in PLANS {
        let mut want = Plan::default();
        fill(&mut want);

        let set = RuleSet::parse(rule);

        assert_eq!(set.complaints(), [""; 0], "{rule}");
        assert_eq!(
            set.decide(&call(function)),
            want,
            "{rule} on {}",
            function.name()
        );
    }
}

#[test]
fn a_logout_happens_once_and_waits_for_a_session() {
    let set = RuleSet::parse("logout");
    let early = Call {
        has_sessions: false,
        ..call(Function::C_GetSlotList)
    };

    assert_eq!(set.decide(&early).log_out, None);
    assert_eq!(
        set.decide(&call(Function::C_Sign)).log_out,
        Some(Reach::All)
    );
    assert_eq!(set.decide(&call(Function::C_Sign)).log_out, None);
}

#[test]
fn a_question_for_the_length_uses_up_no_flip() {
    let set = RuleSet::parse("C_Sign flip times 1");
    let question = Call {
        asks_length: true,
        ..call(Function::C_Sign)
    };

    assert!(!set.decide(&question).flip);
    assert!(set.decide(&call(Function::C_Sign)).flip);
}

#[test]
fn a_failure_ends_the_rules_for_its_call_and_a_delay_does_not() {
    let set = RuleSet::parse("C_Sign delay 5\nC_Sign delay 6\nC_Sign fail 0x30\nC_Sign flip");

    let plan = set.decide(&call(Function::C_Sign));

    assert_eq!(plan.delay, Duration::from_millis(11));
    assert_eq!((plan.fail, plan.flip), (Some(0x30), false));
}

#[test]
fn the_last_renumbering_counts() {
    for (rules, want) in [
        ("", 0),
        ("C_GetSlotList renumber 100", 100),
        ("C_GetSlotList renumber 100\nC_GetSlotList renumber 7", 7),
    ] {
        assert_eq!(RuleSet::parse(rules).slot_offset(), want, "{rules}");
    }
}

#[test]
fn a_chance_is_kept_and_the_same_seed_falls_the_same_way() {
    let drawn = |seed: u32| failures(&format!("C_Sign fail 0x30 chance 0.05 seed {seed}"), 20_000);

    let first = drawn(7);

    let hits = first.iter().flatten().count();
    assert!((800..1200).contains(&hits), "{hits} of 20000");
    assert_eq!(first, drawn(7));
    assert_ne!(first, drawn(8));
}

#[test]
fn many_threads_together_get_exactly_as_many_failures_as_the_rule_says() {
    let set = RuleSet::parse("C_Sign fail 0x30 after 10 times 37");
    let failed = AtomicU64::new(0);

    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let failure = set.decide(&call(Function::C_Sign)).fail;
                    failed.fetch_add(u64::from(failure.is_some()), Ordering::Relaxed);
                }
            });
        }
    });

    assert_eq!(failed.into_inner(), 37);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        RuleSet::parse(&text).decide(&call(Function::C_Sign));
    }

    #[test]
    fn no_row_of_words_makes_it_panic(words in proptest::collection::vec(word(), 0..12)) {
        let set = RuleSet::parse(&words.join(" "));
        for &function in Function::ALL {
            set.decide(&call(function));
        }
    }

    #[test]
    fn a_line_is_a_rule_a_complaint_or_nothing(words in proptest::collection::vec(word(), 0..8)) {
        let line = words.join(" ");
        let set = RuleSet::parse(&line);
        let lines = line.lines().count();
        prop_assert!(set.rules.len() + set.complaints().len() <= lines);
    }
}

fn word() -> impl Strategy<Value = String> {
    let known = "C_Sign C_SignInit,C_Sign * fail lose CKR_DEVICE_ERROR,0x5 hang delay flip other-key hide freeze renumber limit \
                 logout close-sessions after times chance seed token main 0 1 0.5 18446744073709551615 # ,";
    prop_oneof![
        6 => proptest::sample::select(known.split(' ').map(str::to_owned).collect::<Vec<_>>()),
        1 => any::<String>(),
    ]
}
