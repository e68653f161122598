//! The configuration file: TOML in, checked settings of the engine and of the adapters out.
//!
//! Decides what a valid file is, and every default. Never shows a value that may be a secret, and
//! never stops at the first problem. Contract: both settings have the same things in the same
//! order, so that an id finds both halves; the same text gives the same hash.

mod canary;
mod check;
pub mod console;
mod flag;
mod incident;
mod later;
mod phase;
mod plan;
mod reader;
mod route;
mod rule;
mod runbook;
mod scaling;
mod secret;
mod signals;
mod task;
mod tenants;
pub(crate) mod value;
mod watch;

pub use value::duration;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use engine::settings::{Definition, Environment, Service};
use engine::types::{ChannelId, ProbeId, RouterId, ServiceId, Untrusted};
use toml::de::DeTable;

use crate::io::settings::{FeedTarget, RouterTarget, Settings as IoSettings};
use crate::zone::Zone;
use reader::{LIST_MAX, Reader, Table, placed};

/// A commented file to start from; it loads as it stands, and with every setting switched on.
pub const EXAMPLE: &str = include_str!("config/example.toml");

/// JSON Schema (2020-12) of the file, for editors.
pub const SCHEMA: &str = include_str!("config/schema.json");

/// An environment of a thousand services fits in this; a core dump does not.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// A pipe or a device in the place of a file must not hold the start.
const OPEN_AT_ONCE: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// The colours that an environment may have.
const BANDS: [&str; 3] = ["danger", "caution", "calm"];

/// An environment that nobody marked is treated as the one that hurts.
const UNMARKED_BAND: &str = "danger";

/// Written by group or others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// What the file says, and what is worth a look in it.
#[derive(Debug)]
pub struct Loaded {
    pub engine: engine::settings::Settings,
    pub io: IoSettings,
    /// Missing secrets and other things that stop only a part.
    pub warnings: Vec<Problem>,
}

/// One thing to correct; line and column count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub line: usize,
    pub column: usize,
    pub text: String,
}

/// Reads a whole text; relative paths begin at `dir`. All problems at once.
pub fn load(
    text: &str,
    dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Vec<Problem>> {
    walk(text, dir, Some(env)).0
}

/// Reads a file that nobody else may write, since it names programs to run. Problems come as
/// lines of `path:line:column: text`.
pub fn read(path: &Path) -> Result<Loaded, String> {
    read_with(path, Some(&|name| std::env::var(name).ok()))
}

/// The same for somebody who only looks: no secret is looked up, none can leak.
pub fn read_blind(path: &Path) -> Result<Loaded, String> {
    read_with(path, None)
}

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

fn read_with(path: &Path, env: Option<Env<'_>>) -> Result<Loaded, String> {
    let shown = Untrusted::new(&path.to_string_lossy());
    let text = contents(path).map_err(|why| format!("{shown}: {why}"))?;
    let whole = std::path::absolute(path).map_err(|error| format!("{shown}: {error}"))?;
    let dir = whole.parent().unwrap_or(Path::new("/"));
    walk(&text, dir, env).0.map_err(|problems| {
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| format!("{shown}:{}:{}: {}", problem.line, problem.column, problem.text))
            .collect();
        lines.join("\n")
    })
}

fn contents(path: &Path) -> Result<String, String> {
    let file = File::options()
        .read(true)
        .custom_flags(OPEN_AT_ONCE)
        .open(path)
        .map_err(|error| format!("cannot be read: {error}"))?;
    // Asked of the open file, so that what is checked is what is read.
    let facts = file.metadata().map_err(|error| format!("cannot be read: {error}"))?;
    if !facts.is_file() {
        return Err("is not a file".to_owned());
    }
    let own = rustix::process::geteuid().as_raw();
    if facts.uid() != 0 && facts.uid() != own {
        return Err(format!(
            "belongs to user {}; a configuration that can run programs belongs to you or to root",
            facts.uid()
        ));
    }
    if facts.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err("can be written by others; chmod go-w closes it".to_owned());
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_BYTES_MAX).expect("the limit is small") + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err("is larger than 1 MiB: that is no configuration".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("is not UTF-8 text (byte {})", error.utf8_error().valid_up_to() + 1)
    })
}

