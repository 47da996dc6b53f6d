//! The fields of the model that are not facts: what the sampler and the reconciler use.

use super::*;
use crate::hotspot::pool::UsedBytes;

fn model(region: &str) -> (Image, Model) {
    let image = fixture(region);
    let model = Model::of(&image, &[]);
    (image, model)
}

#[test]
fn pauses_have_roles() {
    let table: [(&str, &[(&str, Role)]); 6] = [
        ("jdk21-Serial", &[("Copy", Role::Young), ("MarkSweepCompact", Role::Full)]),
        // Foreground collections, then the pauses of concurrent cycles.
        (
            "jdk11-ConcMarkSweep",
            &[("ParNew", Role::Young), ("ConcurrentMarkSweep", Role::Full), ("ConcurrentMarkSweep", Role::Phase)],
        ),
        (
            "jdk25-G1",
            &[
                ("G1 Young Generation", Role::Young),
                ("G1 Old Generation", Role::Full),
                ("G1 Concurrent GC", Role::Phase),
            ],
        ),
        ("jdk17-Z", &[("ZGC Pauses", Role::Phase)]),
        ("jdk25-Z", &[("ZGC Minor Pauses", Role::Phase), ("ZGC Major Pauses", Role::MajorPhase)]),
        ("jdk25-Shenandoah", &[]),
    ];
    for (region, expected) in table {
        let (_, model) = model(region);
        let found: Vec<_> = model.pauses.iter().map(|pauses| (pauses.gc, pauses.role)).collect();
        assert_eq!(found, expected, "{region}");
        let is_complete = |pauses: &PauseCounters| {
            [pauses.invocations, pauses.time, pauses.last_entry, pauses.last_exit].iter().all(Option::is_some)
        };
        assert!(model.pauses.iter().all(is_complete), "{region}");
    }
}

#[test]
fn the_start_is_a_time_and_a_formula() {
    let (_, model) = model("jdk25-G1");
    assert_eq!((model.begin_millis, model.start_millis), (1_795_341_331_263, 1_795_341_331_263));
    let native = Model::of(&generated::native_image(), &[]);
    assert_eq!((native.begin_millis, native.start_millis), (0, 1_795_341_331_406));
    assert_eq!(model.frequency, Some(1e9));
}

#[test]
fn the_heartbeat_ends_with_jdk_24() {
    for [region, _, feature, ..] in expected_pools() {
        let (image, model) = model(region);
        let feature: u32 = feature.parse().unwrap();
        assert_eq!(model.uptime_ticks.is_some(), feature < 25, "{region}");
        if let Some((offset, ticks)) = model.uptime_ticks {
            assert_eq!(ImageWords(&image).word(offset), Some(ticks), "{region}");
        }
    }
}

#[test]
fn causes_are_read_from_words() {
    let (image, model) = model("jdk25-G1");
    for (name, text) in [("sun.gc.cause", model.cause.unwrap()), ("sun.gc.lastCause", model.last_cause.unwrap())] {
        let words: Vec<i64> = text.words(text.length()).map(|at| ImageWords(&image).word(at).unwrap()).collect();
        assert_eq!(text.decode(&words), image.text(name).unwrap(), "{name}");
    }
}

#[test]
fn pools_name_their_words() {
    let (image, model) = model("jdk25-G1");
    let used = |pool: &Pool| -> i64 {
        let words = pool.used.as_ref().unwrap().words();
        words.iter().map(|word| ImageWords(&image).word(*word).unwrap()).sum()
    };
    let facts = evaluated(&image);
    for pool in &model.heap.pools {
        assert_eq!(Some(used(pool)), int(&facts, &format!("pool.used{{pool={},type=heap}}", pool.name)));
        assert_eq!(pool.is_eden, pool.name == "G1 Eden Space");
    }
    assert_eq!(model.heap.pools[2].used, model.old_used.map(|word| UsedBytes::Sum([word].into())));
}
