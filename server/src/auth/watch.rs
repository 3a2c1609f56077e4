//! The files that say whom to believe, looked at again and again, each on its own.
//!
//! Files are compared by content, as certificates are. Promised: a change that cannot be used leaves in force what was
//! there, and keeps nothing back of what changed in the other file; so a broken roles file does not keep a new key out.
//! It is told with the path: in the log, at once and then every ten minutes; on `/q/health/ready`, where the server stays
//! ready, since what it knows still holds; and by `auth_reload_failing` with the label `file`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::config::{AuthConfig, TokenConfig};
use super::jwt::Keys;
use super::right::Right;
use super::roles::Roles;
use super::trust::{AuthError, Trust};
use crate::metrics::{AUTH_RELOAD_FAILING, AUTH_RELOADS};

/// The longest file, in bytes: a roles file of a hundred thousand callers has about as many.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A token whose key is not known has the files looked at, but no more often than this: else anybody could keep the
/// server busy with made-up keys.
pub(super) const LOOK_AGAIN_EVERY: Duration = Duration::from_secs(5);

/// How often a trouble that lasts is told again.
const REMINDER: Duration = Duration::from_secs(10 * 60);

/// What a file held.
type Digest = [u8; SHA256_OUTPUT_LEN];

/// Keeps what is in force up to date with the files.
#[derive(Debug)]
pub(super) struct Watch {
    source: Source,
    in_force: watch::Sender<Arc<Trust>>,
    seen: Mutex<Seen>,
    troubles: SyncMutex<Troubles>,
}

/// Where the files are.
#[derive(Clone, Debug)]
struct Source {
    tokens: Option<TokenConfig>,
    roles: Option<PathBuf>,
    known: &'static [Right],
}

#[derive(Debug)]
struct Seen {
    digests: Digests,
    looked_again: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Digests {
    keys: Option<Digest>,
    roles: Option<Digest>,
}

/// Another content of a file and what it says; `None` where it is as before.
type Found<T> = Result<Option<(Digest, T)>, AuthError>;

/// What both files hold now; `None` where there is no such file.
#[derive(Debug)]
struct Look {
    keys: Option<Found<Keys>>,
    roles: Option<Found<Roles>>,
}

#[derive(Debug, Default)]
struct Troubles {
    keys: Option<Trouble>,
    roles: Option<Trouble>,
}

/// Why a file on disk is not in force, and when that was last told.
#[derive(Debug)]
struct Trouble {
    what: String,
    told_at: Instant,
}

impl Watch {
    /// Reads the files, all of which must be good. Blocks.
    pub(super) fn load(config: &AuthConfig, known: &'static [Right]) -> Result<Self, AuthError> {
        let source = Source { tokens: config.tokens.clone(), roles: config.roles.clone(), known };
        let Look { keys, roles } = source.look(Digests::default());
        let (mut digests, mut trust) = (Digests::default(), Trust::default());
        if let Some((digest, keys)) = keys.transpose()?.flatten() {
            (digests.keys, trust.keys) = (Some(digest), Arc::new(keys));
        }
        if let Some((digest, roles)) = roles.transpose()?.flatten() {
            (digests.roles, trust.roles) = (Some(digest), Arc::new(roles));
        }
        Ok(Self {
            source,
            in_force: watch::Sender::new(Arc::new(trust)),
            seen: Mutex::new(Seen { digests, looked_again: None }),
            troubles: SyncMutex::default(),
        })
    }

    /// What is in force.
    pub(super) fn now(&self) -> Arc<Trust> {
        self.in_force.borrow().clone()
    }

    /// Looks at the files, unless that was asked for a moment ago.
    pub(super) async fn look_again(&self) {
        let mut seen = self.seen.lock().await;
        if seen.looked_again.is_some_and(|at| at.elapsed() < LOOK_AGAIN_EVERY) {
            return;
        }
        seen.looked_again = Some(Instant::now());
        self.look(&mut seen).await;
    }

    /// Looks at the files for ever.
    pub(super) async fn keep_looking(&self, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut seen = self.seen.lock().await;
            self.look(&mut seen).await;
        }
    }

