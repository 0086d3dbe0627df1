//! The engines behind one small seam: AES-256-GCM, HKDF and the host's randomness.

mod gcm;

pub(crate) use gcm::{Gcm, NONCE_LEN, TAG_LEN};

use crate::error::{Error, ErrorKind, Result};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Which implementation of AES-256-GCM encrypts bodies. Both make the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// AWS-LC through `aws-lc-rs`: the faster one, and the default where it is built in.
    #[cfg(feature = "aws-lc-rs")]
    AwsLc,
    /// The `aes-gcm` crate: pure Rust, needs no C compiler.
    AesGcm,
}

impl Engine {
    /// All that are built in, the default first.
    pub const ALL: &[Self] = &[
        #[cfg(feature = "aws-lc-rs")]
        Self::AwsLc,
        Self::AesGcm,
    ];

    /// The name: that of the crate.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc => "aws-lc-rs",
            Self::AesGcm => "aes-gcm",
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::ALL[0]
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Engine {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|engine| engine.name() == s).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("'{}' is not an engine of this build", s.escape_debug()))
        })
    }
}

const SHA512_LEN: usize = 64;

/// HKDF-Expand with SHA-512 (RFC 5869, section 2.3) of the concatenation of `info`.
///
/// The pseudorandom key is a data key: uniformly random and shorter than the hash, which RFC 5869
/// allows only where Extract is left out on purpose (section 3.3), as Cobblestone does.
pub(crate) fn hkdf_expand_sha512(key: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<()> {
    let failed = || Error::new(ErrorKind::Internal, "HKDF-Expand was asked for too much");
    let keyed = Hmac::<Sha512>::new_from_slice(key).map_err(|_| failed())?;
    let mut block = Zeroizing::new([0; SHA512_LEN]);
    for (index, part) in out.chunks_mut(SHA512_LEN).enumerate() {
        let mut mac = keyed.clone();
        if index > 0 {
            mac.update(&*block);
        }
        info.iter().for_each(|info| mac.update(info));
        mac.update(&[u8::try_from(index + 1).map_err(|_| failed())?]);
        let mut output = mac.finalize().into_bytes();
        block.copy_from_slice(&output);
        zeroize::Zeroize::zeroize(&mut output[..]);
        part.copy_from_slice(&block[..part.len()]);
    }
    Ok(())
}

/// Fills `bytes` from the operating system's generator.
pub(crate) fn random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        Error::new(ErrorKind::Internal, "the operating system's random generator failed").with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hkdf_expand_is_that_of_an_independent_implementation() {
        // python3: hmac.new(key, previous + b"info of the test" + bytes([i]), "sha512"), i = 1, 2
        let key: Vec<u8> = (0..32).collect();
        let mut out = [0; 96];
        hkdf_expand_sha512(&key, &[b"info ", b"of the ", b"test"], &mut out).unwrap();
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "03c6ba2e317e0f49868c17b5de39953c5a8a8497dda69ccd4899b5738710704171dbf2579e624b659ca27fd9440413df25af9a8a124c9e1c79c21ae13c489e3b0216c7406969aa81c67eb48ef0203adb12651cd5d1bbc2fdfb9e3a06a06ab12a"
        );
        assert!(hkdf_expand_sha512(&key, &[], &mut [0; 256 * 64]).is_err(), "RFC 5869: at most 255 blocks");
    }

    #[test]
    fn engines_have_names() {
        for engine in Engine::ALL {
            assert_eq!(engine.name().parse::<Engine>().unwrap(), *engine);
        }
        assert!("rot13".parse::<Engine>().is_err());
    }
}
