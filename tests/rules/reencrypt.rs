//! Re-encryption: for whom, and whether it is needed.

use crate::fixture::{DEK, TEXT, assert_kind, context, context_bytes, customer_key, good, good_entry, keyring, name};
use crate::forms::{Form, Sealed};
use crate::keyring::{Keyring, kek_id, unwrapped, wrap, wrap_later};
use crate::place::{Place, both_keys, new_key, old_entry, old_key, rewrap};
use crate::raw::{Envelope, SlotCopy};
use keyward::durable::{AtomicFile, Replace};
use keyward::envelope::{Freshness, InputFile, Recipients, Reencrypt, ReencryptOutcome};
use keyward::{Decryptor, Encryptor, ErrorKind, Result};
use std::fs::File;
use std::time::{Duration, SystemTime};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// All keys, whose versions were created one after the other.
fn dated() -> Keyring {
    keyring().created("main", 1, at(100)).created("main", 2, at(200)).created("other", 1, at(150))
}

fn sealed_by(keys: &Keyring, form: Form) -> Sealed {
    form.seal(&Encryptor::new(keys, &name("main")).context(context()), TEXT)
}

/// The file with these entries more, added by one who opened it once and kept its data key.
fn with_added(file: &Sealed, added: impl Fn(&[u8]) -> Vec<u8>) -> Sealed {
    let entries = file.entries();
    let data_key = unwrapped(&entries[0]);
    file.with_entries(&[entries, vec![added(&data_key)]].concat()).tagged(&data_key)
}

fn kek_ids(file: &Sealed) -> Vec<[u8; 16]> {
    file.entries().iter().map(|entry| entry[2..18].try_into().unwrap()).collect()
}

fn named<'a>(keys: &'a Keyring, names: &[&str]) -> Recipients<'a> {
    let encryptor = Encryptor::new(keys, &name(names[0]));
    Recipients::Named(names[1..].iter().fold(encryptor, |encryptor, key| encryptor.also(keys, &name(key))))
}

/// Whether the file is left alone because it is fresh enough.
fn is_fresh(file: &Sealed, keys: &Keyring, recipients: Recipients<'_>, freshness: Freshness) -> Result<bool> {
    let decryptor = Decryptor::new(keys).context(context());
    let new = file.reencrypted_with(decryptor, recipients, |reencrypt| reencrypt.unless(freshness))?;
    if let Some(new) = &new {
        assert_eq!(new.read(keys).unwrap(), TEXT);
        assert_ne!(unwrapped(&new.entries()[0]), unwrapped(&file.entries()[0]), "the old data key");
    }
    Ok(new.is_none())
}

#[test]
fn the_same_key_is_the_one_of_all_entries() {
    for form in Form::ALL {
        let keys = keyring();
        let file = sealed_by(&old_key(), form);
        let new = file.reencrypted(&keys, Recipients::SameKey(&keys)).unwrap().unwrap();
        assert_eq!(kek_ids(&new), [kek_id("main", 2)], "{form:?}");
        assert_eq!(new.entries()[0][0], 1, "wrapped when the data key was generated");
        assert_eq!(new.copy.generation, 1);
        assert_eq!(new.read(&new_key()).unwrap(), TEXT);
    }
    // Several versions of one name are one key.
    let keys = both_keys();
    let mut both = Envelope { a: SlotCopy::new(5, &[good_entry(), old_entry()]).bytes(), ..good() };
    both.core.slots_len = 2048;
    let place = Place::new(&both.bytes());
    let reencrypt = Reencrypt::new(Decryptor::new(&keys).context(context()), Recipients::SameKey(&keys));
    let outcome = reencrypt.file(&place.path).unwrap();
    assert_eq!(outcome, ReencryptOutcome::Reencrypted { len: TEXT.len() as u64 });
    assert_eq!(place.parts().current().1.len(), 1);
}

#[test]
fn the_same_key_is_ambiguous_if_an_entry_was_added() {
    type Added = fn(&[u8]) -> Vec<u8>;
    let cases: [(&str, Added); 4] = [
        ("another known key", |data_key| wrap_later("other", 1, &context_bytes(), data_key).bytes()),
        ("an entry of another known key that does not open", |_| wrap("other", 1, &[], &DEK).bytes()),
        ("an unknown key", |data_key| wrap_later("stranger", 1, &context_bytes(), data_key).bytes()),
        ("an entry of an unknown kind", |_| vec![9; 40]),
    ];
    for form in Form::ALL {
        for (case, added) in cases {
            let keys = keyring();
            let forged = with_added(&sealed_by(&old_key(), form), added);
            assert_eq!(forged.read(&keys).unwrap(), TEXT);
            let answer = forged.reencrypted(&keys, Recipients::SameKey(&keys));
            assert_kind(answer, ErrorKind::RecipientsAmbiguous, format!("{form:?}: {case}"));
            for freshness in [Freshness::CurrentVersion, Freshness::VersionCreatedSince(at(1000))] {
                let answer = is_fresh(&forged, &dated(), Recipients::SameKey(&keys), freshness);
                assert_ne!(answer.ok(), Some(true), "{form:?}: {case}, {freshness:?}");
            }
        }
    }
}

