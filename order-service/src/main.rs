//! See [`order_service`].

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Requests are many small allocations that one thread makes and another frees.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    order_service::main()
}
