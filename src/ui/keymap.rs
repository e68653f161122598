//! The one table of keys: help, footer, palette and `docs/keys.md` are made from it.
//!
//! Decides which key means which act, where it works and how dangerous it is; a person's own keys
//! win over the table's. Never acts: `Ui` does, in one place for keys and palette alike. Contract:
//! no key means two things, and Ctrl-C and Esc always mean what they say.

mod own;

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

pub use own::Conflict;

/// A key as the console knows it, whatever the terminal library calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Ctrl(char),
    Enter,
    Esc,
    Tab,
    BackTab,
    Backspace,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Insert,
    Delete,
    /// F1 to F12.
    F(u8),
}

impl Key {
    /// Pasted text is made of these; arrows and the like never come out of a clipboard.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Key::Char(_) | Key::Enter | Key::Tab)
    }
}

impl FromStr for Key {
    type Err = String;

    /// As it is shown: `R`, `Space`, `Ctrl-D`, `PageUp`.
    fn from_str(text: &str) -> Result<Key, String> {
        let mut chars = text.chars();
        if let (Some(c), None) = (chars.next(), chars.next())
            && !c.is_control()
        {
            return Ok(Key::Char(c));
        }
        if let Some(letter) = text.strip_prefix("Ctrl-").filter(|letter| letter.len() == 1) {
            return control(letter.chars().next().unwrap_or_default());
        }
        let named = NAMED.iter().find(|key| key.to_string().eq_ignore_ascii_case(text));
        named.copied().ok_or_else(|| {
            format!(
                "there is no key \"{text}\": write a letter, Ctrl-X, F1, or Space, Tab, Delete …"
            )
        })
    }
}

/// A letter with Ctrl, where a terminal has a byte of its own for it.
fn control(letter: char) -> Result<Key, String> {
    let sent = match letter.to_ascii_lowercase() {
        'h' => Key::Backspace,
        'i' => Key::Tab,
        'm' => Key::Enter,
        letter @ 'a'..='z' => return Ok(Key::Ctrl(letter)),
        _ => return Err(format!("there is no key \"Ctrl-{letter}\": Ctrl goes with a letter")),
    };
    let letter = letter.to_ascii_uppercase();
    Err(format!("a terminal sends {sent} for Ctrl-{letter}: choose another key"))
}

/// The keys that have a name.
const NAMED: [Key; 28] = [
    Key::Char(' '),
    Key::Enter,
    Key::Esc,
    Key::Tab,
    Key::BackTab,
    Key::Backspace,
    Key::Up,
    Key::Down,
    Key::Left,
    Key::Right,
    Key::PageUp,
    Key::PageDown,
    Key::Home,
    Key::End,
    Key::Insert,
    Key::Delete,
    Key::F(1),
    Key::F(2),
    Key::F(3),
    Key::F(4),
    Key::F(5),
    Key::F(6),
    Key::F(7),
    Key::F(8),
    Key::F(9),
    Key::F(10),
    Key::F(11),
    Key::F(12),
];

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Char(' ') => f.write_str("Space"),
            Key::Char(c) => write!(f, "{c}"),
            Key::Ctrl(c) => write!(f, "Ctrl-{}", c.to_ascii_uppercase()),
            Key::Enter => f.write_str("Enter"),
            Key::Esc => f.write_str("Esc"),
            Key::Tab => f.write_str("Tab"),
            Key::BackTab => f.write_str("Shift-Tab"),
            Key::Backspace => f.write_str("Backspace"),
            Key::Up => f.write_str("Up"),
            Key::Down => f.write_str("Down"),
            Key::Left => f.write_str("Left"),
            Key::Right => f.write_str("Right"),
            Key::PageUp => f.write_str("PageUp"),
            Key::PageDown => f.write_str("PageDown"),
            Key::Home => f.write_str("Home"),
            Key::End => f.write_str("End"),
            Key::Insert => f.write_str("Insert"),
            Key::Delete => f.write_str("Delete"),
            Key::F(number) => write!(f, "F{number}"),
        }
    }
}

