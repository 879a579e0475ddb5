{{/*
Values that null would take away, without anything in their place. Helm takes the default away before the schema sees it, and
a template would find nothing, or read it as 0 or false: no Job would be kept, or the pod get a token of Kubernetes.
*/}}
{{- define "mirrord.validateNulls" -}}
{{- $missing := list -}}
{{- range list
  "mode" "image.repository" "image.pullPolicy" "existingConfigMap.key" "log.level" "log.format" "drainTimeoutSeconds"
  "token.key" "dockerConfig.key" "extraCA.key" "proxy" "serviceAccount.create" "serviceAccount.automount" "identity.aws"
  "identity.google" "identity.azure" "persistence.enabled" "persistence.size" "persistence.accessMode" "persistence.retain"
  "service.type" "service.port" "ingress" "httpRoute" "cronjob.schedule" "cronjob.suspend" "cronjob.backoffLimit"
  "cronjob.successfulJobsHistoryLimit" "cronjob.failedJobsHistoryLimit" "monitoring.serviceMonitor.interval"
  "monitoring.serviceMonitor.scrapeTimeout" "monitoring.serviceMonitor.job" "monitoring.podMonitor.interval"
  "monitoring.podMonitor.scrapeTimeout" "monitoring.podMonitor.job" "monitoring.prometheusRule" "monitoring.dashboards"
  "networkPolicy.ingress" "networkPolicy.egress.ports" "networkPolicy.egress.cidrs" "probes.startup" "probes.liveness"
  "probes.readiness" "tmpSizeLimit" -}}
{{- $place := $.Values -}}
{{- $path := list -}}
{{- range splitList "." . -}}
{{- if not (kindIs "invalid" $place) -}}
{{- $place = index $place . -}}
{{- $path = append $path . -}}
{{- end -}}
{{- end -}}
{{- if kindIs "invalid" $place -}}
{{- $missing = append $missing (printf "%s is null: leave it out to have the default" (join "." $path)) -}}
{{- end -}}
{{- end -}}
{{- if $missing -}}
{{- fail (printf "\n\n%d of the values cannot be used:\n  - %s\n  After helm upgrade --reuse-values they may be new ones: take --reset-then-reuse-values.\n" (len (uniq $missing)) (join "\n  - " (uniq $missing))) -}}
{{- end -}}
{{- end -}}

{{- define "mirrord.validate" -}}
{{- include "mirrord.validateNulls" . -}}
{{- $values := .Values -}}
{{- $service := eq $values.mode "service" -}}
{{- $faults := list -}}

{{- if and $service (regexMatch "^[0-9]" (include "mirrord.fullname" .)) -}}
{{- $faults = append $faults (printf "the name %s begins with a digit, which a Service may not: set fullnameOverride" (include "mirrord.fullname" .)) -}}
{{- end -}}

{{- if and $values.config $values.existingConfigMap.name -}}
{{- $faults = append $faults "config and existingConfigMap.name are both set: leave one of them out" -}}
{{- else if not (or $values.config $values.existingConfigMap.name) -}}
{{- $faults = append $faults "config is empty: say what to mirror, with --set-file config=mirrord.yaml, as config in a file of values, or by existingConfigMap.name" -}}
{{- end -}}
{{- if and $values.config (kindIs "string" $values.config) -}}
{{- $read := fromYaml $values.config -}}
{{- if and (hasKey $read "Error") (eq (len $read) 1) -}}
{{- $faults = append $faults (printf "config is no YAML mapping: %s" $read.Error) -}}
{{- end -}}
{{- end -}}

