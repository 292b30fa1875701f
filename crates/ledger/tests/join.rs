//! Joining, leaving and changing keys: each attack that the design names, and that it is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests"
)]

mod common;

use common::{
    EXPIRES, World, address, cluster_key, fold, imported, issued, join, key, node, node_id, public,
    rotate, store_address, token, token_id, uid, user,
};
use palisade_keys::PublicKey;
use palisade_ledger::{
    Author, Change, Guard, Millis, NewNode, NewToken, Privileges, Proof, Refusal, StoreAddress,
    join_message, limits, rotate_message, session_message, sign, verify,
};

/// `change` by node 5, which joins.
fn joins(world: &World, change: Change) -> Result<(), Refusal> {
    world.tries("node 5", change).map(drop)
}

/// A join of `node` whose proof is `signer`'s over `message`.
fn proven(node: NewNode, proof: Proof, signer: &str, message: &[u8]) -> Change {
    Change::NodeJoin {
        node,
        proof,
        signature: *key(signer).sign(message).as_bytes(),
    }
}

fn message(node: &NewNode) -> Vec<u8> {
    join_message(&cluster_key().public(), node)
}

fn open() -> Proof {
    Proof::Token(token_id("open"))
}

// --- Tokens ---

#[test]
fn a_token_joins_one_node() {
    let mut world = World::with_nodes();
    world.does("node 5", join(node(5), "open"));
    let joined = world.state.node(node_id(5)).unwrap();
    assert_eq!(joined.key, public("node 5"));
    assert!(!joined.pending && world.state.members().any(|node| node.id == node_id(5)));
    assert_eq!(world.state.node_by_key(&public("node 5")), Some(joined));
    let token = world.state.token(token_id("open")).unwrap();
    assert_eq!(token.used_by, Some(node_id(5)));
    assert_eq!(world.state.next_node_id(), node_id(6));
}

// "optional human approval"
#[test]
fn who_joins_by_a_token_with_approval_is_no_member_until_it_is_given() {
    let mut world = World::with_nodes();
    let waiting = world.state.node(node_id(3)).unwrap();
    assert!(waiting.pending && world.state.members().all(|node| node.id != node_id(3)));
    // "A pending node authors nothing and gets no certificate."
    let certificate = palisade_ledger::Issued {
        holder: Some(node_id(3)),
        ..issued(&[0x60])
    };
    let issue = Change::CertificateIssued { certificate };
    let refused = Err(Refusal::NodePending(node_id(3)));
    assert_eq!(world.tries("node 3", issue.clone()).map(drop), refused);
    assert_eq!(world.tries("node 1", issue.clone()).map(drop), refused);
    world.does("root", Change::NodeApprove { id: node_id(3) });
    assert!(world.state.members().any(|node| node.id == node_id(3)));
    world.does("node 3", issue);
    let again = world.tries("root", Change::NodeApprove { id: node_id(3) });
    assert!(matches!(again, Err(Refusal::Nothing(_))));
}

// "replayed, second, foreign and expired claims are refused, each by a test"
#[test]
fn a_replayed_claim_is_refused() {
    let mut world = World::with_nodes();
    let author = Author::Node(node_id(5));
    let entry = world.next(author, join(node(5), "open"));
    let bytes = sign(&entry, &key("node 5")).unwrap();
    let verified = verify(&world.state, &bytes).unwrap();
    world.apply(&verified);
    // The very bytes; the same proof in a new entry; the same after the node was removed.
    assert!(matches!(
        verify(&world.state, &bytes),
        Err(Refusal::NotNext { .. })
    ));
    let used = Err(Refusal::TokenUsed {
        token: token_id("open"),
        node: node_id(5),
    });
    assert_eq!(joins(&world, join(node(5), "open")), used);
    world.does("root", Change::NodeRemove { id: node_id(5) });
    assert_eq!(joins(&world, join(node(5), "open")), used);
    // By the secret, which is good more than once: its id was given, and is given never again.
    world.does("node 6", join(node(6), "secret"));
    world.does("root", Change::NodeRemove { id: node_id(6) });
    let replayed = world.tries("node 6", join(node(6), "secret"));
    assert_eq!(
        replayed.unwrap_err(),
        Refusal::NodeIdNotNext {
            id: node_id(6),
            next: node_id(7)
        }
    );
}