/// What a key can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Rollback,
    Abort,
    Promote,
    Shift,
    Deploy,
    RunPlan,
    Pause,
    Resume,
    Yes,
    No,
    StopTheLine,
    Freeze,
    Thaw,
    RuleOff,
    RuleOn,
    MarkBad,
    MarkGood,
    Verify,
    Validate,
    Acknowledge,
    Escalate,
    Assign,
    Note,
    Snooze,
    Runbook,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    NextPanel,
    PreviousPanel,
    Zoom,
    Back,
    Filter,
    Stop,
    Earlier,
    Later,
    MuchEarlier,
    MuchLater,
    Slower,
    Faster,
    Changes,
    Handover,
    Window,
    Room,
    Timezone,
    Theme,
    Mouse,
    Copy,
    Palette,
    Help,
    Faults,
    Suspend,
    Interrupt,
    Quit,
}

/// Where an act makes sense; the footer shows only what works here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    Everywhere,
    /// A service with a route is selected.
    Service,
    /// A release of the selected service is in flight.
    Release,
    /// That release asks something.
    Question,
    /// The selected service has rules that roll back.
    Rule,
    /// The incidents have the focus, and one is selected.
    Incident,
    /// Faults can be injected.
    Demo,
    /// A recording is played.
    Replay,
}

impl Where {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Where::Everywhere => "everywhere",
            Where::Service => "selected service",
            Where::Release => "release in flight",
            Where::Question => "release that asks",
            Where::Rule => "service with rules",
            Where::Incident => "incidents panel",
            Where::Demo => "demo",
            Where::Replay => "replay",
        }
    }
}

/// How an act is guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Danger {
    /// Changes nothing but this screen.
    None,
    /// Reaches the engine and can be taken back, or only looks: one key.
    Light,
    /// One more key confirms.
    Confirmed,
    /// Toward safety: type the alias.
    Safety,
    /// Toward exposure, or away from a protection: type the alias and more, then a countdown.
    Exposure,
}

impl Danger {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Danger::None => "",
            Danger::Light => "one key",
            Danger::Confirmed => "asks first",
            Danger::Safety => "guarded: alias",
            Danger::Exposure => "guarded: alias, countdown",
        }
    }
}

pub struct Binding {
    pub act: Act,
    /// The first one is the one that is shown.
    pub keys: &'static [Key],
    pub place: Where,
    pub danger: Danger,
    /// The word in the palette and the footer.
    pub name: &'static str,
    pub help: &'static str,
}

macro_rules! table {
    ($($act:ident $keys:expr, $place:ident, $danger:ident, $name:literal, $help:literal;)*) => {
        &[$(Binding {
            act: Act::$act,
            keys: &$keys,
            place: Where::$place,
            danger: Danger::$danger,
            name: $name,
            help: $help,
        }),*]
    };
}

