//! The cluster as its ledger proves it: entries fetched from the daemon, each verified here.
//!
//! ```text
//!   daemon, or etcd with --store-endpoints
//!          --entries--> verify (cluster public key) --> State --> the answer
//!   change --sign--> verify here --> daemon or etcd --> its head must be ours
//! ```
//!
//! Neither's word is not taken for anything that the ledger says.

use std::time::Duration;

use palisade_keys::PublicKey;
use palisade_ledger::{
    Author, Change, Entry, Head, Refusal, State, Uid, User, Verified, sign, split, verify,
    verify_genesis,
};
use palisade_link::api::{Command, Done, HeadReply, PAGE, SignedCommand, Status};
use palisade_link::client::{Client, ClientError};

mod link;
mod outside;
mod own;
mod told;

pub(crate) use link::{Link, runtime};
pub(crate) use outside::places;
use outside::{Outside, Sent};
pub(crate) use own::Myself;

use super::clock;
use super::common::{ClusterArgs, Signer};
use super::error::CliError;
use super::out;
use crate::up::progress::Steps;

/// How long until the status is looked at again.
const LOOK: Duration = Duration::from_millis(250);

/// How often a change is signed anew because somebody else's came in between.
const ATTEMPTS: usize = 16;

/// The verified state of the cluster.
pub(crate) struct View {
    link: Link,
    /// Where the ledger is, if no daemon is asked for it.
    outside: Option<Outside>,
    state: State,
}

impl View {
    /// Fetches the whole ledger and verifies it.
    pub(crate) fn open(cluster: &ClusterArgs) -> Result<Self, CliError> {
        Self::replay(cluster, &mut |_| Ok(()))
    }

    /// Fetches the whole ledger, verifies it, and shows each entry to `each`.
    pub(crate) fn replay(
        cluster: &ClusterArgs,
        each: &mut dyn FnMut(&Verified) -> Result<(), CliError>,
    ) -> Result<Self, CliError> {
        let key = cluster.public_key()?;
        let link = Link::new(cluster)?;
        if let Some(args) = cluster.outside() {
            let outside = Outside::connect(&link, args, cluster)?;
            return Ok(Self {
                state: outside.read(&link, None, each)?,
                outside: Some(outside),
                link,
            });
        }
        let mut chain = Chain::new(key);
        follow(&link, &mut chain, each)?;
        Ok(Self {
            state: chain.finish()?,
            outside: None,
            link,
        })
    }

    /// Whether no daemon is asked for the ledger.
    pub(crate) fn is_outside(&self) -> bool {
        self.outside.is_some()
    }

    /// What the ledger says.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// How the node is that answers.
    pub(crate) fn status(&self) -> Result<Status, CliError> {
        self.link.status()
    }

    /// Looks at the status until it is as wanted, and shows what is waited for; `false` if it was not so
    /// in time.
    pub(crate) fn wait(
        &self,
        what: &str,
        within: Duration,
        mut is_so: impl FnMut(Status) -> bool,
    ) -> Result<bool, CliError> {
        let steps = Steps::new();
        steps.begin(what);
        let mut left = within;
        while !left.is_zero() {
            if is_so(self.status()?) {
                steps.done();
                return Ok(true);
            }
            self.link.pause(LOOK.min(left));
            left = left.saturating_sub(LOOK);
        }
        steps.fail();
        Ok(false)
    }

    /// Signs a command to the node that is asked, and has it carried out. Nothing is signed for another
    /// node: who answers may have passed on what that one gave.
    pub(crate) fn command(&self, signer: &Signer, command: &Command) -> Result<Done, CliError> {
        let uid = self.signing_user(signer)?;
        let told = self.link.told(&self.state)?;
        let challenge = told.challenge()?;
        let cluster = self.state.cluster_key();
        let order = SignedCommand::sign(command, uid.get(), cluster, &challenge, signer.key())
            .map_err(|error| CliError::no("can't write the command").because(&error))?;
        told.command(&order)
    }

    /// The user of this name.
    pub(crate) fn user(&self, name: &str) -> Result<&User, CliError> {
        self.state.user_by_name(name).ok_or_else(|| {
            CliError::no(format!("there is no user {name}"))
                .hint("`palisade user list` shows who is there")
        })
    }

    /// Who an entry by this signer is from, if the ledger knows the key.
    pub(crate) fn author(&self, signer: &Signer) -> Result<Author, CliError> {
        match signer {
            Signer::Cluster(key) if key.public() == *self.state.cluster_key() => {
                Ok(Author::Cluster)
            }
            Signer::Cluster(_) => Err(CliError::no(
                "this private key is not the cluster's: it does not belong to its public key",
            )),
            Signer::User(credentials) => {
                let user = self.user(&credentials.username)?;
                if user.public_key == Some(credentials.secret_key.public()) {
                    Ok(Author::User(user.uid))
                } else {
                    Err(CliError::no(format!(
                        "the key in the credentials file is not the key of user {}",
                        user.name
                    ))
                    .hint("was the key changed since? use the newest credentials file"))
                }
            }
        }
    }

    /// The user who signs.
    pub(crate) fn signing_user(&self, signer: &Signer) -> Result<Uid, CliError> {
        match self.author(signer)? {
            Author::User(uid) => Ok(uid),
            Author::Cluster => Err(CliError::usage("the cluster key is no user")
                .hint("name a user's credentials file with --as FILE")),
            Author::Node(id) => Err(CliError::usage(format!("node {id} is no user"))),
        }
    }

