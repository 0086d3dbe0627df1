//! What was last heard of master keys, so that a change is noticed.

use crate::error::Result;
use crate::key::{KekId, KeyDescription, KeyName, KeyRef, KeyState};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub(super) struct Watch(Mutex<HashMap<Ref, Seen>>);

#[derive(PartialEq, Eq, Hash)]
enum Ref {
    Name(KeyName),
    Kek(KekId),
}

/// What decides whether and under which keys something is wrapped or recovered.
#[derive(PartialEq, Eq)]
struct Seen {
    kek: KekId,
    also: Vec<KekId>,
    state: KeyState,
    is_sound: bool,
}

impl Watch {
    /// Calls `forget` if this answer says something else of the key than the last one did; also if it is the first,
    /// because the key may have changed before. That the token was away says nothing about the key.
    ///
    /// Other answers wait meanwhile: a data key that is made after one of them is not forgotten on the word of an
    /// earlier one.
    pub(super) fn on_change(&self, key: KeyRef<'_>, described: &Result<KeyDescription>, forget: impl FnOnce()) {
        let key = match key {
            KeyRef::Name(name) => Ref::Name(name.clone()),
            KeyRef::Kek(id) => Ref::Kek(id),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_changed = match described {
            Ok(key_is) => {
                let KeyDescription { kek_id, also, state, problems, .. } = key_is;
                let seen = Seen { kek: *kek_id, also: also.clone(), state: *state, is_sound: problems.is_empty() };
                let is_same = all.get(&key) == Some(&seen);
                if !is_same {
                    all.insert(key, seen);
                }
                !is_same
            }
            // Only of keys that were there is it kept that they are not: anybody can make up ids of others.
            Err(error) if !error.kind().is_unavailable() => all.remove(&key).is_some(),
            Err(_) => false,
        };
        if has_changed {
            forget();
        }
    }
}
