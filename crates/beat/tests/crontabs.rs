//! Crontab expressions, what they name and why they are refused, worked out by hand.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use jiff::Timestamp;
use jiff::civil::DateTime;
use lovage_beat::{CrontabProblem, Field, Schedule, ScheduleError};
use lovage_core::Millis;

fn utc(text: &str) -> Millis {
    let local: DateTime = text.parse().unwrap();
    let instant = local.in_tz("UTC").unwrap().timestamp();
    Millis::new(instant.as_millisecond().try_into().unwrap())
}

fn shown(instant: Millis) -> String {
    let instant = Timestamp::from_millisecond(instant.get().try_into().unwrap()).unwrap();
    let text = instant.to_string();
    let text = text.trim_end_matches('Z');
    text.strip_suffix(":00").unwrap_or(text).to_owned()
}

/// Expression, the instant after which it is asked, the occurrences that follow, in UTC; none means that there is none.
/// The first of January 2026 is a Thursday.
const NAMED: &str = "
-- Minutes.
* * * * * | 2026-01-01T00:00 | 2026-01-01T00:01 2026-01-01T00:02
* * * * * | 2026-01-01T00:00:59.999 | 2026-01-01T00:01 2026-01-01T00:02
0 * * * * | 2026-01-01T00:00 | 2026-01-01T01:00 2026-01-01T02:00
5 * * * * | 2026-01-01T00:05 | 2026-01-01T01:05
59 23 31 12 * | 2026-01-01T00:00 | 2026-12-31T23:59 2027-12-31T23:59
*/15 * * * * | 2026-01-01T00:44 | 2026-01-01T00:45 2026-01-01T01:00
*/25 * * * * | 2026-01-01T00:00 | 2026-01-01T00:25 2026-01-01T00:50 2026-01-01T01:00
10-12 * * * * | 2026-01-01T00:10 | 2026-01-01T00:11 2026-01-01T00:12 2026-01-01T01:10
10-20/5 * * * * | 2026-01-01T00:00 | 2026-01-01T00:10 2026-01-01T00:15 2026-01-01T00:20 2026-01-01T01:10
50/5 * * * * | 2026-01-01T00:00 | 2026-01-01T00:50 2026-01-01T00:55 2026-01-01T01:50
1,2,30 * * * * | 2026-01-01T00:02 | 2026-01-01T00:30 2026-01-01T01:01
58-2 * * * * | 2026-01-01T00:01 | 2026-01-01T00:02 2026-01-01T00:58 2026-01-01T00:59 2026-01-01T01:00
56-4/4 * * * * | 2026-01-01T00:10 | 2026-01-01T00:56 2026-01-01T01:00 2026-01-01T01:04 2026-01-01T01:56
007 * * * * | 2026-01-01T00:00 | 2026-01-01T00:07
*/60 * * * * | 2026-01-01T00:00 | 2026-01-01T01:00
-- Hours.
0 0 * * * | 2026-01-01T00:00 | 2026-01-02T00:00 2026-01-03T00:00
30 23 * * * | 2026-01-31T23:30 | 2026-02-01T23:30
0 */6 * * * | 2026-01-01T06:00 | 2026-01-01T12:00 2026-01-01T18:00 2026-01-02T00:00
0 9-17 * * * | 2026-01-01T16:30 | 2026-01-01T17:00 2026-01-02T09:00
0 9-17/4 * * * | 2026-01-01T00:00 | 2026-01-01T09:00 2026-01-01T13:00 2026-01-01T17:00 2026-01-02T09:00
0 22-2 * * * | 2026-01-01T12:00 | 2026-01-01T22:00 2026-01-01T23:00 2026-01-02T00:00 2026-01-02T01:00 2026-01-02T02:00 2026-01-02T22:00
0 22-3/2 * * * | 2026-01-01T12:00 | 2026-01-01T22:00 2026-01-02T00:00 2026-01-02T02:00 2026-01-02T22:00
0 8,12,16-18 * * * | 2026-01-01T08:00 | 2026-01-01T12:00 2026-01-01T16:00 2026-01-01T17:00 2026-01-01T18:00 2026-01-02T08:00
15 14 1 * * | 2026-01-01T14:15 | 2026-02-01T14:15 2026-03-01T14:15
-- Days of the month, and the ends of months.
0 0 31 * * | 2026-01-31T00:00 | 2026-03-31T00:00 2026-05-31T00:00 2026-07-31T00:00 2026-08-31T00:00
0 0 30 * * | 2026-01-30T00:00 | 2026-03-30T00:00 2026-04-30T00:00
0 0 29 * * | 2026-01-29T00:00 | 2026-03-29T00:00
0 0 29 * * | 2028-01-29T00:00 | 2028-02-29T00:00 2028-03-29T00:00
0 0 28-31 * * | 2026-02-01T00:00 | 2026-02-28T00:00 2026-03-28T00:00 2026-03-29T00:00 2026-03-30T00:00 2026-03-31T00:00 2026-04-28T00:00
0 0 */10 * * | 2026-01-01T00:00 | 2026-01-11T00:00 2026-01-21T00:00 2026-01-31T00:00 2026-02-01T00:00
0 0 30-2 * * | 2026-02-02T00:00 | 2026-03-01T00:00 2026-03-02T00:00 2026-03-30T00:00 2026-03-31T00:00 2026-04-01T00:00
0 0 ? * * | 2026-01-01T00:00 | 2026-01-02T00:00
0 0 15,31 2,3 * | 2026-01-01T00:00 | 2026-02-15T00:00 2026-03-15T00:00 2026-03-31T00:00 2027-02-15T00:00
-- Leap days.
0 0 29 2 * | 2026-01-01T00:00 | 2028-02-29T00:00 2032-02-29T00:00
0 0 29 FEB * | 2096-02-29T00:00 |
0 0 28,29 2 * | 2027-02-28T00:00 | 2028-02-28T00:00 2028-02-29T00:00 2029-02-28T00:00
0 0 29 2 */7 | 2026-01-01T00:00 | 2032-02-29T00:00 2060-02-29T00:00
59 23 28 2 * | 2028-02-28T23:58 | 2028-02-28T23:59 2029-02-28T23:59
-- Months.
0 0 1 1 * | 2026-01-01T00:00 | 2027-01-01T00:00
0 0 1 */3 * | 2026-01-01T00:00 | 2026-04-01T00:00 2026-07-01T00:00 2026-10-01T00:00 2027-01-01T00:00
0 0 1 NOV-FEB * | 2026-01-01T00:00 | 2026-02-01T00:00 2026-11-01T00:00 2026-12-01T00:00 2027-01-01T00:00
0 0 1 jan,Jul * | 2026-01-01T00:00 | 2026-07-01T00:00 2027-01-01T00:00
0 0 1 11-2/3 * | 2026-01-01T00:00 | 2026-02-01T00:00 2026-11-01T00:00 2027-02-01T00:00
0 0 1 4-6,DEC * | 2026-05-01T00:00 | 2026-06-01T00:00 2026-12-01T00:00 2027-04-01T00:00
0 0 1 10/2 * | 2026-01-01T00:00 | 2026-10-01T00:00 2026-12-01T00:00 2027-10-01T00:00
-- Days of the week.
0 0 * * 0 | 2026-01-01T00:00 | 2026-01-04T00:00 2026-01-11T00:00
0 0 * * 7 | 2026-01-01T00:00 | 2026-01-04T00:00 2026-01-11T00:00
0 0 * * SUN | 2026-01-01T00:00 | 2026-01-04T00:00
0 0 * * 1 | 2026-01-01T00:00 | 2026-01-05T00:00
0 0 * * 6 | 2026-01-01T00:00 | 2026-01-03T00:00
0 9 * * MON-FRI | 2026-01-02T09:00 | 2026-01-05T09:00 2026-01-06T09:00
0 9 * * mon-Fri | 2026-01-01T00:00 | 2026-01-01T09:00 2026-01-02T09:00 2026-01-05T09:00
0 0 * * FRI-MON | 2026-01-01T00:00 | 2026-01-02T00:00 2026-01-03T00:00 2026-01-04T00:00 2026-01-05T00:00 2026-01-09T00:00
0 0 * * 5-7 | 2026-01-01T00:00 | 2026-01-02T00:00 2026-01-03T00:00 2026-01-04T00:00 2026-01-09T00:00
0 0 * * 7-2 | 2026-01-01T00:00 | 2026-01-04T00:00 2026-01-05T00:00 2026-01-06T00:00 2026-01-11T00:00
0 0 * * SAT-SUN | 2026-01-01T00:00 | 2026-01-03T00:00 2026-01-04T00:00 2026-01-10T00:00
0 0 * * 0-7 | 2026-01-01T00:00 | 2026-01-02T00:00 2026-01-03T00:00
0 0 * * */3 | 2026-01-01T00:00 | 2026-01-03T00:00 2026-01-04T00:00 2026-01-07T00:00 2026-01-10T00:00
0 0 * * MON,3,FRI | 2026-01-01T00:00 | 2026-01-02T00:00 2026-01-05T00:00 2026-01-07T00:00
0 0 * * FRI-TUE/2 | 2026-01-01T00:00 | 2026-01-02T00:00 2026-01-04T00:00 2026-01-06T00:00 2026-01-09T00:00
0 0 ? * ? | 2026-01-01T00:00 | 2026-01-02T00:00
-- Both kinds of days: either, where neither begins with a star.
0 0 13 * FRI | 2026-01-09T00:00 | 2026-01-13T00:00 2026-01-16T00:00 2026-01-23T00:00 2026-01-30T00:00 2026-02-06T00:00 2026-02-13T00:00 2026-02-20T00:00
0 0 1,15 * 3 | 2026-01-01T00:00 | 2026-01-07T00:00 2026-01-14T00:00 2026-01-15T00:00 2026-01-21T00:00
0 0 30 2 MON | 2026-02-01T00:00 | 2026-02-02T00:00 2026-02-09T00:00
0 0 13 * ? | 2026-01-13T00:00 | 2026-02-13T00:00
0 0 */2 * MON | 2026-01-01T00:00 | 2026-01-05T00:00 2026-01-19T00:00 2026-02-09T00:00
0 0 1-7 * */7 | 2026-01-01T00:00 | 2026-01-04T00:00 2026-02-01T00:00 2026-03-01T00:00 2026-04-05T00:00
0 0 29 2 1-7 | 2026-02-27T00:00 | 2026-02-28T00:00 2027-02-01T00:00
-- Seconds first.
0 0 9 * * * | 2026-01-01T09:00 | 2026-01-02T09:00
*/20 * * * * * | 2026-01-01T00:00 | 2026-01-01T00:00:20 2026-01-01T00:00:40 2026-01-01T00:01
30 0 0 * * SUN | 2026-01-01T00:00 | 2026-01-04T00:00:30
58-1 59 23 31 12 * | 2026-01-01T00:00 | 2026-12-31T23:59 2026-12-31T23:59:01 2026-12-31T23:59:58 2026-12-31T23:59:59 2027-12-31T23:59
59 * * * * * | 2026-01-01T00:00:58.999 | 2026-01-01T00:00:59
-- Years last.
0 0 0 1 1 * 2030 | 2026-01-01T00:00 | 2030-01-01T00:00
0 0 0 1 1 * 2025 | 2026-01-01T00:00 |
0 0 12 * * * 2026-2027 | 2026-12-31T11:59 | 2026-12-31T12:00 2027-01-01T12:00
0 0 0 31 12 * */10 | 2026-01-01T00:00 | 2030-12-31T00:00 2040-12-31T00:00
0 0 0 29 2 * 2026-2034 | 2026-01-01T00:00 | 2028-02-29T00:00 2032-02-29T00:00
59 59 23 31 12 ? 2100 | 2026-01-01T00:00 | 2100-12-31T23:59:59
0 0 0 29 FEB MON 2028,2044 | 2028-02-29T00:00 | 2044-02-01T00:00 2044-02-08T00:00
* * * * * * 1970 | 2026-01-01T00:00 |
-- Nicknames, blanks, stars in lists.
@yearly | 2026-01-01T00:00 | 2027-01-01T00:00
@annually | 2026-01-01T00:00 | 2027-01-01T00:00
@monthly | 2026-01-01T00:00 | 2026-02-01T00:00
@weekly | 2026-01-01T00:00 | 2026-01-04T00:00
@daily | 2026-01-01T00:00 | 2026-01-02T00:00
@midnight | 2026-01-01T00:00 | 2026-01-02T00:00
 @Hourly  | 2026-01-01T00:00 | 2026-01-01T01:00
  0\t0  1 1   *  | 2026-01-01T00:00 | 2027-01-01T00:00
