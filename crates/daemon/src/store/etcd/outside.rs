//! Reading a ledger and appending to it from outside of a daemon: what a command line with
//! `--store-endpoints` does. Nothing is believed that does not verify from the genesis on.

use palisade_keys::PublicKey;
use palisade_ledger::{Hash, Head, State, Verified, verify, verify_genesis};

use super::{EtcdError, EtcdStore};
use crate::store::shared::{Key, Outcome, Transaction, head_value};

/// A ledger as the store shows it, verified.
#[derive(Debug)]
pub struct Ledger {
    /// Its entries.
    pub entries: Vec<Verified>,
    /// What they fold to.
    pub state: State,
    head_revision: u64,
}

/// Entries that one transaction takes out: etcd takes 128 operations (`--max-txn-ops`).
const CUT: u64 = 100;

/// What the store shows, as it is: nothing of it is verified.
#[derive(Debug)]
pub struct Shown {
    /// Its entries from number 0 on, without a gap.
    pub entries: Vec<Vec<u8>>,
    head_revision: u64,
}

impl EtcdStore {
    /// Reads what the store shows, whatever it is.
    pub async fn shown(&self) -> Result<Shown, EtcdError> {
        let (mut entries, mut head_revision) = (Vec::new(), 0);
        for cell in self.list().await?.listing.cells {
            match cell.key {
                Key::Entry(seq) if seq == entries.len() as u64 => entries.push(cell.value),
                Key::Head => head_revision = cell.revision,
                Key::Entry(_) | Key::Touch | Key::Other(_) => {}
            }
        }
        Ok(Shown {
            entries,
            head_revision,
        })
    }

    /// Takes the entries from number `from` on out of the store, the last ones first, so that it shows a
    /// shorter ledger at each step. What was written since `shown` is [`EtcdError::Tampered`]: look again.
    pub async fn cut(&self, shown: &Shown, from: u64) -> Result<(), EtcdError> {
        let mut revision = shown.head_revision;
        let mut length = shown.entries.len() as u64;
        while length > from.max(1) {
            let first = length.saturating_sub(CUT).max(from.max(1));
            let before = first - 1;
            let last = usize::try_from(before).ok();
            let Some(last) = last.and_then(|last| shown.entries.get(last)) else {
                return Ok(());
            };
            let hash = Hash::of(last);
            let head = head_value(Head { seq: before, hash });
            let mut writes: Vec<_> = (first..length).map(|seq| (Key::Entry(seq), None)).collect();
            writes.push((Key::Head, Some(head)));
            let guards = vec![(Key::Head, revision)];
            match self.transact(Transaction { guards, writes }).await? {
                Outcome::Committed(at) => (revision, length) = (at, first),
                Outcome::Conflict => {
                    let text = "it was written while it was looked at; look again";
                    return Err(EtcdError::Tampered(text.to_owned()));
                }
                Outcome::Unknown => {
                    return Err(self.failed("the outcome is not known: look again"));
                }
            }
        }
        Ok(())
    }

    /// Reads and verifies the whole ledger. Tampering is an error: nothing here could tell the true
    /// chain from a shortened one, so a head that is no entry's, or an entry behind it, is refused.
    pub async fn ledger(&self, cluster_key: &PublicKey) -> Result<Ledger, EtcdError> {
        let listing = self.list().await?.listing;
        let tampered = |text: &str| Err(EtcdError::Tampered(text.to_owned()));
        let (mut signed, mut head) = (Vec::new(), None);
        for cell in listing.cells {
            match cell.key {
                Key::Entry(seq) if seq == signed.len() as u64 => signed.push(cell.value),
                Key::Entry(seq) => {
                    return tampered(&format!("entry {seq} lies behind a gap"));
                }
                Key::Head => head = Some((cell.value, cell.revision)),
                Key::Touch | Key::Other(_) => {}
            }
        }
        let Some((first, rest)) = signed.split_first() else {
            return Err(EtcdError::Empty(self.prefix()));
        };
        let Some((head, head_revision)) = head else {
            return Err(EtcdError::NotHere);
        };
        let (mut state, genesis) = verify_genesis(first, cluster_key)
            .map_err(|refusal| EtcdError::Entry { seq: 0, refusal })?;
        let mut entries = vec![genesis];
        for (seq, bytes) in (1..).zip(rest) {
            let verified =
                verify(&state, bytes).map_err(|refusal| EtcdError::Entry { seq, refusal })?;
            state.apply(&verified)?;
            entries.push(verified);
        }
        if head != head_value(state.head()) {
            return tampered("its head is not that of the last entry");
        }
        Ok(Ledger {
            entries,
            state,
            head_revision,
        })
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
            if ledger.entries.get(place).map(Verified::bytes) == Some(bytes) {
                // An earlier try, whose answer was lost.
                return Ok(Head { seq, hash });
            }
            let verified = verify(&ledger.state, bytes)?;
            verified.check_effect(&ledger.state)?;
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
