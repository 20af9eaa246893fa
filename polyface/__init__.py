"""One network for every question about a face.

    import polyface
    for face in polyface.load().analyze("photograph.jpg"):
        print(face.box, face.age, face.gender)

Importing this loads neither numpy nor torch; `load` brings what it needs.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyface.inference.analyze import Analyzer, Face, load

__version__ = "0.1.0"
__all__ = ["Analyzer", "Face", "__version__", "load"]


os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime 1.32 would tell Microsoft what runs here, unless this stands there when it is imported


def __getattr__(name: str) -> Any:
    if name in ("Analyzer", "Face", "load"):
        from polyface.inference import analyze

        return getattr(analyze, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
