//! The life of one container id as a model, and the search for an order of overlapping calls that
//! explains all their answers.
//!
//! Each answer is a list of steps that happened, in that order, between the call's begin and its
//! end. All orders of the steps of calls that overlap are followed at once; where none is left,
//! the answer of the call that ends there was false.

use std::collections::BTreeSet;
use std::time::Duration;

/// Where an id is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Absent,
    Creating,
    Created,
    Running,
    Stopped,
    /// `delete` has begun: shown as stopped, or not at all.
    Removing,
}

/// A state of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    pub phase: Phase,
    pub frozen: bool,
    /// SIGKILL has been sent: it stops, at any time.
    pub dying: bool,
}

/// What a step can lead to; nothing, where it cannot be taken.
pub type Step = fn(At) -> Vec<At>;

/// A call and its answer.
#[derive(Debug, Clone)]
pub struct Row {
    pub begin: Duration,
    pub end: Duration,
    pub worker: usize,
    pub verb: &'static str,
    pub exit: String,
    pub words: String,
    /// What must have happened; `Err` says why nothing can explain the answer.
    pub steps: Result<Vec<Step>, String>,
}

use Phase::{Absent, Created, Creating, Removing, Running, Stopped};

impl At {
    const ABSENT: Self = Self { phase: Absent, frozen: false, dying: false };

    pub fn is_alive(self) -> bool {
        matches!(self.phase, Created | Running)
    }

    fn to(self, phase: Phase) -> Vec<Self> {
        vec![Self { phase, ..self }]
    }

    fn if_so(self, so: bool) -> Vec<Self> {
        if so { vec![self] } else { Vec::new() }
    }

    /// All states that a false answer may have come from.
    fn all() -> BTreeSet<Self> {
        let mut all = BTreeSet::new();
        for phase in [Absent, Creating, Created, Running, Stopped, Removing] {
            for (frozen, dying) in [(false, false), (false, true), (true, false), (true, true)] {
                all.insert(Self { phase, frozen, dying });
            }
        }
        all
    }
}

/// Steps that change something.
pub mod change {
    use super::{Absent, At, Created, Creating, Removing, Running, Stopped};

    pub fn claim(at: At) -> Vec<At> {
        if at.phase == Absent { vec![At { phase: Creating, ..At::ABSENT }] } else { Vec::new() }
    }

    pub fn made(at: At) -> Vec<At> {
        if at.phase == Creating { at.to(Created) } else { Vec::new() }
    }

    pub fn perhaps_made(at: At) -> Vec<At> {
        [made(at), vec![at]].concat()
    }

    /// A `create` that fails takes itself back, or somebody else has done so.
    pub fn undone(at: At) -> Vec<At> {
        match at.phase {
            Creating | Created | Stopped => vec![At::ABSENT, at],
            // Of `run`, whose init was killed.
            Running if at.dying => vec![At::ABSENT, at],
            _ => vec![at],
        }
    }

    pub fn started(at: At) -> Vec<At> {
        if at.phase == Created { at.to(Running) } else { Vec::new() }
    }

    /// `run` has no start socket: its container is shown as running once it is recorded.
    pub fn perhaps_started(at: At) -> Vec<At> {
        [started(at), vec![at]].concat()
    }

    pub fn killed(at: At) -> Vec<At> {
        match at.is_alive() || at.phase == Creating {
            // On v1, a frozen process must be thawed to die.
            true => vec![At { dying: true, ..at }, At { dying: true, frozen: false, ..at }],
            false => Vec::new(),
        }
    }

    /// By SIGTERM, which ends what waits to be started; a program that has begun meanwhile
    /// is the first of its pid namespace, and hears it not.
    pub fn terminated(at: At) -> Vec<At> {
        match at.phase {
            Created => vec![at, At { dying: true, ..at }],
            _ => at.if_so(at.is_alive() || at.phase == Creating),
        }
    }

    /// What `delete --force` does first.
    pub fn killed_if_alive(at: At) -> Vec<At> {
        if at.is_alive() { killed(at) } else { vec![at] }
    }

    /// What waits to be started is killed first.
    pub fn removing(at: At) -> Vec<At> {
        match at.phase {
            Stopped | Created => vec![At { phase: Removing, ..At::ABSENT }],
            _ => Vec::new(),
        }
    }

    /// What was meant is removed, or somebody else has removed it and this is another one.
    pub fn removing_by_force(at: At) -> Vec<At> {
        let removing = At { phase: Removing, ..At::ABSENT };
        match at.phase {
            Absent | Removing => vec![at],
            Stopped => vec![removing],
            Creating | Created | Running => vec![removing, at],
        }
    }

    pub fn gone(at: At) -> Vec<At> {
        if at.phase == Removing { vec![At::ABSENT] } else { Vec::new() }
    }

    pub fn gone_if_there(at: At) -> Vec<At> {
        if at.phase == Removing { vec![At::ABSENT] } else { vec![at] }
    }

    pub fn frozen(at: At) -> Vec<At> {
        if at.is_alive() { vec![At { frozen: true, ..at }] } else { Vec::new() }
    }

    pub fn thawed(at: At) -> Vec<At> {
        if at.frozen { vec![At { frozen: false, ..at }] } else { Vec::new() }
    }
}

