//! Crockford's Base32: digits and letters without I, L, O and U. What is read as a 1 or a 0 is one.
//!
//! Written here and not taken from a crate because it carries secrets: it looks nothing up by them, and wipes what it
//! makes.

use zeroize::Zeroizing;

/// The signs, by value.
pub(super) const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The text of bytes. Bits that are missing at the end are zeros.
pub(super) fn encode(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity((bytes.len() * 8).div_ceil(5)));
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(sign(bits >> count & 31));
        }
    }
    if count > 0 {
        text.push(sign(bits << (5 - count) & 31));
    }
    text
}

/// The bytes of a text, without regard to case, blanks and hyphens. The last bits fill a byte up with zeros; `None`
/// where a sign is none.
pub(super) fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut bits, mut count) = (0_u32, 0);
    for c in text.bytes().filter(|c| !matches!(c, b' ' | b'-' | b'\t' | b'\n' | b'\r')) {
        bits = bits << 5 | value(c)?;
        count += 5;
        if count >= 8 {
            count -= 8;
            // The low eight bits.
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    if count > 0 {
        bytes.push((bits << (8 - count) & 0xff) as u8);
    }
    Some(bytes)
}

/// The sign of a value below 32, compared with all of them: which one it is does not show in time.
fn sign(value: u32) -> char {
    let found = ALPHABET.iter().zip(0_u32..).fold(0, |found, (sign, of)| found | sign & is_equal(of, value));
    char::from(found)
}

/// The value of a sign.
fn value(c: u8) -> Option<u32> {
    let c = match c.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        c => c,
    };
    // One more than the value, so that 0 is none.
    let found = ALPHABET.iter().zip(1_u32..).fold(0, |found, (sign, of)| {
        found | (of & (u32::from(is_equal(u32::from(*sign), u32::from(c))) * 0x0101_0101))
    });
    found.checked_sub(1)
}

/// All ones where these are equal, else zeros.
fn is_equal(a: u32, b: u32) -> u8 {
    let different = a ^ b;
    ((different | different.wrapping_neg()) >> 31).wrapping_sub(1).to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        for len in 0..40_u8 {
            let bytes: Vec<u8> = (0..len).map(|i| i.wrapping_mul(73).wrapping_add(len)).collect();
            let text = encode(&bytes);
            let back = decode(&text).unwrap();
            assert_eq!(back[..bytes.len()], bytes[..], "{len}");
            assert!(back[bytes.len()..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn it_is_crockfords() {
        assert_eq!(*encode(b"\x00\x44\x32\x14\xc7\x42\x54\xb6\x35\xcf"), "0123456789ABCDEF");
        assert_eq!(*encode(b"\x84\x65\x3a\x56\xd7\xc6\x75\xbe\x77\xdf"), "GHJKMNPQRSTVWXYZ");
        assert_eq!(decode("gO-iL"), decode("G0 11"));
        for bad in ["U", "!", "é", "=", "*"] {
            assert!(decode(bad).is_none(), "{bad}");
        }
        assert_eq!(ALPHABET.map(value), std::array::from_fn(|i| u32::try_from(i).ok()));
    }
}
