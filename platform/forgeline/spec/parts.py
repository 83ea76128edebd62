"""Parts of a spec that belong to a plug-in: `architecture: {name: resnet18, …}`, `data: {name: mnist5k, …}`.

The plug-in that answers to `name` gives the pydantic model that the part is checked with, so a spec model need not
know its plug-ins. Errors of the inner model come out with their full path, since pydantic-core takes over the lines of
a ValidationError that is raised in a validator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from forgeline import plugins
from forgeline.errors import SpecError


def plugin_part(group: str) -> Any:
    """The type of a field that holds the settings of a plug-in of `group`, with `name` choosing the plug-in."""
    return Annotated[BaseModel, PluginPart(group)]


@dataclass(frozen=True)
class PluginPart:
    """Makes pydantic check a field with the config model of the plug-in that its `name` chooses."""

    group: str

    def model_for(self, name: str) -> type[BaseModel]:
        """The config model of the plug-in that answers to a name.

        Raises:
            SpecError: nothing answers to it.
        """
        return cast(plugins.ConfiguredDescriptor, plugins.find(self.group, name, key="name")).config_model()

    def validate(self, value: object, info: ValidationInfo) -> BaseModel:
        """The checked settings; the plug-in's model gets the context of the whole spec."""
        if isinstance(value, BaseModel):
            value = value.model_dump(mode="json", by_alias=True)
        if not isinstance(value, Mapping):
            example = value if isinstance(value, str) else "…"
            hint = {"example": f"{{name: {example}}}"}
            raise PydanticCustomError("part_type", "expected a mapping such as {example}", hint)
        if "name" not in value:
            known = plugins.names(self.group)
            raise _at_name("missing", f"required key is missing; known: {_shown(known)}", value)
        if not isinstance(value["name"], str):
            raise _at_name("string_type", "expected the name as a string", value["name"])
        try:
            model = self.model_for(value["name"])
        except SpecError as error:
            raise _at_name("unknown_name", error.message, value["name"]) from error
        return model.model_validate(dict(value), context=info.context)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # The inner schema is `any`, so that a part is dumped by its own model and not as a bare BaseModel.
        return core_schema.with_info_before_validator_function(self.validate, core_schema.any_schema())

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [self._choice(plugin, handler) for plugin in plugins.descriptors(self.group)]}

    def _choice(self, plugin: plugins.Descriptor, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        model = cast(plugins.ConfiguredDescriptor, plugin).config_model()
        members = getattr(plugin, "model_names", None)
        names = sorted(members()) if members is not None else [plugin.name]
        only: JsonSchemaValue = {"const": names[0]} if len(names) == 1 else {"enum": names}
        base = handler(model.__pydantic_core_schema__)
        inner = base.get("properties", {})
        return {
            **base,
            "title": plugin.name,
            "description": plugin.help,
            "properties": {**inner, "name": {**inner.get("name", {}), **only}},
            "required": sorted({*base.get("required", []), "name"}),
        }


def _at_name(kind: str, message: str, value: object) -> ValidationError:
    error = PydanticCustomError(f"forgeline_{kind}", "{message}", {"message": message})
    return ValidationError.from_exception_data("part", [InitErrorDetails(type=error, loc=("name",), input=value)])


def _shown(names: list[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
