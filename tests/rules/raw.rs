//! The bytes of an envelope, written from `docs/format.md` alone.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

pub(crate) const MAGIC: [u8; 8] = [0x89, 0x4B, 0x57, 0x45, 0x0D, 0x0A, 0x1A, 0x0A];
/// Bytes of CORE before the encryption context.
pub(crate) const CORE_LEN: usize = 34;
/// Bytes of BODY before the first chunk.
pub(crate) const BODY_HEADER: usize = 24 + 32;
/// A chunk's plaintext, and the same with its tag.
pub(crate) const CHUNK: usize = 16384;
pub(crate) const SEALED_CHUNK: usize = CHUNK + 16;

/// `u16 count ‖ (u16 len ‖ key ‖ u16 len ‖ value)*`, in the order given and unchecked.
pub(crate) fn context<K: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(K, V)]) -> Vec<u8> {
    let mut out = u16_of(pairs.len()).to_vec();
    for (key, value) in pairs {
        for text in [key.as_ref(), value.as_ref()] {
            out.extend(u16_of(text.len()));
            out.extend(text);
        }
    }
    out
}

pub(crate) fn u16_of(n: usize) -> [u8; 2] {
    u16::try_from(n).unwrap().to_be_bytes()
}

#[derive(Clone, Debug)]
pub(crate) struct Core {
    pub(crate) magic: [u8; 8],
    pub(crate) suite: u16,
    pub(crate) flags: u16,
    pub(crate) message_id: [u8; 16],
    pub(crate) slots_len: u32,
    /// The true length where `None`.
    pub(crate) context_len: Option<u16>,
    pub(crate) context: Vec<u8>,
}

impl Core {
    pub(crate) fn new(slots_len: u32, context: Vec<u8>) -> Self {
        Self { magic: MAGIC, suite: 1, flags: 0, message_id: [0x3d; 16], slots_len, context_len: None, context }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.suite.to_be_bytes());
        out.extend(self.flags.to_be_bytes());
        out.extend(self.message_id);
        out.extend(self.slots_len.to_be_bytes());
        out.extend(self.context_len.map_or_else(|| u16_of(self.context.len()), u16::to_be_bytes));
        out.extend(&self.context);
        out
    }
}

/// The occasions of a wrapped key.
pub(crate) const GENERATION: u8 = 1;
pub(crate) const LATER: u8 = 2;

/// A wrapped key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) occasion: u8,
    pub(crate) algorithm: u8,
    pub(crate) kek_id: [u8; 16],
    pub(crate) parameters: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
}

impl Entry {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = vec![self.occasion, self.algorithm];
        out.extend(self.kek_id);
        out.push(u8::try_from(self.parameters.len()).unwrap());
        out.extend(&self.parameters);
        out.extend(u16_of(self.ciphertext.len()));
        out.extend(&self.ciphertext);
        out
    }
}

/// The bytes of a slot copy that are no entries: generation, count, used, tag and digest.
pub(crate) const COPY_OVERHEAD: usize = COPY_FIELDS + TAG_LEN + DIGEST_LEN;
const COPY_FIELDS: usize = 8;
const TAG_LEN: usize = 32;
const DIGEST_LEN: usize = 16;

/// A slot copy. `count`, `used` and `entries` may contradict one another; the digest is right.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SlotCopy {
    pub(crate) generation: u32,
    pub(crate) count: u16,
    pub(crate) used: u16,
    pub(crate) entries: Vec<u8>,
    /// Zeros until the copy is [tagged](Self::tagged) or put into an [`Envelope`].
    pub(crate) tag: [u8; 32],
}

impl SlotCopy {
    pub(crate) fn new(generation: u32, entries: &[Vec<u8>]) -> Self {
        let bytes: Vec<u8> = entries.iter().flat_map(|e| [&u16_of(e.len())[..], e].concat()).collect();
        Self {
            generation,
            count: u16::try_from(entries.len()).unwrap(),
            used: u16::try_from(bytes.len()).unwrap(),
            entries: bytes,
            tag: [0; 32],
        }
    }

    /// With the right tag for this input key and CORE.
    pub(crate) fn tagged(self, key: &[u8; 32], core: &[u8]) -> Self {
        Self { tag: tag(key, core, &self.listed()), ..self }
    }

    /// The slot copy in an area with its padding, or `None` if it is not whole.
    pub(crate) fn read(area: &[u8]) -> Option<Self> {
        let (generation, entries) = read_slot_copy(area)?;
        let copy = Self::new(generation, &entries);
        let tag_at = copy.listed().len();
        Some(Self { tag: area[tag_at..tag_at + TAG_LEN].try_into().unwrap(), ..copy })
    }

