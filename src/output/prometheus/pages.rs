//! The pages of every profile for one set of targets.

use std::sync::Arc;

use super::{Page, PageSeries};
use crate::rules::Profile;
use crate::targets::{Target, TargetSet};

/// A page for each profile, laid out once for a set of targets.
#[derive(Debug, Default)]
pub struct Pages {
    targets: Vec<Arc<Target>>,
    /// Names and pages of the profiles, in the order of the configuration.
    pages: Vec<(Box<str>, Arc<Page>)>,
}

impl Pages {
    /// The pages of `set`: those of `previous` if neither targets nor profiles have changed.
    pub fn of(set: &TargetSet, previous: &Self) -> Self {
        let pages = if previous.fits(set) {
            previous.pages.clone()
        } else {
            let page = |index, profile| Arc::new(page(&set.targets, index, profile));
            let pages = set.profiles.iter().enumerate();
            pages.map(|(index, profile)| (profile.name.clone(), page(index, profile))).collect()
        };
        Self { targets: set.targets.clone(), pages }
    }

    /// The page of the profile of that name.
    pub fn get(&self, profile: &str) -> Option<&Arc<Page>> {
        self.pages.iter().find(|(name, _)| **name == *profile).map(|(_, page)| page)
    }

    fn fits(&self, set: &TargetSet) -> bool {
        self.pages.iter().map(|(name, _)| name).eq(set.profiles.iter().map(|profile| &profile.name))
            && self.targets.len() == set.targets.len()
            && self.targets.iter().zip(&set.targets).all(|(own, other)| Arc::ptr_eq(own, other))
    }
}

/// `index` is the number of the profile's plan in each target.
fn page(targets: &[Arc<Target>], index: usize, profile: &Profile) -> Page {
    let identities = targets.iter().map(|target| profile.identity(&target.identity)).collect();
    let series = (0_u32..).zip(targets).flat_map(|(target, jvm)| {
        let families = jvm.plans.get(index).map(|plan| &*plan.families).unwrap_or_default();
        families.iter().map(move |planned| PageSeries { family: &planned.family, target, series: &planned.series })
    });
    Page::new(identities, series)
}
