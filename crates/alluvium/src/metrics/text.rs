//! Figures for people.

/// Bytes in binary units: `12.3 MiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// Nanoseconds in the unit that fits: `1.2 ms`.
#[must_use]
pub fn time(nanoseconds: u64) -> String {
    match nanoseconds {
        0..=999 => format!("{nanoseconds} ns"),
        1_000..=999_999 => format!("{:.1} us", nanoseconds as f64 / 1e3),
        1_000_000..=999_999_999 => format!("{:.1} ms", nanoseconds as f64 / 1e6),
        _ => format!("{:.2} s", nanoseconds as f64 / 1e9),
    }
}

/// Microseconds in the unit that fits.
#[must_use]
pub fn micros(us: u64) -> String {
    time(us.saturating_mul(1_000))
}

/// `1 table`, `12 tables`.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// `part` of `whole` in percent, `14 %`; nothing of nothing is `0 %`.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    format!("{:.0} %", part as f64 * 100.0 / whole.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_grow_with_the_figure() {
        let sizes = [0, 1023, 1024, 13 << 20, u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "13.0 MiB", "16384.0 PiB"]);
        let times = [999, 1_500, 2_500_000, 61_000_000_000].map(time);
        assert_eq!(times, ["999 ns", "1.5 us", "2.5 ms", "61.00 s"]);
        assert_eq!(
            (counted(1, "table"), counted(2, "table")),
            ("1 table".into(), "2 tables".into())
        );
        assert_eq!((percent(0, 0), percent(1, 7)), ("0 %".into(), "14 %".into()));
    }
}
