//! The one way generated code is made, shared by the generator and by the test that compares.

use std::path::{Path, PathBuf};

use tonic_prost_build::FileDescriptorSet;

type Error = Box<dyn std::error::Error>;

const FILES: [&str; 3] =
    ["account/v1/account.proto", "order/v1/catalog.proto", "order/v1/order.proto"];

/// Where the committed code lies.
pub(crate) fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen")
}

/// Writes the generated modules and the descriptor set for reflection into `folder`.
pub(crate) fn into(folder: &Path) -> Result<(), Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let descriptors: FileDescriptorSet = protox::compile(FILES.map(|f| root.join(f)), [root])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .file_descriptor_set_path(folder.join("descriptor.bin"))
        .out_dir(folder)
        .compile_fds(descriptors.clone())?;
    std::fs::write(folder.join("descriptor.bin"), prost::Message::encode_to_vec(&descriptors))?;
    Ok(())
}
