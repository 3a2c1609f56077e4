//! See [`holdfast_verify`].

use std::process::ExitCode;

use clap::Parser;
use holdfast_verify::args::Args;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // An error of clap's has the exit code 2, as every run that read nothing.
    holdfast_verify::run(Args::parse()).await
}
