//! The table with a person's own keys.
//!
//! Decides who has a key that two want: the person's word wins over the table, the first word over
//! the second. Contract: rollback and stop the line are never without a key, whatever is written;
//! whatever is not as it was written, or as it was before, is told with its place and a remedy.

use super::{Act, BINDINGS, Key, Keymap, config_name, search};

/// They always mean the same: what cancels must not be looked for.
const FIXED: [Act; 2] = [Act::Interrupt, Act::Back];

/// Nobody looks for these in a palette.
const EMERGENCY: [Act; 2] = [Act::Rollback, Act::StopTheLine];

/// What of somebody's keys is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Of the entry that it is about.
    pub place: usize,
    pub text: String,
    /// It would have left an emergency without its key.
    pub grave: bool,
}

/// What somebody wrote, while it is sorted out.
struct Sorting<'a> {
    own: &'a [(&'a str, &'a [String])],
    /// Each entry's place in the table; `None` for one that counts for nothing.
    acts: Vec<Option<usize>>,
    /// Whose each key is by now.
    taken: Vec<(Key, usize)>,
    found: Vec<Conflict>,
}

impl Keymap {
    /// The table with a person's own keys: name of the act, and its keys, all of them.
    #[must_use]
    pub fn with(own: &[(&str, &[String])]) -> (Keymap, Vec<Conflict>) {
        let mut map = Keymap::default();
        let mut sorting = Sorting { own, acts: Vec::new(), taken: Vec::new(), found: Vec::new() };
        sorting.acts = (0..own.len()).map(|place| sorting.act_of(place)).collect();
        // The emergencies choose first, and those that nobody wrote about before the others.
        let (mut first, rest): (Vec<usize>, Vec<usize>) =
            (0..BINDINGS.len()).partition(|at| EMERGENCY.contains(&BINDINGS[*at].act));
        first.sort_by_key(|at| sorting.place_of(*at).is_some());
        for at in &first {
            map.keys[*at] = sorting.keys_of(*at, true);
        }
        if first.iter().any(|at| map.keys[*at].is_empty()) {
            sorting.taken.clear();
            for at in first {
                if let (Some(place), false) = (sorting.place_of(at), map.keys[at].is_empty()) {
                    let (name, key) = (config_name(&BINDINGS[at]), BINDINGS[at].keys[0]);
                    let text = format!("{name} keeps {key}: the other emergency has no key else");
                    sorting.tell(place, text, true);
                }
                map.keys[at] = BINDINGS[at].keys.to_vec();
                sorting.taken.extend(map.keys[at].iter().map(|key| (*key, at)));
            }
        }
        let (mut chosen, others): (Vec<usize>, Vec<usize>) =
            rest.into_iter().partition(|at| sorting.place_of(*at).is_some());
        chosen.sort_by_key(|at| sorting.place_of(*at));
        for at in &chosen {
            map.keys[*at] = sorting.keys_of(*at, false);
        }
        // Only now it is known which of the table's keys are still there.
        for at in chosen.into_iter().filter(|at| map.keys[*at].is_empty()).collect::<Vec<_>>() {
            map.keys[at] = sorting.left_of(at, sorting.place_of(at));
        }
        for at in others {
            map.keys[at] = sorting.left_of(at, None);
        }
        (map, sorting.found)
    }
}

