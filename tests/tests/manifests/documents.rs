//! Rendered documents, and how to look into them. What is looked for and is not there fails the
//! test that looked, by name.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// Every kustomization that a user applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlay {
    Local,
    Production,
}

impl Overlay {
    pub(crate) const ALL: [Self; 2] = [Self::Local, Self::Production];

    /// Its documents, rendered once.
    pub(crate) fn documents(self) -> &'static Documents {
        static LOCAL: LazyLock<Documents> = LazyLock::new(|| Documents::render("overlays/local"));
        static PRODUCTION: LazyLock<Documents> =
            LazyLock::new(|| Documents::render("overlays/production"));
        match self {
            Self::Local => &LOCAL,
            Self::Production => &PRODUCTION,
        }
    }
}

/// The documents of one kustomization.
pub(crate) struct Documents(Vec<Value>);

impl Documents {
    pub(crate) fn render(kustomization: &str) -> Self {
        let kubectl = workspace("target/tools/python/bin/kubectl");
        assert!(kubectl.exists(), "kubectl is missing: run .ci/tools");
        let mut command = Command::new(kubectl);
        command.arg("kustomize").arg(workspace("k8s").join(kustomization));
        let rendered = command.output().unwrap();
        assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
        let text = String::from_utf8(rendered.stdout).unwrap();
        Self(serde_saphyr::from_multiple(&text).unwrap())
    }

    /// These and others, as when both are applied.
    pub(crate) fn with(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).cloned().collect())
    }

    /// All of a kind.
    pub(crate) fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |document| document["kind"] == kind)
    }

    /// The one of this kind and name. Generated names match without their hash.
    pub(crate) fn one(&self, kind: &str, name: &str) -> &Value {
        let is = |document: &&Value| {
            let full = text(document, "/metadata/name");
            let hash = full.strip_prefix(name).map(|rest| rest.strip_prefix('-').unwrap_or(rest));
            hash.is_some_and(|hash| hash.is_empty() || is_hash(hash))
        };
        let mut found = self.of(kind).filter(is);
        let one = found.next().unwrap_or_else(|| panic!("there is no {kind} {name}"));
        assert!(found.next().is_none(), "more than one {kind} {name}");
        one
    }
}

impl From<Vec<Value>> for Documents {
    fn from(documents: Vec<Value>) -> Self {
        Self(documents)
    }
}

/// kustomize's suffix: ten characters, none of them a vowel.
fn is_hash(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() && !"aeiou".contains(c);
    text.len() == 10 && text.chars().all(is_part)
}

/// What is at a JSON pointer.
pub(crate) fn at<'value>(value: &'value Value, pointer: &str) -> &'value Value {
    let found = value.pointer(pointer);
    found.unwrap_or_else(|| panic!("{} has no {pointer}", name(value)))
}

pub(crate) fn text<'value>(value: &'value Value, pointer: &str) -> &'value str {
    let found = at(value, pointer).as_str();
    found.unwrap_or_else(|| panic!("{pointer} of {} is not text", name(value)))
}

pub(crate) fn number(value: &Value, pointer: &str) -> u64 {
    let found = at(value, pointer).as_u64();
    found.unwrap_or_else(|| panic!("{pointer} of {} is not a number", name(value)))
}

pub(crate) fn list<'value>(value: &'value Value, pointer: &str) -> &'value [Value] {
    let found = at(value, pointer).as_array();
    found.unwrap_or_else(|| panic!("{pointer} of {} is not a list", name(value)))
}

/// The one item of a list that is called so.
pub(crate) fn named<'value>(items: &'value [Value], name: &str) -> &'value Value {
    let found = items.iter().find(|item| item["name"] == name);
    found.unwrap_or_else(|| panic!("nothing is called {name} in {items:?}"))
}

fn name(value: &Value) -> String {
    match value.pointer("/metadata/name") {
        Some(name) => format!("{} {name}", value["kind"]),
        None => value.to_string(),
    }
}

/// A path of the workspace.
pub(crate) fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The text of a file of the workspace.
pub(crate) fn file(path: &str) -> String {
    std::fs::read_to_string(workspace(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
