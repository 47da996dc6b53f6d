//! Numbers as people read them, and round ticks for axes.

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    Bytes,
    BytesPerSecond,
    /// From 0 to 1, shown in percent.
    Share,
    Seconds,
    /// CPUs, threads.
    Count,
}

/// The largest binary unit in which a size is at least 1, and its number of bytes.
fn binary_unit(bytes: f64) -> (f64, &'static str) {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut scale = 1.0;
    for unit in units.iter().take(units.len() - 1) {
        if bytes < scale * 1024.0 {
            return (scale, unit);
        }
        scale *= 1024.0;
    }
    (scale, "PiB")
}

/// Three digits: `1.23`, `12.3`, `123`, without zeros at the end.
fn digits(value: f64) -> String {
    let places = match value.abs() {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

impl Quantity {
    /// `412 MiB`, `3.2 %`, `18 ms`.
    pub(super) fn text(self, value: f64) -> String {
        match self {
            Self::Bytes | Self::BytesPerSecond => {
                let (scale, unit) = binary_unit(value.abs());
                let rate = if self == Self::BytesPerSecond { "/s" } else { "" };
                format!("{} {unit}{rate}", digits(value / scale))
            }
            Self::Share if value > 0.0 && value < 0.0005 => "<0.1 %".to_owned(),
            Self::Share => {
                let percent = value * 100.0;
                let places = if percent < 9.95 { 1 } else { 0 };
                let text = format!("{percent:.places$}");
                format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
            }
            Self::Seconds if value == 0.0 => "0".to_owned(),
            Self::Seconds if value < 0.000_999_5 => format!("{} µs", digits(value * 1e6)),
            Self::Seconds if value < 0.999_5 => format!("{} ms", digits(value * 1e3)),
            Self::Seconds => format!("{} s", digits(value)),
            Self::Count => digits(value),
        }
    }

    /// Base of the steps between ticks: sizes have steps of powers of 2.
    fn step(self, at_least: f64) -> f64 {
        match self {
            Self::Bytes | Self::BytesPerSecond => {
                let (scale, _) = binary_unit(at_least);
                // 1024 of a unit is 1 of the next.
                let wanted = at_least / scale;
                let round = [
                    1.0, 2.0, 4.0, 5.0, 8.0, 10.0, 16.0, 20.0, 32.0, 40.0, 50.0, 64.0, 100.0, 128.0, 200.0, 256.0,
                    512.0,
                ];
                round.into_iter().find(|step| *step >= wanted).unwrap_or(1024.0) * scale
            }
            _ => {
                let decade = 10_f64.powf(at_least.log10().floor());
                let round = [1.0, 2.0, 2.5, 5.0, 10.0];
                round
                    .into_iter()
                    .map(|step| step * decade)
                    .find(|step| *step >= at_least * 0.999_999)
                    .unwrap_or(decade * 10.0)
            }
        }
    }
}

/// Evenly spaced round values from 0 to at least the highest value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ticks {
    pub(super) step: f64,
    pub(super) intervals: u32,
}

/// Most intervals of an axis.
const INTERVALS: f64 = 4.0;

impl Ticks {
    /// For values up to `highest`; at least up to `least`.
    pub(super) fn new(quantity: Quantity, highest: f64, least: f64) -> Self {
        let highest = if highest.is_finite() { highest.max(least) } else { least };
        let step = quantity.step(highest / INTERVALS);
        let intervals = (highest / step - 1e-6).ceil().clamp(1.0, 8.0) as u32;
        Self { step, intervals }
    }

    /// The end of the axis.
    pub(super) fn end(&self) -> f64 {
        self.step * f64::from(self.intervals)
    }

    /// The values, highest first.
    pub(super) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        (0..=self.intervals).rev().map(|tick| self.step * f64::from(tick))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_units() {
        for (quantity, value, expected) in [
            (Quantity::Bytes, 0.0, "0 B"),
            (Quantity::Bytes, 1023.0, "1023 B"),
            (Quantity::Bytes, 1536.0, "1.5 KiB"),
            (Quantity::Bytes, 432_013_312.0, "412 MiB"),
            (Quantity::BytesPerSecond, 1.25 * 1_073_741_824.0, "1.25 GiB/s"),
            (Quantity::Share, 0.0, "0 %"),
            (Quantity::Share, 0.0001, "<0.1 %"),
            (Quantity::Share, 0.0321, "3.2 %"),
            (Quantity::Share, 0.9996, "100 %"),
            (Quantity::Seconds, 0.0, "0"),
            (Quantity::Seconds, 0.000_25, "250 µs"),
            (Quantity::Seconds, 0.018, "18 ms"),
            (Quantity::Seconds, 1.5, "1.5 s"),
            (Quantity::Count, 1.234, "1.23"),
            (Quantity::Count, 412.0, "412"),
        ] {
            assert_eq!(quantity.text(value), expected, "{quantity:?} {value}");
        }
    }

    #[test]
    fn ticks_are_round_and_reach_the_highest_value() {
        const MIB: f64 = 1_048_576.0;
        for (quantity, highest, end, intervals) in [
            (Quantity::Bytes, 256.0 * MIB, 256.0 * MIB, 4),
            (Quantity::Bytes, 300.0 * MIB, 300.0 * MIB, 3),
            (Quantity::Bytes, 1000.0 * MIB, 1024.0 * MIB, 4),
            (Quantity::Bytes, 3000.0 * MIB, 3072.0 * MIB, 3),
            (Quantity::Share, 0.034, 0.04, 4),
            (Quantity::Share, 1.0, 1.0, 4),
            (Quantity::Seconds, 0.007, 0.008, 4),
            (Quantity::Count, 27.0, 30.0, 3),
            (Quantity::Count, f64::NAN, 1.0, 4),
        ] {
            let ticks = Ticks::new(quantity, highest, if highest.is_nan() { 1.0 } else { 0.0 });
            assert!((ticks.end() - end).abs() < end * 1e-6, "{quantity:?} {highest}: {ticks:?}");
            assert_eq!(ticks.intervals, intervals, "{quantity:?} {highest}");
            assert_eq!(ticks.values().count() as u32, intervals + 1);
        }
    }
}
