use super::*;
use proptest::prelude::*;

fn id(number: u32) -> NodeId {
    NodeId::new(number).unwrap()
}

fn url(number: u32) -> String {
    format!("https://n{number}:7380")
}

fn nodes(numbers: &[u32]) -> Vec<StoreNode> {
    let node = |number: &u32| StoreNode {
        id: id(*number),
        peer_url: url(*number),
        live: true,
    };
    numbers.iter().map(node).collect()
}

fn voter(number: u32) -> StoreMember {
    StoreMember {
        id: u64::from(number),
        name: format!("palisade_node_{number}"),
        peer_urls: vec![url(number)],
        learner: false,
        healthy: true,
    }
}

fn voting(numbers: &[u32]) -> Vec<StoreMember> {
    numbers.iter().map(|number| voter(*number)).collect()
}

fn add(number: u32) -> StoreStep {
    StoreStep::AddLearner {
        node: id(number),
        peer_url: url(number),
    }
}

fn remove(number: u32, why: RemoveReason) -> StoreStep {
    StoreStep::Remove {
        member: u64::from(number),
        name: format!("palisade_node_{number}"),
        why,
    }
}

#[test]
fn one_three_or_five_vote() {
    let counts: Vec<usize> = (0..8).map(voters).collect();
    assert_eq!(counts, [0, 1, 1, 3, 3, 5, 5, 5]);
}

#[test]
fn the_oldest_node_that_answers_learns_first() {
    let mut three = nodes(&[1, 2, 3, 4]);
    assert_eq!(store_plan(&three, &voting(&[1])), Some(add(2)));
    three[1].live = false;
    assert_eq!(store_plan(&three, &voting(&[1])), Some(add(3)));
}

/// Two voters stand less than one: growth begins when it can reach three.
#[test]
fn it_does_not_stop_at_two() {
    assert_eq!(store_plan(&nodes(&[1, 2]), &voting(&[1])), None);
    let mut three = nodes(&[1, 2, 3]);
    three[2].live = false;
    assert_eq!(store_plan(&three, &voting(&[1])), None);
    three[2].live = true;
    assert_eq!(store_plan(&three, &voting(&[1, 2])), Some(add(3)));
}

#[test]
fn a_learner_votes_once_it_answers_and_alone() {
    let mut members = voting(&[1, 2]);
    members[1].learner = true;
    let promote = StoreStep::Promote {
        member: 2,
        node: id(2),
    };
    assert_eq!(store_plan(&nodes(&[1, 2, 3]), &members), Some(promote));
    members[1].healthy = false;
    members[1].name.clear();
    assert_eq!(store_plan(&nodes(&[1, 2, 3]), &members), None);
}

#[test]
fn a_learner_whose_node_went_down_makes_room() {
    let mut members = voting(&[1, 2]);
    members[1].learner = true;
    members[1].healthy = false;
    let mut four = nodes(&[1, 2, 3, 4]);
    four[1].live = false;
    assert_eq!(
        store_plan(&four, &members),
        Some(remove(2, RemoveReason::Stuck))
    );
}

#[test]
fn a_voter_whose_node_is_down_stays() {
    let mut members = voting(&[1, 2, 3]);
    members[2].healthy = false;
    let mut four = nodes(&[1, 2, 3, 4]);
    four[2].live = false;
    assert_eq!(store_plan(&four, &members), None);
}

#[test]
fn a_removed_nodes_member_leaves_and_another_takes_its_place() {
    let four = nodes(&[1, 2, 4]);
    let members = voting(&[1, 2, 3]);
    assert_eq!(
        store_plan(&four, &members),
        Some(remove(3, RemoveReason::NoNode))
    );
    assert_eq!(store_plan(&four, &voting(&[1, 2])), Some(add(4)));
}

/// The removed node's vote is still needed: it goes as soon as it is not.
#[test]
fn a_removed_nodes_member_stays_while_the_quorum_hangs_on_it() {
    let mut members = voting(&[1, 2, 3]);
    members[1].healthy = false;
    let mut three = nodes(&[1, 2, 4]);
    three[2].live = false;
    assert_eq!(store_plan(&three, &members), None);
    members[1].healthy = true;
    assert_eq!(
        store_plan(&three, &members),
        Some(remove(3, RemoveReason::NoNode))
    );
    assert_eq!(store_plan(&nodes(&[2]), &voting(&[1])), Some(add(2)));
    assert_eq!(
        store_plan(&nodes(&[2]), &voting(&[1, 2])),
        Some(remove(1, RemoveReason::NoNode))
    );
}

#[test]
fn fewer_nodes_fewer_voters_and_what_is_down_goes_first() {
    let mut members = voting(&[1, 2, 3, 4]);
    let four = nodes(&[1, 2, 3, 4]);
    assert_eq!(
        store_plan(&four, &members),
        Some(remove(4, RemoveReason::TooMany))
    );
    members[0].healthy = false;
    assert_eq!(
        store_plan(&four, &members),
        Some(remove(1, RemoveReason::TooMany))
    );
}

/// A member that nobody of the cluster has, for instance one that an intruder added, is thrown out.
#[test]
fn a_strangers_member_is_thrown_out() {
    let mut members = voting(&[1]);
    members.push(StoreMember {
        id: 99,
        name: String::new(),
        peer_urls: vec!["https://evil:7380".to_owned()],
        learner: true,
        healthy: false,
    });
    let step = store_plan(&nodes(&[1]), &members);
    assert!(matches!(step, Some(StoreStep::Remove { member: 99, .. })));
}

