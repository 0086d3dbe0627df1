#!/usr/bin/env python3
"""The worked example of docs/format.md: fixed values in, annotated bytes out.

    example.py                    prints the example
    example.py --check FILE.md    fails unless FILE.md shows exactly that

The file is made by hand from HKDF and AES-GCM and opened with pyca/cryptography's Cobblestone.
"""

import sys
from hashlib import sha256

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from layout import (
    AES_GCM,
    Wrapped,
    bind,
    body_context,
    decrypt_body,
    parse_core,
    parse_slots,
    parse_wrapped,
    u16,
    u32,
    write_context,
    write_core,
    write_wrapped,
)

KEK = bytes(range(0x00, 0x20))
KEK_ID = bytes(range(0x20, 0x30))
IV = bytes(range(0x30, 0x3C))
DEK = bytes(range(0x40, 0x60))
MESSAGE_ID = bytes(range(0x60, 0x70))
SALT = bytes(range(0x70, 0x88))
CONTEXT = {"tenant": "acme"}
PLAINTEXT = b"hello"
SLOTS_LEN = 256


def rows(what, data, width=16):
    """The bytes in rows of hexadecimal, what they are beside the first."""
    lines = [data[at : at + width].hex(" ") for at in range(0, len(data), width)]
    return [f"{line:<48} {what if at == 0 else ''}".rstrip() for at, line in enumerate(lines)]


def example():
    context = write_context(CONTEXT)
    core = write_core(MESSAGE_ID, SLOTS_LEN, context)

    bound = bind(AES_GCM, KEK_ID, context)
    wrapped_dek = AESGCM(KEK).encrypt(IV, DEK, bound)
    entry = write_wrapped(Wrapped(AES_GCM, KEK_ID, IV, wrapped_dek))
    half = u32(1) + u16(1) + u16(2 + len(entry)) + u16(len(entry)) + entry
    digest = sha256(half).digest()[:16]
    padding = bytes(SLOTS_LEN // 2 - len(half) - len(digest))
    slots = half + digest + padding + bytes(SLOTS_LEN // 2)

    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + SALT + body_context(core)
    derived = HKDFExpand(hashes.SHA512(), 76, info).derive(DEK)
    key, nonce, committed = derived[:32], derived[32:44], derived[44:]
    chunk = AESGCM(key).encrypt(nonce, PLAINTEXT, None)
    body = SALT + committed + chunk

    # What others make of it.
    assert parse_core(core + slots).raw == core
    assert parse_wrapped(parse_slots(slots)[0]) == Wrapped(AES_GCM, KEK_ID, IV, wrapped_dek)
    assert decrypt_body(DEK, core, body) == PLAINTEXT

    return "\n".join(
        [
            "CORE",
            *rows("magic", core[:8]),
            *rows("suite 1", core[8:10]),
            *rows("flags", core[10:12]),
            *rows("message id", core[12:28]),
            *rows(f"slots length {SLOTS_LEN}", core[28:32]),
            *rows(f"context length {len(context)}", core[32:34]),
            *rows("one pair", context[:2]),
            *rows('"tenant"', context[2:10]),
            *rows('"acme"', context[10:]),
            "SLOTS, half A",
            *rows("generation 1", half[:4]),
            *rows("1 entry", half[4:6]),
            *rows(f"{2 + len(entry)} bytes used", half[6:8]),
            *rows(f"entry of {len(entry)} bytes: the wrapped key", half[8:10]),
            *rows("version 1, algorithm 1", entry[:2]),
            *rows("KEK id", entry[2:18]),
            *rows("12 bytes of parameters", entry[18:19]),
            *rows("IV", entry[19:31]),
            *rows("48 bytes of ciphertext", entry[31:33]),
            *rows("the DEK, encrypted", entry[33:65]),
            *rows("GCM tag", entry[65:]),
            *rows("digest of the half", digest),
            *rows("padding", padding),
            "SLOTS, half B",
            f"00 × {SLOTS_LEN // 2:<43} empty",
            "BODY",
            *rows("salt", SALT),
            *rows("commitment", committed),
            *rows('chunk 0: "hello", encrypted', chunk[: len(PLAINTEXT)]),
            *rows("GCM tag", chunk[len(PLAINTEXT) :]),
            "DERIVED",
            *rows("bind: the AAD of the wrapping", bound),
            *rows("key of the body", key),
            *rows("base nonce", nonce),
            "",
        ]
    )


def main():
    text = example()
    if sys.argv[1:2] != ["--check"]:
        print(text, end="")
        return
    with open(sys.argv[2], encoding="utf-8") as file:
        if f"```text\n{text}```\n" not in file.read():
            sys.exit(f"example.py: {sys.argv[2]} does not show the worked example as computed")


if __name__ == "__main__":
    main()
