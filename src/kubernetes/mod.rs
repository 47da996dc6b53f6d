//! Where in Kubernetes a JVM runs, from what its node shows: without the API and without a token.
//!
//! The kernel names the container and the pod of a process by its cgroup; the kubelet names each container's log by pod,
//! namespace, container and id. A name is believed if a second view confirms it: the pod's uid in the log's link is that
//! of the cgroup, or, where one of these is not there, the hostname in the container's root is the pod's name. A container
//! may write that file as it likes, and the pod of a host network has its node's name there, so that it never names a pod
//! by itself. What is not confirmed is absent.

mod container_logs;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

use crate::config::{Config, OwnPod, Toggle};
use crate::discovery::regular_file_beneath;
use crate::proc::Process;
use crate::sync::ExpendableThread;
use container_logs::{Changed, ContainerLog};

/// The labels that a JVM may get.
pub use crate::config::KUBERNETES_LABELS;

/// Longest time for the directory of logs, or for one hostname.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes that are read of a hostname, which has at most 64.
const HOSTNAME: u64 = 320;

/// Bytes of a uid.
const UID: usize = 36;

/// Longest hostname that the kubelet gives a pod; longer names are cut.
const HOSTNAME_MAXIMUM: usize = 63;

/// The pod that a JVM runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The pod's name.
    pub pod: String,
    /// Its namespace.
    pub namespace: String,
    /// The container's name; unknown of a neighbour in the exporter's own pod.
    pub container: Option<String>,
    /// The pod's uid.
    pub uid: Option<String>,
    /// The exporter's own pod, whose names every scrape of the exporter has already.
    pub own: bool,
}

impl Place {
    /// The labels of all series of the JVM.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let [container, pod, namespace] = KUBERNETES_LABELS;
        let values =
            [(container, self.container.as_deref()), (pod, Some(&*self.pod)), (namespace, Some(&*self.namespace))];
        values.into_iter().filter(|_| !self.own).filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Finds the pods of processes.
#[derive(Debug)]
pub(crate) struct PodFinder {
    /// The kubelet's links; `None` once they did not answer, or by configuration.
    directory: Option<PathBuf>,
    own: Option<OwnPod>,
    /// The container ids that were looked for, and when the directory had changed last.
    searched: (HashSet<String>, Option<Changed>),
    /// Containers whose logs contradict what else is known, or whose hostname does not answer.
    refused: HashSet<String>,
    thread: ExpendableThread,
}

impl PodFinder {
    pub(crate) fn new(config: &Config) -> Self {
        let is_on = config.identity.kubernetes == Toggle::Auto;
        Self {
            directory: Some(config.identity.container_logs.clone()).filter(|_| is_on),
            own: config.downward.pod.clone().filter(|_| is_on),
            searched: (HashSet::new(), None),
            refused: HashSet::new(),
            thread: ExpendableThread::new("kubernetes"),
        }
    }

    /// The pods of these processes, by the number of each in the list, as far as they are known now.
    pub(crate) fn find(&mut self, processes: &[Arc<Process>]) -> HashMap<usize, Arc<Place>> {
        let mut places = HashMap::new();
        let ids: HashSet<String> =
            processes.iter().filter_map(|process| process.container_id.clone()).collect::<HashSet<_>>();
        self.refused.retain(|id| ids.contains(id));
        let logs = self.logs(&ids);
        for (at, process) in processes.iter().enumerate() {
            let place = self.own_pod(process).or_else(|| {
                let id = process.container_id.as_ref().filter(|id| !self.refused.contains(*id))?;
                self.confirmed(process, id, logs.get(id)?)
            });
            places.extend(place.map(|place| (at, Arc::new(place))));
        }
        places
    }

