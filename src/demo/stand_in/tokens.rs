//! Bearer tokens that expire, and the file in which their users find the newest.
//!
//! Decides which tokens are accepted. Never shows one elsewhere. Contract: the newest stands in the
//! file, whole, before the one before it expires.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use engine::types::Failure;

use super::{OrchestratorSpec, failed, site};
use crate::config::value;
use crate::demo::world::locked;

pub struct Tokens {
    path: PathBuf,
    life: Duration,
    /// With the moment from which each is accepted; those that expired are forgotten.
    issued: Mutex<Vec<(String, Instant)>>,
}

impl Tokens {
    /// The first one stands in the file already.
    pub fn new(spec: &OrchestratorSpec) -> Result<Tokens, Failure> {
        let path = spec.token.clone();
        let first = fs::read_to_string(&path)
            .map_err(|why| failed(&format!("{}: {why}", path.display())))?;
        let life = value::duration(&spec.life).map_err(|why| failed(&format!("life {why}")))?;
        let issued = Mutex::new(vec![(first.trim().to_owned(), Instant::now())]);
        Ok(Tokens { path, life, issued })
    }

    pub fn accept(&self, token: &str) -> bool {
        let issued = locked(&self.issued);
        issued.iter().any(|(own, at)| own == token && at.elapsed() < self.life)
    }

    /// Writes a new one after two thirds of each one's life, for ever.
    pub async fn renew(&self) {
        loop {
            tokio::time::sleep(self.life * 2 / 3).await;
            // One that fails is tried again; until then the old one goes on, or its users are
            // denied and say so.
            let _ = self.issue();
        }
    }

    fn issue(&self) -> Result<(), Failure> {
        let token = crate::demo::token()?;
        {
            let mut issued = locked(&self.issued);
            issued.retain(|(_, at)| at.elapsed() < self.life);
            issued.push((token.clone(), Instant::now()));
        }
        let draft = self.path.with_extension("new");
        site::write(&draft, &token)?;
        fs::rename(&draft, &self.path)
            .map_err(|why| failed(&format!("{}: {why}", self.path.display())))
    }
}
