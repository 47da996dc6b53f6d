//! Charts as SVG that needs no script. Lines stretch with the page, and texts are HTML beside them, so that they stay
//! legible at every width.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::units::{Quantity, Ticks};

/// Width and height of a chart in its own units.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 200.0;

/// One line of a chart.
pub(super) struct ChartLine<'a> {
    /// Its name in the legend.
    pub(super) name: &'a str,
    /// Its class, which gives it its color.
    pub(super) class: &'a str,
    /// Its points, oldest first.
    pub(super) points: &'a [Option<f32>],
    /// The area below it is filled.
    pub(super) filled: bool,
}

/// A level that does not change.
pub(super) struct Level<'a> {
    pub(super) name: &'a str,
    pub(super) class: &'a str,
    pub(super) value: f64,
}

/// Single events: how long before the end, as a share of the time shown, and the value with its text.
pub(super) struct Dot {
    pub(super) ago: f64,
    pub(super) value: f64,
    pub(super) text: String,
}

/// A chart over the time of a history.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What to say where it has no point.
    pub(super) absent: &'a str,
    pub(super) quantity: Quantity,
    /// The axis reaches at least this value.
    pub(super) least: f64,
    pub(super) lines: Vec<ChartLine<'a>>,
    pub(super) levels: Vec<Level<'a>>,
    pub(super) dots: Vec<Dot>,
    /// Seconds from its begin to its end.
    pub(super) span: f64,
}

impl Chart<'_> {
    /// The chart with its title, legend and axes.
    pub(super) fn render(&self) -> Markup {
        let known = self.lines.iter().flat_map(|line| line.points).flatten().map(|value| f64::from(*value));
        let known = known.chain(self.dots.iter().map(|dot| dot.value));
        let highest = known.fold(f64::NAN, f64::max);
        if highest.is_nan() {
            return html! {
                figure.chart { figcaption { h3 { (self.title) } } p.absent { (self.absent) } }
            };
        }
        let highest = self.levels.iter().map(|level| level.value).fold(highest, f64::max);
        let ticks = Ticks::new(self.quantity, highest, self.least);
        let y = |value: f64| HEIGHT - (value / ticks.end()).clamp(0.0, 1.0) * HEIGHT;
        html! {
            figure.chart {
                figcaption { h3 { (self.title) } (self.legend()) }
                div.plot {
                    ol.y aria-hidden="true" { @for tick in ticks.values() { li { (self.quantity.text(tick)) } } }
                    svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(self.summary()) {
                        path.grid d=(grid(&ticks)) {}
                        @for line in &self.lines {
                            @if line.filled { path class={ "area " (line.class) } d=(area(line.points, y)) {} }
                            path class={ "line " (line.class) } d=(path(line.points, y)) {}
                        }
                        @for level in &self.levels {
                            path class={ "level " (level.class) } d={ "M0 " (short(y(level.value))) "h" (WIDTH) } {}
                        }
                        @for dot in &self.dots {
                            path.dot d={ "M" (short(WIDTH - dot.ago.clamp(0.0, 1.0) * WIDTH)) " " (short(y(dot.value))) "h0" } {
                                title { (dot.text) }
                            }
                        }
                    }
                    ol.x aria-hidden="true" { @for tick in time_ticks(self.span) { li { (tick) } } }
                }
            }
        }
    }

    /// The names of lines and levels with their present values.
    fn legend(&self) -> Markup {
        html! {
            ul.legend {
                @for line in &self.lines {
                    @if let Some(value) = line.points.iter().rev().flatten().next() {
                        li class=(line.class) { span { (line.name) } " " b { (self.quantity.text(f64::from(*value))) } }
                    }
                }
                @for level in &self.levels {
                    li class={ "level " (level.class) } { span { (level.name) } " " b { (self.quantity.text(level.value)) } }
                }
            }
        }
    }

    /// What it shows, in words.
    fn summary(&self) -> String {
        let mut text = format!("{} over {}", self.title, minutes(self.span));
        for line in &self.lines {
            let known = || line.points.iter().flatten().map(|value| f64::from(*value));
            if let Some(last) = known().next_back() {
                let highest = known().fold(last, f64::max);
                let (last, highest) = (self.quantity.text(last), self.quantity.text(highest));
                let _ = write!(text, "; {}: last {last}, highest {highest}", line.name);
            }
        }
        for level in &self.levels {
            let _ = write!(text, "; {} {}", level.name, self.quantity.text(level.value));
        }
        if let Some(longest) = self.dots.iter().map(|dot| dot.value).reduce(f64::max) {
            let _ = write!(text, "; {} single ones, the longest {}", self.dots.len(), self.quantity.text(longest));
        }
        text
    }
}

/// Lines at the ticks and at each fifth of the time.
fn grid(ticks: &Ticks) -> String {
    let mut path = String::new();
    for tick in 0..=ticks.intervals {
        let _ = write!(path, "M0 {}h{WIDTH}", short(HEIGHT * f64::from(tick) / f64::from(ticks.intervals)));
    }
    path
}

/// `-15 min`, `-10 min`, …, `now`: four values at equal distances.
fn time_ticks(span: f64) -> Vec<String> {
    let ago = |part: f64| if part == 0.0 { "now".to_owned() } else { format!("−{}", minutes(span * part)) };
    [1.0, 2.0 / 3.0, 1.0 / 3.0, 0.0].map(ago).into()
}

