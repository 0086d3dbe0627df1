//! Writing a transcript: every line is on the disk before anything follows from it.

use super::bundle::Bundle;
use super::entry::{Decision, Entry, Fact, Outcome};
use super::format;
use super::id::RunId;
use super::interim;
use super::line::{Line, MAX_LEN};
use super::name::Name;
use super::plan::{Plan, secrets};
use super::step::StepId;
use super::transcript::{End, Progress, Transcript};
use crate::audit::{Hash, Id, sealed};
use crate::durable::sync_entry;
use crate::error::{Error, ErrorKind, Result};
use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How much room an intent keeps on the disk for what will be told of its outcome, in bytes.
const ROOM: u64 = 32 * 1024;
/// How often the lock is asked for, and the time between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);
/// Neither through a link out of the bundle, nor waiting for the other end of a pipe.
const IN_THE_BUNDLE: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();
/// The longest text that people give, in bytes.
const MAX_TEXT: usize = 2000;

/// What a run begins with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Begin {
    /// Whether it is a rehearsal.
    pub rehearsal: bool,
    /// The version of the program.
    pub tool: String,
}

impl Begin {
    /// Returns the beginning of a ceremony with this version of the program.
    #[must_use]
    pub fn new(tool: impl Into<String>) -> Self {
        Self { rehearsal: false, tool: tool.into() }
    }

    /// Makes it that of a rehearsal, if it is one.
    #[must_use]
    pub fn rehearsal(mut self, rehearsal: bool) -> Self {
        self.rehearsal = rehearsal;
        self
    }
}

/// The transcript of a run that is going on. Nobody else can write to it meanwhile.
///
/// Every entry is synced before its call returns. After an error nothing of the entry is there, and nothing that was
/// there before is lost: the call can be made again.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    host: String,
    len: u64,
    lines: Vec<Line>,
    progress: Progress,
    run: RunId,
    now: fn() -> String,
}

impl Journal {
    /// Begins the transcript of a bundle with a new run id.
    ///
    /// # Errors
    /// `InvalidArgument` if the plan is of an older format; `OutputExists` where it has begun already; `Io` where it cannot be written, or another process has it open.
    pub fn begin(bundle: &Bundle, begin: Begin) -> Result<Self> {
        Self::begin_with(bundle, begin, sealed::now)
    }

    pub(super) fn begin_with(bundle: &Bundle, begin: Begin, now: fn() -> String) -> Result<Self> {
        let text = bundle.plan_text()?;
        let plan = Plan::parse(&text)?;
        format::check_current(plan.format)?;
        let path = bundle.transcript_path();
        let mut file = open_locked(&path, true)?;
        let mut there = Vec::new();
        file.read_to_end(&mut there).map_err(|error| cannot("read", &path, error))?;
        // What was cut off before its first line had ended was on nobody's mind yet.
        if there.contains(&b'\n') {
            let message = format!("the ceremony in '{}' has begun already", bundle.path().display());
            return Err(
                Error::new(ErrorKind::OutputExists, message).with_hint("`keyward ceremony resume` goes on with it")
            );
        }
        file.set_len(0).map_err(|error| cannot("write", &path, error))?;
        let run = Id::random()?;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let mut journal = Self { path, file, host, len: 0, lines: Vec::new(), progress: Progress::default(), run, now };
        let Begin { rehearsal, tool } = begin;
        let (format, plan_hash) = (plan.format, Plan::hash(&text));
        journal.append(Entry::Begun { format, ceremony: plan.id, plan: plan_hash, run, tool, rehearsal })?;
        sync_entry(&journal.path)?;
        Ok(journal)
    }