#[test]
fn kept_keys_are_those_of_all_entries() {
    for form in Form::ALL {
        let keys = keyring();
        let file = with_added(&sealed_by(&old_key(), form), |data_key| {
            wrap_later("other", 1, &context_bytes(), data_key).bytes()
        });
        let new = file.reencrypted(&keys, Recipients::KeepKeys(&keys)).unwrap().unwrap();
        assert_eq!(kek_ids(&new), [kek_id("main", 2), kek_id("other", 1)], "{form:?}");
        for keys in [new_key(), Keyring::new(&[("other", 1)])] {
            assert_eq!(new.read(&keys).unwrap(), TEXT);
        }
        // One that is not known here can neither be kept nor dropped in silence.
        for unknown in [wrap("stranger", 1, &context_bytes(), &DEK).bytes(), vec![9; 40]] {
            let file = with_added(&file, |_| unknown.clone());
            let answer = file.reencrypted(&keys, Recipients::KeepKeys(&keys));
            assert_kind(answer, ErrorKind::KeyNotFound, "an unknown key kept");
        }
    }
}

#[test]
fn named_keys_are_the_only_ones() {
    for form in Form::ALL {
        let keys = keyring();
        let file = with_added(&sealed_by(&old_key(), form), |data_key| {
            wrap_later("stranger", 1, &context_bytes(), data_key).bytes()
        });
        for names in [&["main"][..], &["other"], &["other", "main"]] {
            let new = file.reencrypted(&keys, named(&keys, names)).unwrap().unwrap();
            let ids: Vec<_> = names.iter().map(|key| kek_id(key, if *key == "main" { 2 } else { 1 })).collect();
            assert_eq!(kek_ids(&new), ids, "{form:?}");
            assert_eq!(new.read(&keys).unwrap(), TEXT);
        }
        assert_kind(file.reencrypted(&keys, named(&keys, &["gone"])), ErrorKind::KeyNotFound, "no such key");
    }
}

#[test]
fn a_customers_key_comes_and_goes_by_name_alone() {
    for form in Form::ALL {
        let (keys, key) = (keyring(), customer_key());
        let customers = || Recipients::Named(Encryptor::with_customer_key(&key));
        let theirs = sealed_by(&old_key(), form).reencrypted(&keys, customers()).unwrap().unwrap();
        let decryptor = || Decryptor::with_customer_key(&key).context(context());
        assert_eq!(theirs.read_with(decryptor()).unwrap(), TEXT);
        for recipients in [Recipients::SameKey(&keys), Recipients::KeepKeys(&keys)] {
            let answer = theirs.reencrypted_with(decryptor(), recipients, |reencrypt| reencrypt);
            assert_kind(answer, ErrorKind::InvalidArgument, format!("{form:?}: no name to keep"));
        }
        let back = theirs.reencrypted_with(decryptor(), named(&keys, &["main"]), |reencrypt| reencrypt);
        assert_eq!(back.unwrap().unwrap().read(&new_key()).unwrap(), TEXT);
        // Nothing proves when a customer's key was made.
        for freshness in [Freshness::CurrentVersion, Freshness::VersionCreatedSince(at(0))] {
            let again = theirs.reencrypted_with(decryptor(), customers(), |reencrypt| reencrypt.unless(freshness));
            assert!(again.unwrap().is_some(), "{freshness:?}");
        }
    }
}

#[test]
fn a_data_key_of_the_current_version_is_fresh() {
    for form in Form::ALL {
        let keys = keyring();
        let fresh = |file: &Sealed, recipients| is_fresh(file, &keys, recipients, Freshness::CurrentVersion).unwrap();
        let current = sealed_by(&keys, form);
        assert!(fresh(&current, Recipients::SameKey(&keys)), "{form:?}");
        assert!(fresh(&current, Recipients::KeepKeys(&keys)));
        assert!(fresh(&current, named(&keys, &["main"])));
        // Not for other recipients than it has.
        assert!(!fresh(&current, named(&keys, &["other"])));
        assert!(!fresh(&current, named(&keys, &["main", "other"])));
        assert!(!fresh(&sealed_by(&old_key(), form), Recipients::SameKey(&keys)), "{form:?}: of the old version");
    }
}