// "single use", "first claim wins"
#[test]
fn a_second_claim_is_refused() {
    let mut world = World::with_nodes();
    world.does("node 5", join(node(5), "open"));
    assert_eq!(
        world.tries("node 6", join(node(6), "open")).map(drop),
        Err(Refusal::TokenUsed {
            token: token_id("open"),
            node: node_id(5)
        })
    );
}

#[test]
fn a_foreign_claim_is_refused() {
    let world = World::with_nodes();
    // A token that this cluster never gave.
    assert_eq!(
        joins(&world, join(node(5), "foreign")),
        Err(Refusal::NoToken(token_id("foreign")))
    );
    // A proof for another cluster, by one who holds the secret of both.
    let elsewhere = join_message(&public("cluster other"), &node(5));
    for (proof, secret) in [(open(), "open"), (Proof::Secret, "secret")] {
        let change = proven(node(5), proof, secret, &elsewhere);
        assert_eq!(joins(&world, change), Err(Refusal::Proof));
    }
}

#[test]
fn an_expired_claim_is_refused() {
    let world = World::with_nodes();
    let at = |time: Millis| {
        let mut entry = world.next(Author::Node(node_id(5)), join(node(5), "open"));
        entry.time = time;
        verify(&world.state, &sign(&entry, &key("node 5")).unwrap())
    };
    assert!(at(EXPIRES).is_ok());
    assert_eq!(
        at(Millis(EXPIRES.0 + 1)).unwrap_err(),
        Refusal::TokenExpired {
            token: token_id("open"),
            expires: EXPIRES
        }
    );
    // The joiner writes the time: it may not lie before the last entry's, and a store that takes the
    // entry in asks its own clock.
    let last = world.state.time();
    assert!(matches!(at(Millis(last.0 - 1)), Err(Refusal::Time { .. })));
    let backdated = at(last).unwrap();
    assert_eq!(backdated.check_clock(&world.state, EXPIRES), Ok(()));
    let late = backdated.check_clock(&world.state, Millis(EXPIRES.0 + 1));
    assert!(matches!(late, Err(Refusal::TokenExpired { .. })));
    // Nobody else is late.
    let other = world.tries("root", Change::SecretSet { key: None });
    let other = other.unwrap();
    assert_eq!(other.check_clock(&world.state, Millis(u64::MAX)), Ok(()));
}

/// A stolen node writes what it likes straight into a shared store, where no clock is asked: its entry
/// does not move the ledger's time to the year 9999, after which every token counted as expired.
#[test]
fn a_nodes_clock_is_its_own() {
    let mut world = World::with_nodes();
    let before = world.state.time();
    let change = Change::NodeSet {
        id: node_id(2),
        address: None,
        hosts: Some(Vec::new()),
        store: None,
    };
    let mut entry = world.next(Author::Node(node_id(2)), change);
    entry.time = Millis(limits::MAX_TIME_MILLIS);
    let bytes = sign(&entry, &key("node 2")).unwrap();
    let verified = verify(&world.state, &bytes).unwrap();
    world.apply(&verified);
    assert_eq!(world.state.time(), before);
    world.does("node 5", join(node(5), "open"));
    assert_eq!(world.state.time(), before);
    // Nor does it go back.
    let mut early = world.next(Author::Node(node_id(2)), rotate(2, "node 2 again"));
    early.time = Millis(before.0 - 1);
    let early = verify(&world.state, &sign(&early, &key("node 2")).unwrap());
    assert!(matches!(early, Err(Refusal::Time { .. })));
    world.does("root", Change::NodeRemove { id: node_id(2) });
    assert!(world.state.time() > before);
    let revoked = world.state.revocations().find(|(s, _)| *s == [0x51]);
    assert_eq!(revoked.unwrap().1.at, world.state.time());
}

/// With the identity of a member in etcd and any user's key, one without a privilege too, it would else
/// be the same: no token could be made or used until the cluster key went back.
#[test]
fn who_manages_nothing_does_not_move_the_time() {
    let mut world = World::with_nodes();
    let before = world.state.time();
    let own = [
        Change::UserPassword {
            uid: uid(2),
            verifier: None,
        },
        Change::UserKey {
            uid: uid(2),
            public_key: public("target"),
        },
    ];
    for change in own {
        let mut entry = world.next(Author::User(uid(2)), change);
        entry.time = Millis(limits::MAX_TIME_MILLIS);
        let bytes = sign(&entry, &key("target")).unwrap();
        let verified = verify(&world.state, &bytes).unwrap();
        world.apply(&verified);
        assert_eq!(world.state.time(), before);
    }
    world.does("node 5", join(node(5), "open"));
    world.does("root", Change::SecretSet { key: None });
    assert!(world.state.time() > before);
}