{{- if $service -}}
{{- if and $values.token.existingSecret $values.token.generate -}}
{{- $faults = append $faults "token.existingSecret and token.generate are both set: leave one of them out" -}}
{{- else if not (or $values.token.existingSecret $values.token.generate) -}}
{{- $faults = append $faults (printf "token: page and API need a token. Make one (kubectl -n %s create secret generic mirrord-token --from-literal=token=$(openssl rand -hex 32)) and set token.existingSecret=mirrord-token; or set token.generate=true, unless manifests are rendered without a cluster, as Argo CD does" .Release.Namespace) -}}
{{- end -}}
{{- else -}}
{{- range $name, $enabled := dict "ingress" $values.ingress.enabled "httpRoute" $values.httpRoute.enabled "monitoring.serviceMonitor" $values.monitoring.serviceMonitor.enabled "monitoring.podMonitor" $values.monitoring.podMonitor.enabled -}}
{{- if $enabled -}}
{{- $faults = append $faults (printf "%s.enabled needs mode service: in mode cronjob nothing listens" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $values.monitoring.serviceMonitor.enabled $values.monitoring.podMonitor.enabled -}}
{{- $faults = append $faults "monitoring.serviceMonitor and monitoring.podMonitor are both enabled: every series would be there twice" -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.ingress.hosts) -}}
{{- $faults = append $faults "ingress.hosts is empty: name the hosts, [mirror.example.com] for instance" -}}
{{- end -}}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) -}}
{{- $faults = append $faults "httpRoute.parentRefs is empty: name the gateway, [{name: public, namespace: gateways}] for instance" -}}
{{- end -}}

{{- if le (int (include "mirrord.grace" .)) (int $values.drainTimeoutSeconds) -}}
{{- $faults = append $faults (printf "terminationGracePeriodSeconds is %s, and must be more than drainTimeoutSeconds (%d): the process would be killed while it drains" (include "mirrord.grace" .) (int $values.drainTimeoutSeconds)) -}}
{{- end -}}

{{- if and $values.persistence.existingClaim (not $values.persistence.enabled) -}}
{{- $faults = append $faults "persistence.existingClaim is set, and persistence.enabled is false: leave one of them out" -}}
{{- end -}}

{{- with $values.extraCA -}}
{{- $sources := 0 -}}
{{- range list .pem .configMap .secret -}}{{- if . -}}{{- $sources = add1 $sources -}}{{- end -}}{{- end -}}
{{- if gt (int $sources) 1 -}}
{{- $faults = append $faults "extraCA: pem, configMap and secret are three places for one thing: leave one in" -}}
{{- else if and .complete (eq (int $sources) 0) -}}
{{- $faults = append $faults "extraCA.complete is true, but there are no certificates: set pem, configMap or secret" -}}
{{- end -}}
{{- if and .pem (not (contains "-----BEGIN CERTIFICATE-----" .pem)) -}}
{{- $faults = append $faults "extraCA.pem holds no certificate: give PEM, with its BEGIN and END lines" -}}
{{- end -}}
{{- if and .pem (contains "PRIVATE KEY" .pem) -}}
{{- $faults = append $faults "extraCA.pem holds a private key: give certificates alone" -}}
{{- end -}}
{{- end -}}

{{- range $name, $url := dict "proxy.http" ($values.proxy.http | default "") "proxy.https" ($values.proxy.https | default "") -}}
{{- if contains "@" $url -}}
{{- $faults = append $faults (printf "%s holds a user or password (not shown): it belongs into a Secret; name the whole URL in secretEnv, as HTTP_PROXY or HTTPS_PROXY" $name) -}}
{{- end -}}
{{- end -}}

{{- with $values.identity -}}
{{- if and (not $values.serviceAccount.create) (or .aws.roleArn .google.serviceAccount .azure.clientId) -}}
{{- $faults = append $faults "identity is set, but serviceAccount.create is false: annotate your ServiceAccount yourself, or let the chart make one" -}}
{{- end -}}
{{- if and .google.serviceAccount (not .google.enabled) -}}
{{- $faults = append $faults "identity.google.serviceAccount is set, but identity.google.enabled is false" -}}
{{- end -}}
{{- if and .azure.tenantId (not .azure.clientId) -}}
{{- $faults = append $faults "identity.azure.tenantId is set, but identity.azure.clientId is not" -}}
{{- end -}}
{{- end -}}

{{- $seen := dict -}}
{{- range (include "mirrord.env" . | fromYamlArray) -}}
{{- if hasKey $seen .name -}}
{{- $faults = append $faults (printf "the variable %s is set twice: by secretEnv, extraEnv, or a value of the chart" .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- end -}}
{{- $seen = dict "etc" true "state" true "tmp" true -}}
{{- range $values.extraVolumes -}}
{{- if hasKey $seen .name -}}
{{- $faults = append $faults (printf "extraVolumes: there is a volume with the name %s already" .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- end -}}

{{- if $faults -}}
{{- fail (printf "\n\n%d of the values cannot be used:\n  - %s\n" (len $faults) (join "\n  - " $faults)) -}}
{{- end -}}
{{- end -}}
