//! An orchestrator of schema migrations, as far as its clients see one.
//!
//! Decides by the migration's name how an execution goes: `stuck` never ends, `slow` is rolled back
//! by itself, anything else succeeds. Never touches a database. Contract: without the token nothing
//! but health and counters is told.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::slot::gauges;
use super::tokens::Tokens;
use super::world::World;
use crate::demo::serve::{self, Reply, error};
use crate::demo::service::exposition;
use crate::demo::world::locked;

/// How long an execution takes.
const WORK: Duration = Duration::from_millis(500);

/// Executions at once; one more is refused.
const RUNNING_MAX: usize = 10;

/// Executions kept; more are forgotten, oldest first.
const KEPT_MAX: usize = 1000;

pub struct Orchestrator {
    pub world: Arc<World>,
    tokens: Tokens,
    executions: Mutex<Vec<Execution>>,
}

struct Execution {
    migration: String,
    begun: Instant,
    /// Why a person took it back.
    taken_back: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Succeeded,
    RolledBack,
}

impl Execution {
    fn state(&self) -> State {
        if self.taken_back.is_some() {
            State::RolledBack
        } else if self.migration.contains("stuck") || self.begun.elapsed() < WORK {
            State::Running
        } else if self.migration.contains("slow") {
            State::RolledBack
        } else {
            State::Succeeded
        }
    }

    fn shown(&self) -> Value {
        let status = match self.state() {
            State::Running => "Running",
            State::Succeeded => "Succeeded",
            State::RolledBack => "RolledBack",
        };
        let reason = match (&self.taken_back, self.state()) {
            (Some(reason), _) => reason.as_str(),
            (None, State::RolledBack) => "performance degradation",
            (None, State::Running | State::Succeeded) => "",
        };
        json!({ "migration": self.migration, "status": status, "reason": reason })
    }
}

impl Orchestrator {
    pub fn new(world: Arc<World>, tokens: Tokens) -> Orchestrator {
        Orchestrator { world, tokens, executions: Mutex::default() }
    }

    fn count(&self, wanted: State) -> usize {
        locked(&self.executions).iter().filter(|one| one.state() == wanted).count()
    }

    fn page(&self) -> String {
        let all = locked(&self.executions).len();
        format!(
            "migrations_in_progress {}\nmigrations_executed_total {all}\n\
             migrations_succeeded_total {}\nmigrations_rolled_back_total {}\n{}",
            self.count(State::Running),
            self.count(State::Succeeded),
            self.count(State::RolledBack),
            gauges(&self.world)
        )
    }

    fn database(&self, name: &str) -> Reply {
        let figure = |what: &str| self.world.knob(&format!("{name}_{what}"));
        let body = json!({
            "status": "Healthy",
            "connections": figure("connections"),
            "replicationLag": figure("lag"),
            "cpuUsage": figure("cpu"),
        });
        serve::json(StatusCode::OK, &body)
    }

    fn execute(&self, migration: &str) -> Reply {
        if self.count(State::Running) >= RUNNING_MAX {
            return error(StatusCode::TOO_MANY_REQUESTS, "ten executions are running");
        }
        let mut all = locked(&self.executions);
        if all.len() >= KEPT_MAX {
            all.remove(0);
        }
        let begun = Instant::now();
        all.push(Execution { migration: migration.to_owned(), begun, taken_back: None });
        serve::json(StatusCode::CREATED, &all.last().map(Execution::shown).unwrap_or_default())
    }

    /// The latest execution of a migration: itself, its snapshots, or its way back.
    fn latest(&self, migration: &str, what: &str, body: &[u8]) -> Reply {
        #[derive(Deserialize)]
        struct Asked {
            reason: String,
        }
        let mut all = locked(&self.executions);
        let Some(own) = all.iter_mut().rev().find(|one| one.migration == migration) else {
            return error(StatusCode::NOT_FOUND, "no such execution");
        };
        match what {
            "" => {}
            "metrics" => {
                let now = self.world.knob("latency_ms");
                let before = self.world.knob("latency_before_ms");
                let body = json!({ "snapshots": [{ "latencyMs": before }, { "latencyMs": now }] });
                return serve::json(StatusCode::OK, &body);
            }
            _ => match serde_json::from_slice(body) {
                Ok(Asked { reason }) => own.taken_back = Some(reason),
                Err(why) => return error(StatusCode::BAD_REQUEST, &why.to_string()),
            },
        }
        serve::json(StatusCode::OK, &own.shown())
    }
}

pub async fn serve(own: Arc<Orchestrator>, listener: TcpListener) {
    let issuer = Arc::clone(&own);
    let handle = move |request: Request<Incoming>| {
        let own = Arc::clone(&own);
        async move { Ok(answer(&own, request).await) }
    };
    tokio::join!(serve::serve(listener, handle), issuer.tokens.renew());
}

async fn answer(own: &Orchestrator, request: Request<Incoming>) -> Reply {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    match path.as_str() {
        "/health" => return serve::json(StatusCode::OK, &json!({ "status": "Healthy" })),
        "/metrics" => return exposition(own.page()),
        _ => {}
    }
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if !given
        .and_then(|given| given.strip_prefix("Bearer "))
        .is_some_and(|it| own.tokens.accept(it))
    {
        return error(StatusCode::UNAUTHORIZED, "the bearer token is missing, wrong or expired");
    }
    let body = match serve::body(request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (method, parts.as_slice()) {
        (Method::GET, ["api", "v1", "databases", name, "health"]) => own.database(name),
        (Method::POST, ["api", "v1", "migrations", name, "executions"]) => own.execute(name),
        (Method::GET, ["api", "v1", "migrations", name, "executions", "latest"]) => {
            own.latest(name, "", &body)
        }
        (Method::GET, ["api", "v1", "migrations", name, "executions", "latest", "metrics"]) => {
            own.latest(name, "metrics", &body)
        }
        (Method::POST, ["api", "v1", "migrations", name, "executions", "latest", "rollback"]) => {
            own.latest(name, "rollback", &body)
        }
        _ => error(StatusCode::NOT_FOUND, "no such address"),
    }
}