#[test]
fn a_revoked_token_joins_nobody() {
    let mut world = World::with_nodes();
    let revoke = |name| Change::TokenRevoke { id: token_id(name) };
    world.does("root", revoke("open"));
    assert!(world.state.token(token_id("open")).unwrap().revoked);
    let refused = Err(Refusal::TokenRevoked(token_id("open")));
    assert_eq!(joins(&world, join(node(5), "open")), refused);
    assert_eq!(world.tries("root", revoke("open")).map(drop), refused);
    // What is used can't be taken back: the node is to be removed.
    let used = world.tries("root", revoke("used")).map(drop);
    assert!(matches!(used, Err(Refusal::TokenUsed { .. })));
}

// "the cluster assigns the node id"
#[test]
fn a_joiner_can_not_choose_its_id() {
    let world = World::with_nodes();
    for number in [1, 2, 3, 4, 6, 1_000_000, u32::MAX] {
        let chosen = NewNode {
            id: node_id(number),
            ..node(5)
        };
        let author = Author::Node(node_id(number));
        for signer in ["node 5", &format!("node {number}")] {
            let result = world.attempt(author, &key(signer), join(chosen.clone(), "open"));
            let refusal = result.unwrap_err();
            assert!(
                matches!(
                    refusal,
                    Refusal::NodeIdNotNext { .. } | Refusal::Signature(_) | Refusal::NodePending(_)
                ),
                "{number}: {refusal}"
            );
        }
        let add = Change::NodeAdd { node: chosen };
        let next = node_id(5);
        let refused = Refusal::NodeIdNotNext {
            id: node_id(number),
            next,
        };
        assert_eq!(world.tries("root", add).unwrap_err(), refused);
    }
    // An author other than the node that the entry is about.
    let other = world.tries("node 6", join(node(5), "open")).unwrap_err();
    assert_eq!(other, Refusal::UnknownNode(node_id(6)));
}

#[test]
fn a_wrong_proof_joins_nobody() {
    let world = World::with_nodes();
    let right = message(&node(5));
    let session = session_message(&cluster_key().public(), &[9; 32], &public("node 5"));
    let new_key = rotate_message(
        &cluster_key().public(),
        node_id(5),
        &public("node 5"),
        &node(5).seal,
    );
    for (proof, right_secret) in [(open(), "open"), (Proof::Secret, "secret")] {
        assert_eq!(
            joins(&world, proven(node(5), proof, right_secret, &right)),
            Ok(())
        );
        // Another's secret; the node's own key; the used token's; the other kind's.
        for wrong in ["guess", "node 5", "used", "root", "cluster main"] {
            let change = proven(node(5), proof, wrong, &right);
            assert_eq!(joins(&world, change), Err(Refusal::Proof), "{wrong}");
        }
        // What the secret's key signs elsewhere is no proof here: in the TLS session, for a new key.
        for other in [&session, &new_key, &[][..].to_vec()] {
            let change = proven(node(5), proof, right_secret, other);
            assert_eq!(joins(&world, change), Err(Refusal::Proof));
        }
    }
    let crossed = proven(node(5), Proof::Secret, "open", &right);
    assert_eq!(joins(&world, crossed), Err(Refusal::Proof));
    let crossed = proven(node(5), open(), "secret", &right);
    assert_eq!(joins(&world, crossed), Err(Refusal::Proof));
}

/// A man in the middle who sees a proof can't use it for a node of his own.
#[test]
fn a_proof_for_another_node_joins_nobody() {
    let world = World::with_nodes();
    let genuine = message(&node(5));
    let others = [
        NewNode {
            key: public("mallory"),
            ..node(5)
        },
        NewNode {
            seal: [0x44; 32],
            ..node(5)
        },
        NewNode {
            address: address("mallory.example.com:7433"),
            ..node(5)
        },
        NewNode {
            address: address("node5.example.com:7434"),
            ..node(5)
        },
        NewNode {
            hosts: vec!["mallory.example.com".to_owned()],
            ..node(5)
        },
        NewNode {
            store: Some(store_address("mallory.example.com")),
            ..node(5)
        },
        NewNode {
            store: None,
            ..node(5)
        },
    ];
    for other in others {
        for (proof, secret) in [(open(), "open"), (Proof::Secret, "secret")] {
            let signer = if other.key == public("mallory") {
                key("mallory")
            } else {
                key("node 5")
            };
            let author = Author::Node(node_id(5));
            let change = proven(other.clone(), proof, secret, &genuine);
            let result = world.attempt(author, &signer, change);
            assert_eq!(result.map(drop), Err(Refusal::Proof), "{other:?}");
        }
    }
    // For the id before: what was proved before another joined is to be proved anew.
    let earlier = message(&NewNode {
        id: node_id(4),
        ..node(5)
    });
    let change = proven(node(5), open(), "open", &earlier);
    assert_eq!(joins(&world, change), Err(Refusal::Proof));
}

