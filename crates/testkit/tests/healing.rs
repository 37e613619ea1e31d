//! Stores with workers whose disk fails for a while.

use alluvium_testkit::healing::check_seed;
use alluvium_testkit::runner::seeds;

#[test]
fn a_store_gets_on_by_itself_once_its_disk_is_well() {
    for seed in seeds(12) {
        check_seed(seed).unwrap_or_else(|why| panic!("{why}"));
    }
}
