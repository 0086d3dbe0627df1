//! Work that blocks, off the threads of the runtime: calls to providers, which may wait for a token, and ciphers.

use crate::error::Result;
use object_store::path::Path;
use tokio::runtime::Handle;

/// Does `work` on a thread that may block. Outside of a runtime, as with `object_store` itself, on this one.
pub(super) async fn blocking<T: Send + 'static>(
    location: &Path,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> object_store::Result<T> {
    let answer = match Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    };
    answer.map_err(super::error::at(location))
}

/// The same for work whose errors are those of `object_store` already.
pub(super) async fn blocking_io<T: Send + 'static>(
    work: impl FnOnce() -> object_store::Result<T> + Send + 'static,
) -> object_store::Result<T> {
    match Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}
