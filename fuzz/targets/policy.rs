//! Policy files. Nothing panics, whatever the text; what is wrong is named with a place in the text. What
//! loads is what Cedar reads, and a decision by a key's name alone is the one that the key gets.

#![no_main]

use keyward::key::{KeyDescription, KeyState, Operation, Principal};
use keyward::policy::{Decision, Policies, Request, Resource};
use keyward::{EncryptionContext, ErrorKind, KekId, KeyVersion, WrappingAlgorithm};
use libfuzzer_sys::fuzz_target;
use std::time::SystemTime;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Policies::parse("fuzz", text) {
        Ok(policies) => {
            assert!(policies.rules().iter().all(|rule| starts_a_policy(text, rule.line())));
            decide(&policies);
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            let said = format!("{error} {}", error.hint().unwrap_or_default());
            assert!(!said.contains(char::is_control), "{said:?}");
            if text.len() <= Policies::MAX_LEN {
                let (line, column) = place(&said).expect("an error with a place");
                let there = text.split('\n').nth(line - 1).expect("a line of the text");
                assert!((1..=there.chars().count() + 1).contains(&column), "{said}");
            }
        }
    }
});

/// Whether something other than blanks and comments is on a line.
fn starts_a_policy(text: &str, line: usize) -> bool {
    text.split('\n').nth(line - 1).is_some_and(|line| !line.trim_start().is_empty())
}

fn place(said: &str) -> Option<(usize, usize)> {
    let (line, rest) = said.strip_prefix("policy file 'fuzz', line ")?.split_once(", column ")?;
    Some((line.parse().ok()?, rest.split_once(": ")?.0.parse().ok()?))
}

fn decide(policies: &Policies) {
    let alice = Principal::new("alice").and_then(|alice| alice.in_groups(["ops"])).expect("a principal");
    let context = EncryptionContext::from_pairs([("tenant", "acme")]).expect("a context");
    let name = "payments/cards".parse().expect("a name");
    let id = KekId::from_bytes([1; 16]);
    for operation in Operation::ALL {
        let ask = |resource: Resource<'_>| {
            let request = Request::new(&alice, operation, resource).context(&context);
            policies.decide(&request.at(SystemTime::UNIX_EPOCH))
        };
        if operation == Operation::ListKeys {
            assert_ne!(ask(Resource::All), Decision::NeedsKey);
            continue;
        }
        let by_name = ask(Resource::Named(&name));
        for state in [KeyState::Active, KeyState::Disabled] {
            let key = KeyDescription::new(name.clone(), KeyVersion::FIRST, id, WrappingAlgorithm::AesGcm, state);
            let decision = ask(Resource::Key(&key));
            assert_ne!(decision, Decision::NeedsKey);
            assert!(
                by_name == Decision::NeedsKey || by_name.is_allowed() == decision.is_allowed(),
                "{operation} {state}"
            );
        }
    }
}
