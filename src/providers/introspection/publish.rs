//! Readings of a JVM as facts.

use strum::VariantArray;

use super::buffers::BufferPools;
use super::code_heaps::CodeHeapReading;
use super::flags::{FlagReading, FlagValue};
use super::heap::{HeapReading, SpaceSize};
use super::threads::{ByState, JavaThreadState, StateCounts};
use crate::fact::ValueTable;
use crate::metric::Value;
use crate::providers::peak::{WINDOW_COUNT, WINDOW_LENGTHS};

/// What was read last, all of which is published together.
#[derive(Debug, Default)]
pub(super) struct LastReadings {
    pub(super) heap: Option<HeapReading>,
    /// Peak use of the heap in the last window of each length.
    pub(super) peaks: [Option<i64>; WINDOW_COUNT],
    /// Bytes of G1's humongous regions.
    pub(super) humongous: Option<u64>,
    pub(super) code_heaps: Vec<CodeHeapReading>,
    pub(super) flags: Vec<FlagReading>,
    /// Bytes allocated since they were first read. A count that cannot be read keeps its value: it grows again later.
    pub(super) allocated: Option<u64>,
    pub(super) states: Option<StateCounts>,
    pub(super) deadlocked: Option<u64>,
    pub(super) buffers: Option<BufferPools>,
    pub(super) class_loaders: Option<u64>,
}

/// A number of bytes or things as a value; none exceeds an i64.
fn bytes(value: u64) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

impl LastReadings {
    /// Replaces all values of the table. `pools` are the names of the heap's pools.
    pub(super) fn publish(&self, pools: &[&str], table: &mut ValueTable) {
        table.clear();
        if let Some(heap) = &self.heap {
            publish_heap(heap, pools, table);
        }
        for (length, peak) in WINDOW_LENGTHS.iter().zip(self.peaks) {
            if let Some(peak) = peak {
                table.set("heap.used_max", &[&format!("{}s", length.as_secs())], Value::Int(peak));
            }
        }
        if let Some(humongous) = self.humongous {
            table.set("g1.humongous", &[], bytes(humongous));
        }
        self.publish_code(table);
        self.publish_threads(table);
        for (pool, of) in self.buffers.iter().flat_map(|pools| [("direct", pools.direct), ("mapped", pools.mapped)]) {
            table.set("buffer.used", &[pool], bytes(of.used));
            table.set("buffer.limit", &[pool], bytes(of.capacity));
            table.set("buffer.count", &[pool], bytes(of.count));
        }
        if let Some(class_loaders) = self.class_loaders {
            table.set("class_loader.count", &[], bytes(class_loaders));
        }
        for flag in self.flags.iter().filter(|flag| !flag.is_internal) {
            let value = match flag.value {
                FlagValue::Whole(value) => Value::Int(value),
                FlagValue::Double(value) => Value::Float(value),
            };
            table.set("flag.value", &[flag.name, flag.origin], value);
        }
    }

    fn publish_threads(&self, table: &mut ValueTable) {
        if let Some(allocated) = self.allocated {
            table.set("alloc.bytes", &[], bytes(allocated));
            table.set("alloc.source", &["exact"], Value::Int(1));
        }
        if let Some(deadlocked) = self.deadlocked {
            table.set("thread.deadlocked", &[], bytes(deadlocked));
        }
        let Some(states) = &self.states else { return };
        let each = |counts: &ByState| JavaThreadState::VARIANTS.iter().map(Into::into).zip(*counts).collect::<Vec<_>>();
        for (state, count) in each(&states.all) {
            table.set("thread.states", &[state], bytes(count));
        }
        for (daemon, counts) in ["false", "true"].iter().zip(states.by_daemon.iter().flatten()) {
            for (state, count) in each(counts) {
                table.set("thread.count", &[daemon, state], bytes(count));
            }
        }
        if let Some(mounted) = states.virtual_mounted {
            table.set("thread.virtual_mounted", &[], bytes(mounted));
        }
    }

    fn publish_code(&self, table: &mut ValueTable) {
        for heap in &self.code_heaps {
            let size = SpaceSize { used: heap.used, committed: Some(heap.committed) };
            publish_pool(&heap.name, "non_heap", size, table);
            table.set("pool.limit", &[&heap.name, "non_heap"], bytes(heap.limit));
        }
        let sum = |of: fn(&CodeHeapReading) -> Option<u32>| {
            let counts: Option<Vec<u32>> = self.code_heaps.iter().map(of).collect();
            let sum = counts?.into_iter().map(i64::from).fold(0, i64::saturating_add);
            (!self.code_heaps.is_empty()).then_some(Value::Int(sum))
        };
        if let Some(nmethods) = sum(|heap| heap.nmethods) {
            table.set("code_cache.nmethods", &[], nmethods);
        }
        if let Some(full) = sum(|heap| heap.full) {
            table.set("code_cache.full", &[], full);
        }
    }
}

fn publish_heap(heap: &HeapReading, pools: &[&str], table: &mut ValueTable) {
    for (name, size) in pools.iter().zip(&heap.pools) {
        publish_pool(name, "heap", *size, table);
    }
    table.set("heap.used", &[], bytes(heap.total.used));
    table.set("area.used", &["heap"], bytes(heap.total.used));
    if let Some(committed) = heap.total.committed {
        table.set("heap.committed", &[], bytes(committed));
        table.set("area.committed", &["heap"], bytes(committed));
    }
    if let Some(limit) = heap.limit {
        table.set("heap.limit", &[], bytes(limit));
    }
}

fn publish_pool(name: &str, memory_type: &str, size: SpaceSize, table: &mut ValueTable) {
    table.set("pool.freshness", &[name, "live"], Value::Int(1));
    table.set("pool.used", &[name, memory_type], bytes(size.used));
    if let Some(committed) = size.committed {
        table.set("pool.committed", &[name, memory_type], bytes(committed));
    }
}