    /// The exporter's own pod, for a process that the kernel shows in it: by the same pod's cgroup, or by one beside the
    /// exporter's own.
    fn own_pod(&self, process: &Process) -> Option<Place> {
        let own = self.own.as_ref()?;
        let by_uid = process.pod_uid.is_some() && process.pod_uid == own.uid;
        let is_own = by_uid || (process.is_beside && process.pod_uid.is_none());
        is_own.then(|| Place {
            pod: own.name.clone(),
            namespace: own.namespace.clone(),
            container: None,
            uid: own.uid.clone(),
            own: true,
        })
    }

    /// The logs of these containers. They are searched again when another container is wanted or the directory has
    /// changed.
    fn logs(&mut self, ids: &HashSet<String>) -> HashMap<String, ContainerLog> {
        let Some(directory) = self.directory.clone().filter(|_| !ids.is_empty()) else { return HashMap::new() };
        let wanted: HashSet<String> = ids.difference(&self.refused).cloned().collect();
        if wanted.is_empty() {
            return HashMap::new();
        }
        let since = if wanted == self.searched.0 { self.searched.1 } else { None };
        let sought = wanted.clone();
        let shown = directory.display().to_string();
        match self.thread.call(move || container_logs::find(&directory, &sought, since), PATIENCE, || true) {
            Some(Ok((logs, changed))) => {
                self.searched = (wanted, Some(changed).filter(is_settled));
                logs.unwrap_or_default()
            }
            Some(Err(Errno::NOENT)) => HashMap::new(),
            Some(Err(error)) => {
                tracing::debug!(%error, directory = shown, "the names of containers' logs cannot be read");
                HashMap::new()
            }
            None => {
                tracing::warn!(
                    directory = shown,
                    "the names of containers' logs do not answer; JVMs have no pod until the next reload"
                );
                self.directory = None;
                HashMap::new()
            }
        }
    }

    /// What a log says of a process, if something else confirms it.
    fn confirmed(&mut self, process: &Arc<Process>, id: &str, log: &ContainerLog) -> Option<Place> {
        let confirmed = match (&process.pod_uid, &log.uid) {
            (Some(of_kernel), Some(of_kubelet)) => of_kernel == of_kubelet,
            _ => self.hostname(process).is_some_and(|hostname| is_hostname_of(&hostname, &log.pod)),
        };
        if !confirmed {
            tracing::debug!(pid = process.pid, pod = log.pod, "its cgroup or its hostname are not those of the pod");
            self.refused.insert(id.to_owned());
            return None;
        }
        Some(Place {
            pod: log.pod.clone(),
            namespace: log.namespace.clone(),
            container: Some(log.container.clone()),
            // A static pod has the hash of its manifest there, which is not the uid that the API gives it.
            uid: process.pod_uid.clone().or_else(|| log.uid.clone().filter(|uid| uid.len() == UID)),
            own: false,
        })
    }

    /// The hostname in the root of a process; `None` where it cannot be read, or is not read in time.
    fn hostname(&mut self, process: &Arc<Process>) -> Option<String> {
        let process = Arc::clone(process);
        let read = move || {
            let content = regular_file_beneath(&process.root().ok()?, Path::new("etc/hostname"), HOSTNAME).ok()?;
            Some(String::from_utf8(content).ok()?.trim_end().to_owned())
        };
        self.thread.call(read, PATIENCE, || true).flatten()
    }
}

/// Whether a later change of a directory has another time: file systems count in ticks.
fn is_settled(changed: &Changed) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).is_ok_and(|now| now > changed.0.saturating_add(1))
}

