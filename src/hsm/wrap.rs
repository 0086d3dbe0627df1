//! The wrapping algorithms (`docs/format.md`, "Wrapped key"), each on the token.

use super::object::MasterKey;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{DataKey, DataKeyLength, EncryptionContext, WrappedKey, WrappingAlgorithm, binding, binding_digest};
use crate::token::{
    Attribute, GcmParams, KeyType, Mechanism, MechanismType, ObjectClass, ObjectHandle, PkcsMgfType, PkcsOaepParams,
    PkcsOaepSource, Session,
};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

const GCM_IV_LEN: usize = 12;
const GCM_TAG_LEN: usize = 16;
const GCM_TAG_BITS: u64 = 128;
const MAX_GCM_CIPHERTEXT: usize = 32 + GCM_TAG_LEN;
const DIGEST_LEN: usize = 32;
/// Room for any token's answer to unwrapping: the largest RSA modulus that is read.
const MAX_PLAINTEXT: usize = 2048;

/// Wraps a data key under `key`, bound to `context`.
pub(super) fn wrap(
    session: &Session<'_>,
    key: &MasterKey,
    data_key: &DataKey,
    context: &EncryptionContext,
) -> Result<WrappedKey> {
    match key.description.algorithm {
        WrappingAlgorithm::AesGcm => wrap_gcm(session, key, data_key, context),
        WrappingAlgorithm::AesKw => wrap_kw(session, key, data_key, context),
        WrappingAlgorithm::RsaOaep | WrappingAlgorithm::RsaOaepSha1 => match &key.public {
            Some(public) => public.wrap(data_key, context),
            None => Err(Error::new(ErrorKind::KeyAttributes, "the public half of the key cannot be read")),
        },
        WrappingAlgorithm::CustomerKey => Err(Error::new(ErrorKind::Internal, "a customer key is not on a token")),
    }
}

/// Recovers a data key that `key` wrapped. Whatever is wrong with the bytes is one error.
pub(super) fn unwrap(
    session: &Session<'_>,
    key: &MasterKey,
    wrapped: &WrappedKey,
    context: &EncryptionContext,
) -> Result<DataKey> {
    match key.description.algorithm {
        WrappingAlgorithm::AesGcm => unwrap_gcm(session, key, wrapped, context),
        WrappingAlgorithm::AesKw => unwrap_kw(session, key, wrapped, context),
        WrappingAlgorithm::RsaOaep => {
            unwrap_oaep(session, key, wrapped, context, MechanismType::SHA256, PkcsMgfType::MGF1_SHA256)
        }
        WrappingAlgorithm::RsaOaepSha1 => {
            unwrap_oaep(session, key, wrapped, context, MechanismType::SHA1, PkcsMgfType::MGF1_SHA1)
        }
        WrappingAlgorithm::CustomerKey => Err(Error::not_authentic()),
    }
}

fn wrap_gcm(
    session: &Session<'_>,
    key: &MasterKey,
    data_key: &DataKey,
    context: &EncryptionContext,
) -> Result<WrappedKey> {
    let kek_id = key.description.kek_id;
    // A random 96-bit IV from the token's generator (NIST SP 800-38D, section 8.2.2).
    let mut iv = [0; GCM_IV_LEN];
    session.random(&mut iv)?;
    let sent = iv;
    let aad = binding(WrappingAlgorithm::AesGcm, kek_id, context);
    let plaintext = data_key.expose_secret();
    let mut ciphertext = vec![0; plaintext.len() + GCM_TAG_LEN];
    let params = gcm_params(&mut iv, &aad)?;
    let written = session.encrypt(&Mechanism::AesGcm(params), key.handle, plaintext, &mut ciphertext)?;
    if written != ciphertext.len() {
        return Err(unexpected_length("AES-GCM"));
    }
    // Some tokens ignore the IV that they are given and write back the one they used.
    if iv != sent {
        tracing::debug!("the token chose its own IV");
    }
    WrappedKey::new(WrappingAlgorithm::AesGcm, kek_id, iv, ciphertext)
}

