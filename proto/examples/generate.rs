//! Regenerates `proto/src/gen` from the `.proto` files: `cargo run -p proto --example generate`.
//!
//! No `protoc` is needed: protox compiles the files, tonic-prost-build writes the code.

#[path = "../tests/support/generate.rs"]
mod generate;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    generate::into(&generate::committed())
}
