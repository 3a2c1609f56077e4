//! Names that documents use exist: tests, files, metrics.

use std::collections::BTreeSet;

use crate::{markdown, tree};

/// So many words and letters make a name a test's.
const TEST_WORDS_MIN: usize = 4;
const TEST_LETTERS_MIN: usize = 20;

/// How names of metrics begin.
const METRICS: [&str; 7] =
    ["account_", "database_", "grpc_client_", "grpc_server_", "lane_", "order_", "orders_"];

/// How tables of the databases begin that would pass for metrics.
const TABLES: [&str; 2] = ["order_lines", "account_service"];

#[test]
fn every_test_that_a_document_names_is_there() {
    let sources = tree::files(&["rs"]);
    let is_there = |name: &str| {
        let [plain, generic] = [format!("fn {name}("), format!("fn {name}<")];
        sources.iter().any(|(_, text)| text.contains(&plain) || text.contains(&generic))
    };
    let is_test = |name: &&str| {
        name.len() >= TEST_LETTERS_MIN
            && name.split('_').count() >= TEST_WORDS_MIN
            && name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
    };
    let missing = named("docs/requirements.md", is_test, is_there);
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn every_path_that_a_document_names_is_there() {
    let is_path = |name: &&str| {
        let is_ours = name.contains('/') && !name.starts_with('/') && !name.starts_with("target/");
        is_ours && name.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.".contains(c))
    };
    let is_there = |name: &str| tree::root().join(name).exists();
    for document in ["ARCHITECTURE.md", "docs/requirements.md", "docs/testing.md"] {
        let missing = named(document, is_path, is_there);
        assert!(missing.is_empty(), "{document} names what is not there: {missing:#?}");
    }
}

#[test]
fn every_metric_to_alert_on_is_recorded() {
    let sources = tree::files(&["rs"]);
    let is_metric = |name: &&str| {
        METRICS.iter().any(|start| name.starts_with(start))
            && !TABLES.iter().any(|start| name.starts_with(start))
            && name.chars().all(|c| matches!(c, 'a'..='z' | '_'))
    };
    let is_there = |name: &str| {
        // The channel writes dots, as gRPC does, and the exporter makes them underscores.
        let spelt = [name.to_owned(), name.replace('_', ".")].map(|name| format!("\"{name}\""));
        sources.iter().any(|(_, text)| spelt.iter().any(|name| text.contains(name)))
    };
    let missing = named("docs/operations.md", is_metric, is_there);
    assert!(missing.is_empty(), "no such metrics: {missing:#?}");
}

/// What a document names between backticks that is of a kind and is not there.
fn named(
    document: &str,
    is_kind: impl Fn(&&str) -> bool,
    is_there: impl Fn(&str) -> bool,
) -> BTreeSet<String> {
    let text = tree::text(document);
    let spans = markdown::prose(&text).flat_map(|(_, line)| markdown::code_spans(line));
    // A metric may come with its labels.
    let spans = spans.map(|span| span.split_once('{').map_or(span, |(name, _)| name));
    let missing = spans.filter(is_kind).filter(|name| !is_there(name));
    missing.map(str::to_owned).collect()
}
