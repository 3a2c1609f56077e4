//! The desk: where handlers hand in commands and questions, and workers that own a connection each serve them.
//!
//! Promised: a command that was accepted is carried out and answered even if its caller left. Commands on one account
//! run in one lane, one batch after the other. What cannot be queued is refused at once with [`Trouble::Full`].
//! Questions have lanes of their own and never wait behind a commit. Where more waits than a batch takes, callers take
//! turns, so that a caller with thousands of commands keeps nobody else waiting for them.
//!
//! A batch that the database refuses for a reason that is not going away is run again command by command, so that only
//! the guilty one fails. A batch whose commit broke midway is run once more: every command is idempotent by its id, so
//! the second run finds out what became of the first.

use std::{collections::BTreeSet, marker::PhantomData, sync::Arc, time::Duration};

use database::{
    Discontinuity, Lineage, Position, StoreError, Unready,
    lane::{self, Bounds, Lane, Refused, Runner, Work},
    pool::Pool,
};
use proto::id::{AccountId, ReserveId};
use server::{Hold, TooMuch, hold};
use thiserror::Error;

use crate::{
    ledger::{Account, Command, Entry, Outcome, Receipt, Refusal, Reservation},
    storage::{Introduced, Page, Store, Tables},
};

/// A batch that takes longer than this is no longer waited for before the next one begins.
const PATIENCE: Duration = Duration::from_millis(25);

/// Commands that may wait, as many as a server counts by default (`--max-queued`), and half of them one caller's; and that
/// one transaction takes: more than 256 gain nothing and hold locks longer.
const CHANGES: Bounds =
    Bounds { queue: 16_384, batch: 256, patience: PATIENCE, linger: Duration::ZERO, crowd: 0 };

/// Questions that may wait, and that are read together: 32 pages of 500 lines are a few megabytes.
const QUESTIONS: Bounds =
    Bounds { queue: 8192, batch: 32, patience: PATIENCE, linger: Duration::ZERO, crowd: 0 };

/// Introductions that may wait: each process of a caller makes one a second.
const INTRODUCTIONS: Bounds =
    Bounds { queue: 1024, batch: 16, patience: PATIENCE, linger: Duration::ZERO, crowd: 0 };

/// Questions about the service itself that may wait: readiness is asked once a second.
const SELF: Bounds =
    Bounds { queue: 64, batch: 32, patience: PATIENCE, linger: Duration::ZERO, crowd: 0 };

/// Takes commands and questions to the workers. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    changes: Lane<Accepted, Result<Outcome, Trouble>>,
    questions: Lane<Question, Result<Found, Trouble>>,
    /// Apart from questions of callers, so that a flood of these does not make the pod not ready.
    own: Lane<Question, Result<Found, Trouble>>,
    introductions: Lane<Position, Result<Introduced, Trouble>>,
    lineage: Lineage,
}

/// The workers behind a [`Desk`].
#[derive(Debug)]
pub struct DeskWorkers {
    changes: Runner,
    questions: Runner,
    own: Runner,
    introductions: Runner,
}

/// Why a command or a question got neither a receipt nor a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Trouble {
    /// Too much is waiting. Nothing was done.
    #[error("too much is waiting already")]
    Full,
    /// The database is away, or this process is stopping. Nothing was done.
    #[error("the service cannot reach its database")]
    Unavailable,
    /// It was done or it was not; the same call again finds out.
    #[error("the outcome is not known yet")]
    OutcomeUnknown,
    /// A defect, logged where it was met. Nothing was done.
    #[error("the service failed")]
    Failed,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The ledger refused it: a final answer.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The ledger could not be asked.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// A command that waits or runs, and its part of what its caller may have under way.
#[derive(Debug)]
struct Accepted {
    command: Command,
    hold: Option<Arc<Hold>>,
}

#[derive(Debug)]
enum Question {
    Account(AccountId),
    Reservation(AccountId, ReserveId),
    Entries(Page),
    Position,
    Readiness,
}

/// The answer to a [`Question`], in the field that it asks about.
#[derive(Debug, Default)]
struct Found {
    account: Option<Account>,
    reservation: Option<Reservation>,
    entries: Option<Vec<Entry>>,
    discontinuity: Option<Discontinuity>,
    unready: Option<Unready>,
}

/// Introduces the ledger to the databases of callers.
struct Introducing<B>(PhantomData<fn(B)>);

/// Carries commands out.
struct Writing<B>(PhantomData<fn(B)>);

/// Answers questions.
struct Reading<B>(PhantomData<fn(B)>);

