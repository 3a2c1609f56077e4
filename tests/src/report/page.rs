//! The page around the charts.

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart;
use crate::HarnessError;
use crate::load::Record;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1120px;padding:0 1rem}\
    table{border-collapse:collapse;margin:1rem 0}th,td{border-bottom:1px solid #ddd;padding:.2rem .8rem;text-align:right}\
    th:first-child,td:first-child{text-align:left}svg{width:100%;height:auto}";

/// A table: a heading, the columns' names, and rows of as many cells.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// What the table is about.
    pub heading: String,
    /// The columns' names.
    pub columns: Vec<String>,
    /// One cell a column.
    pub rows: Vec<Vec<String>>,
}

/// A report: what was run, tables, and the timeline of a record.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What the page is about.
    pub title: String,
    /// The command line, so that it can be run again.
    pub command: String,
    /// What the results rest on; empty where there is nothing to say.
    pub note: String,
    /// Results.
    pub tables: Vec<Table>,
}

impl Page {
    /// Draws the page.
    ///
    /// # Errors
    /// When a chart cannot be drawn.
    pub fn html(&self, record: &Record) -> Result<String, HarnessError> {
        let (seconds, marks) = record.timeline();
        let drawn = chart::throughput(&seconds, &marks)
            .and_then(|throughput| Ok([throughput, chart::latency(&seconds, &marks)?]));
        let charts = drawn.map_err(|error| HarnessError::Failed {
            what: "drawing a chart".to_owned(),
            output: error.to_string(),
        })?;
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head { meta charset="utf-8"; title { (self.title) } style { (PreEscaped(STYLE)) } }
                body {
                    h1 { (self.title) }
                    pre { (self.command) }
                    @for chart in &charts { (PreEscaped(chart)) }
                    @if !marks.is_empty() {
                        ol { @for mark in &marks {
                            li { (format!("{:.1} s: {}", mark.at.as_secs_f64(), mark.label)) }
                        } }
                    }
                    @if !self.note.is_empty() { p { (self.note) } }
                    @for table in &self.tables { (drawn_table(table)) }
                }
            }
        };
        Ok(page.into_string())
    }

    /// Draws the page into a file.
    ///
    /// # Errors
    /// When a chart cannot be drawn or the file not be written.
    pub fn write(&self, record: &Record, path: &Path) -> Result<(), HarnessError> {
        let page = self.html(record)?;
        std::fs::write(path, page).map_err(HarnessError::io(format!("write {}", path.display())))
    }
}

fn drawn_table(table: &Table) -> Markup {
    html! {
        h2 { (table.heading) }
        table {
            tr { @for column in &table.columns { th { (column) } } }
            @for row in &table.rows { tr { @for cell in row { td { (cell) } } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;

    use super::*;
    use crate::load::{Answer, Verdict};

    #[test]
    fn a_page_shows_charts_marks_and_tables_and_escapes_what_it_is_given() {
        let record = Record::default();
        for second in 0..5 {
            let due = record.began() + Duration::from_secs(second);
            record.note(due, Answer::at_once(Verdict::Done));
            record.note(due, Answer::at_once(Verdict::Failed(Code::Unavailable)));
        }
        record.mark("roll <order-service>");
        let table = Table {
            heading: "figures".to_owned(),
            columns: vec!["what".to_owned(), "much".to_owned()],
            rows: vec![vec!["p99".to_owned(), "7 ms".to_owned()]],
        };
        let page = Page {
            title: "a & b".to_owned(),
            command: "load".to_owned(),
            note: "no book was read".to_owned(),
            tables: vec![table],
        };
        let html = page.html(&record).unwrap();
        assert_eq!(html.matches("<svg").count(), 2);
        for shown in [
            "a &amp; b",
            "roll &lt;order-service&gt;",
            "failed/s",
            "p99 ms",
            "7 ms",
            "<p>no book was read</p>",
        ] {
            assert!(html.contains(shown), "{shown} is not shown");
        }
        assert!(!html.contains("http://") || html.contains("xmlns"), "nothing is fetched");
    }

    #[test]
    fn a_record_without_requests_can_be_drawn() {
        assert!(Page::default().html(&Record::default()).is_ok());
    }
}
