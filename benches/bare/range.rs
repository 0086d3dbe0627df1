//! Reads a part of an envelope on a warm token, and tells the median time of opening and reading.
//! Run: `softhsm/with range FILE FIRST LENGTH ROUNDS`, on a token that `KEYWARD_TOKEN` names.
#![allow(missing_docs, reason = "a benchmark")]

use keyward::{Decryptor, hsm::HsmProvider, token::Token};
use std::fs::File;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = std::env::args().collect();
    let [_, path, first, len, rounds] = &args[..] else { return Err("usage: range FILE FIRST LENGTH ROUNDS".into()) };
    let (first, len, rounds) = (first.parse::<u64>()?, len.parse::<u64>()?, rounds.parse::<usize>()?);
    let hsm = HsmProvider::new(Token::open(&std::env::var("KEYWARD_TOKEN")?.parse()?)?);
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        let mut out = Vec::with_capacity(usize::try_from(len)?);
        Decryptor::new(&hsm).open(File::open(path)?)?.read_range(first, first + len, &mut out)?;
        times.push(start.elapsed());
        assert_eq!(out.len() as u64, len);
    }
    times.sort();
    println!("{:.2}", times[times.len() / 2].as_secs_f64() * 1e3);
    Ok(())
}
