//! The record of an audit key: its public half, those of the keys that it replaced, and those of keys on other tokens.

use super::{LABEL, write};
use crate::error::{Error, ErrorKind, Result};
use crate::hsm::template;
use crate::token::{Attribute, AttributeType, ObjectHandle, Session};

const FIRST_LINE: &str = "keyward-audit-key 1";
/// What tokens keep in a data object at least.
const MAX_LEN: usize = 8 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The `CKA_ID` of the key.
    pub(super) id: Vec<u8>,
    pub(super) point: [u8; 65],
    /// The keys that this one replaced, on this token.
    pub(super) former: Vec<[u8; 65]>,
    /// The keys of other tokens.
    pub(super) peers: Vec<[u8; 65]>,
    /// The objects with it: several if a change of it was interrupted.
    handles: Vec<ObjectHandle>,
}

/// The records of all audit keys, current or not.
pub(super) fn all(session: &Session<'_>) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    for handle in session.find(&template::data(Some(LABEL)))? {
        let Some(shown) = session.attributes(handle, &[AttributeType::Value])? else { continue };
        let text = shown.bytes(Attribute::Value).and_then(|value| std::str::from_utf8(value).ok());
        let Some(mut new) = text.and_then(Record::parse) else { continue };
        match records.iter_mut().find(|record| (&record.id, record.point) == (&new.id, new.point)) {
            Some(record) => {
                record.handles.push(handle);
                extend(&mut record.former, new.former);
                extend(&mut record.peers, new.peers);
            }
            None => {
                new.handles.push(handle);
                records.push(new);
            }
        }
    }
    Ok(records)
}

fn extend(points: &mut Vec<[u8; 65]>, more: Vec<[u8; 65]>) {
    for point in more {
        if !points.contains(&point) {
            points.push(point);
        }
    }
}

impl Record {
    /// The record of a new key, which takes the place of another if `replaced` is that one's.
    pub(super) fn new(id: [u8; 16], point: [u8; 65], replaced: Option<&Self>) -> Self {
        let former = replaced.iter().flat_map(|old| [&[old.point], old.former.as_slice()].concat()).collect();
        let peers = replaced.map_or_else(Vec::new, |old| old.peers.clone());
        Self { id: id.to_vec(), point, former, peers, handles: Vec::new() }
    }

    /// All keys that it names, the current one first.
    pub(super) fn points(&self) -> Vec<[u8; 65]> {
        [&[self.point], self.former.as_slice(), &self.peers].concat()
    }

    pub(super) fn write(&self, session: &Session<'_>) -> Result<()> {
        let text = self.to_text();
        if text.len() > MAX_LEN {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                "the record of the audit key has no room for another key",
            ));
        }
        write(session, LABEL, &text)
    }

    /// Destroys the objects that it was read from.
    pub(super) fn destroy(&self, session: &Session<'_>) -> Result<()> {
        self.handles.iter().try_for_each(|handle| session.destroy_object(*handle))
    }

    fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nid {}\npoint {}\n", hex(&self.id), hex(&self.point));
        for (field, points) in [("former", &self.former), ("peer", &self.peers)] {
            text.extend(points.iter().map(|point| format!("{field} {}\n", hex(point))));
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let id = bytes(lines.next()?.strip_prefix("id ")?)?;
        let point = parse_point(lines.next()?.strip_prefix("point ")?)?;
        let mut record = Self { id, point, former: Vec::new(), peers: Vec::new(), handles: Vec::new() };
        for line in lines {
            match line.split_once(' ')? {
                ("former", digits) => record.former.push(parse_point(digits)?),
                ("peer", digits) => record.peers.push(parse_point(digits)?),
                _ => return None,
            }
        }
        Some(record)
    }
}

fn parse_point(digits: &str) -> Option<[u8; 65]> {
    bytes(digits)?.try_into().ok()
}

/// The bytes that lower-case hexadecimal digits spell.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_anything_else_is_refused() {
        let old = Record::parse(&Record::new([1; 16], [4; 65], None).to_text()).unwrap();
        let mut record = Record::new([2; 16], [5; 65], Some(&old));
        record.peers.push([6; 65]);
        let text = record.to_text();
        let parsed = Record::parse(&text).unwrap();
        assert_eq!((parsed.id.as_slice(), parsed.points()), (&[2; 16][..], vec![[5; 65], [4; 65], [6; 65]]));
        for bad in [
            "",
            text.trim_end(),
            &text.replace("key 1", "key 2"),
            &format!("{text}more\n"),
            &text.replace("point 05", "point +5"),
            &text.replace("former 04", "former 4"),
            &text.replace("peer ", "peers "),
        ] {
            assert_eq!(Record::parse(bad), None, "{bad}");
        }
    }
}
