//! Sixteen threads at work while the token goes away and comes back, again and again. Bounded; set
//! `KEYWARD_SOAK_SECONDS` for longer runs. Each soak runs in a process of its own, because modules are
//! configured by the environment and start anew. Run under `softhsm/with`, after
//! `cargo build -p keyward-fault`.
#[path = "../faults/faulty.rs"]
#[allow(dead_code, reason = "what other tests need of it")]
mod faulty;
mod load;
mod p11_kit;
mod script;
mod siblings;

use std::process::Command;
use std::time::Duration;

/// How long one soak takes.
fn seconds() -> Duration {
    Duration::from_secs(std::env::var("KEYWARD_SOAK_SECONDS").map_or(20, |n| n.parse().unwrap()))
}

/// Runs an ignored test in a process of its own, and shows what it tells.
fn run_alone(test: &str, environment: &[(&str, &std::path::Path)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    text.lines().filter(|line| line.starts_with("soak:")).for_each(|line| println!("{line}"));
}
