//! Arithmetic over the words of a JVM: [`crate::hotspot`] derives formulas, [`crate::rules`] plans them, and the
//! outputs evaluate them.

use std::hash::{Hash, Hasher};

use crate::metric::Value;

/// A value as arithmetic over words.
///
/// In a [`Fact`](super::Fact) a word is named by its byte offset in the region; in a plan, by its index among the words
/// that are read for the JVM. [`Formula::map_words`] translates.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Formula {
    /// Known when the plan is made.
    Constant(Value),
    /// 1 while the JVM's region can be read, 0 while it cannot; absent once the JVM has ended.
    Up,
    /// One word, scaled.
    Word(u32, Scale),
    /// Words added and subtracted as integers, then scaled.
    Sum(Box<[Term]>, Scale),
    /// The first of these words that is not 0, scaled; absent while all are 0.
    FirstNonZero(Box<[u32]>, Scale),
    /// For pairs of words `(test, value)`: the value of the first pair whose test is not 0, else of the last pair,
    /// scaled.
    SelectNonZero(Box<[(u32, u32)]>, Scale),
    /// The formula; absent while the word is 0.
    IfNonZero(u32, Box<Formula>),
    /// The sum of the parts; absent while any of them is.
    Total(Box<[Formula]>),
    /// A number, scaled.
    Scaled(Box<Formula>, Scale),
    /// The first divided by the second; absent where that is 0.
    Ratio(Box<(Formula, Formula)>),
    /// The time since a moment in seconds since the epoch.
    Age(Box<Formula>),
    /// A count and a sum, for summaries.
    Summary(Box<(Formula, Formula)>),
    /// A value that a [`Provider`](super::Provider) publishes for the JVM.
    Published(PublishedId, Since),
}

/// The moment at which a cumulative value is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Since {
    /// The JVM's start.
    Start,
    /// When the exporter attached its providers to the JVM.
    Attached,
    /// An unknown time before the JVM's start: the count includes what other processes did.
    Before,
}

/// A word with its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    /// Which word.
    pub word: u32,
    /// Subtracted instead of added.
    pub negative: bool,
}

/// Names a value that a provider publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublishedId {
    /// The provider.
    pub provider: ProviderId,
    /// Index among its values.
    pub index: u32,
}

/// The parts of the program that publish values of a JVM that are not in its region. Their text follows "from".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::EnumCount)]
pub enum ProviderId {
    /// The JVM's answers over its attach socket, without those of Native Memory Tracking.
    #[strum(to_string = "the attach socket")]
    Diagnostics,
    /// Fields in the JVM's memory that vmStructs describes.
    #[strum(to_string = "the process's memory")]
    Introspection,
    /// Native Memory Tracking.
    #[strum(to_string = "native memory tracking")]
    Nmt,
    /// /proc and cgroup.
    #[strum(to_string = "/proc and cgroup")]
    Process,
    /// The sampler: pauses, peaks, allocation.
    #[strum(to_string = "samples")]
    Sampler,
}

/// Converts a counter's unit to the metric's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// The word as it is: an integer stays one.
    One,
    /// The word multiplied by the first number and divided by the second. Dividing ticks by their frequency keeps the
    /// shortest decimal form; multiplying by the reciprocal does not.
    Ratio(f64, f64),
    /// The word divided, rounded down: an integer stays one.
    Quotient(i64),
}

impl Hash for Scale {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::One => {}
            Self::Ratio(multiplier, divisor) => [multiplier.to_bits(), divisor.to_bits()].hash(state),
            Self::Quotient(divisor) => divisor.hash(state),
        }
    }
}

impl Scale {
    /// Applies the scale to a word.
    pub(crate) fn apply(self, word: i64) -> Value {
        match self {
            Self::One => Value::Int(word),
            Self::Ratio(multiplier, divisor) => Value::Float(word as f64 * multiplier / divisor),
            Self::Quotient(divisor) => Value::Int(word.checked_div_euclid(divisor).unwrap_or(word)),
        }
    }

    /// Applies the scale to a number; `None` for any other value.
    fn apply_to(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (_, Value::Int(value)) => Some(self.apply(*value)),
            (Self::One | Self::Quotient(_), Value::Float(value)) => Some(Value::Float(*value)),
            (Self::Ratio(multiplier, divisor), Value::Float(value)) => Some(Value::Float(value * multiplier / divisor)),
            _ => None,
        }
    }

    /// This scale, followed by a multiplication.
    pub(crate) fn times(self, factor: f64) -> Self {
        match self {
            _ if factor == 1.0 => self,
            Self::One => Self::Ratio(factor, 1.0),
            Self::Ratio(multiplier, divisor) => Self::Ratio(multiplier * factor, divisor),
            Self::Quotient(divisor) => Self::Ratio(factor, divisor as f64),
        }
    }
}

