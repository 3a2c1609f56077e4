//! What `main` does in a program with a configuration: refuse it, or run and say why it ended.

use std::error::Error;
use std::iter;
use std::process::ExitCode;

use crate::Problems;

/// Runs a program, and says on standard error why it could not: exit code 2 for a configuration that cannot be meant,
/// 1 for a failure, told with all its causes.
pub async fn program<C, E: Error + 'static>(
    name: &str,
    config: Result<C, Problems>,
    run: impl AsyncFnOnce(C) -> Result<ExitCode, E>,
) -> ExitCode {
    let config = match config {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(2);
        }
    };
    run(config).await.unwrap_or_else(|error| {
        let causes = iter::successors(Some(&error as &dyn Error), |error| (*error).source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        eprintln!("{name}: {}", causes.join(": "));
        ExitCode::FAILURE
    })
}
