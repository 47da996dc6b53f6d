//! A plan that JVMs with equal facts and counters share, and what each of them adds to it.

use std::sync::Arc;

use super::plan::constant_text;
use super::{Dropped, Plan, PlannedFamily, SeriesLimits};
use crate::perfdata::Image;

/// The plan of the facts and counters of a JVM that others of its kind have too.
#[derive(Debug)]
pub(crate) struct SharedPlan {
    pub(super) plan: Plan,
    /// The strings of the JVM that are in labels.
    pub(super) texts: Vec<LabelString>,
}

/// A string counter that is in a label, and its text there.
#[derive(Debug)]
pub(super) struct LabelString {
    pub(super) counter: Box<str>,
    pub(super) text: Option<String>,
}

impl SharedPlan {
    /// Whether it is the plan of the JVM of `image` too, whose facts and counters are equal: its strings must also be.
    pub(crate) fn suits(&self, image: &Image, limits: &SeriesLimits) -> bool {
        self.texts.iter().all(|known| constant_text(image, &known.counter, limits) == known.text)
    }

    /// The plan with the series of one JVM's own facts; `None` where the two depend on each other, because of a common
    /// family or the limit, so that the JVM needs a plan made from all its facts.
    pub(crate) fn join(&self, own: &Plan, limits: &SeriesLimits) -> Option<Plan> {
        let number = |plan: &Plan| plan.families.iter().map(|planned| planned.series.len()).sum::<usize>();
        let dropped = Dropped {
            limit: 0,
            duplicate: own.dropped.duplicate.saturating_add(self.plan.dropped.duplicate),
            conflict: own.dropped.conflict.saturating_add(self.plan.dropped.conflict),
        };
        let is_whole = own.dropped.limit == 0 && self.plan.dropped.limit == 0;
        if !is_whole || number(own).saturating_add(number(&self.plan)) > limits.max_series_per_jvm {
            return None;
        }
        if own.families.is_empty() {
            return Some(Plan { families: Arc::clone(&self.plan.families), dropped });
        }
        let mut families: Vec<PlannedFamily> = Vec::with_capacity(self.plan.families.len() + own.families.len());
        let mut shared = &*self.plan.families;
        for planned in &*own.families {
            let name = planned.family.prometheus();
            let (before, after) = shared.split_at(shared.partition_point(|other| *other.family.prometheus() < *name));
            if after.first().is_some_and(|other| Arc::ptr_eq(&other.family, &planned.family)) {
                return None;
            }
            families.extend_from_slice(before);
            families.push(planned.clone());
            shared = after;
        }
        families.extend_from_slice(shared);
        Some(Plan { families: families.into(), dropped })
    }
}
