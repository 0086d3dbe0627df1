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

/// A wrapped key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) version: u8,
    pub(crate) algorithm: u8,
    pub(crate) kek_id: [u8; 16],
    pub(crate) parameters: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
}

impl Entry {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = vec![self.version, self.algorithm];
        out.extend(self.kek_id);
        out.push(u8::try_from(self.parameters.len()).unwrap());
        out.extend(&self.parameters);
        out.extend(u16_of(self.ciphertext.len()));
        out.extend(&self.ciphertext);
        out
    }
}

/// One half of SLOTS. `count`, `used` and `entries` may contradict one another; the digest is right.
#[derive(Clone, Debug)]
pub(crate) struct Half {
    pub(crate) generation: u32,
    pub(crate) count: u16,
    pub(crate) used: u16,
    pub(crate) entries: Vec<u8>,
}

impl Half {
    pub(crate) fn new(generation: u32, entries: &[Vec<u8>]) -> Self {
        let bytes: Vec<u8> = entries.iter().flat_map(|e| [&u16_of(e.len())[..], e].concat()).collect();
        Self {
            generation,
            count: u16::try_from(entries.len()).unwrap(),
            used: u16::try_from(bytes.len()).unwrap(),
            entries: bytes,
        }
    }

    /// Without padding, as detached slots are.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.generation.to_be_bytes().to_vec();
        out.extend(self.count.to_be_bytes());
        out.extend(self.used.to_be_bytes());
        out.extend(&self.entries);
        let digest = Sha256::digest(&out);
        out.extend(&digest[..16]);
        out
    }
}

/// What a whole half says: its generation and its entries. `None` where it is not whole.
pub(crate) fn read_half(half: &[u8]) -> Option<(u32, Vec<Vec<u8>>)> {
    let number = |at: usize| usize::from(u16::from_be_bytes(half[at..at + 2].try_into().unwrap()));
    let generation = u32::from_be_bytes(half[..4].try_into().unwrap());
    let (count, used) = (number(4), number(6));
    if generation == 0 || used > half.len() - 24 || half[8 + used + 16..].iter().any(|b| *b != 0) {
        return None;
    }
    if Sha256::digest(&half[..8 + used])[..16] != half[8 + used..8 + used + 16] {
        return None;
    }
    let (mut at, mut entries) = (8, Vec::new());
    while at < 8 + used {
        entries.push(half[at + 2..at + 2 + number(at)].to_vec());
        at += 2 + number(at);
    }
    (entries.len() == count && (1..=16).contains(&count)).then_some((generation, entries))
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
    pub(crate) fn half_len(&self) -> usize {
        usize::try_from(self.core.slots_len).unwrap() / 2
    }

    pub(crate) fn slots(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for half in [&self.a, &self.b] {
            assert!(half.len() <= self.half_len(), "a half of {} bytes in {}", half.len(), self.half_len());
            out.extend(half);
            out.resize(out.len() + self.half_len() - half.len(), 0);
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
    // One block of HKDF-Expand is enough for 32 bytes.
    let mut block = Hmac::<Sha512>::new_from_slice(key).unwrap();
    block.update(&info);
    block.update(&[1]);
    let verifier = block.finalize().into_bytes()[..32].to_vec();
    Entry { version: 1, algorithm: 16, kek_id: [0; 16], parameters: salt.to_vec(), ciphertext: verifier }
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
        let slots_len = u32::from_be_bytes(file[28..32].try_into().unwrap());
        let context_len = u16::from_be_bytes(file[32..34].try_into().unwrap());
        let (core, rest) = file.split_at(CORE_LEN + usize::from(context_len));
        let (slots, body) = rest.split_at(usize::try_from(slots_len).unwrap());
        Self { core: core.to_vec(), slots: slots.to_vec(), body: body.to_vec() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&self.core[..], &self.slots, &self.body].concat()
    }

    pub(crate) fn halves(&self) -> (&[u8], &[u8]) {
        let half = self.slots.len() / 2;
        (&self.slots[..half], &self.slots[half..2 * half])
    }

    /// The entries of the half that counts, with its generation.
    pub(crate) fn current(&self) -> (u32, Vec<Vec<u8>>) {
        let (a, b) = self.halves();
        read_half(a).into_iter().chain(read_half(b)).max_by_key(|half| half.0).unwrap()
    }
}
