"""Find, load and isolate plugins; turn names into specs.

A plugin is an entry point in the group ``vitsplice``; the built-ins are one more plugin. Each is loaded
into a pluggy manager of its own, so a broken one loses only itself: its record says why, and nothing of
it is used. Nothing happens before the first call of `catalogue`.
"""

from vitsplice.plugins.assemble import catalogue
from vitsplice.plugins.find import DISTRIBUTION, VARIABLE
from vitsplice.plugins.kinds import BACKBONES, COMMANDS, EXECUTORS, GENERATORS, KINDS, LOSSES, METRICS, PRESETS, Kind
from vitsplice.plugins.lookup import Catalogue
from vitsplice.plugins.messages import conflict, unknown
from vitsplice.plugins.records import PluginRecord

__all__ = [
    "BACKBONES",
    "COMMANDS",
    "DISTRIBUTION",
    "EXECUTORS",
    "GENERATORS",
    "KINDS",
    "LOSSES",
    "METRICS",
    "PRESETS",
    "VARIABLE",
    "Catalogue",
    "Kind",
    "PluginRecord",
    "catalogue",
    "conflict",
    "unknown",
]
