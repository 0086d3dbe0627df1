//! Notes, each encrypted. This code takes any key provider and knows no token, so its tests choose.

use keyward::{Decryptor, EncryptionContext, Encryptor, KeyName, KeyProvider, Result};
use std::collections::HashMap;

/// Notes by their titles.
pub struct Notes<P> {
    keys: P,
    key: KeyName,
    sealed: HashMap<String, Vec<u8>>,
}

impl<P: KeyProvider> Notes<P> {
    /// No notes yet; each will be encrypted under this master key.
    pub fn new(keys: P, key: KeyName) -> Self {
        Self { keys, key, sealed: HashMap::new() }
    }

    /// Keeps a note. Where that fails, the one of that title is still the old one.
    pub fn put(&mut self, title: &str, text: &str) -> Result<()> {
        let sealed = Encryptor::new(&self.keys, &self.key).context(context(title)?).encrypt(text.as_bytes())?;
        self.sealed.insert(title.to_owned(), sealed);
        Ok(())
    }

    /// The note of that title, where there is one.
    pub fn get(&self, title: &str) -> Result<Option<String>> {
        let Some(sealed) = self.sealed.get(title) else { return Ok(None) };
        let text = Decryptor::new(&self.keys).context(context(title)?).decrypt(sealed)?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    /// The notes as they are stored.
    pub fn sealed(&mut self) -> &mut HashMap<String, Vec<u8>> {
        &mut self.sealed
    }
}

/// Binds a note to its title.
fn context(title: &str) -> Result<EncryptionContext> {
    EncryptionContext::from_pairs([("title", title)])
}
