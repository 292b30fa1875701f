//! Where messages begin in bytes that pass through, and the few facts that matter there.
//!
//! Nothing is held back and nothing is copied: a scanner hops from header to header.

use super::take;

/// Type byte and length.
const HEADER_BYTES: usize = 5;
/// `ParameterStatus` messages are this short; a longer one is not remembered.
const LONGEST_REPORT: usize = 1024;

/// Walks over messages that arrive in pieces.
#[derive(Debug, Default)]
struct Walker {
    /// A header of which only a part has come.
    header: [u8; HEADER_BYTES],
    have: usize,
    /// Bytes of the current message that have not come yet.
    remaining: usize,
    /// A length that can't be: from here on nothing is known.
    lost: bool,
}

/// A step of the walk.
#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    /// A message begins, with this type and this many bytes of body; its header began so many bytes
    /// ago, those of earlier pieces included.
    Begin { kind: u8, body: usize },
    /// A part of the current message's body; `last` if it ends there.
    Body { bytes: &'a [u8], last: bool },
}

impl Walker {
    /// Takes one step into `bytes`; what is left of them comes back with it.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Option<(Step<'a>, &'a [u8])> {
        if self.lost || bytes.is_empty() {
            return None;
        }
        if self.remaining > 0 {
            let (body, rest) = bytes
                .split_at_checked(self.remaining)
                .unwrap_or((bytes, &[]));
            self.remaining -= body.len();
            let last = self.remaining == 0;
            return Some((Step::Body { bytes: body, last }, rest));
        }
        if self.have == 0
            && let Some((header, rest)) = take::<HEADER_BYTES>(bytes)
        {
            return self.begin(header).map(|step| (step, rest));
        }
        let mut rest = bytes;
        while let Some(slot) = self.header.get_mut(self.have) {
            let (byte, tail) = rest.split_first()?;
            *slot = *byte;
            self.have += 1;
            rest = tail;
        }
        self.have = 0;
        self.begin(self.header).map(|step| (step, rest))
    }

    fn begin<'a>(&mut self, header: [u8; HEADER_BYTES]) -> Option<Step<'a>> {
        let [kind, length @ ..] = header;
        let body = usize::try_from(u32::from_be_bytes(length))
            .ok()
            .and_then(|length| length.checked_sub(4));
        let Some(body) = body else {
            self.lost = true;
            return None;
        };
        self.remaining = body;
        Some(Step::Begin { kind, body })
    }

    /// Bytes still to come before the next message may begin; `None` when that is not known.
    fn to_boundary(&self) -> Option<usize> {
        if self.lost {
            return None;
        }
        Some(match self.have {
            0 => self.remaining,
            have => HEADER_BYTES - have,
        })
    }
}

/// What a piece of the client's bytes comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upward {
    /// All of it goes on.
    All,
    /// A `Terminate` begins after so many bytes.
    Terminate {
        /// Bytes before it.
        before: usize,
    },
}

/// Follows the client's messages.
#[derive(Debug, Default)]
pub(crate) struct UpScanner {
    walker: Walker,
    /// Messages that PostgreSQL answers with `ReadyForQuery`, so far.
    asked: u64,
    /// Messages of the extended protocol have come that no `Sync` follows yet.
    open_batch: bool,
}

impl UpScanner {
    /// Scans the next piece.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Upward {
        let mut rest = bytes;
        loop {
            let whole = self.walker.have == 0;
            let at = bytes.len() - rest.len();
            let Some((step, tail)) = self.walker.step(rest) else {
                return Upward::All;
            };
            rest = tail;
            let Step::Begin { kind, body } = step else {
                continue;
            };
            match kind {
                b'Q' | b'F' | b'S' => {
                    self.asked += 1;
                    self.open_batch = false;
                }
                b'P' | b'B' | b'D' | b'E' | b'C' | b'H' => self.open_batch = true,
                b'X' if whole && body == 0 => return Upward::Terminate { before: at },
                // A header in two pieces is already half on its way.
                b'X' => self.walker.lost = true,
                _ => {}
            }
        }
    }
}

/// Follows PostgreSQL's messages.
#[derive(Debug, Default)]
pub(crate) struct DownScanner {
    walker: Walker,
    kind: u8,
    /// `ReadyForQuery` messages so far.
    ready: u64,
    /// The status in the last of them.
    status: u8,
    /// The body of the `ParameterStatus` that is coming.
    report: Vec<u8>,
    /// Bodies of the `ParameterStatus` messages that came.
    pub(crate) reports: Vec<Vec<u8>>,
}

impl DownScanner {
    /// Scans the next piece.
    pub(crate) fn scan(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((step, tail)) = self.walker.step(rest) {
            rest = tail;
            match step {
                Step::Begin { kind, body } => {
                    self.kind = kind;
                    if kind == b'S' && body > LONGEST_REPORT {
                        self.walker.lost = true;
                    }
                }
                Step::Body { bytes, last } => match self.kind {
                    b'Z' => {
                        self.ready += 1;
                        self.status = bytes.first().copied().unwrap_or_default();
                    }
                    b'S' => {
                        self.report.extend_from_slice(bytes);
                        if last {
                            self.reports.push(std::mem::take(&mut self.report));
                        }
                    }
                    _ => {}
                },
            }
        }
    }

