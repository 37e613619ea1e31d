//! Packed, cut and damaged inputs.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn text(bytes: usize) -> Vec<u8> {
    (0u32..)
        .flat_map(|n| format!("line {}\n", n.wrapping_mul(2_654_435_761)).into_bytes())
        .take(bytes)
        .collect()
}

fn piped(bytes: Vec<u8>) -> Input {
    Input::from_reader(b"-".to_vec(), "-".to_string(), Cursor::new(bytes), None).unwrap()
}

fn file(bytes: &[u8]) -> (tempfile::TempDir, Input) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    std::fs::write(&path, bytes).unwrap();
    let input = Input::open(&Source::File(path)).unwrap();
    (directory, input)
}

#[test]
fn every_packing_gives_the_same_bytes_from_any_position() {
    let plain = text(300_000);
    let members = [gzip(&plain[..100_000]), gzip(&plain[100_000..])].concat();
    let zstd = |part: &[u8]| zstd::encode_all(part, 1).unwrap();
    let frames = [zstd(&plain[..200_000]), zstd(&plain[200_000..])].concat();
    for packed in [plain.clone(), gzip(&plain), members, frames] {
        for position in [0, 1, 65_535, 65_536, 65_537, 100_000, 299_999, 300_000, 300_001] {
            let inputs = [file(&packed).1, piped(packed.clone())];
            for mut input in inputs {
                assert_eq!(input.head(), &plain[..HEAD_BYTES]);
                let reached = input.skip_to(position).unwrap();
                assert_eq!(reached, position.min(300_000));
                let mut rest = Vec::new();
                input.read_to_end(&mut rest).unwrap();
                assert!(rest == plain[reached as usize..], "from {position}");
                assert_eq!(input.meter().bytes(), packed.len() as u64);
            }
        }
    }
}

#[test]
fn a_cut_stream_gives_what_is_before_the_cut_and_then_says_so() {
    for plain in [text(1000), text(300_000)] {
        for packed in [gzip(&plain), zstd::encode_all(&plain[..], 1).unwrap()] {
            for cut in [5, packed.len() / 2, packed.len() - 1] {
                let mut input = file(&packed[..cut]).1;
                let mut got = Vec::new();
                let error = input.read_to_end(&mut got).unwrap_err();
                assert!(plain.starts_with(&got));
                let error = input.explain(error);
                assert!(matches!(error, EventsError::Truncated { .. }), "{error} at {cut}");
            }
        }
    }
    // Gzip's own end is cut: everything was there.
    let mut input = file(&gzip(&text(300_000))[..]).1;
    let mut got = Vec::new();
    input.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), 300_000);
}

#[test]
fn a_damaged_stream_is_told_from_a_cut_one() {
    let mut packed = gzip(&text(300_000));
    let middle = packed.len() / 2;
    packed[middle..middle + 50].fill(0xff);
    let mut input = file(&packed).1;
    let error = input.read_to_end(&mut Vec::new()).unwrap_err();
    let sentence = input.explain(error).to_string();
    assert!(sentence.contains("is damaged: its gzip stream breaks after"), "{sentence}");
}

#[test]
fn what_is_no_file_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let open = |name: &str| match Input::open(&Source::File(directory.path().join(name))) {
        Ok(_) => String::from("opened"),
        Err(error) => error.to_string(),
    };
    assert!(open("").contains("is a directory"));
    assert!(open("none").contains("cannot open"));
}
