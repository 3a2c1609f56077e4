//! account-service with fail points, for tests: see [`failpoint`].

use std::process::ExitCode;

fn main() -> ExitCode {
    account_service::main()
}
