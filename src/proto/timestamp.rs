//! Dates on the wire: HTTP's three forms and RFC 3339, to and from unix time.

/// Reads an HTTP-date (RFC 9110 section 5.6.7) into unix seconds: the IMF-fixdate that everybody
/// sends, and the two obsolete forms that "a recipient MUST accept". `None` before 1970.
pub(crate) fn parse_http_date(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.split_ascii_whitespace();
    let weekday = words.next()?;
    let (date, time) = if let Some(name) = weekday.strip_suffix(',') {
        weekday_index(name)?;
        let first = words.next()?;
        let (day, month, year) = if let Some((day, rest)) = first.split_once('-') {
            // rfc850-date: Sunday, 06-Nov-94 08:49:37 GMT
            let (month, year) = rest.split_once('-')?;
            // "[…] MUST interpret a timestamp that appears to be more than 50 years in the future
            // as representing the most recent year in the past": without a clock, 1970 to 2069.
            let year = digits(year, 2)?;
            (
                day,
                month,
                if year < 70 { 2000 + year } else { 1900 + year },
            )
        } else {
            // IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
            (first, words.next()?, digits(words.next()?, 4)?)
        };
        let date = Date {
            year,
            month: month_number(month)?,
            day: digits(day, 2)?,
        };
        let time = words.next()?;
        if words.next()? != "GMT" {
            return None;
        }
        (date, time)
    } else {
        // asctime-date: Sun Nov  6 08:49:37 1994
        weekday_index(weekday)?;
        let (month, day, time) = (words.next()?, words.next()?, words.next()?);
        let day = digits(day, day.len().min(2))?;
        let year = digits(words.next()?, 4)?;
        (
            Date {
                year,
                month: month_number(month)?,
                day,
            },
            time,
        )
    };
    if words.next().is_some() {
        return None;
    }
    u64::try_from(date.days()? * DAY_S + clock(time)?).ok()
}

/// Reads an RFC 3339 date-time into unix milliseconds, finer fractions cut off. `None` before 1970.
pub(crate) fn parse_rfc3339(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (year, rest_of_date) = date.split_at_checked(4)?;
    let mut parts = rest_of_date.split('-');
    if !parts.next()?.is_empty() {
        return None;
    }
    let date = Date {
        year: digits(year, 4)?,
        month: digits(parts.next()?, 2)?,
        day: digits(parts.next()?, 2)?,
    };
    if parts.next().is_some() {
        return None;
    }
    // Section 5.6: "T" and "Z" may be lower case, and a blank may stand for the "T".
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let (millis, zone) = match rest.strip_prefix('.') {
        Some(rest) => {
            let len = rest.bytes().take_while(u8::is_ascii_digit).count();
            (fraction_ms(rest.get(..len)?)?, rest.get(len..)?)
        }
        None => (0, rest),
    };
    let seconds = date.days()? * DAY_S + clock(time)? - offset_s(zone)?;
    u64::try_from(seconds * 1000 + millis).ok()
}

/// Reads the date of a cookie (RFC 6265 section 5.1.1) into unix seconds, 0 for all before 1970:
/// time, day, month and year in any order, whatever stands between and behind them.
pub(crate) fn parse_cookie_date(text: &[u8]) -> Option<u64> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    let separates = |byte: &u8| matches!(byte, 9 | 32..=47 | 59..=64 | 91..=96 | 123..=126);
    for token in text.split(separates) {
        if time.is_none() && cookie_time(token).is_some() {
            time = cookie_time(token);
        } else if day.is_none() && leading_number(token, 1..=2).is_some() {
            day = leading_number(token, 1..=2).map(|(day, _)| day);
        } else if month.is_none() && cookie_month(token).is_some() {
            month = cookie_month(token);
        } else if year.is_none() {
            year = leading_number(token, 2..=4).map(|(year, _)| year);
        }
    }
    let year = match year? {
        year @ 70..=99 => year + 1900,
        year @ 0..=69 => year + 2000,
        year => year,
    };
    let (month, day) = (month?, day?);
    let date = Date { year, month, day };
    let seconds = date.days().filter(|_| year >= 1601)? * DAY_S + time?;
    Some(u64::try_from(seconds).unwrap_or(0))
}

