//! From samples to rows, as a table or as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::machine::Machine;
use crate::stats::median;

/// The cores for which the absolute speeds among the targets are meant.
const CORES_OF_SPEEDS: usize = 4;

/// A row before it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// What the raw figure beside it is; empty where there is none.
    pub(crate) raw: &'static str,
    pub(crate) targets: &'static [Target],
}

/// What a row should reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) of: Of,
    pub(crate) bound: Bound,
}

/// Which figure of a row a target speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Of {
    /// The value, wherever it is measured.
    Value,
    /// The value, on four cores or more.
    Speed,
    /// The value over the raw figure.
    Ratio,
    /// The value over that of the same moves without the row's extra.
    Share,
}

/// The side on which a figure should lie.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// One measurement of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) value: f64,
    /// The same moves by raw Redis, measured next to it.
    pub(crate) raw: Option<f64>,
    /// The same moves without the row's extra (results, AOF), measured next to it.
    pub(crate) plain: Option<f64>,
}

impl From<f64> for Sample {
    fn from(value: f64) -> Self {
        Self {
            value,
            raw: None,
            plain: None,
        }
    }
}

impl Sample {
    /// This sample beside what raw Redis reached.
    pub(crate) fn beside(self, raw: f64) -> Self {
        Self {
            raw: Some(raw),
            ..self
        }
    }

    /// This sample beside what the same moves without the row's extra reached.
    pub(crate) fn without_extra(self, plain: f64) -> Self {
        Self {
            plain: Some(plain),
            ..self
        }
    }
}

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    value: f64,
    min: f64,
    max: f64,
    unit: &'static str,
    raw: Option<f64>,
    ratio: Option<f64>,
    share: Option<f64>,
    rounds: usize,
    raw_means: &'static str,
    targets: Vec<Judged>,
}

#[derive(Debug, Serialize)]
struct Judged {
    of: Of,
    bound: Bound,
    /// `None` where this machine cannot tell.
    met: Option<bool>,
}

impl Report {
    /// Sums up the samples of each row. Rows without samples are left out.
    pub(crate) fn new(machine: Machine, samples: &[(Spec, Vec<Sample>)]) -> Self {
        let rows = samples
            .iter()
            .filter(|(_, samples)| !samples.is_empty())
            .map(|(spec, samples)| Row::new(spec, samples, machine.cores))
            .collect();
        Self { machine, rows }
    }

    /// One JSON object.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// A table for people.
    pub(crate) fn to_table(&self) -> String {
        let head = [
            "row", "median", "min", "max", "unit", "raw", "ratio", "target",
        ];
        let mut lines = vec![head.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                lines
                    .iter()
                    .map(|line| line[column].chars().count())
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        let machine = &self.machine;
        let mut out = format!(
            "{}, {} cores, {} MiB, {}, {}, load {:.2}\n\n",
            machine.cpu,
            machine.cores,
            machine.memory_mib,
            machine.system,
            machine.redis,
            machine.load
        );
        for line in &lines {
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                // Texts to the left, numbers to the right.
                let _ = match head[column] {
                    "row" | "unit" | "target" => write!(out, "{cell:<width$}  "),
                    _ => write!(out, "{cell:>width$}  "),
                };
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        out
    }
}

impl Row {
    fn new(spec: &Spec, samples: &[Sample], cores: usize) -> Self {
        let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        let value = median(&values);
        let over = |of: fn(&Sample) -> Option<f64>| {
            let ratios: Vec<f64> = samples
                .iter()
                .filter_map(|sample| Some(sample.value / of(sample)?))
                .collect();
            (!ratios.is_empty()).then(|| median(&ratios))
        };
        let raws: Vec<f64> = samples.iter().filter_map(|sample| sample.raw).collect();
        // Rounds are compared pair by pair: a noisy minute hits both sides of its own ratio.
        let (ratio, share) = (over(|sample| sample.raw), over(|sample| sample.plain));
        let targets = spec
            .targets
            .iter()
            .map(|target| Judged {
                of: target.of,
                bound: target.bound,
                met: match target.of {
                    Of::Value => Some(target.bound.holds(value)),
                    Of::Speed => (CORES_OF_SPEEDS <= cores).then(|| target.bound.holds(value)),
                    Of::Ratio => ratio.map(|ratio| target.bound.holds(ratio)),
                    Of::Share => share.map(|share| target.bound.holds(share)),
                },
            })
            .collect();
        Self {
            name: spec.name,
            value,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            unit: spec.unit,
            raw: (!raws.is_empty()).then(|| median(&raws)),
            ratio,
            share,
            rounds: samples.len(),
            raw_means: spec.raw,
            targets,
        }
    }

    fn cells(&self) -> [String; 8] {
        let optional = |value: Option<f64>| value.map_or_else(String::new, digits);
        let targets: Vec<String> = self
            .targets
            .iter()
            .map(|judged| judged.text(self))
            .collect();
        [
            self.name.to_owned(),
            digits(self.value),
            digits(self.min),
            digits(self.max),
            self.unit.to_owned(),
            optional(self.raw),
            optional(self.ratio),
            targets.join("; "),
        ]
    }
}

impl Judged {
    fn text(&self, row: &Row) -> String {
        let (sign, limit) = match self.bound {
            Bound::AtLeast(limit) => (">=", limit),
            Bound::AtMost(limit) => ("<=", limit),
        };
        let of = match self.of {
            Of::Value => String::new(),
            Of::Speed => "on 4 cores ".into(),
            Of::Ratio => "ratio ".into(),
            Of::Share => format!("share {} ", row.share.map_or_else(String::new, digits)),
        };
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not judged here",
        };
        format!("{of}{sign} {}: {met}", digits(limit))
    }
}

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(limit) => limit <= figure,
            Self::AtMost(limit) => figure <= limit,
        }
    }
}

