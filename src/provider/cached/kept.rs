//! What is kept and nothing else: for callers that must not wait.

use super::{Cached, shared_id};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{
    DataKey, DataKeyLength, EncryptionContext, KeyDescription, KeyName, KeyProvider, KeyRef, Origin, UnwrappedKey,
    WrappedKeys,
};

/// Gives data keys for messages that are in memory at this moment, and fails at once where there is none: the provider
/// inside, which may wait for a token, is never asked.
pub(crate) struct Kept<'a, P>(pub(crate) &'a Cached<P>);

fn not_kept() -> Error {
    Error::new(ErrorKind::Unsupported, "not kept in memory")
}

impl<P: KeyProvider> KeyProvider for Kept<'_, P> {
    fn data_key_for_message(
        &self,
        key: &KeyName,
        context: &EncryptionContext,
        length: DataKeyLength,
        message_len: u64,
    ) -> Result<(DataKey, WrappedKeys)> {
        let cached = self.0;
        let id = shared_id(key, context, length);
        cached.shared.take(id, &*cached.clock, |shared| shared.take(message_len)).ok_or_else(not_kept)
    }

    fn describe_key(&self, _: KeyRef<'_>) -> Result<KeyDescription> {
        Err(not_kept())
    }

    fn generate_data_key(
        &self,
        _: &KeyName,
        _: &EncryptionContext,
        _: DataKeyLength,
    ) -> Result<(DataKey, WrappedKeys)> {
        Err(not_kept())
    }

    fn wrap_data_key(&self, _: &KeyName, _: &EncryptionContext, _: &DataKey) -> Result<WrappedKeys> {
        Err(not_kept())
    }

    fn unwrap_data_key(&self, _: &WrappedKeys, _: &EncryptionContext) -> Result<UnwrappedKey> {
        Err(not_kept())
    }

    fn rewrap_data_key(&self, _: &WrappedKeys, _: &EncryptionContext, _: &KeyName, _: Origin) -> Result<WrappedKeys> {
        Err(not_kept())
    }
}
