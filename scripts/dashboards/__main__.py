"""Write grafana/dashboards anew, or into the directory that is named."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from scripts.dashboards import once, service
from scripts.dashboards.parts import Json

FOLDER = Path(__file__).parents[2] / "grafana" / "dashboards"


def made() -> dict[str, str]:
    """Return the files' texts by their names."""
    return {"mirrord.json": text_of(service.dashboard()), "mirrord-once.json": text_of(once.dashboard())}


def text_of(dashboard: Json) -> str:
    """Return a dashboard as it stands in its file."""
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


def main(folder: Path) -> None:
    """Write the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in made().items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