/// The joiner has the key that it names: whoever knows the token can't pin another's key.
#[test]
fn who_joins_signs_with_the_key_that_it_names() {
    let world = World::with_nodes();
    for signer in ["mallory", "open", "root", "node 1"] {
        let author = Author::Node(node_id(5));
        let result = world.attempt(author, &key(signer), join(node(5), "open"));
        assert_eq!(result.map(drop), Err(Refusal::Signature(author)));
    }
}

#[test]
fn a_token_ends_within_a_year_and_its_id_is_its_own() {
    let mut world = World::with_nodes();
    let now = world.state.time().0 + 1000;
    let create = |expires: u64| Change::TokenCreate {
        token: NewToken {
            expires: Millis(expires),
            ..token("new")
        },
    };
    for (expires, good) in [
        (now, false),
        (now + 1, true),
        (now + limits::MAX_TOKEN_MILLIS, true),
        (now + limits::MAX_TOKEN_MILLIS + 1, false),
        (u64::MAX, false),
        (0, false),
    ] {
        let result = world.tries("root", create(expires));
        assert_eq!(result.is_ok(), good, "{expires}: {result:?}");
    }
    world.does("root", create(now + 1));
    for name in ["new", "used", "open"] {
        let again = Change::TokenCreate { token: token(name) };
        assert_eq!(
            world.tries("root", again).unwrap_err(),
            Refusal::TokenTaken(token_id(name))
        );
    }
    let note = |note: &str| Change::TokenCreate {
        token: NewToken {
            note: note.to_owned(),
            ..token("noted")
        },
    };
    assert!(world.tries("root", note(&"x".repeat(256))).is_ok());
    for bad in ["\u{1b}[2K", &"x".repeat(257)] {
        assert!(world.tries("root", note(bad)).is_err());
    }
}

// --- The cluster secret ---

#[test]
fn without_a_cluster_secret_nobody_joins_by_one() {
    let mut world = World::with_nodes();
    assert_eq!(joins(&world, join(node(5), "secret")), Ok(()));
    world.does("root", Change::SecretSet { key: None });
    assert_eq!(
        joins(&world, join(node(5), "secret")),
        Err(Refusal::NoSecret)
    );
    assert!(matches!(
        world.tries("root", Change::SecretSet { key: None }),
        Err(Refusal::Nothing(_))
    ));
    // A cluster that never had one.
    let mut world = World::new();
    world.force(Change::NodeAdd { node: node(1) });
    assert_eq!(
        world.tries("node 2", join(node(2), "secret")).map(drop),
        Err(Refusal::NoSecret)
    );
}

// "`palisade secret rotate` (one command; the seed says there is none)"
#[test]
fn after_a_rotation_the_old_secret_joins_nobody() {
    let mut world = World::with_nodes();
    let rotated = Change::SecretSet {
        key: Some(public("new secret")),
    };
    world.does("root", rotated.clone());
    assert_eq!(world.state.join_secret(), Some(&public("new secret")));
    assert_eq!(joins(&world, join(node(5), "secret")), Err(Refusal::Proof));
    let right = proven(node(5), Proof::Secret, "new secret", &message(&node(5)));
    assert_eq!(joins(&world, right), Ok(()));
    assert!(matches!(
        world.tries("root", rotated),
        Err(Refusal::Nothing(_))
    ));
}

// --- Keys ---

