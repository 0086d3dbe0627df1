//! Which policies can apply to a question, so that Cedar does not evaluate the others.
//!
//! Cedar evaluates every policy of a set. With a thousand of them that takes far longer than evaluating
//! the few whose first lines speak of the action, the principal and the key at hand. A policy that is
//! left out here is one that Cedar would find not to apply, before it looked at any condition.

use super::entities::Question;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Operation;
use cedar_policy::{ActionConstraint, EntityUid, Policy, PolicySet, PrincipalConstraint, ResourceConstraint};
use std::collections::HashMap;

/// Policies by action, then by who and what they name in `==` or `in`; `None` where they do not.
pub(super) struct Index(HashMap<Operation, ByPrincipal>);

type ByPrincipal = HashMap<Option<EntityUid>, ByResource>;
type ByResource = HashMap<Option<EntityUid>, PolicySet>;

impl Index {
    pub(super) fn new(policies: impl IntoIterator<Item = Policy>) -> Result<Self> {
        let mut index = HashMap::<Operation, ByPrincipal>::new();
        for policy in policies {
            let principal = match policy.principal_constraint() {
                PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
                    Some(uid)
                }
                PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
            };
            let resource = match policy.resource_constraint() {
                ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                    Some(uid)
                }
                ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
            };
            let actions = policy.action_constraint();
            for operation in Operation::ALL.into_iter().filter(|operation| has(&actions, *operation)) {
                let by_resource = index.entry(operation).or_default().entry(principal.clone()).or_default();
                by_resource.entry(resource.clone()).or_default().add(policy.clone()).map_err(|error| {
                    Error::new(ErrorKind::Internal, "policies: two have one number").with_source(error)
                })?;
            }
        }
        Ok(Self(index))
    }

    /// The policies that can apply, in sets that have none in common.
    pub(super) fn matching<'a>(
        &'a self,
        operation: Operation,
        question: &'a Question,
    ) -> impl Iterator<Item = &'a PolicySet> {
        let by_principal = self.0.get(&operation);
        let principals = named(&question.principals).filter_map(move |principal| by_principal?.get(&principal));
        principals.flat_map(|by_resource| named(&question.resources).filter_map(|resource| by_resource.get(&resource)))
    }
}

/// Nobody in particular, and each of these once.
fn named(uids: &[EntityUid]) -> impl Iterator<Item = Option<EntityUid>> {
    std::iter::once(None).chain(uids.iter().cloned().map(Some))
}

/// Whether a policy's action can be this one. Actions are in no groups: `in` is a list of them.
fn has(actions: &ActionConstraint, operation: Operation) -> bool {
    let is = |uid: &EntityUid| uid.id().unescaped() == operation.name();
    match actions {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => is(uid),
        ActionConstraint::In(uids) => uids.iter().any(is),
    }
}
