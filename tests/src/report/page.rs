//! The page around the charts.

use std::collections::BTreeMap;
use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::words::meaning;
use super::{chart, machine};
use crate::HarnessError;
use crate::load::Record;

const STYLE: &str = include_str!("style.css");

/// The first line of a report: whether the run kept its promise.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Whether all is as it should be.
    pub ok: bool,
    /// One sentence that says so in figures.
    pub sentence: String,
}

/// A table: a heading, the columns' names, and rows of as many cells.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// What the table is about.
    pub heading: String,
    /// The columns' names.
    pub columns: Vec<String>,
    /// One cell per column.
    pub rows: Vec<Vec<String>>,
}

/// A report: the verdict, what was run, the timeline of a record, and tables.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What the page is about.
    pub title: String,
    /// Whether the run kept its promise.
    pub verdict: Verdict,
    /// The command line, so that it can be run again.
    pub command: String,
    /// What the verdict rests on: which databases were read.
    pub note: String,
    /// Results.
    pub tables: Vec<Table>,
}

impl Page {
    /// The page as text.
    #[must_use]
    pub fn html(&self, record: &Record) -> String {
        let (mut seconds, marks) = record.timeline();
        // The last second is cut off: its few requests would look like a service that broke down.
        if seconds.len() > 2 {
            seconds.pop();
        }
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { (self.title) }
                    (self.verdict())
                    @if !self.note.is_empty() { p { (self.note) } }
                    ul.facts { @for fact in machine::facts() { li { (fact) } } }
                    pre { (self.command) }
                    @if !seconds.is_empty() {
                        (chart::throughput(&seconds, &marks))
                        (chart::latency(&seconds, &marks))
                    }
                    @if !marks.is_empty() {
                        h2 { "Events" }
                        ol { @for mark in &marks {
                            li { (format!("{:.1} s: {}", mark.at.as_secs_f64(), mark.label)) }
                        } }
                    }
                    @for table in &self.tables { (drawn_table(table)) }
                    (self.words())
                }
            }
        };
        page.into_string()
    }

    /// Writes the page into a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, record: &Record, path: &Path) -> Result<(), HarnessError> {
        let page = self.html(record);
        std::fs::write(path, page).map_err(HarnessError::io(format!("write {}", path.display())))
    }

    /// The sign tells good from bad to those who do not see the colour.
    fn verdict(&self) -> Markup {
        let (class, sign) = if self.verdict.ok { ("good", "✔") } else { ("bad", "✘") };
        html! { p class=(format!("verdict {class}")) { (sign) " " (self.verdict.sentence) } }
    }

    /// The meaning of every word once more: a phone cannot hover.
    fn words(&self) -> Markup {
        let cells = self.tables.iter().flat_map(|table| {
            let first_cells = table.rows.iter().filter_map(|row| row.first());
            table.columns.iter().chain(first_cells)
        });
        let words: BTreeMap<_, _> =
            cells.filter_map(|word| Some((word.as_str(), meaning(word)?))).collect();
        html! {
            @if !words.is_empty() {
                details { summary { "What the words mean" }
                    dl { @for (word, meaning) in words { dt { (word) } dd { (meaning) } } }
                }
            }
        }
    }
}

fn drawn_table(table: &Table) -> Markup {
    let is_named = table.columns.iter().any(|column| !column.is_empty());
    html! {
        h2 { (table.heading) }
        div.wide { table {
            @if is_named { thead { tr { @for column in &table.columns { th scope="col" { (explained(column)) } } } } }
            tbody { @for row in &table.rows { tr { @for cell in row { td { (explained(cell)) } } } } }
        } }
    }
}

/// A word with its meaning on hover, where it has one.
fn explained(word: &str) -> Markup {
    match meaning(word) {
        Some(meaning) => html! { abbr title=(meaning) { (word) } },
        None => html! { (word) },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;

    use super::*;
    use crate::load::{Answer, Verdict as Ending};

    fn page() -> Page {
        let table = Table {
            heading: "figures".to_owned(),
            columns: vec!["what".to_owned(), "much".to_owned()],
            rows: vec![vec!["p99".to_owned(), "7 ms".to_owned()]],
        };
        Page {
            title: "a & b".to_owned(),
            verdict: super::Verdict { ok: false, sentence: "5 of 10 requests failed".to_owned() },
            command: "load".to_owned(),
            note: "The databases were not read.".to_owned(),
            tables: vec![table],
        }
    }

    #[test]
    fn a_page_shows_charts_marks_and_tables_and_escapes_what_it_is_given() {
        let record = Record::default();
        for second in 0..5 {
            let due = record.began() + Duration::from_secs(second);
            record.note(due, Answer::at_once(Ending::Done));
            record.note(due, Answer::at_once(Ending::Failed(Code::Unavailable)));
        }
        record.mark("roll <order-service>");
        let html = page().html(&record);
        assert_eq!(html.matches("<svg").count(), 2);
        for shown in [
            "a &amp; b",
            "roll &lt;order-service&gt;",
            "</i>failed",
            "</i>p99",
            "7 ms",
            "<p>The databases were not read.</p>",
        ] {
            assert!(html.contains(shown), "{shown} is not shown");
        }
        assert!(!html.contains("http://"), "a page fetches nothing");
    }

    #[test]
    fn the_verdict_stands_before_everything_but_the_title() {
        let html = page().html(&Record::default());
        let verdict = html.find("✘ 5 of 10 requests failed").unwrap();
        assert!(verdict < html.find("<pre>").unwrap() && verdict < html.find("<h2>").unwrap());
    }

    #[test]
    fn a_word_is_explained_on_hover_and_below() {
        let html = page().html(&Record::default());
        assert!(html.contains("<abbr title=\"99 of 100 requests were answered"));
        assert!(html.contains("<dt>p99</dt>"));
    }

    #[test]
    fn a_record_without_requests_has_no_charts() {
        let html = page().html(&Record::default());
        assert!(!html.contains("<svg") && html.contains("7 ms"), "{html}");
    }
}
