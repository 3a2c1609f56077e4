//! Flags and files of a pair that speaks TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tests::certificates::{Authority, Issued, Pair, replace};
use tests::cluster::{Binaries, Cluster, Databases, Plan, Pod};

/// How often pods look at their files.
pub(crate) const RELOAD: [&str; 2] = ["--tls-reload-interval", "50ms"];

/// Any account pod: where it listens, and where it is said to be.
pub(crate) const NAMES: [&str; 3] = ["account-service", "localhost", "127.0.0.1"];

/// A directory of certificates by one authority.
pub(crate) struct Files {
    pub(crate) directory: TempDir,
    pub(crate) authority: Authority,
    pub(crate) ca: PathBuf,
}

impl Files {
    pub(crate) fn new() -> Self {
        let directory = TempDir::with_prefix("holdfast-tls-").unwrap();
        let authority = Authority::new();
        let ca = directory.path().join("ca.pem");
        replace(&ca, authority.pem()).unwrap();
        Self { directory, authority, ca }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, name: &str, issued: &Issued) -> Pair {
        issued.write(self.path(), name).unwrap()
    }

    pub(crate) fn text(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        replace(&path, text).unwrap();
        path
    }
}

/// `--flag path` for each.
pub(crate) fn flags<'a>(given: impl IntoIterator<Item = (&'a str, &'a Path)>) -> Vec<String> {
    let pairs =
        given.into_iter().flat_map(|(flag, path)| [flag.to_owned(), path.display().to_string()]);
    pairs.chain(RELOAD.map(str::to_owned)).collect()
}

/// A server's flags.
pub(crate) fn serve(pair: &Pair) -> [(&'static str, &Path); 2] {
    [("--tls-certificate", &pair.certificate), ("--tls-key", &pair.key)]
}

/// What an order pod shows to account pods.
pub(crate) fn show(pair: &Pair) -> [(&'static str, &Path); 2] {
    [("--account-tls-certificate", &pair.certificate), ("--account-tls-key", &pair.key)]
}

/// One account pod with these flags, on `databases` or SQLite.
pub(crate) async fn account_pod(
    account_flags: Vec<String>,
    databases: Option<Databases>,
) -> Cluster {
    let plan = Plan { account_pods: 1, order_pods: 0, databases, account_flags, ..Plan::default() };
    Cluster::start(Binaries::build().unwrap(), plan).await.unwrap()
}

pub(crate) fn log_of(pod: &Pod) -> String {
    std::fs::read_to_string(pod.log()).unwrap()
}

/// Polls a state, with a bound.
pub(crate) async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let came = tokio::time::timeout(Duration::from_secs(30), wait).await;
    came.unwrap_or_else(|_| panic!("never came to: {what}"));
}
