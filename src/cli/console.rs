//! The console's loop: events and wakes in, frames and submissions out.
//!
//! Decides when to draw: when something changed, and once a second for the clocks. Never decides
//! what a key means, that is `ui`'s. Contract: a hung engine blocks no key, because submissions
//! wait on a thread of their own; a hung console blocks no engine, because it only reads.
//!
//! Clones of [`Link`] share one connection, so that a thread may wait on it while another asks.

use std::env;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use chrono_tz::Tz;
use engine::command::{Command, Expected, Reply, Submission};
use engine::snapshot::Snapshot;
use engine::types::{Actor, FailureKind, Now, Untrusted};
use ratatui::crossterm::event::{self, KeyCode, KeyEventKind, KeyModifiers};

use crate::io::clock;
use crate::io::terminal::{self, Screen, Told};
use crate::link::{Link, Wake};
use crate::ui::keymap::Key;
use crate::ui::theme::{Depth, Symbols, Theme};
use crate::ui::{Action, Event, FaultItem, Ui, Unanswered, view};

pub struct Options {
    pub read_only: bool,
    /// The name of an embedded theme.
    pub theme: String,
    pub color: ColorChoice,
    pub ascii: bool,
    /// IANA name; without it the environment's own, from the first picture.
    pub timezone: Option<String>,
    /// Who acts; the engine checks it against the peer's credentials.
    pub actor: Actor,
    pub faults: Option<Box<dyn Faults>>,
}

/// Faults that the sandbox can switch.
pub trait Faults: Send {
    /// Key, label, and whether it is on.
    fn list(&self) -> Vec<(char, String, bool)>;
    fn toggle(&mut self, index: usize);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    Auto,
    #[value(name = "truecolor")]
    TrueColor,
    #[value(name = "256")]
    Indexed,
    #[value(name = "16")]
    Basic,
    Never,
}

impl ColorChoice {
    /// `NO_COLOR` wins over guessing, an explicit choice wins over both. sshd drops `COLORTERM`,
    /// so a terminal that does not say gets 256 colours.
    #[must_use]
    pub fn depth(self) -> Depth {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        match self {
            ColorChoice::TrueColor => Depth::True,
            ColorChoice::Indexed => Depth::Indexed,
            ColorChoice::Basic => Depth::Basic,
            ColorChoice::Never => Depth::Never,
            ColorChoice::Auto if is_set("NO_COLOR") => Depth::Never,
            ColorChoice::Auto => {
                let term = env::var("TERM").unwrap_or_default();
                let colorterm = env::var("COLORTERM").unwrap_or_default();
                match (term.as_str(), colorterm.as_str()) {
                    ("dumb", _) => Depth::Never,
                    (_, "truecolor" | "24bit") => Depth::True,
                    ("linux" | "vt100" | "xterm" | "ansi", _) => Depth::Basic,
                    (_, _) => Depth::Indexed,
                }
            }
        }
    }
}

/// How the console ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    Quit,
    /// By a signal, or a terminal that hung up.
    Signal(i32),
}

impl ExitKind {
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            ExitKind::Quit => 0,
            ExitKind::Signal(signal) => terminal::exit_code(signal),
        }
    }
}

enum Message {
    Input(event::Event, bool),
    InputEnded,
    Engine(Wake),
    Replied(String, Command, Result<Reply, Unanswered>),
    Told(Told),
}

/// Runs the console until the operator leaves.
pub fn run(link: Link, mut options: Options) -> Result<ExitKind, String> {
    let symbols = if options.ascii { Symbols::Ascii } else { Symbols::Unicode };
    let theme = Theme::named(&options.theme, options.color.depth(), symbols)?;
    let zone = options
        .timezone
        .as_deref()
        .map(|name| name.parse::<Tz>().map_err(|_| format!("there is no time zone \"{name}\"")));
    let ui = Ui::new(options.read_only, zone.transpose()?);
    let (sender, messages) = mpsc::channel();
    let text = |error: io::Error| format!("terminal: {error}");
    forward_wakes(link.clone(), sender.clone()).map_err(text)?;
    forward_told(&sender).map_err(text)?;
    let screen = Screen::enter().map_err(text)?;
    read_input(sender.clone()).map_err(text)?;
    let snapshot = link.snapshot();
    let console = Console {
        link,
        actor: options.actor.clone(),
        faults: options.faults.take(),
        read_only: options.read_only,
        ids: Ids::default(),
        ui,
        theme,
        screen,
        snapshot,
        sender,
    };
    console.run(&messages).map_err(text)
}

