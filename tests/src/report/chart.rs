//! A timeline drawn as SVG: requests a second, latency, failures, with a line at every mark.

use std::time::Duration;

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::load::{Mark, Second};

const WIDTH: u32 = 1_100;
const HEIGHT: u32 = 260;
const LEFT: i32 = 64;
const FONT: (&str, i32) = ("sans-serif", 13);
const MARKED: RGBColor = RGBColor(150, 150, 150);
/// What a logarithmic axis shows for nothing.
const LATENCY_MIN_MS: f64 = 0.1;

/// A line of a chart: its name, its colour, and a value for each second.
type Line<'a> = (&'a str, RGBColor, Vec<f64>);
type DrawError = Box<dyn std::error::Error>;

/// Requests answered a second, and failures among them.
pub(super) fn throughput(seconds: &[Second], marks: &[Mark]) -> Result<String, DrawError> {
    let answered = seconds.iter().map(|second| as_f64(second.requests())).collect();
    let failed = seconds.iter().map(|second| as_f64(second.failed())).collect();
    let lines = [("requests/s", BLUE, answered), ("failed/s", RED, failed)];
    let top = highest(&lines).max(1.0) * 1.1;
    draw("requests due in each second", &lines, marks, (0.0, top), 0.0..top)
}

/// Median, p99 and the slowest, in milliseconds, on a logarithmic axis.
pub(super) fn latency(seconds: &[Second], marks: &[Mark]) -> Result<String, DrawError> {
    let of = |quantile| {
        seconds.iter().map(|second| second.quantile_ms(quantile).max(LATENCY_MIN_MS)).collect()
    };
    let lines =
        [("p50 ms", GREEN, of(0.5)), ("p99 ms", BLUE, of(0.99)), ("slowest ms", RED, of(1.0))];
    let top = highest(&lines).max(1.0) * 1.5;
    let (ends, axis) = ((LATENCY_MIN_MS, top), (LATENCY_MIN_MS..top).log_scale());
    draw("latency of the requests due in each second", &lines, marks, ends, axis)
}

fn draw<Y>(
    title: &str,
    lines: &[Line<'_>],
    marks: &[Mark],
    (bottom, top): (f64, f64),
    axis: Y,
) -> Result<String, DrawError>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let length = lines.iter().map(|(_, _, values)| values.len()).max().unwrap_or(0).max(1);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption(title, FONT)
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..index_to_seconds(length), axis)?;
        chart.configure_mesh().light_line_style(TRANSPARENT).x_desc("s").draw()?;
        for (number, mark) in marks.iter().enumerate() {
            let x = mark.at.as_secs_f64();
            let line = [(x, bottom), (x, top)];
            chart.draw_series(std::iter::once(PathElement::new(line, MARKED)))?;
            let label = Text::new((number + 1).to_string(), (x, top), FONT);
            chart.draw_series(std::iter::once(label))?;
        }
        for (name, colour, values) in lines {
            let points =
                values.iter().enumerate().map(|(at, value)| (index_to_seconds(at), *value));
            let colour = *colour;
            chart
                .draw_series(LineSeries::new(points, colour))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour));
        }
        let legend = SeriesLabelPosition::UpperLeft;
        chart.configure_series_labels().position(legend).background_style(WHITE.mix(0.8)).draw()?;
        area.present()?;
    }
    Ok(svg)
}

fn highest(lines: &[Line<'_>]) -> f64 {
    lines.iter().flat_map(|(_, _, values)| values).copied().fold(0.0, f64::max)
}

fn index_to_seconds(index: usize) -> f64 {
    Duration::from_secs(u64::try_from(index).expect("a day of seconds at most")).as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests in a second")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
