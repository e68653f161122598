//! The console's own state: what is selected, open, typed; never what is true.
//!
//! Decides what a key means here, and what is asked of the engine. Never reads a clock, a file or
//! a terminal, and never changes what the engine said: the picture is drawn from the snapshot
//! alone. Contract: `update` takes an event with its instant and returns what is to be done;
//! everything dangerous passes through `Ui::act`, for keys and palette alike.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::command::{Command, Expected, Reply};
use engine::reading::AlertState;
use engine::record::OperationResult;
use engine::snapshot::{Phase, Snapshot};
use engine::types::{Fence, Now, Time, Untrusted};
use ratatui::layout::{Position, Rect, Size};

pub mod filter;
pub mod gate;
pub mod guard;
pub mod keymap;
mod lists;
pub mod past;
pub mod room;
pub mod runbook;
mod selection;
pub mod since;
pub mod svg;
pub mod theme;
mod touch;
pub mod trend;
pub mod view;
pub mod words;

use crate::ui::guard::{DEAD_TIME, Guard, IDLE_MAX, Step, Target, Verb};
use crate::ui::keymap::{Act, Danger, Key, Keymap};
use crate::ui::past::{Kept, Past};
use crate::ui::runbook::{Reading, Runbooks};
use crate::ui::since::Since;
use crate::ui::trend::{Trends, Window};
use crate::zone::Zone;

/// Two keys closer than this are not a person.
const BURST: Duration = Duration::from_millis(10);
/// How long a message of the console stands in the footer.
const MESSAGE_TIME: Duration = Duration::from_secs(8);
/// The second Ctrl-C must follow within this.
const QUIT_TIME: Duration = Duration::from_secs(3);
/// An answer that the snapshot never showed is forgotten after this.
const ACKING_MAX: Duration = Duration::from_secs(30);
/// What was not done stands in the release panel that long.
const REFUSED_TIME: Duration = Duration::from_mins(1);
/// Rows that a page key moves.
const PAGE: usize = 10;

/// Everything that can happen to the screen.
#[derive(Clone, Debug)]
pub enum Event {
    Key(Key),
    /// A key that came together with others: typed by no person.
    Burst(Key),
    Paste(String),
    /// What the mouse did, where, on a screen of this size.
    Click {
        click: Click,
        at: Position,
        area: Rect,
    },
    /// The screen is of this size now.
    Resize(Size),
    Tick,
    /// The snapshot changed.
    Changed,
    /// The engine is gone; the last snapshot stays.
    Lost,
    /// The answer to a submission: which command it was, and what was said.
    Replied(Command, Result<Reply, Unanswered>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Click {
    Press,
    WheelUp,
    WheelDown,
}

/// Why there is no answer to a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nothing left this console.
    NotSent(String),
    /// It may or may not have been taken.
    Unknown(String),
}

/// Everything the screen can ask of its loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Quit,
    /// Draw again.
    Redraw,
    /// Give the terminal back to the shell until it continues us.
    Suspend,
    /// Switch a fault of the sandbox.
    Fault(usize),
    /// The next theme.
    Theme,
    /// Take clicks, or leave them to the terminal.
    Mouse(bool),
    /// Into the terminal's clipboard.
    Copy(String),
    /// Where a replay goes on.
    Seek {
        back: bool,
        span: Duration,
    },
    /// Let a replay stand, or go on.
    PauseReplay,
    /// A replay at twice its speed, or at half.
    Speed {
        faster: bool,
    },
    Submit {
        command: Command,
        expected: Option<Expected>,
        /// What stood on the screen.
        seen: Untrusted,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Panel {
    Services,
    Release,
    Incidents,
    Hosts,
    Journal,
    Sources,
}

impl Panel {
    pub const ALL: [Panel; 6] = [
        Panel::Services,
        Panel::Release,
        Panel::Incidents,
        Panel::Hosts,
        Panel::Journal,
        Panel::Sources,
    ];

    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Panel::Services => "services",
            Panel::Release => "release",
            Panel::Incidents => "incidents",
            Panel::Hosts => "hosts",
            Panel::Journal => "journal",
            Panel::Sources => "sources",
        }
    }
}

