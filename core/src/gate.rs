//! Who may hash now: so many at a time, the others in a line of bounded length, first come first served.
//!
//! Plain numbers, and good when zeroed, so that this can lie in memory that processes share; whoever calls holds a lock on
//! it. Nobody is handed a place: one takes it when it is its turn, so that the limit may change at any time.

/// How many may wait. Beyond that a wait would be longer than any client's patience.
pub const LONGEST_LINE: usize = 1_000;

#[repr(C)]
pub struct Gate {
    running: u32,
    most_running: u32,
    waiting: u32,
    /// Those who wait, the first first: `waiting` of them.
    line: [usize; LONGEST_LINE],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Has a place, which `leave` gives back.
    Inside,
    /// Is in the line, out of which `take_turn` or `give_up` gets it.
    Waiting,
    /// Neither.
    Refused,
}

impl Gate {
    /// A newcomer who is known by this number, which is nobody else's meanwhile. It never passes those who wait, not even
    /// while a place is free that the first of them has not taken yet.
    pub fn arrive(&mut self, who: usize, limit: u32, may_wait: bool) -> Arrival {
        if self.is_turn_of(self.waiting, limit) {
            self.take();
            return Arrival::Inside;
        }
        match self.line.get_mut(self.waiting as usize) {
            Some(end) if may_wait => {
                *end = who;
                self.waiting += 1;
                Arrival::Waiting
            }
            _ => Arrival::Refused,
        }
    }

    /// True for one who waits if it has a place now.
    pub fn take_turn(&mut self, who: usize, limit: u32) -> bool {
        let is_turn = self.place_in_line(who).is_some_and(|place| self.is_turn_of(place as u32, limit));
        if is_turn {
            self.give_up(who);
            self.take();
        }
        is_turn
    }

    /// Leaves the line.
    pub fn give_up(&mut self, who: usize) {
        if let Some(place) = self.place_in_line(who) {
            self.line.copy_within(place + 1..self.waiting as usize, place);
            self.waiting -= 1;
        }
    }

    /// Gives a place back.
    pub fn leave(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Those who wait and could take a place: whoever changes anything wakes them.
    pub fn next(&self, limit: u32) -> &[usize] {
        let free = limit.saturating_sub(self.running).min(self.waiting);
        &self.line[..free as usize]
    }

    pub fn running(&self) -> u32 {
        self.running
    }

    /// The most that have been running at once.
    pub fn most_running(&self) -> u32 {
        self.most_running
    }

    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Each of those before has a free place of its own.
    fn is_turn_of(&self, before: u32, limit: u32) -> bool {
        self.running.saturating_add(before) < limit
    }

    fn take(&mut self) {
        self.running += 1;
        self.most_running = self.most_running.max(self.running);
    }

    fn place_in_line(&self, who: usize) -> Option<usize> {
        self.line[..self.waiting as usize].iter().position(|waiting| *waiting == who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Gate {
        Gate { running: 0, most_running: 0, waiting: 0, line: [0; LONGEST_LINE] }
    }

    #[test]
    fn places_are_limited_and_taken_in_order() {
        let mut gate = empty();
        assert_eq!(gate.arrive(1, 2, true), Arrival::Inside);
        assert_eq!(gate.arrive(2, 2, true), Arrival::Inside);
        for who in [3, 4, 5] {
            assert_eq!(gate.arrive(who, 2, true), Arrival::Waiting);
        }
        assert_eq!((gate.running(), gate.waiting(), gate.next(2)), (2, 3, &[][..]));
        assert!(![1, 3, 4, 5, 6].into_iter().any(|who| gate.take_turn(who, 2)));
        gate.leave();
        assert_eq!(gate.next(2), [3]);
        assert_eq!(gate.arrive(6, 2, true), Arrival::Waiting, "a newcomer passes nobody");
        assert!(!gate.take_turn(4, 2), "the second does not pass the first");
        assert!(gate.take_turn(3, 2) && !gate.take_turn(3, 2));
        gate.leave();
        gate.leave();
        assert_eq!(gate.next(2), [4, 5]);
        assert!(gate.take_turn(5, 2), "there is a place for each of the first two");
        assert!(gate.take_turn(4, 2));
        assert_eq!((gate.running(), gate.waiting(), gate.most_running()), (2, 1, 2));
    }

    #[test]
    fn whoever_gives_up_leaves_no_gap() {
        let mut gate = empty();
        gate.arrive(1, 1, true);
        for who in [2, 3, 4] {
            gate.arrive(who, 1, true);
        }
        gate.give_up(3);
        gate.give_up(9);
        gate.leave();
        assert_eq!((gate.next(9), gate.waiting()), (&[2, 4][..], 2));
        gate.give_up(2);
        assert_eq!(gate.next(1), [4]);
        gate.give_up(4);
        assert_eq!((gate.next(1), gate.waiting(), gate.running()), (&[][..], 0, 0));
        gate.leave();
        assert_eq!(gate.running(), 0, "one place too many given back makes no room for one more");
    }

    #[test]
    fn the_line_is_bounded() {
        let mut gate = empty();
        assert_eq!(gate.arrive(1, 1, false), Arrival::Inside);
        assert_eq!(gate.arrive(2, 1, false), Arrival::Refused);
        for who in 0..LONGEST_LINE {
            assert_eq!(gate.arrive(10 + who, 1, true), Arrival::Waiting);
        }
        assert_eq!(gate.arrive(5, 1, true), Arrival::Refused);
        gate.give_up(10 + LONGEST_LINE - 1);
        assert_eq!(gate.arrive(5, 1, true), Arrival::Waiting);
        assert_eq!(gate.waiting() as usize, LONGEST_LINE);
        gate.leave();
        assert!((0..LONGEST_LINE - 1).all(|who| {
            let is_next = gate.next(1) == [10 + who] && gate.take_turn(10 + who, 1);
            gate.leave();
            is_next
        }));
    }

    #[test]
    fn the_limit_may_change() {
        let mut gate = empty();
        for who in 0..4 {
            assert_eq!(gate.arrive(who, 4, true), Arrival::Inside);
        }
        assert_eq!(gate.arrive(4, 2, true), Arrival::Waiting);
        gate.leave();
        gate.leave();
        assert!(gate.next(2).is_empty() && !gate.take_turn(4, 2));
        assert!(gate.take_turn(4, 3));
        assert_eq!(gate.most_running(), 4);
    }
}
