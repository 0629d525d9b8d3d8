"""Discovery of plugins, loading in isolation, and lookup of their parts by name.

A plugin is an entry point in the group ``vitsplice``; the built-ins are one more plugin. Each is loaded into a pluggy
manager of its own. A plugin that fails is not used, and does not affect the others; its record has the reason.
Nothing is loaded before the first call of `catalogue`.
"""

from vitsplice.plugins.discovery import DISTRIBUTION, PLUGINS_VARIABLE, PluginRecord
from vitsplice.plugins.kinds import KINDS, Kind
from vitsplice.plugins.loading import catalogue
from vitsplice.plugins.registry import Catalogue, conflict_message, unknown_message

__all__ = [
    "DISTRIBUTION",
    "KINDS",
    "PLUGINS_VARIABLE",
    "Catalogue",
    "Kind",
    "PluginRecord",
    "catalogue",
    "conflict_message",
    "unknown_message",
]
