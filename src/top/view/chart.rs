//! The history of a measure as a line chart.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Widget};

use super::Theme;
use crate::report::overview::Measure;
use crate::top::format;

/// Height below which a chart says nothing.
pub(super) const HEIGHT_MINIMUM: u16 = 5;

const MEBIBYTE: f64 = 1_048_576.0;

/// The name of a measure.
fn name(measure: Measure) -> &'static str {
    match measure {
        Measure::HeapUsed => "heap used",
        Measure::EdenUsed => "eden or young used",
        Measure::SurvivorUsed => "survivors used",
        Measure::OldUsed => "old generation used",
        Measure::LiveSet => "heap after collections",
        Measure::AllocationRate => "allocated a second",
        Measure::Stopped => "time stopped",
        Measure::LongestPause => "longest pause",
        Measure::Cpu => "CPUs",
        Measure::Threads => "threads",
        Measure::Rss => "resident memory",
        Measure::NativeCommitted => "native memory committed",
    }
}

/// A value of a measure with its unit.
fn value(measure: Measure, value: f64) -> String {
    match measure {
        Measure::Stopped => format!("{}%", format::percent(value)),
        Measure::LongestPause => format::time(value),
        Measure::Cpu => format::number(value),
        Measure::Threads => format!("{value:.0}"),
        _ => format::size(value),
    }
}

/// Where the axis of a measure ends: a power of two for bytes, else 1, 2 or 5 times a power of ten, and never so low that
/// what is nothing looks like much.
fn ceiling(measure: Measure, highest: f64) -> f64 {
    let least = match measure {
        Measure::Stopped => 0.01,
        Measure::LongestPause => 0.001,
        Measure::Cpu => 0.1,
        Measure::Threads => 10.0,
        _ => {
            let power = highest.max(MEBIBYTE).log2().ceil();
            return power.exp2();
        }
    };
    let highest = highest.max(least);
    let power = 10_f64.powf(highest.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| step * power >= highest * 0.999_999);
    step.unwrap_or(10.0) * power
}

/// Draws the points, which are `step` seconds apart and end now, with the last value in the title.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, measure: Measure, points: &[Option<f32>], theme: Theme) {
    let highest = points.iter().flatten().copied().fold(0.0_f32, f32::max);
    let top = ceiling(measure, f64::from(highest));
    let last = points.last().copied().flatten().map(|last| value(measure, f64::from(last)));
    let title = Line::from(vec![
        Span::styled(name(measure), theme.title()),
        Span::raw(format!(" {}", last.unwrap_or_else(|| "unknown".to_owned()))),
        Span::styled(format!("  most {}", value(measure, f64::from(highest))), theme.faint()),
    ]);
    super::line(buffer, area, 0, title);
    let runs = runs(points);
    let datasets = runs.iter().map(|run| {
        Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(theme.chart()).data(run)
    });
    let last = points.len().saturating_sub(1).max(1) as f64;
    let labels = [Line::from("0"), Line::from(value(measure, top))];
    let chart = Chart::new(datasets.collect())
        .x_axis(Axis::default().bounds([0.0, last]).style(theme.faint()))
        .y_axis(Axis::default().bounds([0.0, top]).labels(labels).style(theme.faint()));
    chart.render(Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area }, buffer);
}

/// Points that follow one another, with their numbers: a line has a gap where a value is unknown.
fn runs(points: &[Option<f32>]) -> Vec<Vec<(f64, f64)>> {
    let numbered: Vec<_> = points.iter().enumerate().collect();
    let runs = numbered.split(|(_, point)| point.is_none()).filter(|run| !run.is_empty());
    let place = |(index, point): &(usize, &Option<f32>)| point.map(|point| (*index as f64, f64::from(point)));
    runs.map(|run| run.iter().filter_map(place).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_values() {
        for (measure, highest, expected) in [
            (Measure::HeapUsed, 0.0, MEBIBYTE),
            (Measure::HeapUsed, MEBIBYTE * 65.0, MEBIBYTE * 128.0),
            (Measure::Rss, MEBIBYTE * 64.0, MEBIBYTE * 64.0),
            (Measure::Stopped, 0.0, 0.01),
            (Measure::LongestPause, 0.0005, 0.001),
            (Measure::Cpu, 1.3, 2.0),
            (Measure::Cpu, 5.0, 5.0),
            (Measure::Threads, 3.0, 10.0),
            (Measure::Threads, 120.0, 200.0),
        ] {
            assert!((ceiling(measure, highest) - expected).abs() < 1e-9, "{measure:?} {highest}");
        }
    }

    #[test]
    fn unknown_values_part_a_line() {
        let points = [Some(1.0), Some(2.0), None, None, Some(3.0)];
        assert_eq!(runs(&points), [vec![(0.0, 1.0), (1.0, 2.0)], vec![(4.0, 3.0)]]);
        assert!(runs(&[None, None]).is_empty());
    }
}
