//! Makes a failing script small: fewer steps, smaller batches, and options that are no further from
//! the ordinary than the failure needs.

use alluvium::env::MemEnv;

use crate::metamorphic::knobs::Setting;
use crate::metamorphic::replay::Place;
use crate::metamorphic::step::Step;
use crate::metamorphic::text::Script;
use crate::metamorphic::{lives, model, replay};
use crate::runner::number;
use crate::shrink::drop_chunks;

/// How often a failing script is tried again.
const TRIES_MAX: usize = 3_000;

/// How the engine refuses options that cannot work together; that is not the failure looked for.
const REFUSED_OPTIONS: &str = "options: ";

/// The smallest failing script found; `alive` is called before each attempt.
pub fn reduce(script: &Script, mut alive: impl FnMut()) -> Script {
    let mut left = number("ALLUVIUM_SHRINK").map_or(TRIES_MAX, |tries| tries as usize);
    let mut fails = |settings: &[Setting], steps: &[Step]| {
        alive();
        left = left.saturating_sub(1);
        let place = Place::Memory(MemEnv::new());
        let failure = |text: String| !text.contains(REFUSED_OPTIONS);
        left > 0 && replay(place, settings, steps, &model::history(steps)).is_err_and(failure)
    };
    let Script { settings, steps } = script.clone();
    let mut settings = settings;
    let mut steps = drop_chunks(steps, |steps| fails(&settings, steps));
    for index in 0..steps.len() {
        let Step::Write { changes, durability } = steps[index].clone() else { continue };
        let changes = drop_chunks(changes, |changes| {
            let mut candidate = steps.clone();
            candidate[index] = Step::Write { changes: changes.to_vec(), durability };
            fails(&settings, &candidate)
        });
        steps[index] = Step::Write { changes, durability };
    }
    settings.truncate(lives(&steps));
    simplify(&mut settings, |settings| fails(settings, &steps));
    Script { settings, steps }
}

/// One set for all lives if that does, then every knob that can be as it is by default.
fn simplify(settings: &mut Vec<Setting>, mut fails: impl FnMut(&[Setting]) -> bool) {
    let candidates: Vec<Setting> =
        [Setting::default()].into_iter().chain(settings.clone()).collect();
    if let Some(one) = candidates.into_iter().find(|one| fails(std::slice::from_ref(one))) {
        *settings = vec![one];
    }
    for life in 0..settings.len() {
        for knob in 0..Setting::knobs() {
            let Some(simpler) = settings[life].simpler(knob) else { continue };
            let kept = std::mem::replace(&mut settings[life], simpler);
            if !fails(settings) {
                settings[life] = kept;
            }
        }
    }
}