fn minutes(seconds: f64) -> String {
    let seconds = seconds.round();
    if seconds < 120.0 || seconds % 60.0 != 0.0 && seconds < 600.0 {
        return format!("{seconds} s");
    }
    format!("{:.0} min", seconds / 60.0)
}

/// At most one decimal.
pub(super) fn short(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The runs of known points, each as a start and its values.
fn runs(points: &[Option<f32>]) -> Vec<(usize, Vec<f64>)> {
    let mut runs: Vec<(usize, Vec<f64>)> = Vec::new();
    let mut follows = false;
    for (at, point) in points.iter().enumerate() {
        match (point, runs.last_mut()) {
            (Some(value), Some((_, run))) if follows => run.push(f64::from(*value)),
            (Some(value), _) => runs.push((at, vec![f64::from(*value)])),
            (None, _) => {}
        }
        follows = point.is_some();
    }
    runs
}

fn path(points: &[Option<f32>], y: impl Fn(f64) -> f64) -> String {
    let step = WIDTH / points.len().saturating_sub(1).max(1) as f64;
    let mut path = String::new();
    for (start, run) in runs(points) {
        for (at, value) in run.iter().enumerate() {
            let command = if at == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{} {}", short((start + at) as f64 * step), short(y(*value)));
        }
        if run.len() == 1 {
            path.push_str("h0");
        }
    }
    path
}

fn area(points: &[Option<f32>], y: impl Fn(f64) -> f64) -> String {
    let step = WIDTH / points.len().saturating_sub(1).max(1) as f64;
    let mut path = String::new();
    for (start, run) in runs(points).into_iter().filter(|(_, run)| run.len() > 1) {
        let x = |at: usize| short((start + at) as f64 * step);
        let _ = write!(path, "M{} {HEIGHT}", x(0));
        for (at, value) in run.iter().enumerate() {
            let _ = write!(path, "L{} {}", x(at), short(y(*value)));
        }
        let _ = write!(path, "V{HEIGHT}Z");
    }
    path
}

/// Width and height of a sparkline in its own units.
const SPARK_HEIGHT: f64 = 20.0;

/// A line without axes. Its values span from 0 to `highest`, or to its own highest value.
pub(super) fn spark(class: &str, points: &[Option<f32>], highest: Option<f64>) -> Markup {
    let known = points.iter().flatten().map(|value| f64::from(*value));
    let top = known.fold(highest.unwrap_or(0.0), f64::max);
    let y = |value: f64| {
        let share = if top > 0.0 { value / top } else { 0.0 };
        SPARK_HEIGHT - 1.0 - (share.clamp(0.0, 1.0) * (SPARK_HEIGHT - 2.0)).round()
    };
    let mut path = String::new();
    for (start, run) in runs(points) {
        let mut before = y(*run.first().unwrap_or(&0.0));
        let _ = write!(path, "M{start} {before}");
        let mut level = 0;
        for value in run.iter().skip(1) {
            let at = y(*value);
            level += 1;
            if at != before {
                // A level is one command, however long.
                if level > 1 {
                    let _ = write!(path, "h{}", level - 1);
                }
                let _ = write!(path, "l1 {}", at - before);
                (before, level) = (at, 0);
            }
        }
        if level > 0 || run.len() == 1 {
            let _ = write!(path, "h{level}");
        }
    }
    let width = points.len().saturating_sub(1).max(1);
    html! {
        svg class={ "s " (class) } viewBox={ "0 0 " (width) " " (SPARK_HEIGHT) } preserveAspectRatio="none" aria-hidden="true" {
            path d=(path) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_stay_gaps() {
        let points = [Some(1.0), Some(2.0), None, Some(0.0), None];
        assert_eq!(path(&points, |value| 200.0 - value * 100.0), "M0 100L250 0M750 200h0");
        assert_eq!(area(&points, |value| 200.0 - value * 100.0), "M0 200L0 100L250 0V200Z");
        assert_eq!(path(&[], |value| value), "");
    }

    #[test]
    fn a_flat_sparkline_is_short() {
        let text = |points: &[Option<f32>]| spark("x", points, None).into_string();
        assert!(text(&[Some(3.0); 36]).contains("d=\"M0 1h35\""), "{}", text(&[Some(3.0); 36]));
        let bend = [Some(0.0), Some(0.0), Some(0.0), Some(1.0), Some(1.0)];
        assert!(text(&bend).contains("d=\"M0 19h2l1 -18h1\""), "{}", text(&bend));
        assert!(text(&[None, Some(0.0), None]).contains("d=\"M1 19h0\""));
    }

    #[test]
    fn a_chart_without_points_says_why() {
        let chart = |points| Chart {
            title: "Allocation",
            absent: "Shenandoah publishes none.",
            quantity: Quantity::BytesPerSecond,
            least: 0.0,
            lines: vec![ChartLine { name: "allocated", class: "a", points, filled: true }],
            levels: vec![Level { name: "limit", class: "l", value: 2048.0 }],
            dots: Vec::new(),
            span: 900.0,
        };
        let empty = chart(&[None]).render().into_string();
        assert!(empty.contains("Shenandoah publishes none.") && !empty.contains("<svg"));
        let known = chart(&[Some(1024.0), Some(512.0)]).render().into_string();
        assert!(known.contains("last 512 B/s, highest 1 KiB/s; limit 2 KiB/s"), "{known}");
        for text in ["<li>2 KiB/s</li>", "<li>0 B/s</li>", "−15 min", "−5 min", "now"] {
            assert!(known.contains(text), "{text} in {known}");
        }
    }
}
