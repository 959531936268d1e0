use super::*;

#[test]
fn the_same_seed_draws_the_same_case() {
    let space = Space::default();
    for seed in 0..200 {
        assert_eq!(draw(&space, Seed(seed)), draw(&space, Seed(seed)));
    }
}