#[test]
fn a_key_has_one_owner() {
    let mut world = World::with_nodes();
    world.force(Change::TokenCreate {
        token: token("more"),
    });
    let taken = [
        public("cluster main"),
        public("root"),
        public("target"),
        public("node 1"),
        public("node 3"),
    ];
    for (of, key_of_it) in ["cluster main", "root", "target", "node 1", "node 3"]
        .into_iter()
        .zip(taken)
    {
        let same = NewNode {
            key: key_of_it,
            ..node(5)
        };
        let refused = Refusal::KeyTaken(key_of_it);
        let add = Change::NodeAdd { node: same.clone() };
        assert_eq!(
            world.tries("root", add.clone()).unwrap_err(),
            refused,
            "{of}"
        );
        let result = world.attempt(Author::Cluster, &cluster_key(), add);
        assert_eq!(result.unwrap_err(), refused);
        let author = Author::Node(node_id(5));
        let result = world.attempt(author, &key(of), join(same, "open"));
        assert_eq!(result.unwrap_err(), refused);
        assert_eq!(world.tries("node 2", rotate(2, of)).unwrap_err(), refused);
    }
    // Its own, as well: a rotation is to a new key.
    let same = world.tries("node 2", rotate(2, "node 2"));
    assert_eq!(same.unwrap_err(), Refusal::KeyTaken(public("node 2")));
    // A user does not get a node's key either.
    for of in ["node 1", "node 3"] {
        let refused = Refusal::KeyTaken(public(of));
        let with = palisade_ledger::NewUser {
            public_key: Some(public(of)),
            ..user(9, "new", Privileges::NONE)
        };
        let add = world.tries("root", Change::UserAdd { user: with });
        assert_eq!(add.unwrap_err(), refused);
        let own = Change::UserKey {
            uid: uid(1),
            public_key: public(of),
        };
        assert_eq!(world.tries("root", own).unwrap_err(), refused);
        for (number, name) in [(2, "target"), (9, "new")] {
            let read = palisade_ledger::ImportedUser {
                public_key: public(of),
                ..imported(number, name, Privileges::NONE)
            };
            let read = Change::UserImport { user: read };
            let result = world.attempt(Author::Cluster, &cluster_key(), read);
            assert_eq!(result.unwrap_err(), refused);
        }
    }
    // Nor another user's, nor the cluster's: nobody proves the key that he is given here, and would be
    // taken for its owner.
    for of in ["root", "cluster main"] {
        let refused = Refusal::KeyTaken(public(of));
        let with = palisade_ledger::NewUser {
            public_key: Some(public(of)),
            ..user(9, "new", Privileges::NONE)
        };
        let add = world.tries("root", Change::UserAdd { user: with });
        assert_eq!(add.unwrap_err(), refused);
        let own = Change::UserKey {
            uid: uid(2),
            public_key: public(of),
        };
        assert_eq!(world.tries("target", own).unwrap_err(), refused);
        for (number, name) in [(2, "target"), (9, "new")] {
            let read = palisade_ledger::ImportedUser {
                public_key: public(of),
                ..imported(number, name, Privileges::NONE)
            };
            let read = Change::UserImport { user: read };
            let result = world.attempt(Author::Cluster, &cluster_key(), read);
            assert_eq!(result.unwrap_err(), refused);
        }
    }
    let root = world.state.user(uid(1));
    assert_eq!(world.state.user_by_key(&public("root")), root);
    assert_eq!(world.state.user_by_key(&public("nobody")), None);
    // The key of a removed node or a removed user is nobody's.
    world.does("root", Change::UserRemove { uid: uid(2) });
    let heir = NewNode {
        key: public("target"),
        ..node(5)
    };
    assert!(world.tries("root", Change::NodeAdd { node: heir }).is_ok());
    let heir = NewNode {
        key: public("node 4"),
        ..node(5)
    };
    assert!(world.tries("root", Change::NodeAdd { node: heir }).is_ok());
}

/// Keys of small order, by which anybody signs anything (RFC 8032), or of which everybody knows what
/// is agreed (RFC 7748, section 6.1).
#[test]
fn weak_keys_are_refused_wherever_a_key_is_named() {
    let world = World::with_nodes();
    let weak_keys = [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }];
    for bytes in weak_keys {
        let weak = PublicKey::from_bytes(bytes);
        let mut changes = vec![
            Change::NodeAdd {
                node: NewNode {
                    key: weak,
                    ..node(5)
                },
            },
            Change::NodeAdd {
                node: NewNode {
                    seal: bytes,
                    ..node(5)
                },
            },
            Change::TokenCreate {
                token: NewToken {
                    key: weak,
                    ..token("new")
                },
            },
            Change::SecretSet { key: Some(weak) },
        ];
        if let Change::NodeRotate {
            id, key, signature, ..
        } = rotate(2, "node 2 again")
        {
            changes.push(Change::NodeRotate {
                id,
                key: weak,
                seal: [0x33; 32],
                signature,
            });
            changes.push(Change::NodeRotate {
                id,
                key,
                seal: bytes,
                signature,
            });
        }
        for change in changes {
            let result = world.attempt(Author::Cluster, &cluster_key(), change.clone());
            let refusal = result.unwrap_err();
            assert!(
                matches!(refusal, Refusal::Decode(_)),
                "{change:?}: {refusal}"
            );
        }
    }
}