/// Writes unix milliseconds as RFC 3339 in UTC, e.g. `2026-08-22T12:34:56.789Z`; stops at the year
/// 9999.
pub fn to_rfc3339(ms: u64) -> String {
    let ms = ms.min(LAST_MS);
    let (days, in_day) = (ms / 1000 / DAY_S as u64, ms % (DAY_S as u64 * 1000));
    let (year, month, day) = civil_from_days(days);
    let mut out = String::with_capacity(24);
    for (number, width, after) in [
        (year, 4, '-'),
        (month, 2, '-'),
        (day, 2, 'T'),
        (in_day / 3_600_000, 2, ':'),
        (in_day / 60_000 % 60, 2, ':'),
        (in_day / 1000 % 60, 2, '.'),
        (in_day % 1000, 3, 'Z'),
    ] {
        for place in (0..width).rev() {
            out.push(char::from(b'0' + (number / 10_u64.pow(place) % 10) as u8));
        }
        out.push(after);
    }
    out
}

const DAY_S: i64 = 86_400;
/// 9999-12-31T23:59:59.999Z
const LAST_MS: u64 = 253_402_300_799_999;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// A day of the Gregorian calendar, not yet known to exist.
struct Date {
    year: i64,
    month: i64,
    day: i64,
}

impl Date {
    /// Days since 1970-01-01, by Howard Hinnant's `days_from_civil` for years from 0 on.
    fn days(&self) -> Option<i64> {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let last = match self.month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => return None,
        };
        if self.day < 1 || self.day > last {
            return None;
        }
        // Years begin in March here, so that the leap day is the last.
        let (year, month) = if self.month > 2 {
            (self.year, self.month - 3)
        } else {
            (self.year - 1, self.month + 9)
        };
        let day_of_year = (153 * month + 2) / 5 + self.day - 1;
        Some(
            year * 365 + year.div_euclid(4) - year.div_euclid(100)
                + year.div_euclid(400)
                + day_of_year
                - 719_468,
        )
    }
}

/// The inverse, Hinnant's `civil_from_days`, for days from 1970 on: year, month, day.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// `hh:mm:ss` in seconds; a leap second is the next minute's first.
fn clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let mut part = |last| {
        parts
            .next()
            .and_then(|part| digits(part, 2))
            .filter(|n| *n <= last)
    };
    let seconds = part(23)? * 3600 + part(59)? * 60 + part(60)?;
    parts.next().is_none().then_some(seconds)
}

/// Section 5.1.1 of RFC 6265: one or two digits each, and what follows them is no digit.
fn cookie_time(token: &[u8]) -> Option<i64> {
    let (hours, rest) = leading_number(token, 1..=2)?;
    let (minutes, rest) = leading_number(rest.strip_prefix(b":")?, 1..=2)?;
    let (seconds, _) = leading_number(rest.strip_prefix(b":")?, 1..=2)?;
    let exists = hours <= 23 && minutes <= 59 && seconds <= 59;
    exists.then_some(hours * 3600 + minutes * 60 + seconds)
}

/// The first three letters tell.
fn cookie_month(token: &[u8]) -> Option<i64> {
    let name = token.get(..3)?;
    (1..).zip(MONTHS).find_map(|(number, month)| {
        name.eq_ignore_ascii_case(month.as_bytes())
            .then_some(number)
    })
}

/// The digits in front, if they are so many, and what follows.
fn leading_number(token: &[u8], places: std::ops::RangeInclusive<usize>) -> Option<(i64, &[u8])> {
    let len = token
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (number, rest) = token.split_at(len);
    let number = std::str::from_utf8(number)
        .ok()
        .filter(|_| places.contains(&len))?;
    Some((number.parse().ok()?, rest))
}

