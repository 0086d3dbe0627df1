//! Attackers who can write a file: S without any key, and F who opened it once and kept its data key.
//!
//! Whatever they make of the slots, no re-encryption or rewrap that names no keys lets a key open the file that could
//! not open it before, and nothing that is old passes for fresh.

use crate::fixture::{TEXT, context, context_bytes, name};
use crate::forms::{Form, Sealed};
use crate::keyring::{Keyring, kek_id, unwrapped, wrap, wrap_later};
use crate::raw::SlotCopy;
use keyward::envelope::{Freshness, Recipients, Rewrap};
use keyward::{Decryptor, Encryptor};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

const KEYS: [(&str, u32); 4] = [("main", 1), ("main", 2), ("other", 1), ("rsa", 1)];

/// Version `v` of any key was created `100 * v` seconds after the epoch.
fn created(version: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(100 * u64::from(version))
}

/// The keys of those who rewrap and re-encrypt.
fn current() -> Keyring {
    KEYS.iter().fold(Keyring::new(&KEYS), |keys, (name, version)| keys.created(name, *version, created(*version)))
}

/// How a file was made, and what has happened to it since.
#[derive(Clone, Copy, Debug)]
struct History {
    form: Form,
    /// The version of `main` under which its data key was made.
    made_under: u32,
    also_for_other: bool,
    rewrapped: bool,
}

impl History {
    fn file(self) -> Sealed {
        let keys = Keyring::new(&[("main", self.made_under), ("other", 1)]);
        let mut encryptor = Encryptor::new(&keys, &name("main")).context(context());
        if self.also_for_other {
            encryptor = encryptor.also(&keys, &name("other"));
        }
        let file = self.form.seal(&encryptor, TEXT);
        match self.rewrapped {
            true => file.rewrapped(&Rewrap::new(&current()).context(context())).unwrap().unwrap_or(file),
            false => file,
        }
    }
}

fn histories() -> impl Strategy<Value = History> {
    let forms = prop::sample::select(Form::ALL.to_vec());
    (forms, 1..=2_u32, any::<bool>(), any::<bool>()).prop_map(|(form, made_under, also_for_other, rewrapped)| History {
        form,
        made_under,
        also_for_other,
        rewrapped,
    })
}

/// One edit of the list of entries.
#[derive(Clone, Debug)]
enum Edit {
    Drop(Index),
    Swap(Index, Index),
    /// Puts one of those that the attacker has at this place.
    Insert(Index, Index),
    Replace(Index, Index),
    Flip(Index, Index, u8),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        any::<Index>().prop_map(Edit::Drop),
        any::<(Index, Index)>().prop_map(|(a, b)| Edit::Swap(a, b)),
        any::<(Index, Index)>().prop_map(|(at, which)| Edit::Insert(at, which)),
        any::<(Index, Index)>().prop_map(|(at, which)| Edit::Replace(at, which)),
        (any::<Index>(), any::<Index>(), 1..=255_u8).prop_map(|(at, byte, mask)| Edit::Flip(at, byte, mask)),
    ];
    prop::collection::vec(edit, 0..5)
}

/// The entries after these edits, with what the attacker has to put among them.
fn edited(mut entries: Vec<Vec<u8>>, edits: &[Edit], at_hand: &[Vec<u8>]) -> Vec<Vec<u8>> {
    for edit in edits {
        let len = entries.len();
        match edit {
            Edit::Insert(at, which) => entries.insert(at.index(len + 1), which.get(at_hand).clone()),
            _ if len == 0 => {}
            Edit::Drop(at) => drop(entries.remove(at.index(len))),
            Edit::Swap(a, b) => entries.swap(a.index(len), b.index(len)),
            Edit::Replace(at, which) => entries[at.index(len)].clone_from(which.get(at_hand)),
            Edit::Flip(at, byte, mask) => {
                let entry = &mut entries[at.index(len)];
                let byte = byte.index(entry.len());
                entry[byte] ^= mask;
            }
        }
    }
    entries
}

/// A slot copy after flips of any bytes from its generation to its tag. The digest is right again.
fn flipped(copy: &SlotCopy, flips: &[(Index, u8)]) -> SlotCopy {
    let mut bytes = copy.compact_bytes();
    for (at, mask) in flips {
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
    }
    SlotCopy::parse_compact(&bytes)
}

/// The name of the key that an entry is under; its KEK id where it is none of ours.
fn name_of(entry: &[u8]) -> String {
    let id = entry.get(2..18).unwrap_or_default();
    let known = KEYS.iter().find(|(name, version)| kek_id(name, *version) == id);
    known.map_or_else(|| format!("{id:?}"), |(name, _)| (*name).to_owned())
}

