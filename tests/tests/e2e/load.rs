//! Callers that do not give up, and what must be true of the books afterwards.

use std::time::Duration;

use futures_util::future::join_all;
use proto::order::v1::{PlaceOrderReply, PlaceOrderRequest};
use tests::clients::Clients;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use crate::support::{World, order, place};

/// One call's patience, and how long a caller goes on in all: longer than a lease, so that a
/// key whose holder was killed is taken over within it.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(150);
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) const CALLERS: i64 = 16;
/// Between two orders of a caller: many small orders over the whole test, not a flood.
const THINKING: Duration = Duration::from_millis(20);
const KEYS_MAX: usize = 10_000;

/// What each order costs.
const AMOUNT: i64 = 3;
const OPENING_BALANCE: i64 = 1_000_000;

/// Orders being placed, by one caller an account, one key after the other, until
/// [`Load::check`].
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    callers: Vec<JoinHandle<(i64, Answers)>>,
}

/// The first answer to each key of an account, in the order of the keys.
type Answers = Vec<PlaceOrderReply>;

impl Load {
    pub(crate) async fn start(world: &World) -> Self {
        let stop = watch::Sender::new(false);
        let mut callers = Vec::new();
        for account_id in 1..=CALLERS {
            world.account(account_id, &OPENING_BALANCE.to_string()).await;
            let (clients, stop) = (world.clients.clone(), stop.subscribe());
            callers.push(tokio::spawn(async move {
                (account_id, place_until(&clients, account_id, &stop).await)
            }));
        }
        Self { stop, callers }
    }

    /// Stops and waits for the callers; then every key has one order and one payment, answers
    /// the same again on any pod, and the money adds up.
    pub(crate) async fn check(self, world: &World) {
        self.stop.send_replace(true);
        let placed = join_all(self.callers).await;
        join_all(placed.into_iter().map(|caller| async {
            let (account_id, answers) = caller.expect("a caller gave up");
            assert!(!answers.is_empty(), "account {account_id} placed nothing");
            check_account(world, account_id, &answers).await;
        }))
        .await;
    }
}

async fn check_account(world: &World, account_id: i64, answers: &[PlaceOrderReply]) {
    for (number, first) in answers.iter().enumerate() {
        let again = place(&world.clients, number, request(account_id, number), CALL_DEADLINE).await;
        let again = again.unwrap_or_else(|status| panic!("key {number}: {status:?}"));
        assert!(again.replayed, "key {number} of {account_id} was placed again");
        assert_eq!((&again.order, &again.payment), (&first.order, &first.payment));
    }
    let keys = answers.len();
    assert_eq!(world.count_orders(account_id).await, keys, "orders of {account_id}");
    let spent = i64::try_from(keys).expect("few keys") * AMOUNT;
    let account = world.settled_account(account_id).await;
    assert_eq!(account.balance, (OPENING_BALANCE - spent).to_string());
}

async fn place_until(clients: &Clients, account_id: i64, stop: &watch::Receiver<bool>) -> Answers {
    let mut answers = Vec::new();
    while !*stop.borrow() && answers.len() < KEYS_MAX {
        let number = answers.len();
        let connection = usize::try_from(account_id).expect("few accounts") + number;
        answers.push(persist(clients, connection, request(account_id, number)).await);
        tokio::time::sleep(THINKING).await;
    }
    answers
}

fn request(account_id: i64, number: usize) -> PlaceOrderRequest {
    order(account_id, &format!("key-{number}"), &AMOUNT.to_string())
}

/// Calls until there is an answer, on one pod after the other, with the same key every time.
pub(crate) async fn persist(
    clients: &Clients,
    first_connection: usize,
    request: PlaceOrderRequest,
) -> PlaceOrderReply {
    let began = tokio::time::Instant::now();
    let mut connection = first_connection;
    loop {
        match place(clients, connection, request.clone(), CALL_DEADLINE).await {
            Ok(reply) => return reply,
            Err(status) => {
                assert!(may_be_tried_again(&status), "{request:?}: {status:?}");
                assert!(began.elapsed() < PATIENCE, "gave up on {request:?}: {status:?}");
            }
        }
        connection += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Codes that tell nothing about the order: what a killed pod leaves its callers with, in
/// tonic's words.
fn may_be_tried_again(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::Internal
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
    )
}