    /// A slot copy of bytes from the generation to the tag, which may contradict one another.
    pub(crate) fn parse_compact(bytes: &[u8]) -> Self {
        let number = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let (entries, tag) = bytes[COPY_FIELDS..].split_last_chunk::<TAG_LEN>().unwrap();
        let generation = u32::from_be_bytes(bytes[..4].try_into().unwrap());
        Self { generation, count: number(4), used: number(6), entries: entries.to_vec(), tag: *tag }
    }

    /// Its entries, which must be as it says.
    pub(crate) fn list(&self) -> Vec<Vec<u8>> {
        read_listed(&self.listed()).unwrap().1
    }

    /// From the generation to the last entry.
    fn listed(&self) -> Vec<u8> {
        let mut out = self.generation.to_be_bytes().to_vec();
        out.extend(self.count.to_be_bytes());
        out.extend(self.used.to_be_bytes());
        out.extend(&self.entries);
        out
    }

    /// As in a compact envelope.
    pub(crate) fn compact_bytes(&self) -> Vec<u8> {
        [&self.listed()[..], &self.tag].concat()
    }

    /// Without padding, as detached slots are.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        with_digest(self.compact_bytes())
    }
}

fn with_digest(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&bytes);
    bytes.extend(&digest[..DIGEST_LEN]);
    bytes
}

/// The tag over the bytes of a slot copy from its generation to its last entry.
pub(crate) fn tag(key: &[u8; 32], core: &[u8], listed: &[u8]) -> [u8; 32] {
    let tag_key = expand(key, &[b"keyward.slots.v1\0", &Sha256::digest(core)[..]].concat());
    let mut mac = Hmac::<Sha256>::new_from_slice(&tag_key).unwrap();
    mac.update(listed);
    mac.finalize().into_bytes().into()
}

/// HKDF-Expand-SHA-512 to 32 bytes, for which one block is enough.
fn expand(key: &[u8; 32], info: &[u8]) -> [u8; 32] {
    let mut block = Hmac::<Sha512>::new_from_slice(key).unwrap();
    block.update(info);
    block.update(&[1]);
    block.finalize().into_bytes()[..32].try_into().unwrap()
}

/// Gives a whole slot copy that has no tag yet the right one. What is torn stays so.
fn tag_untagged(area: &mut [u8], key: &[u8; 32], core: &[u8]) {
    if read_slot_copy(area).is_none() {
        return;
    }
    let tag_at = COPY_FIELDS + usize::from(u16::from_be_bytes([area[6], area[7]]));
    if area[tag_at..tag_at + TAG_LEN] == [0; TAG_LEN] {
        let tagged = with_digest([&area[..tag_at], &tag(key, core, &area[..tag_at])].concat());
        area[..tagged.len()].copy_from_slice(&tagged);
    }
}

/// The generation and the entries of a slot copy with its padding, or `None` if it is not whole. Ignores the tag.
pub(crate) fn read_slot_copy(area: &[u8]) -> Option<(u32, Vec<Vec<u8>>)> {
    let room = area.len().checked_sub(COPY_OVERHEAD)?;
    let used = usize::from(u16::from_be_bytes([area[6], area[7]]));
    if used > room {
        return None;
    }
    let (listed, rest) = area.split_at(COPY_FIELDS + used);
    let (digest, padding) = rest[TAG_LEN..].split_at(DIGEST_LEN);
    let expected = Sha256::digest(&area[..listed.len() + TAG_LEN]);
    if expected[..DIGEST_LEN] != *digest || padding.iter().any(|byte| *byte != 0) {
        return None;
    }
    read_listed(listed)
}

/// The same of the bytes from the generation to the last entry.
fn read_listed(listed: &[u8]) -> Option<(u32, Vec<Vec<u8>>)> {
    let generation = u32::from_be_bytes(listed[..4].try_into().unwrap());
    let count = usize::from(u16::from_be_bytes([listed[4], listed[5]]));
    let (mut rest, mut entries) = (&listed[COPY_FIELDS..], Vec::new());
    while !rest.is_empty() {
        let (len, tail) = rest.split_first_chunk::<2>()?;
        let (entry, tail) = tail.split_at_checked(u16::from_be_bytes(*len).into())?;
        entries.push(entry.to_vec());
        rest = tail;
    }
    (generation != 0 && entries.len() == count && (1..=16).contains(&count)).then_some((generation, entries))
}

/// An envelope whose body is made for its CORE, whatever that says: what is malformed in it is
/// authentic all the same.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) core: Core,
    pub(crate) a: Vec<u8>,
    pub(crate) b: Vec<u8>,
    /// The odd last byte of SLOTS, where there is one.
    pub(crate) odd: u8,
    pub(crate) key: [u8; 32],
    pub(crate) plaintext: Vec<u8>,
}

