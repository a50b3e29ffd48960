//! What an examination found.

use std::collections::BTreeMap;
use std::fmt;

use lovage_core::{Finding, FindingKind, ServerLook};

/// The most findings, and the most things that could not be looked at, that are kept word for word. All are counted.
const SHOWN_MAX: usize = 1_000;

/// What an examination found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// What is wrong, at most a thousand of it.
    pub findings: Vec<Finding>,
    /// How much is wrong, by kind.
    pub counted: BTreeMap<FindingKind, u64>,
    /// How many keys and ids were looked at.
    pub looked_at: u64,
    /// How many findings were put right.
    pub repaired: u64,
    /// What could not be looked at, or not be decided, and why; at most a thousand.
    pub unsure: Vec<String>,
    /// What the servers say of themselves.
    pub servers: Vec<ServerLook>,
}

impl Report {
    /// Whether nothing is wrong that this did not put right, and all could be looked at.
    pub fn is_healthy(&self) -> bool {
        self.total() == self.repaired && self.unsure.is_empty()
    }

    /// How many findings there were, those included that were put right.
    pub fn total(&self) -> u64 {
        self.counted.values().sum()
    }

    pub(super) fn note(&mut self, finding: Finding) {
        *self.counted.entry(finding.kind).or_default() += 1;
        self.repaired += u64::from(finding.repaired);
        if self.findings.len() < SHOWN_MAX {
            self.findings.push(finding);
        }
    }

    pub(super) fn doubt(&mut self, what: String) {
        if self.unsure.len() < SHOWN_MAX {
            self.unsure.push(what);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        let (looked_at, repaired) = (self.looked_at, self.repaired);
        writeln!(
            f,
            "looked at {looked_at}: {total} findings, {repaired} repaired"
        )?;
        for finding in &self.findings {
            writeln!(f, "  {finding}")?;
        }
        let shown = self.findings.len() as u64;
        if shown < total {
            writeln!(f, "  and {} more", total - shown)?;
        }
        for what in &self.unsure {
            writeln!(f, "  unsure: {what}")?;
        }
        for server in &self.servers {
            let version = server.info.get("redis_version");
            let version = version.map_or("of an unknown version", String::as_str);
            write!(f, "  {}: Redis {version}", server.address)?;
            if let Some(keeps) = server.keeps() {
                write!(f, "; {keeps}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
