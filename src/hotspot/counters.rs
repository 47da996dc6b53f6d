//! Formulas over the counters of one image, by name. A counter that is not there makes no formula.

use std::borrow::Cow;

use super::text_counter::TextCounter;
use crate::fact::{Formula, Scale, Term};
use crate::perfdata::Image;

/// `sun.os.hrt.frequency`; `None` while the JVM has not written it: on JDK 17 and later the region is readable before
/// that, and is so while agents start.
pub fn ticks_per_second(image: &Image) -> Option<f64> {
    image.word("sun.os.hrt.frequency").filter(|hertz| *hertz > 0).map(|hertz| hertz as f64)
}

/// The counters of one JVM.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters<'a> {
    image: &'a Image,
    /// Ticks per second.
    frequency: Option<f64>,
}

impl<'a> Counters<'a> {
    pub(super) fn of(image: &'a Image) -> Self {
        Self { image, frequency: ticks_per_second(image) }
    }

    /// Where the number of that name lies.
    pub(super) fn offset(&self, name: &str) -> Option<u32> {
        self.image.entry(name).filter(|entry| entry.is_word()).map(|entry| entry.offset)
    }

    pub(super) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.image.text(name)
    }

    /// Ticks per second; `None` while the JVM has not written it.
    pub(super) fn frequency(&self) -> Option<f64> {
        self.frequency
    }

    /// Where the string of that name lies.
    pub(super) fn text_counter(&self, name: &str) -> Option<TextCounter> {
        let entry = self.image.entry(name).filter(|entry| entry.is_text())?;
        Some(TextCounter::new(entry.offset, entry.vector_length, self.image.prologue.byte_order))
    }

    /// The number of that name as it is.
    pub(super) fn word(&self, name: &str) -> Option<Formula> {
        Some(Formula::Word(self.offset(name)?, Scale::One))
    }

    /// The number of that name, absent while it is 0.
    pub(super) fn nonzero(&self, name: &str) -> Option<Formula> {
        Some(Formula::FirstNonZero([self.offset(name)?].into(), Scale::One))
    }

    /// The ticks of that name as seconds; nothing while their frequency is unknown.
    pub(super) fn seconds(&self, name: &str) -> Option<Formula> {
        self.seconds_of(&[name], &[])
    }

    /// Ticks added and subtracted, as seconds.
    pub(super) fn seconds_of(&self, plus: &[&str], minus: &[&str]) -> Option<Formula> {
        let scale = Scale::Ratio(1.0, self.frequency?);
        match (plus, minus) {
            ([name], []) => Some(Formula::Word(self.offset(name)?, scale)),
            _ => Some(Formula::Sum(self.terms(plus, minus)?, scale)),
        }
    }

    /// Numbers added and subtracted.
    pub(super) fn sum(&self, plus: &[&str], minus: &[&str]) -> Option<Formula> {
        Some(Formula::Sum(self.terms(plus, minus)?, Scale::One))
    }

    fn terms(&self, plus: &[&str], minus: &[&str]) -> Option<Box<[Term]>> {
        let signed = plus.iter().map(|name| (name, false)).chain(minus.iter().map(|name| (name, true)));
        signed.map(|(name, negative)| Some(Term { word: self.offset(name)?, negative })).collect()
    }
}
