//! The queues of a worker, as text and as what it goes by.

use std::fmt;
use std::str::FromStr;

use lovage_core::{NameError, QueueName};

/// The queues that a worker claims from, and in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Queues {
    /// A queue is claimed from only when those before it are empty.
    Strict(Vec<QueueName>),
    /// The order is drawn anew for each round: a queue of weight 3 comes first three times as often as one of 1.
    Weighted(Vec<(QueueName, u32)>),
}

/// Why a text names no queues.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueuesError {
    /// A name is not valid.
    #[error("{0}")]
    Name(#[from] NameError),
    /// A weight is not a number from 1 to 1000.
    #[error("queue weight {text:?} in {entry:?} is not a number from 1 to 1000")]
    Weight {
        /// What stands for the weight.
        text: String,
        /// Where it stands.
        entry: String,
    },
    /// Some queues have a weight and some have none.
    #[error(
        "{entry:?} has no weight while other queues have one; give every queue a weight (mail:3,default:1) or none (mail,default: strict order)"
    )]
    Mixed {
        /// The queue without a weight.
        entry: String,
    },
    /// A queue is named twice.
    #[error("queue {queue} is named twice; name it once")]
    Twice {
        /// The queue.
        queue: QueueName,
    },
    /// Nothing is named.
    #[error("no queue is named; name at least one, for example `default`")]
    Empty,
}

impl Queues {
    /// All of the same weight.
    pub fn even(names: impl IntoIterator<Item = QueueName>) -> Self {
        Self::Weighted(names.into_iter().map(|name| (name, 1)).collect())
    }

    /// The names, in the order given.
    pub fn names(&self) -> Vec<QueueName> {
        self.weights().into_iter().map(|(name, _)| name).collect()
    }

    pub(crate) fn weights(&self) -> Vec<(QueueName, u32)> {
        match self {
            Self::Strict(names) => names.iter().map(|name| (name.clone(), 1)).collect(),
            Self::Weighted(weights) => weights.clone(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), QueuesError> {
        let names = self.names();
        if names.is_empty() {
            return Err(QueuesError::Empty);
        }
        for (place, name) in names.iter().enumerate() {
            if names[..place].contains(name) {
                return Err(QueuesError::Twice {
                    queue: name.clone(),
                });
            }
        }
        Ok(())
    }
}

/// `mail:3,default:1` is weighted, `mail,default` is strict. A last part of digits behind a colon is a weight.
impl FromStr for Queues {
    type Err = QueuesError;

    fn from_str(text: &str) -> Result<Self, QueuesError> {
        let mut parsed = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            parsed.push((entry, split_weight(entry)?));
        }
        let any_weight = parsed.iter().any(|(_, (_, weight))| weight.is_some());
        let queues = if any_weight {
            let weigh = |(entry, (name, weight)): (&str, (QueueName, Option<u32>))| match weight {
                Some(weight) => Ok((name, weight)),
                None => Err(QueuesError::Mixed {
                    entry: entry.to_owned(),
                }),
            };
            Self::Weighted(parsed.into_iter().map(weigh).collect::<Result<_, _>>()?)
        } else {
            Self::Strict(parsed.into_iter().map(|(_, (name, _))| name).collect())
        };
        queues.check()?;
        Ok(queues)
    }
}

fn split_weight(entry: &str) -> Result<(QueueName, Option<u32>), QueuesError> {
    match entry.rsplit_once(':') {
        Some((name, text)) if text.chars().all(|c| c.is_ascii_digit()) => {
            let weight = text
                .parse()
                .ok()
                .filter(|weight| (1..=1000).contains(weight));
            let weight = weight.ok_or_else(|| QueuesError::Weight {
                text: text.to_owned(),
                entry: entry.to_owned(),
            })?;
            Ok((QueueName::parse(name)?, Some(weight)))
        }
        _ => Ok((QueueName::parse(entry)?, None)),
    }
}

impl fmt::Display for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weighted = matches!(self, Self::Weighted(_));
        for (place, (name, weight)) in self.weights().iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{name}")?;
            if weighted {
                write!(f, ":{weight}")?;
            }
        }
        Ok(())
    }
}

impl From<QueueName> for Queues {
    fn from(name: QueueName) -> Self {
        Self::Strict(vec![name])
    }
}

impl From<Vec<QueueName>> for Queues {
    /// In strict order.
    fn from(names: Vec<QueueName>) -> Self {
        Self::Strict(names)
    }
}

impl<const N: usize> From<[QueueName; N]> for Queues {
    /// In strict order.
    fn from(names: [QueueName; N]) -> Self {
        Self::Strict(names.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_read_as_strict_or_weighted() {
        for (text, weighted, names) in [
            ("mail,default", false, "mail default"),
            ("mail:3, default:1", true, "mail default"),
            ("mail:eu", false, "mail:eu"),
            ("mail:eu:2", true, "mail:eu"),
        ] {
            let queues: Queues = text.parse().unwrap();
            assert_eq!(matches!(queues, Queues::Weighted(_)), weighted, "{text}");
            let read: Vec<_> = queues.names().iter().map(ToString::to_string).collect();
            assert_eq!(read.join(" "), names, "{text}");
        }
    }

    #[test]
    fn bad_queues_are_refused_with_what_to_do() {
        for (text, part) in [
            ("", "name at least one"),
            (",", "name at least one"),
            (
                "mail:0",
                "\"0\" in \"mail:0\" is not a number from 1 to 1000",
            ),
            ("mail:9999999999", "from 1 to 1000"),
            ("mail:3,default", "give every queue a weight"),
            ("mail,mail", "queue mail is named twice"),
            ("ma il", "' ' at byte 2"),
        ] {
            let error = text.parse::<Queues>().unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
