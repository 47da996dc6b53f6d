//! How one value follows from a JVM's words: what `hotspot` derives, `mapping` plans and `exposition` evaluates.

use std::hash::{Hash, Hasher};

use crate::metric::Value;

/// A value as arithmetic over words.
///
/// In a [`crate::fact::Fact`] a word is named by its byte offset in the region; in a plan, by its index among the
/// words that the plan gathers. [`Formula::map_words`] goes from one to the other.
#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Formula {
    /// Known when the plan is made: constants and information.
    Constant(Value),
    /// 1 while the JVM's region can be read, 0 while it is known and cannot; absent once the JVM has ended.
    Up,
    /// One word, scaled.
    Word(u32, Scale),
    /// Words added and subtracted as integers, then scaled.
    Sum(Box<[Term]>, Scale),
    /// The first of these words that is not 0, scaled; absent while all are 0: times that HotSpot writes late.
    FirstNonZero(Box<[u32]>, Scale),
    /// `value` of the first pair whose `test` word is not 0, else of the last pair: the occupied one of two survivors.
    Occupied(Box<[(u32, u32)]>, Scale),
    /// The formula, absent while that word is 0: what HotSpot fills in late, together with the word.
    Once(u32, Box<Formula>),
    /// The sum of the parts; absent while one of them is.
    Total(Box<[Formula]>),
    /// A count and a sum, for summaries.
    Summary(Box<(Formula, Formula)>),
    /// A value that another part of the program publishes for the JVM (see [`crate::fact::Provider`]).
    Published(PublishedId, Since),
}

/// What a cumulative value counts from, and so where it begins at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Since {
    /// The JVM's start.
    Start,
    /// When the exporter began to watch the JVM.
    Attached,
    /// Some time before the JVM: what is counted is not the JVM's alone.
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

/// A cell of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublishedId {
    /// Which publisher.
    pub provider: ProviderId,
    /// Which of its values.
    pub index: u32,
}

/// The parts of the program that publish values per JVM beside its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderId {
    /// Native Memory Tracking.
    Nmt,
    /// /proc and cgroup.
    Process,
    /// Pauses, peaks, allocation.
    Sampler,
}

impl ProviderId {
    /// Number of publishers.
    pub const COUNT: usize = 3;
}

/// From the counter's unit to the metric's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// The word as it is: an integer stays one.
    One,
    /// Multiplied by the first and divided by the second. Dividing ticks by their frequency keeps the shortest decimal
    /// form, which multiplying by a reciprocal does not.
    Ratio(f64, f64),
}

impl Hash for Scale {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Self::Ratio(multiplier, divisor) = self {
            [multiplier.to_bits(), divisor.to_bits()].hash(state);
        }
    }
}

impl Scale {
    /// Applies the scale to a word.
    pub fn apply(self, word: i64) -> Value {
        match self {
            Self::One => Value::Int(word),
            Self::Ratio(multiplier, divisor) => Value::Float(word as f64 * multiplier / divisor),
        }
    }

    /// This scale, then a factor.
    pub fn times(self, factor: f64) -> Self {
        match self {
            _ if factor == 1.0 => self,
            Self::One => Self::Ratio(factor, 1.0),
            Self::Ratio(multiplier, divisor) => Self::Ratio(multiplier * factor, divisor),
        }
    }
}

/// Where words and cells come from.
pub trait Values {
    /// The word of that index; `None` while the region cannot be read.
    fn word(&self, index: u32) -> Option<i64>;
    /// The cell; `None` while its publisher has nothing.
    fn cell(&self, id: PublishedId) -> Option<Value>;
    /// Whether the region could be read; `None` once the JVM has ended, and nothing is left of it.
    fn is_up(&self) -> Option<bool>;
    /// When values that count from there began at zero, in seconds since the epoch, where that is known.
    fn created(&self, _since: Since) -> Option<f64> {
        None
    }
}

