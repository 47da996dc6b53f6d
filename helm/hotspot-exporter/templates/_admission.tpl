{{/*
CEL variables of a pod or a pod template, shared by the policy that changes pods and those that report why a pod is left
unchanged. Takes the CEL expression of the pod. The problem is the same before and after the change, because mounts of the
exporter's own volume do not count.
*/}}
{{- define "hotspot-exporter.admission.variables" -}}
- name: pod
  expression: {{ . | toJson }}
- name: annotations
  expression: variables.pod.metadata.?annotations.orValue({})
- name: names
  expression: >-
    'hotspot-exporter/containers' in variables.annotations
    ? variables.annotations['hotspot-exporter/containers'].split(',').map(name, name.trim())
    : [variables.pod.spec.containers[0].name]
- name: jvms
  expression: variables.pod.spec.containers.filter(c, c.name in variables.names)
- name: uids
  expression: >-
    variables.jvms.map(c, c.?securityContext.?runAsUser.orValue(variables.pod.spec.?securityContext.?runAsUser.orValue(-1)))
- name: gids
  expression: >-
    variables.jvms.map(c, c.?securityContext.?runAsGroup.orValue(variables.pod.spec.?securityContext.?runAsGroup.orValue(-1)))
- name: sharing
  expression: variables.pod.spec.?shareProcessNamespace.orValue(false)
- name: problem
  expression: >-
    size(variables.jvms) != size(variables.names)
    ? 'the annotation hotspot-exporter/containers is ' + variables.names.join(',') + ', but the pod has ' + variables.pod.spec.containers.map(c, c.name).join(',')
    : variables.uids.exists(id, id < 0)
    ? 'the JVM has no numeric user; set runAsUser of the container or the pod (the USER of an image is not seen here), because only the same user can read its counters'
    : variables.gids.exists(id, id < 0)
    ? 'the JVM has no numeric group; set runAsGroup of the container or the pod (the USER of an image is not seen here), because a JVM answers only its own user and group'
    : variables.uids.exists(id, id != variables.uids[0]) || variables.gids.exists(id, id != variables.gids[0])
    ? 'its JVMs run as different users or groups, and one exporter serves only one user and group; name the JVMs of one of them in the annotation hotspot-exporter/containers'
    : variables.jvms.exists(c, c.?volumeMounts.orValue([]).exists(m, m.name != 'jvm-tmp' && m.mountPath.matches('^([.]?/+)*tmp(/+[.]?)*$')))
    ? 'a JVM has a volume of its own at /tmp; remove it, because the sidecar adds one that both share, or make it an emptyDir named jvm-tmp, which is kept as it is'
    : variables.jvms.exists(c, c.?volumeMounts.orValue([]).exists(m, m.mountPath.contains('hsperfdata_')))
    ? 'a JVM has a volume at hsperfdata_USER, which HotSpot refuses and then publishes nothing; remove it'
    : variables.pod.spec.?volumes.orValue([]).exists(v, v.name == 'jvm-tmp' && !has(v.emptyDir))
    ? 'the pod has a volume named jvm-tmp that is not an emptyDir; rename it'
    : !(variables.annotations[?'hotspot-exporter/tmp-medium'].orValue('Memory') in ['Memory', 'Disk'])
    ? 'the annotation hotspot-exporter/tmp-medium is ' + variables.annotations['hotspot-exporter/tmp-medium'] + '; use Memory or Disk'
    : !isQuantity(variables.annotations[?'hotspot-exporter/tmp-size-limit'].orValue('1')) || !quantity(variables.annotations[?'hotspot-exporter/tmp-size-limit'].orValue('1')).isGreaterThan(quantity('0'))
    ? 'the annotation hotspot-exporter/tmp-size-limit is ' + variables.annotations['hotspot-exporter/tmp-size-limit'] + '; use a size such as 256Mi'
    : ''
{{- end -}}

{{/*
Whether the pod has the sidecar. Takes the CEL expression of the pod.
*/}}
{{- define "hotspot-exporter.admission.present" -}}
({{ . }}.spec.?initContainers.orValue([]) + {{ . }}.spec.containers).exists(c, c.name == 'hotspot-exporter')
{{- end -}}

{{/*
A value as a CEL object of a type, with objects of the fields' types in it. Takes a dict of type and value.
*/}}
{{- define "hotspot-exporter.cel" -}}
{{- $type := .type -}}
{{- $items := list -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- $items = append $items (printf "%s: %s" $key (include "hotspot-exporter.cel" (dict "type" (printf "%s.%s" $type $key) "value" $value))) -}}
{{- end -}}
{{ $type }}{ {{- join ", " $items -}} }
{{- else if kindIs "slice" .value -}}
{{- range .value -}}
{{- $items = append $items (include "hotspot-exporter.cel" (dict "type" $type "value" .)) -}}
{{- end -}}
[{{ join ", " $items }}]
{{- else -}}
{{ toJson .value }}
{{- end -}}
{{- end -}}

{{/*
The sidecar, as a CEL object.
*/}}
{{- define "hotspot-exporter.admission.container" -}}
{{- $policy := .Values.admissionPolicy -}}
{{- $args := concat (list (printf "--web.listen-address=:%d" (int64 $policy.port))) $policy.extraArgs -}}
Object.spec.initContainers{
  name: 'hotspot-exporter',
  image: {{ include "hotspot-exporter.image" . | toJson }},
  imagePullPolicy: {{ .Values.image.pullPolicy | toJson }},
  restartPolicy: 'Always',
  args: ["--discovery.root=/hsperf/{container}"] + (variables.sharing ? [] : ["--path.procfs=off"]) + {{ $args | toJson }},
  {{- range $key := list "env" "envFrom" }}
  {{- with get $policy $key }}
  {{ $key }}: {{ include "hotspot-exporter.cel" (dict "type" (printf "Object.spec.initContainers.%s" $key) "value" .) }},
  {{- end }}
  {{- end }}
  ports: [Object.spec.initContainers.ports{
    name: 'jvm-metrics', containerPort: {{ int64 $policy.port }}, protocol: 'TCP'
  }],
  securityContext: Object.spec.initContainers.securityContext{
    runAsNonRoot: variables.uids[0] != 0,
    runAsUser: variables.uids[0],
    runAsGroup: variables.gids[0],
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: Object.spec.initContainers.securityContext.capabilities{drop: ['ALL']},
    seccompProfile: Object.spec.initContainers.securityContext.seccompProfile{type: 'RuntimeDefault'}
  },
  livenessProbe: Object.spec.initContainers.livenessProbe{
    httpGet: Object.spec.initContainers.livenessProbe.httpGet{path: '/-/healthy', port: 'jvm-metrics'},
    periodSeconds: 30, timeoutSeconds: 5, failureThreshold: 5
  },
  resources: Object.spec.initContainers.resources{
    requests: {{ $policy.resources.requests | default dict | toJson }},
    limits: {{ $policy.resources.limits | default dict | toJson }}
  },
  volumeMounts: [Object.spec.initContainers.volumeMounts{name: 'jvm-tmp', mountPath: '/hsperf', readOnly: true}]
}
{{- end -}}
