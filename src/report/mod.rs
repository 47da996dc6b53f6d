//! One JVM looked at from the command line: `dump`, `explain` and `nmt`.

mod explain;
pub mod list;
mod living;
mod nmt;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::config::Config;
use crate::discovery::{Candidate, Refusal, Scanner};
use crate::perfdata::{CounterValue, FileMode, Image, Region, RegionError};
use crate::text::{Align, printable, table};

pub use explain::explain;
pub use nmt::{NativeError, native_memory};

/// Why a JVM could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Neither a process id nor a file.
    #[error("{subject}: no such file, and not a process id; `hotspot-exporter list` shows what there is")]
    Unknown {
        /// As given.
        subject: String,
    },
    /// A process that is no readable JVM.
    #[error("process {pid}: {}", refusal.as_deref().unwrap_or("no JVM with that pid was found; `hotspot-exporter list` shows what there is"))]
    NotFound {
        /// As given.
        pid: i32,
        /// The reason, where the scan has one.
        refusal: Option<String>,
    },
    /// A JVM whose region is not filled in yet.
    #[error("process {pid}: the JVM is starting; try again in a moment")]
    Starting {
        /// As given.
        pid: i32,
    },
    /// JVMs in containers, whose processes are not visible.
    #[error("several JVMs are pid {pid} to themselves: {paths}; --discovery.root={{the /tmp of one}} picks it")]
    Ambiguous {
        /// As given.
        pid: i32,
        /// Their regions.
        paths: String,
    },
    /// The region cannot be read.
    #[error("{}: {error}", path.display())]
    Region {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: RegionError,
    },
}

/// What the command line names.
enum Named<'a> {
    Process(i32),
    File(&'a Path),
}

impl<'a> Named<'a> {
    /// A file of that name goes before a process.
    fn of(subject: &'a str) -> Result<Self, InspectError> {
        let path = Path::new(subject);
        match subject.parse::<i32>() {
            _ if path.exists() => Ok(Self::File(path)),
            Ok(pid) => Ok(Self::Process(pid)),
            Err(_) => Err(InspectError::Unknown { subject: subject.to_owned() }),
        }
    }
}

/// A copy of the region of `subject`: a region file, or the process id of a JVM as `list` shows it.
///
/// # Errors
/// Nothing of that name, a JVM that cannot be read, or a file that is no region.
pub fn image(subject: &str, config: &Config) -> Result<Image, InspectError> {
    match Named::of(subject)? {
        Named::Process(pid) => of_process(pid, config),
        Named::File(path) => of_file(path),
    }
}

fn of_file(path: &Path) -> Result<Image, InspectError> {
    let region = |error| InspectError::Region { path: path.to_owned(), error };
    let file = open(path, "a region").map_err(|error| region(error.into()))?;
    let open = Region::open(file, FileMode::Pread).map_err(region)?;
    Image::read(&open).map_err(region)
}

/// Opens a regular file, and nothing that could block; `what` it should be.
fn open(path: &Path, what: &str) -> std::io::Result<File> {
    let kind = std::fs::metadata(path)?.file_type();
    let found = match kind {
        _ if kind.is_file() => return File::open(path),
        _ if kind.is_dir() => "directory",
        _ if kind.is_fifo() => "FIFO",
        _ if kind.is_socket() => "socket",
        _ => "device",
    };
    let message = format!("{what} is a regular file, this is a {found}");
    Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, message))
}

fn of_process(pid: i32, config: &Config) -> Result<Image, InspectError> {
    let scan = Scanner::new(&config.discovery).scan(&|_| false);
    let found = scan.candidates.into_iter().find(|candidate| is_process(candidate, pid));
    let Some((path, source)) = found.and_then(|candidate| Some((candidate.path, candidate.source?))) else {
        return Err(not_found(pid, &scan.refusals));
    };
    let region = |error| InspectError::Region { path: path.clone(), error };
    let open = source.open(config.discovery.access).map_err(region)?;
    Image::read(&open).map_err(region)
}

/// Whether `list` shows the JVM of this region under that pid.
fn is_process(candidate: &Candidate, pid: i32) -> bool {
    candidate.process.as_ref().map_or(candidate.vpid, |process| process.pid) == pid
}

fn not_found(pid: i32, refusals: &[Refusal]) -> InspectError {
    let told = |refusal: &Refusal| format!("{}: {}. {}", refusal.reason, refusal.detail, refusal.remedy);
    let refusal = refusals.iter().find(|refusal| refusal.pid == Some(pid)).map(told);
    InspectError::NotFound { pid, refusal }
}

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
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
