//! The committed code is what the `.proto` files say.

#[path = "support/generate.rs"]
mod generate;

#[test]
fn generated_code_is_current() -> Result<(), Box<dyn std::error::Error>> {
    let fresh = tempfile::tempdir()?;
    generate::into(fresh.path())?;
    for name in ["account.v1.rs", "order.v1.rs", "descriptor.bin"] {
        let committed = std::fs::read(generate::committed().join(name))?;
        let made = std::fs::read(fresh.path().join(name))?;
        assert!(committed == made, "{name} is stale: run `cargo run -p proto --example generate`");
    }
    Ok(())
}
