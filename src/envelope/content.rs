//! The content of an envelope as a file: `Read` and `Seek`.

use super::range::OpenEnvelope;
use super::read_at::sought;
use crate::key::EncryptionContext;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

/// The plaintext of an envelope, to read from and to seek in. Only the chunks that are asked for are
/// read, in addition to the last, by which [`Decryptor::open`](super::Decryptor::open) has authenticated
/// the length.
///
/// ```
/// # #[cfg(feature = "testkit")] {
/// # use keyward::{AlgorithmChoice, Decryptor, Encryptor, KeyAdmin, KeyName};
/// # let provider = keyward::testkit::MemoryProvider::new();
/// # let key: KeyName = "records".parse()?;
/// # provider.create_key(&key, AlgorithmChoice::Auto)?;
/// # let sealed = Encryptor::new(&provider, &key).encrypt(b"hello, world")?;
/// use keyward::envelope::{Content, Positioned};
/// use std::io::{Read, Seek, SeekFrom};
///
/// let mut content = Content::new(Decryptor::new(&provider).open(Positioned::new(&sealed))?);
/// content.seek(SeekFrom::End(-5))?;
/// let mut end = String::new();
/// content.read_to_string(&mut end)?;
/// assert_eq!(end, "world");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Content<R: Read + Seek> {
    envelope: OpenEnvelope<R>,
    at: u64,
}

impl<R: Read + Seek> Content<R> {
    /// At the beginning of the content.
    #[must_use]
    pub fn new(envelope: OpenEnvelope<R>) -> Self {
        Self { envelope, at: 0 }
    }

    /// The length of the content in bytes, authenticated.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.envelope.len()
    }

    /// Whether the content is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.envelope.is_empty()
    }

    /// The encryption context, authenticated.
    #[must_use]
    pub fn context(&self) -> &EncryptionContext {
        self.envelope.context()
    }
}

impl<R: Read + Seek> Read for Content<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.envelope.read_some(self.at, out)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl<R: Read + Seek> Seek for Content<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = sought(to, self.at, || Ok(self.envelope.len()))?;
        Ok(self.at)
    }
}

impl<R: Read + Seek> fmt::Debug for Content<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("at", &self.at).field("len", &self.envelope.len()).finish_non_exhaustive()
    }
}
