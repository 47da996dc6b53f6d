//! Order of start and shutdown, and exit codes: 0 success, 1 failure, 64 invalid usage or configuration.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use hotspot_exporter::app::{App, ConfigSource};
use hotspot_exporter::cli::{Cli, Command, Flags, OutputFormat};
use hotspot_exporter::config::Config;
use hotspot_exporter::output::prometheus::{self, ExpositionFormat, PageBuffer, Pages};
use hotspot_exporter::report::doctor::Diagnosis;
use hotspot_exporter::report::list::Listing;
use hotspot_exporter::report::overview::Overview;
use hotspot_exporter::server::running::RunningExporter;
use hotspot_exporter::server::{self, Backend, Bound, Options, Web, healthcheck};
use hotspot_exporter::telemetry::HttpMetrics;
use hotspot_exporter::telemetry::log::{self, LogLevel};
use hotspot_exporter::top::{self, TopOptions, TopSource};
use hotspot_exporter::{discovery, privilege, report, service};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Time that each group of threads gets to end.
const END: Duration = Duration::from_secs(2);

/// Points of the history that `top` keeps in its own process, one each interval: as many as a history can have.
const TOP_POINTS: u32 = 180;

/// Time between two samples of an idle JVM for `top`, unless it is longer. Of several pauses in the first half second of one
/// that begins to collect, only the sum is known: less than a table of seconds shows.
const TOP_IDLE_INTERVAL: Duration = Duration::from_millis(500);

