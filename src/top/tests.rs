#![allow(clippy::unwrap_used)]
use std::sync::Arc;
use std::sync::mpsc::channel;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::style::Color;
use strum::VariantArray;

use super::column::{Column, fit};
use super::*;
use crate::report::list::{JvmDescription, JvmRow, RefusedRow};
use crate::report::overview::{End, Finding, HowEnded, JvmOverview, Measure, Severity};

const MIB: f64 = 1_048_576.0;
const NOW: f64 = 1_700_000_000.0;

fn jvm(app: &str, slot: u32, pid: u32, heap: (f64, f64), stopped: f64) -> JvmOverview {
    let (used, limit) = heap;
    let last = [
        (Measure::HeapUsed, used * MIB),
        (Measure::LiveSet, used * MIB / 2.0),
        (Measure::AllocationRate, f64::from(pid) * MIB / 4.0),
        (Measure::Stopped, stopped),
        (Measure::LongestPause, stopped / 4.0),
        (Measure::Cpu, 1.25),
        (Measure::Threads, 42.0),
        (Measure::Rss, limit * MIB * 1.3),
    ];
    let wave = |scale: f64| (0..36_i32).map(|at| Some((scale * (0.5 + 0.5 * f64::from(at).sin())) as f32)).collect();
    let history = [(Measure::HeapUsed, wave(used * MIB)), (Measure::Stopped, wave(stopped)), (Measure::Cpu, wave(2.0))];
    let description = JvmDescription {
        app: Some(app.to_owned()),
        slot: Some(slot),
        pid: Some(pid),
        main_class: Some(format!("com.example.{app}")),
        java_version: Some("25.0.3".to_owned()),
        gc: Some("G1".to_owned()),
        user: Some("app".to_owned()),
        ..JvmDescription::default()
    };
    let mut jvm = JvmOverview {
        row: JvmRow {
            state: "mapped".into(),
            uptime_seconds: Some(187_200.0),
            heap_used: Some((used * MIB) as u64),
            heap_limit: Some((limit * MIB) as u64),
            ..description.into()
        },
        history: history.into_iter().collect(),
        ..JvmOverview::default()
    };
    jvm.values.last = last.into_iter().collect();
    jvm.values.gc_share = Some(stopped * 0.9);
    jvm.values.cpu_limit = Some(2.0);
    jvm
}

fn finding(name: &str, severity: Severity, text: &str) -> Finding {
    Finding {
        name: name.to_owned(),
        severity,
        text: text.to_owned(),
        source: "jvm_memory_used_after_last_gc_bytes".to_owned(),
        next_step: "Take a heap histogram: jcmd 4711 GC.class_histogram.".to_owned(),
        runbook: None,
    }
}

fn overview() -> Overview {
    let mut leaking = jvm("orders", 0, 4711, (470.0, 512.0), 0.31);
    leaking.findings = vec![finding(
        "HeapAfterGcHigh",
        Severity::Critical,
        "91 % of the old generation is in use after a collection.",
    )];
    let mut throttled = jvm("search", 1, 77, (100.0, 2048.0), 0.01);
    Arc::make_mut(&mut throttled.row.description).gc = Some("ZGC".to_owned());
    throttled.findings = vec![finding("CpuThrottled", Severity::Warning, "40 % of the periods are throttled.")];
    let mut ended = jvm("billing", 0, 12, (64.0, 128.0), 0.0);
    ended.end = Some(End { at: NOW - 65.0, how: HowEnded::Exited });
    let hostile = jvm("a\u{1b}[31m\u{202e}漢字カナ-very-long-name-of-an-application", 3, 999_999, (1.0, 64.0), 0.002);
    let starting = JvmOverview {
        row: JvmRow { state: "starting".into(), ..JvmDescription { pid: Some(5), ..Default::default() }.into() },
        ..JvmOverview::default()
    };
    Overview {
        now: NOW,
        step: Some(25.0),
        jvms: vec![ended, starting, hostile, throttled, leaking],
        refused: vec![RefusedRow {
            pid: Some(31),
            reason: "other_owner".to_owned(),
            detail: "owned by uid 1000".to_owned(),
            remedy: "Run the exporter as uid 1000.".to_owned(),
            ..RefusedRow::default()
        }],
        exporter: Vec::new(),
    }
}

