{{/*
The values of the library, validated. Every other template starts with it.
*/}}
{{- define "hotspot-sidecar.values" -}}
{{- $values := index .Values "hotspot-sidecar" -}}
{{- if not $values -}}
{{- fail "hotspot-sidecar: no values under `hotspot-sidecar:`; the dependency must have this name and no alias" -}}
{{- end -}}
{{- $jvm := $values.jvm -}}
{{- if or (kindIs "invalid" $jvm.uid) (kindIs "invalid" $jvm.gid) -}}
{{- fail "hotspot-sidecar: set jvm.uid and jvm.gid to the numeric user and group that the JVM runs as. A JVM lets only its own user read its counters, and answers native memory queries only from its own user and group (of another group it closes the connection)" -}}
{{- end -}}
{{- if not $jvm.containers -}}
{{- fail "hotspot-sidecar: name the containers with a JVM in jvm.containers, as `- name: app`" -}}
{{- end -}}
{{- $seen := dict -}}
{{- range $jvm.containers -}}
{{- $path := .subPath | default .name -}}
{{- if hasKey $seen $path -}}
{{- fail (printf "hotspot-sidecar: the containers %s and %s share the subPath %s. Both JVMs have pid 1 and would overwrite each other's file; give each its own, or leave it out to use the container's name" (get $seen $path) .name $path) -}}
{{- end -}}
{{- $_ := set $seen $path .name -}}
{{- if contains "hsperfdata_" (.mountPath | default "/tmp") -}}
{{- fail (printf "hotspot-sidecar: container %s has the mountPath %s. HotSpot refuses a directory that others may write, and then publishes nothing; mount it at /tmp" .name .mountPath) -}}
{{- end -}}
{{- end -}}
{{- if and $values.config $values.existingConfigMap -}}
{{- fail "hotspot-sidecar: config and existingConfigMap are mutually exclusive; keep one" -}}
{{- end -}}
{{- if and $values.native (semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "hotspot-sidecar: Kubernetes %s has no sidecar containers without a feature gate, and would wait forever for this init container. Set native: false, and put the container under `containers`" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- toYaml $values -}}
{{- end -}}

{{/*
The entry of jvm.containers for one container. Takes a dict of root and container.
*/}}
{{- define "hotspot-sidecar.jvm" -}}
{{- $values := include "hotspot-sidecar.values" .root | fromYaml -}}
{{- $found := dict -}}
{{- range $values.jvm.containers -}}
{{- if eq .name $.container -}}
{{- $found = . -}}
{{- end -}}
{{- end -}}
{{- if not $found -}}
{{- fail (printf "hotspot-sidecar: the container %s is not in jvm.containers; add `- name: %s` there" .container .container) -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}
