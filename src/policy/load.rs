//! Policies as text, made into policies that were checked.

use super::entities::Vocabulary;
use super::index::Index;
use super::rule::Rule;
use super::text::{Statement, place, statements};
use super::{Policies, SCHEMA};
use crate::error::{Error, ErrorKind, Result};
use cedar_policy::{Authorizer, Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

/// What Cedar gets to parse and check on, whatever the caller's stack is: three times what the worst
/// policies take that the limits allow, in a build without optimization.
pub(super) const STACK: usize = 32 << 20;

/// The policies of these texts, each with the name of its file.
pub(super) fn load<'t>(origin: &str, texts: impl IntoIterator<Item = (&'t str, &'t str)> + Send) -> Result<Policies> {
    let work = || {
        let mut loader = Loader::new();
        for (file, text) in texts {
            loader.add(file, text)?;
        }
        loader.finish(origin)
    };
    let policies = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("keyward-policies".into()).stack_size(STACK);
        let thread = thread.spawn_scoped(scope, work).map_err(|error| Error::io("cannot start a thread", error))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    for warning in &policies.warnings {
        tracing::warn!("{warning}");
    }
    Ok(policies)
}

/// The files that were read so far.
struct Loader<'t> {
    texts: Vec<&'t str>,
    len: usize,
    rules: Vec<Rule>,
    /// For each rule: Cedar's policy, the text that it is in, and its offset there.
    policies: Vec<(Policy, usize, usize)>,
    ids: HashMap<String, Rule>,
}

impl<'t> Loader<'t> {
    fn new() -> Self {
        Self { texts: Vec::new(), len: 0, rules: Vec::new(), policies: Vec::new(), ids: HashMap::new() }
    }

    /// Adds the policies of one text.
    fn add(&mut self, file: &str, text: &'t str) -> Result<()> {
        self.len += text.len();
        if self.len > Policies::MAX_LEN {
            return Err(too_long(file));
        }
        let name: Arc<str> = file.into();
        let wrong = |offset, what: &str| wrong(file, text, offset, what);
        let statements = statements(text).map_err(|(offset, what)| wrong(offset, &what))?;
        // The text as a whole first: Cedar's word for what is wrong, and for how many policies there are.
        let whole: PolicySet = text.parse().map_err(|error| diagnosed(file, text, 0, &error, &error))?;
        if whole.num_of_policies() + whole.num_of_templates() != statements.len() {
            return Err(Error::new(ErrorKind::Internal, format!("{} is not read as Cedar reads it", called(file))));
        }
        for statement in &statements {
            let policy = self.policy(file, text, statement)?;
            let id = policy.annotation("id");
            if id.is_some_and(|id| id.is_empty() || id.len() > 128 || id.chars().any(char::is_control)) {
                return Err(wrong(statement.offset, "an @id is 1 to 128 bytes without control characters"));
            }
            let (line, _) = place(text, statement.offset);
            let rule = Rule::new(self.rules.len(), id, policy.effect() == Effect::Forbid, &name, line);
            let before = id.and_then(|id| self.ids.insert(id.to_owned(), rule.clone()));
            if let Some(before) = before {
                let other = format!(
                    "the @id of {rule} is that of the policy on line {} of '{}'",
                    before.line(),
                    before.file().escape_debug()
                );
                return Err(wrong(statement.offset, &other));
            }
            self.rules.push(rule);
            self.policies.push((policy, self.texts.len(), statement.offset));
        }
        self.texts.push(text);
        Ok(())
    }

    /// One policy, under its number as its id.
    fn policy(&self, file: &str, text: &str, statement: &Statement<'_>) -> Result<Policy> {
        let number = self.rules.len();
        let wrong = |offset, what: &str| wrong(file, text, offset, what);
        if number >= Policies::MAX_POLICIES {
            return Err(wrong(statement.offset, &format!("there are more than {} policies", Policies::MAX_POLICIES)));
        }
        let policy = Policy::parse(Some(PolicyId::new(number.to_string())), statement.text)
            .map_err(|error| diagnosed(file, text, statement.offset, &error, &error))?;
        let json = policy.to_json().map_err(|error| wrong(statement.offset, &error.to_string()))?;
        // An attribute that is not known yet reads as an error, which is noticed; `has` would read as
        // false, and a decision by the name alone would differ from one that knows the key.
        if asks_has(&json) {
            return Err(wrong(statement.has.unwrap_or(statement.offset), "'has' is not used here").with_hint(
                "all attributes are always there; whether the encryption context has a pair: \
                 context.encryption_context.hasTag(\"KEY\")",
            ));
        }
        Ok(policy)
    }

