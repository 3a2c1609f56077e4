//! See [`account_service`].

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    account_service::main().await
}
