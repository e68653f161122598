//! The managed file: a typed tree, its printer and its parser.
//!
//! Decides what may stand in the file: one upstream (or two and a `split_clients`), and the map
//! that defines the generation. Never pastes text: the only variables are numbers, checked names
//! and checked addresses. Contract: `parse(print(x)) == x`, and a file edited by hand does not
//! parse, because its generation no longer fits.

use std::fmt::Write as _;
use std::path::Path;

use engine::record::sha256_hex;
use engine::types::{Fence, Weights};

use crate::io::router::weights::{check_share, server_weights};

/// The variable that the user's proof location returns.
pub const GENERATION: &str = "$quarterdeck_generation";

/// Hexadecimal digits of the SHA-256 that stand in a generation: 64 bits tell any two of our files
/// apart, and fit a log line.
const HASH_DIGITS: usize = 16;

/// Generation of a file that a person started with; its content is not hashed.
const START: &str = "start";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conf {
    pub fence: Fence,
    name: String,
    body: Body,
    start: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    /// One upstream; weight 0 is printed as `down`, because nginx has no `weight=0`.
    Weighted(Vec<(String, u16)>),
    /// An upstream for each group; a group with 0 % has no line of its own.
    Split { key: String, groups: [Vec<String>; 2], b: u8 },
}

