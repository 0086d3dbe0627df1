//! The cases. Each is run for each algorithm that the token has.

use super::suite::Bench;
use keyward::hsm::HsmProvider;
use keyward::key::{KeyDescription, KeyState, PublicKeyProvider, VersionReuse};
use keyward::token::{Pin, Token, TokenOptions, TokenUri};
use keyward::{
    AlgorithmChoice, DataKey, DataKeyLength, Decryptor, EncryptionContext, Encryptor, ErrorKind, KekId, KeyAdmin,
    KeyName, KeyProvider, KeyRef, KeyVersion, WrappedKey, WrappingAlgorithm,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a case is about, and so how often it is run.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum About {
    /// Each algorithm.
    Any,
    /// Each algorithm with a public half.
    Rsa,
    /// Each without.
    Aes,
    /// The token: once, with any algorithm that it has.
    Token,
    /// The login: once, where the token asks this host for a PIN.
    Login,
}
use About::{Aes, Any, Login, Rsa};

type Case = fn(&Bench, WrappingAlgorithm);

pub(crate) const CASES: [(&str, About, Case); 21] = [
    ("data keys come back", Any, data_keys_come_back),
    ("the wrapped form is the format's", Any, the_wrapped_form_is_the_formats),
    ("another context is refused", Any, another_context_is_refused),
    ("every altered byte is refused", Any, every_altered_byte_is_refused),
    ("another key's id is refused", Any, another_keys_id_is_refused),
    ("a rotated key recovers and does not protect", Any, a_rotated_key_recovers_and_does_not_protect),
    ("a disabled key does nothing until it is enabled", Any, a_disabled_key_does_nothing_until_it_is_enabled),
    ("a destroyed key is gone", Any, a_destroyed_key_is_gone),
    ("a scheduled destruction waits, and can be cancelled", Any, a_scheduled_destruction_waits),
    ("a rotation is made when it is due", Any, a_rotation_is_made_when_it_is_due),
    ("a key is made once", Any, a_key_is_made_once),
    ("a listing says what a description says", Any, a_listing_says_what_a_description_says),
    ("a rewrapped data key is the same", Any, a_rewrapped_data_key_is_the_same),
    ("threads share sessions", Any, threads_share_sessions),
    ("an envelope opens", Any, an_envelope_opens),
    ("keys are there after a new login", Any, keys_are_there_after_a_new_login),
    ("calls with a deadline do the same", Any, calls_with_a_deadline_do_the_same),
    ("a public key wraps what the token unwraps", Rsa, a_public_key_wraps_what_the_token_unwraps),
    ("a key without a public half says so", Aes, a_key_without_a_public_half_says_so),
    ("auto takes AES-GCM, else AES-KW", About::Token, auto_takes_aes_gcm_else_aes_kw),
    ("a wrong PIN is refused at once", Login, a_wrong_pin_is_refused_at_once),
];

fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    EncryptionContext::from_pairs(pairs.iter().copied()).unwrap()
}

