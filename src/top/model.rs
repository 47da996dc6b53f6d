//! What `top` shows and where the user is in it: order, filter, selection. It reads no terminal and no JVM.

use std::collections::{BTreeMap, HashSet};

use super::column::Column;
use super::keys::KeyAction;
use crate::report::overview::{JvmDetail, JvmKey, JvmOverview, Measure, Overview, Severity};

/// Rows by which a wheel scrolls.
const WHEEL: isize = 3;

/// Longest text of a filter.
const FILTER_MAXIMUM: usize = 200;

/// Which JVM: a slot may have had several, and a root or pod may have the same app and slot as another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) app: Option<String>,
    pub(super) slot: Option<u32>,
    pub(super) pid: Option<u32>,
    pub(super) labels: BTreeMap<String, String>,
}

impl Selection {
    fn of(jvm: &JvmOverview) -> Self {
        let row = &jvm.row;
        Self {
            app: row.description.app.clone(),
            slot: row.description.slot,
            pid: row.description.pid,
            labels: row.description.labels.clone(),
        }
    }

    /// Whether it is that of this JVM.
    pub(super) fn is_of(&self, jvm: &JvmOverview) -> bool {
        let row = &jvm.row;
        self.pid == row.description.pid
            && self.slot == row.description.slot
            && self.app == row.description.app
            && self.labels == row.description.labels
    }

    /// Its name in questions; `None` while the JVM starts.
    pub(super) fn key(&self) -> Option<JvmKey> {
        Some(JvmKey { app: self.app.clone()?, slot: self.slot?, labels: self.labels.clone() })
    }
}

/// What the screen shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Screenful {
    /// All JVMs.
    #[default]
    List,
    /// One JVM.
    Detail,
    /// The keys.
    Help,
    /// The choice of columns.
    Columns,
    /// Files and processes that are not served.
    Refused,
}

/// All that the screen depends on.
#[derive(Debug)]
pub(super) struct TopModel {
    overview: Overview,
    /// The last overview that came while this one is held.
    waiting: Option<Overview>,
    /// The JVM of the detail view, with all points.
    detail: Option<JvmDetail>,
    /// Why the last overview could not be had.
    pub(super) failure: Option<String>,
    /// Whether an overview has come.
    pub(super) is_filled: bool,
    pub(super) is_paused: bool,
    pub(super) is_ended: bool,
    pub(super) wants_suspension: bool,
    pub(super) wants_mouse: bool,
    pub(super) screenful: Screenful,
    /// Whether typed characters are the filter's.
    pub(super) is_typing: bool,
    pub(super) filter: String,
    pub(super) sorted: Column,
    pub(super) is_descending: bool,
    pub(super) hidden: HashSet<Column>,
    /// The row of the choice of columns.
    pub(super) chosen: usize,
    /// Lines by which a text or the charts are scrolled.
    pub(super) scroll: usize,
    selected: Option<Selection>,
    /// Indices into the overview, filtered and sorted.
    rows: Vec<usize>,
    /// The selected one of the rows, and the first that is drawn.
    pub(super) cursor: usize,
    pub(super) first: usize,
    /// Rows that fit on the screen, as the last drawing says.
    pub(super) page: usize,
}

impl Default for TopModel {
    fn default() -> Self {
        Self {
            overview: Overview::default(),
            waiting: None,
            detail: None,
            failure: None,
            is_filled: false,
            is_paused: false,
            is_ended: false,
            wants_suspension: false,
            wants_mouse: false,
            screenful: Screenful::List,
            is_typing: false,
            filter: String::new(),
            sorted: Column::Trouble,
            is_descending: true,
            hidden: HashSet::new(),
            chosen: 0,
            scroll: 0,
            selected: None,
            rows: Vec::new(),
            cursor: 0,
            first: 0,
            page: 1,
        }
    }
}

