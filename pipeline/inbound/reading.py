"""Reading a webhook's JSON body into a typed shape. Unknown fields are ignored, missing ones are named."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.errors import UnreadableDelivery

NOT_JSON = "Webhooks must be JSON: set the webhook's content type to application/json."
"""Why a delivery of any other content type is refused."""

Shape = TypeVar("Shape", bound=BaseModel)


def says_json(content_type: str) -> bool:
    """Whether a delivery with this `Content-Type` may be read at all."""
    return "json" in content_type.lower()


def read(shape: type[Shape], body: bytes, sender: str) -> Shape:
    """Parse `body` as `shape`. Raises `UnreadableDelivery` with the names of the fields that are missing or wrong."""
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        where = f"field {field}" if field else "body"
        raise UnreadableDelivery(f"{sender}'s delivery cannot be read: {where}: {first['msg']}.") from None