fn there() -> EncryptionContext {
    context(&[("tenant", "acme"), ("table", "payments")])
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(answer: keyward::Result<T>, kind: ErrorKind) {
    let error = answer.expect_err("an error was expected");
    assert_eq!(error.kind(), kind, "{error}");
}

#[track_caller]
fn assert_works(provider: &impl KeyProvider, key: &KeyName) {
    let (data_key, wrapped) = provider.generate_data_key(key, &there(), DataKeyLength::Bytes32).unwrap();
    assert_eq!(provider.unwrap_data_key(&wrapped, &there()).unwrap().expose_secret(), data_key.expose_secret());
}

fn data_keys_come_back(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    for length in [DataKeyLength::Bytes16, DataKeyLength::Bytes32] {
        let (data_key, wrapped) = hsm.generate_data_key(&key, &there(), length).unwrap();
        assert_eq!(data_key.length(), length);
        assert_eq!(hsm.unwrap_data_key(&wrapped, &there()).unwrap().expose_secret(), data_key.expose_secret());
        let given = DataKey::from_slice(&[7; 32][..length.bytes()]).unwrap();
        let wrapped = hsm.wrap_data_key(&key, &context(&[]), &given).unwrap();
        assert_eq!(hsm.unwrap_data_key(&wrapped, &context(&[])).unwrap().expose_secret(), given.expose_secret());
    }
}

fn the_wrapped_form_is_the_formats(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    for length in [DataKeyLength::Bytes16, DataKeyLength::Bytes32] {
        let data_key = DataKey::from_slice(&[7; 32][..length.bytes()]).unwrap();
        let wrapped = hsm.wrap_data_key(&key, &there(), &data_key).unwrap().into_vec().remove(0);
        let (parameters, ciphertext) = (wrapped.parameters().len(), wrapped.ciphertext().len());
        match algorithm {
            WrappingAlgorithm::AesGcm => {
                assert!(matches!(parameters, 12 | 16), "{parameters}");
                assert_eq!(ciphertext, length.bytes() + 16);
            }
            WrappingAlgorithm::AesKw => assert_eq!((parameters, ciphertext), (0, length.bytes() + 40)),
            _ => assert_eq!((parameters, ciphertext), (0, 384)),
        }
        assert!(!wrapped.ciphertext().windows(16).any(|window| window == [7; 16]));
        assert_eq!(WrappedKey::parse(&wrapped.to_bytes()).unwrap(), wrapped);
    }
}

fn another_context_is_refused(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    let (_, wrapped) = hsm.generate_data_key(&key, &there(), DataKeyLength::Bytes32).unwrap();
    for other in [&[][..], &[("tenant", "acme")], &[("tenant", "evil"), ("table", "payments")]] {
        assert_kind(hsm.unwrap_data_key(&wrapped, &context(other)), ErrorKind::NotAuthentic);
    }
}

fn every_altered_byte_is_refused(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    let (data_key, wrapped) = hsm.generate_data_key(&key, &there(), DataKeyLength::Bytes32).unwrap();
    let good = wrapped.clone().into_vec().remove(0);
    let refused = |parameters: Vec<u8>, ciphertext: Vec<u8>| {
        let altered =
            WrappedKey::new(keyward::WrapOccasion::Generation, algorithm, good.kek_id(), parameters, ciphertext)
                .unwrap();
        assert_kind(hsm.unwrap_data_key(&altered.into(), &there()), ErrorKind::NotAuthentic);
    };
    // An RSA ciphertext is long, and each attempt is slow.
    let step = if algorithm.is_rsa() { 16 } else { 1 };
    for at in (0..good.ciphertext().len()).step_by(step).chain([good.ciphertext().len() - 1]) {
        let mut ciphertext = good.ciphertext().to_vec();
        ciphertext[at] ^= 1;
        refused(good.parameters().to_vec(), ciphertext);
    }
    for at in 0..good.parameters().len() {
        let mut parameters = good.parameters().to_vec();
        parameters[at] ^= 0x80;
        refused(parameters, good.ciphertext().to_vec());
    }
    if algorithm.is_rsa() {
        // More than any modulus.
        refused(Vec::new(), vec![0xff; good.ciphertext().len()]);
    }
    // No failed operation is in the way of the next.
    assert_eq!(hsm.unwrap_data_key(&wrapped, &there()).unwrap().expose_secret(), data_key.expose_secret());
}

fn another_keys_id_is_refused(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    let other = bench.new_name();
    let both = bench.provider(&[&key, &other]);
    let id = both.create_key(&other, AlgorithmChoice::Exactly(algorithm)).unwrap().kek_id;
    let (_, wrapped) = hsm.generate_data_key(&key, &there(), DataKeyLength::Bytes32).unwrap();
    let one = wrapped.into_vec().remove(0);
    let under = |id| {
        WrappedKey::new(keyward::WrapOccasion::Generation, algorithm, id, one.parameters(), one.ciphertext())
            .unwrap()
            .into()
    };
    assert_kind(both.unwrap_data_key(&under(id), &there()), ErrorKind::NotAuthentic);
    assert_kind(both.unwrap_data_key(&under(KekId::from_bytes([9; 16])), &there()), ErrorKind::KeyNotFound);
}

fn a_rotated_key_recovers_and_does_not_protect(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    let (data_key, wrapped) = hsm.generate_data_key(&key, &there(), DataKeyLength::Bytes32).unwrap();
    // One that takes the first version for the current one: it is the token that tells it otherwise.
    let elsewhere = bench.provider(&[&key]);
    assert_works(&elsewhere, &key);
    let second = hsm.rotate_key(&key, None).unwrap();
    assert_eq!((second.version.get(), second.algorithm), (2, algorithm));
    let mut providers = vec![&hsm, &elsewhere];
    if algorithm.is_rsa() || !bench.enforces {
        // With RSA the public key wraps on the host, as long as it is remembered.
        providers.pop();
    }
    let newcomer = bench.provider(&[&key]);
    providers.push(&newcomer);
    for provider in providers {
        let (_, new) = provider.generate_data_key(&key, &there(), DataKeyLength::Bytes32).unwrap();
        assert_eq!(new.iter().next().unwrap().kek_id(), second.kek_id);
        assert_eq!(provider.unwrap_data_key(&wrapped, &there()).unwrap().expose_secret(), data_key.expose_secret());
        let old = wrapped.iter().next().unwrap().kek_id();
        assert_eq!(
            provider.list_keys().unwrap().iter().find(|key| key.kek_id == old).unwrap().state,
            KeyState::Retired
        );
    }
    // It comes back for recovering only.
    assert_eq!(hsm.disable_key(&key, KeyVersion::FIRST).unwrap().state, KeyState::Disabled);
    assert_eq!(hsm.enable_key(&key, KeyVersion::FIRST).unwrap().state, KeyState::Retired);
    assert_eq!(hsm.unwrap_data_key(&wrapped, &there()).unwrap().expose_secret(), data_key.expose_secret());
}

fn a_disabled_key_does_nothing_until_it_is_enabled(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    let (data_key, wrapped) = hsm.generate_data_key(&key, &there(), DataKeyLength::Bytes32).unwrap();
    // One that has found the key before it was disabled: there it is the token that refuses.
    let elsewhere = bench.provider(&[&key]);
    assert_works(&elsewhere, &key);
    elsewhere.unwrap_data_key(&wrapped, &there()).unwrap();
    assert_eq!(hsm.disable_key(&key, KeyVersion::FIRST).unwrap().state, KeyState::Disabled);
    let refuses = |provider: &HsmProvider, also_to_protect: bool| {
        assert_kind(provider.unwrap_data_key(&wrapped, &there()), ErrorKind::KeyState);
        if also_to_protect {
            let refused = provider.generate_data_key(&key, &there(), DataKeyLength::Bytes32);
            assert_kind(refused.map(drop), ErrorKind::KeyState);
        }
    };
    refuses(&bench.provider(&[&key]), true);
    refuses(&hsm, true);
    if bench.enforces {
        // With RSA the public key wraps on the host, as long as it is remembered.
        refuses(&elsewhere, !algorithm.is_rsa());
    }
    hsm.enable_key(&key, KeyVersion::FIRST).unwrap();
    for provider in [&hsm, &elsewhere] {
        assert_eq!(provider.unwrap_data_key(&wrapped, &there()).unwrap().expose_secret(), data_key.expose_secret());
        assert_works(provider, &key);
    }
}

fn a_destroyed_key_is_gone(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    let (_, wrapped) = hsm.generate_data_key(&key, &there(), DataKeyLength::Bytes32).unwrap();
    hsm.destroy_key(&key, KeyVersion::FIRST, VersionReuse::Refuse).unwrap();
    for provider in [&hsm, &bench.provider(&[&key])] {
        assert_kind(provider.describe_key(KeyRef::Name(&key)), ErrorKind::KeyNotFound);
        assert_kind(provider.unwrap_data_key(&wrapped, &there()), ErrorKind::KeyNotFound);
    }
}

fn a_scheduled_destruction_waits(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    let (data_key, wrapped) = hsm.generate_data_key(&key, &there(), DataKeyLength::Bytes32).unwrap();
    let date = UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let schedule = || hsm.schedule_destruction(&key, KeyVersion::FIRST, date);
    if !bench.records {
        assert_kind(schedule(), ErrorKind::Unsupported);
        return assert_works(&hsm, &key);
    }
    let scheduled = schedule().unwrap();
    assert_eq!((scheduled.state, scheduled.destroy_after), (KeyState::Disabled, Some(date)));
    assert_kind(hsm.unwrap_data_key(&wrapped, &there()), ErrorKind::KeyState);
    let early = date - Duration::from_secs(1);
    assert_kind(hsm.expire_key(&key, KeyVersion::FIRST, early), ErrorKind::KeyState);
    // Cancelled, it is as it was.
    let enabled = hsm.enable_key(&key, KeyVersion::FIRST).unwrap();
    assert_eq!((enabled.state, enabled.destroy_after), (KeyState::Active, None));
    assert_kind(hsm.expire_key(&key, KeyVersion::FIRST, date), ErrorKind::KeyState);
    assert_eq!(hsm.unwrap_data_key(&wrapped, &there()).unwrap().expose_secret(), data_key.expose_secret());
    // Any host sees the date and may act on it.
    schedule().unwrap();
    let elsewhere = bench.provider(&[&key]);
    elsewhere.expire_key(&key, KeyVersion::FIRST, date).unwrap();
    assert_kind(elsewhere.unwrap_data_key(&wrapped, &there()), ErrorKind::KeyNotFound);
}

fn a_rotation_is_made_when_it_is_due(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    let not_due = if bench.records { ErrorKind::KeyExists } else { ErrorKind::Unsupported };
    assert_kind(hsm.rotate_key(&key, Some(UNIX_EPOCH)), not_due);
    if bench.records {
        let far = SystemTime::now() + Duration::from_secs(60);
        assert_eq!(hsm.rotate_key(&key, Some(far)).unwrap().version.get(), 2);
    }
}

fn a_key_is_made_once(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    assert_kind(hsm.create_key(&key, AlgorithmChoice::Exactly(algorithm)), ErrorKind::KeyExists);
    assert_kind(hsm.adopt_key(&format!("{key}:1")), ErrorKind::KeyExists);
    assert_eq!(hsm.list_keys().unwrap().iter().filter(|one| one.name == key).count(), 1);
    assert_works(&hsm, &key);
}

fn a_listing_says_what_a_description_says(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    let described = hsm.describe_key(KeyRef::Name(&key)).unwrap();
    let KeyDescription { algorithm: of, state, problems, version, .. } = &described;
    assert_eq!((*of, *state, version.get()), (algorithm, KeyState::Active, 1));
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(hsm.describe_key(KeyRef::Kek(described.kek_id)).unwrap(), described);
    assert_eq!(hsm.list_keys().unwrap().into_iter().find(|one| one.name == key), Some(described));
}

fn a_rewrapped_data_key_is_the_same(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (_, from) = bench.key(algorithm);
    for to in &bench.able {
        let (_, other) = bench.key(*to);
        let hsm = bench.provider(&[&from, &other]);
        let mut origin = keyward::Origin::Unverified;
        let (data_key, wrapped) = hsm.generate_data_key(&from, &there(), DataKeyLength::Bytes32).unwrap();
        if algorithm.is_rsa() && !to.is_rsa() {
            assert_kind(hsm.rewrap_data_key(&wrapped, &there(), &other, origin), ErrorKind::OriginUnverified);
            origin = keyward::Origin::DangerAsserted;
        }
        let moved = hsm.rewrap_data_key(&wrapped, &there(), &other, origin).unwrap();
        assert_eq!(moved.iter().next().unwrap().algorithm(), *to);
        assert_eq!(hsm.unwrap_data_key(&moved, &there()).unwrap().expose_secret(), data_key.expose_secret());
    }
}

fn threads_share_sessions(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (_, key) = bench.key(algorithm);
    let token = bench.open(TokenOptions::default().max_sessions(4));
    let hsm = HsmProvider::new(token).only([key.clone()]);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (hsm, key) = (&hsm, &key);
            scope.spawn(move || {
                for round in 0..if algorithm.is_rsa() { 5 } else { 20 } {
                    let context = context(&[("thread", &thread.to_string()), ("round", &round.to_string())]);
                    let (data_key, wrapped) = hsm.generate_data_key(key, &context, DataKeyLength::Bytes32).unwrap();
                    let again = hsm.unwrap_data_key(&wrapped, &context).unwrap();
                    assert_eq!(again.expose_secret(), data_key.expose_secret());
                }
            });
        }
    });
}

