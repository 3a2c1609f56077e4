//! A pair of services of one's own to put load on: release or debug, as the program that asks.

use client::BearerToken;
use database::DatabaseUrl;
use holdfast_verify::{Report, Settings};

use super::{Connections, CpuUse};
use crate::cluster::{Binaries, Cluster, Databases, Plan, Pod};
use crate::postgres::Postgres;
use crate::{HarnessError, cpu};

/// PostgreSQL as a small production server would have it. Durability is PostgreSQL's default:
/// fsync and synchronous_commit on.
const POSTGRES: [&str; 2] = ["shared_buffers=2GB", "max_wal_size=8GB"];

/// Which database the pair keeps its books in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A PostgreSQL server of its own.
    Postgres,
    /// Files.
    Sqlite,
}

/// A running pair.
#[derive(Debug)]
pub struct Stage {
    cluster: Cluster,
    postgres: Option<Postgres>,
}

impl Stage {
    /// Starts so many pods of each service, and the database under them.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(
        kind: Kind,
        pods: usize,
        [account_flags, order_flags]: [Vec<String>; 2],
    ) -> Result<Self, HarnessError> {
        let postgres = match kind {
            Kind::Postgres => Some(Postgres::start_with(&POSTGRES).await?),
            Kind::Sqlite => None,
        };
        Self::start_on(Binaries::build()?, postgres, pods, [account_flags, order_flags]).await
    }

    /// Starts a pod of each of these programs, on a PostgreSQL server with further settings.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start_programs(
        binaries: Binaries,
        settings: &[&str],
    ) -> Result<Self, HarnessError> {
        let settings = [POSTGRES.as_slice(), settings].concat();
        let server = Postgres::start_with(&settings).await?;
        Self::start_on(binaries, Some(server), 1, Default::default()).await
    }

    async fn start_on(
        binaries: Binaries,
        postgres: Option<Postgres>,
        pods: usize,
        [account_flags, order_flags]: [Vec<String>; 2],
    ) -> Result<Self, HarnessError> {
        let databases = match &postgres {
            Some(server) => Some(Databases {
                account: server.create_database("account").await?,
                order: server.create_database("orders").await?,
            }),
            None => None,
        };
        let plan =
            Plan { account_pods: pods, order_pods: pods, account_flags, order_flags, databases };
        let cluster = Cluster::start(binaries, plan).await?;
        Ok(Self { cluster, postgres })
    }

    /// The pair.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The pair, to do something to it.
    pub fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// The database server, if it is one.
    #[must_use]
    pub fn postgres(&self) -> Option<&Postgres> {
        self.postgres.as_ref()
    }

    /// Where order-service listens.
    #[must_use]
    pub fn order_addresses(&self) -> Vec<String> {
        addresses(&self.cluster.order)
    }

    /// Where account-service listens.
    #[must_use]
    pub fn account_addresses(&self) -> Vec<String> {
        addresses(&self.cluster.account)
    }

    /// Connections to both, ready: to account-service one a pod, to order-service so many.
    ///
    /// # Errors
    /// Never for addresses of a running pair.
    pub async fn connect(&self, clients: usize) -> Result<[Connections; 2], client::BuildError> {
        self.connect_as(clients, None).await
    }

    /// The same, with a token for services that ask who calls.
    ///
    /// # Errors
    /// As [`Stage::connect`].
    pub async fn connect_as(
        &self,
        clients: usize,
        token: Option<&BearerToken>,
    ) -> Result<[Connections; 2], client::BuildError> {
        let accounts = Connections::open_as(&self.account_addresses(), clients, token)?;
        let orders = Connections::open_as(&self.order_addresses(), clients, token)?;
        accounts.ready().await;
        orders.ready().await;
        Ok([accounts, orders])
    }

    /// CPU time used so far, by who used it. What has ended counts as nothing.
    #[must_use]
    pub fn cpu(&self) -> CpuUse {
        let of = |pods: &[Pod]| Some(pods.iter().filter_map(|pod| cpu::of(pod.pid()).ok()).sum());
        CpuUse {
            order: of(&self.cluster.order),
            account: of(&self.cluster.account),
            postgres: self.postgres.as_ref().and_then(|server| cpu::of_family(server.pid()).ok()),
            ..CpuUse::of_load()
        }
    }

    /// Resident memory of account-service and of order-service, all pods of each together, in MiB.
    #[must_use]
    pub fn resident_mib(&self) -> [u64; 2] {
        let of = |pods: &[Pod]| {
            let bytes = pods.iter().filter_map(|pod| cpu::resident_bytes(pod.pid()).ok());
            bytes.sum::<u64>() >> 20
        };
        [of(&self.cluster.account), of(&self.cluster.order)]
    }

    /// Asks all pods to leave and reads the books of both.
    ///
    /// # Errors
    /// When a pod does not leave in order, or an invariant is broken: the error shows the rows.
    pub async fn finish(mut self) -> Result<Report, HarnessError> {
        self.cluster.stop()?;
        self.cluster.verify()?;
        let url = |text: &str| text.parse::<DatabaseUrl>().expect("an address of our own");
        let databases = self.cluster.databases();
        let failed = |output| HarnessError::Failed { what: "verify".to_owned(), output };
        let [account, order] = [&databases.account, &databases.order].map(|text| url(text));
        let report = holdfast_verify::verify(&account, &order, Settings::at_rest())
            .await
            .map_err(|error| failed(error.to_string()))?;
        if report.ok { Ok(report) } else { Err(failed(format!("{:#?}", report.breaches))) }
    }
}

fn addresses(pods: &[Pod]) -> Vec<String> {
    pods.iter().map(|pod| pod.address().to_string()).collect()
}
