//! Data keys for an application's own records: one data key per record, wrapped by the token and stored with it. It is
//! for applications that have a format of their own; the others take `keyward::Encryptor`, which has all of this in it.
//! Run: `softhsm/with cargo run --features testkit --example records`.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Tag};
use keyward::testkit::SoftToken;
use keyward::{
    AlgorithmChoice, DataKey, DataKeyLength, EncryptionContext, ErrorKind, KeyAdmin, KeyName, KeyProvider, WrappedKey,
};
use std::error::Error;

/// What is stored of a record.
struct Stored {
    wrapped_key: Vec<u8>,
    text: Vec<u8>,
    tag: Vec<u8>,
}

/// What the record is goes into the context, so that one cannot be passed off as another.
fn context(row: u32) -> keyward::Result<EncryptionContext> {
    EncryptionContext::from_pairs([("table", "customers".to_owned()), ("row", row.to_string())])
}

/// A data key encrypts one text, once: changing a record gives it a new one. So the nonce may be the same for all.
const NONCE: [u8; 12] = [0; 12];

fn cipher(data_key: &DataKey) -> Result<Aes256Gcm, Box<dyn Error>> {
    Ok(Aes256Gcm::new_from_slice(data_key.expose_secret())?)
}

fn seal(keys: &impl KeyProvider, key: &KeyName, row: u32, text: &str) -> Result<Stored, Box<dyn Error>> {
    let (data_key, wrapped) = keys.generate_data_key(key, &context(row)?, DataKeyLength::Bytes32)?;
    let mut text = text.as_bytes().to_vec();
    let tag = cipher(&data_key)?.encrypt_inout_detached(&NONCE.into(), b"", text.as_mut_slice().into());
    let tag = tag.map_err(|_| "too long")?.to_vec();
    let wrapped_key = wrapped.iter().map(WrappedKey::to_bytes).next().ok_or("a token wraps a key once")?;
    Ok(Stored { wrapped_key, text, tag })
}

fn open(keys: &impl KeyProvider, row: u32, stored: &Stored) -> Result<String, Box<dyn Error>> {
    let wrapped = WrappedKey::parse(&stored.wrapped_key)?.into();
    let data_key = keys.unwrap_data_key(&wrapped, &context(row)?)?;
    let (mut text, tag) = (stored.text.clone(), Tag::try_from(&stored.tag[..])?);
    let opened = cipher(&data_key)?.decrypt_inout_detached(&NONCE.into(), b"", text.as_mut_slice().into(), &tag);
    opened.map_err(|_| "altered")?;
    Ok(String::from_utf8(text)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    // A program opens its token by URI: `HsmProvider::new(Token::open(&uri)?)`.
    let token = SoftToken::new();
    let hsm = token.provider();
    let key: KeyName = "customers".parse()?;
    hsm.create_key(&key, AlgorithmChoice::Auto)?;

    let stored = seal(&hsm, &key, 42, "Ada Lovelace")?;
    assert_ne!(stored.text, b"Ada Lovelace");
    println!("stored: {} bytes of text, {} of wrapped key", stored.text.len(), stored.wrapped_key.len());

    hsm.rotate_key(&key, None)?;
    assert_eq!(open(&hsm, 42, &stored)?, "Ada Lovelace");
    println!("later, with the key rotated meanwhile: it is back");

    let refused = open(&hsm, 43, &stored).expect_err("the context is bound");
    let kind = refused.downcast_ref::<keyward::Error>().map(keyward::Error::kind);
    assert_eq!(kind, Some(ErrorKind::NotAuthentic));
    println!("as another row: {refused}");
    Ok(())
}
