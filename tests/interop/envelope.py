#!/usr/bin/env python3
"""Reads and writes Keyward envelopes, made from docs/format.md alone.

Shares no code with Keyward: the body is done by pyca/cryptography's Cobblestone, the token is
reached through python-pkcs11. Names in capitals are those of the format document.
"""

import argparse
import os
import re
import sys
from collections import namedtuple
from contextlib import contextmanager
from hashlib import sha256
from urllib.parse import unquote

import pkcs11
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time, hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from pkcs11 import MGF, Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.mechanisms import GCMParams

MAGIC = bytes.fromhex("894B57450D0A1A0A")
AES_GCM, AES_KW, RSA_OAEP, RSA_OAEP_SHA1, CUSTOMER_KEY = 1, 2, 3, 4, 16
NAMES = {"aes-gcm": AES_GCM, "aes-kw": AES_KW, "rsa-oaep": RSA_OAEP, "rsa-oaep-sha1": RSA_OAEP_SHA1}
OAEP = {
    RSA_OAEP: (hashes.SHA256, (Mechanism.SHA256, MGF.SHA256, None)),
    RSA_OAEP_SHA1: (hashes.SHA1, (Mechanism.SHA_1, MGF.SHA1, None)),
}


class Refused(Exception):
    """The file is not an envelope, not authentic, or not for this reader."""


def u16(value):
    return value.to_bytes(2, "big")


def u32(value):
    return value.to_bytes(4, "big")


class Cursor:
    """Takes bytes from the front, and refuses to take more than there are."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise Refused("cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, width):
        return int.from_bytes(self.take(width), "big")

    def end(self):
        if self.at != len(self.data):
            raise Refused("bytes left over")


# Encryption context


def write_context(pairs):
    if not pairs:
        return b""
    pairs = sorted((key.encode(), value.encode()) for key, value in pairs.items())
    return u16(len(pairs)) + b"".join(u16(len(key)) + key + u16(len(value)) + value for key, value in pairs)


def check_context(data):
    if not data:
        return
    cursor, last = Cursor(data), b""
    count = cursor.number(2)
    if not 1 <= count <= 64:
        raise Refused("context: count")
    for _ in range(count):
        key = cursor.take(cursor.number(2))
        value = cursor.take(cursor.number(2))
        if key <= last:
            raise Refused("context: empty, unsorted or repeated key")
        try:
            key.decode(), value.decode()
        except UnicodeDecodeError:
            raise Refused("context: not UTF-8") from None
        last = key
    cursor.end()


# CORE

Core = namedtuple("Core", "raw slots_len context")


def write_core(message_id, slots_len, context):
    return MAGIC + u16(1) + u16(0) + message_id + u32(slots_len) + u16(len(context)) + context


def parse_core(data):
    cursor = Cursor(data)
    if cursor.take(8) != MAGIC:
        raise Refused("magic")
    if cursor.number(2) != 1:
        raise Refused("suite")
    if cursor.number(2) != 0:
        raise Refused("flags: unknown, or detached slots, which this reader does not have")
    cursor.take(16)  # message id
    slots_len = cursor.number(4)
    if not 256 <= slots_len <= 65536:
        raise Refused("slots length")
    context_len = cursor.number(2)
    if context_len > 8192:
        raise Refused("context length")
    context = cursor.take(context_len)
    check_context(context)
    return Core(data[: cursor.at], slots_len, context)


# SLOTS


def write_slots(entries):
    """Both halves of a new file: the entries in A with generation 1, B empty."""
    used = b"".join(u16(len(entry)) + entry for entry in entries)
    half = u32(1) + u16(len(entries)) + u16(len(used)) + used
    half += sha256(half).digest()[:16]
    slots_len = max(2048, 2 * 2 * len(half))
    return half.ljust(slots_len // 2, b"\0").ljust(slots_len, b"\0")


def parse_half(half):
    """(generation, entries), or None where the half is empty or torn."""
    cursor = Cursor(half)
    generation, count, used = cursor.number(4), cursor.number(2), cursor.number(2)
    if generation == 0 or not 1 <= count <= 16 or used > len(half) - 24:
        return None
    body = Cursor(cursor.take(used))
    digest = cursor.take(16)
    if digest != sha256(half[: 8 + used]).digest()[:16] or any(half[cursor.at :]):
        return None
    try:
        entries = [body.take(body.number(2)) for _ in range(count)]
        body.end()
    except Refused:
        return None
    return generation, entries


def parse_slots(slots):
    size = len(slots) // 2
    if any(slots[2 * size :]):
        raise Refused("slots: last byte")
    halves = [parsed for half in (slots[:size], slots[size : 2 * size]) if (parsed := parse_half(half))]
    if not halves:
        raise Refused("slots: no valid half")
    if len(halves) == 2 and halves[0][0] == halves[1][0] and halves[0] != halves[1]:
        raise Refused("slots: two different halves of one generation")
    return max(halves, key=lambda half: half[0])[1]


# Wrapped keys

Wrapped = namedtuple("Wrapped", "algorithm kek_id parameters ciphertext")


def write_wrapped(wrapped):
    return (
        bytes([1, wrapped.algorithm])
        + wrapped.kek_id
        + bytes([len(wrapped.parameters)])
        + wrapped.parameters
        + u16(len(wrapped.ciphertext))
        + wrapped.ciphertext
    )


def parse_wrapped(entry):
    """The wrapped key, or None where it is of an unknown or malformed kind and to be skipped."""
    cursor = Cursor(entry)
    try:
        version, algorithm = cursor.take(2)
        kek_id = cursor.take(16)
        parameters = cursor.take(cursor.number(1))
        ciphertext = cursor.take(cursor.number(2))
        cursor.end()
    except Refused:
        return None
    lengths_fit = {
        AES_GCM: len(parameters) in (12, 16) and len(ciphertext) == 48,
        AES_KW: not parameters and len(ciphertext) == 72,
        RSA_OAEP: not parameters,
        RSA_OAEP_SHA1: not parameters,
        CUSTOMER_KEY: len(parameters) == 32 and len(ciphertext) == 32,
    }
    if version != 1 or not lengths_fit.get(algorithm, False):
        return None
    return Wrapped(algorithm, kek_id, parameters, ciphertext)


def bind(algorithm, kek_id, context):
    return b"keyward.wrap.v1\0" + bytes([1, algorithm]) + kek_id + sha256(context).digest()


def kek_id_of(cka_id):
    if not cka_id:
        raise Refused("a key without CKA_ID")
    return cka_id if len(cka_id) == 16 else sha256(b"keyward.kek-id.v1\0" + cka_id).digest()[:16]


# The token


@contextmanager
def token_session(uri):
    """A session, logged in, on the token of a PKCS#11 URI with module-path and pin-source."""
    path, _, query = uri.removeprefix("pkcs11:").partition("?")
    parts = [part.split("=", 1) for part in path.split(";") + query.split("&") if part]
    uri = {name: unquote(value) for name, value in parts}
    with open(uri["pin-source"].removeprefix("file:")) as file:
        pin = file.read().rstrip("\n")
    token = pkcs11.lib(uri["module-path"]).get_token(token_label=uri["token"])
    with token.open(user_pin=pin) as session:
        yield session


