"""Is the daemon well?"""

from __future__ import annotations

from typing import Final

from scripts.dashboards.freshness import ALL
from scripts.dashboards.panels import number, series, states, table
from scripts.dashboards.parts import BAD, BLUE, GOOD, NOTICE, Query, Row, by_name, dashed, read_more, steps, words

SERVICE: Final = read_more("Run it as a service", "how-to/run-as-a-service.md")

ROW: Final = Row(
    "Is the daemon well?",
    (
        number(
            "Configuration",
            "Whether the file as it stands is in force. If it was refused, the one before stays in force, and the "
            "status page and the log say what is wrong and where: correct it, nothing needs a restart.",
            Query(f"min(mirrord_config_last_reload_successful{{{ALL}}})", is_now=True),
            unit="none",
            nothing="no instance",
            thresholds=steps((1, GOOD), first=BAD),
            mappings=words({1: ("in force", GOOD), 0: ("refused", BAD)}),
            links=(SERVICE,),
        ),
        number(
            "Configuration loaded",
            "How long ago the configuration in force was loaded, by the instance that did so last.",
            Query(f"min(time() - mirrord_config_last_reload_timestamp_seconds{{{ALL}}})", is_now=True),
            unit="s",
            nothing="no instance",
            decimals=0,
        ),
        number(
            "State store",
            "Whether what the service remembers can be read and written. If not, mirroring goes on, registries are "
            "asked more, and a restart forgets: look at the disk, and at `state_unusable` in the log.",
            Query(f"min(mirrord_state_usable{{{ALL}}})", is_now=True),
            unit="none",
            nothing="no instance",
            thresholds=steps((1, GOOD), first=BAD),
            mappings=words({1: ("usable", GOOD), 0: ("not usable", BAD)}),
            links=(read_more("State", "reference/state.md"),),
        ),
        number(
            "Running for",
            "How long the instance has been running that was started last. A small number again and again is a service "
            "that is restarted: by an update, for its memory, or since its health was bad.",
            Query(f"min(time() - process_start_time_seconds{{{ALL}}})", is_now=True),
            unit="s",
            nothing="no instance",
            decimals=0,
        ),
        table(
            "Instances",
            "The version of mirrord and of Python, by instance. Two versions are an update on its way.",
            {"Instances": Query(f"count by (instance, version, python) (mirrord_build_info{{{ALL}}})", is_now=True)},
            labels={"instance": "Instance", "version": "mirrord", "python": "Python"},
            nothing="no instance",
            sort_by="Instance",
            is_descending=False,
            overrides=(by_name("Instances", {"custom.hidden": True}),),
            width=8,
            height=4,
        ),
        series(
            "Late event loop",
            "By how much the event loop was late at most when it was looked at. Above a second, answers and health "
            "checks are late too: the instance needs more processor time, or something blocks it.",
            Query(
                f"max by (instance) (max_over_time(mirrord_event_loop_lag_seconds{{{ALL}}}[$__rate_interval]))",
                "{{instance}}",
            ),
            unit="s",
            nothing="no instance",
            thresholds=steps((0.25, NOTICE), (1, BAD), first=BLUE),
        ),
        series(
            "Memory",
            "Resident memory, and the limit of the container if there is one (dashed). It grows with rules and images, "
            "and levels off; what grows for days is a leak. Near its limit the process is killed: raise the limit.",
            Query(f"max by (instance) (process_resident_memory_bytes{{{ALL}}})", "{{instance}}"),
            Query(f"max by (instance) (mirrord_memory_limit_bytes{{{ALL}}})", "{{instance}}: limit"),
            unit="bytes",
            nothing="no instance",
            overrides=(dashed("/: limit$/"),),
        ),
        series(
            "Processor",
            "The share of a processor in use. mirrord works on one: at 100 % for long it is the limit of how fast "
            "images move.",
            Query(f"sum by (instance) (rate(process_cpu_seconds_total{{{ALL}}}[$__rate_interval]))", "{{instance}}"),
            unit="percentunit",
            nothing="no instance",
            thresholds=steps((1, NOTICE), first=BLUE),
        ),
        series(
            "Open files and connections",
            "Descriptors that the process holds. It rises with connections and falls again; what only rises is a leak.",
            Query(f"max by (instance) (process_open_fds{{{ALL}}})", "{{instance}}"),
            unit="short",
            nothing="no instance",
        ),
        series(
            "Share of descriptors in use",
            "How much of what the system allows the process. Near 100 % connections fail: raise the limit on open "
            "files.",
            Query(f"max by (instance) (process_open_fds{{{ALL}}} / process_max_fds{{{ALL}}})", "{{instance}}"),
            unit="percentunit",
            nothing="no instance",
            thresholds=steps((0.8, BAD), first=BLUE),
        ),
        states(
            "Configuration and state over time",
            "When a configuration was refused or the state store could not be used, in any of the chosen instances.",
            Query(
                f'label_replace(min(mirrord_config_last_reload_successful{{{ALL}}}), "what", "configuration", "", "") '
                "or "
                f'label_replace(min(mirrord_state_usable{{{ALL}}}), "what", "state store", "", "")',
                "{{what}}",
            ),
            nothing="no instance",
            mappings=words({1: ("well", GOOD), 0: ("not well", BAD)}),
            width=8,
        ),
    ),
)
