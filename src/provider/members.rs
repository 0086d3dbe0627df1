//! The members of a failover together: who is asked next, and what is said where nobody answers.

use super::health::Bell;
use super::member::Member;
use super::watched::Watched;
use crate::error::{Error, ErrorKind, Result};
use crate::key::KeyProvider;
use std::collections::BTreeMap;
use std::ops::Index;
use std::sync::Arc;

/// The members in order.
pub(super) struct Members<P> {
    all: Arc<[Arc<Watched<P>>]>,
    bell: Arc<Bell>,
}

/// After which errors the next member is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AskNext {
    /// Where one is unavailable.
    IfUnavailable,
    /// And where one has no such key.
    IfNotFound,
    /// After every error.
    Always,
}

impl<P: KeyProvider + 'static> Members<P> {
    /// # Errors
    /// `InvalidArgument` where there are none.
    pub(super) fn new(members: impl IntoIterator<Item = Member<P>>) -> Result<Self> {
        let all: Arc<[_]> = members.into_iter().map(|member| Arc::new(Watched::new(member))).collect();
        if all.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "a failover needs at least one member"));
        }
        Ok(Self { all, bell: Arc::default() })
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Arc<Watched<P>>> {
        self.all.iter()
    }

    /// Does `work` with this member, down or not.
    pub(super) fn call<T>(&self, member: &Watched<P>, work: impl FnOnce(&P) -> Result<T>) -> Result<T> {
        let was_down = member.is_down();
        let answer = member.call(work);
        self.after(member, was_down);
        answer
    }

    /// Whether this member is to be passed over for now.
    pub(super) fn passes_over(&self, member: &Watched<P>) -> bool {
        let is_down = member.is_down();
        if is_down {
            self.after(member, true);
        }
        is_down
    }

    /// The first answer, and whose it is. Members that are down are passed over, unless nobody else
    /// answers: a caller is not refused on the word of an earlier call alone.
    ///
    /// Where nobody succeeds, an unavailability is what is said, because another try may help; else
    /// the first error that says more than that the key is not there.
    pub(super) fn first<T>(&self, next: AskNext, work: impl Fn(&P) -> Result<T>) -> Result<(usize, T)> {
        let mut outage = Outage::default();
        let mut kept = None;
        let mut passed_over = Vec::new();
        let ask = |index: usize, outage: &mut Outage, kept: &mut Option<Error>| {
            let member = &self.all[index];
            match self.call(member, &work) {
                Ok(answer) => return Some(Ok((index, answer))),
                Err(error) if error.kind().is_unavailable() => outage.add(index, &member.name, error),
                Err(error) if next == AskNext::Always => keep(kept, error),
                Err(error) if next == AskNext::IfNotFound && error.kind() == ErrorKind::KeyNotFound => {
                    keep(kept, error);
                }
                Err(error) => return Some(Err(error)),
            }
            None
        };
        for (index, member) in self.all.iter().enumerate() {
            if self.passes_over(member) {
                passed_over.push(index);
            } else if let Some(answer) = ask(index, &mut outage, &mut kept) {
                return answer;
            }
        }
        let all_down = kept.is_none();
        for index in passed_over {
            if !all_down {
                outage.add(index, &self.all[index].name, self.all[index].outage());
            } else if let Some(answer) = ask(index, &mut outage, &mut kept) {
                return answer;
            }
        }
        Err(outage.into_error().or(kept).unwrap_or_else(|| Error::new(ErrorKind::Internal, "nobody was asked")))
    }

    /// Asks every member now. Those that do not answer.
    pub(super) fn probe(&self) -> Outage {
        let mut outage = Outage::default();
        for (index, member) in self.iter().enumerate() {
            let was_down = member.is_down();
            if let Err(error) = member.probe() {
                outage.add(index, &member.name, error);
            }
            self.after(member, was_down);
        }
        outage
    }

    /// Lets the thread that probes know where there is something to do, or no longer.
    fn after(&self, member: &Watched<P>, was_down: bool) {
        let is_down = member.is_down();
        // In this order: a thread that is about to end hears the bell, or has ended by then.
        if is_down != was_down {
            self.bell.ring();
        }
        if is_down && member.due().is_some() {
            self.bell.keep_probing(&self.all);
        }
    }

    #[cfg(all(test, feature = "testkit"))]
    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }
}

impl<P> Index<usize> for Members<P> {
    type Output = Watched<P>;

    fn index(&self, index: usize) -> &Watched<P> {
        &self.all[index]
    }
}

impl<P> Drop for Members<P> {
    fn drop(&mut self) {
        self.bell.close();
    }
}

/// The members that did not answer, by their place in the list, with their names and what they said.
#[derive(Default)]
pub(super) struct Outage(BTreeMap<usize, (String, Error)>);

impl Outage {
    pub(super) fn add(&mut self, index: usize, member: &str, error: Error) {
        self.0.insert(index, (member.to_owned(), error));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names them all.
    pub(super) fn describe(&self) -> String {
        let members: Vec<_> = self.0.values().map(|(member, error)| format!("{member}: {error}")).collect();
        members.join("; ")
    }

    /// One error for all of them: of the first that may go by itself, unlike a wrong PIN.
    pub(super) fn into_error(self) -> Option<Error> {
        let message = self.describe();
        let errors = self.0.into_values().map(|(_, error)| error);
        let telling = errors.min_by_key(|error| error.kind().is_of_the_pin());
        telling.map(|error| error.with_message(message))
    }
}

/// Keeps the first error that says more than that there is no such key.
pub(super) fn keep(kept: &mut Option<Error>, error: Error) {
    if kept.as_ref().is_none_or(|kept| kept.kind() == ErrorKind::KeyNotFound) {
        *kept = Some(error);
    }
}
