//! What `main` does in a program with a configuration: refuse it, or run and say why it ended.

use std::error::Error;
use std::io::{self, Write};
use std::iter;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

use crate::Problems;

/// Runs a program on as many threads as its configuration wants, and says on standard error why it could not: exit code
/// 2 for a configuration that cannot be meant, 1 for a failure, told with all its causes.
pub fn program<C, E: Error + 'static>(
    name: &str,
    config: Result<C, Problems>,
    worker_threads: impl FnOnce(&C) -> usize,
    run: impl AsyncFnOnce(C) -> Result<ExitCode, E>,
) -> ExitCode {
    let config = match config {
        Ok(config) => config,
        Err(problems) => {
            say(&problems);
            return ExitCode::from(2);
        }
    };
    let runtime = match runtime(worker_threads(&config)) {
        Ok(runtime) => runtime,
        Err(error) => return failure(name, &error),
    };
    runtime.block_on(run(config)).unwrap_or_else(|error| failure(name, &error))
}

fn runtime(worker_threads: usize) -> io::Result<Runtime> {
    let mut builder = match worker_threads {
        0 | 1 => Builder::new_current_thread(),
        more => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(more);
            builder
        }
    };
    builder.enable_all().build()
}

fn failure(name: &str, error: &(dyn Error + 'static)) -> ExitCode {
    let causes = iter::successors(Some(error), |error| (*error).source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    say(&format_args!("{name}: {}", causes.join(": ")));
    ExitCode::FAILURE
}

/// On standard error. Where that is full or gone, the exit code says what is left to say.
fn say(what: &dyn std::fmt::Display) {
    let _told = writeln!(io::stderr(), "{what}");
}