def find_keks(session, algorithm, **attributes):
    if algorithm in OAEP:
        search = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.KEY_TYPE: KeyType.RSA}
    else:
        search = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES}
    search[Attribute.PRIVATE] = True
    search.update({Attribute[name.upper()]: value for name, value in attributes.items()})
    return list(session.get_objects(search))


def the_one(keys):
    if len(keys) != 1:
        raise Refused(f"{len(keys)} keys on the token fit, not one")
    key = keys[0]
    if not key[Attribute.SENSITIVE] or key[Attribute.EXTRACTABLE]:
        raise Refused("the key on the token is not protected")
    return key


def find_by_kek_id(session, algorithm, kek_id):
    exact = find_keks(session, algorithm, id=kek_id)
    if exact:
        return the_one(exact)
    return the_one([key for key in find_keks(session, algorithm) if key.id and kek_id_of(key.id) == kek_id])


def key_name(label):
    return re.sub(r":[1-9][0-9]*$", "", label)


def is_for(kek, algorithm):
    """Whether the key's usage on the token is the one that the algorithm needs, and no other."""
    allows = lambda *names: all(kek[Attribute[name]] for name in names)
    forbids = lambda *names: not any(kek[Attribute[name]] for name in names)
    if algorithm == AES_GCM:
        return allows("DECRYPT") and forbids("WRAP", "UNWRAP")
    if algorithm == AES_KW:
        return allows("UNWRAP") and forbids("ENCRYPT", "DECRYPT")
    return allows("DECRYPT") and forbids("UNWRAP", "SIGN")


