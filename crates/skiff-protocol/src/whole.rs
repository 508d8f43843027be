//! Whole numbers as JSON Schema has them: `2.0` is one, too, and some programs write all numbers so.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

struct Whole(u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor).map(Self)
    }
}

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of 64 bits")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<u64, E> {
        // The first that is none of 64 bits: all whole numbers below it that this type has are exact.
        const END: f64 = 18_446_744_073_709_551_616.0;
        if number.fract() == 0.0 && (0.0..END).contains(&number) {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it was just looked at"
            )]
            return Ok(number as u64);
        }
        Err(E::invalid_value(de::Unexpected::Float(number), &self))
    }
}

pub(crate) fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Whole::deserialize(deserializer).map(|number| number.0)
}

pub(crate) fn one_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<Whole>::deserialize(deserializer)?.map(|number| number.0))
}

pub(crate) fn set<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<u16>, D::Error> {
    let numbers = Vec::<Whole>::deserialize(deserializer)?;
    numbers.into_iter().map(|number| u16::try_from(number.0).map_err(de::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_however_they_are_written() {
        for (json, expected) in [
            ("0", Some(0)),
            ("2.0", Some(2)),
            ("-0.0", Some(0)),
            ("1e3", Some(1000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("1.5", None),
            ("-1", None),
            ("-1.0", None),
            ("18446744073709551616", None),
            ("1e300", None),
            ("\"1\"", None),
            ("null", None),
        ] {
            let found = one(&mut serde_json::Deserializer::from_str(json)).ok();
            assert_eq!(found, expected, "{json}");
        }
        let set = |json| set(&mut serde_json::Deserializer::from_str(json)).ok();
        assert_eq!(set("[0, 7.0]"), Some([0, 7].into()));
        assert_eq!(set("[65536]"), None);
    }
}
