//! The wrapping algorithms (`docs/format.md`, "Wrapped key"), each on the token.

use super::object::MasterKey;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    DataKey, DataKeyLength, EncryptionContext, KeyDescription, WrapOccasion, WrappedKey, WrappingAlgorithm, binding,
    binding_digest,
};
use crate::token::{Attribute, KeyType, Mechanism, OaepHash, ObjectClass, ObjectHandle, Session};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const GCM_IV_LEN: usize = 12;
const GCM_TAG_LEN: usize = 16;
const DIGEST_LEN: usize = 32;
/// Room for any token's answer to unwrapping: the largest RSA modulus that is read.
const MAX_PLAINTEXT: usize = 2048;

/// Makes a data key and wraps it under `key`, bound to `context`.
pub(super) fn generate(
    session: &Session<'_>,
    key: &MasterKey,
    length: DataKeyLength,
    context: &EncryptionContext,
) -> Result<(DataKey, WrappedKey)> {
    if key.description.algorithm != WrappingAlgorithm::AesGcm {
        let data_key = DataKey::try_fill(length, |bytes| session.random(bytes))?;
        let wrapped = wrap(session, key, &data_key, context, WrapOccasion::Generation)?;
        return Ok((data_key, wrapped));
    }
    // The key and the IV in one call: on a network HSM each is a round trip.
    let (mut random, len) = (Zeroizing::new([0; 32 + GCM_IV_LEN]), length.bytes());
    let iv_len = if session.chooses_iv() { 0 } else { GCM_IV_LEN };
    session.random(&mut random[..len + iv_len])?;
    let data_key = DataKey::from_slice(&random[..len])?;
    let wrapped = wrap_gcm(session, key, &data_key, context, WrapOccasion::Generation, &random[len..len + GCM_IV_LEN])?;
    Ok((data_key, wrapped))
}

