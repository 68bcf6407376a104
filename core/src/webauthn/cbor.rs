//! CBOR as authenticators write it (RFC 8949, CTAP2 canonical form): definite lengths, no tags, at most a few levels.
//!
//! It reads in place and allocates nothing: a length that the input does not have is refused before it is believed, and
//! whatever is not read is skipped by a recursion that ends at `DEEPEST`.

/// CTAP2 has at most four levels; an attestation statement inside of an object adds one.
const DEEPEST: u32 = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Item<'a> {
    Unsigned(u64),
    /// The number is -1 minus this.
    Negative(u64),
    Bytes(&'a [u8]),
    Text(&'a str),
    /// How many items follow.
    Array(u64),
    /// How many pairs follow.
    Map(u64),
    /// false, true, null, undefined, or a float.
    Simple,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.rest.len())?;
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Some(taken)
    }

    /// The next item; of an array and a map only how long it is.
    pub(super) fn item(&mut self) -> Option<Item<'a>> {
        let first = *self.take(1)?.first()?;
        let (major, low) = (first >> 5, first & 0x1f);
        let number = match low {
            0..=23 => u64::from(low),
            // One, two, four or eight bytes, and never more than are needed.
            24..=27 => {
                let width = 1 << (low - 24);
                let number = self.take(width)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
                let least = [24, 1 << 8, 1 << 16, 1 << 32][usize::from(low - 24)];
                if major != 7 && number < least {
                    return None;
                }
                number
            }
            // 28 to 30 mean nothing, 31 is an indefinite length.
            _ => return None,
        };
        Some(match major {
            0 => Item::Unsigned(number),
            1 => Item::Negative(number),
            2 => Item::Bytes(self.take(number)?),
            3 => Item::Text(std::str::from_utf8(self.take(number)?).ok()?),
            4 => Item::Array(number),
            5 => Item::Map(number),
            7 if (20..=23).contains(&low) || low >= 25 => Item::Simple,
            _ => return None,
        })
    }

    pub(super) fn map(&mut self) -> Option<u64> {
        match self.item()? {
            // Each pair takes two bytes at least.
            Item::Map(pairs) if pairs <= self.rest.len() as u64 / 2 => Some(pairs),
            _ => None,
        }
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        match self.item()? {
            Item::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        match self.item()? {
            Item::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Passes over a whole value.
    pub(super) fn skip(&mut self) -> Option<()> {
        self.skip_at(0)
    }

    fn skip_at(&mut self, level: u32) -> Option<()> {
        let inside = match self.item()? {
            Item::Array(items) => items,
            Item::Map(pairs) => pairs.checked_mul(2)?,
            _ => 0,
        };
        // Each takes a byte at least.
        if inside > self.rest.len() as u64 || (inside > 0 && level == DEEPEST) {
            return None;
        }
        (0..inside).try_for_each(|_| self.skip_at(level + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(bytes: &[u8]) -> Option<usize> {
        let mut reader = Reader::new(bytes);
        reader.skip().map(|()| bytes.len() - reader.rest().len())
    }

    /// XH8: what claims to be long or deep costs nothing.
    #[test]
    fn bombs_are_refused() {
        for (bytes, expected) in [
            (&[0x80][..], Some(1)),
            (&[0x83, 1, 2, 3, 4], Some(4)),
            (&[0xa1, 0x61, b'a', 0x82, 0xf5, 0xf6], Some(6)),
            (&[0xfb, 0, 0, 0, 0, 0, 0, 0, 0], Some(9)),
            (&[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Some(9)),
            // lengths that are not there: a gigabyte of bytes, of text, of items, of pairs
            (&[0x5a, 0x40, 0, 0, 0, 1], None),
            (&[0x7a, 0x40, 0, 0, 0, 1], None),
            (&[0x9a, 0x40, 0, 0, 0, 1], None),
            (&[0xba, 0x40, 0, 0, 0, 1], None),
            (&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], None),
            // indefinite lengths, tags, numbers longer than they need be, text that is none, the end
            (&[0x9f, 1, 0xff], None),
            (&[0x5f, 0xff], None),
            (&[0xc1, 1], None),
            (&[0x18, 23], None),
            (&[0x19, 0, 24], None),
            (&[0x61, 0xff], None),
            (&[0x1c], None),
            (&[0x1a, 1, 2, 3], None),
            (&[], None),
        ] {
            assert_eq!(skipped(bytes), expected, "{bytes:02x?}");
        }
        for (depth, is_read) in [(8, true), (9, false), (100_000, false)] {
            let mut bytes = vec![0x81; depth];
            bytes.push(0);
            assert_eq!(skipped(&bytes).is_some(), is_read, "{depth}");
        }
    }
}
