//! The queries of public boards, asked of a real Prometheus that scraped the page of the profile that is made for them.

use std::fs;

use crate::support::exporter::Exporter;
use crate::support::jdk::{self, Collector};
use crate::support::jvm::Jvm;
use crate::support::prometheus::Prometheus;
use crate::support::{ensure, package, program, skip, wait_at_most, wait_for};

/// A query of a board.
#[derive(Debug)]
struct BoardQuery {
    panel: String,
    text: String,
    expectation: Expectation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expectation {
    /// It finds something.
    Data,
    /// It finds something while the JVM's memory can be read.
    DataOfMemory,
    /// It finds nothing.
    Nothing,
}

/// The queries in `tests/fixtures/boards`, whose comments say where they are from and what the file's form is.
fn queries(board: &str) -> Vec<BoardQuery> {
    let text = fs::read_to_string(package().join("tests/fixtures/boards").join(board)).unwrap();
    let (mut panel, mut expectation) = (String::new(), Expectation::Data);
    let mut queries = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some((title, remark)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            panel = title.to_owned();
            expectation = match remark.trim() {
                "" => Expectation::Data,
                "introspected" => Expectation::DataOfMemory,
                other => {
                    assert!(other.starts_with("absent: "), "{line}");
                    Expectation::Nothing
                }
            };
        } else {
            queries.push(BoardQuery { panel: panel.clone(), text: line.to_owned(), expectation });
        }
    }
    queries
}

/// A JVM, an exporter, and a Prometheus that scrapes one of its pages.
struct BoardStage {
    prometheus: Prometheus,
    exporter: Exporter,
    app: String,
    _jvm: Jvm,
    _directory: tempfile::TempDir,
}

impl BoardStage {
    /// The JVM collects all the time.
    fn set(collector: Collector, profiles: &str, path: &str) -> Option<Self> {
        let Some(prometheus) = program("prometheus") else {
            skip("boards", "no prometheus; install Debian's prometheus");
            return None;
        };
        // Until JDK 24 Parallel publishes the use of eden.
        let jdk = jdk::of_each_release(|jdk| (17..25).contains(&jdk.feature)).pop().unwrap_or_else(jdk::any);
        let app = format!("boards-{}-{}", path.replace('/', "-"), std::process::id());
        let options = [collector.options(), vec![format!("-Dotel.service.name={app}")]].concat();
        let mut jvm = Jvm::start(&jdk, options);
        jvm.obey("run 50");
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("exporter.yaml");
        fs::write(&config, format!("profiles: [{profiles}]\ndiscovery: {{interval: 1s}}\n")).unwrap();
        let exporter =
            Exporter::start([format!("--config.file={}", config.display()), "--discovery.root=/tmp".to_owned()]);
        let prometheus = Prometheus::of_path(&prometheus, directory.path(), exporter.address(), path);
        Some(Self { prometheus, exporter, app, _jvm: jvm, _directory: directory })
    }

    /// The query as Grafana would ask it. Other JVMs of the host are none of our business.
    fn filled(&self, query: &str) -> Result<String, String> {
        let mut text = query
            .replace("$instance\"", &format!("{}\", app=\"{}\"", self.exporter.address(), self.app))
            .replace("$application", &self.app)
            .replace("$job", "jvm")
            .replace("$__rate_interval", "1m");
        for area in ["nonheap", "heap"] {
            let variable = format!("$jvm_memory_pool_{area}");
            if text.contains(&variable) {
                let selector = format!("jvm_memory_used_bytes{{application=\"{}\", area=\"{area}\"}}", self.app);
                let pools = self.prometheus.label_values(&selector, "id")?;
                text = text.replace(&variable, &pools.join("|"));
            }
        }
        Ok(text)
    }

    /// Whether the query finds a number.
    fn answers(&self, query: &BoardQuery) -> Result<(), String> {
        let values = self.prometheus.query(&self.filled(&query.text)?)?;
        ensure(values.iter().any(|value| value.is_finite()), format!("{query:?}: {values:?}"))
    }

    /// Asks every query until it finds what it should. Returns how many find something.
    fn ask(&self, queries: &[BoardQuery]) -> usize {
        for query in queries.iter().filter(|query| query.expectation == Expectation::Data) {
            wait_for(&query.panel, || self.answers(query));
        }
        let states = format!("{{__name__=~\"jvm_(threads|hotspot_thread)_state.*\", app=\"{}\"}}", self.app);
        wait_for("the JVM's memory is read", || {
            ensure(!self.prometheus.query(&states)?.is_empty(), "no states of threads".to_owned())
        });
        let mut found = 0;
        for query in queries {
            match (self.answers(query), query.expectation) {
                (Ok(()), Expectation::Nothing) => panic!("it finds something, which the fixture denies: {query:?}"),
                (Ok(()), _) => found += 1,
                (Err(reason), Expectation::DataOfMemory) => {
                    wait_at_most(crate::support::PATIENCE, || self.answers(query)).expect(&reason);
                    found += 1;
                }
                (Err(_), _) => println!("finds nothing: {}: {}", query.panel, query.text),
            }
        }
        // What a board shows of a process is the JVM's.
        let own = self.prometheus.query("{__name__=~\"process_.*\", app=\"\"}").unwrap();
        assert!(own.is_empty(), "{own:?}");
        found
    }
}

#[test]
fn the_micrometer_board_shows_a_jvm() {
    let Some(stage) = BoardStage::set(Collector::G1, "otel, micrometer", "/metrics/micrometer") else { return };
    let queries = queries("micrometer-4701.txt");
    assert_eq!(queries.len(), 59);
    let found = stage.ask(&queries);
    println!("{found} of {}", queries.len());
    assert!(found >= 46, "{found}");
}

#[test]
fn the_board_for_the_java_client_shows_a_jvm() {
    // Its page is the first, with the exporter's own metrics.
    let Some(stage) = BoardStage::set(Collector::Parallel, "client_java", "/metrics") else { return };
    let queries = queries("client_java.txt");
    let found = stage.ask(&queries);
    println!("{found} of {}", queries.len());
    assert!(found >= 31, "{found}");
    assert_eq!(stage.prometheus.query("count(hotspot_exporter_build_info)").unwrap(), [1.0]);
}

/// On the first page, the exporter's own process would answer the process row of one of them.
#[test]
fn the_boards_for_opentelemetry_show_a_jvm() {
    let Some(stage) = BoardStage::set(Collector::G1, "client_java, otel", "/metrics/otel") else { return };
    for (board, size, least) in [("otel-18812.txt", 8, 5), ("otel-jvm-observ-lib.txt", 38, 26)] {
        let queries = queries(board);
        assert_eq!(queries.len(), size);
        let found = stage.ask(&queries);
        println!("{board}: {found} of {size}");
        assert!(found >= least, "{board}: {found}");
    }
}
