//! Ctrl-C and the other signals that end a program: no temporary file stays behind.

use crate::many::interrupt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// Removes what is half written, and then ends the program as the signal would have. Where signals
/// cannot be waited for, they do what they always do.
pub(crate) fn clean_up_on_termination() {
    let ignored = ignored();
    let wanted = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let Ok(mut signals) = Signals::new(wanted) else { return };
    let wait = move || {
        for signal in &mut signals {
            // First of all: a share of a PIN may be on the screen.
            crate::ceremony::restore();
            interrupt::end_run();
            keyward::durable::remove_temporaries();
            crate::object::upload::give_all_up();
            interrupt::tell();
            // By the signal itself, so that a shell sees it and restores its terminal.
            let _ = emulate_default_handler(signal);
        }
    };
    let _ = std::thread::Builder::new().name("signals".into()).spawn(wait);
}

/// The signals that whoever started this program had it ignore, a bit for each: `nohup` does.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
