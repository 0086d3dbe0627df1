//! Where the bytes come from and where they go: files, pipes, devices, standard input and output.

use crate::app::App;
use crate::many::{ManyArgs, Naming, Plan};
use clap::Args;
use keyward::durable::{AtomicFile, Replace, creation_mode};
use keyward::{Error, ErrorKind};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// `[IN]… [-o OUT | --output-dir DIR] [--force]`.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// The files to read; standard input where it is - or none is given
    #[arg(value_name = "IN")]
    inputs: Vec<PathBuf>,
    /// The file to write, of a single one; standard output where it is - or not given
    #[arg(long, short, value_name = "OUT", conflicts_with_all = ["output_dir", "recursive"])]
    output: Option<PathBuf>,
    /// Write below this directory, which is made where it is missing; beside each file where not given
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Replace outputs that exist
    #[arg(long, short)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) many: ManyArgs,
}

/// What a command line asks for.
pub(crate) enum Task {
    /// One input and one output, each a file or a stream.
    One(Input, Output),
    /// Files, each with an output of its own.
    Many(Plan),
}

pub(crate) enum Input {
    Stdin,
    /// A pipe or a device, which can only be read from front to back.
    Stream(PathBuf),
    File(PathBuf),
}

pub(crate) enum Output {
    Stdout,
    /// A file, or with --force a pipe or a device, which is written into and not replaced.
    File(PathBuf, Replace),
}

/// The mode of a new file with plaintext or keys whose source has no mode: its owner's alone.
pub(crate) const PRIVATE_MODE: u32 = 0o600;

impl FileArgs {
    /// What is to be done. Whatever is wrong with it is told before any work is done.
    pub(crate) fn task(&self, app: &App, naming: Naming) -> anyhow::Result<Task> {
        let wrong = |message: &'static str, hint: &'static str| {
            Err(Error::new(ErrorKind::InvalidArgument, message).with_hint(hint).into())
        };
        if self.inputs.len() < 2 && !self.many.recursive && self.output_dir.is_none() {
            if self.many.json {
                return wrong("--json is for several files", "leave it away, or add --output-dir");
            }
            let output = if naming == Naming::Encrypted { self.binary_output()? } else { self.output()? };
            return Ok(Task::One(self.input(app)?, output));
        }
        if self.output.is_some() {
            return wrong("-o names one output, and there are several inputs", "name a directory with --output-dir");
        }
        if self.inputs.is_empty() {
            return wrong("no file is named", "name files, or with -r directories");
        }
        if self.inputs.iter().any(|path| path == Path::new("-")) {
            return wrong("standard input cannot be one of several files", "write ./- for a file of that name");
        }
        Ok(Task::Many(Plan::new(&self.inputs, &self.many, naming, self.output_dir.as_deref())?))
    }

    fn input(&self, app: &App) -> anyhow::Result<Input> {
        let input = Input::of(self.inputs.first().map(PathBuf::as_path))?;
        if matches!(input, Input::Stdin) && io::stdin().is_terminal() {
            app.note("reading from the terminal; end with Ctrl-D");
        }
        Ok(input)
    }

    /// Where the result goes. That it exists already is told before any work is done; when it gets
    /// its name, that is checked again.
    fn output(&self) -> anyhow::Result<Output> {
        Output::of(self.output.as_deref(), self.force)
    }

    /// The same for bytes that nobody can read, which do not go to a terminal unless `-o -` says so.
    fn binary_output(&self) -> anyhow::Result<Output> {
        if self.output.is_none() && io::stdout().is_terminal() {
            return Err(Error::new(ErrorKind::InvalidArgument, "not writing encrypted bytes to the terminal")
                .with_hint("name a file with -o OUT, or insist with -o -")
                .into());
        }
        self.output()
    }
}

impl Input {
    pub(crate) fn of(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else { return Ok(Self::Stdin) };
        let meta = path.metadata().map_err(|error| cannot("open", path, error))?;
        if meta.is_dir() {
            return Err(Error::new(ErrorKind::Io, format!("'{}' is a directory", path.display())).into());
        }
        Ok(if meta.is_file() { Self::File(path.into()) } else { Self::Stream(path.into()) })
    }

