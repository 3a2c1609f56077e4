//! Follows the frames of one direction of an HTTP/2 connection without holding them up.
//!
//! Four facts decide about calls, and h2 keeps all four to itself: which streams' headers were really
//! written, which stream the peer named last in a GOAWAY, whether the peer's SETTINGS came, and how
//! long the metadata may be that the peer reads. They can be read off the frames as the bytes go by:
//! nine bytes a frame are looked at, and the payload of the rare frames that say something; the rest
//! is skipped. Bytes that are no HTTP/2 do no harm here; h2 refuses them.
//!
//! A frame is told when its last byte is here, however the bytes were cut: h2 acts then, and not
//! before. HEADERS alone are told when they begin, for from then on the peer may know of the stream.

const HEADER_LEN: usize = 9;
/// Last stream id and error code, then as much of the debug text as is worth keeping.
const GOAWAY_KEPT: usize = 8 + 64;
/// A SETTINGS frame may be as long as a frame may be by default.
const SETTINGS_KEPT: usize = 16 << 10;

const TYPE_HEADERS: u8 = 0x1;
const TYPE_SETTINGS: u8 = 0x4;
const TYPE_GOAWAY: u8 = 0x7;
const FLAG_ACK: u8 = 0x1;
/// `SETTINGS_MAX_HEADER_LIST_SIZE` (RFC 9113, 6.5.2).
const MAX_HEADER_LIST_SIZE: u16 = 0x6;

/// A frame worth knowing about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// HEADERS on this stream began.
    Headers(u32),
    /// SETTINGS, not an acknowledgement.
    Settings(Settings),
    Goaway(Goaway),
}

/// What a SETTINGS said, as far as h2 does not act on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// Bytes of metadata that the peer reads. Absent: this frame says nothing of it.
    pub(super) header_list_max: Option<u32>,
}

/// What a GOAWAY said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Goaway {
    /// Streams above this one were not and will not be looked at.
    pub(crate) last_stream: u32,
    pub(crate) reason: h2::Reason,
    /// The first bytes of the debug text, such as `too_many_pings`.
    pub(crate) debug: Vec<u8>,
}

/// Where in the byte stream we are.
#[derive(Debug)]
pub(super) struct Frames {
    header: [u8; HEADER_LEN],
    have: usize,
    /// Bytes to pass over before the next frame header.
    skip: usize,
    /// The payload of the frame being passed, where it says something.
    kept: Option<Kept>,
}

/// The beginning of a payload, as much as is worth keeping.
#[derive(Debug)]
enum Kept {
    Settings(Vec<u8>),
    Goaway(Vec<u8>),
}

impl Frames {
    /// Starts before a frame header that `preface` bytes come ahead of.
    pub(super) fn after(preface: usize) -> Self {
        Self { header: [0; HEADER_LEN], have: 0, skip: preface, kept: None }
    }

    /// Takes the next bytes and tells what was in them.
    pub(super) fn advance(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Seen)) {
        while !bytes.is_empty() {
            bytes = if self.skip > 0 { self.pass(bytes) } else { self.collect(bytes, &mut tell) };

            // Also for a frame without a payload, which ends with its header.
            if self.skip == 0
                && let Some(seen) = self.kept.take().and_then(Kept::read)
            {
                tell(seen);
            }
        }
    }

    fn pass<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (body, rest) = bytes.split_at(self.skip.min(bytes.len()));
        self.skip -= body.len();
        if let Some(kept) = &mut self.kept {
            kept.extend(body);
        }
        rest
    }

    fn collect<'a>(&mut self, bytes: &'a [u8], tell: &mut impl FnMut(Seen)) -> &'a [u8] {
        let wanted = HEADER_LEN - self.have;
        let (part, rest) = bytes.split_at(wanted.min(bytes.len()));
        self.header[self.have..self.have + part.len()].copy_from_slice(part);
        self.have += part.len();
        if self.have < HEADER_LEN {
            return rest;
        }

        self.have = 0;
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = self.header;
        self.skip = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        match kind {
            TYPE_HEADERS => tell(Seen::Headers(stream_id([s0, s1, s2, s3]))),
            TYPE_SETTINGS if flags & FLAG_ACK == 0 => self.kept = Some(Kept::Settings(Vec::new())),
            TYPE_GOAWAY => self.kept = Some(Kept::Goaway(Vec::new())),
            _ => {}
        }
        rest
    }
}

