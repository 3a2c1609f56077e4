//! Renews the tables of `docs/configuration.md` from the programs' own flags: `cargo run -p tests --example
//! configuration`.

#[path = "../tests/support/configuration.rs"]
mod configuration;

fn main() -> std::io::Result<()> {
    let path = configuration::committed();
    let document = std::fs::read_to_string(&path)?;
    std::fs::write(&path, configuration::renewed(&document))
}