/// The current values of one JVM, over which formulas are evaluated.
pub trait Values {
    /// The word of that index; `None` while the region cannot be read.
    fn word(&self, index: u32) -> Option<i64>;
    /// The published value; `None` while its provider has none.
    fn published(&self, id: PublishedId) -> Option<Value>;
    /// Whether the region could be read; `None` once the JVM has ended.
    fn is_up(&self) -> Option<bool>;
    /// The time of the values in seconds since the epoch, where it is known.
    fn now(&self) -> Option<f64> {
        None
    }
    /// The time of that moment in seconds since the epoch, where it is known.
    fn created(&self, _since: Since) -> Option<f64> {
        None
    }
}

impl Formula {
    /// Words added and words subtracted, then scaled.
    pub(crate) fn sum(added: &[u32], subtracted: &[u32], scale: Scale) -> Self {
        if let ([word], []) = (added, subtracted) {
            return Self::Word(*word, scale);
        }
        let signed = added.iter().map(|word| (word, false)).chain(subtracted.iter().map(|word| (word, true)));
        Self::Sum(signed.map(|(word, negative)| Term { word: *word, negative }).collect(), scale)
    }

    /// The current value; `None` means that there is no series, not a zero.
    pub fn evaluate(&self, from: &impl Values) -> Option<Value> {
        match self {
            Self::Word(word, scale) => Some(scale.apply(from.word(*word)?)),
            Self::Up => Some(Value::Int(from.is_up()?.into())),
            Self::Constant(value) => from.is_up()?.then(|| value.clone()),
            Self::Sum(terms, scale) => {
                let mut sum = 0_i64;
                for term in terms {
                    let word = from.word(term.word)?;
                    sum = if term.negative { sum.wrapping_sub(word) } else { sum.wrapping_add(word) };
                }
                Some(scale.apply(sum))
            }
            Self::FirstNonZero(words, scale) => {
                words.iter().filter_map(|word| from.word(*word)).find(|word| *word != 0).map(|word| scale.apply(word))
            }
            Self::SelectNonZero(pairs, scale) => {
                let selected = pairs.iter().find(|(test, _)| from.word(*test).is_some_and(|word| word != 0));
                let (_, value) = selected.or(pairs.last())?;
                Some(scale.apply(from.word(*value)?))
            }
            Self::IfNonZero(word, formula) => (from.word(*word)? != 0).then(|| formula.evaluate(from)).flatten(),
            Self::Total(parts) => {
                let mut sum = Value::Int(0);
                for part in parts {
                    sum = match (sum, part.evaluate(from)?) {
                        (Value::Int(sum), Value::Int(value)) => Value::Int(sum.wrapping_add(value)),
                        (sum, value) => Value::Float(sum.as_f64() + value.as_f64()),
                    };
                }
                Some(sum)
            }
            Self::Scaled(formula, scale) => scale.apply_to(&formula.evaluate(from)?),
            Self::Ratio(parts) => {
                let [value, of] = [parts.0.evaluate(from)?.as_f64(), parts.1.evaluate(from)?.as_f64()];
                (of != 0.0).then(|| Value::Float(value / of))
            }
            Self::Age(moment) => {
                let age = from.now()? - moment.evaluate(from)?.as_f64();
                (age >= 0.0).then_some(Value::Float(age))
            }
            Self::Summary(parts) => {
                let (count, sum) = &**parts;
                let count = count.evaluate(from)?.as_f64();
                Some(Value::Summary { count: count.max(0.0) as u64, sum: sum.evaluate(from)?.as_f64() })
            }
            Self::Published(id, _) => from.published(*id),
        }
    }

    /// The moment at which a cumulative value is zero; of several parts, the one about which least is known.
    pub(crate) fn since(&self) -> Since {
        match self {
            Self::Published(_, since) => *since,
            Self::IfNonZero(_, formula) | Self::Scaled(formula, _) | Self::Age(formula) => formula.since(),
            Self::Total(parts) => parts.iter().map(Self::since).max().unwrap_or(Since::Start),
            Self::Ratio(parts) | Self::Summary(parts) => parts.0.since().max(parts.1.since()),
            _ => Since::Start,
        }
    }

