//! What a run found, for people.

use std::fmt;

use super::checker::{Findings, median_and_longest};

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unknown, stored) = self.unknown;
        writeln!(f, "accepted      {:>9}  lost {}", self.accepted, self.lost)?;
        writeln!(f, "in doubt      {unknown:>9}  of them stored {stored}")?;
        let (refused, kept) = self.refused;
        writeln!(f, "refused       {refused:>9}  of them stored {kept}")?;
        let repeated: usize = self.repeated.values().sum();
        writeln!(
            f,
            "runs          {:>9}  acknowledged {}, repeated {repeated}, overlapping under a lease that had ended {}",
            self.runs, self.acknowledged, self.overlapping
        )?;
        for (reason, count) in &self.repeated {
            writeln!(f, "  repeated    {count:>9}  {reason:?}")?;
        }
        writeln!(
            f,
            "at most once  {:>9}  started twice {}",
            self.at_most_once, self.started_twice
        )?;
        writeln!(
            f,
            "merged        {:>9}  sends with the holder of their unique key",
            self.merged
        )?;
        writeln!(f, "called back   {:>9}", self.called_back)?;
        for (kind, count) in &self.ended {
            writeln!(f, "ended         {count:>9}  {kind}")?;
        }
        for (kind, count) in &self.dead {
            writeln!(f, "dead letters  {count:>9}  {kind}")?;
        }
        for (what, count) in &self.faults {
            writeln!(f, "faults        {count:>9}  {what:?}")?;
        }
        for (what, spans) in [
            ("kill to last rerun", &self.recovered_after_ms),
            ("outage to next end", &self.resumed_after_ms),
        ] {
            let (median, longest) = median_and_longest(spans);
            writeln!(
                f,
                "{what}: median {median:?}, longest {longest:?}, of {}",
                spans.len()
            )?;
        }
        write!(f, "drained in {:?} after the last fault", self.drained_in)
    }
}
