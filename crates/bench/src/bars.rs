//! Pictures of measured workloads: bars, a group a workload, a colour an engine.
//!
//! Two files: `latency.svg`, where a bar is dark up to the median, half light up to the 99th
//! percentile and light up to the 99.9th; and `cpu.svg`, processor time an operation, with what was
//! put off until after the last one. Both on a logarithmic scale, because workloads differ by
//! thousands; each figure is the median of the rounds.

use std::path::Path;

use plotters::prelude::*;

use crate::Result;
use crate::record::Record;
use crate::report::median;

const COLOURS: [RGBColor; 8] = [
    RGBColor(27, 94, 160),
    RGBColor(208, 92, 23),
    RGBColor(60, 140, 70),
    RGBColor(130, 70, 150),
    RGBColor(150, 120, 40),
    RGBColor(90, 90, 90),
    RGBColor(190, 60, 100),
    RGBColor(40, 160, 170),
];

/// How solid the parts of a bar are, the lowest first.
const SOLID: [f64; 3] = [1.0, 0.55, 0.25];

const BAR: i32 = 9;
const GAP: i32 = 16;
const LEFT: i32 = 70;
const ABOVE: i32 = 44;
const HEIGHT: i32 = 340;
const BELOW: i32 = 130;

/// One bar: ends of its parts, from the axis up, in microseconds.
#[derive(Debug, Clone, PartialEq)]
struct Bar {
    engine: usize,
    ends: Vec<f64>,
}

/// A workload and its bars.
#[derive(Debug, Clone, PartialEq)]
struct Group {
    workload: String,
    bars: Vec<Bar>,
}

/// Draws both pictures into `dir`.
pub fn draw(records: &[Record], dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let engines = distinct(records, |record| &record.engine);
    let latency: [Figure; 3] = [|one| one.p50_us, |one| one.p99_us, |one| one.p999_us];
    let title = "Latency of a call, µs: median, 99th and 99.9th percentile";
    picture(&groups(records, &engines, &latency), &engines, title, &dir.join("latency.svg"))?;
    let cpu: [Figure; 1] = [|one| one.cpu_settled_us];
    let title = "Processor time of the whole process an operation, settling included, µs";
    picture(&groups(records, &engines, &cpu), &engines, title, &dir.join("cpu.svg"))
}

type Figure = fn(&Record) -> f64;

fn distinct(records: &[Record], of: fn(&Record) -> &String) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for record in records {
        if !names.contains(&of(record).as_str()) {
            names.push(of(record));
        }
    }
    names
}

/// The medians of `figures`, by workload and engine; what was not measured is left out.
fn groups(records: &[Record], engines: &[&str], figures: &[Figure]) -> Vec<Group> {
    let group = |workload: &str| {
        let bars = engines.iter().enumerate().filter_map(|(engine, name)| {
            let own = records.iter().filter(|one| one.workload == workload && one.engine == *name);
            let own: Vec<&Record> = own.collect();
            let middle = |of: &Figure| median(own.iter().map(|one| of(one)).collect());
            let ends: Option<Vec<f64>> = figures.iter().map(middle).collect();
            Some(Bar { engine, ends: ends? })
        });
        Group { workload: workload.to_owned(), bars: bars.collect() }
    };
    distinct(records, |record| &record.workload).into_iter().map(group).collect()
}

/// The powers of ten between which all figures lie.
fn decades(groups: &[Group]) -> (i32, i32) {
    let ends = groups.iter().flat_map(|group| &group.bars).flat_map(|bar| &bar.ends);
    let ends: Vec<f64> = ends.copied().filter(|end| *end > 0.0).map(f64::log10).collect();
    let lowest = ends.iter().copied().fold(f64::INFINITY, f64::min).floor();
    let highest = ends.iter().copied().fold(f64::NEG_INFINITY, f64::max).ceil();
    if lowest.is_finite() { (lowest as i32, highest.max(lowest + 1.0) as i32) } else { (0, 1) }
}

/// How far down from the top of the picture `figure` stands.
fn down(figure: f64, (lowest, highest): (i32, i32)) -> i32 {
    let share = (figure.log10() - f64::from(lowest)) / f64::from(highest - lowest);
    ABOVE + HEIGHT - (share.clamp(0.0, 1.0) * f64::from(HEIGHT)) as i32
}