impl Kept {
    fn extend(&mut self, body: &[u8]) {
        let (bytes, most) = match self {
            Self::Settings(bytes) => (bytes, SETTINGS_KEPT),
            Self::Goaway(bytes) => (bytes, GOAWAY_KEPT),
        };
        let room = most.saturating_sub(bytes.len());
        bytes.extend_from_slice(&body[..room.min(body.len())]);
    }

    /// What the frame says, now that it is whole.
    fn read(self) -> Option<Seen> {
        match self {
            Self::Settings(bytes) => Some(Seen::Settings(parse_settings(&bytes))),
            Self::Goaway(bytes) => parse_goaway(&bytes).map(Seen::Goaway),
        }
    }
}

fn stream_id(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes) & 0x7fff_ffff
}

fn parse_settings(bytes: &[u8]) -> Settings {
    let mut settings = Settings::default();
    let (entries, _) = bytes.as_chunks::<6>();
    for [i0, i1, v0, v1, v2, v3] in entries {
        if u16::from_be_bytes([*i0, *i1]) == MAX_HEADER_LIST_SIZE {
            settings.header_list_max = Some(u32::from_be_bytes([*v0, *v1, *v2, *v3]));
        }
    }
    settings
}

fn parse_goaway(kept: &[u8]) -> Option<Goaway> {
    let (last, rest) = kept.split_first_chunk::<4>()?;
    let (reason, debug) = rest.split_first_chunk::<4>()?;
    Some(Goaway {
        last_stream: stream_id(*last),
        reason: u32::from_be_bytes(*reason).into(),
        debug: debug.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn seen(frames: &mut Frames, bytes: &[u8]) -> Vec<Seen> {
        let mut all = Vec::new();
        frames.advance(bytes, |one| all.push(one));
        all
    }

    #[test]
    fn headers_settings_and_goaway_are_told_and_data_is_passed_over() {
        let mut goaway = 7u32.to_be_bytes().to_vec();
        goaway.extend_from_slice(&0xbu32.to_be_bytes());
        goaway.extend_from_slice(b"too_many_pings");
        let mut bytes = b"preface!".to_vec();
        bytes.extend(frame(TYPE_SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9, 0, 6, 0, 0, 0x40, 0]));
        bytes.extend(frame(TYPE_SETTINGS, FLAG_ACK, 0, &[]));
        bytes.extend(frame(TYPE_HEADERS, 4, 3, b"abc"));
        bytes.extend(frame(0, 1, 3, &[9; 300]));
        bytes.extend(frame(TYPE_GOAWAY, 0, 0, &goaway));
        let told = seen(&mut Frames::after(8), &bytes);
        let last = Goaway {
            last_stream: 7,
            reason: h2::Reason::ENHANCE_YOUR_CALM,
            debug: b"too_many_pings".to_vec(),
        };
        let settings = Settings { header_list_max: Some(16 << 10) };
        assert_eq!(told, [Seen::Settings(settings), Seen::Headers(3), Seen::Goaway(last)]);
    }

    #[test]
    fn settings_and_goaway_are_told_with_their_last_byte_and_headers_with_their_first_nine() {
        let goaway = frame(TYPE_GOAWAY, 0, 0, &[0; 11]);
        let settings = frame(TYPE_SETTINGS, 0, 0, &[0; 12]);
        let empty = frame(TYPE_SETTINGS, 0, 0, &[]);
        let headers = frame(TYPE_HEADERS, 0, 1, &[0; 5]);
        for (bytes, told_at) in
            [(&goaway, goaway.len()), (&settings, settings.len()), (&empty, 9), (&headers, 9)]
        {
            let mut frames = Frames::after(0);
            let told: Vec<_> = bytes
                .chunks(1)
                .enumerate()
                .flat_map(|(at, byte)| seen(&mut frames, byte).into_iter().map(move |_| at + 1))
                .collect();
            assert_eq!(told, [told_at], "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_changes_nothing(
            frames in prop::collection::vec((0u8..10, any::<u8>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..100)), 0..20),
            cuts in prop::collection::vec(1usize..40, 1..30),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(k, f, s, b)| frame(*k, *f, *s, b)).collect();
            let whole = seen(&mut Frames::after(0), &bytes);
            let (mut scanner, mut told, mut rest) = (Frames::after(0), Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (head, tail) = rest.split_at((*cut).min(rest.len()));
                told.extend(seen(&mut scanner, head));
                rest = tail;
            }
            prop_assert_eq!(whole, told);
        }

        #[test]
        fn garbage_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            seen(&mut Frames::after(24), &bytes);
        }
    }
}
