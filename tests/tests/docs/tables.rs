//! Tables that repeat what a source says: flags, reasons, and the length of the two first pages.

use std::collections::BTreeMap;

use proto::Reason;

use crate::{configuration, markdown, tree};

/// README and ARCHITECTURE are read at one sitting.
const PAGE_LINES: usize = 150;

#[test]
fn the_flags_are_those_of_the_programs() {
    let document = std::fs::read_to_string(configuration::committed()).unwrap();
    let is_current = configuration::renewed(&document) == document;
    assert!(
        is_current,
        "docs/configuration.md is stale: cargo run -p tests --example configuration"
    );
}

#[test]
fn every_reason_is_explained_once_with_its_codes() {
    let document = tree::text("docs/errors.md");
    let rows = markdown::prose(&document).filter_map(|(_, line)| markdown::cells(line));
    let mut explained = BTreeMap::<Reason, Vec<_>>::new();
    for cells in rows {
        let named = cells[0].strip_prefix('`').and_then(|name| name.strip_suffix('`'));
        let Some(name) = named else { continue };
        let reason = name.parse().unwrap_or_else(|_| panic!("{name} is no reason"));
        explained.entry(reason).or_default().push((cells[1].to_owned(), cells[2].to_owned()));
    }

    for reason in Reason::ALL {
        let code = screaming(&format!("{:?}", reason.code()));
        let expected = (code, reason.short_code().unwrap_or_default().to_owned());
        let rows = explained.remove(reason).unwrap_or_default();
        assert_eq!(rows, [expected], "{reason} in docs/errors.md");
    }
}

#[test]
fn a_reader_of_the_first_pages_is_done_soon() {
    for path in ["README.md", "ARCHITECTURE.md"] {
        let lines = tree::text(path).lines().count();
        assert!(lines <= PAGE_LINES, "{path} has {lines} lines: what is longer goes to docs/");
    }
}

/// `NotFound` as gRPC writes it: `NOT_FOUND`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_uppercase());
    }
    text
}
