//! Rewrapping: what changes, what stays, and what is refused.

use crate::fixture::{
    DEK, TEXT, assert_kind, context, context_bytes, customer_key, good, good_entry, keyring, name, slot_copy,
};
use crate::keyring::{Keyring, kek_id, unwrapped, wrap};
use crate::place::{Place, both_keys, new_key, old_entry, old_envelope, old_key, rewrap};
use crate::raw::{Parts, SlotCopy};
use keyward::envelope::{DetachedSlots, Rewrap, RewrapOutcome};
use keyward::key::{AlgorithmChoice, KeyDescription, VersionReuse};
use keyward::testkit::MemoryProvider;
use keyward::{
    DataKey, DataKeyLength, Decryptor, EncryptionContext, Encryptor, ErrorKind, KeyAdmin, KeyName, KeyProvider, KeyRef,
    KeyVersion, Origin, Result, UnwrappedKey, WrappedKeys,
};
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

fn rewrapped(generation: u32, entries: usize, outcome: RewrapOutcome) {
    match outcome {
        RewrapOutcome::Rewrapped { generation: g, entries: e } => assert_eq!((g, e), (generation, entries)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_the_slots_change_and_the_old_key_is_no_longer_needed() {
    let place = Place::sealed();
    let (before, inode) = (place.parts(), fs::metadata(&place.path).unwrap().ino());
    assert_kind(place.read(&new_key()), ErrorKind::KeyNotFound, "before");
    rewrapped(2, 1, rewrap(&both_keys()).file(&place.path).unwrap());
    let after = place.parts();
    assert_eq!((&after.core, &after.body), (&before.core, &before.body));
    assert_eq!(after.slots.len(), before.slots.len());
    assert_eq!(fs::metadata(&place.path).unwrap().ino(), inode, "in place");
    let (a, b) = after.slot_copies();
    assert!(a.iter().all(|byte| *byte == 0), "the copy that was active is cleared");
    assert_eq!(crate::raw::read_slot_copy(b).unwrap().0, 2);
    assert_eq!(after.current().1[0][2..18], kek_id("main", 2));
    assert_eq!(place.read(&new_key()).unwrap(), TEXT);
    assert_kind(place.read(&old_key()), ErrorKind::KeyNotFound, "after");
    // And back into the area A.
    let third = Keyring::new(&[("main", 2), ("main", 3)]);
    rewrapped(3, 1, rewrap(&third).file(&place.path).unwrap());
    assert!(place.parts().slot_copies().1.iter().all(|byte| *byte == 0));
    assert_eq!(place.parts().body, before.body);
    assert_eq!(place.read(&Keyring::new(&[("main", 3)])).unwrap(), TEXT);
}

#[test]
fn the_old_version_may_be_disabled_and_destroyed_afterwards() {
    let (provider, main) = (MemoryProvider::new(), name("main"));
    provider.create_key(&main, AlgorithmChoice::Auto).unwrap();
    let place = Place::new(&Encryptor::new(&provider, &main).context(context()).encrypt(TEXT).unwrap());
    provider.rotate_key(&main, None).unwrap();
    provider.disable_key(&main, KeyVersion::FIRST).unwrap();
    place.refuses("source disabled", ErrorKind::KeyState, |path| rewrap(&provider).file(path));
    provider.enable_key(&main, KeyVersion::FIRST).unwrap();
    rewrapped(2, 1, rewrap(&provider).file(&place.path).unwrap());
    let read = || Decryptor::new(&provider).context(context()).decrypt(&place.bytes());
    provider.disable_key(&main, KeyVersion::FIRST).unwrap();
    assert_eq!(read().unwrap(), TEXT);
    provider.destroy_key(&main, KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
    assert_eq!(read().unwrap(), TEXT);
    assert_eq!(rewrap(&provider).file(&place.path).unwrap(), RewrapOutcome::Unchanged);
}

#[test]
fn a_second_run_changes_nothing() {
    let place = Place::sealed();
    rewrap(&both_keys()).file(&place.path).unwrap();
    let before = place.bytes();
    for rewrap in [rewrap(&both_keys()), rewrap(&new_key()), Rewrap::new(&both_keys()).any_context()] {
        assert_eq!(rewrap.clone().file(&place.path).unwrap(), RewrapOutcome::Unchanged);
        assert_eq!(rewrap.to(&name("main")).file(&place.path).unwrap(), RewrapOutcome::Unchanged);
        assert!(place.bytes() == before);
    }
}

#[test]
fn an_unchanged_run_clears_what_an_earlier_one_has_left() {
    let current = slot_copy(5).bytes();
    let torn = slot_copy(6).bytes()[..60].to_vec();
    for (case, left) in [
        ("an older slot copy", slot_copy(4).bytes()),
        ("the same slot copy", current.clone()),
        ("a torn slot copy", torn),
        ("one byte", [vec![0; 511], vec![1]].concat()),
    ] {
        for swapped in [false, true] {
            let mut envelope = good();
            (envelope.a, envelope.b) = (current.clone(), left.clone());
            if swapped {
                std::mem::swap(&mut envelope.a, &mut envelope.b);
            }
            let place = Place::new(&envelope.bytes());
            assert_eq!(rewrap(&new_key()).file(&place.path).unwrap(), RewrapOutcome::Unchanged, "{case}");
            let parts = place.parts();
            let (a, b) = parts.slot_copies();
            assert_eq!([a, b].iter().filter(|copy| copy.iter().all(|byte| *byte == 0)).count(), 1, "{case}");
            assert_eq!(parts.current().0, 5, "{case}");
            assert_eq!(parts.current().1, Parts::of(&envelope.bytes()).current().1);
            assert_eq!(place.read(&new_key()).unwrap(), TEXT, "{case}");
        }
    }
}

#[test]
fn entries_that_are_not_replaced_stay_byte_for_byte() {
    let stranger = wrap("stranger", 1, &context_bytes(), &DEK).bytes();
    let plant = wrap("main", 1, &context_bytes(), &[0x66; 32]).bytes();
    let kept = [vec![], vec![9; 5], stranger, plant];
    for at in 0..=kept.len() {
        let mut entries = kept.to_vec();
        entries.insert(at, old_entry());
        let mut envelope = good();
        envelope.core.slots_len = 2048;
        envelope.a = SlotCopy::new(1, &entries).bytes();
        let place = Place::new(&envelope.bytes());
        rewrapped(2, 1, rewrap(&both_keys()).file(&place.path).unwrap());
        let mut after = place.parts().current().1;
        assert_eq!(after.remove(at)[2..18], kek_id("main", 2));
        assert_eq!(after, kept);
    }
}

#[test]
fn an_old_entry_beside_a_current_one_only_goes() {
    for at in 0..=1 {
        let current = good_entry();
        let mut entries = vec![current.clone()];
        entries.insert(at, old_entry());
        let mut envelope = good();
        envelope.core.slots_len = 2048;
        envelope.a = SlotCopy::new(1, &entries).bytes();
        let place = Place::new(&envelope.bytes());
        rewrapped(2, 0, rewrap(&both_keys()).file(&place.path).unwrap());
        assert_eq!(place.parts().current().1, [current]);
        assert_eq!(place.read(&new_key()).unwrap(), TEXT);
    }
}

#[test]
fn the_last_generation_reads_but_is_not_rewrapped() {
    let place = Place::new(&old_envelope(u32::MAX).bytes());
    for copy in [false, true] {
        place.refuses("last generation", ErrorKind::LimitExceeded, |path| rewrap(&both_keys()).copy(copy).file(path));
    }
    assert_eq!(place.read(&old_key()).unwrap(), TEXT);
    assert_eq!(rewrap(&old_key()).file(&place.path).unwrap(), RewrapOutcome::Unchanged, "nothing to change");
    let place = Place::new(&old_envelope(u32::MAX - 1).bytes());
    rewrapped(u32::MAX, 1, rewrap(&both_keys()).file(&place.path).unwrap());
    assert_eq!(place.read(&new_key()).unwrap(), TEXT);
}

#[test]
fn what_does_not_decrypt_is_not_rewrapped() {
    let envelope = old_envelope(1);
    let bytes = envelope.bytes();
    let header = bytes.len() - envelope.body().len();
    let customers = Encryptor::with_customer_key(&customer_key()).context(context()).encrypt(TEXT).unwrap();
    let mut apart = envelope.clone();
    (apart.core.flags, apart.a) = (1, Vec::new());
    let mut altered = bytes.clone();
    altered[header + 30] ^= 1;
    let plants = [wrap("main", 1, &context_bytes(), &[1; 32]).bytes(), crate::fixture::entry_of(&[1; 32])];
    let with_copy = |copy: Vec<u8>| crate::raw::Envelope { a: copy, ..envelope.clone() }.bytes();
    let cases = [
        ("nothing", Vec::new(), ErrorKind::NotAnEnvelope),
        ("no envelope", TEXT.to_vec(), ErrorKind::NotAnEnvelope),
        ("cut in the slots", bytes[..header - 1].to_vec(), ErrorKind::NotAnEnvelope),
        ("no slot copy", with_copy(Vec::new()), ErrorKind::NotAnEnvelope),
        (
            "two slot copies of one generation",
            { crate::raw::Envelope { b: SlotCopy::new(1, &[old_entry()]).bytes(), ..envelope.clone() }.bytes() },
            ErrorKind::NotAnEnvelope,
        ),
        ("no body", bytes[..header].to_vec(), ErrorKind::NotAuthentic),
        ("no commitment", bytes[..header + 55].to_vec(), ErrorKind::NotAuthentic),
        ("commitment altered", altered, ErrorKind::NotAuthentic),
        ("a plant of the old version", with_copy(SlotCopy::new(1, &plants[..1]).bytes()), ErrorKind::NotAuthentic),
        ("a plant of the new version", with_copy(SlotCopy::new(1, &plants[1..]).bytes()), ErrorKind::NotAuthentic),
        (
            "not for this provider",
            { with_copy(SlotCopy::new(1, &[wrap("stranger", 1, &context_bytes(), &DEK).bytes()]).bytes()) },
            ErrorKind::KeyNotFound,
        ),
        ("a customer's", customers, ErrorKind::InvalidArgument),
        ("slots apart", apart.bytes(), ErrorKind::InvalidArgument),
    ];
    for (case, bytes, kind) in cases {
        let place = Place::new(&bytes);
        for copy in [false, true] {
            place.refuses(case, kind, |path| rewrap(&both_keys()).copy(copy).file(path));
            place.refuses(case, kind, |path| rewrap(&both_keys()).to(&name("main")).copy(copy).file(path));
        }
    }
    let place = Place::new(&bytes);
    place.refuses("no context", ErrorKind::ContextMismatch, |path| Rewrap::new(&both_keys()).file(path));
    place.refuses("no such key", ErrorKind::KeyNotFound, |path| rewrap(&both_keys()).to(&name("gone")).file(path));
    place.refuses("no file", ErrorKind::Io, |path| rewrap(&both_keys()).file(&path.with_extension("no")));
}

#[test]
fn all_that_opens_moves_to_another_key() {
    let mut envelope = old_envelope(1);
    envelope.core.slots_len = 2048;
    let stranger = wrap("stranger", 1, &context_bytes(), &DEK).bytes();
    envelope.a = SlotCopy::new(1, &[stranger.clone(), old_entry(), good_entry()]).bytes();
    let place = Place::new(&envelope.bytes());
    let provider = keyring();
    rewrapped(2, 1, rewrap(&provider).to(&name("other")).file(&place.path).unwrap());
    let (_, entries) = place.parts().current();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0], stranger);
    assert_eq!(entries[1][2..18], kek_id("other", 1));
    assert_kind(place.read(&both_keys()), ErrorKind::KeyNotFound, "moved away");
    assert_eq!(place.read(&Keyring::new(&[("other", 1)])).unwrap(), TEXT);
}

#[test]
fn a_copy_takes_the_files_place_with_its_mode_and_through_links() {
    let place = Place::sealed();
    let before = place.parts();
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o640)).unwrap();
    let inode = fs::metadata(&place.path).unwrap().ino();
    rewrapped(2, 1, rewrap(&both_keys()).copy(true).file(&place.path).unwrap());
    let metadata = fs::metadata(&place.path).unwrap();
    assert_ne!(metadata.ino(), inode);
    assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
    let after = place.parts();
    assert_eq!((after.core, after.body, after.slots.len()), (before.core, before.body, before.slots.len()));
    assert_eq!(place.read(&new_key()).unwrap(), TEXT);
    assert_eq!(fs::read_dir(&place.directory).unwrap().count(), 1, "no temporary file");
    for copy in [false, true] {
        let place = Place::sealed();
        let link = place.directory.path().join("link");
        symlink(&place.path, &link).unwrap();
        rewrapped(2, 1, rewrap(&both_keys()).copy(copy).file(&link).unwrap());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(place.read(&new_key()).unwrap(), TEXT);
    }
}

