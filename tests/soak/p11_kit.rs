//! SoftHSM behind p11-kit's server, which is killed, started again, and frozen. It lets RSA-OAEP through.

use super::load::Load;
use super::{run_alone, seconds};
use keyward::hsm::HsmProvider;
use keyward::testkit::SoftToken;
use keyward::token::{Token, TokenOptions, TokenUri};
use keyward::{AlgorithmChoice, KeyAdmin, KeyName, WrappingAlgorithm};
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const SOCKET: &str = "KEYWARD_SOAK_SOCKET";

/// A server, with the processes that it makes for its clients.
struct Server {
    child: Child,
}

impl Server {
    fn start(token: &str, socket: &Path) -> Self {
        let _ = std::fs::remove_file(socket);
        let mut child = Command::new("p11-kit")
            .args(["server", "--foreground", "--provider"])
            .arg(SoftToken::module_path())
            .arg("--name")
            .arg(socket)
            .arg(format!("pkcs11:token={token}"))
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("p11-kit is not installed: apt install p11-kit p11-kit-modules");
        while !socket.exists() {
            assert!(child.try_wait().unwrap().is_none(), "the server ended by itself");
            thread::sleep(Duration::from_millis(1));
        }
        Self { child }
    }

    fn signal(&self, signal: Signal) {
        let group = Pid::from_child(&self.child);
        kill_process_group(group, signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

#[test]
fn no_operation_is_lost_or_wrong_when_the_server_dies_or_freezes() {
    let dir = tempfile::tempdir().unwrap();
    let address = PathBuf::from(format!("unix:path={}", dir.path().join("socket").display()));
    let environment = [
        (SOCKET, dir.path().join("socket")),
        ("P11_KIT_SERVER_ADDRESS", address),
        ("XDG_RUNTIME_DIR", dir.path().into()),
    ];
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_path())).collect();
    run_alone("p11_kit::child_with_a_dying_server", &environment);
}

#[test]
#[ignore = "run by `no_operation_is_lost_or_wrong_when_the_server_dies_or_freezes`"]
fn child_with_a_dying_server() {
    let socket = PathBuf::from(std::env::var_os(SOCKET).unwrap());
    let usual =
        ["/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so", "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so"];
    let client = usual.into_iter().find(|path| Path::new(path).exists());
    let client = client.expect("p11-kit's client is not installed: apt install p11-kit p11-kit-modules");
    let soft = SoftToken::new();
    let uri = soft.uri();
    let token = uri.token().unwrap();
    let key: KeyName = "rsa".parse().unwrap();
    soft.provider().create_key(&key, AlgorithmChoice::Exactly(WrappingAlgorithm::RsaOaepSha1)).unwrap();

    let mut server = Some(Server::start(token, &socket));
    let (session, call) = (Duration::from_secs(2), Duration::from_secs(1));
    let options = TokenOptions::default().pin(soft.pin()).session_timeout(session).call_timeout(call);
    let through: TokenUri = format!("pkcs11:token={token}").parse().unwrap();
    let opened = Token::open_with(&through.or_module_path(Some(client.into())), options).unwrap();
    let hsm = HsmProvider::new(opened).only([key.clone()]);
    let end = Instant::now() + seconds();
    Load::default().run(&hsm, &[key], 2 * (session + call) + Duration::from_secs(2), |load| {
        for turn in 0.. {
            thread::sleep(Duration::from_millis(700));
            if turn % 3 == 2 {
                // Frozen: nobody is told anything.
                let running = server.as_ref().unwrap();
                running.signal(Signal::STOP);
                thread::sleep(Duration::from_millis(2500));
                running.signal(Signal::CONT);
            } else {
                drop(server.take());
                thread::sleep(Duration::from_millis(if turn % 3 == 0 { 50 } else { 1200 }));
                server = Some(Server::start(token, &socket));
            }
            load.is_back();
            if Instant::now() > end {
                break;
            }
        }
    });
}
