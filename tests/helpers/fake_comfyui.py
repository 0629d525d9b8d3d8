"""A small stand-in for ComfyUI: it loads nodes, and checks and executes workflows."""

import importlib.util
import json
import sys
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace

import coroutines
import torch
from fake_comfyui_api import (
    ComfyExtension,
    ComfyNode,
    InterruptProcessingException,
    NodeOutput,
    Schema,
    Widget,
    io,
)

from vitsplice.images import encode_png, read

MODES_OF_A_SEED = {"fixed", "increment", "decrement", "randomize"}
PLACEHOLDER_SHAPE = (1, 64, 64)
"""Shape of the mask of zeros that Load Image gives for an image without alpha channel."""


class FakeComfyUI:
    """ComfyUI with some of its nodes.

    Args:
        folder: folder with the images of Load Image, and for those of Save Image.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.progress = []
        self.interrupt_after = None
        self.models_unloaded = 0
        self.nodes = {}
        self.register(self.own_nodes())

    def modules(self):
        """The modules that nodes import, by name."""
        management = {
            "InterruptProcessingException": InterruptProcessingException,
            "get_torch_device": lambda: torch.device("cpu"),
            "intermediate_device": lambda: torch.device("cpu"),
            "throw_exception_if_processing_interrupted": self.throw_if_interrupted,
            "unload_all_models": self.unload_all_models,
        }
        contents = {
            "comfy": {},
            "comfy.model_management": management,
            "comfy.utils": {"ProgressBar": self.progress_bar},
            "comfy_api": {},
            "comfy_api.latest": {"io": io, "ComfyExtension": ComfyExtension},
        }
        modules = {name: ModuleType(name) for name in contents}
        for name, attributes in contents.items():
            vars(modules[name]).update(attributes)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(modules[parent], child, modules[name])
        return modules

    def throw_if_interrupted(self):
        if self.interrupt_after is not None and len(self.progress) >= self.interrupt_after:
            raise InterruptProcessingException

    def unload_all_models(self):
        self.models_unloaded += 1

    def progress_bar(self, total):
        def update_absolute(value, total=total, preview=None):
            self.progress.append((value, total, preview))

        return SimpleNamespace(update_absolute=update_absolute)

    def load(self, path):
        """Load a custom node from a folder or a file, as ComfyUI does."""
        file = path / "__init__.py" if path.is_dir() else path
        name = str(path).replace(".", "_x_")
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        extension = coroutines.run(module.comfy_entrypoint())
        assert isinstance(extension, ComfyExtension)
        self.register(coroutines.run(extension.get_node_list()))

    def register(self, nodes):
        self.nodes |= {node.define_schema().node_id: node for node in nodes}

    def schema(self, node_id):
        return self.nodes[node_id].define_schema()

    def own_nodes(self):
        """ComfyUI's Load Image (for images without alpha channel), Save Image and Preview Image."""
        folder, numbers = self.folder, count(1)

        class LoadImage(ComfyNode):
            @classmethod
            def define_schema(cls):
                files = sorted(path.name for path in folder.glob("*.png"))
                image = io.Combo.Input("image", options=files, upload="image_upload")
                return Schema("LoadImage", inputs=[image], outputs=[io.Image.Output("IMAGE"), io.Mask.Output("MASK")])

            @classmethod
            def execute(cls, image):
                return NodeOutput(read(folder / image).pixels.movedim(1, -1), torch.zeros(PLACEHOLDER_SHAPE))

        class PreviewImage(ComfyNode):
            @classmethod
            def define_schema(cls):
                return Schema("PreviewImage", inputs=[io.Image.Input("images")], is_output_node=True)

            @classmethod
            def execute(cls, images):
                return NodeOutput(ui={"images": images})

        class SaveImage(ComfyNode):
            @classmethod
            def define_schema(cls):
                inputs = [io.Image.Input("images"), io.String.Input("filename_prefix", default="ComfyUI")]
                return Schema("SaveImage", inputs=inputs, is_output_node=True)

            @classmethod
            def execute(cls, images, filename_prefix):
                for image in images.movedim(-1, 1):
                    (folder / f"{filename_prefix}_{next(numbers):05}_.png").write_bytes(encode_png(image))
                return NodeOutput(ui={"images": images})

        return [LoadImage, PreviewImage, SaveImage]

    def prompt(self, path):
        """Convert a workflow file to a prompt: node -> class and inputs, which are values or [node, output].

        Raises AssertionError unless the links are consistent, and outputs and widgets are those of the nodes' schemas.
        """
        workflow = json.loads(Path(path).read_text())
        nodes = {node["id"]: node for node in workflow["nodes"]}
        links = {link[0]: link[1:] for link in workflow["links"]}
        used = [item["link"] for node in nodes.values() for item in node["inputs"]]
        assert sorted(used) == sorted(links), "each link must lead to one input"
        for number, (origin, output, target, position, io_type) in links.items():
            assert number in nodes[origin]["outputs"][output]["links"]
            assert nodes[target]["inputs"][position]["link"] == number
            assert self.schema(nodes[origin]["type"]).outputs[output].io_type == io_type
        return {
            str(number): {
                "class_type": node["type"],
                "inputs": self.widget_values(node)
                | {item["name"]: [str(links[item["link"]][0]), links[item["link"]][1]] for item in node["inputs"]},
            }
            for number, node in nodes.items()
        }

    def widget_values(self, node):
        """The values of the widgets of a node of a workflow by name."""
        schema, values = self.schema(node["type"]), iter(node["widgets_values"])
        assert [(o["name"], o["type"]) for o in node["outputs"]] == [(o.id, o.io_type) for o in schema.outputs]
        named = {}
        for item in schema.ordered_inputs:
            if isinstance(item, Widget):
                named[item.id] = next(values)
                if getattr(item, "control_after_generate", False):
                    assert next(values) in MODES_OF_A_SEED
                if getattr(item, "upload", None):
                    assert next(values) == "image"
        assert list(values) == [], "more values than widgets"
        return named

    def check(self, prompt):
        """Raise ValueError unless every input exists and has an allowed value, as ComfyUI does before it runs."""
        for node in prompt.values():
            schema = self.schema(node["class_type"])
            required = {item.id for item in schema.inputs if not item.optional}
            if missing := required - set(node["inputs"]):
                raise ValueError(f"{schema.node_id} lacks the inputs {missing}")
            if unknown := set(node["inputs"]) - {item.id for item in schema.inputs}:
                raise ValueError(f"{schema.node_id} has no inputs {unknown}")
            for name, value in node["inputs"].items():
                item = schema.input(name)
                if isinstance(value, list):
                    output = self.schema(prompt[value[0]]["class_type"]).outputs[value[1]]
                    if output.io_type != item.io_type:
                        raise ValueError(f"{schema.node_id}.{name} is {item.io_type}, not {output.io_type}")
                elif not item.accepts(value):
                    raise ValueError(f"{schema.node_id}.{name} does not accept {value!r}")

    def execute(self, prompt):
        """Check and execute a prompt; return the `NodeOutput` of each executed node: outputs and shown images."""
        self.check(prompt)
        outputs = {}

        def output_of(number):
            if number not in outputs:
                node = prompt[number]
                inputs = {
                    name: output_of(value[0]).args[value[1]] if isinstance(value, list) else value
                    for name, value in node["inputs"].items()
                }
                outputs[number] = self.nodes[node["class_type"]].execute(**inputs)
            return outputs[number]

        with torch.inference_mode():
            for number, node in prompt.items():
                if self.schema(node["class_type"]).is_output_node:
                    output_of(number)
        return outputs

    def call(self, node_id, **inputs):
        """Execute one node with inputs, and with the defaults of its other widgets; return its outputs."""
        schema = self.schema(node_id)
        defaults = {item.id: item.default for item in schema.inputs if isinstance(item, Widget)}
        values = {name: value for name, value in inputs.items() if isinstance(schema.input(name), Widget)}
        for name, value in (defaults | values).items():
            assert schema.input(name).accepts(value), (name, value)
        with torch.inference_mode():
            # copies that are inference tensors, like the outputs of nodes in ComfyUI
            tensors = {name: value.clone() for name, value in inputs.items() if isinstance(value, torch.Tensor)}
            return self.nodes[node_id].execute(**defaults | inputs | tensors).args
