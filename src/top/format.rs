//! Values in as few characters as a column has.

/// A size with three digits and the letter of its binary unit: `512M`, `1.50G`.
pub(super) fn size(bytes: f64) -> String {
    let (mut scaled, mut unit) = (bytes.max(0.0), 0);
    let units = ["", "K", "M", "G", "T", "P", "E"];
    while scaled >= 1024.0 && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{}{}", digits(scaled, unit > 0), units[unit])
}

/// Three digits of a number, with as many decimals as they leave room for.
fn digits(value: f64, has_decimals: bool) -> String {
    match value {
        _ if !has_decimals => format!("{value:.0}"),
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A share from 0 to 1 in percent, without the sign: `0.3`, `12.5`, `100`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 99.95 { format!("{percent:.1}") } else { format!("{percent:.0}") }
}

/// A short time with its unit: `350us`, `12.5ms`, `1.20s`.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.000_999_5 => format!("{:.0}us", seconds * 1e6),
        seconds if seconds < 0.999_5 => format!("{}ms", digits(seconds * 1e3, true)),
        seconds => format!("{}s", digits(seconds, true)),
    }
}

/// A small number, such as that of CPUs in use: `0.03`, `12.5`.
pub(super) fn number(value: f64) -> String {
    digits(value, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits() {
        for (bytes, expected) in [
            (-1.0, "0"),
            (0.0, "0"),
            (1023.0, "1023"),
            (1024.0, "1.00K"),
            (14_064_760.0, "13.4M"),
            (536_870_912.0, "512M"),
            (1_610_612_736.0, "1.50G"),
            (f64::MAX, &*format!("{:.0}E", f64::MAX / 1024_f64.powi(6))),
        ] {
            assert_eq!(size(bytes), expected);
        }
        for (share, expected) in [(0.0, "0.0"), (0.1254, "12.5"), (0.999, "99.9"), (0.9996, "100"), (1.0, "100")] {
            assert_eq!(percent(share), expected);
        }
        for (seconds, expected) in [
            (0.0, "0us"),
            (0.000_35, "350us"),
            (0.001_2, "1.20ms"),
            (0.0125, "12.5ms"),
            (0.9999, "1.00s"),
            (75.0, "75.0s"),
        ] {
            assert_eq!(time(seconds), expected);
        }
        for (value, expected) in [(0.03, "0.03"), (12.46, "12.5"), (128.0, "128")] {
            assert_eq!(number(value), expected);
        }
    }
}
