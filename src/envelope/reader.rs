//! Decrypting.

use super::body::BodyReader;
use super::core::Core;
use super::open::{Expected, Opener, Prefix};
use super::pipeline::Pipeline;
use super::slots::{self, DetachedSlots, Half};
use super::{malformed, memory, range};
use crate::cipher::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{CustomerKey, EncryptionContext, KeyProvider};
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;

/// Decrypts.
///
/// Expects the empty encryption context unless told otherwise: a context is compared, byte for
/// byte, before anything is asked of a token.
#[derive(Clone)]
pub struct Decryptor<'a> {
    pub(super) opener: Opener<'a>,
    pub(super) expected: Expected,
    pub(super) engine: Engine,
    pub(super) detached: Option<DetachedSlots>,
    pub(super) threads: Option<NonZeroUsize>,
    pub(super) progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

impl<'a> Decryptor<'a> {
    /// Decrypts with the master keys that `provider` may use.
    #[must_use]
    pub fn new(provider: &'a dyn KeyProvider) -> Self {
        Self::with(Opener::Provider(provider))
    }

    /// Decrypts with the customer's own key, without any provider.
    #[must_use]
    pub fn with_customer_key(key: &'a CustomerKey) -> Self {
        Self::with(Opener::Customer(key))
    }

    fn with(opener: Opener<'a>) -> Self {
        let expected = Expected::Exactly(EncryptionContext::new());
        Self { opener, expected, engine: Engine::default(), detached: None, threads: None, progress: None }
    }

    /// The encryption context that the envelope must have.
    #[must_use]
    pub fn context(mut self, context: EncryptionContext) -> Self {
        self.expected = Expected::Exactly(context);
        self
    }

    /// Accepts any encryption context. The caller then decides by what
    /// [`DecryptReader::context`] says: without a look at it, one file can stand for another.
    #[must_use]
    pub fn any_context(mut self) -> Self {
        self.expected = Expected::Any;
        self
    }

    /// The engine.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// The wrapped keys of an envelope that keeps them apart.
    #[must_use]
    pub fn detached_slots(mut self, slots: DetachedSlots) -> Self {
        self.detached = Some(slots);
        self
    }

    /// The most threads that work at once. By default files and streams take all cores, as soon as
    /// they are longer than half a MiB, and calls in memory take one.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Calls `progress` with the plaintext bytes done so far, in whole-file calls.
    #[must_use]
    pub fn progress(mut self, progress: &'a (dyn Fn(u64) + Sync)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// A reader of the plaintext in `source`. It hands out authenticated bytes only; that they are
    /// all is known at the end.
    ///
    /// # Errors
    /// `NotAnEnvelope`, `ContextMismatch`, `NotAuthentic`, what the provider answers, `Io`.
    pub fn reader<R: Read>(&self, mut source: R) -> Result<DecryptReader<R>> {
        let core = Core::read(&mut source)?;
        self.expected.check(&core)?;
        let area = core.read_slots(&mut source)?;
        let half = self.half(&core, &area)?.ok_or_else(slots::no_valid_half)?;
        self.begin(core, &half, source)
    }

    /// The same for a source that can go back: where no half is whole, a rewrap may be at work, and
    /// the slots are read once more.
    pub(super) fn seekable_reader<R: Read + Seek>(&self, mut source: R) -> Result<DecryptReader<R>> {
        let (core, half) = self.header(&mut source)?;
        self.begin(core, &half, source)
    }

    /// CORE and the half of SLOTS that counts; `source` is then at BODY.
    pub(super) fn header<R: Read + Seek>(&self, source: &mut R) -> Result<(Core, Half)> {
        let core = Core::read(source)?;
        self.expected.check(&core)?;
        let area = core.read_slots(source)?;
        if let Some(half) = self.half(&core, &area)? {
            return Ok((core, half));
        }
        source.seek(SeekFrom::Start(core.slots_at())).map_err(|error| Error::io("cannot read the envelope", error))?;
        let area = core.read_slots(source)?;
        let half = self.half(&core, &area)?.ok_or_else(slots::no_valid_half)?;
        Ok((core, half))
    }

    fn begin<R: Read>(&self, core: Core, half: &Half, mut source: R) -> Result<DecryptReader<R>> {
        let prefix = Prefix::read(&mut source)?;
        let key = self.opener.body_key(self.engine, &core, half, &prefix)?;
        Ok(DecryptReader { body: BodyReader::new(key, source), context: core.context, threads: self.threads })
    }

    /// The whole plaintext of an envelope.
    ///
    /// # Errors
    /// As [`reader`](Self::reader).
    pub fn decrypt(&self, envelope: &[u8]) -> Result<Vec<u8>> {
        let mut plaintext = Vec::new();
        self.decrypt_into(envelope, &mut plaintext)?;
        Ok(plaintext)
    }

    /// Makes `plaintext` the whole plaintext of an envelope, in place of what it was, as
    /// [`Encryptor::encrypt_into`](super::Encryptor::encrypt_into) does the other way round.
    ///
    /// # Errors
    /// As [`reader`](Self::reader). `plaintext` is then empty or as it was.
    pub fn decrypt_into(&self, envelope: &[u8], plaintext: &mut Vec<u8>) -> Result<()> {
        let (key, chunks) = self.reader(envelope)?.body.into_parts();
        memory::open(&key, chunks, plaintext, self.threads.map_or(1, NonZeroUsize::get))
    }

    pub(super) fn pipeline(&self) -> Pipeline<'a> {
        Pipeline { threads: self.threads, progress: self.progress }
    }

