//! A fresh SoftHSM token and an empty directory, and the binary run with both.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

pub(crate) const KEYWARD: &str = env!("CARGO_BIN_EXE_keyward");
pub(crate) const PIN: &str = "4711-user";
const SO_PIN: &str = "0815-officer";

pub(crate) struct Bench {
    dir: TempDir,
    pub(crate) module: PathBuf,
    /// Names the token, with its PIN file.
    pub(crate) uri: String,
}

/// SoftHSM's module, where `KEYWARD_TEST_MODULE` says or in a usual place.
pub(crate) fn module() -> PathBuf {
    if let Some(path) = std::env::var_os("KEYWARD_TEST_MODULE") {
        return path.into();
    }
    let usual = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    ];
    let found = usual.iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("SoftHSM is missing; install it or set KEYWARD_TEST_MODULE")
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let module = module();
        fs::create_dir(dir.path().join("tokens")).unwrap();
        fs::create_dir(dir.path().join("work")).unwrap();
        let conf = format!("directories.tokendir = {}\nlog.level = ERROR\n", dir.path().join("tokens").display());
        fs::write(dir.path().join("softhsm2.conf"), conf).unwrap();
        let pin_file = dir.path().join("pin");
        fs::write(&pin_file, PIN).unwrap();
        private(&pin_file);
        let uri = format!("pkcs11:token=bench?module-path={}&pin-source=file:{}", module.display(), pin_file.display());
        let bench = Self { dir, module, uri };
        bench.init_token("bench");
        bench
    }

    /// Makes another token.
    pub(crate) fn init_token(&self, label: &str) {
        let mut command = self.command("softhsm2-util");
        command.args(["--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", PIN]);
        command.arg("--module").arg(&self.module);
        let output = command.output().expect("softhsm2-util is missing; install SoftHSM");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A URI without a PIN.
    pub(crate) fn uri_without_pin(&self) -> String {
        format!("pkcs11:token=bench?module-path={}", self.module.display())
    }

    /// A program in the working directory that sees this token and nothing of the surroundings.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KEYWARD_") {
                command.env_remove(name);
            }
        }
        command.current_dir(self.work()).stdin(Stdio::null());
        command.env("SOFTHSM2_CONF", self.dir.path().join("softhsm2.conf")).env("LC_ALL", "C.UTF-8");
        command
    }

    pub(crate) fn keyward<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command(KEYWARD);
        command.env("KEYWARD_TOKEN", &self.uri).args(args);
        command
    }

    /// Runs a command line, split at spaces.
    pub(crate) fn run(&self, line: &str) -> Done {
        Done::of(line, self.keyward(line.split(' ')).output().unwrap())
    }

    /// The same with something on standard input.
    pub(crate) fn pipe(&self, line: &str, input: &[u8]) -> Done {
        let mut command = self.keyward(line.split(' '));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // A program that fails early does not read all.
                let _ = stdin.write_all(input);
            });
            child.wait_with_output().unwrap()
        });
        Done::of(line, output)
    }

    /// Runs what has to succeed, and gives its standard output.
    #[track_caller]
    pub(crate) fn ok(&self, line: &str) -> String {
        self.run(line).ok()
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
        private(&self.path(name));
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The names and contents of all files in the working directory.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(self.work())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let content = if entry.path().is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
                (entry.file_name().into_string().unwrap(), content)
            })
            .collect();
        files.sort();
        files
    }

    /// Runs what has to fail with this status and these lines on stderr, and must change no file.
    #[track_caller]
    pub(crate) fn refuses(&self, line: &str, status: i32, stderr: &[&str]) {
        let before = self.files();
        self.run(line).is(status, stderr);
        assert_eq!(self.files(), before, "{line}: files changed");
    }
}

/// The same through a wrapper, which ends by running its arguments.
pub(crate) fn through(mut wrapper: Command, command: &Command) -> Command {
    wrapper.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    if let Some(directory) = command.get_current_dir() {
        wrapper.current_dir(directory);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapper.env(name, value),
            None => wrapper.env_remove(name),
        };
    }
    wrapper
}

/// The same, ended by signals also where whoever started the tests has them ignored, as `nohup` does: what is ignored
/// is inherited, and Keyward leaves it so.
pub(crate) fn interruptible(command: &Command) -> Command {
    let mut env = Command::new("env");
    // Of coreutils alone.
    if cfg!(target_os = "linux") {
        env.arg("--default-signal=HUP,INT,TERM");
    }
    through(env, command)
}

pub(crate) fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Bytes that do not repeat soon.
pub(crate) fn sample(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(next).collect()
}

/// A run that has ended.
pub(crate) struct Done {
    line: String,
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn of(line: &str, output: Output) -> Self {
        Self {
            line: line.to_owned(),
            status: output.status.code().expect("ended by a signal"),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.status, 0, "{}\n{}", self.line, self.stderr);
        String::from_utf8(self.stdout).unwrap()
    }

    #[track_caller]
    pub(crate) fn bytes(self) -> Vec<u8> {
        assert_eq!(self.status, 0, "{}\n{}", self.line, self.stderr);
        self.stdout
    }

    /// The status, the lines on stderr, and nothing on stdout.
    #[track_caller]
    pub(crate) fn is(&self, status: i32, stderr: &[&str]) {
        let lines: Vec<_> = self.stderr.lines().collect();
        assert_eq!(lines, stderr, "{}", self.line);
        assert_eq!(self.status, status, "{}", self.line);
        assert!(self.stdout.is_empty(), "{}: stdout is not empty", self.line);
    }
}