/// Whether the kubelet gives the pod of that name this hostname, with or without a domain.
fn is_hostname_of(hostname: &str, pod: &str) -> bool {
    let cut = pod.get(..HOSTNAME_MAXIMUM).unwrap_or(pod).trim_end_matches(['-', '.']);
    hostname.strip_prefix(cut).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;

    use super::*;
    use crate::config::{Overrides, load};

    const UID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    /// This very process, as the kernel would show it in a container.
    fn process(container_id: &str, pod_uid: Option<&str>) -> Arc<Process> {
        let mut process = Process::open(Path::new("/proc"), i32::try_from(std::process::id()).unwrap()).unwrap();
        process.container_id = Some(container_id.to_owned());
        process.pod_uid = pod_uid.map(str::to_owned);
        Arc::new(process)
    }

    fn finder(directory: &Path, own: Option<OwnPod>) -> PodFinder {
        let mut config = load(None, &Overrides::default(), &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap();
        config.identity.container_logs = directory.to_owned();
        config.downward.pod = own;
        PodFinder::new(&config)
    }

    fn pods(finder: &mut PodFinder, processes: &[Arc<Process>]) -> Vec<Option<String>> {
        let places = finder.find(processes);
        (0..processes.len()).map(|at| places.get(&at).map(|place| place.pod.clone())).collect()
    }

    #[test]
    fn a_name_wants_a_second_view() {
        let directory = tempfile::tempdir().unwrap();
        let ids = ["1a", "2b", "3c", "4d"].map(|digits| digits.repeat(32));
        let log = |pod: &str, id: &str| directory.path().join(format!("{pod}_prod_app-{id}.log"));
        let target = |pod: &str| format!("/var/log/pods/prod_{pod}_{UID}/app/0.log");
        let mut finder = finder(directory.path(), None);
        let processes = [
            process(&ids[0], Some(UID)),
            process(&ids[1], Some("fedcba98-89ab-cdef-0123-456789abcdef")),
            process(&ids[2], None),
            process(&ids[3], None),
        ];
        assert_eq!(pods(&mut finder, &processes), [(); 4].map(|()| None), "no log yet");
        for (pod, id) in [("agrees", &ids[0]), ("differs", &ids[1]), ("not-this-host", &ids[2])] {
            symlink(target(pod), log(pod, id)).unwrap();
        }
        let hostname = std::fs::read_to_string("/etc/hostname").map(|name| name.trim().to_ascii_lowercase());
        let own = hostname.ok().filter(|name| !name.is_empty() && !name.contains('_'));
        if let Some(hostname) = &own {
            std::fs::write(log(hostname, &ids[3]), "").unwrap();
        }
        assert_eq!(pods(&mut finder, &processes), [Some("agrees".to_owned()), None, None, own]);
        let places = finder.find(&processes[..1]);
        let place = places.get(&0).unwrap();
        assert_eq!((place.container.as_deref(), &*place.namespace, place.own), (Some("app"), "prod", false));
    }

    #[test]
    fn the_exporters_own_pod_has_to_be_proved() {
        let directory = tempfile::tempdir().unwrap();
        let own = OwnPod { name: "me".into(), namespace: "prod".into(), uid: Some(UID.into()) };
        let mut finder = finder(directory.path(), Some(own));
        let id = "1a".repeat(32);
        let mut beside = Process::open(Path::new("/proc"), i32::try_from(std::process::id()).unwrap()).unwrap();
        (beside.is_beside, beside.pod_uid) = (true, None);
        let processes = [
            process(&id, Some(UID)),
            process(&id, Some("fedcba98-89ab-cdef-0123-456789abcdef")),
            process(&id, None),
            Arc::new(beside),
        ];
        let me = || Some("me".to_owned());
        assert_eq!(pods(&mut finder, &processes), [me(), None, None, me()]);
        let places = finder.find(&processes);
        assert_eq!(places.get(&0).unwrap().labels().count(), 0, "its scrape has these labels already");
    }

    #[test]
    fn hostnames_of_pods() {
        let long = format!("{}-abc", "x".repeat(62));
        for (hostname, pod, expected) in [
            ("shop-0", "shop-0", true),
            ("shop-0.shop.prod.svc", "shop-0", true),
            ("shop-01", "shop-0", false),
            ("node-1", "shop-0", false),
            ("", "shop-0", false),
            (&long[..62], &*long, true),
            (&long[..63], &*long, false),
        ] {
            assert_eq!(is_hostname_of(hostname, pod), expected, "{hostname} {pod}");
        }
    }
}
