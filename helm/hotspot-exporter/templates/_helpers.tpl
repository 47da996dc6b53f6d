{{- define "hotspot-exporter.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "hotspot-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "hotspot-exporter.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "hotspot-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "hotspot-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "hotspot-exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "hotspot-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: hotspot-exporter
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "hotspot-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "hotspot-exporter.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "hotspot-exporter.image" -}}
{{- with .Values.image.registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{/*
No roots: the container's own /tmp is empty, and JVMs of the node are found through /proc.
*/}}
{{- define "hotspot-exporter.config" -}}
{{- $defaults := dict "discovery" (dict "roots" list) -}}
{{- toYaml (mergeOverwrite $defaults (deepCopy .Values.config)) -}}
{{- end -}}

{{- define "hotspot-exporter.configMapName" -}}
{{- .Values.existingConfigMap | default (include "hotspot-exporter.fullname" .) -}}
{{- end -}}

{{/*
An AppArmor profile as an annotation, for Kubernetes before 1.30.
*/}}
{{- define "hotspot-exporter.appArmorAnnotation" -}}
{{- if eq .type "RuntimeDefault" -}}
runtime/default
{{- else if eq .type "Localhost" -}}
localhost/{{ .localhostProfile }}
{{- else -}}
unconfined
{{- end -}}
{{- end -}}

{{/*
Values that contradict each other.
*/}}
{{- define "hotspot-exporter.check" -}}
{{- if and .Values.config .Values.existingConfigMap -}}
{{- fail "hotspot-exporter: config and existingConfigMap are mutually exclusive; keep one" -}}
{{- end -}}
{{- range $section := list "attach" "nmt" -}}
{{- $mode := dig $section "mode" "" $.Values.config | toString -}}
{{- if and (not $.Values.nativeMemory) (has $mode (list "passive" "active")) -}}
{{- fail (printf "hotspot-exporter: config.%s.mode is %s, but a JVM answers only its own user and group, which the node agent cannot take. Set nativeMemory: true, which adds the capabilities SETUID and SETGID, or use sidecars" $section $mode) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (ne .Values.mode "daemonset") -}}
{{- fail "hotspot-exporter: networkPolicy is for mode daemonset only. A policy that selects pods with sidecars would deny all other traffic of their applications; add the port to the applications' own policies" -}}
{{- end -}}
{{- if and .Values.prometheus.podMonitor.enabled (ne .Values.mode "daemonset") -}}
{{- fail "hotspot-exporter: prometheus.podMonitor.enabled is for mode daemonset only; for sidecars set prometheus.podMonitor.sidecars.enabled" -}}
{{- end -}}
{{- end -}}
