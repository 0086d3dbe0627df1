"""The bytes of an envelope: parsing, writing, and the body. Knows no token."""

import hmac
from collections import namedtuple
from hashlib import sha256

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

MAGIC = bytes.fromhex("894B57450D0A1A0A")
AES_GCM, AES_KW, RSA_OAEP, RSA_OAEP_SHA1, CUSTOMER_KEY = 1, 2, 3, 4, 16
RSA = (RSA_OAEP, RSA_OAEP_SHA1)


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


def context_for_wrapping(data):
    """The context without the pairs that the body alone is bound to."""
    pairs = check_context(data)
    return write_context({key: value for key, value in pairs.items() if not key.startswith("keyward:body:")})


def check_context(data):
    """The pairs of a serialized context."""
    if not data:
        return {}
    cursor, last, pairs = Cursor(data), b"", {}
    count = cursor.number(2)
    if not 1 <= count <= 64:
        raise Refused("context: count")
    for _ in range(count):
        key = cursor.take(cursor.number(2))
        value = cursor.take(cursor.number(2))
        if key <= last:
            raise Refused("context: empty, unsorted or repeated key")
        try:
            pairs[key.decode()] = value.decode()
        except UnicodeDecodeError:
            raise Refused("context: not UTF-8") from None
        last = key
    cursor.end()
    return pairs


# CORE

DETACHED, COMPACT = 1, 2

Core = namedtuple("Core", "raw compact slots_len context")


def write_core(message_id, slots_len, context, flags=0):
    return MAGIC + u16(1) + u16(flags) + message_id + u32(slots_len) + u16(len(context)) + context


def parse_core(data):
    cursor = Cursor(data)
    if cursor.take(8) != MAGIC:
        raise Refused("magic")
    if cursor.number(2) != 1:
        raise Refused("unknown suite: a newer version wrote this")
    flags = cursor.number(2)
    if flags & ~(DETACHED | COMPACT):
        raise Refused("unknown flags: a newer version wrote this")
    if flags & DETACHED:
        raise Refused("flags: both forms at once, or detached slots, which this reader does not have")
    cursor.take(16)  # message id
    slots_len = cursor.number(4)
    if not (slots_len == 0 if flags == COMPACT else 320 <= slots_len <= 65536):
        raise Refused("slots length")
    context_len = cursor.number(2)
    if context_len > 8192:
        raise Refused("context length")
    context = cursor.take(context_len)
    check_context(context)
    return Core(data[: cursor.at], flags == COMPACT, slots_len, context)


# SLOTS

SlotCopy = namedtuple("SlotCopy", "generation entries tag")


def tagged(generation, entries):
    """The bytes of a slot copy that its tag covers."""
    used = b"".join(u16(len(entry)) + entry for entry in entries)
    return u32(generation) + u16(len(entries)) + u16(len(used)) + used


def slots_tag(input_key, core, generation, entries):
    tag_key = HKDFExpand(hashes.SHA512(), 32, b"keyward.slots.v1\0" + sha256(core).digest()).derive(input_key)
    return hmac.digest(tag_key, tagged(generation, entries), "sha256")


def check_tag(copy, input_key, core):
    if not hmac.compare_digest(copy.tag, slots_tag(input_key, core, copy.generation, copy.entries)):
        raise Refused("the tag of the slot copy")


def write_copy(copy):
    """A slot copy as the compact form has it."""
    return tagged(copy.generation, copy.entries) + copy.tag


def write_copy_with_digest(copy):
    """A slot copy as the plain form has it, without padding."""
    data = write_copy(copy)
    return data + sha256(data).digest()[:16]


def slots_len_for(entries):
    used = sum(2 + len(entry) for entry in entries)
    return min(max(2048, 4 * (56 + used)), 65536)


def write_slots(copy, slots_len):
    """SLOTS of a new file in the plain form: the slot copy in A, nothing in B."""
    data = write_copy_with_digest(copy)
    if len(data) > slots_len // 2:
        raise Refused("the entries do not fit")
    return data.ljust(slots_len, b"\0")


def take_copy(cursor):
    """The slot copy at the cursor, as the compact form has it."""
    generation, count, used = cursor.number(4), cursor.number(2), cursor.number(2)
    if generation == 0 or not 1 <= count <= 16:
        raise Refused("slots: generation or count")
    listed = Cursor(cursor.take(used))
    entries = [listed.take(listed.number(2)) for _ in range(count)]
    listed.end()
    return SlotCopy(generation, entries, cursor.take(32))


def parse_area(area):
    """The valid slot copy in an area, or None."""
    cursor = Cursor(area)
    try:
        copy = take_copy(cursor)
        digest = sha256(area[: cursor.at]).digest()[:16]
        return copy if cursor.take(16) == digest and not any(area[cursor.at :]) else None
    except Refused:
        return None


def parse_slots(slots):
    """The active slot copy."""
    size = len(slots) // 2
    if any(slots[2 * size :]):
        raise Refused("slots: last byte")
    copies = [copy for area in (slots[:size], slots[size : 2 * size]) if (copy := parse_area(area))]
    if not copies:
        raise Refused("slots: no valid slot copy")
    if len(copies) == 2 and copies[0].generation == copies[1].generation and copies[0] != copies[1]:
        raise Refused("slots: two different slot copies of one generation")
    return max(copies, key=lambda copy: copy.generation)


# The parts of a file

Envelope = namedtuple("Envelope", "core copy body")


def parse_envelope(data):
    core = parse_core(data)
    cursor = Cursor(data[len(core.raw) :])
    copy = take_copy(cursor) if core.compact else parse_slots(cursor.take(core.slots_len))
    return Envelope(core, copy, cursor.data[cursor.at :])


# Wrapped keys

GENERATED, LATER = 1, 2

Wrapped = namedtuple("Wrapped", "occasion algorithm kek_id parameters ciphertext")


def write_wrapped(wrapped):
    return (
        bytes([wrapped.occasion, wrapped.algorithm])
        + wrapped.kek_id
        + bytes([len(wrapped.parameters)])
        + wrapped.parameters
        + u16(len(wrapped.ciphertext))
        + wrapped.ciphertext
    )


def parse_wrapped(entry):
    """The wrapped key, or None if it is of an unknown or malformed kind and to be skipped."""
    cursor = Cursor(entry)
    try:
        occasion, algorithm = cursor.take(2)
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
    if occasion not in (GENERATED, LATER) or not lengths_fit.get(algorithm, False):
        return None
    return Wrapped(occasion, algorithm, kek_id, parameters, ciphertext)


def bind(occasion, algorithm, kek_id, context):
    bound = sha256(context_for_wrapping(context)).digest()
    return b"keyward.wrap.v1\0" + bytes([occasion, algorithm]) + kek_id + bound


def kek_id_of(cka_id):
    if not cka_id:
        raise Refused("a key without CKA_ID")
    return cka_id if len(cka_id) == 16 else sha256(b"keyward.kek-id.v1\0" + cka_id).digest()[:16]


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