impl Envelope {
    pub(crate) fn area_len(&self) -> usize {
        usize::try_from(self.core.slots_len).unwrap() / 2
    }

    /// SLOTS, with the right tag in each whole slot copy that has none.
    pub(crate) fn slots(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for mut copy in [self.a.clone(), self.b.clone()] {
            assert!(copy.len() <= self.area_len(), "a slot copy of {} bytes in {}", copy.len(), self.area_len());
            copy.resize(self.area_len(), 0);
            tag_untagged(&mut copy, &self.key, &self.core.bytes());
            out.extend(copy);
        }
        if self.core.slots_len % 2 == 1 {
            out.push(self.odd);
        }
        out
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        body(&self.key, &self.core.bytes(), &self.plaintext)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.core.bytes(), self.slots(), self.body()].concat()
    }
}

/// Cobblestone-256 by another implementation.
pub(crate) fn body(key: &[u8; 32], core: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let context = [b"keyward.envelope.v1\0", core].concat();
    cobblestone::encrypt(&cobblestone::Key256::from_bytes(key), &context, plaintext).unwrap()
}

/// The plaintext of a body, by another implementation.
pub(crate) fn open_body(key: &[u8; 32], core: &[u8], body: &[u8]) -> Vec<u8> {
    let context = [b"keyward.envelope.v1\0", core].concat();
    cobblestone::decrypt(&cobblestone::Key256::from_bytes(key), &context, body).unwrap()
}

/// The one entry of a customer key's file.
pub(crate) fn customer_entry(key: &[u8; 32], salt: [u8; 32], core: &[u8]) -> Entry {
    let info = [b"keyward.customer-key.v1\0", &salt[..], &Sha256::digest(core)].concat();
    let verifier = expand(key, &info).to_vec();
    Entry { occasion: GENERATION, algorithm: 16, kek_id: [0; 16], parameters: salt.to_vec(), ciphertext: verifier }
}

/// The three parts of a file that is an envelope.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parts {
    pub(crate) core: Vec<u8>,
    pub(crate) slots: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Parts {
    pub(crate) fn of(file: &[u8]) -> Self {
        assert_eq!(file[..8], MAGIC);
        let u16_at = |at: usize| usize::from(u16::from_be_bytes(file[at..at + 2].try_into().unwrap()));
        let slots_len = usize::try_from(u32::from_be_bytes(file[28..32].try_into().unwrap())).unwrap();
        let core_len = CORE_LEN + u16_at(32);
        let slots_len = match is_compact(file) {
            true => COPY_FIELDS + u16_at(core_len + 6) + TAG_LEN,
            false => slots_len,
        };
        let (core, rest) = file.split_at(core_len);
        let (slots, body) = rest.split_at(slots_len);
        Self { core: core.to_vec(), slots: slots.to_vec(), body: body.to_vec() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&self.core[..], &self.slots, &self.body].concat()
    }

    /// The areas of both slot copies, A and B.
    pub(crate) fn slot_copies(&self) -> (&[u8], &[u8]) {
        let area = self.slots.len() / 2;
        (&self.slots[..area], &self.slots[area..2 * area])
    }

    /// The entries of the active slot copy, with its generation.
    pub(crate) fn current(&self) -> (u32, Vec<Vec<u8>>) {
        let active = self.active();
        (active.generation, active.list())
    }

    /// The active slot copy.
    pub(crate) fn active(&self) -> SlotCopy {
        if is_compact(&self.core) {
            let (listed, tag) = self.slots.split_last_chunk::<TAG_LEN>().unwrap();
            let (generation, entries) = read_listed(listed).unwrap();
            return SlotCopy { tag: *tag, ..SlotCopy::new(generation, &entries) };
        }
        let (a, b) = self.slot_copies();
        SlotCopy::read(a).into_iter().chain(SlotCopy::read(b)).max_by_key(|copy| copy.generation).unwrap()
    }

    /// The same file with this one slot copy, whose tag stays as it is.
    pub(crate) fn with_copy(&self, copy: &SlotCopy) -> Self {
        let mut slots = copy.compact_bytes();
        if !is_compact(&self.core) {
            slots = copy.bytes();
            assert!(slots.len() <= self.slots.len() / 2, "no room for {} bytes", slots.len());
            slots.resize(self.slots.len(), 0);
        }
        Self { slots, ..self.clone() }
    }
}

fn is_compact(core: &[u8]) -> bool {
    core[10..12] == [0, 2]
}
