//! Bulk encryption in memory beside the bare engine on one thread, in one run.
//! Run: `cargo bench --features testkit --bench bulk`.
#![allow(missing_docs, reason = "a benchmark")]

use aes_gcm::aead::{AeadInOut, KeyInit};
use keyward::testkit::MemoryProvider;
use keyward::{AlgorithmChoice, Decryptor, Encryptor, Engine, KeyAdmin, KeyName};
use std::hint::black_box;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::time::Instant;

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

/// One way of doing the work, and how it compares with the bare engine in every round.
struct Way<'a> {
    name: &'static str,
    work: Box<dyn FnMut() + 'a>,
    ratios: Vec<f64>,
}

fn way<'a>(name: &'static str, work: impl FnMut() + 'a) -> Way<'a> {
    Way { name, work: Box::new(work), ratios: Vec::new() }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn time(work: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn main() {
    // `cargo test --benches` only sees that it runs.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { 31 } else { 1 };
    let provider = MemoryProvider::new();
    let key: KeyName = "bench".parse().unwrap();
    provider.create_key(&key, AlgorithmChoice::Auto).unwrap();
    let plaintext = vec![7; LEN];
    for engine in Engine::ALL.iter().copied() {
        let threads = |threads| NonZeroUsize::new(threads).unwrap();
        let encryptor = |n| Encryptor::new(&provider, &key).engine(engine).threads(threads(n));
        let decryptor = |n| Decryptor::new(&provider).engine(engine).threads(threads(n));
        let (seal, seal_on_two) = (encryptor(1), encryptor(2));
        let (open, open_on_two) = (decryptor(1), decryptor(2));
        let sealed = seal.encrypt(&plaintext).unwrap();
        let (mut out, mut out_of_two) = (Vec::new(), Vec::new());
        let (mut text, mut text_of_two) = (Vec::new(), Vec::new());
        let mut buffer = vec![0; 1 << 20];
        let mut ways = [
            way("encrypt_into, 1 thread", || seal.encrypt_into(black_box(&plaintext), &mut out).unwrap()),
            way("decrypt_into, 1 thread", || open.decrypt_into(black_box(&sealed), &mut text).unwrap()),
            way("encrypt_into, 2 threads", || {
                seal_on_two.encrypt_into(black_box(&plaintext), &mut out_of_two).unwrap();
            }),
            way("decrypt_into, 2 threads", || {
                open_on_two.decrypt_into(black_box(&sealed), &mut text_of_two).unwrap();
            }),
            way("writer, 1 thread", || {
                let mut writer = seal.writer(Sink).unwrap();
                writer.write_all(black_box(&plaintext)).unwrap();
                writer.finish().unwrap();
            }),
            way("reader, 1 thread", || {
                let mut reader = open.reader(black_box(&sealed[..])).unwrap();
                while reader.read(&mut buffer).unwrap() > 0 {}
            }),
            way("encrypt, into fresh memory", || drop(black_box(seal.encrypt(black_box(&plaintext)).unwrap()))),
            way("decrypt, into fresh memory", || drop(black_box(open.decrypt(black_box(&sealed)).unwrap()))),
        ];
        let mut data = plaintext.clone();
        let mut bares = Vec::new();
        // The first round warms up. In turn, so that a drift of the machine's speed meets all alike; the
        // bare engine before and after each, for the same reason.
        for round in 0..=rounds {
            let mut before = time(&mut || bare(engine, &mut data));
            for way in &mut ways {
                let took = time(&mut *way.work);
                let after = time(&mut || bare(engine, &mut data));
                if round > 0 {
                    way.ratios.push((before + after) / 2.0 / took);
                    bares.push(after);
                }
                before = after;
            }
        }
        let rate = LEN as f64 / median(&mut bares) / f64::from(1 << 30);
        println!(
            "{engine}: the bare engine on one thread makes {rate:.1} GiB/s; beside it, medians of {rounds} rounds:"
        );
        for way in &mut ways {
            println!("  {:<28} {:.2}", way.name, median(&mut way.ratios));
        }
    }
}
