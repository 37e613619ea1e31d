//! Scripts of operations under every set of options.

use std::path::Path;

use alluvium_testkit::metamorphic::replay::Place;
use alluvium_testkit::metamorphic::text::Script;
use alluvium_testkit::metamorphic::{
    STEPS, check_script, check_seed, generate, lives, model, replay, runs,
};
use alluvium_testkit::runner::{number, seeds};

/// The scripts that are kept because they failed once, or pin something that could.
fn kept_scripts() -> Vec<(String, Script)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metamorphic");
    let mut scripts = Vec::new();
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let script = Script::parse(&text).unwrap_or_else(|why| panic!("{name}: {why}"));
        scripts.push((name, script));
    }
    scripts.sort_by(|a, b| a.0.cmp(&b.0));
    scripts
}

#[test]
fn kept_scripts_answer_alike_under_every_set_of_options() {
    let scripts = kept_scripts();
    assert!(scripts.len() >= 6);
    for (name, script) in scripts {
        check_script(0, &script).unwrap_or_else(|why| panic!("{name}, {why}"));
    }
}

#[test]
fn generated_scripts_answer_alike_under_every_set_of_options() {
    // A seed that a long run has printed means a script of its length.
    let steps = if number("ALLUVIUM_SEED").is_some() { STEPS } else { 300 };
    for seed in seeds(2) {
        check_seed(seed, steps).unwrap_or_else(|why| panic!("{why}"));
    }
}

#[test]
fn generated_scripts_answer_alike_on_a_real_directory() {
    let steps = generate::steps(7, 150);
    let expected = model::history(&steps);
    for run in runs(7, lives(&steps)).into_iter().step_by(9) {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::Directory(directory.path().join("store"));
        let result = replay(place, &run.settings, &steps, &expected);
        result.unwrap_or_else(|why| panic!("options {}: {why}", run.name));
    }
}

#[test]
fn there_are_52_runs_of_a_script_and_no_life_has_the_options_of_the_one_before() {
    let runs = runs(3, 9);
    assert!(runs.len() >= 52, "{}", runs.len());
    for run in runs {
        assert!(run.settings.windows(2).all(|two| two[0] != two[1]), "{}", run.name);
    }
}

#[test]
fn a_script_is_what_is_read_back_of_it() {
    for seed in 0..20 {
        let steps = generate::steps(seed, 400);
        let settings = runs(seed, 2).pop().unwrap().settings;
        let script = Script { settings, steps };
        assert_eq!(Script::parse(&script.to_string()).unwrap(), script);
    }
}

#[test]
fn a_line_that_is_no_step_is_refused_with_its_number() {
    for (line, why) in [
        ("put default 'a'", "no word here"),
        ("get default a", "no key"),
        ("get default 'a' at", "missing"),
        ("get default '\\x4'", "no key"),
        ("write disk default'a'=v1*99999999", "no value"),
        ("sync now", "too many"),
        ("options memtable_bytes=x", "no option"),
    ] {
        let refused = Script::parse(&format!("# a comment\n\n{line}\n")).unwrap_err();
        assert!(refused.starts_with("line 3") && refused.contains(why), "{refused}");
    }
}
