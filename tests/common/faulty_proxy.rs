//! A fake network between a client and an S3 server: it notes each request, and answers some of them with an error or
//! not at all, as a script says.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    /// `503 SlowDown`, as S3 throttles.
    SlowDown,
    /// The connection ends before the server has seen it.
    Lost,
    /// The server does it, and the connection ends before its answer.
    AnswerLost,
    /// It never gets to the server, and the connection stays open.
    Held,
    /// The connection ends in the middle of the answer.
    Cut,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `GET /bucket/key?query`.
    pub(crate) line: String,
    pub(crate) range: Option<String>,
    pub(crate) fate: Fate,
    /// All of its head.
    pub(crate) head: String,
}

type Script = Box<dyn Fn(&Request, usize) -> Fate + Send + Sync>;

struct Shared {
    server: String,
    script: Script,
    seen: Mutex<Vec<Request>>,
}

pub(crate) struct FaultyProxy {
    shared: Arc<Shared>,
    pub(crate) url: String,
}

impl FaultyProxy {
    /// In front of a server. `script` gets a request and how many with the same line came before it.
    pub(crate) fn new(server: &str, script: impl Fn(&Request, usize) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { server: server.to_owned(), script: Box::new(script), seen: Mutex::default() });
        let at = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let at = Arc::clone(&at);
                // What fails here is a connection that ended, which is what this is for.
                std::thread::spawn(move || at.serve(&client));
            }
        });
        Self { shared, url }
    }

    /// What was asked for until now.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Those whose line has this in it.
    pub(crate) fn seen_of(&self, what: &str) -> Vec<Request> {
        self.seen().into_iter().filter(|request| request.line.contains(what)).collect()
    }
}

impl Shared {
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            let header = |name: &str| {
                head.lines().find_map(|line| {
                    let (key, value) = line.split_once(':')?;
                    key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
                })
            };
            let len: u64 = header("content-length").map_or(0, |len| len.parse().unwrap());
            let mut body = Vec::new();
            (&mut reader).take(len).read_to_end(&mut body)?;
            let line = head.lines().next().unwrap_or_default();
            let line = line.strip_suffix(" HTTP/1.1").unwrap_or(line).to_owned();
            let fate = self.note(Request { line, range: header("range"), fate: Fate::Pass, head: head.clone() });
            let mut to_client = client;
            match fate {
                Fate::Held => {
                    // Until the client ends it.
                    let _ = reader.read(&mut [0])?;
                    return Ok(());
                }
                Fate::Lost => return client.shutdown(Shutdown::Both),
                Fate::SlowDown => {
                    let xml = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
                    let len = xml.len();
                    write!(
                        to_client,
                        "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {len}\r\n\r\n{xml}"
                    )?;
                    continue;
                }
                Fate::Pass | Fate::AnswerLost | Fate::Cut => {}
            }
            let mut server = TcpStream::connect(&self.server)?;
            let (first, rest) = head.split_once("\r\n").unwrap();
            write!(server, "{first}\r\nConnection: close\r\n{rest}")?;
            server.write_all(&body)?;
            let mut answer = Vec::new();
            server.read_to_end(&mut answer)?;
            match fate {
                Fate::AnswerLost => {}
                Fate::Cut => to_client.write_all(&answer[..answer.len() - answer.len() / 4])?,
                _ => to_client.write_all(&answer)?,
            }
            // The server said that it closes the connection.
            return client.shutdown(Shutdown::Both);
        }
    }

    fn note(&self, mut request: Request) -> Fate {
        let mut seen = self.seen.lock().unwrap();
        let before = seen.iter().filter(|earlier| earlier.line == request.line).count();
        request.fate = (self.script)(&request, before);
        let fate = request.fate;
        seen.push(request);
        fate
    }
}
