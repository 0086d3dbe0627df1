//! The file of a customer's own key.

use crate::files::cannot;
use base64ct::{Base64, Encoding};
use keyward::key::CustomerKey;
use keyward::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Longer than any of the three forms with a line end.
const MAX_LEN: usize = 80;

/// Reads a key: 32 bytes as they are, 64 hexadecimal digits, or base64.
pub(crate) fn read(path: &Path) -> Result<CustomerKey> {
    let file = File::open(path).map_err(|error| cannot("open the customer key", path, error))?;
    if file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o077 != 0) {
        tracing::warn!("others may read the customer key '{}'; make it 0600", path.display());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LEN + 1));
    file.take(MAX_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| cannot("read the customer key", path, error))?;
    let key = decode(&bytes).ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("'{}' holds no customer key", path.display()))
            .with_hint("32 bytes, 64 hexadecimal digits, or base64 of 32 bytes; make one with: (umask 077; head -c 32 /dev/urandom > FILE)")
    })?;
    CustomerKey::from_slice(&*key)
}

fn decode(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    // First as they are: 32 random bytes may end in what looks like a line end.
    if bytes.len() == key.len() {
        key.copy_from_slice(bytes);
        return Some(key);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.len() == 64 {
        base16(text.as_bytes(), &mut key)?;
        return Some(key);
    }
    let len = Base64::decode(text, &mut *key).ok()?.len();
    (len == key.len()).then_some(key)
}

fn base16(digits: &[u8], key: &mut [u8; 32]) -> Option<()> {
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms() {
        let raw = [0xab; 32];
        let hex = "ab".repeat(32);
        let base64 = Base64::encode_string(&raw);
        for text in [hex.clone(), hex.to_uppercase(), format!("{hex}\n"), base64.clone(), format!("{base64}\r\n")] {
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(&raw), "{text}");
        }
        assert_eq!(decode(&raw).as_deref(), Some(&raw));
        let ends_in_a_line_end = [b'\n'; 32];
        assert_eq!(decode(&ends_in_a_line_end).as_deref(), Some(&ends_in_a_line_end));
        for bad in [&b""[..], &[1; 31], &[1; 33], b"abc", &[b'g'; 64], &[b'a'; 66], &[b'A'; 44], &[b'A'; 80]] {
            assert!(decode(bad).is_none(), "{bad:?}");
        }
    }
}
