use std::collections::BTreeMap;

use super::*;

#[test]
fn the_same_seed_draws_the_same_case() {
    let space = Space::default();
    for seed in 0..200 {
        assert_eq!(draw(&space, Seed(seed)), draw(&space, Seed(seed)));
    }
}

#[test]
fn show() {
    let space = Space::default();
    let mut impaired = 0;
    for seed in 0..2000 {
        let case = draw(&space, Seed(seed).child(0));
        impaired += u32::from(case.links.values().any(|l| l.is_impaired()));
        if seed < 12 {
            println!("{}", toml::to_string(&case).unwrap());
        }
    }
    println!("{impaired}");
    let mut c: BTreeMap<u32, u32> = BTreeMap::new();
    for seed in 0..2000 {
        let case = draw(&space, Seed(seed).child(0));
        *c.entry((case.client.payload + case.server.payload).checked_ilog2().map_or(0, |x| x + 1)).or_default() += 1;
    }
    println!("{c:?}");
}
