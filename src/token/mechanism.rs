//! What a token is asked to do with a key. These own their parameters, because a call that hangs
//! keeps them until it comes back.

use cryptoki::error::Result;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism as RawMechanism, MechanismType};

/// A mechanism with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    AesKeyGen,
    RsaKeyPairGen,
    #[cfg(feature = "governed")]
    EcKeyPairGen,
    /// AES-GCM with a tag of 128 bits. Where the token chooses the IV, it is written here.
    AesGcm {
        iv: Vec<u8>,
        aad: Vec<u8>,
    },
    /// AES Key Wrap without padding (RFC 3394).
    AesKeyWrap,
    /// RSA-OAEP with this hash, for MGF1 as well, and no label.
    RsaOaep(OaepHash),
    /// AES in single blocks: for check values alone.
    AesEcb,
    /// ECDSA over a hash that the host computed.
    #[cfg(feature = "governed")]
    Ecdsa,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OaepHash {
    Sha1,
    Sha256,
}

/// Always whole: some tokens accept a tag of 0 bits.
const GCM_TAG_BITS: u64 = 128;

impl Mechanism {
    /// Hands out the mechanism in the form that a token takes whose AES Key Wrap is `key_wrap`.
    pub(super) fn with<T>(
        &mut self,
        key_wrap: MechanismType,
        call: impl FnOnce(&RawMechanism<'_>) -> Result<T>,
    ) -> Result<T> {
        match self {
            Self::AesKeyGen => call(&RawMechanism::AesKeyGen),
            Self::RsaKeyPairGen => call(&RawMechanism::RsaPkcsKeyPairGen),
            #[cfg(feature = "governed")]
            Self::EcKeyPairGen => call(&RawMechanism::EccKeyPairGen),
            #[cfg(feature = "governed")]
            Self::Ecdsa => call(&RawMechanism::Ecdsa),
            Self::AesEcb => call(&RawMechanism::AesEcb),
            Self::AesGcm { iv, aad } => call(&RawMechanism::AesGcm(GcmParams::new(iv, aad, GCM_TAG_BITS.into())?)),
            Self::AesKeyWrap if key_wrap == MechanismType::AES_KEY_WRAP => call(&RawMechanism::AesKeyWrap),
            Self::AesKeyWrap => call(&RawMechanism::VendorDefined(VendorDefinedMechanism::new::<()>(key_wrap, None))),
            Self::RsaOaep(hash) => {
                let (hash, mgf) = match hash {
                    OaepHash::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
                    OaepHash::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
                };
                call(&RawMechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty())))
            }
        }
    }
}