fn names_of(entries: &[Vec<u8>]) -> BTreeSet<String> {
    entries.iter().map(|entry| name_of(entry)).collect()
}

/// Whether any decision takes the file for fresh, for recipients that it could have been made for.
fn fresh(file: &Sealed, keys: &Keyring, freshness: Freshness) -> bool {
    let main = Recipients::Named(Encryptor::new(keys, &name("main")));
    [Recipients::SameKey(keys), Recipients::KeepKeys(keys), main].into_iter().any(|recipients| {
        let decryptor = Decryptor::new(keys).context(context());
        let answer = file.reencrypted_with(decryptor, recipients, |reencrypt| reencrypt.unless(freshness));
        matches!(answer, Ok(None))
    })
}

/// Nothing that was made under an older version than asked is fresh, whatever the slots say.
fn check_freshness(file: &Sealed, keys: &Keyring, made_under: u32) -> Result<(), TestCaseError> {
    if made_under < 2 {
        prop_assert!(
            !fresh(file, keys, Freshness::CurrentVersion),
            "an old data key is taken for the current version's"
        );
    }
    let since = Freshness::VersionCreatedSince(created(made_under) + Duration::from_secs(1));
    prop_assert!(!fresh(file, keys, since), "an old data key is taken for a newer version's");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn slots_edited_without_a_key_move_to_no_key(history in histories(), others in histories(), edits in edits(),
        generation in prop::option::of(1..=3_u32), tag_of_other in any::<bool>(),
        flips in prop::collection::vec((any::<Index>(), 1..=255_u8), 0..3)) {
        let (keys, file, other) = (current(), history.file(), others.file());
        let mut at_hand = [other.entries(), file.entries()].concat();
        // An attacker may have keys, and data keys, of their own.
        at_hand.push(wrap("stranger", 1, &context_bytes(), &[1; 32]).bytes());
        at_hand.push(vec![9; 40]);
        let entries = edited(file.entries(), &edits, &at_hand);
        let generation = generation.unwrap_or(file.copy.generation);
        let tag = if tag_of_other { other.copy.tag } else { file.copy.tag };
        let copy = flipped(&SlotCopy { tag, ..SlotCopy::new(generation, &entries) }, &flips);
        let is_same = copy == file.copy;
        let forged = file.with(copy);
        let rewrap = Rewrap::new(&keys).context(context());
        let results = [
            forged.rewrapped(&rewrap),
            forged.reencrypted(&keys, Recipients::SameKey(&keys)),
            forged.reencrypted(&keys, Recipients::KeepKeys(&keys)),
        ];
        prop_assert_eq!(forged.read(&keys).is_ok(), is_same);
        for result in results {
            prop_assert!(is_same || result.is_err(), "edited slots were accepted");
            if let Ok(Some(new)) = result {
                prop_assert!(names_of(&new.entries()).is_subset(&names_of(&file.entries())));
            }
        }
        check_freshness(&forged, &keys, history.made_under)?;
    }

    #[test]
    fn slots_edited_with_the_data_key_move_to_no_other_name(history in histories(), others in histories(),
        edits in edits(), generation in 1..=3_u32) {
        let (keys, file, other) = (current(), history.file(), others.file());
        let data_key = unwrapped(&file.entries()[0]);
        // Whatever the file once had, what other files have, and what any token wraps for the attacker.
        let mut at_hand = [History { rewrapped: false, ..history }.file().entries(), other.entries()].concat();
        at_hand.extend([("main", 1), ("main", 2), ("other", 1), ("stranger", 1)].map(|(name, version)| {
            wrap_later(name, version, &context_bytes(), &data_key).bytes()
        }));
        at_hand.push(wrap("rsa", 1, &context_bytes(), &data_key).bytes());
        at_hand.push(vec![9; 40]);
        at_hand.extend(file.entries());
        let entries = edited(file.entries(), &edits, &at_hand);
        let forged = file.with(SlotCopy::new(generation, &entries)).tagged(&data_key);
        if let Ok(Some(new)) = forged.rewrapped(&Rewrap::new(&keys).context(context())) {
            prop_assert!(names_of(&new.entries()).is_subset(&names_of(&entries)), "an entry under a new name");
        }
        if let Ok(Some(new)) = forged.reencrypted(&keys, Recipients::SameKey(&keys)) {
            // The one name of all entries: an entry that was added is never one of several.
            prop_assert_eq!(names_of(&new.entries()), names_of(&entries));
            prop_assert_eq!(new.entries().len(), 1);
        }
        check_freshness(&forged, &keys, history.made_under)?;
    }
}
