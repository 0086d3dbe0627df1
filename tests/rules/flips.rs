//! Every byte of a file counts: altered, cut and extended files.

use crate::fixture::{assert_kind, decrypt, keyring, read, sealed, slot_copy};
use crate::raw::{BODY_HEADER, Parts};
use keyward::envelope::inspect;
use keyward::{Decryptor, ErrorKind};

const TEXT: &[u8] = &[0x77; 300];

fn flipped(bytes: &[u8], at: usize, mask: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= mask;
    bytes
}

fn masks() -> impl Iterator<Item = u8> {
    (0..8).map(|bit| 1 << bit).chain([0xff])
}

#[test]
fn no_bit_of_core_can_be_flipped() {
    let file = sealed(TEXT);
    for at in 0..Parts::of(&file).core.len() {
        for mask in masks() {
            let bytes = flipped(&file, at, mask);
            let error = decrypt(&bytes).expect_err("altered CORE");
            let kinds: &[ErrorKind] = match at {
                // The lowest flag says that the slots are kept elsewhere, where there are none.
                11 if mask == 1 => &[ErrorKind::InvalidArgument, ErrorKind::NotAnEnvelope],
                12..28 => &[ErrorKind::NotAuthentic],
                // Another slots length may still find the area A where it was.
                28..32 => &[ErrorKind::NotAnEnvelope, ErrorKind::NotAuthentic],
                32.. => &[ErrorKind::NotAnEnvelope, ErrorKind::ContextMismatch],
                _ => &[ErrorKind::NotAnEnvelope],
            };
            assert!(kinds.contains(&error.kind()), "byte {at} ^ {mask:#x}: {error:?}");
            // Without an expectation the context is still part of what is authenticated.
            let keyring = keyring();
            Decryptor::new(&keyring).any_context().decrypt(&bytes).expect_err("altered CORE, any context");
        }
    }
}

#[test]
fn no_bit_of_the_active_copy_can_be_flipped_and_the_empty_copy_does_not_count() {
    let file = sealed(TEXT);
    let parts = Parts::of(&file);
    let (slots_at, area_len) = (parts.core.len(), parts.slots.len() / 2);
    assert!(parts.slot_copies().1.iter().all(|byte| *byte == 0));
    for at in 0..parts.slots.len() {
        for mask in masks() {
            let answer = decrypt(&flipped(&file, slots_at + at, mask));
            if at < area_len {
                assert_kind(answer, ErrorKind::NotAnEnvelope, format!("byte {at} ^ {mask:#x} of the active slot copy"));
            } else {
                assert_eq!(answer.unwrap(), TEXT, "byte {at} ^ {mask:#x} of SLOTS");
            }
        }
    }
}

#[test]
fn a_flip_in_one_of_two_whole_copies_never_gives_another_plaintext() {
    let mut envelope = crate::fixture::good();
    envelope.core.slots_len = 320;
    (envelope.a, envelope.b) = (slot_copy(1).bytes(), slot_copy(2).bytes());
    let file = envelope.bytes();
    let slots_at = envelope.core.bytes().len();
    for at in 0..320 {
        for mask in [0x01, 0x80] {
            let answer = decrypt(&flipped(&file, slots_at + at, mask));
            assert_eq!(answer.unwrap(), envelope.plaintext, "byte {at} ^ {mask:#x}");
        }
    }
}

#[test]
fn no_bit_of_the_body_can_be_flipped() {
    let file = sealed(TEXT);
    let body_at = file.len() - Parts::of(&file).body.len();
    for at in body_at..file.len() {
        let all: Vec<u8> = if at < body_at + 200 { masks().collect() } else { vec![0x01, 0x80] };
        for mask in all {
            let case = format!("byte {} ^ {mask:#x} of BODY", at - body_at);
            assert_kind(decrypt(&flipped(&file, at, mask)), ErrorKind::NotAuthentic, case);
        }
    }
}

#[test]
fn some_flips_in_every_way() {
    let file = sealed(TEXT);
    let parts = Parts::of(&file);
    let body_at = file.len() - parts.body.len();
    let places = [0, 9, 12, 31, 33, parts.core.len() - 1, parts.core.len(), body_at - 1];
    let body = [0, 24, 55, BODY_HEADER, BODY_HEADER + TEXT.len(), parts.body.len() - 1].map(|at| body_at + at);
    for at in places.into_iter().chain(body) {
        // All ways must agree; the last byte of SLOTS is padding of the empty area.
        assert_eq!(read(&flipped(&file, at, 1)).is_ok(), at == body_at - 1, "byte {at}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let file = sealed(TEXT);
    let header = file.len() - Parts::of(&file).body.len();
    for len in 0..file.len() {
        let kind = if len < header { ErrorKind::NotAnEnvelope } else { ErrorKind::NotAuthentic };
        assert_kind(decrypt(&file[..len]), kind, format!("cut to {len}"));
        let inspected = inspect(&mut &file[..len]).map(drop).map_err(|error| error.kind());
        // What is inspected is the header.
        let expected = if len < header { Err(ErrorKind::NotAnEnvelope) } else { Ok(()) };
        assert_eq!(inspected, expected, "inspected, cut to {len}");
    }
    for len in [0, 7, 8, 33, 34, header - 1, header, header + 1, header + 23, header + 55, header + 56, header + 71] {
        assert!(read(&file[..len]).is_err(), "cut to {len}");
    }
    for cut in 1..20 {
        assert_kind(read(&file[..file.len() - cut]), ErrorKind::NotAuthentic, format!("{cut} bytes less"));
    }
}

#[test]
fn appended_bytes_are_refused() {
    let file = sealed(TEXT);
    let body = Parts::of(&file).body;
    for extra in [&[0][..], &[0; 15], &[0; 16], &[0xff; 17], &[0; 16384], &[0; 16400], &body[56..], &body, &file] {
        let bytes = [&file[..], extra].concat();
        assert_kind(read(&bytes), ErrorKind::NotAuthentic, format!("{} bytes more", extra.len()));
    }
    let in_front = [&[0], &file[..]].concat();
    assert_kind(read(&in_front), ErrorKind::NotAnEnvelope, "a byte in front");
}

#[test]
fn what_was_never_an_envelope_is_none() {
    for bytes in
        [&b""[..], b"\x89", b"\x89KWE\r\n\x1a", b"plain text that is longer than a header would be", &[0; 4096]]
    {
        assert_kind(read(bytes), ErrorKind::NotAnEnvelope, format!("{} bytes", bytes.len()));
    }
    let converted =
        sealed(TEXT).windows(2).map(|pair| if pair == b"\r\n" { b'\n' } else { pair[0] }).collect::<Vec<_>>();
    assert_kind(read(&converted), ErrorKind::NotAnEnvelope, "sent as text");
}