    /// Goes on with the transcript of a bundle, and says so in it. Where the clock went backwards meanwhile, people have
    /// to know: `although` is why they go on, and who says so.
    ///
    /// What an interrupted run had begun to write is cut off; how much that was, and its hash, is told.
    ///
    /// # Errors
    /// `NotAuthentic` if the transcript is not as it was written, the plan is another, or a witness signed another
    /// beginning at a pause; `InvalidArgument` if it is closed or was stopped; `Io` where it cannot be written, or another process has it open.
    pub fn resume(bundle: &Bundle, tool: &str, although: Option<(&str, &Name)>) -> Result<Self> {
        let path = bundle.transcript_path();
        let file = open_locked(&path, false)?;
        let transcript = bundle.transcript()?;
        let (Some(Entry::Begun { plan, run, .. }), Ok(text)) = (transcript.begun(), bundle.plan_text()) else {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("nothing has begun in '{}'", path.display()))
                .with_hint("`keyward ceremony run` begins it"));
        };
        if *plan != Plan::hash(&text) {
            return Err(Error::new(
                ErrorKind::NotAuthentic,
                "the plan in the bundle is not the one that was begun with",
            ));
        }
        interim::check_resumed(bundle, &Plan::parse(&text)?, &transcript)?;
        if transcript.is_closed() || transcript.progress().is_stopped() {
            return Err(Error::new(ErrorKind::InvalidArgument, "this ceremony has ended"));
        }
        let (run, len, end) = (*run, transcript.len(), transcript.end());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let (lines, progress) = transcript.into_parts();
        let mut journal = Self { path, file, host, len, lines, progress, run, now: sealed::now };
        // Before anything is changed.
        if although.is_none() {
            journal.check_clock(&(journal.now)())?;
        }
        let mut resumed = Entry::Resumed { tool: tool.to_owned(), torn_bytes: 0, torn_sha256: None };
        match end {
            End::Clean => {}
            End::NoNewline => {
                journal.file.write_all_at(b"\n", len).map_err(|error| cannot("write", &journal.path, error))?;
                journal.len += 1;
            }
            End::Torn(torn) => {
                journal.file.set_len(len).map_err(|error| cannot("write", &journal.path, error))?;
                resumed =
                    Entry::Resumed { tool: tool.to_owned(), torn_bytes: torn.length, torn_sha256: Some(torn.sha256) };
            }
        }
        if let Some((reason, by)) = although.filter(|_| journal.is_clock_backwards()) {
            journal.clock(reason, by)?;
        }
        journal.append(resumed)?;
        Ok(journal)
    }

    /// The run's id.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// What has been done so far.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The hash of the last line.
    #[must_use]
    pub fn head(&self) -> Hash {
        self.lines.last().map_or(Hash::ZERO, |line| line.hash)
    }

    /// Says that a step is about to be done. Where this returns an error, it must not be done.
    ///
    /// Room for its outcome is kept on the disk, so that a disk that fills up stops a step before it is done and not
    /// after.
    ///
    /// # Errors
    /// `Io` where it cannot be written, or the clock went backwards ([`clock`](Self::clock)); `InvalidArgument` where
    /// another step has not ended, or the ceremony has.
    pub fn intent(&mut self, step: &StepId, confirmed_by: &Name) -> Result<()> {
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.len, ROOM) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(cannot("write", &self.path, error.into())),
        }
        self.append(Entry::Intent { step: step.clone(), confirmed_by: confirmed_by.clone() })
    }

    /// Says that a step was done, and what was seen.
    ///
    /// # Errors
    /// As [`intent`](Self::intent); the step was done all the same, and this must be called again before anything else.
    pub fn done(&mut self, step: &StepId, facts: Vec<Fact>) -> Result<()> {
        self.append(Entry::Outcome { step: step.clone(), outcome: Outcome::Ok, error: None, facts })
    }

    /// Says that a step failed, with the kind of error alone, and what was seen.
    ///
    /// # Errors
    /// As [`intent`](Self::intent).
    pub fn failed(&mut self, step: &StepId, error: ErrorKind, facts: Vec<Fact>) -> Result<()> {
        let error = Some(format!("{error:?}"));
        self.append(Entry::Outcome { step: step.clone(), outcome: Outcome::Failed, error, facts })
    }

    /// Says that something was not as expected, and what people decided.
    ///
    /// # Errors
    /// As [`intent`](Self::intent), and `InvalidArgument` for a text that is empty, too long, or looks like a secret.
    pub fn exception(
        &mut self,
        step: Option<&StepId>,
        [expected, happened, reason]: [&str; 3],
        decision: Decision,
        by: &Name,
    ) -> Result<()> {
        for text in [expected, happened, reason] {
            check_text(text)?;
        }
        let [expected, happened, reason] = [expected, happened, reason].map(ToOwned::to_owned);
        self.append(Entry::Exception { step: step.cloned(), expected, happened, decision, reason, by: by.clone() })
    }

    /// Says that custodians put a PIN together again.
    ///
    /// # Errors
    /// As [`intent`](Self::intent).
    pub fn unlocked(&mut self, token: &Name, custodians: Vec<Name>, digests: Vec<Hash>) -> Result<()> {
        self.append(Entry::Unlocked { token: token.clone(), custodians, digests })
    }

    /// Says that people know that the clock went backwards, and go on.
    ///
    /// # Errors
    /// As [`exception`](Self::exception), but for the clock.
    pub fn clock(&mut self, reason: &str, by: &Name) -> Result<()> {
        check_text(reason)?;
        let was = self.progress.time().unwrap_or_default().to_owned();
        self.append(Entry::Clock { was, reason: reason.to_owned(), by: by.clone() })
    }

    /// Whether it is earlier now than when the last line was written. Nothing is recorded until people know.
    #[must_use]
    pub fn is_clock_backwards(&self) -> bool {
        self.progress.is_backwards(&(self.now)())
    }

    fn check_clock(&self, time: &str) -> Result<()> {
        if !self.progress.is_backwards(time) {
            return Ok(());
        }
        let was = self.progress.time().unwrap_or_default();
        Err(Error::new(ErrorKind::Io, format!("the clock went backwards: it is {time}, and was {was} before"))
            .with_hint("set the clock right, or say why the ceremony goes on all the same"))
    }

    /// Closes the transcript: every step is done. Nothing can follow. Gives the head that witnesses sign.
    ///
    /// # Errors
    /// As [`intent`](Self::intent).
    pub fn close(&mut self) -> Result<Hash> {
        self.append(Entry::Closed {})?;
        // Gives the kept room back.
        self.file.set_len(self.len).map_err(|error| cannot("write", &self.path, error))?;
        Ok(self.head())
    }

    fn append(&mut self, entry: Entry) -> Result<()> {
        let time = (self.now)();
        if !matches!(entry, Entry::Clock { .. }) {
            self.check_clock(&time)?;
        }
        let refused = |what: String| Error::new(ErrorKind::InvalidArgument, format!("cannot record this: {what}"));
        self.progress.check(&time, &entry).map_err(refused)?;
        let line =
            Line::new(self.lines.len() as u64 + 1, time, entry, self.host.clone(), std::process::id(), self.head());
        let mut bytes = line.to_bytes();
        if bytes.len() > MAX_LEN {
            return Err(Error::new(ErrorKind::LimitExceeded, "an entry of a transcript is 1 MiB at most"));
        }
        bytes.push(b'\n');
        let mut progress = self.progress.clone();
        progress.take(&line).map_err(refused)?;
        let written = self.file.write_all_at(&bytes, self.len).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // No line of which it is not known whether it is there. Where this fails too, a torn end is left.
            if let Err(error) = self.file.set_len(self.len) {
                tracing::warn!(transcript = %self.path.display(), %error, "what could not be written whole stays in part");
            }
            return Err(cannot("write", &self.path, error));
        }
        self.len += bytes.len() as u64;
        self.progress = progress;
        self.lines.push(line);
        Ok(())
    }
}