/// Opens a desk: a lane to the `writers` for commands, one to the `readers` for questions.
///
/// # Panics
/// When either is empty.
pub fn open<B: Tables>(
    lineage: Lineage,
    writers: Vec<Store<B>>,
    readers: Vec<Store<B>>,
) -> (Desk, DeskWorkers) {
    let writers = &Pool::new(writers);
    let (changes, change_runner) = lane::start("changes", Writing(PhantomData), writers, CHANGES);
    let (introductions, introduction_runner) =
        lane::start("introductions", Introducing(PhantomData), writers, INTRODUCTIONS);
    let readers = &Pool::new(readers);
    let (questions, question_runner) =
        lane::start("questions", Reading(PhantomData), readers, QUESTIONS);
    let (own, own_runner) = lane::start("own", Reading(PhantomData), readers, SELF);
    let workers = DeskWorkers {
        changes: change_runner,
        questions: question_runner,
        own: own_runner,
        introductions: introduction_runner,
    };
    (Desk { changes, questions, own, introductions, lineage }, workers)
}

impl Desk {
    /// Carries out a command.
    pub async fn carry_out(&self, command: Command) -> Result<Receipt, CommandError> {
        let hold = hold(1)?.map(Arc::new);
        self.carry_out_held(command, hold).await
    }

    /// Carries out one of many commands that were counted together, with [`hold`].
    pub async fn carry_out_held(
        &self,
        command: Command,
        hold: Option<Arc<Hold>>,
    ) -> Result<Receipt, CommandError> {
        let name = command.name();
        let answer = self.changes.submit(Accepted { command, hold }).await;
        let answer = answer.map_err(Trouble::from).and_then(|answer| answer);
        count(name, &answer);
        Ok(answer??)
    }

    /// Introduces the ledger to a caller's database, and remembers where that stands.
    pub async fn introduce(&self, caller: Position) -> Result<Introduced, Trouble> {
        self.introductions.submit(caller).await?
    }

    /// Which ledger this is. `None` until the database has answered once.
    pub fn ledger_id(&self) -> Option<String> {
        self.lineage.database_id()
    }

    /// Reads an account as it stands. `None`: it was never opened.
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>, Trouble> {
        Ok(self.ask(Question::Account(id)).await?.account)
    }

    /// Reads a reservation as it stands. `None`: it was never seen.
    pub async fn reservation(
        &self,
        account: AccountId,
        reserve: ReserveId,
    ) -> Result<Option<Reservation>, Trouble> {
        let found = self.ask(Question::Reservation(account, reserve)).await?;
        Ok(found.reservation)
    }

    /// Reads lines of a statement, newest first. `None`: there is no such account.
    pub async fn entries(&self, page: Page) -> Result<Option<Vec<Entry>>, Trouble> {
        Ok(self.ask(Question::Entries(page)).await?.entries)
    }

    /// Whether the database continues what was seen of it: see [`database::lineage`].
    pub async fn look(&self) -> Result<Result<(), Discontinuity>, Trouble> {
        let found = self.own.submit(Question::Position).await??;
        Ok(found.discontinuity.map_or(Ok(()), Err))
    }

    /// Whether the database can serve; `Some` says why not.
    pub async fn unready(&self) -> Result<Option<Unready>, Trouble> {
        Ok(self.own.submit(Question::Readiness).await??.unready)
    }

    async fn ask(&self, question: Question) -> Result<Found, Trouble> {
        self.questions.submit(question).await?
    }
}

impl DeskWorkers {
    /// Refuses new commands and questions, serves those that wait, and returns when all are served.
    pub async fn stop(self) {
        tokio::join!(
            self.changes.stop(),
            self.questions.stop(),
            self.own.stop(),
            self.introductions.stop()
        );
    }
}

impl<B: Tables> Work for Writing<B> {
    type Worker = Store<B>;
    type Job = Accepted;
    type Answer = Result<Outcome, Trouble>;

    fn flow(accepted: &Accepted) -> u64 {
        accepted.hold.as_ref().map_or(0, |hold| hold.flow())
    }

    async fn run(&self, store: &mut Store<B>, batch: Vec<Accepted>) -> Vec<Self::Answer> {
        // The holds are kept until the batch is done.
        let (batch, _holds): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|accepted| (accepted.command, accepted.hold)).unzip();
        match apply(store, &batch).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(Trouble::Failed) if batch.len() > 1 => {
                let mut answers = Vec::with_capacity(batch.len());
                for command in batch.chunks(1) {
                    let outcome = apply(store, command).await;
                    let answer = outcome.map(|outcomes| outcomes.into_iter().next());
                    answers.push(answer.and_then(|answer| answer.ok_or(Trouble::Failed)));
                    // The database went away meanwhile: the others would each wait for it in turn.
                    if matches!(
                        answers.last(),
                        Some(Err(Trouble::Unavailable | Trouble::OutcomeUnknown))
                    ) {
                        break;
                    }
                }
                answers.resize_with(batch.len(), || Err(Trouble::Unavailable));
                answers
            }
            Err(trouble) => vec![Err(trouble); batch.len()],
        }
    }
}

