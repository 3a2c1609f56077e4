//! Pages of lists: sizes and tokens (AIP-158).
//!
//! A token carries the cursor and what list it belongs to, with a checksum: a token that was made up, cut or taken
//! from another list is refused instead of answering a page that nobody asked for.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The page size of a request that names none.
pub const DEFAULT_SIZE: usize = 50;

/// The largest page; a request for more gets this many.
pub const MAX_SIZE: usize = 500;

/// Bytes of checksum in a token.
const CHECK: usize = 8;

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

/// Reads a page size: 0 means [`DEFAULT_SIZE`], more than [`MAX_SIZE`] counts as that.
pub fn size(requested: i32) -> Result<usize, PageError> {
    match usize::try_from(requested) {
        Err(_) => Err(PageError::NegativeSize),
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(size) => Ok(size.min(MAX_SIZE)),
    }
}

/// Writes a token for the page that follows `cursor` in `list` (a name such as `entries/42`).
pub fn token(list: &str, cursor: &str) -> String {
    let mut bytes = check(list, cursor).to_vec();
    bytes.extend_from_slice(cursor.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads the cursor out of a token of `list`; the empty token is the first page and has none.
pub fn cursor(list: &str, token: &str) -> Result<Option<String>, PageError> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| PageError::ForeignToken)?;
    let (sum, cursor) = bytes.split_at_checked(CHECK).ok_or(PageError::ForeignToken)?;
    let cursor = std::str::from_utf8(cursor).map_err(|_| PageError::ForeignToken)?;
    if sum == check(list, cursor) { Ok(Some(cursor.into())) } else { Err(PageError::ForeignToken) }
}

fn check(list: &str, cursor: &str) -> [u8; CHECK] {
    let digest = Sha256::new().chain_update(list).chain_update([0]).chain_update(cursor).finalize();
    std::array::from_fn(|i| digest[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_cursor() {
        assert_eq!(cursor("orders/1", &token("orders/1", "42")), Ok(Some("42".into())));
        assert_eq!(cursor("orders/1", ""), Ok(None));
    }

    #[test]
    fn made_up_cut_and_foreign_tokens_are_refused() {
        let real = token("orders/1", "42");
        for wrong in ["x", "AAAAAAAAAAAAAAAA", "not base64!", &real[1..], &token("orders/2", "42")]
        {
            assert_eq!(cursor("orders/1", wrong), Err(PageError::ForeignToken), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_a_default_and_a_bound() {
        assert_eq!([size(0), size(7), size(i32::MAX)], [Ok(50), Ok(7), Ok(500)]);
        assert_eq!(size(-1), Err(PageError::NegativeSize));
    }
}
