//! The provider's wrap and unwrap beside a bare `cryptoki` loop with the same mechanism, in one
//! run on one token. Run: `softhsm/with cargo bench --features testkit --bench provider`.
#![allow(missing_docs, reason = "a benchmark")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::{
    Mechanism, MechanismType, aead::GcmParams, rsa::PkcsMgfType, rsa::PkcsOaepParams, rsa::PkcsOaepSource,
};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use keyward::testkit::SoftToken;
use keyward::{AlgorithmChoice, DataKey, EncryptionContext, KeyAdmin, KeyName, KeyProvider, WrappingAlgorithm};
use std::hint::black_box;
use std::time::{Duration, Instant};

const AAD: [u8; 66] = [7; 66];

/// A session of one's own on the same token, and the key, without anything of Keyward's.
struct Bare {
    session: Session,
    key: ObjectHandle,
    algorithm: WrappingAlgorithm,
}

impl Bare {
    fn new(token: &SoftToken, algorithm: WrappingAlgorithm) -> Self {
        let pkcs11 = Pkcs11::new(SoftToken::module_path()).unwrap();
        let _ = pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
        let uri = token.uri();
        let label = uri.token().unwrap();
        let slots = pkcs11.get_slots_with_token().unwrap();
        let slot = slots.into_iter().find(|slot| pkcs11.get_token_info(*slot).is_ok_and(|info| info.label() == label));
        let session = pkcs11.open_rw_session(slot.unwrap()).unwrap();
        let _ = session.login(UserType::User, Some(&AuthPin::from("test-user-pin")));
        let class = if algorithm.is_rsa() { ObjectClass::PRIVATE_KEY } else { ObjectClass::SECRET_KEY };
        let key = session.find_objects(&[Attribute::Class(class), Attribute::Label(b"bench:1".to_vec())]).unwrap()[0];
        Self { session, key, algorithm }
    }

    fn object(&self) -> Vec<Attribute> {
        vec![
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
        ]
    }

    /// What the mechanism asks of a careful caller: an IV from the token, a session object for AES-KW.
    fn wrap(&self, data_key: &[u8]) -> Vec<u8> {
        match self.algorithm {
            WrappingAlgorithm::AesGcm => {
                let mut iv = [0; 12];
                self.session.generate_random_slice(&mut iv).unwrap();
                let params = GcmParams::new(&mut iv, &AAD, 128.into()).unwrap();
                let mut out = self.session.encrypt(&Mechanism::AesGcm(params), self.key, data_key).unwrap();
                out.extend(iv);
                out
            }
            _ => {
                let mut template = self.object();
                template.push(Attribute::Value([data_key, &[0; 32]].concat()));
                let object = self.session.create_object(&template).unwrap();
                let out = self.session.wrap_key(&Mechanism::AesKeyWrap, self.key, object).unwrap();
                self.session.destroy_object(object).unwrap();
                out
            }
        }
    }

    fn unwrap(&self, wrapped: &[u8]) -> Vec<u8> {
        match self.algorithm {
            WrappingAlgorithm::AesGcm => {
                let (ciphertext, iv) = wrapped.split_at(wrapped.len() - 12);
                let mut iv: [u8; 12] = iv.try_into().unwrap();
                let params = GcmParams::new(&mut iv, &AAD, 128.into()).unwrap();
                self.session.decrypt(&Mechanism::AesGcm(params), self.key, ciphertext).unwrap()
            }
            WrappingAlgorithm::AesKw => {
                let object =
                    self.session.unwrap_key(&Mechanism::AesKeyWrap, self.key, wrapped, &self.object()).unwrap();
                let value = self.session.get_attributes(object, &[AttributeType::Value]).unwrap();
                self.session.destroy_object(object).unwrap();
                match value.into_iter().next() {
                    Some(Attribute::Value(value)) => value,
                    _ => panic!("no value"),
                }
            }
            _ => {
                let params = PkcsOaepParams::new(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, PkcsOaepSource::empty());
                self.session.decrypt(&Mechanism::RsaPkcsOaep(params), self.key, wrapped).unwrap()
            }
        }
    }
}

/// Rounds of both in turn, so that a drift of the machine's speed meets both alike; the median of
/// the ratios bare / provider: 1 is as fast as bare, more is faster.
fn paired_ratio(mut bare: impl FnMut(), mut provider: impl FnMut(), calls: u32) -> f64 {
    let time = |work: &mut dyn FnMut()| -> Duration {
        let start = Instant::now();
        for _ in 0..calls {
            work();
        }
        start.elapsed()
    };
    let mut ratios: Vec<f64> =
        (0..31).map(|_| time(&mut bare).as_secs_f64() / time(&mut provider).as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn benches(criterion: &mut Criterion) {
    let key: KeyName = "bench".parse().unwrap();
    let context = EncryptionContext::from_pairs([("purpose", "bench")]).unwrap();
    let data_key = DataKey::from_slice(&[7; 32]).unwrap();
    for algorithm in [WrappingAlgorithm::AesGcm, WrappingAlgorithm::AesKw, WrappingAlgorithm::RsaOaepSha1] {
        let token = SoftToken::new();
        let hsm = token.provider().only([key.clone()]);
        hsm.create_key(&key, AlgorithmChoice::Exactly(algorithm)).unwrap();
        let bare = Bare::new(&token, algorithm);
        let calls = if algorithm.is_rsa() { 20 } else { 300 };

        // RSA wraps on the host, without the token: there is nothing bare to hold it against.
        if !algorithm.is_rsa() {
            let mut group = criterion.benchmark_group(format!("wrap/{algorithm}"));
            group.bench_function(BenchmarkId::from_parameter("bare"), |b| b.iter(|| bare.wrap(black_box(&[7; 32]))));
            group.bench_function(BenchmarkId::from_parameter("provider"), |b| {
                b.iter(|| hsm.wrap_data_key(&key, &context, black_box(&data_key)).unwrap());
            });
            group.finish();
            let ratio = paired_ratio(
                || drop(bare.wrap(&[7; 32])),
                || drop(hsm.wrap_data_key(&key, &context, &data_key).unwrap()),
                calls,
            );
            println!("wrap/{algorithm}: provider at {ratio:.2} of the bare loop (median of 31 pairs)\n");
        }

        let wrapped = hsm.wrap_data_key(&key, &context, &data_key).unwrap();
        let bare_wrapped = match algorithm {
            WrappingAlgorithm::RsaOaepSha1 => wrapped.iter().next().unwrap().ciphertext().to_vec(),
            _ => bare.wrap(&[7; 32]),
        };
        let mut group = criterion.benchmark_group(format!("unwrap/{algorithm}"));
        group.bench_function(BenchmarkId::from_parameter("bare"), |b| b.iter(|| bare.unwrap(black_box(&bare_wrapped))));
        group.bench_function(BenchmarkId::from_parameter("provider"), |b| {
            b.iter(|| hsm.unwrap_data_key(black_box(&wrapped), &context).unwrap());
        });
        group.finish();
        let ratio = paired_ratio(
            || drop(bare.unwrap(&bare_wrapped)),
            || drop(hsm.unwrap_data_key(&wrapped, &context).unwrap()),
            calls,
        );
        println!("unwrap/{algorithm}: provider at {ratio:.2} of the bare loop (median of 31 pairs)\n");
    }
}

criterion_group! {
    name = provider;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = benches
}
criterion_main!(provider);
