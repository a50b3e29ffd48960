//! The rules of names, and the nearest name to one that is not known.

/// The longest queue or task name, in bytes: as `lovage_core::NAME_BYTES_MAX`, on which this crate does not depend.
const NAME_BYTES_MAX: usize = 200;

/// What is wrong with a queue's or task's name; the rules are those of `lovage_core::QueueName::parse`.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("a {what} must not be empty"));
    }
    if NAME_BYTES_MAX < name.len() {
        return Err(format!(
            "a {what} of {} bytes is too long, the limit is {NAME_BYTES_MAX} bytes",
            name.len()
        ));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:/@".contains(c);
    match name.char_indices().find(|&(_, c)| !allowed(c)) {
        None => Ok(()),
        Some((position, character)) => Err(format!(
            "{what} {name:?} has {character:?} at byte {position}; use ASCII letters, digits and any of - _ . : / @"
        )),
    }
}

/// The one of `known` that `word` was probably meant to be.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let part_of = |long: &str, short: &str| 3 <= short.len() && long.contains(short);
    known
        .filter_map(|name| match distance(word, name) {
            // Two slips in a word of three letters make any other word of three letters.
            edits if edits <= 2 && edits < name.len() / 2 => Some((edits, name)),
            _ if part_of(name, word) || part_of(word, name) => Some((3, name)),
            _ => None,
        })
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, name)| name)
}

/// How many letters must be added, dropped or replaced to make `a` into `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_answered_with_the_nearest_name() {
        let known = ["queue", "max_retries", "timeout", "result_ttl", "cpu"];
        for (word, expected) in [
            ("qeue", Some("queue")),
            ("retries", Some("max_retries")),
            ("time_out", Some("timeout")),
            ("ttl", Some("result_ttl")),
            ("gpu", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), expected, "{word}");
        }
    }
}
