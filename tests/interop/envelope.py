#!/usr/bin/env python3
"""Reads and writes Keyward envelopes, made from docs/format.md alone.

Shares no code with Keyward: the body is done by pyca/cryptography's Cobblestone, the token is
reached through python-pkcs11. Names in capitals are those of the format document.
"""

import argparse
import os
import re
import sys

import hsm
from cryptography.hazmat.primitives import constant_time
from layout import (
    AES_GCM,
    AES_KW,
    CUSTOMER_KEY,
    RSA_OAEP,
    RSA_OAEP_SHA1,
    Cursor,
    Refused,
    Wrapped,
    commitment,
    customer_verifier,
    decrypt_body,
    encrypt_body,
    parse_core,
    parse_slots,
    parse_wrapped,
    write_context,
    write_core,
    write_slots,
    write_wrapped,
)

NAMES = {"aes-gcm": AES_GCM, "aes-kw": AES_KW, "rsa-oaep": RSA_OAEP, "rsa-oaep-sha1": RSA_OAEP_SHA1}


def write_file(plaintext, context, wrap_dek, dek=None):
    """An envelope; `wrap_dek(dek, core)` makes its entries."""
    dek = dek or os.urandom(32)
    # The slots' length is part of CORE, and entries of one algorithm and key are of one length.
    draft = write_core(bytes(16), 2048, context)
    slots_len = len(write_slots(wrap_dek(dek, draft)))
    core = write_core(os.urandom(16), slots_len, context)
    return core + write_slots(wrap_dek(dek, core)) + encrypt_body(dek, core, plaintext)


def read_file(data, context, candidates):
    """The plaintext; `candidates(entry, core)` gives the DEKs that an entry may hold."""
    core = parse_core(data)
    if core.context != context:
        raise Refused("encryption context")
    rest = Cursor(data[len(core.raw) :])
    entries = [parse_wrapped(entry) for entry in parse_slots(rest.take(core.slots_len))]
    body = rest.data[rest.at :]
    salt, committed = body[:24], body[24:56]
    for dek in candidates(entries, core):
        if len(dek) == 32 and constant_time.bytes_eq(commitment(dek, salt, core.raw), committed):
            return decrypt_body(dek, core.raw, body)
    raise Refused("no entry gives the data key")


def unwrapped_by_token(session, names):
    def candidates(entries, core):
        if any(entry and entry.algorithm == CUSTOMER_KEY for entry in entries):
            raise Refused("made with a customer key")
        for entry in filter(None, entries):
            try:
                kek = hsm.find_by_kek_id(session, entry.algorithm, entry.kek_id)
            except Refused:
                continue
            # RSA keys prove nothing about who wrote, so they have to be named.
            trusted = hsm.key_name(kek.label) in names if names or entry.algorithm in hsm.OAEP else True
            if trusted and hsm.is_for(kek, entry.algorithm) and (dek := hsm.unwrap(session, kek, entry, core.context)):
                yield dek

    return candidates


def customer_key_if_it_fits(key):
    def candidates(entries, core):
        if len(entries) != 1 or not entries[0] or entries[0].algorithm != CUSTOMER_KEY:
            raise Refused("not made with a customer key")
        entry = entries[0]
        if entry.kek_id == bytes(16) and constant_time.bytes_eq(
            customer_verifier(key, entry.parameters, core.raw), entry.ciphertext
        ):
            yield key

    return candidates


# The command line


def arguments():
    parser = argparse.ArgumentParser(description="Reads and writes Keyward envelopes.")
    parser.add_argument("action", choices=["read", "write"])
    parser.add_argument("--key", help="write: the label NAME:VERSION; read: a NAME that may open it", action="append")
    parser.add_argument("--algorithm", choices=NAMES, default="aes-gcm", help="write: what the key wraps with")
    parser.add_argument("--customer-key", metavar="FILE")
    parser.add_argument("--context", metavar="K=V", action="append", default=[])
    parser.add_argument("input")
    parser.add_argument("output")
    args = parser.parse_args()
    if args.action == "write" and not args.customer_key and not re.fullmatch(r".+:\d+", (args.key or [""])[0]):
        parser.error("write needs --key NAME:VERSION or --customer-key FILE")
    return args


def read_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def run(args):
    context = write_context(dict(pair.split("=", 1) for pair in args.context))
    data = read_bytes(args.input)
    if args.customer_key:
        key = read_bytes(args.customer_key)
        if args.action == "read":
            return read_file(data, context, customer_key_if_it_fits(key))
        salt = os.urandom(32)
        entry = lambda _, core: [
            write_wrapped(Wrapped(CUSTOMER_KEY, bytes(16), salt, customer_verifier(key, salt, core)))
        ]
        return write_file(data, context, entry, dek=key)
    with hsm.token_session(os.environ["KEYWARD_TOKEN"]) as session:
        if args.action == "read":
            return read_file(data, context, unwrapped_by_token(session, args.key or []))
        algorithm = NAMES[args.algorithm]
        keks = [hsm.the_one(hsm.find_keks(session, algorithm, label=label)) for label in args.key]
        if not all(hsm.is_for(kek, algorithm) for kek in keks):
            raise Refused("the key on the token is not for this algorithm")
        entries = lambda dek, _: [write_wrapped(hsm.wrap(session, kek, algorithm, context, dek)) for kek in keks]
        return write_file(data, context, entries)


def main():
    args = arguments()
    try:
        result = run(args)
    except Refused as refused:
        sys.exit(f"envelope.py: refused: {refused}")
    with open(args.output, "wb") as file:
        file.write(result)


if __name__ == "__main__":
    main()
