//! Where the bytes come from and where they go: files, pipes, devices, standard input and output.

use crate::app::App;
use clap::Args;
use keyward::durable::{AtomicFile, Replace};
use keyward::{Error, ErrorKind};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// `[IN] [-o OUT] [--force]`.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// The file to read; standard input where it is - or not given
    #[arg(value_name = "IN")]
    input: Option<PathBuf>,
    /// The file to write; standard output where it is - or not given
    #[arg(long, short, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Replace OUT where it exists
    #[arg(long, short)]
    force: bool,
}

pub(crate) enum Input {
    Stdin,
    /// A pipe or a device, which can only be read from front to back.
    Stream(PathBuf),
    File(PathBuf),
}

pub(crate) enum Output {
    Stdout,
    /// A pipe or a device, which is written into and not replaced.
    Stream(PathBuf),
    File(PathBuf, Replace),
}

impl FileArgs {
    pub(crate) fn input(&self, app: &App) -> anyhow::Result<Input> {
        let input = Input::of(self.input.as_deref())?;
        if matches!(input, Input::Stdin) && io::stdin().is_terminal() {
            app.note("reading from the terminal; end with Ctrl-D");
        }
        Ok(input)
    }

    /// Where the result goes. That it exists already is told before any work is done; when it gets
    /// its name, that is checked again.
    pub(crate) fn output(&self) -> anyhow::Result<Output> {
        let Some(path) = self.output.as_deref().filter(|path| *path != Path::new("-")) else {
            return Ok(Output::Stdout);
        };
        match path.metadata() {
            Ok(meta) if meta.is_dir() => {
                Err(Error::new(ErrorKind::Io, format!("'{}' is a directory", path.display())).into())
            }
            Ok(meta) if !meta.is_file() => Ok(Output::Stream(path.into())),
            Ok(_) if !self.force => {
                Err(Error::new(ErrorKind::OutputExists, format!("'{}' exists already", path.display())).into())
            }
            _ => Ok(Output::File(path.into(), if self.force { Replace::Yes } else { Replace::No })),
        }
    }

    /// The same for bytes that nobody can read, which do not go to a terminal unless `-o -` says so.
    pub(crate) fn binary_output(&self) -> anyhow::Result<Output> {
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
    pub(crate) fn open(&self) -> keyward::Result<Sink> {
        match self {
            // Past the buffer of `io::stdout`, which nobody wipes.
            Self::Stdout => {
                let fd = io::stdout().as_fd().try_clone_to_owned();
                let fd = fd.map_err(|error| writing(&self.name(), error))?;
                Ok(Sink::Stream(fd.into(), self.name()))
            }
            Self::Stream(path) => {
                let file = File::options().write(true).open(path).map_err(|error| cannot("open", path, error))?;
                Ok(Sink::Stream(file, self.name()))
            }
            Self::File(path, replace) => Ok(Sink::File(AtomicFile::create(path, *replace)?)),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Stdout => "standard output".into(),
            Self::Stream(path) | Self::File(path, _) => format!("'{}'", path.display()),
        }
    }
}

/// An input that is open, and names itself where reading fails.
pub(crate) struct Source(File, String);

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
    Stream(File, String),
    File(AtomicFile),
}

impl Sink {
    pub(crate) fn finish(self) -> keyward::Result<()> {
        match self {
            Self::Stream(..) => Ok(()),
            Self::File(file) => file.commit(),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(file, name) => file.write(buf).map_err(|error| match error.kind() {
                io::ErrorKind::Interrupted => error,
                _ => writing(name, error).into(),
            }),
            Self::File(file) => file.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(file, _) => file.flush(),
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

fn writing(name: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot write {name}")).with_source(error)
}