#[test]
fn detached_slots_are_rewrapped_alone() {
    let provider = old_key();
    let encryptor = Encryptor::new(&provider, &name("main")).context(context());
    let (mut writer, slots) = encryptor.writer_detached(Vec::new()).unwrap();
    writer.write_all(TEXT).unwrap();
    let file = writer.finish().unwrap();
    let (both, new) = (both_keys(), new_key());
    let fresh = rewrap(&both).detached(&mut Cursor::new(&file), &slots).unwrap().expect("something to do");
    assert_eq!(crate::raw::read_slot_copy(fresh.as_bytes()).unwrap().0, 2);
    let read =
        |slots: &DetachedSlots| Decryptor::new(&new).context(context()).detached_slots(slots.clone()).decrypt(&file);
    assert_eq!(read(&fresh).unwrap(), TEXT);
    assert_kind(read(&slots), ErrorKind::KeyNotFound, "the old slots");
    assert!(rewrap(&both).detached(&mut Cursor::new(&file), &fresh).unwrap().is_none());
    let attached = rewrap(&both).detached(&mut Cursor::new(&good().bytes()), &slots);
    assert_kind(attached, ErrorKind::InvalidArgument, "a file that has its own");
    let foreign = DetachedSlots::from_bytes(SlotCopy::new(1, &[old_entry()]).bytes()).unwrap();
    let answer = rewrap(&both).detached(&mut Cursor::new(&file), &foreign);
    assert_kind(answer, ErrorKind::NotAuthentic, "another file's slots");
    let (_, entries) = crate::raw::read_slot_copy(slots.as_bytes()).unwrap();
    let last = SlotCopy::new(u32::MAX, &entries).tagged(&unwrapped(&entries[0]), &Parts::of(&file).core);
    let answer = rewrap(&both).detached(&mut Cursor::new(&file), &DetachedSlots::from_bytes(last.bytes()).unwrap());
    assert_kind(answer, ErrorKind::LimitExceeded, "the last generation");
}

