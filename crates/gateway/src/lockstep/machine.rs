//! What a restricted session may say, as a machine without I/O: bytes in, bytes out.
//!
//! ```text
//!            Q: Parse Bind Describe Execute Flush              completion; Sync
//!   Open ------------------------------------------> Running -------------------> AwaitReady --Z--> Open
//!    |  \___ E: Execute Flush ______________________/  |  ^                           ^
//!    |                                  CopyInResponse v  | CopyDone, CopyFail        |
//!    |                                              CopyIn                            |
//!    |-- S, F ------------------------------------------------------------------------|
//!    '-- error in a batch --> Skipping -- S ------------------------------------------'
//!   Running -- BEGIN! --> RollingBack (our Sync and ROLLBACK) --> Open or Skipping
//! ```
//!
//! One statement at a time runs in PostgreSQL, and nothing else of the client goes on before it is
//! known what it was. PostgreSQL itself refuses several statements in one `Parse`, so a block can
//! only be begun by a statement of its own, whose completion says so; it is rolled back before
//! anything else is done in it.

use std::mem;

use crate::wire::backend::{Face, Outgoing, message};
use crate::wire::take;

/// Bytes that may wait for one side before no more are taken for it.
const ENOUGH: usize = 64 * 1024;
/// A completion's tag is at most 64 bytes (`COMPLETION_TAG_BUFSIZE`).
const LONGEST_TAG: usize = 256;

/// Something that no client or server of the protocol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("a message with an impossible length")]
    Length,
    #[error("PostgreSQL is in a transaction block that was not seen to begin")]
    InBlock,
}

/// How the statement that runs came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As a `Query`; we end it with a `Sync` of our own.
    Simple,
    /// As an `Execute`; the client's own `Sync` ends it.
    Extended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Running(Form),
    CopyIn(Form),
    AwaitReady,
    Skipping,
    RollingBack { form: Form, ready: u8 },
}

/// What becomes of the rest of the message that is coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    Drop,
}

/// A message of which a part has come.
#[derive(Debug)]
struct Coming {
    remaining: usize,
    fate: Fate,
    /// What goes behind it.
    suffix: Vec<u8>,
}

impl Default for Coming {
    fn default() -> Self {
        Self {
            remaining: 0,
            fate: Fate::Drop,
            suffix: Vec::new(),
        }
    }
}

impl Coming {
    /// Moves what has come of the message; `true` when it is whole.
    fn advance(&mut self, from: &mut &[u8], to: &mut Vec<u8>) -> bool {
        let (part, rest) = from.split_at_checked(self.remaining).unwrap_or((from, &[]));
        if self.fate == Fate::Pass {
            to.extend_from_slice(part);
        }
        self.remaining -= part.len();
        *from = rest;
        if self.remaining == 0 {
            to.append(&mut self.suffix);
        }
        self.remaining == 0
    }
}