impl Sorting<'_> {
    fn tell(&mut self, place: usize, text: String, grave: bool) {
        self.found.push(Conflict { place, text, grave });
    }

    fn act_of(&mut self, place: usize) -> Option<usize> {
        let name = self.own[place].0;
        let at = BINDINGS.iter().position(|binding| config_name(binding) == *name);
        if at.is_some_and(|at| FIXED.contains(&BINDINGS[at].act)) {
            self.tell(place, format!("{name} always keeps its key"), false);
            return None;
        }
        if at.is_none() {
            let near = search(name).first().map(|binding| config_name(binding));
            let hint = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
            self.tell(place, format!("nothing is called {name}{hint}"), false);
        }
        at
    }

    fn place_of(&self, at: usize) -> Option<usize> {
        self.acts.iter().position(|own| *own == Some(at))
    }

    /// The keys that were written for an act, as far as they can be had. An emergency that would
    /// get none keeps its own.
    fn keys_of(&mut self, at: usize, emergency: bool) -> Vec<Key> {
        let place = self.place_of(at);
        let written = place.map(|place| self.own[place].1).unwrap_or_default();
        let mut keys = Vec::new();
        for text in written {
            match self.claim(text) {
                Ok(key) => {
                    self.taken.push((key, at));
                    keys.push(key);
                }
                Err((why, grave)) => self.tell(place.unwrap_or_default(), why, grave),
            }
        }
        if keys.is_empty() && emergency {
            let table = BINDINGS[at].keys.iter().copied();
            let free = |key: &Key| self.taken.iter().all(|(own, _)| own != key);
            keys = table.filter(free).collect();
            self.taken.extend(keys.iter().map(|key| (*key, at)));
            if let Some(place) = place {
                let (name, key) = (config_name(&BINDINGS[at]), BINDINGS[at].keys[0]);
                let text = format!("{name} must have a key: it keeps {key} until you give it one");
                self.tell(place, text, true);
            }
        }
        keys
    }

    /// The key, if nobody else has it; why not, and whether an emergency would lose it.
    fn claim(&self, text: &str) -> Result<Key, (String, bool)> {
        let key: Key = text.parse().map_err(|why| (why, false))?;
        if BINDINGS.iter().any(|one| FIXED.contains(&one.act) && one.keys.contains(&key)) {
            return Err((format!("{key} always cancels: choose another key"), false));
        }
        let Some((_, other)) = self.taken.iter().find(|(own, _)| *own == key) else {
            return Ok(key);
        };
        let name = config_name(&BINDINGS[*other]);
        Err(if self.place_of(*other).is_none() {
            (format!("{key} is {name}'s: give {name} another key first"), true)
        } else {
            (format!("{key} is {name}'s already: keep one of the two"), false)
        })
    }

    /// The table's keys of an act, without those that the person gave away.
    fn left_of(&mut self, at: usize, place: Option<usize>) -> Vec<Key> {
        let owner = |key: &Key| self.taken.iter().find(|(own, _)| own == key).map(|it| it.1);
        let table = BINDINGS[at].keys;
        let keys: Vec<Key> = table.iter().copied().filter(|key| owner(key).is_none()).collect();
        let lost = table.iter().find_map(|key| Some((*key, owner(key)?)));
        let name = config_name(&BINDINGS[at]);
        let kept: Vec<String> = keys.iter().map(Key::to_string).collect();
        let kept = kept.join(" ");
        let (about, text) = match (place, lost) {
            (Some(place), _) if !keys.is_empty() => {
                (place, format!("{name} has no key of these: it keeps {kept}"))
            }
            (_, Some((key, owner))) => {
                let wins = config_name(&BINDINGS[owner]);
                let text = if keys.is_empty() {
                    format!(
                        "{key} is {wins} now, {name} has no key: give it one, or use the palette"
                    )
                } else {
                    format!("{key} is {wins} now, {name} keeps {kept}: list them if you mean so")
                };
                (place.or(self.place_of(owner)).unwrap_or_default(), text)
            }
            (_, None) => return keys,
        };
        self.tell(about, text, false);
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(own: &[(&str, &[&str])], expected: &[(usize, &str)]) -> Keymap {
        let keys: Vec<Vec<String>> = own
            .iter()
            .map(|(_, keys)| keys.iter().map(|key| (*key).to_owned()).collect())
            .collect();
        let own: Vec<(&str, &[String])> =
            own.iter().zip(&keys).map(|((name, _), keys)| (*name, keys.as_slice())).collect();
        let (map, conflicts) = Keymap::with(&own);
        let found: Vec<(usize, &str)> =
            conflicts.iter().map(|found| (found.place, found.text.as_str())).collect();
        assert_eq!(found, expected);
        for act in EMERGENCY {
            assert!(!map.keys(act).is_empty(), "{act:?} has no key with {own:?}");
        }
        map
    }

    fn found(map: &Keymap, key: Key) -> Option<Act> {
        map.find(key).map(|binding| binding.act)
    }

    #[test]
    fn own_keys_win_and_what_cannot_be_is_told_with_its_place() {
        let map = check(&[("rollback", &["Q", "Ctrl-R"]), ("shift", &["R"])], &[]);
        assert_eq!(found(&map, Key::Char('R')), Some(Act::Shift));
        assert_eq!(map.all(Act::Rollback), "Q Ctrl-R");
        assert_eq!(found(&map, Key::Char('S')), None);
        let text = "q is zoom now, quit has no key: give it one, or use the palette";
        check(&[("zoom", &["q"])], &[(0, text)]);
        check(&[("zoom", &["q"]), ("quit", &["Ctrl-Q"])], &[]);
        let both = "x is zoom's already: keep one of the two";
        let map = check(&[("zoom", &["x"]), ("help", &["x", "?"])], &[(1, both)]);
        assert_eq!(found(&map, Key::Char('x')), Some(Act::Zoom));
        assert_eq!(map.all(Act::Help), "?");
        check(&[("rolback", &["x"])], &[(0, "nothing is called rolback; did you mean rollback?")]);
        check(&[("interrupt", &["x"])], &[(0, "interrupt always keeps its key")]);
        check(&[("help", &["Esc", "?"])], &[(0, "Esc always cancels: choose another key")]);
        let map = check(&[("quit", &["F10"]), ("mark-bad", &["Delete"])], &[]);
        assert_eq!(found(&map, Key::F(10)), Some(Act::Quit));
        assert_eq!(found(&map, Key::Delete), Some(Act::MarkBad));
    }

    #[test]
    fn without_a_key_that_can_be_an_act_keeps_its_own() {
        let map = check(&[("quit", &[])], &[(0, "quit has no key of these: it keeps q")]);
        assert_eq!(found(&map, Key::Char('q')), Some(Act::Quit));
        let text = "a terminal sends Enter for Ctrl-M: choose another key";
        check(&[("quit", &["Ctrl-M"])], &[(0, text), (0, "quit has no key of these: it keeps q")]);
        let text = "q is zoom now, quit has no key: give it one, or use the palette";
        let map = check(&[("quit", &[]), ("zoom", &["q"])], &[(0, text)]);
        assert_eq!(found(&map, Key::Char('q')), Some(Act::Zoom));
    }

    #[test]
    fn who_loses_one_of_several_keys_is_told() {
        let text = "l is filter now, next-panel keeps Tab Right: list them if you mean so";
        let map = check(&[("filter", &["l"])], &[(0, text)]);
        assert_eq!(map.all(Act::NextPanel), "Tab Right");
        check(&[("filter", &["l"]), ("next-panel", &["Tab", "Right"])], &[]);
    }

    #[test]
    fn what_would_take_an_emergencys_key_is_grave() {
        let grave = |name: &str, keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            Keymap::with(&[(name, keys.as_slice())]).1.iter().any(|found| found.grave)
        };
        assert!(grave("rollback", &[]));
        assert!(grave("shift", &["R"]));
        assert!(!grave("zoom", &["q"]));
        assert!(!grave("rollback", &["F99", "F9"]));
    }

    #[test]
    fn an_emergency_is_never_without_its_key() {
        let kept = "rollback must have a key: it keeps R until you give it one";
        let map = check(&[("rollback", &[])], &[(0, kept)]);
        assert_eq!(found(&map, Key::Char('R')), Some(Act::Rollback));
        let wrong = "there is no key \"F99\": write a letter, Ctrl-X, F1, or Space, Tab, Delete …";
        check(&[("rollback", &["F99"])], &[(0, wrong), (0, kept)]);
        let first = "R is rollback's: give rollback another key first";
        let map = check(
            &[("shift", &["R"])],
            &[(0, first), (0, "shift has no key of these: it keeps S")],
        );
        assert_eq!(found(&map, Key::Char('R')), Some(Act::Rollback));
        let taken = "R is rollback's already: keep one of the two";
        let keeps = "quit has no key of these: it keeps q";
        check(&[("quit", &["R"]), ("rollback", &["R"])], &[(0, taken), (0, keeps)]);
        let first = "X is stop-the-line's: give stop-the-line another key first";
        check(&[("rollback", &["X"])], &[(0, first), (0, kept)]);
        let map = check(&[("rollback", &["X"]), ("stop-the-line", &["R"])], &[]);
        assert_eq!(found(&map, Key::Char('X')), Some(Act::Rollback));
        let wrong = "there is no key \"F0\": write a letter, Ctrl-X, F1, or Space, Tab, Delete …";
        let own = "stop-the-line must have a key: it keeps X until you give it one";
        let map = check(
            &[("rollback", &["X"]), ("stop-the-line", &["F0"])],
            &[(1, wrong), (1, own), (0, "rollback keeps R: the other emergency has no key else")],
        );
        assert_eq!(found(&map, Key::Char('X')), Some(Act::StopTheLine));
        assert_eq!(found(&map, Key::Char('R')), Some(Act::Rollback));
    }
}
