//! Accounts that a load opens for itself.

use client::Channel;
use tests::HarnessError;
use tests::cluster::{Binaries, Cluster, Plan};
use tests::load::{Opening, open_accounts};

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_somebody_else_opened_is_named_and_ones_own_are_taken_as_they_are() {
    let plan = Plan { account_pods: 1, order_pods: 0, ..Plan::default() };
    let cluster = Cluster::start(Binaries::build().unwrap(), plan).await.unwrap();
    let target = format!("http://{}", cluster.account[0].address());
    let channel = Channel::builder(target).build().unwrap();
    let open = |accounts, balance| open_accounts(&channel, Opening { accounts, balance });
    open(5..=5, 7).await.unwrap();
    open(1..=3, 10).await.unwrap();
    open(1..=3, 10).await.unwrap();

    let taken = open(4..=6, 10).await.unwrap_err();
    assert!(matches!(taken, HarnessError::AccountExists { account_id: 5 }), "{taken}");
    assert!(taken.to_string().starts_with("account 5 exists already"), "{taken}");
}