/// A member may say any name of itself; that makes it nobody else's.
#[test]
fn a_member_that_says_anothers_name_is_still_its_own_nodes() {
    let mut members = voting(&[1, 2, 3]);
    members[1].name = "palisade_node_1".to_owned();
    assert_eq!(store_plan(&nodes(&[1, 2, 3]), &members), None);
    let three = nodes(&[1, 3]);
    let step = store_plan(&three, &members);
    assert!(matches!(step, Some(StoreStep::Remove { member: 2, .. })));
}

#[test]
fn a_new_address_is_written_down() {
    let mut moved = nodes(&[1]);
    moved[0].peer_url = url(8);
    let step = StoreStep::Move {
        member: 1,
        node: id(1),
        peer_url: url(8),
    };
    assert_eq!(store_plan(&moved, &voting(&[1])), Some(step));
}

/// etcd, as far as its members go.
#[derive(Debug, Clone)]
struct Model {
    nodes: Vec<StoreNode>,
    members: Vec<StoreMember>,
    next: u32,
}

#[derive(Debug, Clone)]
enum Event {
    Join,
    Evict(usize),
    Down(usize),
    Up(usize),
}

impl Model {
    fn new() -> Self {
        Self {
            nodes: nodes(&[1]),
            members: voting(&[1]),
            next: 2,
        }
    }

    fn has_quorum(&self) -> bool {
        let voting = || self.members.iter().filter(|member| !member.learner);
        voting().filter(|member| member.healthy).count() >= quorum(voting().count())
    }

    /// Members of nodes that are up answer; one that was just taken in gets its name when it starts.
    fn settle(&mut self) {
        for member in &mut self.members {
            let owner = self
                .nodes
                .iter()
                .find(|node| member.peer_urls.contains(&node.peer_url));
            if let Some(owner) = owner {
                member.healthy = owner.live;
                if owner.live {
                    member.name = store_user(owner.id);
                }
            }
        }
    }

    fn happen(&mut self, event: &Event) {
        let count = self.nodes.len();
        match event {
            Event::Join => {
                self.nodes.extend(nodes(&[self.next]));
                self.next += 1;
            }
            Event::Evict(index) if count > 1 => drop(self.nodes.remove(index % count)),
            Event::Evict(_) => {}
            Event::Down(index) => self.nodes[index % count].live = false,
            Event::Up(index) => self.nodes[index % count].live = true,
        }
        self.settle();
    }

    /// What etcd does with a step, and what it demands of it.
    fn carry_out(&mut self, step: StoreStep) {
        let position = |members: &[StoreMember], id: u64| {
            members.iter().position(|member| member.id == id).unwrap()
        };
        match step {
            StoreStep::AddLearner { node, peer_url } => {
                assert!(!self.members.iter().any(|member| member.learner));
                assert!(
                    self.nodes
                        .iter()
                        .any(|known| known.id == node && known.live)
                );
                let number = u64::from(node.get());
                assert!(!self.members.iter().any(|member| member.id == number));
                self.members.push(StoreMember {
                    id: number,
                    name: String::new(),
                    peer_urls: vec![peer_url],
                    learner: true,
                    healthy: false,
                });
            }
            StoreStep::Promote { member, .. } => {
                let at = position(&self.members, member);
                assert!(self.members[at].learner && self.members[at].healthy);
                self.members[at].learner = false;
            }
            StoreStep::Move { .. } => panic!("nobody moves here"),
            StoreStep::Remove { member, .. } => {
                let at = position(&self.members, member);
                self.members.remove(at);
            }
        }
        self.settle();
    }

    fn steps(&mut self) -> usize {
        for count in 0..40 {
            let Some(step) = store_plan(&self.nodes, &self.members) else {
                return count;
            };
            if !self.has_quorum() {
                // etcd would take no step; nor is one wanted that waits for a better time.
                return count;
            }
            self.carry_out(step);
            assert!(self.has_quorum(), "{self:#?}");
            let learners = self.members.iter().filter(|member| member.learner);
            assert!(learners.count() <= 1);
        }
        panic!("it comes to no rest: {self:#?}");
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => Just(Event::Join),
        1 => (0_usize..9).prop_map(Event::Evict),
        2 => (0_usize..9).prop_map(Event::Down),
        3 => (0_usize..9).prop_map(Event::Up),
    ];
    prop::collection::vec(event, 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever nodes do: no step takes the quorum away, there is one learner at most, and the plan
    /// comes to rest. When all are up and there is a quorum, the right number vote.
    #[test]
    fn no_step_takes_the_quorum_and_the_plan_comes_to_rest(events in events()) {
        let mut model = Model::new();
        for event in &events {
            model.happen(event);
            model.steps();
        }
        for index in 0..model.nodes.len() {
            model.happen(&Event::Up(index));
        }
        if model.has_quorum() {
            model.steps();
            let voting = model.members.iter().filter(|member| !member.learner);
            let dead = model.members.iter().any(|member| !member.healthy);
            prop_assert!(dead || voting.count() == voters(model.nodes.len()), "{model:#?}");
        }
    }

    /// Going down and coming back moves no vote.
    #[test]
    fn who_votes_stays(joins in 0_u32..7, index in 0_usize..9) {
        let mut model = Model::new();
        for _ in 0..joins {
            model.happen(&Event::Join);
        }
        model.steps();
        let before = model.members.clone();
        model.happen(&Event::Down(index));
        prop_assert_eq!(model.steps(), 0);
        model.happen(&Event::Up(index));
        prop_assert_eq!(model.steps(), 0);
        prop_assert_eq!(model.members, before);
    }
}
