//! The whole configuration: the file, the profiles that it names, and the command line over both.

use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;

use super::environment;
use super::otlp::{self, Files};
use super::root::RootPattern;
use super::schema::{ConfigKeys, KUBERNETES_LABELS, PROFILE_MAXIMUM, TEXT_MAXIMUM, absolute_path};
use super::{AttachMode, AttachSettings, Config, Fingerprint, Overrides, Problem, Problems, Toggle};
use crate::rules::Profile;
use crate::rules::check::check;
use crate::rules::rule::{Rule, decode_rules};
use crate::yaml::decode::{Decoder, Path, suggest};
use crate::yaml::document::Node;
use crate::yaml::section::Section;

/// The embedded configuration: every key with its default, commented.
const DEFAULT: &str = include_str!("../../config/hotspot-exporter.yaml");

/// The name of the embedded configuration in problems.
const DEFAULT_NAME: &str = "config/hotspot-exporter.yaml";

/// The shipped profiles: name, file, text.
const SHIPPED: [(&str, &str, &str); 4] = [
    ("otel", "config/profiles/otel.yaml", include_str!("../../config/profiles/otel.yaml")),
    ("client_java", "config/profiles/client_java.yaml", include_str!("../../config/profiles/client_java.yaml")),
    ("micrometer", "config/profiles/micrometer.yaml", include_str!("../../config/profiles/micrometer.yaml")),
    ("raw", "config/profiles/raw.yaml", include_str!("../../config/profiles/raw.yaml")),
];

/// The profile of a configuration that names none.
pub(super) const DEFAULT_PROFILE: &str = "otel";

/// Reads the configuration: the file, or the embedded defaults where there is none, then the command line over it.
/// `read` gives the text of `file` and of the profiles that it names; their relative paths start at the file's directory.
///
/// # Errors
/// Every problem of every file.
pub fn load(
    file: Option<&FilePath>,
    overrides: &Overrides,
    read: &dyn Fn(&FilePath) -> io::Result<String>,
) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let name: Arc<str> = file.map_or_else(|| DEFAULT_NAME.into(), |file| file.to_string_lossy().into());
    let text = match file.map(read) {
        None => DEFAULT.to_owned(),
        Some(Ok(text)) => text,
        Some(Err(error)) => {
            problems.push(unplaced(&name, "", format!("cannot be read: {error}")));
            return Err(problems);
        }
    };
    let mut decoder = Decoder { file: name, problems: &mut problems };
    let Some(node) = decoder.parse(&text) else { return Err(problems) };
    let list = file.map(FilePath::to_path_buf).into_iter().collect();
    let mut files = Files { read, base: file.and_then(FilePath::parent), list };
    let (mut keys, given) = ConfigKeys::decode(&mut decoder, &node, &Path::Root);
    let mut attach = AttachSettings::of(&keys, &given, &mut decoder);
    keys.override_by(overrides, decoder.problems);
    attach.override_by(overrides, decoder.problems);
    let reserved = reserved_labels(&keys);
    let from_files = otlp::read(&keys.otlp, &mut decoder, &Path::Root.key("otlp"), &mut files);
    let mut otlp = environment::resolve(keys.otlp, from_files, overrides, &mut files, decoder.problems);
    if keys.identity.kubernetes == Toggle::Auto {
        otlp.downward = overrides.downward.clone();
    }
    let mut loader = Loader { files, reserved, rules: Vec::new() };
    if let Some(node) = &keys.rules {
        loader.rules = decode_rules(&mut decoder, node, &Path::Root.key("rules"), &loader.reserved);
        check(&loader.rules, 0, decoder.problems);
    }
    let profiles = loader.profiles(&mut decoder, keys.profiles.as_ref());
    if !problems.is_empty() {
        return Err(problems.sorted());
    }
    let ConfigKeys { discovery, identity, sampling, threads, introspection, history, web, state, limits, .. } = keys;
    Ok(Config {
        discovery,
        identity,
        downward: overrides.downward.clone(),
        sampling,
        threads,
        attach,
        introspection,
        history,
        profiles,
        otlp,
        web,
        state_directory: state.directory.or_else(|| overrides.state_default.clone()),
        limits,
        files: loader.files.list,
        seen: Fingerprint::default(),
    })
}

/// A problem of a file as a whole, or of the command line.
pub(super) fn unplaced(file: &str, path: &str, message: String) -> Problem {
    Problem { file: file.into(), line: 0, column: 0, path: path.to_owned(), message, hint: String::new() }
}