/// Three digits that count; thousands in groups.
fn digits(value: f64) -> String {
    match value.abs() {
        size if 0.0 < size && size < 0.1 => format!("{value:.4}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 1000.0 => format!("{value:.1}"),
        _ => {
            let plain = format!("{value:.0}");
            let mut out = String::new();
            for (at, digit) in plain.chars().enumerate() {
                let left = plain.len() - at;
                if 0 < at && left % 3 == 0 && !out.ends_with('-') {
                    out.push(',');
                }
                out.push(digit);
            }
            out
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(cores: usize) -> Machine {
        Machine {
            cpu: "any".into(),
            cores,
            memory_mib: 1,
            system: "any".into(),
            redis: "7.0".into(),
            load: 0.0,
        }
    }

    const DRAIN: Spec = Spec {
        name: "drain",
        unit: "tasks/s",
        raw: "claims",
        targets: &[
            Target {
                of: Of::Speed,
                bound: Bound::AtLeast(100.0),
            },
            Target {
                of: Of::Ratio,
                bound: Bound::AtLeast(0.3),
            },
        ],
    };

    #[test]
    fn ratios_are_taken_within_a_round() {
        let samples = [
            Sample::from(10.0).beside(100.0),
            Sample::from(80.0).beside(100.0),
            Sample::from(40.0).beside(50.0),
        ];
        let report = Report::new(machine(4), &[(DRAIN, samples.to_vec())]);
        let row = &report.rows[0];
        assert_eq!((row.value, row.min, row.max), (40.0, 10.0, 80.0));
        assert_eq!((row.raw, row.ratio), (Some(100.0), Some(0.8)));
        let met: Vec<_> = row.targets.iter().map(|judged| judged.met).collect();
        assert_eq!(met, [Some(false), Some(true)]);
    }

    #[test]
    fn speeds_for_four_cores_are_not_judged_on_two() {
        let samples = vec![Sample::from(10.0).beside(100.0)];
        let report = Report::new(machine(2), &[(DRAIN, samples)]);
        assert_eq!(report.rows[0].targets[0].met, None);
        assert!(report.to_table().contains("not judged here"));
    }

    #[test]
    fn the_json_names_machine_and_rows() {
        let samples = vec![Sample::from(10.0).beside(100.0)];
        let report = Report::new(machine(2), &[(DRAIN, samples)]);
        let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
        assert_eq!(json["machine"]["cores"], 2);
        for field in ["name", "value", "min", "max", "unit", "raw", "ratio"] {
            assert!(!json["rows"][0][field].is_null(), "{field}");
        }
    }

    #[test]
    fn numbers_show_the_digits_that_count() {
        for (value, expected) in [
            (0.0, "0.00"),
            (0.0123, "0.0123"),
            (0.123, "0.12"),
            (99.96, "100.0"),
            (1234.5, "1,234"),
            (1_234_567.0, "1,234,567"),
            (-1234.0, "-1,234"),
        ] {
            assert_eq!(digits(value), expected);
        }
    }
}
