"""Writing what a crash must not leave half written."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any


def write_json(path: Path, data: Any) -> None:
    """Replace `path` at once: a reader, or a harness that died, finds the old text or the new, never a part of one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    draft.write_text(json.dumps(data, indent=2, default=str) + "\n", encoding="utf-8")
    draft.replace(path)
