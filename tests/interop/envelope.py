#!/usr/bin/env python3
"""Reads and writes Keyward envelopes, made from docs/format.md alone.

Shares no code with Keyward: the body is done by pyca/cryptography's Cobblestone, the token is
reached through python-pkcs11. Names in capitals are those of the format document.
"""

import argparse
import hmac
import os
import re
import sys

import hsm
from layout import (
    AES_GCM,
    AES_KW,
    COMPACT,
    CUSTOMER_KEY,
    GENERATED,
    LATER,
    RSA,
    RSA_OAEP,
    RSA_OAEP_SHA1,
    Refused,
    SlotCopy,
    Wrapped,
    check_tag,
    commitment,
    customer_verifier,
    decrypt_body,
    encrypt_body,
    parse_envelope,
    parse_wrapped,
    slots_len_for,
    slots_tag,
    write_context,
    write_copy,
    write_core,
    write_slots,
    write_wrapped,
)

NAMES = {"aes-gcm": AES_GCM, "aes-kw": AES_KW, "rsa-oaep": RSA_OAEP, "rsa-oaep-sha1": RSA_OAEP_SHA1}


def write_file(plaintext, context, input_key, entries_for, compact):
    """An envelope; `entries_for(core)` makes its entries, of lengths that do not depend on CORE."""
    slots_len = 0 if compact else slots_len_for(entries_for(b""))
    core = write_core(os.urandom(16), slots_len, context, COMPACT if compact else 0)
    entries = entries_for(core)
    copy = SlotCopy(1, entries, slots_tag(input_key, core, 1, entries))
    slots = write_copy(copy) if compact else write_slots(copy, slots_len)
    return core + slots + encrypt_body(input_key, core, plaintext)


def read_file(data, context, candidates):
    """The plaintext; `candidates(entries, core)` gives the input keys that the entries may hold."""
    core, copy, body = parse_envelope(data)
    if core.context != context:
        raise Refused("encryption context")
    salt, committed = body[:24], body[24:56]
    for key in candidates([parse_wrapped(entry) for entry in copy.entries], core):
        if len(key) == 32 and hmac.compare_digest(commitment(key, salt, core.raw), committed):
            check_tag(copy, key, core.raw)
            return decrypt_body(key, core.raw, body)
    raise Refused("no entry gives the data key")


def unwrapped_by_token(session, names):
    def candidates(entries, core):
        known = list(filter(None, entries))
        if any(entry.algorithm == CUSTOMER_KEY for entry in known):
            raise Refused("made with a customer key")
        for entry in sorted(known, key=lambda entry: entry.algorithm in RSA):
            try:
                kek = hsm.find_by_kek_id(session, entry.algorithm, entry.kek_id)
            except Refused:
                continue
            # RSA keys prove nothing about the writer, so the caller has to name them.
            trusted = hsm.key_name(kek.label) in names if names or entry.algorithm in RSA else True
            if trusted and hsm.is_for(kek, entry.algorithm) and (dek := hsm.unwrap(session, kek, entry, core.context)):
                yield dek

    return candidates


def customer_key_if_it_fits(key):
    def candidates(entries, core):
        if len(entries) != 1 or not entries[0] or entries[0].algorithm != CUSTOMER_KEY:
            raise Refused("not made with a customer key")
        entry = entries[0]
        if (entry.occasion, entry.kek_id) == (GENERATED, bytes(16)) and hmac.compare_digest(
            customer_verifier(key, entry.parameters, core.raw), entry.ciphertext
        ):
            yield key

    return candidates


def show(data):
    """The generation, and OCCASION:ALGORITHM of each entry. It needs no key, and nothing of it is authenticated."""
    copy = parse_envelope(data).copy
    entries = [":".join(map(str, entry[:2])) for entry in copy.entries]
    return f"generation {copy.generation}, entries {' '.join(entries)}"


# The command line


def arguments():
    parser = argparse.ArgumentParser(description="Reads and writes Keyward envelopes.")
    parser.add_argument("action", choices=["read", "write", "show"])
    parser.add_argument("--key", help="write: the label NAME:VERSION; read: a NAME that may open it", action="append")
    parser.add_argument("--algorithm", choices=NAMES, default="aes-gcm", help="write: what the key wraps with")
    parser.add_argument("--customer-key", metavar="FILE")
    parser.add_argument("--context", metavar="K=V", action="append", default=[])
    parser.add_argument("--compact", help="write: the compact form", action="store_true")
    parser.add_argument("input")
    parser.add_argument("output", nargs="?")
    args = parser.parse_args()
    if args.action == "write" and not args.customer_key and not re.fullmatch(r".+:\d+", (args.key or [""])[0]):
        parser.error("write needs --key NAME:VERSION or --customer-key FILE")
    if (args.output is None) != (args.action == "show"):
        parser.error("read and write need an output, show has none")
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
        entry = lambda core: Wrapped(GENERATED, CUSTOMER_KEY, bytes(16), salt, customer_verifier(key, salt, core))
        return write_file(data, context, key, lambda core: [write_wrapped(entry(core))], args.compact)
    with hsm.token_session(os.environ["KEYWARD_TOKEN"]) as session:
        if args.action == "read":
            return read_file(data, context, unwrapped_by_token(session, args.key or []))
        algorithm = NAMES[args.algorithm]
        keks = [hsm.the_one(hsm.find_keks(session, algorithm, label=label)) for label in args.key]
        if not all(hsm.is_for(kek, algorithm) for kek in keks):
            raise Refused("the key on the token is not for this algorithm")
        dek, occasions = os.urandom(32), [GENERATED] + [LATER] * (len(keks) - 1)
        entries = [
            write_wrapped(hsm.wrap(session, kek, algorithm, context, dek, occasion))
            for kek, occasion in zip(keks, occasions)
        ]
        return write_file(data, context, dek, lambda _: entries, args.compact)


def main():
    args = arguments()
    try:
        if args.action == "show":
            print(show(read_bytes(args.input)))
            return
        result = run(args)
    except Refused as refused:
        sys.exit(f"envelope.py: refused: {refused}")
    with open(args.output, "wb") as file:
        file.write(result)


if __name__ == "__main__":
    main()