SESSION_OBJECT = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: False,
    Attribute.EXTRACTABLE: True,
}


def wrap(session, kek, algorithm, context, dek):
    kek_id = kek_id_of(kek.id)
    bound = bind(algorithm, kek_id, context)
    plaintext = dek + sha256(bound).digest()
    parameters = b""
    if algorithm == AES_GCM:
        parameters = os.urandom(12)
        ciphertext = kek.encrypt(dek, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(parameters, bound))
    elif algorithm == AES_KW:
        secret = session.create_object(
            SESSION_OBJECT
            | {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
                Attribute.VALUE: plaintext,
            }
        )
        try:
            ciphertext = kek.wrap_key(secret, mechanism=Mechanism.AES_KEY_WRAP)
        finally:
            secret.destroy()
    else:
        numbers = (kek[Attribute.PUBLIC_EXPONENT], kek[Attribute.MODULUS])
        public = rsa.RSAPublicNumbers(*(int.from_bytes(number, "big") for number in numbers)).public_key()
        digest = OAEP[algorithm][0]
        ciphertext = public.encrypt(plaintext, padding.OAEP(padding.MGF1(digest()), digest(), None))
    return Wrapped(algorithm, kek_id, parameters, ciphertext)


def unwrap(session, kek, wrapped, context):
    """The DEK, or None: every failure is one and the same."""
    bound = bind(wrapped.algorithm, wrapped.kek_id, context)
    try:
        if wrapped.algorithm == AES_GCM:
            return kek.decrypt(
                wrapped.ciphertext,
                mechanism=Mechanism.AES_GCM,
                mechanism_param=GCMParams(wrapped.parameters, bound),
            )
        if wrapped.algorithm == AES_KW:
            secret = kek.unwrap_key(
                ObjectClass.SECRET_KEY,
                KeyType.GENERIC_SECRET,
                wrapped.ciphertext,
                mechanism=Mechanism.AES_KEY_WRAP,
                capabilities=0,
                template=SESSION_OBJECT,
            )
            try:
                plaintext = secret[Attribute.VALUE]
            finally:
                secret.destroy()
        else:
            plaintext = kek.decrypt(
                wrapped.ciphertext,
                mechanism=Mechanism.RSA_PKCS_OAEP,
                mechanism_param=OAEP[wrapped.algorithm][1],
            )
    except pkcs11.PKCS11Error:
        return None
    dek, digest = plaintext[:-32], plaintext[-32:]
    return dek if constant_time.bytes_eq(digest, sha256(bound).digest()) else None


# BODY


def body_context(core):
    return b"keyward.envelope.v1\0" + core


def commitment(key, salt, core):
    """The last 32 of the 76 bytes that Cobblestone-256 derives."""
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0" + salt + body_context(core)
    return HKDFExpand(hashes.SHA512(), 76, info).derive(key)[44:]


def encrypt_body(key, core, plaintext):
    encryptor = Cobblestone256Encryptor(key, body_context(core))
    return encryptor.update(plaintext) + encryptor.finalize()


def decrypt_body(key, core, body):
    decryptor = Cobblestone256Decryptor(key, body_context(core))
    try:
        return decryptor.update(body) + decryptor.finalize()
    except (InvalidTag, ValueError):
        raise Refused("body") from None


def customer_verifier(key, salt, core):
    info = b"keyward.customer-key.v1\0" + salt + sha256(core).digest()
    return HKDFExpand(hashes.SHA512(), 32, info).derive(key)


# Whole files


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
                kek = find_by_kek_id(session, entry.algorithm, entry.kek_id)
            except Refused:
                continue
            # RSA keys prove nothing about who wrote, so they have to be named.
            trusted = key_name(kek.label) in names if names or entry.algorithm in OAEP else True
            if trusted and is_for(kek, entry.algorithm):
                if dek := unwrap(session, kek, entry, core.context):
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
    with token_session(os.environ["KEYWARD_TOKEN"]) as session:
        if args.action == "read":
            return read_file(data, context, unwrapped_by_token(session, args.key or []))
        algorithm = NAMES[args.algorithm]
        keks = [the_one(find_keks(session, algorithm, label=label)) for label in args.key]
        if not all(is_for(kek, algorithm) for kek in keks):
            raise Refused("the key on the token is not for this algorithm")
        entries = lambda dek, _: [write_wrapped(wrap(session, kek, algorithm, context, dek)) for kek in keks]
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
