//! A pod's clock is off by a day and a half. Nothing is timed by it: leases, holds and the times of orders are the
//! database's, waits are measured by the monotonic clock. Only new ids carry it, and they need be unique, not true.

use std::time::{Duration, Instant, SystemTime};

use failpoint::Point;
use proto::account::v1::account_service_client::AccountServiceClient;
use proto::account::v1::{GetReservationRequest, ReserveRequest};
use proto::order::v1::order_service_client::OrderServiceClient;
use proto::order::v1::{ListOrdersRequest, Order, PlaceOrderReply};
use tests::cluster::connect;
use uuid::Uuid;

use crate::scene::Scene;
use crate::world::{ACCOUNT, Backend, World, until};

/// Far more than any lease, either way.
const OFF: [&str; 2] = ["+36h", "-36h"];
const OFF_BY: Duration = Duration::from_secs(36 * 60 * 60);

/// What two clocks that agree differ by, at most, on a busy machine.
const ALIKE: Duration = Duration::from_secs(60);

/// The silence after which a process counts as dead, less the time since its last beat; and what others need to notice.
const SILENCE: Duration = Duration::from_millis(2500);
const NOTICED: Duration = Duration::from_secs(5);

#[expect(clippy::disallowed_methods, reason = "the tests' own clock, to hold others against")]
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}

fn differ(one: Duration, other: Duration) -> Duration {
    one.abs_diff(other)
}

/// When the process that minted the payment's id believed to do so.
fn minted(reply: &PlaceOrderReply) -> Duration {
    let payment_id = &reply.payment.as_ref().unwrap().payment_id;
    let (seconds, nanos) = Uuid::parse_str(payment_id).unwrap().get_timestamp().unwrap().to_unix();
    Duration::new(seconds, nanos)
}

fn placed_at(order: &Order) -> Duration {
    Duration::from_secs(order.created_at.unwrap().seconds.try_into().unwrap())
}

/// Restarts the account pod and the first order pod with clocks that are off.
async fn put_off(world: &mut World, offset: &str, flags: &[String]) {
    for pod in [&mut world.cluster.account[0], &mut world.cluster.order[0]] {
        pod.terminate();
        pod.wait_gone().unwrap();
        pod.set_clock(Some(offset));
    }
    world.cluster.account[0].restart().unwrap();
    world.cluster.account[0].wait_ready().await.unwrap();
    world.cluster.order[0].restart_with(flags).unwrap();
    world.cluster.order[0].wait_ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_clock_is_off_tells_the_time_of_the_database() {
    let mut world = World::start(Backend::Postgres, 2, &[]).await;
    for offset in OFF {
        put_off(&mut world, offset, &[]).await;
        let request = Scene::Order.request(offset);
        let placed = world.persist(0, &request).await.unwrap();
        let order = placed.order.as_ref().unwrap();
        assert!(differ(minted(&placed), now()) > OFF_BY - ALIKE, "its clock is not off: {order:?}");
        assert!(differ(placed_at(order), now()) < ALIKE, "{order:?}");
        let again = world.persist(1, &request).await.unwrap();
        assert_eq!((again.order, again.payment), (placed.order, placed.payment));
    }
    world.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_order_comes_first_though_a_pod_whose_clock_is_an_hour_behind_placed_it() {
    let mut world = World::start(Backend::Postgres, 2, &[]).await;
    put_off(&mut world, "-1h", &[]).await;
    let mut placed = Vec::new();
    // The pod of index 0 is the one whose clock is off.
    for (pod, key) in [(1, "a"), (0, "b"), (1, "c"), (0, "d")] {
        let reply = world.persist(pod, &Scene::Order.request(key)).await.unwrap();
        placed.insert(0, reply.order.unwrap().order_id);
    }
    for pod in [0, 1] {
        let mut orders = OrderServiceClient::new(world.lazily(pod));
        let (mut listed, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListOrdersRequest { account_id: ACCOUNT, page_size: 1, page_token };
            let page = orders.list_orders(request).await.unwrap().into_inner();
            listed.extend(page.orders.into_iter().map(|order| order.order_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(listed, placed);
    }
    world.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_neither_ended_nor_prolonged_by_a_pod_whose_clock_is_off() {
    let mut world = World::start(Backend::Postgres, 1, &[]).await;
    for (offset, reserve_id) in OFF.into_iter().zip(["early", "late"]) {
        put_off(&mut world, offset, &[]).await;
        let channel = connect(&world.cluster.account[0]).await.unwrap();
        let mut accounts = AccountServiceClient::new(channel);
        let ttl = prost_types::Duration { seconds: 2, nanos: 0 };
        let request = ReserveRequest {
            account_id: ACCOUNT,
            amount: "3".to_owned(),
            reserve_id: reserve_id.to_owned(),
            order_id: "none".to_owned(),
            ttl: Some(ttl),
            currency: String::new(),
        };
        let began = Instant::now();
        let held = accounts.reserve(request).await.unwrap().into_inner().reservation.unwrap();
        assert_eq!(held.state(), proto::account::v1::ReservationState::Held);
        let lasts = held.expires_at.unwrap().seconds - held.created_at.unwrap().seconds;
        assert_eq!(lasts, ttl.seconds);
        let request =
            GetReservationRequest { account_id: ACCOUNT, reserve_id: reserve_id.to_owned() };
        until("the hold to end", async || {
            let found = accounts.clone().get_reservation(request.clone()).await.unwrap();
            found.into_inner().state() == proto::account::v1::ReservationState::Expired
        })
        .await;
        assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
    }
    world.check_books().await;
}

/// One pod freezes with a key in its hands; the other, which believes that it is another day, takes the key over when
/// that one has been silent for long enough by the database's clock, neither before nor much later.
#[tokio::test(flavor = "multi_thread")]
async fn a_silence_lasts_as_long_for_a_pod_whose_clock_is_off() {
    let mut world = World::start(Backend::Postgres, 2, &["--lease", "60s"]).await;
    for offset in OFF {
        put_off(&mut world, offset, &[]).await;
        // The one that freezes: at its second claim, for at the first it makes its connections.
        let frozen = &mut world.cluster.order[1];
        frozen.terminate();
        frozen.wait_gone().unwrap();
        let at = format!("{}:2", Point::Claimed);
        frozen.restart_with(&["--freeze-at".to_owned(), at]).unwrap();
        frozen.wait_ready().await.unwrap();
        let key = |name: &str| Scene::Order.request(&format!("{name}{offset}"));
        world.persist(1, &key("first")).await.unwrap();
        let began = Instant::now();
        let _lost = world.place(1, key("second")).await;
        until("the freeze", async || world.cluster.order[1].is_frozen()).await;
        world.persist(0, &key("second")).await.unwrap();
        let took = began.elapsed();
        world.cluster.order[1].thaw();
        assert!(took > SILENCE, "{offset}: a process counted as dead after {took:?}");
        assert!(took < SILENCE + NOTICED, "{offset}: {took:?}");
    }
    world.check_books().await;
}
