//! A recording on the screen: where it is, how fast it goes.
//!
//! Decides which picture of it is shown now. Never asks an engine: there is none. Contract: the
//! console's own clock goes on, so that keys are keys; the picture has the recording's.

use std::time::{Duration, Instant};

use crate::io::recording::Player;
use crate::ui::Ui;
use crate::ui::past::Past;

/// Halved and doubled between these.
const SPEED_MIN: f64 = 0.25;
const SPEED_MAX: f64 = 256.0;

pub struct Replay {
    player: Player,
    position: Duration,
    speed: f64,
    paused: bool,
    last: Instant,
}

impl Replay {
    pub fn new(player: Player, speed: f64) -> Replay {
        let speed = speed.clamp(SPEED_MIN, SPEED_MAX);
        let (position, last) = (Duration::ZERO, Instant::now());
        Replay { player, position, speed, paused: false, last }
    }

    fn length(&self) -> Duration {
        self.player.first().age(self.player.last())
    }

    #[must_use]
    pub fn is_moving(&self) -> bool {
        !self.paused
    }

    pub fn pause(&mut self) {
        if self.paused && self.position >= self.length() {
            self.position = Duration::ZERO;
        }
        self.paused = !self.paused;
    }

    pub fn change_speed(&mut self, faster: bool) {
        let speed = if faster { self.speed * 2.0 } else { self.speed / 2.0 };
        self.speed = speed.clamp(SPEED_MIN, SPEED_MAX);
    }

    pub fn seek(&mut self, back: bool, span: Duration) {
        let to = if back {
            self.position.saturating_sub(span)
        } else {
            self.position.saturating_add(span)
        };
        self.position = to.min(self.length());
    }

    /// Moves on by what went by, and puts the picture on the screen.
    pub fn show(&mut self, ui: &mut Ui) -> Result<(), String> {
        let gone = self.last.elapsed();
        self.last = Instant::now();
        let length = self.length();
        if !self.paused {
            self.position = (self.position + gone.mul_f64(self.speed)).min(length);
            // At its end it stands.
            self.paused = self.position >= length;
        }
        let (_, picture) = self.player.at(self.position)?;
        let first = self.player.first();
        let at = engine::types::Now {
            mono: first.mono + self.position,
            wall: first.wall + chrono::TimeDelta::from_std(self.position).unwrap_or_default(),
        };
        let part = self.position.as_secs_f64() / length.as_secs_f64().max(f64::MIN_POSITIVE);
        let percent = (0..=100_u8).rev().find(|percent| f64::from(*percent) <= part * 100.0);
        ui.trends.note(&picture, at);
        ui.stopped = Some((at, Box::new(picture)));
        ui.past = Some(Past::Replay {
            speed: self.speed,
            paused: self.paused,
            percent: percent.unwrap_or_default(),
        });
        Ok(())
    }
}