impl Conf {
    pub fn build(
        name: &str,
        split_by: Option<&str>,
        groups: &[Vec<String>; 2],
        weights: Weights,
        fence: Fence,
    ) -> Result<Conf, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        check_word("upstream", name, fits)?;
        for address in groups.iter().flatten() {
            check_address(address)?;
        }
        let [group_a, group_b] = groups;
        for (percent, group, letter) in [(weights.a, group_a, "a"), (weights.b, group_b, "b")] {
            if percent.get() > 0 && group.is_empty() {
                return Err(format!("group {letter} has no server to take {percent}"));
            }
        }
        let body = if let Some(key) = split_by {
            check_word("split_by", key, |c| {
                c.is_ascii_alphanumeric() || matches!(c, '$' | '_' | '.' | ':' | '-')
            })?;
            if group_a.is_empty() || group_b.is_empty() {
                return Err("split_by needs servers in both groups".to_owned());
            }
            Body::Split { key: key.to_owned(), groups: groups.clone(), b: weights.b.get() }
        } else {
            let (a, b) = server_weights(weights.a, weights.b, group_a.len(), group_b.len());
            check_share(weights, (a, group_a.len()), (b, group_b.len()))?;
            let line = |weight: u16| move |address: &String| (address.clone(), weight);
            let lines: Vec<(String, u16)> =
                group_a.iter().map(line(a)).chain(group_b.iter().map(line(b))).collect();
            if lines.iter().all(|(_, weight)| *weight == 0) {
                return Err("every server would be down".to_owned());
            }
            Body::Weighted(lines)
        };
        Ok(Conf { fence, name: name.to_owned(), body, start: false })
    }

    /// `FENCE:HASH`, as the proof endpoint returns it.
    #[must_use]
    pub fn generation(&self) -> String {
        if self.start {
            return format!("{}:{START}", self.fence);
        }
        let hash = sha256_hex(self.print_body().as_bytes());
        format!("{}:{}", self.fence, &hash[..HASH_DIGITS])
    }

    #[must_use]
    pub fn print(&self) -> String {
        format!(
            "# Written by Quarterdeck; changes by hand are lost.\n{}map \"\" {GENERATION} {{\n    \
             default \"{}\";\n}}\n",
            self.print_body(),
            self.generation()
        )
    }

    /// How this file's block differs from the one that was configured: traffic goes by another, or
    /// by none.
    #[must_use]
    pub fn misfit(&self, file: &Path, name: &str, split_by: Option<&str>) -> Option<String> {
        let block = |by_clients: bool, name: &str| {
            if by_clients { format!("split_clients ${name}") } else { format!("upstream {name}") }
        };
        let found = block(matches!(self.body, Body::Split { .. }), &self.name);
        let wanted = block(split_by.is_some(), name);
        (found != wanted).then(|| {
            format!(
                "{} holds the block `{found}`, configured is `{wanted}`: it is left as it is; \
                 make `upstream` and `split_by` of this router say what nginx's `proxy_pass` \
                 uses, or begin the file anew with `{wanted}` and reload nginx",
                file.display()
            )
        })
    }

    /// Shares of both groups in percent.
    pub fn shares(&self, groups: &[Vec<String>; 2]) -> Result<(f64, f64), String> {
        let lines = match &self.body {
            Body::Split { b, .. } => return Ok((f64::from(100 - b), f64::from(*b))),
            Body::Weighted(lines) => lines,
        };
        let mut sums = [0.0, 0.0];
        for (address, weight) in lines {
            let place = groups.iter().position(|group| group.contains(address));
            match place {
                Some(place) => sums[place] += f64::from(*weight),
                None if *weight > 0 => return Err(format!("{address} belongs to no group")),
                None => {}
            }
        }
        let total = sums[0] + sums[1];
        if total > 0.0 {
            Ok((100.0 * sums[0] / total, 100.0 * sums[1] / total))
        } else {
            Err("every server of the groups is down".to_owned())
        }
    }

    fn print_body(&self) -> String {
        let name = &self.name;
        let mut out = String::new();
        let written = match &self.body {
            Body::Weighted(lines) => print_upstream(&mut out, name, lines),
            Body::Split { key, groups, b } => (|| {
                for (group, letter) in groups.iter().zip(["a", "b"]) {
                    let lines: Vec<(String, u16)> =
                        group.iter().map(|address| (address.clone(), 1)).collect();
                    print_upstream(&mut out, &format!("{name}_{letter}"), &lines)?;
                }
                writeln!(out, "split_clients \"{key}\" ${name} {{")?;
                if (1..100).contains(b) {
                    writeln!(out, "    {b}% {name}_b;")?;
                }
                let rest = if *b == 100 { "b" } else { "a" };
                writeln!(out, "    * {name}_{rest};\n}}")
            })(),
        };
        written.expect("writing to a string cannot fail");
        out
    }

    pub fn parse(text: &str) -> Result<Conf, String> {
        let mut tokens = Tokens(tokens(text)?.into_iter().peekable());
        let mut upstreams = vec![tokens.upstream()?];
        let body;
        let name;
        if tokens.peek() == Some("upstream") {
            upstreams.push(tokens.upstream()?);
            tokens.word("split_clients")?;
            let key = tokens.any()?;
            name = tokens.any()?.trim_start_matches('$').to_owned();
            let b = tokens.split(&name)?;
            let bare =
                |lines: &Vec<(String, u16)>| lines.iter().map(|line| line.0.clone()).collect();
            body = Body::Split { key, groups: [bare(&upstreams[0].1), bare(&upstreams[1].1)], b };
        } else {
            let (first, lines) = upstreams.remove(0);
            name = first;
            body = Body::Weighted(lines);
        }
        for word in ["map", "", GENERATION, "{", "default"] {
            tokens.word(word)?;
        }
        let generation = tokens.any()?;
        for word in [";", "}"] {
            tokens.word(word)?;
        }
        if let Some(extra) = tokens.peek() {
            return Err(format!("{extra:?} stands after the end"));
        }
        let (fence, hash) = generation.split_once(':').ok_or("the generation has no hash")?;
        let fence = Fence(fence.parse().map_err(|_| "the generation has no fence")?);
        let conf = Conf { fence, name, body, start: hash == START };
        if conf.generation() == generation {
            Ok(conf)
        } else {
            Err(format!("it was edited: its content is not generation {generation}"))
        }
    }
}

