//! The files of the workspace.

use std::path::{Path, PathBuf};

/// Where a document or a source file may be, below the root. Nothing that is built or fetched.
const LEFT_OUT: [&str; 4] = [".git", "target", "data", "node_modules"];

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The text of a file, by its path from the root.
pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file with one of these extensions, by its path from the root, with its text.
pub(crate) fn files(extensions: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];

    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !LEFT_OUT.contains(&name.as_str()) {
                folders.push(entry.path());
            }
            let extension = Path::new(&name).extension().and_then(|it| it.to_str());
            if kind.is_file() && extension.is_some_and(|it| extensions.contains(&it)) {
                found.push(entry.path());
            }
        }
    }

    found.sort();
    let from_root = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    let read = |path: PathBuf| (from_root(&path), std::fs::read_to_string(&path).unwrap());
    found.into_iter().map(read).collect()
}
