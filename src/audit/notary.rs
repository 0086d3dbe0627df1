//! The thread that has heads signed and anchored. Apart from the one that writes, so that a token that
//! hangs holds up no operation that does not need it.

use super::hash::Id;
use super::head::{Anchor, Head};
use super::verifying::HeadKey;
use super::writer::Message;
use crate::error::Result;
use crate::key::{AnchorStore, Signer};
use base64ct::{Base64, Encoding};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

/// A head that is to be signed.
pub(super) struct Task {
    pub(super) head: Head,
    pub(super) wraps: BTreeMap<Id, u64>,
    /// Whether it is to be anchored as well.
    pub(super) anchor: bool,
}

/// What came of it.
pub(super) struct Done {
    pub(super) task: Task,
    /// The id of the key and the signature.
    pub(super) signed: Result<(Id, String)>,
    /// None where it was not to be anchored, or is not signed.
    pub(super) anchored: Option<Result<Anchor>>,
}

pub(super) struct Notary {
    pub(super) signer: Arc<dyn Signer>,
    pub(super) anchors: Option<Arc<dyn AnchorStore>>,
    pub(super) host: String,
}

impl Notary {
    /// Works until the other end is gone.
    pub(super) fn run(&self, tasks: &Receiver<Task>, answers: &Sender<Message>) {
        for task in tasks {
            let signed = self.sign(&task.head);
            let anchored = match (&signed, &self.anchors) {
                (Ok((key, signature)), Some(anchors)) if task.anchor => {
                    let anchor = Anchor::new(&task.head, self.host.clone(), *key, signature.clone());
                    Some(anchors.set_anchor(&task.head.log.to_string(), &anchor.to_text()).map(|()| anchor))
                }
                _ => None,
            };
            if answers.send(Message::Done(Box::new(Done { task, signed, anchored }))).is_err() {
                return;
            }
        }
    }

    fn sign(&self, head: &Head) -> Result<(Id, String)> {
        let key = HeadKey::from_point(self.signer.public_point())?;
        let signature = self.signer.sign(&head.message())?;
        Ok((key.id(), Base64::encode_string(&signature)))
    }
}
