//! When heads are signed and anchored, and what is written of it.
//!
//! A signature takes three steps, and the writer goes on with other work between them: the keepers are read and the log is
//! checked against what they vouch for; the head is signed and its line written; the anchor is put on the tokens, if one
//! is due. So every anchor is that of a head whose line is on the disk.

use super::{Writer, again};
use crate::audit::chain::{Chain, LastSigned};
use crate::audit::file::HeadWritten;
use crate::audit::guard;
use crate::audit::hash::Id;
use crate::audit::head::{Anchor, AnchorState, Head, hash_of_wraps};
use crate::audit::head_signer::{Done, Task};
use crate::audit::keepers::Trust;
use crate::audit::line::{self, Entry};
use crate::error::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// How long after a failed anchor it is tried again.
const ANCHOR_PAUSE: Duration = Duration::from_secs(60);
/// After how many lines an anchor is due in any case: what an attacker hides by cutting the log off is less.
const ANCHOR_LINES: u64 = 1 << 20;

/// A signature that the keepers are asked for.
#[derive(Default)]
pub(super) struct Signing {
    /// Whether it is anchored whatever the token's anchor says.
    anchor: bool,
    /// How many heads waited for their keys when the keepers were asked.
    unverified: usize,
    /// What is signed.
    head: Option<Signable>,
}

/// The state of the log that a head is of.
struct Signable {
    wraps: BTreeMap<Id, u64>,
    previous: LastSigned,
    /// What vouched for the log, if an anchor is due.
    anchor: Option<Trust>,
}

impl Writer {
    /// Has the head signed where it is time.
    pub(super) fn consider_head(&mut self) {
        let now = Instant::now();
        let unsigned = self.file.chain().unsigned;
        let overdue = self.unsigned_since.is_some_and(|since| now >= since + self.options.sign_after);
        if let Some(refused) = &self.refused {
            self.head_wanted = false;
            for answer in self.anchor_wanted.drain(..) {
                let _ = answer.send(Err(again(refused)));
            }
        } else if self.signer.is_none() {
            self.head_wanted = false;
            for answer in self.anchor_wanted.drain(..) {
                let error = Error::new(ErrorKind::InvalidArgument, "this audit log is not signed");
                let _ = answer.send(Err(error));
            }
        } else if self.signing.is_none() {
            let due = now >= self.sign_again && (unsigned >= self.options.sign_every || overdue);
            let at_close = std::mem::take(&mut self.anchor_at_close) && unsigned > 0;
            let anchor = !self.anchor_wanted.is_empty() || at_close;
            let wanted = std::mem::take(&mut self.head_wanted);
            if anchor || unsigned > 0 && (due || wanted) {
                self.begin_signing(anchor);
            }
        }
        self.write_unsigned_head();
    }

    /// Writes a head without a signature, if no keeper signs: a log that is not signed is read back to it.
    fn write_unsigned_head(&mut self) {
        let chain = self.file.chain();
        let (every, since) = (self.options.sign_every, chain.since_head);
        if !(since >= every && self.signing.is_none() || since / 2 >= every) {
            return;
        }
        let entry = Entry::Head {
            count: chain.seq,
            head: chain.hash,
            wraps: chain.wraps.clone(),
            previous: None,
            anchor: None,
            key: None,
            signature: None,
        };
        if let Err(error) = self.file.append(&[(line::now(), entry)], false) {
            tracing::warn!(log = %self.file.path().display(), %error, "no head was written");
        }
        self.look_at_chain();
    }

    /// Asks the keepers what they vouch for.
    fn begin_signing(&mut self, anchor: bool) {
        let task = Task::Read(self.file.chain().identity.name.clone());
        let unverified = self.file.guard().unverified();
        self.anchoring.append(&mut self.anchor_wanted);
        self.signing = Some(Signing { anchor, unverified, head: None });
        self.ask(task);
    }

    fn ask(&mut self, task: Task) {
        if self.signer.as_ref().is_none_or(|signer| signer.send(task).is_err()) {
            self.signer = None;
            self.fail_signing(&Error::new(ErrorKind::Internal, "the thread that signs the audit log is gone"));
        }
    }

