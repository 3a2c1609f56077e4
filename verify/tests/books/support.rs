//! A pair on either database, and the program.

use std::process::{Command, Output};
use std::time::Duration;

use database::DatabaseUrl;
use proto::account::v1::{
    Account, CaptureRequest, DepositRequest, GetAccountRequest, OpenAccountRequest, ReserveRequest,
};
use proto::order::v1::{OnDuplicate, PlaceOrderRequest};
use serde_json::Value;
use tests::clients::Clients;
use tests::cluster::{Binaries, Cluster, Databases, Plan, SHORT_LEASES, Service};
use tests::postgres::Postgres;
use uuid::Uuid;

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// A pair and what it stands on. Pods leave before their database does.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) clients: Clients,
    pub(crate) postgres: Option<Postgres>,
}

impl World {
    pub(crate) async fn start(backend: Backend) -> Self {
        let binaries = Binaries::build().unwrap();
        let (postgres, databases) = match backend {
            Backend::Sqlite => (None, None),
            Backend::Postgres => {
                let server = Postgres::start().await.unwrap();
                let account = server.create_database("account").await.unwrap();
                let order = server.create_database("orders").await.unwrap();
                (Some(server), Some(Databases { account, order }))
            }
        };
        let order_flags = SHORT_LEASES.map(ToOwned::to_owned).to_vec();
        let plan = Plan { databases, order_flags, ..Plan::default() };
        let cluster = Cluster::start(binaries, plan).await.unwrap();
        let clients = Clients::connect(&cluster).await.unwrap();
        Self { cluster, clients, postgres }
    }

    pub(crate) async fn open(&self, account_id: i64, opening_balance: &str) {
        let (currency, opening_balance) = (String::new(), opening_balance.to_owned());
        let request = OpenAccountRequest { account_id, currency, opening_balance };
        self.clients.accounts.clone().open_account(request).await.unwrap();
    }

    pub(crate) async fn deposit(&self, account_id: i64, amount: &str, deposit_id: &str) {
        let (amount, deposit_id) = (amount.to_owned(), deposit_id.to_owned());
        let request = DepositRequest { account_id, amount, deposit_id };
        self.clients.accounts.clone().deposit(request).await.unwrap();
    }

    pub(crate) async fn account(&self, account_id: i64) -> Account {
        let request = GetAccountRequest { account_id };
        self.clients.accounts.clone().get_account(request).await.unwrap().into_inner()
    }

    /// Holds money, as any caller of the account service may.
    pub(crate) async fn reserve(&self, account_id: i64, amount: &str, id: &str) {
        let (reserve_id, order_id) = (id.to_owned(), id.to_owned());
        let amount = amount.to_owned();
        let (ttl, currency) = (None, String::new());
        let request = ReserveRequest { account_id, amount, reserve_id, order_id, ttl, currency };
        self.clients.accounts.clone().reserve(request).await.unwrap();
    }

    /// Takes what is held.
    pub(crate) async fn capture(&self, account_id: i64, id: &str) {
        let (reserve_id, amount) = (id.to_owned(), String::new());
        let request = CaptureRequest { account_id, reserve_id, amount };
        self.clients.accounts.clone().capture(request).await.unwrap();
    }

    /// Places an order.
    pub(crate) async fn place(&self, account_id: i64, key: &str, amount: &str) {
        let request = PlaceOrderRequest {
            account_id,
            idempotency_key: key.to_owned(),
            amount: amount.to_owned(),
            lines: Vec::new(),
            on_duplicate: OnDuplicate::Replay.into(),
            currency: String::new(),
        };
        self.clients.orders[0].clone().place_order(request).await.unwrap();
    }

    /// The databases, read as the program reads them.
    pub(crate) fn urls(&self) -> [DatabaseUrl; 2] {
        let Databases { account, order } = self.cluster.databases();
        [account.parse().unwrap(), order.parse().unwrap()]
    }

    /// Runs the program, with everything judged at once unless the flags say otherwise, and looked at again soon.
    pub(crate) async fn run(&self, flags: &[&str]) -> Output {
        self.run_against(&self.cluster.databases().order, flags).await
    }

    async fn run_against(&self, order: &str, flags: &[&str]) -> Output {
        let account = &self.cluster.databases().account;
        let mut all = vec!["--account-db", account, "--order-db", order, "--second-look=50ms"];
        all.extend(flags);
        if !flags.iter().any(|flag| flag.starts_with("--horizon")) {
            all.push("--horizon=0s");
        }
        program(&all).await
    }

    /// A repair through the services of this pair.
    pub(crate) async fn repair(&self, flags: &[&str]) -> (Option<i32>, Vec<Value>) {
        self.repair_against(&self.cluster.databases().order, flags).await
    }

    /// As [`World::repair`], with another order database.
    pub(crate) async fn repair_against(
        &self,
        database: &str,
        flags: &[&str],
    ) -> (Option<i32>, Vec<Value>) {
        let account = format!("static:///{}", self.cluster.account[0].address());
        let order = format!("static:///{}", self.cluster.order[0].address());
        let mut all = vec!["--repair", "--account-target", &account, "--order-target", &order];
        all.extend(flags);
        let output = self.run_against(database, &all).await;
        (output.status.code(), lines(&output))
    }

    /// What the program says about the books.
    pub(crate) async fn verify(&self, flags: &[&str]) -> (Option<i32>, Value) {
        let output = self.run(flags).await;
        let mut lines = lines(&output);
        assert_eq!(lines.len(), 1, "{output:?}");
        (output.status.code(), lines.remove(0))
    }

    /// Waits until the services have nothing left to do, as far as the books show it.
    pub(crate) async fn settled(&self) {
        until("the books to agree", async || {
            let (code, report) = self.verify(&["--strict"]).await;
            code == Some(0) && report["ok"] == true
        })
        .await;
    }
}

impl World {
    /// Has settlements told again that were refused while the ledger lacked their reservations, and waits until none is
    /// left. By themselves they would be told within the hour.
    pub(crate) async fn retry_refused(&self) {
        let databases = self.cluster.databases();
        let url = ["--database-url", databases.order.as_str()];
        let settlements = |flags: &[&str]| {
            let mut command = Command::new(self.cluster.binaries().program(Service::Order));
            let output = command.arg("settlements").args(flags).args(url).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        for line in settlements(&["list"]).lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let account = row["account_id"].to_string();
            let order = row["order_id"].as_str().unwrap();
            // One that was told meanwhile is not there any more.
            let _waits_or_not = settlements(&["retry", "--account", &account, "--order", order]);
        }
        until("refused settlements to be told", async || settlements(&["list"]).is_empty()).await;
    }
}

/// Runs the shipped program.
pub(crate) async fn program(flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-verify"));
    command.args(flags);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

/// Its output, which is lines of JSON.
pub(crate) fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[expect(clippy::disallowed_methods, reason = "tests need ids, and none in particular")]
pub(crate) fn order_id() -> String {
    Uuid::now_v7().to_string()
}

/// Polls a state, with a bound.
pub(crate) async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.unwrap_or_else(|_| panic!("never came to: {what}"));
}