    /// Checks all against the schema.
    fn finish(self, origin: &str) -> Result<Policies> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| internal(&error))?;
        let all = self.policies.iter().map(|(policy, ..)| policy.clone());
        let set = PolicySet::from_policies(all).map_err(|error| internal(&error))?;
        // One step away from the request and no further. Other keys and users are not there to be looked
        // at: what a policy asked of them would be denied, or be false, without anybody having meant it.
        let result = Validator::new(schema).validate_with_level(&set, ValidationMode::Strict, 1);
        let errors = result.validation_errors().map(|error| self.found(error.policy_id(), error, error));
        if let Some((_, error)) = errors.min_by_key(|(place, _)| *place) {
            return Err(error);
        }
        let mut warnings: Vec<_> =
            result.validation_warnings().map(|warning| self.found(warning.policy_id(), warning, warning)).collect();
        warnings.sort_by_key(|(place, _)| *place);
        let mut warnings: Vec<_> = warnings.into_iter().map(|(_, warning)| warning.to_string()).collect();
        if self.rules.is_empty() {
            warnings.push(format!("{} has no policy: everything is denied", called(origin)));
        }
        Ok(Policies {
            origin: origin.to_owned(),
            index: Index::new(self.policies.into_iter().map(|(policy, ..)| policy))?,
            rules: self.rules,
            warnings,
            vocabulary: Vocabulary::new()?,
            authorizer: Authorizer::new(),
        })
    }

    /// What the validator says about a policy, with the place, by which it is sorted.
    fn found(&self, id: &PolicyId, what: &dyn Display, diagnostic: &dyn Diagnostic) -> ((usize, usize), Error) {
        let number = number(id).unwrap_or_default();
        let (Some(rule), Some((_, text, offset))) = (self.rules.get(number), self.policies.get(number)) else {
            return ((0, 0), internal(what));
        };
        let text = self.texts.get(*text).copied().unwrap_or_default();
        let said = what.to_string();
        let place = (number, label(diagnostic));
        let mut error = diagnosed(rule.file(), text, *offset, &unnumbered(&said, number), diagnostic);
        if let Some(help) = error.hint().map(|help| unnumbered(help, number).to_owned()) {
            error = error.with_hint(help);
        } else if said.contains("entity type `Keyward::Folder` not found") {
            error = error.with_hint(
                "ListKeys is asked of a folder: name the actions, or begin with `resource is Keyward::Key &&`",
            );
        }
        (place, error)
    }
}

/// Without the number that Cedar knows the policy by, which says nothing to anybody else.
fn unnumbered(said: &str, number: usize) -> &str {
    said.strip_prefix(&format!("for policy `{number}`, ")).unwrap_or(said)
}

/// The number in an id that [`Loader`] gave.
pub(super) fn number(id: &PolicyId) -> Option<usize> {
    AsRef::<str>::as_ref(id).parse().ok()
}

/// What a policy file is called in messages.
pub(super) fn called(file: &str) -> String {
    format!("policy file '{}'", file.escape_debug())
}

pub(super) fn too_long(file: &str) -> Error {
    let message = format!("{}: more than {} KiB of policies", called(file), Policies::MAX_LEN >> 10);
    Error::new(ErrorKind::InvalidArgument, message)
}

/// Whether Cedar's own form of a policy, as JSON, has the operator `has` in it.
fn asks_has(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::Object(map) => {
            map.iter().any(|(key, value)| (key == "has" && value.get("left").is_some()) || asks_has(value))
        }
        serde_json::Value::Array(values) => values.iter().any(asks_has),
        _ => false,
    }
}

/// What Cedar says, with the place in the file; `base` is where the text that Cedar saw begins.
fn diagnosed(file: &str, text: &str, base: usize, what: &dyn Display, diagnostic: &dyn Diagnostic) -> Error {
    let error = wrong(file, text, base + label(diagnostic), &what.to_string());
    match diagnostic.help() {
        Some(help) => error.with_hint(one_line(&help.to_string())),
        None => error,
    }
}

fn label(diagnostic: &dyn Diagnostic) -> usize {
    diagnostic.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset())
}

fn wrong(file: &str, text: &str, offset: usize, what: &str) -> Error {
    let (line, column) = place(text, offset);
    let message = format!("{}, line {line}, column {column}: {}", called(file), one_line(what));
    Error::new(ErrorKind::InvalidArgument, message)
}

/// Cedar repeats what the file says, also what would turn the direction of the message.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

fn internal(what: &dyn Display) -> Error {
    Error::new(ErrorKind::Internal, format!("policies: {}", one_line(&what.to_string())))
}
