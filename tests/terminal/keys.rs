//! Every key of the table on a real terminal, and in tmux on one.
//!
//! The table itself is gone through, and what each act must do stands in one `match`: a new key
//! without its expectation does not compile.

use quarterdeck::ui::keymap::{self, Act, Key};

use super::*;

const INCIDENTS: usize = 12;
/// What the first and the last of them say.
const FIRST: &str = "summary number 00";
const LAST: &str = "summary number 11";

/// A service with a router, a rule, a plan that asks and a runbook, and twelve incidents; all of
/// it stands still.
pub fn still() -> (tempfile::TempDir, Vec<String>) {
    let dir = private_dir();
    let place = |name: &str| dir.path().join(name).to_str().expect("a plain path").to_owned();
    let incidents: Vec<String> = (0..INCIDENTS)
        .map(|number| {
            format!(
                r#"{{"id":"{number:02}","name":"Queue","severity":"low",
                "summary":"number {number:02}","labels":{{"service":"shop"}}}}"#
            )
        })
        .collect();
    let write = |name: &str, text: &str| fs::write(place(name), text).expect("a file");
    write("feed.json", &format!(r#"{{"incidents":[{}]}}"#, incidents.join(",")));
    write("split", "0\n");
    fs::create_dir(place("runbooks")).expect("a folder");
    write("runbooks/stuck.md", "# Stuck\n\n```sh\ntrue\n```\n");
    let text = format!(
        "[environment]\nname = \"test\"\ntimezone = \"Europe/Lisbon\"\n\n\
         [[metrics]]\nname = \"page\"\nexposition = \"http://127.0.0.1:9/metrics\"\n\n\
         [[service]]\nname = \"shop\"\nalias = \"shp\"\nrunbook = \"runbooks/stuck.md\"\n\
         deploy = \"ask\"\n\n\
         [[service.probe]]\nname = \"port\"\ncommand = [\"/bin/true\"]\ninterval = \"1s\"\n\n\
         [service.signals]\nmetrics = \"page\"\nrequests = 'all{{v=\"{{arm}}\"}}'\n\
         errors = 'bad{{v=\"{{arm}}\"}}'\nversions = {{ a = \"1\", b = \"2\" }}\n\n\
         [[service.rollback_when]]\nwhen = \"canary.error_rate > 10.0\"\n\n\
         [service.router]\nname = \"edge\"\n\
         command = {{ read = [\"/bin/cat\", \"{split}\"], \
         set = [\"/bin/sh\", \"-c\", \"echo $0 > {split}\", \"{{canary}}\"] }}\n\n\
         [[feed]]\nname = \"file\"\njson = {{ file = \"feed.json\" }}\ninterval = \"1s\"\n\n\
         [plan.ask]\nservice = \"shop\"\nsteps = [{{ ask = \"Go on?\", timeout = \"10m\" }}]\n",
        split = place("split"),
    );
    write("config.toml", &text);
    let arguments = ["--config", &place("config.toml"), "--state-dir", &place("state")];
    let arguments = arguments.map(str::to_owned).to_vec();
    (dir, arguments)
}

/// What a terminal sends for a key.
fn bytes(key: Key) -> String {
    match key {
        Key::Char(c) => c.to_string(),
        Key::Ctrl(c) => char::from(u8::try_from(c).expect("a letter") & 0x1f).to_string(),
        Key::Enter => "\r".to_owned(),
        Key::Esc => "\x1b".to_owned(),
        Key::Tab => "\t".to_owned(),
        Key::BackTab => "\x1b[Z".to_owned(),
        Key::Backspace => "\x7f".to_owned(),
        Key::Up => "\x1b[A".to_owned(),
        Key::Down => "\x1b[B".to_owned(),
        Key::Left => "\x1b[D".to_owned(),
        Key::Right => "\x1b[C".to_owned(),
        Key::PageUp => "\x1b[5~".to_owned(),
        Key::PageDown => "\x1b[6~".to_owned(),
        Key::Home => "\x1b[H".to_owned(),
        Key::End => "\x1b[F".to_owned(),
        Key::Insert => "\x1b[2~".to_owned(),
        Key::Delete => "\x1b[3~".to_owned(),
        Key::F(number @ 1..=4) => format!("\x1bO{}", char::from(b'O' + number)),
        Key::F(number) => panic!("the table has no F{number}"),
    }
}

/// What says that something is open, or that the view is not the usual one.
const OPEN: [&str; 6] =
    ["Esc cancels", "filter /", "╭ commands", "╭ keys", "THE PAST", "view stopped"];

/// What must be seen after a key, and was not before.
enum Seen {
    /// This text.
    Text(&'static str),
    /// This text is gone.
    Gone(&'static str),
    /// The line with this text is another one, or gone.
    Changed(&'static str),
    /// This panel has the focus.
    Focus(&'static str),
    /// A guard with this title.
    Guard(&'static str),
    /// The terminal is the shell's, until it is continued.
    Shell,
    End,
}

/// The keys before it, what they make visible, and what it must do.
fn expected(act: Act) -> (&'static str, &'static str, Seen) {
    use Seen::{Changed, End, Focus, Gone, Guard, Shell, Text};
    let plain = |seen| ("", "", seen);
    match act {
        Act::Rollback => plain(Guard("ROLLBACK shop")),
        Act::Abort => plain(Guard("ABORT shop")),
        Act::Promote => plain(Guard("PROMOTE shop")),
        Act::Shift => plain(Guard("SHIFT shop")),
        Act::Deploy => plain(Guard("DEPLOY shop")),
        Act::RunPlan => plain(Guard("RUN shop")),
        Act::Pause | Act::Resume => plain(Text("no release of shop is in flight")),
        Act::Yes | Act::No => plain(Text("shop asks nothing")),
        Act::StopTheLine => plain(Guard("STOP THE LINE")),
        Act::Freeze => plain(Guard("FREEZE shop")),
        Act::Thaw => plain(Text("shop is not frozen")),
        Act::RuleOff => plain(Guard("RULE OFF shop")),
        Act::RuleOn => plain(Text("no rule of shop is off")),
        Act::MarkBad => plain(Guard("MARK BAD shop")),
        Act::MarkGood => plain(Guard("MARK GOOD shop")),
        Act::Verify => plain(Text("verify: ACCEPTED")),
        Act::Validate => plain(Text("validate REFUSED")),
        Act::Acknowledge => plain(Text("its feed takes no acknowledgement")),
        Act::Escalate => plain(Text("its feed cannot escalate")),
        Act::Assign => plain(Guard("ASSIGN Queue")),
        Act::Note => plain(Guard("NOTE Queue")),
        Act::Snooze => plain(Guard("SNOOZE Queue")),
        Act::Runbook => plain(Text("runbook · stuck")),
        Act::Down => ("g", FIRST, Text("summary number 01")),
        Act::PageDown => ("g", FIRST, Text("summary number 10")),
        Act::Last => ("g", FIRST, Text(LAST)),
        Act::Up => ("G", LAST, Text("summary number 10")),
        Act::PageUp => ("G", LAST, Text("summary number 01")),
        Act::First => ("G", LAST, Text(FIRST)),
        Act::NextPanel => plain(Focus("hosts")),
        Act::PreviousPanel => plain(Focus("release")),
        Act::Zoom => plain(Gone("╭ sources")),
        Act::Back => ("?", "╭ keys ", Gone("╭ keys ")),
        Act::Filter => plain(Text("filter /")),
        Act::Stop => plain(Text("view stopped")),
        Act::Earlier | Act::MuchEarlier => plain(Text("THE PAST")),
        Act::Later | Act::MuchLater => ("[", "THE PAST", Changed("THE PAST")),
        Act::Slower | Act::Faster => plain(Text("that is for a replay")),
        Act::Changes => plain(Text("╭ what changed")),
        Act::Handover => plain(Text("╭ handover")),
        Act::Window => ("m", "the mouse ", Text(" window ")),
        Act::Room => plain(Text("w leaves the wall")),
        Act::Timezone => plain(Text("journal · Europe/Lisbon")),
        Act::Theme => plain(Text(" theme ")),
        Act::Mouse => plain(Text("the mouse ")),
        Act::Copy => plain(Text("sent to the terminal's clipboard")),
        Act::Palette => plain(Text("╭ commands ")),
        Act::Help => plain(Text("╭ keys ")),
        Act::Faults => plain(Text("faults are for the demo")),
        Act::Suspend => plain(Shell),
        Act::Interrupt => plain(Text("Ctrl-C again to quit")),
        Act::Quit => plain(End),
    }
}

/// The panel whose frame is drawn in bold.
pub fn focused(screen: &vt100::Screen) -> Option<String> {
    let (rows, columns) = size_of(screen);
    let corner = |row, column| {
        screen.cell(row, column).is_some_and(|cell| cell.contents() == "╭" && cell.bold())
    };
    let at = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let (row, column) = at.into_iter().find(|(row, column)| corner(*row, *column))?;
    let title = screen.contents_between(row, column + 2, row, columns);
    title.split_whitespace().next().map(str::to_owned)
}

impl Console {
    fn does(&mut self, key: Key, act: Act, direct: bool) {
        let (before, shown, seen) = expected(act);
        if !before.is_empty() {
            self.keys(before);
            self.shows(shown);
        }
        let name = format!("{key} ({act:?})");
        let had = |text: &str| self.text().contains(text);
        match seen {
            Seen::Text(text) | Seen::Guard(text) => {
                assert!(!had(text), "{name}: {text} before\n{}", self.text());
            }
            Seen::Gone(text) | Seen::Changed(text) => {
                assert!(had(text), "{name}: no {text} before\n{}", self.text());
            }
            Seen::Focus(_) | Seen::Shell | Seen::End => {}
        }
        let line = |screen: &str, part: &str| {
            screen.lines().find(|line| line.contains(part)).map(str::to_owned)
        };
        let was = self.text();
        let written = self.seen().bytes.len();
        self.keys(&bytes(key));
        match seen {
            Seen::Text(text) => self.until(&format!("{name}: {text}"), |it| it.contains(text)),
            Seen::Gone(text) => {
                self.until(&format!("{name}: no {text}"), |it| !it.contains(text));
            }
            Seen::Changed(text) => {
                let what = format!("{name}: another {text}");
                self.until(&what, |it| line(it, text) != line(&was, text));
            }
            Seen::Focus(panel) => self.until_in(PATIENCE, &format!("{name}: {panel}"), |screen| {
                focused(screen).filter(|own| own == panel).map(drop)
            }),
            Seen::Guard(title) => {
                let armed = |it: &str| it.contains(title) && it.contains("Esc cancels");
                self.until(&format!("{name}: {title}"), armed);
            }
            // tmux continues what stops in it at once.
            Seen::Shell if direct => self.comes_back(written),
            Seen::Shell => {}
            Seen::End => assert_eq!(self.ended(PATIENCE), 0, "{name}"),
        }
    }

    /// Out of whatever a key opened, with the focus on the incidents and a message of its own.
    fn settles(&mut self, after: Act, next: Act) {
        let calm = |text: &str| {
            ["╭ services", "╭ sources", "journal · UTC"].iter().all(|part| text.contains(part))
                && !OPEN.iter().any(|part| text.contains(part))
        };
        if after == Act::Timezone {
            self.keys("t");
        }
        // What has just opened takes no key for a moment.
        let deadline = Instant::now() + PATIENCE;
        while !calm(&self.text()) {
            assert!(Instant::now() < deadline, "{after:?} stays\n{}", self.text());
            self.keys("\x1b");
            std::thread::sleep(5 * PAUSE);
        }
        // Each message is another one than before: so every key up to here was taken.
        let mut messages = [("W", " window "), ("F", "faults are for the demo")];
        if next == Act::Faults {
            messages.reverse();
        }
        for (key, message) in messages {
            while !self.text().contains(message) {
                assert!(Instant::now() < deadline, "no answer to {key}\n{}", self.text());
                // One that comes together with the escape before it is no key of its own.
                self.keys(key);
                std::thread::sleep(5 * PAUSE);
            }
        }
        while self.until_in(PATIENCE, "a focus", focused) != "incidents" {
            let before = self.until_in(PATIENCE, "a focus", focused);
            self.keys("\t");
            self.until_in(PATIENCE, "another focus", |screen| {
                focused(screen).filter(|own| *own != before).map(drop)
            });
        }
    }

    /// Goes through the table; the key that leaves is the last one.
    fn does_every_act(&mut self, direct: bool) {
        self.shows(FIRST);
        let mut before = Act::Back;
        let all = || keymap::BINDINGS.iter().filter(|binding| binding.act != Act::Quit);
        for (act, key) in all().flat_map(|own| own.keys.iter().map(|key| (own.act, *key))) {
            self.settles(before, act);
            self.does(key, act, direct);
            before = act;
        }
        self.settles(before, Act::Quit);
        assert!(!self.text().contains(" intent "), "nothing was fired\n{}", self.text());
    }
}

#[test]
fn every_key_of_the_table_does_its_act() {
    let (dir, arguments) = still();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut console = Console::start(dir, &arguments, (120, 40), &[]);
    console.does_every_act(true);
    // A plan by its name, and what can be said to its question.
    console.arm("E", "RUN shop");
    console.expose("\x15ask\r\rtry it\rshp\r", "RUN in", "");
    console.shows("Go on?");
    for (key, title) in [("p", "PAUSE shop"), ("y", "ANSWER YES shop"), ("n", "ANSWER NO shop")] {
        console.arm(key, title);
        console.keys("\x1b");
        console.shows("nothing was sent");
        console.keys("u");
        console.shows("there is nothing to resume");
    }
    for binding in keymap::BINDINGS.iter().filter(|binding| binding.act == Act::Quit) {
        console.does(binding.keys[0], Act::Quit, true);
    }
    console.is_restored();
}

#[test]
fn in_tmux_every_key_does_the_same() {
    let (dir, arguments) = still();
    let socket = dir.path().join("tmux");
    let settings = dir.path().join("tmux.conf");
    fs::write(&settings, "set -g status off\nset -s escape-time 0\nset -g prefix None\n")
        .expect("the settings");
    let mut command = CommandBuilder::new("tmux");
    command.args(["-u", "-S"]);
    command.arg(&socket);
    command.arg("-f");
    command.arg(&settings);
    command.arg("new-session");
    command.arg(env!("CARGO_BIN_EXE_quarterdeck"));
    command.args(&arguments);
    let mut console = Console::start_command(dir, command, (120, 40), &[]);
    console.does_every_act(false);
    for (columns, rows) in [(1, 1), (300, 100), (39, 9), (120, 40)] {
        console.resize(columns, rows);
    }
    console.shows("╭ sources");
    console.does(Key::Char('q'), Act::Quit, false);
}

#[test]
fn a_hotfix_is_deployed_and_a_plan_is_run_by_its_name_in_the_sandbox() {
    let mut console = Console::demo((120, 40), &[]);
    console.selects("catalog");
    console.arm("E", "RUN catalog");
    console.types("smoke\r");
    console.shows("a name of a plan: deploy-catalog, smoke-catalog");
    console.expose("\x15smoke-catalog\r\rafter the incident\rcat\r", "RUN in", "");
    console.shows("r1 smoke-catalog · FINALISED");
    console.arm("D", "DEPLOY catalog");
    console.keys("7.1.0 hotfix");
    console.shows("YES: over a sick stable; only the objective decides");
    console.expose("\rstable is sick\rcat\r", "DEPLOY in", "");
    console.shows("r2 7.1.0 HOTFIX  CANARY 1/4 · RUNNING");
    console.arm("R", "ROLLBACK catalog");
    console.types("cat\r");
    console.shows("r2 7.1.0 HOTFIX · ROLLED BACK");
    console.shows("1 of 1 read back at 0 %");
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
}

#[test]
fn rows_that_change_their_places_leave_a_guard_on_its_service() {
    let dir = private_dir();
    let place = |name: &str| dir.path().join(name).to_str().expect("a plain path").to_owned();
    let mut text = "[environment]\nname = \"test\"\n".to_owned();
    for name in ["alpha", "bravo"] {
        let (health, split) = (place(&format!("{name}-health")), place(&format!("{name}-split")));
        fs::write(&health, "").expect("a file");
        fs::write(&split, "20\n").expect("a file");
        text += &format!(
            "\n[[service]]\nname = \"{name}\"\nalias = \"{}\"\n\n[[service.probe]]\n\
             name = \"file\"\ncommand = [\"/usr/bin/test\", \"-e\", \"{health}\"]\n\
             interval = \"1s\"\nfall = 1\nrise = 1\n\n[service.router]\nname = \"edge-{name}\"\n\
             command = {{ read = [\"/bin/cat\", \"{split}\"], \
             set = [\"/bin/sh\", \"-c\", \"echo $0 > {split}\", \"{{canary}}\"] }}\n",
            &name[..3]
        );
    }
    fs::write(place("config.toml"), text).expect("the configuration");
    let (config, state) = (place("config.toml"), place("state"));
    let (health, splits) = (place("bravo-health"), [place("alpha-split"), place("bravo-split")]);
    let arguments = ["--config", &config, "--state-dir", &state];
    let mut console = Console::start(dir, &arguments, (120, 40), &[]);
    let above = |text: &str, one: &str, other: &str| {
        let row = |name: &str| text.lines().position(|line| line.contains(name));
        row(one).zip(row(other)).is_some_and(|(one, other)| one < other)
    };
    console.until("both UP", |text| above(text, "UP       alpha", "UP       bravo"));
    console.shows("release · alpha");
    console.arm("R", "ROLLBACK alpha");
    fs::remove_file(&health).expect("it was there");
    let deadline = Instant::now() + PATIENCE;
    while !above(&console.text(), "DOWN     bravo", "UP       alpha") {
        assert!(Instant::now() < deadline, "bravo is not first\n{}", console.text());
        // A guard without a key closes itself.
        console.keys("\x15");
        std::thread::sleep(10 * PAUSE);
    }
    console.shows("ROLLBACK alpha");
    console.types("bra\r");
    console.shows("\"bra\" is not the alias of alpha");
    console.types("\x15alp\r");
    console.shows("alpha VERIFIED");
    let read = |path: &String| fs::read_to_string(path).expect("the split");
    assert_eq!(splits.each_ref().map(read), ["0\n", "20\n"]);
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
}

#[test]
fn keys_typed_ahead_of_a_console_that_hangs_arm_and_fire_nothing() {
    let (dir, arguments) = still();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut console = Console::start(dir, &arguments, (120, 40), &[]);
    console.shows(FIRST);
    console.signal(Signal::STOP);
    for key in ["R", "s", "h", "p", "\r"] {
        console.keys(key);
    }
    console.signal(Signal::CONT);
    console.shows("keys came faster than a person types: ignored");
    console.keys("v");
    console.shows("verify: ACCEPTED");
    let text = console.text();
    assert!(!text.contains("ROLLBACK") && !text.contains(" intent "), "{text}");
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
}
