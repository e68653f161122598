//! The least that a program of this kind costs: a clock, a list, a help that a key opens.
//!
//! Decides nothing, and asks nobody anything. Contract: drawn by the same libraries as the console,
//! once a second and at each key; it ends when its terminal does.

use std::io;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode};
use crossterm::{execute, terminal};
use quarterdeck::io::clock;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Constraint, Layout};
use ratatui::widgets::{Block, Clear, Paragraph};

/// What this program is called with to be it.
pub const WORD: &str = "--floor";
pub const HELP: &str = "closes the help";

pub fn run() -> io::Result<()> {
    terminal::enable_raw_mode()?;
    execute!(io::stdout(), terminal::EnterAlternateScreen)?;
    let mut screen = Terminal::new(CrosstermBackend::new(io::stdout()))?;
    let mut helps = false;
    loop {
        let now = clock::now().wall;
        screen.draw(|frame| {
            let [top, rest] =
                Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(frame.area());
            frame.render_widget(Paragraph::new(format!("floor  {} s", now.timestamp())), top);
            let rows: Vec<String> =
                (0..rest.height).map(|row| format!("target {row:<40} UP    12 ms")).collect();
            let list = Paragraph::new(rows.join("\n")).block(Block::bordered().title("targets"));
            frame.render_widget(list, rest);
            if helps {
                let at = rest.inner(ratatui::layout::Margin::new(8, 4));
                frame.render_widget(Clear, at);
                frame.render_widget(Paragraph::new(HELP).block(Block::bordered()), at);
            }
        })?;
        let second = Duration::from_secs(1);
        let turn = second.saturating_sub(Duration::from_nanos(now.timestamp_subsec_nanos().into()));
        if !event::poll(turn)? {
            continue;
        }
        if let Event::Key(key) = event::read()? {
            helps ^= key.code == KeyCode::Char('?');
        }
    }
}
