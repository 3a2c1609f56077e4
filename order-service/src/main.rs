//! See [`order_service`].

use std::{error::Error, iter, process::ExitCode};

use clap::Parser;
use order_service::args::Args;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Args::parse().validate() {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    order_service::run(config).await.unwrap_or_else(|error| {
        let causes = iter::successors(Some(&error as &dyn Error), |error| (*error).source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        eprintln!("order-service: {}", causes.join(": "));
        ExitCode::FAILURE
    })
}
