//! The console's loop: events and wakes in, frames and submissions out.
//!
//! Decides when to draw: when something changed, and once a second for the clocks. Never decides
//! what a key means, that is `ui`'s. Contract: a hung engine blocks no key, because submissions
//! wait on a thread of their own; a hung console blocks no engine, because it only reads.
//!
//! Clones of [`Link`] share one connection, so that a thread may wait on it while another asks.

mod ask;
mod call;
mod links;
mod look;
mod replay;
mod session;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use engine::command::{Command, Expected, Reply, Submission};
use engine::snapshot::{Phase, ServiceView, Snapshot};
use engine::types::{Actor, FailureKind, Now, Status, Untrusted};
use ratatui::crossterm::event::{self, KeyCode, KeyModifiers, MouseEventKind};
use ratatui::layout::{Position, Rect};
use rustix::io::Errno;
use signal_hook::consts::SIGHUP;

use crate::cli::console::ask::{ASK_MAX, Ids, ask};
use crate::cli::console::call::Calls;
use crate::cli::console::look::{Look, Names};
use crate::cli::console::replay::Replay;
use crate::cli::console::session::Session;
use crate::cli::taste::Own;
use crate::io::clock;
use crate::io::input::{self, Input};
use crate::io::recording::{Player, Recorder};
use crate::io::terminal::{self, Screen, Told, sequences};
use crate::link::Link;
use crate::ui::keymap::Key;
pub use crate::ui::runbook::Runbooks;
use crate::ui::theme::{Background, Symbols, Theme};
use crate::ui::{Action, Click, Event, FaultItem, Mode, Ui, Unanswered, view};
use crate::zone::Zone;

pub use crate::cli::console::look::{ColorChoice, cannot_draw, knows_modes, symbols};

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Options {
    pub read_only: bool,
    /// The name of a theme; `None` for the one of the person's file, or the terminal's background.
    pub theme: Option<String>,
    pub color: ColorChoice,
    pub symbols: Symbols,
    /// Never ask the terminal anything.
    pub no_probe: bool,
    /// Draw seldom: for a thin line.
    pub slow: bool,
    /// Instead of the person's own.
    pub timezone: Option<Zone>,
    pub own: Own,
    /// Who acts; the engine checks it against the peer's credentials.
    pub actor: Actor,
    pub faults: Option<Box<dyn Faults>>,
    pub runbooks: Runbooks,
    /// On a wall.
    pub kiosk: bool,
    pub no_blink: bool,
    /// Where what is shown is kept.
    pub record: Option<PathBuf>,
    /// Where what was chosen is remembered.
    pub state_dir: Option<PathBuf>,
}

/// Where the pictures come from.
pub enum Source {
    Engine(Link),
    Recording { player: Player, speed: f64 },
}

/// Faults that the sandbox can switch.
pub trait Faults: Send {
    /// Key, label, and whether it is on.
    fn list(&self) -> Vec<(char, String, bool)>;
    fn toggle(&mut self, index: usize);
}

/// How the console ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    Input(Input, bool),
    InputEnded,
    /// The engine has something new to show, or is gone.
    Engine,
    Replied(String, Command, Box<Result<Reply, Unanswered>>),
    Told(Told),
    ThemesChanged,
}

impl From<Told> for Message {
    fn from(told: Told) -> Message {
        Message::Told(told)
    }
}

/// What a terminal answers later than this is not waited for, and does not count.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// Who leaves while the terminal still answers waits this long for it: else the shell would get it.
const FENCE_MAX: Duration = Duration::from_millis(200);
/// The same after a signal: whoever sent it waits, and a terminal nearby has answered by then.
const FENCE_SIGNAL_MAX: Duration = Duration::from_millis(20);
/// On a thin line the picture changes this often; keys and alarms are drawn at once.
const SLOW: Duration = Duration::from_secs(5);

/// What was drawn this long ago shows the second that begins within the same time: news of the
/// engine come just before it.
const NEAR: Duration = Duration::from_millis(50);

/// A replay is drawn this often while it moves.
const REPLAY_TICK: Duration = Duration::from_millis(200);

