//! Steps within the rules of middleboxes.

use super::Way;
use crate::case::simpler::parts::{MICROSECOND, nanos};
use crate::case::simpler::steps::{Phase, Steps};
use crate::case::simpler::weight::{PLAIN_MAXSEG, parts};
use crate::case::{Action, Case, Impairments, Kept, Merge, Pick, Removal, Rule, Strip, Towards};

/// Collects them.
pub(super) fn steps(way: Way, impairments: &Impairments, steps: &mut Steps) {
    for (nth, rule) in impairments.rules.iter().enumerate() {
        one(Place { way, nth }, rule, steps);
    }
}

/// Where a rule stands.
#[derive(Clone, Copy)]
struct Place {
    way: Way,
    nth: usize,
}

impl Place {
    fn field(self, name: &str) -> String {
        self.way.field(&format!(".rules.{}{name}", self.nth))
    }

    fn edit(self, case: &mut Case, edit: impl FnOnce(&mut Rule)) {
        self.way.edit(case, |at| {
            if let Some(rule) = at.rules.get_mut(self.nth) {
                edit(rule);
            }
        });
    }
}

fn one(place: Place, rule: &Rule, steps: &mut Steps) {
    steps.add(Phase::Kind, &place.field(".times"), move |case| place.edit(case, |rule| rule.times = Some(1)));
    steps.add(Phase::Kind, &place.field(".chance"), move |case| place.edit(case, |rule| rule.chance = 1.0));
    if let Some(times) = rule.times {
        let range = (times.into(), 1, 1);
        steps.number(Phase::Number, &place.field(".times"), range, move |case, value| {
            place.edit(case, |rule| rule.times = Some(value as u32));
        });
    }
    steps.rounder(&place.field(".skip"), rule.skip.into(), 0, move |case, value| {
        place.edit(case, |rule| rule.skip = value as u32);
    });
    if rule.chance < 1.0 {
        steps.rounder(&place.field(".chance"), parts(rule.chance), super::PROBABILITY, move |case, value| {
            place.edit(case, |rule| rule.chance = value as f64 / 1e9);
        });
    }
    if let Pick::Data(from) = rule.on {
        steps.rounder(&place.field(".on.data"), from, 0, move |case, value| {
            place.edit(case, |rule| rule.on = Pick::Data(value));
        });
    }
    action(place, rule.action, steps);
}

fn action(place: Place, action: Action, steps: &mut Steps) {
    let set = move |make: fn(u64) -> Action| {
        move |case: &mut Case, value: u64| place.edit(case, |rule| rule.action = make(value))
    };
    let field = place.field(".action");
    match action {
        Action::Late(by) | Action::Early(by) => {
            steps.rounder(&field, by.as_nanos() as u64, MICROSECOND, move |case, value| {
                place.edit(case, |rule| match &mut rule.action {
                    Action::Late(by) | Action::Early(by) => *by = nanos(value),
                    _ => {}
                });
            });
        }
        Action::Split(at) => {
            steps.rounder(&field, at.into(), 0, set(|value| Action::Split(value as u32)));
        }
        Action::Merge(Merge { within, .. }) => {
            let merge = move |case: &mut Case, edit: &dyn Fn(&mut Merge)| {
                place.edit(case, |rule| {
                    if let Action::Merge(merge) = &mut rule.action {
                        edit(merge);
                    }
                });
            };
            steps.add(Phase::Kind, &field, move |case| merge(case, &|merge| merge.options = Kept::Same));
            steps.rounder(&field, within.as_nanos() as u64, MICROSECOND, move |case, value| {
                merge(case, &|merge| merge.within = nanos(value));
            });
        }
        Action::Alter(at) => {
            steps.rounder(&field, at.into(), 0, set(|value| Action::Alter(value as u32)));
        }
        Action::Clamp(mss) => {
            let range = (mss.into(), PLAIN_MAXSEG, 64);
            steps.number(Phase::Number, &field, range, set(|value| Action::Clamp(value as u16)));
        }
        Action::Strip(Strip { option, .. }) => steps.add(Phase::Kind, &field, move |case| {
            place.edit(case, |rule| rule.action = Action::Strip(Strip { option, by: Removal::Nops }));
        }),
        Action::Reset(_) => steps.add(Phase::Kind, &field, move |case| {
            place.edit(case, |rule| rule.action = Action::Reset(Towards::Both));
        }),
        Action::Drop | Action::Flip(_) | Action::Duplicate | Action::Mark | Action::Refuse => {}
    }
}
