//! Makes a failing case small: steps are left out as long as it still fails (Zeller's delta debugging).

use super::step::Step;

/// The shortest case found of which `fails` still holds. It holds of `case`.
pub fn shrink(case: Vec<Step>, mut fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut case = case;
    let mut chunk = case.len().div_ceil(2);
    loop {
        let (mut start, before) = (0, case.len());
        while start < case.len() {
            let mut without = case.clone();
            without.drain(start..(start + chunk).min(case.len()));
            if fails(&without) {
                case = without;
            } else {
                start += chunk;
            }
        }
        if chunk == 1 && case.len() == before {
            return case;
        }
        chunk = if chunk == 1 { 1 } else { chunk.div_ceil(2) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_steps_that_matter_are_left() {
        let step =
            |flow| Step::Say { flow, back: false, flags: 0, shape: super::super::step::Shape::default() };
        let case: Vec<Step> = (0..100).map(step).collect();
        let small = shrink(case, |case| case.contains(&step(17)) && case.contains(&step(80)));
        assert_eq!(small, [step(17), step(80)]);
    }
}
