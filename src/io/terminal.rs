//! The terminal: entered once, left on every way out.
//!
//! Decides when the terminal is ours. Never draws by itself. Contract: [`leave`] is idempotent,
//! cannot panic on a dead terminal, and runs before a panic is printed, after which nothing is
//! drawn any more; a signal or a hang-up is told to the loop, and ends the process by itself when
//! the loop does not, because crossterm's own poll would spin on a terminal that is gone.

pub mod sequences;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::panic;
use std::rc::Rc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute, queue, style};
use ratatui::layout::{Position, Rect, Size};
use ratatui::{Frame, Terminal};
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

/// Larger than any frame (about 40 kB at 300×80), so that a frame is one write.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// A change of a few cells arrives whole in one piece: it needs no marks around it.
const WHOLE_BYTES: usize = 512;
/// As shells say it: 128 and the number of the signal.
const EXIT_BY_SIGNAL: i32 = 128;
/// Longest that a loop may take to end after a signal, and that a dead terminal may keep it: a
/// process whose terminal hung up is gone within a second.
const END_MAX: Duration = Duration::from_millis(800);

static ENTERED: AtomicBool = AtomicBool::new(false);
/// Clicks and the wheel are wanted, also after a stop.
static MOUSE: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// Standard output, collected until a frame is whole; the backend holds one end, we the other.
#[derive(Clone)]
struct Out(Rc<RefCell<Vec<u8>>>, Rc<File>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// The backend flushes in the middle of a frame; only [`Screen::draw`] sends.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Out {
    fn send(&self) -> io::Result<()> {
        let mut buffer = self.0.borrow_mut();
        if buffer.is_empty() {
            return Ok(());
        }
        // Past the line buffer of the standard library, which would cut a frame at its newlines.
        let mut out: &File = &self.1;
        let sent = out.write_all(&buffer);
        buffer.clear();
        buffer.shrink_to(FRAME_BYTES_MAX);
        sent
    }
}

/// Standard output as ratatui draws on it, without ever asking the terminal anything back.
///
/// A clear asks for the cursor's position first; a terminal that does not answer would end us,
/// and the answer would have to pass the thread that reads keys.
///
/// A frame that changes nothing is no bytes: ratatui's own would reset the colours and hide the
/// cursor again each time.
struct Canvas {
    inner: CrosstermBackend<Out>,
    /// [`take`] hides it.
    hidden: bool,
}

impl Backend for Canvas {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut content = content.peekable();
        if content.peek().is_none() { Ok(()) } else { self.inner.draw(content) }
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.hidden, true) { Ok(()) } else { self.inner.hide_cursor() }
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.hidden = false;
        self.inner.show_cursor()
    }

    /// The cursor is hidden: where it stands matters to nobody.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.inner.clear()
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.inner.clear_region(region)
    }

    fn size(&self) -> io::Result<Size> {
        self.inner.size()
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.inner.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        Backend::flush(&mut self.inner)
    }
}

/// The terminal while it is ours; dropping it gives it back.
pub struct Screen {
    terminal: Terminal<Canvas>,
    out: Out,
    /// It says that it shows what stands between two marks at once.
    synchronized: bool,
    /// It has no more colours.
    sixteen: bool,
}

impl Screen {
    /// Takes the terminal: panic hook first, then raw mode and the alternate screen.
    ///
    /// `sixteen`: it has no more colours than these.
    pub fn enter(sixteen: bool) -> io::Result<Screen> {
        restore_before_panics();
        // Colours are our themes' business; crossterm's own NO_COLOR breaks reverse video.
        style::force_color_output(true);
        take()?;
        let file = File::from(rustix::io::dup(io::stdout())?);
        let buffer = Vec::with_capacity(FRAME_BYTES_MAX);
        let out = Out(Rc::new(RefCell::new(buffer)), Rc::new(file));
        let canvas = Canvas { inner: CrosstermBackend::new(out.clone()), hidden: true };
        let mut terminal = Terminal::new(canvas)?;
        terminal.clear()?;
        Ok(Screen { terminal, out, synchronized: false, sixteen })
    }

