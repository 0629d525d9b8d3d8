"""What the nodes of a plugin import from ComfyUI: types of inputs and outputs, schemas, nodes, extensions."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class InterruptProcessingException(Exception):
    """The user has interrupted the execution."""


@dataclass
class Socket:
    """An input that can only be linked."""

    id: str
    display_name: str | None = None
    optional: bool = False
    tooltip: str | None = None


@dataclass
class Widget(Socket):
    """An input with a widget."""

    default: Any = None

    def accepts(self, value):
        return isinstance(value, self.python_type)


@dataclass
class NumberWidget(Widget):
    min: float | None = None
    max: float | None = None
    step: float | None = None

    def accepts(self, value):
        return isinstance(value, self.python_type) and self.min <= value <= self.max


@dataclass
class IntWidget(NumberWidget):
    control_after_generate: bool = False


@dataclass
class TextWidget(Widget):
    multiline: bool = False


@dataclass
class ComboWidget(Widget):
    options: list[str] = field(default_factory=list)
    upload: str | None = None

    def accepts(self, value):
        return value in self.options


@dataclass
class OutputSocket:
    id: str | None = None
    display_name: str | None = None
    tooltip: str | None = None


def kind(io_type, input_class, python_type=object):
    """A type of inputs and outputs, such as ``io.Image``."""
    attributes = {"io_type": io_type, "python_type": python_type}
    return SimpleNamespace(
        Input=type(f"{io_type}Input", (input_class,), attributes),
        Output=type(f"{io_type}Output", (OutputSocket,), attributes),
    )


@dataclass
class Schema:
    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Socket] = field(default_factory=list)
    outputs: list[OutputSocket] = field(default_factory=list)
    description: str = ""
    is_output_node: bool = False

    @property
    def ordered_inputs(self):
        """Inputs in the order of the sockets and widgets of a node: the optional ones last."""
        return sorted(self.inputs, key=lambda item: item.optional)

    def input(self, name):
        return {item.id: item for item in self.inputs}[name]


class NodeOutput:
    def __init__(self, *args, ui=None):
        self.args, self.ui = args, ui


class ComfyNode:
    """Base class of nodes."""


class ComfyExtension:
    """Base class of extensions."""

    async def on_load(self):
        pass


io = SimpleNamespace(
    Image=kind("IMAGE", Socket),
    Mask=kind("MASK", Socket),
    Int=kind("INT", IntWidget, int),
    Float=kind("FLOAT", NumberWidget, (int, float)),
    String=kind("STRING", TextWidget, str),
    Combo=kind("COMBO", ComboWidget, str),
    Schema=Schema,
    NodeOutput=NodeOutput,
    ComfyNode=ComfyNode,
)
