//! Another user of the host owns part of a tree: no command leaves the tree, and plaintext keeps its owner and mode.

use crate::bench::{Bench, Done, KEYWARD};
use crate::object::Objects;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use xattr::FileExt;

/// The user and group `nobody`.
const OTHER: u32 = 65534;
const ACL: &str = "system.posix_acl_access";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.ok("key create k");
    bench
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Whether this process may act as other users; says so if it may not.
fn is_root(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("not tested here, because it takes root: {what}");
    }
    is_root
}

/// Runs a command line that would wait forever if it opened a pipe without another end.
fn bounded(bench: &Bench, line: &str) -> Done {
    let mut command = bench.command("timeout");
    command.args(["--signal=KILL", "60", KEYWARD]).args(line.split(' ')).env("KEYWARD_TOKEN", &bench.uri);
    Done::of(line, command.output().unwrap())
}

#[test]
fn planted_link_is_not_followed() {
    let bench = bench();
    fs::create_dir(bench.path("t")).unwrap();
    bench.write("victim", "precious");
    bench.write("t/a", "content");
    bench.ok("encrypt -q --key k -r t");
    for (line, output, input) in [("decrypt", "t/a", "t/a.kw"), ("encrypt --key k", "t/a.kw", "t/a")] {
        fs::remove_file(bench.path(output)).unwrap();
        if output == "t/a.kw" {
            bench.write("t/a", "content");
        }
        symlink("../victim", bench.path(output)).unwrap();
        for named in ["-r t", &format!("{input} --output-dir t")] {
            let done = bench.run(&format!("{line} {named}"));
            assert_eq!(done.status, 1, "{line} {named}: {}", done.stderr);
            assert!(done.stderr.contains("it is a symbolic link"), "{line} {named}: {}", done.stderr);
        }
        bench.ok(&format!("{line} -q -rf t"));
        assert!(bench.path(output).symlink_metadata().unwrap().is_file(), "{line}: the link itself is replaced");
    }
    assert_eq!(bench.read("victim"), b"precious");
    fs::remove_file(bench.path("t/a")).unwrap();
    bench.ok("decrypt -q -r t");
    assert_eq!(bench.read("t/a"), b"content");
}

#[test]
fn linked_output_directory_is_refused() {
    let bench = bench();
    for directory in ["t/sub", "elsewhere", "out/t"] {
        fs::create_dir_all(bench.path(directory)).unwrap();
    }
    bench.write("t/sub/a", "content");
    symlink("../../elsewhere", bench.path("out/t/sub")).unwrap();
    bench.refuses(
        "encrypt --key k -r t --output-dir out",
        1,
        &["keyward: error: cannot make the directory 'out/t/sub': it is a symbolic link"],
    );
    fs::remove_file(bench.path("out/t/sub")).unwrap();
    bench.ok("encrypt -q --key k -r t --output-dir out");
    fs::create_dir(bench.path("back")).unwrap();
    symlink("../elsewhere", bench.path("back/t")).unwrap();
    for force in ["", " --force"] {
        assert_eq!(bench.run(&format!("decrypt{force} -r out/t --output-dir back")).status, 1);
    }
    // What is named is followed.
    symlink("elsewhere", bench.path("named")).unwrap();
    bench.ok("decrypt -q -r out/t/. --output-dir named");
    assert_eq!(bench.read("elsewhere/sub/a"), b"content");
    assert_eq!(fs::read_dir(bench.path("elsewhere")).unwrap().count(), 1);
}

#[test]
fn objects_leave_no_directory() {
    let objects = Objects::new();
    let path = |name: &str| objects.bench.path(name);
    objects.bench.write("a", "content");
    for key in ["a", "sub/b"] {
        objects.ok(&format!("object put a S3/t/{key}"));
    }
    for directory in ["out", "elsewhere"] {
        fs::create_dir(path(directory)).unwrap();
    }
    objects.bench.write("victim", "precious");
    symlink("../victim", path("out/a")).unwrap();
    symlink("../elsewhere", path("out/sub")).unwrap();
    let done = objects.run("object get -r S3/t/ out");
    assert_eq!((done.status, done.stderr.lines().last()), (1, Some("keyward: note: 0 done, 2 failed")));
    let done = objects.run("object get -rf S3/t/ out");
    assert_eq!((done.status, done.stderr.lines().last()), (1, Some("keyward: note: 1 done, 1 failed")));
    assert_eq!((objects.bench.read("victim"), objects.bench.read("out/a")), (b"precious".into(), b"content".into()));
    assert_eq!(fs::read_dir(path("elsewhere")).unwrap().count(), 0);
    assert_eq!(mode(&path("out/a")), 0o600);
    fs::remove_file(path("out/a")).unwrap();
    symlink("../victim", path("out/a")).unwrap();
    assert_eq!(objects.run("object get S3/t/a out").status, 1);
    objects.ok("object get --force S3/t/a out");
    assert_eq!((objects.bench.read("victim"), objects.bench.read("out/a")), (b"precious".into(), b"content".into()));
    // What is in a linked directory is none of what is put.
    objects.bench.write("elsewhere/secret", "secret");
    let done = objects.run("object put -r out S3/back/");
    assert!(done.stderr.ends_with("not followed or no regular file: 1 file\n"), "{}", done.stderr);
    assert_eq!(objects.run("object get S3/back/sub/secret -").status, 1);
}