impl ConfigKeys {
    /// Lays the command line over the file, by the same checks.
    fn override_by(&mut self, overrides: &Overrides, problems: &mut Problems) {
        let mut refuse = |flag: &str, message| problems.push(unplaced("command line", flag, message));
        if !overrides.roots.is_empty() {
            self.discovery.roots.clear();
        }
        for text in &overrides.roots {
            match RootPattern::new(text) {
                Ok(root) if self.discovery.roots.contains(&root) => {
                    refuse("--discovery.root", format!("`{text}` is there twice"));
                }
                Ok(root) => self.discovery.roots.push(root),
                Err(message) => refuse("--discovery.root", message),
            }
        }
        let procfs = &mut self.discovery.procfs;
        match &overrides.state_directory {
            None => {}
            Some(path) => match absolute_path(&path.to_string_lossy()) {
                Ok(path) => self.state.directory = Some(path),
                Err(message) => refuse("--state.directory", message),
            },
        }
        match &overrides.procfs {
            None => {}
            Some(None) => procfs.enabled = Toggle::Off,
            Some(Some(path)) => match absolute_path(&path.to_string_lossy()) {
                Ok(_) => procfs.path.clone_from(path),
                Err(message) => refuse("--path.procfs", message),
            },
        }
    }
}

impl AttachSettings {
    /// Lays the command line over the file.
    fn override_by(&mut self, overrides: &Overrides, problems: &mut Problems) {
        if let Some((one, other)) = overrides.attach_mode.zip(overrides.nmt_mode).filter(|(one, other)| one != other) {
            let message = format!("is {}, and --nmt.mode, its old name, is {}", one.as_str(), other.as_str());
            problems.push(unplaced("command line", "--attach.mode", message));
        }
        if let Some(mode) = overrides.attach_mode.or(overrides.nmt_mode) {
            self.mode = mode;
        }
        if overrides.active_refused && self.mode == AttachMode::Active {
            let hint = "run as the JVMs' user, use `passive` with -XX:+StartAttachListener, or give \
                        --attach.allow-active-as-root";
            let message = "active mode sends signals, and root may signal every process".to_owned();
            problems.push(Problem { hint: hint.to_owned(), ..unplaced("command line", "attach.mode", message) });
        }
    }
}

/// The labels that roots and Kubernetes give, so that rules give none of them.
fn reserved_labels(keys: &ConfigKeys) -> Vec<String> {
    let mut labels: Vec<String> =
        keys.discovery.roots.iter().flat_map(RootPattern::labels).map(str::to_owned).collect();
    if keys.identity.kubernetes == Toggle::Auto {
        labels.extend(KUBERNETES_LABELS.map(str::to_owned));
    }
    labels.sort();
    labels.dedup();
    labels
}

/// Compiles the profiles that the file names.
struct Loader<'a> {
    files: Files<'a>,
    reserved: Vec<String>,
    /// The configuration's own rules, which come before each profile's.
    rules: Vec<Rule>,
}

impl Loader<'_> {
    fn profiles(&mut self, decoder: &mut Decoder<'_>, node: Option<&Node>) -> Vec<Arc<Profile>> {
        let Some(node) = node else {
            let shipped = SHIPPED.iter().find(|(name, ..)| *name == DEFAULT_PROFILE);
            return shipped
                .and_then(|(_, file, text)| self.compile(file, text, decoder.problems))
                .into_iter()
                .collect();
        };
        let path = Path::Root.key("profiles");
        let items = decoder.items(node, &path);
        if items.is_empty() || items.len() > PROFILE_MAXIMUM {
            let message = format!("expected 1 to {PROFILE_MAXIMUM} profiles, found {}", items.len());
            decoder.report(node.position, &path, message, "remove the key for the default, otel");
            return Vec::new();
        }
        let mut profiles: Vec<Arc<Profile>> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = path.item(index);
            let Some(profile) = self.profile(decoder, item, &path) else { continue };
            if profiles.iter().any(|other| other.name == profile.name) {
                let message = format!("the profile {} is there twice", profile.name);
                decoder.report(item.position, &path, message, "give one of them another name");
            } else {
                profiles.push(profile);
            }
        }
        profiles
    }

    /// A profile by the name of a shipped one or the path of a file.
    fn profile(&mut self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<Arc<Profile>> {
        let text = decoder.text(node, path, TEXT_MAXIMUM)?;
        if let Some((_, file, text)) = SHIPPED.iter().find(|(name, ..)| *name == text) {
            return self.compile(file, text, decoder.problems);
        }
        let is_path = text.contains('/') || text.ends_with(".yaml") || text.ends_with(".yml");
        if !is_path {
            let hint = suggest(text, SHIPPED.iter().map(|(name, ..)| *name));
            decoder.report(
                node.position,
                path,
                format!("no profile `{text}` is shipped"),
                &format!("{hint}; or give the path of a file, with `/` or `.yaml`"),
            );
            return None;
        }
        let file = self.files.based(text);
        self.files.list.push(file.clone());
        match (self.files.read)(&file) {
            Ok(text) => self.compile(&file.to_string_lossy(), &text, decoder.problems),
            Err(error) => {
                let message = format!("{} cannot be read: {error}", file.display());
                decoder.report(node.position, path, message, "relative paths start at the configuration's directory");
                None
            }
        }
    }

    fn compile(&self, file: &str, text: &str, problems: &mut Problems) -> Option<Arc<Profile>> {
        Profile::decode(file, text, &self.rules, &self.reserved, problems).map(Arc::new)
    }
}