fn an_envelope_opens(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    let text = vec![7; 100_000];
    let sealed = Encryptor::new(&hsm, &key).context(there()).encrypt(&text).unwrap();
    assert_eq!(Decryptor::new(&hsm).context(there()).decrypt(&sealed).unwrap(), text);
    assert_kind(Decryptor::new(&hsm).context(context(&[])).decrypt(&sealed), ErrorKind::ContextMismatch);
}

fn keys_are_there_after_a_new_login(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    let (data_key, wrapped) = hsm.generate_data_key(&key, &there(), DataKeyLength::Bytes32).unwrap();
    // The last session of this process is closed, and that logs it out.
    drop(hsm);
    let hsm = bench.provider(&[&key]);
    assert_eq!(hsm.unwrap_data_key(&wrapped, &there()).unwrap().expose_secret(), data_key.expose_secret());
    assert_works(&hsm, &key);
}

fn calls_with_a_deadline_do_the_same(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (_, key) = bench.key(algorithm);
    let token = bench.open(TokenOptions::default().call_timeout(Duration::from_secs(60)));
    let hsm = HsmProvider::new(token).only([key.clone()]);
    assert_works(&hsm, &key);
    hsm.rotate_key(&key, None).unwrap();
    assert_works(&hsm, &key);
}