/// What a look of `doctor` keeps at least, and the time between two points of it, unless it keeps more.
const LOOK_HISTORY: Duration = Duration::from_secs(180);
const LOOK_STEP: Duration = Duration::from_secs(1);

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
    let is_top = matches!(cli.command, Some(Command::Top { .. }));
    let takes_terminal = is_top && std::io::stdout().is_terminal();
    // Lines of a log would stand in the middle of the screen.
    if !(takes_terminal && std::io::stderr().is_terminal()) {
        // What they find, `top` and `doctor` show.
        let shows = is_top || matches!(cli.command, Some(Command::Doctor { .. }));
        let is_usual = shows && flags.log_level == LogLevel::Info;
        let _ = log::init(if is_usual { LogLevel::Warn } else { flags.log_level }, flags.log_format);
    }
    let signals = match &cli.command {
        Some(command) => {
            matches!(command, Command::Nmt { .. } | Command::Top { .. } | Command::Doctor { .. })
        }
        None => !flags.once && !flags.config_check,
    };
    let source = ConfigSource { file: flags.config_file.clone(), overrides: flags.overrides(signals) };
    let web = flags.web_config_file.as_deref().map_or_else(|| Ok(Web::default()), Web::load);
    let (config, web) = match (source.load(), web) {
        (Ok(config), Ok(web)) => (config, web),
        (config, web) => {
            for problems in [config.err(), web.err()].into_iter().flatten() {
                eprintln!("{problems}");
            }
            return ExitCode::from(USAGE);
        }
    };
    let outcome = match &cli.command {
        _ if flags.config_check && !config.otlp.ignored.is_empty() => {
            eprintln!("{}", config.otlp.ignored);
            return ExitCode::from(USAGE);
        }
        _ if flags.config_check => {
            println!("the configuration is valid: {} profiles", config.profiles.len());
            Ok(ExitCode::SUCCESS)
        }
        Some(command) => run(command, flags, source, config),
        None if flags.once => once(source, config).map(|()| ExitCode::SUCCESS),
        None => serve(flags, source, config, web).map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hotspot-exporter: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command, flags: &Flags, source: ConfigSource, config: Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { local, format } => {
            let listing = if *local || flags.choose_jvms() { None } else { ask_running(flags, "/targets")? };
            let listing = match listing {
                Some(listing) => listing,
                None => Listing::of(&App::new(source, config, Arc::default())?.0.scan_once()),
            };
            show(*format, || listing.table(), &listing)
        }
        Command::Dump { subject, format } => {
            let image = report::image(subject, &config)?;
            show(*format, || report::dump_table(&image), &report::dump_json(&image))
        }
        Command::Nmt { subject, format } => {
            let summary = report::native_memory(subject, &config)?;
            show(*format, || hotspot_exporter::providers::attach::native_memory::table(&summary), &summary)
        }
        Command::Explain { subject } => print(&report::explain(subject, &config)?),
        Command::Top { url, local, interval } => {
            let exporter = top_exporter(url.as_deref(), *local, flags)?;
            let (source, runtime) = top_source(exporter, *interval, source, config)?;
            let outcome = show_top(&TopOptions { source, interval: *interval, has_colour: has_colour() }, &runtime);
            // A thread may be in the middle of a request, which does not outlive the process either.
            std::mem::forget(runtime);
            outcome
        }
        Command::Doctor { pid, url, local, time, verbose, format } => {
            let overview = overview(url.as_deref(), *local, *time, flags, source, config)?;
            return diagnose(&overview, *pid, *verbose, *format);
        }
        Command::Healthcheck { url } => Ok(runtime()?.block_on(healthcheck::healthcheck(url, healthcheck::DEADLINE))?),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// What a running exporter of this machine answers at this path, if one does; a note says which.
fn ask_running<T: DeserializeOwned>(flags: &Flags, path: &str) -> anyhow::Result<Option<T>> {
    match runtime()?.block_on(RunningExporter::find(&flags.listen, path)) {
        Ok((exporter, answer)) => {
            eprintln!("hotspot-exporter: from the exporter at {}{path}; --local looks anew", exporter.url());
            Ok(Some(answer))
        }
        Err(reason) => {
            eprintln!("hotspot-exporter: no exporter answers, so this is a look of its own ({reason})");
            Ok(None)
        }
    }
}

/// The exporter of a URL, whose password may be in the environment.
fn exporter_at(url: &str) -> RunningExporter {
    RunningExporter::at(url, std::env::var("HOTSPOT_EXPORTER_PASSWORD").ok().as_deref())
}

/// Follows JVMs in this process without serving them, and keeps a history with a point each step, whose points are the
/// overviews that are asked for. To be called before other threads start.
fn follow(source: ConfigSource, mut config: Config, step: Duration) -> anyhow::Result<Arc<App>> {
    discovery::raise_descriptor_limit();
    privilege::reduce(&config).context("cannot drop privileges")?;
    // Slots are kept by the exporter that serves.
    config.state_directory = None;
    let (app, watcher) = App::new(source, config, Arc::default()).context("cannot watch for JVMs")?;
    app.start_scanning(watcher).context("cannot start the scanning thread")?;
    app.keep_history(Some(step));
    Ok(app)
}

/// The exporter whose JVMs `top` shows: that of a URL, or one that runs on this machine; `None` if it is to look itself.
fn top_exporter(url: Option<&str>, local: bool, flags: &Flags) -> anyhow::Result<Option<RunningExporter>> {
    if let Some(url) = url {
        return Ok(Some(exporter_at(url)));
    }
    if local || flags.choose_jvms() {
        return Ok(None);
    }
    let found = runtime()?.block_on(RunningExporter::find::<Overview>(&flags.listen, "/overview"));
    Ok(found.ok().map(|(exporter, _)| exporter))
}

/// Where `top` gets its JVMs, and what runs the rest of it.
fn top_source(
    exporter: Option<RunningExporter>,
    interval: Duration,
    source: ConfigSource,
    mut config: Config,
) -> anyhow::Result<(TopSource, Runtime)> {
    if let Some(exporter) = exporter {
        let runtime = runtime()?;
        return Ok((TopSource::Remote(exporter, runtime.handle().clone()), runtime));
    }
    config.history = Some(interval * TOP_POINTS);
    config.sampling.idle_interval = config.sampling.idle_interval.max(TOP_IDLE_INTERVAL);
    let app = follow(source, config, interval)?;
    Ok((TopSource::Local(app), runtime()?))
}

fn show_top(options: &TopOptions, runtime: &Runtime) -> anyhow::Result<()> {
    if std::io::stdout().is_terminal() {
        return top::run(options, runtime).context("cannot use the terminal");
    }
    print(&top::table(options).map_err(anyhow::Error::msg)?)
}

/// Whether colours are allowed: <https://no-color.org>.
fn has_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The JVMs of the exporter of a URL, of one that runs on this machine, or what this process sees within that time.
fn overview(
    url: Option<&str>,
    local: bool,
    time: Duration,
    flags: &Flags,
    source: ConfigSource,
    config: Config,
) -> anyhow::Result<Overview> {
    const PATH: &str = "/overview";
    if let Some(url) = url {
        return runtime()?.block_on(exporter_at(url).get(PATH)).map_err(anyhow::Error::msg);
    }
    if !local
        && !flags.choose_jvms()
        && let Some(overview) = ask_running(flags, PATH)?
    {
        return Ok(overview);
    }
    eprintln!("hotspot-exporter: looking for {} s", time.as_secs());
    look(time, source, config)
}

/// What this process sees of the JVMs within that time.
fn look(time: Duration, source: ConfigSource, mut config: Config) -> anyhow::Result<Overview> {
    config.history = Some(time.max(LOOK_HISTORY));
    config.threads.interval = LOOK_STEP;
    let app = follow(source, config, LOOK_STEP)?;
    app.start_history().context("cannot start the thread of the history")?;
    std::thread::sleep(time);
    let overview = app.overview(&[]);
    app.stop();
    Ok(overview)
}

/// Prints what is wrong; the exit code says whether anything is.
fn diagnose(overview: &Overview, pid: Option<u32>, verbose: bool, format: OutputFormat) -> anyhow::Result<ExitCode> {
    let diagnosis = Diagnosis::of(overview, pid)?;
    show(format, || diagnosis.text(verbose), &diagnosis)?;
    Ok(if diagnosis.is_healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn once(source: ConfigSource, config: Config) -> anyhow::Result<()> {
    let profile = config.profiles.first().map(|profile| profile.name.clone()).unwrap_or_default();
    let (app, _) = App::new(source, config, Arc::default())?;
    let snapshot = app.scan_once();
    let mut text = PageBuffer::default();
    let pages = Pages::of(&snapshot.target_set, &Pages::default());
    let page = pages.get(&profile).map(|page| &**page);
    prometheus::write(
        &snapshot,
        page,
        ExpositionFormat::Text,
        Some(&app.page_families(&snapshot.target_set)),
        &mut text,
    );
    print(&String::from_utf8_lossy(&text.bytes))
}

fn show(format: OutputFormat, table: impl FnOnce() -> String, json: &impl Serialize) -> anyhow::Result<()> {
    match format {
        OutputFormat::Table => print(&table()),
        OutputFormat::Json => print(&format!("{}\n", serde_json::to_string_pretty(json)?)),
    }
}

/// Writes to standard output. A reader that closes it early is no failure, a full disk is.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

fn runtime() -> anyhow::Result<Runtime> {
    check_threads()?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Simultaneous scrapes leave many threads behind, and the next scrape is seconds away.
        .thread_keep_alive(Duration::from_secs(2))
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// The runtime panics where it cannot start a thread. The C library asks for one with `clone3`, and takes another call
/// only where the kernel says that it has none.
fn check_threads() -> anyhow::Result<()> {
    let thread = std::thread::Builder::new().spawn(|| ()).map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "the seccomp profile refuses clone3; update the container runtime, or have clone3 answered with ENOSYS"
            }
            _ => "raise the limit of processes and threads (ulimit -u, pids.max, TasksMax)",
        };
        anyhow::anyhow!("cannot start a thread: {error}; {remedy}")
    })?;
    let _ = thread.join();
    Ok(())
}

