//! What a client sends while it logs in: messages of type `p`.

use super::{take, take_string};

/// PostgreSQL's bound (`PG_MAX_SASL_MESSAGE_LENGTH`, src/backend/libpq/auth-sasl.c).
pub const MAX_SASL_MESSAGE_BYTES: usize = 1024;

/// Why an answer to an authentication request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Another type than `p`.
    #[error("expected an authentication response")]
    Type,
    /// Longer than is taken, or with a length that can't be.
    #[error("the authentication response's length is out of bounds")]
    Length,
    /// Not the fields that were asked for.
    #[error("invalid authentication response layout")]
    Layout,
}

/// A message of type `p` at the beginning of `bytes`: its body, and its length with the header.
/// `None` if it is not whole yet. Nothing longer than the bound is waited for.
pub fn answer(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, AnswerError> {
    let Some((kind, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    if *kind != b'p' {
        return Err(AnswerError::Type);
    }
    let Some((length, rest)) = take::<4>(rest) else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| AnswerError::Length)?;
    let body = length.checked_sub(4).ok_or(AnswerError::Length)?;
    if body > MAX_SASL_MESSAGE_BYTES {
        return Err(AnswerError::Length);
    }
    Ok(rest.get(..body).map(|body| (body, length + 1)))
}

/// A `SASLInitialResponse`: the mechanism that the client chose, and its first message.
pub fn sasl_initial(body: &[u8]) -> Result<(&str, &[u8]), AnswerError> {
    let (mechanism, rest) = take_string(body).ok_or(AnswerError::Layout)?;
    let mechanism = std::str::from_utf8(mechanism).map_err(|_| AnswerError::Layout)?;
    let (length, message) = take::<4>(rest).ok_or(AnswerError::Layout)?;
    // -1 says "no message yet", which SCRAM has no use for.
    if usize::try_from(i32::from_be_bytes(length)) == Ok(message.len()) {
        Ok((mechanism, message))
    } else {
        Err(AnswerError::Layout)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_waited_for_and_bounded() {
        assert_eq!(answer(b""), Ok(None));
        assert_eq!(answer(b"p\0\0"), Ok(None));
        assert_eq!(answer(b"p\0\0\0\x06a"), Ok(None));
        assert_eq!(answer(b"p\0\0\0\x06abQ"), Ok(Some((b"ab".as_slice(), 7))));
        assert_eq!(answer(b"Q"), Err(AnswerError::Type));
        assert_eq!(answer(b"p\0\0\0\x03"), Err(AnswerError::Length));
        assert_eq!(answer(b"p\0\0\x04\x05"), Err(AnswerError::Length));
        assert_eq!(answer(b"p\xff\xff\xff\xff"), Err(AnswerError::Length));
    }

    #[test]
    fn the_first_sasl_message_is_read_exactly() {
        let good = b"SCRAM-SHA-256\0\0\0\0\x02ab";
        assert_eq!(sasl_initial(good), Ok(("SCRAM-SHA-256", b"ab".as_slice())));
        for bad in [
            b"SCRAM-SHA-256".as_slice(),
            b"SCRAM-SHA-256\0",
            b"SCRAM-SHA-256\0\0\0\0\x03ab",
            b"SCRAM-SHA-256\0\0\0\0\x01ab",
            b"SCRAM-SHA-256\0\xff\xff\xff\xff",
            b"\xff\0\0\0\0\0",
        ] {
            assert_eq!(sasl_initial(bad), Err(AnswerError::Layout));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Some((body, length))) = answer(&bytes) {
                prop_assert_eq!(body.len() + 5, length);
                sasl_initial(body).ok();
            }
            sasl_initial(&bytes).ok();
        }
    }
}