#[test]
fn plaintext_is_as_private_as_its_envelope() {
    let objects = Objects::new();
    let bench = &objects.bench;
    bench.write("a", "content");
    bench.write("b", "content");
    bench.ok("encrypt --key payments a -o one.kw");
    bench.ok("encrypt -q --key payments a b");
    bench.ok("decrypt a.kw -o one");
    bench.ok("decrypt a.kw -o part --range 0-3");
    bench.ok("decrypt a.kw -o any --any-context");
    assert_eq!(bench.pipe("decrypt -o piped", &bench.read("a.kw")).status, 0);
    objects.ok("object put a S3/a");
    objects.ok("object get S3/a got");
    objects.ok("object get S3/a got-part --range 0-3");
    for name in ["one.kw", "a.kw", "one", "part", "any", "piped", "got", "got-part"] {
        assert_eq!(mode(&bench.path(name)), 0o600, "{name}");
    }
    // Less the umask, and no wider.
    set_mode(&bench.path("a.kw"), 0o666);
    let mut command = bench.command("sh");
    command.args(["-c", "umask 027; exec \"$0\" decrypt a.kw -o masked", KEYWARD]).env("KEYWARD_TOKEN", &bench.uri);
    Done::of("decrypt", command.output().unwrap()).ok();
    assert_eq!(mode(&bench.path("masked")), 0o640);
}

#[test]
fn pipe_takes_plaintext_only_with_force() {
    let bench = bench();
    bench.write("a", "content");
    bench.ok("encrypt --key k a -o a.kw");
    assert!(bench.command("mkfifo").arg("pipe").status().unwrap().success());
    for line in ["decrypt a.kw -o pipe", "decrypt a.kw -o pipe --range 0-3", "encrypt --key k a -o pipe"] {
        bounded(&bench, line).is(
            1,
            &[
                "keyward: error: 'pipe' exists already, and is not a regular file",
                "keyward: hint: use --force to write into it",
            ],
        );
    }
    let reader = bench.command("cat").arg("pipe").stdout(Stdio::piped()).spawn().unwrap();
    bench.ok("decrypt --force a.kw -o pipe");
    assert_eq!(reader.wait_with_output().unwrap().stdout, b"content");
    // In a tree nothing insists on it.
    fs::create_dir(bench.path("t")).unwrap();
    fs::rename(bench.path("a.kw"), bench.path("t/a.kw")).unwrap();
    fs::rename(bench.path("pipe"), bench.path("t/a")).unwrap();
    for line in ["decrypt -r t", "decrypt -rf t"] {
        let done = bounded(&bench, line);
        assert_eq!(done.status, 1, "{line}: {}", done.stderr);
    }
}