#[test]
fn a_rewrapped_data_key_is_not_fresh() {
    for form in Form::ALL {
        let keys = keyring();
        let rewrapped = sealed_by(&old_key(), form).rewrapped(&rewrap(&both_keys())).unwrap().unwrap();
        let data_key = unwrapped(&rewrapped.entries()[0]);
        let old = sealed_by(&old_key(), form);
        let restored = SlotCopy::new(1, &[rewrapped.entries(), old.entries()].concat());
        for (case, file) in [
            ("as it is", rewrapped.clone()),
            // One who kept the data key writes what a new file would have.
            ("generation 1", rewrapped.with(SlotCopy { generation: 1, ..rewrapped.copy.clone() }).tagged(&data_key)),
            ("with an entry of another file", rewrapped.with(restored).tagged(&data_key)),
        ] {
            for recipients in [Recipients::SameKey(&keys), Recipients::KeepKeys(&keys), named(&keys, &["main"])] {
                let case = format!("{form:?}: {case} for {recipients:?}");
                let answer = is_fresh(&file, &keys, recipients, Freshness::CurrentVersion);
                assert!(!answer.unwrap(), "{case}");
            }
        }
    }
}

#[test]
fn an_occasion_edited_after_a_rewrap_is_not_authentic() {
    for form in Form::ALL {
        let keys = keyring();
        let rewrapped = sealed_by(&old_key(), form).rewrapped(&rewrap(&both_keys())).unwrap().unwrap();
        let data_key = unwrapped(&rewrapped.entries()[0]);
        let mut entries = rewrapped.entries();
        entries[0][0] = 1;
        // Neither without the data key, nor with it.
        for edited in [rewrapped.with_entries(&entries), rewrapped.with_entries(&entries).tagged(&data_key)] {
            let answer = is_fresh(&edited, &keys, Recipients::SameKey(&keys), Freshness::CurrentVersion);
            assert_kind(answer, ErrorKind::NotAuthentic, format!("{form:?}"));
        }
    }
}

#[test]
fn an_entry_for_another_key_is_not_fresh() {
    for form in Form::ALL {
        let keys = keyring();
        let current = sealed_by(&keys, form);
        type Added = fn(&[u8]) -> Vec<u8>;
        let cases: [(&str, Added); 4] = [
            ("another key", |data_key| wrap_later("other", 1, &context_bytes(), data_key).bytes()),
            ("an unknown key", |data_key| wrap_later("stranger", 1, &context_bytes(), data_key).bytes()),
            ("the old version", |data_key| wrap_later("main", 1, &context_bytes(), data_key).bytes()),
            ("an unknown kind", |_| vec![9; 40]),
        ];
        for (case, added) in cases {
            let file = with_added(&current, added);
            let answer = is_fresh(&file, &keys, named(&keys, &["main"]), Freshness::CurrentVersion);
            assert!(!answer.unwrap(), "{form:?}: {case}");
        }
    }
}

#[test]
fn what_an_rsa_key_opened_goes_under_symmetric_keys_by_assertion() {
    let keys = Keyring::new(&[("main", 2), ("rsa", 1)]).created("rsa", 1, at(100));
    let decryptor = || Decryptor::new(&keys).context(context());
    let customer = customer_key();
    for form in Form::ALL {
        let file = form.seal(&Encryptor::new(&keys, &name("rsa")).context(context()), TEXT);
        let customers = Recipients::Named(Encryptor::with_customer_key(&customer));
        for symmetric in [named(&keys, &["main"]), named(&keys, &["rsa", "main"]), customers] {
            let answer = file.reencrypted(&keys, symmetric.clone());
            assert_kind(answer, ErrorKind::OriginUnverified, format!("{form:?}: {symmetric:?}"));
            let asserted = file.reencrypted_with(decryptor(), symmetric, |reencrypt| reencrypt.danger_assert_origin());
            assert!(asserted.unwrap().is_some());
        }
        for rsa in [Recipients::SameKey(&keys), Recipients::KeepKeys(&keys), named(&keys, &["rsa"])] {
            for freshness in [Freshness::CurrentVersion, Freshness::VersionCreatedSince(at(0))] {
                assert!(!is_fresh(&file, &keys, rsa.clone(), freshness).unwrap(), "{form:?}: {rsa:?}");
            }
        }
        let to_main = rewrap(&keys).to(&name("main"));
        assert_kind(file.rewrapped(&to_main), ErrorKind::OriginUnverified, format!("{form:?}: rewrapped"));
        let rewrapped = file.rewrapped(&to_main.danger_assert_origin()).unwrap().unwrap();
        assert_eq!(kek_ids(&rewrapped), [kek_id("main", 2)]);
        // What a symmetric key opens as well needs no assertion.
        let both = with_added(&file, |data_key| wrap_later("main", 2, &context_bytes(), data_key).bytes());
        assert!(both.reencrypted(&keys, named(&keys, &["main"])).unwrap().is_some());
        assert!(both.rewrapped(&rewrap(&keys).to(&name("main"))).unwrap().is_some());
    }
}

