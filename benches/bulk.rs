//! Bulk encryption beside the bare engine, in one run on one thread.
//! Run: `cargo bench --features testkit --bench bulk`.
#![allow(missing_docs, reason = "a benchmark")]

use aes_gcm::aead::{AeadInOut, KeyInit};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use keyward::testkit::MemoryProvider;
use keyward::{AlgorithmChoice, Decryptor, Encryptor, Engine, KeyAdmin, KeyName};
use std::hint::black_box;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const LEN: usize = 64 << 20;
const CHUNK: usize = 16384;

/// The engine alone: chunks of the same size in place, nothing copied, nothing framed.
fn bare(engine: Engine, data: &mut [u8]) {
    match engine.name() {
        #[cfg(feature = "aws-lc-rs")]
        "aws-lc-rs" => {
            use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
            for (index, chunk) in data.chunks_mut(CHUNK).enumerate() {
                let mut nonce = [0; 12];
                nonce[4..].copy_from_slice(&(index as u64).to_be_bytes());
                let nonce = Nonce::assume_unique_for_key(nonce);
                let _tag = black_box(key.seal_in_place_separate_tag(nonce, Aad::empty(), chunk).unwrap());
            }
        }
        _ => {
            let key = aes_gcm::Aes256Gcm::new(&[7; 32].into());
            for (index, chunk) in data.chunks_mut(CHUNK).enumerate() {
                let mut nonce = [0; 12];
                nonce[4..].copy_from_slice(&(index as u64).to_be_bytes());
                let _tag = black_box(key.encrypt_inout_detached(&nonce.into(), &[], chunk.into()).unwrap());
            }
        }
    }
}

/// Takes everything and keeps nothing: the cost of a consumer is not measured.
struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(black_box(bytes).len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn benches(criterion: &mut Criterion) {
    let provider = MemoryProvider::new();
    let key: KeyName = "bench".parse().unwrap();
    provider.create_key(&key, AlgorithmChoice::Auto).unwrap();
    let plaintext = vec![7; LEN];
    for engine in Engine::ALL.iter().copied() {
        let encryptor = Encryptor::new(&provider, &key).engine(engine);
        let decryptor = Decryptor::new(&provider).engine(engine);
        let sealed = encryptor.encrypt(&plaintext).unwrap();
        let mut data = plaintext.clone();
        let encrypt = || {
            let mut writer = encryptor.writer(Sink).unwrap();
            writer.write_all(black_box(&plaintext)).unwrap();
            writer.finish().unwrap();
        };
        let mut buffer = vec![0; 1 << 20];
        let mut decrypt = || {
            let mut reader = decryptor.reader(black_box(&sealed[..])).unwrap();
            while reader.read(&mut buffer).unwrap() > 0 {}
        };

        let mut group = criterion.benchmark_group(format!("64MiB/{engine}"));
        group.throughput(Throughput::Bytes(LEN as u64)).sample_size(10).measurement_time(Duration::from_secs(3));
        group.bench_function(BenchmarkId::from_parameter("bare"), |b| b.iter(|| bare(engine, &mut data)));
        group.bench_function(BenchmarkId::from_parameter("encrypt"), |b| b.iter(encrypt));
        group.bench_function(BenchmarkId::from_parameter("decrypt"), |b| b.iter(&mut decrypt));
        group.finish();

        // In turn, so that a drift of the machine's speed meets all alike.
        let time = |work: &mut dyn FnMut()| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        };
        let (mut encrypts, mut decrypts) = (Vec::new(), Vec::new());
        for _ in 0..21 {
            let alone = time(&mut || bare(engine, &mut data));
            encrypts.push(alone / time(&mut || encrypt()));
            decrypts.push(alone / time(&mut decrypt));
        }
        let median = |ratios: &mut Vec<f64>| {
            ratios.sort_by(f64::total_cmp);
            ratios[ratios.len() / 2]
        };
        println!(
            "{engine}: encryption at {:.2}, decryption at {:.2} of the bare engine (medians of 21 rounds)\n",
            median(&mut encrypts),
            median(&mut decrypts)
        );
    }
}

criterion_group!(bulk, benches);
criterion_main!(bulk);
