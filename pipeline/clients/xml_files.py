"""Reads XML that a branch's own code has written: nothing is expanded, fetched or read without a limit."""

from xml.etree.ElementTree import Element

from defusedxml.ElementTree import ParseError, fromstring

from pipeline.clients.checkout import Checkout, UnreadableFile

LIMIT = 20_000_000
"""Bytes of an XML file at most; its tree takes some ten times as much memory."""


def read_xml(checkout: Checkout, name: str) -> Element:
    """The root element of a file of the checkout. Raises `UnreadableFile`.

    A document type is allowed (Cobertura's writers name one), entities and external references are not.
    """
    content = checkout.read(name, limit=LIMIT)
    try:
        root: Element = fromstring(content)
    except (ParseError, ValueError, LookupError) as error:
        raise UnreadableFile(f"{name} is not XML that can be read: {type(error).__name__}") from error
    return root
