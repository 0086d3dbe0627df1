//! The encryption context.

use crate::fixture::DEK;
use crate::fixture::{assert_kind, assert_malformed, context, every_way, good, keyring, name, sealed};
use crate::keyring::{Keyring, wrap};
use crate::raw::{self, Envelope, SlotCopy};
use keyward::{Decryptor, EncryptionContext, Encryptor, ErrorKind, Result};

/// An envelope that is authentic for these bytes as its context.
fn with(context: Vec<u8>) -> Envelope {
    let mut envelope = good();
    envelope.a = SlotCopy::new(1, &[wrap("main", 2, &context, &DEK).bytes()]).bytes();
    envelope.core.context = context;
    envelope
}

fn read_any(envelope: &Envelope) -> Result<Vec<u8>> {
    let keyring = keyring();
    every_way(|| Decryptor::new(&keyring).any_context(), &envelope.bytes())
}

#[test]
fn malformed_contexts_are_refused() {
    let many: Vec<_> = (0..65).map(|i| (format!("{i:02}"), "")).collect();
    let cases = [
        ("count 0", vec![0, 0]),
        ("one byte", vec![0]),
        ("65 pairs", raw::context(&many)),
        ("a byte left over", [raw::context(&[("a", "b")]), vec![0]].concat()),
        ("a pair left over", [raw::context(&[("a", "b")]), raw::context(&[("c", "d")])[2..].to_vec()].concat()),
        ("a pair missing", [vec![0, 2], raw::context(&[("a", "b")])[2..].to_vec()].concat()),
        ("a key cut short", vec![0, 1, 0, 2, b'a']),
        ("no value", vec![0, 1, 0, 1, b'a']),
        ("a value cut short", vec![0, 1, 0, 1, b'a', 0, 2, b'b']),
        ("unsorted", raw::context(&[("b", ""), ("a", "")])),
        ("unsorted by bytes", raw::context(&[("a", ""), ("B", "")])),
        ("a prefix after", raw::context(&[("ab", ""), ("a", "")])),
        ("a key twice", raw::context(&[("a", "1"), ("a", "2")])),
        ("a pair twice", raw::context(&[("a", "1"), ("a", "1")])),
        ("empty key", raw::context(&[("", "x")])),
        ("key not UTF-8", raw::context(&[(&b"\xff"[..], "x")])),
        ("key of overlong UTF-8", raw::context(&[(&b"\xc0\x80"[..], "x")])),
        ("value not UTF-8", raw::context(&[("a", &b"\xed\xa0\x80"[..])])),
        ("8193 bytes", raw::context(&[("k", "x".repeat(8193 - 2 - 4 - 1))])),
    ];
    for (case, bytes) in cases {
        assert_malformed(&with(bytes), case);
    }
}

#[test]
fn a_context_length_that_is_not_the_contexts_is_refused() {
    let true_len = u16::try_from(good().core.context.len()).unwrap();
    for len in [true_len - 1, true_len + 1, 8192, 8193, u16::MAX] {
        let mut envelope = good();
        envelope.core.context_len = Some(len);
        assert_malformed(&envelope, format!("{len} instead of {true_len}"));
    }
    let mut envelope = good();
    envelope.core.context_len = Some(0);
    let refused = read_any(&envelope).unwrap_err();
    // The context is read as slots then.
    assert_eq!(refused.kind(), ErrorKind::NotAnEnvelope, "{refused}");
}

#[test]
fn contexts_at_the_limits_open() {
    let many: Vec<_> = (0..64).map(|i| (format!("{i:02}"), "")).collect();
    for (case, bytes) in [
        ("none", Vec::new()),
        ("64 pairs", raw::context(&many)),
        ("8192 bytes", raw::context(&[("k", "x".repeat(8192 - 2 - 4 - 1))])),
        ("sorted by bytes", raw::context(&[("B", ""), ("a", ""), ("ab", ""), ("ä", "")])),
        ("empty value", raw::context(&[("a", "")])),
    ] {
        let envelope = with(bytes);
        assert_eq!(read_any(&envelope).unwrap(), envelope.plaintext, "{case}");
    }
}

#[test]
fn only_the_very_same_context_opens_and_no_key_is_tried_for_another() {
    let expected = context();
    let file = sealed(b"text");
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("none", &[]),
        ("another value", &[("tenant", "acmf")]),
        ("a longer value", &[("tenant", "acme ")]),
        ("an empty value", &[("tenant", "")]),
        ("another case", &[("Tenant", "acme")]),
        ("key and value swapped", &[("acme", "tenant")]),
        ("one more", &[("tenant", "acme"), ("x", "")]),
        ("the border moved", &[("tenanta", "cme")]),
    ];
    for (case, pairs) in cases {
        let keyring = keyring();
        let wrong = EncryptionContext::from_pairs(pairs.iter().copied()).unwrap();
        let answer = every_way(|| Decryptor::new(&keyring).context(wrong.clone()), &file);
        assert_kind(answer, ErrorKind::ContextMismatch, case);
        assert_eq!(keyring.calls(), 0, "{case}: compared before any call");
    }
    let keyring = keyring();
    let none = every_way(|| Decryptor::new(&keyring), &file);
    assert_kind(none, ErrorKind::ContextMismatch, "no expectation means the empty context");
    assert_eq!(every_way(|| Decryptor::new(&keyring).context(expected.clone()), &file).unwrap(), b"text");
    assert_eq!(every_way(|| Decryptor::new(&keyring).any_context(), &file).unwrap(), b"text");
}

#[test]
fn a_file_without_context_opens_for_none_only() {
    let keyring = keyring();
    let file = Encryptor::new(&keyring, &name("main")).encrypt(b"text").unwrap();
    assert_eq!(every_way(|| Decryptor::new(&keyring), &file).unwrap(), b"text");
    assert_eq!(every_way(|| Decryptor::new(&keyring).any_context(), &file).unwrap(), b"text");
    let answer = every_way(|| Decryptor::new(&keyring).context(context()), &file);
    assert_kind(answer, ErrorKind::ContextMismatch, "a context where there is none");
}

#[test]
fn any_context_still_authenticates_the_context() {
    // CORE and body agree on a context for which the data key was not wrapped.
    let mut envelope = good();
    envelope.core.context = raw::context(&[("tenant", "evil")]);
    assert_kind(read_any(&envelope), ErrorKind::NotAuthentic, "wrapped for another context");
    let keyring = Keyring::new(&[("main", 2)]);
    let evil = EncryptionContext::from_pairs([("tenant", "evil")]).unwrap();
    let answer = every_way(|| Decryptor::new(&keyring).context(evil.clone()), &envelope.bytes());
    assert_kind(answer, ErrorKind::NotAuthentic, "wrapped for another context, expected by the reader");
}