    /// Reads from front to back. A failed read names the input.
    pub(crate) fn reader(&self) -> keyward::Result<Source> {
        match self {
            // Past the buffer of `io::stdin`, which nobody wipes.
            Self::Stdin => {
                let name = "standard input".to_owned();
                let fd = io::stdin().as_fd().try_clone_to_owned().map_err(|error| reading(&name, error))?;
                Ok(Source(fd.into(), name))
            }
            Self::Stream(path) | Self::File(path) => {
                let file = File::open(path).map_err(|error| cannot("open", path, error))?;
                Ok(Source(file, format!("'{}'", path.display())))
            }
        }
    }

    /// The path of a file that can be sought in.
    pub(crate) fn seekable(&self, what: &str) -> keyward::Result<&Path> {
        match self {
            Self::File(path) => Ok(path),
            _ => Err(Error::new(ErrorKind::InvalidArgument, format!("{what} needs a file, not a stream"))
                .with_hint("name the file instead of piping it in")),
        }
    }
}

impl Output {
    pub(crate) fn of(path: Option<&Path>, force: bool) -> anyhow::Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else { return Ok(Self::Stdout) };
        match path.metadata() {
            Ok(meta) if meta.is_dir() => {
                Err(Error::new(ErrorKind::Io, format!("'{}' is a directory", path.display())).into())
            }
            Ok(meta) if !force => {
                let path = path.display();
                let error = |message| Error::new(ErrorKind::OutputExists, message);
                Err(match meta.is_file() {
                    true => error(format!("'{path}' exists already")),
                    false => error(format!("'{path}' exists already, and is not a regular file"))
                        .with_hint("use --force to write into it"),
                }
                .into())
            }
            _ => Ok(Self::File(path.into(), if force { Replace::Yes } else { Replace::No })),
        }
    }

    /// Opens it; a new file gets this mode, less the umask.
    pub(crate) fn open(&self, mode: u32) -> keyward::Result<Sink> {
        match self {
            // Past the buffer of `io::stdout`, which nobody wipes.
            Self::Stdout => {
                let fd = io::stdout().as_fd().try_clone_to_owned();
                Ok(Sink::Stdout(fd.map_err(writing)?.into()))
            }
            Self::File(path, replace) => Ok(Sink::File(AtomicFile::create_with(path, *replace, mode)?)),
        }
    }
}

/// An input that is open, and names itself where reading fails.
pub(crate) struct Source(File, String);

impl Source {
    /// Returns the permissions for a new file that is made from it, or `None` if it is no regular file.
    pub(crate) fn creation_mode(&self) -> keyward::Result<Option<u32>> {
        let failed = |error| reading(&self.1, error);
        let is_file = self.0.metadata().map_err(failed)?.is_file();
        is_file.then(|| creation_mode(&self.0).map_err(failed)).transpose()
    }
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => reading(&self.1, error).into(),
        })
    }
}

/// An output that is open, and names itself where writing fails. A file has its name only after
/// [`finish`](Self::finish).
pub(crate) enum Sink {
    Stdout(File),
    File(AtomicFile),
}

impl Sink {
    pub(crate) fn finish(self) -> keyward::Result<()> {
        match self {
            Self::Stdout(_) => Ok(()),
            Self::File(file) => file.commit(),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(file) => file.write(buf).map_err(|error| match error.kind() {
                io::ErrorKind::Interrupted => error,
                _ => writing(error).into(),
            }),
            Self::File(file) => file.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(file) => file.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

pub(crate) fn cannot(what: &str, path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot {what} '{}'", path.display())).with_source(error)
}

fn reading(name: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot read {name}")).with_source(error)
}

fn writing(error: io::Error) -> Error {
    Error::new(ErrorKind::Io, "cannot write standard output").with_source(error)
}
