//! `keyward rewrap`: files under another master key, or another version, without touching their bodies.

use crate::app::{App, Provider, Wants};
use crate::args::ContextArgs;
use crate::cache::CacheArgs;
use crate::files::cannot;
use crate::headers::is_envelope;
use crate::many::tree::Origin;
use crate::many::{Did, Job, Lines, ManyArgs, Naming, Needs, Plan, Run, Skip, Unit};
use crate::output::{print, print_line};
use crate::report;
use clap::Args;
use keyward::durable::Location;
use keyward::envelope::{Rewrap as Rewrapper, RewrapOutcome};
use keyward::{EncryptionContext, KeyName};
use std::path::{Path, PathBuf};

/// Which files, and which keys open them.
#[derive(Debug, Args)]
pub(crate) struct Sources {
    /// Only this master key may open the files; needed for RSA keys; repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    from_key: Vec<KeyName>,
    #[command(flatten)]
    context: ContextArgs,
    /// Accept whatever context a file has; so it is where no --context is given
    #[arg(long, conflicts_with = "pairs")]
    any_context: bool,
    /// Assert that you know who wrote files that an RSA key opens, and move them under a symmetric key
    #[arg(long)]
    pub(crate) danger_assert_origin: bool,
    /// The files; with -r, directories too
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) many: ManyArgs,
}

impl Sources {
    /// The provider, which may use `targets` as well.
    pub(crate) fn provider(&self, app: &App, targets: &[KeyName], cache: CacheArgs) -> keyward::Result<Provider> {
        let names = match self.from_key.as_slice() {
            [] => Vec::new(),
            from => from.iter().chain(targets).cloned().collect(),
        };
        for name in targets {
            app.check_allowed(name)?;
        }
        app.provider_for(Wants { keys: &names, cache })
    }

    /// The context that the caller expects, where it expects one.
    pub(crate) fn expected(&self) -> keyward::Result<Option<EncryptionContext>> {
        self.context.is_given().then(|| self.context.to_context()).transpose()
    }

    /// The one file, where it is one.
    pub(crate) fn single(&self) -> Option<&Path> {
        match self.files.as_slice() {
            [one] if !self.many.recursive && !self.many.json => Some(one),
            _ => None,
        }
    }

    /// All files, each once.
    pub(crate) fn plan(&self) -> keyward::Result<Plan> {
        Plan::new(&self.files, &self.many, Naming::Same, None)
    }

    /// How they are worked on. What becomes of each is said where they were named one by one.
    pub(crate) fn run<'a>(&'a self, app: &'a App, unit: Unit) -> Run<'a> {
        let one_by_one = !self.many.recursive && !self.many.json && !app.quiet();
        let lines = if one_by_one { Lines::Output } else { Lines::Nowhere };
        Run { app, args: &self.many, unit, lines, lasting: |_| false }
    }
}

/// Whether a file was found in a directory and is no envelope: then it is none of ours.
pub(crate) fn is_no_envelope(job: &Job) -> anyhow::Result<bool> {
    if job.is_named() {
        return Ok(false);
    }
    let is_envelope = is_envelope(job.open()?.file());
    Ok(!is_envelope.map_err(|error| cannot("read", &job.input.path(), error))?)
}

/// Works on a single file, says what became of it, and gives the exit status.
pub(crate) fn alone(app: &App, path: &Path, work: impl FnOnce(&Path) -> anyhow::Result<String>) -> anyhow::Result<u8> {
    let name = path.display().to_string();
    match work(path) {
        Ok(_) if app.quiet() => {}
        Ok(told) => print_line(&format!("{name}: {told}"))?,
        Err(error) => {
            let named = error.to_string().contains(&format!("'{name}'"));
            return Ok(report::failure(&if named { error } else { error.context(name) }));
        }
    }
    Ok(0)
}

/// Move files to the current version of a master key, without touching their bodies
///
/// It takes the same time for small files and large ones, and shows nobody the plaintext. Files are changed in
/// place; at every instant they can be opened. Whoever kept the old file can still open that with the old key:
/// reencrypt is for keys that are no longer trusted.
///
/// With -r, what is no envelope is left alone, and at the end is told which older versions the files still need.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keyward key rotate payments && keyward rewrap --key payments *.kw
  keyward rewrap --key payments -r /srv/files
  keyward rewrap --key archive --context tenant=acme report.pdf.kw
  keyward rewrap --from-key mailbox --key payments --danger-assert-origin letter.kw")]
pub(crate) struct Rewrap {
    /// The master key to move to; the current version of the file's own where none is named
    #[arg(long, short, value_name = "NAME")]
    key: Option<KeyName>,
    /// Write a copy and rename it, instead of changing the file in place
    #[arg(long)]
    copy: bool,
    #[command(flatten)]
    sources: Sources,
}

impl Rewrap {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<u8> {
        let expected = self.sources.expected()?;
        let single = self.sources.single();
        let plan = if single.is_none() { Some(self.sources.plan()?) } else { None };
        let provider = self.sources.provider(app, self.key.as_slice(), CacheArgs::default())?;
        let mut rewrap = Rewrapper::new(&provider).copy(self.copy);
        rewrap = match &expected {
            Some(context) => rewrap.context(context.clone()),
            None => rewrap.any_context(),
        };
        if let Some(name) = &self.key {
            rewrap = rewrap.to(name);
        }
        if self.sources.danger_assert_origin {
            rewrap = rewrap.danger_assert_origin();
        }
        let work = |location: &Location| {
            Ok(match rewrap.at(location)? {
                RewrapOutcome::Unchanged => Did::Already("up to date".into()),
                RewrapOutcome::Rewrapped { generation, .. } => {
                    Did::Changed(format!("rewrapped, generation {generation}"))
                }
            })
        };
        let Some(plan) = plan else {
            return alone(app, single.unwrap_or(Path::new("")), |path| {
                Ok(work(&Origin::Named(path.to_owned()).location()?)?.line())
            });
        };

        let needs = Needs::default();
        let summary = self.sources.run(app, Unit::Files).work(plan, |job, _| {
            if is_no_envelope(job)? {
                return Ok(Did::Skipped(Skip::NoEnvelope));
            }
            let answer = job.location().map_err(Into::into).and_then(|location| work(&location));
            // Also if it failed: then it still needs what it needed.
            needs.see(job.open());
            answer
        })?;
        let needed = needs.resolve(&*provider, self.key.as_ref());
        let many = &self.sources.many;
        if many.recursive && !many.json && !app.quiet() {
            print(&needed.lines().into_iter().map(|line| line + "\n").collect::<String>())?;
        }
        summary.with_needs(needed.to_json()).tell(app, many.json)
    }
}
