//! What comes out: allowed and by which policies, or denied, why, and what to ask for.

use super::load::number;
use super::{Policies, Request, Resource, Rule};
use crate::error::{Error, ErrorKind};
use cedar_policy::{AuthorizationError, Decision as Cedar, EvaluationError, Response};
use std::fmt;

/// The answer of the policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// These permit it, and none forbids it.
    Allowed {
        /// All that permit it, in the order of their files.
        by: Vec<Rule>,
    },
    /// It is not to be done.
    Denied(Denial),
    /// Some policy depends on more than the key's name. Ask the token for the key's description, and
    /// then again with [`Resource::Key`].
    NeedsKey,
}

impl Decision {
    /// Whether it may be done.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

/// Why something is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenialReason {
    /// A policy forbids it.
    Forbidden,
    /// No policy permits it.
    NotPermitted,
    /// A policy could not be evaluated, or the question not be put.
    Failed,
}

/// A refusal: `Display` says who refuses whom what, [`hint`](Self::hint) what to ask for and of whom.
/// Nothing of the encryption context is in either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    reason: DenialReason,
    rules: Vec<Rule>,
    message: String,
    hint: String,
}

impl Denial {
    /// Why.
    #[must_use]
    pub fn reason(&self) -> DenialReason {
        self.reason
    }

    /// The policies that forbid it or could not be evaluated, in the order of their files; none where
    /// none permits it.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What to ask for, and of whom.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// The error of a call that is refused for this, of kind [`PolicyDenied`](ErrorKind::PolicyDenied).
    #[must_use]
    pub fn into_error(self) -> Error {
        Error::new(ErrorKind::PolicyDenied, self.message).with_hint(self.hint)
    }

    fn forbidden(policies: &Policies, request: &Request<'_>, rules: Vec<Rule>) -> Self {
        let (verb, those) = if rules.len() == 1 { ("forbids", "it forbids") } else { ("forbid", "they forbid") };
        Self {
            reason: DenialReason::Forbidden,
            message: format!("{} {verb} {}", list(&rules), asked(request)),
            hint: format!("{} whether {those} more than was meant ({})", keeper(policies), places(&rules)),
            rules,
        }
    }

    fn not_permitted(policies: &Policies, request: &Request<'_>) -> Self {
        let vocabulary = &policies.vocabulary;
        let principal = vocabulary.principal(request.principal);
        let resource = vocabulary.resource(&request.resource);
        let permit = format!(
            "permit(principal == {principal}, action == Keyward::Action::\"{}\", resource == {resource});",
            request.operation
        );
        Self {
            reason: DenialReason::NotPermitted,
            rules: Vec::new(),
            message: format!("no policy allows {}", asked(request)),
            hint: format!("{} for: {permit}", keeper(policies)),
        }
    }

    fn failed(policies: &Policies, request: &Request<'_>, rules: Vec<Rule>, why: &str) -> Self {
        Self {
            reason: DenialReason::Failed,
            message: format!("{} cannot be evaluated, which denies {}: {why}", list(&rules), asked(request)),
            hint: format!("{} for a correction ({})", keeper(policies), places(&rules)),
            rules,
        }
    }

    /// The denial of a question that cannot be put to the policies.
    pub(super) fn unanswerable(policies: &Policies, request: &Request<'_>, why: &str) -> Self {
        Self {
            reason: DenialReason::Failed,
            rules: Vec::new(),
            message: format!("the policies cannot decide, which denies {}: {why}", asked(request)),
            hint: format!("{} or whoever keeps this program", keeper(policies)),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What Cedar found in the sets that it was asked about. All of them together say what one set with
/// all their policies would: one that forbids outweighs all that permit.
#[derive(Default)]
pub(super) struct Found {
    permitting: Vec<Rule>,
    forbidding: Vec<Rule>,
    failing: Vec<Rule>,
    why: Option<&'static str>,
}

impl Found {
    pub(super) fn add(&mut self, response: &Response, rules: &[Rule]) {
        let rule = |id| number(id).and_then(|number| rules.get(number)).cloned();
        let deciding = response.diagnostics().reason().filter_map(rule);
        match response.decision() {
            Cedar::Allow => self.permitting.extend(deciding),
            Cedar::Deny => self.forbidding.extend(deciding),
        }
        for AuthorizationError::PolicyEvaluationError(error) in response.diagnostics().errors() {
            self.failing.extend(rule(error.policy_id()));
            self.why = self.why.or(Some(why(error.inner())));
        }
    }

    pub(super) fn decide(mut self, policies: &Policies, request: &Request<'_>) -> Decision {
        for rules in [&mut self.permitting, &mut self.forbidding, &mut self.failing] {
            rules.sort_by_key(Rule::number);
        }
        // One that forbids without having missed anything forbids whatever else there is to know.
        if !self.forbidding.is_empty() {
            return Decision::Denied(Denial::forbidden(policies, request, self.forbidding));
        }
        match (self.why, request.resource) {
            (Some(_), Resource::Named(_)) => Decision::NeedsKey,
            (Some(why), _) => Decision::Denied(Denial::failed(policies, request, self.failing, why)),
            (None, _) if self.permitting.is_empty() => Decision::Denied(Denial::not_permitted(policies, request)),
            (None, _) => Decision::Allowed { by: self.permitting },
        }
    }
}

/// Why a policy could not be evaluated. Cedar's own words may repeat values of the encryption context.
fn why(error: &EvaluationError) -> &'static str {
    match error {
        EvaluationError::IntegerOverflow(_) => "a number in it becomes too large",
        EvaluationError::FailedExtensionFunctionExecution(_) => "a function in it fails",
        EvaluationError::RecursionLimit(_) => "it is nested too deeply",
        EvaluationError::EntityDoesNotExist(_) | EvaluationError::EntityAttrDoesNotExist(_) => {
            "it reads what is not there"
        }
        _ => "an error in it",
    }
}

/// `'alice' to Unwrap with key 'payments:2'`.
fn asked(request: &Request<'_>) -> String {
    format!("'{}' to {}{}", request.principal.name().escape_debug(), request.operation, request.resource)
}

fn keeper(policies: &Policies) -> String {
    format!("ask whoever keeps '{}'", policies.origin().escape_debug())
}

fn list(rules: &[Rule]) -> String {
    rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn places(rules: &[Rule]) -> String {
    let places = rules.iter().map(|rule| format!("'{}', line {}", rule.file().escape_debug(), rule.line()));
    places.collect::<Vec<_>>().join("; ")
}
