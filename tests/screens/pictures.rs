//! The pictures in `docs/pictures/`: one of each thing that the console shows.

use std::path::{Path, PathBuf};

use quarterdeck::ui::theme::{Depth, Symbols, Theme};
use quarterdeck::ui::{svg, view};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::{panels, sample};

pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/pictures");

/// Each with its file.
pub fn pictures() -> Vec<(PathBuf, String)> {
    let picture = panels::picture();
    let theme = Theme::named("dark", Depth::True, Symbols::Unicode).expect("it is embedded");
    let drawn = panels::all(&picture).into_iter().map(|shown| {
        let area = match shown.name {
            "screen" => Rect::new(0, 0, 150, 36),
            "wall" => Rect::new(0, 0, 120, 30),
            _ => Rect::new(0, 0, 100, 26),
        };
        let mut buffer = Buffer::empty(area);
        view::draw_in(&mut buffer, area, Some(&picture), &shown.ui, &theme, sample::now());
        let path = Path::new(FOLDER).join(shown.name).with_extension("svg");
        (path, svg::picture(&buffer))
    });
    drawn.collect()
}