    /// Goes on with what the keepers answered.
    pub(super) fn go_on(&mut self, done: Done) {
        match done {
            Done::Read(Ok(Some(trust))) => self.sign(&trust),
            Done::Read(Ok(None)) => {
                let message = "no token that keeps the audit log answers";
                self.fail_signing(&Error::new(ErrorKind::TokenUnavailable, message));
            }
            Done::Signed(head, Ok((key, signature))) => self.write_head(head, key, signature),
            Done::Anchored(anchor, Ok(())) => {
                self.signing = None;
                for answer in self.anchoring.drain(..) {
                    let _ = answer.send(Ok(anchor.clone()));
                }
            }
            Done::Read(Err(error)) | Done::Signed(_, Err(error)) => self.fail_signing(&error),
            Done::Anchored(_, Err(error)) => {
                self.anchor_again = Instant::now() + ANCHOR_PAUSE;
                self.fail_signing(&error);
            }
        }
    }

    /// Checks the log against what its keepers vouch for, and has its head signed.
    fn sign(&mut self, trust: &Trust) {
        let Some((forced, unverified)) = self.signing.as_ref().map(|signing| (signing.anchor, signing.unverified))
        else {
            return;
        };
        let checked = self.file.check(trust, unverified);
        self.look_at_chain();
        // What is signed must not be lost when the power goes: it would look as if it had been cut off.
        if let Err(error) = checked.and_then(|()| self.file.sync()) {
            return self.fail_signing(&error);
        }
        if !self.file.guard().is_checked() {
            let message = "the token with the anchor of the audit log does not answer";
            return self.fail_signing(&Error::new(ErrorKind::TokenUnavailable, message));
        }
        let chain = self.file.chain();
        let is_due = forced || self.is_anchor_due(chain, trust);
        let (previous, anchor) = guard::links(chain, trust);
        let head = Head {
            log: chain.identity.log,
            name: chain.identity.name.clone(),
            at: chain.end(),
            previous,
            anchor,
            wraps: hash_of_wraps(&chain.wraps),
        };
        let signable =
            Signable { wraps: chain.wraps.clone(), previous: chain.signed, anchor: is_due.then(|| trust.clone()) };
        if let Some(signing) = &mut self.signing {
            signing.head = Some(signable);
        }
        self.ask(Task::Sign(head));
    }

    /// Whether it is time for an anchor, by the one on the token.
    fn is_anchor_due(&self, chain: &Chain, trust: &Trust) -> bool {
        let Some(last) = trust.highest(chain.identity.log) else { return true };
        let is_recent = last.time().is_some_and(|last| {
            // A time to come is none that was waited for: the clock was set back.
            SystemTime::now().duration_since(last).is_ok_and(|since| since < self.options.anchor_every)
        });
        let lines = chain.seq.saturating_sub(last.count());
        Instant::now() >= self.anchor_again && (!is_recent || lines >= ANCHOR_LINES)
    }

    /// Writes the line of a head that is signed, and has it anchored if that is due.
    fn write_head(&mut self, head: Head, key: Id, signature: String) {
        let Some(Signable { wraps, previous, anchor }) = self.signing.as_mut().and_then(|signing| signing.head.take())
        else {
            return;
        };
        let entry = Entry::Head {
            count: head.at.count,
            head: head.at.head,
            wraps,
            previous: head.previous,
            anchor: head.anchor,
            key: Some(key),
            signature: Some(signature.clone()),
        };
        let written = self.file.append_head((line::now(), entry), previous);
        self.look_at_chain();
        match written {
            Ok(HeadWritten::Done) => {}
            Ok(HeadWritten::Overtaken) => {
                // Another process has signed a later state. What is left is signed once more.
                self.signing = None;
                self.head_wanted = !self.closing.is_empty() || self.ending;
                self.anchor_wanted.append(&mut self.anchoring);
                return;
            }
            Err(error) => return self.fail_signing(&error),
        }
        self.sign_again = Instant::now();
        match anchor {
            Some(trust) => {
                let compare = guard::compare(self.file.path().to_owned(), self.file.chain(), trust.keys);
                self.ask(Task::Anchor(Anchor::new(head, AnchorState::Live, key, signature), compare));
            }
            None => self.signing = None,
        }
    }

    /// Ends a signature that failed. Evidence of tampering ends everything.
    pub(super) fn fail_signing(&mut self, error: &Error) {
        tracing::warn!(log = %self.file.path().display(), %error, "the head of the audit log was not signed or not anchored");
        self.signing = None;
        self.sign_again = Instant::now() + self.options.sign_after;
        for answer in self.anchoring.drain(..) {
            let _ = answer.send(Err(again(error)));
        }
        if error.kind() == ErrorKind::Tampered {
            self.refused.get_or_insert_with(|| again(error));
        }
    }
}