/// What people say stands in the transcript for good, and everybody may read it.
fn check_text(text: &str) -> Result<()> {
    let refused = |what: &str| Err(Error::new(ErrorKind::InvalidArgument, format!("this is not recorded: {what}")));
    if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        return refused("a text here is 1 to 2000 bytes on one line");
    }
    // Somebody may have typed a share or a PIN in the wrong place.
    secrets::in_line(text).map_or(Ok(()), refused)
}

/// The transcript, with its lock held until the file is closed.
fn open_locked(path: &Path, create: bool) -> Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(create).truncate(false).mode(0o644).custom_flags(IN_THE_BUNDLE);
    let file = options.open(path).map_err(|error| cannot("open", path, error))?;
    for _ in 0..ATTEMPTS {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            // Whoever asks whether a run is going on holds the lock for a moment.
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => std::thread::sleep(PAUSE),
            Err(error) => return Err(cannot("lock", path, error.into())),
        }
    }
    Err(Error::new(ErrorKind::Io, format!("another run has '{}' open", path.display())))
}

/// Whether a run has the transcript open.
pub(super) fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::options().read(true).custom_flags(IN_THE_BUNDLE).open(path) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

fn cannot(what: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot {what} the transcript '{}'", path.display()), error)
}

/// For readers who have no journal: the transcript as it is.
impl From<&Journal> for Transcript {
    fn from(journal: &Journal) -> Self {
        Self::of_written(journal.lines.clone(), journal.progress.clone(), journal.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ceremony::{Answers, Verify};
    use std::cell::Cell;

    thread_local! {
        /// The second that it is.
        static SECOND: Cell<u32> = const { Cell::new(10) };
    }

    fn now() -> String {
        format!("2026-01-31T08:15:{:02}.000000Z", SECOND.get())
    }

    #[test]
    fn a_clock_that_goes_backwards_stops_everything_until_people_know() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bundle");
        let bundle = Bundle::create(&path, &Answers::example().to_toml()).unwrap();
        let begin = Begin::new("test");
        let mut journal = Journal::begin_with(&bundle, begin, now).unwrap();
        let (step, olga): (StepId, Name) = ("host/check".into(), "olga".parse().unwrap());
        // The same time is not backwards.
        journal.intent(&step, &olga).unwrap();
        SECOND.set(9);
        let before = std::fs::read(bundle.transcript_path()).unwrap();
        let error = journal.done(&step, Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(
            error.to_string(),
            "the clock went backwards: it is 2026-01-31T08:15:09.000000Z, and was 2026-01-31T08:15:10.000000Z before"
        );
        assert_eq!(std::fs::read(bundle.transcript_path()).unwrap(), before);
        // Once it is right again.
        SECOND.set(11);
        journal.done(&step, Vec::new()).unwrap();
        // Or people know.
        SECOND.set(5);
        assert!(journal.intent(&step, &olga).is_err());
        journal.clock("the battery was empty", &olga).unwrap();
        journal.intent(&step, &olga).unwrap();
        drop(journal);
        let transcript = bundle.transcript().unwrap();
        assert_eq!(transcript.lines().len(), 5);
        let deviations = Verify::new(&bundle).run().unwrap().deviations;
        assert!(deviations[0].ends_with("accepted by olga: the battery was empty"), "{deviations:?}");

        // A line that was put there with a hash of its own, and an earlier time.
        let last = &transcript.lines()[4];
        let entry = Entry::Outcome { step, outcome: Outcome::Ok, error: None, facts: Vec::new() };
        let time = "2026-01-31T08:15:04.000000Z".to_owned();
        let line = Line::new(6, time, entry, String::new(), 1, last.hash);
        let bytes = [std::fs::read(bundle.transcript_path()).unwrap(), line.to_bytes(), b"\n".to_vec()].concat();
        let broken = Transcript::parse(&bytes).unwrap_err().to_string();
        assert_eq!(broken, "line 6: the clock went backwards before it");
    }
    #[test]
    fn who_resumes_with_an_earlier_clock_has_to_know_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bundle");
        let bundle = Bundle::create(&path, &Answers::example().to_toml()).unwrap();
        let begin = Begin::new("test");
        drop(Journal::begin_with(&bundle, begin, || "2999-01-31T08:15:00.000000Z".into()).unwrap());
        let before = std::fs::read(bundle.transcript_path()).unwrap();
        // With a torn end, which stays where nothing is decided.
        let torn = [&before[..], b"{\"seq\":2"].concat();
        std::fs::write(bundle.transcript_path(), &torn).unwrap();
        let error = Journal::resume(&bundle, "test", None).unwrap_err();
        assert!(error.to_string().starts_with("the clock went backwards: it is 20"), "{error}");
        assert_eq!(std::fs::read(bundle.transcript_path()).unwrap(), torn);
        let olga = "olga".parse().unwrap();
        let journal = Journal::resume(&bundle, "test", Some(("the battery was empty", &olga))).unwrap();
        let entries: Vec<_> = journal.lines().iter().map(|line| &line.entry).collect();
        assert!(matches!(
            entries[1..],
            [Entry::Clock { was, .. }, Entry::Resumed { torn_bytes: 8, .. }] if was.starts_with("2999")
        ));
    }
}
