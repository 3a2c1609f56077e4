//! A pair that asks its callers who they are.

use std::path::Path;

use prost::Message;
use proto::order::v1::PlaceOrderReply;
use proto::right;
use tempfile::TempDir;
use tests::cluster::{Binaries, Cluster, Databases, Plan, Service, connect};
use tests::postgres::Postgres;
use tests::tokens::{AUDIENCE, Algorithm, ISSUER, Issuer, claims};
use tonic::transport::Channel;

use crate::calls::call;
use crate::samples::{ACCOUNT, OTHERS, open, place};

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// One pod of each service, an issuer that they believe, and one order.
pub(crate) struct World {
    pub(crate) issuer: Issuer,
    pub(crate) order_id: String,
    account: Channel,
    order: Channel,
    _cluster: Cluster,
    _postgres: Option<Postgres>,
    _directory: TempDir,
}

impl World {
    /// With these flags for both services besides.
    pub(crate) async fn start(backend: Backend, binaries: Binaries, more: &[&str]) -> Self {
        let directory = TempDir::with_prefix("holdfast-rights-").unwrap();
        let issuer = Issuer::new();
        let jwks = directory.path().join("jwks.json");
        std::fs::write(&jwks, issuer.jwks()).unwrap();
        let token = directory.path().join("token");
        let settles = claims("order-service", &[right::LEDGER_SETTLE], &[]);
        std::fs::write(&token, issuer.sign(Algorithm::Es256, &settles)).unwrap();

        let (postgres, databases) = databases(backend).await;
        let account_flags: Vec<String> =
            flags(&jwks).into_iter().chain(more.iter().map(ToString::to_string)).collect();
        let mut order_flags = account_flags.clone();
        order_flags.extend(["--account-token-file".to_owned(), token.display().to_string()]);
        let plan = Plan { account_pods: 1, order_pods: 1, databases, account_flags, order_flags };
        let cluster = Cluster::start(binaries, plan).await.unwrap();

        let account = connect(&cluster.account[0]).await.unwrap();
        let order = connect(&cluster.order[0]).await.unwrap();
        let mut world = Self {
            issuer,
            order_id: String::new(),
            account,
            order,
            _cluster: cluster,
            _postgres: postgres,
            _directory: directory,
        };
        world.fill().await;
        world
    }

    pub(crate) fn channel(&self, service: Service) -> &Channel {
        match service {
            Service::Account => &self.account,
            Service::Order => &self.order,
        }
    }

    /// A token that the services believe.
    pub(crate) fn token(&self, rights: &[&str], accounts: &[i64]) -> String {
        self.issuer.sign(Algorithm::Es256, &claims("caller", rights, accounts))
    }

    /// Two accounts and an order on each.
    async fn fill(&mut self) {
        let admin = self.token(&[right::LEDGER_ADMIN], &[]);
        let shop = self.token(&[right::ORDERS_ANY], &[]);
        for account in [OTHERS, ACCOUNT] {
            let message = open(account).encode_to_vec();
            let method = "account.v1.AccountService/OpenAccount";
            call(&self.account, method, message, Some(&admin)).await.unwrap();

            let message = place(account).encode_to_vec();
            let method = "order.v1.OrderService/PlaceOrder";
            let placed = call(&self.order, method, message, Some(&shop)).await.unwrap();
            let placed = PlaceOrderReply::decode(&*placed).unwrap();
            self.order_id = placed.order.unwrap().order_id;
        }
    }
}

/// Tokens of the issuer with these keys.
pub(crate) fn flags(jwks: &Path) -> Vec<String> {
    let jwks = jwks.display().to_string();
    let flags = [
        ("--auth", "jwt"),
        ("--auth-jwks", &jwks),
        ("--auth-issuer", ISSUER),
        ("--auth-audience", AUDIENCE),
    ];
    flags.iter().flat_map(|(flag, value)| [flag.to_string(), value.to_string()]).collect()
}

async fn databases(backend: Backend) -> (Option<Postgres>, Option<Databases>) {
    match backend {
        Backend::Sqlite => (None, None),
        Backend::Postgres => {
            let server = Postgres::start().await.unwrap();
            let account = server.create_database("account").await.unwrap();
            let order = server.create_database("orders").await.unwrap();
            (Some(server), Some(Databases { account, order }))
        }
    }
}