fn print_upstream(out: &mut String, name: &str, lines: &[(String, u16)]) -> std::fmt::Result {
    writeln!(out, "upstream {name} {{\n    zone {name} 64k;")?;
    for (address, weight) in lines {
        match weight {
            0 => writeln!(out, "    server {address} max_fails=0 down;")?,
            weight => writeln!(out, "    server {address} weight={weight} max_fails=0;")?,
        }
    }
    writeln!(out, "    keepalive 64;\n}}")
}

fn check_word(what: &str, word: &str, plain: impl Fn(char) -> bool) -> Result<(), String> {
    if word.is_empty() || word.len() > 200 || !word.chars().all(plain) {
        return Err(format!("{what} {word:?} has characters that nginx would read otherwise"));
    }
    Ok(())
}

/// `host:port`, where the host is a name, an IPv4 address, or an IPv6 address in brackets.
fn check_address(address: &str) -> Result<(), String> {
    let wrong = || format!("{address:?} is not HOST:PORT");
    if address.parse::<std::net::SocketAddr>().is_ok() {
        return Ok(());
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    check_word("server", host, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))?;
    port.parse::<u16>().map(|_| ()).map_err(|_| wrong())
}

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for line in text.lines() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            if first == '#' {
                break;
            }
            let (token, after) = if first == '"' {
                rest[1..].split_once('"').ok_or("a quote is open")?
            } else {
                let end = match first {
                    '{' | '}' | ';' => 1,
                    _ => rest
                        .find(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"'))
                        .unwrap_or(rest.len()),
                };
                rest.split_at(end)
            };
            out.push(token.to_owned());
            rest = after.trim_start();
        }
    }
    Ok(out)
}

struct Tokens(std::iter::Peekable<std::vec::IntoIter<String>>);

impl Tokens {
    fn peek(&mut self) -> Option<&str> {
        self.0.peek().map(String::as_str)
    }
    fn any(&mut self) -> Result<String, String> {
        self.0.next().ok_or_else(|| "it ends too early".to_owned())
    }
    fn word(&mut self, expected: &str) -> Result<(), String> {
        let found = self.any()?;
        if found == expected {
            Ok(())
        } else {
            Err(format!("{found:?} stands where {expected:?} belongs"))
        }
    }

    fn upstream(&mut self) -> Result<(String, Vec<(String, u16)>), String> {
        self.word("upstream")?;
        let name = self.any()?;
        self.word("{")?;
        let mut lines = Vec::new();
        loop {
            match self.any()?.as_str() {
                "}" => return Ok((name, lines)),
                "zone" => {
                    self.any()?;
                    self.any()?;
                    self.word(";")?;
                }
                "keepalive" => {
                    self.any()?;
                    self.word(";")?;
                }
                "server" => lines.push(self.server()?),
                other => return Err(format!("{other:?} is not one of our directives")),
            }
        }
    }

    fn server(&mut self) -> Result<(String, u16), String> {
        let address = self.any()?;
        let mut weight = 1;
        loop {
            let token = self.any()?;
            match token.as_str() {
                ";" => return Ok((address, weight)),
                "max_fails=0" => {}
                "down" => weight = 0,
                other => {
                    weight = other
                        .strip_prefix("weight=")
                        .and_then(|number| number.parse().ok())
                        .ok_or_else(|| format!("{other:?} is not one of our parameters"))?;
                }
            }
        }
    }

