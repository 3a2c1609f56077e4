//! Pages of lists: sizes and tokens (AIP-158).
//!
//! A token is a cursor with a message authentication code over it and the list that it belongs to (`entries/42`: the query
//! and its owner), made with a key that callers do not have ([`PageKeys`]). So a token that was made up, cut, or taken from
//! another list or another account is refused, instead of answering a page that nobody was given. The cursor itself is not
//! hidden: it says nothing that the page before it did not.
//!
//! The version before made tokens that anybody could compute. They are refused rather than taken for one release more:
//! taken, they would let anybody go on making them. So a listing that began on a pod of the one version and goes on on a
//! pod of the other is told INVALID_ARGUMENT, naming page_token, and begins anew. That happens within a roll-out only, to
//! reads only, and loses nothing: tokens are kept for as long as somebody turns pages.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

/// The page size of a request that names none.
pub const DEFAULT_SIZE: usize = 50;

/// The largest page; a request for more gets this many.
pub const MAX_SIZE: usize = 500;

/// Bytes of the authentication code in a token: 128 bits.
const CODE: usize = 16;

/// The longest token that any list gives out has a third of this.
const TOKEN_MAX: usize = 256;

/// The fewest characters of a key that is given: in hexadecimal 128 bits.
const KEY_MIN: usize = 32;

/// Keys at one time: the one that is used, and those that it succeeds.
const KEYS_MAX: usize = 8;

/// Why a page cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PageError {
    /// A negative page size.
    #[error("must not be negative")]
    NegativeSize,
    /// A token that this list never gave out.
    #[error("is not a token of this list")]
    ForeignToken,
}

/// Why a text holds no keys. Never repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// A line is too short to be random enough.
    #[error("must hold a key of at least 32 characters on each line")]
    TooShort,
    /// None, or more than anybody turns round.
    #[error("must hold 1 to 8 keys, each on a line of its own")]
    Count,
}

/// The keys that tokens are made and judged with. All pods of a service have the same.
#[derive(Clone, PartialEq, Eq)]
pub struct PageKeys(Vec<[u8; 32]>);

/// Reads a page size: 0 means [`DEFAULT_SIZE`], more than [`MAX_SIZE`] counts as that.
pub fn size(requested: i32) -> Result<usize, PageError> {
    match usize::try_from(requested) {
        Err(_) => Err(PageError::NegativeSize),
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(size) => Ok(size.min(MAX_SIZE)),
    }
}

impl PageKeys {
    /// Keys that an operator made up, each on a line of its own. The first makes tokens, all judge them, so that a key can be
    /// changed while pods roll: first add it as the second, then move it to the front.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn of_lines(text: &str) -> Result<Self, KeyError> {
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if !(1..=KEYS_MAX).contains(&lines.len()) {
            return Err(KeyError::Count);
        }
        if lines.iter().any(|line| line.len() < KEY_MIN) {
            return Err(KeyError::TooShort);
        }
        Ok(Self(lines.into_iter().map(|line| derive(line.as_bytes())).collect()))
    }

    /// A key derived from the id of the database behind a list, which all pods know without being told.
    ///
    /// It keeps out whoever does not know that id, a random UUID that the database made. It does not keep out who can read
    /// the database, or who was told the id as a ledger's id, as order-service is: they can make tokens, and learn by them
    /// no more than pages of lists that they may read anyway. Where that is too little, give keys.
    pub fn of_database(id: &str) -> Self {
        Self(vec![derive(id.as_bytes())])
    }

    /// Writes a token for the page that follows `cursor` in `list` (a name such as `entries/42`).
    pub fn token(&self, list: &str, cursor: &str) -> String {
        let mut bytes = code(&self.0[0], list, cursor).finalize().into_bytes()[..CODE].to_vec();
        bytes.extend_from_slice(cursor.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the cursor out of a token of `list`; the empty token is the first page and has none.
    ///
    /// # Errors
    /// [`PageError::ForeignToken`].
    pub fn cursor(&self, list: &str, token: &str) -> Result<Option<String>, PageError> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = Some(token).filter(|token| token.len() <= TOKEN_MAX);
        let bytes = bytes.and_then(|token| URL_SAFE_NO_PAD.decode(token).ok());
        let bytes = bytes.ok_or(PageError::ForeignToken)?;
        let (told, cursor) = bytes.split_at_checked(CODE).ok_or(PageError::ForeignToken)?;
        let cursor = std::str::from_utf8(cursor).map_err(|_| PageError::ForeignToken)?;

        // Compared in constant time: how much of a code is right must not be told by how long the answer takes.
        let ours =
            self.0.iter().any(|key| code(key, list, cursor).verify_truncated_left(told).is_ok());
        if ours { Ok(Some(cursor.into())) } else { Err(PageError::ForeignToken) }
    }
}

