"""Pathproof: proves or refutes that losing a storage path costs nothing but a short pause.

The layers, each importing only from those before it, are listed in docs/architecture.md
and enforced by import-linter (see pyproject.toml).
"""

__version__ = "0.1.0"
