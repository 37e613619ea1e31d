//! Pictures of long runs.

use std::path::Path;

use plotters::prelude::*;

use crate::Result;
use crate::long::series::Series;

const SIZE: (u32, u32) = (1_000, 640);
const COLOURS: [RGBColor; 4] =
    [RGBColor(27, 94, 160), RGBColor(208, 92, 23), RGBColor(60, 140, 70), RGBColor(130, 70, 150)];

fn failed<E: std::fmt::Display>(error: E) -> Box<dyn std::error::Error + Send + Sync> {
    format!("drawing: {error}").into()
}

/// Throughput above, the longest batch of each second below, over time.
pub fn sustained(runs: &[Series], out: &Path) -> Result<()> {
    let root = SVGBackend::new(out, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let (above, below) = root.split_vertically(SIZE.1 / 2);
    let end = largest(runs, |second| second.at).max(1.0);
    let most = largest(runs, |second| second.operations as f64).max(1.0) * 1.05;
    let mut rates = ChartBuilder::on(&above)
        .caption("Operations a second", ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..end, 0.0..most)
        .map_err(failed)?;
    rates.configure_mesh().light_line_style(WHITE).draw().map_err(failed)?;
    for (run, colour) in runs.iter().zip(COLOURS.iter().cycle()) {
        let points = run.seconds.iter().map(|second| (second.at, second.operations as f64));
        let line = LineSeries::new(points, colour);
        let colour = *colour;
        rates
            .draw_series(line)
            .map_err(failed)?
            .label(run.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
    }
    rates.configure_series_labels().border_style(BLACK).draw().map_err(failed)?;

    let most = (largest(runs, |second| second.max_us) / 1e3).max(1.0) * 1.5;
    let mut longest = ChartBuilder::on(&below)
        .caption("Longest batch of each second, ms", ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..end, (0.1..most).log_scale())
        .map_err(failed)?;
    longest.configure_mesh().light_line_style(WHITE).draw().map_err(failed)?;
    for (run, colour) in runs.iter().zip(COLOURS.iter().cycle()) {
        let points = run.seconds.iter().map(|second| (second.at, (second.max_us / 1e3).max(0.1)));
        longest.draw_series(LineSeries::new(points, colour)).map_err(failed)?;
    }
    root.present().map_err(failed)
}

/// Resident set over time, in MiB, with the limit.
pub fn memory(samples: &[(f64, f64)], limit: f64, out: &Path) -> Result<()> {
    let root = SVGBackend::new(out, (SIZE.0, SIZE.1 / 2)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let end = samples.last().map_or(1.0, |(at, _)| *at);
    let most = samples.iter().map(|(_, mib)| *mib).fold(limit, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(&root)
        .caption("Resident set, MiB", ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..end, 0.0..most)
        .map_err(failed)?;
    chart.configure_mesh().light_line_style(WHITE).draw().map_err(failed)?;
    chart.draw_series(LineSeries::new(samples.iter().copied(), COLOURS[0])).map_err(failed)?;
    let bound = [(0.0, limit), (end, limit)];
    chart.draw_series(LineSeries::new(bound, COLOURS[1])).map_err(failed)?;
    root.present().map_err(failed)
}

fn largest(runs: &[Series], of: impl Fn(&crate::long::series::Second) -> f64) -> f64 {
    runs.iter().flat_map(|run| &run.seconds).map(of).fold(0.0, f64::max)
}
