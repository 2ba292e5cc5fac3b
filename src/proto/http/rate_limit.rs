//! When a rate limit lets the next request through, by the hints of a refusal.

use super::response::{ResponseHead, RetryAfter};

/// X-RateLimit-Reset below this is seconds from now, not a moment.
const MOMENTS_FROM: u64 = 1_000_000_000;
/// Above this it is a moment in milliseconds.
const MILLISECONDS_ABOVE: u64 = 100_000_000_000;

/// Seconds to wait, rounded up: by Retry-After, else by X-RateLimit-Reset. Moments are judged by the
/// reply's own Date, where it has one, since `local_s` (unix seconds) may be wrong. `None` where the
/// server names no moment in the future: a limiter that says 0 is not to be asked again at once, but
/// after pauses that grow.
pub(crate) fn wait_s(head: &ResponseHead, local_s: u64) -> Option<u64> {
    let now_s = head.date_s.unwrap_or(local_s);
    let after = head.retry_after.map(|after| match after {
        RetryAfter::Seconds(seconds) => seconds,
        RetryAfter::At(at_s) => at_s.saturating_sub(now_s),
    });
    let reset = head.rate_limit_reset.map(|reset| match reset {
        0..MOMENTS_FROM => reset,
        MOMENTS_FROM..=MILLISECONDS_ABOVE => reset.saturating_sub(now_s),
        _ => reset
            .saturating_sub(now_s.saturating_mul(1_000))
            .div_ceil(1_000),
    });
    let positive = |seconds: &u64| *seconds > 0;
    after.filter(positive).or(reset.filter(positive))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_787_402_096;

    #[test]
    fn reads_the_hints() {
        fn check(after: Option<RetryAfter>, reset: Option<u64>, expect: Option<u64>) {
            for (date_s, local_s) in [(None, NOW), (Some(NOW), 0), (Some(NOW), u64::MAX)] {
                let head = ResponseHead {
                    retry_after: after,
                    rate_limit_reset: reset,
                    date_s,
                    ..ResponseHead::default()
                };
                assert_eq!(wait_s(&head, local_s), expect, "{after:?} {reset:?}");
            }
        }
        use RetryAfter::{At, Seconds};
        check(None, None, None);
        check(Some(Seconds(1)), None, Some(1));
        check(Some(Seconds(0)), None, None);
        check(Some(At(NOW + 40)), None, Some(40));
        check(Some(At(NOW)), None, None);
        check(Some(At(0)), None, None);
        check(None, Some(0), None);
        check(None, Some(2), Some(2));
        check(None, Some(120), Some(120));
        check(None, Some(999_999_999), Some(999_999_999));
        check(None, Some(1_000_000_000), None);
        check(None, Some(NOW + 2), Some(2));
        check(None, Some(NOW - 60), None);
        check(None, Some(100_000_000_000), Some(100_000_000_000 - NOW));
        check(None, Some(100_000_000_001), None);
        check(None, Some((NOW + 2) * 1_000), Some(2));
        check(None, Some((NOW + 2) * 1_000 + 1), Some(3));
        check(None, Some(NOW * 1_000 + 1), Some(1));
        check(None, Some(NOW * 1_000), None);
        check(None, Some((NOW - 60) * 1_000), None);
        // Retry-After counts first, unless it says nothing.
        check(Some(Seconds(5)), Some(9), Some(5));
        check(Some(Seconds(0)), Some(9), Some(9));
        check(Some(At(NOW - 1)), Some(NOW + 9), Some(9));
        check(Some(Seconds(u64::MAX)), Some(u64::MAX), Some(u64::MAX));
    }
}
