//! JVMs to which two files lead, such as the upper directory of an overlay and its mount: each counts once.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::tracked::TrackedRegion;
use crate::discovery::liveness::assess;
use crate::discovery::{Candidate, Liveness, Refusal, RefusalReason, RegionId};
use crate::perfdata::{Image, LayoutChange, RegionIdentity};

/// The regions that are second views of another one's JVM, each with the path of the view that remains: one that is
/// served, else one whose process is visible.
///
/// An overlay shows a file of its upper directory under another device, with the same inode number. Containers number
/// their files alike too, so the content decides, down to the nanosecond in which the last counter was created.
pub(super) fn second_views(tracked: &BTreeMap<RegionId, TrackedRegion>) -> Vec<(RegionId, PathBuf)> {
    let mut groups: HashMap<_, Vec<(RegionId, &TrackedRegion)>> = HashMap::new();
    for (id, region) in tracked {
        if let RegionId::File(file) = id {
            let Candidate { vpid, owner, .. } = region.candidate;
            groups.entry((file.inode, vpid, owner)).or_default().push((*id, region));
        }
    }
    let mut second = Vec::new();
    for mut group in groups.into_values().filter(|group| group.len() > 1) {
        group.sort_by_key(|(_, region)| (region.target.is_none(), region.candidate.process.is_none()));
        let mut first = HashMap::new();
        for (id, region) in group {
            let Ok(prologue) = region.region.prologue() else { continue };
            let view = *first.entry(prologue).or_insert(region);
            if !std::ptr::eq(view, region) && is_same_jvm(view, region) {
                second.push((id, view.candidate.path.clone()));
            }
        }
    }
    second
}

/// Whether two regions with equal prologues are those of one running JVM. The file of a dead one is stale in any case.
fn is_same_jvm(view: &TrackedRegion, other: &TrackedRegion) -> bool {
    let Ok(image) = Image::read(&view.region) else { return false };
    let identity = RegionIdentity::of(&image);
    identity.is_certain()
        && matches!(other.region.read(&identity, &[], &mut Vec::new()), Ok(LayoutChange::Same))
        && assess(other.candidate.process.as_deref(), &other.region) != Liveness::Dead
}

/// The refusal of a second view.
pub(super) fn refusal(candidate: &Candidate, first: &Path) -> Refusal {
    let detail = format!("another view of the JVM that is served as {}", first.display());
    Refusal::of_path(&candidate.path, RefusalReason::Collision, detail)
        .with_remedy("Narrow the root patterns so that they match one view of the overlay only.")
}
