//! The pager's keys: what is dropped, what is asked first, and what is refused with its reason.

use std::time::Duration;

use chrono::DateTime;
use engine::types::Time;

use super::*;

const PAGE: &str = "# Stuck\n\n```sh changes ask=pid\nps\nps | head\nkill {pid}\nrestart\n```\n\
                    ```sh\nuptime\n```\n";

/// A pager and the clock of the person before it.
struct Hands {
    reading: Reading,
    now: Now,
}

impl Hands {
    fn open() -> Hands {
        let span = |_: &str| None;
        let page = engine::runbook::parse("stuck", "stuck.md", PAGE, &span).expect("it is whole");
        let now = Now { mono: Time(0), wall: DateTime::UNIX_EPOCH };
        let mut reading = Reading::new(page, now);
        reading.alias = "web".to_owned();
        let mut hands = Hands { reading, now };
        hands.wait();
        hands
    }

    fn wait(&mut self) {
        self.now.mono = self.now.mono + DEAD_TIME;
    }

    /// Far enough apart for a person, too close for one who looks first.
    fn keys(&mut self, keys: &str) -> Vec<Command> {
        let mut sent = Vec::new();
        for c in keys.chars() {
            let key = match c {
                '\n' => Key::Enter,
                '\t' => Key::Tab,
                c => Key::Char(c),
            };
            self.now.mono = self.now.mono + Duration::from_millis(20);
            if let After::Run(command, _) = self.reading.key(key, false, self.now) {
                sent.push(command);
            }
        }
        sent
    }

    /// The command with this text is chosen.
    fn choose(&mut self, text: &str) {
        let mut commands = self.reading.page.commands.iter();
        let place = commands.position(|command| command.text() == text).expect("it is there");
        self.keys(&"\t".repeat(place));
        assert_eq!(self.reading.command().map(PageCommand::text).as_deref(), Some(text));
    }
}

fn place_and_values(command: &Command) -> (u32, Vec<(&str, &str)>) {
    let Command::Runbook { place, values, .. } = command else { panic!("{command:?}") };
    (*place, values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
}

#[test]
fn what_only_reads_runs_at_once_and_what_changes_takes_the_alias() {
    let mut hands = Hands::open();
    hands.choose("uptime");
    let sent = hands.keys("\n");
    assert_eq!(sent.iter().map(place_and_values).collect::<Vec<_>>(), [(4, vec![])]);

    let check = |typed: &str, runs: bool| {
        let mut hands = Hands::open();
        hands.choose("restart");
        assert_eq!(hands.keys("\n"), []);
        hands.wait();
        let sent = hands.keys(typed);
        let places: Vec<u32> = sent.iter().map(|sent| place_and_values(sent).0).collect();
        assert_eq!(places, [3].repeat(usize::from(runs)), "{typed}");
        hands
    };
    check("web\n", true);
    assert_eq!(check("wen\n", false).reading.problem, "type web");
    assert_eq!(check("\n\n", false).reading.problem, "", "Enter alone is no answer");
    check("webb\n", false);
    let hands = check("webxxxxxxxxxxxxxxxx", false);
    let Step::Confirm { typed, .. } = &hands.reading.step else { panic!("it is asked still") };
    assert_eq!(typed.len(), CONFIRM_CHARS_MAX);
}

#[test]
fn keys_typed_ahead_are_dropped_before_each_question() {
    let mut hands = Hands::open();
    hands.choose("restart");
    assert_eq!(hands.keys("\nweb\n"), [], "typed before the alias was asked for");
    assert!(matches!(&hands.reading.step, Step::Confirm { typed, .. } if typed.is_empty()));
    hands.wait();
    assert_eq!(hands.keys("web\n").len(), 1);

    let mut hands = Hands::open();
    hands.choose("kill {pid}");
    hands.keys("\n12\n");
    let Step::Ask { values, .. } = &hands.reading.step else { panic!("it is asked still") };
    assert_eq!(values[0], ("pid".to_owned(), String::new()));
    hands.wait();
    hands.keys("12\nweb\n");
    assert!(matches!(&hands.reading.step, Step::Confirm { typed, .. } if typed.is_empty()));
    hands.wait();
    let sent = hands.keys("web\n");
    assert_eq!(sent.iter().map(place_and_values).collect::<Vec<_>>(), [(2, vec![("pid", "12")])]);

    let mut hands = Hands::open();
    hands.choose("uptime");
    assert_eq!(hands.keys("\n\n\n").len(), 1, "one press that bounces is one run");

    let mut fresh = Hands::open();
    fresh.reading.opened = fresh.now;
    assert_eq!(fresh.keys("\t\t\t\t\n"), [], "the page itself is new");
    assert_eq!(fresh.reading.chosen, 0);
}

#[test]
fn text_faster_than_a_person_fills_no_field() {
    let mut hands = Hands::open();
    hands.choose("restart");
    hands.keys("\n");
    hands.wait();
    for key in [Key::Char('w'), Key::Char('e'), Key::Char('b'), Key::Enter] {
        assert_eq!(hands.reading.key(key, true, hands.now), After::Open);
    }
    assert!(matches!(&hands.reading.step, Step::Confirm { typed, .. } if typed.is_empty()));
}

#[test]
fn a_refused_line_says_why() {
    let mut hands = Hands::open();
    hands.choose("ps | head");
    assert_eq!(hands.keys("\n"), []);
    assert!(hands.reading.problem.contains("`|` needs a shell"), "{}", hands.reading.problem);
    assert_eq!(hands.reading.step, Step::Read);
    hands.keys("\t");
    assert_eq!(hands.reading.problem, "", "until the next key");
}

#[test]
fn an_alert_names_its_page_by_a_path_or_an_address() {
    let span = |_: &str| None;
    let parse = |name: &str| {
        let path = format!("/etc/deck/runbooks/{name}.md");
        engine::runbook::parse(name, &path, PAGE, &span).expect("it is whole")
    };
    let books = Runbooks { pages: ["stuck", "slow"].map(parse).to_vec(), ..Runbooks::default() };
    let check = |place: &str, expected: Option<&str>| {
        assert_eq!(books.page(place).map(|page| page.name.as_str()), expected, "{place}");
    };
    check("runbooks/slow.md", Some("slow"));
    check("slow.md", Some("slow"));
    check("https://wiki.example/runbooks/slow#2", Some("slow"));
    check("/etc/deck/runbooks/stuck.md", Some("stuck"));
    check("/elsewhere/stuck.md", None);
    check("runbooks/other.md", None);
}
