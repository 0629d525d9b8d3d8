"""Plugins: found, loaded in isolation, and looked up by name.

A plugin is an entry point in the group ``vitsplice``; the built-ins are one more plugin. Each is loaded into a pluggy
manager of its own, so that a plugin that fails loses only itself: its record has the reason, and nothing of it is used.
Nothing is loaded before the first call of `catalogue`.
"""

from vitsplice.plugins.discovery import DISTRIBUTION, VARIABLE, PluginRecord
from vitsplice.plugins.kinds import KINDS, Kind
from vitsplice.plugins.loading import catalogue
from vitsplice.plugins.registry import Catalogue, conflict_message, unknown_message

__all__ = [
    "DISTRIBUTION",
    "KINDS",
    "VARIABLE",
    "Catalogue",
    "Kind",
    "PluginRecord",
    "catalogue",
    "conflict_message",
    "unknown_message",
]
