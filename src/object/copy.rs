//! Copying and renaming: the object is encrypted anew, because its path is bound.

use super::blocking::blocking;
use super::error;
use super::mode::{Encryption, Mode, OpenWith, Sse};
use super::read::Attempts;
use super::write::{send, writable};
use super::{EncryptedStore, sidecar};
use crate::envelope::same_key;
use crate::error::{Error, ErrorKind};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, Extensions, GetOptions, MultipartUpload, PutMode, PutMultipartOptions,
    PutOptions, RenameOptions, RenameTargetMode,
};
use std::sync::Arc;

/// What is not longer is copied in one piece; what is longer, in pieces of this.
const PIECE: u64 = 8 << 20;

impl EncryptedStore {
    pub(super) async fn copy_object(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.names(from, to)?;
        if self.leaves_it_to_the_inner(&options.extensions) {
            return self.inner.copy_opts(from, to, options).await;
        }
        self.transfer(from, to, options.mode, options.extensions).await
    }

    pub(super) async fn rename_object(
        &self,
        from: &Path,
        to: &Path,
        options: RenameOptions,
    ) -> object_store::Result<()> {
        self.names(from, to)?;
        if self.leaves_it_to_the_inner(&options.extensions) {
            return self.inner.rename_opts(from, to, options).await;
        }
        let mode = match options.target_mode {
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
            RenameTargetMode::Create => CopyMode::Create,
        };
        if from == to {
            // Copied onto itself and then deleted, it would be gone.
            self.ask(from, GetOptions::default()).await?;
            return match mode {
                CopyMode::Overwrite => Ok(()),
                CopyMode::Create => {
                    let source = "it is the object that was to be renamed".into();
                    Err(object_store::Error::AlreadyExists { path: to.to_string(), source })
                }
            };
        }
        self.transfer(from, to, mode, options.extensions).await?;
        self.delete_one(from).await
    }

    fn names(&self, from: &Path, to: &Path) -> object_store::Result<()> {
        if sidecar::is_hidden(from) {
            return Err(error::not_found(from));
        }
        writable(to)
    }

    /// An object that is not bound to its path stays as it is, unless it is to be encrypted otherwise.
    fn leaves_it_to_the_inner(&self, extensions: &Extensions) -> bool {
        let settings = &self.settings;
        settings.unbound
            && settings.modes.is_empty()
            && settings.keys.is_empty()
            && extensions.get::<Sse>().is_none()
            && extensions.get::<OpenWith>().is_none()
    }

    async fn transfer(
        &self,
        from: &Path,
        to: &Path,
        mode: CopyMode,
        mut extensions: Extensions,
    ) -> object_store::Result<()> {
        let open = self.settings.choose_open(extensions.remove::<OpenWith>());
        let asked = extensions.remove::<Sse>();
        let options = GetOptions { extensions: extensions.clone(), ..GetOptions::default() };
        let mut attempts = Attempts::new(&options);
        let (encryption, attributes, len, stream) = loop {
            match self.begin_reading(from, options.clone(), &open).await {
                Err(error) if attempts.again(&error) => {}
                answer => break answer?,
            }
        };
        let sse = match asked {
            Some(sse) => sse.copied_from(&encryption, &open),
            None => self.sse_like(from, &encryption, &open).await?,
        };
        let sse = self.settings.choose(Some(sse)).map_err(error::at(to))?;
        if len > PIECE {
            return self.transfer_long(stream, to, mode, sse, attributes, extensions).await;
        }
        let pieces: Vec<Bytes> = stream.try_collect().await?;
        extensions.insert(sse);
        let mode = match mode {
            CopyMode::Overwrite => PutMode::Overwrite,
            CopyMode::Create => PutMode::Create,
        };
        let options = PutOptions { mode, attributes, extensions, ..PutOptions::default() };
        self.put_object(to, pieces.into_iter().collect(), options).await.map(drop)
    }

