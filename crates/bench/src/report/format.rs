//! Figures as people read them: three significant digits, no false precision.

/// A rate or another large figure: `1.23 M`, `456 k`, `78.9`.
pub fn rate(figure: f64) -> String {
    let size = figure.abs();
    if size >= 999_500.0 {
        format!("{} M", short(figure / 1e6))
    } else if size >= 999.5 {
        format!("{} k", short(figure / 1e3))
    } else {
        short(figure)
    }
}

/// Three significant digits; whole from 100 on.
pub fn short(figure: f64) -> String {
    let size = figure.abs();
    if size >= 99.95 {
        format!("{figure:.0}")
    } else if size >= 9.995 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.2}")
    }
}

/// A whole number with thousands separated.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
