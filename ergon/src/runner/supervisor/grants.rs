//! Distributes one limit among the workers that draw on it, in small grants: a pure state machine.
//!
//! Invariant: the free deliveries, the granted deliveries, and the deliveries that ended workers have fetched add up to
//! the limit. So the workers never fetch more than the limit. They fetch the whole limit if the source has as many
//! transactions, because a worker returns its unused part when its source is empty, when another worker needs it, or
//! when the worker ends.

use std::collections::BTreeMap;

use crate::task::{Claim, Grant, Want};

/// The size of the largest grant. At a million deliveries a second, a worker uses it up within milliseconds, so no
/// worker keeps much from the others.
const MOST: u64 = 16_384;

/// A limit, and the workers that draw on it.
#[derive(Debug)]
pub(super) struct Grants {
    /// The deliveries that are granted to no worker.
    free: u64,
    /// The number of workers of the task. Each grant leaves as much for each of the others.
    workers: u64,
    /// The parts of the workers, by the number of their connection.
    drawing: BTreeMap<u64, Part>,
    /// The number of requests so far. It orders the requests.
    turn: u64,
}

/// The part of one worker.
#[derive(Debug, Default)]
struct Part {
    granted: u64,
    taken: u64,
    wants: Option<(Want, u64)>,
    /// Whether the worker was asked to return its unused part, and has not answered yet.
    recalled: bool,
    /// Whether the worker knows that the limit is used up.
    knows: bool,
}

impl Part {
    /// The deliveries that the worker may still fetch.
    fn unused(&self) -> u64 {
        self.granted.saturating_sub(self.taken)
    }
}

/// The grants to send, each with the connection of its worker.
pub(super) type Orders = Vec<(u64, Grant)>;

impl Grants {
    pub(super) fn new(limit: u64, workers: u64) -> Self {
        Self { free: limit, workers: workers.max(1), drawing: BTreeMap::new(), turn: 0 }
    }

    /// Adds a worker.
    pub(super) fn join(&mut self, worker: u64) -> Orders {
        self.drawing.insert(worker, Part::default());
        self.serve()
    }

    /// Applies a worker's claim: what it has taken, returns, and asks for.
    pub(super) fn apply(&mut self, worker: u64, claim: Claim) -> Orders {
        let Some(part) = self.drawing.get_mut(&worker) else { return Orders::new() };
        part.taken = claim.taken.min(part.granted);
        let returned = claim.returned.min(part.unused());
        part.granted -= returned;
        self.free = self.free.saturating_add(returned);
        part.recalled &= !claim.recalled;
        // A worker that reports that it has nothing, and has a grant, sent its claim before it read the grant.
        let stale = claim.wants == Some(Want::Now) && part.unused() > 0;
        if let Some(want) = claim.wants.filter(|_| !stale) {
            self.turn += 1;
            part.wants = Some((want, self.turn));
        }
        self.serve()
    }

    /// Removes a worker whose last message was read. Its unused part is free again.
    pub(super) fn leave(&mut self, worker: u64) -> Orders {
        let part = self.drawing.remove(&worker).unwrap_or_default();
        self.free = self.free.saturating_add(part.unused());
        self.serve()
    }

    /// Removes a worker whose last message may be lost. It may have fetched its whole part, so nothing of the part is
    /// free again.
    pub(super) fn lose(&mut self, worker: u64) -> Orders {
        self.drawing.remove(&worker);
        self.serve()
    }

    /// Grants free deliveries to the workers that ask, those with none first. If nothing is free, recalls unused parts.
    fn serve(&mut self) -> Orders {
        let mut orders = Orders::new();
        while self.free > 0 {
            let asks = |part: &Part| part.wants.map(|(want, turn)| (std::cmp::Reverse(want), turn));
            let first =
                self.drawing.iter_mut().filter_map(|(worker, part)| Some((asks(part)?, worker, part)));
            let Some((_, worker, part)) = first.min_by_key(|(asks, ..)| *asks) else { break };
            // Half of an equal share: the grants shrink with the rest, so that no worker holds much near the end.
            let count = self.free.div_ceil(2 * self.workers).min(MOST);
            self.free -= count;
            part.granted = part.granted.saturating_add(count);
            part.wants = None;
            orders.push((*worker, Grant::More(count)));
        }
        if self.free == 0 {
            self.recall(&mut orders);
        }
        orders
    }