type Outcome = Result<Loaded, Vec<Problem>>;

/// The settings, and every key that was asked for.
fn walk(text: &str, dir: &Path, env: Option<Env<'_>>) -> (Outcome, BTreeSet<String>) {
    if text.len() > FILE_BYTES_MAX {
        let text = "the file is larger than 1 MiB: that is no configuration".to_owned();
        return (Err(vec![Problem { line: 1, column: 1, text }]), BTreeSet::new());
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return (Err(syntax(text, &errors)), BTreeSet::new());
    }
    let mut reader = Reader::new(dir, env.unwrap_or(&|_| None));
    reader.blind = env.is_none();
    let (engine, io) = root(Table::root(&reader, document.get_ref()), text);
    let (problems, warnings, asked) = reader.into_findings(text);
    if problems.is_empty() {
        (Ok(Loaded { engine, io, warnings }), asked)
    } else {
        (Err(problems), asked)
    }
}

/// The first error of each line: those behind it are mostly its echo.
fn syntax(text: &str, errors: &[toml::de::Error]) -> Vec<Problem> {
    let found = errors
        .iter()
        .map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            (at, format!("not TOML: {}", Untrusted::new(error.message())))
        })
        .collect();
    let mut problems = placed(text, found);
    problems.dedup_by_key(|problem| problem.line);
    problems
}

fn root(mut table: Table<'_>, text: &str) -> (engine::settings::Settings, IoSettings) {
    let mut engine = engine::settings::Settings {
        hash: engine::record::sha256_hex(text.as_bytes()),
        ..engine::settings::Settings::default()
    };
    let mut io = IoSettings::default();
    table.integer("version", 1..=1);
    let mut notify = Vec::new();
    if let Some(environment) = table.need("environment").table("environment", "environment") {
        engine.environment = read_environment(environment, &mut notify);
    }
    let mut sources = watch::Sources::new();
    let mut names = BTreeSet::new();
    for source in table.tables("metrics", "metrics") {
        watch::source(source, &mut sources, &mut names);
    }
    let mut names = BTreeSet::new();
    for feed in table.tables("feed", "feed") {
        if let Some((feed, target)) = watch::feed(feed, &sources, &mut names) {
            engine.feeds.push(feed);
            io.feeds.push(target);
        }
    }
    let mut names = BTreeSet::new();
    for host in table.tables("host", "host") {
        if let Some((host, target)) = watch::host(host, &mut names) {
            engine.hosts.push(host);
            io.hosts.push(target);
        }
    }
    let mut seen = Seen::default();
    for service in table.tables("service", "service") {
        read_service(service, &sources, &mut seen, &mut engine, &mut io);
    }
    let mut places = BTreeSet::new();
    for flag in table.tables("flag", "flag") {
        read_flag(flag, &mut seen, &mut places, &mut engine, &mut io);
    }
    derive_aliases(&mut engine.services);
    let mut references = later::Named::default();
    let mut read = read_plans(&mut table, &sources, seen, &mut references, &mut engine, &mut io);
    read_response(&mut table, notify, references, &mut read, &mut engine, &mut io);
    let (tasks, runbooks) = read;
    engine.tasks = tasks.engine;
    io.tasks = tasks.io;
    engine.hash = runbooks.hash(&engine.hash);
    engine.runbooks = runbooks.all;
    if ["service", "host", "feed"].iter().all(|key| !table.has(key)) {
        table.warn("", "nothing is watched: there is no [[service]], [[host]] or [[feed]]");
    }
    table.finish();
    (engine, io)
}

fn read_plans(
    table: &mut Table<'_>,
    sources: &watch::Sources,
    seen: Seen,
    named: &mut later::Named,
    engine: &mut engine::settings::Settings,
    io: &mut IoSettings,
) -> (task::Tasks, runbook::Runbooks) {
    let Seen { uses, mut tasks, runbooks, .. } = seen;
    if let Some(inner) = table.table("plan", "plans") {
        let (services, probes) = (&engine.services, &engine.probes);
        let (targets, routers) = (&io.probes, &io.routers);
        let world = plan::World { services, probes, targets, routers, sources };
        engine.plans = plan::plans(&inner, &world, &uses, &mut tasks, named);
    }
    plan::assign(table, &mut engine.services, &engine.plans, &uses, named);
    (tasks, runbooks)
}

