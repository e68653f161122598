//! Writes `docs/screen.svg` from the hand-made picture of the screen tests.

#[path = "../tests/screens/sample.rs"]
mod sample;

use quarterdeck::ui::theme::{Depth, Symbols, Theme};
use quarterdeck::ui::{Event, Ui, svg, view};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

fn main() -> Result<(), String> {
    let snapshot = sample::sample();
    let mut ui = Ui::new(false, Some(chrono_tz::Europe::Lisbon));
    ui.update(Event::Changed, Some(&snapshot), sample::now());
    let theme = Theme::named("dark", Depth::True, Symbols::Unicode)?;
    let area = Rect::new(0, 0, 150, 36);
    let mut buffer = Buffer::empty(area);
    view::draw_in(&mut buffer, area, Some(&snapshot), &ui, &theme, sample::now());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/screen.svg");
    std::fs::write(path, svg::picture(&buffer)).map_err(|error| format!("{path}: {error}"))
}
