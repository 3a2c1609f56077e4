//! The board of flights: single flight per key within this process.
//!
//! Whoever asks for a key first becomes its pilot and starts the flight; everybody who asks while it is under way gets
//! a seat on it. Digest and currency are part of the key: another request under the same idempotency key flies by
//! itself, and the database tells it what it is.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proto::{
    Currency,
    id::{AccountId, IdempotencyKey},
};
use tokio::sync::watch;

use super::flight::Landing;
use crate::{desk::Trouble, order::request::Digest};

/// What flights are told apart by.
pub(super) type Key = (AccountId, IdempotencyKey, Digest, Option<Currency>);

/// A landing, shared by all who waited for it.
pub(super) type Landed = Arc<Landing>;

/// The flights under way.
#[derive(Clone)]
pub(super) struct Board {
    flights: Arc<Mutex<HashMap<Key, watch::Receiver<Progress>>>>,
    max: usize,
}

/// The board has no room for one more flight.
#[derive(Debug)]
pub(super) struct Full;

/// A place to wait for a flight.
pub(super) struct Seat {
    progress: watch::Receiver<Progress>,
    pilot: bool,
}

/// How a flight tells where it is. The last one dropped takes it off the board, landed or not.
#[derive(Clone)]
pub(super) struct Signals {
    progress: watch::Sender<Progress>,
    _listing: Arc<Listing>,
}

#[derive(Clone)]
enum Progress {
    /// Finding out whose the key is.
    Locating,
    /// The key is ours and the order is being placed.
    Working,
    /// Done.
    Landed(Landed),
}

struct Listing {
    board: Board,
    key: Key,
}

impl Board {
    pub(super) fn new(max: usize) -> Self {
        Self { flights: Arc::default(), max }
    }

    /// Gives a seat on the key's flight; starts one when there is none.
    pub(super) fn seat(&self, key: Key, start: impl FnOnce(Signals)) -> Result<Seat, Full> {
        let mut flights = self.flights();
        if flights.len() >= self.max && !flights.contains_key(&key) {
            return Err(Full);
        }
        let signals = match flights.entry(key.clone()) {
            Entry::Occupied(flight) => {
                return Ok(Seat { progress: flight.get().clone(), pilot: false });
            }
            Entry::Vacant(vacant) => {
                let (progress, receiver) = watch::channel(Progress::Locating);
                vacant.insert(receiver);
                let listing = Listing { board: self.clone(), key };
                Signals { progress, _listing: Arc::new(listing) }
            }
        };
        drop(flights);
        let progress = signals.progress.subscribe();
        start(signals);
        Ok(Seat { progress, pilot: true })
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Progress>>> {
        // No code that can panic runs under this lock.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.board.flights().remove(&self.key);
    }
}

impl Signals {
    /// The key is ours.
    pub(super) fn work(&self) {
        self.progress.send_replace(Progress::Working);
    }

    /// The flight is over.
    pub(super) fn land(self, landing: Landing) {
        let Self { progress, _listing: listing } = self;
        // Off the board first: who asks from now on reads the database, and finds what landed.
        drop(listing);
        progress.send_replace(Progress::Landed(Arc::new(landing)));
    }
}

impl Seat {
    /// Whether this seat's asker started the flight.
    pub(super) fn is_pilot(&self) -> bool {
        self.pilot
    }

    /// Waits until it is known whether the key is being worked on here.
    pub(super) async fn is_working(&mut self) -> bool {
        let known = self.progress.wait_for(|progress| !matches!(progress, Progress::Locating));
        matches!(known.await.as_deref(), Ok(Progress::Working))
    }

    /// Waits for the landing. A flight that crashed has landed nowhere.
    pub(super) async fn landed(&mut self) -> Landed {
        let landed = self.progress.wait_for(|progress| matches!(progress, Progress::Landed(_)));
        match landed.await.as_deref() {
            Ok(Progress::Landed(landing)) => Arc::clone(landing),
            Ok(Progress::Locating | Progress::Working) | Err(_) => {
                Arc::new(Landing::Trouble(Trouble::Failed))
            }
        }
    }
}
