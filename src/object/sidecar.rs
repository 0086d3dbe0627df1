//! Names that belong to the store itself, and the wrapped keys that are kept under them.

use super::error;
use crate::envelope::DetachedSlots;
use object_store::path::{Path, PathPart};
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

/// The first part of every name that is not a caller's.
pub(super) const HIDDEN: &str = ".keyward";
/// No sidecar is longer: 16 entries at their longest.
const MAX_LEN: u64 = 65536;

/// Whether a name belongs to the store itself.
pub(super) fn is_hidden(location: &Path) -> bool {
    location.parts().next().is_some_and(|first| first == PathPart::from(HIDDEN))
}

fn named(directory: &str, id: &[u8; 16]) -> Path {
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    Path::from_iter([HIDDEN, directory, &id])
}

/// Where the wrapped keys of a message are kept.
pub(super) fn path(message_id: &[u8; 16]) -> Path {
    named("slots", message_id)
}

/// A name for an object that is not to be seen yet.
pub(super) fn temporary(message_id: &[u8; 16]) -> Path {
    named("tmp", message_id)
}

/// The wrapped keys of a message, and which version of them this is.
pub(super) async fn read(
    inner: &dyn ObjectStore,
    message_id: &[u8; 16],
) -> object_store::Result<(DetachedSlots, UpdateVersion)> {
    let path = path(message_id);
    let answer = inner.get_opts(&path, GetOptions::default()).await?;
    // Who can write to the inner store could fill the memory otherwise.
    if answer.meta.size > MAX_LEN {
        let malformed = crate::Error::new(crate::ErrorKind::NotAnEnvelope, "malformed detached slots: too long");
        return Err(error::of(malformed, &path));
    }
    let version = UpdateVersion { e_tag: answer.meta.e_tag.clone(), version: answer.meta.version.clone() };
    let bytes = answer.bytes().await?;
    let slots = DetachedSlots::from_bytes(bytes.to_vec()).map_err(error::at(&path))?;
    Ok((slots, version))
}

/// Stores the wrapped keys of a message.
pub(super) async fn write(
    inner: &dyn ObjectStore,
    message_id: &[u8; 16],
    slots: &DetachedSlots,
    mode: PutMode,
) -> object_store::Result<()> {
    let options = PutOptions { mode, ..PutOptions::default() };
    inner.put_opts(&path(message_id), slots.as_bytes().to_vec().into(), options).await.map(drop)
}

/// Removes the wrapped keys of a message that nobody can read any more. That they stay harms nobody.
pub(super) async fn remove(inner: &dyn ObjectStore, message_id: &[u8; 16]) {
    discard(inner, &path(message_id)).await;
}

/// Removes an object of the store itself.
pub(super) async fn discard(inner: &dyn ObjectStore, path: &Path) {
    match inner.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => tracing::warn!(%path, %error, "an object that nothing needs any more stays where it is"),
    }
}