pub const BINDINGS: &[Binding] = table![
    Rollback [Key::Char('R')], Service, Safety, "rollback",
        "Emergency rollback: all traffic to stable, at once";
    Abort [Key::Char('A')], Service, Safety, "abort",
        "End the release in flight: all traffic to stable";
    Promote [Key::Char('P')], Service, Exposure, "promote",
        "All traffic to the canary; of a release: finish now";
    Shift [Key::Char('S')], Service, Exposure, "shift", "Give the canary a percent of the traffic";
    Deploy [Key::Char('D')], Service, Exposure, "deploy", "Release a version by its deploy plan";
    RunPlan [Key::Char('E')], Service, Exposure, "run plan",
        "Execute a plan of the service by its name";
    Pause [Key::Char('p')], Release, Confirmed, "pause",
        "The release goes no further; it is still watched";
    Resume [Key::Char('u')], Release, Exposure, "resume", "The release goes on (unpause)";
    Yes [Key::Char('y')], Question, Exposure, "yes", "Answer yes to what the release asks";
    No [Key::Char('n')], Question, Confirmed, "no", "Answer no to what the release asks";
    StopTheLine [Key::Char('X')], Everywhere, Confirmed, "stop the line",
        "Pause every release and freeze everything for an hour";
    Freeze [Key::Char('f')], Service, Confirmed, "freeze", "No release of the service for a while";
    Thaw [Key::Char('T')], Service, Exposure, "thaw", "Take back a freeze, or start the line";
    RuleOff [Key::Char('o')], Rule, Exposure, "rule off",
        "A rule rolls nothing back by itself for a while";
    RuleOn [Key::Char('O')], Rule, Confirmed, "rule on", "Arm a rule again";
    MarkBad [Key::Char('b')], Service, Confirmed, "mark bad",
        "A version is bad: it is not deployed again";
    MarkGood [Key::Char('B')], Service, Exposure, "mark good", "A version is good after all";
    Verify [Key::Char('v')], Service, Light, "verify", "Read the routers of the service again";
    Validate [Key::Char('V')], Service, Light, "validate", "Run the checks of the service";
    Acknowledge [Key::Char('a')], Incident, Light, "acknowledge",
        "Say that you have the incident";
    Escalate [Key::Char('e')], Incident, Confirmed, "escalate",
        "Hand the incident to the next level";
    Assign [Key::Char('i')], Incident, Confirmed, "assign", "Say who has the incident";
    Note [Key::Char('N')], Incident, Confirmed, "note", "Write something down about the incident";
    Runbook [Key::Char('r')], Everywhere, None, "open runbook",
        "Read the runbook of the incident or service, and run its commands";
    Snooze [Key::Char('Z')], Incident, Confirmed, "snooze",
        "Put the incident aside for a while; it is not escalated";
    Down [Key::Char('j'), Key::Down], Everywhere, None, "down", "Next row";
    Up [Key::Char('k'), Key::Up], Everywhere, None, "up", "Previous row";
    PageDown [Key::PageDown, Key::Ctrl('d')], Everywhere, None, "page down", "Ten rows down";
    PageUp [Key::PageUp, Key::Ctrl('u')], Everywhere, None, "page up", "Ten rows up";
    First [Key::Char('g'), Key::Home], Everywhere, None, "first", "First row";
    Last [Key::Char('G'), Key::End], Everywhere, None, "last", "Last row";
    NextPanel [Key::Tab, Key::Char('l'), Key::Right], Everywhere, None, "next panel", "Next panel";
    PreviousPanel [Key::BackTab, Key::Char('h'), Key::Left], Everywhere, None, "previous panel",
        "Previous panel";
    Zoom [Key::Char('z'), Key::Enter], Everywhere, None, "zoom", "This panel on the whole screen";
    Back [Key::Esc], Everywhere, None, "back", "Close, clear the filter, or leave the zoom";
    Filter [Key::Char('/')], Everywhere, None, "filter",
        "Show matching rows: words, !word, field:value";
    Stop [Key::Char(' ')], Everywhere, None, "stop view", "Stop the view; nothing else stops";
    Earlier [Key::Char('[')], Everywhere, None, "earlier",
        "Back in time by 10 s: the past, as kept";
    Later [Key::Char(']')], Everywhere, None, "later", "Forward by 10 s, to now at last";
    MuchEarlier [Key::Char('{')], Everywhere, None, "much earlier", "Back in time by a minute";
    MuchLater [Key::Char('}')], Everywhere, None, "much later", "Forward by a minute";
    Slower [Key::Char('<')], Replay, None, "slower", "A replay at half its speed";
    Faster [Key::Char('>')], Replay, None, "faster", "A replay at twice its speed";
    Changes [Key::Char('L')], Everywhere, None, "changes",
        "What changed, on one axis with the latency of the selected service";
    Handover [Key::Char('H')], Everywhere, None, "handover",
        "What happened, what is open, and what is about to expire";
    Window [Key::Char('W')], Everywhere, None, "window", "Next window: 5 m, 1 h, 6 h, 24 h";
    Room [Key::Char('w')], Everywhere, None, "war room",
        "Large type for a wall, worst service first";
    Timezone [Key::Char('t')], Everywhere, None, "time zone", "Next time zone for the panels";
    Theme [Key::Char('C')], Everywhere, None, "theme", "Next theme: other colours";
    Mouse [Key::Char('m')], Everywhere, None, "mouse",
        "Clicks select rows, or belong to the terminal";
    Copy [Key::Char('c')], Everywhere, None, "copy",
        "Send what is selected to the terminal's clipboard";
    Palette [Key::Char(':')], Everywhere, None, "palette", "Find a command by its name";
    Help [Key::Char('?')], Everywhere, None, "help", "This page";
    Faults [Key::Char('F')], Demo, None, "faults", "Break something in the sandbox";
    Suspend [Key::Ctrl('z')], Everywhere, None, "suspend", "Back to the shell; fg returns";
    Interrupt [Key::Ctrl('c')], Everywhere, None, "interrupt", "Cancel; once more quits";
    Quit [Key::Char('q')], Everywhere, None, "quit", "Leave; what is in flight goes on";
];

/// The table as one person uses it.
#[derive(Clone, Debug)]
pub struct Keymap {
    /// In the order of [`BINDINGS`].
    keys: Vec<Vec<Key>>,
}