*,30 * * * * | 2026-01-01T00:00 | 2026-01-01T00:01
";

#[test]
fn crontabs_name_the_times_that_were_worked_out_by_hand() {
    let rows = NAMED
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("--"));
    let mut count = 0;
    for row in rows {
        let mut cells = row.split(" |");
        let [expression, after, expected] = [(); 3].map(|()| cells.next().unwrap());
        let schedule = Schedule::cron(expression).unwrap();
        let expected: Vec<&str> = expected.split_whitespace().collect();
        let mut at = utc(after.trim());
        let mut found = Vec::new();
        for _ in 0..expected.len().max(1) {
            let Some(next) = schedule.next_after(at) else {
                break;
            };
            found.push(shown(next));
            at = next;
        }
        assert_eq!(found, expected, "{expression} after {after}");
        count += 1;
    }
    assert!(60 <= count, "{count}");
}

/// Expression, the field that is refused and its column, what the error says.
const REFUSED: &[(&str, Option<Field>, usize, &str)] = &[
    ("", None, 1, "there are 0 fields; write 5"),
    ("   ", None, 4, "there are 0 fields"),
    ("* * * *", None, 8, "there are 4 fields"),
    ("* * * * * * * 1", None, 15, "there are 8 fields"),
    (
        "60 * * * *",
        Some(Field::Minute),
        1,
        "minute at column 1: \"60\" is out of range; allowed are 0-59",
    ),
    (
        "0 24 * * *",
        Some(Field::Hour),
        3,
        "hour at column 3: \"24\" is out of range; allowed are 0-23",
    ),
    (
        "0 0 0 * *",
        Some(Field::DayOfMonth),
        5,
        "day-of-month at column 5: \"0\" is out of range; allowed are 1-31",
    ),
    (
        "0 0 32 * *",
        Some(Field::DayOfMonth),
        5,
        "\"32\" is out of range",
    ),
    (
        "0 0 1 13 *",
        Some(Field::Month),
        7,
        "month at column 7: \"13\" is out of range; allowed are 1-12 and JAN-DEC",
    ),
    ("0 0 1 0 *", Some(Field::Month), 7, "\"0\" is out of range"),
    (
        "0 0 * * 8",
        Some(Field::DayOfWeek),
        9,
        "day-of-week at column 9: \"8\" is out of range; allowed are 0-7 (0 and 7 are Sunday) and SUN-SAT",
    ),
    ("60 * * * * *", Some(Field::Second), 1, "second at column 1"),
    (
        "0 0 0 1 1 * 1969",
        Some(Field::Year),
        13,
        "year at column 13: \"1969\" is out of range; allowed are 1970-2100",
    ),
    (
        "0 0 0 1 1 * 2101",
        Some(Field::Year),
        13,
        "\"2101\" is out of range",
    ),
    (
        "0 0 0 1 1 * 2030-2026",
        Some(Field::Year),
        13,
        "\"2030-2026\" ends before it begins",
    ),
    (
        "*/0 * * * *",
        Some(Field::Minute),
        1,
        "the step of \"*/0\" is out of range; allowed are 1-60",
    ),
    (
        "* */25 * * *",
        Some(Field::Hour),
        3,
        "the step of \"*/25\" is out of range; allowed are 1-24",
    ),
    (
        "*/ * * * *",
        Some(Field::Minute),
        1,
        "\"*/\" has no proper step",
    ),
    (
        "/5 * * * *",
        Some(Field::Minute),
        1,
        "\"/5\" has no proper step",
    ),
    (
        "*/x * * * *",
        Some(Field::Minute),
        1,
        "\"*/x\" has no proper step",
    ),
    (
        "*/5/2 * * * *",
        Some(Field::Minute),
        1,
        "\"*/5/2\" has no proper step",
    ),
    (
        "1,,2 * * * *",
        Some(Field::Minute),
        3,
        "minute at column 3: an entry of the list is empty",
    ),
    (
        "0 1,2, * * *",
        Some(Field::Hour),
        7,
        "an entry of the list is empty",
    ),
    (
        ", * * * *",
        Some(Field::Minute),
        1,
        "an entry of the list is empty",
    ),
    (
        "5- * * * *",
        Some(Field::Minute),
        1,
        "\"5-\" is not understood",
    ),
    (
        "-5 * * * *",
        Some(Field::Minute),
        1,
        "\"-5\" is not understood",
    ),
    (
        "1-2-3 * * * *",
        Some(Field::Minute),
        3,
        "\"2-3\" is not understood",
    ),
    (
        "10-61 * * * *",
        Some(Field::Minute),
        4,
        "\"61\" is out of range",
    ),
    (
        "99999999999999999999 * * * *",
        Some(Field::Minute),
        1,
        "is out of range",
    ),
    (
        "+5 * * * *",
        Some(Field::Minute),
        1,
        "\"+5\" is not understood",
    ),
    (
        "? * * * *",
        Some(Field::Minute),
        1,
        "\"?\" is not understood",
    ),
    (
        "0 0 ?/2 * *",
        Some(Field::DayOfMonth),
        5,
        "\"?/2\" has no proper step",
    ),
    (
        "0 0 1 JANUARY *",
        Some(Field::Month),
        7,
        "\"JANUARY\" is not understood; allowed are 1-12 and JAN-DEC",
    ),
    (
        "0 0 * * FRI-XYZ",
        Some(Field::DayOfWeek),
        13,
        "\"XYZ\" is not understood",
    ),
    (
        "0 0 * MON *",
        Some(Field::Month),
        7,
        "\"MON\" is not understood",
    ),
    (
        "JAN 0 * * *",
        Some(Field::Minute),
        1,
        "\"JAN\" is not understood",
    ),
    (
        "0 0 ٣ * *",
        Some(Field::DayOfMonth),
        5,
        "\"٣\" is not understood",
    ),
    ("0 ü 1 1 *", Some(Field::Hour), 3, "\"ü\" is not understood"),
    (
        "0 0 L * *",
        Some(Field::DayOfMonth),
        5,
        "\"L\": L, W and # are not supported; name all days that may be meant",
    ),
    (
        "0 0 L-3 * *",
        Some(Field::DayOfMonth),
        5,
        "L, W and # are not supported",
    ),
    (
        "0 0 15W * *",
        Some(Field::DayOfMonth),
        5,
        "\"15W\": L, W and # are not supported",
    ),
    (
        "0 0 * * MON#2",
        Some(Field::DayOfWeek),
        9,
        "\"MON#2\": L, W and # are not supported",
    ),
    (
        "0 0 * * 1,5L",
        Some(Field::DayOfWeek),
        11,
        "\"5L\": L, W and # are not supported",
    ),
    (
        "0 0 * * friL",
        Some(Field::DayOfWeek),
        9,
        "\"friL\": L, W and # are not supported",
    ),
    (
        "30 2 30 2 *",
        Some(Field::DayOfMonth),
        6,
        "day-of-month 30 never occurs in FEB",
    ),
    (
        "0 0 31 4,6,9,11 *",
        Some(Field::DayOfMonth),
        5,
        "day-of-month 31 never occurs in APR,JUN,SEP,NOV",
    ),
    (
        "0 0 0 29 2 * 2026,2027",
        Some(Field::DayOfMonth),
        7,
        "day-of-month 29 never occurs in FEB of 2026,2027",
    ),
    (
        "0 0 0 29 2 */7 2028",
        Some(Field::DayOfMonth),
        7,
        "day-of-month 29 never occurs in FEB of 2028 on SUN",
    ),
    (
        "@reboot",
        None,
        1,
        "\"@reboot\" is no time, and is not supported; send the task where the program starts",
    ),
    (
        "@fortnightly",
        None,
        1,
        "\"@fortnightly\" is unknown; use @yearly",
    ),
    ("@daily *", None, 9, "there are 2 fields"),
];