    fn recall(&mut self, orders: &mut Orders) {
        if self.drawing.values().all(|part| part.unused() == 0) {
            for (worker, part) in self.drawing.iter_mut().filter(|(_, part)| !part.knows) {
                part.knows = true;
                orders.push((*worker, Grant::UsedUp));
            }
        } else if self.drawing.values().any(|part| matches!(part.wants, Some((Want::Now, _)))) {
            for (worker, part) in &mut self.drawing {
                if part.unused() > 0 && !part.recalled {
                    part.recalled = true;
                    orders.push((*worker, Grant::Recall));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::task::{Allowance, Moment};

    /// A message of a worker: a claim, or the end of its draw.
    #[derive(Debug)]
    enum Said {
        Claim(Claim),
        Leaves,
    }

    /// A worker as the engine runs it: with a number of slots, and one fetch at a time.
    #[derive(Debug)]
    struct Worker {
        connection: u64,
        allowance: Allowance,
        fetched: u64,
        /// The deliveries that the fetch under way asks for.
        asks: Option<u64>,
        busy: u64,
        dry: bool,
        streaming: bool,
        /// Messages to the supervisor and from it that are not read yet.
        up: VecDeque<Said>,
        down: VecDeque<Grant>,
        /// Whether the process lives. Its messages are read to their end in any case.
        lives: bool,
        /// The index of its source.
        source: usize,
    }

    const SLOTS: u64 = 5;

    impl Worker {
        fn new(connection: u64, source: usize, streaming: bool) -> Self {
            let mut worker = Self {
                connection,
                allowance: Allowance::drawn(),
                fetched: 0,
                asks: None,
                busy: 0,
                dry: false,
                streaming,
                up: VecDeque::new(),
                down: VecDeque::new(),
                lives: true,
                source,
            };
            worker.speak();
            worker
        }

        fn is_over(&self) -> bool {
            let exhausted = self.dry || self.allowance.is_used_up(self.fetched);
            exhausted && self.busy == 0 && self.asks.is_none()
        }

        fn speak(&mut self) {
            let now = Moment {
                fetched: self.fetched,
                fetching: self.asks.is_some(),
                vacant: self.busy < SLOTS && !self.dry,
                open: !self.dry,
            };
            self.up.extend(self.allowance.say(now).map(Said::Claim));
        }

        /// A lane asks for its next action: it fetches if it may, before it sends anything.
        fn next(&mut self) {
            let room = (SLOTS - self.busy).min(self.allowance.left(self.fetched));
            if self.asks.is_none() && !self.dry && room > 0 {
                (self.asks, self.fetched) = (Some(room), self.fetched + room);
            }
            self.speak();
        }

        /// Ends the fetch with `came` deliveries. The worker may die right after its report.
        fn end_fetch(&mut self, came: u64, dry: bool, dies: bool) {
            let Some(asked) = self.asks.take() else { return };
            self.fetched -= asked - came;
            if came > 0 {
                let claim = self.allowance.take(self.fetched);
                self.up.push_back(Said::Claim(claim));
            }
            if dies {
                self.lives = false;
                return;
            }
            self.busy += came;
            self.dry |= dry;
            self.next();
        }
    }

    /// The supervisor, the workers and the sources.
    struct World {
        grants: Grants,
        limit: u64,
        workers: Vec<Worker>,
        gone: Vec<Worker>,
        sources: Vec<u64>,
        connections: u64,
        fetched: u64,
        /// Whether a connection broke whose last message was lost.
        lost: bool,
        streaming: bool,
    }

    impl World {
        fn new(limit: u64, workers: usize, sources: Vec<u64>, streaming: bool) -> Self {
            let mut world = Self {
                grants: Grants::new(limit, workers as u64),
                limit,
                workers: Vec::new(),
                gone: Vec::new(),
                connections: 0,
                fetched: 0,
                lost: false,
                streaming,
                sources,
            };
            (0..workers).for_each(|place| world.start(place));
            world
        }

        fn start(&mut self, place: usize) {
            self.connections += 1;
            let source = place % self.sources.len();
            self.workers.push(Worker::new(self.connections, source, self.streaming));
            let orders = self.grants.join(self.connections);
            self.send(orders);
        }

        fn send(&mut self, orders: Orders) {
            for (connection, grant) in orders {
                // A worker that has ended receives nothing.
                let to = self.workers.iter_mut().find(|worker| worker.connection == connection);
                if let Some(worker) = to {
                    worker.down.push_back(grant);
                }
            }
        }

        /// The supervisor reads one message of any worker, alive or dead. Returns whether there was one.
        fn hear(&mut self, at: usize) -> bool {
            let all = self.workers.iter_mut().chain(&mut self.gone);
            let mut talking: Vec<_> = all.filter(|worker| !worker.up.is_empty()).collect();
            if talking.is_empty() {
                return false;
            }
            let at = at % talking.len();
            let worker = &mut *talking[at];
            let (connection, said) = (worker.connection, worker.up.pop_front().unwrap());
            let orders = match said {
                Said::Claim(claim) => self.grants.apply(connection, claim),
                Said::Leaves => self.grants.leave(connection),
            };
            self.send(orders);
            true
        }

        fn fetch_ends(&mut self, at: usize, most: u64, dies: bool) {
            let worker = &mut self.workers[at];
            let Some(asked) = worker.asks else { return };
            let there = &mut self.sources[worker.source];
            if *there == 0 && worker.streaming {
                // It waits for data, unless its part is recalled.
                if worker.allowance.is_recalled() {
                    worker.end_fetch(0, false, false);
                }
                return;
            }
            let came = asked.min(*there).min(most.max(1));
            *there -= came;
            self.fetched += came;
            worker.end_fetch(came, came == 0, dies);
            if dies {
                self.bury(at, false);
            }
        }

        /// Removes a worker that has ended or died. If its last message is lost, its whole part may be taken.
        fn bury(&mut self, at: usize, unheard: bool) {
            let place = at;
            let mut worker = self.workers.remove(at);
            worker.lives = false;
            if unheard {
                self.lost = true;
                let orders = self.grants.lose(worker.connection);
                self.send(orders);
            } else {
                worker.up.push_back(Said::Leaves);
                self.gone.push(worker);
            }
            // Another worker replaces it, with its own connection.
            self.start(place);
            let last = self.workers.pop().unwrap();
            self.workers.insert(at, last);
        }

        fn check(&self) {
            assert!(self.fetched <= self.limit, "{} of {}", self.fetched, self.limit);
            let granted: u64 = self.grants.drawing.values().map(|part| part.granted).sum();
            assert!(self.grants.free + granted <= self.limit);
        }

        /// Runs everything except deaths until nothing changes any more.
        fn settle(&mut self) {
            for round in 0..20_000 {
                // Each worker in its turn, so that a busy worker does not hold up the others.
                let mut quiet = !self.hear(round);
                for at in 0..self.workers.len() {
                    let worker = &mut self.workers[at];
                    if let Some(grant) = worker.down.pop_front() {
                        worker.allowance.apply(grant);
                        worker.speak();
                        quiet = false;
                    }
                    if worker.busy > 0 {
                        worker.busy = 0;
                        quiet = false;
                    }
                    worker.next();
                    let before = (worker.asks, worker.fetched, worker.dry);
                    self.fetch_ends(at, u64::MAX, false);
                    let worker = &self.workers[at];
                    quiet &= before == (worker.asks, worker.fetched, worker.dry);
                    self.check();
                }
                if quiet || (self.streaming && self.sources.iter().all(|left| *left == 0)) {
                    return;
                }
            }
            panic!("it never comes to rest");
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Hear(usize),
        Reads(usize),
        Begins(usize),
        Ends(usize, u64),
        Finishes(usize),
        Dies(usize),
        DiesAfterItsReport(usize, u64),
        DiesUnheard(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let any = any::<usize>;
        prop_oneof![
            6 => any().prop_map(Step::Hear),
            6 => any().prop_map(Step::Reads),
            4 => any().prop_map(Step::Begins),
            4 => (any(), 0..8u64).prop_map(|(at, most)| Step::Ends(at, most)),
            4 => any().prop_map(Step::Finishes),
            1 => any().prop_map(Step::Dies),
            1 => (any(), 0..8u64).prop_map(|(at, most)| Step::DiesAfterItsReport(at, most)),
            1 => any().prop_map(Step::DiesUnheard),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
        #[test]
        fn the_sum_fetched_is_the_limit_if_the_source_has_as_many_and_never_more(
            limit in 0..120u64,
            workers in 1..6usize,
            sources in prop_oneof![
                // One queue for all workers, or a share for each; some of them empty.
                proptest::collection::vec(0..160u64, 1),
                proptest::collection::vec(prop_oneof![Just(0), 0..30u64, 0..120u64], 6),
            ],
            streaming in any::<bool>(),
            steps in proptest::collection::vec(step(), 0..300),
        ) {
            let sources: Vec<u64> = sources.into_iter().take(workers).collect();
            let reachable: u64 = sources.iter().sum();
            let mut world = World::new(limit, workers, sources, streaming);
            for step in steps {
                let count = world.workers.len();
                match step {
                    Step::Hear(at) => {
                        world.hear(at);
                    }
                    Step::Reads(at) => {
                        let worker = &mut world.workers[at % count];
                        if let Some(grant) = worker.down.pop_front() {
                            worker.allowance.apply(grant);
                            worker.speak();
                        }
                    }
                    Step::Begins(at) => world.workers[at % count].next(),
                    Step::Ends(at, most) => world.fetch_ends(at % count, most, false),
                    Step::Finishes(at) => {
                        let worker = &mut world.workers[at % count];
                        worker.busy = worker.busy.saturating_sub(1);
                        worker.next();
                    }
                    Step::Dies(at) => world.bury(at % count, false),
                    Step::DiesAfterItsReport(at, most) => world.fetch_ends(at % count, most, true),
                    Step::DiesUnheard(at) => world.bury(at % count, true),
                }
                world.check();
            }
            world.settle();
            let most = world.limit.min(reachable);
            prop_assert!(world.fetched <= most);
            // A worker whose last message was lost may have taken its whole part.
            prop_assert!(world.lost || world.fetched == most, "{} of {most}", world.fetched);
            if !streaming {
                prop_assert!(world.workers.iter().all(Worker::is_over), "{:?}", world.workers);
            }
            // A worker learns that the limit is used up only when it is.
            let used_up = world.workers.iter().any(|worker| worker.allowance.is_used_up(worker.fetched));
            prop_assert!(!used_up || world.lost || world.fetched == world.limit);
        }
    }

    #[test]
    fn grants_are_small_and_leave_something_for_the_others() {
        let mut grants = Grants::new(100, 4);
        let ask = Claim { wants: Some(Want::Ahead), ..Claim::default() };
        assert_eq!((grants.join(1), grants.join(2)), (vec![], vec![]));
        assert_eq!(grants.apply(1, ask), [(1, Grant::More(13))]);
        assert_eq!(grants.apply(2, ask), [(2, Grant::More(11))]);
    }

    #[test]
    fn a_limit_of_0_is_used_up_at_once() {
        assert_eq!(Grants::new(0, 4).join(1), [(1, Grant::UsedUp)]);
    }

    #[test]
    fn what_one_does_not_use_goes_to_one_that_has_nothing() {
        let mut grants = Grants::new(2, 1);
        let wants = |taken, want| Claim { taken, wants: Some(want), ..Claim::default() };
        drop(grants.join(1));
        drop(grants.join(2));
        assert_eq!(grants.apply(1, wants(0, Want::Now)), [(1, Grant::More(1))]);
        assert_eq!(grants.apply(1, wants(0, Want::Ahead)), [(1, Grant::More(1))]);
        // A request for a later time takes nothing away from another worker.
        assert_eq!(grants.apply(2, wants(0, Want::Ahead)), []);
        assert_eq!(grants.apply(2, wants(0, Want::Now)), [(1, Grant::Recall)]);
        let gives = Claim { taken: 1, returned: 1, recalled: true, wants: Some(Want::Now) };
        assert_eq!(grants.apply(1, gives), [(2, Grant::More(1)), (2, Grant::Recall)]);
        assert_eq!(grants.apply(2, Claim { taken: 0, ..gives }), [(1, Grant::More(1)), (1, Grant::Recall)]);
        let last = Claim { taken: 2, recalled: true, ..Claim::default() };
        assert_eq!(grants.apply(1, last), [(1, Grant::UsedUp), (2, Grant::UsedUp)]);
    }
}
