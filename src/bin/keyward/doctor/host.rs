//! The host: its clock, where memory may end up, and where the PIN lies.

use super::check::Check;
use super::files;
use crate::app::App;
use crate::key::listing::date;
use rustix::process::{Resource, getrlimit};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Before Keyward was written, and long after.
const YEARS: std::ops::Range<u64> = 1_735_689_600..4_102_444_800; // 2025 to 2099
/// Room for some thousand data keys at once.
const LOCKED: u64 = 64 * 1024;

pub(super) fn look_at(app: &App) -> anyhow::Result<Vec<Check>> {
    let uris = app.uris()?;
    let mut checks = vec![clock(SystemTime::now()), core_dumps(), swap(), locked_memory()];
    let pin_in_uri = uris.iter().any(keyward::token::TokenUri::has_pin_value);
    if let Some(path) = app.config_path() {
        // One that is named on the command line does not stand in the file.
        checks.push(files::config(path, pin_in_uri && app.tokens_are_of_the_file()));
    }
    checks.extend(app.config().policy.iter().flat_map(|path| files::policies(path)));
    checks.extend(audit_log(app));
    let remedy = "write it into a file of mode 0600, and name that with pin-source in the token URI";
    if pin_in_uri {
        let text = "it stands in the token URI as pin-value: command lines and environments are easily seen";
        checks.push(Check::warning("pin-value", text, remedy));
    }
    if crate::pin::from_environment().is_some() {
        let text = "it stands in KEYWARD_PIN: this user's other processes can read that in /proc";
        checks.push(Check::warning("pin-env", text, remedy));
    }
    Ok(checks)
}

/// What the audit log is worth as it is configured.
fn audit_log(app: &App) -> Option<Check> {
    const NAME: &str = "audit-log";
    let audit = app.config().audit.as_ref()?;
    let log = audit.log.display();
    if !audit.sign {
        let text = format!(
            "'{log}' is not signed: its chain shows accidents alone, and any process that can write the file can write any log"
        );
        return Some(Check::warning(
            NAME,
            text,
            "`keyward audit init`, and remove sign = false from the table [audit]",
        ));
    }
    Some(match app.log_name() {
        Ok(name) => Check::ok(NAME, format!("'{log}', named '{name}', signed and anchored on the token")),
        Err(error) => Check::failure(NAME, error.to_string(), "set name in the table [audit]"),
    })
}

fn clock(now: SystemTime) -> Check {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let text =
        date(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap_or_else(|| "a time that cannot be written".to_owned());
    match YEARS.contains(&seconds) {
        true => Check::ok("clock", text),
        false => Check::failure(
            "clock",
            format!("it is {text} by this host's clock"),
            "set the clock: rotation and scheduled destruction go by it",
        ),
    }
}

/// This process has switched them off for itself, at its start.
fn core_dumps() -> Check {
    let limit = getrlimit(Resource::Core).current;
    let off = limit == Some(0);
    #[cfg(target_os = "linux")]
    let off = off
        && rustix::process::dumpable_behavior().is_ok_and(|is| is == rustix::process::DumpableBehavior::NotDumpable);
    if off {
        let text = "off for this command; programs that link the library switch them off themselves";
        return Check::ok("core-dumps", text);
    }
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    Check::warning(
        "core-dumps",
        format!("they cannot be switched off here, and go to '{}'", pattern.trim()),
        "set the hard limit to nothing: ulimit -Hc 0",
    )
}

fn swap() -> Check {
    let swaps = std::fs::read_to_string("/proc/swaps");
    let remedy = "encrypt swap, or switch it off; plaintext buffers may be swapped out, data keys are locked in memory";
    match swaps.as_deref().map(areas) {
        Ok(areas) if areas.is_empty() => Check::ok("swap", "off"),
        Ok(areas) => {
            let text = format!("on: {}; whether it is encrypted cannot be told from here", areas.join(", "));
            Check::warning("swap", text, remedy)
        }
        Err(_) => Check::warning("swap", "whether it is on cannot be told on this system", remedy),
    }
}

/// The names in `/proc/swaps`, below its heading.
fn areas(swaps: &str) -> Vec<&str> {
    swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect()
}

fn locked_memory() -> Check {
    match getrlimit(Resource::Memlock).current {
        None => Check::ok("locked-memory", "no limit"),
        Some(limit) if limit >= LOCKED => Check::ok("locked-memory", format!("at most {} KiB", limit / 1024)),
        Some(limit) => Check::warning(
            "locked-memory",
            format!("at most {} KiB: data keys may be swapped out", limit / 1024),
            "raise it to 64 KiB at least: ulimit -l 64, or LimitMEMLOCK=64K in a systemd unit",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::*;

    #[test]
    fn clocks() {
        let at = |seconds| clock(UNIX_EPOCH + Duration::from_secs(seconds)).status;
        assert_eq!(
            [0, 1_735_689_599, 1_735_689_600, 4_102_444_800].map(at),
            [Status::Failure, Status::Failure, Status::Ok, Status::Failure]
        );
    }

    #[test]
    fn swap_areas() {
        assert_eq!(areas("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"), Vec::<&str>::new());
        assert_eq!(
            areas("Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n/swap file 1 0 -3\n"),
            ["/dev/sda2", "/swap"]
        );
    }
}
