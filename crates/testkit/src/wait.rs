//! The one place where a test may wait by looking again and again.

use crate::Error;
use std::time::Duration;

/// How long to rest between two looks: short beside any bound that a test gives, long beside a look.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls `look` until it gives a value, for at most `within`; `what` names the awaited in the error.
///
/// For what has no event to wait for, such as a row that another process changes.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's own clock and pause; no executor's thread is meant to come here"
)]
pub fn poll<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, Error> {
    let start = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if start.elapsed() >= within {
            return Err(Error::TimedOut {
                what: what.to_owned(),
                milliseconds: within.as_millis(),
            });
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_value_as_soon_as_there_is_one() {
        let mut looks = 0;
        let found = poll("three looks", Duration::from_mins(1), || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn names_what_it_waited_for_in_vain() {
        let error = poll("rain", Duration::ZERO, || None::<()>).unwrap_err();
        assert_eq!(error.to_string(), "waited 0 ms in vain for rain");
    }
}