fn filled() -> TopModel {
    let mut model = TopModel::default();
    model.take(Ok(overview()));
    model
}

fn caption() -> Caption {
    Caption { source: "this host".to_owned(), interval: "2 s".to_owned() }
}

fn drawn(model: &mut TopModel, width: u16, height: u16) -> (Terminal<TestBackend>, Spots) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut spots = Spots::default();
    terminal.draw(|frame| spots = view::draw(frame, model, Theme::new(true), &caption())).unwrap();
    (terminal, spots)
}

fn screen(model: &mut TopModel, width: u16, height: u16) -> String {
    drawn(model, width, height).0.backend().to_string()
}

fn press(model: &mut TopModel, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '↓' => KeyCode::Down,
            key => KeyCode::Char(key),
        };
        let event = TerminalEvent::Key(KeyEvent::new(code, KeyModifiers::NONE));
        take(model, Message::Terminal(event), &Spots::default());
    }
}

fn apps(model: &TopModel) -> Vec<String> {
    model.rows().map(|jvm| jvm.row.description.app.clone().unwrap_or_default().chars().take(7).collect()).collect()
}

#[test]
fn the_list_shows_the_worst_first_and_drops_columns_that_do_not_fit() {
    for width in [80, 120, 200] {
        insta::assert_snapshot!(format!("list_{width}"), screen(&mut filled(), width, 12));
    }
}

#[test]
fn one_jvm_has_its_findings_and_charts() {
    for width in [80, 200] {
        let mut model = filled();
        press(&mut model, "\n");
        assert_eq!(model.watched().unwrap().app, "orders");
        insta::assert_snapshot!(format!("detail_{width}"), screen(&mut model, width, 30));
    }
}

#[test]
fn the_help_the_filter_the_columns_and_refusals() {
    for width in [80, 200] {
        let mut model = filled();
        press(&mut model, "?");
        insta::assert_snapshot!(format!("help_{width}"), screen(&mut model, width, 24));
        press(&mut model, "\u{1b}/sea");
        insta::assert_snapshot!(format!("filter_{width}"), screen(&mut model, width, 8));
        press(&mut model, "\n\u{1b}x");
        insta::assert_snapshot!(format!("refused_{width}"), screen(&mut model, width, 6));
        press(&mut model, "\u{1b}s ");
        insta::assert_snapshot!(format!("columns_{width}"), screen(&mut model, width, 22));
    }
}

#[test]
fn without_jvms_it_says_what_to_check() {
    let mut model = TopModel::default();
    assert!(screen(&mut model, 80, 24).contains("looking for JVMs"));
    model.take(Ok(Overview { now: NOW, ..Overview::default() }));
    insta::assert_snapshot!("nothing_80", screen(&mut model, 80, 24));
    model.take(Err("cannot connect to 127.0.0.1:1".to_owned()));
    assert!(screen(&mut model, 80, 24).contains("cannot connect"));
}

#[test]
fn no_size_of_a_terminal_is_too_small_to_draw() {
    for keys in ["", "\n", "?", "s", "x", "/a"] {
        for (width, height) in [(1, 1), (19, 5), (20, 5), (21, 6), (37, 9), (500, 3), (500, 200)] {
            let mut model = filled();
            press(&mut model, keys);
            let _ = screen(&mut model, width, height);
        }
    }
}

