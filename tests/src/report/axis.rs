//! The scale of an axis: where a value lies, and which values are written beside it.

/// At most this many steps are written on a linear axis.
const STEPS_MAX: f64 = 5.0;

/// From the bottom of a chart to its top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Axis {
    /// From 0 to this value.
    Linear(f64),
    /// Between two powers of ten, in which a factor is a distance.
    Log(f64, f64),
}

impl Axis {
    /// An axis from 0 on which all values have room.
    pub(super) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let highest = values.fold(1.0, f64::max);
        let step = step(highest);
        Self::Linear((highest / step).ceil() * step)
    }

    /// An axis of powers of ten on which all values have room; none is below `least`.
    pub(super) fn log(values: impl Iterator<Item = f64>, least: f64) -> Self {
        let (mut low, mut high) = (f64::MAX, least);
        for value in values {
            low = low.min(value.max(least));
            high = high.max(value);
        }
        let low = 10_f64.powf(low.min(high).log10().floor());
        let high = 10_f64.powf(high.log10().ceil());
        Self::Log(low, high.max(low * 10.0))
    }

    /// Where a value lies: 0 at the bottom, 1 at the top.
    pub(super) fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear(top) => value / top,
            Self::Log(low, high) => (value.max(low) / low).log10() / (high / low).log10(),
        };
        place.clamp(0.0, 1.0)
    }

    /// The values that are written.
    pub(super) fn ticks(self) -> Vec<f64> {
        let next = |value: f64| match self {
            Self::Linear(top) => value + step(top),
            Self::Log(..) => value * 10.0,
        };
        let (first, top) = match self {
            Self::Linear(top) => (0.0, top),
            Self::Log(low, high) => (low, high),
        };
        // A sum of steps misses the top by a rounding error.
        std::iter::successors(Some(first), |tick| Some(next(*tick)))
            .take_while(|tick| *tick <= top * 1.000_001)
            .collect()
    }
}

/// A value as it is written: no more digits than it needs.
pub(super) fn written(value: f64) -> String {
    format!("{}", (value * 1000.0).round() / 1000.0)
}

/// 1, 2 or 5 times a power of ten, at least 1, so that few steps reach `highest`.
fn step(highest: f64) -> f64 {
    let rough = highest / STEPS_MAX;
    let power = 10_f64.powf(rough.log10().floor());
    let factor =
        [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999_999);
    (factor.unwrap_or(10.0) * power).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_ends_on_a_step_above_every_value() {
        let axis = Axis::linear([3.0, 2_950.0].into_iter());
        assert_eq!(axis, Axis::Linear(3_000.0));
        assert_eq!(axis.ticks(), [0.0, 1_000.0, 2_000.0, 3_000.0]);
        assert_eq!(Axis::linear([0.2].into_iter()).ticks(), [0.0, 1.0]);
    }

    #[test]
    fn a_logarithmic_axis_spans_whole_powers_of_ten() {
        let axis = Axis::log([3.2, 541.0].into_iter(), 0.1);
        assert_eq!(axis.ticks(), [1.0, 10.0, 100.0, 1_000.0]);
        assert!((axis.place(10.0) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn an_axis_of_nothing_can_be_drawn() {
        assert_eq!(Axis::linear(std::iter::empty()).ticks(), [0.0, 1.0]);
        assert_eq!(Axis::log(std::iter::empty(), 0.1).ticks(), [0.1, 1.0]);
    }

    #[test]
    fn a_value_is_written_without_needless_digits() {
        assert_eq!([0.1, 10.0, 1_000.0].map(written), ["0.1", "10", "1000"]);
    }
}