async fn apply<B: Tables>(
    store: &mut Store<B>,
    commands: &[Command],
) -> Result<Vec<Outcome>, Trouble> {
    let first = store.apply(commands).await;
    if first.is_ok() {
        failpoint::reach(failpoint::Point::AccountCommitted);
    }
    let Err(StoreError::OutcomeUnknown(error)) = &first else {
        return first.map_err(|error| Trouble::met(&error, "commands"));
    };
    tracing::warn!(%error, commands = commands.len(), "a commit broke: asking again");
    // Whatever else goes wrong now, what became of the first run stays unknown.
    store.apply(commands).await.map_err(|error| {
        Trouble::met(&error, "commands");
        Trouble::OutcomeUnknown
    })
}

impl<B: Tables> Work for Introducing<B> {
    type Worker = Store<B>;
    type Job = Position;
    type Answer = Result<Introduced, Trouble>;

    async fn run(&self, store: &mut Store<B>, batch: Vec<Position>) -> Vec<Self::Answer> {
        let mut answers = Vec::with_capacity(batch.len());
        for caller in &batch {
            let introduced = store.introduce(caller).await;
            answers.push(introduced.map_err(|error| Trouble::met(&error, "introductions")));
        }
        answers
    }
}

impl<B: Tables> Work for Reading<B> {
    type Worker = Store<B>;
    type Job = Question;
    type Answer = Result<Found, Trouble>;

    async fn run(&self, store: &mut Store<B>, batch: Vec<Question>) -> Vec<Self::Answer> {
        match answer(store, &batch).await {
            Ok(found) => found.into_iter().map(Ok).collect(),
            Err(error) => {
                let trouble = Trouble::met(&error, "questions");
                batch.iter().map(|_| Err(trouble)).collect()
            }
        }
    }
}

/// One read for each kind of question in the batch.
async fn answer<B: Tables>(
    store: &mut Store<B>,
    batch: &[Question],
) -> Result<Vec<Found>, StoreError> {
    let (mut ids, mut keys, mut pages) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let (mut unready, mut discontinuity) = (None, None);
    for question in batch {
        match question {
            Question::Account(id) => drop(ids.insert(*id)),
            Question::Reservation(id, reserve) => drop(keys.insert((*id, reserve.clone()))),
            Question::Entries(page) => pages.push(*page),
            Question::Position => discontinuity = store.look().await?.err(),
            Question::Readiness => unready = store.examine().await.err(),
        }
    }
    let accounts = unless_empty(ids.is_empty(), store.accounts(&ids)).await?;
    let reservations = unless_empty(keys.is_empty(), store.reservations(&keys)).await?;
    let entries = unless_empty(pages.is_empty(), store.entries(&pages)).await?;
    let mut entries = entries.into_iter();
    let found = batch.iter().map(|question| match question {
        Question::Account(id) => Found { account: accounts.get(id).copied(), ..Found::default() },
        Question::Reservation(id, reserve) => {
            let reservation = reservations.get(&(*id, reserve.clone())).cloned();
            Found { reservation, ..Found::default() }
        }
        Question::Entries(_) => Found { entries: entries.next().flatten(), ..Found::default() },
        Question::Position => Found { discontinuity: discontinuity.clone(), ..Found::default() },
        Question::Readiness => Found { unready: unready.clone(), ..Found::default() },
    });
    Ok(found.collect())
}

/// Counts what became of a command: replays and refusals are as telling as work.
fn count(command: &'static str, answer: &Result<Outcome, Trouble>) {
    let outcome = match answer {
        Ok(Ok(receipt)) if receipt.replayed => "replayed",
        Ok(Ok(_)) => "done",
        Ok(Err(_)) => "refused",
        Err(_) => "failed",
    };
    metrics::counter!("account_commands_total", "command" => command, "outcome" => outcome)
        .increment(1);
}

impl Trouble {
    /// Logs what the database did, once for a whole batch, and says what it means for callers.
    fn met(error: &StoreError, what: &str) -> Self {
        let source = std::error::Error::source(error).map(tracing::field::display);
        let reason = error.reason().as_str();
        match error {
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, source, reason, "{what} were not served");
                Self::Unavailable
            }
            StoreError::OutcomeUnknown(_) => {
                tracing::warn!(%error, source, reason, "{what} have no known outcome");
                Self::OutcomeUnknown
            }
            StoreError::Failed(_) => {
                tracing::error!(%error, source, reason, "{what} failed");
                Self::Failed
            }
        }
    }
}

impl From<TooMuch> for CommandError {
    fn from(TooMuch: TooMuch) -> Self {
        Self::Trouble(Trouble::Full)
    }
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Stopping => Self::Unavailable,
            Refused::Lost => Self::OutcomeUnknown,
        }
    }
}

async fn unless_empty<T: Default>(
    is_empty: bool,
    read: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    if is_empty { Ok(T::default()) } else { read.await }
}
