//! Cuts the elements out of a list in JSON while it streams in.
//!
//! Decides where an element begins and ends. Never judges one, and never keeps more than one.
//! Contract: what stands around the list comes back as JSON with an empty list in it; an element
//! larger than [`ELEMENT_BYTES_MAX`] is counted; memory is bounded whatever comes.

/// An alert with all its annotations has some KiB.
pub const ELEMENT_BYTES_MAX: usize = 1 << 20;
/// What stands around a list is a status and some warnings.
const AROUND_BYTES_MAX: usize = 1 << 20;
/// Longer than any key that a list stands under.
const KEY_BYTES_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The document is the list.
    Root,
    /// The first list under this key.
    Under(&'static str),
}

/// What takes each element.
pub type Each<'a> = &'a mut (dyn FnMut(&[u8]) -> Result<(), String> + Send);

enum Text {
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

enum List {
    Ahead,
    /// The depth inside of it, and whether an element was there.
    Open {
        depth: usize,
        any: bool,
    },
    Behind,
}

pub struct Splitter {
    place: Place,
    around: Vec<u8>,
    element: Vec<u8>,
    /// The element has bytes that were not kept.
    cut: bool,
    depth: usize,
    list: List,
    text: Text,
    /// The last text, and whether a `:` made it a key.
    last: Vec<u8>,
    is_key: bool,
    left_out: u32,
}

impl Splitter {
    pub fn new(place: Place) -> Splitter {
        Splitter {
            place,
            around: Vec::new(),
            element: Vec::new(),
            cut: false,
            depth: 0,
            list: List::Ahead,
            text: Text::Outside,
            last: Vec::new(),
            is_key: false,
            left_out: 0,
        }
    }

    pub fn take(&mut self, bytes: &[u8], each: Each<'_>) -> Result<(), String> {
        for &byte in bytes {
            let between = self.is_between();
            if between && matches!(byte, b',' | b']') {
                self.end_of_element(byte, &mut *each)?;
            }
            let was_in_list = self.is_in_list();
            self.step(byte);
            if was_in_list && self.is_in_list() {
                if !(between && byte == b',') {
                    self.keep(byte);
                }
            } else {
                if self.around.len() == AROUND_BYTES_MAX {
                    return Err(format!("more than {AROUND_BYTES_MAX} bytes beside its list"));
                }
                self.around.push(byte);
            }
        }
        Ok(())
    }

    fn is_in_list(&self) -> bool {
        matches!(self.list, List::Open { .. })
    }

    /// In the list, and in none of its elements' own parts.
    fn is_between(&self) -> bool {
        matches!(self.text, Text::Outside)
            && matches!(self.list, List::Open { depth, .. } if depth == self.depth)
    }

    /// Inside the list.
    fn keep(&mut self, byte: u8) {
        if self.element.is_empty() && !self.cut && byte.is_ascii_whitespace() {
            return;
        }
        if self.cut || self.element.len() == ELEMENT_BYTES_MAX {
            self.cut = true;
            self.element.clear();
        } else {
            self.element.push(byte);
        }
    }

    fn end_of_element(&mut self, byte: u8, each: Each<'_>) -> Result<(), String> {
        let nothing = self.element.is_empty() && !self.cut;
        if let List::Open { any, .. } = &mut self.list {
            if nothing && (byte == b',' || *any) {
                return Err("not JSON: a list with a gap".to_owned());
            }
            *any = true;
        }
        if self.cut {
            self.left_out += 1;
        } else if !nothing {
            each(&self.element)?;
        }
        self.cut = false;
        self.element.clear();
        Ok(())
    }

