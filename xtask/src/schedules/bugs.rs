//! The bugs that only an order of threads brings to light, and the test that finds each.

/// A bug that the engine has when it is asked to.
pub struct Bug {
    /// As `planted::in_order` has it.
    pub name: &'static str,
    pub what: &'static str,
    pub tool: &'static str,
    pub test: &'static str,
}

const fn loom(name: &'static str, what: &'static str, test: &'static str) -> Bug {
    Bug { name, what, tool: "loom", test }
}

const fn shuttle(name: &'static str, what: &'static str, test: &'static str) -> Bug {
    Bug { name, what, tool: "shuttle", test }
}

/// Every bug with every test that has to find it.
pub const BUGS: &[Bug] = &[
    loom(
        "entry-given-away-relaxed",
        "an entry is added to its leaf without a release",
        "loom_what_a_reader_found_it_finds_again",
    ),
    loom(
        "child-added-relaxed",
        "a child is added to an inner node without a release",
        "loom_a_child_that_is_added_behind_the_last_is_whole",
    ),
    loom(
        "node-dies-in-silence",
        "the parent of a leaf that was split does not say so",
        "loom_a_leaf_that_is_used_again_is_not_taken_for_what_it_was",
    ),
    loom(
        "leaf-used-again-in-silence",
        "a leaf's memory is used again under its old version",
        "loom_a_leaf_that_is_used_again_is_not_taken_for_what_it_was",
    ),
    loom(
        "leaf-trusted-unseen",
        "a lookup does not look whether its leaf is still the same",
        "loom_a_leaf_that_is_used_again_is_not_taken_for_what_it_was",
    ),
    loom(
        "visible-number-relaxed",
        "the visible number is published without a release",
        "loom_a_batch_is_seen_whole_and_without_gaps",
    ),
    shuttle(
        "visible-before-the-memtable",
        "the visible number is published before the insertions",
        "group_commit",
    ),
    loom(
        "followers-told-that-all-is-well",
        "followers of a failed leader get no error",
        "loom_reg_w10_every_writer_of_a_group_gets_its_leaders_answer",
    ),
    shuttle(
        "followers-told-that-all-is-well",
        "followers of a failed leader get no error",
        "a_sync_that_fails",
    ),
    loom(
        "waiting-writer-not-told",
        "a follower is not woken",
        "loom_a_batch_is_seen_whole_and_without_gaps",
    ),
    shuttle("waiting-writer-not-told", "a follower is not woken", "group_commit"),
    loom(
        "two-leaders",
        "a lead that is handed on is free as well",
        "loom_two_groups_never_run_at_once",
    ),
    loom(
        "snapshot-taken-outside-the-lock",
        "a snapshot reads the visible number before it takes the list's lock",
        "loom_reg_c_a_snapshot_never_loses_what_it_sees",
    ),
    shuttle(
        "snapshot-taken-outside-the-lock",
        "a snapshot reads the visible number before it takes the list's lock",
        "snapshots_under_compactions",
    ),
    loom(
        "installed-without-the-lock",
        "a version is installed without the lock of the super version",
        "loom_a_super_version_holds_everything_once_and_never_goes_back",
    ),
    shuttle(
        "installed-without-the-lock",
        "a version is installed without the lock of the super version",
        "flush_and_compact",
    ),
    loom(
        "file-removed-while-it-is-held",
        "a table's file goes with the edit, not with its last holder",
        "loom_reg_a_file_goes_once_and_when_nobody_holds_it",
    ),
    shuttle(
        "file-removed-while-it-is-held",
        "a table's file goes with the edit, not with its last holder",
        "cursors_over_tables_that_go",
    ),
    loom(
        "file-removed-twice",
        "two who purge take the same numbers",
        "loom_reg_a_file_goes_once_and_when_nobody_holds_it",
    ),
    shuttle(
        "workers-not-told",
        "a rotation wakes no worker",
        "writers_that_wait_for_background_work",
    ),
    shuttle(
        "dropped-family-fails-all",
        "a family that is dropped meanwhile fails the flush of all",
        "a_family_that_is_dropped",
    ),
];