#[test]
fn the_times_of_a_file_decide_nothing() {
    for (keys, expected) in [(keyring(), true), (old_key(), false)] {
        let file = sealed_by(&keys, Form::Plain).file();
        for time in [at(0), at(1000), at(1 << 33)] {
            for freshness in [Freshness::CurrentVersion, Freshness::VersionCreatedSince(at(150))] {
                let place = Place::new(&file);
                File::options().write(true).open(&place.path).unwrap().set_modified(time).unwrap();
                let keys = dated();
                let decryptor = Decryptor::new(&keys).context(context());
                let reencrypt = Reencrypt::new(decryptor, Recipients::SameKey(&keys)).unless(freshness);
                let fresh = reencrypt.file(&place.path).unwrap() == ReencryptOutcome::FreshEnough;
                assert_eq!(fresh, expected, "{time:?}, {freshness:?}");
            }
        }
    }
}

#[test]
fn a_version_is_as_old_as_its_record_says() {
    for form in Form::ALL {
        let keys = dated();
        let fresh = |file: &Sealed, keys: &Keyring, since| {
            let freshness = Freshness::VersionCreatedSince(at(since));
            is_fresh(file, keys, Recipients::SameKey(keys), freshness).unwrap()
        };
        let (old, new) = (sealed_by(&old_key(), form), sealed_by(&keys, form));
        for (since, old_is_fresh, new_is_fresh) in
            [(0, true, true), (100, true, true), (101, false, true), (200, false, true), (201, false, false)]
        {
            assert_eq!(fresh(&old, &keys, since), old_is_fresh, "{form:?}: old, {since}");
            assert_eq!(fresh(&new, &keys, since), new_is_fresh, "{form:?}: new, {since}");
        }
        // Without a record nothing is proven.
        assert!(!fresh(&new, &keyring(), 0));
        // What was rewrapped under the new version was not made under it.
        let rewrapped = old.rewrapped(&rewrap(&both_keys())).unwrap().unwrap();
        for since in [0, 100, 150, 200] {
            assert!(!fresh(&rewrapped, &keys, since), "{form:?}: rewrapped, {since}");
        }
    }
}

#[test]
fn a_second_recipient_proves_nothing() {
    for form in Form::ALL {
        let keys = dated();
        let encryptor = Encryptor::new(&keys, &name("main")).also(&keys, &name("other")).context(context());
        let file = form.seal(&encryptor, TEXT);
        let others = Keyring::new(&[("other", 1)]).created("other", 1, at(150));
        let since = Freshness::VersionCreatedSince(at(0));
        assert!(is_fresh(&file, &keys, Recipients::KeepKeys(&keys), since).unwrap(), "{form:?}");
        assert!(is_fresh(&file, &keys, Recipients::KeepKeys(&keys), Freshness::CurrentVersion).unwrap());
        assert!(!is_fresh(&file, &others, named(&others, &["other"]), since).unwrap(), "{form:?}: by the second alone");
    }
}

#[test]
fn a_fresh_file_makes_no_output() {
    let keys = keyring();
    let place = Place::new(&sealed_by(&keys, Form::Plain).file());
    let out = place.directory.path().join("out");
    let decryptor = || Decryptor::new(&keys).context(context());
    let reencrypt = Reencrypt::new(decryptor(), Recipients::SameKey(&keys)).unless(Freshness::CurrentVersion);
    assert_eq!(reencrypt.file_to(&place.path, &out, Replace::No).unwrap(), ReencryptOutcome::FreshEnough);
    let target = || -> Result<AtomicFile> { panic!("a target for a fresh file") };
    assert!(reencrypt.to_target(InputFile::open(&place.path).unwrap(), target).unwrap().is_none());
    assert_eq!(std::fs::read_dir(&place.directory).unwrap().count(), 1);
}

#[test]
fn file_changed_meanwhile_is_not_replaced() {
    let keys = keyring();
    for renamed in [false, true] {
        let place = Place::new(&sealed_by(&keys, Form::Plain).file());
        let reencrypt = Reencrypt::new(Decryptor::new(&keys).context(context()), Recipients::SameKey(&keys));
        let input = InputFile::open(&place.path).unwrap();
        let version = input.version();
        let target = || Ok(AtomicFile::create(&place.path, Replace::Yes)?.expecting(version));
        let file = reencrypt.to_target(input, target).unwrap().unwrap();
        let other = place.path.with_extension("other");
        std::fs::write(if renamed { &other } else { &place.path }, "newer").unwrap();
        if renamed {
            std::fs::rename(&other, &place.path).unwrap();
        }
        assert_eq!(file.commit().unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(place.bytes(), b"newer");
        assert_eq!(std::fs::read_dir(&place.directory).unwrap().count(), 1);
    }
}