/// Runs the console until the operator leaves.
pub fn run(source: Source, options: Options) -> Result<ExitKind, String> {
    let text = |error: io::Error| format!("terminal: {error}");
    let (link, replay) = match source {
        Source::Engine(link) => (Some(link), None),
        Source::Recording { player, speed } => (None, Some(Replay::new(player, speed))),
    };
    let recorder = options.record.as_deref().map(|path| {
        Recorder::create(path).map_err(|error| format!("--record {}: {error}", path.display()))
    });
    let recorder = recorder.transpose()?;
    let (ui, look, theme, session) = prepare(&options)?;
    let (sender, messages) = mpsc::channel();
    let woken = Arc::new(AtomicBool::new(false));
    if let Some(link) = &link {
        let (sender, woken) = (sender.clone(), Arc::clone(&woken));
        link.on_change(move || {
            // One at a time: the picture is fetched when it is taken. A console that left has no
            // use for it.
            if !woken.swap(true, Ordering::SeqCst) {
                let _ = sender.send(Message::Engine);
            }
        });
    }
    terminal::watch_hang_up(sender.clone()).map_err(text)?;
    terminal::watch_signals(sender.clone()).map_err(text)?;
    let screen = Screen::enter(look.is_sixteen()).map_err(|error| {
        format!("{}; `quarterdeck status` and `quarterdeck --plain` need none", text(error))
    })?;
    read_input(sender.clone()).map_err(text)?;
    look::watch(&options.own.themes, sender.clone(), || Message::ThemesChanged);
    let snapshot = link.as_ref().and_then(Link::snapshot);
    let console = Console {
        link,
        woken,
        replay,
        recorder,
        session,
        calls: Calls::new(options.own.bell, options.own.notice),
        actor: options.actor,
        faults: options.faults,
        read_only: options.read_only,
        ids: Ids::default(),
        ui,
        look,
        theme,
        screen,
        snapshot,
        sender,
        asked: None,
        drawn: Instant::now(),
        slow: options.slow,
        links: !options.slow && links::are_known(),
        probes: !options.no_probe,
    };
    match console.run(&messages) {
        // The terminal is gone; that it hung up is still on its way to the loop.
        Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
            Ok(ExitKind::Signal(SIGHUP))
        }
        ended => ended.map_err(text),
    }
}

