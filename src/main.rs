//! Boot order and exit codes: 0 ok, 1 runtime failure, 64 bad usage or configuration.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use hotspot_exporter::app::{App, ConfigSource, vocabulary};
use hotspot_exporter::cli::{Cli, Command, Flags, OutputFormat};
use hotspot_exporter::config::Config;
use hotspot_exporter::output::prometheus::{self, ExpositionFormat, Pages};
use hotspot_exporter::report::list::Listing;
use hotspot_exporter::server::{self, Backend, Bound, Options, Web, healthcheck};
use hotspot_exporter::telemetry::{SelfMetrics, log};
use hotspot_exporter::yaml::Problems;
use hotspot_exporter::{discovery, privilege, report, service};
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
    let signals = match &cli.command {
        Some(command) => matches!(command, Command::Nmt { .. }),
        None => !flags.once && !flags.config_check,
    };
    let source = ConfigSource { file: flags.config_file.clone(), overrides: flags.overrides(signals) };
    let (config, web) = match (source.load(), load_web(flags)) {
        (Ok(config), Ok(web)) => (config, web),
        (config, web) => {
            for problems in [config.err(), web.err()].into_iter().flatten() {
                eprintln!("{problems}");
            }
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
        None => serve(flags, source, config, web),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hotspot-exporter: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What `--web.config.file` says.
fn load_web(flags: &Flags) -> Result<Web, Problems> {
    flags.web_config_file.as_deref().map_or_else(|| Ok(Web::default()), Web::load)
}

fn run(command: &Command, source: ConfigSource, config: Config) -> anyhow::Result<()> {
    match command {
        Command::List { format } => {
            let (app, _) = App::new(source, config, SelfMetrics::new(vocabulary()))?;
            let listing = Listing::of(&app.scan_once());
            match format {
                OutputFormat::Table => print(&listing.table()),
                OutputFormat::Json => print(&format!("{}\n", serde_json::to_string_pretty(&listing)?)),
            }
        }
        Command::Dump { subject, format } => {
            let image = report::image(subject, &config)?;
            match format {
                OutputFormat::Table => print(&report::dump_table(&image)),
                OutputFormat::Json => {
                    print(&format!("{}\n", serde_json::to_string_pretty(&report::dump_json(&image))?))
                }
            }
        }
        Command::Nmt { subject, format } => {
            let summary = report::native_memory(subject, &config)?;
            match format {
                OutputFormat::Table => print(&hotspot_exporter::providers::nmt::table(&summary)),
                OutputFormat::Json => print(&format!("{}\n", serde_json::to_string_pretty(&summary)?)),
            }
        }
        Command::Explain { subject } => print(&report::explain(subject, &config)?),
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
    let pages = Pages::of(&snapshot.target_set, &Pages::default());
    let page = pages.get(&profile).map(|page| &**page);
    prometheus::write(&snapshot, page, ExpositionFormat::Text, Some(&app.own_families()), &mut text);
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
        // Many scrapes at once leave many threads behind; the next scrape is some seconds away.
        .thread_keep_alive(Duration::from_secs(2))
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

fn serve(flags: &Flags, source: ConfigSource, config: Config, web: Web) -> anyhow::Result<()> {
    discovery::raise_descriptor_limit();
    let listeners = if flags.systemd_socket { service::sockets()? } else { server::bind(&flags.listen)? };
    // Before any other thread is there: privileges belong to threads.
    privilege::reduce(&config).context("cannot drop privileges")?;
    let tls = web.has_tls();
    let options = Options {
        telemetry_path: flags.telemetry_path.clone(),
        max_requests: flags.max_requests,
        lifecycle: flags.lifecycle,
        web: Arc::new(web),
        ..Options::default()
    };
    let telemetry = SelfMetrics::new(vocabulary());
    let (app, watch) = App::new(source, config, Arc::clone(&telemetry)).context("cannot watch for JVMs")?;
    runtime()?.block_on(async {
        let bound = Bound::inherit(listeners)?;
        let scanning = app.start_scanning(watch).context("cannot start the scanning thread")?;
        for address in bound.addresses() {
            tracing::info!(%address, tls, "listening");
        }
        app.start_pushing();
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
        let ending = Arc::clone(&app);
        let asked = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("ending");
            ending.stopping();
        };
        // The last push goes out while requests in flight end, not after: both have little time.
        let (ending, ended) = tokio::sync::oneshot::channel::<()>();
        let pushing = Arc::clone(&app);
        let flushing = tokio::spawn(async move {
            if ended.await.is_ok() {
                let _ = tokio::task::spawn_blocking(move || pushing.stop_pushing()).await;
            }
        });
        let asked = async move {
            asked.await;
            let _ = ending.send(());
        };
        server::serve(bound, options, Arc::clone(&app) as Arc<dyn Backend>, telemetry, asked).await;
        app.stop();
        let _ = flushing.await;
        let _ = tokio::task::spawn_blocking(move || scanning.join()).await;
        Ok(())
    })
}