fn failed<E: std::fmt::Display>(error: E) -> Box<dyn std::error::Error + Send + Sync> {
    format!("drawing: {error}").into()
}

fn picture(groups: &[Group], engines: &[&str], title: &str, out: &Path) -> Result<()> {
    let bars: usize = groups.iter().map(|group| group.bars.len()).sum();
    let width = LEFT + bars as i32 * BAR + (groups.len() as i32 + 1) * GAP;
    let width = width.max(LEFT + 180 * engines.len() as i32);
    let size = (width as u32, (ABOVE + HEIGHT + BELOW) as u32);
    let root = SVGBackend::new(out, size).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let text = |text: &str, at: (i32, i32)| {
        root.draw(&Text::new(text.to_owned(), at, ("sans-serif", 13))).map_err(failed)
    };
    text(title, (LEFT, 6))?;
    for (at, engine) in engines.iter().enumerate() {
        let left = LEFT + 180 * at as i32;
        let colour = COLOURS[at % COLOURS.len()].filled();
        root.draw(&Rectangle::new([(left, 26), (left + 10, 36)], colour)).map_err(failed)?;
        text(engine, (left + 16, 25))?;
    }
    let range = decades(groups);
    for power in range.0..=range.1 {
        let line = down(10f64.powi(power), range);
        let style = BLACK.mix(0.2).stroke_width(1);
        root.draw(&PathElement::new([(LEFT, line), (width, line)], style)).map_err(failed)?;
        text(&format!("{}", 10f64.powi(power)), (8, line - 7))?;
    }
    let mut left = LEFT + GAP;
    let turned = ("sans-serif", 13).into_font().transform(FontTransform::Rotate90);
    for group in groups {
        let name =
            Text::new(group.workload.clone(), (left + 14, ABOVE + HEIGHT + 8), turned.clone());
        root.draw(&name).map_err(failed)?;
        for bar in &group.bars {
            let mut below = ABOVE + HEIGHT;
            for (end, solid) in bar.ends.iter().zip(SOLID) {
                let above = down(*end, range).min(below);
                let colour = COLOURS[bar.engine % COLOURS.len()].mix(solid).filled();
                let corners = [(left, above), (left + BAR - 1, below)];
                root.draw(&Rectangle::new(corners, colour)).map_err(failed)?;
                below = above;
            }
            left += BAR;
        }
        left += GAP;
    }
    root.present().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(engine: &str, workload: &str, p50_us: f64) -> Record {
        let (p99_us, p999_us) = (p50_us * 10.0, p50_us * 100.0);
        Record { p50_us, p99_us, p999_us, ..Record::sample(engine, workload, 1, 3e5) }
    }

    #[test]
    fn a_bar_is_a_median_and_what_is_missing_has_none() {
        let records = [
            record("a", "scan", 1.0),
            record("a", "scan", 2.0),
            record("a", "scan", 9.0),
            record("b", "fill", 5.0),
        ];
        let groups = groups(&records, &["a", "b"], &[|one| one.p50_us, |one| one.p99_us]);
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].bars, [Bar { engine: 0, ends: vec![2.0, 20.0] }]);
        assert_eq!(groups[1].bars, [Bar { engine: 1, ends: vec![5.0, 50.0] }]);
        assert_eq!(decades(&groups), (0, 2));
        assert_eq!((down(1.0, (0, 2)), down(100.0, (0, 2))), (ABOVE + HEIGHT, ABOVE));
    }

    #[test]
    fn both_pictures_are_drawn_and_name_all_that_is_in_them() {
        let dir = tempfile::tempdir().unwrap();
        draw(&[record("one", "scan", 0.3), record("two", "fillsync", 400.0)], dir.path()).unwrap();
        for name in ["latency.svg", "cpu.svg"] {
            let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
            for part in ["one", "two", "scan", "fillsync", "</svg>"] {
                assert!(text.contains(part), "{name} lacks {part}");
            }
        }
        draw(&[], dir.path()).unwrap();
    }
}
