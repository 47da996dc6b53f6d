//! The columns of the list: what each shows, how it sorts, and which fit into a width.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::format::{number, percent, size, time};
use super::trouble;
use crate::report::list::duration;
use crate::report::overview::{JvmOverview, Measure};
use crate::text::{Align, printable};

/// A column, in the order in which they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::VariantArray)]
pub(super) enum Column {
    /// How badly it does.
    Trouble,
    App,
    Slot,
    Pid,
    /// Of pods and roots; shown where there are any.
    Labels,
    Collector,
    Heap,
    HeapSize,
    Trend,
    Allocation,
    GcShare,
    Stopped,
    Pause,
    Threads,
    Cpu,
    Rss,
    Native,
    Java,
    Uptime,
    Remark,
}

/// What does not change about a column.
struct ColumnLayout {
    title: &'static str,
    /// For the choice of columns.
    meaning: &'static str,
    width: u16,
    align: Align,
    /// Columns with the lowest numbers stay where the width does not suffice for all.
    rank: u8,
}

/// Characters between two columns.
pub(super) const GAP: u16 = 1;

/// Labels that come first, in this order.
const FIRST_LABELS: [&str; 3] = ["namespace", "pod", "container"];

/// Most that the name of an application takes of a wide terminal.
const APP_MAXIMUM: u16 = 24;

impl Column {
    fn layout(self) -> ColumnLayout {
        use Align::{Left, Right};
        let (title, meaning, width, align, rank) = match self {
            Self::Trouble => ("", "how badly it does", 2, Left, 0),
            Self::App => ("APP", "name of the application", 14, Left, 1),
            Self::Slot => ("SLOT", "number among the JVMs of one application", 4, Right, 8),
            Self::Pid => ("PID", "process id", 7, Right, 10),
            Self::Labels => ("LABELS", "namespace, pod, container, and labels of roots", 26, Left, 10),
            Self::Collector => ("GC", "collector", 10, Left, 12),
            Self::Heap => ("HEAP", "live set, use and limit of the heap", 15, Left, 2),
            Self::HeapSize => ("USED/LIMIT", "bytes of the heap in use, and its limit", 13, Right, 15),
            Self::Trend => ("HEAP OVER TIME", "the last minutes of the heap", 18, Left, 17),
            Self::Allocation => ("ALLOC/s", "bytes allocated a second", 7, Right, 6),
            Self::GcShare => ("GC%", "share of time in collections", 5, Right, 9),
            Self::Stopped => ("STOP%", "share of time in which the application stood still", 5, Right, 3),
            Self::Pause => ("PAUSE", "longest pause", 6, Right, 4),
            Self::Threads => ("THR", "live platform threads", 5, Right, 11),
            Self::Cpu => ("CPU", "CPUs in use", 5, Right, 5),
            Self::Rss => ("RSS", "resident memory", 6, Right, 7),
            Self::Native => ("NATIVE", "native memory committed, by NMT", 6, Right, 13),
            Self::Java => ("JAVA", "version of Java", 9, Left, 18),
            Self::Uptime => ("UPTIME", "time since its start", 8, Right, 16),
            Self::Remark => ("REMARK", "its worst finding", 24, Left, 14),
        };
        ColumnLayout { title, meaning, width, align, rank }
    }

