//! An application's own records: each is a compact envelope, 229 bytes longer than its text, stored as one value.
//! Run: `softhsm/with cargo run --features testkit --example records`.

use keyward::envelope::Rewrap;
use keyward::testkit::SoftToken;
use keyward::{AlgorithmChoice, Decryptor, EncryptionContext, Encryptor, ErrorKind, KeyAdmin, KeyName, KeyProvider};
use std::error::Error;

/// What the record is goes into the context, so that one cannot be passed off as another.
fn context(row: u32) -> keyward::Result<EncryptionContext> {
    EncryptionContext::from_pairs([("table", "customers".to_owned()), ("row", row.to_string())])
}

fn encrypt(keys: &dyn KeyProvider, key: &KeyName, row: u32, text: &str) -> keyward::Result<Vec<u8>> {
    Encryptor::new(keys, key).context(context(row)?).compact().encrypt(text.as_bytes())
}

fn decrypt(keys: &dyn KeyProvider, row: u32, stored: &[u8]) -> Result<String, Box<dyn Error>> {
    Ok(String::from_utf8(Decryptor::new(keys).context(context(row)?).decrypt(stored)?)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    // A program opens its token by URI: `HsmProvider::new(Token::open(&uri)?)`.
    let token = SoftToken::new();
    let hsm = token.provider();
    let key: KeyName = "customers".parse()?;
    hsm.create_key(&key, AlgorithmChoice::Auto)?;

    let text = "Ada Lovelace";
    let stored = encrypt(&hsm, &key, 42, text)?;
    let overhead = stored.len() - text.len() - context(42)?.to_bytes().len();
    assert_eq!(overhead, 229);
    println!("stored: {} bytes of text, {overhead} bytes of envelope, and its context", text.len());

    hsm.rotate_key(&key, None)?;
    assert_eq!(decrypt(&hsm, 42, &stored)?, text);
    let rewrapped = Rewrap::new(&hsm).context(context(42)?).compact(&stored)?.ok_or("the key was rotated")?;
    assert_eq!(decrypt(&hsm, 42, &rewrapped)?, text);
    println!("after a rotation: rewrapped under the new version");

    let refused = Decryptor::new(&hsm).context(context(43)?).decrypt(&stored).expect_err("the context is bound");
    assert_eq!(refused.kind(), ErrorKind::ContextMismatch);
    println!("as another row: {refused}");
    Ok(())
}
