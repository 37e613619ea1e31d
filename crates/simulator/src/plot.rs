//! Plots of what was measured, as SVG.
//!
//! For each load: an amplification over the size of the store, by strategy; what writes, reads and
//! space each strategy trades, at the largest size; debt over the bytes written there.

use std::path::Path;

use plotters::prelude::*;

use crate::Result;
use crate::load::Kind;
use crate::report::{Row, bytes_text};

const SIZE: (u32, u32) = (860, 480);

/// A line, or single points where it has no length.
struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

/// How an axis is labelled.
type Label = fn(f64) -> String;

struct Chart<'a> {
    title: String,
    axes: (&'a str, &'a str),
    label: Label,
    series: Vec<Series>,
}

/// Draws every plot into `directory`.
pub fn draw(directory: &Path, rows: &[Row]) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut loads: Vec<Kind> = Vec::new();
    for row in rows {
        if !loads.contains(&row.settings.load) {
            loads.push(row.settings.load);
        }
    }
    for load in loads {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.settings.load == load).collect();
        draw_load(directory, load, &rows)?;
    }
    Ok(())
}

fn draw_load(directory: &Path, load: Kind, rows: &[&Row]) -> Result<()> {
    let figures: [(&str, &str, fn(&Row) -> f64); 3] = [
        ("write", "bytes written for each byte", |row| row.figures.write_amplification()),
        ("read", "sorted runs at most", |row| row.figures.worst(|one| one.depth as f64)),
        ("space", "bytes kept for each live byte, at most", |row| row.figures.space_peak),
    ];
    let size = |row: &Row| (row.settings.live_bytes as f64).log2();
    for (name, axis, of) in figures {
        let chart = Chart {
            title: format!("{name} amplification, load {}", load.name()),
            axes: ("live data", axis),
            label: |exponent| bytes_text(exponent.exp2()),
            series: by_policy(rows, |row| vec![(size(row), of(row))]),
        };
        chart.save(&directory.join(format!("{name}-{}.svg", load.name())))?;
    }
    let most = rows.iter().map(|row| row.settings.live_bytes).max().unwrap_or(0);
    let largest: Vec<&Row> =
        rows.iter().filter(|row| row.settings.live_bytes == most).copied().collect();
    let at = bytes_text(most as f64);
    let trade =
        |row: &Row| vec![(row.figures.write_amplification(), row.figures.mean(|s| s.space))];
    Chart {
        title: format!("what is traded, load {}, {at}", load.name()),
        axes: ("bytes written for each byte", "bytes kept for each live byte, mean"),
        label: |number| format!("{number:.0}"),
        series: by_policy(&largest, trade),
    }
    .save(&directory.join(format!("trade-{}.svg", load.name())))?;
    let debt = |row: &Row| {
        let live = row.settings.live_bytes as f64;
        row.figures.samples.iter().map(|s| (s.user_bytes / live, s.debt / live)).collect()
    };
    Chart {
        title: format!("debt, load {}, {at}", load.name()),
        axes: ("written, in live data", "bytes that compactions will read, in live data"),
        label: |number| format!("{number:.2}"),
        series: by_policy(&largest, debt),
    }
    .save(&directory.join(format!("debt-{}.svg", load.name())))
}

/// One series a strategy, of all points that `of` finds in its rows.
fn by_policy(rows: &[&Row], of: impl Fn(&Row) -> Vec<(f64, f64)>) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for row in rows {
        let name = row.settings.policy.name();
        match all.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.extend(of(row)),
            None => all.push(Series { name: name.to_owned(), points: of(row) }),
        }
    }
    all
}

impl Chart<'_> {
    fn save(&self, path: &Path) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        self.draw(path).map_err(|error| failed(&*error).into())
    }

    fn draw(&self, path: &Path) -> Result<()> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let span = |of: fn(&(f64, f64)) -> f64| {
            let low = points().map(of).fold(f64::INFINITY, f64::min);
            let high = points().map(of).fold(f64::NEG_INFINITY, f64::max);
            (low, high.max(low + 1e-9))
        };
        let ((left, right), (_, top)) = (span(|point| point.0), span(|point| point.1));
        let margin = ((right - left) * 0.05).max(0.1);
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(58)
            .build_cartesian_2d(left - margin..right + margin, 0.0..(top * 1.15).max(1e-6))?;
        chart
            .configure_mesh()
            .x_desc(self.axes.0)
            .y_desc(self.axes.1)
            .x_label_formatter(&|x| (self.label)(*x))
            .light_line_style(WHITE)
            .draw()?;
        for (index, series) in self.series.iter().enumerate() {
            let colour = Palette99::pick(index).to_rgba();
            let line = LineSeries::new(series.points.iter().copied(), colour.stroke_width(2));
            chart
                .draw_series(line)?
                .label(&series.name)
                .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
            if series.points.len() <= 16 {
                let dots = series.points.iter();
                chart.draw_series(dots.map(|at| Circle::new(*at, 4, colour.filled())))?;
            }
        }
        let style = WHITE.mix(0.8);
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(style)
            .border_style(BLACK)
            .draw()?;
        root.present()?;
        Ok(())
    }
}