#[test]
fn nothing_that_a_jvm_says_reaches_the_terminal_as_a_command() {
    let mut hostile = overview();
    for jvm in &mut hostile.jvms {
        let evil = "\u{1b}]0;x\u{7}\u{9b}31m\r\n\u{202e}".to_owned();
        let description = Arc::make_mut(&mut jvm.row.description);
        let JvmDescription { app, gc, main_class, java_version, .. } = description;
        for text in [app, gc, main_class, java_version] {
            *text = Some(evil.clone());
        }
        description.labels.insert(evil.clone(), evil.clone());
        jvm.row.state = evil.clone().into();
        jvm.findings = vec![finding(&evil, Severity::Info, &evil)];
    }
    hostile.refused[0].detail = "\u{1b}[2J".to_owned();
    for keys in ["", "\n", "x"] {
        let mut model = TopModel::default();
        model.take(Ok(hostile.clone()));
        press(&mut model, keys);
        let (terminal, _) = drawn(&mut model, 200, 30);
        let cells = terminal.backend().buffer().content();
        assert!(cells.iter().all(|cell| !cell.symbol().contains(crate::text::is_unprintable)), "{keys:?}");
    }
    assert!(!plain::table(&hostile).replace('\n', "").contains(crate::text::is_unprintable));
}

#[test]
fn without_colour_no_cell_has_one() {
    for keys in ["", "\n"] {
        let mut model = filled();
        press(&mut model, keys);
        let mut terminal = Terminal::new(TestBackend::new(160, 40)).unwrap();
        terminal.draw(|frame| _ = view::draw(frame, &mut model, Theme::new(false), &caption())).unwrap();
        let cells = terminal.backend().buffer().content();
        assert!(cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        let (coloured, _) = drawn(&mut model, 160, 40);
        assert!(coloured.backend().buffer().content().iter().any(|cell| cell.fg != Color::Reset));
    }
}

#[test]
fn keys_sort_filter_and_select() {
    let mut model = filled();
    assert_eq!(apps(&model)[..2], ["orders", "search"]);
    press(&mut model, "a");
    assert_eq!(
        apps(&model)[1..],
        ["orders", "search", "", "billing"],
        "names that are unknown, and JVMs that ended, last"
    );
    press(&mut model, "r");
    assert_eq!(apps(&model)[..2], ["search", "orders"]);
    press(&mut model, "h");
    assert_eq!(
        model.selected().unwrap().row.description.app.as_deref(),
        Some("orders"),
        "the selection stays with its JVM"
    );
    press(&mut model, "/ORD g1");
    assert_eq!(apps(&model), ["orders"], "every term has to be found, in any case of letters");
    press(&mut model, "\u{1b}/cputhrottled\n");
    assert_eq!(apps(&model), ["search"], "findings are found by name");
    press(&mut model, "\u{1b}");
    assert_eq!(model.rows().len(), 5);
    press(&mut model, "↓↓↓↓↓↓↓↓");
    assert_eq!(model.cursor, 4);
    press(&mut model, "q");
    assert!(model.is_ended);
}

#[test]
fn the_selection_stays_with_its_jvm_while_others_come_and_go() {
    let mut model = filled();
    press(&mut model, "↓");
    assert_eq!(model.selected().unwrap().row.description.pid, Some(77));
    let mut next = overview();
    next.jvms.insert(0, jvm("worse", 0, 1, (10.0, 10.0), 0.9));
    next.jvms[0].findings = vec![
        finding("HeapAfterGcHigh", Severity::Critical, "full"),
        finding("Stopped", Severity::Critical, "stands still"),
    ];
    model.take(Ok(next.clone()));
    assert_eq!((model.selected().unwrap().row.description.pid, model.cursor), (Some(77), 2));
    press(&mut model, "\n");
    next.jvms.retain(|jvm| jvm.row.description.pid != Some(77));
    model.take(Ok(next));
    assert!(model.detail().is_none());
    assert!(screen(&mut model, 80, 24).contains("This JVM is gone."));
}

#[test]
fn a_pause_holds_what_is_seen() {
    let mut model = filled();
    press(&mut model, "p");
    model.take(Ok(Overview::default()));
    assert_eq!(model.rows().len(), 5);
    assert!(screen(&mut model, 80, 24).contains("PAUSED"));
    press(&mut model, "p");
    assert_eq!(model.rows().len(), 0);
}

#[test]
fn a_click_sorts_selects_and_opens() {
    let mut model = filled();
    let (_, spots) = drawn(&mut model, 200, 20);
    let click = |model: &mut TopModel, column, row| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        let event = TerminalEvent::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE });
        take(model, Message::Terminal(event), &spots);
    };
    click(&mut model, 4, 3);
    assert_eq!(model.cursor, 1);
    click(&mut model, 4, 3);
    assert_eq!(model.screenful, model::Screenful::Detail);
    press(&mut model, "\u{1b}");
    click(&mut model, 4, 1);
    assert_eq!(model.sorted, Column::App);
}

