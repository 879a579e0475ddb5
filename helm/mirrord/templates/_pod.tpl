{{/* What a pod of mirrord is made of, whichever mode has it. */}}

{{- define "mirrord.podMetadata" -}}
labels:
  {{- $labels := mergeOverwrite (deepCopy (.Values.commonLabels | default dict)) (deepCopy (.Values.podLabels | default dict)) -}}
  {{- if .Values.identity.azure.clientId }}{{ $_ := set $labels "azure.workload.identity/use" "true" }}{{ end }}
  {{- mergeOverwrite $labels (include "mirrord.selector" (list . (include "mirrord.component" .)) | fromYaml) | toYaml | nindent 2 }}
{{- $annotations := dict "kubectl.kubernetes.io/default-container" "mirrord" -}}
{{- /* The clouds' libraries read certificates once; all else that the chart writes is noticed by mirrord itself. */ -}}
{{- if and .Values.extraCA.complete .Values.extraCA.pem }}{{ $_ := set $annotations "checksum/ca" (sha256sum .Values.extraCA.pem) }}{{ end }}
annotations:
  {{- mergeOverwrite $annotations (deepCopy (.Values.podAnnotations | default dict)) | toYaml | nindent 2 }}
{{- end -}}

{{- define "mirrord.podSpec" -}}
serviceAccountName: {{ include "mirrord.serviceAccountName" . }}
automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "mirrord.grace" . }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "mirrord.containerBase" -}}
image: {{ include "mirrord.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- /* The image's own belongs to its user, whom podSecurityContext may replace. */}}
workingDir: /tmp
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end -}}

{{/* Variables of a container. */}}
{{- define "mirrord.env" -}}
- name: MIRRORD_CONFIG
  value: /etc/mirrord/mirrord.yaml
- name: MIRRORD_STATE
  {{- /* Empty is none: the image names a place by itself, which nothing may write to here. */}}
  value: {{ or (eq .Values.mode "service") .Values.persistence.enabled | ternary "sqlite:////var/lib/mirrord/state.db" "" | quote }}
- name: MIRRORD_LOG_LEVEL
  value: {{ .Values.log.level }}
{{- if eq .Values.mode "service" }}
- name: MIRRORD_LOG_FORMAT
  value: {{ .Values.log.format }}
- name: MIRRORD_DRAIN_TIMEOUT
  value: {{ printf "%ds" (int .Values.drainTimeoutSeconds) }}
- name: MIRRORD_LISTEN
  value: ":8080"
- name: MIRRORD_API_TOKEN_FILE
  value: /etc/mirrord/token/token
{{- end }}
{{- if .Values.dockerConfig.existingSecret }}
- name: DOCKER_CONFIG
  value: /etc/mirrord/docker
{{- end }}
{{- if include "mirrord.hasCA" . }}
{{- /* OpenSSL looks for authorities in a file and in a directory. This replaces the file; the image has its own in the
     directory, which stays. */}}
- name: SSL_CERT_FILE
  value: /etc/mirrord/ca/ca.crt
{{- if .Values.extraCA.complete }}
- name: AWS_CA_BUNDLE
  value: /etc/mirrord/ca/ca.crt
- name: REQUESTS_CA_BUNDLE
  value: /etc/mirrord/ca/ca.crt
{{- end }}
{{- end }}
{{- with .Values.proxy.http }}
- name: HTTP_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.proxy.https }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.proxy.noProxy }}
- name: NO_PROXY
  value: {{ join "," . | quote }}
{{- end }}
{{- range .Values.secretEnv }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mirrord.hasCA" -}}
{{- with .Values.extraCA }}{{ if or .pem .configMap .secret }}yes{{ end }}{{ end -}}
{{- end -}}

{{- define "mirrord.volumeMounts" -}}
- name: etc
  mountPath: /etc/mirrord
  readOnly: true
{{- if or (eq .Values.mode "service") .Values.persistence.enabled }}
- name: state
  mountPath: /var/lib/mirrord
{{- end }}
- name: tmp
  mountPath: /tmp
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Volumes, but the one with the state. */}}
{{- define "mirrord.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.tmpSizeLimit }}
{{- /* One volume for all that is only read: no mount stands inside another, and every change arrives. */}}
- name: etc
  projected:
    defaultMode: 0440
    sources:
      - configMap:
          {{- if .Values.existingConfigMap.name }}
          name: {{ .Values.existingConfigMap.name }}
          items: [{key: {{ .Values.existingConfigMap.key | quote }}, path: mirrord.yaml}]
          {{- else }}
          name: {{ include "mirrord.named" (list . "config") }}
          items: [{key: mirrord.yaml, path: mirrord.yaml}]
          {{- end }}
      {{- if eq .Values.mode "service" }}
      - secret:
          name: {{ include "mirrord.tokenSecret" . }}
          items: [{key: {{ .Values.token.key | quote }}, path: token/token}]
      {{- end }}
      {{- with .Values.dockerConfig }}
      {{- if .existingSecret }}
      - secret:
          name: {{ .existingSecret }}
          items: [{key: {{ .key | quote }}, path: docker/config.json}]
      {{- end }}
      {{- end }}
      {{- if .Values.extraCA.pem }}
      - configMap:
          name: {{ include "mirrord.named" (list . "ca") }}
          items: [{key: ca.crt, path: ca/ca.crt}]
      {{- else if .Values.extraCA.configMap }}
      - configMap:
          name: {{ .Values.extraCA.configMap }}
          items: [{key: {{ .Values.extraCA.key | quote }}, path: ca/ca.crt}]
      {{- else if .Values.extraCA.secret }}
      - secret:
          name: {{ .Values.extraCA.secret }}
          items: [{key: {{ .Values.extraCA.key | quote }}, path: ca/ca.crt}]
      {{- end }}
      {{- range $directory, $from := .Values.secretFiles }}
      - secret:
          name: {{ $from.secret }}
          items:
            {{- range $from.keys }}
            - {key: {{ . | quote }}, path: {{ printf "secrets/%s/%s" $directory . | quote }}}
            {{- end }}
      {{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