fn read_response(
    table: &mut Table<'_>,
    notify: Vec<(usize, String)>,
    mut named: later::Named,
    (tasks, runbooks): &mut (task::Tasks, runbook::Runbooks),
    engine: &mut engine::settings::Settings,
    io: &mut IoSettings,
) {
    let reader = table.reader;
    if let Some(channels) = table.table("notify", "notify") {
        (engine.channels, io.channels) = incident::channels(&channels, &mut named);
    }
    for (at, name) in notify {
        let place = engine.channels.iter().position(|own| own.name == name);
        let id = place.map(|at| ChannelId(self::place(at)));
        engine.notify.extend(id.filter(|id| !engine.notify.contains(id)));
        named.used_channels.push((at, name));
    }
    let counters = io.feeds.iter().flat_map(|feed| match feed {
        FeedTarget::Counters { queries, .. } => queries.as_slice(),
        FeedTarget::Alertmanager(_)
        | FeedTarget::Prometheus(_)
        | FeedTarget::PagerDuty { .. }
        | FeedTarget::Statuspage(_)
        | FeedTarget::JsonUrl(_)
        | FeedTarget::JsonFile(_) => &[],
    });
    let counters = counters.map(|(name, _)| format!("counter.{name}"));
    let signals = engine.services.iter().filter_map(|service| service.signals.as_ref());
    let tenants =
        signals.flat_map(|own| own.tenants.figures.iter().map(|name| tenants::operand(name)));
    let counters: Vec<String> = counters.chain(tenants).collect();
    let mut seen = BTreeSet::new();
    for mut inner in table.tables("incident", "incident") {
        let runbook = runbooks.read(&mut inner, tasks);
        let found = incident::incident(inner, &mut seen, &mut named, engine, &counters);
        engine.incidents.extend(found.map(|found| Definition { runbook, ..found }));
    }
    let mut seen = BTreeSet::new();
    for inner in table.tables("scaling", "scaling") {
        let (hosts, plans) = (&engine.hosts, &engine.plans);
        engine.scaling.extend(scaling::scaling(inner, &mut seen, &mut named, hosts, plans));
    }
    named.finish(reader);
}

/// Channels are given later in the file: their names wait in `notify`, with their place.
fn read_environment(mut table: Table<'_>, notify: &mut Vec<(usize, String)>) -> Environment {
    let name = table.need("name").name("name");
    let timezone = table.string("timezone").unwrap_or_else(|| "UTC".to_owned());
    if timezone.parse::<Zone>().is_err() {
        let zones = Zone::names();
        let hint = value::nearest(&timezone, zones.iter().map(String::as_str))
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        table.problem(
            "timezone",
            format!("`timezone` is an IANA name such as \"Europe/Lisbon\"{hint}"),
        );
    }
    let at = table.place_of("notify");
    let names = table.strings("notify").unwrap_or_default();
    notify.extend(names.into_iter().map(|name| (at, name)));
    let band = table.word("band", &BANDS).unwrap_or(UNMARKED_BAND).to_owned();
    table.finish();
    Environment { name: name.unwrap_or_default(), timezone, band }
}

/// What services must not share, and what they need of plans that come later.
#[derive(Default)]
struct Seen {
    names: BTreeSet<String>,
    aliases: BTreeSet<String>,
    uses: Vec<plan::Use>,
    tasks: task::Tasks,
    runbooks: runbook::Runbooks,
}