    /// What is wrong with the files, for people.
    pub(super) fn troubles(&self) -> Vec<String> {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let both = [&troubles.keys, &troubles.roles].into_iter().flatten();
        both.map(|trouble| trouble.what.clone()).collect()
    }

    async fn look(&self, seen: &mut Seen) {
        let (source, before) = (self.source.clone(), seen.digests);
        // Reading files blocks. A failed task would be a panic: then nothing has changed.
        let Look { keys, roles } =
            match tokio::task::spawn_blocking(move || source.look(before)).await {
                Ok(look) => look,
                Err(why) => return tracing::error!(%why, "reading keys and roles failed"),
            };

        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys.and_then(|found| judge("jwks", found, &mut troubles.keys));
        let roles = roles.and_then(|found| judge("roles", found, &mut troubles.roles));
        if keys.is_none() && roles.is_none() {
            return;
        }
        let next = self.now().next(|trust| {
            if let Some((digest, keys)) = keys {
                (seen.digests.keys, trust.keys) = (Some(digest), Arc::new(keys));
            }
            if let Some((digest, roles)) = roles {
                (seen.digests.roles, trust.roles) = (Some(digest), Arc::new(roles));
            }
        });
        self.in_force.send_replace(Arc::new(next));
    }
}

/// Tells what became of one file, and answers what is new in it.
fn judge<T>(
    file: &'static str,
    found: Found<T>,
    trouble: &mut Option<Trouble>,
) -> Option<(Digest, T)> {
    let is_failing = found.is_err();
    metrics::gauge!(AUTH_RELOAD_FAILING, "file" => file).set(if is_failing { 1.0 } else { 0.0 });
    match found {
        Ok(None) => {
            *trouble = None;
            None
        }
        Ok(new @ Some(_)) => {
            *trouble = None;
            count(file, "ok");
            tracing::info!(file, "a file about callers has changed and is in force");
            new
        }
        Err(why) => {
            count(file, "failed");
            let what = format!("{}; the former stays in force", chain(&why));
            let is_told =
                |before: &Trouble| before.what == what && before.told_at.elapsed() < REMINDER;
            if !trouble.as_ref().is_some_and(is_told) {
                tracing::warn!(file, "{what}");
                *trouble = Some(Trouble { what, told_at: Instant::now() });
            }
            None
        }
    }
}

fn count(file: &'static str, outcome: &'static str) {
    metrics::counter!(AUTH_RELOADS, "file" => file, "outcome" => outcome).increment(1);
}

/// An error with its sources, in one line.
fn chain(error: &AuthError) -> String {
    match error {
        AuthError::Read { source, .. } => format!("{error}: {source}"),
        AuthError::Keys { .. } | AuthError::Roles { .. } => error.to_string(),
    }
}

impl Source {
    /// What the files hold, as far as that is new. Blocks.
    fn look(&self, before: Digests) -> Look {
        let keys = self.tokens.as_ref().map(|tokens| {
            let parse = |json: &[u8]| {
                let failed = |source| AuthError::Keys { path: tokens.jwks.clone(), source };
                Keys::parse(json, tokens).map_err(failed)
            };
            found(&tokens.jwks, before.keys, parse)
        });
        let roles = self.roles.as_ref().map(|path| {
            let parse = |json: &[u8]| {
                let failed = |source| AuthError::Roles { path: path.clone(), source };
                Roles::parse(json, self.known).map_err(failed)
            };
            found(path, before.roles, parse)
        });
        Look { keys, roles }
    }
}

fn found<T>(
    path: &Path,
    before: Option<Digest>,
    parse: impl FnOnce(&[u8]) -> Result<T, AuthError>,
) -> Found<T> {
    let contents = read(path)?;
    let digest = digest(&SHA256, &contents);
    let digest = digest.as_ref().try_into().expect("a SHA-256 has its length");
    if Some(digest) == before {
        return Ok(None);
    }
    Ok(Some((digest, parse(&contents)?)))
}

fn read(path: &Path) -> Result<Vec<u8>, AuthError> {
    let failed = |source| AuthError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut contents = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut contents).map_err(failed)?;
    if contents.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(io::Error::other("it is longer than 16 MiB")));
    }
    Ok(contents)
}
