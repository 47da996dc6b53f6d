//! The counters of one image by name: their offsets, and formulas over them. A missing counter gives `None`.

use std::borrow::Cow;

use super::text_counter::TextCounter;
use crate::fact::{Formula, Scale};
use crate::perfdata::Image;

/// `sun.os.hrt.frequency`; `None` while the JVM has not written it: since JDK 17 the region is readable before that,
/// also while agents start.
pub(crate) fn ticks_per_second(image: &Image) -> Option<f64> {
    image.word("sun.os.hrt.frequency").filter(|hertz| *hertz > 0).map(|hertz| hertz as f64)
}

/// The counters of one JVM.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters<'a> {
    image: &'a Image,
    frequency: Option<f64>,
}

impl<'a> Counters<'a> {
    pub(super) fn of(image: &'a Image) -> Self {
        Self { image, frequency: ticks_per_second(image) }
    }

    /// See [`ticks_per_second`].
    pub(super) fn frequency(&self) -> Option<f64> {
        self.frequency
    }

    /// The byte offset of a number.
    pub(super) fn offset(&self, name: &str) -> Option<u32> {
        self.image.entry(name).filter(|entry| entry.is_word()).map(|entry| entry.offset)
    }

    /// The byte offsets of all of these numbers.
    pub(super) fn all<const N: usize>(&self, names: [&str; N]) -> Option<[u32; N]> {
        self.offsets(&names)?.try_into().ok()
    }

    /// A string in the image.
    pub(super) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.image.text(name)
    }

    /// A string as it changes in the region.
    pub(super) fn text_counter(&self, name: &str) -> Option<TextCounter> {
        let entry = self.image.entry(name).filter(|entry| entry.is_text())?;
        Some(TextCounter::new(entry.offset, entry.vector_length, self.image.prologue.byte_order))
    }

    /// A number, unscaled.
    pub(super) fn word(&self, name: &str) -> Option<Formula> {
        self.sum(&[name], &[])
    }

    /// A number, unscaled; absent while it is 0.
    pub(super) fn nonzero(&self, name: &str) -> Option<Formula> {
        Some(Formula::FirstNonZero([self.offset(name)?].into(), Scale::One))
    }

    /// Ticks as seconds; `None` while the frequency is unknown.
    pub(super) fn seconds(&self, name: &str) -> Option<Formula> {
        self.seconds_of(&[name], &[])
    }

    /// Ticks added and subtracted, as seconds; `None` while the frequency is unknown.
    pub(super) fn seconds_of(&self, added: &[&str], subtracted: &[&str]) -> Option<Formula> {
        let scale = Scale::Ratio(1.0, self.frequency?);
        Some(Formula::sum(&self.offsets(added)?, &self.offsets(subtracted)?, scale))
    }

    /// Numbers added and subtracted, unscaled.
    pub(super) fn sum(&self, added: &[&str], subtracted: &[&str]) -> Option<Formula> {
        Some(Formula::sum(&self.offsets(added)?, &self.offsets(subtracted)?, Scale::One))
    }

    fn offsets(&self, names: &[&str]) -> Option<Vec<u32>> {
        names.iter().map(|name| self.offset(name)).collect()
    }
}