impl Formula {
    /// The value now; `None` is no series, never a zero.
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
            Self::Occupied(pairs, scale) => {
                let occupied = pairs.iter().find(|(test, _)| from.word(*test).is_some_and(|word| word != 0));
                let (_, value) = occupied.or(pairs.last())?;
                Some(scale.apply(from.word(*value)?))
            }
            Self::Once(word, formula) => (from.word(*word)? != 0).then(|| formula.evaluate(from)).flatten(),
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
            Self::Summary(parts) => {
                let (count, sum) = &**parts;
                let count = count.evaluate(from)?.as_f64();
                Some(Value::Summary { count: count.max(0.0) as u64, sum: sum.evaluate(from)?.as_f64() })
            }
            Self::Published(id, _) => from.cell(*id),
        }
    }

    /// What the value counts from, if it counts anything.
    pub fn since(&self) -> Since {
        match self {
            Self::Published(_, since) => *since,
            Self::Once(_, formula) => formula.since(),
            Self::Total(parts) => parts.iter().map(Self::since).max().unwrap_or(Since::Start),
            Self::Summary(parts) => parts.0.since().max(parts.1.since()),
            _ => Since::Start,
        }
    }

    /// The same formula with every word renamed.
    pub fn map_words(&self, rename: &mut impl FnMut(u32) -> u32) -> Self {
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
            Self::Occupied(pairs, scale) => {
                Self::Occupied(pairs.iter().map(|(test, value)| (rename(*test), rename(*value))).collect(), *scale)
            }
            Self::Once(word, formula) => Self::Once(rename(*word), Box::new(formula.map_words(rename))),
            Self::Total(parts) => Self::Total(parts.iter().map(|part| part.map_words(rename)).collect()),
            Self::Summary(parts) => Self::Summary(Box::new((parts.0.map_words(rename), parts.1.map_words(rename)))),
            Self::Published(id, since) => Self::Published(*id, *since),
        }
    }

    /// The formula with its result multiplied.
    pub fn scaled(self, factor: f64) -> Self {
        match self {
            Self::Word(word, scale) => Self::Word(word, scale.times(factor)),
            Self::Sum(terms, scale) => Self::Sum(terms, scale.times(factor)),
            Self::FirstNonZero(words, scale) => Self::FirstNonZero(words, scale.times(factor)),
            Self::Occupied(pairs, scale) => Self::Occupied(pairs, scale.times(factor)),
            Self::Once(word, formula) => Self::Once(word, Box::new(formula.scaled(factor))),
            Self::Total(parts) => Self::Total(parts.into_iter().map(|part| part.scaled(factor)).collect()),
            Self::Summary(parts) => Self::Summary(Box::new((parts.0, parts.1.scaled(factor)))),
            Self::Constant(Value::Int(value)) if factor != 1.0 => Self::Constant(Value::Float(value as f64 * factor)),
            Self::Constant(Value::Float(value)) => Self::Constant(Value::Float(value * factor)),
            other => other,
        }
    }
}

/// A sum of added words, unscaled.
pub fn sum_of(words: impl IntoIterator<Item = u32>) -> Formula {
    Formula::Sum(words.into_iter().map(|word| Term { word, negative: false }).collect(), Scale::One)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_counts_from_where_least_is_known() {
        let cell = |since| Formula::Published(PublishedId { provider: ProviderId::Sampler, index: 0 }, since);
        let word = || Formula::Word(0, Scale::One);
        for (formula, since) in [
            (word(), Since::Start),
            (cell(Since::Attached).scaled(8.0), Since::Attached),
            (Formula::Total([word(), cell(Since::Before), cell(Since::Attached)].into()), Since::Before),
            (Formula::Summary(Box::new((word(), cell(Since::Attached)))), Since::Attached),
        ] {
            assert_eq!(formula.since(), since, "{formula:?}");
        }
    }
}