    /// Opens an envelope for reading ranges of it. Its length is authenticated first, by decrypting
    /// the last chunk.
    ///
    /// # Errors
    /// As [`reader`](Self::reader).
    pub fn open<R: Read + Seek>(&self, source: R) -> Result<super::OpenEnvelope<R>> {
        range::open(self, source)
    }

    /// The half of SLOTS that counts; none where neither is whole.
    pub(super) fn half(&self, core: &Core, area: &[u8]) -> Result<Option<Half>> {
        match (&self.detached, core.detached) {
            (None, false) => Ok(slots::current(area)?.map(|current| current.half)),
            (Some(_), true) if area.iter().any(|byte| *byte != 0) => {
                Err(malformed("malformed envelope: its slots are detached, and the area for them is not zero"))
            }
            (Some(detached), true) => Ok(Some(detached.half().clone())),
            (None, true) => Err(Error::new(ErrorKind::InvalidArgument, "this envelope keeps its wrapped keys apart")
                .with_hint("give its detached slots")),
            (Some(_), false) => Err(Error::new(
                ErrorKind::InvalidArgument,
                "this envelope holds its wrapped keys itself; detached slots are not for it",
            )),
        }
    }
}

impl fmt::Debug for Decryptor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decryptor")
            .field("expected", &self.expected)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

/// The plaintext of an envelope, authenticated chunk by chunk.
///
/// That the envelope is whole is known only when a read has returned 0. Act on what was read before
/// only if it can be taken back, or read to the end first.
#[derive(Debug)]
pub struct DecryptReader<R: Read> {
    pub(super) body: BodyReader<R>,
    context: EncryptionContext,
    threads: Option<NonZeroUsize>,
}

impl<R: Read> DecryptReader<R> {
    /// The encryption context of the envelope, authenticated.
    #[must_use]
    pub fn context(&self) -> &EncryptionContext {
        &self.context
    }

    /// Writes the next plaintext to `sink` with one copy less than reading it; how much, 0 at the end.
    ///
    /// # Errors
    /// `NotAuthentic` where the body is altered or truncated, `Io` where reading or writing fails.
    pub fn write_to(&mut self, sink: &mut (impl Write + ?Sized)) -> Result<usize> {
        self.body.write_to(sink)
    }

    /// Writes all the plaintext that is left to `sink`, decrypting on all cores; how much.
    ///
    /// It comes in order, and nothing after a chunk that is not authentic is written.
    ///
    /// ```no_run
    /// # fn example(decryptor: keyward::Decryptor<'_>) -> keyward::Result<()> {
    /// decryptor.reader(std::io::stdin())?.write_all_to(&mut std::io::stdout())?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`write_to`](Self::write_to).
    pub fn write_all_to(&mut self, sink: &mut (impl Write + Send)) -> Result<u64>
    where
        R: Send,
    {
        self.body.write_all_to(sink, Pipeline { threads: self.threads, progress: None })
    }
}

impl<R: Read> Read for DecryptReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.body.read(out)
    }
}