fn serve(flags: &Flags, source: ConfigSource, config: Config, web: Web) -> anyhow::Result<()> {
    discovery::raise_descriptor_limit();
    let listeners = if flags.systemd_socket { service::sockets()? } else { server::bind(&flags.listen())? };
    privilege::warn_of_root(&config);
    // Before any other thread starts: each thread has its own capabilities.
    privilege::reduce(&config).context("cannot drop privileges")?;
    let metrics = Arc::new(HttpMetrics::default());
    if flags.web_config_file.is_some() {
        metrics.web_loaded();
    }
    let tls = web.has_tls();
    let options = Options {
        telemetry_path: flags.telemetry_path.clone(),
        max_requests: flags.max_requests,
        lifecycle: flags.lifecycle,
        web: Arc::new(web),
        ..Options::default()
    };
    let (app, watcher) = App::new(source, config, Arc::clone(&metrics)).context("cannot watch for JVMs")?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let bound = Bound::inherit(listeners)?;
        let scanning = app.start_scanning(watcher).context("cannot start the scanning thread")?;
        for address in bound.addresses() {
            tracing::info!(%address, tls, "listening");
        }
        app.keep_history(None);
        app.start_history().context("cannot start the thread of the history")?;
        app.follow_configuration().context("cannot start the thread that follows the configuration")?;
        app.start_pushing();
        tokio::spawn(reload_on_hangup(signal(SignalKind::hangup())?, Arc::clone(&app)));
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (drain, draining) = oneshot::channel();
        let until_draining = async { draining.await.unwrap_or_default() };
        let serving = server::serve(bound, options, app.clone(), metrics, until_draining);
        let stopping = async {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            tracing::info!("shutting down");
            app.stopping();
            // The last push goes out while requests in flight end: both have little time.
            let _ = drain.send(());
            let app = Arc::clone(&app);
            let _ = tokio::task::spawn_blocking(move || app.stop_pushing()).await;
        };
        tokio::join!(serving, stopping);
        app.stop();
        let ended = Instant::now() + END;
        while !scanning.is_finished() && Instant::now() < ended {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    });
    // A thread that the kernel holds does not hold the end.
    runtime.shutdown_timeout(END);
    outcome
}

async fn reload_on_hangup(mut hangup: Signal, app: Arc<App>) {
    while hangup.recv().await.is_some() {
        let app = Arc::clone(&app);
        let _ = tokio::task::spawn_blocking(move || app.reload()).await;
    }
}
