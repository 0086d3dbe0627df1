//! Tokens, modules, PINs, configuration files, and the command line itself.

use crate::bench::{Bench, Done, PIN};
use crate::life::tool;
use serde_json::Value;
use std::path::Path;

#[test]
fn modules_that_are_none() {
    let bench = Bench::new();
    bench.write("text", "not a library");
    let text = bench.path("text").display().to_string();
    let cases = [
        (
            "/nowhere/module.so".to_owned(),
            "cannot find the PKCS#11 module '/nowhere/module.so': No such file or directory (os error 2)".to_owned(),
            Some("for SoftHSM on Debian: apt install softhsm2, module-path=/usr/lib/softhsm/libsofthsm2.so"),
        ),
        (
            text.clone(),
            format!("cannot load the PKCS#11 module '{text}': libloading error ({text}: file too short)"),
            None,
        ),
    ];
    for (module, message, hint) in cases {
        let hint = hint.map(|hint| format!("keyward: hint: {hint}"));
        let message = format!("keyward: error: {message}");
        let expected: Vec<_> = [Some(message.as_str()), hint.as_deref()].into_iter().flatten().collect();
        bench.refuses(&format!("--token pkcs11:token=bench?module-path={module} key list"), 5, &expected);
        bench.refuses(&format!("token list --module {module}"), 5, &expected);
    }
}

#[test]
fn a_library_that_is_no_module() {
    let usual = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6", "/lib64/libm.so.6"];
    let libm = usual.into_iter().find(|path| Path::new(path).exists()).expect("a C library");
    let bench = Bench::new();
    let message = format!("keyward: error: not a PKCS#11 module (it has no C_GetFunctionList): '{libm}'");
    bench.refuses(&format!("--token pkcs11:token=bench?module-path={libm} key list"), 5, &[&message]);
}

/// The client module of p11-kit, through which another process's module is used.
fn p11_kit_client() -> &'static str {
    let usual =
        ["/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so", "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so"];
    let client = usual.into_iter().find(|path| Path::new(path).exists());
    client.expect("p11-kit's client is not installed: apt install p11-kit p11-kit-modules")
}

#[test]
fn a_module_without_any_token_is_down_not_wrong() {
    let client = p11_kit_client();
    let bench = Bench::new();
    let line = format!("--token pkcs11:token=bench?module-path={client} key list");
    let mut command = bench.keyward(line.split(' '));
    command.env("P11_KIT_SERVER_ADDRESS", "unix:path=/nowhere").env_remove("XDG_RUNTIME_DIR");
    let message = format!("keyward: error: the module '{client}' shows no token at all");
    Done::of(&line, command.output().unwrap())
        .is(5, &[&message, "keyward: hint: is the HSM, or the server that the module connects to, up and configured?"]);
}