#[test]
fn refused_crontabs_point_at_what_is_wrong_and_say_what_is_allowed() {
    assert!(25 <= REFUSED.len());
    for (expression, field, column, part) in REFUSED {
        let ScheduleError::Crontab(error) = Schedule::cron(expression).unwrap_err() else {
            panic!("{expression:?}");
        };
        let text = error.to_string();
        assert!(text.contains(part), "{expression:?}: {text}");
        assert_eq!(error.field(), *field, "{expression:?}: {text}");
        assert_eq!(error.column(), *column, "{expression:?}: {text}");
    }
}

#[test]
fn an_expression_that_is_too_long_is_refused_and_cited_in_part() {
    let expression = "1,".repeat(200) + "1 * * * *";
    let ScheduleError::Crontab(error) = Schedule::cron(&expression).unwrap_err() else {
        panic!("refused for another reason");
    };
    assert_eq!(*error.problem(), CrontabProblem::TooLong { size: 409 });
    let text = error.to_string();
    assert!(
        text.contains("409 bytes are too long, the limit is 256"),
        "{text}"
    );
    assert!(text.len() < 200, "{text}");
}

#[test]
fn a_search_ends_where_nothing_follows() {
    let never_again = ["0 0 0 1 1 * 1970", "* * * * * * 2025", "0 0 29 2 *"];
    let late = utc("2100-12-31T23:59:59");
    for expression in never_again {
        for zone in ["UTC", "America/New_York", "Africa/Casablanca"] {
            let schedule = Schedule::cron(expression).unwrap().tz(zone).unwrap();
            for after in [late, Millis::new(4_200_000_000_000), Millis::MAX] {
                assert_eq!(schedule.next_after(after), None, "{expression} in {zone}");
            }
        }
    }
}

#[test]
fn any_text_is_a_crontab_that_occurs_or_an_error_that_points_into_it() {
    const LETTERS: &str = "0123456789*/,-? LW#@MONFEBü\t";
    let letters: Vec<char> = LETTERS.chars().collect();
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..50_000 {
        let text: String = (0..rng.usize(..24))
            .map(|_| *rng.choice(&letters).unwrap())
            .collect();
        match Schedule::cron(&text) {
            Ok(schedule) => assert!(
                schedule
                    .starting(Millis::new(0))
                    .last_until(Millis::MAX)
                    .is_some(),
                "{text}"
            ),
            Err(ScheduleError::Crontab(error)) => {
                assert!(
                    (1..=text.chars().count() + 1).contains(&error.column()),
                    "{error}"
                );
            }
            Err(error) => panic!("{text:?}: {error}"),
        }
    }
}
