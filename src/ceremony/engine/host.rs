//! The host: which program runs, with which modules, and what of its memory may reach a disk or a network.

use super::{Ended, Engine, Venue};
use crate::ceremony::entry::{Decision, Fact, ModuleFact};
use crate::ceremony::file_hash;
use crate::ceremony::room::{News, Ruling};
use crate::ceremony::step::StepKind;
use crate::ceremony::transcript::Transcript;
use crate::ceremony::verify::facts::problems;
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Engine<'_> {
    pub(super) fn check_host(&mut self) -> Result<Vec<Fact>> {
        let mut paths: Vec<&Path> = match &self.venue {
            Venue::Rehearsal { module } => vec![module],
            Venue::Tokens => self.plan.tokens.iter().map(|token| token.module.as_path()).collect(),
        };
        paths.sort();
        paths.dedup();
        let module =
            |path: &&Path| Ok(ModuleFact { path: path.to_string_lossy().into_owned(), sha256: file_hash(path)? });
        let host = Fact::Host {
            tool_sha256: file_hash(&running_program()?)?,
            modules: paths.iter().map(module).collect::<Result<_>>()?,
            swap: has_swap(),
            core_dumps: may_dump_core(),
            network: is_on_a_network(),
        };
        Ok(vec![host, Fact::Libraries { files: mapped_libraries()? }])
    }

    /// The libraries that came with a module, which are loaded after the host was checked; none where none came.
    pub(super) fn new_libraries(&self) -> Result<Option<Fact>> {
        let progress = self.journal.progress();
        let recorded: BTreeSet<&ModuleFact> = self
            .steps
            .iter()
            .filter_map(|step| progress.done(&step.id))
            .flat_map(|done| &done.facts)
            .flat_map(|fact| match fact {
                Fact::Libraries { files } => files.as_slice(),
                _ => &[],
            })
            .collect();
        let mut files = mapped_libraries()?;
        files.retain(|file| !recorded.contains(file));
        Ok((!files.is_empty()).then_some(Fact::Libraries { files }))
    }

    /// The same where another process did it: what runs now must be what the plan says as well.
    pub(super) fn check_host_again(&mut self) -> Result<Option<Ended>> {
        let steps = std::sync::Arc::clone(&self.steps);
        let Some(step) = steps.iter().find(|step| step.kind == StepKind::CheckHost) else { return Ok(None) };
        loop {
            let facts = self.check_host()?;
            let problems = problems(&self.plan, &Transcript::from(&self.journal), &steps, step, &facts);
            if problems.is_empty() {
                return Ok(None);
            }
            self.room.tell(&News::Seen(&facts));
            let error = Error::new(ErrorKind::ModuleUnavailable, problems.join("; "));
            match self.accept(step, &error)? {
                None => return Ok(None),
                Some(Ruling::Again) => {}
                Some(Ruling::Stop { by, reason }) => {
                    let expected = step.expect.join("; ");
                    self.exception(&step.id, &expected, &error, Decision::Stopped, (&reason, &by))?;
                    return Ok(Some(Ended::Stopped));
                }
                Some(_) => return Err(error),
            }
        }
    }
}

/// The file of the program that runs, which on Linux is the one that was started even where another has taken its place.
fn running_program() -> Result<PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    std::env::current_exe().map_err(|error| Error::io("this program cannot be found for its hash", error))
}

/// The files with code that are mapped into this process, but for the program: shared libraries, and whatever else a
/// loader was made to put there.
fn mapped_libraries() -> Result<Vec<ModuleFact>> {
    if cfg!(not(target_os = "linux")) {
        return Ok(Vec::new());
    }
    let failed = |error| Error::io("the libraries of this program cannot be listed", error);
    let program = fs::read_link("/proc/self/exe").map_err(failed)?;
    let maps = fs::read("/proc/self/maps").map_err(failed)?;
    let paths: BTreeSet<&Path> = maps.split(|byte| *byte == b'\n').filter_map(mapped_file).collect();
    let others = paths.into_iter().filter(|path| *path != program);
    others.map(|path| Ok(ModuleFact { path: path.to_string_lossy().into_owned(), sha256: file_hash(path)? })).collect()
}

/// The file of a line of `proc_pid_maps(5)`, where code of it may run: `START-END PERMISSIONS OFFSET DEVICE INODE PATH`.
fn mapped_file(line: &[u8]) -> Option<&Path> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let permissions = fields.nth(1)?;
    let path = fields.nth(3)?.trim_ascii_start();
    let is_code = permissions.contains(&b'x') && path.starts_with(b"/");
    is_code.then(|| Path::new(OsStr::from_bytes(path)))
}

/// What cannot be told counts as the worse.
fn has_swap() -> bool {
    fs::read_to_string("/proc/swaps").map_or(true, |table| table.lines().count() > 1)
}

fn may_dump_core() -> bool {
    // Where cores go to a program, the limit does not count (core(5)); whether the process may be dumped does.
    #[cfg(target_os = "linux")]
    if let Ok(behavior) = rustix::process::dumpable_behavior() {
        return behavior != rustix::process::DumpableBehavior::NotDumpable;
    }
    rustix::process::getrlimit(rustix::process::Resource::Core).current != Some(0)
}

/// Whether an interface other than the loopback is up (`IFF_UP`).
fn is_on_a_network() -> bool {
    const IFF_UP: u32 = 1;
    const IFF_LOOPBACK: u32 = 8;
    let Ok(interfaces) = fs::read_dir("/sys/class/net") else { return true };
    interfaces.flatten().any(|interface| {
        // Some things that lie there are no interfaces.
        let Ok(flags) = fs::read_to_string(interface.path().join("flags")) else { return false };
        let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).unwrap_or(IFF_UP);
        flags & IFF_UP != 0 && flags & IFF_LOOPBACK == 0
    })
}
