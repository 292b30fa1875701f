//! What is done again and again: keeping step with the ledger, the lists, the inventory.

use std::sync::PoisonError;
use std::time::Duration;

use palisade_ledger::{Change, Refusal, State};
use time::OffsetDateTime;

use super::{CaError, CaService, Others};
use crate::author::AuthorError;
use crate::ledger::AppendError;
use crate::pki::Place;
use crate::system;

/// How often the issuer is asked until its lists are what the ledger says.
const FETCHES: usize = 12;
/// Between two of them.
const FETCH_AGAIN: Duration = Duration::from_millis(250);

impl CaService {
    /// Does what is due, and says what is wrong, under a name for each thing.
    pub async fn duties(&self) -> Vec<(&'static str, Option<String>)> {
        let told = |result: Result<(), CaError>| result.err().map(|error| error.to_string());
        let rescue = self.finish_rescue().await;
        let step = self.keep_step();
        let state = self.inner.ledger.now();
        let lists = self.keep_lists(&state).await;
        let inventory = match self.record_rest().await {
            Ok(()) => self.record_own().await,
            error => error,
        };
        vec![
            (
                "issuing CA",
                told(rescue)
                    .or(told(step))
                    .or_else(|| Self::near_end(&state)),
            ),
            ("revocation lists", told(lists)),
            ("inventory of certificates", told(inventory)),
        ]
    }

    /// Does to the keys here what the ledger says: the candidate that was activated signs, the CA that
    /// was removed is forgotten.
    pub(super) fn keep_step(&self) -> Result<(), CaError> {
        let _alone = self
            .inner
            .step
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let pki = &self.inner.pki;
        // In this order: a rescue is over once the ledger has its CA.
        let rescue = pki.layout().rescue().exists();
        let state = self.inner.ledger.now();
        if let Some(candidate) = pki.ca(Place::Candidate)
            && state.active_ca() == Some(candidate.certificate())
            && pki
                .ca(Place::Issuing)
                .is_none_or(|issuing| issuing.certificate() != candidate.certificate())
        {
            pki.cut_over()?;
            tracing::info!("the new issuing CA signs from now on");
        }
        if let Some(retiring) = pki.ca(Place::Retiring)
            && !state.issuing_cas().any(|der| der == retiring.certificate())
        {
            pki.drop_ca(Place::Retiring)?;
        }
        // Another node's CA took its place, and it was retired there.
        if let Some(issuing) = pki.ca(Place::Issuing)
            && state.issuing_cas().len() > 0
            && !state.issuing_cas().any(|der| der == issuing.certificate())
            && !rescue
        {
            pki.drop_ca(Place::Issuing)?;
            tracing::info!("this node's issuing CA was retired; its key is erased");
        }
        Ok(())
    }

    /// Keeps the revocation lists as the ledger says and young: made here, or fetched.
    async fn keep_lists(&self, state: &State) -> Result<(), CaError> {
        let pki = &self.inner.pki;
        let now = system::now();
        if let Some(cluster) = &self.inner.wires.cluster {
            pki.root(cluster.key(), now)?;
        }
        let holds = pki
            .all()
            .any(|ca| state.active_ca() == Some(ca.certificate()));
        let news = if holds && pki.layout().root_list().exists() {
            pki.write_lists(state, now)?
        } else if pki.has_lists(state, now) {
            false
        } else if let Some(others) = self.inner.others.get() {
            self.fetch_lists(others.as_ref()).await?
        } else {
            false
        };
        if news && let Some(doors) = self.inner.doors.get() {
            doors.refresh();
        }
        Ok(())
    }

