//! Records observations in a bounded number of base-2 exponential buckets.

use std::sync::LazyLock;

use crate::metric::Exponential;

/// Finest resolution: each bucket is 2.2 % wide.
pub(crate) const SCHEMA: i32 = 5;

/// Most buckets of one histogram; a wider range halves the resolution. 160 buckets cover five powers of two at schema
/// 5, ten at schema 4.
const BUCKETS: usize = 160;

/// The coarsest schema of Prometheus.
const COARSEST: i32 = -4;

/// Observations up to this count as zero: the threshold of Prometheus' Go client, 2^-128.
const ZERO: f64 = 2.938_735_877_055_719e-39;

/// Buckets per power of two at [`SCHEMA`].
const PER_POWER: usize = 1 << SCHEMA;

/// Upper bounds of the buckets of `[0.5, 1)`, starting with 0.5. Comparing with them, as Prometheus does, puts an exact
/// power into the bucket that it bounds; a logarithm may not.
static BOUNDS: LazyLock<[f64; PER_POWER]> =
    LazyLock::new(|| std::array::from_fn(|at| (at as f64 / PER_POWER as f64).exp2() / 2.0));

/// Empty buckets.
pub(crate) fn empty() -> Exponential {
    Exponential { schema: SCHEMA, zero_count: 0, zero_threshold: ZERO, offset: 0, counts: Vec::new() }
}

/// Counts `value` that many times. A value that is not a positive finite number counts as zero.
pub(crate) fn record(into: &mut Exponential, value: f64, times: u64) {
    if !(value > into.zero_threshold && value.is_finite()) {
        into.zero_count = into.zero_count.saturating_add(times);
        return;
    }
    let finest = index(value);
    loop {
        let at = coarsen(finest, SCHEMA.saturating_sub(into.schema));
        let first = if into.counts.is_empty() { at } else { into.offset.min(at) };
        let end = into.offset.saturating_add_unsigned(u32::try_from(into.counts.len()).unwrap_or(u32::MAX));
        let last = if into.counts.is_empty() { at } else { end.saturating_sub(1).max(at) };
        let span = usize::try_from(last.saturating_sub(first)).unwrap_or(usize::MAX).saturating_add(1);
        if span > BUCKETS && into.schema > COARSEST {
            halve(into);
            continue;
        }
        let before = usize::try_from(into.offset.saturating_sub(first)).unwrap_or(0);
        if !into.counts.is_empty() && before > 0 {
            into.counts.splice(0..0, std::iter::repeat_n(0, before));
        }
        into.counts.resize(span, 0);
        into.offset = first;
        let bucket = usize::try_from(at.saturating_sub(first)).unwrap_or(0);
        if let Some(count) = into.counts.get_mut(bucket) {
            *count = count.saturating_add(times);
        }
        return;
    }
}

/// Number of the bucket `(2^((i-1)/32), 2^(i/32)]` that holds a positive finite value.
fn index(value: f64) -> i32 {
    let (fraction, exponent) = split(value);
    let within = BOUNDS.partition_point(|bound| *bound < fraction);
    let powers = exponent.saturating_sub(1).saturating_mul(1 << SCHEMA);
    powers.saturating_add(i32::try_from(within).unwrap_or(0))
}

/// A positive finite number as `fraction * 2^exponent` with the fraction in `[0.5, 1)`.
fn split(value: f64) -> (f64, i32) {
    const MANTISSA: u64 = (1 << 52) - 1;
    let (scaled, shift) = if value.is_normal() { (value, 0) } else { (value * 2f64.powi(64), 64) };
    let bits = scaled.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    (f64::from_bits((bits & MANTISSA) | (1022 << 52)), exponent.saturating_sub(1022).saturating_sub(shift))
}

/// The number, at a schema lower by `steps`, of the bucket that holds bucket `index`.
pub(crate) fn coarsen(index: i32, steps: i32) -> i32 {
    (0..steps).fold(index, |index, _| index.saturating_add(1) >> 1)
}

/// Merges every two buckets.
fn halve(buckets: &mut Exponential) {
    let offset = coarsen(buckets.offset, 1);
    let mut merged: Vec<u64> = Vec::with_capacity(buckets.counts.len().div_ceil(2).saturating_add(1));
    for (index, count) in (buckets.offset..).zip(&buckets.counts) {
        let at = usize::try_from(coarsen(index, 1).saturating_sub(offset)).unwrap_or(0);
        merged.resize(merged.len().max(at.saturating_add(1)), 0);
        if let Some(into) = merged.get_mut(at) {
            *into = into.saturating_add(*count);
        }
    }
    buckets.offset = offset;
    buckets.counts = merged;
    buckets.schema = buckets.schema.saturating_sub(1);
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )]
    use proptest::prelude::*;

    use super::*;

    /// The definition: `(b^(i-1), b^i]` with `b = 2^(2^-schema)`.
    fn bound(index: i32, schema: i32) -> f64 {
        (f64::from(index) * (-f64::from(schema)).exp2()).exp2()
    }

    #[test]
    fn exact_powers_are_the_upper_bound_of_their_bucket() {
        for power in -40..40 {
            let value = 2f64.powi(power);
            assert_eq!(index(value), power * 32, "2^{power}");
            assert_eq!(index(value.next_up()), power * 32 + 1, "just above 2^{power}");
            assert_eq!(index(value.next_down()), power * 32, "just below 2^{power}");
            for schema in COARSEST..SCHEMA {
                let expected = (f64::from(power) * f64::from(schema).exp2()).ceil() as i32;
                assert_eq!(coarsen(power * 32, SCHEMA - schema), expected, "2^{power} at schema {schema}");
            }
        }
    }

    #[test]
    fn values_that_are_not_positive_and_finite_count_as_zero() {
        let mut buckets = empty();
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-40] {
            record(&mut buckets, value, 2);
        }
        assert_eq!((buckets.zero_count, buckets.counts.len()), (10, 0));
    }

    #[test]
    fn a_wide_range_lowers_the_resolution_and_keeps_every_observation() {
        let mut buckets = empty();
        let values: Vec<f64> = (0..40).map(|power| 1e-6 * 2f64.powi(power)).collect();
        for value in values.iter().rev().chain(&values) {
            record(&mut buckets, *value, 1);
        }
        assert!(buckets.counts.len() <= BUCKETS && buckets.schema == 2, "{buckets:?}");
        assert_eq!(buckets.counts.iter().sum::<u64>(), 80);
        for value in values {
            let at = (0..).find(|at| value <= bound(buckets.offset + at, buckets.schema)).unwrap();
            assert!(buckets.counts[usize::try_from(at).unwrap()] > 0, "{value}");
        }
    }

    proptest! {
        #[test]
        fn every_value_lies_in_its_bucket(value in 1e-9f64..1e5) {
            let at = index(value);
            prop_assert!(bound(at - 1, SCHEMA) < value * (1.0 + 1e-14) && value * (1.0 - 1e-14) <= bound(at, SCHEMA));
        }
    }
}
