//! The books are read while both services are busy.

use std::time::{Duration, Instant};

use database::DatabaseUrl;
use holdfast_verify::{Settings, rules::Rules, verify};
use tests::proxy::{Proxy, Weather};

use super::support::{Backend, World};
use super::traffic::{Kind, Traffic};

/// How long traffic goes on; longer with `VERIFY_SECONDS`.
const SECONDS: u64 = 15;

/// Judges everything, however young, in many small ranges: the hardest way to read.
fn settings() -> Settings {
    Settings {
        horizon: Duration::ZERO,
        rows: 500,
        pause: Duration::ZERO,
        range_timeout: Duration::from_secs(10),
        second_look: Duration::from_millis(20),
        rules: Rules { outbox_age_max: Duration::from_secs(3600), strict: true },
    }
}

/// The ledger, read through a slow network where it has one: what is read of the two books together is of moments that are
/// far apart, and much happens between them.
async fn far_away(world: &World, account: DatabaseUrl) -> (Option<Proxy>, DatabaseUrl) {
    let Some(server) = &world.postgres else { return (None, account) };
    let proxy = Proxy::start(([127, 0, 0, 1], server.port()).into()).await.unwrap();
    proxy.set(Weather { delay: Duration::from_millis(100), ..Weather::default() });
    let (port, url) = (proxy.address().port(), server.url("account"));
    let url = url.replace(&format!(":{}/", server.port()), &format!(":{port}/"));
    (Some(proxy), url.parse().unwrap())
}

#[expect(clippy::disallowed_methods, reason = "how long it runs is asked for by hand")]
fn seconds() -> Duration {
    let asked = std::env::var("VERIFY_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(SECONDS))
}

async fn nothing_is_found_under_load(backend: Backend) {
    let world = World::start(backend).await;
    let traffic = Traffic::start(&world, Kind::Everything).await;
    let [account, order] = world.urls();
    let (_proxy, account) = far_away(&world, account).await;
    let began = Instant::now();

    let (mut runs, mut looked_again) = (0, 0);
    while began.elapsed() < seconds() {
        let report = verify(&account, &order, settings()).await.unwrap();
        assert!(report.ok && report.restless == 0, "{report:?}");
        runs += 1;
        looked_again += report.looked_again;
    }
    let placed = traffic.stop().await;

    // Else this would have shown nothing.
    assert!(placed > 100 && runs > 1, "{placed} orders, {runs} runs");
    assert!(looked_again > 0, "nothing ever disagreed at first sight");
    world.settled().await;
    let (_, report) = world.verify(&["--strict"]).await;
    // Calls that failed may have placed an order too.
    assert!(report["orders"].as_u64() >= Some(placed.into()), "{placed}: {report}");
    println!("{placed} orders, {runs} runs, {looked_again} looked at again, no breach");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_come_and_go_while_the_books_are_read_are_no_breach_on_postgres() {
    nothing_is_found_under_load(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_come_and_go_while_the_books_are_read_are_no_breach_on_sqlite() {
    nothing_is_found_under_load(Backend::Sqlite).await;
}
