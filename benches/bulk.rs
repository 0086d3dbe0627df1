//! Bulk encryption in memory beside the bare engine, in one run: on one thread in place, and doing what the library
//! has to do, from one buffer into another, each way on as many threads.
//! Run: `cargo bench --features testkit --bench bulk`.
#![allow(missing_docs, reason = "a benchmark")]

use aes_gcm::aead::{AeadInOut, KeyInit};
use keyward::testkit::MemoryProvider;
use keyward::{AlgorithmChoice, Decryptor, Encryptor, Engine, KeyAdmin, KeyName};
use std::hint::black_box;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::thread;
use std::time::Instant;

const LEN: usize = 64 << 20;
const CHUNK: usize = 16384;
const TAG: usize = 16;

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

/// The engine alone, from one buffer into another: sealed chunks are longer by a tag. What the library does, without
/// the library.
fn bare_across(engine: Engine, seal: bool, text: &mut [u8], sealed: &mut [u8], threads: usize) {
    let chunks = LEN / CHUNK / threads;
    let parts = text.chunks_mut(chunks * CHUNK).zip(sealed.chunks_mut(chunks * (CHUNK + TAG))).enumerate();
    thread::scope(|scope| {
        for (part, (text, sealed)) in parts {
            scope.spawn(move || across(engine, seal, part * chunks, text, sealed));
        }
    });
}

fn across(engine: Engine, seal: bool, first: usize, text: &mut [u8], sealed: &mut [u8]) {
    let chunks = (first..).zip(text.chunks_mut(CHUNK).zip(sealed.chunks_mut(CHUNK + TAG)));
    let nonce = |index: usize| {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&(index as u64).to_be_bytes());
        nonce
    };
    match engine.name() {
        #[cfg(feature = "aws-lc-rs")]
        "aws-lc-rs" => {
            use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
            for (index, (text, sealed)) in chunks {
                let nonce = Nonce::assume_unique_for_key(nonce(index));
                let (body, tag) = sealed.split_at_mut(CHUNK);
                match seal {
                    true => key.seal_out_of_place_scatter(nonce, Aad::empty(), text, body, &[], tag).unwrap(),
                    false => key.open_separate_gather(nonce, Aad::empty(), body, tag, text).unwrap(),
                }
            }
        }
        _ => {
            use aes_gcm::aead::inout::InOutBuf;
            let key = aes_gcm::Aes256Gcm::new(&[7; 32].into());
            for (index, (text, sealed)) in chunks {
                let (nonce, (body, tag)) = (nonce(index), sealed.split_at_mut(CHUNK));
                match seal {
                    true => {
                        let buffer = InOutBuf::new(text, body).unwrap();
                        tag.copy_from_slice(&key.encrypt_inout_detached(&nonce.into(), &[], buffer).unwrap());
                    }
                    false => {
                        let buffer = InOutBuf::new(body, text).unwrap();
                        let tag: &[u8; TAG] = (&*tag).try_into().unwrap();
                        key.decrypt_inout_detached(&nonce.into(), &[], buffer, tag.into()).unwrap();
                    }
                }
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

/// One way of doing the work, and how it compares with the bare engine in every round: in place on one thread, and
/// from one buffer into another, sealing or not, on so many threads.
struct Way<'a> {
    name: &'static str,
    like: Option<(bool, usize)>,
    work: Box<dyn FnMut() + 'a>,
    ratios: Vec<f64>,
    like_ratios: Vec<f64>,
}

fn way<'a>(name: &'static str, like: Option<(bool, usize)>, work: impl FnMut() + 'a) -> Way<'a> {
    Way { name, like, work: Box::new(work), ratios: Vec::new(), like_ratios: Vec::new() }
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
            way("encrypt_into, 1 thread", Some((true, 1)), || {
                seal.encrypt_into(black_box(&plaintext), &mut out).unwrap()
            }),
            way("decrypt_into, 1 thread", Some((false, 1)), || {
                open.decrypt_into(black_box(&sealed), &mut text).unwrap()
            }),
            way("encrypt_into, 2 threads", Some((true, 2)), || {
                seal_on_two.encrypt_into(black_box(&plaintext), &mut out_of_two).unwrap();
            }),
            way("decrypt_into, 2 threads", Some((false, 2)), || {
                open_on_two.decrypt_into(black_box(&sealed), &mut text_of_two).unwrap();
            }),
            way("writer, 1 thread", None, || {
                let mut writer = seal.writer(Sink).unwrap();
                writer.write_all(black_box(&plaintext)).unwrap();
                writer.finish().unwrap();
            }),
            way("reader, 1 thread", None, || {
                let mut reader = open.reader(black_box(&sealed[..])).unwrap();
                while reader.read(&mut buffer).unwrap() > 0 {}
            }),
            way("encrypt, into fresh memory", None, || drop(black_box(seal.encrypt(black_box(&plaintext)).unwrap()))),
            way("decrypt, into fresh memory", None, || drop(black_box(open.decrypt(black_box(&sealed)).unwrap()))),
        ];
        let mut data = plaintext.clone();
        // The same buffers for both directions, so that what is opened is what was sealed.
        let (mut bare_text, mut bare_sealed) = (plaintext.clone(), vec![0; LEN / CHUNK * (CHUNK + TAG)]);
        bare_across(engine, true, &mut bare_text, &mut bare_sealed, 1);
        let mut bares = Vec::new();
        // The first round warms up. In turn, so that a drift of the machine's speed meets all alike; the
        // bare engine before and after each, for the same reason.
        for round in 0..=rounds {
            let mut before = time(&mut || bare(engine, &mut data));
            for way in &mut ways {
                let took = time(&mut *way.work);
                let after = time(&mut || bare(engine, &mut data));
                if let Some((seal, threads)) = way.like {
                    let like = time(&mut || bare_across(engine, seal, &mut bare_text, &mut bare_sealed, threads));
                    let again = time(&mut *way.work);
                    if round > 0 {
                        way.like_ratios.push(like * 2.0 / (took + again));
                    }
                }
                if round > 0 {
                    way.ratios.push((before + after) / 2.0 / took);
                    bares.push(after);
                }
                before = after;
            }
        }
        let rate = LEN as f64 / median(&mut bares) / f64::from(1 << 30);
        println!("{engine}: the bare engine makes {rate:.1} GiB/s on one thread in place; medians of {rounds} rounds");
        println!("{:30} of that  of the bare engine at the same work", "");
        for way in &mut ways {
            let like = way.like.map(|_| format!("  {:.2}", median(&mut way.like_ratios))).unwrap_or_default();
            println!("  {:<28} {:.2}   {like}", way.name, median(&mut way.ratios));
        }
    }
}