/// A provider that rewraps into something of its own.
struct Odd(Keyring, Answer);

type Answer = Box<dyn Fn(&Keyring) -> WrappedKeys + Send + Sync>;

impl KeyProvider for Odd {
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
        self.0.describe_key(key)
    }
    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.0.generate_data_key(key, context, length)
    }
    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        _: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.generate_data_key(key, context, length)
    }
    fn wrap_data_key(&self, _: &KeyName, _: &EncryptionContext, _: &DataKey) -> Result<WrappedKeys> {
        Ok((self.1)(&self.0))
    }
    fn unwrap_data_key(&self, wrapped: &WrappedKeys, context: &EncryptionContext) -> Result<UnwrappedKey> {
        self.0.unwrap_data_key(wrapped, context)
    }
    fn rewrap_data_key(&self, _: &WrappedKeys, _: &EncryptionContext, _: &KeyName, _: Origin) -> Result<WrappedKeys> {
        Ok((self.1)(&self.0))
    }
}

fn wrapped(entries: &[Vec<u8>]) -> WrappedKeys {
    WrappedKeys::new(entries.iter().map(|entry| keyward::WrappedKey::parse(entry).unwrap()).collect()).unwrap()
}

#[test]
fn a_new_entry_that_does_not_open_to_the_data_key_undoes_the_rewrap() {
    type Wrap = fn(&Keyring) -> WrappedKeys;
    let cases: [(&str, Wrap); 4] = [
        ("another data key", |_| wrapped(&[crate::fixture::entry_of(&[1; 32])])),
        ("another context", |_| wrapped(&[wrap("main", 2, &[], &DEK).bytes()])),
        ("one of two is wrong", |_| wrapped(&[good_entry(), crate::fixture::entry_of(&[1; 32])])),
        ("16 bytes for a key that may not be opened", |_| wrapped(&[wrap("stranger", 1, &[], &[1; 16]).bytes()])),
    ];
    for (case, answer) in cases {
        let place = Place::new(&old_envelope(1).bytes());
        for copy in [false, true] {
            place.refuses(case, ErrorKind::Internal, |path| {
                rewrap(&Odd(both_keys(), Box::new(answer))).copy(copy).file(path)
            });
        }
    }
}