/// An access control list (acl(5)) that lets the user 1 read and write, and the group nothing.
fn list_for_one_user() -> Vec<u8> {
    let entry =
        |tag: u16, rights: u16, id: u32| [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat();
    let entries = [(1, 6, u32::MAX), (2, 6, 1), (4, 0, u32::MAX), (0x10, 6, u32::MAX), (0x20, 0, u32::MAX)];
    let entries = entries.map(|(tag, rights, id)| entry(tag, rights, id)).concat();
    [&2u32.to_le_bytes()[..], &entries].concat()
}

#[test]
fn replaced_file_keeps_its_attributes() {
    let bench = bench();
    bench.write("a", "content");
    for name in ["reencrypted", "rewrapped"] {
        bench.ok(&format!("encrypt --key k a -o {name}"));
    }
    bench.ok("encrypt --key k a -o sealed");
    bench.write("plain", "old");
    bench.write("listed", "old");
    let as_root = is_root("files of another owner");
    for name in ["reencrypted", "rewrapped", "plain"] {
        if as_root {
            std::os::unix::fs::chown(bench.path(name), Some(OTHER), Some(1)).unwrap();
        }
        set_mode(&bench.path(name), 0o640);
        fs::File::open(bench.path(name)).unwrap().set_xattr("user.origin", b"here").unwrap();
    }
    let list = list_for_one_user();
    fs::File::open(bench.path("listed")).unwrap().set_xattr(ACL, &list).unwrap();
    bench.ok("key rotate k");
    bench.ok("reencrypt -q reencrypted");
    bench.ok("rewrap -q --copy rewrapped");
    for name in ["plain", "listed"] {
        bench.ok(&format!("decrypt -f sealed -o {name}"));
        assert_eq!(bench.read(name), b"content");
    }
    for name in ["reencrypted", "rewrapped", "plain"] {
        let found = bench.path(name).metadata().unwrap();
        assert_eq!(found.mode() & 0o777, 0o640, "{name}");
        assert!(!as_root || (found.uid(), found.gid()) == (OTHER, 1), "{name}: {}:{}", found.uid(), found.gid());
        let value = fs::File::open(bench.path(name)).unwrap().get_xattr("user.origin").unwrap();
        assert_eq!(value.as_deref(), Some(&b"here"[..]), "{name}");
    }
    assert_eq!(fs::File::open(bench.path("listed")).unwrap().get_xattr(ACL).unwrap(), Some(list.clone()));
    // The mask of a list is no right of the group: a file that is made from one with a list is its owner's alone.
    set_mode(&bench.path("sealed"), 0o600);
    fs::File::open(bench.path("sealed")).unwrap().set_xattr(ACL, &list).unwrap();
    bench.ok("decrypt sealed -o new");
    assert_eq!(mode(&bench.path("new")), 0o600);
}

/// A directory that every user can enter, with one in it that belongs to another user.
fn shared_directory() -> tempfile::TempDir {
    let shared = tempfile::tempdir().unwrap();
    set_mode(shared.path(), 0o755);
    for name in ["home", "loot"] {
        fs::create_dir(shared.path().join(name)).unwrap();
        std::os::unix::fs::chown(shared.path().join(name), Some(OTHER), Some(OTHER)).unwrap();
    }
    shared
}

#[test]
fn lost_owner_narrows_the_mode() {
    if !is_root("a file that its user may replace and not give away") {
        return;
    }
    let shared = shared_directory();
    let bench = bench();
    bench.write("a", "content");
    bench.ok("encrypt --key k a -o a.kw");
    bench.write("my.key", [7; 32]);
    bench.ok("encrypt --customer-key my.key a -o own.kw");
    // The directory is the user's, and the file root's.
    for name in ["own.kw", "my.key"] {
        fs::copy(bench.path(name), shared.path().join("home").join(name)).unwrap();
        std::os::unix::fs::chown(shared.path().join("home").join(name), Some(OTHER), Some(OTHER)).unwrap();
    }
    let output = shared.path().join("home/out");
    fs::write(&output, "old").unwrap();
    set_mode(&output, 0o664);
    let program = shared.path().join("keyward");
    fs::copy(KEYWARD, &program).unwrap();
    let mut command = Command::new(program);
    command.uid(OTHER).gid(OTHER).current_dir(shared.path().join("home")).env_clear();
    command.args(["decrypt", "-f", "--customer-key", "my.key", "own.kw", "-o", "out"]);
    let done = Done::of("decrypt", command.output().unwrap());
    assert_eq!(done.status, 0, "{}", done.stderr);
    assert!(done.stderr.contains("could not be given what it had before: owner, group"), "{}", done.stderr);
    assert_eq!((mode(&output), output.metadata().unwrap().uid()), (0o604, OTHER));
}

#[test]
fn link_in_a_directory_for_all_is_followed_as_the_system_permits() {
    if !is_root("links of another user") {
        return;
    }
    let shared = shared_directory();
    let bench = bench();
    bench.write("a", "content");
    let open = shared.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
    let victim = shared.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, open.join("link")).unwrap();
    std::os::unix::fs::lchown(open.join("link"), Some(OTHER), Some(OTHER)).unwrap();
    let protects = fs::read_to_string("/proc/sys/fs/protected_symlinks").is_ok_and(|text| text.trim() == "1");
    let done = bench.run(&format!("encrypt --force --key k a -o {}", open.join("link").display()));
    if protects {
        assert_eq!((done.status, fs::read(&victim).unwrap()), (1, b"precious".to_vec()), "{}", done.stderr);
    } else {
        eprintln!("not tested here: fs.protected_symlinks is off");
    }
}

/// What the owner of a part of the tree does while root works on it: replaces files by links to files that only root
/// reads, exchanges directories with others, plants links, pipes and directories as outputs, and reads what is there.
const RACER: &str = r#"
import os, sys
home, secret, victim, loot = sys.argv[1:]
os.chdir(home)
def quiet(call, *args):
    try: call(*args)
    except OSError: pass
