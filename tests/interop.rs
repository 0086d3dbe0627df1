//! Keyward against the world outside: an independent Python reads what it writes and writes what it
//! reads, and the shell scripts of the SoftHSM harness do what they say.
#![cfg(all(unix, feature = "cli"))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const KEYWARD: &str = env!("CARGO_BIN_EXE_keyward");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A command inside `softhsm/with`, free of what the surroundings say about tokens.
fn with_token(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(root().join("softhsm/with"));
    command.arg(program.as_ref()).stdin(Stdio::null());
    for name in ["KEYWARD_TOKEN", "KEYWARD_CONFIG", "KEYWARD_PIN", "SOFTHSM2_CONF"] {
        command.env_remove(name);
    }
    command
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = run(command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    out.into_owned()
}

/// The Python that has `tests/interop/requirements.txt`.
fn python() -> PathBuf {
    let python = match std::env::var_os("KEYWARD_TEST_PYTHON") {
        Some(path) => PathBuf::from(path),
        None => root().join(".venv/bin/python"),
    };
    assert!(python.exists(), "no {}: run ci/test, which makes it", python.display());
    python
}

#[test]
fn keyward_and_python_read_each_other() {
    succeeds(with_token(root().join("tests/interop/run.sh")).arg(KEYWARD).arg(python()));
}

#[test]
fn the_demo_runs_and_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("a file.txt");
    std::fs::write(&file, "hello").unwrap();
    let temporary = scratch.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();

    let demo = root().join("softhsm/demo");
    let shown = succeeds(Command::new(demo).arg(&file).env("KEYWARD", KEYWARD).env("TMPDIR", &temporary));

    assert!(shown.lines().last().unwrap().starts_with("All is well"), "{shown}");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 2);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "hello");
}

#[test]
fn with_passes_the_status_on_and_removes_its_directory() {
    let scratch = tempfile::tempdir().unwrap();
    // A directory that the URI has to percent-encode.
    let temporary = scratch.path().join("a b%c");
    std::fs::create_dir(&temporary).unwrap();

    let mut command = with_token("sh");
    let output = run(command.args(["-c", r#"ls "$KEYWARD_TEST_DIR/tokens"; exit 7"#]).env("TMPDIR", &temporary));

    assert_eq!(output.status.code(), Some(7));
    assert!(!output.stdout.is_empty(), "no token was made");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
}

#[test]
fn with_gives_keyward_its_token() {
    let scratch = tempfile::tempdir().unwrap();
    let temporary = scratch.path().join("a b%c");
    std::fs::create_dir(&temporary).unwrap();
    succeeds(with_token(KEYWARD).args(["key", "list"]).env("TMPDIR", &temporary));
}

#[test]
fn with_needs_a_command() {
    let output = run(Command::new(root().join("softhsm/with")).stdin(Stdio::null()));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("usage:"));
}

#[test]
fn the_page_on_testing_shows_the_files_that_are_tested() {
    let page = std::fs::read_to_string(root().join("docs/testing.md")).unwrap();
    for file in [".cargo/config.toml", "softhsm2.conf"] {
        let text = std::fs::read_to_string(root().join("tests/linked").join(file)).unwrap();
        assert!(page.contains(&format!("\n{text}```\n")), "docs/testing.md has another {file}");
    }
}
