//! When heads are signed and anchored, and what is written of it.

use super::{Group, Writer, again};
use crate::audit::head::Head;
use crate::audit::line::{self, Entry};
use crate::audit::notary::{Done, Task};
use crate::error::{Error, ErrorKind};
use std::time::{Duration, Instant, SystemTime};

/// How long after a failed anchor it is tried again.
const ANCHOR_PAUSE: Duration = Duration::from_secs(60);

impl Writer {
    /// Has the head signed where it is time.
    pub(super) fn consider_head(&mut self) {
        let now = Instant::now();
        let unsigned = self.file.chain().unsigned;
        let overdue = self.unsigned_since.is_some_and(|since| now >= since + self.options.sign_after);
        if self.notary.is_none() {
            self.head_wanted = false;
            for answer in self.anchor_wanted.drain(..) {
                let error = Error::new(ErrorKind::InvalidArgument, "nobody signs this audit log");
                let _ = answer.send(Err(error));
            }
        } else if !self.at_work {
            let due = now >= self.sign_again && (unsigned >= self.options.sign_every || overdue);
            let sign = unsigned > 0 && (due || self.head_wanted);
            let at_close = std::mem::take(&mut self.anchor_at_close) && self.is_ahead_of_anchor();
            let anchor = !self.anchor_wanted.is_empty() || at_close || (sign && self.is_anchor_due(now));
            self.head_wanted = false;
            if sign || anchor {
                self.begin_head(anchor);
            }
        }
        // Where heads are not signed, they are written all the same: whoever opens the log next reads
        // back to the last of them.
        let since = self.file.chain().since_head;
        if (since >= self.options.sign_every && !self.at_work) || since / 2 >= self.options.sign_every {
            let chain = self.file.chain();
            let entry = Entry::Head {
                count: chain.seq,
                head: chain.hash,
                wraps: chain.wraps.clone(),
                anchored: chain.anchored.clone(),
                key: None,
                signature: None,
            };
            if let Err(error) = self.file.append(&[(line::now(), entry)], false) {
                tracing::warn!(log = %self.file.path().display(), %error, "no head was written");
            }
            self.look_at_chain();
        }
    }

    /// Whether lines came after the last anchor.
    fn is_ahead_of_anchor(&self) -> bool {
        self.options.anchors.is_some() && self.file.chain().unsigned > 0
    }

    fn is_anchor_due(&self, now: Instant) -> bool {
        let last = self.file.chain().anchored.as_deref().and_then(line::system_time);
        let recent = last.is_some_and(|last| {
            // A time to come is none that was waited for: the clock was set back.
            SystemTime::now().duration_since(last).is_ok_and(|since| since < self.options.anchor_every)
        });
        self.options.anchors.is_some() && now >= self.anchor_again && !recent
    }

    fn begin_head(&mut self, anchor: bool) {
        // What is signed must not be lost when the power goes: it would look as if it had been cut off.
        if let Err(error) = self.file.sync() {
            tracing::warn!(%error, "no head is signed");
            self.sign_again = Instant::now() + self.options.sign_after;
            self.refuse_anchors(&error);
            return;
        }
        let chain = self.file.chain();
        let head = Head::new(chain.log, chain.seq, chain.hash, &chain.wraps);
        let task = Task { head, wraps: chain.wraps.clone(), anchor };
        if let Some(notary) = &self.notary
            && notary.send(task).is_ok()
        {
            self.at_work = true;
            self.anchoring.append(&mut self.anchor_wanted);
        } else {
            self.notary = None;
        }
    }

    fn refuse_anchors(&mut self, error: &Error) {
        for answer in self.anchor_wanted.drain(..) {
            let _ = answer.send(Err(again(error)));
        }
    }

    /// Writes the head that the notary signed with the next group, or tries again later.
    pub(super) fn finish_head(&mut self, done: Done, group: &mut Group) {
        self.at_work = false;
        let now = Instant::now();
        let path = self.file.path().display().to_string();
        let Done { task, signed, anchored } = done;
        let (key, signature) = match signed {
            Ok(signed) => signed,
            Err(error) => {
                tracing::warn!(log = path, %error, "the head of the audit log could not be signed");
                self.sign_again = now + self.options.sign_after;
                for answer in self.anchoring.drain(..) {
                    let _ = answer.send(Err(again(&error)));
                }
                return;
            }
        };
        self.sign_again = now;
        let time = line::now();
        let Head { count, hash, .. } = task.head;
        group.drafts.push((
            time.clone(),
            Entry::Head {
                count,
                head: hash,
                wraps: task.wraps,
                anchored: self.file.chain().anchored.clone(),
                key: Some(key),
                signature: Some(signature),
            },
        ));
        match anchored {
            Some(Ok(anchor)) => {
                group.drafts.push((time, Entry::Anchor { count, head: hash }));
                for answer in self.anchoring.drain(..) {
                    let _ = answer.send(Ok(anchor.clone()));
                }
            }
            Some(Err(error)) => {
                tracing::warn!(log = path, %error, "the head of the audit log could not be anchored on the token");
                self.anchor_again = now + ANCHOR_PAUSE;
                for answer in self.anchoring.drain(..) {
                    let _ = answer.send(Err(again(&error)));
                }
            }
            None => {
                for answer in self.anchoring.drain(..) {
                    let _ = answer.send(Err(Error::new(ErrorKind::InvalidArgument, "this audit log has no anchors")));
                }
            }
        }
    }
}