print("ready", flush=True)
while True:
    for name in ("f1", "d1/f1"):
        quiet(os.rename, name, name + ".away"); quiet(os.symlink, secret, name)
        quiet(os.unlink, name); quiet(os.rename, name + ".away", name)
    quiet(os.rename, "d2", "d2.away"); quiet(os.symlink, loot, "d2")
    quiet(os.unlink, "d2"); quiet(os.rename, "d2.away", "d2")
    for name in ("f2.kw", "d1/f2.kw", "f2", "f4"):
        quiet(os.symlink, victim, name + ".link"); quiet(os.rename, name + ".link", name)
        quiet(os.mkfifo, name + ".pipe"); quiet(os.rename, name + ".pipe", name)
        quiet(os.unlink, name)
    for name in os.listdir("."):
        if name.endswith(".keyward-tmp") or name.startswith("s"):
            try: text = open(name, "rb").read(1 << 16)
            except OSError: continue
            if b"SALARY" in text: quiet(lambda: open(loot + "/read", "wb").write(text))
"#;

fn start_racer(home: &Path, arguments: [&Path; 3]) -> Child {
    use std::io::{BufRead, BufReader};
    let python = std::env::var("KEYWARD_TEST_PYTHON").unwrap_or("python3".into());
    // A virtual environment may lie where only root can go.
    let python = fs::canonicalize(&python).map_or(python, |path| path.display().to_string());
    let python = if python.starts_with("/usr/") { python } else { "/usr/bin/python3".into() };
    let mut command = Command::new(python);
    command.uid(OTHER).gid(OTHER).args(["-c", RACER]).arg(home).args(arguments).stdout(Stdio::piped());
    let mut racer = command.spawn().expect("python3 is missing");
    let mut ready = String::new();
    BufReader::new(racer.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");
    racer
}

#[test]
fn owner_of_a_part_of_the_tree_gains_nothing() {
    if !is_root("runs of root on the tree of another user who changes it meanwhile") {
        return;
    }
    let shared = shared_directory();
    let bench = bench();
    let path = |name: &str| shared.path().join(name);
    fs::write(path("secret"), "ROOT-SECRET").unwrap();
    set_mode(&path("secret"), 0o600);
    fs::write(path("victim"), "precious").unwrap();
    for directory in ["home", "home/d1", "home/d2", "home/d3"] {
        fs::create_dir_all(path(directory)).unwrap();
        for number in 0..8 {
            fs::write(path(&format!("{directory}/f{number}")), vec![b'x'; 3000]).unwrap();
        }
    }
    assert!(Command::new("chown").args(["-R", "65534:65534"]).arg(path("home")).status().unwrap().success());
    // Envelopes of root in the directory of the other user.
    for number in 0..8 {
        fs::write(path("plain"), format!("SALARY {number}")).unwrap();
        set_mode(&path("plain"), 0o600);
        let to = path(&format!("home/s{number}.kw"));
        bench.ok(&format!("encrypt --key k {} -o {}", path("plain").display(), to.display()));
    }
    fs::remove_file(path("plain")).unwrap();

    let mut racer = start_racer(&path("home"), [&path("secret"), &path("victim"), &path("loot")]);
    let home = path("home").display().to_string();
    for round in 0..12 {
        for line in [format!("encrypt --key k -rf {home}"), format!("decrypt -rf {home}"), format!("rewrap -r {home}")]
        {
            let done = bounded(&bench, &line);
            assert!(matches!(done.status, 0 | 1), "round {round}, {line}: {} {}", done.status, done.stderr);
        }
        for number in 0..8 {
            let _ = fs::remove_file(path(&format!("home/s{number}")));
        }
    }
    racer.kill().unwrap();
    racer.wait().unwrap();
    assert_eq!(fs::read(path("victim")).unwrap(), b"precious");
    assert_eq!(fs::read_dir(path("loot")).unwrap().count(), 0, "something was written or read outside of the tree");
    assert_eq!(fs::read(path("secret")).unwrap(), b"ROOT-SECRET");
    // Nothing that was encrypted is a file from outside.
    let back = tempfile::tempdir().unwrap();
    bench.run(&format!("decrypt -q -r {home}/. --output-dir {}", back.path().display()));
    let found = Command::new("grep").args(["-r", "-l", "ROOT-SECRET"]).arg(back.path()).output().unwrap();
    std::io::stderr().write_all(&found.stdout).unwrap();
    assert!(found.stdout.is_empty());
    assert!(fs::read_dir(back.path()).unwrap().count() > 8, "the run decrypted nothing");
}
