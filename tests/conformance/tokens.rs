//! The tokens, each in a process of its own: modules read their configuration when they are initialized.

use keyward::testkit::SoftToken;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const MATRIX: &str = include_str!("../../docs/tokens.md");
const PIN: &str = "conformance-pin";

#[test]
fn softhsm() {
    SoftHsm::new("").run("SoftHSM 2.6");
}

#[test]
fn softhsm_without_aes_gcm() {
    SoftHsm::new("CKM_AES_GCM").run("SoftHSM 2.6, AES-GCM denied");
}

#[test]
fn softhsm_without_aes_key_wrap() {
    SoftHsm::new("CKM_AES_KEY_WRAP").run("SoftHSM 2.6, AES-KW denied");
}

#[test]
fn softhsm_with_rsa_only() {
    SoftHsm::new("CKM_AES_GCM,CKM_AES_KEY_WRAP,CKM_AES_KEY_GEN").run("SoftHSM 2.6, AES denied");
}

/// Rightly, but as some tokens do: everything is found twice, IVs are the token's own, and buffers are too
/// small at first.
const STRANGE: &str = "C_FindObjects * twice\nC_EncryptInit * write-iv\n\
    C_Encrypt * too-small-first\nC_Decrypt * too-small-first\nC_WrapKey * too-small-first\n\
    C_Login * log\nC_EncryptInit * log\nC_DecryptInit * log\nC_WrapKey * log\nC_UnwrapKey * log\n";

#[test]
fn softhsm_that_answers_strangely() {
    let built = std::env::current_exe().unwrap();
    let built = built.ancestors().nth(2).unwrap().join("libkeyward_fault.so");
    assert!(built.exists(), "'{}' is not built: cargo build -p keyward-fault", built.display());
    let soft = SoftHsm::new("");
    // The name says that SoftHSM is behind it.
    let module = soft.dir.path().join("libsofthsm2-fault.so");
    std::fs::copy(built, &module).unwrap();
    std::fs::write(module.with_extension("so.script"), STRANGE).unwrap();
    let mut suite = suite(&soft.dir, &module);
    suite.env("SOFTHSM2_CONF", &soft.conf).env("KEYWARD_FAULT_MODULE", SoftToken::module_path());
    assert_row("SoftHSM 2.6, answering strangely", suite);
    let log = std::fs::read_to_string(module.with_extension("so.log")).unwrap();
    let answered = |line: &str| log.lines().filter(|one| *one == line).count();
    assert_eq!(answered("C_Login CKR_PIN_INCORRECT"), 1, "a wrong PIN is tried once");
    // The suite says that the token enforces states: so it was the token that was asked, and refused.
    for function in ["C_EncryptInit", "C_DecryptInit", "C_WrapKey", "C_UnwrapKey"] {
        assert!(answered(&format!("{function} CKR_KEY_FUNCTION_NOT_PERMITTED")) > 0, "{function}");
    }
}

#[test]
fn kryoptic() {
    let module = std::env::var_os("KEYWARD_TEST_KRYOPTIC");
    let module =
        PathBuf::from(module.expect("KEYWARD_TEST_KRYOPTIC is not set: tests/kryoptic/build prints its value"));
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("kryoptic.conf");
    let database = dir.path().join("token.sql");
    let slot = format!("[[slots]]\nslot = 7\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n", database.display());
    std::fs::write(&conf, slot).unwrap();
    let mut suite = suite(&dir, &module);
    suite.env("KRYOPTIC_CONF", &conf).env("KEYWARD_CONFORMANCE_INIT", "conformance");
    assert_row("Kryoptic 1.5", suite);
}

