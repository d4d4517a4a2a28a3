"""What the user wants: TOML and options, validated into frozen models.

The only place where raw dictionaries from the outside live. Imports the vocabulary only.
"""

from harness.config.load import Loaded, Setting, load
from harness.config.model import Config

__all__ = ["Config", "Loaded", "Setting", "load"]