    /// Its header.
    pub(super) fn title(self) -> &'static str {
        self.layout().title
    }

    /// What it shows, in words.
    pub(super) fn meaning(self) -> &'static str {
        self.layout().meaning
    }

    /// On which side its texts stand.
    pub(super) fn align(self) -> Align {
        self.layout().align
    }

    /// Whether the largest values come first where it is sorted by.
    pub(super) fn is_descending(self) -> bool {
        use Column::{App, Collector, Java, Labels, Pid, Remark, Slot};
        !matches!(self, App | Slot | Pid | Labels | Collector | Java | Remark)
    }

    /// The measure that it shows.
    fn measure(self) -> Option<Measure> {
        Some(match self {
            Self::Allocation => Measure::AllocationRate,
            Self::Stopped => Measure::Stopped,
            Self::Pause => Measure::LongestPause,
            Self::Threads => Measure::Threads,
            Self::Cpu => Measure::Cpu,
            Self::Rss => Measure::Rss,
            Self::Native => Measure::NativeCommitted,
            _ => return None,
        })
    }

    /// The number that it shows and sorts by.
    pub(super) fn value(self, jvm: &JvmOverview) -> Option<f64> {
        let row = &jvm.row;
        match self {
            Self::Slot => row.description.slot.map(f64::from),
            Self::Pid => row.description.pid.map(f64::from),
            Self::Heap => share(row.heap_used.or(row.heap_committed)? as f64, row.heap_limit? as f64),
            Self::HeapSize | Self::Trend => row.heap_used.or(row.heap_committed).map(|bytes| bytes as f64),
            Self::GcShare => jvm.values.gc_share,
            Self::Uptime => row.uptime_seconds,
            _ => jvm.values.last.get(&self.measure()?).copied(),
        }
    }

    /// What its cell says, where that is plain text: `None` where nothing is known.
    pub(super) fn text(self, jvm: &JvmOverview, now: f64) -> Option<Cow<'_, str>> {
        let row = &jvm.row;
        let foreign = |text: &'_ Option<String>| text.as_deref().map(|text| Cow::Owned(printable(text).into_owned()));
        match self {
            Self::Trouble => return Some(trouble::mark(jvm).into()),
            Self::App => return foreign(&row.description.app).or_else(|| foreign(&row.description.main_class)),
            Self::Labels => return labels(jvm).map(|labels| printable(&labels).into_owned().into()),
            Self::Collector => return foreign(&row.description.gc),
            Self::Java => return foreign(&row.description.java_version),
            Self::Remark => return Some(printable(&trouble::remark(jvm, now)).into_owned().into()),
            _ => {}
        }
        let value = self.value(jvm)?;
        let text = match self {
            Self::HeapSize => match row.heap_limit {
                Some(limit) => format!("{}/{}", size(value), size(limit as f64)),
                None => size(value),
            },
            Self::Heap | Self::GcShare | Self::Stopped => percent(value),
            Self::Allocation | Self::Rss | Self::Native | Self::Trend => size(value),
            Self::Pause => time(value),
            Self::Cpu => number(value),
            Self::Uptime => duration(value),
            _ => format!("{value:.0}"),
        };
        Some(text.into())
    }

    /// How two JVMs sort by it, the smaller value first. Unknown values come last in either direction.
    pub(super) fn compare(self, a: &JvmOverview, b: &JvmOverview, descending: bool) -> Ordering {
        let directed = |order: Ordering| if descending { order.reverse() } else { order };
        if self == Self::Trouble {
            return directed(trouble::compare(a, b));
        }
        let ended = a.end.is_some().cmp(&b.end.is_some());
        ended.then_with(|| match self {
            Self::App => known_first(&a.row.description.app, &b.row.description.app, |a, b| directed(a.cmp(b))),
            Self::Labels => known_first(&labels(a), &labels(b), |a, b| directed(a.cmp(b))),
            Self::Collector => known_first(&a.row.description.gc, &b.row.description.gc, |a, b| directed(a.cmp(b))),
            Self::Java => {
                known_first(&a.row.description.java_version, &b.row.description.java_version, |a, b| directed(a.cmp(b)))
            }
            Self::Remark => directed(trouble::remark(a, 0.0).cmp(&trouble::remark(b, 0.0))),
            _ => known_first(&self.value(a), &self.value(b), |a, b| directed(a.total_cmp(b))),
        })
    }
}

/// The values of its labels: `shop/orders-5d8f/main`.
fn labels(jvm: &JvmOverview) -> Option<String> {
    let labels = &jvm.row.description.labels;
    let first = FIRST_LABELS.iter().filter_map(|name| labels.get(*name));
    let others = labels.iter().filter(|(name, _)| !FIRST_LABELS.contains(&name.as_str())).map(|(_, value)| value);
    let values: Vec<&str> = first.chain(others).map(String::as_str).collect();
    (!values.is_empty()).then(|| values.join("/"))
}

fn known_first<T>(a: &Option<T>, b: &Option<T>, compare: impl Fn(&T, &T) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => compare(a, b),
        _ => b.is_some().cmp(&a.is_some()),
    }
}

/// A part of a whole, from 0 to 1.
pub(super) fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| (part / whole).clamp(0.0, 1.0))
}

/// The columns of a choice that fit into a width, each with its own: those of the lowest rank, and always that which the
/// list is sorted by. What is left goes to the application's name, and then to remarks.
pub(super) fn fit(width: u16, shown: impl Fn(Column) -> bool, sorted: Column) -> Vec<(Column, u16)> {
    let mut columns: Vec<Column> = <Column as strum::VariantArray>::VARIANTS.to_vec();
    columns.retain(|column| shown(*column) || *column == sorted);
    columns.sort_by_key(|column| (*column != sorted, column.layout().rank));
    let mut left = width;
    let mut fitting = Vec::new();
    for column in columns {
        let own = column.layout().width;
        let needed = if fitting.is_empty() { own } else { own.saturating_add(GAP) };
        if needed > left {
            // A first column that is too wide is cut.
            if fitting.is_empty() && left > 0 {
                fitting.push((column, std::mem::take(&mut left)));
            }
            break;
        }
        left -= needed;
        fitting.push((column, own));
    }
    fitting.sort_by_key(|(column, _)| *column as u8);
    let app = fitting.iter_mut().find(|(column, _)| *column == Column::App);
    if let Some((_, own)) = app {
        let more = left.min(APP_MAXIMUM.saturating_sub(*own));
        *own += more;
        left -= more;
    }
    if let Some((_, own)) = fitting.iter_mut().find(|(column, _)| *column == Column::Remark) {
        *own += left;
    }
    fitting
}
