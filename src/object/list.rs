//! Listings, with the sizes of the plaintext.

use super::{EncryptedStore, sidecar};
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};

impl EncryptedStore {
    /// Of what is listed inside: what callers see.
    pub(super) fn listed(
        &self,
        inside: BoxStream<'static, object_store::Result<ObjectMeta>>,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let store = self.clone();
        inside.try_filter_map(move |meta| std::future::ready(Ok(store.visible(meta)))).boxed()
    }

    pub(super) async fn list_level(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let mut result = self.inner.list_with_delimiter(prefix).await?;
        result.common_prefixes.retain(|prefix| !sidecar::is_hidden(prefix));
        result.objects = result.objects.into_iter().filter_map(|meta| self.visible(meta)).collect();
        Ok(result)
    }

    /// None for what is not an object of this store.
    fn visible(&self, meta: ObjectMeta) -> Option<ObjectMeta> {
        if sidecar::is_hidden(&meta.location) {
            return None;
        }
        let Some(size) = self.plain_size(meta.size) else {
            tracing::warn!(path = %meta.location, "not listed: no object of this store is of this length");
            return None;
        };
        Some(ObjectMeta { size, ..meta })
    }
}
