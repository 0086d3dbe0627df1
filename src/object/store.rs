//! The trait, method by method.

use super::error::not_found;
use super::{EncryptedStore, sidecar};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How many objects are deleted at once where their wrapped keys are kept apart.
const AT_ONCE: usize = 10;

// A method that is added to the trait does not compile until it is decided what becomes of it: a default body could
// bypass the encryption.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for EncryptedStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.put_object(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.upload(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.get_object(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.get_parts(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let visible = locations.map(|location| match location? {
            hidden if sidecar::is_hidden(&hidden) => Err(not_found(&hidden)),
            location => Ok(location),
        });
        if !self.settings.detached {
            return self.inner.delete_stream(visible.boxed());
        }
        let store = self.clone();
        visible
            .map(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    store.delete_one(&location).await?;
                    Ok(location)
                }
            })
            .buffered(AT_ONCE)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.listed(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.listed(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.list_level(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.copy_object(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> object_store::Result<()> {
        self.rename_object(from, to, options).await
    }
}

impl EncryptedStore {
    /// The object first, then its wrapped keys: in the other order, a failure in between would lose it to all who can
    /// still see it.
    pub(super) async fn delete_one(&self, location: &Path) -> object_store::Result<()> {
        let message_id = match self.settings.detached {
            true => {
                self.present(location).await?.filter(|header| header.is_detached()).map(|header| header.message_id())
            }
            false => None,
        };
        self.inner.delete(location).await?;
        if let Some(id) = message_id {
            sidecar::remove(&*self.inner, &id).await;
        }
        Ok(())
    }
}

impl fmt::Display for EncryptedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptedStore({})", self.inner)
    }
}

impl fmt::Debug for EncryptedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = Arc::as_ref(&self.inner);
        f.debug_struct("EncryptedStore").field("inner", &inner).field("settings", &self.settings).finish()
    }
}
