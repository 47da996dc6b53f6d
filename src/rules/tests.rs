//! Rules in YAML, applied to regions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::path::PathBuf;
use std::sync::Arc;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::rule::decode_rules;
use super::{Dropped, ExplainedInput, Plan, Profile, SeriesLimits, SkipReason, WordIndex};
use crate::fact::{Fact, Formula, PublishedId, Scale, Values};
use crate::metric::{Family, Kind, Labels, Value, label_name};
use crate::perfdata::Image;
use crate::yaml::decode::{Decoder, Path};
use crate::yaml::{Problems, document};

/// Name, units, variability and value of a counter in a generated region.
struct TestCounter<'a>(&'a str, u8, u8, TestValue<'a>);

#[derive(Clone, Copy)]
enum TestValue<'a> {
    Long(i64),
    Text(&'a str),
}

const CONSTANT: u8 = 1;
const MONOTONIC: u8 = 2;
const VARIABLE: u8 = 3;
const NONE: u8 = 1;
const BYTES: u8 = 2;
const TICKS: u8 = 3;
const EVENTS: u8 = 4;
const STRING: u8 = 5;

/// A little-endian region of these counters, after `sun.os.hrt.frequency` of 1000.
fn image(counters: &[TestCounter<'_>]) -> Image {
    let frequency = [TestCounter("sun.os.hrt.frequency", 6, CONSTANT, TestValue::Long(1000))];
    let mut bytes = vec![0; 32];
    for TestCounter(name, units, variability, content) in frequency.iter().chain(counters) {
        let data_offset = (20 + name.len() + 1).next_multiple_of(8);
        let (data_type, vector, data) = match content {
            TestValue::Long(value) => (b'J', 0, value.to_le_bytes().to_vec()),
            TestValue::Text(text) => (b'B', text.len() + 1, [text.as_bytes(), &[0]].concat()),
        };
        let length = (data_offset + data.len()).next_multiple_of(8);
        let mut entry = Vec::with_capacity(length);
        for number in [length, 20, vector] {
            entry.extend((number as u32).to_le_bytes());
        }
        entry.extend([data_type, 0, *units, *variability]);
        entry.extend((data_offset as u32).to_le_bytes());
        entry.extend(name.as_bytes());
        entry.resize(data_offset, 0);
        entry.extend(data);
        entry.resize(length, 0);
        bytes.extend(entry);
    }
    let used = bytes.len() as u32;
    bytes[..8].copy_from_slice(&[0xca, 0xfe, 0xc0, 0xc0, 1, 2, 0, 1]);
    bytes[8..12].copy_from_slice(&used.to_le_bytes());
    bytes[24..28].copy_from_slice(&32_u32.to_le_bytes());
    bytes[28..32].copy_from_slice(&(counters.len() as u32 + 1).to_le_bytes());
    Image::decode(bytes).unwrap()
}

/// The words of an image, as a plan sees them.
struct Gathered<'a>(&'a Image, &'a WordIndex);

impl Values for Gathered<'_> {
    fn word(&self, index: u32) -> Option<i64> {
        let offset = *self.1.offsets().get(index as usize)? as usize;
        Some(i64::from_le_bytes(*self.0.bytes().get(offset..)?.first_chunk()?))
    }
    fn published(&self, _: PublishedId) -> Option<Value> {
        None
    }
    fn is_up(&self) -> Option<bool> {
        Some(true)
    }
}

/// A plan as text, one series a line: name, unit, kind, labels, value.
fn show(plan: &Plan, image: &Image, words: &WordIndex) -> Vec<String> {
    let line = |(family, series): (&Arc<Family>, &super::PlannedSeries)| {
        let labels: Vec<String> = series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let value = series.formula.evaluate(&Gathered(image, words)).map(|value| value.as_f64());
        let value = value.map_or("absent".to_owned(), |value| value.to_string());
        format!("{} [{}] {} {{{}}} {value}", family.name, family.unit, family.kind.as_str(), labels.join(","))
    };
    plan.series().map(line).collect()
}

