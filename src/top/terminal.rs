//! The terminal, which gets its own screen and mode back whatever ends the program.

use std::io::{self, IsTerminal, Stdout, Write, stderr, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use rustix::process::{Signal, getpid, kill_process};

/// Whether the terminal is in our mode.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal in our mode, until it is dropped.
#[derive(Debug)]
pub(super) struct FullScreen {
    pub(super) terminal: Terminal<CrosstermBackend<Stdout>>,
    has_mouse: bool,
}

impl FullScreen {
    /// Takes the terminal, and has a panic of this thread give it back before it is reported. That of another thread is
    /// reported only where standard error is no terminal: it would stand in the middle of the screen.
    pub(super) fn enter() -> io::Result<Self> {
        let owner = thread::current().id();
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_own = thread::current().id() == owner;
            if is_own {
                give_back();
            }
            if is_own || !IS_TAKEN.load(Ordering::Acquire) || !stderr().is_terminal() {
                report(info);
            }
        }));
        let screen = Self { terminal: Terminal::new(CrosstermBackend::new(stdout()))?, has_mouse: false };
        take()?;
        Ok(screen)
    }

    /// Has clicks come here, or leaves them to the terminal, whose selection of text they end.
    pub(super) fn set_mouse(&mut self, wanted: bool) -> io::Result<()> {
        if self.has_mouse == wanted {
            return Ok(());
        }
        self.has_mouse = wanted;
        if wanted { execute!(stdout(), EnableMouseCapture) } else { execute!(stdout(), DisableMouseCapture) }
    }

    /// Gives the terminal back and stops this program, until somebody continues it.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        kill_process(getpid(), Signal::STOP)?;
        take()?;
        let had_mouse = std::mem::take(&mut self.has_mouse);
        self.set_mouse(had_mouse)?;
        self.forget()
    }

    /// Has the next drawing draw everything. `Terminal::clear` would ask the terminal where its cursor is, and the answer
    /// would go to the thread that reads keys.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    IS_TAKEN.store(true, Ordering::Release);
    execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, Hide)
}

fn give_back() {
    if IS_TAKEN.swap(false, Ordering::AcqRel) {
        // A terminal that is gone needs nothing back.
        let _ = execute!(stdout(), DisableMouseCapture, DisableBracketedPaste, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
        let _ = stdout().flush();
    }
}
