{{/*
Parts of the pod besides the container.
*/}}

{{/*
Items of `volumes`.
*/}}
{{- define "hotspot-sidecar.volumes" -}}
{{- $values := include "hotspot-sidecar.values" . | fromYaml -}}
- name: jvm-tmp
  emptyDir:
    {{- with $values.tmp.medium }}
    medium: {{ . }}
    {{- end }}
    sizeLimit: {{ $values.tmp.sizeLimit }}
{{- with include "hotspot-sidecar.configMapName" . }}
- name: hotspot-config
  configMap: {name: {{ . }}}
{{- end }}
{{- with $values.web.configSecret }}
- name: hotspot-web
  secret: {secretName: {{ . }}}
{{- end }}
{{- end -}}

{{/*
The `securityContext` of the pod: the user and group of the JVM for all containers, and the settings that the restricted
Pod Security Standard requires.
*/}}
{{- define "hotspot-sidecar.podSecurityContext" -}}
{{- $values := include "hotspot-sidecar.values" . | fromYaml -}}
runAsNonRoot: {{ ne (int64 $values.jvm.uid) 0 }}
runAsUser: {{ int64 $values.jvm.uid }}
runAsGroup: {{ int64 $values.jvm.gid }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/*
Items of the `volumeMounts` of a container with a JVM. Takes a dict of root and container, as does jvmEnv.
*/}}
{{- define "hotspot-sidecar.jvmVolumeMount" -}}
{{- $jvm := include "hotspot-sidecar.jvm" . | fromYaml -}}
- {name: jvm-tmp, mountPath: {{ $jvm.mountPath | default "/tmp" }}, subPath: {{ $jvm.subPath | default $jvm.name }}}
{{- end -}}

{{/*
Items of its `env`: the container's own options, followed by those of the exporter.
*/}}
{{- define "hotspot-sidecar.jvmEnv" -}}
{{- $values := include "hotspot-sidecar.values" .root | fromYaml -}}
{{- $jvm := include "hotspot-sidecar.jvm" . | fromYaml -}}
{{- with compact (list ($jvm.javaOptions | default "") $values.jvm.options) -}}
- name: {{ $values.jvm.optionsVariable }}
  value: {{ join " " . | quote }}
{{- end -}}
{{- end -}}

{{/*
Annotations of the pod. The checksum of the configuration rolls out a change; a running exporter also reloads it by
itself.
*/}}
{{- define "hotspot-sidecar.podAnnotations" -}}
{{- $values := include "hotspot-sidecar.values" . | fromYaml -}}
{{- with $values.config }}
checksum/hotspot-config: {{ toYaml . | sha256sum }}
{{- end }}
{{- if $values.prometheus.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ $values.web.port | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end -}}

{{/*
Labels of the pod, by which the PodMonitor of the chart hotspot-exporter finds it.
*/}}
{{- define "hotspot-sidecar.podLabels" -}}
hotspot-exporter/sidecar: "true"
{{- end -}}

{{/*
The ConfigMap's name; empty without a configuration.
*/}}
{{- define "hotspot-sidecar.configMapName" -}}
{{- $values := index .Values "hotspot-sidecar" -}}
{{- if $values.existingConfigMap -}}
{{- $values.existingConfigMap -}}
{{- else if $values.config -}}
{{- printf "%s-hotspot-exporter" (.Release.Name | trunc 46 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/*
The ConfigMap, as a separate manifest; empty without a configuration.
*/}}
{{- define "hotspot-sidecar.configMap" -}}
{{- $values := include "hotspot-sidecar.values" . | fromYaml -}}
{{- if $values.config -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "hotspot-sidecar.configMapName" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    app.kubernetes.io/name: hotspot-exporter
    app.kubernetes.io/instance: {{ .Release.Name }}
    app.kubernetes.io/component: sidecar
    app.kubernetes.io/managed-by: {{ .Release.Service }}
data:
  config.yaml: |
    {{- toYaml $values.config | nindent 4 }}
{{- end -}}
{{- end -}}
