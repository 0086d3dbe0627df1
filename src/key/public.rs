//! The public half of an RSA master key, and a provider that wraps with it on hosts without a token.

use super::{
    DataKey, DataKeyLength, EncryptionContext, KekId, KeyDescription, KeyName, KeyProvider, KeyRef, KeyState,
    KeyVersion, Origin, UnwrappedKey, WrapOccasion, WrappedKey, WrappedKeys, WrappingAlgorithm, binding_digest,
};
use crate::error::{Error, ErrorKind, Result};
use rsa::pkcs8::{DecodePublicKey, EncodePublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, Oaep, PublicKey as RsaPublicKey};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// The public half of one version of an RSA master key, with what a host needs to wrap under it.
///
/// Its text form is a PEM block after four lines that name the key; [`fingerprint`](Self::fingerprint)
/// is what operators compare before they trust it.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: KeyName,
    version: KeyVersion,
    kek_id: KekId,
    algorithm: WrappingAlgorithm,
    key: RsaPublicKey,
}

/// The largest modulus that is accepted, in bits.
const MAX_MODULUS_BITS: u32 = 16384;

impl PublicKey {
    /// The smallest modulus that is wrapped under, in bits. Keys of 2048 are only read
    /// (NIST SP 800-57 part 1, table 2: 112 bits of security are not enough for data that lasts).
    pub const MIN_MODULUS_BITS: u32 = 3072;

    /// The key of its parts; `modulus` and `exponent` are big-endian.
    ///
    /// # Errors
    /// `InvalidArgument` where they are no RSA public key of at most 16384 bits, or `algorithm` is
    /// not one of RSA.
    pub fn from_parts(
        name: KeyName,
        version: KeyVersion,
        kek_id: KekId,
        algorithm: WrappingAlgorithm,
        modulus: &[u8],
        exponent: &[u8],
    ) -> Result<Self> {
        let key = RsaPublicKey::new_with_size_limits(
            BoxedUint::from_be_slice_vartime(modulus),
            BoxedUint::from_be_slice_vartime(exponent),
            2048..=MAX_MODULUS_BITS as usize,
        )
        .map_err(|error| invalid("not an RSA public key").with_source(error))?;
        Self::from_rsa(name, version, kek_id, algorithm, key)
    }

    fn from_rsa(
        name: KeyName,
        version: KeyVersion,
        kek_id: KekId,
        algorithm: WrappingAlgorithm,
        key: RsaPublicKey,
    ) -> Result<Self> {
        if !algorithm.is_rsa() {
            return Err(invalid("a public key wraps with rsa-oaep or rsa-oaep-sha1 only"));
        }
        Ok(Self { name, version, kek_id, algorithm, key })
    }

