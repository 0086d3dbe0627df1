//! A child that was forked does not use its parent's token: PKCS#11 forbids it (`C_Initialize`), and modules
//! crash or talk into the parent's connection. Alone in its process, because it forks. Run under `softhsm/with`.
#![allow(unsafe_code)] // fork

use keyward::testkit::SoftToken;
use keyward::token::{Module, Token, TokenOptions};
use keyward::{AlgorithmChoice, DataKey, DataKeyLength, EncryptionContext, ErrorKind, KeyAdmin, KeyName, KeyProvider};
use std::time::Duration;

/// What `child` returns, as the exit status of a forked process.
fn in_a_child(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child allocates, which the C library allows after a fork, and leaves without
    // running what its parent registered.
    unsafe {
        match libc::fork() {
            -1 => panic!("cannot fork"),
            0 => libc::_exit(child()),
            pid => {
                let mut status = 0;
                assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
                assert!(libc::WIFEXITED(status), "the child ended by a signal");
                libc::WEXITSTATUS(status)
            }
        }
    }
}

/// A child has zeros in the place of a data key, under which nothing may be encrypted. Keys of its own it may have.
fn a_child_has_no_data_key_of_its_parent() {
    let key = DataKey::from_slice(&[7; 32]).unwrap();
    let status = in_a_child(|| {
        let used = std::panic::catch_unwind(|| key.expose_secret().to_vec());
        let own = DataKey::from_slice(&[8; 32]).unwrap();
        i32::from(used.is_ok()) + 2 * i32::from(own.expose_secret() != [8; 32])
    });
    assert_eq!(status, 0, "1: the key of the parent can be used; 2: no key of its own can");
    assert_eq!(key.expose_secret(), [7; 32]);
}

#[test]
fn a_forked_child_is_refused_and_harms_nobody() {
    a_child_has_no_data_key_of_its_parent();
    #[cfg(feature = "governed")]
    a_log_is_written_by_the_process_that_opened_it();
    let soft = SoftToken::new();
    let key: KeyName = "a".parse().unwrap();
    let context = EncryptionContext::new();
    for limited in [false, true] {
        let mut options = TokenOptions::default().pin(soft.pin());
        if limited {
            options = options.call_timeout(Duration::from_secs(10));
        }
        let token = Token::open_with(&soft.uri(), options).unwrap();
        let hsm = keyward::hsm::HsmProvider::new(token);
        if !limited {
            hsm.create_key(&key, AlgorithmChoice::Auto).unwrap();
        }
        let (_, wrapped) = hsm.generate_data_key(&key, &context, DataKeyLength::Bytes32).unwrap();
        let mut in_parent = Some(hsm);
        let status = in_a_child(|| {
            let hsm = in_parent.take().unwrap();
            let refused =
                |error: &keyward::Error| error.kind() == ErrorKind::ModuleUnavailable && error.hint().is_some();
            let all = [
                hsm.unwrap_data_key(&wrapped, &context).map(drop),
                hsm.generate_data_key(&key, &context, DataKeyLength::Bytes32).map(drop),
                hsm.list_keys().map(drop),
                Module::load(&SoftToken::module_path()).map(drop),
                Token::open_with(&soft.uri(), TokenOptions::default().pin(soft.pin())).map(drop),
            ];
            for (number, answer) in (1..).zip(all) {
                match answer {
                    Err(error) if refused(&error) => {}
                    _ => return number,
                }
            }
            // Closing sessions in the child would close the parent's.
            drop(hsm);
            0
        });
        assert_eq!(status, 0, "the number of the call that was not refused");
        // The parent goes on with the sessions that it has.
        in_parent.unwrap().unwrap_data_key(&wrapped, &context).unwrap();
    }
}

#[cfg(feature = "governed")]
fn a_log_is_written_by_the_process_that_opened_it() {
    use keyward::audit::{AuditLog, AuditOptions, Event, Outcome, Verify};
    use keyward::key::{Operation, Principal};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let log = AuditLog::open(&path, AuditOptions::default()).unwrap();
    let event = Event::new(Operation::ListKeys, &Principal::new("alice").unwrap());
    let pending = log.begin(event.clone()).unwrap();
    let mut in_parent = Some((log, pending));
    let status = in_a_child(|| {
        let (log, pending) = in_parent.take().unwrap();
        // The thread that writes stayed in the parent: waiting for it would be waiting for ever.
        let all = [log.begin(event.clone()).map(drop), log.flush(), log.close(), log.anchor().map(drop)];
        let refused = all.iter().filter(|answer| answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Io));
        let refused = refused.count();
        pending.finish(Outcome::of(&Ok(())));
        drop(log);
        i32::from(refused != all.len())
    });
    assert_eq!(status, 0, "a call that was not refused");
    let (log, pending) = in_parent.unwrap();
    pending.finish(Outcome::of(&Ok(())));
    log.close().unwrap();
    let report = Verify::new(&path).run().unwrap();
    assert_eq!((report.entries, report.finding), (3, None));
}
