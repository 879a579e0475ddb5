"""An OCI image layout directory as source and target: a registry like any other, on a disk.

Source: image-spec v1.1.1 image-layout.md. A tag is an entry of ``index.json`` with the annotation
``org.opencontainers.image.ref.name``; content lies in ``blobs/<algorithm>/<hex>``. Beside what the specification
names, a layout that mirrord wrote holds ``index.json.lock`` and the directory ``.mirrord-uploads``: both may be
removed while nothing writes.
"""

from mirrord.layout.reader import LayoutReader
from mirrord.layout.writer import LayoutWriter

__all__ = ["LayoutReader", "LayoutWriter"]
