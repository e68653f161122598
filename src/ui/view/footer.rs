//! The footer: what was just said, else the sandbox's faults and the keys that work here.
//!
//! Decides which keys are worth a place. Never lists a key that the table does not have.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Scene, put};
use crate::ui::keymap::{self, Act};
use crate::ui::past::Past;
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

/// What a replay is steered by stands before them.
const STEERS: [Act; 6] =
    [Act::Earlier, Act::Later, Act::MuchEarlier, Act::MuchLater, Act::Slower, Act::Faster];

/// Narrower footers say of a fault only that it is on.
const LABEL_FROM: u16 = 80;

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
    if let Some(text) = faults(at.width, scene) {
        room = room.saturating_sub(words::width(&text) + 1);
        spans.push(Span::styled(text, theme.style(Role::Frozen)));
        spans.push(Span::raw(" "));
    }
    // The fault that is on says their key already.
    let told = !spans.is_empty();
    let replay = matches!(scene.ui.past, Some(Past::Replay { .. }));
    let steers = STEERS.into_iter().filter(|_| replay);
    let offered = steers.chain(OFFERED).filter(|act| {
        !(told && *act == Act::Faults) && scene.ui.offers(*act, scene.live, scene.clock)
    });
    for act in offered {
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

/// The sandbox's faults that are on: what is broken on purpose looks like what is broken.
fn faults(width: u16, scene: Scene<'_>) -> Option<String> {
    let mut on = scene.ui.faults.iter().filter(|fault| fault.on);
    let first = on.next()?;
    let key = scene.ui.keymap.shown(Act::Faults);
    Some(match on.count() {
        0 if width < LABEL_FROM => format!(" {key} fault ON "),
        0 => format!(" {key} fault ON: {} ", first.label),
        more => format!(" {key} {} faults ON ", more + 1),
    })
}
