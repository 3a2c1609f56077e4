//! The built program, run to its end or until it is killed.

use std::process::{ExitStatus, Output, Stdio};

use proto::account::v1::account_service_client::AccountServiceClient;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};
use tonic::transport::{Channel, Endpoint};

/// The program, with an environment of its own.
fn program(arguments: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_account-service"));
    program.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    program
}

/// Runs it to its end.
pub(crate) async fn run(arguments: &[&str]) -> Output {
    program(arguments).output().await.unwrap()
}

/// Runs it to its end, with its output going there.
pub(crate) async fn run_into(file: &str, arguments: &[&str]) -> Output {
    let file = std::fs::File::options().write(true).open(file).unwrap();
    let child = program(arguments).stdout(file).stderr(Stdio::piped()).spawn().unwrap();
    child.wait_with_output().await.unwrap()
}

/// Migrating.
pub(crate) struct Migrating {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Migrating {
    pub(crate) fn start(url: &str) -> Self {
        let mut command = program(&["migrate", "--database-url", url]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    /// Waits until it logs this.
    pub(crate) async fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.log.next_line().await.unwrap().expect("it goes on");
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) async fn end(mut self) -> ExitStatus {
        self.child.wait().await.unwrap()
    }
}

/// Serving.
pub(crate) struct Serving {
    child: Child,
    pub(crate) client: AccountServiceClient<Channel>,
}

impl Serving {
    /// Starts it on a database and waits until it listens.
    pub(crate) async fn on(url: &str) -> Self {
        Self::with(url, Stdio::null()).await.0
    }

    /// As [`Serving::on`], with its standard output going there. Also answers where its admin HTTP is.
    pub(crate) async fn with(url: &str, output: Stdio) -> (Self, String) {
        let arguments = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--log-format=json"];
        let mut command = program(&arguments);
        command.args(["--lame-duck=0s", "--database-url", url]).stderr(Stdio::piped());
        let mut child = command.stdout(output).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let (address, admin) = loop {
            let line = log.next_line().await.unwrap().expect("it listens before it ends");
            let record: Value = serde_json::from_str(&line).unwrap();
            if record["message"] == "listening" {
                let [grpc, admin] = ["grpc", "admin"].map(|name| record[name].as_str().unwrap());
                break (grpc.to_owned(), admin.to_owned());
            }
        };
        // What it logs from now on is read away, or its pipe would fill up.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
        let client = AccountServiceClient::new(endpoint.connect().await.unwrap());
        (Self { child, client }, admin)
    }

    /// SIGKILL: no goodbye.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