    /// Bytes still to come before the next message may begin; `None` when that is not known.
    pub(crate) fn to_boundary(&self) -> Option<usize> {
        self.walker.to_boundary()
    }
}

/// Whether PostgreSQL has answered all that it was asked, waits outside of a transaction, and both
/// directions stand between two messages.
pub(crate) fn is_idle(up: &UpScanner, down: &DownScanner) -> bool {
    !up.open_batch
        && !up.walker.lost
        && up.asked == down.ready
        && (down.ready == 0 || down.status == b'I')
        && down.to_boundary() == Some(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUERY: &[u8] = b"Q\0\0\0\x06a\0";
    const READY: &[u8] = b"Z\0\0\0\x05I";
    const TERMINATE: &[u8] = b"X\0\0\0\x04";

    fn idle_after(up: &[u8], down: &[u8]) -> bool {
        let (mut ups, mut downs) = (UpScanner::default(), DownScanner::default());
        ups.scan(up);
        downs.scan(down);
        is_idle(&ups, &downs)
    }

    #[test]
    fn idle_is_when_everything_is_answered() {
        assert!(idle_after(b"", b""));
        assert!(idle_after(QUERY, READY));
        assert!(!idle_after(QUERY, b""));
        assert!(!idle_after(QUERY, b"Z\0\0\0\x05T"));
        assert!(!idle_after(&[QUERY, QUERY].concat(), READY));
        assert!(!idle_after(b"P\0\0\0\x08\0\0\0\0", b""));
        assert!(!idle_after(
            &[b"P\0\0\0\x08\0\0\0\0", QUERY, b"H\0\0\0\x04"].concat(),
            READY
        ));
        assert!(idle_after(
            b"P\0\0\0\x08\0\0\0\0S\0\0\0\x04",
            &[b"1\0\0\0\x04", READY].concat()
        ));
        assert!(!idle_after(QUERY, &[READY, b"N"].concat()));
        assert!(!idle_after(QUERY, b"Z\0\0\0\x03"));
        assert!(!idle_after(b"Q\0\0\0\x03", b""));
    }

    #[test]
    fn terminate_is_found_where_it_begins() {
        let mut up = UpScanner::default();
        let bytes = [QUERY, TERMINATE].concat();
        assert_eq!(
            up.scan(&bytes),
            Upward::Terminate {
                before: QUERY.len()
            }
        );
        // In two pieces it goes on to PostgreSQL, and the connection is not reused.
        let mut up = UpScanner::default();
        assert_eq!(up.scan(b"X\0"), Upward::All);
        assert_eq!(up.scan(b"\0\0\x04"), Upward::All);
        assert!(!is_idle(&up, &DownScanner::default()));
        // An X inside a message is no message.
        let mut up = UpScanner::default();
        assert_eq!(up.scan(b"Q\0\0\0\x09X\0\0\0\x04"), Upward::All);
    }

    #[test]
    fn reports_are_remembered_in_any_pieces() {
        let mut down = DownScanner::default();
        for byte in b"S\0\0\0\x08a\0b\0Z\0\0\0\x05I" {
            down.scan(&[*byte]);
        }
        assert_eq!(down.reports, [b"a\0b\0".to_vec()]);
        assert_eq!((down.ready, down.status), (1, b'I'));
    }

    proptest! {
        /// However the bytes are cut, the scanners know the same at the end.
        #[test]
        fn pieces_do_not_matter(
            messages in proptest::collection::vec((prop::sample::select(b"QSPDdZNSEC".to_vec()), 0_usize..40), 0..20),
            cuts in proptest::collection::vec(1_usize..30, 1..60),
        ) {
            let mut bytes = Vec::new();
            for (kind, body) in messages {
                bytes.push(kind);
                bytes.extend_from_slice(&u32::try_from(body + 4).unwrap().to_be_bytes());
                bytes.extend(std::iter::repeat_n(b'I', body));
            }
            let (mut whole_up, mut whole_down) = (UpScanner::default(), DownScanner::default());
            whole_up.scan(&bytes);
            whole_down.scan(&bytes);
            let (mut up, mut down) = (UpScanner::default(), DownScanner::default());
            let mut rest = bytes.as_slice();
            for cut in cuts.iter().cycle() {
                let (piece, tail) = rest.split_at(rest.len().min(*cut));
                up.scan(piece);
                down.scan(piece);
                rest = tail;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!((up.asked, up.open_batch), (whole_up.asked, whole_up.open_batch));
            prop_assert_eq!((down.status, &down.reports), (whole_down.status, &whole_down.reports));
            prop_assert_eq!(down.to_boundary(), Some(0));
        }
    }
}
