#!/usr/bin/env python3
"""Edits an envelope as attacker S of docs/format.md: with write access to the file and without any key.

Digests are right after every edit: they need no key. Tags are not.
"""

import argparse
import os
from pathlib import Path

from layout import (
    COMPACT,
    DETACHED,
    parse_area,
    parse_envelope,
    u16,
    write_copy,
    write_copy_with_digest,
    write_slots,
)


def tag(copy):
    """Flips one bit of the tag."""
    return copy._replace(tag=copy.tag[:-1] + bytes([copy.tag[-1] ^ 1]))


def generation(copy):
    """Claims a later generation."""
    return copy._replace(generation=copy.generation + 1)


def occasion(copy):
    """Claims that the data key was wrapped on the other occasion."""
    first, *others = copy.entries
    return copy._replace(entries=[bytes([first[0] ^ 3]) + first[1:], *others])


def entry(copy):
    """Puts an entry that nothing opens, under the same KEK, before the first one."""
    first = copy.entries[0]
    return copy._replace(entries=[first[:-32] + os.urandom(32), *copy.entries])


def order(copy):
    """Turns the order of the entries around."""
    return copy._replace(entries=copy.entries[::-1])


def drop(copy):
    """Drops the last entry."""
    return copy._replace(entries=copy.entries[:-1])


EDITS = {edit.__name__: edit for edit in (tag, generation, occasion, entry, order, drop)}


def edited(data, edit):
    core, copy, body = parse_envelope(data)
    changed = edit(copy)
    slots = write_copy(changed) if core.compact else write_slots(changed, core.slots_len)
    return core.raw + slots + body


def newer(data):
    """Leaves the active slot copy, and writes the same entries as a later generation beside it."""
    core, copy, body = parse_envelope(data)
    half = core.slots_len // 2
    at = len(core.raw)
    area = data[at : at + half]
    assert parse_area(area) == copy, "the active slot copy is not A"
    beside = write_copy_with_digest(generation(copy)).ljust(core.slots_len - half, b"\0")
    return core.raw + area + beside + body


def both_forms(data):
    """Says that the file is compact and detached."""
    return data[:10] + u16(COMPACT | DETACHED) + data[12:]


def unknown_flag(data):
    return data[:10] + u16(4) + data[12:]


FILES = {edit.__name__.replace("_", "-"): edit for edit in (newer, both_forms, unknown_flag)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("edit", choices=[*EDITS, *FILES])
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    data = args.input.read_bytes()
    args.output.write_bytes(FILES[args.edit](data) if args.edit in FILES else edited(data, EDITS[args.edit]))


if __name__ == "__main__":
    main()
