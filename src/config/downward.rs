//! What the downward API of Kubernetes says of the exporter's own pod, by variables of the environment.

/// Most bytes of a name or uid in Kubernetes.
const NAME_MAXIMUM: usize = 253;

/// Where the exporter runs, as its manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownwardApi {
    /// `NODE_NAME`
    pub node: Option<String>,
    /// The exporter's own pod, where both of its names are there.
    pub pod: Option<OwnPod>,
}

/// The exporter's own pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPod {
    /// `POD_NAME`
    pub name: String,
    /// `POD_NAMESPACE`
    pub namespace: String,
    /// `POD_UID`
    pub uid: Option<String>,
}

impl DownwardApi {
    /// Reads the variables; each may also begin with `K8S_`. What is no name in Kubernetes counts as absent.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| {
            let value = variable(name).or_else(|| variable(&format!("K8S_{name}")))?;
            let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
            (!value.is_empty() && value.len() <= NAME_MAXIMUM && value.bytes().all(is_name)).then_some(value)
        };
        let names = value("POD_NAME").zip(value("POD_NAMESPACE"));
        let pod = names.map(|(name, namespace)| OwnPod { name, namespace, uid: value("POD_UID") });
        Self { node: value("NODE_NAME"), pod }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> DownwardApi {
        DownwardApi::read(&|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_pod_has_both_names() {
        assert_eq!(read(&[]), DownwardApi::default());
        assert_eq!(read(&[("NODE_NAME", "node-1.example")]).node.as_deref(), Some("node-1.example"));
        assert_eq!(read(&[("K8S_NODE_NAME", "node-1")]).node.as_deref(), Some("node-1"));
        assert_eq!(read(&[("NODE_NAME", "$(NODE)")]).node, None);
        assert_eq!(read(&[("POD_NAME", "a"), ("POD_UID", "1")]).pod, None);
        let pod = read(&[("POD_NAME", "a"), ("POD_NAMESPACE", "b"), ("POD_UID", "1")]).pod;
        assert_eq!(pod, Some(OwnPod { name: "a".into(), namespace: "b".into(), uid: Some("1".into()) }));
    }
}
