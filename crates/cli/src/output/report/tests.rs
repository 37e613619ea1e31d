use super::*;

fn report() -> Report {
    let named = |list: &[(&str, u64)]| -> Vec<(Vec<u8>, u64)> {
        list.iter().map(|(name, count)| (name.as_bytes().to_vec(), *count)).collect()
    };
    Report {
        events: 1500,
        rejected: 2,
        first: Some(807_256_800_000),
        last: Some(807_266_700_250),
        hours: [(807_256_800_000, 500), (807_264_000_000, 1000)].into(),
        distinct_users: 2,
        distinct_paths: 1,
        top_users: named(&[("edams.ksc.nasa.gov", 1000), ("130.110.74.81\u{1b}[2J", 500)]),
        top_paths: named(&[(&"/a/very/long/path".repeat(5), 1500)]),
        status: [("200".to_owned(), 1499), ("404".to_owned(), 1)].into(),
        bytes: 1_234_567,
        missing_bytes: 3,
        sessions: 4,
    }
}

#[test]
fn the_page_reads_at_a_glance() {
    let page = text(&report());
    let expected = "\
Totals
  events              1,500
  rejected lines          2
  distinct users          2
  distinct paths          1
  sessions                4  more than 30 minutes apart
  bytes           1,234,567  1.18 MiB; 3 events have none
  1995-08-01 06:00:00 to 1995-08-01 08:45:00.250 UTC

Events per hour (UTC)
  1995-08-01 06:00    500  █████████████████████████
  1995-08-01 07:00      0
  1995-08-01 08:00  1,000  ██████████████████████████████████████████████████

Top users
  edams.ksc.nasa.gov    1,000  66.7 %  ████████████████████
  130.110.74.81\\x1b[2J    500  33.3 %  ██████████

Top paths
  /a/very/long/path/a/very/long/path/a/very/l…  1,500  100.0 %  ████████████████████

Status
  200  1,499  99.9 %  ████████████████████
  404      1   0.1 %  ▏
";
    assert_eq!(page, expected, "\n{page}");
}

#[test]
fn nothing_is_said_about_what_is_not_there() {
    let page = text(&Report { rejected: 7, ..Report::default() });
    assert!(page.contains("rejected lines  7"), "{page}");
    assert!(!page.contains("bytes") && !page.contains("Top"), "{page}");
}