    /// One frame: one write, shown at once by terminals that say that they can.
    pub fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if !ENTERED.load(Ordering::SeqCst) {
            // A panic of another thread gave the terminal back; it is the shell's now.
            return Err(io::Error::other("a part of the program panicked; see above"));
        }
        self.terminal.draw(picture)?;
        if self.sixteen {
            let told = sequences::in_sixteen(&self.out.0.borrow());
            self.out.0.replace(told);
        }
        if self.synchronized && self.out.0.borrow().len() > WHOLE_BYTES {
            let mut marked = Vec::with_capacity(FRAME_BYTES_MAX);
            queue!(marked, BeginSynchronizedUpdate)?;
            marked.append(&mut self.out.0.borrow_mut());
            queue!(marked, EndSynchronizedUpdate)?;
            self.out.0.replace(marked);
        }
        self.out.send()
    }

    pub fn set_synchronized(&mut self, known: bool) {
        self.synchronized = known;
    }

    #[must_use]
    pub fn area(&self) -> Rect {
        self.terminal
            .backend()
            .size()
            .map_or(Rect::ZERO, |size| Rect::from((Position::ORIGIN, size)))
    }

    /// A sequence beside the cells, from [`sequences`].
    pub fn send(&self, sequence: &str) -> io::Result<()> {
        let mut out: &File = &self.out.1;
        out.write_all(sequence.as_bytes())
    }

    /// Takes clicks and the wheel, or leaves them to the terminal's own selection.
    pub fn set_mouse(&self, on: bool) -> io::Result<()> {
        if MOUSE.swap(on, Ordering::SeqCst) == on {
            return Ok(());
        }
        self.send(if on { sequences::MOUSE_ON } else { sequences::MOUSE_OFF })
    }

    /// After a stop from outside: the shell may have changed the terminal's modes meanwhile.
    pub fn again(&mut self) -> io::Result<()> {
        // crossterm believes that it still is in raw mode and would do nothing.
        disable_raw_mode()?;
        take()?;
        self.terminal.clear()
    }

    /// Gives the terminal to the shell until it continues us, then takes it again.
    pub fn suspend(&mut self) -> io::Result<()> {
        leave();
        let group = rustix::process::getpgrp();
        rustix::process::kill_process_group(group, rustix::process::Signal::STOP)?;
        take()?;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn take() -> io::Result<()> {
    ENTERED.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
    if MOUSE.load(Ordering::SeqCst) {
        execute!(io::stdout(), style::Print(sequences::MOUSE_ON))?;
    }
    Ok(())
}

/// Gives the terminal back; safe to call twice, from anywhere, on a terminal that is gone.
pub fn leave() {
    if !ENTERED.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = io::stdout();
    // Nothing is left to do when the terminal is gone.
    let _ = execute!(
        out,
        EndSynchronizedUpdate,
        style::Print(sequences::MOUSE_OFF),
        DisableBracketedPaste,
        LeaveAlternateScreen,
        cursor::Show,
        style::ResetColor
    );
    let _ = disable_raw_mode();
}

fn restore_before_panics() {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            leave();
            before(info);
        }));
    });
}

/// What came from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// After a stop: the terminal may look like anything.
    Continued,
    Resized,
    /// This signal, or a hang-up: end now, without drawing.
    End(i32),
}

/// The exit code of a process that a signal ended.
#[must_use]
pub fn exit_code(signal: i32) -> u8 {
    u8::try_from(EXIT_BY_SIGNAL + signal).unwrap_or(u8::MAX)
}

/// Tells the loop of SIGCONT and SIGWINCH, and of SIGTERM, SIGINT and SIGHUP, which must end it.
pub fn watch_signals<T: From<Told> + Send + 'static>(told: Sender<T>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGCONT, SIGWINCH])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            // The loop may be gone already; then there is nothing to draw either.
            match signal {
                SIGCONT => _ = told.send(Told::Continued.into()),
                SIGWINCH => _ = told.send(Told::Resized.into()),
                _ => end(&told, signal),
            }
        }
    })?;
    Ok(())
}

/// Tells the loop when the terminal hangs up, within milliseconds.
pub fn watch_hang_up<T: From<Told> + Send + 'static>(told: Sender<T>) -> io::Result<()> {
    thread::Builder::new().name("hang-up".to_owned()).spawn(move || {
        let stdin = io::stdin();
        loop {
            // No event is asked for: hang-up, error and closed are always reported.
            let mut fds = [PollFd::new(&stdin, PollFlags::empty())];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
                Ok(_) => end(&told, SIGHUP),
            }
        }
    })?;
    Ok(())
}

/// Lets the loop end by itself, so that it can clear up; one that hangs does not keep the process.
fn end<T: From<Told>>(told: &Sender<T>, signal: i32) -> ! {
    if told.send(Told::End(signal).into()).is_ok() {
        thread::sleep(END_MAX);
    }
    let code = i32::from(exit_code(signal));
    thread::spawn(move || {
        thread::sleep(END_MAX / 8);
        std::process::exit(code);
    });
    leave();
    std::process::exit(code)
}