    /// The name of the master key.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> KeyVersion {
        self.version
    }

    /// The id that wrapped keys carry.
    #[must_use]
    pub fn kek_id(&self) -> KekId {
        self.kek_id
    }

    /// What it wraps with.
    #[must_use]
    pub fn algorithm(&self) -> WrappingAlgorithm {
        self.algorithm
    }

    /// The length of the modulus in bits.
    #[must_use]
    pub fn modulus_bits(&self) -> u32 {
        self.key.n().bit_width()
    }

    /// SHA-256 of name, version, KEK id, algorithm and the DER form of the key: all that a host
    /// relies on, in one line of hexadecimal digits to compare over another channel.
    ///
    /// # Errors
    /// `Internal` where the key cannot be encoded, which does not happen.
    pub fn fingerprint(&self) -> Result<String> {
        let der = self.key.to_public_key_der().map_err(encoding)?;
        let digest = Sha256::new()
            .chain_update(b"keyward.public-key.v1\0")
            .chain_update(self.headers())
            .chain_update(der.as_bytes())
            .finalize();
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn headers(&self) -> String {
        format!(
            "name: {}\nversion: {}\nkek-id: {}\nalgorithm: {}\n",
            self.name, self.version, self.kek_id, self.algorithm
        )
    }

    /// The text form, as `keyward key public` prints it.
    ///
    /// # Errors
    /// `Internal` where the key cannot be encoded, which does not happen.
    pub fn to_text(&self) -> Result<String> {
        let pem = self.key.to_public_key_pem(LineEnding::LF).map_err(encoding)?;
        Ok(self.headers() + &pem)
    }

    /// Parses [`to_text`](Self::to_text).
    ///
    /// # Errors
    /// `InvalidArgument` where a line is missing, unknown, out of order or malformed.
    pub fn parse(text: &str) -> Result<Self> {
        let mut rest = text;
        let mut header = |name: &str| -> Result<&str> {
            let (line, tail) = rest.split_once('\n').unwrap_or((rest, ""));
            let value = line.trim_end().strip_prefix(name).and_then(|line| line.strip_prefix(": "));
            rest = tail;
            value.ok_or_else(|| {
                invalid(format!("not a Keyward public key: no line '{name}: …' where it belongs"))
                    .with_hint("make the file with: keyward key public NAME > FILE")
            })
        };
        let name = header("name")?.parse()?;
        let version = header("version")?.parse()?;
        let kek_id = header("kek-id")?.parse()?;
        let algorithm = header("algorithm")?.parse()?;
        let key = RsaPublicKey::from_public_key_pem(rest.trim_end()).map_err(|error| {
            invalid("not a Keyward public key: its PEM block is no RSA public key").with_source(error)
        })?;
        if key.n().bit_width() > MAX_MODULUS_BITS {
            return Err(invalid("the RSA modulus is too long"));
        }
        Self::from_rsa(name, version, kek_id, algorithm, key)
    }

    /// Wraps `data_key`, bound to `context`.
    pub(crate) fn wrap(
        &self,
        data_key: &DataKey,
        context: &EncryptionContext,
        occasion: WrapOccasion,
    ) -> Result<WrappedKey> {
        if self.modulus_bits() < Self::MIN_MODULUS_BITS {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "key '{}' has a modulus of {} bits; wrapping needs {}",
                    self.name,
                    self.modulus_bits(),
                    Self::MIN_MODULUS_BITS
                ),
            )
            .with_hint("rotate it to a longer one; what it protects can still be read"));
        }
        let mut plaintext = Zeroizing::new(Vec::with_capacity(64));
        plaintext.extend_from_slice(data_key.expose_secret());
        plaintext.extend_from_slice(&binding_digest(occasion, self.algorithm, self.kek_id, context));
        let mut rng = rsa::rand_core::UnwrapErr(getrandom::SysRng);
        let ciphertext = match self.algorithm {
            WrappingAlgorithm::RsaOaepSha1 => self.key.encrypt(&mut rng, Oaep::<sha1::Sha1>::new(), &plaintext),
            _ => self.key.encrypt(&mut rng, Oaep::<Sha256>::new(), &plaintext),
        }
        .map_err(|error| Error::new(ErrorKind::Internal, "RSA-OAEP encryption failed").with_source(error))?;
        WrappedKey::new(occasion, self.algorithm, self.kek_id, Vec::new(), ciphertext)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}:{}, {}, {} bits)", self.name, self.version, self.algorithm, self.modulus_bits())
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

fn encoding(error: rsa::pkcs8::spki::Error) -> Error {
    Error::new(ErrorKind::Internal, "cannot encode the public key").with_source(error)
}

/// A provider that wraps under one pinned RSA public key and can recover nothing: for hosts that
/// encrypt without access to any token. Data keys come from the operating system's generator.
#[derive(Clone, Debug)]
pub struct PublicKeyProvider(PublicKey);

impl PublicKeyProvider {
    /// A provider for `key`, which the caller trusts: read from a file whose
    /// [`fingerprint`](PublicKey::fingerprint) was compared.
    #[must_use]
    pub fn new(key: PublicKey) -> Self {
        Self(key)
    }

    /// The name of its one key.
    #[must_use]
    pub fn key_name(&self) -> &KeyName {
        self.0.name()
    }

    fn expect(&self, name: &KeyName) -> Result<()> {
        if name == self.0.name() { Ok(()) } else { Err(Error::key_not_found(KeyRef::Name(name))) }
    }

