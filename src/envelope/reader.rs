//! Decrypting.

use super::body::BodyReader;
use super::core::{Core, SlotsForm};
use super::open::{Expected, Opener, Prefix};
use super::opening::Opening;
use super::pipeline::Pipeline;
use super::slots::{self, DetachedSlots, SlotCopy};
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
        let copy = self.slot_copy(&core, &mut source)?.ok_or_else(slots::no_valid_copy)?;
        self.begin(core, &copy, source)
    }

    /// Returns the same for a source that can go back: if no slot copy is whole, a rewrap may be at work, and the slots
    /// are read once more.
    pub(super) fn seekable_reader<R: Read + Seek>(&self, mut source: R) -> Result<DecryptReader<R>> {
        let (core, copy) = self.header(&mut source)?;
        self.begin(core, &copy, source)
    }

    /// Reads CORE and the active slot copy; `source` is then at BODY.
    pub(super) fn header<R: Read + Seek>(&self, source: &mut R) -> Result<(Core, SlotCopy)> {
        let core = Core::read(source)?;
        self.expected.check(&core)?;
        if let Some(copy) = self.slot_copy(&core, source)? {
            return Ok((core, copy));
        }
        source.seek(SeekFrom::Start(core.slots_at())).map_err(|error| Error::io("cannot read the envelope", error))?;
        let copy = self.slot_copy(&core, source)?.ok_or_else(slots::no_valid_copy)?;
        Ok((core, copy))
    }

    fn begin<R: Read>(&self, core: Core, copy: &SlotCopy, mut source: R) -> Result<DecryptReader<R>> {
        let prefix = Prefix::read(&mut source)?;
        let (key, opening) = self.opener.open(self.engine, &core, copy, &prefix)?;
        let (body, is_compact) = (BodyReader::new(key, source), core.is_compact());
        Ok(DecryptReader { body, context: core.context, opening, is_compact, threads: self.threads })
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

    /// Reads the active slot copy, or `None` if neither is whole; `source` is then at BODY.
    fn slot_copy(&self, core: &Core, source: &mut impl Read) -> Result<Option<SlotCopy>> {
        match (&self.detached, core.form) {
            (None, SlotsForm::Attached(_)) => Ok(slots::active(&core.read_slots(source)?)?.map(|active| active.copy)),
            (None, SlotsForm::Compact) => SlotCopy::read_compact(source).map(Some),
            (Some(detached), SlotsForm::Detached(_)) => match core.read_slots(source)?.iter().all(|byte| *byte == 0) {
                true => Ok(Some(detached.copy().clone())),
                false => {
                    Err(malformed("malformed envelope: its slots are detached, and the area for them is not zero"))
                }
            },
            (None, SlotsForm::Detached(_)) => {
                Err(Error::new(ErrorKind::InvalidArgument, "this envelope keeps its wrapped keys apart")
                    .with_hint("give its detached slots"))
            }
            (Some(_), SlotsForm::Attached(_) | SlotsForm::Compact) => Err(Error::new(
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
    opening: Opening,
    pub(super) is_compact: bool,
    threads: Option<NonZeroUsize>,
}

impl<R: Read> DecryptReader<R> {
    /// Returns what opening the envelope has confirmed: which key opened it, and what follows from that.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

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