impl TopModel {
    /// Takes a new overview, or the reason why there is none.
    pub(super) fn take(&mut self, overview: Result<Overview, String>) {
        match overview {
            Ok(overview) if self.is_paused => {
                self.waiting = Some(overview);
                self.failure = None;
            }
            Ok(overview) => {
                self.overview = overview;
                self.failure = None;
                self.is_filled = true;
                self.arrange();
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// Takes what is known of the JVM of the detail view.
    pub(super) fn take_detail(&mut self, detail: JvmDetail) {
        if !self.is_paused || self.detail.is_none() {
            self.detail = Some(detail);
        }
    }

    /// The JVM whose points are wanted.
    pub(super) fn watched(&self) -> Option<JvmKey> {
        let is_wanted = self.screenful == Screenful::Detail && !(self.is_paused && self.detail.is_some());
        is_wanted.then(|| self.selected.as_ref()?.key()).flatten()
    }

    /// What it is about.
    pub(super) fn overview(&self) -> &Overview {
        &self.overview
    }

    /// JVMs that pass the filter, in order.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = &JvmOverview> {
        static NONE: std::sync::LazyLock<JvmOverview> = std::sync::LazyLock::new(JvmOverview::default);
        self.rows.iter().map(|index| self.overview.jvms.get(*index).unwrap_or(&NONE))
    }

    /// The selected JVM.
    pub(super) fn selected(&self) -> Option<&JvmOverview> {
        self.rows.get(self.cursor).and_then(|index| self.overview.jvms.get(*index))
    }

    /// The JVM of the detail view and the seconds between its points, all of which it has if they have come.
    pub(super) fn detail(&self) -> Option<(&JvmOverview, Option<f64>)> {
        let key = self.selected.as_ref()?;
        let full = self.detail.as_ref().filter(|detail| key.is_of(&detail.jvm));
        let known = || self.overview.jvms.iter().find(|jvm| key.is_of(jvm)).map(|jvm| (jvm, self.overview.step));
        full.map(|detail| (&detail.jvm, detail.step)).or_else(known)
    }

    /// JVMs with a finding of this urgency at least.
    pub(super) fn troubled(&self, least: Severity) -> usize {
        let is_troubled = |jvm: &&JvmOverview| super::trouble::severity(jvm) == Some(least);
        self.overview.jvms.iter().filter(is_troubled).count()
    }

    /// Whether a column is shown where it fits.
    pub(super) fn shows(&self, column: Column) -> bool {
        let has_labels = || self.overview.jvms.iter().any(|jvm| !jvm.row.description.labels.is_empty());
        !self.hidden.contains(&column) && (column != Column::Labels || has_labels())
    }

    /// Measures with a history, in their order.
    pub(super) fn charts(jvm: &JvmOverview) -> impl Iterator<Item = (Measure, &[Option<f32>])> {
        let known = jvm.history.iter().filter(|(_, points)| points.iter().any(Option::is_some));
        known.map(|(measure, points)| (*measure, &**points))
    }

    /// Filters and sorts anew. The selection stays with its JVM, or else with its row.
    fn arrange(&mut self) {
        let terms: Vec<String> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        let jvms = &self.overview.jvms;
        let mut rows: Vec<usize> = (0..jvms.len()).collect();
        rows.retain(|index| jvms.get(*index).is_some_and(|jvm| passes(jvm, &terms)));
        let (sorted, descending) = (self.sorted, self.is_descending);
        rows.sort_by(|a, b| match (jvms.get(*a), jvms.get(*b)) {
            (Some(a), Some(b)) => sorted.compare(a, b, descending).then_with(|| by_name(a, b)),
            _ => std::cmp::Ordering::Equal,
        });
        self.rows = rows;
        let key = self.selected.as_ref();
        let place = key.and_then(|key| self.rows().position(|jvm| key.is_of(jvm)));
        self.cursor = place.unwrap_or(self.cursor).min(self.rows.len().saturating_sub(1));
        // The detail view stays with a JVM that is gone.
        if place.is_none() && self.screenful != Screenful::Detail {
            self.selected = self.selected().map(Selection::of);
        }
    }

    fn select(&mut self, row: usize) {
        self.cursor = row.min(self.rows.len().saturating_sub(1));
        self.selected = self.selected().map(Selection::of);
    }

    fn step(&mut self, by: isize) {
        match self.screenful {
            Screenful::List => self.select(self.cursor.saturating_add_signed(by)),
            Screenful::Columns => {
                let last = <Column as strum::VariantArray>::VARIANTS.len() - 1;
                self.chosen = self.chosen.saturating_add_signed(by).min(last);
            }
            _ => self.scroll = self.scroll.saturating_add_signed(by),
        }
    }

    fn sort_by(&mut self, column: Column) {
        if self.sorted == column {
            self.is_descending = !self.is_descending;
        } else {
            self.sorted = column;
            self.is_descending = column.is_descending();
        }
        self.arrange();
    }

    fn show(&mut self, screenful: Screenful) {
        self.screenful = screenful;
        self.scroll = 0;
    }

    /// Does what a key asks for.
    pub(super) fn apply(&mut self, action: KeyAction) {
        let page = isize::try_from(self.page.max(2) - 1).unwrap_or(isize::MAX);
        match action {
            KeyAction::Quit => self.is_ended = true,
            KeyAction::Suspend => self.wants_suspension = true,
            KeyAction::Back if self.screenful != Screenful::List => {
                self.show(Screenful::List);
                self.detail = None;
                self.arrange();
            }
            KeyAction::Back => self.set_filter(String::new()),
            KeyAction::Up => self.step(-1),
            KeyAction::Down => self.step(1),
            KeyAction::WheelUp => self.step(-WHEEL),
            KeyAction::WheelDown => self.step(WHEEL),
            KeyAction::PageUp => self.step(-page),
            KeyAction::PageDown => self.step(page),
            KeyAction::First => self.step(isize::MIN),
            KeyAction::Last => self.step(isize::MAX),
            KeyAction::Enter if self.screenful == Screenful::Columns => {
                self.sort_by(self.chosen_column());
                self.show(Screenful::List);
            }
            KeyAction::Enter if self.screenful == Screenful::List && self.selected().is_some() => {
                self.select(self.cursor);
                self.show(Screenful::Detail);
            }
            KeyAction::Enter => {}
            KeyAction::Toggle => {
                let column = self.chosen_column();
                if !self.hidden.remove(&column) {
                    self.hidden.insert(column);
                }
            }
            KeyAction::Pause => self.pause(),
            KeyAction::Help => self.show(Screenful::Help),
            KeyAction::Columns => {
                self.chosen = self.sorted as usize;
                self.show(Screenful::Columns);
            }
            KeyAction::Refused => self.show(Screenful::Refused),
            KeyAction::Reverse => {
                self.is_descending = !self.is_descending;
                self.arrange();
            }
            KeyAction::SortBy(column) => self.sort_by(column),
            KeyAction::NextColumn(by) => self.sort_beside(by),
            KeyAction::Mouse => self.wants_mouse = !self.wants_mouse,
            KeyAction::Filter => self.is_typing = true,
            KeyAction::Type(text) => self.type_text(&text),
            KeyAction::Erase => {
                let mut filter = std::mem::take(&mut self.filter);
                filter.pop();
                self.set_filter(filter);
            }
            KeyAction::Keep => self.is_typing = false,
            KeyAction::Discard => {
                self.is_typing = false;
                self.set_filter(String::new());
            }
            KeyAction::Point { row } => self.select(self.first + row),
        }
    }

    fn chosen_column(&self) -> Column {
        <Column as strum::VariantArray>::VARIANTS.get(self.chosen).copied().unwrap_or(Column::Trouble)
    }

    /// Sorts by the column so many further among those that are shown.
    fn sort_beside(&mut self, by: isize) {
        let all = <Column as strum::VariantArray>::VARIANTS;
        let shown: Vec<Column> = all.iter().copied().filter(|column| self.shows(*column)).collect();
        let place = shown.iter().position(|column| *column == self.sorted).unwrap_or_default();
        let next = place.saturating_add_signed(by).min(shown.len().saturating_sub(1));
        if let Some(column) = shown.get(next).copied().filter(|column| *column != self.sorted) {
            self.sort_by(column);
        }
    }

    fn pause(&mut self) {
        self.is_paused = !self.is_paused;
        if let Some(overview) = self.waiting.take() {
            self.take(Ok(overview));
        }
    }

    fn type_text(&mut self, text: &str) {
        let room = FILTER_MAXIMUM.saturating_sub(self.filter.chars().count());
        let typed = text.chars().filter(|c| !crate::text::is_unprintable(*c)).take(room);
        let filter: String = self.filter.chars().chain(typed).collect();
        self.set_filter(filter);
    }

    fn set_filter(&mut self, filter: String) {
        self.filter = filter;
        self.arrange();
    }
}

fn by_name(a: &JvmOverview, b: &JvmOverview) -> std::cmp::Ordering {
    (&a.row.description.app, a.row.description.slot, a.row.description.pid).cmp(&(
        &b.row.description.app,
        b.row.description.slot,
        b.row.description.pid,
    ))
}

/// Whether every term, in lower case, is in one of the texts of a JVM.
fn passes(jvm: &JvmOverview, terms: &[String]) -> bool {
    if terms.is_empty() {
        return true;
    }
    let row = &jvm.row;
    let known = [
        &row.description.app,
        &row.description.main_class,
        &row.description.java_version,
        &row.description.gc,
        &row.description.user,
        &row.description.path,
    ];
    let mut texts: Vec<String> = known.into_iter().flatten().map(|text| text.to_lowercase()).collect();
    texts.push(row.state.to_lowercase());
    texts.extend(row.description.pid.map(|pid| pid.to_string()));
    texts.extend(row.description.labels.values().map(|value| value.to_lowercase()));
    texts.extend(jvm.findings.iter().map(|finding| finding.name.to_lowercase()));
    texts.extend(jvm.end.map(|end| super::trouble::ending(end.how).to_owned()));
    terms.iter().all(|term| texts.iter().any(|text| text.contains(term.as_str())))
}