impl Default for Keymap {
    fn default() -> Keymap {
        Keymap { keys: BINDINGS.iter().map(|binding| binding.keys.to_vec()).collect() }
    }
}

impl Keymap {
    /// What `key` asks for.
    #[must_use]
    pub fn find(&self, key: Key) -> Option<&'static Binding> {
        let at = self.keys.iter().position(|keys| keys.contains(&key))?;
        BINDINGS.get(at)
    }

    #[must_use]
    pub fn keys(&self, act: Act) -> &[Key] {
        let at = BINDINGS.iter().position(|binding| binding.act == act);
        at.map_or(&[], |at| &self.keys[at])
    }

    /// The key to show; a dash for none.
    #[must_use]
    pub fn shown(&self, act: Act) -> String {
        self.keys(act).first().map_or("–".to_owned(), Key::to_string)
    }

    /// All of them, for the help.
    #[must_use]
    pub fn all(&self, act: Act) -> String {
        let keys: Vec<String> = self.keys(act).iter().map(Key::to_string).collect();
        keys.join(" ")
    }
}

/// What an act is called in a person's file.
#[must_use]
pub fn config_name(binding: &Binding) -> String {
    binding.name.replace(' ', "-")
}

#[must_use]
pub fn binding(act: Act) -> &'static Binding {
    BINDINGS.iter().find(|binding| binding.act == act).expect("every act stands in the table")
}

/// The bindings whose name or help fits `query`, best first.
#[must_use]
pub fn search(query: &str) -> Vec<&'static Binding> {
    let mut found: Vec<(u32, &'static Binding)> = BINDINGS
        .iter()
        .filter_map(|binding| {
            let by_name = fuzzy(query, binding.name);
            let by_help = fuzzy(query, binding.help).map(|cost| cost + HELP_COST);
            by_name.or(by_help).map(|cost| (cost, binding))
        })
        .collect();
    found.sort_by_key(|(cost, _)| *cost);
    found.into_iter().map(|(_, binding)| binding).collect()
}

/// A match in the help text ranks behind any match in a name.
const HELP_COST: u32 = 1_000;

/// The letters of `query` in their order, with gaps; fewer and earlier gaps cost less.
fn fuzzy(query: &str, text: &str) -> Option<u32> {
    let mut cost = 0;
    let mut rest = text.char_indices();
    let mut last = None;
    for wanted in query.chars().filter(|c| !c.is_whitespace()) {
        let (place, _) = rest.find(|(_, c)| c.eq_ignore_ascii_case(&wanted))?;
        let place = u32::try_from(place).ok()?;
        cost += match last {
            Some(before) => place - before - 1,
            None => place,
        };
        last = Some(place);
    }
    Some(cost)
}

/// `docs/keys.md`, whole.
#[must_use]
pub fn document() -> String {
    let mut out = String::from(
        "# Keys\n\nMade from the table in `src/ui/keymap.rs`. Every key but Ctrl-C and Esc can be \
         changed: see [console.md](console.md#a-file-of-your-own).\n\n\
         | Key | Name | What it does | Where | Guard |\n|---|---|---|---|---|\n",
    );
    for binding in BINDINGS {
        let keys: Vec<String> = binding.keys.iter().map(|key| format!("`{key}`")).collect();
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            keys.join(" "),
            config_name(binding),
            binding.help,
            binding.place.word(),
            binding.danger.word()
        )
        .expect("writing to a string cannot fail");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things() {
        let keys: Vec<Key> =
            BINDINGS.iter().flat_map(|binding| binding.keys.iter()).copied().collect();
        for (place, key) in keys.iter().enumerate() {
            assert!(!keys[..place].contains(key), "{key} stands twice");
        }
    }

    #[test]
    fn the_palette_finds_by_gaps_and_ranks_names_first() {
        let first = |query| search(query).first().map(|binding| binding.act);
        assert_eq!(first("rb"), Some(Act::Rollback));
        assert_eq!(first("prom"), Some(Act::Promote));
        assert_eq!(first("zzz"), None);
    }

    #[test]
    fn every_key_is_read_as_it_is_shown() {
        for key in BINDINGS.iter().flat_map(|binding| binding.keys) {
            assert_eq!(key.to_string().parse(), Ok(*key));
        }
        for key in NAMED {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        for wrong in ["", "RR", "Ctrl-", "Ctrl-AB", "Ctrl-1", "Ctrl-M", "F0", "F13", "\u{7}"] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong}");
        }
    }
}
