//! Java versions.

/// The feature release of `java.version` or `java.vm.specification.version`: 8 of `1.8.0_504` and `1.8`, 11 of
/// `11.0.33-ea`, 27 of `27` (JEP 223 changed the scheme in JDK 9).
pub(super) fn feature(version: &str) -> Option<u32> {
    let version = version.strip_prefix("1.").unwrap_or(version);
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn feature_release() {
        let table = [
            ("1.8.0_504", Some(8)),
            ("1.8", Some(8)),
            ("9-internal", Some(9)),
            ("11.0.33-ea", Some(11)),
            ("21.0.13.0.3", Some(21)),
            ("25.0.3", Some(25)),
            ("27", Some(27)),
            ("1", Some(1)),
            ("", None),
            ("unknown", None),
            ("99999999999", None),
        ];
        for (version, expected) in table {
            assert_eq!(super::feature(version), expected, "{version}");
        }
    }
}
