"""Values that together turn every switch of the chart, each in several surroundings."""

from __future__ import annotations

import yaml

from tests.deploy.chart.rendering import CERTIFICATE, CONFIG, CRONJOB, SERVICE, Values, with_values

SECRETS: Values = {
    "secretEnv": [{"name": "INTERNAL", "secret": "internal", "key": "password"}],
    "secretFiles": {
        "dockerhub": {"secret": "dockerhub", "keys": ["token"]},
        "google": {"secret": "google-key", "keys": ["key.json", "other.json"]},
    },
    "dockerConfig": {"existingSecret": "regcred"},
    "imagePullSecrets": [{"name": "pull"}],
}
SCHEDULING: Values = {
    "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
            }
        }
    },
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
    ],
    "priorityClassName": "platform",
    "annotations": {"reloader.stakater.com/auto": "true"},
    "podAnnotations": {"note": "1"},
    "podLabels": {"team": "platform"},
    "commonLabels": {"cost-centre": "42"},
}
EXTRAS: Values = {
    "extraEnv": [
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "AWS_REGION", "value": "eu-west-1"},
    ],
    "extraVolumes": [{"name": "layouts", "persistentVolumeClaim": {"claimName": "layouts"}}],
    "extraVolumeMounts": [{"name": "layouts", "mountPath": "/layouts"}],
    "proxy": {"http": "http://proxy:3128", "https": "http://proxy:3128", "noProxy": [".svc", "10.0.0.0/8"]},
}
CA_INLINE: Values = {"extraCA": {"pem": CERTIFICATE}}
CA_CONFIG_MAP: Values = {"extraCA": {"configMap": "bundle", "key": "bundle.pem", "complete": True}}
CA_SECRET: Values = {"extraCA": {"secret": "internal-ca"}}
AWS: Values = {"identity": {"aws": {"roleArn": "arn:aws:iam::123456789012:role/mirrord"}}}
POD_IDENTITY: Values = {"identity": {"aws": {"podIdentity": True}}}
GOOGLE: Values = {
    "identity": {"google": {"enabled": True, "serviceAccount": "mirror@acme.iam.gserviceaccount.com"}},
}
AZURE: Values = {
    "identity": {
        "azure": {
            "clientId": "5b0c4c3e-2f5a-4a0e-9d38-4a7b6f3d2c11",
            "tenantId": "6c0c4c3e-2f5a-4a0e-9d38-4a7b6f3d2c11",
        }
    }
}
INGRESS: Values = {
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "annotations": {"nginx.ingress.kubernetes.io/proxy-buffering": "off"},
        "hosts": ["mirror.example.com", "mirror.internal"],
        "tls": [{"hosts": ["mirror.example.com"], "secretName": "mirror-tls"}],
    }
}
ROUTE: Values = {
    "httpRoute": {
        "enabled": True,
        "annotations": {"a": "b"},
        "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
        "hostnames": ["mirror.example.com"],
    }
}
SERVICE_MONITOR: Values = {
    "monitoring": {
        "serviceMonitor": {
            "enabled": True,
            "namespace": "monitoring",
            "labels": {"release": "prometheus"},
            "relabelings": [{"action": "labeldrop", "regex": "pod"}],
            "metricRelabelings": [
                {"sourceLabels": ["__name__"], "regex": "mirrord_image_duration.*", "action": "drop"}
            ],
        }
    }
}
POD_MONITOR: Values = {
    "monitoring": {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}, "job": "images"}},
}
RULES: Values = {
    "monitoring": {
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}, "alertLabels": {"team": "platform"}},
        "dashboards": {"enabled": True, "namespace": "monitoring"},
    }
}
NETWORK: Values = {"networkPolicy": {"enabled": True, "ingress": {"namespaces": ["monitoring", "ingress-nginx"]}}}
NETWORK_NARROW: Values = {
    "networkPolicy": {
        "enabled": True,
        "ingress": {"from": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]},
        "egress": {
            "ports": [443, 5000],
            "cidrs": ["10.0.0.0/8"],
            "extra": [{"ports": [{"port": 3128, "protocol": "TCP"}]}],
        },
    }
}
TEXT = yaml.safe_dump(dict(CONFIG), sort_keys=False)

CASES: dict[str, Values] = {
    "service-smallest": SERVICE,
    "service-text-generated-token": {"config": TEXT, "token": {"generate": True}},
    "service-existing-config-map": {
        "existingConfigMap": {"name": "rules", "key": "rules.yaml"},
        "token": {"existingSecret": "api", "key": "api-token"},
    },
    "service-aws": with_values(SERVICE, SECRETS, AWS, INGRESS, SERVICE_MONITOR, NETWORK, CA_INLINE),
    "service-pod-identity": with_values(SERVICE, POD_IDENTITY, POD_MONITOR, NETWORK, EXTRAS, CA_CONFIG_MAP),
    "service-google": with_values(SERVICE, GOOGLE, ROUTE, RULES, NETWORK_NARROW, SCHEDULING, CA_SECRET),
    "service-azure": with_values(SERVICE, AZURE, SECRETS, ROUTE, INGRESS, RULES, SERVICE_MONITOR, EXTRAS),
    "service-existing-claim": with_values(SERVICE, {"persistence": {"existingClaim": "state"}}, SCHEDULING, NETWORK),
    "service-no-volume": with_values(SERVICE, {"persistence": {"enabled": False}}, POD_MONITOR, CA_INLINE, RULES),
    "service-volume": with_values(
        SERVICE,
        {
            "persistence": {
                "size": "5Gi",
                "storageClass": "gp3",
                "accessMode": "ReadWriteOncePod",
                "annotations": {"backup": "yes"},
                "retain": False,
            }
        },
        EXTRAS,
    ),
    "service-foreign-account": with_values(
        SERVICE, {"serviceAccount": {"create": False, "name": "shared"}}, POD_IDENTITY, SECRETS
    ),
    "service-load-balancer": with_values(
        SERVICE,
        {
            "service": {"type": "LoadBalancer", "port": 80, "annotations": {"a": "b"}},
            "image": {"digest": "sha256:" + "a" * 64},
            "drainTimeoutSeconds": 600,
            "terminationGracePeriodSeconds": 700,
        },
    ),
    "cronjob-smallest": CRONJOB,
    "cronjob-no-volume": with_values(CRONJOB, {"persistence": {"enabled": False}}, AWS, SECRETS, CA_CONFIG_MAP),
    "cronjob-everything": with_values(
        CRONJOB,
        {
            "config": TEXT,
            "cronjob": {
                "schedule": "@daily",
                "timeZone": "Europe/Berlin",
                "suspend": True,
                "activeDeadlineSeconds": None,
                "rules": ["web"],
                "pushgateway": "http://pushgateway.monitoring:9091",
                "extraArgs": ["--verbose"],
            },
        },
        GOOGLE,
        NETWORK,
        SECRETS,
        RULES,
        SCHEDULING,
        EXTRAS,
    ),
    "cronjob-existing-claim": with_values(
        CRONJOB, {"persistence": {"existingClaim": "state"}}, AZURE, CA_SECRET, NETWORK_NARROW
    ),
}
