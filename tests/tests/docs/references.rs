//! References such as row 15 of document A or classic bug 7 are defined in `docs/requirements.md`.

use std::collections::BTreeSet;

use crate::{markdown, tree};

const DEFINED_IN: &str = "docs/requirements.md";

#[test]
fn every_row_of_a_document_that_is_referred_to_is_defined() {
    let document = tree::text(DEFINED_IN);
    let (rows, proposals) = document.split_once("## gRPC proposals").expect("the list of gRFCs");
    let [rows, proposals] = [rows, proposals].map(defined);
    let mut undefined = Vec::new();

    for (path, text) in tree::files(&["rs", "md", "proto", "toml", "yaml", "sql"]) {
        for (number, line) in (1..).zip(text.lines()) {
            // The channel speaks of gRPC's proposals, everything else of the two documents, unless a line says otherwise.
            let is_proposal = line.contains("gRFC") || path.starts_with("client/src");
            let known = if is_proposal { &proposals } else { &rows };
            let unknown = words(line).filter(|word| is_reference(word) && !known.contains(*word));
            let unknown = unknown.filter(|_| path != DEFINED_IN);
            undefined.extend(unknown.map(|word| format!("{path}:{number}: {word}")));
        }
    }
    assert!(undefined.is_empty(), "{DEFINED_IN} lacks\n{}", undefined.join("\n"));
}

#[test]
fn every_test_of_a_classic_bug_is_listed() {
    let document = tree::text(DEFINED_IN);
    let mut unlisted = Vec::new();
    for (path, text) in tree::files(&["rs"]) {
        let tests = text.match_indices("fn bug_").map(|(at, _)| &text[at + "fn ".len()..]);
        let names = tests.filter_map(|rest| rest.split(|c| !is_part_of_word(c)).next());
        let names = names.filter(|name| name.len() > "bug_".len());
        let lacking = names.filter(|name| !document.contains(&format!("`{name}`")));
        unlisted.extend(lacking.map(|name| format!("{path}: {name}")));
    }
    assert!(unlisted.is_empty(), "{DEFINED_IN} lacks\n{}", unlisted.join("\n"));
}

/// The references that begin a row of a table.
fn defined(text: &str) -> BTreeSet<String> {
    let rows = markdown::prose(text).filter_map(|(_, line)| markdown::cells(line));
    let first = rows.filter_map(|cells| cells.first().map(|cell| (*cell).to_owned()));
    first.filter(|cell| is_reference(cell)).collect()
}

/// A letter and a number of at most three digits, such as row 15 of document A.
fn is_reference(word: &str) -> bool {
    let number = word.strip_prefix(['A', 'B']);
    number.is_some_and(|it| (1..=3).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_digit()))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c| !is_part_of_word(c))
}

fn is_part_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