    fn cannot_recover() -> Error {
        Error::new(ErrorKind::Unsupported, "a public key cannot unwrap")
            .with_hint("use the token that holds the private key")
    }
}

impl KeyProvider for PublicKeyProvider {
    fn describe_key(&self, key: KeyRef<'_>) -> Result<KeyDescription> {
        let own = match key {
            KeyRef::Name(name) => name == self.0.name(),
            KeyRef::Kek(id) => id == self.0.kek_id(),
        };
        if !own {
            return Err(Error::key_not_found(key));
        }
        let PublicKey { name, version, kek_id, algorithm, .. } = &self.0;
        Ok(KeyDescription::new(name.clone(), *version, *kek_id, *algorithm, KeyState::Active))
    }

    fn generate_data_key(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.expect(key)?;
        let data_key = DataKey::try_fill(length, crate::cipher::random)?;
        let wrapped = self.0.wrap(&data_key, context, WrapOccasion::Generation)?;
        Ok((data_key, wrapped.into()))
    }

    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        _: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        self.generate_data_key(key, context, length)
    }

    fn wrap_data_key(&self, key: &KeyName, context: &EncryptionContext, data_key: &DataKey) -> Result<WrappedKeys> {
        self.expect(key)?;
        Ok(self.0.wrap(data_key, context, WrapOccasion::Later)?.into())
    }

    fn unwrap_data_key(&self, _: &WrappedKeys, _: &EncryptionContext) -> Result<UnwrappedKey> {
        Err(Self::cannot_recover())
    }

    fn rewrap_data_key(&self, _: &WrappedKeys, _: &EncryptionContext, _: &KeyName, _: Origin) -> Result<WrappedKeys> {
        Err(Self::cannot_recover())
    }
}

#[cfg(test)]
#[cfg(feature = "aws-lc-rs")]
mod tests {
    use super::*;
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::{
        KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
    };

    /// A key of another implementation, and its public half as ours.
    fn pair(size: KeySize, algorithm: WrappingAlgorithm) -> (OaepPrivateDecryptingKey, PublicKey) {
        let private = PrivateDecryptingKey::generate(size).unwrap();
        let der = private.public_key().as_der().unwrap();
        let key = RsaPublicKey::from_public_key_der(der.as_ref()).unwrap();
        let (name, id) = ("a".parse().unwrap(), KekId::from_bytes([7; 16]));
        let public = PublicKey::from_rsa(name, KeyVersion::FIRST, id, algorithm, key).unwrap();
        (OaepPrivateDecryptingKey::new(private).unwrap(), public)
    }

    #[test]
    fn another_implementation_opens_what_is_wrapped_here() {
        let context = EncryptionContext::from_pairs([("a", "1")]).unwrap();
        for (algorithm, oaep) in [
            (WrappingAlgorithm::RsaOaep, &OAEP_SHA256_MGF1SHA256),
            (WrappingAlgorithm::RsaOaepSha1, &OAEP_SHA1_MGF1SHA1),
        ] {
            let (private, public) = pair(KeySize::Rsa3072, algorithm);
            let public = PublicKey::parse(&public.to_text().unwrap()).unwrap();
            for len in [16, 32] {
                let data_key = DataKey::from_slice(&vec![9; len]).unwrap();
                let wrapped = public.wrap(&data_key, &context, WrapOccasion::Later).unwrap();
                let mut out = vec![0; private.min_output_size()];
                let opened = private.decrypt(oaep, wrapped.ciphertext(), &mut out, None).unwrap();
                let bound = binding_digest(WrapOccasion::Later, algorithm, public.kek_id(), &context);
                assert_eq!(*opened, [&vec![9; len][..], &bound].concat(), "{algorithm}, {len}");
            }
        }
    }

    #[test]
    fn short_moduli_are_not_wrapped_under() {
        let (_, public) = pair(KeySize::Rsa2048, WrappingAlgorithm::RsaOaep);
        let data_key = DataKey::from_slice(&[9; 32]).unwrap();
        let error = public.wrap(&data_key, &EncryptionContext::new(), WrapOccasion::Later).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("2048"), "{error}");
    }
}
