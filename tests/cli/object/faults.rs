//! Killed half way, throttled, cut off: nothing torn is ever visible, and where a command gives up it says so.

use super::{Objects, SERVER};
use crate::bench::{interruptible, sample, through};
use crate::faulty_proxy::{Fate, FaultyProxy, Request};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

fn is_part(request: &Request) -> bool {
    request.line.starts_with("PUT ") && request.line.contains("partNumber=")
}

/// How many uploads the bucket holds that were not completed.
fn uploads(objects: &Objects) -> String {
    SERVER.boto("print(len(s3.list_multipart_uploads(Bucket=sys.argv[1]).get('Uploads', [])))", &[&objects.bucket])
}

/// Runs an upload of five parts of which the third never gets through, and ends it by a signal there.
fn ended_by(signal: &str, old: Option<&[u8]>) -> Objects {
    let mut objects = Objects::new();
    if let Some(old) = old {
        objects.bench.write("old", old);
        objects.ok("object put old S3/big");
    }
    objects.bench.write("big", sample(36 << 20));
    let (arrived, third) = mpsc::channel();
    // The third part waits for good; those before it are through by then, or on their way.
    let proxy = FaultyProxy::new(&SERVER.address, move |request, _| {
        if is_part(request) && request.line.contains("partNumber=3") {
            let _ = arrived.send(());
            return Fate::Held;
        }
        Fate::Pass
    });
    objects.endpoint = proxy.url.clone();
    let mut command = interruptible(&objects.command("object put big S3/big"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    third.recv_timeout(Duration::from_secs(60)).unwrap();
    let killed = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert!(!child.wait().unwrap().success());
    objects.endpoint = SERVER.url();
    objects
}

#[test]
fn an_upload_that_is_killed_leaves_nothing_or_what_was_there() {
    let objects = ended_by("-KILL", None);
    let url = &objects.url;
    objects.run("object get S3/big out").is(1, &[&format!("keyward: error: there is no object '{url}/big'")]);
    assert_eq!(objects.keys_in_the_bucket(), [".keyward/store"]);
    // Nobody could clear it up: the bucket's rule for incomplete uploads does.
    assert_eq!(uploads(&objects), "1\n");

    let objects = ended_by("-KILL", Some(b"what was there"));
    assert_eq!(objects.ok("object get S3/big -"), "what was there");
}

#[test]
fn an_upload_that_is_interrupted_is_given_up() {
    for signal in ["-INT", "-TERM"] {
        let objects = ended_by(signal, Some(b"what was there"));
        assert_eq!(uploads(&objects), "0\n", "{signal}");
        assert_eq!(objects.ok("object get S3/big -"), "what was there");
    }
}

#[test]
fn throttling_and_lost_connections_are_tried_again() {
    let mut objects = Objects::new();
    let content = sample(36 << 20);
    objects.bench.write("big", &content);
    // Each request fails the first time, in one way or another.
    let proxy = FaultyProxy::new(&SERVER.address, |request, before| match (before, request.line.len() % 2) {
        (0, 1) if request.line.starts_with("GET ") => Fate::Lost,
        // An answer that was lost is not safe to ask for again where a condition was part of the question.
        (0, 1) if is_part(request) => Fate::AnswerLost,
        (0, _) => Fate::SlowDown,
        _ => Fate::Pass,
    });
    objects.endpoint = proxy.url.clone();
    objects.ok("object put big S3/big");
    objects.ok("object get S3/big out");
    assert!(objects.bench.read("out") == content);
    let failed = proxy.seen().iter().filter(|request| request.fate != Fate::Pass).count();
    assert!(failed >= 8, "{failed}");
}

#[test]
fn a_body_that_is_cut_off_is_read_on_or_told() {
    let mut objects = Objects::new();
    let content = sample(6 << 20);
    objects.bench.write("big", &content);
    objects.ok("object put big S3/big");
    // Once: the client asks for the rest.
    let proxy = FaultyProxy::new(&SERVER.address, |request, before| {
        let is_body = request.range.as_ref().is_some_and(|range| !range.starts_with("bytes=0-"));
        if is_body && before == 1 { Fate::Cut } else { Fate::Pass }
    });
    objects.endpoint = proxy.url.clone();
    objects.ok("object get S3/big out");
    assert!(objects.bench.read("out") == content);
    assert!(proxy.seen().iter().any(|request| request.fate == Fate::Cut), "{:?}", proxy.seen());

    // And then for good: nothing of it is left, though much of it came.
    let proxy = FaultyProxy::new(&SERVER.address, |request, before| {
        let is_body = request.range.as_ref().is_some_and(|range| !range.starts_with("bytes=0-"));
        match (is_body, before) {
            (false, _) => Fate::Pass,
            (true, 1) => Fate::Cut,
            (true, _) => Fate::Lost,
        }
    });
    objects.endpoint = proxy.url.clone();
    let before = objects.bench.files();
    let done = objects.run("object get S3/big out --force");
    assert_eq!((done.status, done.stderr.lines().count()), (1, 1), "{}", done.stderr);
    assert!(done.stderr.starts_with(&format!("keyward: error: '{}/big': ", objects.url)), "{}", done.stderr);
    assert!(objects.bench.files() == before && proxy.seen_of("/big").len() > 5);
}

#[test]
fn where_the_client_gives_up_nothing_torn_is_visible_and_the_command_says_so() {
    let mut objects = Objects::new();
    let url = objects.url.clone();
    objects.bench.write("old", "what was there");
    objects.ok("object put old S3/big");
    objects.bench.write("big", sample(36 << 20));
    let proxy = FaultyProxy::new(&SERVER.address, |request, _| match request.line.contains("partNumber=4") {
        true => Fate::SlowDown,
        false => Fate::Pass,
    });
    objects.endpoint = proxy.url.clone();
    let done = objects.run("object put big S3/big");
    assert_eq!((done.status, done.text()), (1, ""));
    let lines: Vec<_> = done.stderr.lines().collect();
    assert!(
        lines.len() == 1
            && lines[0].starts_with(&format!("keyward: error: '{url}/big': Error performing PUT "))
            && lines[0].contains("after 10 retries")
            && lines[0].ends_with("SlowDown: Reduce your request rate."),
        "{lines:?}"
    );
    assert_eq!(proxy.seen_of("partNumber=4").len(), 11);
    objects.endpoint = SERVER.url();
    assert_eq!(uploads(&objects), "0\n");
    assert_eq!(objects.ok("object get S3/big -"), "what was there");

    // Nobody there at all.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    objects.endpoint = format!("http://{nobody}");
    let done = objects.run("object get S3/big out");
    assert_eq!((done.status, done.stderr.lines().count()), (1, 1), "{}", done.stderr);
    assert!(done.stderr.contains("onnection refused"), "{}", done.stderr);
    assert!(!objects.bench.path("out").exists());
}

#[test]
fn a_crash_with_the_key_of_a_customer_in_memory_leaves_no_core() {
    let mut objects = Objects::new();
    objects.bench.write("a", "hello");
    objects.bench.write("my.key", [0x5a; 32]);
    let (arrived, put) = mpsc::channel();
    let proxy = FaultyProxy::new(&SERVER.address, move |request, _| {
        if request.line.starts_with("PUT ") && request.line.ends_with("/a") {
            let _ = arrived.send(());
            return Fate::Held;
        }
        Fate::Pass
    });
    objects.endpoint = proxy.url.clone();
    let before = objects.bench.files();
    let command = objects.command("--token= object put a S3/a --sse-c AES256 --sse-c-key my.key");
    // In surroundings that want cores, as far as they may be had here.
    let mut shell = objects.bench.command("sh");
    shell.args(["-c", "ulimit -c unlimited 2>/dev/null; exec \"$0\" \"$@\""]);
    let mut child = through(shell, &command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    put.recv_timeout(Duration::from_secs(60)).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    std::process::Command::new("kill").args(["-ABRT", &child.id().to_string()]).status().unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(objects.bench.files(), before);
}