fn read_service(
    mut table: Table<'_>,
    sources: &watch::Sources,
    seen: &mut Seen,
    engine: &mut engine::settings::Settings,
    io: &mut IoSettings,
) {
    let id = ServiceId(place(engine.services.len()));
    let name = table.need("name").name("name");
    watch::unique(&table, &mut seen.names, name.as_ref(), "service");
    let name = name.unwrap_or_default();
    let mut service = Service {
        alias: read_alias(&mut table, seen),
        runbook: seen.runbooks.read(&mut table, &mut seen.tasks),
        name,
        ..Service::default()
    };
    seen.runbooks.read_more(&mut table, &mut seen.tasks);
    let mut names = BTreeSet::new();
    for probe in table.tables("probe", "probe") {
        if let Some((probe, target)) = watch::probe(probe, id, &mut names) {
            service.probes.push(ProbeId(place(engine.probes.len())));
            engine.probes.push(probe);
            io.probes.push(target);
        }
    }
    let mut names = BTreeSet::new();
    let first_router = io.routers.len();
    for router in table.tables("router", "router") {
        if let Some((router, target, fallback)) =
            route::router(router, id, &mut names, &service.name, &io.routers)
        {
            service.routers.push(RouterId(place(engine.routers.len())));
            engine.routers.push(router);
            io.routers.push(target);
            io.fallbacks.push(fallback);
        }
    }
    read_judgement(&mut table, &mut service, sources, io, first_router);
    let probes = check::Probes { engine: &engine.probes, io: &io.probes };
    service.checks = check::checks(&mut table, &service, probes, sources, &mut seen.tasks);
    service.phases = phase::phases(&mut table, &service);
    seen.uses.extend(plan::uses(&mut table, id));
    service.maintenance = plan::maintenance(&mut table, &mut seen.tasks);
    table.finish();
    engine.services.push(service);
}

/// A flag stands among the services, so that it is set, read back and kept as their splits are.
fn read_flag(
    mut table: Table<'_>,
    seen: &mut Seen,
    places: &mut BTreeSet<(String, String)>,
    engine: &mut engine::settings::Settings,
    io: &mut IoSettings,
) {
    let id = ServiceId(place(engine.services.len()));
    let name = table.need("name").name("name");
    watch::unique(&table, &mut seen.names, name.as_ref(), "service or flag");
    let mut service = Service {
        name: name.unwrap_or_default(),
        alias: read_alias(&mut table, seen),
        runbook: seen.runbooks.read(&mut table, &mut seen.tasks),
        flag: true,
        ..Service::default()
    };
    if let Some((router, target)) = flag::router(&mut table, id) {
        if let RouterTarget::Flag(own) = &target {
            flag::is_new(&table, own, places);
        }
        service.routers.push(RouterId(place(engine.routers.len())));
        engine.routers.push(router);
        io.routers.push(target);
        io.fallbacks.push(None);
    }
    table.finish();
    io.signals.push(None);
    io.tenants.push(None);
    engine.services.push(service);
}

/// What the service counts, and what decides by it.
fn read_judgement(
    table: &mut Table<'_>,
    service: &mut Service,
    sources: &watch::Sources,
    io: &mut IoSettings,
    first_router: usize,
) {
    let signals = table
        .table("signals", "signals")
        .and_then(|inner| signals::signals(inner, sources, &io.routers[first_router..]));
    let target = signals.map(|(signals, target)| {
        service.signals = Some(signals);
        target
    });
    let (names, tenants) = tenants::tenants(table, service.signals.as_mut(), sources);
    let mut figures = match &target {
        Some(target) => Some(rule::Figures::of(target)),
        None if table.has("signals") => Some(rule::Figures::ALL),
        None => None,
    };
    if let Some(figures) = &mut figures {
        figures.tenants = names;
    }
    let around = canary::Around { figures: figures.as_ref(), routed: table.has("router") };
    if let Some(inner) = table.table("canary", "canary") {
        service.canary = Some(canary::canary(inner, around));
    }
    for trigger in table.tables("rollback_when", "rollback_when") {
        service.triggers.extend(canary::trigger(trigger, around));
    }
    io.signals.push(target);
    io.tenants.push(tenants);
}

/// The place of the next thing in a list.
fn place(len: usize) -> u32 {
    u32::try_from(len).expect("lists in the file are limited")
}

