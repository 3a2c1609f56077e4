//! account-service with fail points, for tests: see [`failpoint`].

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    account_service::main().await
}