#[test]
fn p11_kit_server() {
    let usual =
        ["/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so", "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so"];
    let client = usual.into_iter().find(|path| Path::new(path).exists());
    let client = client.expect("p11-kit's client is not installed: apt install p11-kit p11-kit-modules");
    let soft = SoftHsm::new("");
    let socket = soft.dir.path().join("socket");
    let _server = Server::start(&soft, &socket);
    let mut suite = suite(&soft.dir, Path::new(client));
    suite
        .env("P11_KIT_SERVER_ADDRESS", format!("unix:path={}", socket.display()))
        .env("XDG_RUNTIME_DIR", soft.dir.path());
    assert_row("p11-kit server 0.24 in front of SoftHSM 2.6", suite);
}

/// A SoftHSM token in a directory of its own.
struct SoftHsm {
    dir: TempDir,
    conf: PathBuf,
}

impl SoftHsm {
    /// Without these mechanisms.
    fn new(denied: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tokens = dir.path().join("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let conf = dir.path().join("softhsm2.conf");
        let mut text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
        if !denied.is_empty() {
            // SoftHSM ignores the first of them.
            text.push_str(&format!("slots.mechanisms = -CKM_MD5,{denied}\n"));
        }
        std::fs::write(&conf, text).unwrap();
        let made = Command::new("softhsm2-util")
            .arg("--module")
            .arg(SoftToken::module_path())
            .args(["--init-token", "--free", "--label", "conformance", "--so-pin", "conformance-so", "--pin", PIN])
            .env("SOFTHSM2_CONF", &conf)
            .output()
            .expect("SoftHSM is not installed: apt install softhsm2");
        assert!(made.status.success(), "{made:?}");
        Self { dir, conf }
    }

    fn run(&self, name: &str) {
        let mut suite = suite(&self.dir, &SoftToken::module_path());
        suite.env("SOFTHSM2_CONF", &self.conf);
        assert_row(name, suite);
    }
}

struct Server(Child);

impl Server {
    fn start(soft: &SoftHsm, socket: &Path) -> Self {
        let mut server = Command::new("p11-kit")
            .args(["server", "--foreground", "--provider"])
            .arg(SoftToken::module_path())
            .arg("--name")
            .arg(socket)
            .arg("pkcs11:token=conformance")
            .env("SOFTHSM2_CONF", &soft.conf)
            .stdout(Stdio::null())
            .spawn()
            .expect("p11-kit is not installed: apt install p11-kit p11-kit-modules");
        while !socket.exists() {
            assert!(server.try_wait().unwrap().is_none(), "the server ended by itself");
            std::thread::yield_now();
        }
        Self(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The suite, on the token `conformance` of a module.
fn suite(dir: &TempDir, module: &Path) -> Command {
    let pin = dir.path().join("pin");
    std::fs::write(&pin, PIN).unwrap();
    let mut suite = Command::new(std::env::current_exe().unwrap());
    suite.args(["--exact", "suite::child", "--ignored", "--nocapture"]).env(
        "KEYWARD_TOKEN",
        format!("pkcs11:token=conformance?module-path={}&pin-source=file:{}", module.display(), pin.display()),
    );
    suite
}

/// Runs the suite, and asks that what came out is what the documentation says.
fn assert_row(name: &str, mut suite: Command) {
    let output = suite.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{name}: {told}\n{}", String::from_utf8_lossy(&output.stderr));
    let report = told.lines().find_map(|line| line.strip_prefix("report: ")).expect("a report");
    let report: Value = serde_json::from_str(report).unwrap();
    let yes = |value: &Value| if value.as_bool().unwrap() { "yes" } else { "no" }.to_owned();
    let mut cells = vec![name.to_owned()];
    cells.extend(report["able"].as_array().unwrap().iter().map(yes));
    cells.extend([yes(&report["records"]), yes(&report["enforced"])]);
    cells.extend([report["passed"].to_string(), report["skipped"].to_string()]);
    let row = format!("| {} |", cells.join(" | "));
    for line in told.lines().filter(|line| line.starts_with("skipped:")) {
        println!("{name}: {line}");
    }
    println!("{row}");
    assert!(MATRIX.lines().any(|line| line == row), "docs/tokens.md does not have this row:\n{row}");
}
