//! An S3 server of its own on the loopback interface: moto, which `ci/test` installs. It keeps no secrets and asks for
//! no password; a real server in that it speaks the protocol of S3, and knows nothing of Keyward.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// What the server runs until its standard input ends, as it does when a test process ends in whatever way.
const SERVE: &str = "
import io, os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple
moto = DomainDispatcherApplication(create_backend_app)
# moto looks at the condition of a request and then does it: two requests at once would both find theirs fulfilled.
lock = threading.Lock()
def one_at_a_time(environ, start_response):
    # All of the request first: whoever stops in the middle of one keeps nobody else waiting.
    length = None if environ.get('wsgi.input_terminated') else int(environ.get('CONTENT_LENGTH') or 0)
    body = environ['wsgi.input'].read() if length is None else environ['wsgi.input'].read(length)
    if length is not None and len(body) < length:
        start_response('400 Bad Request', [('Content-Length', '0'), ('Connection', 'close')])
        return []
    environ['wsgi.input'] = io.BytesIO(body)
    with lock:
        return list(moto(environ, start_response))
run_simple('127.0.0.1', 0, one_at_a_time, threaded=True, request_handler=MotoRequestHandler)
";

/// A server, for as long as it is in scope.
pub(crate) struct S3Server {
    child: Child,
    stdin: Option<ChildStdin>,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
}

/// The Python that has `tests/interop/requirements.txt`.
pub(crate) fn python() -> PathBuf {
    let python = match std::env::var_os("KEYWARD_TEST_PYTHON") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python"),
    };
    assert!(python.exists(), "no {}: run ci/test, which makes it", python.display());
    python
}

impl S3Server {
    /// Waits until it says where it listens.
    pub(crate) fn start() -> Self {
        let mut command = Command::new(python());
        command.args(["-c", SERVE]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (found, address) = mpsc::channel();
        std::thread::spawn(move || {
            let mut said = String::new();
            // All that it says is read: it would stand still otherwise.
            while let Some(Ok(line)) = lines.next() {
                if let Some((_, address)) = line.split_once("Running on http://") {
                    let _ = found.send(Ok(address.trim().to_owned()));
                }
                said = line;
            }
            let _ = found.send(Err(said));
        });
        let address = address.recv_timeout(Duration::from_secs(60)).expect("moto does not start");
        let address =
            address.unwrap_or_else(|said| panic!("moto does not start: run ci/test, which installs it ({said})"));
        Self { child, stdin, address }
    }

    /// A URL of it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bucket that no other test has.
    pub(crate) fn bucket(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head =
            format!("PUT /{name} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        name
    }

    /// Runs a Python program in which `s3` is boto3's client of this server, and gives what it prints.
    #[track_caller]
    pub(crate) fn boto(&self, program: &str, args: &[&str]) -> String {
        let start = format!(
            "import boto3, sys\ns3 = boto3.client('s3', endpoint_url='{}', region_name='us-east-1', \
             aws_access_key_id='a', aws_secret_access_key='b')\n{program}",
            self.url()
        );
        let output = Command::new(python()).args(["-c", &start]).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