    /// The same formula over renamed words.
    pub(crate) fn map_words(&self, rename: &mut impl FnMut(u32) -> u32) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(value.clone()),
            Self::Up => Self::Up,
            Self::Word(word, scale) => Self::Word(rename(*word), *scale),
            Self::Sum(terms, scale) => {
                Self::Sum(terms.iter().map(|term| Term { word: rename(term.word), ..*term }).collect(), *scale)
            }
            Self::FirstNonZero(words, scale) => {
                Self::FirstNonZero(words.iter().map(|word| rename(*word)).collect(), *scale)
            }
            Self::SelectNonZero(pairs, scale) => {
                Self::SelectNonZero(pairs.iter().map(|(test, value)| (rename(*test), rename(*value))).collect(), *scale)
            }
            Self::IfNonZero(word, formula) => Self::IfNonZero(rename(*word), Box::new(formula.map_words(rename))),
            Self::Total(parts) => Self::Total(parts.iter().map(|part| part.map_words(rename)).collect()),
            Self::Scaled(formula, scale) => Self::Scaled(Box::new(formula.map_words(rename)), *scale),
            Self::Ratio(parts) => Self::Ratio(Box::new((parts.0.map_words(rename), parts.1.map_words(rename)))),
            Self::Age(moment) => Self::Age(Box::new(moment.map_words(rename))),
            Self::Summary(parts) => Self::Summary(Box::new((parts.0.map_words(rename), parts.1.map_words(rename)))),
            Self::Published(id, since) => Self::Published(*id, *since),
        }
    }

    /// The formula with its result multiplied; `None` where it is known not to be a number.
    pub(crate) fn scaled(self, factor: f64) -> Option<Self> {
        Some(match self {
            same if factor == 1.0 => same,
            Self::Word(word, scale) => Self::Word(word, scale.times(factor)),
            Self::Sum(terms, scale) => Self::Sum(terms, scale.times(factor)),
            Self::FirstNonZero(words, scale) => Self::FirstNonZero(words, scale.times(factor)),
            Self::SelectNonZero(pairs, scale) => Self::SelectNonZero(pairs, scale.times(factor)),
            Self::IfNonZero(word, formula) => Self::IfNonZero(word, Box::new(formula.scaled(factor)?)),
            Self::Total(parts) => {
                Self::Total(parts.into_iter().map(|part| part.scaled(factor)).collect::<Option<_>>()?)
            }
            Self::Summary(parts) => Self::Summary(Box::new((parts.0, parts.1.scaled(factor)?))),
            Self::Constant(Value::Int(value)) => Self::Constant(Value::Float(value as f64 * factor)),
            Self::Constant(Value::Float(value)) => Self::Constant(Value::Float(value * factor)),
            Self::Scaled(formula, scale) => Self::Scaled(formula, scale.times(factor)),
            Self::Published(..) | Self::Ratio(_) | Self::Age(_) => {
                Self::Scaled(Box::new(self), Scale::Ratio(factor, 1.0))
            }
            Self::Constant(_) | Self::Up => return None,
        })
    }

    /// The providers of the values that it refers to, each once.
    pub(crate) fn providers(&self) -> Vec<ProviderId> {
        let mut providers: Vec<_> = self.published().into_iter().map(|id| id.provider).collect();
        providers.dedup();
        providers
    }

    /// The values of providers that it refers to.
    pub(crate) fn published(&self) -> Vec<PublishedId> {
        match self {
            Self::Published(id, _) => vec![*id],
            Self::IfNonZero(_, formula) | Self::Scaled(formula, _) | Self::Age(formula) => formula.published(),
            Self::Total(parts) => parts.iter().flat_map(Self::published).collect(),
            Self::Ratio(parts) | Self::Summary(parts) => [parts.0.published(), parts.1.published()].concat(),
            Self::Constant(_)
            | Self::Up
            | Self::Word(..)
            | Self::Sum(..)
            | Self::FirstNonZero(..)
            | Self::SelectNonZero(..) => Vec::new(),
        }
    }

    /// The words that the value is computed from, in the order of the formula.
    pub(crate) fn words(&self) -> Vec<u32> {
        let mut words = Vec::new();
        self.map_words(&mut |word| {
            words.push(word);
            word
        });
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time of 100, a published 3, and words that equal their index.
    struct Known;

    impl Values for Known {
        fn word(&self, index: u32) -> Option<i64> {
            Some(index.into())
        }
        fn published(&self, id: PublishedId) -> Option<Value> {
            (id.index == 0).then_some(Value::Int(3))
        }
        fn is_up(&self) -> Option<bool> {
            Some(true)
        }
        fn now(&self) -> Option<f64> {
            Some(100.0)
        }
    }

    #[test]
    fn values_are_derived_from_values() {
        let published = |index| Formula::Published(PublishedId { provider: ProviderId::Process, index }, Since::Start);
        let word = |index| Formula::Word(index, Scale::One);
        let ratio = |of| Formula::Ratio(Box::new((published(0), word(of))));
        let age = |moment| Formula::Age(Box::new(word(moment)));
        for (formula, expected) in [
            (published(0).scaled(1e9), Some(3e9)),
            (published(0).scaled(1e9).and_then(|formula| formula.scaled(0.5)), Some(1.5e9)),
            (published(1).scaled(2.0), None),
            (Some(ratio(4)), Some(0.75)),
            (Some(ratio(0)), None),
            (ratio(4).scaled(100.0), Some(75.0)),
            (Some(age(60)), Some(40.0)),
            (Some(age(101)), None),
            (Formula::Up.scaled(2.0), None),
        ] {
            let value = formula.as_ref().and_then(|formula| formula.evaluate(&Known));
            assert_eq!(value.map(|value| value.as_f64()), expected, "{formula:?}");
        }
    }

    #[test]
    fn a_total_begins_where_least_is_known() {
        let published = |since| Formula::Published(PublishedId { provider: ProviderId::Sampler, index: 0 }, since);
        let word = || Formula::Word(0, Scale::One);
        for (formula, since) in [
            (word(), Since::Start),
            (published(Since::Attached), Since::Attached),
            (Formula::Total([word(), published(Since::Before), published(Since::Attached)].into()), Since::Before),
            (Formula::Summary(Box::new((word(), published(Since::Attached)))), Since::Attached),
        ] {
            assert_eq!(formula.since(), since, "{formula:?}");
        }
    }
}