#[test]
fn file_written_by_another_program_meanwhile_is_left_as_it_is() {
    let replace = |path: &std::path::Path, content: &[u8]| {
        let other = path.with_extension("other");
        fs::write(&other, content).unwrap();
        fs::rename(other, path).unwrap();
    };
    let longer = [old_envelope(1).bytes(), b"more".to_vec()].concat();
    for (case, content) in [
        ("another envelope", good().bytes()),
        ("longer", longer),
        ("another file", b"text".to_vec()),
        ("empty", vec![]),
    ] {
        for (copy, renamed) in [(false, false), (false, true), (true, false), (true, true)] {
            let place = Place::new(&old_envelope(1).bytes());
            let (path, written) = (place.path.clone(), content.clone());
            // While the token is asked.
            let meddle = move |_: &Keyring| {
                match renamed {
                    true => replace(&path, &written),
                    false => fs::write(&path, &written).unwrap(),
                }
                wrapped(&[good_entry()])
            };
            let answer = rewrap(&Odd(both_keys(), Box::new(meddle))).copy(copy).file(&place.path);
            assert_kind(answer, ErrorKind::Io, case);
            assert_eq!(place.bytes(), content, "{case}, copy: {copy}, renamed: {renamed}");
            assert_eq!(fs::read_dir(place.path.parent().unwrap()).unwrap().count(), 1, "{case}");
        }
    }
}

#[test]
fn a_rewrap_that_does_not_fit_is_refused_before_anything_is_written() {
    let place = Place::sealed();
    let two = Odd(both_keys(), Box::new(|_| wrapped(&[good_entry(), good_entry()])));
    place.refuses("two entries in 160 bytes", ErrorKind::LimitExceeded, |path| rewrap(&two).file(path));
    place.refuses("two entries in 160 bytes", ErrorKind::LimitExceeded, |path| rewrap(&two).copy(true).file(path));
    let seventeen = Odd(both_keys(), Box::new(|_| wrapped(&vec![good_entry(); 16])));
    let mut envelope = old_envelope(1);
    envelope.core.slots_len = 8192;
    envelope.a = SlotCopy::new(1, &[old_entry(), vec![]]).bytes();
    let place = Place::new(&envelope.bytes());
    place.refuses("17 entries", ErrorKind::LimitExceeded, |path| rewrap(&seventeen).file(path));
}