fn unwrap_gcm(
    session: &Session<'_>,
    key: &MasterKey,
    wrapped: &WrappedKey,
    context: &EncryptionContext,
) -> Result<DataKey> {
    let length = wrapped.ciphertext().len().checked_sub(GCM_TAG_LEN).and_then(DataKeyLength::from_bytes);
    let length = length.ok_or_else(Error::not_authentic)?;
    let aad = binding(WrappingAlgorithm::AesGcm, key.description.kek_id, context);
    let mut iv = wrapped.parameters().to_vec();
    // Never an empty IV, nor another tag length: SoftHSM takes both. `WrappedKey` has seen to the
    // IV; the tag is always of 128 bits.
    let mechanism = Mechanism::AesGcm(gcm_params(&mut iv, &aad)?);
    // Room for the tag as well: SoftHSM asks for as much as the ciphertext is long.
    let mut plaintext = Zeroizing::new([0; MAX_GCM_CIPHERTEXT]);
    let len = session.decrypt(&mechanism, key.handle, wrapped.ciphertext(), &mut *plaintext)?;
    if len != length.bytes() {
        return Err(Error::not_authentic());
    }
    DataKey::from_slice(&plaintext[..len])
}

fn wrap_kw(
    session: &Session<'_>,
    key: &MasterKey,
    data_key: &DataKey,
    context: &EncryptionContext,
) -> Result<WrappedKey> {
    let kek_id = key.description.kek_id;
    let mut template = data_key_object();
    let mut value = Vec::with_capacity(data_key.expose_secret().len() + DIGEST_LEN);
    value.extend_from_slice(data_key.expose_secret());
    value.extend_from_slice(&binding_digest(WrappingAlgorithm::AesKw, kek_id, context));
    // RFC 3394 adds one block of 8 bytes.
    let mut ciphertext = vec![0; value.len() + 8];
    template.push(Attribute::Value(value));
    let object = session.create_session_object(&template);
    for attribute in &mut template {
        if let Attribute::Value(value) = attribute {
            value.zeroize();
        }
    }
    let object = SessionObject { session, handle: object? };
    let written = session.wrap_key(&Mechanism::AesKeyWrap, key.handle, object.handle, &mut ciphertext)?;
    if written != ciphertext.len() {
        return Err(unexpected_length("AES-KW"));
    }
    WrappedKey::new(WrappingAlgorithm::AesKw, kek_id, Vec::new(), ciphertext)
}

fn unwrap_kw(
    session: &Session<'_>,
    key: &MasterKey,
    wrapped: &WrappedKey,
    context: &EncryptionContext,
) -> Result<DataKey> {
    let object = session.unwrap_key(&Mechanism::AesKeyWrap, key.handle, wrapped.ciphertext(), &data_key_object())?;
    let object = SessionObject { session, handle: object };
    let mut plaintext = Zeroizing::new([0; MAX_PLAINTEXT]);
    let len = session.read_value(object.handle, &mut *plaintext)?;
    split_bound(&plaintext[..len], key, context)
}

fn unwrap_oaep(
    session: &Session<'_>,
    key: &MasterKey,
    wrapped: &WrappedKey,
    context: &EncryptionContext,
    hash: MechanismType,
    mgf: PkcsMgfType,
) -> Result<DataKey> {
    let params = PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty());
    let mut plaintext = Zeroizing::new([0; MAX_PLAINTEXT]);
    let len = session.decrypt(&Mechanism::RsaPkcsOaep(params), key.handle, wrapped.ciphertext(), &mut *plaintext)?;
    split_bound(&plaintext[..len], key, context)
}

/// Splits `DEK ‖ SHA-256(bind)` and compares the digest in constant time.
fn split_bound(plaintext: &[u8], key: &MasterKey, context: &EncryptionContext) -> Result<DataKey> {
    let expected = binding_digest(key.description.algorithm, key.description.kek_id, context);
    let (data_key, digest) = plaintext.split_last_chunk::<DIGEST_LEN>().ok_or_else(Error::not_authentic)?;
    if !bool::from(digest.ct_eq(&expected)) {
        return Err(Error::not_authentic());
    }
    DataKey::from_slice(data_key).map_err(|_| Error::not_authentic())
}

fn gcm_params<'a>(iv: &'a mut [u8], aad: &'a [u8]) -> Result<GcmParams<'a>> {
    GcmParams::new(iv, aad, GCM_TAG_BITS.into())
        .map_err(|cause| Error::new(ErrorKind::Internal, "cannot express the AES-GCM parameters").with_source(cause))
}

/// A data key on its way through AES-KW: an object of this session that is destroyed before the call
/// returns. It must be extractable to be wrapped and not sensitive to be read.
fn data_key_object() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
    ]
}

struct SessionObject<'a, 'pool> {
    session: &'a Session<'pool>,
    handle: ObjectHandle,
}

impl Drop for SessionObject<'_, '_> {
    fn drop(&mut self) {
        self.session.destroy_session_object(self.handle);
    }
}

fn unexpected_length(algorithm: &str) -> Error {
    Error::new(
        ErrorKind::TokenUnavailable,
        format!("the token returned an {algorithm} ciphertext of an impossible length; it is not used"),
    )
}
