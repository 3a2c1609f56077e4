//! Every link within the tree leads to a file that is there, and to a heading that it has.

use std::path::{Component, Path, PathBuf};

use crate::{markdown, tree};

#[test]
fn every_link_between_documents_leads_somewhere() {
    let documents = tree::files(&["md"]);
    let mut broken = Vec::new();
    for (path, text) in &documents {
        for (number, line) in markdown::prose(text) {
            for target in markdown::targets(line) {
                if let Err(why) = follow(path, text, target) {
                    broken.push(format!("{path}:{number}: {target} {why}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_document_that_the_sources_name_is_there() {
    let mut missing = Vec::new();
    for (path, text) in tree::files(&["md", "rs", "yaml", "toml", "env"]) {
        let named = text.match_indices("docs/").filter_map(|(at, _)| {
            let rest = &text[at..];
            let end = rest.find(".md").filter(|end| !rest[..*end].contains(char::is_whitespace))?;
            Some(&rest[..end + ".md".len()])
        });
        let absent = named.filter(|name| !name.contains('*') && !tree::root().join(name).exists());
        missing.extend(absent.map(|name| format!("{path}: {name}")));
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

fn follow(from: &str, text: &str, target: &str) -> Result<(), &'static str> {
    if target.starts_with("https://") || target.starts_with("http://") {
        return Ok(());
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = Path::new(from).parent().unwrap();
    let path = tree::root().join(normalised(&folder.join(file)));
    if !file.is_empty() && !path.exists() {
        return Err("is not there");
    }
    if anchor.is_empty() {
        return Ok(());
    }
    let read = || std::fs::read_to_string(&path).unwrap();
    let there = if file.is_empty() { text.to_owned() } else { read() };
    let is_known = markdown::anchors(&there).iter().any(|it| it == anchor);
    is_known.then_some(()).ok_or("has no such heading")
}

/// Without `..`, so that a link through a folder that is not there is not followed.
fn normalised(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut whole, part| {
        match part {
            Component::ParentDir => assert!(whole.pop(), "{}: leaves the tree", path.display()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => whole.push(part),
        }
        whole
    })
}