impl std::fmt::Debug for PageKeys {
    /// How many there are, and nothing of them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PageKeys({})", self.0.len())
    }
}

/// HKDF-Extract (RFC 5869) with the purpose as its salt: a secret that serves for something else too is no key here.
fn derive(secret: &[u8]) -> [u8; 32] {
    keyed(b"holdfast page token").chain_update(secret).finalize().into_bytes().into()
}

/// What the name of a list ends with, no name contains.
fn code(key: &[u8; 32], list: &str, cursor: &str) -> Hmac<Sha256> {
    keyed(key).chain_update(list).chain_update([0]).chain_update(cursor)
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6f1d0a2e-9d0e-4a5e-8b53-3f2b8d7b5c11";

    #[test]
    fn a_token_leads_back_to_its_cursor() {
        let keys = PageKeys::of_database(ID);
        assert_eq!(keys.cursor("orders/1", &keys.token("orders/1", "42")), Ok(Some("42".into())));
        assert_eq!(keys.cursor("orders/1", ""), Ok(None));
    }

    #[test]
    fn made_up_cut_and_foreign_tokens_are_refused() {
        let keys = PageKeys::of_database(ID);
        let real = keys.token("orders/1", "42");
        let other = PageKeys::of_database("another").token("orders/1", "42");
        let of_other_list = keys.token("orders/2", "42");
        // What the version before gave out, and anybody can compute: eight bytes of SHA-256, then the cursor.
        let of_before = {
            use sha2::Digest;
            let sum = Sha256::new().chain_update("orders/1\0").chain_update("42").finalize();
            URL_SAFE_NO_PAD.encode([&sum[..8], b"42"].concat())
        };
        let long = keys.token("orders/1", &"4".repeat(TOKEN_MAX));
        let wrong = ["x", "AAAAAAAAAAAAAAAA", "not base64!", &real[1..], &real[..real.len() - 1]];
        for wrong in wrong.into_iter().chain([&*other, &*of_other_list, &*of_before, &*long]) {
            assert_eq!(keys.cursor("orders/1", wrong), Err(PageError::ForeignToken), "{wrong}");
        }
    }

    #[test]
    fn no_single_changed_bit_goes_unnoticed() {
        let keys = PageKeys::of_database(ID);
        let real = URL_SAFE_NO_PAD.decode(keys.token("orders/1", "42")).unwrap();
        for bit in 0..real.len() * 8 {
            let mut changed = real.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(keys.cursor("orders/1", &changed), Err(PageError::ForeignToken), "{bit}");
        }
    }

    #[test]
    fn a_key_can_be_changed_while_pods_roll() {
        let (old, new) = ("o".repeat(KEY_MIN), "n".repeat(KEY_MIN));
        let keys = |lines: &str| PageKeys::of_lines(lines).unwrap();
        let steps = [
            keys(&old),
            keys(&format!("{old}\n{new}\n")),
            keys(&format!("{new}\n{old}\n")),
            keys(&new),
        ];
        for pair in steps.windows(2) {
            for (makes, judges) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
                assert!(judges.cursor("products", &makes.token("products", "7")).is_ok());
            }
        }
        assert!(steps[3].cursor("products", &steps[0].token("products", "7")).is_err());
    }

    #[test]
    fn keys_that_are_none_are_refused_and_none_is_shown() {
        assert_eq!(PageKeys::of_lines(" \n"), Err(KeyError::Count));
        assert_eq!(PageKeys::of_lines("short"), Err(KeyError::TooShort));
        let many = format!("{}\n", "k".repeat(KEY_MIN)).repeat(KEYS_MAX + 1);
        assert_eq!(PageKeys::of_lines(&many), Err(KeyError::Count));
        let keys = PageKeys::of_lines(&"k".repeat(KEY_MIN)).unwrap();
        assert_eq!(format!("{keys:?}"), "PageKeys(1)");
    }

    #[test]
    fn sizes_have_a_default_and_a_bound() {
        assert_eq!([size(0), size(7), size(i32::MAX)], [Ok(50), Ok(7), Ok(500)]);
        assert_eq!(size(-1), Err(PageError::NegativeSize));
    }
}
