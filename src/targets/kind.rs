//! What JVMs of one kind have in common: the plans of their facts and counters.

use std::sync::{Arc, Mutex};

use super::{Vitals, sources};
use crate::config::Config;
use crate::fact::{AttachedProvider, Fact, Interner, ProviderId};
use crate::hotspot::Model;
use crate::perfdata::{Entries, Image};
use crate::rules::{SharedPlan, WordIndex};
use crate::sync::lock;

/// Most kinds that are told apart; the plans of JVMs of further ones are made for each.
const KIND_MAXIMUM: usize = 16;

/// A kind of JVM. Equal entries and facts give equal plans.
#[derive(Debug)]
pub(super) struct JvmKind {
    entries: Arc<Entries>,
    model: Model,
    providers: Vec<(ProviderId, Arc<[Fact]>)>,
    /// One plan per profile, in the order of the configuration.
    pub(super) plans: Vec<SharedPlan>,
    pub(super) vitals: Arc<Vitals>,
    /// The words of the vitals, then those of the plans.
    pub(super) words: Arc<[u32]>,
    /// How many of them vitals have.
    pub(super) vital_words: usize,
}

/// The kinds of the JVMs that are planned in one scan, with one configuration.
#[derive(Debug, Default)]
pub(super) struct JvmKinds(Mutex<Vec<Arc<JvmKind>>>);

impl JvmKinds {
    /// The kind of the JVM of `image`.
    pub(super) fn of(
        &self,
        image: &Image,
        model: &Model,
        providers: &[AttachedProvider],
        config: &Config,
    ) -> Arc<JvmKind> {
        let known = lock(&self.0).clone();
        if let Some(kind) = known.into_iter().find(|kind| kind.suits(image, model, providers, config)) {
            return kind;
        }
        let kind = Arc::new(JvmKind::of(image, model, providers, config));
        let mut known = lock(&self.0);
        if known.len() < KIND_MAXIMUM {
            known.push(Arc::clone(&kind));
        }
        kind
    }
}

impl JvmKind {
    fn of(image: &Image, model: &Model, providers: &[AttachedProvider], config: &Config) -> Self {
        let facts = sources::merge(model.facts.clone(), providers);
        let mut words = WordIndex::default();
        let vitals = Vitals::of(model, &facts, &mut words);
        let vital_words = words.offsets().len();
        let (profiles, limits) = (config.profiles.iter(), config.limits.series());
        Self {
            plans: profiles.map(|profile| profile.plan_shared(image, &facts, &limits, &mut words)).collect(),
            vitals,
            words: interned_words(&words),
            vital_words,
            entries: Arc::clone(&image.entries),
            model: model.clone(),
            providers: providers.iter().map(|attached| (attached.id, Arc::clone(&attached.facts))).collect(),
        }
    }

    /// Whether the JVM of `image` has the same plans.
    fn suits(&self, image: &Image, model: &Model, providers: &[AttachedProvider], config: &Config) -> bool {
        let own = &self.model;
        let is_same = |((id, facts), attached): (&(ProviderId, Arc<[Fact]>), &AttachedProvider)| {
            *id == attached.id && (Arc::ptr_eq(facts, &attached.facts) || *facts == attached.facts)
        };
        self.providers.len() == providers.len()
            && self.providers.iter().zip(providers).all(is_same)
            && own.frequency == model.frequency
            && (&own.start_time, &own.overflow, &own.heap) == (&model.start_time, &model.overflow, &model.heap)
            && own.facts == model.facts
            && (Arc::ptr_eq(&self.entries, &image.entries) || self.entries.list == image.entries.list)
            && self.plans.iter().all(|plan| plan.suits(image, &config.limits.series()))
    }
}

/// The one copy of these offsets, shared by all JVMs with equal words.
pub(super) fn interned_words(words: &WordIndex) -> Arc<[u32]> {
    static WORDS: Interner<u32> = Interner::new();
    WORDS.intern(words.offsets().to_vec())
}
