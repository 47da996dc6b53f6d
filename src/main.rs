//! Boot order and exit codes: 0 ok, 1 runtime failure, 64 bad usage or configuration.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use hotspot_exporter::app::{App, ConfigSource, listing, render, vocabulary};
use hotspot_exporter::cli::{Cli, Command, Flags, OutputFormat};
use hotspot_exporter::config::Config;
use hotspot_exporter::exposition::Format;
use hotspot_exporter::server::{self, Options, Site, healthcheck};
use hotspot_exporter::telemetry::{SelfMetrics, log};
use hotspot_exporter::{discovery, inspect, nmt};
use tokio::signal::unix::{SignalKind, signal};

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let flags = &cli.flags;
    let _ = log::init(flags.log_level, flags.log_format);
    let source = ConfigSource { file: flags.config_file.clone(), overrides: flags.overrides() };
    let config = match source.load() {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(USAGE);
        }
    };
    let outcome = match &cli.command {
        _ if flags.config_check => {
            println!("the configuration is good: {} profiles", config.profiles.len());
            Ok(())
        }
        Some(command) => run(command, source, config),
        None if flags.once => once(source, config),
        None => serve(flags, source, config),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hotspot-exporter: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command, source: ConfigSource, config: Config) -> anyhow::Result<()> {
    match command {
        Command::List { format } => {
            let (app, _) = App::new(source, config, SelfMetrics::new(vocabulary()))?;
            let listing = listing(&app.scan_once());
            match format {
                OutputFormat::Table => print(&listing.table()),
                OutputFormat::Json => print(&format!("{}\n", serde_json::to_string_pretty(&listing)?)),
            }
        }
        Command::Dump { subject, format } => {
            let image = inspect::image(subject, &config)?;
            match format {
                OutputFormat::Table => print(&inspect::dump_table(&image)),
                OutputFormat::Json => {
                    print(&format!("{}\n", serde_json::to_string_pretty(&inspect::dump_json(&image))?))
                }
            }
        }
        Command::Nmt { subject, format } => {
            let summary = inspect::native_memory(subject, &config)?;
            match format {
                OutputFormat::Table => print(&nmt::table(&summary)),
                OutputFormat::Json => print(&format!("{}\n", serde_json::to_string_pretty(&summary)?)),
            }
        }
        Command::Explain { subject } => print(&inspect::explain(subject, &config)?),
        Command::Healthcheck { url } => {
            runtime()?.block_on(healthcheck::healthcheck(url, healthcheck::DEADLINE))?;
            Ok(())
        }
    }
}

fn once(source: ConfigSource, config: Config) -> anyhow::Result<()> {
    let profile = config.profiles.first().map(|profile| profile.name.clone()).unwrap_or_default();
    let telemetry = SelfMetrics::new(vocabulary());
    let (app, _) = App::new(source, config, telemetry)?;
    let snapshot = app.scan_once();
    let mut text = Vec::new();
    render(&snapshot, &profile, Format::Text, Some(&app.own_families()), &mut text);
    print(&String::from_utf8_lossy(&text))
}

/// Writes to standard output; a reader that has seen enough and closed it is no failure, a full disk is.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

fn serve(flags: &Flags, source: ConfigSource, config: Config) -> anyhow::Result<()> {
    if rustix::process::geteuid().is_root() {
        tracing::warn!("running as root; CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE are all that is needed");
    }
    discovery::raise_descriptor_limit();
    let options = Options {
        telemetry_path: flags.telemetry_path.clone(),
        max_requests: flags.max_requests,
        lifecycle: flags.lifecycle,
        ..Options::default()
    };
    let telemetry = SelfMetrics::new(vocabulary());
    let (app, watch) = App::new(source, config, Arc::clone(&telemetry)).context("cannot watch for JVMs")?;
    runtime()?.block_on(async {
        let bound = server::bind(&flags.listen).await?;
        let scanning = app.start_scanning(watch).context("cannot start the scanning thread")?;
        for address in bound.addresses() {
            tracing::info!(%address, "listening");
        }
        let mut hangup = signal(SignalKind::hangup())?;
        let reloading = Arc::clone(&app);
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                let app = Arc::clone(&reloading);
                let _ = tokio::task::spawn_blocking(move || app.reload()).await;
            }
        });
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let asked = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("ending");
        };
        server::serve(bound, options, Arc::clone(&app) as Arc<dyn Site>, telemetry, asked).await;
        app.stop();
        let _ = tokio::task::spawn_blocking(move || scanning.join()).await;
        Ok(())
    })
}
