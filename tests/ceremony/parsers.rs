//! Whatever bytes they get, the strict parsers give an answer.

use crate::fixture::Ceremony;
use keyward::ceremony::{Answers, Line, Name, Plan, Serial, WitnessKey, WitnessSecret, script, shares, to_markdown};
use proptest::prelude::*;
use std::fs;

/// Edits of a good text: cut, doubled, or with something else in it.
fn edits(text: String) -> impl Strategy<Value = String> {
    let len = text.len();
    (0..=len, 0..=len, ".{0,12}", any::<bool>()).prop_map(move |(a, b, put, doubled)| {
        let floor = |mut at: usize| {
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (from, to) = (floor(a.min(b)), floor(a.max(b)));
        let kept = if doubled { &text[from..to] } else { "" };
        format!("{}{put}{kept}{kept}{}", &text[..from], &text[to..])
    })
}

proptest! {
    #[test]
    fn any_text_is_a_plan_or_none(text in prop_oneof![".*", edits(Answers::example().to_toml())]) {
        match Plan::parse(&text) {
            Ok(plan) => {
                let _ = plan.lint(&text);
                let steps = script(&plan);
                prop_assert_eq!(&steps, &script(&plan));
                let _ = to_markdown(&plan, &text, &steps);
            }
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }

    #[test]
    fn any_text_is_a_name_a_key_or_a_share_or_none(text in ".{0,80}") {
        if let Ok(name) = text.parse::<Name>() {
            prop_assert_eq!(name.as_str(), &text);
        }
        let _ = text.parse::<Serial>();
        let _ = text.parse::<WitnessKey>();
        let _ = WitnessSecret::open(&text, None);
        // 32 bits of checksum.
        prop_assert!(shares::Share::parse(&text).is_err());
    }
}

#[test]
fn any_bytes_are_a_line_or_none() {
    let ceremony = Ceremony::new();
    ceremony.run();
    let text = fs::read_to_string(ceremony.path().join("transcript.jsonl")).unwrap();
    let lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    let strategy = (0..lines.len()).prop_flat_map(|at| edits(lines[at].clone()));
    let mut runner = proptest::test_runner::TestRunner::default();
    let run = runner.run(&strategy, |text| {
        if let Some(line) = Line::parse(text.as_bytes()) {
            prop_assert_eq!(line.to_bytes(), text.as_bytes());
            prop_assert!(lines.contains(&text), "another line has a hash that is right");
        }
        Ok(())
    });
    run.unwrap();
}
