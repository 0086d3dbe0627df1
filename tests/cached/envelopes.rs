//! Envelopes through it: which of them share a data key.

use super::*;
use keyward::durable::Replace;
use keyward::envelope::{Recipients, Reencrypt};
use keyward::{Decryptor, Encryptor};
use std::io::Write;

#[test]
fn envelopes_in_memory_share_a_data_key_and_nothing_else() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let encryptor = Encryptor::new(&cached, &key()).context(context("a"));
    let sealed: Vec<_> = (0..3).map(|_| encryptor.encrypt(b"the same").unwrap()).collect();
    assert_eq!(spy.asked(), ["generate"]);
    let bodies: Vec<_> = sealed.iter().map(|sealed| &sealed[sealed.len() - 24..]).collect();
    assert!(bodies[0] != bodies[1] && bodies[1] != bodies[2] && bodies[0] != bodies[2]);
    for sealed in &sealed {
        for provider in [&cached as &dyn KeyProvider, &spy.keys] {
            assert_eq!(Decryptor::new(provider).context(context("a")).decrypt(sealed).unwrap(), b"the same");
        }
    }
    assert_eq!(spy.asked(), ["unwrap"]);
}

#[test]
fn a_stream_shares_a_data_key_only_where_its_length_is_known() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let encryptor = Encryptor::new(&cached, &key());
    let limited = encryptor.clone().max_len(4);
    let stream = |encryptor: &Encryptor<'_>| {
        let mut writer = encryptor.writer(Vec::new()).unwrap();
        writer.write_all(b"four").unwrap();
        assert_eq!(Decryptor::new(&spy.keys).decrypt(&writer.finish().unwrap()).unwrap(), b"four");
        let (mut writer, slots) = encryptor.writer_detached(Vec::new()).unwrap();
        assert_eq!(writer.read_from(&mut &b"four"[..]).unwrap(), 4);
        writer.finish().unwrap();
        drop(slots);
    };
    stream(&encryptor);
    stream(&encryptor);
    assert_eq!(spy.asked(), ["generate"; 4]);
    stream(&limited);
    stream(&limited);
    assert_eq!(spy.asked(), ["generate"]);
}

#[test]
fn more_than_was_said_has_no_end() {
    let (_, cached, _) = cached(MESSAGES, KEYS);
    let limited = Encryptor::new(&cached, &key()).max_len(4);
    limited.encrypt(b"four").unwrap();
    assert_kind(limited.encrypt(b"fiver"), ErrorKind::LimitExceeded);

    let mut writer = limited.writer(Vec::new()).unwrap();
    writer.write_all(b"fou").unwrap();
    let refused: keyward::Error = *writer.write_all(b"rs").unwrap_err().into_inner().unwrap().downcast().unwrap();
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    assert!(writer.write_all(b"r").is_err(), "it stays refused");
    assert_kind(writer.finish(), ErrorKind::LimitExceeded);

    let mut writer = limited.writer(Vec::new()).unwrap();
    assert!(writer.read_from(&mut &b"fiver"[..]).is_err());
    assert_kind(writer.finish(), ErrorKind::LimitExceeded);

    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    std::fs::write(&input, b"fiver").unwrap();
    assert_kind(limited.encrypt_file(&input, &output, Replace::No), ErrorKind::LimitExceeded);
    assert!(!output.exists());
    std::fs::write(&input, b"four").unwrap();
    assert_eq!(limited.encrypt_file(&input, &output, Replace::No).unwrap(), 4);
}

#[test]
fn files_share_a_data_key_where_their_length_is_said_and_never_when_they_are_encrypted_anew() {
    let (spy, cached, _) = cached(MESSAGES, KEYS);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("in"), b"four").unwrap();
    let encryptor = Encryptor::new(&cached, &key());
    let limited = encryptor.clone().max_len(4);
    for (n, one) in [&encryptor, &encryptor, &limited, &limited].into_iter().enumerate() {
        one.encrypt_file(&at("in"), &at(&format!("out{n}")), Replace::No).unwrap();
        Decryptor::new(&spy.keys).decrypt_file(&at(&format!("out{n}")), &at(&format!("back{n}")), Replace::No).unwrap();
        assert_eq!(std::fs::read(at(&format!("back{n}"))).unwrap(), b"four");
    }
    assert_eq!(spy.asked(), ["generate"; 3]);
    // The kept data key is that of the file: encrypting it anew under the same would be for nothing.
    let reencrypt = Reencrypt::new(Decryptor::new(&spy.keys), Recipients::Named(limited));
    reencrypt.file_to(&at("out3"), &at("anew"), Replace::No).unwrap();
    assert_eq!(spy.asked(), ["generate"]);
}

#[test]
fn all_keys_of_an_envelope_open_it_when_the_data_key_is_shared() {
    let (_, cached, _) = cached(MESSAGES, KEYS);
    let other = keyward::testkit::MemoryProvider::new();
    other.create_key(&name("other"), AlgorithmChoice::Auto).unwrap();
    let encryptor = Encryptor::new(&cached, &key()).also(&other, &name("other"));
    for _ in 0..2 {
        let sealed = encryptor.encrypt(b"hello").unwrap();
        assert_eq!(Decryptor::new(&other).decrypt(&sealed).unwrap(), b"hello");
        assert_eq!(Decryptor::new(&cached).decrypt(&sealed).unwrap(), b"hello");
    }
}