// "rotate own node key | that node"; "new identity without leaving"
#[test]
fn after_a_rotation_the_old_key_says_nothing_even_in_a_thiefs_hands() {
    let mut world = World::with_nodes();
    let stolen = key("node 2");
    let author = Author::Node(node_id(2));
    world.does("node 2", rotate(2, "node 2 again"));
    let rotated = world.state.node(node_id(2)).unwrap();
    assert_eq!(rotated.key, public("node 2 again"));
    assert_eq!(rotated.seal, [0x33; 32]);
    assert_eq!(rotated.changed, world.state.head().seq);
    assert_eq!(world.state.node_by_key(&public("node 2")), None);
    // The thief: issues, moves the node, rotates it back or to a key of his own, joins with the token.
    let issue = Change::CertificateIssued {
        certificate: issued(&[0x61]),
    };
    for change in [issue.clone(), rotate(2, "node 2"), rotate(2, "thief")] {
        let result = world.attempt(author, &stolen, change);
        assert_eq!(result.unwrap_err(), Refusal::Signature(author));
    }
    assert!(world.tries("node 2 again", issue).is_ok());
    assert_eq!(world.state.members().count(), 2);
}

#[test]
fn a_rotation_is_signed_by_the_new_key_for_this_node_and_cluster() {
    let world = World::with_nodes();
    let new = key("node 2 again");
    let with = |message: Vec<u8>| Change::NodeRotate {
        id: node_id(2),
        key: new.public(),
        seal: [0x33; 32],
        signature: *new.sign(&message).as_bytes(),
    };
    let cluster = cluster_key().public();
    let message = |cluster: &PublicKey, id, seal: u8| {
        rotate_message(cluster, node_id(id), &new.public(), &[seal; 32])
    };
    assert!(
        world
            .tries("node 2", with(message(&cluster, 2, 0x33)))
            .is_ok()
    );
    for other in [
        message(&public("cluster other"), 2, 0x33),
        message(&cluster, 1, 0x33),
        message(&cluster, 2, 0x34),
        session_message(&cluster, &[0; 32], &new.public()),
    ] {
        let result = world.tries("node 2", with(other.clone()));
        assert_eq!(result.unwrap_err(), Refusal::NewKeySignature);
        // Not even the cluster key pins a key that its owner did not offer.
        let result = world.attempt(Author::Cluster, &cluster_key(), with(other));
        assert_eq!(result.unwrap_err(), Refusal::NewKeySignature);
    }
}

// --- Leaving ---

// "Removing a node closes its open connections everywhere and revokes its certificates."
#[test]
fn a_removed_nodes_certificates_are_revoked_and_nobody_elses() {
    let mut world = World::with_nodes();
    let of_one = palisade_ledger::Issued {
        holder: Some(node_id(1)),
        ..issued(&[0x71])
    };
    let of_nobody = palisade_ledger::Issued {
        holder: None,
        by: Some(uid(1)),
        ..issued(&[0x72])
    };
    for certificate in [of_one, of_nobody, issued(&[0x73])] {
        world.does("node 1", Change::CertificateIssued { certificate });
    }
    world.does("root", Change::NodeRemove { id: node_id(2) });
    for (serial, revoked) in [(0x51, true), (0x71, false), (0x72, false), (0x73, true)] {
        assert_eq!(world.state.is_revoked(&[serial]), revoked, "{serial:#x}");
        assert_eq!(world.state.is_revoked(&[0, serial]), revoked);
    }
    let revocations: Vec<_> = world.state.revocations().collect();
    assert_eq!(revocations.len(), 2);
    for (_, revocation) in revocations {
        assert_eq!(revocation.at, world.state.time());
        assert_eq!(revocation.reason, "node 2 was removed");
        assert_eq!(revocation.until, Some(EXPIRES));
    }
    // And what was sealed to it is gone.
    let alert = world.state.alert("ops").unwrap();
    assert!(alert.sealed.keys().eq([&node_id(1)]));
    assert!(world.state.was_node_removed(node_id(2)));
    assert!(!world.state.was_node_removed(node_id(5)));
}

