//! A timeline drawn as SVG: requests per second, latency, failures, with a line at every mark.
//!
//! Colours are classes of the page's style, so that a chart follows the reader's light or dark mode. Legend and
//! title stand beside the drawing, never on the data.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::axis::{Axis, written};
use crate::load::{Mark, Second};

const WIDTH: f64 = 1_100.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
/// Room for the marks' numbers.
const TOP: f64 = 24.0;
/// Room for the ticks' numbers and the axis' title below them.
const BOTTOM: f64 = 44.0;
/// Where a second without an answer lies on a logarithmic axis.
const LATENCY_MIN_MS: f64 = 0.1;

/// A line of a chart.
struct Line {
    name: &'static str,
    class: &'static str,
    /// One value for each second.
    values: Vec<f64>,
}

/// Requests per second, and failures among them.
pub(super) fn throughput(seconds: &[Second], marks: &[Mark]) -> Markup {
    let of =
        |count: fn(&Second) -> u64| seconds.iter().map(|second| as_f64(count(second))).collect();
    let lines = [
        Line { name: "failed", class: "line red", values: of(Second::failed) },
        Line { name: "requests", class: "line blue", values: of(Second::requests) },
    ];
    let axis = Axis::linear(values(&lines));
    drawn("Requests due in each second", &lines, marks, axis)
}

/// Median, p99 and the slowest, in milliseconds, on a logarithmic axis.
pub(super) fn latency(seconds: &[Second], marks: &[Mark]) -> Markup {
    let of = |quantile| {
        seconds.iter().map(|second| second.quantile_ms(quantile).max(LATENCY_MIN_MS)).collect()
    };
    // What is drawn last lies on top, so the slowest, which is the most ragged, comes first.
    let lines = [
        Line { name: "slowest", class: "line thin orange", values: of(1.0) },
        Line { name: "p99", class: "line blue", values: of(0.99) },
        Line { name: "p50", class: "line green", values: of(0.5) },
    ];
    let axis = Axis::log(values(&lines), LATENCY_MIN_MS);
    drawn("Latency of the requests due in each second, in milliseconds", &lines, marks, axis)
}

fn drawn(title: &str, lines: &[Line], marks: &[Mark], axis: Axis) -> Markup {
    let seconds = lines.iter().map(|line| line.values.len()).max().unwrap_or(0).max(2);
    let last = as_f64(u64::try_from(seconds - 1).unwrap_or(u64::MAX));
    let x = |second: f64| LEFT + (WIDTH - LEFT - RIGHT) * (second / last).clamp(0.0, 1.0);
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * axis.place(value);

    html! {
        h2 { (title) }
        div.legend {
            @for line in lines.iter().rev() { span { i class=(line.class) {} (line.name) } }
            @if !marks.is_empty() { span { "1, 2, …: events, listed below" } }
        }
        div.wide { svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) {
            @for tick in axis.ticks() {
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(at(y(tick))) y2=(at(y(tick))) {}
                text x=(LEFT - 8.0) y=(at(y(tick) + 4.0)) text-anchor="end" { (written(tick)) }
            }
            @for tick in Axis::Linear(last).ticks() {
                text x=(at(x(tick))) y=(HEIGHT - BOTTOM + 18.0) text-anchor="middle" { (written(tick)) }
            }
            text x=((LEFT + WIDTH - RIGHT) / 2.0) y=(HEIGHT - 6.0) text-anchor="middle" { "seconds since the start" }
            @for (number, mark) in marks.iter().enumerate() {
                @let of_mark = at(x(mark.at.as_secs_f64()));
                line.mark x1=(of_mark) x2=(of_mark) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
                text x=(of_mark) y=(TOP - 8.0) text-anchor="middle" { (number + 1) title { (mark.label) } }
            }
            @for line in lines {
                path class=(line.class) d=(path(&line.values, x, y)) { title { (line.name) } }
            }
        } }
    }
}

fn path(values: &[f64], x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    for (second, value) in (0_u64..).zip(values) {
        let command = if second == 0 { 'M' } else { 'L' };
        let _infallible = write!(path, "{command}{} {}", at(x(as_f64(second))), at(y(*value)));
    }
    path
}

/// A coordinate: a tenth of a pixel is more than anybody sees.
fn at(coordinate: f64) -> String {
    format!("{coordinate:.1}")
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    lines.iter().flat_map(|line| &line.values).copied()
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests, and of seconds")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
