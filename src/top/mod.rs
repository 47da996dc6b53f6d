//! `hotspot-exporter top`: all JVMs in a terminal, and what hurts them.
//!
//! Keys and overviews arrive as messages; each changes the [`model::TopModel`], which the view draws. Nothing that can
//! block runs on the thread that draws.

mod column;
mod format;
mod keys;
mod model;
mod plain;
mod source;
mod terminal;
mod trouble;
mod view;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event as TerminalEvent};

use rustix::process::Signal;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::report::overview::{JvmDetail, JvmKey, Overview};
use keys::KeyAction;
use model::TopModel;
pub use source::TopSource;
use terminal::FullScreen;
use view::{Caption, Spots, Theme};

/// What the screen depends on has changed.
#[derive(Debug)]
enum Message {
    Terminal(TerminalEvent),
    Overview(Result<Overview, String>),
    Detail(Box<JvmDetail>),
    Nothing,
    Suspend,
    End,
}

/// How to run it.
#[derive(Clone, Debug)]
pub struct TopOptions {
    /// Where what it shows comes from.
    pub source: TopSource,
    /// Time between two looks.
    pub interval: Duration,
    /// Whether colours are allowed.
    pub has_colour: bool,
}

/// Shows JVMs until the user has enough, or a signal ends it.
///
/// # Errors
/// The terminal cannot be used.
pub fn run(options: &TopOptions, runtime: &Runtime) -> io::Result<()> {
    let TopOptions { source, interval, has_colour } = options.clone();
    let caption = Caption { source: source.name(), interval: format!("{} s", interval.as_secs_f64()) };
    let (messages, received) = channel();
    let (watch, watched) = channel();
    // Before the terminal is taken: a signal between the two would leave it as it is.
    runtime.block_on(async { follow_signals(messages.clone()) })?;
    let mut screen = FullScreen::enter()?;
    let keys = messages.clone();
    thread::Builder::new().name("keys".to_owned()).spawn(move || read_keys(&keys))?;
    let follow = move || source::follow(&source, interval, &watched, &messages);
    thread::Builder::new().name("overview".to_owned()).spawn(follow)?;
    show(&mut screen, &received, &watch, Theme::new(has_colour), &caption)
}

/// Has the signals that end or stop a program do so after the terminal was given back.
fn follow_signals(messages: Sender<Message>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut stop = signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                _ = terminate.recv() => Message::End,
                _ = interrupt.recv() => Message::End,
                _ = hang_up.recv() => Message::End,
                _ = stop.recv() => Message::Suspend,
            };
            if messages.send(message).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Sends what the terminal says, until nobody receives or the terminal is gone.
fn read_keys(messages: &Sender<Message>) {
    loop {
        let Ok(event) = event::read() else {
            let _ = messages.send(Message::End);
            return;
        };
        if messages.send(Message::Terminal(event)).is_err() {
            return;
        }
    }
}

/// Draws after each message, or each group of messages that have come meanwhile.
fn show(
    screen: &mut FullScreen,
    received: &Receiver<Message>,
    watch: &Sender<Option<JvmKey>>,
    theme: Theme,
    caption: &Caption,
) -> io::Result<()> {
    let mut model = TopModel::default();
    let mut spots = Spots::default();
    let mut watched = None;
    loop {
        screen.terminal.draw(|frame| spots = view::draw(frame, &mut model, theme, caption))?;
        let Ok(first) = received.recv() else { return Ok(()) };
        for message in std::iter::once(first).chain(received.try_iter()) {
            if matches!(&message, Message::Terminal(event) if keys::redraws(event)) {
                screen.forget()?;
            }
            take(&mut model, message, &spots);
        }
        if model.is_ended {
            return Ok(());
        }
        screen.set_mouse(model.wants_mouse)?;
        if std::mem::take(&mut model.wants_suspension) {
            screen.suspend()?;
        }
        let wanted = model.watched();
        if wanted != watched {
            watched.clone_from(&wanted);
            // Without the thread there is nothing new to see, and what was seen stays.
            let _ = watch.send(wanted);
        }
    }
}

/// What a message changes.
fn take(model: &mut TopModel, message: Message, spots: &Spots) {
    match message {
        Message::Overview(overview) => model.take(overview),
        Message::Detail(detail) => model.take_detail(*detail),
        Message::Nothing => {}
        Message::Suspend => model.apply(KeyAction::Suspend),
        Message::End => model.apply(KeyAction::Quit),
        Message::Terminal(event) => {
            if let Some(action) = keys::action(&event, model, spots) {
                model.apply(action);
            }
        }
    }
}

/// The JVMs as one table, for whoever reads no screen.
///
/// # Errors
/// No overview can be had.
pub fn table(options: &TopOptions) -> Result<String, String> {
    let overview = options.source.settled(options.interval)?;
    Ok(plain::table(&overview))
}
