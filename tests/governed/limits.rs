//! How often a host may wrap under one AES-GCM key version.

use super::*;
use keyward::key::VersionReuse;

fn generate(provider: &impl KeyProvider) -> Result<WrappedKeys> {
    Ok(provider.generate_data_key(&key(), &context(), DataKeyLength::Bytes32)?.1)
}

#[test]
fn a_host_wraps_its_share_and_not_once_more() {
    let (spy, log) = (spy(), Log::new());
    let opened = log.open();
    let three = governed(&spy).log(opened.clone()).max_gcm_wraps(3);
    let wrapped = generate(&three).unwrap();
    three.wrap_data_key(&key(), &context(), &keyward::DataKey::from_slice(&[7; 32]).unwrap()).unwrap();
    three
        .as_principal(Principal::new("bob").unwrap())
        .rewrap_data_key(&wrapped, &context(), &key(), keyward::Origin::Unverified)
        .unwrap();
    spy.asked();
    let error = assert_kind(generate(&three), ErrorKind::LimitExceeded);
    assert!(error.to_string().contains("limit of 3 AES-GCM wraps under key 'payments:1'"), "{error}");
    assert!(!spy.asked().contains(&"generate"));
    // Recovering goes on, and a new version starts from nothing.
    three.unwrap_data_key(&wrapped, &context()).unwrap();
    three.rotate_key(&key(), None).unwrap();
    generate(&three).unwrap();
    opened.close().unwrap();

    // The count outlives the process that made it.
    spy.keys.destroy_key(&key(), KeyVersion::FIRST.next().unwrap(), VersionReuse::Refuse).unwrap();
    spy.keys.enable_key(&key(), KeyVersion::FIRST).unwrap();
    assert_kind(generate(&governed(&spy).log(log.open()).max_gcm_wraps(3)), ErrorKind::LimitExceeded);
    generate(&governed(&spy).log(log.open()).max_gcm_wraps(4)).unwrap();
}

#[test]
fn processes_of_one_host_share_the_count() {
    // Two logs on one file are to each other what two processes are.
    let (spy, log) = (spy(), Log::new());
    let [one, other] = [log.open(), log.open()].map(|log| governed(&spy).log(log).max_gcm_wraps(10));
    let mut done = 0;
    for turn in 0..20 {
        let turn = if turn % 2 == 0 { &one } else { &other };
        match generate(turn) {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}"),
        }
    }
    assert_eq!(done, 10);
}

#[test]
fn hosts_share_what_one_key_allows() {
    let (spy, log) = (spy(), Log::new());
    let hosts = u32::MAX.try_into().unwrap();
    // 2^32 / (2^32 - 1), rounded down.
    let one = governed(&spy).log(log.open()).hosts(hosts);
    generate(&one).unwrap();
    assert_kind(generate(&one), ErrorKind::LimitExceeded);
}

#[test]
fn at_half_of_it_the_log_of_the_program_says_so_once() {
    let told = Told::default();
    let told_in = told.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || told_in.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, || {
        let (spy, log) = (spy(), Log::new());
        let four = governed(&spy).log(log.open()).max_gcm_wraps(4);
        (0..2).for_each(|_| drop(generate(&four).unwrap()));
        assert_eq!(told.text(), "");
        (0..2).for_each(|_| drop(generate(&four).unwrap()));
    });
    let text = told.text();
    assert_eq!(text.matches("more than half of this host's AES-GCM wraps are used up").count(), 1, "{text}");
    assert!(text.contains("payments:1"), "{text}");
}

#[derive(Clone, Default)]
struct Told(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Told {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
