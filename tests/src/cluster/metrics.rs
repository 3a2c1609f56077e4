//! Just enough of Prometheus' text format to read a counter.

/// The sum over the series of a name that have all of these labels.
pub(crate) fn sum(page: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let value = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (called, rest) = series.split_once('{').unwrap_or((series, ""));
        let has = |(label, value): &(&str, &str)| rest.contains(&format!("{label}=\"{value}\""));
        let wanted = called == name && labels.iter().all(has);
        wanted.then(|| value.parse().ok()).flatten()
    };
    page.lines().filter_map(value).fold(0.0, |sum, value: f64| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name_and_labels() {
        let page = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"2\",y=\"2\"} 4\nab 50\nb 7\n";
        assert_eq!(sum(page, "a", &[]), 7.0);
        assert_eq!(sum(page, "a", &[("x", "1")]), 3.0);
        assert_eq!(sum(page, "a", &[("y", "2"), ("x", "2")]), 4.0);
        assert_eq!(sum(page, "b", &[]), 7.0);
        assert_eq!(sum(page, "c", &[]), 0.0);
    }
}
