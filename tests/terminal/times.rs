//! The wall, a recording and what is remembered, with the real program on a real terminal.

use super::*;

pub fn start(dir: tempfile::TempDir, more: &[&str], incidents: &str) -> Console {
    fs::write(dir.path().join("feed.json"), format!(r#"{{"incidents":[{incidents}]}}"#))
        .expect("the feed");
    let config = dir.path().join("config.toml");
    let text = "[environment]\nname = \"test\"\ntimezone = \"Asia/Tokyo\"\n\n\
                [[service]]\nname = \"shop\"\nalias = \"shp\"\n\n\
                [[service.probe]]\nname = \"port\"\ntcp = \"127.0.0.1:9\"\n\n\
                [[feed]]\nname = \"file\"\njson = { file = \"feed.json\" }\ninterval = \"1s\"\n";
    fs::write(&config, text).expect("the configuration");
    let of = |path: PathBuf| path.to_str().expect("a plain path").to_owned();
    let state = of(dir.path().join("state"));
    let mut arguments = vec!["--config".to_owned(), of(config), "--state-dir".to_owned(), state];
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Console::start(dir, &words, (120, 40), &[])
}

/// The directory of a console that has ended, for the next one.
fn dir_of(console: &mut Console) -> tempfile::TempDir {
    std::mem::replace(&mut console.dir, private_dir())
}

#[test]
fn a_kiosk_takes_no_key_but_its_end_and_recovers_with_its_sources() {
    let mut console = start(private_dir(), &["--kiosk"], INCIDENT);
    console.shows("READ-ONLY");
    console.shows("HIGH Queue");
    console.shows("Ctrl-C twice ends");
    for key in ["q", "w", "\x1b", "R", "?", ":", "\x1a"] {
        console.keys(key);
    }
    // A source that fails and comes back.
    let feed = console.dir.path().join("feed.json");
    fs::write(&feed, "broken").expect("the feed");
    console.shows("file feed failing");
    fs::write(&feed, r#"{"incidents":[]}"#).expect("the feed");
    console.until("the feed is back", |screen| {
        !screen.contains("feed failing") && !screen.contains("Queue")
    });
    console.shows("Ctrl-C twice ends");
    console.keys("\x03");
    console.shows("Ctrl-C again to quit");
    console.leaves("\x03");
    console.is_restored();
}

#[test]
fn what_was_recorded_is_played_with_every_panel_and_nothing_can_be_changed() {
    let dir = private_dir();
    let file = dir.path().join("day");
    let file = file.to_str().expect("a plain path").to_owned();
    let mut console = start(dir, &["--record", &file], INCIDENT);
    console.shows("Queue");
    let feed = console.dir.path().join("feed.json");
    fs::write(&feed, r#"{"incidents":[]}"#).expect("the feed");
    console.until("the incident resolved", |screen| {
        screen.contains("incidents · 0 open")
            || screen.contains("none open")
            || screen.contains("resolved")
    });
    // The recording has a picture a second.
    std::thread::sleep(Duration::from_secs(2));
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
    let dir = dir_of(&mut console);
    let mode = fs::metadata(&file).expect("the recording").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut console = Console::start(dir, &["replay", &file, "--speed", "16"], (120, 40), &[]);
    console.shows("REPLAY ");
    console.shows("shop");
    // It stands at its end, goes back to its beginning, and is played again.
    console.shows("paused · 100 %");
    console.keys("{");
    console.shows("paused · 0 %");
    console.keys("]");
    console.until("a later moment", |screen| !screen.contains("paused · 0 %"));
    console.keys("R");
    console.shows("READ-ONLY: this console may look, not act");
    for (key, shown) in [("H", "╭ handover"), ("L", "╭ what changed")] {
        console.keys(key);
        console.shows(shown);
        console.keys("\x1b");
        console.until("the panels", |screen| !screen.contains(shown));
    }
    console.keys("<");
    console.leaves("q");
    console.is_restored();
    let dir = dir_of(&mut console);
    plays_and_pauses(Console::start(dir, &["replay", &file, "--speed", "0.25"], (120, 40), &[]));
}

/// A replay of some seconds that begins to play, and takes four times as long.
fn plays_and_pauses(mut console: Console) {
    console.shows("0.25 x");
    // Every panel, in the zone of the environment.
    for text in ["DOWN     shop", "file feed", "port", "started", "incidents · ", " JST"] {
        console.shows(text);
    }
    console.shows("[ earlier  ] later  { much earlier  } much later  < slower  > faster");
    // Where it has ended meanwhile, it stands and begins again: the keys mean the same.
    console.keys(" ");
    console.shows("paused · ");
    console.keys(" ");
    console.shows("0.25 x");
    console.keys(">");
    console.until("another speed, or its end", |screen| !screen.contains("0.25 x"));
    if console.text().contains("paused · ") {
        console.keys(" ");
    }
    console.shows("0.5 x");
    console.leaves("q");
}

#[test]
fn a_storm_beyond_the_limit_says_how_much_of_it_is_left_out() {
    let storm = |count: u32| {
        let one = |place| format!(r#"{{"id":"{place}","name":"Queue","severity":"low"}}"#);
        (0..count).map(one).collect::<Vec<String>>().join(",")
    };
    let mut console = start(private_dir(), &[], &storm(100_000));
    console.shows("incidents · 10000 open");
    console.keys("\t");
    console.until_in(PATIENCE, "a focus", |it| keys::focused(it).filter(|it| it == "release"));
    console.keys("\t");
    console.until_in(PATIENCE, "a focus", |it| keys::focused(it).filter(|it| it == "incidents"));
    console.keys("z");
    console.shows("10000 open, the worst 500 listed, 90000 more left out by their feed's limit");
    // And while it changes.
    let feed = console.dir.path().join("feed.json");
    fs::write(&feed, format!(r#"{{"incidents":[{}]}}"#, storm(110_000))).expect("the feed");
    console.shows("10000 open, the worst 500 listed, 100000 more left out by their feed's limit");
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
}

#[test]
fn where_one_was_is_remembered_and_a_broken_memory_is_told() {
    let mut console = start(private_dir(), &[], INCIDENT);
    console.shows("Queue");
    console.keys("/");
    console.shows("filter /");
    console.keys("sho\r");
    console.until("the filter kept", |screen| {
        screen.contains("none match the filter") && !screen.contains("filter /")
    });
    console.keys("W");
    console.shows("window 6h");
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
    let dir = dir_of(&mut console);
    let memory = dir.path().join("state/console.json");
    assert!(fs::read_to_string(&memory).expect("it remembers").contains("\"sho\""));
    let mut console = start(dir, &[], INCIDENT);
    console.shows("the filter /sho is still on");
    console.keys("L");
    console.shows("last 6h");
    console.keys("\x1b");
    // In one piece with the next key it would be another one.
    console.until("the page closed", |screen| !screen.contains("last 6h"));
    console.keys("q");
    assert_eq!(console.ended(PATIENCE), 0);
    let dir = dir_of(&mut console);
    fs::write(&memory, "{ broken").expect("the memory");
    let console = start(dir, &[], INCIDENT);
    console.shows("console.json: is no session of a console: the console begins anew");
    console.shows("incidents · 1 open");
    console.until("no filter", |screen| !screen.contains("match"));
}
