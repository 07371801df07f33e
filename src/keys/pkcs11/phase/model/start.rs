//! The steps of starting over, as cure.rs and host.rs take them: interrupt, take the sessions away, restart the module, log
//! in, publish the next generation; or let what there is live again after a canary.

use super::*;

impl World {
    /// The supervisor when told to or down; the sibling once, whenever it likes.
    #[expect(
        clippy::too_many_lines,
        reason = "one step each arm; splitting would hide the order"
    )]
    pub(super) fn start_steps(
        &self,
        who: Who,
        protocol: Protocol,
        worlds: &mut Vec<Self>,
    ) -> Result<(), String> {
        let sibling = who == Who::Sibling;
        let at = if sibling {
            self.sibling
        } else {
            self.supervisor
        };
        let mut world = self.clone();
        let mut goes_to = |mut world: Self, start: Start| {
            if sibling {
                world.sibling = start;
            } else {
                world.supervisor = start;
            }
            worlds.push(world);
        };
        let inside = self.gate == Some(who);
        if who == Who::Supervisor && at == Start::Idle && self.looks {
            // A look, which may meet trouble before its event is read.
            let mut looking = world.clone();
            looking.looks = false;
            goes_to(looking, Start::Interrupt);
        }
        match at {
            Start::Idle if sibling => {
                if self.gate.is_none() {
                    world.gate = Some(who);
                    goes_to(world, Start::Interrupt);
                }
            }
            Start::Idle => match self.events.first() {
                Some(told) => {
                    world.events.remove(0);
                    match *told {
                        Told::Repair(generation) if generation != self.newest => {
                            if protocol.outdated == Outdated::Ignored {
                                goes_to(world, Start::Idle);
                            } else if self.phase == Seen::Live(self.newest) {
                                return Err("what was cured is taken down again".to_owned());
                            } else {
                                goes_to(world, Start::Interrupt);
                            }
                        }
                        Told::Repair(_) | Told::Restarted => goes_to(world, Start::Interrupt),
                        Told::Stuck if matches!(self.phase, Seen::Live(_)) => {
                            goes_to(world, Start::Idle)
                        }
                        Told::Stuck => {
                            world.phase(Told::Stuck, |phase, _| phase.enter(State::Down));
                            goes_to(world, Start::Idle);
                        }
                    }
                }
                None if self.phase == Seen::Down => {
                    goes_to(world.clone(), Start::Interrupt);
                    if self.gate.is_none() && self.anchor.is_some() {
                        world.gate = Some(who);
                        goes_to(world, Start::Canary);
                    }
                }
                None => {}
            },
            Start::Interrupt => {
                world.phase(Told::Stuck, |phase, _| phase.interrupt());
                goes_to(world, Start::Take(0));
            }
            Start::Take(n) if n < SEATS => {
                if self.places[n].locked_by.is_none() {
                    world.close(n)?;
                    goes_to(world, Start::Take(n + 1));
                } else {
                    // A thread inside for too long: nothing is finalised.
                    let mut world = self.clone();
                    if sibling {
                        world.gate = None;
                        world.events.push(Told::Restarted);
                        goes_to(world, Start::Done);
                    } else {
                        world.phase(Told::Stuck, |phase, _| phase.enter(State::Down));
                        goes_to(world, Start::Idle);
                    }
                }
            }
            Start::Take(_) => {
                world.anchor = None;
                goes_to(world, Start::Finalize);
            }
            Start::Finalize if inside || self.gate.is_none() => {
                world.gate = Some(who);
                world.finalized = true;
                goes_to(world, Start::Initialize);
            }
            Start::Initialize => {
                world.finalized = false;
                world.instance += 1;
                world.gate = None;
                if sibling {
                    world.events.push(Told::Restarted);
                    goes_to(world, Start::Done);
                } else {
                    goes_to(world, Start::Connect);
                }
            }
            Start::Connect if self.gate.is_none() => {
                self.call_module("C_Login")?;
                world.anchor = Some(self.instance);
                goes_to(world, Start::Publish);
            }
            Start::Publish if self.gate.is_none() => {
                if self.anchor.is_none() {
                    goes_to(world, Start::Interrupt);
                    return Ok(());
                }
                self.call_module("C_FindObjects")?;
                world.newest += 1;
                let generation = world.newest;
                world.phase(Told::Stuck, |phase, _| {
                    phase.enter(State::Live(live(generation)))
                });
                goes_to(world, Start::Idle);
            }
            Start::Canary => {
                self.call_module("the canary")?;
                if self.anchor != Some(self.instance) {
                    return Err("the anchor is used after the module was restarted".to_owned());
                }
                if protocol.revival == Revival::Later {
                    world.gate = None;
                }
                goes_to(world, Start::Revive);
            }
            Start::Revive => {
                if inside {
                    world.gate = None;
                }
                let generation = self.newest;
                world.phase(Told::Stuck, |phase, _| {
                    phase.revive(&live(generation));
                });
                goes_to(world, Start::Idle);
            }
            Start::Finalize | Start::Connect | Start::Publish | Start::Done => {}
        }
        Ok(())
    }
}