fn a_public_key_wraps_what_the_token_unwraps(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    let public = PublicKeyProvider::new(hsm.public_key(&key).unwrap());
    let (data_key, wrapped) = public.generate_data_key(&key, &there(), DataKeyLength::Bytes32).unwrap();
    assert_eq!(hsm.unwrap_data_key(&wrapped, &there()).unwrap().expose_secret(), data_key.expose_secret());
}

fn a_key_without_a_public_half_says_so(bench: &Bench, algorithm: WrappingAlgorithm) {
    let (hsm, key) = bench.key(algorithm);
    assert_kind(hsm.public_key(&key), ErrorKind::InvalidArgument);
}

fn auto_takes_aes_gcm_else_aes_kw(bench: &Bench, _: WrappingAlgorithm) {
    let name = bench.new_name();
    let made = bench.provider(&[&name]).create_key(&name, AlgorithmChoice::Auto);
    let has = |algorithm: &WrappingAlgorithm| bench.able.contains(algorithm);
    match [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw].into_iter().find(has) {
        Some(expected) => assert_eq!(made.unwrap().algorithm, expected),
        None => assert_kind(made, ErrorKind::Unsupported),
    }
}

/// Once: more may lock it.
fn a_wrong_pin_is_refused_at_once(bench: &Bench, _: WrappingAlgorithm) {
    // Nobody of this process is logged in, or the login would not be asked for.
    let uri: TokenUri = bench.uri().to_string().parse().unwrap();
    let uri = uri.or_module_path(bench.uri().module_path().map(Into::into));
    let wrong = TokenOptions::default().pin(Pin::new("no-such-pin"));
    let refused = Token::open_with(&uri, wrong);
    // The right one is taken, and sets the count of wrong ones to nothing.
    bench.open(TokenOptions::default());
    assert_kind(refused, ErrorKind::PinIncorrect);
}