/// The alias as given; empty where it is still to be derived.
fn read_alias(table: &mut Table<'_>, seen: &mut Seen) -> String {
    let Some(alias) = table.string("alias") else { return String::new() };
    if !(1..=ALIAS_LETTERS_MAX).contains(&alias.len())
        || !alias.bytes().all(|b| b.is_ascii_alphabetic())
    {
        table.problem("alias", "`alias` is 1 to 4 letters: it is typed in an emergency");
    } else if !seen.aliases.insert(alias.to_ascii_lowercase()) {
        table.problem("alias", format!("there is already a service with the alias `{alias}`"));
    }
    alias
}

/// Long enough to be told apart, short enough to be typed at night.
const ALIAS_LETTERS_MAX: usize = 4;

/// Gives each service without an alias the first free one: its first three letters, its first
/// consonants, two letters of it, and so on to any free word.
fn derive_aliases(services: &mut [Service]) {
    let mut taken: BTreeSet<String> =
        services.iter().map(|service| service.alias.to_ascii_lowercase()).collect();
    for service in services.iter_mut().filter(|service| service.alias.is_empty()) {
        let alias = alias_candidates(&service.name)
            .find(|alias| !alias.is_empty() && !taken.contains(alias))
            .expect("there are more words of four letters than services");
        taken.insert(alias.clone());
        service.alias = alias;
    }
}

fn alias_candidates(name: &str) -> impl Iterator<Item = String> {
    let letters: Vec<char> = name.chars().filter(char::is_ascii_lowercase).collect();
    let consonants: String = letters
        .iter()
        .enumerate()
        .filter(|(place, c)| *place == 0 || !"aeiou".contains(**c))
        .map(|(_, c)| *c)
        .take(3)
        .collect();
    let own = [letters.iter().take(3).collect(), consonants, letters.iter().take(4).collect()];
    let first = letters.first().copied().unwrap_or('s');
    let ends = letters.clone().into_iter().skip(1).map(move |c| format!("{first}{c}"));
    // Three free letters give 17,576 words, many times the limit of services.
    let counted = (0..26 * 26 * 26).map(move |n: u32| {
        let letter = |n: u32| char::from(b'a' + u8::try_from(n % 26).expect("below 26"));
        format!("{first}{}{}{}", letter(n / 676), letter(n / 26), letter(n))
    });
    const { assert!(LIST_MAX < 26 * 26 * 26) };
    own.into_iter().chain(ends).chain(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key that the schema allows, as `place.key`.
    fn in_schema() -> BTreeSet<String> {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
        let places = schema["$defs"].as_object().expect("the schema has definitions");
        std::iter::once(("root", &schema))
            .chain(places.iter().map(|(place, table)| (place.as_str(), table)))
            .filter_map(|(place, table)| Some((place, table["properties"].as_object()?)))
            .flat_map(|(place, keys)| keys.keys().map(move |key| format!("{place}.{key}")))
            .collect()
    }

    #[test]
    fn the_schema_and_the_readers_know_the_same_keys() {
        let switched_on: Vec<&str> = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix('#').filter(|on| !on.starts_with(' ')).unwrap_or(line))
            .collect();
        let (outcome, asked) =
            walk(&switched_on.join("\n"), Path::new("/nowhere"), Some(&|_| None));
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(in_schema(), asked);
    }

    #[test]
    fn the_page_names_every_key() {
        let page = include_str!("../docs/config.md");
        for key in in_schema() {
            let (_, key) = key.split_once('.').expect("a place and a key");
            assert!(page.contains(&format!("| `{key}` |")), "{key} is missing");
        }
    }

    #[test]
    fn who_only_looks_looks_up_no_secret() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config.toml");
        let told = dir.path().join("asked");
        let text = format!(
            "[environment]\nname = \"test\"\n[[service]]\nname = \"web\"\n\
             [service.router]\nname = \"edge\"\nhttp = {{ url = \"http://127.0.0.1:9/s\", \
             token = {{ command = [\"touch\", \"{}\"] }} }}\n",
            told.display()
        );
        std::fs::write(&path, text).expect("a file");
        let blind = read_blind(&path).expect("it loads");
        assert!(!told.exists() && blind.warnings.is_empty());
        let whole = read(&path).expect("it loads");
        assert!(told.exists());
        assert_eq!(blind.engine.hash, whole.engine.hash, "it is the same configuration");
    }
}
