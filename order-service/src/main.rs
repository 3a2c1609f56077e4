//! See [`order_service`].

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    order_service::main().await
}