#[test]
fn a_token_behind_a_p11_kit_server() {
    let client = p11_kit_client();
    let bench = Bench::new();
    bench.write("plain", "hello");
    let socket = bench.path("socket");
    let mut server = bench
        .command("p11-kit")
        .args(["server", "--foreground", "--provider", &bench.module.display().to_string(), "--name"])
        .arg(&socket)
        .arg("pkcs11:token=bench")
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("p11-kit is not installed: apt install p11-kit p11-kit-modules");
    while !socket.exists() {
        assert!(server.try_wait().unwrap().is_none(), "the server ended by itself");
        std::thread::yield_now();
    }
    let through = |line: &str| {
        let (_, query) = bench.uri.split_once('?').unwrap();
        let pin = query.split('&').find(|part| part.starts_with("pin-source")).unwrap();
        let mut command = bench.keyward(line.split(' '));
        command.env("KEYWARD_TOKEN", format!("pkcs11:token=bench?module-path={client}&{pin}"));
        command.env("P11_KIT_SERVER_ADDRESS", format!("unix:path={}", socket.display()));
        Done::of(line, command.output().unwrap())
    };
    // The server lets no AES through.
    through("key create k").is(
        1,
        &[
            "keyward: error: token 'bench' cannot do aes-gcm or aes-kw",
            "keyward: hint: `keyward token info` shows what it can do",
        ],
    );
    through("key create r --algorithm rsa-oaep-sha1").ok();
    through("encrypt --key r --context a=b plain -o sealed").ok();
    through("key rotate r").ok();
    through("rewrap --from-key r sealed").ok();
    assert_eq!(through("decrypt --key r --context a=b sealed").ok(), "hello");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn tokens_that_are_not_there_or_not_one() {
    let bench = Bench::new();
    let module = bench.module.display().to_string();
    bench.refuses(
        &format!("--token pkcs11:token=other?module-path={module} key list"),
        5,
        &["keyward: error: no token matches pkcs11:token=other", "keyward: hint: the module shows: 'bench'"],
    );
    bench.init_token("bench");
    bench.refuses(
        "key list",
        5,
        &[
            "keyward: error: 2 tokens match pkcs11:token=bench",
            "keyward: hint: add serial=… to the URI; `keyward token list` shows the serial numbers",
        ],
    );
    let list: Value = serde_json::from_str(&bench.ok("token list --json")).unwrap();
    assert_eq!(list.as_array().unwrap().iter().filter(|token| token["label"] == "bench").count(), 2);
    let serial = list[0]["serial"].as_str().unwrap();
    let info: Value = serde_json::from_str(
        &bench.ok(&format!("--token pkcs11:serial={serial}?module-path={module} token info --json")),
    )
    .unwrap();
    assert_eq!(info["serial"], serial);
    assert_eq!(info["capabilities"]["aes_gcm"], true);
}

#[test]
fn no_token_or_a_bad_uri() {
    let bench = Bench::new();
    bench.refuses(
        "--token x key list",
        2,
        &[
            "keyward: error: a token is named by a PKCS#11 URI",
            "keyward: hint: as in pkcs11:token=LABEL?module-path=/path/to/module.so",
        ],
    );
    let line = "key list";
    let mut command = bench.keyward(line.split(' '));
    Done::of(line, command.env_remove("KEYWARD_TOKEN").output().unwrap()).is(2, &[
        "keyward: error: no token is named",
        "keyward: hint: give --token URI or set KEYWARD_TOKEN, as in pkcs11:token=LABEL?module-path=/path/to/module.so",
    ]);
}

const WRONG_PIN: [&str; 2] = [
    "keyward: error: cannot log in: C_Login answered CKR_PIN_INCORRECT",
    "keyward: hint: it was tried once and is not tried again; too many wrong PINs lock a token",
];

#[test]
fn a_wrong_pin_is_tried_once() {
    let bench = Bench::new();
    let with_pin = |uri: &str, pin: &str| {
        let line = format!("--token {uri} key list");
        let mut command = bench.keyward(line.split(' '));
        Done::of(&line, command.env("KEYWARD_PIN", pin).output().unwrap())
    };
    with_pin(&bench.uri_without_pin(), "wrong").is(6, &WRONG_PIN);
    let info: Value = serde_json::from_str(&bench.ok("token info --json")).unwrap();
    assert_eq!(info["pin_count_low"], true);
    // The PIN of the URI goes before that of the environment.
    assert_eq!(with_pin(&bench.uri, "wrong").status, 0);
    assert_eq!(with_pin(&bench.uri_without_pin(), PIN).status, 0);

    // OpenSC's spy writes down every call.
    let spy = "/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so";
    if Path::new(spy).exists() {
        let line = format!("--token pkcs11:token=bench?module-path={spy} key list");
        let mut command = bench.keyward(line.split(' '));
        command.env("PKCS11SPY", &bench.module).env("PKCS11SPY_OUTPUT", bench.path("calls"));
        Done::of(&line, command.env("KEYWARD_PIN", "wrong").output().unwrap()).is(6, &WRONG_PIN);
        let calls = String::from_utf8_lossy(&bench.read("calls")).into_owned();
        assert_eq!(calls.matches(": C_Login\n").count(), 1, "{calls}");
    }
}

#[test]
fn a_pin_is_needed_and_nobody_to_ask() {
    let bench = Bench::new();
    let line = format!("--token {} key list", bench.uri_without_pin());
    let mut command = bench.command("setsid");
    command.args(["--wait", crate::bench::KEYWARD]).args(line.split(' '));
    Done::of(&line, command.output().unwrap()).is(
        6,
        &[
            "keyward: error: token 'bench' needs a PIN",
            "keyward: hint: give it with pin-source=file:/path in the token URI",
        ],
    );
    let uri = format!("{}&pin-source=file:/nowhere", bench.uri_without_pin());
    bench.refuses(
        &format!("--token {uri} key list"),
        6,
        &["keyward: error: cannot open PIN file '/nowhere': No such file or directory (os error 2)"],
    );
}

#[test]
fn a_new_token() {
    let bench = Bench::new();
    bench.write("so", "so-secret");
    bench.write("user", "user-secret");
    let told = bench.ok("token init --label new --so-pin-file so --pin-file user -q");
    assert!(told.starts_with("initialized token 'new', serial "), "{told}");
    let uri = format!(
        "pkcs11:token=new?module-path={}&pin-source=file:{}",
        bench.module.display(),
        bench.path("user").display()
    );
    bench.ok(&format!("--token {uri} key create k"));
    bench.refuses(
        "token init --label x --so-pin-file none --pin-file user",
        6,
        &["keyward: error: cannot open PIN file 'none': No such file or directory (os error 2)"],
    );
}

#[test]
fn configuration_files() {
    let bench = Bench::new();
    let line = "--config conf key list";
    let without_token = || {
        let mut command = bench.keyward(line.split(' '));
        Done::of(line, command.env_remove("KEYWARD_TOKEN").output().unwrap())
    };
    bench.write("conf", format!("token = '{}'\nkeys = ['mine']\n", bench.uri));
    assert_eq!(without_token().status, 0);
    bench.ok("--config conf key create mine");
    bench.refuses(
        "--config conf key create other",
        1,
        &[
            "keyward: error: key 'other' is not among the keys that the configuration file allows",
            "keyward: hint: `keyward key list` shows the keys of the token",
        ],
    );
    bench.ok("key create other");
    bench.refuses(
        "--config conf data-key generate --key other",
        1,
        &[
            "keyward: error: key 'other' is not among the keys that may be used here",
            "keyward: hint: `keyward key list` shows the keys of the token",
        ],
    );
    bench.write("conf", "max_gcm_wraps = 0\n");
    assert_eq!(bench.run("--config conf data-key generate --key mine").status, 1);
    bench.write("conf", "tokn = 'x'\n");
    let refused = bench.run("--config conf key list");
    assert_eq!(refused.status, 2);
    let expected = "keyward: error: configuration file 'conf', line 1: unknown field `tokn`, expected one of `token`, ";
    assert!(refused.stderr.starts_with(expected) && refused.stderr.lines().count() == 1, "{}", refused.stderr);
    bench.refuses(
        "--config none key list",
        1,
        &["keyward: error: cannot read the configuration file 'none': No such file or directory (os error 2)"],
    );
}

#[test]
fn wrong_usage() {
    let bench = Bench::new();
    let cases = [
        ("key list --jsn", "unexpected argument '--jsn' found", "a similar argument exists: '--json'"),
        ("keys", "unrecognized subcommand 'keys'", "a similar subcommand exists: 'key'"),
        (
            "key create",
            "the following required arguments were not provided: <NAME>",
            "`keyward key create --help` says how",
        ),
        (
            "key create a:1",
            "invalid value 'a:1' for '<NAME>': 'a:1' is not a key name",
            "a key name is 1 to 64 of: A-Z a-z 0-9 . _ / -",
        ),
        (
            "key disable a",
            "invalid value 'a' for '<NAME:VERSION>': 'a' names no version",
            "write NAME:VERSION, as in payments:2",
        ),
        ("-q -v key list", "the argument '--quiet' cannot be used with '--verbose...'", "`keyward --help` says how"),
    ];
    for (line, error, hint) in cases {
        bench.refuses(line, 2, &[&format!("keyward: error: {error}"), &format!("keyward: hint: {hint}")]);
    }
}

#[test]
fn help_completions_and_manual_pages() {
    let bench = Bench::new();
    assert_eq!(bench.ok("--version"), concat!("keyward ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = bench.ok("--help");
    assert!(help.contains("Exit status:") && !help.contains(&bench.uri), "{help}");
    assert!(bench.ok("completions bash").contains("complete -F _keyward"));
    bench.ok("man .");
    assert!(String::from_utf8(bench.read("keyward-key-create.1")).unwrap().contains("keyward"));
    bench.ok("man made/for-it");
    assert_eq!(bench.read("made/for-it/keyward.1"), bench.read("keyward.1"));
}

#[test]
fn a_reader_that_goes_away_is_no_error_to_tell() {
    let bench = Bench::new();
    let mut command = bench.command("sh");
    command.args([
        "-c",
        r#"{ "$1" completions bash; echo "status $?" >&2; } | head -c 1"#,
        "sh",
        crate::bench::KEYWARD,
    ]);
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    // The script may fit into the pipe before the reader has gone.
    assert!(["status 0\n", "status 1\n"].contains(&stderr.as_str()), "{stderr}");
}

#[test]
fn an_initialized_token_is_erased_only_by_its_serial_number() {
    let bench = Bench::new();
    bench.ok("key create payments");
    let tokens: Value = serde_json::from_str(&bench.ok("token list --json")).unwrap();
    let find = |label: &str| tokens.as_array().unwrap().iter().find(|token| token["label"] == label).unwrap().clone();
    let serial = find("bench")["serial"].as_str().unwrap().to_owned();
    bench.write("officer", "0815-officer");
    bench.write("wrong", "0815-nobody");
    bench.write("user", PIN);
    let init = |officer: &str, serial: &str| {
        format!("token init --label bench --so-pin-file {officer} --pin-file user --danger-erase {serial}")
    };
    bench.refuses(
        &init("officer", "0123"),
        5,
        &[
            "keyward: error: no initialized token has the serial number that is to be erased",
            "keyward: hint: `keyward token list` shows the serial numbers",
        ],
    );
    let refused = "keyward: error: cannot initialize the token: C_InitToken answered CKR_PIN_INCORRECT";
    let hint = "keyward: hint: it was tried once and is not tried again; too many wrong PINs lock a token";
    bench.refuses(&init("wrong", &serial), 6, &[refused, hint]);
    assert!(bench.ok("key list").contains("payments:1"));
    let erased = bench.ok(&init("officer", &serial));
    assert!(erased.starts_with("initialized token 'bench', serial "), "{erased}");
    assert_eq!(bench.ok("key list -q"), "");
}

#[test]
fn keys_of_the_configuration_bind_every_command() {
    let bench = Bench::new();
    let generate = ["--keygen", "--key-type", "AES:32", "--private", "--sensitive", "--usage-decrypt", "--id", "aa01"];
    tool(&bench, &[&generate[..], &["--label", "vendor"]].concat());
    bench.ok("key create other");
    bench.write("conf", "keys = ['mine']\n");
    let before = bench.ok("key list --json");
    for (line, name) in [
        ("create new", "new"),
        ("show other", "other"),
        ("prove other", "other"),
        ("rotate other", "other"),
        ("disable other:1", "other"),
        ("enable other:1", "other"),
        ("destroy other:1 --yes", "other"),
        ("usage other .", "other"),
        ("adopt vendor", "vendor"),
        ("adopt vendor:1", "vendor"),
        ("public other", "other"),
    ] {
        let done = bench.run(&format!("--config conf key {line}"));
        let said = format!("keyward: error: key '{name}' is not among the keys that the configuration file allows\n");
        assert!(done.stderr.starts_with(&said), "{line}: {}", done.stderr);
        assert_eq!(done.status, 1, "{line}");
    }
    assert_eq!(bench.ok("key list --json"), before);
}

#[test]
fn relative_module_path_is_refused() {
    let bench = Bench::new();
    std::fs::copy(&bench.module, bench.path("libsofthsm2.so")).unwrap();
    for path in ["libsofthsm2.so", "./libsofthsm2.so"] {
        bench.refuses(
            &format!("--token pkcs11:token=bench?module-path={path} key list"),
            2,
            &[
                &format!("keyward: error: the path of the PKCS#11 module is not absolute: '{path}'"),
                "keyward: hint: as in module-path=/usr/lib/softhsm/libsofthsm2.so",
            ],
        );
    }
}
