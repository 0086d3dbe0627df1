#!/usr/bin/env python3
"""The worked examples of docs/format.md: fixed values in, annotated bytes out.

    example.py                    prints the examples
    example.py --check FILE.md    fails unless FILE.md shows exactly these

The files are made by hand from HKDF, HMAC and AES-GCM. The reader beside this file opens them.
"""

import hmac
import sys
from hashlib import sha256

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from layout import (
    AES_GCM,
    COMPACT,
    GENERATED,
    SlotCopy,
    Wrapped,
    bind,
    body_context,
    check_tag,
    decrypt_body,
    parse_envelope,
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
SLOTS_LEN = 320


def rows(what, data, width=16):
    """The bytes in rows of hexadecimal, what they are beside the first."""
    lines = [data[at : at + width].hex(" ") for at in range(0, len(data), width)]
    return [f"{line:<48} {what if at == 0 else ''}".rstrip() for at, line in enumerate(lines)]


def expand(info, length):
    return HKDFExpand(hashes.SHA512(), length, info).derive(DEK)


class Example:
    """An envelope of the fixed values, in its pieces."""

    def __init__(self, slots_len, flags=0):
        self.context = write_context(CONTEXT)
        self.core = write_core(MESSAGE_ID, slots_len, self.context, flags)

        self.bound = bind(GENERATED, AES_GCM, KEK_ID, self.context)
        wrapped_dek = AESGCM(KEK).encrypt(IV, DEK, self.bound)
        self.wrapped = Wrapped(GENERATED, AES_GCM, KEK_ID, IV, wrapped_dek)
        self.entry = write_wrapped(self.wrapped)
        tagged = u32(1) + u16(1) + u16(2 + len(self.entry)) + u16(len(self.entry)) + self.entry
        self.tag_key = expand(b"keyward.slots.v1\0" + sha256(self.core).digest(), 32)
        self.tag = hmac.digest(self.tag_key, tagged, "sha256")
        self.slot_copy = tagged + self.tag
        self.digest = sha256(self.slot_copy).digest()[:16]

        derived = expand(b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + SALT + body_context(self.core), 76)
        self.key, self.nonce, self.committed = derived[:32], derived[32:44], derived[44:]
        self.chunk = AESGCM(self.key).encrypt(self.nonce, PLAINTEXT, None)
        self.body = SALT + self.committed + self.chunk

    def check(self, data):
        """What the reader makes of the whole."""
        core, copy, body = parse_envelope(data)
        assert (core.raw, copy) == (self.core, SlotCopy(1, [self.entry], self.tag))
        assert parse_wrapped(self.entry) == self.wrapped
        check_tag(copy, DEK, core.raw)
        assert decrypt_body(DEK, core.raw, body) == PLAINTEXT

    def core_rows(self, flags, slots_len):
        return [
            "CORE",
            *rows("magic", self.core[:8]),
            *rows("suite 1", self.core[8:10]),
            *rows(flags, self.core[10:12]),
            *rows("message id", self.core[12:28]),
            *rows(f"slots length {slots_len}", self.core[28:32]),
            *rows(f"context length {len(self.context)}", self.core[32:34]),
            *rows("one pair", self.context[:2]),
            *rows('"tenant"', self.context[2:10]),
            *rows('"acme"', self.context[10:]),
        ]

    def slot_copy_rows(self):
        return [
            *rows("generation 1", self.slot_copy[:4]),
            *rows("1 entry", self.slot_copy[4:6]),
            *rows(f"{2 + len(self.entry)} bytes used", self.slot_copy[6:8]),
            *rows(f"entry of {len(self.entry)} bytes: the wrapped key", self.slot_copy[8:10]),
        ]

    def entry_rows(self):
        return [
            *rows("occasion 1, algorithm 1", self.entry[:2]),
            *rows("KEK id", self.entry[2:18]),
            *rows("12 bytes of parameters", self.entry[18:19]),
            *rows("IV", self.entry[19:31]),
            *rows("48 bytes of ciphertext", self.entry[31:33]),
            *rows("the DEK, encrypted", self.entry[33:65]),
            *rows("GCM tag", self.entry[65:]),
        ]

    def body_rows(self):
        return [
            "BODY",
            *rows("salt", SALT),
            *rows("commitment", self.committed),
            *rows('chunk 0: "hello", encrypted', self.chunk[: len(PLAINTEXT)]),
            *rows("GCM tag", self.chunk[len(PLAINTEXT) :]),
        ]

    def derived_rows(self):
        return [
            "DERIVED",
            *rows("tag key", self.tag_key),
            *rows("key of the body", self.key),
            *rows("base nonce", self.nonce),
        ]


def plain():
    example = Example(SLOTS_LEN)
    padding = bytes(SLOTS_LEN // 2 - len(example.slot_copy) - len(example.digest))
    area = example.slot_copy + example.digest + padding
    example.check(example.core + area + bytes(SLOTS_LEN // 2) + example.body)
    return [
        *example.core_rows("flags: plain", SLOTS_LEN),
        "SLOTS, area A",
        *example.slot_copy_rows(),
        *example.entry_rows(),
        *rows("tag", example.tag),
        *rows("digest", example.digest),
        *rows("padding", padding),
        "SLOTS, area B",
        f"00 × {SLOTS_LEN // 2:<43} empty",
        *example.body_rows(),
        *example.derived_rows(),
        *rows("bind: the AAD of the wrapping", example.bound),
    ]


def compact():
    example = Example(0, COMPACT)
    example.check(example.core + example.slot_copy + example.body)
    return [
        *example.core_rows("flags: compact", 0),
        "SLOTS",
        *example.slot_copy_rows(),
        f"{example.entry[:2].hex(' ') + ' … ' + example.entry[-2:].hex(' '):<48} the same {len(example.entry)} bytes",
        *rows("tag", example.tag),
        *example.body_rows(),
        *example.derived_rows(),
    ]


def main():
    blocks = ["".join(f"{line}\n" for line in lines) for lines in (plain(), compact())]
    if sys.argv[1:2] != ["--check"]:
        print("\n".join(blocks), end="")
        return
    with open(sys.argv[2], encoding="utf-8") as file:
        page = file.read()
    if not all(f"```text\n{block}```\n" in page for block in blocks):
        sys.exit(f"example.py: {sys.argv[2]} does not show the worked examples as computed")


if __name__ == "__main__":
    main()
