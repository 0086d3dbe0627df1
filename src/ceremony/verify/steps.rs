//! Whether every step of the plan was done, in its order, by those whom the plan names.

use super::{Verification, facts};
use crate::ceremony::entry::Outcome;
use crate::ceremony::plan::Plan;
use crate::ceremony::script::script;
use crate::ceremony::step::Step;
use crate::ceremony::transcript::{Attempt, Transcript};

pub(super) fn check(found: &mut Verification, plan: &Plan, transcript: &Transcript) {
    let steps = script(plan);
    let progress = transcript.progress();
    for id in progress.tried().filter(|id| steps.iter().all(|step| step.id != **id)) {
        found.find(id.to_string(), "the plan has no such step");
    }
    let mut before: Option<(&Step, u64)> = None;
    for step in &steps {
        let attempts = progress.attempts(&step.id);
        for attempt in attempts.iter().filter(|attempt| attempt.confirmed_by != step.confirmed_by) {
            let message = format!(
                "line {}: confirmed by {}, and the plan says by {}",
                attempt.line, attempt.confirmed_by, step.confirmed_by
            );
            found.find(step.id.to_string(), message);
        }
        let Some(first) = attempts.iter().find(|attempt| attempt.outcome == Some(Outcome::Ok)) else {
            let message = match attempts.last() {
                None => "it was not done",
                Some(Attempt { outcome: None, .. }) => "it was begun, and there is no outcome",
                Some(_) => "it failed, and was not done again",
            };
            found.find(step.id.to_string(), message);
            continue;
        };
        if let Some((earlier, line)) = before.filter(|(_, line)| first.line < *line) {
            let message =
                format!("line {}: it was done before {} had its outcome in line {line}", first.line, earlier.id);
            found.find(step.id.to_string(), message);
        }
        before = Some((step, first.ended_line.unwrap_or(first.line)));
        check_again(found, step, attempts, transcript);
        if progress.done(&step.id).is_none() {
            found.find(step.id.to_string(), "it was done, and then done again without success");
        }
    }
    facts::check(found, plan, transcript, &steps);
}

/// A step that is done is not done again, but for those whose work is lost when a run is interrupted.
fn check_again(found: &mut Verification, step: &Step, attempts: &[Attempt], transcript: &Transcript) {
    let done = attempts.iter().position(|attempt| attempt.outcome == Some(Outcome::Ok));
    let Some(again) = done.and_then(|done| attempts.get(done + 1..)).and_then(<[_]>::last) else { return };
    let Some(until) = step.kind.again_until() else {
        found.find(step.id.to_string(), format!("line {}: it was done before, and is done again", again.line));
        return;
    };
    // A PIN that was set is not the one of shares that were handed out after it.
    let set = transcript.progress().attempts(&until).iter().find(|attempt| attempt.outcome == Some(Outcome::Ok));
    if set.is_some_and(|set| set.line < again.line) {
        found.find(step.id.to_string(), format!("line {}: it is done again after {until}", again.line));
    }
}