/// Wraps a data key under `key`, bound to `context` and to when that is done.
pub(super) fn wrap(
    session: &Session<'_>,
    key: &MasterKey,
    data_key: &DataKey,
    context: &EncryptionContext,
    occasion: WrapOccasion,
) -> Result<WrappedKey> {
    match key.description.algorithm {
        WrappingAlgorithm::AesGcm => {
            let mut iv = [0; GCM_IV_LEN];
            if !session.chooses_iv() {
                session.random(&mut iv)?;
            }
            wrap_gcm(session, key, data_key, context, occasion, &iv)
        }
        WrappingAlgorithm::AesKw => wrap_kw(session, key, data_key, context, occasion),
        WrappingAlgorithm::RsaOaep | WrappingAlgorithm::RsaOaepSha1 => match &key.public {
            Some(public) => public.wrap(data_key, context, occasion),
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
        WrappingAlgorithm::RsaOaep => unwrap_oaep(session, key, wrapped, context, OaepHash::Sha256),
        WrappingAlgorithm::RsaOaepSha1 => unwrap_oaep(session, key, wrapped, context, OaepHash::Sha1),
        WrappingAlgorithm::CustomerKey => Err(Error::not_authentic()),
    }
}

/// `iv` is random, of 96 bits, from the token's generator (NIST SP 800-38D, section 8.2.2). Tokens that
/// choose their own write it in its place, whether they are known to or not.
fn wrap_gcm(
    session: &Session<'_>,
    key: &MasterKey,
    data_key: &DataKey,
    context: &EncryptionContext,
    occasion: WrapOccasion,
    iv: &[u8],
) -> Result<WrappedKey> {
    let kek_id = key.description.kek_id;
    let aad = binding(occasion, WrappingAlgorithm::AesGcm, kek_id, context);
    let plaintext = data_key.expose_secret();
    let len = plaintext.len() + GCM_TAG_LEN;
    let (used, ciphertext) = session.encrypt_gcm(key.handle, iv.to_vec(), aad, plaintext, len)?;
    if ciphertext.len() != len {
        return Err(unexpected_length("AES-GCM"));
    }
    if session.chooses_iv() && used.iter().all(|byte| *byte == 0) {
        // One IV for all wraps would give the key away.
        return Err(Error::new(ErrorKind::TokenUnavailable, "the token did not say which IV it used"));
    }
    WrappedKey::new(occasion, WrappingAlgorithm::AesGcm, kek_id, used, ciphertext)
}

fn unwrap_gcm(
    session: &Session<'_>,
    key: &MasterKey,
    wrapped: &WrappedKey,
    context: &EncryptionContext,
) -> Result<DataKey> {
    let length = wrapped.ciphertext().len().checked_sub(GCM_TAG_LEN).and_then(DataKeyLength::from_bytes);
    let length = length.ok_or_else(Error::not_authentic)?;
    let aad = binding(wrapped.occasion(), WrappingAlgorithm::AesGcm, key.description.kek_id, context);
    // Never an empty IV: SoftHSM takes one. `WrappedKey` has seen to it.
    let mechanism = Mechanism::AesGcm { iv: wrapped.parameters().to_vec(), aad };
    // Room for the tag as well: SoftHSM asks for as much as the ciphertext is long.
    let plaintext = session.decrypt(mechanism, key.handle, wrapped.ciphertext(), wrapped.ciphertext().len())?;
    if plaintext.len() != length.bytes() {
        return Err(Error::not_authentic());
    }
    DataKey::from_slice(&plaintext)
}

fn wrap_kw(
    session: &Session<'_>,
    key: &MasterKey,
    data_key: &DataKey,
    context: &EncryptionContext,
    occasion: WrapOccasion,
) -> Result<WrappedKey> {
    let kek_id = key.description.kek_id;
    let mut value = Vec::with_capacity(data_key.expose_secret().len() + DIGEST_LEN);
    value.extend_from_slice(data_key.expose_secret());
    value.extend_from_slice(&binding_digest(occasion, WrappingAlgorithm::AesKw, kek_id, context));
    // RFC 3394 adds one block of 8 bytes.
    let len = value.len() + 8;
    let mut template = data_key_object();
    template.push(Attribute::Value(value));
    let object = SessionObject { session, handle: session.create_session_object(template)? };
    let ciphertext = session.wrap_key(Mechanism::AesKeyWrap, key.handle, object.handle, len)?;
    if ciphertext.len() != len {
        return Err(unexpected_length("AES-KW"));
    }
    WrappedKey::new(occasion, WrappingAlgorithm::AesKw, kek_id, Vec::new(), ciphertext)
}

fn unwrap_kw(
    session: &Session<'_>,
    key: &MasterKey,
    wrapped: &WrappedKey,
    context: &EncryptionContext,
) -> Result<DataKey> {
    let handle = session.unwrap_key(Mechanism::AesKeyWrap, key.handle, wrapped.ciphertext(), data_key_object())?;
    let object = SessionObject { session, handle };
    let plaintext = session.read_value(object.handle, MAX_PLAINTEXT)?;
    split_bound(&plaintext, key, wrapped, context)
}

fn unwrap_oaep(
    session: &Session<'_>,
    key: &MasterKey,
    wrapped: &WrappedKey,
    context: &EncryptionContext,
    hash: OaepHash,
) -> Result<DataKey> {
    let plaintext = session.decrypt(Mechanism::RsaOaep(hash), key.handle, wrapped.ciphertext(), MAX_PLAINTEXT)?;
    split_bound(&plaintext, key, wrapped, context)
}

/// Splits `DEK ‖ SHA-256(bind)` and compares the digest in constant time.
fn split_bound(
    plaintext: &[u8],
    key: &MasterKey,
    wrapped: &WrappedKey,
    context: &EncryptionContext,
) -> Result<DataKey> {
    let KeyDescription { algorithm, kek_id, .. } = key.description;
    let expected = binding_digest(wrapped.occasion(), algorithm, kek_id, context);
    let (data_key, digest) = plaintext.split_last_chunk::<DIGEST_LEN>().ok_or_else(Error::not_authentic)?;
    if !bool::from(digest.ct_eq(&expected)) {
        return Err(Error::not_authentic());
    }
    DataKey::from_slice(data_key).map_err(|_| Error::not_authentic())
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

/// An object of a session, destroyed when dropped. Where that fails, the session is closed, which ends it too.
pub(super) struct SessionObject<'a, 'pool> {
    pub(super) session: &'a Session<'pool>,
    pub(super) handle: ObjectHandle,
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
