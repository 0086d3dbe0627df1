//! Sources that can be read anywhere.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A source that can be read anywhere, by several threads at once: a file, bytes in memory, an object
/// in a store that answers range requests.
///
/// ```
/// use keyward::envelope::ReadAt;
/// let mut two = [0; 2];
/// assert_eq!(b"hello".read_at(&mut two, 3)?, 2);
/// assert_eq!((&two, b"hello".size()?), (b"lo", 5));
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ReadAt: Send + Sync {
    /// Reads from `offset` on into `buffer`; how much, which may be less than there is. 0 means that
    /// the source ends there, or before.
    ///
    /// # Errors
    /// What reading answers.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The length of the source in bytes.
    ///
    /// # Errors
    /// What the source answers.
    fn size(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

macro_rules! through_deref {
    ($(<$T:ident> $what:ty),*) => {$(
        impl<$T: ReadAt + ?Sized> ReadAt for $what {
            fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
                (**self).read_at(buffer, offset)
            }

            fn size(&self) -> io::Result<u64> {
                (**self).size()
            }
        }
    )*};
}

through_deref!(<T> &T, <T> Box<T>, <T> Arc<T>);

impl<const N: usize> ReadAt for [u8; N] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self[..].read_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self[..].size()
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self[..].read_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self[..].size()
    }
}

/// `Read` and `Seek` over a source that can be read anywhere, as
/// [`Decryptor::open`](super::Decryptor::open) asks for.
#[derive(Clone, Debug)]
pub struct Positioned<S> {
    source: S,
    at: u64,
}

impl<S: ReadAt> Positioned<S> {
    /// At the beginning of the source.
    #[must_use]
    pub fn new(source: S) -> Self {
        Self { source, at: 0 }
    }

    /// The source.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.source
    }
}

impl<S: ReadAt> Read for Positioned<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read_at(buffer, self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl<S: ReadAt> Seek for Positioned<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = sought(to, self.at, || self.source.size())?;
        Ok(self.at)
    }
}

/// Where a seek goes.
pub(super) fn sought(to: SeekFrom, at: u64, size: impl FnOnce() -> io::Result<u64>) -> io::Result<u64> {
    let to = match to {
        SeekFrom::Start(to) => Some(to),
        SeekFrom::Current(by) => at.checked_add_signed(by),
        SeekFrom::End(by) => size()?.checked_add_signed(by),
    };
    to.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a seek to before the beginning"))
}

/// Reads until `buffer` is full or the source ends; how much.
pub(super) fn read_full_at(source: &dyn ReadAt, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match source.read_at(&mut buffer[len..], offset + len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}
