//! What can be watched: metrics and traces say what happens on the token, and nothing that is secret. Alone
//! in its process, whose recorder and subscriber it sets. Run under `softhsm/with`, after
//! `cargo build -p keyward-fault`.
#[path = "faults/faulty.rs"]
#[allow(dead_code, reason = "what the other tests need of it")]
mod faulty;

use faulty::Faulty;
use keyward::{DataKeyLength, EncryptionContext, ErrorKind, KeyProvider, WrappingAlgorithm};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What was counted under this name since the last time, with its labels: `function=C_Encrypt,code=CKR_OK`.
fn counted(snapshotter: &Snapshotter) -> Vec<(String, String, DebugValue)> {
    let all = snapshotter.snapshot().into_vec();
    all.into_iter()
        .map(|(key, _, _, value)| {
            let labels = key.key().labels().filter(|label| label.key() != "token");
            let labels: Vec<_> = labels.map(|label| format!("{}={}", label.key(), label.value())).collect();
            (key.key().name().to_owned(), labels.join(","), value)
        })
        .collect()
}

#[test]
fn metrics_and_traces_tell_what_happens_and_no_secret() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::NEW)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let faulty = Faulty::new();
    let (hsm, key) = faulty.with_key(WrappingAlgorithm::AesGcm, faulty.options());
    let context = EncryptionContext::from_pairs([("patient", "Jane Roe")]).unwrap();
    let (data_key, wrapped) = hsm.generate_data_key(&key, &context, DataKeyLength::Bytes32).unwrap();
    counted(&snapshotter);
    hsm.generate_data_key(&key, &context, DataKeyLength::Bytes32).unwrap();
    hsm.unwrap_data_key(&wrapped, &context).unwrap();
    let is = |all: &[(String, String, DebugValue)], name: &str, labels: &str, value: u64| {
        let found = all.iter().find(|one| one.0 == name && one.1 == labels);
        assert!(matches!(found, Some((_, _, DebugValue::Counter(n))) if *n == value), "{name} {labels}: {all:?}");
    };
    let all = counted(&snapshotter);
    is(&all, "keyward_token_calls_total", "function=C_Encrypt,code=CKR_OK", 1);
    is(&all, "keyward_token_calls_total", "function=C_Decrypt,code=CKR_OK", 1);
    is(&all, "keyward_key_cache_total", "outcome=hit", 1);
    is(&all, "keyward_key_cache_total", "outcome=miss", 1);
    for histogram in ["keyward_token_call_seconds", "keyward_session_wait_seconds"] {
        let some = |one: &(String, String, DebugValue)| {
            one.0 == histogram && matches!(&one.2, DebugValue::Histogram(values) if !values.is_empty())
        };
        assert!(all.iter().any(some), "{histogram}: {all:?}");
    }

    // It goes away, is opened again, and refuses altered bytes.
    faulty.script("* 1 drop-sessions");
    hsm.unwrap_data_key(&wrapped, &context).unwrap();
    let refused = hsm.unwrap_data_key(&wrapped, &EncryptionContext::new()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotAuthentic);
    let all = counted(&snapshotter);
    is(&all, "keyward_token_calls_total", "function=C_Decrypt,code=CKR_SESSION_HANDLE_INVALID", 1);
    is(&all, "keyward_token_reopened_total", "outcome=opened", 1);
    assert!(all.iter().any(|one| one.0 == "keyward_token_down"), "{all:?}");

    let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(told.contains("token_call") && told.contains("C_Decrypt"), "calls are spans: {told}");
    assert!(told.contains("the token went away") && told.contains("opened the token again"), "{told}");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let secret = data_key.expose_secret();
    for (what, text) in [
        ("the PIN", "test-user-pin".to_owned()),
        ("a context's value", "Jane Roe".to_owned()),
        ("a context's key", "patient".to_owned()),
        ("a data key", hex(secret)),
        ("a data key", format!("{secret:?}")),
    ] {
        assert!(!told.contains(&text), "{what} is in the log");
        assert!(!format!("{all:?}").contains(&text), "{what} is in the metrics");
    }
}
