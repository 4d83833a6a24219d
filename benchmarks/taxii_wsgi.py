"""This module is the two TAXII servers as gunicorn runs them, in an environment of their own (benchmarks/taxii.lock).

    gunicorn --chdir benchmarks 'taxii_wsgi:opentaxii("/where/its/databases/lie")'
    gunicorn --chdir benchmarks 'taxii_wsgi:medallion()'

Each has one collection that anybody may read and write: nobody is asked who
they are, and nothing is encrypted. Otherwise they are as they are installed,
but for one line of OpenTAXII, without which it answers 500 (`_write_uuids`).
"""

import functools
import json
import types

COLLECTION = "11111111-1111-4111-8111-111111111111"
MOST_BYTES = 64 * 1024 * 1024  # of one message
MOST_OBJECTS = 1000  # in one page, where the server has a limit


def opentaxii(folder: str):  # noqa: ANN201  (of Flask, which is not there where types are checked)
    """Return OpenTAXII on SQLite, with its databases in a folder; a collection is made where there is none."""
    _write_uuids()
    from opentaxii.config import ServerConfig
    from opentaxii.middleware import create_app
    from opentaxii.server import TAXIIServer

    persistence = {
        "class": "opentaxii.persistence.sqldb.Taxii2SQLDatabaseAPI",
        "parameters": {"db_connection": f"sqlite:///{folder}/data.db", "create_tables": True},
    }
    taxii2 = {"title": "benchmark", "public_discovery": True, "max_content_length": MOST_BYTES}
    auth = {"parameters": {"db_connection": f"sqlite:///{folder}/auth.db"}}
    settings = {"taxii1": None, "taxii2": {**taxii2, "persistence_api": persistence}, "auth_api": auth}
    server = TAXIIServer(ServerConfig(extra_configs=[settings]))
    store = server.servers.taxii2.persistence.api
    if not store.get_api_roots():
        root = store.add_api_root(title="benchmark", default=True, is_public=True)
        store.add_collection(api_root_id=str(root.id), title="all", is_public=True, is_public_write=True)
    return create_app(server)


def _write_uuids() -> None:
    """Let OpenTAXII write its identifiers into JSON.

    They are UUIDs, and what it writes JSON with, refuses those: collections and
    every POST are answered by 500. Its maintainers mended it so after 0.9.3,
    which is the newest that is published.
    """
    from opentaxii.taxii2 import http

    http.json = types.SimpleNamespace(dumps=functools.partial(json.dumps, default=str))


def medallion():  # noqa: ANN201
    """Return medallion with its memory backend; it wants to know who calls: anybody is `user`, `pass`."""
    from medallion import application_instance, register_blueprints
    from medallion.backends.memory_backend import MemoryBackend

    collection = {"id": COLLECTION, "title": "all", "can_read": True, "can_write": True, "media_types": []}
    versions = ["application/taxii+json;version=2.1"]
    root = {
        "information": {"title": "all", "versions": versions, "max_content_length": MOST_BYTES},
        "status": [],
        "collections": [{**collection, "objects": [], "manifest": []}],
    }
    backend = MemoryBackend()
    backend.data = {"/discovery": {"title": "benchmark", "api_roots": ["/all/"]}, "all": root}
    application_instance.taxii_config = {"max_page_size": MOST_OBJECTS}
    application_instance.users_backend = {"user": "pass"}
    application_instance.medallion_backend = backend
    register_blueprints(application_instance)
    return application_instance
