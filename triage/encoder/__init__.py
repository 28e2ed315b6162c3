"""Sentence encoders as plug-ins: texts to unit vectors, from local files or installed packages alone.

``protocol`` says what an encoder is and checks what it gives, ``local`` is what those from files share, ``adapters``
are the kinds that are known, ``opening`` makes one by its name, ``cache`` keeps vectors on disk.
"""

from triage.encoder.cache import CachedEncoder
from triage.encoder.opening import open_encoder
from triage.encoder.protocol import Encoder, Identity, checked, clean_text, identity_of, unit_vectors

__all__ = [
    "CachedEncoder",
    "Encoder",
    "Identity",
    "checked",
    "clean_text",
    "identity_of",
    "open_encoder",
    "unit_vectors",
]
