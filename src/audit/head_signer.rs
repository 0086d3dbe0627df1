//! The thread that asks the keepers. Apart from the one that writes, so that a token that hangs holds up no operation
//! that does not need it.

use super::hash::Id;
use super::head::{Anchor, AnchorState, Head};
use super::keepers::{Compare, Keepers, Trust};
use super::name::LogName;
use super::writer::Message;
use crate::error::Result;
use std::sync::mpsc::{Receiver, Sender};

/// What the keepers are asked for.
pub(super) enum Task {
    /// What they vouch for.
    Read(LogName),
    /// The signature of a head.
    Sign(Head),
    /// To keep an anchor.
    Anchor(Anchor, Compare),
}

/// Their answer.
pub(super) enum Done {
    /// None if no keeper answered.
    Read(Result<Option<Trust>>),
    /// The head with the id of the key and the signature.
    Signed(Head, Result<(Id, String)>),
    Anchored(Anchor, Result<()>),
}

/// Asks the keepers, one task after the other.
pub(super) struct HeadSigner {
    pub(super) keepers: Keepers,
}

impl HeadSigner {
    /// Works until the other end is gone.
    pub(super) fn run(&self, tasks: &Receiver<Task>, answers: &Sender<Message>) {
        for task in tasks {
            let done = match task {
                Task::Read(name) => Done::Read(self.keepers.read(&name)),
                Task::Sign(head) => {
                    let signed = self.keepers.sign(&head.message(AnchorState::Live));
                    Done::Signed(head, signed)
                }
                Task::Anchor(anchor, compare) => {
                    let kept = self.keepers.set_anchor(&anchor, &compare);
                    Done::Anchored(anchor, kept)
                }
            };
            if answers.send(Message::Done(Box::new(done))).is_err() {
                return;
            }
        }
    }
}
