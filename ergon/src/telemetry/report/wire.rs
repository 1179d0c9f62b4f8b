//! Serializes the times of steps, so that a worker can send them to its supervisor: each recorded value with its count.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::StepTimes;

impl Serialize for StepTimes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let recorded = self.0.iter_recorded();
        serializer.collect_seq(recorded.map(|value| (value.value_iterated_to(), value.count_at_value())))
    }
}

impl<'de> Deserialize<'de> for StepTimes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut times = Self::default();
        for (nanos, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            times.0.saturating_record_n(nanos, count);
        }
        Ok(times)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use crate::telemetry::{Step, Tally};

    proptest! {
        #[test]
        fn a_tally_comes_over_whole(nanos in proptest::collection::vec(0u64..4_000_000_000_000, 0..200)) {
            let mut tally = Tally { processed: nanos.len() as u64, ..Tally::default() };
            for nanos in &nanos {
                tally.record(Step::Process, Duration::from_nanos(*nanos));
            }
            let text = serde_json::to_string(&tally).unwrap();
            let again: Tally = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(again.processed, tally.processed);
            let (here, there) = (tally.times(Step::Process), again.times(Step::Process));
            prop_assert_eq!((here.count(), here.max()), (there.count(), there.max()));
            for share in [0.0, 0.5, 0.95, 0.99, 1.0] {
                prop_assert_eq!(here.quantile(share), there.quantile(share));
            }
        }
    }
}