/// Steps that only look.
pub mod look {
    use super::{Absent, At, Created, Creating, Removing, Running, Stopped};

    /// The record is written a moment after the id is taken.
    pub fn not_there(at: At) -> Vec<At> {
        at.if_so(matches!(at.phase, Absent | Removing | Creating))
    }

    pub fn there(at: At) -> Vec<At> {
        at.if_so(at.phase != Absent)
    }

    pub fn alive(at: At) -> Vec<At> {
        at.if_so(at.is_alive() || at.phase == Creating)
    }

    pub fn usable(at: At) -> Vec<At> {
        at.if_so(at.is_alive() && !at.frozen)
    }

    /// Created, or not there, or on its way out.
    pub fn not_running(at: At) -> Vec<At> {
        at.if_so(at.phase != Running || at.dying)
    }

    pub fn ended(at: At) -> Vec<At> {
        at.if_so(matches!(at.phase, Absent | Removing | Stopped) || at.dying)
    }

    pub fn frozen(at: At) -> Vec<At> {
        at.if_so(at.is_alive() && at.frozen)
    }

    pub fn creating(at: At) -> Vec<At> {
        at.if_so(at.phase == Creating)
    }

    pub fn created(at: At) -> Vec<At> {
        at.if_so(at.phase == Created)
    }

    pub fn running(at: At) -> Vec<At> {
        at.if_so(at.phase == Running && !at.frozen)
    }

    pub fn started(at: At) -> Vec<At> {
        at.if_so(at.phase == Running)
    }

    /// Of a `create` that was killed, the record stays until it is deleted.
    pub fn stopped(at: At) -> Vec<At> {
        at.if_so(matches!(at.phase, Stopped | Removing | Creating))
    }

    /// The step of a status that `state` shows.
    pub fn status(name: &str) -> Option<super::Step> {
        Some(match name {
            "creating" => creating,
            "created" => created,
            "running" => running,
            "paused" => frozen,
            "stopped" => stopped,
            _ => return None,
        })
    }
}

/// One of the orders that are still possible: the state, and how many steps each open call has taken.
type Order = (At, Vec<usize>);

/// An answer that no order explains.
#[derive(Debug)]
pub struct Violation {
    pub row: usize,
    pub why: String,
}

/// Checks all calls on one id; `rows` in any order.
pub fn check(rows: &[Row]) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let mut events: Vec<_> = rows.iter().enumerate().map(|(n, row)| (row.begin, 0, n)).collect();
    events.extend(rows.iter().enumerate().map(|(n, row)| (row.end, 1, n)));
    events.sort_unstable();
    let mut open: Vec<usize> = Vec::new();
    let mut orders = BTreeSet::from([(At::ABSENT, Vec::new())]);
    for (_, is_end, n) in events {
        let steps = match &rows[n].steps {
            Ok(steps) => steps,
            Err(why) if is_end == 1 => {
                wrong.push(Violation { row: n, why: why.clone() });
                continue;
            }
            Err(_) => continue,
        };
        if is_end == 0 {
            open.push(n);
            orders =
                orders.into_iter().map(|(at, taken)| (at, [taken, vec![0]].concat())).collect();
            follow(&mut orders, rows, &open);
            continue;
        }
        let place = open.iter().position(|o| *o == n).unwrap();
        let before: BTreeSet<_> = orders.iter().map(|(at, _)| *at).collect();
        orders.retain(|(_, taken)| taken[place] == steps.len());
        if orders.is_empty() {
            wrong.push(Violation {
                row: n,
                why: format!("no order explains it; it was {before:?}"),
            });
            orders = anything(rows, &open);
        }
        open.remove(place);
        orders = orders.into_iter().map(|(at, taken)| (at, without(taken, place))).collect();
    }
    wrong
}

/// Adds whatever the open calls, or an end that is due, can lead to.
fn follow(orders: &mut BTreeSet<Order>, rows: &[Row], open: &[usize]) {
    let mut todo: Vec<_> = orders.iter().cloned().collect();
    while let Some((at, taken)) = todo.pop() {
        let mut next = Vec::new();
        if at.dying && at.is_alive() {
            next.push((At { phase: Stopped, ..At::ABSENT }, taken.clone()));
        }
        for (place, n) in open.iter().enumerate() {
            let step = rows[*n].steps.as_ref().ok().and_then(|steps| steps.get(taken[place]));
            for after in step.map_or_else(Vec::new, |step| step(at)) {
                let mut taken = taken.clone();
                taken[place] += 1;
                next.push((after, taken));
            }
        }
        todo.extend(next.into_iter().filter(|order| orders.insert(order.clone())));
    }
}

/// After a false answer, all is possible again, so that one is not reported many times.
fn anything(rows: &[Row], open: &[usize]) -> BTreeSet<Order> {
    let mut orders: BTreeSet<Order> =
        At::all().into_iter().map(|at| (at, vec![0; open.len()])).collect();
    follow(&mut orders, rows, open);
    let done = |n: &usize| rows[*n].steps.as_ref().map_or(0, Vec::len);
    let all: Vec<_> = open.iter().map(done).collect();
    orders.extend(At::all().into_iter().map(|at| (at, all.clone())));
    orders
}

fn without(mut taken: Vec<usize>, place: usize) -> Vec<usize> {
    taken.remove(place);
    taken
}