fn profile(rules: &str) -> Profile {
    Profile::parse("test.yaml", &format!("profile: test\nrules:\n{rules}"), &["pod".to_owned()])
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn planned(rules: &str, image: &Image, facts: &[Fact]) -> (Vec<String>, Dropped) {
    let mut words = WordIndex::default();
    let plan = profile(rules).plan(image, facts, &SeriesLimits::default(), &mut words);
    (show(&plan, image, &words), plan.dropped)
}

fn problems(rules: &str) -> String {
    let text = format!("profile: test\nrules:\n{rules}");
    Profile::parse("test.yaml", &text, &["pod".to_owned()])
        .map_or_else(|problems| problems.to_string(), |_| String::new())
}

#[test]
fn rules_make_series() {
    let image = image(&[
        TestCounter("app.queue.in.depth", NONE, VARIABLE, TestValue::Long(7)),
        TestCounter("app.queue.out.depth", NONE, VARIABLE, TestValue::Long(8)),
        TestCounter("app.sent", BYTES, MONOTONIC, TestValue::Long(4096)),
        TestCounter("app.busy", TICKS, MONOTONIC, TestValue::Long(2500)),
        TestCounter("app.version", STRING, CONSTANT, TestValue::Text("1.2")),
        TestCounter("app.state", STRING, VARIABLE, TestValue::Text("idle")),
        TestCounter("sun.gc.tlab.alloc", BYTES, VARIABLE, TestValue::Long(100)),
        TestCounter("sun.rt.createVmBeginTime", NONE, VARIABLE, TestValue::Long(1_500)),
        TestCounter("sun.rt.vmInitDoneTime", NONE, VARIABLE, TestValue::Long(0)),
        TestCounter("sun.gc.collector.0.name", STRING, CONSTANT, TestValue::Text("Copy")),
        TestCounter("sun.gc.collector.0.time", TICKS, MONOTONIC, TestValue::Long(1)),
        TestCounter("java.property.java.version", STRING, CONSTANT, TestValue::Text("25")),
        TestCounter("java.rt.vmArgs", STRING, CONSTANT, TestValue::Text("-Dpassword=x")),
        TestCounter("java.property.com.example.password", STRING, CONSTANT, TestValue::Text("x")),
    ]);
    for (rules, expected) in [
        (
            r#"- {counter: "app.queue.*.depth", metric: app.queue.depth, labels: {queue: "$1"}}"#,
            vec!["app.queue.depth [] gauge {queue=in} 7", "app.queue.depth [] gauge {queue=out} 8"],
        ),
        (
            r#"- {counter: "app.queue.*.depth", metric: "app.$1.depth", unit: "{item}", type: updowncounter}"#,
            vec!["app.in.depth [{item}] updowncounter {} 7", "app.out.depth [{item}] updowncounter {} 8"],
        ),
        (
            r#"- {counter: 're:app\.queue\.(?<which>[a-z]+)\.depth', metric: "d", labels: {q: "${which}bound $$"}}"#,
            vec!["d [] gauge {q=inbound $} 7", "d [] gauge {q=outbound $} 8"],
        ),
        (r#"- {counter: "app.sent", metric: app.sent}"#, vec!["app.sent [By] counter {} 4096"]),
        (r#"- {counter: "app.sent", metric: s, scale: 0.5, unit: "{half}"}"#, vec!["s [{half}] counter {} 2048"]),
        (r#"- {counter: "app.busy", metric: app.busy}"#, vec!["app.busy [s] counter {} 2.5"]),
        (r#"- {counter: "app.busy", metric: app.busy, scale: 1000, unit: ms}"#, vec!["app.busy [ms] counter {} 2500"]),
        (r#"- {counter: "app.version", metric: app.build, type: info}"#, vec!["app.build [] info {value=1.2} 1"]),
        (r#"- {counter: "app.{version,state}", metric: app.build, type: gauge}"#, vec![]),
        (r#"- {counter: "app.state", metric: app.state, type: info}"#, vec![]),
        (r#"- {counter: "sun.gc.tlab.alloc", metric: tlab}"#, vec!["tlab [By] gauge {} 800"]),
        (
            r#"- {counter: "sun.rt.{createVmBegin,vmInitDone}Time", metric: t, labels: {b: x}}"#,
            vec!["t [s] gauge {b=x} 1.5"],
        ),
        (
            r#"- {counter: "sun.gc.*", action: derive}"#,
            vec![
                "hsperf_sun_gc_collector_time [s] counter {collector=0,name=Copy} 0.001",
                "hsperf_sun_gc_tlab_alloc [By] gauge {} 800",
            ],
        ),
        (
            r#"- {counter: "java.*", action: derive, prefix: p}"#,
            vec!["p_java_property_java_version [] info {value=25} 1"],
        ),
        (r#"- {counter: "java.*", metric: secret, type: info}"#, vec!["secret [] info {value=25} 1"]),
        (
            "- {counter: \"app.queue.in.depth\", action: drop}\n- {counter: \"app.queue.*\", metric: \"q.$1\"}",
            vec!["q.out.depth [] gauge {} 8"],
        ),
        (
            r#"- {counter: 're:app\.queue\.(.*)', metric: "$1"}"#,
            vec!["in.depth [] gauge {} 7", "out.depth [] gauge {} 8"],
        ),
    ] {
        assert_eq!(planned(rules, &image, &[]).0, expected, "{rules}");
    }
}

fn fact(labels: &[(&'static str, &str)], kind: Kind, formula: Formula) -> Fact {
    let labels = labels.iter().map(|(name, value)| (*name, (*value).into())).collect();
    Fact { name: "pool.used", labels, kind, unit: "By", formula }
}

#[test]
fn facts_become_series_and_explain_names_their_counters() {
    let image = image(&[
        TestCounter("a", BYTES, VARIABLE, TestValue::Long(3)),
        TestCounter("b", BYTES, VARIABLE, TestValue::Long(4)),
    ]);
    let word = |name: &str| image.entry(name).unwrap().offset;
    let sum = Formula::sum(&[word("a"), word("b")], &[], Scale::One);
    let rules = "- {source: pool.used, metric: m.used, scale: 2, labels: {t: $type, p: \"pool $pool\"}}\n- {counter: a, action: drop}";
    let heap = [
        fact(&[("type", "heap"), ("pool", "Eden")], Kind::UpDownCounter, sum),
        fact(&[("pool", "Old")], Kind::UpDownCounter, Formula::Word(word("a"), Scale::One)),
        fact(&[("pool", "Old")], Kind::UpDownCounter, Formula::Word(word("b"), Scale::One)),
        fact(&[("pool", "New")], Kind::Gauge, Formula::Word(word("b"), Scale::One)),
        fact(&[("pool", "Up")], Kind::UpDownCounter, Formula::Up),
        Fact { name: "target.up", labels: Vec::new(), kind: Kind::Gauge, unit: "", formula: Formula::Up },
    ];
    let (series, dropped) = planned(rules, &image, &heap);
    assert_eq!(
        series,
        ["m.used [By] updowncounter {p=pool Eden,t=heap} 14", "m.used [By] updowncounter {p=pool Old} 6"]
    );
    assert_eq!(dropped, Dropped { limit: 0, duplicate: 1, conflict: 1 });

    let explanations = profile(rules).explain(&image, &heap);
    let lines = explanations.iter().map(|explanation| {
        let input = match &explanation.input {
            ExplainedInput::Counter(name) => name.to_string(),
            ExplainedInput::Fact { name, counters, .. } => format!("{name} of {counters:?}"),
        };
        let rule = explanation.rule.as_ref().map_or("-".to_owned(), ToString::to_string);
        match &explanation.outcome {
            Ok(exported) => format!("{input}; {rule}; {}", exported.prometheus),
            Err(reason) => format!("{input}; {rule}; {reason}"),
        }
    });
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r##"
pool.used of ["a", "b"]; test.yaml:3 rules[0]; m_used_bytes
pool.used of ["a"]; test.yaml:3 rules[0]; m_used_bytes
pool.used of ["b"]; test.yaml:3 rules[0]; the series exists already
pool.used of ["b"]; test.yaml:3 rules[0]; the metric exists with another type or unit
pool.used of []; test.yaml:3 rules[0]; it cannot take the rule's type or scale
target.up of []; -; no rule matches it
sun.os.hrt.frequency; -; no rule matches it
a; test.yaml:4 rules[1]; dropped by the rule
b; -; no rule matches it
"##);
}

#[test]
fn limits_hold() {
    let counters: Vec<String> = (0..20).map(|number| format!("a.{number}.b")).collect();
    let counters: Vec<TestCounter<'_>> =
        counters.iter().map(|name| TestCounter(name, EVENTS, MONOTONIC, TestValue::Long(1))).collect();
    let image = image(&counters);
    let limits = SeriesLimits { max_series_per_jvm: 15, max_label_value_length: 16 };
    let profile = profile("- {counter: \"a.*.b\", metric: m, labels: {n: \"äääääääääää$1\"}}");
    let plan = profile.plan(&image, &[], &limits, &mut WordIndex::default());
    assert_eq!(plan.series().count(), 1, "all labels are equal when truncated");
    assert_eq!(plan.families[0].series[0].labels.get("n"), Some("ääääääää"));
    assert_eq!(plan.dropped.duplicate, 19);
    let profile = self::profile("- {counter: \"a.*.b\", metric: m, labels: {n: \"$1\"}}");
    let plan = profile.plan(&image, &[], &limits, &mut WordIndex::default());
    assert_eq!((plan.series().count(), plan.dropped.limit), (15, 5));
}

#[test]
fn equal_jvms_share_families_and_series() {
    let image = image(&[TestCounter("a.1.b", EVENTS, MONOTONIC, TestValue::Long(1))]);
    let profile = profile("- {counter: \"a.*.b\", metric: m, labels: {n: \"$1\"}}\n- {counter: never, metric: never}");
    let plan = || profile.plan(&image, &[], &SeriesLimits::default(), &mut WordIndex::default()).families[0].clone();
    let (one, other) = (plan(), plan());
    profile.forget_unused();
    let third = plan();
    for same in [&other, &third] {
        assert!(Arc::ptr_eq(&one.family, &same.family) && Arc::ptr_eq(&one.series, &same.series));
    }
    assert_eq!(profile.unmatched().iter().map(ToString::to_string).collect::<Vec<_>>(), ["test.yaml:4 rules[1]"]);
    assert_eq!(profile.rules(), 2);
}

#[test]
fn problems_name_place_and_remedy() {
    assert_snapshot!(problems(
        r#"
  - {metric: lonely}
  - {counter: a, source: target.up, metric: both}
  - {counter: a, metrik: typo, metric: a}
  - {counter: "x.*", metric: "x.$2", labels: {a: "$name", "b c": x, le: x, pod: x, __b: x, a.d: x, a_d: x, f: $}}
  - {counter: "x.{a", metric: y}
  - {counter: "re:(", metric: y}
  - {counter: b}
  - {source: pool.usd, metric: y}
  - {source: pool.used, metric: y, labels: {a: $poool}}
  - {source: target.up, action: derive}
  - {counter: c, action: drop, labels: {a: b}}
  - {counter: c, action: dorp}
  - {counter: c, metric: hotspot_exporter.x}
  - {counter: c, metric: 9lives}
  - {counter: c, metric: __x}
  - {counter: c, metric: "a b"}
  - {counter: c, metric: y, type: summary, scale: 0, unit: "k m", help: [x]}
  - {counter: java.rt.vmArgs, metric: y, type: info}
  - {counter: d, metric: y, prefix: p}
  - {counter: e, metric: y, type: info, labels: {value: x}}
  - just text
"#
    ), @r##"
test.yaml:4:5: rules[0]: the rule does not say what it takes; add `counter: NAME` or `source: NAME`
test.yaml:5:26: rules[1].source: a rule takes counters or facts, not both; make two rules of it
test.yaml:6:18: rules[2].metrik: this key is not known; did you mean `metric`?
test.yaml:7:30: rules[3].metric: the pattern does not capture `$2`; it has $1
test.yaml:7:50: rules[3].labels.a: the pattern does not capture `$name`; it has $1
test.yaml:7:59: rules[3].labels.b c: a label's name has letters, digits, `_` and `.`, and does not start with a digit; choose another name
test.yaml:7:69: rules[3].labels.le: the label `le` has a meaning already; choose another name
test.yaml:7:76: rules[3].labels.pod: the label `pod` has a meaning already; choose another name
test.yaml:7:84: rules[3].labels.__b: names that start with `__` are Prometheus' own; choose another name
test.yaml:7:100: rules[3].labels.a_d: in Prometheus this is the same label as `a.d`; choose another name
test.yaml:7:111: rules[3].labels.f: `$` without a name; write `$$` for a dollar sign
test.yaml:8:15: rules[4].counter: `{` without `}`
test.yaml:9:15: rules[5].counter: the regular expression does not compile: unclosed group
test.yaml:10:5: rules[6]: the rule does not say which metric it makes; add `metric: NAME`, or `action: drop`
test.yaml:11:14: rules[7].source: no source is called `pool.usd`; did you mean `pool.used`?
test.yaml:12:48: rules[8].labels.a: the source pool.used has no label `poool`; it has $pool, $type
test.yaml:13:33: rules[9].action: only counters have a name to derive a metric from; describe the metric with `metric`
test.yaml:14:40: rules[10].labels: a rule with an action describes no metric; remove this key, or `action`
test.yaml:15:26: rules[11].action: expected one of drop, derive, found `dorp`
test.yaml:16:26: rules[12].metric: names that start with `hotspot_exporter_` are the exporter's own
test.yaml:17:26: rules[13].metric: a metric's name starts with a letter
test.yaml:18:26: rules[14].metric: a metric's name starts with a letter
test.yaml:19:26: rules[15].metric: a metric's name has letters, digits and `_.:-/`, found ' '
test.yaml:20:35: rules[16].type: expected one of gauge, counter, updowncounter, info, found `summary`
test.yaml:20:51: rules[16].scale: expected a number other than 0, found `0`
test.yaml:20:60: rules[16].unit: a unit has 1 to 63 visible ASCII characters; write it in UCUM, such as By, s, 1 or {class}
test.yaml:20:73: rules[16].help: expected a text, found a list
test.yaml:21:15: rules[17].counter: this counter may hold secrets and is never exported
test.yaml:22:37: rules[18].prefix: only `action: derive` takes a prefix
test.yaml:23:5: rules[19]: the metric y has other labels at test.yaml:22; one metric has one type, unit, help and set of labels
test.yaml:23:49: rules[19].labels: the text itself becomes the label `value`; choose another name
test.yaml:24:5: rules[20]: expected a mapping, found `just text`
"##);
}

#[test]
fn contradicting_rules_are_refused() {
    assert_snapshot!(problems(
        r#"
  - {counter: "a.*", metric: m, type: gauge, unit: By, help: One., labels: {x: "$1"}}
  - {counter: "b.*", metric: m, type: counter, unit: By, help: One., labels: {x: "$1"}}
  - {counter: "c.*", metric: m, type: gauge, unit: s, help: One., labels: {x: "$1"}}
  - {counter: "d.*", metric: m.bytes, type: gauge, help: Two., labels: {x: "$1"}}
  - {counter: "e.*", metric: m, labels: {y: "$1"}}
  - {counter: "f.*", metric: m, labels: {x: "$1"}}
  - {counter: a.b, metric: hidden}
  - {counter: "a.*", metric: hidden}
  - {source: target.up, metric: up1}
  - {source: target.up, metric: up2}
  - {counter: "*", action: drop}
  - {counter: z, metric: z}
"#
    ), @r##"
test.yaml:5:5: rules[1]: the metric m has another type at test.yaml:4; one metric has one type, unit, help and set of labels
test.yaml:6:5: rules[2]: the metric m has another unit at test.yaml:4; one metric has one type, unit, help and set of labels
test.yaml:7:5: rules[3]: the metric m.bytes has another help at test.yaml:4; one metric has one type, unit, help and set of labels
test.yaml:8:5: rules[4]: the metric m has other labels at test.yaml:4; one metric has one type, unit, help and set of labels
test.yaml:10:5: rules[6]: the rule at line 4 takes all that this one would; first match wins; move it up or remove it
test.yaml:11:5: rules[7]: the rule at line 4 takes all that this one would; first match wins; move it up or remove it
test.yaml:13:5: rules[9]: the rule at line 12 takes all that this one would; first match wins; move it up or remove it
test.yaml:15:5: rules[11]: the rule at line 14 takes all that this one would; first match wins; move it up or remove it
"##);
}

/// Each key with a value that is not its default, and what the rule has in its place.
#[test]
fn every_key_of_a_rule_reaches_its_field() {
    let rows = [
        ("counter", "{counter: x.y, metric: m}", "selector: Counter(Literal(\"x.y\"), \"x.y\")"),
        ("source", "{source: pool.used, metric: m}", "selector: Source(FactInfo { name: \"pool.used\""),
        ("metric", "{counter: a, metric: m.n}", "metric: Template { segments: [Text(\"m.n\")] }"),
        ("type", "{counter: a, metric: m, type: info}", "kind: Some(Info)"),
        ("unit", "{counter: a, metric: m, unit: By}", "unit: Some(\"By\")"),
        ("scale", "{counter: a, metric: m, scale: 0.5}", "factor: 0.5"),
        ("help", "{counter: a, metric: m, help: H.}", "help: Some(\"H.\")"),
        (
            "labels",
            "{counter: a, metric: m, labels: {l: 1}}",
            "labels: [(\"l\", Template { segments: [Text(\"1\")] })]",
        ),
        ("values", "{counter: a, metric: m, values: {x: y}}", "values: [(\"x\", \"y\")]"),
        ("action", "{counter: a, action: drop}", "action: Drop"),
        ("prefix", "{counter: a, action: derive, prefix: p}", "action: Derive { prefix: \"p\" }"),
    ];
    let schema = super::schema();
    let properties = &schema["properties"]["rules"]["items"]["properties"];
    let declared: Vec<&String> = properties.as_object().unwrap().keys().collect();
    assert_eq!(declared, rows.map(|(key, ..)| key));
    for (key, text, expected) in rows {
        let mut problems = Problems::default();
        let mut decoder = Decoder { file: "test.yaml".into(), problems: &mut problems };
        let node = document::parse(&format!("[{text}]")).unwrap();
        let rules = format!("{:?}", decode_rules(&mut decoder, &node, &Path::Root, &[]));
        assert!(rules.contains(expected) && problems.is_empty(), "{key}: {rules} {problems}");
    }
}

#[test]
fn every_key_of_a_profile_reaches_its_field() {
    let schema = super::schema();
    let declared: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(declared, ["profile", "help", "labels", "rules"]);
    let text = "{profile: p, help: H., labels: {a: $app-$slot, none: $slot}, rules: [{counter: a, action: drop}]}";
    let profile = Profile::parse("p.yaml", text, &[]).unwrap();
    assert_eq!((&*profile.name, &*profile.help, profile.rules()), ("p", "H.", 1));
    let jvm = Labels::new([("app", "x"), ("slot", "0"), ("pod", "p")]);
    let expected = [("a", "x-0"), ("app", "x"), ("none", "0"), ("pod", "p"), ("slot", "0")];
    assert_eq!(profile.identity(&jvm).iter().collect::<Vec<_>>(), expected);
}

#[test]
fn values_of_labels_are_replaced() {
    let text = "- {counter: \"a.*.*\", metric: m, labels: {x: \"$1 $2\"}, values: {b: B, x: y}}";
    let image =
        image(&[TestCounter("a.b.c", 1, 1, TestValue::Long(1)), TestCounter("a.bb.x", 1, 1, TestValue::Long(1))]);
    let plan = profile(text).plan(&image, &[], &SeriesLimits::default(), &mut WordIndex::default());
    let labels: Vec<_> = plan.series().map(|(_, series)| series.labels.get("x").unwrap().to_owned()).collect();
    assert_eq!(labels, ["B c", "bb y"]);
}

fn corpus() -> Vec<(String, Image)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perfdata");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let regions = files.filter(|file| file.extension().is_some_and(|extension| extension == "hsperfdata"));
    let mut regions: Vec<(String, Image)> = regions
        .map(|file| (file.display().to_string(), Image::decode(std::fs::read(&file).unwrap()).unwrap()))
        .collect();
    regions.sort_by(|a, b| a.0.cmp(&b.0));
    regions
}

#[test]
fn shipped_profiles_plan_every_real_region_without_loss() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/profiles");
    for name in ["otel", "client_java", "micrometer", "raw"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        let profile = Profile::parse(name, &text, &[]).unwrap_or_else(|problems| panic!("{problems}"));
        for (file, image) in &corpus() {
            let facts = crate::hotspot::Model::of(image, &[]).facts;
            let plan = profile.plan(image, &facts, &SeriesLimits::default(), &mut WordIndex::default());
            assert_eq!(plan.dropped, Dropped::default(), "{name} of {file}");
            assert!(!plan.families.is_empty(), "{name} of {file}");
            assert_legal(&plan);
        }
    }
}

#[test]
fn every_number_of_every_real_region_can_be_derived() {
    let profile = profile("- {counter: \"*\", action: derive}");
    let regions = corpus();
    assert_eq!(regions.len(), 20);
    for (file, image) in &regions {
        let mut words = WordIndex::default();
        let plan = profile.plan(image, &[], &SeriesLimits::default(), &mut words);
        assert_eq!(plan.dropped, Dropped::default(), "{file}");
        assert_legal(&plan);
        let numbers = image.entries.list.iter().filter(|entry| entry.is_word()).count();
        assert_eq!(words.offsets().len(), numbers, "{file}: every number is gathered once");
        for explanation in profile.explain(image, &[]) {
            if let (ExplainedInput::Counter(name), Err(reason)) = (&explanation.input, &explanation.outcome) {
                let is_word = image.entry(name).unwrap().is_word();
                assert!(
                    !is_word && matches!(reason, SkipReason::Text | SkipReason::Secret),
                    "{file}: {name}: {reason}"
                );
            }
        }
    }
}

/// Families in order, names and labels legal in Prometheus, no series twice.
fn assert_legal(plan: &Plan) {
    let word = |name: &str, also: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
    };
    let mut seen = std::collections::HashSet::new();
    let mut last = String::new();
    for (family, series) in plan.series() {
        let name = family.prometheus();
        assert!(word(&name, "_:"), "{name}");
        assert!(name >= last, "{name} comes after {last}");
        assert!(!name.starts_with("hotspot_exporter_"), "{name}");
        for (label, value) in series.labels.iter() {
            let label = label_name(label);
            assert!(word(&label, "_") && !label.starts_with("__"), "{label}");
            assert!(!["app", "slot", "le", "quantile", "pod"].contains(&&*label), "{label}");
            assert!(!value.is_empty(), "{name} {label}");
        }
        assert!(seen.insert((name.clone(), series.labels.clone())), "{name} twice");
        last = name;
    }
}

proptest! {
    #[test]
    fn any_text_is_a_profile_or_has_problems(text in "\\PC{0,200}|[-a-z$*{}:., \"\n&<#\\[\\]]{0,200}") {
        let _ = Profile::parse("any.yaml", &text, &[]);
        let _ = problems(&text);
    }

    #[test]
    fn any_counter_gets_legal_names(
        names in prop::collection::vec("[a-zA-Z0-9._ é-]{1,24}|(app|pod|[0-9]|name)(\\.(slot|[0-9]|name)){0,4}", 1..12),
        pattern in "[a-z0-9*?.]{1,6}|\\*",
        metric in "[a-z$1.]{1,8}",
        units in 0..9_u8,
        variability in 0..5_u8,
    ) {
        let counters: Vec<TestCounter<'_>> =
            names.iter().map(|name| TestCounter(name, units, variability, TestValue::Long(1))).collect();
        let image = image(&counters);
        for rule in [
            format!("- {{counter: {pattern:?}, metric: {metric:?}, labels: {{x: \"$1\"}}}}"),
            "- {counter: \"*\", action: derive}".to_owned(),
            "- {counter: \"*\", metric: \"$1\"}".to_owned(),
        ] {
            let text = format!("profile: test\nrules:\n{rule}");
            if let Ok(profile) = Profile::parse("any.yaml", &text, &["pod".to_owned()]) {
                assert_legal(&profile.plan(&image, &[], &SeriesLimits::default(), &mut WordIndex::default()));
            }
        }
    }
}
