//! A real Prometheus that scrapes a real exporter.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use serde_json::Value;

use super::{PATIENCE, ensure, http};

/// A Prometheus on a free port of the loopback interface; killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Prometheus {
    /// Starts one that scrapes the exporter every second, and evaluates these rule files as often.
    pub fn start(program: &Path, directory: &Path, exporter: SocketAddr, rules: &[PathBuf], flags: &[&str]) -> Self {
        let rules: Vec<String> = rules.iter().map(|file| format!("'{}'", file.display())).collect();
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\nscrape_configs:\n\
             - job_name: jvm\n  static_configs: [{{targets: ['{exporter}']}}]\n",
            rules.join(", ")
        );
        Self::configured(program, directory, &text, flags)
    }

    /// Starts one that scrapes one path of the exporter every second.
    pub fn of_path(program: &Path, directory: &Path, exporter: SocketAddr, path: &str) -> Self {
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: jvm\n  metrics_path: {path}\n  \
             static_configs: [{{targets: ['{exporter}']}}]\n"
        );
        Self::configured(program, directory, &text, &[])
    }

    fn configured(program: &Path, directory: &Path, text: &str, flags: &[&str]) -> Self {
        let config = directory.join("prometheus.yml");
        fs::write(&config, text).unwrap();
        let mut child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        let (found, address) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains("Listening on") {
                    let address = line.rsplit("address=").next().and_then(|address| address.parse().ok());
                    address.map(|address: SocketAddr| found.send(address));
                }
                kept.lock().unwrap().push(line);
            }
        });
        let Ok(address) = address.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("Prometheus does not listen: {:?}", log.lock().unwrap());
        };
        Self { child, address, log }
    }

    /// The `data` of an answer; the path holds what a URL may.
    pub fn api(&self, path: &str) -> Result<Value, String> {
        let response = http::request(self.address, "GET", path, &[]).map_err(|error| error.to_string())?;
        ensure(response.status == 200, format!("{path}: {} {}", response.status, response.text()))?;
        let answer: Value = serde_json::from_slice(&response.body).map_err(|error| error.to_string())?;
        ensure(answer["status"] == "success", format!("{path}: {answer}"))?;
        Ok(answer["data"].clone())
    }

    /// The values of an instant query.
    pub fn query(&self, expression: &str) -> Result<Vec<f64>, String> {
        let data = self.api(&format!("/api/v1/query?query={}", percent_encoded(expression)))?;
        let results = data["result"].as_array().ok_or("no result")?;
        let value = |result: &Value| result["value"][1].as_str().and_then(|text| text.parse().ok());
        results.iter().map(|result| value(result).ok_or(format!("no value in {result}"))).collect()
    }

    /// The values of a label of the series that a selector selects, as Grafana's `label_values` asks for them.
    pub fn label_values(&self, selector: &str, label: &str) -> Result<Vec<String>, String> {
        let data = self.api(&format!("/api/v1/label/{label}/values?match[]={}", percent_encoded(selector)))?;
        let values = data.as_array().ok_or("no list")?;
        Ok(values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect())
    }

    /// What it has written to stderr so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
