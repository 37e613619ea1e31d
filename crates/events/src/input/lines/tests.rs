//! Lines and records at every boundary of the buffer.

use proptest::prelude::*;

use super::*;

/// Gives a few bytes at a time, so that every boundary is met.
struct Dripping<'a>(&'a [u8], usize);

impl Read for Dripping<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(self.0.len()).min(into.len());
        into[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

/// The lines as text, with what is special about them.
fn lines(text: &[u8], drip: usize, max: usize, csv: bool) -> Vec<String> {
    let mut reader = LineReader::new(Dripping(text, drip), 0, max, csv);
    let mut all = Vec::new();
    let mut offset = 0;
    while let Some(line) = reader.next().unwrap() {
        assert_eq!(line.offset, offset);
        offset = line.next_offset;
        let mut shown = String::from_utf8_lossy(line.bytes).into_owned();
        if let Some(fault) = line.fault {
            shown += &format!(" {fault:?}");
        }
        if !line.terminated {
            shown += " unfinished";
        }
        if line.lines > 1 {
            shown += &format!(" {} lines", line.lines);
        }
        all.push(shown);
    }
    assert_eq!(offset, text.len() as u64);
    all
}

#[test]
fn lines_end_with_lf_or_crlf() {
    for drip in [1, 2, 7, 1000] {
        assert_eq!(lines(b"", drip, 10, false), [""; 0]);
        assert_eq!(
            lines(b"a\nbc\r\n\n\r\nd", drip, 10, false),
            ["a", "bc", "", "", "d unfinished"]
        );
        assert_eq!(lines(b"a\rb\n", drip, 10, false), ["a\rb"]);
    }
}

#[test]
fn a_line_that_is_too_long_is_counted_and_skipped() {
    for drip in [1, 3, 1000] {
        let text = b"12345\n123456\nok\n1234567";
        let got = lines(text, drip, 5, false);
        assert_eq!(got, ["12345", "123456 TooLong(6)", "ok", "1234567 TooLong(7) unfinished"]);
    }
    let mut long = vec![b'x'; 10_000_000];
    long.extend_from_slice(b"\nok\n");
    let mut reader = LineReader::new(&long[..], 0, 1000, false);
    let line = reader.next().unwrap().unwrap();
    assert_eq!((line.bytes.len(), line.fault), (SAMPLE_BYTES, Some(Fault::TooLong(10_000_000))));
    assert_eq!(reader.next().unwrap().unwrap().bytes, b"ok");
    assert!(reader.buffer.len() < 1_000_000, "the long line was held in memory");
}

#[test]
fn csv_records_go_on_over_line_ends() {
    for drip in [1, 3, 1000] {
        let got = lines(b"a,\"b\nc\r\nd\",e\nf\n", drip, 100, true);
        assert_eq!(got, ["a,\"b\nc\r\nd\",e 3 lines", "f"]);
        let got = lines(b"a,\"b\nc\nd\n", drip, 100, true);
        assert_eq!(got, ["a,\"b QuoteNeverClosed", "c", "d"]);
        let got = lines(b"a,\"b\nccccccccccc\nd\n", drip, 10, true);
        assert_eq!(got, ["a,\"b QuoteNeverClosed", "ccccccccccc TooLong(11)", "d"]);
        let got = lines(b"\"b", drip, 10, true);
        assert_eq!(got, ["\"b QuoteNeverClosed unfinished"]);
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_between_the_lines(
        text in proptest::collection::vec(
            prop::sample::select(b"ab\n\r\",".to_vec()), 0..80),
        drip in 1usize..90,
        max in 1usize..40,
        csv in any::<bool>(),
    ) {
        let dripped = lines(&text, drip, max, csv);
        prop_assert_eq!(&dripped, &lines(&text, 1000, max, csv));
        if !csv {
            let count = text.split_inclusive(|byte| *byte == b'\n').count();
            prop_assert_eq!(dripped.len(), count);
        }
    }
}
