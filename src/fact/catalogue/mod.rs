//! Every fact that a rule's `source:` may name: the interface between the program and the YAML rules.

mod nmt;
mod process;
mod region;
pub(crate) mod sampler;

use crate::fact::Since;
use crate::metric::Kind;

/// What a rule's `source:` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactInfo {
    /// The name in rules.
    pub name: &'static str,
    /// The labels of its facts, `$name` in rules.
    pub labels: &'static [&'static str],
    /// What the values are, unless the rule says otherwise.
    pub kind: Kind,
    /// UCUM unit of the values.
    pub unit: &'static str,
    /// One sentence for `explain` and the documentation.
    pub help: &'static str,
    /// The moment at which a cumulative value is zero.
    pub since: Since,
}

impl FactInfo {
    const fn counting_from(self, since: Since) -> Self {
        Self { since, ..self }
    }
}

/// Every declared fact: of the region, of the sampler, of Native Memory Tracking and of the process.
pub fn all() -> impl Iterator<Item = &'static FactInfo> {
    [region::FACTS, sampler::FACTS, nmt::FACTS, process::FACTS].into_iter().flatten()
}

/// The fact of that name.
pub(crate) fn find(name: &str) -> Option<&'static FactInfo> {
    all().find(|fact| fact.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_help_is_one_short_sentence() {
        for info in all() {
            assert!(info.help.ends_with('.') && info.help.len() < 120, "{}: {}", info.name, info.help);
        }
    }
}
