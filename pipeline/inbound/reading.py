"""Reading a webhook's JSON body into a typed shape. Unknown fields are ignored, missing ones are named."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.errors import UnreadableDelivery

Shape = TypeVar("Shape", bound=BaseModel)


def read(shape: type[Shape], body: bytes, sender: str) -> Shape:
    """Parse `body` as `shape`. Raises `UnreadableDelivery` with the names of the fields that are missing or wrong."""
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        where = f"field {field}" if field else "body"
        raise UnreadableDelivery(f"{sender}'s delivery cannot be read: {where}: {first['msg']}.") from None
