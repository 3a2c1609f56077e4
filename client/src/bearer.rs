//! A bearer token from a file, put on each call.
//!
//! Tokens expire, so whoever issues them replaces the file (Kubernetes does, for tokens of service accounts) and it is
//! read again and again. A file that is gone or holds no token changes nothing: the token before may be good still.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// The longest token, in bytes: servers take headers of 16 KiB in all.
const BYTES_MAX: usize = 8 << 10;

/// A token that is put on calls as `authorization: Bearer …`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BearerToken(watch::Receiver<HeaderValue>);

/// Why a file gives no token.
#[derive(Debug, thiserror::Error)]
pub enum BearerTokenError {
    /// It cannot be read.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is in it is not a token.
    #[error("{path} does not hold one token of at most 8 KiB", path = .0.display())]
    NoToken(PathBuf),
}

impl BearerToken {
    /// The token in a file, which is read now and then at this interval, as long as a clone is left. To be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// See [`BearerTokenError`].
    pub fn from_file(path: &Path, reload: Duration) -> Result<Self, BearerTokenError> {
        let (in_force, token) = watch::channel(read(path)?);
        tokio::spawn(keep_reading(path.to_owned(), reload, in_force));
        Ok(Self(token))
    }

    /// Puts it on a call, unless its caller has put another there.
    pub(crate) fn put_on(&self, headers: &mut HeaderMap) {
        headers.entry(AUTHORIZATION).or_insert_with(|| self.0.borrow().clone());
    }
}

async fn keep_reading(path: PathBuf, reload: Duration, in_force: watch::Sender<HeaderValue>) {
    let mut ticks = interval(reload);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = in_force.closed() => return,
        }
        let file = path.clone();
        // Reading blocks. A failed task would be a panic: then nothing has changed.
        let Ok(token) = tokio::task::spawn_blocking(move || read(&file)).await else { continue };
        match token {
            Ok(token) => {
                in_force.send_if_modified(|before| {
                    let is_new = *before != token;
                    *before = token;
                    is_new
                });
            }
            Err(why) => tracing::warn!(
                error = &why as &dyn std::error::Error,
                "the token file cannot be used; the former token stays in force"
            ),
        }
    }
}

fn read(path: &Path) -> Result<HeaderValue, BearerTokenError> {
    let failed = |source| BearerTokenError::Read { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let token = text.trim();
    let is_good =
        (1..=BYTES_MAX).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    let value = is_good.then(|| HeaderValue::try_from(format!("Bearer {token}")).ok()).flatten();
    let mut value = value.ok_or_else(|| BearerTokenError::NoToken(path.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(token: &BearerToken) -> String {
        let mut headers = HeaderMap::new();
        token.put_on(&mut headers);
        headers[AUTHORIZATION].to_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_token_is_read_again_and_a_broken_file_leaves_it() {
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "first\n").unwrap();
        let token = BearerToken::from_file(&file, Duration::from_millis(5)).unwrap();
        assert_eq!(sent(&token), "Bearer first");

        std::fs::write(&file, "two words").unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(sent(&token), "Bearer first");

        std::fs::write(&file, "second").unwrap();
        let came = async {
            while sent(&token) != "Bearer second" {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), came).await.unwrap();

        let mut own =
            HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer own"))]);
        token.put_on(&mut own);
        assert_eq!(own[AUTHORIZATION], "Bearer own");
    }

    #[tokio::test]
    async fn what_is_no_token_is_refused_by_the_name_of_its_file() {
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join("token");
        for wrong in ["", "\n", "a b", "a\nb", "ä", &"x".repeat(BYTES_MAX + 1)] {
            std::fs::write(&file, wrong).unwrap();
            let told = BearerToken::from_file(&file, Duration::from_secs(1)).unwrap_err();
            assert!(told.to_string().contains("token"), "{told}");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(BearerToken::from_file(&file, Duration::from_secs(1)).is_err());
    }
}