/// A restricted session.
#[derive(Debug)]
pub(crate) struct Machine {
    phase: Phase,
    /// Messages of the extended protocol have come that no `Sync` follows yet.
    open_batch: bool,
    /// Of these, messages that PostgreSQL has not answered yet.
    unanswered: usize,
    /// PostgreSQL was asked for those answers.
    asked: bool,
    from_client: Coming,
    from_server: Coming,
    /// The client said `Terminate`.
    pub(crate) terminated: bool,
    pub(crate) to_client: Vec<u8>,
    pub(crate) to_server: Vec<u8>,
    /// Bodies of `ParameterStatus` messages.
    pub(crate) reports: Vec<Vec<u8>>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Open,
            open_batch: false,
            unanswered: 0,
            asked: false,
            from_client: Coming::default(),
            from_server: Coming::default(),
            terminated: false,
            to_client: Vec::new(),
            to_server: Vec::new(),
            reports: Vec::new(),
        }
    }

    /// PostgreSQL waits outside of a transaction, and both sides stand between two messages.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Open
            && !self.open_batch
            && self.from_client.remaining == 0
            && self.between_messages()
    }

    /// Nothing will happen before the client says more.
    pub(crate) fn waits_for_client(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Skipping | Phase::CopyIn(_))
            && self.to_server.is_empty()
    }

    /// A message of our own may go to the client now.
    pub(crate) fn between_messages(&self) -> bool {
        self.from_server.remaining == 0
    }

    /// Takes bytes of the client, as far as it is their turn; how many it took.
    pub(crate) fn client(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.terminated && self.to_server.len() < ENOUGH {
            if self.from_client.remaining > 0 {
                self.from_client.advance(&mut rest, &mut self.to_server);
                continue;
            }
            let turn = matches!(self.phase, Phase::Open | Phase::Skipping | Phase::CopyIn(_));
            let Some((head, after)) = take::<5>(rest).filter(|_| turn) else {
                break;
            };
            if self.must_wait(head) {
                break;
            }
            rest = after;
            self.client_message(head)?;
            // A message without a body is whole.
            self.from_client.advance(&mut &[][..], &mut self.to_server);
        }
        Ok(bytes.len() - rest.len())
    }

    /// A statement of its own behind messages of a batch: whether it counts is known when those are
    /// answered, for PostgreSQL passes it over when one of them fails.
    fn must_wait(&mut self, head: [u8; 5]) -> bool {
        let [kind, ..] = head;
        let wait = matches!(kind, b'Q' | b'F') && self.phase == Phase::Open && self.unanswered > 0;
        if wait && !self.asked {
            let mut out = Outgoing::default();
            out.flush();
            self.to_server.append(&mut out.0);
        }
        self.asked = wait;
        wait
    }

    fn client_message(&mut self, head: [u8; 5]) -> Result<(), Violation> {
        let [kind, length @ ..] = head;
        let remaining = body_length(length)?;
        let mut suffix = Outgoing::default();
        let mut fate = Fate::Pass;
        match (self.phase, kind) {
            (_, b'X') => {
                self.terminated = true;
                fate = Fate::Drop;
            }
            (Phase::CopyIn(_), b'd') => {}
            (Phase::CopyIn(form), b'c' | b'f') => {
                // The Flush behind the Execute was passed over like any within the data.
                suffix.flush();
                self.phase = Phase::Running(form);
            }
            // PostgreSQL passes these over while it copies.
            (Phase::CopyIn(_), b'S' | b'H') => fate = Fate::Drop,
            (Phase::CopyIn(form), _) => {
                fate = Fate::Drop;
                self.to_server
                    .extend_from_slice(b"f\0\0\0\x17unexpected message\0");
                suffix.flush();
                self.phase = Phase::Running(form);
            }
            (Phase::Open | Phase::Skipping, b'S') | (Phase::Open, b'F') => {
                self.open_batch = false;
                self.phase = Phase::AwaitReady;
            }
            (Phase::Skipping, _) | (Phase::Open, b'd' | b'c' | b'f') => fate = Fate::Drop,
            (Phase::Open, b'Q') => {
                self.open_batch = false;
                // Parse: the unnamed statement, the client's text, no parameter types.
                let length = u32::from_be_bytes(length)
                    .checked_add(3)
                    .ok_or(Violation::Length)?;
                self.to_server.push(b'P');
                self.to_server.extend_from_slice(&length.to_be_bytes());
                self.to_server.push(0);
                suffix.0.extend_from_slice(b"\0\0");
                suffix.bind_describe_execute();
                suffix.flush();
                self.phase = Phase::Running(Form::Simple);
                self.from_client = Coming {
                    remaining,
                    fate,
                    suffix: suffix.0,
                };
                return Ok(());
            }
            (Phase::Open, b'E') => {
                self.open_batch = true;
                suffix.flush();
                self.phase = Phase::Running(Form::Extended);
            }
            (Phase::Open, b'P' | b'B' | b'C' | b'D') => {
                self.open_batch = true;
                self.unanswered += 1;
            }
            (Phase::Open, _) => self.open_batch = true,
            // `client` asks for a message in these phases only.
            (Phase::Running(_) | Phase::AwaitReady | Phase::RollingBack { .. }, _) => {
                return Err(Violation::InBlock);
            }
        }
        if fate == Fate::Pass {
            self.to_server.extend_from_slice(&head);
        }
        self.from_client = Coming {
            remaining,
            fate,
            suffix: suffix.0,
        };
        Ok(())
    }

    /// Takes bytes of PostgreSQL; how many it took.
    pub(crate) fn server(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut rest = bytes;
        while !rest.is_empty() && self.to_client.len() < ENOUGH {
            if self.from_server.remaining > 0 {
                self.from_server.advance(&mut rest, &mut self.to_client);
                continue;
            }
            let Some((head, after)) = take::<5>(rest) else {
                break;
            };
            let [kind, length @ ..] = head;
            let remaining = body_length(length)?;
            if matches!(kind, b'C' | b'Z' | b'S') && remaining <= LONGEST_TAG {
                let Ok(Some(found)) = message(rest, LONGEST_TAG) else {
                    break;
                };
                let (whole, after) = rest.split_at_checked(found.length).unwrap_or((rest, &[]));
                rest = after;
                self.server_whole(kind, found.body, whole)?;
                continue;
            }
            rest = after;
            let fate = self.server_message(kind);
            if fate == Fate::Pass {
                self.to_client.extend_from_slice(&head);
            }
            self.from_server = Coming {
                remaining,
                fate,
                suffix: Vec::new(),
            };
        }
        Ok(bytes.len() - rest.len())
    }

    /// Messages that are short and must be read: `CommandComplete`, `ReadyForQuery`, `ParameterStatus`.
    fn server_whole(&mut self, kind: u8, body: &[u8], whole: &[u8]) -> Result<(), Violation> {
        match (self.phase, kind) {
            (_, b'S') => self.reports.push(body.to_vec()),
            (Phase::RollingBack { form, ready }, b'Z') => {
                self.rolled_back(form, ready, body)?;
                return Ok(());
            }
            (Phase::RollingBack { .. }, _) => return Ok(()),
            (Phase::Running(form), b'C') if matches!(body, b"BEGIN\0" | b"START TRANSACTION\0") => {
                let mut out = Outgoing::default();
                out.sync();
                out.query("ROLLBACK");
                self.to_server.append(&mut out.0);
                self.phase = Phase::RollingBack { form, ready: 0 };
                return Ok(());
            }
            (Phase::Running(form), b'C') => self.completed(form),
            (_, b'Z') => {
                if body != b"I" {
                    return Err(Violation::InBlock);
                }
                self.phase = Phase::Open;
                self.unanswered = 0;
            }
            (_, _) => {}
        }
        self.to_client.extend_from_slice(whole);
        Ok(())
    }

    /// All other messages: what becomes of this one.
    fn server_message(&mut self, kind: u8) -> Fate {
        match kind {
            b'1' | b'2' | b'3' | b'T' | b'n' => {
                self.unanswered = self.unanswered.saturating_sub(1);
            }
            b'E' => self.unanswered = 0,
            _ => {}
        }
        match (self.phase, kind) {
            (Phase::RollingBack { .. }, b'A') => Fate::Pass,
            // Beside our own ROLLBACK's: the answers to our own Parse, Bind and Describe, of which a
            // Query has none.
            (Phase::RollingBack { .. }, _) | (Phase::Running(Form::Simple), b'1' | b'2' | b'n') => {
                Fate::Drop
            }
            (Phase::Running(form), b'I' | b's') => {
                self.completed(form);
                Fate::Pass
            }
            (Phase::Running(form), b'G') => {
                self.phase = Phase::CopyIn(form);
                Fate::Pass
            }
            (Phase::Running(form) | Phase::CopyIn(form), b'E') => {
                self.completed(form);
                if form == Form::Extended {
                    self.phase = Phase::Skipping;
                }
                Fate::Pass
            }
            (Phase::Open, b'E') => {
                self.phase = Phase::Skipping;
                Fate::Pass
            }
            (_, _) => Fate::Pass,
        }
    }

    fn completed(&mut self, form: Form) {
        self.phase = match form {
            Form::Extended => Phase::Open,
            Form::Simple => {
                let mut out = Outgoing::default();
                out.sync();
                self.to_server.append(&mut out.0);
                Phase::AwaitReady
            }
        };
    }

    fn rolled_back(&mut self, form: Form, ready: u8, status: &[u8]) -> Result<(), Violation> {
        if ready == 0 {
            self.phase = Phase::RollingBack { form, ready: 1 };
            return Ok(());
        }
        if status != b"I" {
            return Err(Violation::InBlock);
        }
        let mut out = Outgoing(mem::take(&mut self.to_client));
        out.error(
            "ERROR",
            &Face {
                sqlstate: "42501",
                message:
                    "permission denied: a transaction block needs the privilege set_transaction"
                        .to_owned(),
                hint: None,
            },
        );
        self.phase = match form {
            Form::Extended => Phase::Skipping,
            Form::Simple => {
                out.ready();
                Phase::Open
            }
        };
        self.to_client = out.0;
        Ok(())
    }
}

fn body_length(length: [u8; 4]) -> Result<usize, Violation> {
    usize::try_from(u32::from_be_bytes(length))
        .ok()
        .and_then(|length| length.checked_sub(4))
        .ok_or(Violation::Length)
}

#[cfg(test)]
mod tests;
