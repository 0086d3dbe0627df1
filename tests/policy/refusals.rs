//! What a refusal says: which policy, which key, what to ask for; and nothing that it should not.

use crate::asking::ask;
use Operation::*;
use keyward::ErrorKind;
use keyward::key::Operation;
use keyward::policy::{Decision, Denial, DenialReason, Policies};

fn denial(decision: Decision) -> Denial {
    match decision {
        Decision::Denied(denial) => denial,
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_policy() {
    let policies = Policies::parse("keys.cedar", "").unwrap();
    for (question, message, resource) in [
        (
            ask("alice", Unwrap, "payments:2"),
            "no policy allows 'alice' to Unwrap with key 'payments:2'",
            "Keyward::Key::\"payments\"",
        ),
        (ask("alice", ListKeys, ""), "no policy allows 'alice' to ListKeys", "Keyward::Folder::\"/\""),
    ] {
        let error = denial(question.of(&policies)).into_error();
        assert_eq!(error.kind(), ErrorKind::PolicyDenied);
        assert_eq!(error.to_string(), message);
        let action = question.operation;
        assert_eq!(
            error.hint().unwrap(),
            format!(
                "ask whoever keeps 'keys.cedar' for: permit(principal == Keyward::User::\"alice\", \
                 action == Keyward::Action::\"{action}\", resource == {resource});"
            )
        );
        // What it says to ask for is what is missing.
        let asked_for = error.hint().unwrap().split_once(" for: ").unwrap().1;
        assert!(question.of(&Policies::parse("keys.cedar", asked_for).unwrap()).is_allowed());
    }
    let by_name = denial(ask("alice", Unwrap, "payments:2").by_name(&policies));
    assert_eq!(by_name.to_string(), "no policy allows 'alice' to Unwrap with key 'payments'");
}

#[test]
fn policies_that_forbid() {
    let text = "@id(\"no-export\") forbid(principal, action == Keyward::Action::\"Unwrap\", resource);";
    let one = Policies::parse("keys.cedar", text).unwrap();
    let error = denial(ask("alice", Unwrap, "payments:2").of(&one)).into_error();
    assert_eq!(error.to_string(), "policy 'no-export' forbids 'alice' to Unwrap with key 'payments:2'");
    assert_eq!(
        error.hint().unwrap(),
        "ask whoever keeps 'keys.cedar' whether it forbids more than was meant ('keys.cedar', line 1)"
    );

    let two = Policies::parse("keys.cedar", &format!("{text}\nforbid(principal, action, resource);")).unwrap();
    let error = denial(ask("alice", Unwrap, "payments").of(&two)).into_error();
    assert_eq!(
        error.to_string(),
        "policy 'no-export' and the policy on line 2 of 'keys.cedar' forbid 'alice' to Unwrap with key 'payments:1'"
    );
    assert!(error.hint().unwrap().ends_with("('keys.cedar', line 1; 'keys.cedar', line 2)"), "{error:?}");
}

/// Cedar goes on without a policy that it cannot evaluate. What that one was to forbid must not be
/// allowed for it.
#[test]
fn a_policy_that_cannot_be_evaluated_denies() {
    let all = "permit(principal, action, resource);\n";
    let overflow = "(principal, action == Keyward::Action::\"Unwrap\", resource) when { resource.version + 9223372036854775807 > 0 };";
    for effect in ["permit", "forbid"] {
        let policies = Policies::parse("keys.cedar", &format!("{all}@id(\"sum\") {effect}{overflow}")).unwrap();
        assert_eq!(ask("alice", Unwrap, "k").by_name(&policies), Decision::NeedsKey);
        let denial = denial(ask("alice", Unwrap, "k").of(&policies));
        assert_eq!((denial.reason(), denial.rules()), (DenialReason::Failed, &policies.rules()[1..]));
        assert_eq!(
            denial.to_string(),
            "policy 'sum' cannot be evaluated, which denies 'alice' to Unwrap with key 'k:1': a number in it becomes too large"
        );
        assert_eq!(denial.hint(), "ask whoever keeps 'keys.cedar' for a correction ('keys.cedar', line 2)");
        assert!(ask("alice", Wrap, "k").of(&policies).is_allowed());
    }
    // One that forbids does so before.
    let text =
        format!("{all}forbid{overflow}\n@id(\"no\") forbid(principal, action, resource == Keyward::Key::\"k\");");
    let policies = Policies::parse("keys.cedar", &text).unwrap();
    assert_eq!(denial(ask("alice", Unwrap, "k").of(&policies)).reason(), DenialReason::Forbidden);
    assert_eq!(denial(ask("alice", Unwrap, "k").by_name(&policies)).reason(), DenialReason::Forbidden);
}

#[test]
fn names_cannot_reach_into_the_message() {
    let odd = "x' to Wrap\"); permit(principal, action, resource); \u{202e}\\";
    let policies = Policies::parse("it's.cedar", "").unwrap();
    let question = ask(odd, Unwrap, "k");
    let error = denial(question.of(&policies)).into_error();
    let (message, hint) = (error.to_string(), error.hint().unwrap().to_owned());
    assert!(message.starts_with("no policy allows 'x\\' to Wrap\\\"); permit"), "{message}");
    for text in [&message, &hint] {
        assert!(!text.contains('\u{202e}') && text.contains("\\u{202e}\\\\"), "{text}");
    }
    assert!(
        hint.starts_with("ask whoever keeps 'it\\'s.cedar' for: permit(principal == Keyward::User::\"x\\' to"),
        "{hint}"
    );
    // It is one policy, for this name.
    let asked_for = Policies::parse("p", hint.split_once(" for: ").unwrap().1).unwrap();
    assert_eq!(asked_for.rules().len(), 1);
    assert!(question.of(&asked_for).is_allowed());
    assert!(!ask("x", Unwrap, "k").of(&asked_for).is_allowed());
}

#[test]
fn nothing_of_the_encryption_context_is_told() {
    let texts = [
        "",
        "forbid(principal, action, resource) when { context.encryption_context.hasTag(\"card\") };",
        "forbid(principal, action == Keyward::Action::\"Unwrap\", resource) when { \
         context.encryption_context.hasTag(\"card\") && context.encryption_context.getTag(\"card\") like \"4*\" && \
         resource.version * 9223372036854775807 * 2 > 0 };",
    ];
    for text in texts {
        let policies = Policies::parse("keys.cedar", text).unwrap();
        let denial = denial(ask("alice", Unwrap, "k").context(&[("card", "4000-1234")]).of(&policies));
        let all = format!("{denial} {denial:?} {:?}", denial.clone().into_error());
        assert!(!all.contains("4000"), "{all}");
        assert!(!all.contains("card"), "{all}");
    }
}