#[test]
fn columns_fit_into_any_width_and_the_sorted_one_always_does() {
    for width in 0..400 {
        for sorted in Column::VARIANTS {
            let columns = fit(width, |_| true, *sorted);
            let gaps = columns.len().saturating_sub(1) as u16;
            let taken = columns.iter().map(|(_, own)| *own).sum::<u16>() + gaps;
            assert!(taken <= width, "{width} {columns:?}");
            assert!(width == 0 || columns.iter().any(|(column, _)| column == sorted), "{width} {sorted:?}");
        }
    }
    assert_eq!(fit(240, |_| true, Column::Trouble).len(), Column::VARIANTS.len());
}

#[test]
fn a_table_for_programs() {
    insta::assert_snapshot!("plain", plain::table(&overview()));
    assert!(plain::table(&Overview::default()).contains("No JVM found"));
}

#[test]
fn a_source_is_asked_each_interval_and_at_once_for_what_is_watched() {
    struct Fake;
    impl crate::server::Backend for Fake {
        fn profiles(&self) -> Vec<String> {
            Vec::new()
        }
        fn exposition(
            &self,
            _: &str,
            _: crate::server::ExpositionFormat,
            _: std::time::Instant,
            _: &mut crate::server::PageBuffer<'_>,
        ) -> bool {
            false
        }
        fn gzip_level(&self) -> Option<u32> {
            None
        }
        fn targets(&self) -> crate::report::list::Listing {
            crate::report::list::Listing::default()
        }
        fn overview(&self, _: &[Measure]) -> Overview {
            overview()
        }
        fn jvm(&self, key: &JvmKey) -> Option<JvmDetail> {
            let jvm = overview().jvms.into_iter().find(|jvm| jvm.row.description.app.as_ref() == Some(&key.app))?;
            Some(JvmDetail { now: NOW, step: Some(5.0), jvm, ..JvmDetail::default() })
        }
        fn explain(&self, _: &JvmKey) -> Option<String> {
            None
        }
        fn readiness(&self) -> crate::server::Readiness {
            crate::server::Readiness::Ready
        }
        fn reload(&self) -> Result<(), String> {
            Ok(())
        }
    }
    let (messages, received) = channel();
    let (watch, watched) = channel();
    let source = TopSource::Local(std::sync::Arc::new(Fake));
    let following = thread::spawn(move || source::follow(&source, Duration::from_secs(3600), &watched, &messages));
    assert!(matches!(received.recv().unwrap(), Message::Overview(Ok(overview)) if overview.jvms.len() == 5));
    watch.send(Some(JvmKey { app: "search".to_owned(), slot: 1, ..JvmKey::default() })).unwrap();
    let Message::Detail(detail) = received.recv().unwrap() else { panic!("no detail") };
    assert_eq!(detail.jvm.row.description.pid, Some(77));
    drop(watch);
    following.join().unwrap();
}
