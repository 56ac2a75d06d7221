from collections.abc import Iterator

import pytest

from deployments.prefect_server import PrefectServer
from tests.support.desks import desk, sandbox
from tests.support.product import Product, running_product

__all__ = ["desk", "product", "sandbox"]

PROJECTS = ("PA", "PB", "PC", "PD", "PE", "PF", "PG", "PH")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Iterator[Product]:
    """The whole product, with a project for each test of the module that wants one for itself."""
    with running_product(tmp_path_factory.mktemp("product") / "p", prefect_server, projects=PROJECTS) as running:
        yield running