    /// Fetches the lists from the others, issuers first, again for a moment where nobody has written yet
    /// what the ledger says. Who sends lists that are no good does not keep the next one from being asked.
    async fn fetch_lists(&self, others: &dyn Others) -> Result<bool, CaError> {
        let pki = &self.inner.pki;
        let mut news = false;
        let mut failed = None;
        let mut nodes = others.nodes();
        for _ in 0..FETCHES {
            for node in std::mem::take(&mut nodes) {
                let sent = others.lists(node).await;
                let state = self.inner.ledger.now();
                let taken = sent.and_then(|pem| {
                    // Who has answered is asked again.
                    nodes.push(node);
                    let taken = pki.take_lists(&state, &pem, system::now());
                    taken.map_err(|error| error.to_string())
                });
                match taken {
                    Ok(taken) => news |= taken,
                    Err(error) => failed = Some(format!("node {node}: {error}")),
                }
                if pki.has_all_lists(&state, system::now()) {
                    return Ok(news);
                }
            }
            // Nobody makes the list of a CA whose key is on its way to sign, or from it.
            if pki.has_lists(&self.inner.ledger.now(), system::now()) {
                return Ok(news);
            }
            if nodes.is_empty() {
                break;
            }
            tokio::time::sleep(FETCH_AGAIN).await;
        }
        if news && let Some(doors) = self.inner.doors.get() {
            doors.refresh();
        }
        Err(CaError::Remote(failed.unwrap_or_else(|| {
            "no node has revocation lists that are what the ledger says".to_owned()
        })))
    }

    /// Appends what `palisade ca rescue` left: the new CA, by the cluster key's signature.
    async fn finish_rescue(&self) -> Result<(), CaError> {
        let path = self.inner.pki.layout().rescue();
        if !path.exists() {
            return self.finish_beginning().await;
        }
        let state = self.inner.ledger.now();
        let text = crate::files::read_private(&path).map_err(crate::pki::PkiError::from)?;
        let ledger = &self.inner.ledger;
        if let Some(cluster) = &self.inner.wires.cluster {
            for change in super::rescue::changes(&self.inner.pki, &state, system::now())? {
                cluster.append(ledger, change).await?;
            }
        } else {
            for entry in super::rescue::read(&text)? {
                match ledger.append(entry).await {
                    Ok(_) | Err(AppendError::Refused(Refusal::NotNext { .. })) => {}
                    Err(error) => return Err(AuthorError::Append(error).into()),
                }
            }
        }
        let state = ledger.now();
        let issuing = self.inner.pki.issuing()?;
        if state.active_ca() != Some(issuing.certificate()) {
            return Err(CaError::Refused(
                "the ledger has moved on since palisade ca rescue: stop this node and run it again"
                    .to_owned(),
            ));
        }
        std::fs::remove_file(&path).map_err(|source| {
            crate::pki::PkiError::from(crate::files::FileError::Io {
                what: "remove",
                path,
                source,
            })
        })?;
        tracing::info!("the rescued issuing CA is in the ledger");
        Ok(())
    }

    /// A cluster whose first start was cut short has a CA that the ledger does not know.
    async fn finish_beginning(&self) -> Result<(), CaError> {
        let (Some(cluster), Some(issuing)) =
            (&self.inner.wires.cluster, self.inner.pki.ca(Place::Issuing))
        else {
            return Ok(());
        };
        if self.inner.ledger.now().issuing_cas().len() > 0 {
            return Ok(());
        }
        let certificate = issuing.certificate().to_vec();
        let change = Change::IssuingCaAdd { certificate };
        cluster.append(&self.inner.ledger, change).await?;
        Ok(())
    }

    /// A CA whose end is near shortens what it signs, and then ends everything.
    fn near_end(state: &State) -> Option<String> {
        let active = state.active_ca()?;
        let (_, ca) = x509_parser::parse_x509_certificate(active).ok()?;
        let validity = ca.validity();
        let (from, until) = (
            validity.not_before.to_datetime(),
            validity.not_after.to_datetime(),
        );
        let now = system::now();
        if now > until {
            return Some(format!(
                "the issuing CA expired on {}: stop the node and say palisade ca rescue",
                until.date()
            ));
        }
        is_late(from, until, now).then(|| {
            format!(
                "the issuing CA expires on {}: palisade ca rotate makes the next one",
                until.date()
            )
        })
    }
}

/// Whether nine tenths of a life are over.
fn is_late(from: OffsetDateTime, until: OffsetDateTime, now: OffsetDateTime) -> bool {
    now > from + (until - from) * 9 / 10
}
