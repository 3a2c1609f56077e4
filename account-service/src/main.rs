//! See [`account_service`].

use std::{error::Error, iter, process::ExitCode};

use account_service::args::Args;
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Args::parse().validate() {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    account_service::run(config).await.unwrap_or_else(|error| {
        let causes = iter::successors(Some(&error as &dyn Error), |error| (*error).source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        eprintln!("account-service: {}", causes.join(": "));
        ExitCode::FAILURE
    })
}