#[test]
fn a_removed_node_is_nobody() {
    let mut world = World::with_nodes();
    world.does("root", Change::NodeRemove { id: node_id(2) });
    let author = Author::Node(node_id(2));
    for change in [
        Change::CertificateIssued {
            certificate: issued(&[0x61]),
        },
        rotate(2, "node 2 again"),
        join(node(5), "open"),
        join(
            NewNode {
                id: node_id(2),
                ..node(5)
            },
            "open",
        ),
    ] {
        assert!(world.attempt(author, &key("node 2"), change).is_err());
    }
    assert_eq!(world.state.node(node_id(2)), None);
    assert_eq!(world.state.node_by_key(&public("node 2")), None);
    let again = world.tries("root", Change::NodeRemove { id: node_id(2) });
    assert_eq!(again.unwrap_err(), Refusal::NoNode(node_id(2)));
}

#[test]
fn the_last_member_stays_unless_the_cluster_key_says_otherwise() {
    let mut world = World::with_nodes();
    let remove = |number| Change::NodeRemove {
        id: node_id(number),
    };
    world.does("root", remove(1));
    // Node 3 waits for approval: it is no member, may be removed, and does not count.
    let last = world.tries("root", remove(2));
    assert_eq!(last.unwrap_err(), Refusal::Guard(Guard::LastNode));
    assert!(world.tries("root", remove(3)).is_ok());
    let forced = world.attempt(Author::Cluster, &cluster_key(), remove(2));
    assert!(forced.is_ok());
    world.does("root", Change::NodeApprove { id: node_id(3) });
    assert!(world.tries("root", remove(2)).is_ok());
}

// --- Names ---

/// A certificate names a node by what stands in the ledger: who could write there what it likes would
/// be given a certificate in anybody's name.
#[test]
fn a_node_can_not_name_itself_anew() {
    let mut world = World::with_nodes();
    let set = |address_of: Option<&str>, hosts: Option<&[&str]>, store: Option<StoreAddress>| {
        Change::NodeSet {
            id: node_id(2),
            address: address_of.map(address),
            hosts: hosts.map(|hosts| hosts.iter().map(|host| (*host).to_owned()).collect()),
            store,
        }
    };
    let own = [
        set(Some("node2.example.com:9"), None, None),
        set(Some("db2.example.com:9"), None, None),
        set(None, Some(&["node2.example.com"]), None),
        set(None, Some(&[]), None),
        set(None, None, Some(store_address("db2.example.com"))),
    ];
    for change in own {
        let result = world.tries("node 2", change);
        assert!(result.is_ok(), "{result:?}");
    }
    let anew = [
        set(Some("db1.example.com:7433"), None, None),
        set(Some("evil.example.com:7433"), None, None),
        set(None, Some(&["db2.example.com", "db1.example.com"]), None),
        set(None, Some(&["localhost"]), None),
        set(None, None, Some(store_address("node1.example.com"))),
    ];
    for change in anew {
        let refusal = world.tries("node 2", change.clone()).unwrap_err();
        assert!(matches!(refusal, Refusal::NewName { .. }), "{refusal}");
        // An operator may.
        assert!(world.tries("root", change).is_ok());
    }
    // What it gave up it does not get back by itself.
    world.does("node 2", set(None, Some(&[]), None));
    let back = world.tries("node 2", set(None, Some(&["db2.example.com"]), None));
    assert!(matches!(back, Err(Refusal::NewName { .. })));
    assert!(matches!(
        world.tries("root", set(None, None, None)),
        Err(Refusal::Nothing(_))
    ));
}