/// The console as it was left, as it was asked for, and as its person's file has it; what is asked
/// for counts most.
fn prepare(options: &Options) -> Result<(Ui, Look, Theme, Option<PathBuf>), String> {
    let own = &options.own;
    let path = options.state_dir.as_deref().map(|dir| dir.join(session::NAME));
    let path = path.filter(|_| !options.kiosk);
    let (before, broken) = match path.as_deref().map(Session::read).transpose() {
        Ok(before) => (before.flatten(), None),
        Err(why) => (None, Some(why)),
    };
    let names = Names {
        given: options.theme.clone(),
        picked: before.as_ref().and_then(|before| before.theme.clone()),
        own: own.theme.clone(),
    };
    let mut look = Look::new(names, options.color, options.symbols, own.themes.clone());
    let (theme, complaint) = look.begin()?;
    let mut ui = Ui::new(options.read_only, options.timezone.clone());
    if ui.zones.is_empty() {
        ui.zones.clone_from(&own.timezones);
    }
    ui.keymap = own.keymap.clone();
    ui.mouse = own.mouse;
    ui.no_blink = options.no_blink;
    ui.runbooks = options.runbooks.clone();
    let now = clock::now();
    if let Some(before) = before {
        before.restore(&mut ui, now);
    }
    let wrong: Vec<String> =
        own.complaint.clone().into_iter().chain(broken).chain(complaint).collect();
    if !wrong.is_empty() {
        ui.alarm(&wrong.join("; "), now);
    }
    if options.kiosk {
        ui.kiosk = true;
        ui.mode = Mode::Room { since: now };
    }
    Ok((ui, look, theme, path))
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct Console {
    /// `None` for a recording.
    link: Option<Link>,
    /// The engine's news is among the messages already.
    woken: Arc<AtomicBool>,
    replay: Option<Replay>,
    recorder: Option<Recorder>,
    /// Where what was chosen is remembered.
    session: Option<PathBuf>,
    calls: Calls,
    actor: Actor,
    faults: Option<Box<dyn Faults>>,
    read_only: bool,
    ids: Ids,
    ui: Ui,
    look: Look,
    theme: Theme,
    screen: Screen,
    snapshot: Option<Snapshot>,
    sender: Sender<Message>,
    /// When the terminal was asked what it is, until everything was answered.
    asked: Option<Instant>,
    drawn: Instant,
    slow: bool,
    /// The terminal is told of links; not on a thin line, they are long.
    links: bool,
    probes: bool,
}

impl Console {
    fn run(mut self, messages: &Receiver<Message>) -> io::Result<ExitKind> {
        self.list_faults();
        self.learn_zone();
        self.handle(Event::Resize(self.screen.area().as_size()))?;
        self.screen.set_mouse(self.ui.mouse)?;
        self.draw()?;
        if self.probes
            && let Some(questions) = self.look.questions()
        {
            self.screen.send(&questions)?;
            self.asked = Some(Instant::now());
        }
        let kind = loop {
            let tick = self.next_tick();
            let moving = self.replay.as_ref().is_some_and(Replay::is_moving);
            let wait = if moving {
                tick.min(REPLAY_TICK)
            } else if self.slow && self.ui.is_calm() {
                tick.max(SLOW)
            } else {
                tick
            };
            let first = messages.recv_timeout(wait);
            let mut after = After::Nothing;
            let mut next = match first {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => {
                    after = self.handle(Event::Tick)?;
                    None
                }
                Err(RecvTimeoutError::Disconnected) => break ExitKind::Quit,
            };
            // Everything that is ready is taken before one frame is drawn.
            while let Some(message) = next {
                after = after.max(self.take(message)?);
                if let After::End(_) = after {
                    break;
                }
                next = messages.try_recv().ok();
            }
            if let Some(call) =
                self.snapshot.as_ref().and_then(|it| self.calls.of(it, clock::now()))
            {
                self.screen.send(&call)?;
            }
            match after {
                After::End(kind) => break kind,
                After::Draw => self.draw()?,
                After::DrawLater if !self.slow || self.drawn.elapsed() >= SLOW => self.draw()?,
                After::DrawLater | After::Nothing => {}
            }
        };
        self.await_fence(messages, kind);
        self.remember();
        Ok(kind)
    }

    fn next_tick(&self) -> Duration {
        let tick = self.ui.next_tick(clock::now());
        let drawn = tick < NEAR && self.drawn.elapsed() < NEAR && self.ui.is_calm();
        if drawn { tick + Duration::from_secs(1) } else { tick }
    }

    /// Keeps what was chosen for the next start; without a place for it nothing is lost but that.
    fn remember(&self) {
        if let Some(path) = &self.session {
            let _ = Session::of(&self.ui, self.look.picked()).write(path);
        }
    }

    /// Takes what the terminal still answers, so that the shell does not get it.
    fn await_fence(&mut self, messages: &Receiver<Message>, kind: ExitKind) {
        let most = match kind {
            ExitKind::Quit => FENCE_MAX,
            ExitKind::Signal(_) => FENCE_SIGNAL_MAX,
        };
        let leaves = Instant::now();
        let asked = |own: &Console| own.asked.filter(|at| at.elapsed() < FENCE_MAX);
        while let Some(left) = asked(self).and(most.checked_sub(leaves.elapsed())) {
            match messages.recv_timeout(left) {
                Ok(Message::Input(Input::Fence, _) | Message::Told(Told::End(_))) | Err(_) => {
                    return;
                }
                Ok(_) => {}
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let now = clock::now();
        self.drawn = Instant::now();
        if let Some(replay) = &mut self.replay
            && let Err(why) = replay.show(&mut self.ui)
        {
            self.ui.alarm(&why, now);
        }
        self.learn_zone();
        self.ui.silent = self.link.as_ref().and_then(Link::silence);
        let (snapshot, ui, theme) = (self.snapshot.as_ref(), &self.ui, &self.theme);
        // The view that was stopped shows what it had.
        let shown = ui.stopped.as_ref().map(|(_, picture)| &**picture).or(snapshot);
        let open = shown.map(|picture| picture.incidents.open.as_slice()).unwrap_or_default();
        let chosen = open.iter().find(|incident| Some(&incident.key) == ui.incident.as_ref());
        let chosen = chosen.filter(|_| self.links);
        self.screen.draw(|frame| {
            view::draw(frame, snapshot, ui, theme, now);
            if let Some(incident) = chosen {
                links::put(frame.buffer_mut(), incident);
            }
        })
    }

    fn take(&mut self, message: Message) -> io::Result<After> {
        match message {
            Message::Input(input, together) => self.input(input, together),
            // The terminal is gone; who of us notices it first does not matter.
            Message::InputEnded => Ok(After::End(ExitKind::Signal(SIGHUP))),
            Message::Engine => {
                self.woken.store(false, Ordering::SeqCst);
                if !self.link.as_ref().is_some_and(Link::is_up) {
                    return self.handle(Event::Lost);
                }
                let before = self.trouble();
                self.fetch();
                let after = self.handle(Event::Changed)?;
                let alarm = self.trouble() != before;
                Ok(if alarm { after } else { after.min(After::DrawLater) })
            }
            Message::ThemesChanged => {
                self.reload_theme();
                Ok(After::Draw)
            }
            Message::Replied(id, command, answer) => {
                self.ids.answered(&id, &answer, clock::now());
                self.fetch();
                self.handle(Event::Replied(command, *answer))
            }
            Message::Told(Told::Continued) => {
                self.link.as_ref().inspect(|link| link.listen_anew());
                self.screen.again()?;
                // Nobody tells of a size that changed while another had the terminal.
                self.handle(Event::Resize(self.screen.area().as_size()))
            }
            Message::Told(Told::Resized) => {
                self.handle(Event::Resize(self.screen.area().as_size()))
            }
            Message::Told(Told::End(signal)) => Ok(After::End(ExitKind::Signal(signal))),
        }
    }

    fn input(&mut self, input: Input, together: bool) -> io::Result<After> {
        match input {
            Input::Event(event) => match translate(event, together, self.screen.area()) {
                Some(event) => self.handle(event),
                None => Ok(After::Nothing),
            },
            Input::Background(rgb) => {
                let late = self.asked.is_none_or(|at| at.elapsed() > ANSWER_MAX);
                if late || !self.look.must_ask() {
                    return Ok(After::Nothing);
                }
                self.look.learn(Background::of_color(rgb));
                self.reload_theme();
                Ok(After::Draw)
            }
            Input::Fence => {
                self.asked = None;
                Ok(After::Nothing)
            }
            Input::Mode { number, known } => {
                if number == sequences::SYNCHRONIZED {
                    self.screen.set_synchronized(known);
                }
                Ok(After::Nothing)
            }
        }
    }

    /// The theme as its file is now; the last good one stays when it cannot be read.
    fn reload_theme(&mut self) {
        match self.look.theme() {
            Ok(theme) => self.theme = theme,
            Err(why) => self.ui.alarm(&why, clock::now()),
        }
    }

    /// What must be seen at once, however thin the line is: worst status, open incidents, and where
    /// the operations are.
    fn trouble(&self) -> Option<(Option<Status>, u32, Vec<Option<Phase>>)> {
        let live = self.snapshot.as_ref().filter(|_| self.slow)?;
        let now = clock::now();
        let worst = live.services.iter().map(|service| service.status_at(now)).max();
        let phase = |service: &ServiceView| service.operation.as_ref().map(|it| it.phase);
        Some((worst, live.incidents.total, live.services().map(phase).collect()))
    }

    /// The newest picture.
    fn fetch(&mut self) {
        if let Some(snapshot) = self.link.as_ref().and_then(Link::snapshot) {
            self.snapshot = Some(snapshot);
        }
        if let (Some(recorder), Some(snapshot)) = (&mut self.recorder, &self.snapshot)
            && let Err(error) = recorder.keep(clock::now(), snapshot)
        {
            self.recorder = None;
            self.ui.alarm(&format!("nothing is recorded any more: {error}"), clock::now());
        }
        self.learn_zone();
    }

    fn learn_zone(&mut self) {
        if self.ui.zones.is_empty()
            && let Some(snapshot) = self.ui.shown(self.snapshot.as_ref())
            && let Ok(zone) = snapshot.head.environment.timezone.parse::<Zone>()
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
                Action::Redraw => after = after.max(After::Draw),
                Action::Theme => {
                    self.look.next();
                    self.ui.say(&format!("theme {}", self.look.name()), now);
                    self.reload_theme();
                    after = After::Draw;
                }
                Action::Mouse(on) => self.screen.set_mouse(on)?,
                Action::Seek { .. } | Action::PauseReplay | Action::Speed { .. } => {
                    self.steer(&action);
                    after = After::Draw;
                }
                Action::Copy(text) => {
                    let tmux = std::env::var_os("TMUX").is_some();
                    match sequences::clipboard(&text, tmux) {
                        Some(bytes) => {
                            self.screen.send(&bytes)?;
                            self.ui.say("sent to the terminal's clipboard", now);
                        }
                        None => self.ui.say("too long for a terminal's clipboard", now),
                    }
                    after = After::Draw;
                }
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

    fn steer(&mut self, action: &Action) {
        let Some(replay) = &mut self.replay else {
            return self.ui.say("that is for a replay", clock::now());
        };
        match action {
            Action::Seek { back, span } => replay.seek(*back, *span),
            Action::PauseReplay => replay.pause(),
            Action::Speed { faster } => replay.change_speed(*faster),
            Action::Quit
            | Action::Redraw
            | Action::Suspend
            | Action::Fault(_)
            | Action::Theme
            | Action::Mouse(_)
            | Action::Copy(_)
            | Action::Submit { .. } => {}
        }
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
        let sender = self.sender.clone();
        let Some(mut link) = self.link.clone() else { return };
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
            let _ = sender.send(Message::Replied(own, asked, Box::new(answer)));
        });
        if let Err(error) = started {
            let answer = Err(Unanswered::NotSent(error.to_string()));
            let _ = self.sender.send(Message::Replied(id, command, Box::new(answer)));
        }
    }
}

/// What follows, the most urgent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum After {
    Nothing,
    /// Not more often than the line bears.
    DrawLater,
    Draw,
    End(ExitKind),
}

/// Keys that are there together were typed by no person: they are marked.
fn read_input(sender: Sender<Message>) -> io::Result<()> {
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        let mut reader = input::Reader::default();
        while let Ok(next) = reader.next(None) {
            for input in next.inputs {
                if sender.send(Message::Input(input, next.together)).is_err() {
                    return;
                }
            }
        }
        let _ = sender.send(Message::InputEnded);
    })?;
    Ok(())
}

fn translate(event: event::Event, burst: bool, area: Rect) -> Option<Event> {
    match event {
        event::Event::Key(key) => {
            let key = key_of(key.code, key.modifiers)?;
            Some(if burst { Event::Burst(key) } else { Event::Key(key) })
        }
        event::Event::Paste(text) => Some(Event::Paste(text)),
        event::Event::Mouse(mouse) => {
            let at = Position { x: mouse.column, y: mouse.row };
            let click = match mouse.kind {
                MouseEventKind::Down(_) => Click::Press,
                MouseEventKind::ScrollUp => Click::WheelUp,
                MouseEventKind::ScrollDown => Click::WheelDown,
                _ => return None,
            };
            Some(Event::Click { click, at, area })
        }
        event::Event::Resize(..) | event::Event::FocusGained | event::Event::FocusLost => None,
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
        KeyCode::Insert => Key::Insert,
        KeyCode::Delete => Key::Delete,
        KeyCode::F(number) => Key::F(number),
        _ => return None,
    })
}
