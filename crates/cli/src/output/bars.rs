//! Bars of block characters, to an eighth of a character.

/// A bar for `value` where `largest` fills `width` characters.
///
/// Whatever is above zero shows at least the thinnest bar, so that little and nothing look
/// different.
pub fn bar(value: u64, largest: u64, width: usize) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    if value == 0 || largest == 0 {
        return String::new();
    }
    let share = value as f64 / largest as f64;
    let eighths = ((share * (width * 8) as f64).round() as usize).clamp(1, width * 8);
    let mut text = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        text.push(PARTS[eighths % 8]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_in_proportion_and_never_vanishes() {
        for (value, largest, text) in [
            (0, 10, ""),
            (0, 0, ""),
            (10, 10, "████"),
            (5, 10, "██"),
            (1, 1_000_000, "▏"),
            (9, 32, "█▏"),
            (11, 10, "████"),
            (u64::MAX, u64::MAX, "████"),
        ] {
            assert_eq!(bar(value, largest, 4), text, "{value} of {largest}");
        }
    }
}
