//! From probabilities to the domain where they are mixed, and back.
//!
//! There a probability `p` is `ln(p / (1 − p))`, in 256ths. Both tables are computed from one constant by integers alone.

/// The ends of the domain, in 256ths: a probability of 1 in 65,536 and its opposite.
pub(crate) const LIMIT: i32 = 2_840;

/// e^(−1/256) in 62 bits behind the point.
const STEP: u128 = 4_593_706_758_521_714_574;

/// For 0 and up: 65,536 / (1 + e^(−x/256)), rounded down.
const UPPER: [u16; LIMIT as usize + 1] = upper();
/// All of the domain.
static SQUASH: [u16; 2 * LIMIT as usize + 1] = squash_table();

const fn upper() -> [u16; LIMIT as usize + 1] {
    const ONE: u128 = 1 << 62;
    let mut table = [0; LIMIT as usize + 1];
    let mut power = ONE;
    let mut x = 0;
    while x < table.len() {
        let probability = (ONE << 16) / (ONE + power);
        table[x] = if probability > 65_535 { 65_535 } else { probability as u16 };
        power = (power * STEP) >> 62;
        x += 1;
    }
    table
}

const fn squash_table() -> [u16; 2 * LIMIT as usize + 1] {
    let mut table = [0; 2 * LIMIT as usize + 1];
    let mut x = 0;
    while x < UPPER.len() {
        table[LIMIT as usize - x] = 0_u16.wrapping_sub(UPPER[x]);
        table[LIMIT as usize + x] = UPPER[x];
        x += 1;
    }
    table
}

/// The probability in 65,536ths, from 1 to 65,535, for any number of the domain; beyond its ends that of the end.
#[inline]
pub(crate) fn squash(x: i32) -> u32 {
    u32::from(SQUASH[(x.clamp(-LIMIT, LIMIT) + LIMIT) as usize])
}

/// By the upper 12 bits of a probability, the number of the domain nearest below the middle of those.
static STRETCH: [i16; 4_096] = stretch_table();

const fn stretch_table() -> [i16; 4_096] {
    let mut table = [0; 4_096];
    let mut x = 0;
    let mut index = 2_048;
    while index < 4_096 {
        let middle = (index * 16 + 8) as u16;
        while x < LIMIT as usize && UPPER[x + 1] <= middle {
            x += 1;
        }
        table[index] = x as i16;
        table[4_095 - index] = -(x as i16);
        index += 1;
    }
    table
}

/// The place in the domain of a probability in 65,536ths.
#[inline]
pub(crate) fn stretch(probability: u32) -> i32 {
    i32::from(STRETCH[(probability >> 4) as usize & 4_095])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_the_functions() {
        for x in -LIMIT..=LIMIT {
            let exact = 65_536.0 / (1.0 + (-f64::from(x) / 256.0).exp());
            assert!((f64::from(squash(x)) - exact).abs() <= 1.0, "{x}");
        }
        for probability in (8..65_536).step_by(16) {
            let exact = (f64::from(probability) / (65_536.0 - f64::from(probability))).ln() * 256.0;
            assert!((f64::from(stretch(probability)) - exact).abs() <= 40.0, "{probability} {exact}");
        }
    }

    #[test]
    fn every_probability_can_be_coded() {
        assert_eq!((squash(i32::MIN), squash(i32::MAX)), (1, 65_535));
        assert!((-LIMIT..LIMIT).all(|x| squash(x) <= squash(x + 1)));
    }
}
