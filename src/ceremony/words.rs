//! Hashes as words to read aloud: the PGP word list.
//!
//! Bytes at even places are words of two syllables, those at odd places of three, so that a word left out or said
//! twice is heard. The list is Juola's and Zimmermann's of 1996.

mod table;

use crate::audit::Hash;
use table::WORDS;

/// How many words stand on a line.
const ON_A_LINE: usize = 8;

/// The words of these bytes.
///
/// ```
/// use keyward::ceremony::words::words;
/// let said: Vec<_> = words(&[0xe5, 0x82, 0x94, 0xf2]).collect();
/// assert_eq!(said, ["topmost", "Istanbul", "Pluto", "vagabond"]);
/// ```
pub fn words(bytes: &[u8]) -> impl Iterator<Item = &'static str> + '_ {
    bytes.iter().enumerate().map(|(place, byte)| {
        let (even, odd) = WORDS[usize::from(*byte)];
        if place % 2 == 0 { even } else { odd }
    })
}

/// The words of a hash, eight on a line.
#[must_use]
pub fn lines(hash: &Hash) -> Vec<String> {
    let all: Vec<_> = words(hash.as_bytes()).collect();
    all.chunks(ON_A_LINE).map(|line| line.join(" ")).collect()
}
