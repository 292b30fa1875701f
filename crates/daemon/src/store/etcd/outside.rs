//! Reading a ledger and appending to it from outside of a daemon: what a command line with
//! `--store-endpoints` does. Nothing is believed that does not verify from the genesis on.

use palisade_keys::PublicKey;
use palisade_ledger::{Hash, Head, State, verify, verify_genesis};

use super::{EtcdError, EtcdStore};
use crate::store::shared::{Key, Outcome, Transaction, head_value};

/// A ledger as the store shows it, verified.
#[derive(Debug)]
pub struct Ledger {
    /// Its signed entries.
    pub entries: Vec<Vec<u8>>,
    /// What they fold to.
    pub state: State,
    head_revision: u64,
}

impl EtcdStore {
    /// Reads and verifies the whole ledger. Tampering is an error: nothing here could tell the true
    /// chain from a shortened one, so a head that is no entry's, or an entry behind it, is refused.
    pub async fn ledger(&self, cluster_key: &PublicKey) -> Result<Ledger, EtcdError> {
        let listing = self.list().await?.listing;
        let tampered = |text: &str| Err(EtcdError::Tampered(text.to_owned()));
        let (mut entries, mut head) = (Vec::new(), None);
        for cell in listing.cells {
            match cell.key {
                Key::Entry(seq) if seq == entries.len() as u64 => entries.push(cell.value),
                Key::Entry(seq) => {
                    return tampered(&format!("entry {seq} lies behind a gap"));
                }
                Key::Head => head = Some((cell.value, cell.revision)),
                Key::Touch | Key::Other(_) => {}
            }
        }
        let Some((first, rest)) = entries.split_first() else {
            return Err(EtcdError::Empty(self.prefix()));
        };
        let (mut state, _) = verify_genesis(first, cluster_key)
            .map_err(|refusal| EtcdError::Entry { seq: 0, refusal })?;
        for (seq, bytes) in (1..).zip(rest) {
            let verified =
                verify(&state, bytes).map_err(|refusal| EtcdError::Entry { seq, refusal })?;
            state.apply(&verified)?;
        }
        match head {
            Some((value, head_revision)) if value == head_value(state.head()) => Ok(Ledger {
                entries,
                state,
                head_revision,
            }),
            _ => tampered("its head is not that of the last entry"),
        }
    }

    /// Signed entries from number `from` on, at most `most`, as the store shows them: unverified.
    pub async fn entries(&self, from: u64, most: usize) -> Result<Vec<Vec<u8>>, EtcdError> {
        let cells = self.range(from, most).await?;
        let cells = (from..).zip(cells);
        Ok(cells
            .take_while(|(seq, cell)| cell.key == Key::Entry(*seq))
            .map(|(_, cell)| cell.value)
            .collect())
    }

    /// Appends one signed entry, which must come next in the ledger as the store shows it. A head that
    /// moved is [`EtcdError::Refused`] with [`palisade_ledger::Refusal::NotNext`]: sign again. An
    /// outcome that did not become known is said so.
    pub async fn append_signed(
        &self,
        cluster_key: &PublicKey,
        bytes: &[u8],
    ) -> Result<Head, EtcdError> {
        loop {
            let ledger = self.ledger(cluster_key).await?;
            let head = ledger.state.head();
            let hash = Hash::of(bytes);
            let seq = palisade_ledger::decode(bytes).map_or(0, |entry| entry.seq);
            let place = usize::try_from(seq).unwrap_or(usize::MAX);
            if ledger.entries.get(place).map(Vec::as_slice) == Some(bytes) {
                // An earlier try, whose answer was lost.
                return Ok(Head { seq, hash });
            }
            let verified = verify(&ledger.state, bytes)?;
            let guards = vec![
                (Key::Head, ledger.head_revision),
                (Key::Entry(head.seq + 1), 0),
            ];
            let writes = vec![
                (Key::Entry(head.seq + 1), Some(bytes.to_vec())),
                (Key::Head, Some(head_value(verified.head()))),
            ];
            match self.transact(Transaction { guards, writes }).await? {
                Outcome::Committed(_) => return Ok(verified.head()),
                // Read again: the entry is there, or another one is, or the head was touched.
                Outcome::Conflict => {}
                Outcome::Unknown => {
                    // Nothing of it can be made any more once the head was written again.
                    let fence = Transaction {
                        guards: vec![(Key::Head, ledger.head_revision)],
                        writes: vec![(Key::Head, Some(head_value(head)))],
                    };
                    if self.transact(fence).await? == Outcome::Unknown {
                        return Err(self.failed(
                            "the outcome is not known: read the ledger before you sign again",
                        ));
                    }
                }
            }
        }
    }
}
