//! The footer: what was just said, else the keys that work here.
//!
//! Decides which keys are worth a place. Never lists a key that the table does not have.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, put};
use crate::ui::keymap::{self, Act};
use crate::ui::theme::Role;
use crate::ui::{Mode, Tone, words};

/// In order of worth: what does not fit falls off the end.
const OFFERED: [Act; 26] = [
    Act::Help,
    Act::Rollback,
    Act::Yes,
    Act::No,
    Act::Acknowledge,
    Act::Pause,
    Act::Resume,
    Act::Faults,
    Act::Quit,
    Act::Deploy,
    Act::StopTheLine,
    Act::Promote,
    Act::Abort,
    Act::Thaw,
    Act::Shift,
    Act::Verify,
    Act::Escalate,
    Act::Palette,
    Act::Filter,
    Act::Zoom,
    Act::NextPanel,
    Act::Freeze,
    Act::RunPlan,
    Act::RuleOff,
    Act::Stop,
    Act::Timezone,
];

pub fn draw(buffer: &mut Buffer, at: Rect, scene: Scene<'_>) {
    let theme = scene.theme;
    if matches!(scene.ui.mode, Mode::Filter) {
        let text = format!("{}{}", scene.ui.filter, theme.pick("▏", "_"));
        put(
            buffer,
            at,
            0,
            Line::from(vec![
                Span::styled(" filter /", theme.style(Role::Key)),
                Span::styled(text, theme.style(Role::Input)),
                Span::styled("  Enter keeps  Esc clears", theme.style(Role::Dim)),
            ]),
        );
        return;
    }
    if let Some(message) = &scene.ui.message {
        let role = match message.tone {
            Tone::Plain => Role::Strong,
            Tone::Alarm => Role::Banner,
        };
        let text = words::clip(&format!(" {} ", message.text), usize::from(at.width));
        put(buffer, at, 0, Line::styled(text, theme.style(role)));
        return;
    }
    let mut room = usize::from(at.width);
    let mut spans = Vec::new();
    for act in OFFERED.into_iter().filter(|act| scene.ui.offers(*act, scene.live, scene.clock)) {
        let binding = keymap::binding(act);
        let Some(key) = scene.ui.keymap.keys(act).first() else { continue };
        let key = format!(" {key}");
        let name = format!(" {} ", binding.name);
        let wide = words::width(&key) + words::width(&name);
        if wide > room {
            break;
        }
        room -= wide;
        spans.push(Span::styled(key, theme.style(Role::Key)));
        spans.push(Span::styled(name, theme.style(Role::Dim)));
    }
    put(buffer, at, 0, Line::from(spans));
}
