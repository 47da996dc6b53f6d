{{/*
The exporter, as an item of initContainers, or of containers with `native: false`.
*/}}
{{- define "hotspot-sidecar.container" -}}
{{- $values := include "hotspot-sidecar.values" . | fromYaml -}}
- name: hotspot-exporter
  image: {{ include "hotspot-sidecar.image" . | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  {{- if $values.native }}
  restartPolicy: Always
  {{- end }}
  args:
    - "--discovery.root=/hsperf/{container}"
    {{- if not $values.shareProcessNamespace }}
    - --path.procfs=off
    {{- end }}
    - --web.listen-address=:{{ $values.web.port }}
    {{- if include "hotspot-sidecar.configMapName" . }}
    - --config.file=/etc/hotspot-exporter/config.yaml
    {{- end }}
    {{- if $values.web.configSecret }}
    - --web.config.file=/etc/hotspot-exporter-web/web-config.yml
    {{- end }}
    {{- with $values.extraArgs }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- range $key := list "env" "envFrom" }}
  {{- with get $values $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  ports:
    - name: jvm-metrics
      containerPort: {{ $values.web.port }}
  securityContext:
    {{- include "hotspot-sidecar.securityContext" . | nindent 4 }}
  livenessProbe:
    {{- if $values.web.configSecret }}
    tcpSocket: {port: jvm-metrics}
    {{- else }}
    httpGet: {path: /-/healthy, port: jvm-metrics}
    {{- end }}
    {{- toYaml $values.livenessProbe | nindent 4 }}
  {{- if not $values.native }}
  # Leaves time for a last scrape. The image has no shell for an exec hook.
  {{- if semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}
  lifecycle: {preStop: {sleep: {seconds: 5}}}
  {{- end }}
  {{- end }}
  resources:
    {{- include "hotspot-sidecar.resources" $values | nindent 4 }}
  volumeMounts:
    - {name: jvm-tmp, mountPath: /hsperf, readOnly: true}
    {{- if include "hotspot-sidecar.configMapName" . }}
    - {name: hotspot-config, mountPath: /etc/hotspot-exporter, readOnly: true}
    {{- end }}
    {{- if $values.web.configSecret }}
    - {name: hotspot-web, mountPath: /etc/hotspot-exporter-web, readOnly: true}
    {{- end }}
{{- end -}}

{{- define "hotspot-sidecar.image" -}}
{{- $values := include "hotspot-sidecar.values" . | fromYaml -}}
{{- $image := $values.image -}}
{{- $library := index .Subcharts "hotspot-sidecar" -}}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}:{{ $image.tag | default $library.Chart.AppVersion }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- define "hotspot-sidecar.securityContext" -}}
{{- $values := include "hotspot-sidecar.values" . | fromYaml -}}
runAsNonRoot: {{ ne (int64 $values.jvm.uid) 0 }}
runAsUser: {{ int64 $values.jvm.uid }}
runAsGroup: {{ int64 $values.jvm.gid }}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/*
Takes the values.
*/}}
{{- define "hotspot-sidecar.resources" -}}
{{- $resources := .resources -}}
{{- if .guaranteed -}}
{{- $limits := merge (dict) ($resources.limits | default dict) ($resources.requests | default dict) -}}
{{- $resources = dict "limits" $limits "requests" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}
