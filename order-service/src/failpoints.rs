//! order-service with fail points, for tests: see [`failpoint`].

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    order_service::main().await
}
