//! The steps of a signing thread, as seat.rs takes them: look at the phase, lock its place, look again, open what is not open,
//! sign, and ask for a repair where that failed.

use super::*;

impl World {
    #[expect(
        clippy::too_many_lines,
        reason = "one step each arm; splitting would hide the order"
    )]
    pub(super) fn seat_steps(
        &self,
        n: usize,
        protocol: Protocol,
        worlds: &mut Vec<Self>,
    ) -> Result<(), String> {
        let mut world = self.clone();
        let place = self.places[n];
        world.seats[n] = match self.seats[n] {
            Seat::Start { first } => match self.phase {
                Seen::Live(generation) => Seat::Saw { generation, first },
                // Looked at and waited for under one lock.
                Seen::Repairing => Seat::Waiting {
                    first,
                    woken: false,
                },
                Seen::Down => Seat::Refused,
            },
            Seat::Waiting { first, woken: true } => Seat::Start { first },
            Seat::Saw { generation, first } if place.locked_by.is_none() => {
                world.places[n].locked_by = Some(Who::Seat(n));
                Seat::Locked { generation, first }
            }
            Seat::Locked { generation, first } => {
                let good = match protocol.check {
                    Check::LiveUnderLock => {
                        let mut live = false;
                        world.phase(Told::Stuck, |phase, _| live = phase.is_live_in(generation));
                        live
                    }
                    Check::NewestGeneration => self.newest == generation,
                    Check::Never => true,
                };
                if good {
                    Seat::Checked { generation, first }
                } else {
                    world.close(n)?;
                    world.places[n].locked_by = None;
                    Self::again(first)
                }
            }
            Seat::Checked { generation, first } => {
                if place
                    .session
                    .is_none_or(|session| session.generation != generation)
                {
                    world.close(n)?;
                    world.call_module("C_OpenSession")?;
                    world.places[n].session = Some(Session {
                        generation,
                        instance: self.instance,
                    });
                }
                Seat::Signing { generation, first }
            }
            Seat::Signing { generation, first } => {
                self.call_module("C_Sign")?;
                let session = place
                    .session
                    .ok_or("the session of a signature was taken away")?;
                if session.instance != self.instance || session.generation != generation {
                    return Err("a session is used after its generation ended".to_owned());
                }
                if self.faults_left > 0 {
                    let mut failed = world.clone();
                    failed.faults_left -= 1;
                    failed.close(n)?;
                    failed.places[n].locked_by = None;
                    failed.seats[n] = Seat::Troubled { generation, first };
                    worlds.push(failed);
                }
                world.places[n].locked_by = None;
                Seat::Signed
            }
            Seat::Troubled { generation, first } => {
                world.phase(Told::Repair(generation), |phase, tell| {
                    phase.repair(generation, tell)
                });
                Self::again(first)
            }
            Seat::Waiting { woken: false, .. }
            | Seat::Saw { .. }
            | Seat::Signed
            | Seat::Refused => {
                return Ok(());
            }
        };
        worlds.push(world);
        Ok(())
    }
}