#[test]
fn a_joiner_can_not_take_another_nodes_name_or_address() {
    let world = World::with_nodes();
    let hosts = |host: &str| NewNode {
        hosts: vec![host.to_owned()],
        ..node(5)
    };
    let claims = [
        hosts("db1.example.com"),
        hosts("node1.example.com"),
        hosts("db3.example.com"),
        NewNode {
            address: address("node1.example.com:9999"),
            ..node(5)
        },
        NewNode {
            store: Some(store_address("db2.example.com")),
            ..node(5)
        },
    ];
    for claim in claims {
        let refusal = joins(&world, join(claim.clone(), "open")).unwrap_err();
        assert!(matches!(refusal, Refusal::HostTaken { .. }), "{refusal}");
        let refusal = joins(&world, join(claim.clone(), "secret")).unwrap_err();
        assert!(matches!(refusal, Refusal::HostTaken { .. }), "{refusal}");
        // An operator knows what he does.
        assert!(world.tries("root", Change::NodeAdd { node: claim }).is_ok());
    }
    // Nor the name under which another's etcd listens: its certificates say that one, too.
    let mut world = world;
    world.force(Change::NodeSet {
        id: node_id(1),
        address: None,
        hosts: None,
        store: Some(store_address("etcd1.example.com")),
    });
    for claim in [
        hosts("etcd1.example.com"),
        NewNode {
            address: address("etcd1.example.com:7433"),
            ..node(5)
        },
        NewNode {
            store: Some(store_address("etcd1.example.com")),
            ..node(5)
        },
    ] {
        let refusal = joins(&world, join(claim, "open")).unwrap_err();
        assert!(matches!(refusal, Refusal::HostTaken { .. }), "{refusal}");
    }
    // Nodes on one machine share its names for itself; a removed node's names are free.
    world.force(Change::NodeSet {
        id: node_id(1),
        address: Some(address("127.0.0.1:7433")),
        hosts: Some(vec!["localhost".to_owned(), "::1".to_owned()]),
        store: Some(store_address("127.0.0.1")),
    });
    let near = NewNode {
        address: address("127.0.0.1:7434"),
        hosts: vec!["localhost".to_owned(), "::1".to_owned()],
        store: Some(store_address("127.0.0.1")),
        ..node(5)
    };
    assert_eq!(joins(&world, join(near.clone(), "open")), Ok(()));
    assert_eq!(
        joins(&world, join(hosts("db4.example.com"), "open")),
        Ok(())
    );
    // But an address has one node, whoever says so.
    let same = NewNode {
        address: address("127.0.0.1:7433"),
        ..near
    };
    let refused = Refusal::AddressTaken {
        address: same.address.clone(),
        node: node_id(1),
    };
    assert_eq!(
        joins(&world, join(same.clone(), "open")).unwrap_err(),
        refused
    );
    let add = Change::NodeAdd { node: same.clone() };
    assert_eq!(world.tries("root", add).unwrap_err(), refused);
    let set = Change::NodeSet {
        id: node_id(2),
        address: Some(same.address),
        hosts: None,
        store: None,
    };
    assert_eq!(world.tries("root", set).unwrap_err(), refused);
}

#[test]
fn hosts_have_one_form_and_a_bound() {
    let world = World::with_nodes();
    let set = |hosts: Vec<String>| Change::NodeSet {
        id: node_id(1),
        address: None,
        hosts: Some(hosts),
        store: None,
    };
    for bad in [
        "DB.example.com",
        "*.example.com",
        "",
        "a b",
        "2001:DB8::1",
        "[::1]",
        "10.0.0.1:1",
        "0.0.0.0",
        "::ffff:10.0.0.1",
        "b\u{e4}r.example.com",
        "db_1.example.com",
        "evil\0.example.com",
    ] {
        let result = world.tries("root", set(vec![bad.to_owned()]));
        assert!(matches!(result, Err(Refusal::Text { .. })), "{bad}");
    }
    let many = |count: usize| (0..count).map(|number| format!("h{number}")).collect();
    assert!(world.tries("root", set(many(limits::MAX_HOSTS))).is_ok());
    let result = world.tries("root", set(many(limits::MAX_HOSTS + 1)));
    assert!(matches!(result, Err(Refusal::Bounds { .. })));
    let twice = vec!["a".to_owned(), "a".to_owned()];
    assert!(matches!(
        world.tries("root", set(twice)),
        Err(Refusal::Text { .. })
    ));
}

/// All of it once more from the bytes.
#[test]
fn the_story_folds_to_the_same_state() {
    let mut world = World::with_nodes();
    world.does("node 5", join(node(5), "open"));
    world.does("node 6", join(node(6), "secret"));
    world.does("root", Change::NodeApprove { id: node_id(3) });
    world.does("node 3", rotate(3, "node 3 again"));
    world.does("root", Change::NodeRemove { id: node_id(1) });
    let folded = fold(&world.log, &cluster_key().public()).unwrap();
    assert_eq!(folded, world.state);
    let ids: Vec<u32> = folded.nodes().map(|node| node.id.get()).collect();
    assert_eq!(ids, [2, 3, 5, 6]);
}