    fn split(&mut self, name: &str) -> Result<u8, String> {
        self.word("{")?;
        let first = self.any()?;
        if let Some(percent) = first.strip_suffix('%') {
            for word in [&format!("{name}_b"), ";", "*", &format!("{name}_a"), ";", "}"] {
                self.word(word)?;
            }
            return percent.parse().ok().filter(|b| *b <= 100).ok_or("a bad percent".to_owned());
        }
        let target = self.any()?;
        self.word(";")?;
        self.word("}")?;
        Ok(if target == format!("{name}_b") { 100 } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::types::Percent;

    fn groups() -> [Vec<String>; 2] {
        [
            vec!["127.0.0.1:8001".to_owned(), "app-1.example:80".to_owned()],
            vec!["[::1]:8002".to_owned()],
        ]
    }

    fn weights(b: u8) -> Weights {
        let b = Percent::new(b).expect("a percent");
        Weights { a: b.rest(), b }
    }

    #[test]
    fn what_is_printed_is_read_back_the_same() {
        for b in 0..=100 {
            for split_by in [None, Some("$cookie_uid")] {
                let conf = Conf::build("app", split_by, &groups(), weights(b), Fence(b.into()))
                    .expect("valid");
                assert_eq!(Conf::parse(&conf.print()).as_ref(), Ok(&conf));
                let (_, share) = conf.shares(&groups()).expect("shares");
                assert!((share - f64::from(b)).abs() <= 1.0, "{b} gives {share}");
                assert!(!conf.print().contains("weight=0"));
            }
        }
    }

    #[test]
    fn nothing_can_be_smuggled_in() {
        let bad = |name: &str, key: Option<&str>, address: &str| {
            let groups = [vec![address.to_owned()], vec!["127.0.0.1:1".to_owned()]];
            assert!(Conf::build(name, key, &groups, weights(10), Fence(1)).is_err());
        };
        for hostile in ["a;b", "a b", "a{", "a\n", "a#", "\"", "", "$x{", "a\\"] {
            bad(hostile, None, "127.0.0.1:2");
            bad("app", Some(hostile), "127.0.0.1:2");
            bad("app", None, &format!("{hostile}:80"));
            bad("app", None, &format!("localhost:{hostile}"));
        }
    }

    #[test]
    fn a_file_edited_by_hand_does_not_parse() {
        let conf =
            Conf::build("app", None, &groups(), weights(10), Fence(3)).expect("valid").print();
        let why =
            Conf::parse(&conf.replace("weight=5", "weight=6").replace("weight=9", "weight=8"))
                .expect_err("edited");
        assert!(why.contains("edited"), "{why}");
        assert!(Conf::parse("").is_err());
        assert!(Conf::parse("upstream app {").is_err());
        assert!(Conf::parse(&format!("{conf}server {{ }}")).is_err());
    }

    #[test]
    fn another_block_than_the_configured_one_is_told() {
        let check = |held: (&str, Option<&str>), own: (&str, Option<&str>), expected: &[&str]| {
            let conf = Conf::build(held.0, held.1, &groups(), weights(10), Fence(3));
            let conf = conf.expect("valid");
            let why = conf.misfit(Path::new("/x.conf"), own.0, own.1).unwrap_or_default();
            assert_eq!(why.is_empty(), expected.is_empty(), "{held:?} {own:?}: {why}");
            assert!(expected.iter().all(|part| why.contains(part)), "{why}");
        };
        let uid = Some("$cookie_uid");
        check(("app", None), ("app", None), &[]);
        check(("web-1.x", None), ("web-1.x", None), &[]);
        check(("app", uid), ("app", uid), &[]);
        check(("app", uid), ("app", Some("$remote_addr")), &[]);
        check(("app", None), ("checkout", None), &["`upstream app`", "`upstream checkout`"]);
        check(("app", None), ("app", uid), &["`upstream app`", "`split_clients $app`"]);
        check(("app", uid), ("app", None), &["`split_clients $app`", "`upstream app`"]);
    }

    #[test]
    fn the_first_file_is_written_by_a_person() {
        let text = "upstream app { server 127.0.0.1:8001; server [::1]:8002 down; }\n\
                    map \"\" $quarterdeck_generation { default \"0:start\"; }\n";
        let conf = Conf::parse(text).expect("valid");
        assert_eq!(conf.generation(), "0:start");
        assert_eq!(conf.shares(&groups()), Ok((100.0, 0.0)));
    }
}