    /// Follows depth, texts and keys.
    fn step(&mut self, byte: u8) {
        if !matches!(self.text, Text::Outside) {
            self.text = match (&self.text, byte) {
                (Text::Inside, b'"') => Text::Outside,
                (Text::Inside, b'\\') => Text::Escaped,
                (_, _) => Text::Inside,
            };
            let goes_on = !matches!(self.text, Text::Outside);
            if goes_on && !self.is_in_list() && self.last.len() < KEY_BYTES_MAX {
                self.last.push(byte);
            }
            return;
        }
        match byte {
            b'"' => {
                self.text = Text::Inside;
                self.last.clear();
                self.is_key = false;
            }
            b':' => self.is_key = true,
            b'[' | b'{' => {
                let wanted = match self.place {
                    Place::Root => self.depth == 0,
                    Place::Under(key) => self.is_key && self.last == key.as_bytes(),
                };
                self.depth += 1;
                if byte == b'[' && wanted && matches!(self.list, List::Ahead) {
                    self.list = List::Open { depth: self.depth, any: false };
                }
                self.is_key = false;
            }
            b']' | b'}' => {
                if matches!(self.list, List::Open { depth, .. } if depth == self.depth) {
                    self.list = List::Behind;
                }
                self.depth = self.depth.saturating_sub(1);
            }
            byte if byte.is_ascii_whitespace() => {}
            _ => self.is_key = false,
        }
    }

    /// The document without its elements, and how many of them were too large.
    pub fn finish(self) -> (Vec<u8>, u32) {
        (self.around, self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(place: Place, text: &str, step: usize) -> Result<(Vec<String>, String, u32), String> {
        let mut splitter = Splitter::new(place);
        let mut found = Vec::new();
        let mut each = |element: &[u8]| {
            found.push(String::from_utf8_lossy(element).trim().to_owned());
            Ok(())
        };
        for bytes in text.as_bytes().chunks(step) {
            splitter.take(bytes, &mut each)?;
        }
        let (around, left_out) = splitter.finish();
        Ok((found, String::from_utf8_lossy(&around).into_owned(), left_out))
    }

    fn check(place: Place, text: &str, elements: &[&str], around: &str) {
        for step in [1, 3, text.len()] {
            let (found, rest, left_out) = split(place, text, step).expect(text);
            assert_eq!(
                (found.as_slice(), rest.as_str(), left_out),
                (
                    elements.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice(),
                    around,
                    0
                )
            );
        }
    }

    #[test]
    fn elements_come_one_by_one_and_the_rest_stays_json() {
        check(
            Place::Root,
            " [ {\"a\": [1, 2]} ,\n{\"b\": \"],\\\"}\"} ] ",
            &["{\"a\": [1, 2]}", "{\"b\": \"],\\\"}\"}"],
            " [] ",
        );
        check(Place::Root, "[]", &[], "[]");
        check(Place::Root, "[1,\"x\",null]", &["1", "\"x\"", "null"], "[]");
        check(Place::Root, "{}", &[], "{}");
        let answer = "{\"s\":\"alerts\",\"x\":[\"alerts\"],\"data\":{\"alerts\" : \
                      [{\"alerts\":[7]},2]},\"e\":1}";
        let around = "{\"s\":\"alerts\",\"x\":[\"alerts\"],\"data\":{\"alerts\" : []},\"e\":1}";
        check(Place::Under("alerts"), answer, &["{\"alerts\":[7]}", "2"], around);
        // What ends too early, or goes on, is for the JSON parser to say.
        check(Place::Root, "[1", &[], "[");
        check(Place::Root, "[1] x", &["1"], "[] x");
    }

    #[test]
    fn what_is_no_list_or_too_large_is_said_or_counted() {
        assert!(split(Place::Root, "[1,,2]", 1).is_err());
        assert!(split(Place::Root, "[1,]", 1).is_err());
        let large = format!("[1,\"{}\",2]", "x".repeat(ELEMENT_BYTES_MAX));
        let (found, around, left_out) = split(Place::Root, &large, 1 << 16).expect("a list");
        assert_eq!((found, around.as_str(), left_out), (vec!["1".into(), "2".into()], "[]", 1));
        let deep = "[".repeat(3 * ELEMENT_BYTES_MAX);
        assert!(split(Place::Root, &deep, 1 << 16).is_ok(), "nothing of it is kept");
        let beside = format!("{{\"a\":\"{}\"}}", "x".repeat(AROUND_BYTES_MAX));
        assert!(split(Place::Under("alerts"), &beside, 1 << 16).is_err());
    }
}
