"""A bundle on disk: a folder of JSON and numpy arrays with checksums; no pickle, nothing is executed on load.

``manifest.json`` names every other file with its size and SHA-256, and carries a checksum of its own content.
``settings.json`` and ``metrics.json`` are objects, ``NAME.npy`` arrays, ``NAME.jsonl`` tables; other files are
documents for people. A large array is deflated where that helps, ``NAME.npy.z`` (since format 2). The same contents
give the same bytes.

Checksums find damage, and tampering by one who cannot recompute them. They are no signature: take bundles from
people you trust. A false bundle can give wrong answers; it cannot run code.

To change the format:

1. Raise `FORMAT` by one, and keep the reader of the old format beside the new one, chosen in `saving` by the
   manifest's number. Old bundles must open for as long as a desk may hold one.
2. Never change `contents.dump`, nor the meaning of ``format`` and ``checksum`` in the manifest: by them a release
   tells a bundle that is newer than itself from a damaged one.
3. Keep a golden bundle of every released format in ``tests/data/`` with a test that loads it, and never touch it again.
4. Say in CHANGELOG.md what changed and from which version of triage on the new format can be read.

A new array, table or setting is no change of format: the part that reads it copes with its absence.
"""

from triage.bundle.contents import Contents
from triage.bundle.saving import FORMAT, load_bundle, save_bundle

__all__ = ["FORMAT", "Contents", "load_bundle", "save_bundle"]
