//! Which ledger pays for these orders, and whether it is still what it was.
//!
//! Every second each process introduces its database to the account service and is told where the ledger stands
//! (`account.v1` Handshake). Each side remembers the highest position of the other in its own database, so that a loss
//! is noticed by the side that did not have it, though every process was restarted meanwhile:
//!
//! - *Another ledger answers*, or the ledger went back in time: nothing is asked of it, no key is claimed, readiness says
//!   why. When the right one answers again, work goes on by itself.
//! - *The orders went back in time*: the process halts (see [`database::lineage`]).
//!
//! An account service that cannot be reached changes nothing; one of the version before, which knows no handshake, is
//! trusted as it was. One that can be reached and will never be talked to, because the settings of the two sides
//! contradict each other (a certificate that either refuses, TLS on one side only), is no outage: every order would fail
//! for as long as nobody looks, so readiness says what contradicts.

use std::time::Duration;

use client::Channel;
use database::{Discontinuity, Position};
use proto::account::v1::{
    self as api, HandshakeReply, HandshakeRequest, account_service_client::AccountServiceClient,
};
use time::OffsetDateTime;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

use crate::desk::{Desk, Trouble};

/// How often the two sides introduce themselves.
const EVERY: Duration = Duration::from_secs(1);

/// How long a handshake may take, and the one before the end.
const TIMEOUT: Duration = Duration::from_secs(2);
const LAST_TIMEOUT: Duration = Duration::from_millis(500);

/// What is known of the ledger.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// Nothing yet.
    Unknown,
    /// Nothing yet: it could not be asked.
    Unreachable(String),
    /// It is the one that these orders are paid from.
    Linked(Ledger),
    /// It is not, or it went back in time.
    Refused(String),
}

/// The ledger that these orders are paid from.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// Its id. `None`: the account service is of a version that does not say.
    pub id: Option<String>,
    /// Its time when it was last asked, and when that was.
    clock: Option<(OffsetDateTime, Instant)>,
}

/// Reads what is known of the ledger. Cheap to clone.
#[derive(Clone)]
pub struct LedgerLink {
    link: watch::Receiver<Link>,
    channel: Channel,
}

/// Introduces this process's database again and again.
pub struct Introducer {
    desk: Desk,
    stub: AccountServiceClient<Channel>,
    link: watch::Sender<Link>,
}

impl Ledger {
    /// The ledger's time now.
    pub fn now(&self) -> Option<OffsetDateTime> {
        self.clock.map(|(said, at)| said + at.elapsed())
    }
}

impl LedgerLink {
    /// The ledger, if it may be asked now.
    ///
    /// # Errors
    /// Why not.
    pub fn ledger(&self) -> Result<Ledger, String> {
        match &*self.link.borrow() {
            Link::Linked(ledger) => Ok(ledger.clone()),
            Link::Refused(why) | Link::Unreachable(why) => Err(why.clone()),
            Link::Unknown => Err("the account service was not asked yet".into()),
        }
    }

    /// Waits until it is known which ledger there is. Answers whether it may be asked.
    pub async fn is_linked(&mut self, until: Instant) -> bool {
        let known = |link: &Link| matches!(link, Link::Linked(_) | Link::Refused(_));
        let Ok(Ok(link)) = timeout_at(until, self.link.wait_for(known)).await else { return false };
        matches!(*link, Link::Linked(_))
    }

    /// For readiness: an account service that cannot be reached is no reason to stop answering questions; settings by which
    /// it never will be are.
    ///
    /// # Errors
    /// Why this process must not be sent requests.
    pub fn is_ready(&self) -> Result<(), String> {
        match self.channel.stats().mismatch() {
            Some(failure) => {
                Err(format!("the account service cannot be used: {}", failure.message))
            }
            None => is_ready(&self.link.borrow()),
        }
    }
}

fn is_ready(link: &Link) -> Result<(), String> {
    match link {
        Link::Linked(_) | Link::Unreachable(_) => Ok(()),
        Link::Unknown => Err("the account service was not asked yet".into()),
        Link::Refused(why) => Err(why.clone()),
    }
}

impl Introducer {
    /// Introduces the database at this desk over this channel.
    pub fn new(desk: Desk, channel: Channel) -> (Self, LedgerLink) {
        let (link, known) = watch::channel(Link::Unknown);
        let stub = AccountServiceClient::new(channel.clone());
        (Self { desk, stub, link }, LedgerLink { link: known, channel })
    }

