//! gRPC's length-prefixed messages, followed as their bytes go by: to hold each to a size, and to count
//! what all of them have together.
//!
//! What counts is what a message's prefix says: its bytes on the wire, after compression if there is
//! any. One that is too long is known from its first five bytes; nothing is kept or copied.

/// One byte of flags, then the length.
const PREFIX_LEN: usize = 5;

/// One direction of one call.
#[derive(Debug)]
pub(crate) struct Measure {
    bytes_max: u32,
    prefix: [u8; PREFIX_LEN],
    have: usize,
    /// Bytes of the current message that are still to come.
    rest: usize,
    passed: u64,
}

/// A message that is longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message of {bytes} bytes, {bytes_max} are allowed")]
pub(crate) struct TooLong {
    bytes: u32,
    bytes_max: u32,
}

impl Measure {
    pub(crate) fn new(bytes_max: u32) -> Self {
        Self { bytes_max, prefix: [0; PREFIX_LEN], have: 0, rest: 0, passed: 0 }
    }

    /// Only counts: every length that a prefix can name is allowed.
    pub(crate) fn unbounded() -> Self {
        Self::new(u32::MAX)
    }

    /// Bytes of messages that went by, their prefixes not among them.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    /// Takes the next bytes, however they were cut.
    pub(crate) fn advance(&mut self, mut bytes: &[u8]) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            self.passed += skipped as u64;
            bytes = &bytes[skipped..];
            let (part, rest) = bytes.split_at(bytes.len().min(PREFIX_LEN - self.have));
            self.prefix[self.have..self.have + part.len()].copy_from_slice(part);
            self.have += part.len();
            bytes = rest;
            if self.have == PREFIX_LEN {
                self.have = 0;
                self.begin()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), TooLong> {
        let [_flags, length @ ..] = self.prefix;
        let bytes = u32::from_be_bytes(length);
        self.rest = bytes as usize;
        let fits = bytes <= self.bytes_max;
        fits.then_some(()).ok_or(TooLong { bytes, bytes_max: self.bytes_max })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        bytes.resize(PREFIX_LEN + length, 0xff);
        bytes
    }

    #[test]
    fn a_length_is_refused_with_its_prefix_before_anything_of_the_message() {
        let mut measure = Measure::new(3);
        measure.advance(&message(3)).unwrap();
        measure.advance(&[0, 0, 0, 0]).unwrap();
        assert_eq!(measure.advance(&[4]), Err(TooLong { bytes: 4, bytes_max: 3 }));
        assert_eq!(Measure::new(0).advance(&message(0)), Ok(()));
    }

    proptest! {
        #[test]
        fn only_the_longest_message_decides_however_the_bytes_are_cut(
            lengths in prop::collection::vec(0usize..200, 0..10),
            bytes_max in 0u32..200,
            cuts in prop::collection::vec(1usize..50, 1..20),
        ) {
            let bytes: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            let (mut measure, mut rest) = (Measure::new(bytes_max), &bytes[..]);
            let mut refused = None;
            for cut in cuts.iter().cycle() {
                if rest.is_empty() || refused.is_some() { break; }
                let (head, tail) = rest.split_at((*cut).min(rest.len()));
                refused = measure.advance(head).err().map(|too_long| too_long.bytes);
                rest = tail;
            }
            let first = lengths.iter().map(|length| *length as u32).find(|length| *length > bytes_max);
            prop_assert_eq!(refused, first);
            let before = lengths.iter().take_while(|length| Some(**length as u32) != first);
            prop_assert_eq!(measure.passed(), before.sum::<usize>() as u64);
        }

        #[test]
        fn any_bytes_are_followed_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
            bytes_max: u32,
        ) {
            let _ = Measure::new(bytes_max).advance(&bytes);
        }
    }
}
