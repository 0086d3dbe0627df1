//! Makes the seeds in `corpus/`: `fuzz/seed` runs it.
//!
//! A handful for each target, one for each shape that the target's parser knows.

use keyward::key::CustomerKey;
use keyward::{
    AlgorithmChoice, EncryptionContext, Encryptor, KekId, KeyAdmin, KeyName, WrapOccasion, WrappedKey,
    WrappingAlgorithm,
};
use keyward_fuzz::originals::CUSTOMER_KEY;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    envelopes(&corpus.join("envelope"))?;
    wrapped_keys(&corpus.join("wrapped_key"))?;
    audit_lines(&corpus.join("audit_line"))?;
    texts(&corpus.join("token_uri"), &TOKEN_URIS)?;
    texts(&corpus.join("config"), &CONFIGS)?;
    texts(&corpus.join("names"), &NAMES)?;
    texts(&corpus.join("policy"), &POLICIES)?;
    ceremonies(&corpus)?;
    let context = EncryptionContext::from_pairs([("tenant", "acme"), ("empty", "")])?;
    write(&corpus.join("names"), "context", &context.to_bytes())
}

fn envelopes(directory: &Path) -> Result<()> {
    // These open: the customer's key is fixed.
    let customer = CustomerKey::from_slice(&CUSTOMER_KEY)?;
    let own = || Encryptor::with_customer_key(&customer).slots_len(320);
    write(directory, "customer", &own().encrypt(b"hello")?)?;
    write(directory, "customer-empty", &own().encrypt(b"")?)?;
    let context = EncryptionContext::from_pairs([("tenant", "acme")])?;
    write(directory, "customer-context", &own().context(context.clone()).encrypt(b"hello")?)?;
    write(directory, "customer-two-chunks", &own().encrypt(&[7; 16384])?)?;
    let compact = Encryptor::with_customer_key(&customer).compact();
    write(directory, "customer-compact", &compact.encrypt(b"hello")?)?;

    // The provider's keys are gone after this run; these can be inspected.
    let provider = keyward::testkit::MemoryProvider::new();
    let key: KeyName = "key".parse()?;
    provider.create_key(&key, AlgorithmChoice::Auto)?;
    let keyed = || Encryptor::new(&provider, &key);
    write(directory, "provider", &keyed().context(context).encrypt(b"hello")?)?;
    write(directory, "provider-compact", &keyed().compact().encrypt(b"hello")?)?;
    let (mut writer, slots) = keyed().writer_detached(Vec::new())?;
    writer.write_all(b"hello")?;
    write(directory, "detached", &writer.finish()?)?;
    let wrapped_key = directory.with_file_name("wrapped_key");
    write(&wrapped_key, "detached-slots", slots.as_bytes())?;

    // Scripts of edits: which original, which other, then kind, offset, length and value.
    write(directory, "edit-nothing", &[0, 1])?;
    write(directory, "edit-flip", &[0, 1, 0, 0, 40, 0, 0, 1])?;
    write(directory, "edit-truncate", &[2, 1, 2, 0x40, 0, 0, 0, 0])?;
    write(directory, "edit-splice-and-repair", &[0, 1, 5, 0, 50, 0, 128, 0, 7, 0, 0, 0, 0, 0])?;
    write(directory, "edit-body-of-another", &[0, 1, 6, 1, 50, 0, 0, 0])?;
    write(directory, "edit-detached", &[4, 0, 3, 0, 34, 0, 16, 0])?;
    write(directory, "edit-customer", &[3, 0, 4, 0, 34, 0, 4, 9])?;
    write(directory, "edit-compact-tag", &[5, 0, 0, 0, 210, 0, 0, 1])?;
    write(directory, "edit-compact-body-of-another", &[5, 6, 6, 0, 250, 0, 0, 0])
}

fn wrapped_keys(directory: &Path) -> Result<()> {
    let id = KekId::from_bytes([9; 16]);
    let mut several = Vec::new();
    for (algorithm, parameters, ciphertext) in [
        (WrappingAlgorithm::AesGcm, 12, 48),
        (WrappingAlgorithm::AesKw, 0, 72),
        (WrappingAlgorithm::RsaOaep, 0, 384),
        (WrappingAlgorithm::RsaOaepSha1, 0, 256),
        (WrappingAlgorithm::CustomerKey, 32, 32),
    ] {
        let of = |occasion| WrappedKey::new(occasion, algorithm, id, vec![1; parameters], vec![2; ciphertext]);
        write(directory, algorithm.name(), &of(WrapOccasion::Generation)?.to_bytes())?;
        let bytes = of(WrapOccasion::Later)?.to_bytes();
        several.extend(u16::try_from(bytes.len())?.to_be_bytes());
        several.extend(bytes);
    }
    write(directory, "several", &several)
}

