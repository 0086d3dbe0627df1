//! Many files in one run: found, worked on in parallel, told of at the end. A run that was cut short
//! can be run again, and what was done is not done twice.

pub(crate) mod already;
mod bar;
mod descriptors;
pub(crate) mod interrupt;
mod needs;
mod outputs;
mod run;
mod summary;
pub(crate) mod tree;
mod walk;

pub(crate) use self::bar::Unit;
pub(crate) use self::needs::Needs;
pub(crate) use self::outputs::{Job, Naming, has_suffix};
pub(crate) use self::run::{Did, Lines, Run, lasting};
pub(crate) use self::summary::{Skip, files, grouped};
pub(crate) use self::walk::{Found, Item, find};

use crate::app::App;
use clap::Args;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// `[-r] [--jobs N] [--json]`.
#[derive(Debug, Args)]
pub(crate) struct ManyArgs {
    /// Take directories too, with all that is in them; symbolic links there are not followed
    #[arg(long, short)]
    pub(crate) recursive: bool,
    /// How many files to work on at once; as many as sessions, at most 16, where not given
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Print what became of several files as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// So many files at once where nobody says.
const MOST_JOBS: usize = 16;

impl ManyArgs {
    fn jobs(&self, app: &App) -> usize {
        let sessions = || app.config().max_sessions.map_or(MOST_JOBS, |max| max.get().min(MOST_JOBS));
        self.jobs.map_or_else(sessions, NonZeroUsize::get)
    }
}

/// The files of a run, each with its output, before anything is written.
pub(crate) struct Plan {
    pub(crate) found: Found,
    pub(crate) jobs: Vec<Job>,
    directory: Option<PathBuf>,
}

impl Plan {
    /// # Errors
    /// `InvalidArgument` where two files have one output.
    pub(crate) fn new(
        inputs: &[PathBuf],
        args: &ManyArgs,
        naming: Naming,
        directory: Option<&Path>,
    ) -> keyward::Result<Self> {
        let mut found = find(inputs, args.recursive, directory);
        let jobs = outputs::assign(&mut found, naming, directory)?;
        Ok(Self { found, jobs, directory: directory.map(Path::to_owned) })
    }

    /// Makes the directories that the outputs go to, removes what killed runs left there, and returns how many files
    /// that were.
    fn prepare(&mut self) -> keyward::Result<u64> {
        outputs::open_directories(&self.found, &mut self.jobs, self.directory.as_deref())?;
        let removed = outputs::remove_leftovers(&self.jobs, &self.found.handles);
        let left = self.found.temporaries.iter().filter(|origin| !removed.contains(&origin.path())).count();
        (0..left).for_each(|_| self.found.skipped.add(Skip::Temporary));
        Ok(removed.len() as u64)
    }
}
