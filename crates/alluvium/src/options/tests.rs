//! What options may be, and what follows from them.

use super::*;

#[test]
fn the_defaults_are_valid_and_are_what_the_documents_say() {
    let options = Options::default();
    options.validate().unwrap();
    assert_eq!(options.durability, Durability::Disk);
    assert_eq!(options.block_cache_bytes, 256 << 20);
    let family = &options.column_family;
    assert_eq!((family.memtable_bytes, family.block_bytes), (64 << 20, 4096));
    assert_eq!((family.level0_tables_slowdown, family.level0_tables_stop), (20, 36));
    assert_eq!(family.filter, FilterPolicy::Uniform { bits_per_key: 10.0 });
    assert_eq!((family.prefix_extractor, family.bottom_codec), (None, None));
    assert_eq!(family.zstd, ZstdOptions { level: 3, dictionary_bytes: 16 << 10 });
}

#[test]
fn each_value_that_cannot_work_is_refused_by_name() {
    let refused = |change: fn(&mut ColumnFamilyOptions), name: &str| {
        let mut options = Options::default();
        change(&mut options.column_family);
        let message = options.validate().unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    };
    refused(|o| o.memtable_bytes = 0, "memtable_bytes");
    refused(|o| o.memtables_max = 0, "memtables_max");
    refused(|o| o.block_bytes = 0, "block_bytes");
    refused(|o| o.block_bytes = 5 << 30, "block_bytes");
    refused(|o| o.restart_interval = 0, "restart_interval");
    refused(|o| o.codecs = PerLevel::new([]), "codecs");
    refused(|o| o.filter = FilterPolicy::Uniform { bits_per_key: 33.0 }, "filter");
    refused(|o| o.prefix_extractor = Some(PrefixExtractor::Fixed(0)), "prefix_extractor");
    refused(|o| o.zstd.level = 0, "zstd: level");
    refused(|o| o.zstd.dictionary_bytes = 200 << 10, "dictionary_bytes");
    refused(|o| o.level0_tables_compact = 40, "level0_tables_slowdown");
    refused(
        |o| {
            o.level0_tables_compact = 7;
            o.level0_tables_slowdown = 7;
            o.level0_tables_stop = 7;
        },
        "level0_tables_stop",
    );
    refused(|o| o.level_ratio = 1, "level_ratio");
}

#[test]
fn a_family_has_its_own_options_or_the_common_ones() {
    let own = ColumnFamilyOptions { block_bytes: 512, ..ColumnFamilyOptions::default() };
    let options = Options { column_families: vec![("a".to_owned(), own)], ..Options::default() };
    assert_eq!(options.family("a").block_bytes, 512);
    assert_eq!(options.family("b").block_bytes, 4096);
}

#[test]
fn a_codec_is_chosen_by_depth_and_at_the_bottom_by_itself() {
    let mut family = ColumnFamilyOptions::default();
    let codec = |family: &ColumnFamilyOptions, depth, bottom| {
        let place = TablePlace { level: 0, depth, bottom };
        family.table_options(place, ColumnFamilyId::DEFAULT).codec
    };
    let by_depth = [0, 1, 2, 6].map(|depth| codec(&family, depth, depth == 6));
    assert_eq!(by_depth, [Codec::None, Codec::None, Codec::Lz4, Codec::Lz4]);
    family.bottom_codec = Some(Codec::ZstdDictionary);
    assert_eq!(codec(&family, 1, false), Codec::None);
    assert_eq!(codec(&family, 1, true), Codec::ZstdDictionary);
}

#[test]
fn the_last_value_holds_for_all_deeper_levels() {
    let codecs = PerLevel::new([Codec::None, Codec::Lz4]);
    assert_eq!(codecs.get(0), Some(&Codec::None));
    assert_eq!(codecs.get(6), Some(&Codec::Lz4));
}

#[test]
fn every_preset_is_valid() {
    let time = crate::base::event_time::EventTime::big_endian_ms(0);
    let series = Workload::TimeSeries { window: Duration::from_secs(3600), ttl: None, time };
    for workload in [Workload::Mixed, Workload::WriteHeavy, Workload::PointRead, series] {
        let options = Options { column_family: workload.into(), ..Options::default() };
        options.validate().unwrap();
    }
    assert_eq!(Workload::default().options(), ColumnFamilyOptions::default());
}