    /// Introduces it until stopped, and then once more: what this process committed last must be known to the ledger
    /// though nobody starts again before a backup is restored.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match stop.run_until_cancelled(self.introduce()).await {
                Some(Ok(link)) => self.set(link),
                // The database is away: readiness says so.
                Some(Err(trouble)) => {
                    tracing::debug!(%trouble, "no handshake with the account service")
                }
                None => break,
            }
        }

        // While the account service is away too, this is left to the next process.
        let _told_or_not = timeout(LAST_TIMEOUT, self.introduce()).await;
    }

    /// One handshake. The order of its steps matters: each position is judged against what was remembered before it
    /// was read, so that processes that do this side by side do not take each other's news for a loss.
    async fn introduce(&mut self) -> Result<Link, Trouble> {
        let Ok(own) = self.desk.look().await? else {
            return Ok(Link::Unreachable("the orders went back in time".into()));
        };
        let remembered = self.desk.ledgers().await?;

        let reply = match self.handshake(own).await {
            Ok(reply) => reply,
            Err(status) => return Ok(unanswered(&status, &remembered)),
        };
        let Some((ledger, own_highest, now)) = read(reply) else {
            return Ok(Link::Refused("the account service answered a handshake wrongly".into()));
        };

        // The next look, if not this one, finds that the database is behind, and halts the process.
        self.desk.learn(&own_highest);
        if self.desk.look().await?.is_err() {
            return Ok(Link::Unreachable("the orders went back in time".into()));
        }

        if let Err(why) = judge(&remembered, &ledger) {
            return Ok(Link::Refused(refusal(&why)));
        }
        if !remembered.contains(&ledger) {
            self.desk.remember_ledger(ledger.clone()).await?;
        }
        let clock = now.map(|now| (now, Instant::now()));
        Ok(Link::Linked(Ledger { id: Some(ledger.database_id), clock }))
    }

    async fn handshake(&mut self, own: Position) -> Result<HandshakeReply, Status> {
        let Position { database_id, epoch, commits } = own;
        let caller = Some(api::Position { database_id, epoch, commits });
        let mut request = Request::new(HandshakeRequest { caller });
        request.set_timeout(TIMEOUT);
        self.stub.handshake(request).await.map(tonic::Response::into_inner)
    }

    fn set(&self, link: Link) {
        self.link.send_if_modified(|now| {
            // What is known stays known while the account service is away, or a pod of it cannot say.
            let is_silent = matches!(&link, Link::Linked(Ledger { clock: None, .. }));
            let is_news = match (&*now, &link) {
                (Link::Linked(_) | Link::Refused(_), Link::Unreachable(_)) => false,
                (Link::Linked(_) | Link::Refused(_), Link::Linked(_)) if is_silent => false,
                (before, after) => before != after,
            };
            if !is_news {
                return false;
            }
            if let Link::Refused(why) = &link {
                tracing::error!(why, "nothing is asked of the account service");
            }
            let refused = matches!(link, Link::Refused(_));
            metrics::gauge!("order_ledger_refused").set(if refused { 1.0 } else { 0.0 });
            *now = link;
            true
        });
    }
}

/// Whether the ledger that answered can be the one that was remembered before it was asked.
fn judge(remembered: &[Position], ledger: &Position) -> Result<(), Discontinuity> {
    remembered.iter().try_for_each(|before| ledger.follows(before))
}

fn refusal(why: &Discontinuity) -> String {
    match why {
        Discontinuity::OtherDatabase { expected, found } => format!(
            "the account service works on ledger {found}, and these orders are paid from ledger {expected}: point it back, \
             or run `order-service resume --forget-ledger` if the orders move to the new ledger"
        ),
        Discontinuity::EpochBehind { .. }
        | Discontinuity::CommitsLost { .. }
        | Discontinuity::Halted(_) => format!(
            "the ledger is not what it was: {why}; docs/restore.md says how to go on with `account-service resume`"
        ),
    }
}

/// A version that knows no handshake is trusted to work on the ledger that is remembered, if one is. Its commands name that
/// ledger, which pods of other versions check.
fn unanswered(status: &Status, remembered: &[Position]) -> Link {
    if status.code() == Code::Unimplemented {
        let id = remembered.first().map(|ledger| ledger.database_id.clone());
        return Link::Linked(Ledger { id, clock: None });
    }
    if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) {
        let why = status.message();
        return Link::Refused(format!(
            "the account service refuses this service's identity: {why}"
        ));
    }
    Link::Unreachable(format!("the account service cannot be reached: {}", status.message()))
}

fn read(reply: HandshakeReply) -> Option<(Position, Position, Option<OffsetDateTime>)> {
    let position = |position: api::Position| {
        let api::Position { database_id, epoch, commits } = position;
        Position { database_id, epoch, commits }
    };
    let now = reply.now.and_then(|now| {
        let seconds = OffsetDateTime::from_unix_timestamp(now.seconds).ok()?;
        Some(seconds + time::Duration::nanoseconds(now.nanos.into()))
    });
    Some((position(reply.ledger?), position(reply.caller_highest?), now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(database_id: &str, epoch: i64, commits: i64) -> Position {
        Position { database_id: database_id.into(), epoch, commits: vec![commits] }
    }

    #[test]
    fn the_first_ledger_is_taken_and_no_other_after_it() {
        assert_eq!(judge(&[], &at("a", 1, 5)), Ok(()));
        assert_eq!(judge(&[at("a", 1, 5)], &at("a", 1, 9)), Ok(()));
        assert!(judge(&[at("a", 1, 5)], &at("b", 1, 9)).is_err());
    }

    #[test]
    fn a_ledger_that_went_back_is_refused_until_its_epoch_is_raised() {
        assert!(judge(&[at("a", 1, 5)], &at("a", 1, 4)).is_err());
        assert_eq!(judge(&[at("a", 1, 5)], &at("a", 2, 4)), Ok(()));
    }

    #[test]
    fn an_account_service_that_is_away_leaves_this_one_ready_and_one_that_refuses_does_not() {
        assert!(is_ready(&Link::Unknown).is_err());
        assert_eq!(is_ready(&Link::Unreachable("away".into())), Ok(()));
        assert_eq!(is_ready(&Link::Refused("other".into())), Err("other".into()));
        for refused in [Status::unauthenticated("no token"), Status::permission_denied("no right")]
        {
            let Link::Refused(why) = unanswered(&refused, &[]) else { panic!("{refused:?}") };
            assert!(why.ends_with(refused.message()), "{why}");
        }
        let away = unanswered(&Status::unavailable("refused"), &[]);
        assert!(matches!(away, Link::Unreachable(_)), "{away:?}");
    }
}