    /// Signs a change and appends it. `change` is asked again for each attempt: what it says may
    /// depend on what others appended in between.
    pub(crate) fn append(
        &mut self,
        signer: &Signer,
        change: &mut dyn FnMut(&State) -> Result<Change, CliError>,
    ) -> Result<(), CliError> {
        for _ in 0..ATTEMPTS {
            let entry = Entry {
                seq: self.state.head().seq.saturating_add(1),
                prev: self.state.head().hash,
                time: clock::millis().max(self.state.time()),
                author: self.author(signer)?,
                change: change(&self.state)?,
            };
            let bytes = sign(&entry, signer.key())
                .map_err(|error| CliError::no("this change can't be written").because(&error))?;
            let verified = verify(&self.state, &bytes)?;
            if let Some(outside) = &self.outside {
                match outside.append(&self.link, &self.state, verified.bytes())? {
                    Sent::Taken(head) => return self.accept(&verified, &reply(head)),
                    Sent::Stale => self.catch_up(&mut |_| Ok(()))?,
                }
                continue;
            }
            let append = |client: Client| async move { client.append(bytes).await };
            match self.link.ask(append) {
                Ok(head) => return self.accept(&verified, &head),
                Err(ClientError::Refused(failure)) if failure.stale => {
                    self.catch_up(&mut |_| Ok(()))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(
            CliError::no(format!("other changes came in between, {ATTEMPTS} times"))
                .hint("try again"),
        )
    }

    fn accept(&mut self, verified: &Verified, head: &HeadReply) -> Result<(), CliError> {
        let own = verified.head();
        if !head.applied {
            out::note(&format!(
                "warning: entry {} is in the ledger, but PostgreSQL is not in line with it yet",
                own.seq
            ));
            out::note("hint: `palisade status` says why; log-ins follow the ledger all the same");
        }
        if head.seq == own.seq && head.hash == own.hash.to_string() {
            return self.state.apply(verified).map_err(|error| {
                CliError::no("the entry does not follow the ledger").because(&error)
            });
        }
        // Somebody may have appended right behind it: then the ledger holds our entry, too.
        let mut found = false;
        self.catch_up(&mut |entry| {
            found |= entry.head() == own;
            Ok(())
        })?;
        if found {
            return Ok(());
        }
        Err(
            CliError::no("it was said that the change was taken, but the ledger does not have it")
                .hint("look at `palisade ledger log`; the daemon that was asked may be faulty"),
        )
    }

    /// Reads what was appended since.
    fn catch_up(
        &mut self,
        each: &mut dyn FnMut(&Verified) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        if let Some(outside) = &self.outside {
            self.state = outside.read(&self.link, Some(self.state.head()), each)?;
            return Ok(());
        }
        let mut chain = Chain {
            key: *self.state.cluster_key(),
            state: Some(self.state.clone()),
        };
        follow(&self.link, &mut chain, each)?;
        self.state = chain.finish()?;
        Ok(())
    }
}

/// The answer of a store: that PostgreSQL is in line is not for it to say.
fn reply(head: Head) -> HeadReply {
    HeadReply {
        seq: head.seq,
        hash: head.hash.to_string(),
        applied: true,
    }
}

/// Fetches page after page behind the chain's head.
fn follow(
    link: &Link,
    chain: &mut Chain,
    each: &mut dyn FnMut(&Verified) -> Result<(), CliError>,
) -> Result<(), CliError> {
    loop {
        let next = chain.next();
        let page = link.ask(|client| async move { client.entries(next).await })?;
        let count = chain.take(&page, each)?;
        if count < PAGE {
            return Ok(());
        }
    }
}

/// A chain that is verified as it is read.
pub(crate) struct Chain {
    key: PublicKey,
    state: Option<State>,
}

impl Chain {
    /// The empty chain of the cluster with this key.
    pub(crate) fn new(key: PublicKey) -> Self {
        Self { key, state: None }
    }

    /// The sequence number of the entry that comes next.
    fn next(&self) -> u64 {
        self.state
            .as_ref()
            .map_or(0, |state| state.head().seq.saturating_add(1))
    }

    /// Verifies more entries, and tells how many they were.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        each: &mut dyn FnMut(&Verified) -> Result<(), CliError>,
    ) -> Result<usize, CliError> {
        let entries =
            split(bytes).map_err(|error| CliError::no("this is not a ledger").because(&error))?;
        for entry in &entries {
            let seq = self.next();
            let refused = |error: &dyn std::error::Error| {
                CliError::no(format!("entry {seq} does not verify")).because(error)
            };
            let verified = match &mut self.state {
                None => {
                    let (state, verified) =
                        verify_genesis(entry, &self.key).map_err(|error| {
                            refused(&error).hint(
                                "is this the public key of another cluster? see --cluster-public-key-file",
                            )
                        })?;
                    self.state = Some(state);
                    verified
                }
                Some(state) => {
                    let verified = verify(state, entry).map_err(|error| match error {
                        Refusal::NotNext { seq: found, .. } => CliError::no(format!(
                            "entry {seq} is missing: entry {found} stands in its place"
                        )),
                        error => refused(&error),
                    })?;
                    state.apply(&verified).map_err(|error| refused(&error))?;
                    verified
                }
            };
            each(&verified)?;
        }
        Ok(entries.len())
    }

    /// The state that the entries fold to.
    pub(crate) fn finish(self) -> Result<State, CliError> {
        self.state.ok_or_else(empty)
    }
}

fn empty() -> CliError {
    CliError::no("the ledger is empty: it has no first entry")
}

#[cfg(test)]
mod tests;