/// What stands over the panels and takes the keys; one at a time.
#[derive(Clone, Debug, Default)]
pub enum Mode {
    #[default]
    Panels,
    Filter,
    Palette {
        query: String,
        at: usize,
    },
    Help {
        scroll: usize,
    },
    /// A page over the panels.
    Page {
        page: Page,
        scroll: usize,
    },
    /// The wall: since when.
    Room {
        since: Now,
    },
    Faults,
    Guard(Box<Guard>),
    Runbook(Box<Reading>),
    Escalate {
        key: String,
        name: String,
        opened: Now,
        last_key: Time,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// What changed, on one axis of time.
    Changes,
    /// What the next one must know.
    Handover,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultItem {
    pub key: char,
    pub label: String,
    pub on: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Alarm,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub text: String,
    pub tone: Tone,
    pub at: Time,
}

/// A command on its way to the engine, for one service.
#[derive(Clone, Debug)]
pub struct Requested {
    pub verb: &'static str,
    pub at: Now,
    /// The operation's fence once accepted, or why it was refused.
    pub answer: Option<Result<Option<Fence>, String>>,
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Ui {
    pub focus: Panel,
    pub zoomed: bool,
    pub mode: Mode,
    pub filter: String,
    pub service: Option<String>,
    pub incident: Option<String>,
    /// First row shown, for the panels without a selection.
    pub scroll: BTreeMap<Panel, usize>,
    /// The view was stopped then, with this picture.
    pub stopped: Option<(Now, Box<Snapshot>)>,
    /// What of the past that picture is; `None` for the view that was stopped by hand.
    pub past: Option<Past>,
    pub kept: Kept,
    pub trends: Trends,
    /// What the graphs and pages look back on.
    pub window: Window,
    pub since: Since,
    /// On a wall: no key but the one that ends it.
    pub kiosk: bool,
    pub no_blink: bool,
    /// Moves with each picture that the engine sends, and with nothing else.
    pub news: u8,
    pub lost: Option<Now>,
    /// The engine is there, but has said nothing for so long.
    pub silent: Option<Duration>,
    pub read_only: bool,
    /// Zones that `t` cycles through, after UTC.
    pub zones: Vec<Zone>,
    pub zone: usize,
    pub keymap: Keymap,
    pub mouse: bool,
    pub faults: Vec<FaultItem>,
    pub runbooks: Runbooks,
    /// Of the screen; `None` until it is known.
    pub size: Option<Size>,
    pub message: Option<Message>,
    pub requested: BTreeMap<String, Requested>,
    pub acking: BTreeMap<String, Time>,
    /// Operations of this console whose end was not yet told, by service.
    awaited: BTreeMap<String, Fence>,
    quit_armed: Option<Time>,
    last_key: Option<Time>,
}

impl Ui {
    #[must_use]
    pub fn new(read_only: bool, zone: Option<Zone>) -> Ui {
        Ui {
            focus: Panel::Services,
            zoomed: false,
            mode: Mode::Panels,
            filter: String::new(),
            service: None,
            incident: None,
            scroll: BTreeMap::new(),
            stopped: None,
            past: None,
            kept: Kept::default(),
            trends: Trends::default(),
            window: Window::default(),
            since: Since::default(),
            kiosk: false,
            no_blink: false,
            news: 0,
            lost: None,
            silent: None,
            read_only,
            zones: zone.into_iter().collect(),
            zone: 0,
            keymap: Keymap::default(),
            mouse: false,
            faults: Vec::new(),
            runbooks: Runbooks::default(),
            size: None,
            message: None,
            requested: BTreeMap::new(),
            acking: BTreeMap::new(),
            awaited: BTreeMap::new(),
            quit_armed: None,
            last_key: None,
        }
    }

    /// The picture on screen: the live one, or the one at which the view was stopped.
    #[must_use]
    pub fn shown<'a>(&'a self, live: Option<&'a Snapshot>) -> Option<&'a Snapshot> {
        self.stopped.as_ref().map(|(_, picture)| picture.as_ref()).or(live)
    }

    /// The engine is gone or says nothing: what is shown is the last known state.
    #[must_use]
    pub fn is_unheard(&self) -> bool {
        self.lost.is_some() || self.silent.is_some()
    }

    /// The span after which the picture changes by itself: the next second, or a guard's deadline.
    #[must_use]
    pub fn next_tick(&self, now: Now) -> Duration {
        let second = Duration::from_micros(1_000_000 - now.mono.0 % 1_000_000);
        match &self.mode {
            Mode::Guard(guard) => second.min(guard.deadline(now).since(now.mono)),
            Mode::Escalate { opened, .. } if opened.age(now) < DEAD_TIME => {
                second.min(DEAD_TIME.saturating_sub(opened.age(now)))
            }
            Mode::Panels
            | Mode::Filter
            | Mode::Palette { .. }
            | Mode::Help { .. }
            | Mode::Page { .. }
            | Mode::Room { .. }
            | Mode::Runbook(_)
            | Mode::Faults
            | Mode::Escalate { .. } => second,
        }
    }

    /// True while nothing on the screen waits for the next second.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        matches!(self.mode, Mode::Panels | Mode::Help { .. }) && self.message.is_none()
    }

    /// Takes one event; says what is to be done.
    pub fn update(&mut self, event: Event, live: Option<&Snapshot>, now: Now) -> Vec<Action> {
        self.keep_selection(live, now);
        let actions = self.take(event, live, now);
        self.close_unseen(now);
        actions
    }

    fn take(&mut self, event: Event, live: Option<&Snapshot>, now: Now) -> Vec<Action> {
        match event {
            Event::Key(key) => {
                let close = self.last_key.is_some_and(|last| now.mono.since(last) < BURST);
                self.last_key = Some(now.mono);
                self.key(key, close, live, now)
            }
            Event::Burst(key) => {
                self.last_key = Some(now.mono);
                self.key(key, true, live, now)
            }
            Event::Paste(text) => {
                let actions = self.paste(&text, now);
                if matches!(self.mode, Mode::Filter) {
                    self.filtered(live, now);
                }
                actions
            }
            Event::Click { click, at, area } => self.click(click, at, area, live, now),
            Event::Resize(size) => {
                self.size = Some(size);
                vec![Action::Redraw]
            }
            Event::Tick => self.tick(live, now),
            Event::Changed => {
                self.lost = None;
                if let Some(live) = live {
                    self.news = self.news.wrapping_add(1);
                    self.kept.push(now, live);
                    self.trends.note(live, now);
                }
                self.tell_ended(live, now);
                self.forget_answered(live);
                self.tick(live, now)
            }
            Event::Lost => {
                self.lost.get_or_insert(now);
                vec![Action::Redraw]
            }
            Event::Replied(command, answer) => self.replied(&command, answer, live, now),
        }
    }

    /// Nothing stays open that would be answered unseen.
    fn close_unseen(&mut self, now: Now) {
        let unseen = self.size.and_then(|size| view::small::unseen(&self.mode, size));
        if let Some(what) = unseen {
            self.mode = Mode::Panels;
            self.alarm(&format!("too small for {what}: it takes 40x10; nothing was sent"), now);
        }
    }

    fn tick(&mut self, live: Option<&Snapshot>, now: Now) -> Vec<Action> {
        if self.message.as_ref().is_some_and(|m| now.mono.since(m.at) > MESSAGE_TIME) {
            self.message = None;
        }
        self.acking.retain(|_, at| now.mono.since(*at) < ACKING_MAX);
        self.requested.retain(|_, requested| {
            !matches!(requested.answer, Some(Err(_))) || requested.at.age(now) < REFUSED_TIME
        });
        let mut actions = vec![Action::Redraw];
        match &mut self.mode {
            Mode::Guard(guard) => {
                let step = guard.tick(live, now);
                actions.extend(self.after(step, live, now));
            }
            Mode::Escalate { last_key, .. } if now.mono.since(*last_key) >= IDLE_MAX => {
                self.mode = Mode::Panels;
                self.say("closed itself after 15 s without a key; nothing was sent", now);
            }
            Mode::Panels
            | Mode::Filter
            | Mode::Palette { .. }
            | Mode::Help { .. }
            | Mode::Page { .. }
            | Mode::Room { .. }
            | Mode::Runbook(_)
            | Mode::Faults
            | Mode::Escalate { .. } => {}
        }
        actions
    }

    fn key(&mut self, key: Key, burst: bool, live: Option<&Snapshot>, now: Now) -> Vec<Action> {
        if !matches!(key, Key::Ctrl('c')) {
            self.quit_armed = None;
        }
        match &mut self.mode {
            Mode::Panels => self.panel_key(key, burst, live, now),
            Mode::Filter => {
                let actions = self.filter_key(key);
                self.filtered(live, now);
                actions
            }
            Mode::Palette { .. } => self.palette_key(key, burst, live, now),
            Mode::Help { .. } => self.help_key(key),
            Mode::Page { .. } => match self.since_key(key, burst, now) {
                Some(actions) => actions,
                None => self.page_key(key, burst, live, now),
            },
            Mode::Room { .. } => self.room_key(key, burst, live, now),
            Mode::Runbook(_) => self.runbook_key(key, burst, now),
            Mode::Faults => self.fault_key(key, burst),
            Mode::Guard(guard) => {
                let step = guard.key(key, burst, live, now);
                let mut actions = vec![Action::Redraw];
                actions.extend(self.after(step, live, now));
                actions
            }
            Mode::Escalate { .. } => self.escalate_key(key, burst, now),
        }
    }

    fn panel_key(
        &mut self,
        key: Key,
        burst: bool,
        live: Option<&Snapshot>,
        now: Now,
    ) -> Vec<Action> {
        if burst && key.is_text() {
            self.say("keys came faster than a person types: ignored", now);
            return vec![Action::Redraw];
        }
        match self.keymap.find(key) {
            Some(binding) => self.act(binding.act, live, now),
            None => Vec::new(),
        }
    }

    /// The one dispatcher: keys and palette both end here.
    fn act(&mut self, act: Act, live: Option<&Snapshot>, now: Now) -> Vec<Action> {
        if self.read_only && keymap::binding(act).danger != Danger::None {
            self.alarm("READ-ONLY: this console may look, not act", now);
            return vec![Action::Redraw];
        }
        let changes = keymap::binding(act).danger != Danger::None || act == Act::Runbook;
        if self.past.is_some() && changes {
            let back = self.keymap.shown(Act::Back);
            self.alarm(&format!("this is the past: nothing can be changed; {back} is now"), now);
            return vec![Action::Redraw];
        }
        match act {
            Act::Rollback => self.arm(Verb::Rollback, live, now),
            Act::Abort => self.arm(Verb::Abort, live, now),
            Act::Promote => self.arm(Verb::Promote, live, now),
            Act::Shift => self.arm(Verb::Shift, live, now),
            Act::Deploy => self.arm(Verb::Deploy, live, now),
            Act::RunPlan => self.arm(Verb::Run, live, now),
            Act::Pause => self.arm(Verb::Pause, live, now),
            Act::Resume => self.arm(Verb::Resume, live, now),
            Act::Yes => self.arm(Verb::Yes, live, now),
            Act::No => self.arm(Verb::No, live, now),
            Act::StopTheLine => self.stop_the_line(live, now),
            Act::Freeze => self.arm(Verb::Freeze, live, now),
            Act::Thaw => self.arm(Verb::Thaw, live, now),
            Act::RuleOff => self.arm(Verb::RuleOff, live, now),
            Act::RuleOn => self.arm(Verb::RuleOn, live, now),
            Act::MarkBad => self.arm(Verb::MarkBad, live, now),
            Act::MarkGood => self.arm(Verb::MarkGood, live, now),
            Act::Verify => return self.ask_of_service(live, now, true),
            Act::Validate => return self.ask_of_service(live, now, false),
            Act::Acknowledge => return self.acknowledge(live, now),
            Act::Escalate => self.escalate(live, now),
            Act::Assign => self.say_of_incident(Verb::Assign, live, now),
            Act::Note => self.say_of_incident(Verb::Note, live, now),
            Act::Runbook => self.open_runbook(live, now),
            Act::Snooze => self.say_of_incident(Verb::Snooze, live, now),
            Act::Up => self.go(live, now, |at, _| at.saturating_sub(1)),
            Act::Down => self.go(live, now, |at, _| at + 1),
            Act::PageUp => self.go(live, now, |at, _| at.saturating_sub(PAGE)),
            Act::PageDown => self.go(live, now, |at, _| at + PAGE),
            Act::First => self.go(live, now, |_, _| 0),
            Act::Last => self.go(live, now, |_, count| count),
            Act::NextPanel => self.next_panel(1),
            Act::PreviousPanel => self.next_panel(Panel::ALL.len() - 1),
            Act::Zoom => self.zoomed = !self.zoomed,
            Act::Back => self.back(live, now),
            Act::Filter => self.mode = Mode::Filter,
            Act::Stop if matches!(self.past, Some(Past::Replay { .. })) => {
                return vec![Action::PauseReplay, Action::Redraw];
            }
            Act::Stop if self.past.is_some() => self.back_to_now(),
            Act::Earlier | Act::Later | Act::MuchEarlier | Act::MuchLater => {
                return self.travel(act, now);
            }
            Act::Slower | Act::Faster => return vec![Action::Speed { faster: act == Act::Faster }],
            Act::Changes => self.mode = Mode::Page { page: Page::Changes, scroll: 0 },
            Act::Handover => {
                self.since = Since::default();
                self.mode = Mode::Page { page: Page::Handover, scroll: 0 };
            }
            Act::Window => {
                self.since = Since::default();
                self.window = self.window.next();
                self.say(&format!("window {}", self.window.word()), now);
            }
            Act::Room => self.mode = Mode::Room { since: now },
            Act::Stop => self.stop(live, now),
            Act::Theme => return vec![Action::Theme],
            Act::Mouse => return self.switch_mouse(now),
            Act::Copy => return self.copy(live, now),
            Act::Timezone => self.zone = (self.zone + 1) % (self.zones.len() + 1),
            Act::Palette => self.mode = Mode::Palette { query: String::new(), at: 0 },
            Act::Help => self.mode = Mode::Help { scroll: 0 },
            Act::Faults if self.faults.is_empty() => self.say("faults are for the demo", now),
            Act::Faults => self.mode = Mode::Faults,
            Act::Suspend => return vec![Action::Suspend],
            Act::Interrupt => return self.interrupt(now),
            Act::Quit => return vec![Action::Quit],
        }
        vec![Action::Redraw]
    }

    fn stop(&mut self, live: Option<&Snapshot>, now: Now) {
        self.stopped = match self.stopped.take() {
            Some(_) => None,
            None => live.map(|live| (now, Box::new(live.clone()))),
        };
    }

    fn back(&mut self, live: Option<&Snapshot>, now: Now) {
        if self.past == Some(Past::Kept) {
            self.back_to_now();
        } else if self.zoomed {
            self.zoomed = false;
        } else if !self.filter.is_empty() {
            self.filter.clear();
            self.filtered(live, now);
        } else if self.past.is_none() {
            self.stopped = None;
        }
    }

    /// What shows is another list: it begins at its first row.
    fn filtered(&mut self, live: Option<&Snapshot>, now: Now) {
        self.scroll.clear();
        self.select_visible(live, now);
    }

    /// The first Ctrl-C cancels whatever is open, the second leaves.
    fn interrupt(&mut self, now: Now) -> Vec<Action> {
        if !self.kiosk {
            self.mode = Mode::Panels;
        }
        if self.quit_armed.is_some_and(|at| now.mono.since(at) < QUIT_TIME) {
            return vec![Action::Quit];
        }
        self.quit_armed = Some(now.mono);
        self.say("Ctrl-C again to quit", now);
        vec![Action::Redraw]
    }

    fn arm(&mut self, verb: Verb, live: Option<&Snapshot>, now: Now) {
        let (service, picture) = match (self.visible_service(live, now), live) {
            (Ok(service), Some(picture)) => (service, picture),
            (Err(why), _) => return self.say(&why, now),
            (Ok(_), None) => return,
        };
        if self.is_unheard() && verb.danger() == Danger::Exposure {
            return self.alarm("the engine is not heard: no more exposure on old data", now);
        }
        match Guard::open(verb, service, picture, now) {
            Ok(mut guard) => {
                guard.thaw = self.keymap.shown(Act::Thaw);
                self.mode = Mode::Guard(Box::new(guard));
            }
            Err(why) => self.say(&why, now),
        }
    }

    fn stop_the_line(&mut self, live: Option<&Snapshot>, now: Now) {
        match live {
            Some(picture) => {
                self.mode = Mode::Guard(Box::new(Guard::stop_the_line(picture, now)));
            }
            None => self.say("the engine has shown nothing yet", now),
        }
    }

    /// Acts on what a guard decided.
    fn after(&mut self, step: Step, live: Option<&Snapshot>, now: Now) -> Vec<Action> {
        let Mode::Guard(guard) = &self.mode else {
            return Vec::new();
        };
        match step {
            Step::Open => Vec::new(),
            Step::Closed(why) => {
                self.mode = Mode::Panels;
                self.say(why, now);
                Vec::new()
            }
            Step::Fire(command) => {
                let (expected, seen) = (guard.expected, Untrusted::new(&guard.seen));
                let (target, name) = (guard.target.clone(), guard.name.clone());
                self.mode = Mode::Panels;
                self.say("REQUESTED", now);
                match target {
                    Target::Service => {
                        let requested = Requested { verb: command.verb(), at: now, answer: None };
                        self.requested.insert(name.clone(), requested);
                        self.service = Some(name);
                        self.focus = Panel::Release;
                    }
                    Target::Incident(_) | Target::Everything => {}
                }
                self.keep_selection(live, now);
                vec![Action::Submit { command, expected, seen }]
            }
        }
    }

    /// What changes nothing: reading the routers again, or running the service's checks.
    fn ask_of_service(&mut self, live: Option<&Snapshot>, now: Now, read: bool) -> Vec<Action> {
        let service = match self.visible_service(live, now) {
            Ok(service) => service.name.clone(),
            Err(why) => {
                self.say(&why, now);
                return vec![Action::Redraw];
            }
        };
        let command = if read {
            self.say(&format!("reading every router of {service}"), now);
            Command::Verify { service }
        } else {
            self.say(&format!("running the checks of {service}"), now);
            Command::Validate { service, version: String::new() }
        };
        vec![Action::Redraw, Action::Submit { command, expected: None, seen: Untrusted::default() }]
    }

    /// One key: it is personal, and can be taken back. The row says so until the feed did.
    fn acknowledge(&mut self, live: Option<&Snapshot>, now: Now) -> Vec<Action> {
        let incident = match self.visible_incident(live) {
            Ok(incident) if incident.can_acknowledge => incident,
            Ok(_) => return self.only_say("its feed takes no acknowledgement", now),
            Err(why) => return self.only_say(why, now),
        };
        if self.size.is_some_and(view::small::is_small) {
            return self.only_say("too small for incidents: it takes 40x10", now);
        }
        if incident.state != AlertState::Triggered {
            return self.only_say("it is acknowledged already", now);
        }
        if self.acking.contains_key(&incident.key) {
            return self.only_say("it is being acknowledged", now);
        }
        let (key, seen) = (incident.key.clone(), incident.name.clone());
        self.say(&format!("REQUESTED: acknowledge {}", seen.display()), now);
        self.acking.insert(key.clone(), now.mono);
        let command = Command::Acknowledge { key, comment: Untrusted::default() };
        vec![Action::Redraw, Action::Submit { command, expected: None, seen }]
    }

    fn only_say(&mut self, text: &str, now: Now) -> Vec<Action> {
        self.say(text, now);
        vec![Action::Redraw]
    }

    /// What is personal and on record alone: it needs nothing of the feed.
    fn say_of_incident(&mut self, verb: Verb, live: Option<&Snapshot>, now: Now) {
        match self.visible_incident(live) {
            Ok(incident) => {
                self.mode = Mode::Guard(Box::new(Guard::of_incident(verb, incident, now)));
            }
            Err(why) => self.say(why, now),
        }
    }

    fn escalate(&mut self, live: Option<&Snapshot>, now: Now) {
        let incident = match self.visible_incident(live) {
            Ok(incident) => incident,
            Err(why) => return self.say(why, now),
        };
        if !incident.can_escalate {
            return self.say("its feed cannot escalate", now);
        }
        self.mode = Mode::Escalate {
            key: incident.key.clone(),
            name: incident.name.display().to_owned(),
            opened: now,
            last_key: now.mono,
        };
    }

    /// The key that confirms is not the key that opened.
    fn escalate_key(&mut self, key: Key, burst: bool, now: Now) -> Vec<Action> {
        let Mode::Escalate { key: incident, name, opened, last_key } = &mut self.mode else {
            return Vec::new();
        };
        if opened.age(now) < DEAD_TIME || (burst && key.is_text()) {
            return Vec::new();
        }
        *last_key = now.mono;
        match key {
            Key::Char('y') => {
                let command = Command::Escalate { key: incident.clone() };
                let seen = Untrusted::new(name);
                self.mode = Mode::Panels;
                self.say("REQUESTED: escalate", now);
                vec![Action::Redraw, Action::Submit { command, expected: None, seen }]
            }
            Key::Esc | Key::Ctrl('c') | Key::Char('n' | 'q') => {
                self.mode = Mode::Panels;
                self.say("cancelled; nothing was sent", now);
                vec![Action::Redraw]
            }
            Key::Char(_)
            | Key::Ctrl(_)
            | Key::Enter
            | Key::Tab
            | Key::BackTab
            | Key::Backspace
            | Key::Up
            | Key::Down
            | Key::Left
            | Key::Right
            | Key::PageUp
            | Key::PageDown
            | Key::Home
            | Key::End
            | Key::Insert
            | Key::Delete
            | Key::F(_) => Vec::new(),
        }
    }

    /// Pasted text goes into text fields that search, and nowhere else.
    fn paste(&mut self, text: &str, now: Now) -> Vec<Action> {
        let room = |field: &str| filter::FILTER_CHARS_MAX.saturating_sub(field.chars().count());
        let clean = text.chars().filter(|c| !c.is_control());
        match &mut self.mode {
            Mode::Filter => {
                let room = room(&self.filter);
                self.filter.extend(clean.take(room));
            }
            Mode::Palette { query, at } => {
                let room = room(query);
                query.extend(clean.take(room));
                *at = 0;
            }
            Mode::Guard(guard) => {
                if let Step::Closed(why) = guard.paste(now) {
                    self.mode = Mode::Panels;
                    self.say(why, now);
                }
            }
            Mode::Panels
            | Mode::Help { .. }
            | Mode::Page { .. }
            | Mode::Room { .. }
            | Mode::Runbook(_)
            | Mode::Faults
            | Mode::Escalate { .. } => {
                self.say("pasted text was ignored: it is not a key", now);
            }
        }
        vec![Action::Redraw]
    }

    fn replied(
        &mut self,
        command: &Command,
        answer: Result<Reply, Unanswered>,
        live: Option<&Snapshot>,
        now: Now,
    ) -> Vec<Action> {
        let verb = command.verb();
        let mut but = String::new();
        let outcome = match answer {
            Ok(Reply::Accepted { fence, note, .. }) => {
                if !note.is_empty() {
                    but = format!(", but {note}");
                }
                Ok(fence)
            }
            Ok(Reply::Refused { why, .. }) => Err(format!("REFUSED: {}", why.display())),
            Err(Unanswered::NotSent(why)) => Err(format!("NOT SENT: {why}")),
            Err(Unanswered::Unknown(why)) => {
                Err(format!("UNKNOWN: {} verifies ({why})", self.keymap.shown(Act::Verify)))
            }
        };
        match &outcome {
            Ok(_) if but.is_empty() => self.say(&format!("{verb}: ACCEPTED"), now),
            Ok(_) => self.alarm(&format!("{verb}: ACCEPTED{but}"), now),
            Err(why) => self.alarm(&format!("{verb} {why}"), now),
        }
        if let Command::Acknowledge { key, .. } = command
            && outcome.is_err()
        {
            self.acking.remove(key);
        }
        if let Some(service) = command.service() {
            match &outcome {
                Ok(Some(fence)) => _ = self.awaited.insert(service.to_owned(), *fence),
                // There is nothing to wait for: the panel shows it.
                Ok(None) => _ = self.requested.remove(service),
                Err(_) => {}
            }
            if let Some(requested) = self.requested.get_mut(service) {
                requested.answer = Some(outcome);
            }
        }
        // The end may be in the snapshot before the answer is here.
        self.tell_ended(live, now);
        vec![Action::Redraw]
    }

    /// Says how an operation of this console ended, once.
    fn tell_ended(&mut self, live: Option<&Snapshot>, now: Now) {
        let Some(live) = live else { return };
        for service in live.services.iter() {
            let Some(operation) = &service.operation else { continue };
            let own = self
                .awaited
                .get(&service.name)
                .is_some_and(|own| *own == operation.fence || operation.earlier.contains(own));
            let Phase::Ended(result) = operation.phase else { continue };
            if !own {
                continue;
            }
            self.awaited.remove(&service.name);
            let text = format!("{} {}: {}", operation.verb, service.name, result.word());
            match result {
                OperationResult::Verified | OperationResult::Superseded => self.say(&text, now),
                OperationResult::Partial | OperationResult::Unknown | OperationResult::Refused => {
                    self.alarm(&text, now);
                }
            }
        }
    }

    /// What the snapshot shows by itself needs no note of ours.
    fn forget_answered(&mut self, live: Option<&Snapshot>) {
        let Some(live) = live else { return };
        let open = &live.incidents.open;
        self.acking.retain(|key, _| {
            open.iter().any(|incident| {
                incident.key == *key
                    && incident.state == AlertState::Triggered
                    && incident.pending.is_empty()
            })
        });
        self.requested.retain(|name, requested| {
            let Some(Ok(Some(fence))) = &requested.answer else { return true };
            let service = live.services.iter().find(|service| service.name == *name);
            let operation = service.and_then(|service| service.operation.as_ref());
            operation.is_none_or(|operation| operation.fence < *fence)
        });
    }

    pub fn say(&mut self, text: &str, now: Now) {
        self.message = Some(Message { text: text.to_owned(), tone: Tone::Plain, at: now.mono });
    }

    pub fn alarm(&mut self, text: &str, now: Now) {
        self.message = Some(Message { text: text.to_owned(), tone: Tone::Alarm, at: now.mono });
    }

    fn next_panel(&mut self, by: usize) {
        let at = Panel::ALL.iter().position(|panel| *panel == self.focus).unwrap_or_default();
        self.focus = Panel::ALL[(at + by) % Panel::ALL.len()];
    }

    /// Moves the selection, or the first row shown, of the focused panel.
    fn go(&mut self, live: Option<&Snapshot>, now: Now, to: fn(usize, usize) -> usize) {
        let Some(picture) = self.shown(live) else { return };
        match self.focus {
            Panel::Services | Panel::Release => {
                let names: Vec<&String> =
                    self.services(picture, now).into_iter().map(|service| &service.name).collect();
                let at = names.iter().position(|name| Some(*name) == self.service.as_ref());
                self.service = step(&names, at, to).cloned();
            }
            Panel::Incidents => {
                let keys: Vec<&String> =
                    self.incidents(picture).into_iter().map(|incident| &incident.key).collect();
                let at = keys.iter().position(|key| Some(*key) == self.incident.as_ref());
                self.incident = step(&keys, at, to).cloned();
            }
            Panel::Hosts | Panel::Journal | Panel::Sources => {
                let count = match self.focus {
                    Panel::Hosts => self.hosts(picture).len(),
                    Panel::Journal => self.journal(picture).len(),
                    Panel::Sources => self.sources(picture, now).len(),
                    Panel::Services | Panel::Release | Panel::Incidents => 0,
                };
                let at = self.scroll.entry(self.focus).or_default();
                *at = to(*at, count).min(count.saturating_sub(1));
            }
        }
    }

    /// A selection always names something that exists, and stays on it however rows are sorted.
    fn keep_selection(&mut self, live: Option<&Snapshot>, now: Now) {
        let Some(picture) = self.shown(live) else { return };
        let exists = |name: &String| picture.services.iter().any(|service| service.name == *name);
        if !self.service.as_ref().is_some_and(exists) {
            let first = self.services(picture, now).first().map(|service| service.name.clone());
            self.service = first;
        }
        let Some(picture) = self.shown(live) else { return };
        let exists = |key: &String| picture.incidents.open.iter().any(|open| open.key == *key);
        if !self.incident.as_ref().is_some_and(exists) {
            let first = self.incidents(picture).first().map(|incident| incident.key.clone());
            self.incident = first;
        }
    }
}

fn step<'a>(
    all: &[&'a String],
    at: Option<usize>,
    to: fn(usize, usize) -> usize,
) -> Option<&'a String> {
    let last = all.len().checked_sub(1)?;
    let next = at.map_or(0, |at| to(at, all.len()));
    all.get(next.min(last)).copied()
}
