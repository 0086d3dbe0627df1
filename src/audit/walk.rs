//! Going through the lines of a log in order.

use super::chain::{Chain, Torn};
use super::files::Piece;
use super::line::Line;

/// Where something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The index of the file.
    pub(super) file: usize,
    /// The number of the line in it, from 1.
    pub(super) number: u64,
}

/// What one more piece of a log turned out to be.
#[derive(Debug)]
pub(super) enum Step {
    /// The next line.
    Next(Box<Line>),
    /// Bytes that are no line. Whether a line follows that closes them is not known yet.
    Held,
    /// Not the next line: this is where the log is not in order.
    Broken(Position),
}

/// The chain, followed from its first line.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) chain: Option<Chain>,
    /// Bytes that are no line, and where they began.
    held: Option<(Position, Vec<u8>, bool)>,
    /// How many torn places were closed.
    pub(super) torn: u64,
}

impl Walk {
    pub(super) fn take(&mut self, piece: &Piece) -> Step {
        let here = Position { file: piece.file, number: piece.number };
        let Some(line) = Line::parse(&piece.bytes) else {
            match &mut self.held {
                Some((position, ..)) if position.file != here.file => return Step::Broken(*position),
                Some((_, bytes, whole)) => {
                    bytes.push(b'\n');
                    bytes.extend(&piece.bytes);
                    *whole = piece.whole;
                }
                None => self.held = Some((here, piece.bytes.clone(), piece.whole)),
            }
            return Step::Held;
        };
        if let Some((position, bytes, _)) = self.held.take() {
            let closed = position.file == here.file && Torn::of(&[&bytes[..], b"\n"].concat()).is_closed_by(&line);
            if !closed {
                return Step::Broken(position);
            }
            self.torn += 1;
        }
        let follows = match &mut self.chain {
            Some(chain) => chain.follow(&line),
            None => {
                self.chain = Chain::of_first(&line);
                self.chain.is_some()
            }
        };
        if follows { Step::Next(Box::new(line)) } else { Step::Broken(here) }
    }

    /// At the end: where bytes stand that are no line and are not closed, and whether they are one
    /// line that was being written and has no newline yet.
    pub(super) fn left(&self) -> Option<(Position, bool)> {
        self.held.as_ref().map(|(position, bytes, whole)| (*position, !whole && !bytes.contains(&b'\n')))
    }
}