/// The zone of an RFC 3339 time: "Z", or how far local time is ahead of UTC.
fn offset_s(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ahead = hours * 3600 + minutes * 60;
    match zone.as_bytes().first()? {
        b'+' => Some(ahead),
        b'-' => Some(-ahead),
        _ => None,
    }
}

/// The milliseconds in the digits behind the point; at least one digit.
fn fraction_ms(text: &str) -> Option<i64> {
    let mut places = text.bytes().map(|b| i64::from(b - b'0'));
    let tenths = places.next()?;
    Some(tenths * 100 + places.next().unwrap_or(0) * 10 + places.next().unwrap_or(0))
}

/// Exactly `len` digits.
fn digits(text: &str, len: usize) -> Option<i64> {
    if text.len() != len || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Month names are case-sensitive (RFC 9110 section 5.6.7).
fn month_number(name: &str) -> Option<i64> {
    (1..)
        .zip(MONTHS)
        .find_map(|(number, month)| (month == name).then_some(number))
}

/// Short or long; whether it is the date's own weekday does not matter.
fn weekday_index(name: &str) -> Option<usize> {
    WEEKDAYS
        .iter()
        .position(|weekday| *weekday == name || weekday.get(..3) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::SplitMix;

    #[test]
    fn reads_http_dates() {
        fn check(text: &str, expect: Option<u64>) {
            assert_eq!(parse_http_date(text.as_bytes()), expect, "{text}");
        }
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777));
        check("Sun Nov  6 08:49:37 1994", Some(784_111_777));
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
        check("Thu, 29 Feb 2024 12:00:00 GMT", Some(1_709_208_000));
        check("Sat, 31 Dec 2016 23:59:60 GMT", Some(1_483_228_800));
        check("Sunday, 06-Nov-26 08:49:37 GMT", Some(1_793_954_977));
        check("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799));
        for bad in [
            "",
            "Sun",
            "Sun,",
            "now",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Thu, 29 Feb 2023 12:00:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37:1 GMT",
            "Xyz, 06 Nov 1994 08:49:37 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Sun, 06 Nov 0000 08:49:37 GMT",
            "Sun, -6 Nov 1994 08:49:37 GMT",
            "Sun Nov  6 08:49:37 94",
            "Sun Nov 006 08:49:37 1994",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "1700000000",
        ] {
            check(bad, None);
        }
        assert_eq!(parse_http_date(b"Sun, 06 Nov 1994 08:49:37 \xff"), None);
    }

    #[test]
    fn reads_rfc3339() {
        fn check(text: &str, expect: Option<u64>) {
            assert_eq!(parse_rfc3339(text), expect, "{text}");
        }
        check("1970-01-01T00:00:00Z", Some(0));
        check("1985-04-12T23:20:50.52Z", Some(482_196_050_520));
        check("1996-12-19T16:39:57-08:00", Some(851_042_397_000));
        check("1990-12-31T23:59:60Z", Some(662_688_000_000));
        check("1937-01-01T12:00:27.87+00:20", None);
        check("2026-08-22t12:34:56.7891234z", Some(1_787_402_096_789));
        check("2026-08-22 12:34:56+02:30", Some(1_787_393_096_000));
        check("1969-12-31T23:00:00-01:00", Some(0));
        check("2026-08-22T12:34:56.1Z", Some(1_787_402_096_100));
        for bad in [
            "",
            "2026",
            "2026-08-22",
            "2026-08-22T12:34:56",
            "2026-08-22T12:34Z",
            "2026-8-22T12:34:56Z",
            "2026-13-22T12:34:56Z",
            "2026-02-29T12:34:56Z",
            "2026-08-22T12:34:56.Z",
            "2026-08-22T12:34:56,1Z",
            "2026-08-22T12:34:56+0230",
            "2026-08-22T12:34:56+24:00",
            "2026-08-22T12:34:56+1:00",
            "2026-08-22T12:34:56 01:00",
            "2026-08-22T12:34:56Zx",
            "2026/08/22T12:34:56Z",
            "+026-08-22T12:34:56Z",
            "2026-08-22x12:34:56Z",
            "202608-22-T12:34:56Z",
            "2026--08-2T12:34:56Z",
            "ü026-08-22T12:34:56Z",
            "2026-08-22T12:34:5üZ",
            "2026-08-22T12:34:56ü01:00",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn reads_cookie_dates() {
        fn check(text: &str, expect: Option<u64>) {
            assert_eq!(parse_cookie_date(text.as_bytes()), expect, "{text}");
        }
        let same = Some(784_111_777);
        check("Sun, 06 Nov 1994 08:49:37 GMT", same);
        check("Sunday, 06-Nov-94 08:49:37 GMT", same);
        check("Sun Nov  6 08:49:37 1994", same);
        check("1994 november 6th, 8:49:37pm", same);
        check("08:49:37 6 NOV 94 and what not", same);
        check("6 Nov 1994 08:49:37 +0200", same);
        check("nov-6-1994-08:49:37", same);
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
        check("Thu, 01 Jan 1601 00:00:00 GMT", Some(0));
        check("Thu, 01-Jan-70 00:00:01 GMT", Some(1));
        check("Thu, 01-Jan-69 00:00:00 GMT", Some(3_124_224_000));
        check("Thu, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799));
        for bad in [
            "",
            "0",
            "-1",
            "tomorrow",
            "06 Nov 1994",
            "06 Nov 08:49:37",
            "Nov 1994 08:49:37",
            "06 1994 08:49:37",
            "06 Nov 1600 08:49:37",
            "06 Nov 94123 08:49:37",
            "00 Nov 1994 08:49:37",
            "31 Nov 1994 08:49:37",
            "29 Feb 2026 08:49:37",
            "06 Nov 1994 24:00:00",
            "06 Nov 1994 08:60:00",
            "06 Nov 1994 08:49:60",
            "06 Nov 1994 08:49",
            "06 Nov 1994 08:49:370",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn writes_rfc3339() {
        fn check(ms: u64, expect: &str) {
            assert_eq!(to_rfc3339(ms), expect);
        }
        check(0, "1970-01-01T00:00:00.000Z");
        check(1_787_402_096_789, "2026-08-22T12:34:56.789Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(u64::MAX, "9999-12-31T23:59:59.999Z");
    }

    /// All days of four centuries there and back, and any millisecond.
    #[test]
    fn returns() {
        for day in 0..146_097_u64 {
            let (year, month, d) = civil_from_days(day);
            let date = Date {
                year: year as i64,
                month: month as i64,
                day: d as i64,
            };
            assert_eq!(date.days(), Some(day as i64));
        }
        let mut random = SplitMix(6);
        for _ in 0..5_000 {
            let ms = random.next() % LAST_MS;
            assert_eq!(parse_rfc3339(&to_rfc3339(ms)), Some(ms));
        }
    }

    #[test]
    fn any_bytes() {
        let mut random = SplitMix(7);
        for sample in [
            &b"Sun, 06 Nov 1994 08:49:37 GMT"[..],
            b"Sunday, 06-Nov-94 08:49:37 GMT",
            b"Sun Nov  6 08:49:37 1994",
            b"2026-08-22T12:34:56.789+01:00",
        ] {
            for _ in 0..5_000 {
                let mut bytes = sample.to_vec();
                for _ in 0..=random.below(3) {
                    let at = random.below(bytes.len());
                    bytes[at] = random.next() as u8;
                }
                let cut = random.below(bytes.len() + 1);
                for bytes in [&bytes[..], &bytes[..cut]] {
                    let _ = parse_http_date(bytes);
                    let _ = parse_cookie_date(bytes);
                    let _ = parse_rfc3339(&String::from_utf8_lossy(bytes));
                }
            }
        }
    }
}
