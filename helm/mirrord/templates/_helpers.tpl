{{/* The chart's name. */}}
{{- define "mirrord.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/*
The name of everything. 52 characters at the most: CronJobs append 11 for their Jobs, StatefulSets the same for the
label of a revision, and the chart a suffix of its own. Releases may have dots in their names, Services may not.
*/}}
{{- define "mirrord.fullname" -}}
{{- $name := include "mirrord.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $full | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* A name with a suffix, 63 characters at the most: (list . "suffix"). */}}
{{- define "mirrord.named" -}}
{{- $context := index . 0 -}}
{{- $suffix := index . 1 -}}
{{- $room := int (sub 62 (len $suffix)) -}}
{{- printf "%s-%s" (include "mirrord.fullname" $context | trunc $room | trimSuffix "-") $suffix -}}
{{- end -}}

{{/* What pods are found by. Never changes between versions: selectors cannot be changed. (list . "component") */}}
{{- define "mirrord.selector" -}}
{{- $context := index . 0 -}}
app.kubernetes.io/name: {{ include "mirrord.name" $context }}
app.kubernetes.io/instance: {{ $context.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object. (list . "component") */}}
{{- define "mirrord.labels" -}}
{{- $context := index . 0 -}}
{{- $labels := dict
  "helm.sh/chart" (printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" (include "mirrord.version" $context)
  "app.kubernetes.io/managed-by" $context.Release.Service
  "app.kubernetes.io/part-of" "mirrord" -}}
{{- mergeOverwrite (deepCopy ($context.Values.commonLabels | default dict)) $labels (include "mirrord.selector" . | fromYaml) | toYaml -}}
{{- end -}}

{{/* The version as a label: at most 63 characters, and none that a label cannot have. */}}
{{- define "mirrord.version" -}}
{{- default .Chart.AppVersion .Values.image.tag | replace "+" "_" | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{/* The component that mirrors: by this word pods of the mode are told from others. */}}
{{- define "mirrord.component" -}}
{{- eq .Values.mode "cronjob" | ternary "run" "service" -}}
{{- end -}}

{{- define "mirrord.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "mirrord.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "mirrord.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "mirrord.serviceAccountAnnotations" -}}
{{- $annotations := dict -}}
{{- with .Values.identity.aws.roleArn }}{{ $_ := set $annotations "eks.amazonaws.com/role-arn" . }}{{ end -}}
{{- with .Values.identity.google.serviceAccount }}{{ $_ := set $annotations "iam.gke.io/gcp-service-account" . }}{{ end -}}
{{- with .Values.identity.azure.clientId }}{{ $_ := set $annotations "azure.workload.identity/client-id" . }}{{ end -}}
{{- with .Values.identity.azure.tenantId }}{{ $_ := set $annotations "azure.workload.identity/tenant-id" . }}{{ end -}}
{{- with mergeOverwrite $annotations (.Values.serviceAccount.annotations | default dict) }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* The Secret with the token. */}}
{{- define "mirrord.tokenSecret" -}}
{{- .Values.token.existingSecret | default (include "mirrord.named" (list . "token")) -}}
{{- end -}}

{{/* How long Kubernetes waits after SIGTERM, in seconds. */}}
{{- define "mirrord.grace" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- add (int .Values.drainTimeoutSeconds) 35 -}}
{{- else -}}
{{- int .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{/* "yes" for files of monitoring that belong to the mode: what ends in -once is for single runs. (list . path) */}}
{{- define "mirrord.fileOfMode" -}}
{{- $once := eq (index . 0).Values.mode "cronjob" -}}
{{- $stem := trimSuffix (ext (index . 1)) (index . 1) -}}
{{- if eq $once (hasSuffix "-once" $stem) }}yes{{ end -}}
{{- end -}}
