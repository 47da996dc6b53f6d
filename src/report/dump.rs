//! `dump`: every entry of a region, like `jstat -snap`.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::perfdata::{CounterValue, Image};
use crate::text::{Align, printable, table};

/// `dump --format=json`.
pub fn dump_json(image: &Image) -> Json {
    let prologue = &image.prologue;
    let entries: Vec<Json> = image
        .entries
        .list
        .iter()
        .map(|entry| {
            json!({
                "name": entry.name,
                "type": entry.data_type.to_string(),
                "units": entry.units.to_string(),
                "variability": entry.variability.to_string(),
                "supported": entry.is_supported(),
                "value": match image.value(entry) {
                    CounterValue::Long(value) => json!(value),
                    CounterValue::Text(text) => json!(text),
                    CounterValue::Opaque(bytes) => json!(hexadecimal(bytes)),
                },
            })
        })
        .collect();
    let mut dump = json!({
        "prologue": {
            "byte_order": prologue.byte_order.to_string(),
            "major": prologue.major,
            "minor": prologue.minor,
            "accessible": prologue.accessible,
            "used": prologue.used,
            "overflow": prologue.overflow,
            "mod_time_stamp": prologue.mod_time_stamp,
            "entry_offset": prologue.entry_offset,
            "num_entries": prologue.num_entries,
            "size": image.region_size,
        },
        "entries": entries,
    });
    if let Some(stopped) = &image.entries.stopped {
        dump["stopped"] = json!(stopped.to_string());
    }
    dump
}

/// `dump --format=table`.
pub fn dump_table(image: &Image) -> String {
    let prologue = &image.prologue;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "PerfData {}.{}, {} endian, {}, {} of {} bytes used, {} entries{}",
        prologue.major,
        prologue.minor,
        prologue.byte_order,
        if prologue.accessible { "accessible" } else { "not accessible yet" },
        prologue.used,
        image.region_size,
        prologue.num_entries,
        if prologue.overflow > 0 { format!(", {} bytes did not fit", prologue.overflow) } else { String::new() },
    );
    let header = ["NAME", "TYPE", "UNITS", "VARIABILITY", "VALUE"].map(Cow::Borrowed);
    let rows = image.entries.list.iter().map(|entry| {
        let value = match image.value(entry) {
            CounterValue::Long(value) => value.to_string(),
            CounterValue::Text(text) => format!("{text:?}"),
            CounterValue::Opaque(bytes) => hexadecimal(bytes),
        };
        let [data_type, units] = [entry.data_type.to_string(), entry.units.to_string()];
        [printable(&entry.name), data_type.into(), units.into(), entry.variability.to_string().into(), value.into()]
    });
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
    out.push_str(&table(&rows, [Align::Left; 5]));
    if let Some(stopped) = &image.entries.stopped {
        let _ = writeln!(out, "the walk stopped {stopped}");
    }
    out
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