    async fn begin_reading(&self, from: &Path, options: GetOptions, open: &OpenWith) -> object_store::Result<Reading> {
        let opened = self.open(from, options, Some(open.clone()), false).await?;
        let len = opened.meta.size;
        let stream = opened.body.stream(0..len, true).await?;
        Ok((opened.encryption, opened.attributes, len, stream))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one request")]
    async fn transfer_long(
        &self,
        stream: BoxStream<'static, object_store::Result<Bytes>>,
        to: &Path,
        mode: CopyMode,
        sse: Sse,
        attributes: Attributes,
        extensions: Extensions,
    ) -> object_store::Result<()> {
        // An upload cannot be told to replace nothing: it goes to a name that nobody sees, and from there to its own,
        // which the store inside does not give twice.
        let hidden = match mode {
            CopyMode::Overwrite => None,
            CopyMode::Create => Some(temporary(to)?),
        };
        let options = PutMultipartOptions { attributes, extensions, ..PutMultipartOptions::default() };
        let mut upload = self.upload_to(hidden.as_ref().unwrap_or(to), to, sse, options).await?;
        let pour = async {
            pour(stream, &mut upload).await?;
            upload.complete().await
        };
        if let Err(error) = pour.await {
            // What was uploaded is nobody's, and costs.
            drop(upload.abort().await);
            return Err(error);
        }
        let Some(hidden) = hidden else { return Ok(()) };
        let options = RenameOptions { target_mode: RenameTargetMode::Create, ..RenameOptions::default() };
        let renamed = self.inner.rename_opts(&hidden, to, options).await;
        if let Err(error) = &renamed {
            sidecar::discard(&*self.inner, &hidden).await;
            self.undo(to, upload.sidecar(), error).await;
        }
        renamed
    }

    /// Returns how to encrypt the content of an object the same way elsewhere: `is` is what a get of it answered, which
    /// was opened with `open`.
    ///
    /// Which key that is follows from what opened the object. An object with wrapped keys under several names is refused:
    /// anyone who ever opened it can have added one.
    ///
    /// # Errors
    /// `RecipientsAmbiguous` if the object has entries under several keys; `InvalidArgument` if `is` was answered to a
    /// head, which confirms nothing; and those of the provider. They are the source of an `object_store::Error`.
    pub async fn sse_like(&self, from: &Path, is: &Encryption, open: &OpenWith) -> object_store::Result<Sse> {
        let sse = match (is.mode, &open.customer) {
            (Mode::S3, _) => Sse::s3(),
            (Mode::Client, Some(key)) => Sse::client_with_customer_key(Arc::clone(key)),
            (_, Some(key)) => Sse::customer(Arc::clone(key)),
            (mode, None) => {
                let (settings, opening) = (Arc::clone(&self.settings), is.opening.clone());
                let name = blocking(from, move || {
                    let unopened = || Error::new(ErrorKind::InvalidArgument, "the object was not opened");
                    same_key(settings.provider_for(false)?, &opening.ok_or_else(unopened)?)
                })
                .await?;
                if mode == Mode::Client { Sse::client(name) } else { Sse::kms(name) }
            }
        };
        Ok(sse.context(is.context.clone()).bucket_key(is.bucket_key).copied_from(is, open))
    }
}

/// What an object is encrypted with, its attributes, its length, and its plaintext.
type Reading = (Encryption, Attributes, u64, BoxStream<'static, object_store::Result<Bytes>>);

/// A name that nobody sees.
fn temporary(to: &Path) -> object_store::Result<Path> {
    let mut id = [0; 16];
    crate::cipher::random(&mut id).map_err(error::at(to))?;
    Ok(sidecar::temporary(&id))
}

/// Uploads all that `stream` gives; some is uploaded while more is read.
async fn pour(
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    upload: &mut impl MultipartUpload,
) -> object_store::Result<()> {
    let parts = stream::try_unfold(stream, |mut stream| async move {
        let (mut pieces, mut len) = (Vec::new(), 0);
        while len < PIECE
            && let Some(piece) = stream.next().await
        {
            let piece = piece?;
            len += piece.len() as u64;
            pieces.push(piece);
        }
        Ok((!pieces.is_empty()).then(|| (pieces.into_iter().collect(), stream)))
    });
    send(parts.boxed(), upload).await
}
