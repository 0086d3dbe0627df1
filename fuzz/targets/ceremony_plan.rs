//! Plans of ceremonies. Nothing panics; a plan has the same steps whenever it is asked for them; and what is said of a
//! text that is none does not depend on a PIN in it.

#![no_main]

use keyward::ceremony::{Plan, script, to_markdown};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(plan) = Plan::parse(text) {
        let steps = script(&plan);
        assert_eq!(steps, script(&plan));
        let findings = plan.lint(text);
        assert!(findings.iter().all(|finding| !finding.message.contains('\n')));
        let paper = to_markdown(&plan, text, &steps);
        assert_eq!(paper.matches("Initials: ").count(), steps.len());
        if findings.is_empty() {
            let ids: std::collections::BTreeSet<_> = steps.iter().map(|step| &step.id).collect();
            assert_eq!(ids.len(), steps.len(), "two steps have one id");
        }
    }

    // Where a PIN may be put by mistake.
    for field in ["id", "format", "tool_sha256", "people", "pin"] {
        let mistake = |pin: &str| {
            Plan::parse(&format!("{field} = '{pin} '\n{text}")).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(mistake("1234"), mistake("4321"));
    }
});