/// A line of every kind that a log of a few operations has, and a public key.
fn audit_lines(directory: &Path) -> Result<()> {
    use keyward::audit::{AuditLog, AuditOptions, Event, Outcome};
    use keyward::key::{Operation, Principal};
    let log_directory = directory.with_file_name("audit.tmp");
    fs::create_dir_all(&log_directory)?;
    let path = log_directory.join("audit.log");
    let context = EncryptionContext::from_pairs([("tenant", "acme \"\u{e9}\u{7}")])?;
    let alice = Principal::new("alice")?;
    let (key, kek): (KeyName, _) = ("payments".parse()?, KekId::from_bytes([7; 16]));
    for (tail, rotate_at) in [("", u64::MAX), ("torn", 100)] {
        let torn = [fs::read(&path).unwrap_or_default(), tail.into()].concat();
        fs::write(&path, torn)?;
        let log = AuditLog::open(&path, AuditOptions::default().sign_every(1).rotate_at(rotate_at))?;
        let event = Event::new(Operation::Wrap, &alice).key(&key).key(kek).context(&context).wraps(kek);
        log.begin(event.clone())?.finish(Outcome::unknown().key(kek));
        log.refused(event, &keyward::Error::new(keyward::ErrorKind::PolicyDenied, "no"));
        log.close()?;
    }
    for file in fs::read_dir(&log_directory)? {
        for line in fs::read(file?.path())?.split(|byte| *byte == b'\n') {
            if let Some(line) = keyward::audit::Line::parse(line) {
                let value: String = String::from_utf8(line.to_bytes())?;
                let kind = value.split("\"kind\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("none");
                write(directory, kind, value.as_bytes())?;
            }
        }
    }
    fs::remove_dir_all(log_directory)?;
    write(directory, "public-key", AUDIT_KEY.as_bytes())
}

/// A plan, and a line of every kind that the transcript of a ceremony of a few steps has.
fn ceremonies(corpus: &Path) -> Result<()> {
    use keyward::ceremony::{Answers, Begin, Bundle, Decision, Fact, Journal, Plan, script, shares};
    let (plans, lines) = (corpus.join("ceremony_plan"), corpus.join("ceremony_line"));
    let text = Answers::example().to_toml();
    write(&plans, "example", text.as_bytes())?;
    let bare: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    write(&plans, "bare", bare.join("\n").as_bytes())?;
    write(&plans, "cut", &text.as_bytes()[..text.len() / 2])?;

    let directory = tempfile::tempdir()?;
    let bundle = Bundle::create(&directory.path().join("bundle"), &text)?;
    let mut journal = Journal::begin(&bundle, Begin::new("1").rehearsal(true))?;
    let steps = script(&Plan::parse(&text)?);
    let (step, by) = (&steps[0].id, &steps[0].confirmed_by);
    journal.intent(step, by)?;
    journal.failed(step, keyward::ErrorKind::Io, vec![Fact::Note { text: "a \"\u{e9}\"".into() }])?;
    journal.exception(Some(step), ["this", "that", "so"], Decision::Again, by)?;
    journal.unlocked(by, vec![by.clone()], vec![Plan::hash("")])?;
    journal.clock("it was set", by)?;
    drop(journal);
    Journal::resume(&bundle, "1", None)?.close()?;
    for line in bundle.transcript()?.lines() {
        let text = String::from_utf8(line.to_bytes())?;
        let kind = text.split("\"kind\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("none");
        write(&lines, kind, text.as_bytes())?;
    }
    let pin = shares::SharedPin::from_random(&[1; 8])?;
    let set = shares::Set::new(&keyward::ceremony::Id::from_bytes([1; 16]), &"primary".parse()?);
    let zeros = |bytes: &mut [u8]| {
        bytes.fill(0);
        Ok(())
    };
    write(&lines, "share", shares::split(&pin, &set, 2, 2, zeros)?[0].to_text().as_bytes())?;
    write(&lines, "witness", b"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")
}

/// The base point of the curve: a key whose private half everybody knows.
const AUDIT_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
";

const TOKEN_URIS: [(&str, &str); 5] = [
    ("usual", "pkcs11:token=demo?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin"),
    ("pin", "pkcs11:serial=0123abcd?pin-value=12%2034&module-path=/m.so"),
    ("all", "pkcs11:token=my%20token;serial=1;manufacturer=Snake%20Oil,%20Inc.;model=1.0?module-path=/a%26b.so"),
    ("scheme", "PKCS11:"),
    ("refused", "pkcs11:token=%C3%A9;slot-id=3?module-name=softhsm2"),
];

const CONFIGS: [(&str, &str); 3] = [
    (
        "all",
        "token = 'pkcs11:token=x'\nkeys = ['a', 'b/c']\nmax_sessions = 4\nsession_timeout_seconds = 5\nmax_gcm_wraps = 6\n",
    ),
    ("refused", "# a comment\nkeys = [\"a b\"]\nmax_sessions = 0\n"),
    ("cut", "keys = ['a',\n  'b"),
];

const NAMES: [(&str, &str); 6] = [
    ("name", "payments/cards_2.x-y"),
    ("version", "4294967295"),
    ("kek-id", "0123456789abcdefABCDEF0123456789"),
    ("algorithm", "rsa-oaep-sha1"),
    ("pairs", "tenant=acme\nobject=7\n"),
    ("public-key", PUBLIC_KEY),
];

const POLICIES: [(&str, &str); 7] = [
    ("service", include_str!("../../docs/policies/service.cedar")),
    ("duties", include_str!("../../docs/policies/duties.cedar")),
    ("tenants", include_str!("../../docs/policies/tenants.cedar")),
    ("break-glass", include_str!("../../docs/policies/break-glass.cedar")),
    ("auditor", include_str!("../../docs/policies/auditor.cedar")),
    (
        "attributes",
        "permit(principal, action == Keyward::Action::\"Unwrap\", resource) when {\n  resource.version + 1 > 2 && \
         resource.name like \"a*\" || !resource.managed && [\"active\"].contains(resource.state)\n};\n",
    ),
    (
        "refused",
        "@id(\"a;b\") // c;\nforbid(principal is Keyward::User, action, resource) unless { resource has state };",
    ),
];

/// Of a key that was made for this and used for nothing.
const PUBLIC_KEY: &str = include_str!("public-key.txt");

fn texts(directory: &Path, texts: &[(&str, &str)]) -> Result<()> {
    texts.iter().try_for_each(|(name, text)| write(directory, name, text.as_bytes()))
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    fs::create_dir_all(directory)?;
    let path: PathBuf = directory.join(name);
    Ok(fs::write(path, bytes)?)
}