struct Console {
    link: Link,
    actor: Actor,
    faults: Option<Box<dyn Faults>>,
    read_only: bool,
    ids: Ids,
    ui: Ui,
    theme: Theme,
    screen: Screen,
    snapshot: Option<Snapshot>,
    sender: Sender<Message>,
}

impl Console {
    fn run(mut self, messages: &Receiver<Message>) -> io::Result<ExitKind> {
        self.list_faults();
        self.learn_zone();
        self.handle(Event::Resize)?;
        self.draw()?;
        loop {
            let first = messages.recv_timeout(self.ui.next_tick(clock::now()));
            let mut dirty = false;
            let mut next = match first {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => {
                    dirty |= self.handle(Event::Tick)? == After::Draw;
                    None
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(ExitKind::Quit),
            };
            // Everything that is ready is taken before one frame is drawn.
            while let Some(message) = next {
                match self.take(message)? {
                    After::End(kind) => return Ok(kind),
                    After::Draw => dirty = true,
                    After::Nothing => {}
                }
                next = messages.try_recv().ok();
            }
            if dirty {
                self.draw()?;
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let (snapshot, ui, theme) = (self.snapshot.as_ref(), &self.ui, &self.theme);
        let now = clock::now();
        self.screen.draw(|frame| view::draw(frame, snapshot, ui, theme, now))
    }

    fn take(&mut self, message: Message) -> io::Result<After> {
        match message {
            Message::Input(event, burst) => match translate(event, burst) {
                Some(event) => self.handle(event),
                None => Ok(After::Nothing),
            },
            Message::InputEnded => Ok(After::End(ExitKind::Quit)),
            Message::Engine(Wake::Changed) => {
                self.fetch();
                self.handle(Event::Changed)
            }
            Message::Engine(Wake::TimedOut) => Ok(After::Nothing),
            Message::Engine(Wake::Lost) => self.handle(Event::Lost),
            Message::Replied(id, command, answer) => {
                self.ids.answered(&id, &answer, clock::now());
                self.fetch();
                self.handle(Event::Replied(command, answer))
            }
            Message::Told(Told::Continued) => {
                self.screen.again()?;
                Ok(After::Draw)
            }
            Message::Told(Told::End(signal)) => Ok(After::End(ExitKind::Signal(signal))),
        }
    }

    /// The newest picture.
    fn fetch(&mut self) {
        if let Some(snapshot) = self.link.snapshot() {
            self.snapshot = Some(snapshot);
        }
        self.learn_zone();
    }

    fn learn_zone(&mut self) {
        if self.ui.zones.is_empty()
            && let Some(snapshot) = &self.snapshot
            && let Ok(zone) = snapshot.head.environment.timezone.parse::<Tz>()
        {
            self.ui.zones.push(zone);
        }
    }

    fn handle(&mut self, event: Event) -> io::Result<After> {
        let now = clock::now();
        let actions = self.ui.update(event, self.snapshot.as_ref(), now);
        let mut after = After::Nothing;
        for action in actions {
            match action {
                Action::Quit => return Ok(After::End(ExitKind::Quit)),
                Action::Redraw => after = After::Draw,
                Action::Suspend => {
                    self.screen.suspend()?;
                    after = After::Draw;
                }
                Action::Fault(index) => {
                    if let Some(faults) = &mut self.faults {
                        faults.toggle(index);
                    }
                    self.list_faults();
                    after = After::Draw;
                }
                Action::Submit { command, expected, seen } => {
                    self.submit(command, expected, seen, now);
                    after = After::Draw;
                }
            }
        }
        Ok(after)
    }

    fn list_faults(&mut self) {
        let list = self.faults.as_ref().map(|faults| faults.list()).unwrap_or_default();
        self.ui.faults =
            list.into_iter().map(|(key, label, on)| FaultItem { key, label, on }).collect();
    }

    /// Asks on a thread of its own, so that an engine that hangs blocks no key.
    fn submit(&mut self, command: Command, expected: Option<Expected>, seen: Untrusted, now: Now) {
        let id = self.ids.of(&command, expected, now);
        let actor = self.actor.clone();
        let read_only = self.read_only;
        let submission = Submission {
            id: id.clone(),
            command: command.clone(),
            expected,
            seen,
            actor,
            read_only,
        };
        let (mut link, sender) = (self.link.clone(), self.sender.clone());
        let (own, asked) = (id.clone(), command.clone());
        let started = thread::Builder::new().name("submit".to_owned()).spawn(move || {
            let answer = ask(&submission, Instant::now() + ASK_MAX, |submission| {
                let gone = !link.is_up();
                link.submit(submission).map_err(|failure| {
                    let text = failure.text.to_string();
                    if gone && failure.kind == FailureKind::Unreachable {
                        Unanswered::NotSent(text)
                    } else {
                        Unanswered::Unknown(text)
                    }
                })
            });
            // The console may have left meanwhile; the operation goes on without it.
            let _ = sender.send(Message::Replied(own, asked, answer));
        });
        if let Err(error) = started {
            let answer = Err(Unanswered::NotSent(error.to_string()));
            let _ = self.sender.send(Message::Replied(id, command, answer));
        }
    }
}

/// No new try after this; with the link's own patience an answer is shown within thirty seconds.
const ASK_MAX: Duration = Duration::from_secs(15);

/// Between two tries while the engine is being started again.
const ASK_PAUSE: Duration = Duration::from_millis(200);

/// Asks until there is an answer, always with the same id, so that it is done once. Toward
/// exposure nothing is sent to an engine that was gone when the operator asked: what stood on the
/// screen may not be so any more.
fn ask(
    submission: &Submission,
    deadline: Instant,
    mut submit: impl FnMut(&Submission) -> Result<Reply, Unanswered>,
) -> Result<Reply, Unanswered> {
    let waits = matches!(
        submission.command,
        Command::Rollback { .. }
            | Command::Abort { .. }
            | Command::Pause { .. }
            | Command::Freeze { .. }
            | Command::StopTheLine { .. }
    );
    let mut maybe_sent = false;
    loop {
        let answer = match submit(submission) {
            Err(Unanswered::NotSent(why)) if maybe_sent => Err(Unanswered::Unknown(why)),
            answer @ (Ok(_) | Err(_)) => answer,
        };
        let again = match &answer {
            Ok(_) => false,
            Err(Unanswered::Unknown(_)) => {
                maybe_sent = true;
                true
            }
            Err(Unanswered::NotSent(_)) => waits,
        };
        if !again || Instant::now() >= deadline {
            return answer;
        }
        thread::sleep(ASK_PAUSE);
    }
}

/// The ids of submissions. Asking the same again after no answer is the same intention.
#[derive(Default)]
struct Ids {
    asked: u64,
    open: Vec<Open>,
}

struct Open {
    id: String,
    command: Command,
    expected: Option<Expected>,
    /// When it was given up without an answer; `None` while it is asked.
    given_up: Option<Now>,
}

/// The same asked later than this is a new intention.
const SAME_MAX: Duration = Duration::from_mins(1);

/// More questions without an answer than this are forgotten, oldest first.
const OPEN_MAX: usize = 16;

impl Ids {
    fn of(&mut self, command: &Command, expected: Option<Expected>, now: Now) -> String {
        self.open.retain(|open| open.given_up.is_none_or(|at| at.age(now) < SAME_MAX));
        let known = self.open.iter_mut().find(|open| {
            open.given_up.is_some() && open.command == *command && open.expected == expected
        });
        if let Some(known) = known {
            known.given_up = None;
            return known.id.clone();
        }
        self.asked += 1;
        let id = format!("{}-{}-{}", std::process::id(), now.mono.0, self.asked);
        if self.open.len() == OPEN_MAX {
            self.open.remove(0);
        }
        let command = command.clone();
        self.open.push(Open { id: id.clone(), command, expected, given_up: None });
        id
    }

    fn answered(&mut self, id: &str, answer: &Result<Reply, Unanswered>, now: Now) {
        match answer {
            Ok(_) => self.open.retain(|open| open.id != id),
            Err(Unanswered::NotSent(_) | Unanswered::Unknown(_)) => {
                let open = self.open.iter_mut().find(|open| open.id == id);
                if let Some(open) = open {
                    open.given_up = Some(now);
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Nothing,
    Draw,
    End(ExitKind),
}

/// The longest wait for the engine; only bounds the call, a change wakes it at once.
const WAKE_PATIENCE: Duration = Duration::from_mins(1);

fn forward_wakes(mut link: Link, sender: Sender<Message>) -> io::Result<()> {
    thread::Builder::new()
        .name("wakes".to_owned())
        .spawn(move || while sender.send(Message::Engine(link.wait(WAKE_PATIENCE))).is_ok() {})?;
    Ok(())
}

fn forward_told(sender: &Sender<Message>) -> io::Result<()> {
    let (teller, told) = mpsc::channel();
    terminal::watch_hang_up(teller.clone())?;
    terminal::watch_signals(teller)?;
    let sender = sender.clone();
    thread::Builder::new().name("told".to_owned()).spawn(move || {
        for told in told {
            if sender.send(Message::Told(told)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Keys that are there together were typed by no person: they are marked.
fn read_input(sender: Sender<Message>) -> io::Result<()> {
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        let mut more = false;
        loop {
            let Ok(event) = event::read() else {
                let _ = sender.send(Message::InputEnded);
                return;
            };
            let before = more;
            more = event::poll(Duration::ZERO).unwrap_or(false);
            if sender.send(Message::Input(event, before || more)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

fn translate(event: event::Event, burst: bool) -> Option<Event> {
    match event {
        event::Event::Key(key) if key.kind != KeyEventKind::Release => {
            let key = key_of(key.code, key.modifiers)?;
            Some(if burst { Event::Burst(key) } else { Event::Key(key) })
        }
        event::Event::Paste(text) => Some(Event::Paste(text)),
        event::Event::Resize(..) => Some(Event::Resize),
        event::Event::Key(_)
        | event::Event::Mouse(_)
        | event::Event::FocusGained
        | event::Event::FocusLost => None,
    }
}

fn key_of(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
    Some(match code {
        KeyCode::Char(c) if modifiers.contains(KeyModifiers::CONTROL) => Key::Ctrl(c),
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use engine::types::{Fence, Percent, Time};

    use super::*;

    fn at(seconds: u64) -> Now {
        Now { mono: Time(seconds * 1_000_000), wall: DateTime::UNIX_EPOCH }
    }

    fn rollback() -> Command {
        Command::Rollback { service: "shop".to_owned(), reason: Untrusted::default() }
    }

    fn promote() -> Command {
        Command::Promote { service: "shop".to_owned(), reason: Untrusted::default() }
    }

    fn seen(fence: u64) -> Expected {
        Expected { set: Percent::new(50), fence: Fence(fence), release: None }
    }

    #[test]
    fn the_same_again_after_no_answer_has_the_same_id() {
        let unknown = Err(Unanswered::Unknown("no answer".to_owned()));
        let given_up = || {
            let mut ids = Ids::default();
            let id = ids.of(&rollback(), Some(seen(1)), at(0));
            ids.answered(&id, &unknown, at(5));
            (ids, id)
        };
        let (mut ids, id) = given_up();
        assert_eq!(ids.of(&rollback(), Some(seen(1)), at(20)), id, "the same");
        assert_ne!(ids.of(&rollback(), Some(seen(1)), at(21)), id, "twice at once are two");
        let (mut ids, id) = given_up();
        assert_ne!(ids.of(&promote(), Some(seen(1)), at(20)), id, "another command");
        assert_ne!(ids.of(&rollback(), Some(seen(2)), at(20)), id, "something moved meanwhile");
        let (mut ids, id) = given_up();
        assert_ne!(ids.of(&rollback(), Some(seen(1)), at(66)), id, "much later");
        let (mut ids, id) = given_up();
        let answer = Ok(Reply::Accepted { submission: id.clone(), fence: None });
        ids.answered(&id, &answer, at(6));
        assert_ne!(ids.of(&rollback(), Some(seen(1)), at(20)), id, "it was answered");
    }

    /// What is asked, and what comes of it, when the engine behaves like `answers`.
    fn check(command: Command, answers: &[Result<(), Unanswered>], asked: usize, text: &str) {
        let submission = Submission {
            id: "one".to_owned(),
            command,
            expected: None,
            seen: Untrusted::default(),
            actor: Actor::engine(),
            read_only: false,
        };
        let mut count = 0;
        let answer = ask(&submission, Instant::now() + Duration::from_mins(1), |again| {
            assert_eq!(again.id, "one");
            count += 1;
            let accepted = Reply::Accepted { submission: again.id.clone(), fence: None };
            answers[count - 1].clone().map(|()| accepted)
        });
        assert_eq!(count, asked);
        assert!(format!("{answer:?}").starts_with(text), "{answer:?}");
    }

    #[test]
    fn without_an_answer_it_is_asked_again_with_its_id() {
        let gone = || Err(Unanswered::NotSent("gone".to_owned()));
        let silent = || Err(Unanswered::Unknown("silent".to_owned()));
        check(promote(), &[Ok(())], 1, "Ok");
        check(promote(), &[silent(), silent(), Ok(())], 3, "Ok");
        check(promote(), &[gone()], 1, "Err(NotSent");
        check(promote(), &[silent(), gone(), Ok(())], 3, "Ok");
        check(rollback(), &[gone(), silent(), gone(), Ok(())], 4, "Ok");
    }
}
